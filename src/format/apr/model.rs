//! The model that a file holds, as a Hugging Face folder would hold it.
//!
//! | | in APR | in `config.json` and safetensors |
//! |---|---|---|
//! | names | the same, with or without the base model's prefix | `model.layers.0.self_attn.q_proj.weight` |
//! | gpt2's four products of a block | `(n_out, n_in)` | `(n_in, n_out)` |
//! | a head that is the embedding | `lm_head.weight` holds it again, and `tied_embeddings` is true | `tie_word_embeddings`, no `lm_head.weight` |
//! | configuration | `hf_config`, `hf_generation_config`: the two files whole; and the fields below | `config.json`, `generation_config.json` |
//! | tokenizer | `hf_tokenizer`: `tokenizer.json` whole, as text without white space; and `tokenizer.*` | `tokenizer.json` |
//! | chat templates | `hf_chat_templates`: names and sources | `chat_template.jinja`, `tokenizer_config.json` |
//!
//! The four `hf_*` fields are this project's; a file that has them is exactly the model that it was made of, and its other fields, which
//! readers of this format go by, must not say otherwise. A file of another writer has the others only:
//!
//! - its configuration is made of them: architecture, width, layers, heads, vocabulary, MLP, context, epsilon, and `rope_theta` where there
//!   are rotary embeddings, must be stated; key and value heads default to the heads, the width of a head to its share; further fields that
//!   `config.json` knows (`rope_scaling`) count;
//! - `rope_type` 0 says that neighbours are turned (the rows of queries and keys are laid out for that), 2 or nothing that halves are;
//! - a vocabulary and merges do not say how a text is split before they apply, nor which tokens are special: such a file has no tokenizer
//!   here, and none is guessed;
//! - gpt2 files whose queries, keys and values are three tensors have other tensors than the architecture, and are refused for that.
//!
//! gpt2's `attn.c_attn.weight` is three times as long in one direction as in the other; it tells how the four products of all blocks lie.

use serde_json::{Map, Value, json};

use super::metadata::{ALIASES, field};
use super::{Apr, Checked};
use crate::chat::Templates;
use crate::checkpoint::{Checkpoint, Order, Tensor, Tensors};
use crate::error::{AprError, InFile, Result};
use crate::format::json::kind;
use crate::{Architecture, Config};

/// `config.json` as it was.
pub(super) const HF_CONFIG: &str = "hf_config";
/// `generation_config.json` as it was.
pub(super) const HF_GENERATION_CONFIG: &str = "hf_generation_config";
/// The text of `tokenizer.json`, white space between its tokens left out.
pub(super) const HF_TOKENIZER: &str = "hf_tokenizer";
/// The chat templates, by name.
pub(super) const HF_CHAT_TEMPLATES: &str = "hf_chat_templates";

/// The number that stands for rotary embeddings that turn neighbours; 2 stands for halves.
const ROPE_NEIGHBOURS: u64 = 0;
/// See [`ROPE_NEIGHBOURS`].
pub(super) const ROPE_HALVES: u64 = 2;

impl Apr {
    /// Whether the metadata say what model the tensors make.
    pub fn names_a_model(&self) -> bool {
        let is_stated = |name| self.metadata.get(name).is_some_and(|value| !value.is_null());
        ["architecture", "hf_model_type", HF_CONFIG].into_iter().any(is_stated)
    }
}

/// The model in a file: configuration, tokenizer and weights as a Hugging Face folder has them, the weights in the map.
///
/// # Errors
///
/// [`Error::Apr`](crate::Error::Apr) naming the field that is missing, of another type or contradicted; [`Error::Config`](crate::Error::Config)
/// for what is refused in what the fields make.
pub fn checkpoint(apr: &Apr) -> Result<Checkpoint> {
    let generation_config = object(&apr.metadata, HF_GENERATION_CONFIG).in_file(&apr.path)?;
    let (map, config) = match object(&apr.metadata, HF_CONFIG).in_file(&apr.path)? {
        Some(map) => {
            let config = Config::parse(&map, generation_config.as_ref(), &apr.path)?;
            agree(&apr.metadata, &config).in_file(&apr.path)?;
            (map, config)
        }
        None => {
            let map = config_of_fields(apr).in_file(&apr.path)?;
            let config = Config::parse(&map, None, &apr.path)?;
            (map, config)
        }
    };
    let tokenizer = match apr.metadata.get(HF_TOKENIZER) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone().into_bytes()),
        Some(other) => return Err(wrong(HF_TOKENIZER, Some(other), "the text of a tokenizer.json")).in_file(&apr.path),
    };
    let chat_templates = match object(&apr.metadata, HF_CHAT_TEMPLATES).in_file(&apr.path)? {
        None => Templates::default(),
        Some(map) => Templates::of_fields(&map).in_file(&apr.path)?,
    };
    let tensors = tensors(apr, &config).in_file(&apr.path)?;
    Ok(Checkpoint { config: map, generation_config, tokenizer, chat_templates, tensors, path: apr.path.clone() })
}

