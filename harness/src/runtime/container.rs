//! An artifact as it is stored: names, places, digests and first bytes, read from the file by position and not from what was loaded of it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ground_truth::format::Format;
use ground_truth::format::apr::{self, Apr};
use ground_truth::format::gguf::{Gguf, Value};
use ground_truth::{Checkpoint, Order, Tensor};
use ground_truth_falsification::observation::{Container, HEAD_BYTES, MAGIC_BYTES, MetadataEntry, Stored, StoredFile};
use sha2::{Digest, Sha256};

use crate::escape::hex;

/// Keys under which the converter states the hashes of its sources.
const SOURCE_KEY: &str = "ground_truth.source.sha256.";

/// Bytes that are read at a time.
const PIECE: usize = 1 << 16;

/// What one tensor of a container is called there, and where it lies.
struct Row {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

/// The artifact at `path`, which was opened as `checkpoint`. Where that was changed in memory since (`edited`), its tensors stand for the
/// file's.
///
/// # Errors
/// What cannot be read, by name.
pub fn read(path: &Path, checkpoint: &Checkpoint, edited: bool) -> Result<Container, String> {
    let format = Format::of(path).map_err(|error| error.to_string())?;
    let mut container = match format {
        Format::Gguf => gguf(path, checkpoint)?,
        Format::Apr => apr(path, checkpoint)?,
        Format::Safetensors if edited => in_memory(checkpoint),
        Format::Safetensors => safetensors(checkpoint)?,
    };
    container.n_bytes = container.files.iter().map(|file| file.bytes).sum();
    container.has_tokenizer = checkpoint.tokenizer.is_some();
    container.values_digest = hex(&checkpoint.values_digest());
    let sources = container.metadata.iter().filter_map(|entry| Some((entry.key.strip_prefix(SOURCE_KEY)?.to_owned(), entry.value.clone())));
    container.source = sources.collect();
    Ok(container)
}

/// The Hugging Face name of each tensor by where it lies.
fn names(checkpoint: &Checkpoint) -> HashMap<(PathBuf, u64), String> {
    let named = |(name, tensor): (&str, &Tensor)| tensor.place().map(|(file, at)| ((file.to_owned(), at), name.to_owned()));
    checkpoint.tensors.iter().filter_map(named).collect()
}

/// A file with its tensors, read by position.
fn file(path: &Path, place: usize, data: u64, rows: Vec<Row>, checkpoint: &Checkpoint) -> Result<(StoredFile, Vec<Stored>), String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(said)?;
    let bytes = file.metadata().map_err(said)?.len();
    let hf_names = names(checkpoint);
    let mut magic = vec![0; MAGIC_BYTES.min(usize::try_from(bytes).unwrap_or(MAGIC_BYTES))];
    file.read_exact_at(&mut magic, 0).map_err(said)?;
    let mut tensors = Vec::with_capacity(rows.len());
    for row in rows {
        let (head, sha256) = digest(&file, row.offset, row.bytes).map_err(said)?;
        tensors.push(Stored {
            hf_name: hf_names.get(&(path.to_owned(), row.offset)).cloned(),
            name: row.name,
            dtype: row.dtype,
            shape: row.shape,
            file: place,
            offset: row.offset,
            bytes: row.bytes,
            sha256,
            head,
        });
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((StoredFile { name, bytes, magic, data }, tensors))
}

/// The first bytes of a stretch of a file, and the digest of all of it.
fn digest(file: &File, offset: u64, bytes: u64) -> std::io::Result<(Vec<u8>, String)> {
    let (mut digest, mut head, mut done) = (Sha256::new(), Vec::new(), 0u64);
    let mut piece = vec![0; PIECE];
    while done < bytes {
        let n = usize::try_from(bytes - done).map_or(PIECE, |left| left.min(PIECE));
        file.read_exact_at(&mut piece[..n], offset + done)?;
        if head.is_empty() {
            head = piece[..n.min(HEAD_BYTES)].to_vec();
        }
        digest.update(&piece[..n]);
        done += n as u64;
    }
    Ok((head, hex(&digest.finalize())))
}

fn gguf(path: &Path, checkpoint: &Checkpoint) -> Result<Container, String> {
    let gguf = Gguf::open(path).map_err(|error| error.to_string())?;
    let row = |info: &ground_truth::format::gguf::TensorInfo| Row {
        name: info.name.clone(),
        dtype: info.dtype.to_string(),
        shape: info.shape.clone(),
        offset: info.offset,
        bytes: info.bytes,
    };
    let first = gguf.tensors.iter().map(|info| info.offset).min().unwrap_or(0);
    let (stored, tensors) = file(path, 0, first, gguf.tensors.iter().map(row).collect(), checkpoint)?;
    let entry = |(key, value): (&str, &Value)| MetadataEntry {
        key: key.to_owned(),
        kind: value.type_name(),
        value: if let Value::Array(array) = value { format!("[{}]", array.len()) } else { value.to_string() },
    };
    Ok(Container {
        format: Format::Gguf.name().to_owned(),
        version: gguf.version.to_string(),
        alignment: gguf.alignment,
        files: vec![stored],
        metadata: gguf.metadata.iter().map(entry).collect(),
        tensors,
        ..Container::default()
    })
}

fn apr(path: &Path, checkpoint: &Checkpoint) -> Result<Container, String> {
    let apr = Apr::open(path).map_err(|error| error.to_string())?;
    let mut rows: Vec<Row> = apr
        .tensors
        .iter()
        .map(|info| Row {
            name: info.name.clone(),
            dtype: info.dtype.to_string(),
            shape: info.shape.clone(),
            offset: info.offset,
            bytes: info.bytes,
        })
        .collect();
    rows.sort_by_key(|row| row.offset);
    let first = rows.first().map_or(0, |row| row.offset);
    let (stored, tensors) = file(path, 0, first, rows, checkpoint)?;
    Ok(Container {
        format: Format::Apr.name().to_owned(),
        version: "2".to_owned(),
        alignment: apr::ALIGNMENT,
        files: vec![stored],
        metadata: apr.metadata.iter().map(|(key, value)| json_entry(key, value)).collect(),
        tensors,
        // A file whose checksums are wrong, or that has none, is not opened.
        checksum: Some(true),
        ..Container::default()
    })
}

fn json_entry(key: &str, value: &serde_json::Value) -> MetadataEntry {
    use serde_json::Value;
    let (kind, value) = match value {
        Value::Null => ("null", String::new()),
        Value::Bool(value) => ("bool", value.to_string()),
        Value::Number(value) => ("number", value.to_string()),
        Value::String(value) => ("string", value.clone()),
        Value::Array(values) => ("array", format!("[{}]", values.len())),
        Value::Object(value) => ("object", serde_json::to_string(value).unwrap_or_default()),
    };
    MetadataEntry { key: key.to_owned(), kind: kind.to_owned(), value }
}

/// The header of a file that was opened without complaint.
fn header(path: &Path) -> Result<(u64, serde_json::Value), String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(said)?;
    let mut length = [0; 8];
    file.read_exact_at(&mut length, 0).map_err(said)?;
    let length = u64::from_le_bytes(length);
    let available = file.metadata().map_err(said)?.len().saturating_sub(8);
    if length > available {
        return Err(format!("{}: a header of {length} bytes in a file with {available} more", path.display()));
    }
    let mut header = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
    file.read_exact_at(&mut header, 8).map_err(said)?;
    let header = serde_json::from_slice(&header).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((8 + length, header))
}

