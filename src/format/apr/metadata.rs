//! The metadata: strict JSON, each field under one name.

use serde_json::{Map, Value};

use super::Checked;
use crate::error::AprError;
use crate::format::json;

/// The most metadata that a file may have. The `apr-format` crate states the same limit and does not hold files to it.
pub const MAX_METADATA_BYTES: usize = 16 << 20;

/// The names of one field, its own first. Readers of this format take each for the first; a file that states two of them makes one
/// reader drop everything, and lets another one choose.
pub(super) const ALIASES: [&[&str]; 8] = [
    &["hidden_size", "hidden_dim", "d_model", "n_embd"],
    &["num_layers", "num_hidden_layers", "n_layers", "n_layer"],
    &["num_heads", "num_attention_heads", "n_heads", "n_head"],
    &["num_kv_heads", "num_key_value_heads", "n_kv_heads"],
    &["vocab_size", "n_vocab"],
    &["intermediate_size", "ffn_dim", "intermediate_dim", "n_inner"],
    &["max_position_embeddings", "max_seq_len", "context_length", "n_ctx"],
    &["rms_norm_eps", "layer_norm_eps", "norm_eps"],
];

/// Reads the metadata.
pub(super) fn parse(bytes: &[u8]) -> Checked<Map<String, Value>> {
    let metadata = json::parse_object(bytes).map_err(|source| AprError::Metadata { source })?;
    for names in ALIASES {
        let mut stated = names.iter().filter(|name| metadata.contains_key(**name));
        if let (Some(first), Some(second)) = (stated.next(), stated.next()) {
            return Err(AprError::Aliases { first, second });
        }
    }
    Ok(metadata)
}

/// The value of a field under any of its names, unless it is `null`.
pub(super) fn field<'a>(metadata: &'a Map<String, Value>, name: &str) -> Option<(&'a str, &'a Value)> {
    let aliases = ALIASES.into_iter().find(|names| names[0] == name);
    let names = aliases.unwrap_or_default().iter().copied().chain(std::iter::once(name));
    let stated = names.filter_map(|name| metadata.get_key_value(name)).find(|(_, value)| !value.is_null());
    stated.map(|(name, value)| (name.as_str(), value))
}
