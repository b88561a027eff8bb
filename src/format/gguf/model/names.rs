//! What GGUF calls the tensors of each architecture, and how they lie there.
//!
//! Sources: llama.cpp `gguf-py/gguf/tensor_mapping.py`, `conversion/{llama,qwen,gpt2}.py`, `src/models/{llama,qwen2,gpt2}.cpp`.

use crate::{Architecture, Config, Order};

/// A dimension of a tensor, and the keys that state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Vocab,
    Width,
    Inner,
    Context,
    /// Heads of queries, side by side.
    Query,
    /// Heads of keys, or of values.
    KeyValue,
    /// Queries, keys and values of gpt2.
    Qkv,
}

impl Size {
    pub fn of(self, config: &Config) -> usize {
        match self {
            Size::Vocab => config.vocab_size,
            Size::Width => config.hidden_size,
            Size::Inner => config.intermediate_size,
            Size::Context => config.n_ctx,
            Size::Query => config.n_heads.saturating_mul(config.head_dim),
            Size::KeyValue => config.n_kv_heads.saturating_mul(config.head_dim),
            Size::Qkv => config.hidden_size.saturating_mul(3),
        }
    }

    /// The keys, without the architecture's name before them.
    pub fn keys(self) -> &'static str {
        match self {
            Size::Vocab => "vocab_size",
            Size::Width | Size::Qkv => "embedding_length",
            Size::Inner => "feed_forward_length",
            Size::Context => "context_length",
            Size::Query => "attention.head_count, attention.key_length",
            Size::KeyValue => "attention.head_count_kv, attention.key_length",
        }
    }
}

/// Whether a tensor `name.bias` stands beside `name.weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    Never,
    Optional,
    Always,
}

/// A module: its name in GGUF and in Hugging Face files, without `blk.N.` and what stands for it there, and without `.weight`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Module {
    pub gguf: &'static str,
    pub hf: &'static str,
    /// The shape of its weight as GGUF stores it, slowest first. A bias has the first of the dimensions.
    pub shape: &'static [Size],
    pub bias: Bias,
    pub optional: bool,
}

const fn module(gguf: &'static str, hf: &'static str, shape: &'static [Size], bias: Bias) -> Module {
    Module { gguf, hf, shape, bias, optional: false }
}

/// The head, which may be the embedding.
const fn head() -> Module {
    Module { gguf: "output", hf: "lm_head", shape: &[Size::Vocab, Size::Width], bias: Bias::Never, optional: true }
}

/// The modules of an architecture.
pub(super) struct Names {
    /// What the blocks' names begin with in Hugging Face files, before the number.
    blocks: &'static str,
    /// What the names of a model without head lack there.
    prefix: &'static str,
    whole: &'static [Module],
    block: &'static [Module],
}

use Bias::{Always, Never, Optional};
use Size::{Context, Inner, KeyValue, Qkv, Query, Vocab, Width};

const LLAMA: Names = Names {
    blocks: "model.layers.",
    prefix: "model.",
    whole: &[
        module("token_embd", "model.embed_tokens", &[Vocab, Width], Never),
        module("output_norm", "model.norm", &[Width], Never),
        head(),
    ],
    block: &[
        module("attn_norm", "input_layernorm", &[Width], Never),
        module("attn_q", "self_attn.q_proj", &[Query, Width], Optional),
        module("attn_k", "self_attn.k_proj", &[KeyValue, Width], Optional),
        module("attn_v", "self_attn.v_proj", &[KeyValue, Width], Optional),
        module("attn_output", "self_attn.o_proj", &[Width, Query], Optional),
        module("ffn_norm", "post_attention_layernorm", &[Width], Never),
        module("ffn_gate", "mlp.gate_proj", &[Inner, Width], Optional),
        module("ffn_up", "mlp.up_proj", &[Inner, Width], Optional),
        module("ffn_down", "mlp.down_proj", &[Width, Inner], Optional),
    ],
};

const QWEN2: Names = Names {
    block: &[
        module("attn_norm", "input_layernorm", &[Width], Never),
        module("attn_q", "self_attn.q_proj", &[Query, Width], Always),
        module("attn_k", "self_attn.k_proj", &[KeyValue, Width], Always),
        module("attn_v", "self_attn.v_proj", &[KeyValue, Width], Always),
        module("attn_output", "self_attn.o_proj", &[Width, Query], Never),
        module("ffn_norm", "post_attention_layernorm", &[Width], Never),
        module("ffn_gate", "mlp.gate_proj", &[Inner, Width], Never),
        module("ffn_up", "mlp.up_proj", &[Inner, Width], Never),
        module("ffn_down", "mlp.down_proj", &[Width, Inner], Never),
    ],
    ..LLAMA
};

const GPT2: Names = Names {
    blocks: "transformer.h.",
    prefix: "transformer.",
    whole: &[
        module("token_embd", "transformer.wte", &[Vocab, Width], Never),
        module("position_embd", "transformer.wpe", &[Context, Width], Never),
        module("output_norm", "transformer.ln_f", &[Width], Always),
        head(),
    ],
    block: &[
        module("attn_norm", "ln_1", &[Width], Always),
        module("attn_qkv", "attn.c_attn", &[Qkv, Width], Always),
        module("attn_output", "attn.c_proj", &[Width, Width], Always),
        module("ffn_norm", "ln_2", &[Width], Always),
        module("ffn_up", "mlp.c_fc", &[Inner, Width], Always),
        module("ffn_down", "mlp.c_proj", &[Width, Inner], Always),
    ],
};

