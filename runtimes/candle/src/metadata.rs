//! What GGUF says of a model and candle does not look at.

use candle_core::quantized::gguf_file::{Content, Value};
use ground_truth_harness::runtime::Failure;

/// What a GGUF file says that candle's models do not need, and generation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `llama` or `qwen2`.
    pub architecture: String,
    /// The most ids that a sequence may have.
    pub n_ctx: usize,
    /// The ids that end a text.
    pub eos: Vec<u32>,
}

fn refused(message: String) -> Failure {
    Failure::Refused { kind: "metadata".to_owned(), message }
}

impl Metadata {
    /// Reads the metadata of a file that candle has parsed.
    ///
    /// # Errors
    /// [`Failure::Refused`] naming the key or the tensor that candle would ignore.
    pub fn read(content: &Content) -> Result<Self, Failure> {
        let text = |key: &str| content.metadata.get(key).and_then(|value| value.to_string().ok());
        let architecture = text("general.architecture").ok_or_else(|| refused("`general.architecture` is absent".to_owned()))?;
        if !["llama", "qwen2"].contains(&architecture.as_str()) {
            return Err(refused(format!("`general.architecture` is {architecture:?}, candle has llama and qwen2 here")));
        }
        let number = |key: &str| content.metadata.get(&format!("{architecture}.{key}")).and_then(unsigned);
        if let Some(scaling) = text(&format!("{architecture}.rope.scaling.type")).filter(|scaling| *scaling != "none") {
            return Err(refused(format!("`{architecture}.rope.scaling.type` is {scaling:?}, which candle ignores")));
        }
        if content.tensor_infos.contains_key("rope_freqs.weight") {
            return Err(refused("tensor `rope_freqs.weight` is there, which candle ignores".to_owned()));
        }
        let (width, heads) = (number("embedding_length"), number("attention.head_count"));
        if let (Some(head), Some(width), Some(heads)) = (number("attention.key_length"), width, heads)
            && head.checked_mul(heads) != Some(width)
        {
            return Err(refused(format!("`{architecture}.attention.key_length` is {head}, candle computes with {width} / {heads}")));
        }
        let n_ctx = number("context_length").and_then(|n| usize::try_from(n).ok());
        let n_ctx = n_ctx.ok_or_else(|| refused(format!("`{architecture}.context_length` is absent")))?;
        let eos = content.metadata.get("tokenizer.ggml.eos_token_id").and_then(unsigned).and_then(|id| u32::try_from(id).ok());
        Ok(Self { architecture: architecture.clone(), n_ctx, eos: eos.into_iter().collect() })
    }
}

fn unsigned(value: &Value) -> Option<u64> {
    match *value {
        Value::U8(n) => Some(n.into()),
        Value::U16(n) => Some(n.into()),
        Value::U32(n) => Some(n.into()),
        Value::U64(n) => Some(n),
        Value::I32(n) => n.try_into().ok(),
        Value::I64(n) => n.try_into().ok(),
        _ => None,
    }
}
