//! Patterns over row names: `*` stands for any run of characters, `::` included; every other character for itself.

/// Whether the whole of `name` is of the form `pattern`. At most |pattern| x |name| steps: only the last `*` is ever tried again.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: its place, and how far it has reached.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, n));
            p += 1;
        } else if pattern.get(p) == Some(&name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star, reached)) = retry {
            retry = Some((star, reached + 1));
            (p, n) = (star + 1, reached + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pattern means, in as few words as possible.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|n| naive(rest, &name[n..])),
            Some((byte, rest)) => name.first() == Some(byte) && naive(rest, &name[1..]),
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        let name = "gpt2-tiny::gguf::q8_0::candle::F-G4-logits::code";
        let fits = ["*", name, "gpt2-tiny::*", "*::code", "*::candle::F-G4-*", "gpt2-*::q8_0::*::code", "**::candle::**", "*gpt2*"];
        assert!(fits.iter().all(|pattern| matches(pattern, name)));
        for wrong in ["", "gpt2-tiny", "gpt2-tiny::", "*::candle", "*::cod", "?pt2*", "*::native::*", "[g]*", "*::F-G4-logits::code::*"] {
            assert!(!matches(wrong, name), "{wrong}");
        }
        assert!(matches("", "") && matches("*", ""));
    }

    #[test]
    fn every_short_pattern_means_what_the_naive_one_means() {
        let words = |alphabet: &[u8], longest: u32| -> Vec<Vec<u8>> {
            let n = alphabet.len();
            (0..=longest)
                .flat_map(|length| (0..n.pow(length)).map(move |i| (0..length).map(|place| i / n.pow(place) % n).collect::<Vec<_>>()))
                .map(|word| word.into_iter().map(|i| alphabet[i]).collect())
                .collect()
        };
        let (patterns, names) = (words(b"ab*", 5), words(b"ab", 6));
        for pattern in &patterns {
            for name in &names {
                let (p, n) = (std::str::from_utf8(pattern).unwrap(), std::str::from_utf8(name).unwrap());
                assert_eq!(matches(p, n), naive(pattern, name), "{p} {n}");
            }
        }
    }
}
