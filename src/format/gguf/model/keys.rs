//! The keys of a model, read as `config.json` would state them.

use std::fmt::Display;

use serde_json::{Map, Value as Json, json};

use super::rope;
use crate::error::GgufError;
use crate::format::gguf::{Array, Metadata, TensorInfo, Value};
use crate::{Architecture, Escaped};

type Checked<T> = Result<T, GgufError>;

/// Our own key: every id that ends a text, where there are several.
pub(super) const EOS_IDS: &str = "ground_truth.eos_token_ids";

/// Keys of an architecture that are read, by name without the architecture's.
const USED: [&str; 22] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
];

/// Keys that change nothing, whatever they say: where the weights came from, how they were trained, what embeddings are made of.
const INERT: [&str; 5] =
    ["tensor_data_layout", "rope.scaling.finetuned", "rope.scaling.yarn_ext_factor", "pooling_type", "decoder_start_token_id"];

/// Keys that change nothing at a value, and what they would change.
const NEUTRAL: [(&str, f64, &str); 19] = [
    ("expert_count", 0.0, "the MLP would be several"),
    ("expert_used_count", 0.0, "the MLP would be several"),
    ("expert_shared_count", 0.0, "the MLP would be several"),
    ("expert_feed_forward_length", 0.0, "the MLP would be several"),
    ("leading_dense_block_count", 0.0, "the MLP would be several"),
    ("nextn_predict_layers", 0.0, "blocks would predict several tokens"),
    ("use_parallel_residual", 0.0, "attention and MLP would read the same input"),
    ("attention.causal", 1.0, "a position would attend to those after it"),
    ("attention.scale", 0.0, "scores would be scaled otherwise"),
    ("attention.clamp_kqv", 0.0, "queries, keys and values would be clamped"),
    ("attention.max_alibi_bias", 0.0, "scores would have a bias by distance"),
    ("attn_logit_softcapping", 0.0, "scores would be bent by tanh"),
    ("final_logit_softcapping", 0.0, "logits would be bent by tanh"),
    ("logit_scale", 0.0, "logits would be scaled"),
    ("embedding_scale", 0.0, "embeddings would be scaled"),
    ("residual_scale", 0.0, "residuals would be scaled"),
    ("logit_scale", 1.0, "logits would be scaled"),
    ("embedding_scale", 1.0, "embeddings would be scaled"),
    ("residual_scale", 1.0, "residuals would be scaled"),
];

/// The keys of an architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a> {
    pub metadata: &'a Metadata,
    pub architecture: Architecture,
}

impl<'a> Keys<'a> {
    /// The keys of the model that the file says it is.
    pub fn of(metadata: &'a Metadata) -> Checked<Self> {
        let missing = |key: &str| GgufError::MissingKey { key: key.to_owned() };
        if let Some(kind) = metadata.string("general.type")?.filter(|kind| *kind != "model") {
            return Err(bad("general.type", kind, "model"));
        }
        let key = "general.architecture";
        let name = metadata.string(key)?.ok_or_else(|| missing(key))?;
        let architecture = Architecture::ALL.into_iter().find(|architecture| architecture.name() == name);
        let keys = Keys { metadata, architecture: architecture.ok_or_else(|| bad(key, name, "llama, qwen2 or gpt2"))? };
        keys.refuse_unknown()?;
        Ok(keys)
    }

    /// Refuses what may change the arithmetic.
    fn refuse_unknown(self) -> Checked<()> {
        for (key, value) in self.metadata.iter() {
            let Some(name) = key.strip_prefix(self.architecture.name()).and_then(|rest| rest.strip_prefix('.')) else { continue };
            let is_rope = self.architecture == Architecture::Gpt2 && name.starts_with("rope.");
            if is_rope || USED.contains(&name) || INERT.contains(&name) {
                continue;
            }
            if name == "attention.sliding_window" {
                let (window, n_ctx) = (self.metadata.unsigned(key)?, self.count("context_length")?);
                if window.is_some_and(|window| window != 0 && n_ctx.is_none_or(|n_ctx| window < n_ctx)) {
                    return Err(self.unsupported(name, "attention would stop at the edge of a window"));
                }
                continue;
            }
            let number = match value {
                Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
                other => decimal(other).or_else(|| other.as_integer().map(|n| n as f64)),
            };
            let mut rules = NEUTRAL.iter().filter(|(neutral, ..)| *neutral == name).peekable();
            let why = rules.peek().map_or("the key is not known here, and what is not known is not ignored", |(.., why)| *why);
            if !rules.any(|(_, neutral, _)| number == Some(*neutral)) {
                return Err(self.unsupported(name, why));
            }
        }
        Ok(())
    }

    /// A key's whole name.
    pub fn key(self, name: &str) -> String {
        format!("{}.{name}", self.architecture.name())
    }