fn stored_shape(tensor: &Tensor) -> Vec<usize> {
    let mut shape = tensor.shape().to_vec();
    if tensor.order() == Order::Transposed {
        shape.reverse();
    }
    shape
}

fn safetensors(checkpoint: &Checkpoint) -> Result<Container, String> {
    let mut files: Vec<PathBuf> = checkpoint.tensors.iter().filter_map(|(_, tensor)| tensor.file().map(Path::to_owned)).collect();
    files.sort();
    files.dedup();
    let mut container = Container { format: Format::Safetensors.name().to_owned(), alignment: 1, ..Container::default() };
    for (place, path) in files.iter().enumerate() {
        let (data, header) = header(path)?;
        let of_file = checkpoint.tensors.iter().filter_map(|(name, tensor)| {
            let (file, offset) = tensor.place()?;
            let row = Row {
                name: name.to_owned(),
                dtype: tensor.dtype().to_string(),
                shape: stored_shape(tensor),
                offset,
                bytes: tensor.bytes().len() as u64,
            };
            (file == path).then_some(row)
        });
        let mut rows: Vec<Row> = of_file.collect();
        rows.sort_by_key(|row| row.offset);
        let (stored, tensors) = file(path, place, data, rows, checkpoint)?;
        container.files.push(stored);
        container.tensors.extend(tensors);
        let metadata = header.get("__metadata__").and_then(serde_json::Value::as_object);
        for entry in metadata.into_iter().flatten().map(|(key, value)| json_entry(key, value)) {
            // Every shard says it again.
            if !container.metadata.contains(&entry) {
                container.metadata.push(entry);
            }
        }
    }
    Ok(container)
}

/// The length of a header that nobody writes.
const HEADER: u64 = 4088;

