//! Typed access to the fields of a JSON object: absent, or of the right type and within bounds, or an error that names it.
//!
//! `null` is absent. Where transformers gives an explicit `null` a meaning of its own, [`Fields::is_null`] tells the two apart.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::format::json::kind;

type Read<T> = Result<T, ConfigError>;

/// The most characters of a value that a message shows.
const MAX_VALUE: usize = 60;

/// An object and where it stands in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// The field that holds the object; empty for the whole file.
    within: &'static str,
}

/// What a real number must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bounds {
    /// Over 0.
    Positive,
    /// 0 or over.
    NotNegative,
    /// 0 or over, under 1.
    UnderOne,
}

impl Bounds {
    fn admit(self, value: f64) -> bool {
        match self {
            Bounds::Positive => value > 0.0 && value.is_finite(),
            Bounds::NotNegative => value >= 0.0 && value.is_finite(),
            Bounds::UnderOne => (0.0..1.0).contains(&value),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Bounds::Positive => "a number over 0",
            Bounds::NotNegative => "a number that is not negative",
            Bounds::UnderOne => "a number from 0 to under 1",
        }
    }
}

impl<'a> Fields<'a> {
    /// The fields of a file.
    pub fn of(map: &'a Map<String, Value>) -> Self {
        Fields { map, within: "" }
    }

    /// The fields of an object within a file; empty if the field is absent.
    pub fn within(self, name: &'static str) -> Read<Option<Self>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields { map, within: name })),
            Some(other) => Err(self.wrong_type(name, "an object", other)),
        }
    }

    /// A field's value, unless it is absent or `null`.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there and `null`.
    pub fn is_null(self, name: &str) -> bool {
        self.map.get(name).is_some_and(Value::is_null)
    }

    /// Every field that is there and not `null`.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
    }

    /// The path of a field in its file.
    pub fn path(self, name: &str) -> String {
        if self.within.is_empty() { name.to_owned() } else { format!("{}.{name}", self.within) }
    }

    /// A whole number within bounds.
    pub fn count(self, name: &str, bounds: RangeInclusive<usize>) -> Read<Option<usize>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let Value::Number(number) = value else { return Err(self.wrong_type(name, "a whole number", value)) };
        if number.is_f64() {
            return Err(self.wrong_type(name, "a whole number", value));
        }
        let count = number.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| bounds.contains(n));
        count.map(Some).ok_or_else(|| {
            let bounds = format!("a whole number from {} to {}", bounds.start(), bounds.end());
            ConfigError::OutOfRange { field: self.path(name), value: number.to_string(), bounds }
        })
    }

    /// A real number within bounds.
    pub fn number(self, name: &str, bounds: Bounds) -> Read<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let Some(number) = value.as_f64() else { return Err(self.wrong_type(name, "a number", value)) };
        if bounds.admit(number) {
            return Ok(Some(number));
        }
        let (field, value, bounds) = (self.path(name), value.to_string(), bounds.words().to_owned());
        Err(ConfigError::OutOfRange { field, value, bounds })
    }

    /// `true` or `false`.
    pub fn flag(self, name: &str) -> Read<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong_type(name, "true or false", other)),
        }
    }

    /// A string.
    pub fn word(self, name: &str) -> Read<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(word)) => Ok(Some(word)),
            Some(other) => Err(self.wrong_type(name, "a string", other)),
        }
    }

    /// An array of strings.
    pub fn words(self, name: &str) -> Read<Option<Vec<&'a str>>> {
        let expected = "an array of strings";
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(values)) => {
                let words = values.iter().map(|v| v.as_str().ok_or_else(|| self.wrong_type(name, expected, v)));
                words.collect::<Read<_>>().map(Some)
            }
            Some(other) => Err(self.wrong_type(name, expected, other)),
        }
    }

    /// An array of real numbers within bounds.
    pub fn numbers(self, name: &str, bounds: Bounds) -> Read<Option<Vec<f64>>> {
        let expected = "an array of numbers";
        let Some(value) = self.get(name) else { return Ok(None) };
        let Value::Array(values) = value else { return Err(self.wrong_type(name, expected, value)) };
        let number = |value: &Value| match value.as_f64() {
            None => Err(self.wrong_type(name, expected, value)),
            Some(number) if bounds.admit(number) => Ok(number),
            Some(_) => {
                let bounds = format!("an array of which each is {}", bounds.words());
                Err(ConfigError::OutOfRange { field: self.path(name), value: value.to_string(), bounds })
            }
        };
        values.iter().map(number).collect::<Read<_>>().map(Some)
    }

    /// A token id.
    pub fn id(self, name: &str) -> Read<Option<u32>> {
        self.get(name).map(|value| self.as_id(name, value, "a token id")).transpose()
    }

    /// A token id or an array of them, in ascending order.
    pub fn ids(self, name: &str) -> Read<Option<Vec<u32>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let expected = "a token id or an array of token ids";
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let mut ids = values.iter().map(|id| self.as_id(name, id, expected)).collect::<Read<Vec<u32>>>()?;
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    fn as_id(self, name: &str, value: &Value, expected: &'static str) -> Read<u32> {
        let Value::Number(number) = value else { return Err(self.wrong_type(name, expected, value)) };
        if number.is_f64() {
            return Err(self.wrong_type(name, expected, value));
        }
        number.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| ConfigError::OutOfRange {
            field: self.path(name),
            value: number.to_string(),
            bounds: format!("a token id from 0 to {}", u32::MAX),
        })
    }

    /// A field that must be there.
    pub fn required<T>(self, name: &str, value: Option<T>) -> Read<T> {
        value.ok_or_else(|| ConfigError::Missing { field: self.path(name) })
    }

    pub fn wrong_type(self, name: &str, expected: &'static str, found: &Value) -> ConfigError {
        ConfigError::WrongType { field: self.path(name), expected, found: described(found) }
    }
}

/// A value for a message: its type, and itself where it is short.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => format!("{} ({})", kind(value), shown(value)),
        _ => kind(value).to_owned(),
    }
}

/// A value as JSON, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    let json = match value {
        Value::Array(values) if values.len() > MAX_VALUE => format!("an array of {} values", values.len()),
        Value::Object(map) if map.len() > MAX_VALUE => format!("an object of {} fields", map.len()),
        other => other.to_string(),
    };
    match json.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}...", &json[..end]),
        None => json,
    }
}
