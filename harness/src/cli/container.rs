//! What the container of a model says of itself: format, version, alignment, metadata, and where each tensor lies.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use ground_truth::format::Format;
use ground_truth::format::apr::{ALIGNMENT, Apr};
use ground_truth::format::gguf::Gguf;
use ground_truth::{Checkpoint, Order, Tensor};
use serde::Serialize;

use super::{Refusal, no_model};

/// The most characters of a value that are shown.
const MAX_SHOWN: usize = 200;

#[derive(Serialize)]
pub(super) struct Container {
    pub(super) format: &'static str,
    /// What the file says; null where the format has none.
    pub(super) version: Option<String>,
    /// What tensors begin at a multiple of, in bytes; 1 where they begin anywhere.
    pub(super) alignment: u64,
    /// All files together.
    pub(super) bytes: u64,
    /// The CRC-32 that the file carries and that was right; null where the format has none.
    pub(super) crc32: Option<String>,
    pub(super) metadata: Vec<Entry>,
}

#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) key: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// As text, cut after some characters.
    pub(super) value: String,
}

/// Where a tensor lies.
#[derive(Serialize)]
pub(super) struct Place {
    /// Its name in the file.
    pub(super) stored_name: String,
    /// Its shape in the file, slowest dimension first.
    pub(super) stored_shape: Vec<usize>,
    pub(super) order: String,
    /// The file, without its folder.
    pub(super) file: Option<String>,
    /// From the beginning of the file.
    pub(super) offset: Option<u64>,
    pub(super) bytes: u64,
}

/// The container of `path`, which was opened as `checkpoint`.
pub(super) fn read(path: &Path, checkpoint: &Checkpoint) -> Result<Container, Refusal> {
    let refuse = |error: ground_truth::Error| no_model(path, &error);
    let format = Format::of(path).map_err(refuse)?;
    let files: BTreeSet<PathBuf> = match format {
        Format::Safetensors => checkpoint.tensors.iter().filter_map(|(_, tensor)| tensor.file().map(Path::to_owned)).collect(),
        _ => BTreeSet::from([path.to_owned()]),
    };
    let bytes = files.iter().map(|file| std::fs::metadata(file).map_or(0, |metadata| metadata.len())).sum();
    let mut container = Container { format: format.name(), version: None, alignment: 1, bytes, crc32: None, metadata: Vec::new() };
    match format {
        Format::Gguf => {
            let file = Gguf::open(path).map_err(refuse)?;
            container.version = Some(file.version.to_string());
            container.alignment = file.alignment;
            let entry = |(key, value): (&str, &ground_truth::format::gguf::Value)| Entry {
                key: key.to_owned(),
                kind: value.type_name(),
                value: shown(&value.to_string()),
            };
            container.metadata = file.metadata.iter().map(entry).collect();
        }
        Format::Apr => {
            let file = Apr::open(path).map_err(refuse)?;
            container.version = Some("2.0".to_owned());
            container.alignment = ALIGNMENT;
            container.crc32 = Some(format!("{:08x}", file.checksum));
            container.metadata = file.metadata.iter().map(|(key, value)| json_entry(key, value)).collect();
        }
        Format::Safetensors => {
            for file in &files {
                container.metadata.extend(safetensors_metadata(file));
            }
        }
    }
    Ok(container)
}

fn json_entry(key: &str, value: &serde_json::Value) -> Entry {
    let (kind, text) = match value {
        serde_json::Value::Null => ("null", "null".to_owned()),
        serde_json::Value::Bool(value) => ("bool", value.to_string()),
        serde_json::Value::Number(value) => ("number", value.to_string()),
        serde_json::Value::String(value) => ("string", value.clone()),
        serde_json::Value::Array(values) => ("array", format!("{} values: {value}", values.len())),
        serde_json::Value::Object(_) => ("object", value.to_string()),
    };
    Entry { key: key.to_owned(), kind: kind.to_owned(), value: shown(&text) }
}

/// `__metadata__` of a file that was read and found valid.
fn safetensors_metadata(path: &Path) -> Vec<Entry> {
    let header = || -> Option<serde_json::Value> {
        let mut file = std::fs::File::open(path).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(length)).read_to_end(&mut header).ok()?;
        serde_json::from_slice(&header).ok()
    };
    let header = header().unwrap_or_default();
    let metadata = header.get("__metadata__").and_then(serde_json::Value::as_object);
    metadata.into_iter().flatten().map(|(key, value)| json_entry(key, value)).collect()
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown += "...";
    }
    shown
}

