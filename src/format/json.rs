//! JSON as strictly as files from strangers need it: UTF-8, no key twice, bounded depth, an object at the top.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{file, sniff};
use crate::error::{InFile, JsonError, Result};

/// The largest `config.json`, `generation_config.json`. Published ones have a few KB; those with long label lists, tens of KB.
pub(crate) const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The deepest nesting. serde_json gives up at 127; real files stay under ten.
pub(crate) const MAX_DEPTH: usize = 64;

/// Reads a small JSON file.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>> {
    parse_object(&file::read(path, MAX_CONFIG_BYTES)?).in_file(path)
}

/// Parses strict JSON with an object at the top.
pub(crate) fn parse_object(bytes: &[u8]) -> std::result::Result<Map<String, Value>, JsonError> {
    match parse(bytes)? {
        Value::Object(map) => Ok(map),
        other => Err(JsonError::NotAnObject { found: kind(&other) }),
    }
}

/// The JSON type of a value, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Parses strict JSON, whatever is at the top.
pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<Value, JsonError> {
    let text = text(bytes)?;
    let place = Place::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Strict(&place).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let path = place.path.take().join(".");
        match place.fault.get() {
            Some(Fault::Duplicate) => JsonError::DuplicateKey { path },
            Some(Fault::Deep) => JsonError::TooDeep { path, limit: MAX_DEPTH },
            None => JsonError::Syntax { path, message: error.to_string() },
        }
    })
}

/// The text of a file that should be JSON.
fn text(bytes: &[u8]) -> std::result::Result<&str, JsonError> {
    let encoding = match bytes {
        [] => return Err(JsonError::Empty),
        [0xef, 0xbb, 0xbf, ..] => Some("UTF-8 with a byte order mark"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => Some("UTF-16"),
        _ => None,
    };
    if let Some(found) = encoding {
        return Err(JsonError::Encoding { found });
    }
    if let Some(found) = sniff::sniff(bytes) {
        return Err(JsonError::OtherContent { found });
    }
    std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })
}

/// Where the reader is, kept when it fails so that the message can say it.
#[derive(Default)]
struct Place {
    path: RefCell<Vec<String>>,
    fault: Cell<Option<Fault>>,
}

#[derive(Clone, Copy)]
enum Fault {
    Duplicate,
    Deep,
}

impl Place {
    fn enter<E: serde::de::Error>(&self, key: String) -> std::result::Result<(), E> {
        let mut path = self.path.borrow_mut();
        path.push(key);
        if path.len() >= MAX_DEPTH { Err(self.fault(Fault::Deep)) } else { Ok(()) }
    }

    fn leave(&self) {
        self.path.borrow_mut().pop();
    }

    fn fault<E: serde::de::Error>(&self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }
}

/// A [`Value`] whose objects hold no key twice.
struct Strict<'a>(&'a Place);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            self.0.enter(values.len().to_string())?;
            match seq.next_element_seed(Strict(self.0))? {
                Some(value) => values.push(value),
                None => break,
            }
            self.0.leave();
        }
        self.0.leave();
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.enter(key.clone())?;
            if map.contains_key(&key) {
                return Err(self.0.fault(Fault::Duplicate));
            }
            let value = entries.next_value_seed(Strict(self.0))?;
            map.insert(key, value);
            self.0.leave();
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn refusal(bytes: &[u8]) -> JsonError {
        parse_object(bytes).expect_err(&String::from_utf8_lossy(bytes))
    }

    #[test]
    fn an_object_is_read_in_the_order_of_the_file() {
        let map = parse_object(br#" {"b": [1, -2, 0.5, "x", null, true], "a": {"b": 1}} "#).unwrap();
        assert_eq!(Value::Object(map).to_string(), r#"{"b":[1,-2,0.5,"x",null,true],"a":{"b":1}}"#);
    }

    #[rstest]
    #[case(b"", "is empty")]
    #[case(b"\xef\xbb\xbf{}", "is written in UTF-8 with a byte order mark")]
    #[case(b"\xff\xfe{\0}\0", "is written in UTF-16")]
    #[case(b"{\0}\0", "is written in UTF-16")]
    #[case(b"\0{\0}", "is written in UTF-16")]
    #[case(b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer")]
    #[case(b"<!DOCTYPE html><html>", "is an HTML page")]
    #[case(b"{\"a\": \"\xff\"}", "is not UTF-8 at byte 7")]
    #[case(b"[]", "is an array at the top, an object is due")]
    #[case(b"null", "is null at the top")]
    #[case(b"3", "is a number at the top")]
    #[case(br#"{"a": 1, "a": 1}"#, "`a` is there twice")]
    #[case(br#"{"x": [{"b": 1, "\u0062": 2}]}"#, "`x.0.b` is there twice")]
    #[case(b"{\"rope\": {\"theta\": 1e999}}", "is not JSON: number out of range at line 1 column 24, in `rope.theta`")]
    #[case(br#"{"theta": NaN}"#, "is not JSON: expected value at line 1 column 11, in `theta`")]
    #[case(br#"{"a": 1,}"#, "is not JSON: trailing comma")]
    #[case(br#"{"a": 1} {}"#, "is not JSON: trailing characters")]
    #[case(br#"{"a": 1"#, "is not JSON: EOF")]
    #[case(br#"{"a": "\ud800"}"#, "is not JSON: unexpected end of hex escape")]
    fn what_is_not_a_strict_object_is_refused_with_its_place(#[case] bytes: &[u8], #[case] message: &str) {
        let refusal = refusal(bytes).to_string();
        assert!(refusal.starts_with(message), "{refusal}");
    }

    #[test]
    fn nesting_is_taken_to_the_limit_and_no_further() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(parse_object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        for depth in [MAX_DEPTH, 200, 10_000] {
            assert_eq!(refusal(nested(depth).as_bytes()).reason(), "too-deep");
        }
        let arrays = format!("{{\"a\":{}", "[".repeat(100_000));
        assert_eq!(refusal(arrays.as_bytes()).reason(), "too-deep");
    }
}
