//! Safetensors files.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | n, the header's length, unsigned, little-endian, at most 100,000,000 |
//! | 8..8+n | the header: a JSON object, first byte `{`, padded at its end with spaces |
//! | 8+n.. | the data: the tensors' bytes, little-endian, row-major, no hole, no overlap, nothing after them |
//!
//! The header maps each tensor's name to `{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`, offsets counted from the start of the
//! data, and may hold `__metadata__`, an object of strings. Nothing says where in memory a tensor is aligned, so no alignment is assumed.
//!
//! Files are read through the `safetensors` crate. Where it accepts what the format forbids, or what no writer writes, the checks here
//! come first:
//!
//! | what the reference reader (0.8.0) takes | here |
//! |---|---|
//! | white space before `{` | refused |
//! | white space other than spaces after the JSON | refused |
//! | a name twice, also when one of the two is spelled with escapes: the last wins | refused |
//! | a key twice in `__metadata__`; `__metadata__: null` | refused |
//! | unknown fields in an entry, or an array for an entry | refused |
//! | any number of tensors, of any number of dimensions | at most 131,072, of at most 8 |
//! | a shape whose product overflows, if a zero stands before the overflow | refused |
//! | an empty tensor that shares its offset with another one | refused unless the offsets are in order and leave no hole |
//! | every dtype | F32, F16, BF16; U8 and BOOL only for the masks of old gpt2 checkpoints |
//!
//! The other way round nothing is wider: what passes here, the reference reader has accepted too.

mod header;
mod layout;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::SafeTensors;

use self::header::Entry;
pub use self::layout::{INDEX, SINGLE, Shards, layout, shards};
use super::{file, sniff};
use crate::checkpoint::{MappedFile, Tensor};
use crate::dtype::Dtype;
use crate::error::{FileError, InFile, Result, SafetensorsError};

type Checked<T> = std::result::Result<T, SafetensorsError>;

/// The longest header, as in the reference reader.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The most dimensions of a tensor. No weight of a language model has more than four.
pub const MAX_RANK: usize = 8;

/// The most tensors of a file. Published files hold some thousands; the reference reader takes a gigabyte for a million.
pub const MAX_TENSORS: usize = 1 << 17;

/// The bytes that state the header's length.
const LENGTH_BYTES: usize = 8;

/// Maps a file and reads its tensors. They share the map, which lives as long as one of them does.
///
/// # Errors
///
/// [`Error::File`](crate::Error::File) or [`Error::Safetensors`](crate::Error::Safetensors).
pub fn open(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let (file, bytes) = file::open_regular(path)?;
    if bytes == 0 {
        return Err(SafetensorsError::TooShort { bytes: 0 }).in_file(path); // what has no bytes cannot be mapped
    }
    // SAFETY: the map is read-only, and any bytes are valid bytes. A file that shrinks or changes under its map is outside the
    // contract, as the documentation of `checkpoint` says.
    let map = unsafe { Mmap::map(&file) }.map_err(FileError::from).in_file(path)?;
    tensors(&Arc::new(MappedFile { path: path.to_owned(), map })).in_file(path)
}

fn tensors(file: &Arc<MappedFile>) -> Checked<Vec<(String, Tensor)>> {
    check(&file.map)?;
    let (header_bytes, metadata) = SafeTensors::read_metadata(&file.map).map_err(reference)?;
    let data = LENGTH_BYTES + header_bytes;
    let tensors = metadata.tensors().into_iter().map(|(name, info)| {
        let dtype = dtype(&name, &format!("{:?}", info.dtype))?;
        let (begin, end) = info.data_offsets;
        // The reference reader has added these up without overflow.
        match Tensor::mapped(dtype, info.shape.clone(), file, data + begin..data + end) {
            Some(tensor) => Ok((name, tensor)),
            None => Err(reference(format!("tensor at {begin}..{end}"))),
        }
    });
    tensors.collect()
}

/// Everything that is stricter than the reference reader, and everything that it checks, so that a refusal names the tensor and
/// the numbers. In file order: length, header, then the entries by offset, then the data's length.
///
/// # Errors
///
/// The first [`SafetensorsError`], in that order.
pub fn check(bytes: &[u8]) -> std::result::Result<(), SafetensorsError> {
    let header = header_of(bytes)?;
    let entries = header::parse(header)?;
    let mut end = 0;
    for entry in &entries {
        check_entry(entry, end)?;
        end = entry.end;
    }
    match (bytes.len() - LENGTH_BYTES - header.len()) as u64 {
        held if held == end => Ok(()),
        held => Err(SafetensorsError::DataLength { needed: end, held }),
    }
}

