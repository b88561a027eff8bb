//! `index.json`: the model, its tensors and files, and every file of its golden.

use serde::Deserialize;

use super::{GoldenError, Oracle, expect_schema, parse};
use crate::observation::Stop;

/// The model's sizes, as transformers resolved them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Number of blocks.
    pub n_layers: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of rows of the embedding.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub n_ctx: usize,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// The id that begins a text.
    pub bos: Option<u32>,
    /// The ids at which generation stops.
    pub eos: Vec<u32>,
}

/// One tensor of the model's files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its element type, `F32`, `F16`, `BF16`, ...
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A file and the hash of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name, relative to the folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, 64 lowercase hex digits.
    pub sha256: String,
}

/// How clearly the oracle preferred its greedy tokens: the class of the smallest margin over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarginClass {
    /// Every step is decided clearly: token bounds mean something.
    Wide,
    /// In between.
    Median,
    /// Some step is nearly a tie: regret and KL are sharp here.
    Knife,
}

impl MarginClass {
    /// The word of the golden.
    pub fn name(self) -> &'static str {
        match self {
            MarginClass::Wide => "wide",
            MarginClass::Median => "median",
            MarginClass::Knife => "knife",
        }
    }
}

/// One prompt as the index lists it: enough to list the tests without opening its golden.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptEntry {
    /// Its name, which is the last part of the test's name.
    pub name: String,
    /// Its category; `canary` prompts have clear continuations.
    pub category: String,
    /// Number of prompt tokens.
    pub n_prompt: usize,
    /// Number of greedy tokens.
    pub n_greedy: usize,
    /// Why the oracle stopped.
    pub stop: Stop,
    /// How clearly it preferred its tokens.
    pub margin_class: MarginClass,
    /// Whether there is a [`Full`](super::Full) golden.
    pub full: bool,
}

/// A prompt that the oracle could not be asked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotAsked {
    /// Name of the prompt.
    pub name: String,
    /// Why there is no golden for it.
    pub reason: String,
}

/// A text that the model's author published as its greedy continuation from BOS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The file in the model's folder.
    pub file: String,
    /// How many tokens it has.
    pub max_new_tokens: usize,
}

/// `index.json`: the model, and every file of its golden.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: String,
    /// Name of the model: its folder, and the first part of each test's name.
    pub model: String,
    /// `llama`, `qwen2` or `gpt2`.
    pub architecture: String,
    /// Most common element type of the weights.
    pub dtype: String,
    /// Whether the model lies in `testdata/models`.
    pub carried: bool,
    /// Whether this project trained it, so that LEARNED applies.
    pub trained_by_us: bool,
    /// Who wrote this.
    pub oracle: Oracle,
    /// The model's sizes.
    pub config: ModelConfig,
    /// Number of parameters.
    pub parameters: u64,
    /// Every tensor in the model's files.
    pub tensors: Vec<TensorEntry>,
    /// Every file of the model.
    pub model_files: Vec<FileEntry>,
    /// Every golden file but this one.
    pub golden_files: Vec<FileEntry>,
    /// Every prompt.
    pub prompts: Vec<PromptEntry>,
    /// Prompts without a golden.
    pub not_asked: Vec<NotAsked>,
    /// File name of the tokenizer golden.
    pub tokenizer: String,
    /// File names of the perplexity goldens.
    pub perplexity: Vec<String>,
    /// The text that the author published, where there is one.
    pub published: Option<Published>,
}

impl TensorEntry {
    /// Whether its elements are parameters of the model. The causal masks that old GPT-2 checkpoints store are not, and a head that is the
    /// embedding counts once.
    pub fn is_parameter(&self, tie_word_embeddings: bool) -> bool {
        let is_mask = self.name.ends_with(".attn.masked_bias") || self.name.ends_with(".attn.bias") && self.shape.len() == 4;
        let is_tied_head = tie_word_embeddings && self.name == "lm_head.weight";
        !is_mask && !is_tied_head
    }

    /// Number of elements, or `None` where it overflows.
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, &side| product.checked_mul(u64::try_from(side).ok()?))
    }
}

impl Index {
    /// Reads `index.json`. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are not an index of this schema.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        let index: Index = parse(bytes, file)?;
        expect_schema(&index.schema, file)?;
        Ok(index)
    }

    /// The stages of a forward pass of this model, in order: the rows of every sketch.
    pub fn stages(&self) -> Vec<String> {
        stages(self.config.n_layers)
    }
}

/// The stage names of a model with `n_layers` blocks, in order.
pub fn stages(n_layers: usize) -> Vec<String> {
    let mut names = vec!["embedding".to_owned()];
    for i in 0..n_layers {
        for stage in ["attn_norm", "attn.q", "attn.k", "attn_out", "mlp_out", "out"] {
            names.push(format!("blk.{i}.{stage}"));
        }
    }
    names.push("final_norm".to_owned());
    names.push("logits".to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_a_head_that_is_the_embedding_are_no_parameters() {
        let is_parameter = |name: &str, shape: &[usize], tied: bool| {
            TensorEntry { name: name.to_owned(), dtype: "F32".to_owned(), shape: shape.to_vec() }.is_parameter(tied)
        };
        assert!(!is_parameter("h.0.attn.bias", &[1, 1, 4, 4], false) && !is_parameter("h.0.attn.masked_bias", &[], false));
        assert!(is_parameter("h.0.attn.c_attn.bias", &[12], false) && is_parameter("h.0.attn.bias", &[4], false));
        assert!(is_parameter("h.0.attn.weight", &[1, 1, 4, 4], false));
        assert!(is_parameter("lm_head.weight", &[8, 4], false) && !is_parameter("lm_head.weight", &[8, 4], true));
        assert!(is_parameter("model.embed_tokens.weight", &[8, 4], true));
    }

    #[test]
    fn a_class_of_margins_has_the_word_that_the_golden_has() {
        for class in [MarginClass::Wide, MarginClass::Median, MarginClass::Knife] {
            assert_eq!(serde_json::from_value::<MarginClass>(class.name().into()).unwrap(), class);
        }
    }
}
