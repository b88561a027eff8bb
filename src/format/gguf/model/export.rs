//! The keys of a file that is about to be written, and what is refused because GGUF has no words for it.
//!
//! The names and types are those of llama.cpp's `conversion/base.py` and of the three architectures beside it.

use super::keys::EOS_IDS;
use super::rope;
use crate::checkpoint::Checkpoint;
use crate::error::{GgufError, InFile, Result};
use crate::format::gguf::{Array, Value};
use crate::format::layout::TensorSpec;
use crate::tokenizer::gguf;
use crate::{Activation, Architecture, Config, Dtype, Tensor};

type Checked<T> = std::result::Result<T, GgufError>;

/// llama.cpp's number for a mix of types (`general.file_type`, `LlamaFileType` in `gguf-py/gguf/constants.py`), by the name of the mix.
const FILE_TYPES: [(&str, u32); 20] = [
    ("f32", 0),
    ("f16", 1),
    ("q4_0", 2),
    ("q4_1", 3),
    ("q8_0", 7),
    ("q5_0", 8),
    ("q5_1", 9),
    ("q2_k", 10),
    ("q3_k_s", 11),
    ("q3_k_m", 12),
    ("q3_k_l", 13),
    ("q4_k_s", 14),
    ("q4_k_m", 15),
    ("q5_k_s", 16),
    ("q5_k_m", 17),
    ("q6_k", 18),
    ("iq4_nl", 25),
    ("iq4_xs", 30),
    ("bf16", 32),
    ("mxfp4", 38),
];

/// The version of the block layouts (`GGML_QUANT_VERSION`).
const QUANTIZATION_VERSION: u32 = 2;

/// The keys of a GGUF file of the model: architecture, sizes, rotary embeddings, tokenizer, chat templates, and `provenance` as strings. `quantization` is
/// the name of the mix of types that the tensors are written in, if they are of one.
///
/// # Errors
///
/// [`Error::Gguf`](crate::Error::Gguf), naming the field of the configuration that GGUF cannot say;
/// [`Error::Tokenizer`](crate::Error::Tokenizer) for a tokenizer that it cannot say.
pub fn export_metadata(
    config: &Config,
    checkpoint: &Checkpoint,
    quantization: Option<&str>,
    provenance: &[(String, String)],
) -> Result<Vec<(String, Value)>> {
    let mut keys = model(config, checkpoint, quantization).in_file(&checkpoint.path)?;
    keys.extend(tokenizer(config, checkpoint)?);
    keys.extend(checkpoint.chat_templates.gguf_keys().in_file(&checkpoint.path)?);
    if config.eos.len() > 1 {
        keys.push((EOS_IDS.to_owned(), Value::Array(Array::U32(config.eos.clone()))));
    }
    keys.extend(provenance.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))));
    Ok(keys)
}

/// Whether GGUF has words for everything that a configuration says; nothing but the configuration is asked.
///
/// # Errors
///
/// [`GgufError::CannotSay`], naming the field: what [`export_metadata`] refuses too.
pub fn can_say(config: &Config) -> Checked<()> {
    refuse_what_has_no_words(config)?;
    rope::write(config, config.architecture.name()).map(drop)
}