impl Names {
    pub fn of(architecture: Architecture) -> &'static Names {
        match architecture {
            Architecture::Llama => &LLAMA,
            Architecture::Qwen2 => &QWEN2,
            Architecture::Gpt2 => &GPT2,
        }
    }

    /// Every module of a model of `n_layers` blocks, with its whole names: in GGUF, in Hugging Face files.
    pub fn modules(&self, n_layers: usize) -> impl Iterator<Item = (String, String, &'static Module)> {
        let whole = self.whole.iter().map(|module| (module.gguf.to_owned(), module.hf.to_owned(), module));
        let blocks = (0..n_layers).flat_map(move |i| {
            let names =
                move |module: &'static Module| (format!("blk.{i}.{}", module.gguf), format!("{}{i}.{}", self.blocks, module.hf), module);
            self.block.iter().map(names)
        });
        whole.chain(blocks)
    }

    /// The block and the module that a Hugging Face name (without `.weight` or `.bias`) belongs to.
    fn find(&self, hf: &str) -> Option<(Option<usize>, &'static Module)> {
        let full = if hf.starts_with(self.prefix) || hf == "lm_head" { hf.to_owned() } else { format!("{}{hf}", self.prefix) };
        match full.strip_prefix(self.blocks).and_then(|rest| rest.split_once('.')) {
            None => self.whole.iter().find(|module| module.hf == full).map(|module| (None, module)),
            Some((number, rest)) => {
                let i = number.parse::<usize>().ok().filter(|i| i.to_string() == number)?;
                self.block.iter().find(|module| module.hf == rest).map(|module| (Some(i), module))
            }
        }
    }
}

/// What GGUF calls a tensor of that Hugging Face name, with or without the base model's prefix. `None` if it has no place there: a buffer,
/// or a tensor that the architecture does not have.
pub fn export_name(architecture: Architecture, hf_name: &str) -> Option<String> {
    let (name, suffix) = hf_name.rsplit_once('.')?;
    let (block, module) = Names::of(architecture).find(name)?;
    let has_place = suffix == "weight" || suffix == "bias" && module.bias != Never;
    let place = block.map_or(String::new(), |i| format!("blk.{i}."));
    has_place.then(|| format!("{place}{}.{suffix}", module.gguf))
}

/// How a tensor of that name in GGUF lies there, against its Hugging Face shape.
pub fn export_order(config: &Config, gguf_name: &str) -> Order {
    let local = gguf_name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map_or(gguf_name, |(_, local)| local);
    match (config.architecture, local) {
        (Architecture::Llama, "attn_q.weight" | "attn_q.bias") => Order::InterleavedHeads(config.n_heads),
        (Architecture::Llama, "attn_k.weight" | "attn_k.bias") => Order::InterleavedHeads(config.n_kv_heads),
        (Architecture::Gpt2, "attn_qkv.weight" | "attn_output.weight" | "ffn_up.weight" | "ffn_down.weight") => Order::Transposed,
        _ => Order::RowMajor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_has_a_name_on_both_sides() {
        for architecture in Architecture::ALL {
            for (gguf, hf, module) in Names::of(architecture).modules(11) {
                assert_eq!(export_name(architecture, &format!("{hf}.weight")), Some(format!("{gguf}.weight")));
                let bias = (module.bias != Never).then(|| format!("{gguf}.bias"));
                assert_eq!(export_name(architecture, &format!("{hf}.bias")), bias);
                let short = hf.strip_prefix(Names::of(architecture).prefix).unwrap_or(&hf);
                assert_eq!(export_name(architecture, &format!("{short}.weight")), Some(format!("{gguf}.weight")));
            }
        }
    }

    /// llama.cpp turns neighbours where transformers turns halves, in llama alone, and keeps the products of gpt2 the other way round.
    #[test]
    fn what_lies_otherwise_is_named() {
        let order = |fields: serde_json::Value, name: &str| {
            let config = Config::parse(fields.as_object().unwrap(), None, std::path::Path::new("config.json")).unwrap();
            export_order(&config, name)
        };
        let llama = serde_json::json!({"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
            "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2});
        let gpt2 = serde_json::json!({"model_type": "gpt2", "vocab_size": 8, "n_embd": 8, "n_layer": 1, "n_head": 4, "n_positions": 8});
        let mut qwen2 = llama.clone();
        qwen2["model_type"] = "qwen2".into();
        for part in ["weight", "bias"] {
            assert_eq!(order(llama.clone(), &format!("blk.7.attn_q.{part}")), Order::InterleavedHeads(4));
            assert_eq!(order(llama.clone(), &format!("blk.7.attn_k.{part}")), Order::InterleavedHeads(2));
            assert_eq!(order(qwen2.clone(), &format!("blk.7.attn_q.{part}")), Order::RowMajor);
        }
        for name in ["attn_v.weight", "attn_output.weight", "ffn_up.weight"] {
            assert_eq!(order(llama.clone(), &format!("blk.0.{name}")), Order::RowMajor);
        }
        for name in ["attn_qkv", "attn_output", "ffn_up", "ffn_down"] {
            assert_eq!(order(gpt2.clone(), &format!("blk.0.{name}.weight")), Order::Transposed);
            assert_eq!(order(gpt2.clone(), &format!("blk.0.{name}.bias")), Order::RowMajor);
        }
        assert_eq!(order(gpt2, "token_embd.weight"), Order::RowMajor);
    }

    #[test]
    fn what_has_no_place_has_no_name() {
        for name in ["model.layers.01.input_layernorm.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", "weight", "model.norm.scale"]
        {
            assert_eq!(export_name(Architecture::Llama, name), None, "{name}");
        }
        assert_eq!(export_name(Architecture::Gpt2, "h.0.attn.masked_bias"), None);
        assert_eq!(export_name(Architecture::Gpt2, "h.0.attn.bias"), None);
        assert_eq!(export_name(Architecture::Qwen2, "model.layers.0.self_attn.o_proj.bias"), None);
    }
}
