//! The metadata of a file that is about to be written.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Checked;
use super::model::{HF_CHAT_TEMPLATES, HF_CONFIG, HF_GENERATION_CONFIG, HF_TOKENIZER, fields_of};
use crate::error::{AprError, InFile, Result};
use crate::format::json::{kind, parse_object};
use crate::format::layout::TensorSpec;
use crate::{Checkpoint, Config};

/// What `quantization` says of each: name, bits, block, whether zero is in the middle.
const QUANTIZATIONS: [(&str, &str, u8, Option<usize>, bool); 4] = [
    ("q8", "int8", 8, None, true),
    ("q4", "int4", 4, Some(32), true),
    ("q4_k", "q4_k", 4, Some(256), false),
    ("q6_k", "q6_k", 6, Some(256), true),
];

/// The metadata of an APR file of the model: the fields that readers of this format go by, the tokenizer, the three files of the folder whole
/// (see [`checkpoint`](super::checkpoint)), and `provenance` as strings. `quantization` is the name of the mix of types that `tensors`, which
/// are all that the file will hold, are in.
///
/// # Errors
///
/// [`Error::Json`](crate::Error::Json) or [`Error::Apr`](crate::Error::Apr) for a `tokenizer.json` that is not understood.
pub fn export_metadata(
    config: &Config,
    checkpoint: &Checkpoint,
    quantization: &str,
    tensors: &[TensorSpec],
    provenance: &[(String, String)],
) -> Result<Map<String, Value>> {
    let mut metadata = Map::from_iter([("model_type".to_owned(), Value::from(config.architecture.name()))]);
    let bytes: u64 = tensors.iter().filter_map(|tensor| tensor.dtype.bytes_of(&tensor.shape)).map(|bytes| bytes as u64).sum();
    let numbers: u64 = tensors.iter().map(|tensor| tensor.shape.iter().map(|dim| *dim as u64).product::<u64>()).sum();
    metadata.insert("total_size".to_owned(), bytes.into());
    metadata.insert("param_count".to_owned(), numbers.into());
    if let Some((_, quant_type, bits, block_size, symmetric)) = QUANTIZATIONS.into_iter().find(|(name, ..)| *name == quantization) {
        let fields = json!({"quant_type": quant_type, "bits": bits, "block_size": block_size, "symmetric": symmetric});
        metadata.insert("quantization".to_owned(), fields);
    }
    metadata.extend(fields_of(config));
    if let Some(tokenizer) = &checkpoint.tokenizer {
        let file = checkpoint.tokenizer_file();
        let fields = parse_object(tokenizer).in_file(&file)?;
        metadata.extend(tokenizer_fields(&fields, config).in_file(&file)?);
        metadata.insert(HF_TOKENIZER.to_owned(), without_white_space(tokenizer).into());
    }
    if !checkpoint.chat_templates.is_empty() {
        let templates = checkpoint.chat_templates.iter().map(|(name, source)| (name.to_owned(), Value::from(source)));
        metadata.insert(HF_CHAT_TEMPLATES.to_owned(), Value::Object(templates.collect()));
    }
    metadata.insert(HF_CONFIG.to_owned(), Value::Object(checkpoint.config.clone()));
    if let Some(fields) = &checkpoint.generation_config {
        metadata.insert(HF_GENERATION_CONFIG.to_owned(), Value::Object(fields.clone()));
    }
    metadata.extend(provenance.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    Ok(metadata)
}

/// The `tokenizer.*` fields of a `tokenizer.json`. Merges whose left half has a space in it have no spelling here; they are left out, all of
/// them, so that a reader finds none rather than some.
#[expect(clippy::too_many_lines, reason = "field by field, as the format lists them")]
pub(super) fn tokenizer_fields(file: &Map<String, Value>, config: &Config) -> Checked<Map<String, Value>> {
    let model = match file.get("model") {
        Some(Value::Object(model)) => model,
        other => return Err(wrong("model", other, "an object")),
    };
    let (mut tokens, mut scores) = (BTreeMap::new(), BTreeMap::new());
    match model.get("vocab") {
        Some(Value::Object(entries)) => {
            for (token, value) in entries {
                tokens.insert(id("model.vocab", value)?, token.as_str());
            }
        }
        Some(Value::Array(entries)) => {
            for (id, entry) in entries.iter().enumerate() {
                let Some([Value::String(token), score]) = entry.as_array().map(Vec::as_slice) else {
                    return Err(wrong("model.vocab", Some(entry), "pairs of token and score"));
                };
                tokens.insert(id as u64, token.as_str());
                scores.insert(id as u64, score.clone());
            }
        }
        other => return Err(wrong("model.vocab", other, "an object or an array")),
    }
    for added in file.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        let (value, content) = (added.get("id").unwrap_or(&Value::Null), added.get("content"));
        let Some(Value::String(token)) = content else { return Err(wrong("added_tokens.content", content, "a string")) };
        tokens.insert(id("added_tokens.id", value)?, token);
    }
    if tokens.last_key_value().is_some_and(|(last, _)| *last + 1 != tokens.len() as u64) {
        let due = "ids from 0 on without a gap";
        return Err(AprError::Field { field: "model.vocab".to_owned(), found: "a list with gaps", due });
    }
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(format!("tokenizer.{name}"), value));
    put("model_type", model.get("type").cloned().unwrap_or_else(|| "BPE".into()));
    put("architecture", config.architecture.name().into());
    put("vocab_size", tokens.len().into());
    if !scores.is_empty() {
        put("scores", tokens.keys().map(|id| scores.get(id).cloned().unwrap_or_else(|| 0.0.into())).collect());
    }
    put("vocabulary", tokens.into_values().collect());
    if let Some(merges) =
        model.get("merges").and_then(Value::as_array).and_then(|merges| merges.iter().map(merge).collect::<Option<Value>>())
    {
        put("merges", merges);
    }
    for (name, id) in [("bos_token_id", config.bos), ("eos_token_id", config.eos.first().copied())] {
        if let Some(id) = id {
            put(name, id.into());
        }
    }
    Ok(fields)
}