/// Where each tensor lies, by its Hugging Face name.
pub(super) fn places(path: &Path, checkpoint: &Checkpoint) -> Result<BTreeMap<String, Place>, Refusal> {
    // GGUF has names of its own; a tensor is found by where it lies.
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    if Format::of(path).map_err(|error| no_model(path, &error))? == Format::Gguf {
        let file = Gguf::open(path).map_err(|error| no_model(path, &error))?;
        names = file.tensors.into_iter().map(|info| (info.offset, info.name)).collect();
    }
    let place = |(name, tensor): (&str, &Tensor)| {
        let at = tensor.place();
        let stored_name = at.and_then(|(_, offset)| names.get(&offset).cloned()).unwrap_or_else(|| name.to_owned());
        let mut stored_shape = tensor.shape().to_vec();
        if tensor.order() == Order::Transposed {
            stored_shape.reverse();
        }
        let place = Place {
            stored_name,
            stored_shape,
            order: order(tensor),
            file: at.and_then(|(file, _)| file.file_name().map(|name| name.to_string_lossy().into_owned())),
            offset: at.map(|(_, offset)| offset),
            bytes: tensor.bytes().len() as u64,
        };
        (name.to_owned(), place)
    };
    Ok(checkpoint.tensors.iter().map(place).collect())
}

/// How the elements of a tensor lie in its bytes.
pub(super) fn order(tensor: &Tensor) -> String {
    match tensor.order() {
        Order::RowMajor => "row-major".to_owned(),
        Order::InterleavedHeads(heads) => format!("interleaved-heads({heads})"),
        Order::Transposed => "transposed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::carried;

    /// What is said of a container, and where a matrix of queries lies in it: the bytes there are the tensor's.
    #[test]
    fn every_container_tells_what_it_is_and_where_its_tensors_lie() {
        let query = "model.layers.0.self_attn.q_proj.weight";
        for (given, format, version, alignment, stored_name, order) in [
            (None, "safetensors", None, 1, query, "row-major"),
            (Some((Format::Gguf, "q8_0")), "gguf", Some("3"), 32, "blk.0.attn_q.weight", "interleaved-heads(4)"),
            (Some((Format::Apr, "f32")), "apr", Some("2.0"), 64, query, "row-major"),
        ] {
            let (path, _folder) = carried("llama-tiny", given);
            let checkpoint = Checkpoint::open(&path).unwrap();
            let container = read(&path, &checkpoint).map_err(|refusal| refusal.message).unwrap();
            assert_eq!((container.format, container.version.as_deref(), container.alignment), (format, version, alignment));
            assert_eq!(container.crc32.is_some(), format == "apr");
            assert!(!container.metadata.is_empty() && container.bytes > 1 << 20, "{format}: {} bytes", container.bytes);
            assert!(container.metadata.iter().all(|entry| entry.value.chars().count() <= MAX_SHOWN + 3));
            let places = places(&path, &checkpoint).map_err(|refusal| refusal.message).unwrap();
            assert_eq!(places.len(), checkpoint.tensors.len());
            let (place, tensor) = (&places[query], checkpoint.tensors.get(query).unwrap());
            assert_eq!((place.stored_name.as_str(), place.order.as_str(), place.bytes), (stored_name, order, tensor.bytes().len() as u64));
            assert_eq!(place.stored_shape, [256, 256]);
            let (file, begin) = (place.file.as_ref().unwrap(), usize::try_from(place.offset.unwrap()).unwrap());
            let file = if path.is_dir() { path.join(file) } else { path.with_file_name(file) };
            assert_eq!(&std::fs::read(file).unwrap()[begin..][..tensor.bytes().len()], tensor.bytes(), "{format}");
        }
    }

    #[test]
    fn a_matrix_that_lies_transposed_is_told_as_it_lies() {
        let (path, _folder) = carried("gpt2-tiny", Some((Format::Gguf, "f32")));
        let checkpoint = Checkpoint::open(&path).unwrap();
        let place = &places(&path, &checkpoint).map_err(|refusal| refusal.message).unwrap()["transformer.h.0.mlp.c_fc.weight"];
        assert_eq!((place.order.as_str(), place.stored_shape.as_slice()), ("transposed", [1024, 256].as_slice()));
    }

    #[test]
    fn values_of_metadata_are_told_by_type_and_cut_when_long() {
        let entry = |value: serde_json::Value| {
            let entry = json_entry("k", &value);
            (entry.kind, entry.value)
        };
        let told = |kind: &str, value: &str| (kind.to_owned(), value.to_owned());
        assert_eq!(entry(serde_json::json!(null)), told("null", "null"));
        assert_eq!(entry(serde_json::json!(true)), told("bool", "true"));
        assert_eq!(entry(serde_json::json!(1.5)), told("number", "1.5"));
        assert_eq!(entry(serde_json::json!([1, 2])), told("array", "2 values: [1,2]"));
        assert_eq!(entry(serde_json::json!({"a": 1})), told("object", "{\"a\":1}"));
        assert_eq!(entry(serde_json::json!("x".repeat(MAX_SHOWN))), told("string", &"x".repeat(MAX_SHOWN)));
        assert_eq!(entry(serde_json::json!("x".repeat(MAX_SHOWN + 1))), told("string", &format!("{}...", "x".repeat(MAX_SHOWN))));
    }
}