fn model(config: &Config, checkpoint: &Checkpoint, quantization: Option<&str>) -> Checked<Vec<(String, Value)>> {
    refuse_what_has_no_words(config)?;
    let arch = config.architecture.name();
    let word = |value: &str| Value::String(value.to_owned());
    let mut keys = vec![("general.architecture".to_owned(), word(arch)), ("general.type".to_owned(), word("model"))];
    if let Some(name) = checkpoint.path.file_name().and_then(|name| name.to_str()) {
        let name = [".gguf", ".apr", ".safetensors"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        keys.push(("general.name".to_owned(), word(name)));
    }
    if let Some((_, number)) = FILE_TYPES.iter().find(|(name, _)| Some(*name) == quantization) {
        keys.push(("general.file_type".to_owned(), Value::U32(*number)));
    }
    keys.push(("general.quantization_version".to_owned(), Value::U32(QUANTIZATION_VERSION)));
    let counts = [
        ("vocab_size", config.vocab_size),
        ("context_length", config.n_ctx),
        ("embedding_length", config.hidden_size),
        ("block_count", config.n_layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.n_heads),
        ("attention.head_count_kv", config.n_kv_heads),
    ];
    // Every number is within the bounds of `Config`, which are far below 2^32.
    keys.extend(counts.map(|(name, n)| (format!("{arch}.{name}"), Value::U32(n as u32))));
    let eps = if config.architecture == Architecture::Gpt2 { "layer_norm_epsilon" } else { "layer_norm_rms_epsilon" };
    keys.push((format!("{arch}.attention.{eps}"), Value::F32(config.norm_eps as f32)));
    if config.architecture != Architecture::Gpt2 {
        let widths = ["key_length", "value_length"].map(|name| (format!("{arch}.attention.{name}"), Value::U32(config.head_dim as u32)));
        keys.extend(widths);
        keys.extend(rope::write(config, arch)?.0);
    }
    Ok(keys)
}

/// What llama.cpp computes in one way whatever a file says.
fn refuse_what_has_no_words(config: &Config) -> Checked<()> {
    let is_gpt2 = config.architecture == Architecture::Gpt2;
    let activation = if is_gpt2 { Activation::GeluTanh } else { Activation::Silu };
    let (field, due) = if is_gpt2 { ("activation_function", "it is the tanh approximation of GELU") } else { ("hidden_act", "it is SiLU") };
    let window = config.windows.iter().flatten().find(|window| **window < config.n_ctx);
    let q_width = config.n_heads * config.head_dim;
    let is_square = config.architecture == Architecture::Llama || q_width == config.hidden_size;
    let checks = [
        (config.activation == activation, field, format!("{:?}", config.activation), due),
        (!is_gpt2 || config.intermediate_size == 4 * config.hidden_size, "n_inner", config.intermediate_size.to_string(), "it is 4 n_embd"),
        (config.scale_attn_weights, "scale_attn_weights", "false".to_owned(), "scores are always scaled"),
        (!config.scale_attn_by_inverse_layer_idx, "scale_attn_by_inverse_layer_idx", "true".to_owned(), "blocks are all scaled alike"),
        (is_square, "head_dim", config.head_dim.to_string(), "llama.cpp's qwen2 has heads as wide, side by side, as the model"),
        (window.is_none(), "sliding_window", format!("{window:?}"), "attention is always full"),
    ];
    match checks.into_iter().find(|(can_be_said, ..)| !can_be_said) {
        None => Ok(()),
        Some((_, field, found, why)) => Err(GgufError::CannotSay { field: field.to_owned(), found, why }),
    }
}

/// The keys of the tokenizer; of a model without one, that there is none, and the ids that begin and end a text.
fn tokenizer(config: &Config, checkpoint: &Checkpoint) -> Result<Vec<(String, Value)>> {
    if let Some(json) = &checkpoint.tokenizer {
        return gguf::export(json, &checkpoint.tokenizer_file(), config.vocab_size, config);
    }
    let ids = [("bos", config.bos), ("eos", config.eos.first().copied())];
    let ids = ids.into_iter().filter_map(|(name, id)| id.map(|id| (format!("tokenizer.ggml.{name}_token_id"), Value::U32(id))));
    Ok(std::iter::once(("tokenizer.ggml.model".to_owned(), Value::String("none".to_owned()))).chain(ids).collect())
}

/// Tensors that a file needs although no checkpoint holds them: `rope_freqs.weight` (F32) of a llama whose frequencies are divided one by one.
///
/// # Errors
///
/// [`Error::Gguf`](crate::Error::Gguf) if GGUF has no words for the rotary embeddings.
pub fn extra_tensors(config: &Config, checkpoint: &Checkpoint) -> Result<Vec<(TensorSpec, Tensor)>> {
    let (_, factors) = rope::write(config, config.architecture.name()).in_file(&checkpoint.path)?;
    if factors.is_empty() {
        return Ok(Vec::new());
    }
    let spec = TensorSpec { name: rope::FACTORS.to_owned(), dtype: Dtype::F32, shape: vec![factors.len()] };
    let tensor = Tensor::from_f32(Dtype::F32, spec.shape.clone(), &factors)?;
    Ok(vec![(spec, tensor)])
}
