//! What `config.json` and `generation_config.json` say, resolved to numbers as transformers resolves them.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use self::fields::{Bounds, Fields};
use crate::error::{ConfigError, InFile, Result};

mod fields;
mod generation;
mod lists;
mod rope;
#[cfg(test)]
mod tests;

type Checked<T> = std::result::Result<T, ConfigError>;

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

    /// The class of transformers, as `architectures` names it.
    pub fn class(self) -> &'static str {
        match self {
            Architecture::Llama => "LlamaForCausalLM",
            Architecture::Qwen2 => "Qwen2ForCausalLM",
            Architecture::Gpt2 => "GPT2LMHeadModel",
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
    /// `mish`: x * tanh(ln(1 + e^x)).
    Mish,
    /// `linear`: x.
    Linear,
    /// `gelu_10`: the exact GELU, clamped to -10..=10.
    GeluClamped,
    /// `relu6`: x clamped to 0..=6.
    Relu6,
    /// `leaky_relu`: x, or x / 100 below 0.
    LeakyRelu,
    /// `hardswish`: x * relu6(x + 3) / 6.
    HardSwish,
    /// `laplace`: the distribution function of a normal variable of mean 0.707107 and deviation 0.282095.
    Laplace,
    /// `sqrtsoftplus`: sqrt(ln(1 + e^x)).
    SqrtSoftplus,
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
    /// What each frequency is divided by after that, `(head_dim / 2)`; empty where nothing is. GGUF states the rule of Llama 3.1 so, and
    /// rules that no configuration of transformers has; `config.json` of such a model has `rope_freq_factors`, a field of this engine alone.
    pub rope_freq_factors: Vec<f32>,
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
    /// The fields of `config.json` that an architecture's arithmetic depends on.
    pub fn used_fields(architecture: Architecture) -> impl Iterator<Item = &'static str> {
        lists::used(architecture)
    }

    /// Resolves the fields of `config.json` (`file` is its path, for messages) and `generation_config.json`.
    ///
    /// Every field of `config.json` is in one of three lists: used, read past for a stated reason, or refused unless it changes
    /// nothing; a field in none of them is refused. What is absent, or `null`, has the default of the configuration class of
    /// transformers 5.23.0; only the sizes that no file leaves out (`vocab_size`, the width, the layers, the heads) must be
    /// there. Where transformers takes an explicit `null` for "none" (`num_key_value_heads`, `sliding_window`, `bos_token_id`,
    /// `eos_token_id`), so does this.
    ///
    /// **The ids that generation stops at** are those of `generation_config.json` if that file is there, even if it states none;
    /// else those that `config.json` states, without a default. An id past the vocabulary is kept and noted: it stops nothing, and
    /// small models are often published with the id of a large one. 0 is an id like any other.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](crate::Error::Config), naming file, field and value.
    pub fn parse(config: &Map<String, Value>, generation_config: Option<&Map<String, Value>>, file: &Path) -> Result<Config> {
        let mut resolved = resolve(Fields::of(config)).in_file(file)?;
        if let Some(generation_config) = generation_config {
            let (fields, file) = (Fields::of(generation_config), file.with_file_name("generation_config.json"));
            resolved.eos = fields.ids("eos_token_id").in_file(&file)?.unwrap_or_default();
            generation::note_what_is_not_applied(fields, &mut resolved.notes);
        }
        let stated_bos = Fields::of(config).id("bos_token_id").in_file(file)?;
        for id in resolved.eos.iter().chain(&stated_bos).filter(|id| **id as usize >= resolved.vocab_size) {
            let size = resolved.vocab_size;
            resolved.notes.push(format!("token id {id} is stated as begin or end of text, and the vocabulary has {size} ids"));
        }
        Ok(resolved)
    }
}