    fn get(self, name: &str) -> Option<&'a Value> {
        self.metadata.get(&self.key(name))
    }

    /// A whole number over 0; an array of one for each block must be of one number.
    pub fn count(self, name: &str) -> Checked<Option<u64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Value::Array(array) => {
                let numbers = array.integers().unwrap_or_default();
                if numbers.windows(2).any(|pair| pair[0] != pair[1]) {
                    return Err(self.unsupported(name, "the blocks would differ in size"));
                }
                numbers.first().copied()
            }
            scalar => scalar.as_integer(),
        };
        let Some(number) = number else {
            let (key, found) = (self.key(name), value.described());
            return Err(GgufError::WrongType { key, expected: "a whole number", found });
        };
        // The bounds of `Config`, held here so that the refusal names the key.
        let limit = if name.contains("context_length") { 1 << 28 } else { 1 << 24 };
        let in_range = u64::try_from(number).ok().filter(|n| (1..=limit).contains(n));
        in_range.map(Some).ok_or_else(|| self.bad(name, format!("a whole number from 1 to {limit}")))
    }

    fn required<T>(self, name: &str, value: Option<T>) -> Checked<T> {
        value.ok_or_else(|| GgufError::MissingKey { key: self.key(name) })
    }

    /// A real number.
    pub fn real(self, name: &str) -> Checked<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        self.metadata.float(&self.key(name))?;
        decimal(value).map(Some).ok_or_else(|| self.bad(name, "a finite number"))
    }

    /// A real number over 0.
    pub fn positive(self, name: &str) -> Checked<Option<f64>> {
        match self.real(name)? {
            Some(number) if number <= 0.0 => Err(self.bad(name, "a number over 0")),
            number => Ok(number),
        }
    }

    /// A real number, 0 or over.
    pub fn not_negative(self, name: &str) -> Checked<Option<f64>> {
        match self.real(name)? {
            Some(number) if number < 0.0 => Err(self.bad(name, "a number that is not negative")),
            number => Ok(number),
        }
    }

    /// A string.
    pub fn word(self, name: &str) -> Checked<Option<&'a str>> {
        self.metadata.string(&self.key(name))
    }

    /// The refusal of a key that changes the arithmetic.
    pub fn unsupported(self, name: &str, why: &'static str) -> GgufError {
        let found = self.get(name).map_or("absent".to_owned(), Value::described);
        GgufError::Unsupported { key: self.key(name), found, why }
    }

    /// The refusal of a value.
    pub fn bad(self, name: &str, expected: impl Display) -> GgufError {
        let found = self.get(name).map_or("absent".to_owned(), Value::described);
        bad(&self.key(name), found, expected)
    }

    /// The refusal of the value of any key.
    pub fn bad_key(self, key: &str, value: &Value, expected: impl Display) -> GgufError {
        bad(key, value.described(), expected)
    }
}

fn bad(key: &str, found: impl Display, expected: impl Display) -> GgufError {
    GgufError::BadValue { key: key.to_owned(), found: found.to_string(), expected: expected.to_string() }
}

