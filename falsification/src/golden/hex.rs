//! Floats and bytes as hex digits: decimal text loses the identity of a float in some readers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A 32-bit float, written as the 8 hex digits of its bits.
#[derive(Clone, Copy, PartialEq)]
pub struct Hex32(pub f32);

/// A 64-bit float, written as the 16 hex digits of its bits.
#[derive(Clone, Copy, PartialEq)]
pub struct Hex64(pub f64);

/// Bytes, written as two hex digits each.
#[derive(Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl Hex32 {
    /// The value, widened.
    pub fn get(self) -> f64 {
        f64::from(self.0)
    }
}

impl Hex64 {
    /// The value.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Debug for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (0x{:08x})", self.0, self.0.to_bits())
    }
}

impl fmt::Debug for Hex64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (0x{:016x})", self.0, self.0.to_bits())
    }
}

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// The value of one lowercase hex digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// The bits that exactly `n` lowercase hex digits spell.
fn bits(text: &str, n: usize) -> Option<u64> {
    if text.len() != n {
        return None;
    }
    text.bytes().try_fold(0u64, |bits, byte| Some(bits << 4 | u64::from(digit(byte)?)))
}

struct Digits(usize);

impl Visitor<'_> for Digits {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string of {} lowercase hex digits, the bits of a float", self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        bits(text, self.0).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = deserializer.deserialize_str(Digits(8))?;
        let bits = u32::try_from(bits).map_err(D::Error::custom)?;
        Ok(Hex32(f32::from_bits(bits)))
    }
}

impl<'de> Deserialize<'de> for Hex64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits(16)).map(|bits| Hex64(f64::from_bits(bits)))
    }
}

struct Pairs;

impl Visitor<'_> for Pairs {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of lowercase hex digits, two for each byte")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        bytes.filter(|_| rest.is_empty()).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Pairs).map(HexBytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_survive() {
        let one: Hex32 = serde_json::from_str("\"3f800000\"").unwrap();
        assert_eq!(one.0, 1.0);
        let tenth: Hex64 = serde_json::from_str("\"3fb999999999999a\"").unwrap();
        assert_eq!(tenth.0, 0.1);
        let bytes: HexBytes = serde_json::from_str("\"00ff7e\"").unwrap();
        assert_eq!(bytes.0, [0, 255, 126]);
    }

    #[test]
    fn anything_but_lowercase_hex_of_the_right_length_is_refused() {
        for text in ["\"\"", "\"3f80000\"", "\"3f8000000\"", "\"3F800000\"", "\"+f800000\"", "\"0x3f8000\"", "1.0", "null"] {
            assert!(serde_json::from_str::<Hex32>(text).is_err(), "{text}");
        }
        for text in ["\"0\"", "\"0g\"", "\"é\"", "7"] {
            assert!(serde_json::from_str::<HexBytes>(text).is_err(), "{text}");
        }
    }
}
