//! The values of a GGUF file's keys.

use std::fmt::{self, Display, Formatter};

use crate::error::GgufError;

type Checked<T> = std::result::Result<T, GgufError>;

/// The value of a key, of the type that the file states.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Type 0.
    U8(u8),
    /// Type 1.
    I8(i8),
    /// Type 2.
    U16(u16),
    /// Type 3.
    I16(i16),
    /// Type 4.
    U32(u32),
    /// Type 5.
    I32(i32),
    /// Type 6.
    F32(f32),
    /// Type 7.
    Bool(bool),
    /// Type 8.
    String(String),
    /// Type 9.
    Array(Array),
    /// Type 10.
    U64(u64),
    /// Type 11.
    I64(i64),
    /// Type 12.
    F64(f64),
}

/// An array. There are no arrays of arrays: the format has them, no reader takes them.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Type 0.
    U8(Vec<u8>),
    /// Type 1.
    I8(Vec<i8>),
    /// Type 2.
    U16(Vec<u16>),
    /// Type 3.
    I16(Vec<i16>),
    /// Type 4.
    U32(Vec<u32>),
    /// Type 5.
    I32(Vec<i32>),
    /// Type 6.
    F32(Vec<f32>),
    /// Type 7.
    Bool(Vec<bool>),
    /// Type 8.
    String(Vec<String>),
    /// Type 10.
    U64(Vec<u64>),
    /// Type 11.
    I64(Vec<i64>),
    /// Type 12.
    F64(Vec<f64>),
}