/// A real number as a person would write it: 1e-5 was rounded to f32 by the writer, and is 1e-5 again. `None` if it is no finite number.
fn decimal(value: &Value) -> Option<f64> {
    let number = match value {
        Value::F32(number) => number.to_string().parse().ok()?,
        Value::F64(number) => *number,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The fields of `config.json` that the file states. `factors` are those of `rope_freqs.weight`, if it is there.
#[expect(clippy::too_many_lines, reason = "field by field, as config.json lists them")]
pub(super) fn config(keys: Keys, tensors: &[TensorInfo], factors: Option<&[f32]>) -> Checked<Map<String, Json>> {
    let has = |name: &str| tensors.iter().any(|info| info.name == name);
    let ends = |ends: &[&str]| tensors.iter().any(|info| ends.iter().any(|end| info.name.ends_with(end)));
    let count = |name| keys.required(name, keys.count(name)?);
    let n_layers = count("block_count")?;
    if n_layers > tensors.len() as u64 {
        return Err(keys.bad("block_count", format!("at most one block for each of the {} tensors", tensors.len())));
    }
    let (n_ctx, width, n_heads) = (count("context_length")?, count("embedding_length")?, count("attention.head_count")?);
    let n_kv_heads = keys.count("attention.head_count_kv")?.unwrap_or(n_heads);
    if !n_heads.is_multiple_of(n_kv_heads) {
        return Err(keys.bad("attention.head_count_kv", format!("a divisor of attention.head_count ({n_heads})")));
    }
    let mut config = Map::new();
    let mut put = |field: &str, value: Json| drop(config.insert(field.to_owned(), value));
    put("model_type", json!(keys.architecture.name()));
    put("architectures", json!([keys.architecture.class()]));
    put("vocab_size", json!(vocab_size(keys, tensors, width)?));
    put("tie_word_embeddings", json!(!has("output.weight")));
    put("bos_token_id", json!(keys.metadata.id("tokenizer.ggml.bos_token_id")?));
    put("eos_token_id", eos(keys.metadata)?);
    let head_dim = head_dim(keys, width, n_heads)?;
    if keys.architecture == Architecture::Gpt2 {
        if head_dim != width / n_heads || n_kv_heads != n_heads {
            return Err(
                keys.bad("attention.head_count", "gpt2's heads, as many for queries as for keys, side by side as wide as the model")
            );
        }
        put("n_embd", json!(width));
        put("n_layer", json!(n_layers));
        put("n_head", json!(n_heads));
        put("n_positions", json!(n_ctx));
        put("n_inner", json!(count("feed_forward_length")?));
        put("activation_function", json!("gelu_new"));
        let eps = "attention.layer_norm_epsilon";
        put("layer_norm_epsilon", json!(keys.required(eps, keys.not_negative(eps)?)?));
        return Ok(config);
    }
    put("hidden_size", json!(width));
    put("num_hidden_layers", json!(n_layers));
    put("num_attention_heads", json!(n_heads));
    put("num_key_value_heads", json!(n_kv_heads));
    put("head_dim", json!(head_dim));
    put("max_position_embeddings", json!(n_ctx));
    put("intermediate_size", json!(count("feed_forward_length")?));
    put("hidden_act", json!("silu"));
    let eps = "attention.layer_norm_rms_epsilon";
    put("rms_norm_eps", json!(keys.required(eps, keys.not_negative(eps)?)?));
    if keys.architecture == Architecture::Llama {
        put("attention_bias", json!(ends(&["attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias"])));
        put("mlp_bias", json!(ends(&["ffn_gate.bias", "ffn_up.bias", "ffn_down.bias"])));
    }
    config.extend(rope::read(&keys, n_ctx, head_dim as usize, factors)?);
    Ok(config)
}

/// The width of a head; it is the same for keys and values, and all of it turns.
fn head_dim(keys: Keys, width: u64, n_heads: u64) -> Checked<u64> {
    let head_dim = match keys.count("attention.key_length")? {
        Some(stated) => stated,
        None if width.is_multiple_of(n_heads) => width / n_heads,
        None => return Err(keys.bad("embedding_length", format!("a multiple of attention.head_count ({n_heads})"))),
    };
    if keys.architecture != Architecture::Gpt2 && !head_dim.is_multiple_of(2) {
        return Err(keys.bad("attention.key_length", "an even number (rotary embeddings turn pairs)"));
    }
    for name in ["attention.value_length", "rope.dimension_count"] {
        let is_read = keys.architecture != Architecture::Gpt2 || name != "rope.dimension_count";
        if is_read && keys.count(name)?.is_some_and(|stated| stated != head_dim) {
            return Err(keys.unsupported(name, "it would differ from the width of a key, which is computed here only as one width"));
        }
    }
    Ok(head_dim)
}

/// The rows of the embedding, which what the keys say must not contradict.
fn vocab_size(keys: Keys, tensors: &[TensorInfo], width: u64) -> Checked<u64> {
    let embedding = tensors.iter().find(|info| info.name == "token_embd.weight");
    let rows = match embedding.map(|info| info.shape.as_slice()) {
        Some(&[_, columns]) if columns as u64 != width => {
            return Err(keys.bad("embedding_length", format!("the width of token_embd.weight ({columns})")));
        }
        Some(&[rows, _]) => rows as u64,
        Some(_) => {
            let why = "is no matrix, a row for each token is due".to_owned();
            return Err(GgufError::Tensor { tensor: "token_embd.weight".to_owned(), why });
        }
        None => return Err(GgufError::MissingTensor { tensor: "token_embd.weight".to_owned() }),
    };
    if keys.count("vocab_size")?.is_some_and(|stated| stated != rows) {
        return Err(keys.bad("vocab_size", format!("the rows of token_embd.weight ({rows})")));
    }
    let key = "tokenizer.ggml.tokens";
    match keys.metadata.strings(key)? {
        Some(tokens) if tokens.len() as u64 > rows => {
            Err(bad(key, format!("{} tokens", tokens.len()), format!("at most as many as token_embd.weight has rows ({rows})")))
        }
        _ => Ok(rows),
    }
}

/// The ids that end a text: those that this project lists, else the one of the tokenizer and those that end a turn or a message, at which
/// llama.cpp stops as well.
fn eos(metadata: &Metadata) -> Checked<Json> {
    let eos = metadata.id("tokenizer.ggml.eos_token_id")?;
    match metadata.get(EOS_IDS) {
        Some(Value::Array(Array::U32(ids))) if eos.is_none_or(|eos| ids.contains(&eos)) => return Ok(json!(ids)),
        Some(value) => {
            let eos = eos.map_or(String::new(), |eos| format!(", among them tokenizer.ggml.eos_token_id ({eos})"));
            return Err(bad(EOS_IDS, Escaped(&value.described()), format!("an array of u32{eos}")));
        }
        None => {}
    }
    let mut ids = Vec::from_iter(eos);
    for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        ids.extend(metadata.id(key)?.filter(|id| !ids.contains(id)));
    }
    Ok(match ids.as_slice() {
        [] => Json::Null,
        [one] => json!(one),
        several => json!(several),
    })
}
