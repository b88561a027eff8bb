//! APR files, version 2.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `41 50 52 00` (`APR\0`) |
//! | 4, 5 | version 2, 0 |
//! | 6..8 | flags, see [`header::Flags`] |
//! | 8..12 | number of tensors |
//! | 12..20 | offset of the metadata: 64 |
//! | 20..24 | bytes of the metadata, padding left out, at most 16 MiB |
//! | 24..32 | offset of the tensor index: where the metadata end, rounded up to 64 |
//! | 32..40 | offset of the data: where the index ends, rounded up to 64 |
//! | 40..44 | CRC-32 (IEEE, as in zlib) of bytes 0..40 and 44..64 |
//! | 44..64 | zeros |
//! | metadata | a JSON object, then zeros |
//! | tensor index | entries in ascending order of their names' bytes, then zeros |
//! | data | tensors at multiples of 64, each followed by zeros |
//! | last 4 | CRC-32 of everything before them |
//!
//! An entry of the index is `u16` length of the name (at most 256), the name in UTF-8, `u8` dtype, `u8` number of dimensions (at most 8),
//! `u64` each dimension (slowest first), `u64` offset from the start of the data, `u64` bytes (padding left out). All numbers are
//! little-endian. Tensors lie in the order of their names, or in any other order, without a hole.
//!
//! Two readers of this format were looked at, the one of the crate `apr-format` (0.61 to 0.72) and the one of realizar (0.8.6). Where they
//! are looser, this one is not:
//!
//! | what they take | here |
//! |---|---|
//! | any footer, and none | refused unless its CRC-32 is that of the file; without one the message gives the bytes that stamp it |
//! | any header CRC-32 (realizar) | refused unless it is right |
//! | `APR1`, `APR2` (realizar); `APRN` (version 1, of classical models) | refused by name; so is `APR!`, which no released tool writes |
//! | any version, any flag but COLUMN_MAJOR | 2.0; compressed, encrypted, signed, sharded, column-major and unknown bits are refused |
//! | offsets that leave holes, overlap or are misaligned | refused |
//! | more than 16 MiB of metadata; a key twice; two names of one field; metadata that are no JSON (realizar: defaults) | refused |
//! | a name twice (0.61), one that is not UTF-8, one over 256 bytes, over 8 dimensions | refused |
//! | bytes that shape and dtype do not need | refused |
//! | an unknown dtype (realizar: F32) | refused; so are those that are other types in older files: 2, 3, 6, 7 |
//! | non-zero padding | refused |
//!
//! The zeros after the last tensor may be missing; they are always written.

mod export;
pub mod header;
mod index;
mod layout;
mod metadata;
mod model;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde_json::{Map, Value};

pub use self::export::export_metadata;
pub use self::header::Flags;
use self::header::{HEADER_BYTES, Header};
pub use self::index::TensorInfo;
pub use self::layout::layout;
pub use self::metadata::MAX_METADATA_BYTES;
pub use self::model::checkpoint;
use super::file;
use crate::Tensor;
use crate::checkpoint::MappedFile;
use crate::error::{AprError, FileError, InFile, Result};

type Checked<T> = std::result::Result<T, AprError>;

/// What begins a file.
pub const MAGIC: [u8; 4] = *b"APR\0";

/// What sections and tensors begin at a multiple of.
pub const ALIGNMENT: u64 = 64;

/// The CRC-32 at the end.
const FOOTER_BYTES: usize = 4;

/// An APR file that was read and checked to the last byte; its tensors lie in the map.
#[derive(Debug, Clone)]
pub struct Apr {
    /// The file.
    pub path: PathBuf,
    /// The flags of its header.
    pub flags: Flags,
    /// Its metadata, in the file's order.
    pub metadata: Map<String, Value>,
    /// Its tensors, in the order of their names' bytes.
    pub tensors: Vec<TensorInfo>,
    /// Bytes of the file.
    pub n_bytes: u64,
    /// The CRC-32 that ends it.
    pub checksum: u32,
    file: Arc<MappedFile>,
}

impl Apr {
    /// Maps a file, reads it and checks everything in it: both CRC-32, so every byte is read.
    ///
    /// # Errors
    ///
    /// [`Error::File`](crate::Error::File) or [`Error::Apr`](crate::Error::Apr).
    pub fn open(path: &Path) -> Result<Apr> {
        let (file, bytes) = file::open_regular(path)?;
        if bytes == 0 {
            return Err(AprError::TooShort { bytes: 0 }).in_file(path); // what has no bytes cannot be mapped
        }
        // SAFETY: the map is read-only, and any bytes are valid bytes. A file that shrinks or changes under its map is outside the
        // contract, as the documentation of `checkpoint` says.
        let map = unsafe { Mmap::map(&file) }.map_err(FileError::from).in_file(path)?;
        let Contents { flags, metadata, tensors, checksum } = parse(&map).in_file(path)?;
        let n_bytes = map.len() as u64;
        let file = Arc::new(MappedFile { path: path.to_owned(), map });
        Ok(Apr { path: path.to_owned(), flags, metadata, tensors, n_bytes, checksum, file })
    }

    /// A tensor of this file, as it is stored: its elements stay in the map.
    ///
    /// # Panics
    ///
    /// If `info` is not one of [`Apr::tensors`].
    pub fn tensor(&self, info: &TensorInfo) -> Tensor {
        let range = info.offset as usize..(info.offset + info.bytes) as usize;
        let tensor = Tensor::mapped(info.dtype, info.shape.clone(), &self.file, range);
        tensor.expect("the tensor lies in the file, as was checked when it was opened")
    }
}

