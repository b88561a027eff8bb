//! The header's JSON, walked once: each name once, each entry an object of exactly three fields.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Checked, MAX_RANK, MAX_TENSORS};
use crate::error::SafetensorsError;

/// A tensor as the header describes it; nothing in it was checked against anything.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub name: String,
    pub dtype: String,
    /// The first [`MAX_RANK`] dimensions.
    pub shape: Vec<u64>,
    /// How many dimensions there are.
    pub rank: usize,
    pub begin: u64,
    pub end: u64,
}

/// The entries of a header, in the order of their offsets.
pub(super) fn parse(header: &[u8]) -> Checked<Vec<Entry>> {
    let malformed = |tensor, message: String| SafetensorsError::Header { tensor, message };
    let text = std::str::from_utf8(header).map_err(|error| malformed(None, format!("not UTF-8 at byte {} of it", error.valid_up_to())))?;
    let place = Place::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_map(HeaderVisitor(&place)).and_then(|entries| reader.end().map(|()| entries));
    let mut entries = read.map_err(|error| {
        let tensor = place.tensor.take();
        match (place.fault.get(), tensor) {
            (Some(Fault::TooMany), _) => SafetensorsError::TooManyTensors { limit: MAX_TENSORS },
            (Some(Fault::Duplicate), Some(tensor)) => SafetensorsError::DuplicateName { tensor },
            (_, tensor) => malformed(tensor, error.to_string()),
        }
    })?;
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(SafetensorsError::DuplicateName { tensor: pair[0].name.clone() });
    }
    entries.sort_by_key(|entry| (entry.begin, entry.end));
    Ok(entries)
}

/// The entry that is being read, and why reading was given up, for the message.
#[derive(Default)]
struct Place {
    tensor: RefCell<Option<String>>,
    fault: Cell<Option<Fault>>,
}

#[derive(Clone, Copy)]
enum Fault {
    Duplicate,
    TooMany,
}

impl Place {
    fn give_up<E: Error>(&self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }
}

struct HeaderVisitor<'a>(&'a Place);

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            self.0.tensor.replace(Some(name.clone()));
            if name != "__metadata__" {
                entries.push(map.next_value_seed(EntryVisitor(name))?);
            } else if std::mem::replace(&mut has_metadata, true) {
                return Err(self.0.give_up(Fault::Duplicate));
            } else {
                map.next_value_seed(MetadataVisitor)?;
            }
            if entries.len() > MAX_TENSORS {
                return Err(self.0.give_up(Fault::TooMany));
            }
        }
        self.0.tensor.replace(None);
        Ok(entries)
    }
}

/// `__metadata__`: an object without a key twice. That its values are strings is left to the reference reader.
struct MetadataVisitor;

impl<'de> DeserializeSeed<'de> for MetadataVisitor {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            if !keys.insert(key) {
                return Err(A::Error::custom("a key is there twice"));
            }
        }
        Ok(())
    }
}

struct EntryVisitor(String);

impl<'de> DeserializeSeed<'de> for EntryVisitor {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            let is_second = match field.as_str() {
                "dtype" => dtype.replace(map.next_value::<String>()?).is_some(),
                "shape" => shape.replace(map.next_value_seed(ShapeVisitor)?).is_some(),
                "data_offsets" => offsets.replace(map.next_value::<(u64, u64)>()?).is_some(),
                _ => return Err(A::Error::unknown_field(&field, &["dtype", "shape", "data_offsets"])),
            };
            if is_second {
                return Err(A::Error::custom(format_args!("field `{field}` is there twice")));
            }
        }
        let (shape, rank) = shape.ok_or_else(|| A::Error::missing_field("shape"))?;
        let (begin, end) = offsets.ok_or_else(|| A::Error::missing_field("data_offsets"))?;
        let dtype = dtype.ok_or_else(|| A::Error::missing_field("dtype"))?;
        Ok(Entry { name: self.0, dtype, shape, rank, begin, end })
    }
}

/// The first dimensions, and how many there are: a shape of a million dimensions is counted, not kept.
struct ShapeVisitor;

impl<'de> DeserializeSeed<'de> for ShapeVisitor {
    type Value = (Vec<u64>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = (Vec<u64>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of whole numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut dims: A) -> Result<Self::Value, A::Error> {
        let (mut shape, mut rank) = (Vec::new(), 0);
        while let Some(dim) = dims.next_element()? {
            rank += 1;
            if rank <= MAX_RANK {
                shape.push(dim);
            }
        }
        Ok((shape, rank))
    }
}