impl Array {
    /// The number of its elements' type.
    pub fn type_id(&self) -> u32 {
        match self {
            Array::U8(_) => 0,
            Array::I8(_) => 1,
            Array::U16(_) => 2,
            Array::I16(_) => 3,
            Array::U32(_) => 4,
            Array::I32(_) => 5,
            Array::F32(_) => 6,
            Array::Bool(_) => 7,
            Array::String(_) => 8,
            Array::U64(_) => 10,
            Array::I64(_) => 11,
            Array::F64(_) => 12,
        }
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(values) => values.len(),
            Array::I8(values) => values.len(),
            Array::U16(values) => values.len(),
            Array::I16(values) => values.len(),
            Array::U32(values) => values.len(),
            Array::I32(values) => values.len(),
            Array::F32(values) => values.len(),
            Array::Bool(values) => values.len(),
            Array::String(values) => values.len(),
            Array::U64(values) => values.len(),
            Array::I64(values) => values.len(),
            Array::F64(values) => values.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as whole numbers, if they are.
    pub fn integers(&self) -> Option<Vec<i128>> {
        Some(match self {
            Array::U8(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::I8(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::U16(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::I16(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::U32(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::I32(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::U64(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::I64(values) => values.iter().map(|value| i128::from(*value)).collect(),
            Array::F32(_) | Array::F64(_) | Array::Bool(_) | Array::String(_) => return None,
        })
    }
}

/// The name of a type, by its number.
pub(super) fn type_name(id: u32) -> &'static str {
    ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "arr", "u64", "i64", "f64"]
        .get(id as usize)
        .copied()
        .unwrap_or("unknown")
}

impl Value {
    /// The number of its type.
    pub fn type_id(&self) -> u32 {
        match self {
            Value::U8(_) => 0,
            Value::I8(_) => 1,
            Value::U16(_) => 2,
            Value::I16(_) => 3,
            Value::U32(_) => 4,
            Value::I32(_) => 5,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::String(_) => 8,
            Value::Array(_) => 9,
            Value::U64(_) => 10,
            Value::I64(_) => 11,
            Value::F64(_) => 12,
        }
    }

    /// Its type: `u32`, `str`, of an array `arr[str]`.
    pub fn type_name(&self) -> String {
        match self {
            Value::Array(array) => format!("arr[{}]", type_name(array.type_id())),
            other => type_name(other.type_id()).to_owned(),
        }
    }

    /// The number, if it is a whole one, of any width.
    pub fn as_integer(&self) -> Option<i128> {
        Some(match self {
            Value::U8(value) => i128::from(*value),
            Value::I8(value) => i128::from(*value),
            Value::U16(value) => i128::from(*value),
            Value::I16(value) => i128::from(*value),
            Value::U32(value) => i128::from(*value),
            Value::I32(value) => i128::from(*value),
            Value::U64(value) => i128::from(*value),
            Value::I64(value) => i128::from(*value),
            _ => return None,
        })
    }

    /// Type and value, for a message; the value where it is short.
    pub fn described(&self) -> String {
        match self {
            Value::Array(array) => format!("an array of {} {}", array.len(), type_name(array.type_id())),
            Value::String(value) => format!("str `{}`", crate::Escaped(value)),
            other => format!("{} {other}", other.type_name()),
        }
    }
}

/// The value as text: a string as it is, an array as JSON has it.
impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::U8(value) => value.fmt(f),
            Value::I8(value) => value.fmt(f),
            Value::U16(value) => value.fmt(f),
            Value::I16(value) => value.fmt(f),
            Value::U32(value) => value.fmt(f),
            Value::I32(value) => value.fmt(f),
            Value::F32(value) => value.fmt(f),
            Value::Bool(value) => value.fmt(f),
            Value::String(value) => value.fmt(f),
            Value::Array(array) => array.fmt(f),
            Value::U64(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::F64(value) => value.fmt(f),
        }
    }
}

impl Display for Array {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Debug>(f: &mut Formatter<'_>, values: &[T]) -> fmt::Result {
            f.write_str("[")?;
            for (i, value) in values.iter().enumerate() {
                write!(f, "{}{value:?}", if i == 0 { "" } else { ", " })?;
            }
            f.write_str("]")
        }
        match self {
            Array::U8(values) => list(f, values),
            Array::I8(values) => list(f, values),
            Array::U16(values) => list(f, values),
            Array::I16(values) => list(f, values),
            Array::U32(values) => list(f, values),
            Array::I32(values) => list(f, values),
            Array::F32(values) => list(f, values),
            Array::Bool(values) => list(f, values),
            Array::String(values) => list(f, values),
            Array::U64(values) => list(f, values),
            Array::I64(values) => list(f, values),
            Array::F64(values) => list(f, values),
        }
    }
}

/// The keys of a file and their values, in the file's order. No key is there twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata(pub(super) Vec<(String, Value)>);

impl Metadata {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Keys and values, in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The same, as a slice.
    pub fn as_slice(&self) -> &[(String, Value)] {
        &self.0
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A whole number that is not negative, of any width.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else.
    pub fn unsigned(&self, key: &str) -> Checked<Option<u64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        number.map(Some).ok_or_else(|| wrong_type(key, "a whole number that is not negative", value))
    }

    /// A token id: a whole number of any width that fits 32 bits, without a sign.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else.
    pub fn id(&self, key: &str) -> Checked<Option<u32>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
        number.map(Some).ok_or_else(|| wrong_type(key, "a token id", value))
    }

    /// A real number, as f32 or f64.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else.
    pub fn float(&self, key: &str) -> Checked<Option<f64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::F32(number)) => Ok(Some(f64::from(*number))),
            Some(Value::F64(number)) => Ok(Some(*number)),
            Some(value) => Err(wrong_type(key, "a real number (f32 or f64)", value)),
        }
    }

    /// True or false.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else.
    pub fn flag(&self, key: &str) -> Checked<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => Err(wrong_type(key, "true or false (bool)", value)),
        }
    }

    /// A string.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else.
    pub fn string(&self, key: &str) -> Checked<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(value) => Err(wrong_type(key, "a string", value)),
        }
    }

    /// An array of strings.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else.
    pub fn strings(&self, key: &str) -> Checked<Option<&[String]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(Array::String(values))) => Ok(Some(values)),
            Some(value) => Err(wrong_type(key, "an array of strings", value)),
        }
    }

    /// An array of f32.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else: numbers of another type are another array.
    pub fn floats(&self, key: &str) -> Checked<Option<&[f32]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(Array::F32(values))) => Ok(Some(values)),
            Some(value) => Err(wrong_type(key, "an array of f32", value)),
        }
    }

    /// An array of whole numbers of any width.
    ///
    /// # Errors
    ///
    /// [`GgufError::WrongType`] if the value is something else.
    pub fn integers(&self, key: &str) -> Checked<Option<Vec<i128>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) if array.integers().is_some() => Ok(array.integers()),
            Some(value) => Err(wrong_type(key, "an array of whole numbers", value)),
        }
    }
}

/// For what is made in memory: a key that is there twice counts the first time.
impl From<Vec<(String, Value)>> for Metadata {
    fn from(entries: Vec<(String, Value)>) -> Self {
        Metadata(entries)
    }
}