/// Whether a file that begins so is of this family, be it one that is read or one that is refused by name.
pub fn is_apr(beginning: &[u8]) -> bool {
    beginning.starts_with(b"APR")
}

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// The flags of its header.
    pub flags: Flags,
    /// Its metadata, in the file's order.
    pub metadata: Map<String, Value>,
    /// Its tensors, in the order of their names' bytes.
    pub tensors: Vec<TensorInfo>,
    /// The CRC-32 that ends it.
    pub checksum: u32,
}

/// Reads and checks a whole file that is in memory, in file order: header, metadata, index, the tensors by offset, footer.
///
/// # Errors
///
/// The first [`AprError`], in that order.
pub fn parse(bytes: &[u8]) -> std::result::Result<Contents, AprError> {
    let header = Header::parse(bytes)?;
    let stated = metadata_section(&header, bytes)?;
    let metadata = metadata::parse(stated)?;
    let metadata_end = HEADER_BYTES + stated.len();
    let index = index_section(&header, bytes, metadata_end)?;
    let (mut tensors, used) = index::parse(index, header.n_tensors)?;
    let data = check_data_offset(&header, bytes, header.index_offset + used as u64)?;
    let end = index::place(&mut tensors, data, bytes)?;
    let checksum = footer(bytes, data, end)?;
    Ok(Contents { flags: header.flags, metadata, tensors, checksum })
}

/// The metadata, whose zeros up to the next section are checked too.
fn metadata_section<'a>(header: &Header, bytes: &'a [u8]) -> Checked<&'a [u8]> {
    let begin = HEADER_BYTES as u64;
    if header.metadata_offset != begin {
        return Err(AprError::Section { section: "metadata", found: header.metadata_offset, due: begin });
    }
    let size = u64::from(header.metadata_bytes);
    if size > MAX_METADATA_BYTES as u64 {
        return Err(AprError::MetadataTooLarge { bytes: size, limit: MAX_METADATA_BYTES as u64 });
    }
    let end = HEADER_BYTES + size as usize;
    let past_end = AprError::PastEnd { section: "metadata", end: end as u64, bytes: bytes.len() as u64 };
    bytes.get(HEADER_BYTES..end).ok_or(past_end)
}

/// Everything from the index to where the data are said to begin.
fn index_section<'a>(header: &Header, bytes: &'a [u8], metadata_end: usize) -> Checked<&'a [u8]> {
    let begin = aligned(metadata_end as u64);
    if header.index_offset != begin {
        return Err(AprError::Section { section: "tensor index", found: header.index_offset, due: begin });
    }
    let past_end = |end: u64| AprError::PastEnd { section: "tensor index", end, bytes: bytes.len() as u64 };
    let padding = bytes.get(metadata_end..begin as usize).ok_or_else(|| past_end(begin))?;
    check_zeros(padding, metadata_end, "between the metadata and the tensor index")?;
    if header.data_offset < begin {
        return Err(AprError::Section { section: "tensor data", found: header.data_offset, due: begin });
    }
    let end = usize::try_from(header.data_offset).ok();
    end.and_then(|end| bytes.get(begin as usize..end)).ok_or_else(|| past_end(header.data_offset))
}

/// Where the data begin, which is where the index ends. The zeros between are checked.
fn check_data_offset(header: &Header, bytes: &[u8], index_end: u64) -> Checked<u64> {
    let due = aligned(index_end);
    if header.data_offset != due {
        return Err(AprError::Section { section: "tensor data", found: header.data_offset, due });
    }
    let padding = bytes.get(index_end as usize..due as usize).unwrap_or_default();
    check_zeros(padding, index_end as usize, "between the tensor index and the data")?;
    Ok(due)
}

/// The footer of a file whose last tensor ends at `end`; it follows the tensor, or the zeros after it.
fn footer(bytes: &[u8], data: u64, end: u64) -> Checked<u32> {
    let (n_bytes, padded) = (bytes.len() as u64, aligned(end));
    let footer_end = padded + FOOTER_BYTES as u64;
    let no_footer = || AprError::NoFooter { data: end - data, stamp: crc32fast::hash(bytes).to_le_bytes() };
    if let Some((body, footer)) = bytes.split_last_chunk::<FOOTER_BYTES>()
        && (body.len() as u64 == end || body.len() as u64 == padded)
    {
        check_zeros(&body[end as usize..], end as usize, "after the last tensor")?;
        let (stated, computed) = (u32::from_le_bytes(*footer), crc32fast::hash(body));
        return match stated == computed {
            true => Ok(stated),
            // The last tensor happens to be four bytes short of a multiple of 64, and these are its zeros.
            false if n_bytes == padded && stated == 0 => Err(no_footer()),
            false => Err(AprError::FooterChecksum { stated, computed }),
        };
    }
    match n_bytes.checked_sub(footer_end) {
        None if n_bytes == padded || n_bytes == end => Err(no_footer()),
        None => Err(AprError::PastEnd { section: "footer", end: footer_end, bytes: n_bytes }),
        Some(extra) => Err(AprError::Trailing { extra }),
    }
}

/// The next multiple of 64. Of an offset in a file, so that nothing overflows.
fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}

/// Whether bytes that begin at `at` of the file are zeros.
fn check_zeros(bytes: &[u8], at: usize, what: &'static str) -> Checked<()> {
    match bytes.iter().position(|byte| *byte != 0) {
        Some(i) => Err(AprError::NotZero { at: at + i, byte: bytes[i], what }),
        None => Ok(()),
    }
}
