//! Arrays of floats: bits in base64 beside their shape.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Floats with a shape, which may contradict each other: the checks judge that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// The values, row-major.
    #[serde(rename = "f32", with = "floats")]
    pub values: Vec<f32>,
}

mod floats {
    use super::{Deserializer, Serializer, base64_bytes};
    use serde::de::Error;

    pub(super) fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        serializer.serialize_str(&base64::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        let bytes = base64_bytes(deserializer)?;
        let (floats, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(D::Error::custom(format!("`f32` holds {} bytes, no multiple of 4", bytes.len())));
        }
        Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// Bytes in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        base64_bytes(deserializer).map(Bytes)
    }
}

fn base64_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Base64;

    impl Visitor<'_> for Base64 {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes in base64")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
            base64::decode(text).map_err(|error| E::custom(format!("no base64 of the standard alphabet, padded: {error}")))
        }
    }

    deserializer.deserialize_str(Base64)
}

/// A statistic: a number, or one of three words for what JSON has no number for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistic(pub f64);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Finite(f64),
    Word(Cow<'a, str>),
}

impl Serialize for Statistic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self.0 {
            value if value.is_finite() => Written::Finite(value),
            value if value.is_nan() => Written::Word("NaN".into()),
            value => Written::Word(if value > 0.0 { "Infinity" } else { "-Infinity" }.into()),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Statistic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = match Written::deserialize(deserializer) {
            Ok(Written::Finite(value)) => Some(value),
            Ok(Written::Word(word)) => match word.as_ref() {
                "NaN" => Some(f64::NAN),
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            Err(_) => None,
        };
        let wrong = || D::Error::custom("a statistic is a number, or one of \"NaN\", \"Infinity\", \"-Infinity\"");
        value.map(Statistic).ok_or_else(wrong)
    }
}
