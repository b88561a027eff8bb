//! What `config.json` and `generation_config.json` say, resolved to numbers as transformers resolves them.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Result;

/// The architectures that the engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// `LlamaForCausalLM`.
    Llama,
    /// `Qwen2ForCausalLM`.
    Qwen2,
    /// `GPT2LMHeadModel`.
    Gpt2,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Architecture; 3] = [Architecture::Llama, Architecture::Qwen2, Architecture::Gpt2];

    /// The word that `model_type` has: `llama`, `qwen2`, `gpt2`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Gpt2 => "gpt2",
        }
    }
}

impl Display for Architecture {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An activation function, by the name that Hugging Face gives it. Names of one function (`silu` and `swish`) are one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `silu`, `swish`: x * sigmoid(x).
    Silu,
    /// `gelu`, `gelu_python`: x * Phi(x), by erf.
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`, `gelu_python_tanh`, `gelu_accurate`: the tanh approximation.
    GeluTanh,
    /// `quick_gelu`: x * sigmoid(1.702 x).
    QuickGelu,
    /// `relu`: max(x, 0).
    Relu,
    /// `relu2`: max(x, 0)^2.
    Relu2,
    /// `tanh`.
    Tanh,
    /// `sigmoid`.
    Sigmoid,
}

/// How the angles of rotary embeddings are stretched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// Every frequency is divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The rule of Llama 3.1: low frequencies are divided, high ones are kept, those between are blended.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f64,
        /// Wavelengths over `original_n_ctx / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths under `original_n_ctx / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// The context that the model was first trained with.
        original_n_ctx: f64,
    },
    /// YaRN (Peng et al. 2023, arXiv 2309.00071).
    Yarn {
        /// The divisor of the interpolated frequencies.
        factor: f64,
        /// The context that the model was first trained with.
        original_n_ctx: f64,
        /// What cos and sin are multiplied with, resolved from `attention_factor`, `mscale`, `mscale_all_dim` and `factor`.
        attention_factor: f64,
        /// Turns over the original context above which a frequency is kept.
        beta_fast: f64,
        /// Turns over the original context below which a frequency is divided.
        beta_slow: f64,
        /// Whether the ends of the ramp between the two are rounded outwards to whole dimensions.
        truncate: bool,
    },
}

/// Rotary position embeddings: `inv_freq[i] = theta^(-2i / head_dim)`, then scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// The base.
    pub theta: f64,
    /// How the frequencies are scaled.
    pub scaling: RopeScaling,
}

/// Everything that the arithmetic of a model depends on, besides its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The architecture, from `model_type`.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Query heads; a multiple of `n_kv_heads`.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head. `n_heads * head_dim` need not be `hidden_size`.
    pub head_dim: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// The most positions that the model is asked for (`max_position_embeddings`, `n_positions`).
    pub n_ctx: usize,
    /// Added to the variance in each norm.
    pub norm_eps: f64,
    /// The function in the MLP.
    pub activation: Activation,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// llama: whether q, k, v and o have biases. qwen2: true, and it means q, k and v. gpt2: true, all have.
    pub attention_bias: bool,
    /// Whether the MLP's projections have biases.
    pub mlp_bias: bool,
    /// Rotary embeddings; `None` where positions are learned (gpt2).
    pub rope: Option<RopeConfig>,
    /// Per layer, how many positions a query sees: with `Some(w)`, position i attends to j where `j <= i` and `i - j < w`
    /// (itself and the `w - 1` before it); with `None`, to every `j <= i`. As long as `n_layers`.
    pub windows: Vec<Option<usize>>,
    /// Whether scores are divided by `sqrt(head_dim)`.
    pub scale_attn_weights: bool,
    /// Whether scores of layer i are further divided by i + 1.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// The id that begins a text. What a prompt begins with is the tokenizer's decision, not this field's.
    pub bos: Option<u32>,
    /// The ids that greedy generation stops at, by the rule of transformers: see [`Config::parse`].
    pub eos: Vec<u32>,
    /// Fields that the file holds and the engine reads past although a user may expect them to act, one sentence each.
    pub notes: Vec<String>,
}

impl Config {
    /// Resolves the fields of `config.json` (`file` is its path, for messages) and `generation_config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config), naming file, field and value.
    pub fn parse(
        config: &Map<String, Value>,
        generation_config: Option<&Map<String, Value>>,
        file: &Path,
    ) -> Result<Config> {
        let _ = (config, generation_config, file);
        unimplemented!()
    }
}
