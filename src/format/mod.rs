//! Containers of weights, and how files are opened. What a file is, is decided by its content.

pub mod apr;
pub(crate) mod file;
pub mod gguf;
pub(crate) mod json;
pub mod layout;
pub mod safetensors;
pub(crate) mod shards;
pub(crate) mod sniff;

use std::path::Path;

use crate::Tensors;
use crate::error::Result;

/// Reads the weights in `dir`: `model.safetensors` where there is one, as transformers does, else the shards of
/// `model.safetensors.index.json`.
pub(crate) fn read_weights(dir: &Path) -> Result<Tensors> {
    shards::read(dir)
}
