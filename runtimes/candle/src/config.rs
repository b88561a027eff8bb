//! A Hugging Face `config.json` in the words that candle reads.
//!
//! candle's configurations name a few fields and ignore every other, so that a field which it does not know is no error to it but another
//! model. Here each such field is refused by name, unless it is at the value that candle assumes; and RoPE parameters as transformers 5
//! writes them, which candle does not look for, are moved to where it does.

use candle_transformers::models::{llama, qwen2};
use ground_truth_harness::runtime::Failure;
use serde_json::{Map, Value, json};

/// A model's configuration, as candle has it.
#[derive(Debug, Clone)]
pub enum Config {
    /// Of candle's `llama`.
    Llama(llama::Config),
    /// Of candle's `qwen2`.
    Qwen2(qwen2::Config),
}

fn refused(message: String) -> Failure {
    Failure::Refused { kind: "config".to_owned(), message: format!("config.json: {message}") }
}

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Failure::Refused`] naming the field that candle has no words for, or candle's own complaint.
    pub fn read(text: &[u8]) -> Result<Self, Failure> {
        let value: Value = serde_json::from_slice(text).map_err(|error| refused(error.to_string()))?;
        let Value::Object(mut fields) = value else { return Err(refused("is no object".to_owned())) };
        let kind = fields.get("model_type").and_then(Value::as_str).unwrap_or_default().to_owned();
        for (name, assumed) in assumed(&kind) {
            let found = fields.get(name).filter(|found| !found.is_null());
            if let Some(found) = found.filter(|found| **found != assumed) {
                return Err(refused(format!("`{name}` is {found}, candle computes as if it were {assumed}")));
            }
        }
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        if let (Some(head), Some(width), Some(heads)) = (number("head_dim"), number("hidden_size"), number("num_attention_heads"))
            && head.checked_mul(heads) != Some(width)
        {
            return Err(refused(format!("`head_dim` is {head}, candle computes with {width} / {heads}")));
        }
        rope(&mut fields, kind == "llama")?;
        let parsed = |error: serde_json::Error| refused(format!("candle: {error}"));
        match kind.as_str() {
            "llama" => {
                let config: llama::LlamaConfig = serde_json::from_value(Value::Object(fields)).map_err(parsed)?;
                Ok(Config::Llama(config.into_config(false)))
            }
            "qwen2" => {
                // Without a window candle still asks for one, and masks with it: one that no text of the model's reaches.
                let context = fields.get("max_position_embeddings").cloned().unwrap_or(Value::Null);
                fields.insert("sliding_window".to_owned(), context);
                fields.insert("use_sliding_window".to_owned(), json!(false));
                let layers = fields.get("num_hidden_layers").cloned().unwrap_or(Value::Null);
                fields.entry("max_window_layers").or_insert(layers);
                fields.entry("tie_word_embeddings").or_insert(json!(false));
                fields.entry("hidden_act").or_insert(json!("silu"));
                Ok(Config::Qwen2(serde_json::from_value(Value::Object(fields)).map_err(parsed)?))
            }
            other => Err(refused(format!("`model_type` is {other:?}, candle has llama and qwen2 here"))),
        }
    }

    /// The most ids that a sequence may have.
    pub fn n_ctx(&self) -> usize {
        match self {
            Config::Llama(config) => config.max_position_embeddings,
            Config::Qwen2(config) => config.max_position_embeddings,
        }
    }
}

/// Fields that candle's model does not look at, and what it computes as if they said.
fn assumed(kind: &str) -> Vec<(&'static str, Value)> {
    let mut fields = vec![("partial_rotary_factor", json!(1.0))];
    match kind {
        "llama" => fields.extend([("attention_bias", json!(false)), ("mlp_bias", json!(false)), ("hidden_act", json!("silu"))]),
        // Its window is one wider than transformers', of every layer, and absent in decoding.
        "qwen2" => fields.push(("use_sliding_window", json!(false))),
        _ => {}
    }
    fields
}

/// Moves RoPE parameters to where candle looks for them. A scaling that it would ignore is refused.
fn rope(fields: &mut Map<String, Value>, scales: bool) -> Result<(), Failure> {
    let (name, mut rope) = match (fields.remove("rope_parameters"), fields.remove("rope_scaling")) {
        (Some(Value::Object(rope)), None | Some(Value::Null)) => ("rope_parameters", rope),
        (None | Some(Value::Null), Some(Value::Object(rope))) => ("rope_scaling", rope),
        (None | Some(Value::Null), None | Some(Value::Null)) => return Ok(()),
        _ => return Err(refused("`rope_parameters` and `rope_scaling` are not one object".to_owned())),
    };
    if let Some(theta) = rope.remove("rope_theta") {
        fields.insert("rope_theta".to_owned(), theta);
    }
    let kind = rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default").to_owned();
    match kind.as_str() {
        "default" => Ok(()),
        "llama3" if scales => {
            rope.insert("rope_type".to_owned(), json!("llama3"));
            fields.insert("rope_scaling".to_owned(), Value::Object(rope));
            Ok(())
        }
        other => Err(refused(format!("`{name}` is of type {other:?}, which candle's model does not compute"))),
    }
}

/// The ids that end a text: those of `generation_config.json` where it names any, else those of `config.json`.
pub fn eos(config: &[u8], generation: Option<&[u8]>) -> Vec<u32> {
    let of = |text: &[u8]| -> Vec<u32> {
        let value: Value = serde_json::from_slice(text).unwrap_or(Value::Null);
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match value.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.iter().filter_map(id).collect(),
            Some(one) => id(one).into_iter().collect(),
            None => Vec::new(),
        }
    };
    let own = generation.map(of).unwrap_or_default();
    if own.is_empty() { of(config) } else { own }
}