/// A folder that exists in memory alone: laid out as its file would be.
fn in_memory(checkpoint: &Checkpoint) -> Container {
    let mut end = HEADER + 8;
    let mut tensors = Vec::new();
    for (name, tensor) in checkpoint.tensors.iter() {
        let bytes = tensor.bytes();
        tensors.push(Stored {
            name: name.to_owned(),
            hf_name: Some(name.to_owned()),
            dtype: tensor.dtype().to_string(),
            shape: stored_shape(tensor),
            file: 0,
            offset: end,
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
            head: bytes[..bytes.len().min(HEAD_BYTES)].to_vec(),
        });
        end += bytes.len() as u64;
    }
    let mut magic = HEADER.to_le_bytes().to_vec();
    magic.extend_from_slice(b"{\"name\"");
    magic.truncate(MAGIC_BYTES);
    let file = StoredFile { name: "model.safetensors".to_owned(), bytes: end, magic, data: HEADER + 8 };
    Container { format: Format::Safetensors.name().to_owned(), alignment: 1, files: vec![file], tensors, ..Container::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::carried;

    /// What is read by position is what was loaded, in every container.
    #[test]
    fn what_a_file_holds_is_what_was_loaded_from_it() {
        for (form, version, alignment) in [
            (None, "", 1),
            (Some((Format::Gguf, "q8_0")), "3", 32),
            (Some((Format::Apr, "q4")), "2", 64),
            (Some((Format::Safetensors, "bf16")), "", 1),
        ] {
            let (path, _folder) = carried("gpt2-tiny", form);
            let checkpoint = Checkpoint::open(&path).unwrap();
            let container = read(&path, &checkpoint, false).unwrap();
            let format = form.map_or(Format::Safetensors, |(format, _)| format);
            assert_eq!((container.format.as_str(), container.version.as_str(), container.alignment), (format.name(), version, alignment));
            let bytes: u64 = container.files.iter().map(|file| file.bytes).sum();
            assert!(container.n_bytes == bytes && container.has_tokenizer && container.files[0].data > 8, "{format}");
            assert_eq!(container.tensors.len(), checkpoint.tensors.len());
            assert_eq!(container.checksum, (format == Format::Apr).then_some(true));
            for stored in &container.tensors {
                let tensor = checkpoint.tensors.get(stored.hf_name.as_deref().unwrap()).unwrap();
                let mut shape = stored.shape.clone();
                if tensor.order() == Order::Transposed {
                    shape.reverse();
                }
                assert_eq!((shape.as_slice(), stored.dtype.as_str()), (tensor.shape(), tensor.dtype().to_string().as_str()));
                assert_eq!((stored.bytes, stored.sha256.clone()), (tensor.bytes().len() as u64, hex(&Sha256::digest(tensor.bytes()))));
                assert_eq!(stored.head, tensor.bytes()[..tensor.bytes().len().min(HEAD_BYTES)]);
            }
            assert_eq!(container.source.is_empty(), form.is_none(), "{format}: a published folder states no source");
        }
    }

    /// A model that was changed in memory is laid out as its file would be.
    #[test]
    fn what_is_in_memory_alone_is_laid_out_one_tensor_after_the_other() {
        let (path, _folder) = carried("llama-tiny", None);
        let checkpoint = Checkpoint::open(&path).unwrap();
        let (stored, edited) = (read(&path, &checkpoint, false).unwrap(), read(&path, &checkpoint, true).unwrap());
        let told = |container: &Container| {
            let mut all: Vec<_> =
                container.tensors.iter().map(|t| (t.name.clone(), t.shape.clone(), t.sha256.clone(), t.head.clone())).collect();
            all.sort();
            all
        };
        assert_eq!(told(&edited), told(&stored));
        let mut end = edited.files[0].data;
        for tensor in &edited.tensors {
            assert_eq!(tensor.offset, end, "{}", tensor.name);
            end += tensor.bytes;
        }
        assert_eq!((edited.files[0].bytes, edited.n_bytes), (end, end));
        assert_eq!(edited.files[0].magic[..9], [&HEADER.to_le_bytes()[..], b"{"].concat());
    }

    #[test]
    fn entries_of_json_have_their_type() {
        for (value, kind, text) in [
            (serde_json::json!(null), "null", ""),
            (serde_json::json!(false), "bool", "false"),
            (serde_json::json!(1.5), "number", "1.5"),
            (serde_json::json!("a"), "string", "a"),
            (serde_json::json!([1, 2]), "array", "[2]"),
            (serde_json::json!({"a": 1}), "object", "{\"a\":1}"),
        ] {
            let entry = json_entry("k", &value);
            assert_eq!((entry.key.as_str(), entry.kind.as_str(), entry.value.as_str()), ("k", kind, text));
        }
    }

    #[test]
    fn a_header_longer_than_its_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, [&3u64.to_le_bytes()[..], b"{} "].concat()).unwrap();
        assert_eq!(header(&path), Ok((11, serde_json::json!({}))));
        std::fs::write(&path, [&4u64.to_le_bytes()[..], b"{} "].concat()).unwrap();
        assert!(header(&path).unwrap_err().ends_with("a header of 4 bytes in a file with 3 more"));
    }
}
