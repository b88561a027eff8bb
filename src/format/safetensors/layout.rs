//! Where everything stands in a file that is about to be written, and which file holds which tensor.
//!
//! As the reference writer has it: tensors by descending dtype (F32, BF16, F16, U8, BOOL), then by name; the header's JSON without white
//! space, padded with spaces to a multiple of 8. `__metadata__` comes first, its keys in the order of their bytes: the reference writer
//! puts them in an order that changes from run to run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Checked, LENGTH_BYTES, MAX_HEADER_BYTES, MAX_RANK, MAX_TENSORS, dtype, needed};
use crate::Dtype;
use crate::error::SafetensorsError;
use crate::format::layout::{FileLayout, TensorSpec};

/// The name of the file, where one file holds everything.
pub const SINGLE: &str = "model.safetensors";

/// The name of the index, where several files do.
pub const INDEX: &str = "model.safetensors.index.json";

/// The file of these metadata (none: no `__metadata__`) and tensors. The same input gives the same bytes.
///
/// # Errors
///
/// What the format or its readers here do not take: [`SafetensorsError::UnsupportedDtype`], [`SafetensorsError::ShapeOverflow`],
/// [`SafetensorsError::RankTooLarge`], [`SafetensorsError::DuplicateName`], [`SafetensorsError::TooManyTensors`],
/// [`SafetensorsError::HeaderTooLarge`], and [`SafetensorsError::Header`] for a tensor that is called `__metadata__`.
pub fn layout(metadata: &BTreeMap<String, String>, tensors: &[TensorSpec]) -> Checked<FileLayout> {
    if tensors.len() > MAX_TENSORS {
        return Err(SafetensorsError::TooManyTensors { limit: MAX_TENSORS });
    }
    let too_large = |bytes: usize| SafetensorsError::HeaderTooLarge { bytes: bytes as u64, limit: MAX_HEADER_BYTES };
    let texts = metadata.iter().flat_map(|(key, value)| [key, value]).chain(tensors.iter().map(|tensor| &tensor.name));
    let at_least: usize = texts.map(String::len).sum();
    if at_least as u64 > MAX_HEADER_BYTES {
        return Err(too_large(at_least));
    }
    let bytes: Vec<u64> = tensors.iter().map(bytes_of).collect::<Checked<_>>()?;
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|a, b| rank(tensors[*b].dtype).cmp(&rank(tensors[*a].dtype)).then_with(|| tensors[*a].name.cmp(&tensors[*b].name)));
    let (mut header, mut places, mut end) = (serde_json::Map::new(), vec![(0, 0); tensors.len()], 0u64);
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    for i in order {
        let TensorSpec { name, dtype, shape } = &tensors[i];
        let begin = end;
        let overflow = || SafetensorsError::ShapeOverflow { tensor: name.clone(), shape: shape.iter().map(|dim| *dim as u64).collect() };
        end = begin.checked_add(bytes[i]).filter(|end| *end <= i64::MAX as u64).ok_or_else(overflow)?;
        places[i] = (begin, bytes[i]);
        if name == "__metadata__" {
            let message = "the name is kept for the metadata".to_owned();
            return Err(SafetensorsError::Header { tensor: Some(name.clone()), message });
        }
        let entry = json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [begin, end]});
        if header.insert(name.clone(), entry).is_some() {
            return Err(SafetensorsError::DuplicateName { tensor: name.clone() });
        }
    }
    let mut json = Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(LENGTH_BYTES), b' ');
    if json.len() as u64 > MAX_HEADER_BYTES {
        return Err(too_large(json.len()));
    }
    let header = [(json.len() as u64).to_le_bytes().as_slice(), &json].concat();
    let data = header.len() as u64;
    places.iter_mut().for_each(|(offset, _)| *offset += data);
    Ok(FileLayout { header, tensors: places, padded: data + end, crc_footer: false })
}

/// Where the reference writer's list of dtypes has it: the highest is written first.
fn rank(dtype: Dtype) -> u8 {
    match dtype {
        Dtype::F32 => 4,
        Dtype::BF16 => 3,
        Dtype::F16 => 2,
        Dtype::U8 => 1,
        _ => 0,
    }
}