fn wrong_type(key: &str, expected: &'static str, found: &Value) -> GgufError {
    GgufError::WrongType { key: key.to_owned(), expected, found: found.described() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(value: Value) -> Metadata {
        Metadata(vec![("k".to_owned(), value)])
    }

    #[test]
    fn a_whole_number_is_read_at_every_width() {
        for value in [Value::U8(7), Value::I8(7), Value::U16(7), Value::I16(7), Value::U32(7), Value::I32(7), Value::U64(7), Value::I64(7)]
        {
            assert_eq!(metadata(value.clone()).unsigned("k"), Ok(Some(7)), "{value:?}");
            assert_eq!(metadata(value).id("k"), Ok(Some(7)));
        }
        for value in [Value::I32(-1), Value::F32(7.0), Value::Bool(true), Value::String("7".to_owned())] {
            assert!(metadata(value).unsigned("k").is_err());
        }
        assert!(metadata(Value::U64(1 << 32)).id("k").is_err());
    }

    #[test]
    fn a_value_of_another_type_is_refused_by_name() {
        let found = metadata(Value::Array(Array::I8(vec![1, 2])));
        let refusal = found.floats("k").unwrap_err().to_string();
        assert_eq!(refusal, "key `k` is an array of 2 i8, an array of f32 is due");
        assert!(found.flag("k").is_err() && found.string("k").is_err() && found.strings("k").is_err() && found.float("k").is_err());
        assert_eq!(found.integers("k"), Ok(Some(vec![1, 2])));
        assert!(found.string("other").unwrap().is_none());
    }

    #[test]
    fn values_are_shown_with_their_type() {
        assert_eq!(Value::Array(Array::String(vec!["a".to_owned(), "\u{1b}".to_owned()])).to_string(), r#"["a", "\u{1b}"]"#);
        assert_eq!(Value::Array(Array::F32(vec![0.5])).type_name(), "arr[f32]");
        assert_eq!(Value::U32(3).described(), "u32 3");
    }

    /// Every type that a value may have, with its number, its name and how it is shown; in an array, twice.
    #[test]
    fn each_type_has_its_number_its_name_and_its_text() {
        let text = || "a".to_owned();
        for (value, array, id, name, shown, whole) in [
            (Value::U8(1), Array::U8(vec![1, 1]), 0, "u8", "1", Some(1)),
            (Value::I8(-2), Array::I8(vec![-2, -2]), 1, "i8", "-2", Some(-2)),
            (Value::U16(3), Array::U16(vec![3, 3]), 2, "u16", "3", Some(3)),
            (Value::I16(-4), Array::I16(vec![-4, -4]), 3, "i16", "-4", Some(-4)),
            (Value::U32(5), Array::U32(vec![5, 5]), 4, "u32", "5", Some(5)),
            (Value::I32(-6), Array::I32(vec![-6, -6]), 5, "i32", "-6", Some(-6)),
            (Value::F32(0.5), Array::F32(vec![0.5, 0.5]), 6, "f32", "0.5", None),
            (Value::Bool(true), Array::Bool(vec![true, true]), 7, "bool", "true", None),
            (Value::String(text()), Array::String(vec![text(), text()]), 8, "str", "a", None),
            (Value::U64(u64::MAX), Array::U64(vec![u64::MAX; 2]), 10, "u64", "18446744073709551615", Some(i128::from(u64::MAX))),
            (Value::I64(i64::MIN), Array::I64(vec![i64::MIN; 2]), 11, "i64", "-9223372036854775808", Some(i128::from(i64::MIN))),
            (Value::F64(-0.25), Array::F64(vec![-0.25, -0.25]), 12, "f64", "-0.25", None),
        ] {
            assert_eq!((value.type_id(), value.type_name().as_str(), type_name(id)), (id, name, name));
            assert_eq!((value.to_string().as_str(), value.as_integer()), (shown, whole), "{name}");
            assert_eq!((array.type_id(), array.len(), array.is_empty()), (id, 2, false), "{name}");
            assert_eq!(array.integers(), whole.map(|number| vec![number; 2]), "{name}");
            let element = if name == "str" { format!("{shown:?}") } else { shown.to_owned() };
            assert_eq!(array.to_string(), format!("[{element}, {element}]"));
            let all = metadata(Value::Array(array));
            assert_eq!(all.integers("k").ok().flatten(), whole.map(|number| vec![number; 2]), "{name}");
            assert_eq!(all.get("k").unwrap().type_name(), format!("arr[{name}]"));
            assert_eq!((all.get("k").unwrap().type_id(), all.len(), all.is_empty()), (9, 1, false));
        }
        assert!(Array::U8(Vec::new()).is_empty() && Metadata::default().is_empty());
        assert_eq!((type_name(9), type_name(13)), ("arr", "unknown"));
    }

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_none() {
        let other = metadata(Value::U8(1));
        assert_eq!((other.flag("x"), other.floats("x"), other.integers("x")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!((other.float("x"), other.strings("x"), other.unsigned("x"), other.id("x")), (Ok(None), Ok(None), Ok(None), Ok(None)));
        assert_eq!(metadata(Value::Bool(true)).flag("k"), Ok(Some(true)));
        assert_eq!(metadata(Value::Bool(false)).flag("k"), Ok(Some(false)));
        assert_eq!((metadata(Value::F32(0.5)).float("k"), metadata(Value::F64(0.1)).float("k")), (Ok(Some(0.5)), Ok(Some(0.1))));
        assert_eq!(metadata(Value::Array(Array::F32(vec![0.5]))).floats("k"), Ok(Some([0.5].as_slice())));
        let refusal = metadata(Value::Array(Array::F32(vec![0.5]))).integers("k").unwrap_err().to_string();
        assert_eq!(refusal, "key `k` is an array of 1 f32, an array of whole numbers is due");
        assert_eq!(metadata(Value::String("\u{1b}".to_owned())).get("k").unwrap().described(), "str `\\u{1b}`");
    }
}
