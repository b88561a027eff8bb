//! The header of a GGUF file, read once from front to back.

use super::value::{Array, Metadata, Value};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, TensorInfo};
use crate::error::GgufError;
use crate::format::sniff;
use crate::{Dtype, Escaped};

type Checked<T> = std::result::Result<T, GgufError>;

/// The most keys of a file. Published files have some dozens.
pub const MAX_KEYS: u64 = 1 << 16;

/// The most tensors of a file, as in safetensors.
pub const MAX_TENSORS: u64 = 1 << 17;

/// The most strings in all arrays together. The largest vocabularies have 262,144 tokens and about twice as many merges.
pub const MAX_STRINGS: u64 = 1 << 21;

/// The longest string. Chat templates have some tens of kilobytes.
pub const MAX_STRING_BYTES: u64 = 16 << 20;

/// The longest key, as the format says.
const MAX_KEY_BYTES: u64 = 65_535;

/// The longest name of a tensor: ggml keeps 64 bytes, the last of which is a terminator.
pub const MAX_NAME_BYTES: u64 = 63;

/// The most dimensions of a tensor.
pub const MAX_RANK: u32 = 4;

/// The largest alignment: a huge page.
pub const MAX_ALIGNMENT: u64 = 2 << 20;

/// The fewest bytes of a key with its value: the length of its name, one character, its type, one byte.
const MIN_KEY: u64 = 8 + 1 + 4 + 1;

/// The fewest bytes of a tensor's description.
const MIN_TENSOR: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// What a GGUF file holds, beside the numbers in its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// 2 or 3.
    pub version: u32,
    /// What tensors are aligned to, in bytes.
    pub alignment: u64,
    /// Keys and values.
    pub metadata: Metadata,
    /// The tensors, their offsets counted from the start of the file.
    pub tensors: Vec<TensorInfo>,
}

/// Reads the bytes of a file and checks everything but the numbers in its tensors.
///
/// # Errors
///
/// The first thing that is wrong, in the order of the file.
pub fn parse(bytes: &[u8]) -> Checked<Contents> {
    let mut reader = Reader { bytes, at: 0, n_strings: 0 };
    let version = reader.start()?;
    let n_tensors = reader.u64("the number of tensors")?;
    let n_keys = reader.u64("the number of keys")?;
    reader.count("tensors", n_tensors, MAX_TENSORS, MIN_TENSOR)?;
    reader.count("keys", n_keys, MAX_KEYS, MIN_KEY)?;
    let mut entries = Vec::with_capacity(n_keys as usize);
    for index in 0..n_keys as usize {
        let key = reader.name("key", index, MAX_KEY_BYTES)?;
        let value = reader.value(&key)?;
        entries.push((key, value));
    }
    unique("key", entries.iter().map(|(key, _)| key.as_str()))?;
    let metadata = Metadata(entries);
    let alignment = alignment(&metadata)?;
    refuse_split(&metadata)?;
    let mut tensors = Vec::with_capacity(n_tensors as usize);
    let mut end = 0;
    for index in 0..n_tensors as usize {
        let info = reader.tensor(index, end)?;
        // Data that far would be past any file; the sum cannot wrap, because neither part comes near 2^63.
        end = info.offset.saturating_add(info.bytes).checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        tensors.push(info);
    }
    unique("tensor", tensors.iter().map(|info| info.name.as_str()))?;
    place(bytes, reader.at as u64, alignment, &mut tensors)?;
    Ok(Contents { version, alignment, metadata, tensors })
}

/// Counts the offsets from the start of the file, after checking that the file holds the data and nothing more.
fn place(bytes: &[u8], header: u64, alignment: u64, tensors: &mut [TensorInfo]) -> Checked<()> {
    let held = bytes.len() as u64;
    let data = header.next_multiple_of(alignment);
    let mut end = header;
    for info in tensors {
        zeros(bytes, end, info.offset.saturating_add(data))?;
        info.offset = info.offset.saturating_add(data);
        let left = held.saturating_sub(info.offset);
        if info.bytes > left {
            return Err(GgufError::DataPastEnd { tensor: info.name.clone(), at: info.offset, needed: info.bytes, left });
        }
        end = info.offset + info.bytes;
    }
    let padded = end.next_multiple_of(alignment);
    if held > padded {
        return Err(GgufError::Trailing { bytes: held - end, limit: padded - end });
    }
    zeros(bytes, end, held)
}

/// Whether the padding between two places, as far as the file has it, is zeros.
fn zeros(bytes: &[u8], from: u64, to: u64) -> Checked<()> {
    let end = to.min(bytes.len() as u64);
    let padding = bytes.get(from as usize..end as usize).unwrap_or_default();
    match padding.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(i) => Err(GgufError::Padding { at: from + i as u64, byte: padding[i] }),
    }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Checked<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(GgufError::Duplicate { what, name: name.to_owned() });
        }
    }
    Ok(())
}