/// Bounds that keep a configuration from asking for more than any model has, so that nothing is allocated on its word alone.
/// The largest published values: 405B has 126 layers of width 16,384 with an MLP of 53,248; vocabularies end at 262,144, contexts at
/// 10,485,760.
const MAX_LAYERS: usize = 4_096;
const MAX_WIDTH: usize = 1 << 20;
const MAX_HEADS: usize = 1 << 14;
const MAX_VOCAB: usize = 1 << 24;
const MAX_CONTEXT: usize = 1 << 28;

/// The names of the activation functions.
const ACTIVATIONS: [(&str, Activation); 22] = [
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("relu2", Activation::Relu2),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("mish", Activation::Mish),
    ("linear", Activation::Linear),
    ("gelu_10", Activation::GeluClamped),
    ("relu6", Activation::Relu6),
    ("leaky_relu", Activation::LeakyRelu),
    ("hardswish", Activation::HardSwish),
    ("laplace", Activation::Laplace),
    ("sqrtsoftplus", Activation::SqrtSoftplus),
];

fn resolve(fields: Fields) -> Checked<Config> {
    let architecture = architecture(fields)?;
    let mut notes = Vec::new();
    lists::check(architecture, fields, &mut notes)?;
    match architecture {
        Architecture::Llama => rotary(fields, architecture, notes),
        Architecture::Qwen2 => rotary(fields, architecture, notes),
        Architecture::Gpt2 => gpt2(fields, notes),
    }
}

fn architecture(fields: Fields) -> Checked<Architecture> {
    let known = "llama, qwen2, gpt2";
    let name = fields.required("model_type", fields.word("model_type")?)?;
    let architecture = Architecture::ALL.into_iter().find(|architecture| architecture.name() == name);
    let architecture =
        architecture.ok_or_else(|| ConfigError::UnknownValue { field: "model_type".to_owned(), found: name.to_owned(), known })?;
    match fields.words("architectures")? {
        Some(classes) if !classes.is_empty() && !classes.contains(&architecture.class()) => {
            let (field, found) = ("architectures".to_owned(), classes.join(", "));
            Err(ConfigError::UnknownValue { field, found, known: architecture.class() })
        }
        _ => Ok(architecture),
    }
}

/// llama and qwen2. Defaults: `configuration_llama.py`, `configuration_qwen2.py`.
fn rotary(fields: Fields, architecture: Architecture, mut notes: Vec<String>) -> Checked<Config> {
    let is_qwen2 = architecture == Architecture::Qwen2;
    let sizes =
        Sizes::read(fields, ["hidden_size", "num_hidden_layers", "num_attention_heads"], |name, bounds| fields.count(name, bounds))?;
    let Sizes { vocab_size, hidden_size, n_layers, n_heads } = sizes;
    let stated_kv_heads = fields.count("num_key_value_heads", 1..=MAX_HEADS)?;
    let n_kv_heads = match stated_kv_heads {
        Some(n) => n,
        None if is_qwen2 && !fields.is_null("num_key_value_heads") => 32,
        None => n_heads,
    };
    divides(("num_attention_heads", n_heads), ("num_key_value_heads", n_kv_heads))?;
    let stated_head_dim = fields.count("head_dim", 1..=MAX_WIDTH)?;
    // transformers asks this of llama even where the width of a head is stated.
    if !is_qwen2 || stated_head_dim.is_none() {
        divides(("hidden_size", hidden_size), ("num_attention_heads", n_heads))?;
    }
    let head_dim = stated_head_dim.unwrap_or(hidden_size / n_heads);
    if !head_dim.is_multiple_of(2) {
        let bounds = "an even number (rotary embeddings turn pairs)".to_owned();
        return Err(ConfigError::OutOfRange { field: "head_dim".to_owned(), value: head_dim.to_string(), bounds });
    }
    let n_ctx = fields.count("max_position_embeddings", 1..=MAX_CONTEXT)?;
    let n_ctx = n_ctx.unwrap_or(if is_qwen2 { 32_768 } else { 2_048 });
    Ok(Config {
        architecture,
        vocab_size,
        hidden_size,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim,
        intermediate_size: fields.count("intermediate_size", 1..=MAX_WIDTH)?.unwrap_or(if is_qwen2 { 22_016 } else { 11_008 }),
        n_ctx,
        norm_eps: fields.number("rms_norm_eps", Bounds::UnderOne)?.unwrap_or(1e-6),
        activation: activation(fields, "hidden_act", Activation::Silu)?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        attention_bias: is_qwen2 || fields.flag("attention_bias")?.unwrap_or(false),
        mlp_bias: !is_qwen2 && fields.flag("mlp_bias")?.unwrap_or(false),
        rope: Some(rope::resolve(fields, n_ctx, &mut notes)?),
        rope_freq_factors: freq_factors(fields, head_dim)?,
        windows: if is_qwen2 { windows(fields, n_layers)? } else { vec![None; n_layers] },
        scale_attn_weights: true,
        scale_attn_by_inverse_layer_idx: false,
        bos: bos(fields, if is_qwen2 { None } else { Some(1) })?,
        eos: fields.ids("eos_token_id")?.unwrap_or_default(),
        notes,
    })
}

