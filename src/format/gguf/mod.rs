//! GGUF files.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `GGUF` |
//! | 4..8 | version, u32: 2 or 3 |
//! | 8..16 | number of tensors, u64 |
//! | 16..24 | number of keys, u64 |
//! | keys | each: name (string), type (u32), value |
//! | tensors | each: name (string), number of dimensions (u32), dimensions (u64, fastest first), type (u32), offset in the data (u64) |
//! | padding | zeros up to a multiple of the alignment |
//! | data | the tensors in the same order, each padded with zeros to a multiple of the alignment |
//!
//! Everything is little-endian. A string is its length in bytes (u64) and UTF-8 without a terminator; an array is the type of its elements
//! (u32), their number (u64), and they. The alignment is the key `general.alignment`, 32 where it is absent. Versions 2 and 3 do not differ
//! in a little-endian file; version 1 had counts of 32 bits.
//!
//! Nothing is allocated on the word of a number in the file: a count is first held against a cap and against the bytes that are left.
//!
//! | what llama.cpp (067d44f) takes | here |
//! |---|---|
//! | a boolean of any byte | 0 or 1 |
//! | strings that are no UTF-8 | refused |
//! | names with control characters (a NUL lets one key stand for another) | refused |
//! | no dimension at all, dimensions of 0, or whose product wraps | refused |
//! | any alignment that is a power of two | from 8 to 2 MiB |
//! | anything after the data | only the padding of the last tensor, which may be missing |
//! | padding of any bytes | zeros |
//! | every type | those of [`Dtype`]; the others are refused by name |
//!
//! Source: ggml `docs/gguf.md`, `ggml/src/gguf.cpp`.

mod layout;
mod model;
mod read;
#[cfg(test)]
mod tests;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

pub use self::layout::layout;
pub use self::model::{can_say, checkpoint, export_metadata, export_name, export_order, extra_tensors};
pub use self::read::{Contents, MAX_ALIGNMENT, MAX_KEYS, MAX_NAME_BYTES, MAX_RANK, MAX_STRING_BYTES, MAX_STRINGS, MAX_TENSORS, parse};
pub use self::value::{Array, Metadata, Value};
use super::file;
use crate::checkpoint::MappedFile;
use crate::error::{FileError, GgufError, InFile, Result};
use crate::{Dtype, Tensor};

/// The bytes that a GGUF file begins with.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// The alignment where no key states one.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// The key that states the alignment.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// A tensor as the file describes it; everything about it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, slowest first.
    pub shape: Vec<usize>,
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its bytes, without the padding.
    pub bytes: u64,
}

/// A GGUF file: read, checked, mapped. No tensor was looked at.
#[derive(Debug, Clone)]
pub struct Gguf {
    /// The file.
    pub path: PathBuf,
    /// Its version.
    pub version: u32,
    /// What tensors are aligned to, in bytes.
    pub alignment: u64,
    /// Keys and values, in the file's order.
    pub metadata: Metadata,
    /// The tensors, in the file's order, which is that of their offsets.
    pub tensors: Vec<TensorInfo>,
    file: Arc<MappedFile>,
}

impl Gguf {
    /// Maps a file and checks everything but the numbers in its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::File`](crate::Error::File) if it cannot be read, [`Error::Gguf`](crate::Error::Gguf) if it is not what it should be.
    pub fn open(path: &Path) -> Result<Gguf> {
        let (file, bytes) = file::open_regular(path)?;
        if bytes == 0 {
            return Err(GgufError::Magic { found: Vec::new() }).in_file(path); // what has no bytes cannot be mapped
        }
        // SAFETY: the map is read-only, and any bytes are valid bytes. A file that shrinks or changes under its map is outside the
        // contract, as the documentation of `checkpoint` says.
        let map = unsafe { Mmap::map(&file) }.map_err(FileError::from).in_file(path)?;
        let Contents { version, alignment, metadata, tensors } = parse(&map).in_file(path)?;
        let file = Arc::new(MappedFile { path: path.to_owned(), map });
        Ok(Gguf { path: path.to_owned(), version, alignment, metadata, tensors, file })
    }

    /// A tensor, in the map: nothing is copied.
    ///
    /// # Errors
    ///
    /// [`Error::Gguf`](crate::Error::Gguf) if `info` is not one of this file's.
    pub fn tensor(&self, info: &TensorInfo) -> Result<Tensor> {
        let range = || Some(usize::try_from(info.offset).ok()?..usize::try_from(info.offset.checked_add(info.bytes)?).ok()?);
        let tensor = range().and_then(|range| Tensor::mapped(info.dtype, info.shape.clone(), &self.file, range));
        let foreign = || GgufError::Tensor { tensor: info.name.clone(), why: "is not a tensor of this file".to_owned() };
        tensor.ok_or_else(foreign).in_file(&self.path)
    }

    /// What the file says about the tensor of that name.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|info| info.name == name)
    }

    /// The bytes of the whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.file.map
    }
}