fn alignment(metadata: &Metadata) -> Checked<u64> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(n)) if n.is_power_of_two() && (8..=MAX_ALIGNMENT).contains(&u64::from(n)) => Ok(u64::from(n)),
        Some(value) => Err(GgufError::Alignment { found: value.described(), limit: MAX_ALIGNMENT }),
    }
}

fn refuse_split(metadata: &Metadata) -> Checked<()> {
    match metadata.get("split.count") {
        None => Ok(()),
        Some(value) if matches!(value.as_integer(), Some(0 | 1)) => Ok(()),
        Some(value) => Err(GgufError::Split { count: value.described() }),
    }
}

/// A place in the file.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Strings in arrays so far.
    n_strings: u64,
}

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {$(
        fn $name(&mut self, what: &str) -> Checked<$type> {
            const SIZE: usize = size_of::<$type>();
            let mut number = [0; SIZE];
            number.copy_from_slice(self.take(SIZE as u64, || what.to_owned())?);
            Ok(<$type>::from_le_bytes(number))
        }
    )*};
}

/// The elements of an array of numbers: one allocation, of bytes that the file has.
macro_rules! array {
    ($reader:ident, $key:ident, $n:ident, $type:ty, $variant:ident) => {{
        const SIZE: u64 = size_of::<$type>() as u64;
        let bytes = $reader.take($n.saturating_mul(SIZE), || value_of($key))?;
        let (chunks, _) = bytes.as_chunks();
        Array::$variant(chunks.iter().map(|chunk| <$type>::from_le_bytes(*chunk)).collect())
    }};
}

fn value_of(key: &str) -> String {
    format!("the value of key `{}`", Escaped(key))
}