/// What each frequency is divided by.
fn freq_factors(fields: Fields, head_dim: usize) -> Checked<Vec<f32>> {
    let Some(factors) = fields.numbers("rope_freq_factors", Bounds::Positive)? else { return Ok(Vec::new()) };
    if factors.len() == head_dim / 2 {
        return Ok(factors.into_iter().map(|factor| factor as f32).collect());
    }
    let (field, other) = ("rope_freq_factors".to_owned(), "head_dim".to_owned());
    Err(ConfigError::Conflict { field, other, why: format!("{} factors for heads of {head_dim}", factors.len()) })
}

/// gpt2. Defaults: `configuration_gpt2.py`, whose `attribute_map` gives four fields a second name.
fn gpt2(fields: Fields, notes: Vec<String>) -> Checked<Config> {
    let either = |name: &str, bounds: RangeInclusive<usize>| {
        let second = GPT2_NAMES.iter().find(|(first, _)| *first == name).map(|(_, second)| *second);
        let Some(second) = second else { return fields.count(name, bounds) };
        match (fields.count(name, bounds.clone())?, fields.count(second, bounds)?) {
            (Some(a), Some(b)) if a != b => Err(ConfigError::Conflict {
                field: name.to_owned(),
                other: second.to_owned(),
                why: format!("two names of one size, {a} and {b}"),
            }),
            (a, b) => Ok(a.or(b)),
        }
    };
    let Sizes { vocab_size, hidden_size, n_layers, n_heads } = Sizes::read(fields, ["n_embd", "n_layer", "n_head"], either)?;
    divides(("n_embd", hidden_size), ("n_head", n_heads))?;
    Ok(Config {
        architecture: Architecture::Gpt2,
        vocab_size,
        hidden_size,
        n_layers,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: hidden_size / n_heads,
        intermediate_size: fields.count("n_inner", 1..=MAX_WIDTH)?.unwrap_or(4 * hidden_size),
        n_ctx: either("n_positions", 1..=MAX_CONTEXT)?.unwrap_or(1_024),
        norm_eps: fields.number("layer_norm_epsilon", Bounds::UnderOne)?.unwrap_or(1e-5),
        activation: activation(fields, "activation_function", Activation::GeluTanh)?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(true),
        attention_bias: true,
        mlp_bias: true,
        rope: None,
        rope_freq_factors: Vec::new(),
        windows: vec![None; n_layers],
        scale_attn_weights: fields.flag("scale_attn_weights")?.unwrap_or(true),
        scale_attn_by_inverse_layer_idx: fields.flag("scale_attn_by_inverse_layer_idx")?.unwrap_or(false),
        bos: bos(fields, Some(50_256))?,
        eos: fields.ids("eos_token_id")?.unwrap_or_default(),
        notes,
    })
}