/// The bytes of a tensor that a file may hold.
fn bytes_of(spec: &TensorSpec) -> Checked<u64> {
    let TensorSpec { name, shape, .. } = spec;
    if shape.len() > MAX_RANK {
        return Err(SafetensorsError::RankTooLarge { tensor: name.clone(), rank: shape.len(), limit: MAX_RANK });
    }
    let dims: Vec<u64> = shape.iter().map(|dim| *dim as u64).collect();
    let dtype = dtype(name, spec.dtype.name())?;
    needed(dtype, &dims).ok_or_else(|| SafetensorsError::ShapeOverflow { tensor: name.clone(), shape: dims })
}

/// The files of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    /// Name, and the tensors that it holds: places in the list that was given.
    pub files: Vec<(String, Vec<usize>)>,
    /// The content of [`INDEX`], where there is more than one file.
    pub index: Option<String>,
}

/// Splits tensors, in the given order, into files of at most `limit` bytes of tensors, as transformers does: a tensor that is larger than
/// the limit has a file of its own, and a tensor that does not fit into the file at hand begins the next one.
///
/// # Errors
///
/// Those of [`layout`] about a single tensor.
pub fn shards(tensors: &[TensorSpec], limit: Option<u64>) -> Checked<Shards> {
    let bytes: Vec<u64> = tensors.iter().map(bytes_of).collect::<Checked<_>>()?;
    let limit = limit.unwrap_or(u64::MAX);
    let (mut groups, mut group, mut held) = (Vec::new(), Vec::new(), 0u64);
    for (i, bytes) in bytes.iter().copied().enumerate() {
        if bytes > limit {
            groups.push(vec![i]);
            continue;
        }
        if !group.is_empty() && held.saturating_add(bytes) > limit {
            groups.push(std::mem::take(&mut group));
            held = 0;
        }
        group.push(i);
        held = held.saturating_add(bytes);
    }
    if !group.is_empty() || groups.is_empty() {
        groups.push(group);
    }
    let n = groups.len();
    if n == 1 {
        return Ok(Shards { files: vec![(SINGLE.to_owned(), groups.remove(0))], index: None });
    }
    let name = |i: usize| format!("model-{:05}-of-{n:05}.safetensors", i + 1);
    let files: Vec<(String, Vec<usize>)> = groups.into_iter().enumerate().map(|(i, group)| (name(i), group)).collect();
    let pairs = files.iter().flat_map(|(file, group)| group.iter().map(|i| (tensors[*i].name.as_str(), file.as_str())));
    let weight_map: BTreeMap<&str, &str> = pairs.collect();
    let index = json!({"metadata": {"total_size": bytes.iter().sum::<u64>()}, "weight_map": weight_map});
    Ok(Shards { files, index: Some(format!("{index:#}\n")) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    use super::super::check;
    use super::*;

    fn spec(name: &str, dtype: Dtype, shape: &[usize]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }
    }

    /// The file of a layout: what `data` gives for each tensor, at its place.
    fn file(layout: &FileLayout, data: &[Vec<u8>]) -> Vec<u8> {
        let mut file = layout.header.clone();
        file.resize(layout.padded as usize, 0);
        for (i, (offset, bytes)) in layout.tensors.iter().enumerate() {
            file[*offset as usize..(offset + bytes) as usize].copy_from_slice(&data[i]);
        }
        file
    }

    const DTYPES: [(Dtype, safetensors::Dtype); 3] =
        [(Dtype::F32, safetensors::Dtype::F32), (Dtype::F16, safetensors::Dtype::F16), (Dtype::BF16, safetensors::Dtype::BF16)];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// The bytes of the reference writer, with and without metadata.
        #[test]
        fn f_rs2_a_file_is_that_of_the_reference_writer(
            tensors in proptest::collection::btree_map(".{0,9}", (0usize..3, proptest::collection::vec(0usize..5, 0..4)), 0..8),
            metadata in proptest::option::of(".{0,9}"),
        ) {
            prop_assume!(!tensors.contains_key("__metadata__"));
            let specs: Vec<TensorSpec> = tensors.iter().map(|(name, (dtype, shape))| spec(name, DTYPES[*dtype].0, shape)).collect();
            let bytes = |spec: &TensorSpec| spec.dtype.bytes_of(&spec.shape).unwrap();
            let data: Vec<Vec<u8>> = specs.iter().map(|spec| (0..bytes(spec)).map(|i| i as u8).collect()).collect();
            let metadata: BTreeMap<String, String> = metadata.into_iter().map(|value| ("format".to_owned(), value)).collect();
            let ours = file(&layout(&metadata, &specs).unwrap(), &data);

            let dtype = |dtype| DTYPES.iter().find(|(ours, _)| *ours == dtype).unwrap().1;
            let view = |i: usize| TensorView::new(dtype(specs[i].dtype), specs[i].shape.clone(), &data[i]).unwrap();
            let views = (0..specs.len()).map(|i| (specs[i].name.as_str(), view(i)));
            let given: HashMap<String, String> = metadata.into_iter().collect();
            let theirs = safetensors::serialize(views, Some(given).filter(|given| !given.is_empty())).unwrap();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(check(&ours), Ok(()));
        }
    }

    #[test]
    fn metadata_are_written_in_the_order_of_their_keys() {
        let metadata = [("format", "pt"), ("a", "1"), ("z", "\u{1b}")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let layout = layout(&metadata.into(), &[]).unwrap();
        assert_eq!(&layout.header[8..], br#"{"__metadata__":{"a":"1","format":"pt","z":"\u001b"}}   "#);
        assert_eq!((layout.padded, layout.crc_footer), (layout.header.len() as u64, false));
    }

    #[test]
    fn what_the_format_cannot_hold_is_not_laid_out() {
        let refusal = |specs: &[TensorSpec]| layout(&BTreeMap::new(), specs).unwrap_err().reason();
        assert_eq!(refusal(&[spec("w", Dtype::Q8_0, &[32])]), "unsupported-dtype");
        assert_eq!(refusal(&[spec("w", Dtype::U8, &[32])]), "unsupported-dtype");
        assert_eq!(refusal(&[spec("w", Dtype::F32, &[1; 9])]), "rank-too-large");
        assert_eq!(refusal(&[spec("w", Dtype::F32, &[1 << 62])]), "shape-overflow");
        assert_eq!(refusal(&[spec("v", Dtype::F32, &[1 << 60]), spec("w", Dtype::F32, &[1 << 60])]), "shape-overflow");
        assert_eq!(refusal(&[spec("w", Dtype::F32, &[1]), spec("w", Dtype::F16, &[1])]), "duplicate-name");
        assert_eq!(refusal(&[spec("__metadata__", Dtype::F32, &[1])]), "header");
        assert_eq!(refusal(&vec![spec("w", Dtype::F32, &[1]); MAX_TENSORS + 1]), "too-many-tensors");
        assert_eq!(refusal(&[spec(&"n".repeat(100_000_001), Dtype::F32, &[1])]), "header-too-large");
    }

    #[test]
    fn tensors_are_split_by_bytes() {
        let specs = [("a", 3), ("b", 1), ("big", 9), ("c", 1), ("d", 1)].map(|(name, n)| spec(name, Dtype::F32, &[n]));
        let files = |limit| shards(&specs, limit).unwrap().files.into_iter().map(|(_, group)| group).collect::<Vec<_>>();
        assert_eq!(files(None), [vec![0, 1, 2, 3, 4]]);
        assert_eq!(files(Some(60)), [vec![0, 1, 2, 3, 4]]);
        assert_eq!(files(Some(16)), [vec![2], vec![0, 1], vec![3, 4]], "the large one is written when it is met, the file at hand goes on");
        assert_eq!(files(Some(20)), [vec![2], vec![0, 1, 3], vec![4]]);
        assert_eq!(files(Some(0)).len(), 5);
        let split = shards(&specs, Some(20)).unwrap();
        assert_eq!(split.files[1].0, "model-00002-of-00003.safetensors");
        let index: Value = serde_json::from_str(&split.index.unwrap()).unwrap();
        assert_eq!(index["metadata"]["total_size"], 60);
        assert_eq!(index["weight_map"]["d"], "model-00003-of-00003.safetensors");
        let none = shards(&[], Some(1)).unwrap();
        assert_eq!(none, Shards { files: vec![(SINGLE.to_owned(), vec![])], index: None });
    }
}