fn object(metadata: &Map<String, Value>, name: &str) -> Checked<Option<Map<String, Value>>> {
    match metadata.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map.clone())),
        Some(other) => Err(wrong(name, Some(other), "an object")),
    }
}

fn wrong(field: &str, found: Option<&Value>, due: &'static str) -> AprError {
    AprError::Field { field: field.to_owned(), found: found.map_or("missing", kind), due }
}

/// What readers of this format go by, of a configuration.
pub(super) fn fields_of(config: &Config) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("architecture", config.architecture.name().into());
    put("hf_architecture", config.architecture.class().into());
    put("hf_model_type", config.architecture.name().into());
    put("hidden_size", config.hidden_size.into());
    put("num_layers", config.n_layers.into());
    put("num_heads", config.n_heads.into());
    put("num_kv_heads", config.n_kv_heads.into());
    put("vocab_size", config.vocab_size.into());
    put("intermediate_size", config.intermediate_size.into());
    put("max_position_embeddings", config.n_ctx.into());
    if let Some(rope) = &config.rope {
        put("rope_theta", rope.theta.into());
        put("rope_type", ROPE_HALVES.into());
    }
    put("rms_norm_eps", config.norm_eps.into());
    put("head_dim", config.head_dim.into());
    put("tied_embeddings", config.tie_word_embeddings.into());
    fields
}

/// Whether the fields say of the model what `hf_config` says. They may be absent; real numbers are held in 32 bits by other writers.
fn agree(metadata: &Map<String, Value>, config: &Config) -> Checked<()> {
    for (name, due) in fields_of(config) {
        let Some((found_as, found)) = field(metadata, &name) else { continue };
        let is_equal = match (found, &due) {
            (Value::Number(found), Value::Number(due)) if due.is_f64() => {
                found.as_f64().map(|n| n as f32) == due.as_f64().map(|n| n as f32)
            }
            (found, due) => found == due,
        };
        if !is_equal {
            let (stated, due) = (shown(found), shown(&due));
            return Err(AprError::Contradiction { field: found_as.to_owned(), stated, due });
        }
    }
    Ok(())
}

/// A value, if it is short enough for a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::String(text) if text.len() <= 64 => value.to_string(),
        other => kind(other).to_owned(),
    }
}

