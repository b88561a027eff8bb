//! Three functions whose mutants are known. `make mutants` runs them first: a run that judges these wrongly proves nothing about others.

/// Its mutants must be caught: the test below looks at what it returns.
pub fn difference(a: i32, b: i32) -> i32 {
    a - b
}

/// The mutant `<=` is equivalent, for 0 is not negative and its own absolute value, and must survive.
pub fn magnitude(value: i32) -> i32 {
    if value < 0 { 0 - value } else { value }
}

/// Has no default, so the mutant that returns one does not build. That is no catch.
#[derive(Debug, PartialEq)]
pub struct Opaque(i32);

/// Its only mutant does not build.
pub fn opaque() -> Opaque {
    Opaque(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(difference(5, 3), 2);
        assert_eq!([magnitude(-2), magnitude(0), magnitude(2)], [2, 0, 2]);
        assert_eq!(opaque(), Opaque(3));
    }
}