/// gpt2's own names, and those that transformers reads as the same.
const GPT2_NAMES: [(&str, &str); 4] = [
    ("n_embd", "hidden_size"),
    ("n_layer", "num_hidden_layers"),
    ("n_head", "num_attention_heads"),
    ("n_positions", "max_position_embeddings"),
];

/// The sizes that must be stated.
struct Sizes {
    vocab_size: usize,
    hidden_size: usize,
    n_layers: usize,
    n_heads: usize,
}

impl Sizes {
    /// Width, layers and heads go by the architecture's names for them.
    fn read(
        fields: Fields,
        [width, layers, heads]: [&str; 3],
        count: impl Fn(&str, RangeInclusive<usize>) -> Checked<Option<usize>>,
    ) -> Checked<Self> {
        let size = |name: &str, most: usize| fields.required(name, count(name, 1..=most)?);
        Ok(Sizes {
            vocab_size: size("vocab_size", MAX_VOCAB)?,
            hidden_size: size(width, MAX_WIDTH)?,
            n_layers: size(layers, MAX_LAYERS)?,
            n_heads: size(heads, MAX_HEADS)?,
        })
    }
}

fn divides((field, value): (&'static str, usize), (divisor_field, divisor): (&'static str, usize)) -> Checked<()> {
    if value.is_multiple_of(divisor) {
        return Ok(());
    }
    Err(ConfigError::NotAMultiple { field, value, divisor_field, divisor })
}

fn activation(fields: Fields, name: &str, default: Activation) -> Checked<Activation> {
    let Some(word) = fields.word(name)? else { return Ok(default) };
    let known = ACTIVATIONS.iter().find(|(known, _)| *known == word);
    known.map(|(_, activation)| *activation).ok_or_else(|| ConfigError::UnknownValue {
        field: name.to_owned(),
        found: word.to_owned(),
        known: "silu, swish, gelu, gelu_python, gelu_new, gelu_pytorch_tanh, gelu_python_tanh, gelu_fast, gelu_accurate, \
                gelu_10, quick_gelu, relu, relu2, relu6, leaky_relu, tanh, sigmoid, mish, hardswish, linear, laplace, sqrtsoftplus",
    })
}

fn bos(fields: Fields, default: Option<u32>) -> Checked<Option<u32>> {
    let is_none = fields.is_null("bos_token_id");
    Ok(fields.id("bos_token_id")?.or(default.filter(|_| !is_none)))
}

/// qwen2's windows: `layer_types` where it is stated; else, under `use_sliding_window`, every layer from `max_window_layers` on.
fn windows(fields: Fields, n_layers: usize) -> Checked<Vec<Option<usize>>> {
    let stated = fields.count("sliding_window", 1..=MAX_CONTEXT)?;
    let window = match stated {
        _ if !fields.flag("use_sliding_window")?.unwrap_or(false) => None,
        None if !fields.is_null("sliding_window") => Some(4_096),
        stated => stated,
    };
    let first = fields.count("max_window_layers", 0..=MAX_CONTEXT)?.unwrap_or(28);
    let Some(types) = fields.words("layer_types")? else {
        return Ok((0..n_layers).map(|layer| window.filter(|_| layer >= first)).collect());
    };
    if types.len() != n_layers {
        return Err(ConfigError::Conflict {
            field: "layer_types".to_owned(),
            other: "num_hidden_layers".to_owned(),
            why: format!("{} types for {n_layers} layers", types.len()),
        });
    }
    let window_of = |word: &str| match (word, window) {
        ("full_attention" | "attention", _) => Ok(None),
        ("sliding_attention", Some(window)) => Ok(Some(window)),
        ("sliding_attention", None) => Err(ConfigError::Conflict {
            field: "layer_types".to_owned(),
            other: "use_sliding_window".to_owned(),
            why: "a layer has sliding_attention, and there is no window".to_owned(),
        }),
        _ => Err(ConfigError::UnknownValue {
            field: "layer_types".to_owned(),
            found: word.to_owned(),
            known: "full_attention, sliding_attention",
        }),
    };
    types.into_iter().map(window_of).collect()
}
