//! Where everything stands in a file that is about to be written.

use serde_json::{Map, Value};

use super::header::{HEADER_BYTES, Header};
use super::index::{MAX_NAME_BYTES, MAX_RANK};
use super::{Checked, Flags, MAX_METADATA_BYTES, aligned};
use crate::error::AprError;
use crate::format::layout::{FileLayout, TensorSpec};

/// The file of these metadata and tensors: version 2.0, data in the order of the names. The same input gives the same bytes.
///
/// # Errors
///
/// What the format cannot hold: [`AprError::UnsupportedDtype`], [`AprError::Shape`], [`AprError::RankTooLarge`],
/// [`AprError::NameTooLong`], [`AprError::DuplicateName`], [`AprError::MetadataTooLarge`].
///
/// # Panics
///
/// If there are 2^32 tensors.
pub fn layout(metadata: &Map<String, Value>, tensors: &[TensorSpec]) -> Checked<FileLayout> {
    let json = Value::Object(metadata.clone()).to_string().into_bytes();
    if json.len() > MAX_METADATA_BYTES {
        return Err(AprError::MetadataTooLarge { bytes: json.len() as u64, limit: MAX_METADATA_BYTES as u64 });
    }
    let mut by_name: Vec<usize> = (0..tensors.len()).collect();
    by_name.sort_by(|a, b| tensors[*a].name.cmp(&tensors[*b].name));
    if let Some(pair) = by_name.windows(2).find(|pair| tensors[pair[0]].name == tensors[pair[1]].name) {
        return Err(AprError::DuplicateName { tensor: tensors[pair[0]].name.clone() });
    }
    let (mut index, mut places, mut end) = (Vec::new(), vec![(0, 0); tensors.len()], 0);
    for i in by_name {
        let begin = aligned(end);
        let bytes = put_entry(&mut index, &tensors[i], begin)?;
        places[i] = (begin, bytes);
        end = begin + bytes;
    }
    let index_offset = aligned((HEADER_BYTES + json.len()) as u64);
    let data_offset = aligned(index_offset + index.len() as u64);
    let n_tensors = u32::try_from(tensors.len()).expect("fewer than 2^32 tensors");
    let metadata_bytes = json.len() as u32;
    let flags = flags(metadata, tensors);
    let fields = Header { flags, n_tensors, metadata_offset: HEADER_BYTES as u64, metadata_bytes, index_offset, data_offset };
    let mut header = Vec::with_capacity(data_offset as usize);
    header.extend(fields.bytes());
    header.extend(json);
    header.resize(index_offset as usize, 0);
    header.extend(index);
    header.resize(data_offset as usize, 0);
    places.iter_mut().for_each(|(offset, _)| *offset += data_offset);
    Ok(FileLayout { header, tensors: places, padded: data_offset + aligned(end), crc_footer: true })
}

fn flags(metadata: &Map<String, Value>, tensors: &[TensorSpec]) -> Flags {
    let is_quantized = tensors.iter().any(|tensor| !tensor.dtype.is_scalar());
    let has_vocab = metadata.contains_key("tokenizer.vocabulary");
    let set = |is_set, bit| if is_set { bit } else { 0 };
    Flags(Flags::ROW_MAJOR | set(is_quantized, Flags::QUANTIZED) | set(has_vocab, Flags::HAS_VOCAB))
}

/// Appends an entry and says how many bytes the tensor has.
fn put_entry(index: &mut Vec<u8>, spec: &TensorSpec, offset: u64) -> Checked<u64> {
    let TensorSpec { name, dtype, shape } = spec;
    let tensor = || name.clone();
    if name.len() > MAX_NAME_BYTES {
        return Err(AprError::NameTooLong { tensor: name.chars().take(64).collect(), bytes: name.len(), limit: MAX_NAME_BYTES });
    }
    if shape.len() > MAX_RANK {
        return Err(AprError::RankTooLarge { tensor: tensor(), rank: shape.len(), limit: MAX_RANK });
    }
    let Some(id) = dtype.apr_id() else { return Err(AprError::UnsupportedDtype { tensor: tensor(), dtype: dtype.name() }) };
    let dims: Vec<u64> = shape.iter().map(|dim| *dim as u64).collect();
    let Some(bytes) = dtype.bytes_of(shape) else { return Err(AprError::Shape { tensor: tensor(), shape: dims, dtype: *dtype }) };
    index.extend((name.len() as u16).to_le_bytes());
    index.extend(name.as_bytes());
    index.extend([id, shape.len() as u8]);
    index.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
    index.extend(offset.to_le_bytes());
    index.extend((bytes as u64).to_le_bytes());
    Ok(bytes as u64)
}