impl<'a> Reader<'a> {
    /// The next `n` bytes.
    fn take(&mut self, n: u64, what: impl Fn() -> String) -> Checked<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(n).ok().and_then(|n| rest.get(..n));
        let cut = || GgufError::PastEnd { what: what(), at: self.at as u64, needed: n, left: rest.len() as u64 };
        let taken = taken.ok_or_else(cut)?;
        self.at += taken.len();
        Ok(taken)
    }

    numbers!(u8: u8, i8: i8, u16: u16, i16: i16, u32: u32, i32: i32, f32: f32, u64: u64, i64: i64, f64: f64);

    /// Magic and version.
    fn start(&mut self) -> Checked<u32> {
        if !self.bytes.starts_with(&MAGIC) {
            let found = self.bytes[..self.bytes.len().min(4)].to_vec();
            return Err(match sniff::sniff(self.bytes) {
                _ if found == *b"FUGG" => GgufError::BigEndian,
                Some(found) => GgufError::OtherContent { found },
                None => GgufError::Magic { found },
            });
        }
        self.at = MAGIC.len();
        match self.u32("the version")? {
            version @ (2 | 3) => Ok(version),
            1 => Err(GgufError::Version1),
            version if (1..=3).contains(&version.swap_bytes()) => Err(GgufError::BigEndian),
            version => Err(GgufError::Version { version }),
        }
    }

    /// Refuses a count over its cap, or one whose least bytes the file does not have.
    fn count(&self, what: &'static str, n: u64, limit: u64, least: u64) -> Checked<()> {
        if n > limit {
            return Err(GgufError::TooMany { what, n, limit });
        }
        let (needed, left) = (n * least, (self.bytes.len() - self.at) as u64);
        if needed > left {
            return Err(GgufError::PastEnd { what: format!("{n} {what}"), at: self.at as u64, needed, left });
        }
        Ok(())
    }

    fn string(&mut self, what: impl Fn() -> String, limit: u64) -> Checked<String> {
        let mut length = [0; 8];
        length.copy_from_slice(self.take(8, &what)?);
        let bytes = u64::from_le_bytes(length);
        if bytes > limit {
            return Err(GgufError::TooLong { what: what(), bytes, limit });
        }
        let text = std::str::from_utf8(self.take(bytes, &what)?);
        text.map(str::to_owned).map_err(|error| GgufError::NotUtf8 { what: what(), at: error.valid_up_to() })
    }

    /// The name of a key or a tensor.
    fn name(&mut self, what: &'static str, index: usize, limit: u64) -> Checked<String> {
        let name = self.string(|| format!("the name of {what} {index}"), limit)?;
        match () {
            () if name.is_empty() => Err(GgufError::EmptyName { what, index }),
            () if name.contains(char::is_control) => Err(GgufError::NameCharacter { what, name }),
            () => Ok(name),
        }
    }

    fn value(&mut self, key: &str) -> Checked<Value> {
        let id = self.u32("the type of a value")?;
        let what = &value_of(key);
        Ok(match id {
            0 => Value::U8(self.u8(what)?),
            1 => Value::I8(self.i8(what)?),
            2 => Value::U16(self.u16(what)?),
            3 => Value::I16(self.i16(what)?),
            4 => Value::U32(self.u32(what)?),
            5 => Value::I32(self.i32(what)?),
            6 => Value::F32(self.f32(what)?),
            7 => Value::Bool(truth(key, self.u8(what)?)?),
            8 => Value::String(self.string(|| value_of(key), MAX_STRING_BYTES)?),
            9 => Value::Array(self.array(key)?),
            10 => Value::U64(self.u64(what)?),
            11 => Value::I64(self.i64(what)?),
            12 => Value::F64(self.f64(what)?),
            id => return Err(GgufError::ValueType { key: key.to_owned(), id }),
        })
    }

    fn array(&mut self, key: &str) -> Checked<Array> {
        let id = self.u32(&value_of(key))?;
        let n = self.u64(&value_of(key))?;
        Ok(match id {
            0 => Array::U8(self.take(n, || value_of(key))?.to_vec()),
            1 => array!(self, key, n, i8, I8),
            2 => array!(self, key, n, u16, U16),
            3 => array!(self, key, n, i16, I16),
            4 => array!(self, key, n, u32, U32),
            5 => array!(self, key, n, i32, I32),
            6 => array!(self, key, n, f32, F32),
            7 => Array::Bool(self.take(n, || value_of(key))?.iter().map(|byte| truth(key, *byte)).collect::<Checked<_>>()?),
            8 => self.strings(key, n)?,
            9 => return Err(GgufError::NestedArray { key: key.to_owned() }),
            10 => array!(self, key, n, u64, U64),
            11 => array!(self, key, n, i64, I64),
            12 => array!(self, key, n, f64, F64),
            id => return Err(GgufError::ValueType { key: key.to_owned(), id }),
        })
    }

    /// An array of strings, which take more memory than bytes if they are short: they are counted over the whole file.
    fn strings(&mut self, key: &str, n: u64) -> Checked<Array> {
        self.n_strings = self.n_strings.saturating_add(n);
        self.count("strings in arrays", self.n_strings, MAX_STRINGS, 0)?;
        self.count("strings in an array", n, MAX_STRINGS, 8)?;
        let string = |i| self.string(|| format!("string {i} of key `{}`", Escaped(key)), MAX_STRING_BYTES);
        Ok(Array::String((0..n).map(string).collect::<Checked<_>>()?))
    }

    /// The description of a tensor; the one before it ends, padded, at `end` of the data. The offset is left as the file states it.
    fn tensor(&mut self, index: usize, end: u64) -> Checked<TensorInfo> {
        let name = self.name("tensor", index, MAX_NAME_BYTES)?;
        let what = &format!("tensor `{}`", Escaped(&name));
        let n = self.u32(what)?;
        if !(1..=MAX_RANK).contains(&n) {
            return Err(GgufError::Rank { tensor: name, n, limit: MAX_RANK });
        }
        let dims = (0..n).map(|_| self.u64(what)).collect::<Checked<Vec<u64>>>()?;
        let id = self.u32(what)?;
        let offset = self.u64(what)?;
        let dtype = match (Dtype::from_ggml_id(id), other_type(id)) {
            (Some(dtype), _) => dtype,
            (None, Some(other)) => return Err(GgufError::UnsupportedType { tensor: name, name: other }),
            (None, None) => return Err(GgufError::UnknownType { tensor: name, id }),
        };
        let (shape, bytes) = sizes(&name, &dims, dtype)?;
        if offset != end {
            return Err(GgufError::Offset { tensor: name, offset, expected: end });
        }
        Ok(TensorInfo { name, dtype, shape, offset, bytes })
    }
}

fn truth(key: &str, byte: u8) -> Checked<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        byte => Err(GgufError::Bool { key: key.to_owned(), byte }),
    }
}

/// The shape, slowest first, and the bytes.
fn sizes(tensor: &str, dims: &[u64], dtype: Dtype) -> Checked<(Vec<usize>, u64)> {
    if dims.contains(&0) {
        return Err(GgufError::ZeroDimension { tensor: tensor.to_owned(), dims: dims.to_owned() });
    }
    let overflow = || GgufError::ShapeOverflow { tensor: tensor.to_owned(), dims: dims.to_owned() };
    let shape = dims.iter().rev().map(|dim| usize::try_from(*dim).ok()).collect::<Option<Vec<usize>>>().ok_or_else(overflow)?;
    let (row, block) = (dims[0], dtype.block().0);
    if !row.is_multiple_of(block as u64) {
        return Err(GgufError::PartialBlock { tensor: tensor.to_owned(), row, dtype: dtype.name(), block });
    }
    let bytes = dtype.bytes_of(&shape).filter(|bytes| *bytes <= isize::MAX as usize).ok_or_else(overflow)?;
    Ok((shape, bytes as u64))
}

/// Types of ggml that are not read here (`ggml.h`); what is not among them was removed, or was never there.
fn other_type(id: u32) -> Option<&'static str> {
    Some(match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        40 => "NVFP4",
        41 => "Q1_0",
        42 => "Q2_0",
        _ => return None,
    })
}
