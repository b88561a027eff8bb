//! The weights of a folder: one file, or an index and the shards that it names.
//!
//! `model.safetensors.index.json` is `{"metadata":{"total_size":N},"weight_map":{"tensor":"model-00001-of-00002.safetensors"}}`. An
//! index comes from strangers as much as the weights do, so:
//!
//! - every shard name is a plain file name before the first file is opened: letters, digits, `.`, `_`, `-`, at most 200 of them, a letter
//!   or digit first, then `.safetensors`;
//! - a shard may be a link within the model's folder, or into the `blobs/` of the hub cache that the folder is a snapshot of, and
//!   nowhere else;
//! - the map and what the shards hold agree name for name, and `total_size`, where it is stated, is what they hold.
//!
//! Where `model.safetensors` stands beside an index, the index is not read: transformers prefers the single file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::safetensors::{INDEX, SINGLE};
use super::{file, json, safetensors};
use crate::Tensors;
use crate::error::{Error, FileError, InFile, IndexError, Result};

/// The largest index. The largest published ones name some 200,000 tensors in 20 MB.
const MAX_INDEX_BYTES: u64 = 32 << 20;

/// The most characters of a shard's name before `.safetensors`.
const MAX_NAME: usize = 200;

/// Weights of other kinds, which a refusal names if it finds one.
const OTHER_WEIGHTS: [&str; 6] =
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "tf_model.h5", "flax_model.msgpack", "model.gguf"];

/// Reads the weights in `dir`.
pub(crate) fn read(dir: &Path) -> Result<Tensors> {
    let is_there = |name: &&str| dir.join(name).symlink_metadata().is_ok();
    if is_there(&SINGLE) {
        let mut tensors = Tensors::new();
        for (name, tensor) in safetensors::open(&dir.join(SINGLE))? {
            tensors.insert(name, tensor);
        }
        return Ok(tensors);
    }
    if is_there(&INDEX) {
        return read_sharded(dir, &dir.join(INDEX));
    }
    let other = OTHER_WEIGHTS.into_iter().find(is_there).map(str::to_owned);
    Err(FileError::NoWeights { other }).in_file(dir)
}

fn read_sharded(dir: &Path, index: &Path) -> Result<Tensors> {
    let object = json::parse_object(&file::read(index, MAX_INDEX_BYTES)?).in_file(index)?;
    let map = weight_map(&object).in_file(index)?;
    let mut tensors = Tensors::new();
    let mut found_in: BTreeMap<String, &str> = BTreeMap::new();
    for shard in map.values().copied().collect::<BTreeSet<&str>>() {
        for (name, tensor) in read_shard(dir, index, shard)? {
            if let Some(first) = found_in.insert(name.clone(), shard) {
                let (first, second) = (first.to_owned(), shard.to_owned());
                return Err(IndexError::InTwoShards { tensor: name, first, second }).in_file(index);
            }
            tensors.insert(name, tensor);
        }
    }
    agree(&map, &found_in).in_file(index)?;
    check_total_size(&object, &tensors).in_file(index)?;
    Ok(tensors)
}

/// Tensor to shard, every shard name checked.
fn weight_map(index: &Map<String, Value>) -> std::result::Result<BTreeMap<&str, &str>, IndexError> {
    let map = match index.get("weight_map") {
        Some(Value::Object(map)) => map,
        other => return Err(IndexError::NoWeightMap { found: other.map_or("missing", json::kind) }),
    };
    let entries = map.iter().map(|(tensor, shard)| match shard {
        Value::String(shard) if is_shard_name(shard) => Ok((tensor.as_str(), shard.as_str())),
        Value::String(shard) => Err(IndexError::ShardName { shard: shard.clone() }),
        other => Err(IndexError::NotAName { tensor: tensor.clone(), found: json::kind(other) }),
    });
    entries.collect()
}

/// Whether a name is `[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.safetensors`.
fn is_shard_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".safetensors") else { return false };
    stem.len() <= MAX_NAME
        && stem.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn read_shard(dir: &Path, index: &Path, shard: &str) -> Result<Vec<(String, crate::Tensor)>> {
    let missing = || IndexError::MissingShard { shard: shard.to_owned() };
    let path = dir.join(shard);
    let is_link = match path.symlink_metadata() {
        Ok(metadata) => metadata.is_symlink(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()).in_file(index),
        Err(error) => return Err(FileError::from(error)).in_file(&path),
    };
    let path = match if is_link { resolve(dir, &path) } else { Ok(Some(path.clone())) } {
        Ok(Some(path)) => path,
        Ok(None) => return Err(IndexError::OutsideFolder { shard: shard.to_owned() }).in_file(index),
        Err(FileError::NotFound) => return Err(missing()).in_file(index),
        Err(error) => return Err(error).in_file(&path),
    };
    match safetensors::open(&path) {
        Err(Error::File { source: FileError::NotFound, .. }) => Err(missing()).in_file(index),
        read => read,
    }
}

/// Where a link leads, if it stays within the folder or leads into the blobs of the same repository of the hub cache
/// (`snapshots/<commit>/<name>` is a link to `../../blobs/<etag>`).
fn resolve(dir: &Path, link: &Path) -> std::result::Result<Option<PathBuf>, FileError> {
    let target = link.canonicalize()?;
    let dir = dir.canonicalize()?;
    let snapshots = dir.parent().filter(|parent| parent.ends_with("snapshots"));
    let blobs = snapshots.and_then(Path::parent).map(|repository| repository.join("blobs"));
    let is_inside = target.starts_with(&dir) || blobs.is_some_and(|blobs| target.starts_with(blobs));
    Ok(is_inside.then_some(target))
}

/// Whether map and shards name the same tensors in the same places.
fn agree(map: &BTreeMap<&str, &str>, found_in: &BTreeMap<String, &str>) -> std::result::Result<(), IndexError> {
    for (tensor, shard) in map {
        let found = found_in.get(*tensor);
        if found != Some(shard) {
            let (tensor, shard) = ((*tensor).to_owned(), (*shard).to_owned());
            return Err(IndexError::NotInShard { tensor, shard, found_in: found.map(|shard| (*shard).to_owned()) });
        }
    }
    match found_in.iter().find(|(tensor, _)| !map.contains_key(tensor.as_str())) {
        Some((tensor, shard)) => Err(IndexError::NotInMap { tensor: tensor.clone(), shard: (*shard).to_owned() }),
        None => Ok(()),
    }
}

fn check_total_size(index: &Map<String, Value>, tensors: &Tensors) -> std::result::Result<(), IndexError> {
    let stated = match index.get("metadata").and_then(|metadata| metadata.get("total_size")) {
        None | Some(Value::Null) => return Ok(()),
        Some(stated) => stated,
    };
    let actual: u64 = tensors.iter().map(|(_, tensor)| tensor.bytes().len() as u64).sum();
    // Some writers state it as a float.
    let is_equal = stated.as_u64() == Some(actual) || stated.is_f64() && stated.as_f64() == Some(actual as f64);
    if is_equal { Ok(()) } else { Err(IndexError::TotalSize { stated: stated.to_string(), actual }) }
}

#[cfg(test)]
mod tests;
