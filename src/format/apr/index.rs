//! The tensor index: what each tensor is called, what it is and where it lies.

use super::{ALIGNMENT, Checked, aligned, check_zeros};
use crate::Dtype;
use crate::error::AprError;

/// The longest name, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 256;

/// The most dimensions.
pub(super) const MAX_RANK: usize = 8;

/// The fewest bytes of an entry: an empty name, no dimension.
const MIN_ENTRY_BYTES: usize = 20;

/// A tensor as the index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    pub dtype: Dtype,
    /// Its dimensions as it is stored, slowest first.
    pub shape: Vec<usize>,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// Reads `n` entries and says how many bytes they take. Offsets are those that the file states, from the start of the data.
pub(super) fn parse(section: &[u8], n: u32) -> Checked<(Vec<TensorInfo>, usize)> {
    // A count alone reserves nothing: the section has room for that many entries, or the first that it has no room for is refused.
    let mut tensors: Vec<TensorInfo> = Vec::with_capacity((n as usize).min(section.len() / MIN_ENTRY_BYTES));
    let mut rest = section;
    for entry in 0..n {
        let left = rest.len();
        let cut_off = AprError::Entry { entry, count: n, left };
        let tensor = read_entry(&mut rest, entry).unwrap_or(Err(cut_off))?;
        match tensors.last() {
            Some(last) if last.name == tensor.name => return Err(AprError::DuplicateName { tensor: tensor.name }),
            Some(last) if last.name > tensor.name => {
                return Err(AprError::Unsorted { tensor: tensor.name, before: last.name.clone() });
            }
            _ => tensors.push(tensor),
        }
    }
    Ok((tensors, section.len() - rest.len()))
}

/// The next entry. `None` if the bytes end within it.
fn read_entry(rest: &mut &[u8], entry: u32) -> Option<Checked<TensorInfo>> {
    let name_bytes = usize::from(u16::from_le_bytes(take(rest)?));
    let (name, after) = rest.split_at_checked(name_bytes)?;
    *rest = after;
    let [id] = take(rest)?;
    let [rank] = take(rest)?;
    let name = match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => return Some(Err(AprError::NameNotUtf8 { entry, tensor: String::from_utf8_lossy(name).into_owned() })),
    };
    let rank = usize::from(rank);
    if rank > MAX_RANK {
        return Some(Err(AprError::RankTooLarge { tensor: name, rank, limit: MAX_RANK }));
    }
    let mut dims = Vec::with_capacity(rank);
    for _ in 0..rank {
        dims.push(u64::from_le_bytes(take(rest)?));
    }
    let (offset, held) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
    Some(check_entry(name, id, &dims, offset, held))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (field, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*field)
}

fn check_entry(name: String, id: u8, dims: &[u64], offset: u64, held: u64) -> Checked<TensorInfo> {
    if name.len() > MAX_NAME_BYTES {
        let (bytes, limit) = (name.len(), MAX_NAME_BYTES);
        return Err(AprError::NameTooLong { tensor: name.chars().take(64).collect(), bytes, limit });
    }
    let dtype = dtype(&name, id)?;
    let Some((shape, needed)) = needed(dtype, dims) else { return Err(AprError::Shape { tensor: name, shape: dims.to_owned(), dtype }) };
    match held == needed {
        true => Ok(TensorInfo { name, dtype, shape, offset, bytes: held }),
        false => Err(AprError::WrongSize { tensor: name, shape, dtype, needed, held }),
    }
}

/// The shape and the bytes of a tensor, if there can be such a one. The product of the dimensions may not overflow with the zeros left out
/// either, so that their order does not decide.
fn needed(dtype: Dtype, dims: &[u64]) -> Option<(Vec<usize>, u64)> {
    let shape: Vec<usize> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<_>>()?;
    shape.iter().try_fold(1usize, |n, dim| n.checked_mul((*dim).max(1))).filter(|n| *n <= isize::MAX as usize / 8)?;
    let bytes = dtype.bytes_of(&shape)?;
    Some((shape, bytes as u64))
}

/// The dtype of a byte. 8 and 9 are what 128 and 129 are now: the types of ggml that have these numbers have other sizes.
fn dtype(tensor: &str, id: u8) -> Checked<Dtype> {
    let ambiguous = |meanings| Err(AprError::AmbiguousDtype { tensor: tensor.to_owned(), id, meanings });
    let unsupported = |dtype| Err(AprError::UnsupportedDtype { tensor: tensor.to_owned(), dtype });
    match id {
        2 => ambiguous("BF16 in old files and Q4_0 to some readers"),
        3 => ambiguous("F64 in files of this format and Q4_1 to some readers"),
        4 => unsupported("I32"),
        5 => unsupported("I64"),
        6 => ambiguous("I8 in files of this format and Q5_0 to some readers"),
        7 => ambiguous("U8 in files of this format and Q5_1 to some readers"),
        8 => Ok(Dtype::AprQ4),
        9 => Ok(Dtype::AprQ8),
        _ => Dtype::from_apr_id(id).ok_or_else(|| match Dtype::from_ggml_id(u32::from(id)) {
            Some(dtype) => AprError::UnsupportedDtype { tensor: tensor.to_owned(), dtype: dtype.name() },
            None => AprError::UnknownDtype { tensor: tensor.to_owned(), id },
        }),
    }
}

/// Turns offsets from the start of the data (at `data`) into offsets in the file, if the tensors lie there one after another. Says where the
/// last one ends.
pub(super) fn place(tensors: &mut [TensorInfo], data: u64, file: &[u8]) -> Checked<u64> {
    let mut by_offset: Vec<&mut TensorInfo> = tensors.iter_mut().collect();
    by_offset.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    let (mut end, n_bytes) = (data, file.len() as u64);
    for tensor in by_offset {
        let due = aligned(end) - data;
        if tensor.offset != due {
            return Err(AprError::Offset { tensor: tensor.name.clone(), found: tensor.offset, due });
        }
        // Up to here everything lies in the file, and the bytes of a tensor are at most 2^63.
        let begin = data + tensor.offset;
        let padding = file.get(end as usize..begin as usize);
        let past_end = AprError::PastEnd { section: "tensor data", end: begin + tensor.bytes, bytes: n_bytes };
        let Some(padding) = padding.filter(|_| begin + tensor.bytes <= n_bytes) else { return Err(past_end) };
        check_zeros(padding, end as usize, "between tensors")?;
        (tensor.offset, end) = (begin, begin + tensor.bytes);
    }
    debug_assert!(data.is_multiple_of(ALIGNMENT));
    Ok(end)
}
