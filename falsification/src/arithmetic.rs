//! What a runtime computes with, and so how far rounding alone may carry its answers.

use std::fmt;

/// What a runtime computes with. The claims are the same for all; the bounds are those of the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Arithmetic {
    /// Float32, each sum in one fixed order whatever the length, the pieces, the threads and the neighbours: invariances hold bit for bit.
    Exact,
    /// Float32 weights and activations, sums in any order. What a runtime that says nothing is held to.
    #[default]
    F32,
    /// Quantizes activations in products with quantized weights; products with float weights are [`Arithmetic::F32`].
    Blocks,
    /// Activations of sixteen bits.
    Half,
}

impl Arithmetic {
    /// Every arithmetic, the strictest first.
    pub const ALL: [Arithmetic; 4] = [Arithmetic::Exact, Arithmetic::F32, Arithmetic::Blocks, Arithmetic::Half];

    /// The word for it in keys of bounds and in the runtime protocol.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Exact => "exact",
            Arithmetic::F32 => "f32",
            Arithmetic::Blocks => "blocks",
            Arithmetic::Half => "half",
        }
    }

    /// The arithmetic with this word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arithmetic| arithmetic.name() == name)
    }

    /// What it comes to in a column whose matrices are quantized in blocks, or are not.
    #[must_use]
    pub fn in_column(self, quantized: bool) -> Self {
        if self == Arithmetic::Blocks && !quantized { Arithmetic::F32 } else { self }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_and_no_other_is() {
        for arithmetic in Arithmetic::ALL {
            assert_eq!(Arithmetic::from_name(arithmetic.name()), Some(arithmetic));
        }
        for word in ["", "F32", "bitwise"] {
            assert_eq!(Arithmetic::from_name(word), None, "{word}");
        }
    }

    #[test]
    fn float_weights_meet_float_activations() {
        assert_eq!(Arithmetic::Blocks.in_column(false), Arithmetic::F32);
        assert_eq!(Arithmetic::Blocks.in_column(true), Arithmetic::Blocks);
        assert_eq!(Arithmetic::Half.in_column(false), Arithmetic::Half);
        assert_eq!(Arithmetic::Exact.in_column(true), Arithmetic::Exact);
    }
}