/// A `config.json` of the fields of a file that another tool wrote.
fn config_of_fields(apr: &Apr) -> Checked<Map<String, Value>> {
    let metadata = &apr.metadata;
    let architecture = architecture(metadata)?;
    let is_gpt2 = architecture == Architecture::Gpt2;
    let required = |name: &str| field(metadata, name).map(|(_, value)| value.clone()).ok_or_else(|| wrong(name, None, "a number"));
    let mut config = Map::from_iter([("model_type".to_owned(), Value::from(architecture.name()))]);
    let mut put = |name: &str, value: Value| drop(config.insert(name.to_owned(), value));
    put("vocab_size", required("vocab_size")?);
    put(if is_gpt2 { "n_embd" } else { "hidden_size" }, required("hidden_size")?);
    put(if is_gpt2 { "n_layer" } else { "num_hidden_layers" }, required("num_layers")?);
    put(if is_gpt2 { "n_head" } else { "num_attention_heads" }, required("num_heads")?);
    put(if is_gpt2 { "n_inner" } else { "intermediate_size" }, required("intermediate_size")?);
    put(if is_gpt2 { "n_positions" } else { "max_position_embeddings" }, required("max_position_embeddings")?);
    put(if is_gpt2 { "layer_norm_epsilon" } else { "rms_norm_eps" }, required("rms_norm_eps")?);
    if !is_gpt2 {
        put("rope_theta", required("rope_theta")?);
        put("num_key_value_heads", required("num_kv_heads").or_else(|_| required("num_heads"))?);
        if let Some((_, width)) = field(metadata, "head_dim") {
            put("head_dim", width.clone());
        }
    }
    let has = |end: &str| apr.tensors.iter().any(|tensor| tensor.name.ends_with(end));
    if architecture == Architecture::Llama {
        put("attention_bias", has("self_attn.q_proj.bias").into());
        put("mlp_bias", has("mlp.up_proj.bias").into());
    }
    let is_tied = metadata.get("tied_embeddings") == Some(&json!(true)) || !has("lm_head.weight");
    put("tie_word_embeddings", is_tied.into());
    for name in ["bos_token_id", "eos_token_id"] {
        if let Some(id) = metadata.get(&format!("tokenizer.{name}")) {
            put(name, id.clone());
        }
    }
    // Fields of config.json that have no name of their own here and that the arithmetic depends on.
    let is_alias = |name: &str| ALIASES.into_iter().any(|names| names.contains(&name));
    for name in Config::used_fields(architecture).filter(|name| !is_alias(name)) {
        if let (Some(value), None) = (metadata.get(name), config.get(name)) {
            config.insert(name.to_owned(), value.clone());
        }
    }
    Ok(config)
}

/// The architecture, under any of the fields and in any of the spellings that are in use.
fn architecture(metadata: &Map<String, Value>) -> Checked<Architecture> {
    let due = "llama, qwen2 or gpt2";
    let stated = ["architecture", "hf_model_type", "model_type"].into_iter().find_map(|name| field(metadata, name));
    let Some((name, value)) = stated else { return Err(wrong("architecture", None, due)) };
    let Value::String(word) = value else { return Err(wrong(name, Some(value), due)) };
    let is_meant = |architecture: &Architecture| word.eq_ignore_ascii_case(architecture.name()) || word == architecture.class();
    let known = Architecture::ALL.into_iter().find(is_meant);
    known.ok_or_else(|| AprError::Architecture { field: name.to_owned(), found: word.chars().take(64).collect() })
}

/// The tensors in the orders that they lie in.
fn tensors(apr: &Apr, config: &Config) -> Checked<Tensors> {
    let turns_neighbours = match apr.metadata.get("rope_type") {
        None | Some(Value::Null) => false,
        Some(value) => match value.as_u64() {
            Some(ROPE_NEIGHBOURS) => config.rope.is_some(),
            Some(ROPE_HALVES) => false,
            _ => return Err(wrong("rope_type", Some(value), "0 (neighbours) or 2 (halves)")),
        },
    };
    let is_turned = apr.tensors.iter().find(|tensor| tensor.name.ends_with("attn.c_attn.weight"));
    let is_turned = is_turned.is_some_and(|tensor| tensor.shape.first() > tensor.shape.get(1));
    let mut tensors = Tensors::new();
    for info in &apr.tensors {
        let is_of = |modules: &[&str]| modules.iter().any(|module| info.name.contains(module));
        let order = match config.architecture {
            Architecture::Gpt2 if is_turned && is_product(&info.name) => Order::Transposed,
            Architecture::Gpt2 => Order::RowMajor,
            _ if turns_neighbours && is_of(&["self_attn.q_proj."]) => Order::InterleavedHeads(config.n_heads),
            _ if turns_neighbours && is_of(&["self_attn.k_proj."]) => Order::InterleavedHeads(config.n_kv_heads),
            _ => Order::RowMajor,
        };
        let tensor = apr.tensor(info);
        let placed = if order == Order::RowMajor { Some(tensor) } else { Tensor::in_order(tensor, order) };
        let unfit = || AprError::Order { tensor: info.name.clone(), shape: info.shape.clone(), dtype: info.dtype };
        tensors.insert(info.name.clone(), placed.ok_or_else(unfit)?);
    }
    Ok(tensors)
}

/// Whether a tensor of gpt2 is one of those that Hugging Face files have as `(n_in, n_out)`.
fn is_product(name: &str) -> bool {
    ["attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"].iter().any(|end| name.ends_with(end))
}