/// The header's bytes, if the length before them is possible and they begin and end as they must.
fn header_of(bytes: &[u8]) -> Checked<&[u8]> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(other_content(bytes).unwrap_or(SafetensorsError::TooShort { bytes: bytes.len() }));
    };
    let length = u64::from_le_bytes(*length);
    // A pickle and a length may begin alike; with a brace in its place it is a length.
    if (length > MAX_HEADER_BYTES || rest.first() != Some(&b'{'))
        && let Some(found) = other_content(bytes)
    {
        return Err(found);
    }
    if length > MAX_HEADER_BYTES {
        return Err(SafetensorsError::HeaderTooLarge { bytes: length, limit: MAX_HEADER_BYTES });
    }
    let Some(header) = rest.get(..length as usize) else {
        return Err(SafetensorsError::HeaderPastEnd { bytes: length, left: rest.len() as u64 });
    };
    match header.first() {
        None => return Err(SafetensorsError::TooShort { bytes: bytes.len() }),
        Some(b'{') => {}
        Some(&first) => return Err(SafetensorsError::HeaderStart { first }),
    }
    match header.iter().rev().find(|byte| **byte != b' ') {
        Some(b'}') | None => Ok(header),
        Some(&byte) => Err(SafetensorsError::HeaderPadding { byte }),
    }
}

fn other_content(bytes: &[u8]) -> Option<SafetensorsError> {
    sniff::sniff(bytes).map(|found| SafetensorsError::OtherContent { found })
}

/// Checks one entry; the entries before it end at `expected`.
fn check_entry(entry: &Entry, expected: u64) -> Checked<()> {
    let tensor = || entry.name.clone();
    if entry.rank > MAX_RANK {
        return Err(SafetensorsError::RankTooLarge { tensor: tensor(), rank: entry.rank, limit: MAX_RANK });
    }
    let dtype = dtype(&entry.name, &entry.dtype)?;
    let needed =
        needed(dtype, &entry.shape).ok_or_else(|| SafetensorsError::ShapeOverflow { tensor: tensor(), shape: entry.shape.clone() })?;
    if entry.begin != expected || entry.end < entry.begin {
        return Err(SafetensorsError::Offsets { tensor: tensor(), begin: entry.begin, end: entry.end, expected });
    }
    match entry.end - entry.begin {
        held if held == needed => Ok(()),
        held => Err(SafetensorsError::WrongSize { tensor: tensor(), shape: entry.shape.clone(), dtype: entry.dtype.clone(), needed, held }),
    }
}

/// The bytes of a tensor. `None` if the product of the dimensions overflows with the zeros left out, so that the order of the
/// dimensions does not decide.
fn needed(dtype: Dtype, shape: &[u64]) -> Option<u64> {
    let dims: Vec<usize> = shape.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<_>>()?;
    let without_zeros: Vec<usize> = dims.iter().map(|dim| (*dim).max(1)).collect();
    dtype.bytes_of(&without_zeros).filter(|bytes| *bytes <= isize::MAX as usize)?;
    dtype.bytes_of(&dims).map(|bytes| bytes as u64)
}

/// The dtype of that name, if the engine reads it. Old gpt2 checkpoints carry causal masks of bytes (`h.0.attn.bias`), which every
/// runtime leaves alone; no weight of the three architectures has a name that ends like theirs.
fn dtype(tensor: &str, name: &str) -> Checked<Dtype> {
    let is_mask = tensor.ends_with(".attn.bias");
    match name {
        "F32" => Ok(Dtype::F32),
        "F16" => Ok(Dtype::F16),
        "BF16" => Ok(Dtype::BF16),
        "U8" if is_mask => Ok(Dtype::U8),
        "BOOL" if is_mask => Ok(Dtype::Bool),
        other => Err(SafetensorsError::UnsupportedDtype { tensor: tensor.to_owned(), dtype: other.to_owned() }),
    }
}

fn reference(error: impl ToString) -> SafetensorsError {
    SafetensorsError::Reference { message: error.to_string() }
}