/// A merge as `left right`; `None` if a reader would split it elsewhere.
fn merge(merge: &Value) -> Option<Value> {
    match merge {
        Value::String(text) => Some(text.clone().into()),
        Value::Array(halves) => match halves.as_slice() {
            [Value::String(left), Value::String(right)] if !left.contains(' ') => Some(format!("{left} {right}").into()),
            _ => None,
        },
        _ => None,
    }
}

fn id(field: &str, value: &Value) -> Checked<u64> {
    value.as_u64().filter(|id| *id <= u64::from(u32::MAX)).ok_or_else(|| wrong(field, Some(value), "a token id"))
}

fn wrong(field: &str, found: Option<&Value>, due: &'static str) -> AprError {
    AprError::Field { field: field.to_owned(), found: found.map_or("missing", kind), due }
}

/// Valid JSON without the white space between its tokens; every other byte stays, so that no number is rounded.
fn without_white_space(json: &[u8]) -> String {
    let (mut is_string, mut is_escaped) = (false, false);
    let mut kept = Vec::with_capacity(json.len());
    for byte in json {
        if !is_string && matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        }
        kept.push(*byte);
        is_string ^= *byte == b'"' && !is_escaped;
        is_escaped = is_string && *byte == b'\\' && !is_escaped;
    }
    // Whole characters stay, and the text was UTF-8.
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_and_strings_stay() {
        let text = "{ \"a b\" : [ 1.50, \"\\\" \\\\\" ,\n\t\"é \\u0020\"], \"c\\\\\" : { } }\r\n";
        assert_eq!(without_white_space(text.as_bytes()), "{\"a b\":[1.50,\"\\\" \\\\\",\"é \\u0020\"],\"c\\\\\":{}}");
    }

    #[test]
    fn merges_are_spelled_with_one_space_or_not_at_all() {
        assert_eq!(merge(&json!("a b")), Some(json!("a b")));
        assert_eq!(merge(&json!(["a", "b c"])), Some(json!("a b c")));
        assert_eq!(merge(&json!(["a b", "c"])), None);
    }
}
