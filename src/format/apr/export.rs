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

    fn config() -> Config {
        let fields = json!({"model_type": "llama", "vocab_size": 4, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 1, "bos_token_id": 1, "eos_token_id": [2, 3]});
        Config::parse(fields.as_object().unwrap(), None, std::path::Path::new("config.json")).unwrap()
    }

    fn fields_for(file: &Value) -> Checked<Map<String, Value>> {
        tokenizer_fields(file.as_object().unwrap(), &config())
    }

    #[test]
    fn a_vocabulary_is_told_by_id_with_its_added_tokens_and_scores() {
        let added = json!([{"id": 3, "content": "<x>"}]);
        let map = fields_for(&json!({"model": {"vocab": {"c": 2, "a": 0, "b": 1}, "merges": ["a b", ["b", "c"]]}, "added_tokens": added}));
        let due = json!({"tokenizer.model_type": "BPE", "tokenizer.architecture": "llama", "tokenizer.vocab_size": 4,
            "tokenizer.vocabulary": ["a", "b", "c", "<x>"], "tokenizer.merges": ["a b", "b c"],
            "tokenizer.bos_token_id": 1, "tokenizer.eos_token_id": 2});
        assert_eq!(Value::Object(map.unwrap()), due);
        let pairs = json!({"model": {"type": "Unigram", "vocab": [["a", -1.5], ["b", -2.5], ["c", -3.0]]}, "added_tokens": added});
        let pairs = fields_for(&pairs).unwrap();
        assert_eq!(pairs["tokenizer.scores"], json!([-1.5, -2.5, -3.0, 0.0]));
        assert_eq!((&pairs["tokenizer.vocabulary"], &pairs["tokenizer.model_type"]), (&json!(["a", "b", "c", "<x>"]), &json!("Unigram")));
        assert!(pairs.get("tokenizer.merges").is_none());
        // One merge that has no spelling takes them all out.
        let spaced = fields_for(&json!({"model": {"vocab": {"a": 0}, "merges": [["a", "a"], ["a a", "a"]]}})).unwrap();
        assert!(spaced.get("tokenizer.merges").is_none());
    }

    #[test]
    fn a_tokenizer_that_is_not_understood_is_refused_by_field() {
        for (file, field, found) in [
            (json!({}), "model", "missing"),
            (json!({"model": 1}), "model", kind(&json!(1))),
            (json!({"model": {}}), "model.vocab", "missing"),
            (json!({"model": {"vocab": "a"}}), "model.vocab", kind(&json!("a"))),
            (json!({"model": {"vocab": {"a": -1}}}), "model.vocab", kind(&json!(-1))),
            (json!({"model": {"vocab": {"a": 4_294_967_296_u64}}}), "model.vocab", kind(&json!(1))),
            (json!({"model": {"vocab": {"a": 0, "b": 2}}}), "model.vocab", "a list with gaps"),
            (json!({"model": {"vocab": [["a", 0.5], "b"]}}), "model.vocab", kind(&json!("b"))),
            (json!({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1}]}), "added_tokens.content", "missing"),
            (json!({"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": "b"}]}), "added_tokens.id", kind(&Value::Null)),
        ] {
            match fields_for(&file) {
                Err(AprError::Field { field: named, found: told, .. }) => assert_eq!((named.as_str(), told), (field, found), "{file}"),
                other => panic!("{file}: {other:?}"),
            }
        }
    }
}
