//! The three lists: which fields of a configuration are used, which are read past and why, and which are refused unless they
//! change nothing. A field in none of them is refused by name, because it may change the arithmetic.
//!
//! Where a field is read past, what transformers 5.23.0 does with it is the reason: `configuration_utils.py` and
//! `configuration_{llama,qwen2,gpt2}.py` say which fields reach a model, `modeling_*.py`, `masking_utils.py` and
//! `cache_utils.py` what they do there.

use serde_json::Value;

use super::Architecture;
use super::fields::{Fields, shown};
use crate::error::ConfigError;

/// The value at which a field changes nothing.
#[derive(Debug, Clone, Copy)]
enum Neutral {
    Absent,
    False,
    True,
    One,
    Empty,
    /// A list in which every layer has full attention.
    FullAttention,
}

impl Neutral {
    fn is(self, value: &Value) -> bool {
        match self {
            Neutral::Absent => false,
            Neutral::False => value == &Value::Bool(false),
            Neutral::True => value == &Value::Bool(true),
            Neutral::One => value.as_f64() == Some(1.0),
            Neutral::Empty => value.as_object().is_some_and(|map| map.is_empty()) || value.as_array().is_some_and(|list| list.is_empty()),
            Neutral::FullAttention => {
                value.as_array().is_some_and(|list| list.iter().all(|layer| matches!(layer.as_str(), Some("full_attention" | "attention"))))
            }
        }
    }

    fn words(self) -> &'static str {
        match self {
            Neutral::Absent => "null",
            Neutral::False => "false",
            Neutral::True => "true",
            Neutral::One => "1",
            Neutral::Empty => "an empty one",
            Neutral::FullAttention => "full_attention in every layer",
        }
    }
}

/// The lists of an architecture, which go before the common ones.
struct Lists {
    used: &'static [&'static str],
    /// Fields by the reason why they are read past.
    inert: &'static [(&'static str, &'static [&'static str])],
    /// Field, the value at which it changes nothing, what it would change.
    neutral: &'static [(&'static str, Neutral, &'static str)],
}

const COMMON: Lists = Lists {
    used: &["model_type", "architectures", "vocab_size", "tie_word_embeddings", "bos_token_id", "eos_token_id"],
    inert: &[
        ("it acts in training only", &["initializer_range", "gradient_checkpointing", "problem_type", "finetuning_task", "tf_legacy_loss"]),
        (
            "it says who wrote the file, when, and from what",
            &[
                "_name_or_path",
                "name_or_path",
                "_commit_hash",
                "transformers_version",
                "transformers.js_config",
                "unsloth_fixed",
                "unsloth_version",
                "is_llama_config",
            ],
        ),
        (
            "weights are widened to f32 whatever dtype the file asks for, and each tensor states its own",
            &["torch_dtype", "dtype", "use_bfloat16"],
        ),
        (
            "it chooses between implementations of the same function, or what else a call returns",
            &[
                "attn_implementation",
                "_attn_implementation",
                "_attn_implementation_autoset",
                "_attn_implementation_internal",
                "experts_implementation",
                "output_attentions",
                "output_hidden_states",
                "output_past",
                "return_dict",
                "use_cache",
                "torchscript",
                "chunk_size_feed_forward",
                "pretraining_tp",
            ],
        ),
        ("it belongs to classifiers and other heads, not to the language model", &["id2label", "label2id", "num_labels", "_num_labels"]),
        (
            "prompts are made by tokenizer.json",
            &[
                "tokenizer_class",
                "prefix",
                "pad_token_id",
                "sep_token_id",
                "cls_token_id",
                "unk_token_id",
                "mask_token_id",
                "decoder_start_token_id",
            ],
        ),
        ("all three architectures are decoders, whatever it says", &["is_decoder"]),
        (
            "generation is greedy over the logits as they are, and transformers does not take it from this file either",
            &[
                "task_specific_params",
                "bad_words_ids",
                "begin_suppress_tokens",
                "diversity_penalty",
                "do_sample",
                "early_stopping",
                "encoder_no_repeat_ngram_size",
                "encoder_repetition_penalty",
                "epsilon_cutoff",
                "eta_cutoff",
                "exponential_decay_length_penalty",
                "forced_bos_token_id",
                "forced_eos_token_id",
                "length_penalty",
                "max_length",
                "max_new_tokens",
                "min_length",
                "no_repeat_ngram_size",
                "num_beam_groups",
                "num_beams",
                "num_return_sequences",
                "output_scores",
                "remove_invalid_values",
                "repetition_penalty",
                "return_dict_in_generate",
                "suppress_tokens",
                "temperature",
                "top_k",
                "top_p",
                "typical_p",
            ],
        ),
    ],
    neutral: &[
        ("quantization_config", Neutral::Absent, "the weights would have to be dequantized"),
        ("compression_config", Neutral::Absent, "the weights would have to be decompressed"),
        ("is_encoder_decoder", Neutral::False, "the model would have an encoder"),
        ("add_cross_attention", Neutral::False, "the blocks would attend to an encoder"),
        ("cross_attention_hidden_size", Neutral::Absent, "the blocks would attend to an encoder"),
        ("tie_encoder_decoder", Neutral::False, "the model would have an encoder"),
        ("is_causal", Neutral::True, "a position would attend to those after it"),
        ("pruned_heads", Neutral::Empty, "heads would be missing"),
        ("per_layer_config", Neutral::Empty, "the layers would differ in size"),
        ("attention_chunk_size", Neutral::Absent, "attention would stop at the edges of chunks"),
    ],
};

const LLAMA: Lists = Lists {
    used: &[
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "hidden_act",
        "max_position_embeddings",
        "original_max_position_embeddings",
        "rms_norm_eps",
        "attention_bias",
        "mlp_bias",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "rope_freq_factors",
    ],
    inert: &[
        ("it acts in training only", &["attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop"]),
        ("the first llama files state max_position_embeddings twice", &["max_sequence_length"]),
        ("it acts under use_sliding_window only", &["max_window_layers"]),
    ],
    neutral: &[
        ("partial_rotary_factor", Neutral::One, "only a part of each head would be rotated"),
        ("rope_interleaved", Neutral::False, "neighbours would be rotated instead of halves"),
        ("use_mrope", Neutral::False, "positions would have several axes"),
        ("sliding_window", Neutral::Absent, "attention would stop at the edge of a window"),
        ("use_sliding_window", Neutral::False, "attention would stop at the edge of a window"),
        ("layer_types", Neutral::FullAttention, "attention would stop at the edge of a window"),
        ("attn_logit_softcapping", Neutral::Absent, "scores would be bent by tanh"),
        ("final_logit_softcapping", Neutral::Absent, "logits would be bent by tanh"),
        ("embedding_multiplier", Neutral::One, "embeddings would be scaled"),
        ("residual_multiplier", Neutral::One, "residuals would be scaled"),
        ("attention_multiplier", Neutral::Absent, "scores would be scaled otherwise"),
        ("logits_scaling", Neutral::One, "logits would be scaled"),
        ("logit_scale", Neutral::One, "logits would be scaled"),
        ("use_qk_norm", Neutral::False, "queries and keys would be normed"),
        ("qk_layernorm", Neutral::False, "queries and keys would be normed"),
    ],
};

const QWEN2: Lists = Lists {
    used: &[
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "hidden_act",
        "max_position_embeddings",
        "original_max_position_embeddings",
        "rms_norm_eps",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "use_sliding_window",
        "sliding_window",
        "max_window_layers",
        "layer_types",
    ],
    inert: &[("it acts in training only", &["attention_dropout", "hidden_dropout"])],
    neutral: &[
        ("partial_rotary_factor", Neutral::One, "only a part of each head would be rotated"),
        ("rope_interleaved", Neutral::False, "neighbours would be rotated instead of halves"),
        ("use_mrope", Neutral::False, "positions would have several axes"),
        ("attention_bias", Neutral::True, "q, k and v would have no biases, in qwen2 they have"),
        ("qkv_bias", Neutral::True, "q, k and v would have no biases, in qwen2 they have"),
        ("mlp_bias", Neutral::False, "the MLP would have biases, in qwen2 it has none"),
        ("use_qk_norm", Neutral::False, "queries and keys would be normed"),
    ],
};

const GPT2: Lists = Lists {
    used: &[
        "n_embd",
        "hidden_size",
        "n_layer",
        "num_hidden_layers",
        "n_head",
        "num_attention_heads",
        "n_positions",
        "max_position_embeddings",
        "n_inner",
        "activation_function",
        "layer_norm_epsilon",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
    ],
    inert: &[
        ("it acts in training only", &["attn_pdrop", "embd_pdrop", "resid_pdrop"]),
        ("old files state n_positions twice, and no reader takes it from here", &["n_ctx"]),
        (
            "it belongs to classifiers and other heads, not to the language model",
            &[
                "summary_activation",
                "summary_first_dropout",
                "summary_proj_to_labels",
                "summary_type",
                "summary_use_proj",
                "predict_special_tokens",
            ],
        ),
        // q is scaled before the product instead of after it, in f32: the same function, and everything here is f32.
        ("it moves a rounding of half precision, and nothing here is half precision", &["reorder_and_upcast_attn"]),
    ],
    neutral: &[
        ("sliding_window", Neutral::Absent, "attention would stop at the edge of a window"),
        ("layer_types", Neutral::FullAttention, "attention would stop at the edge of a window"),
    ],
};

/// Fields that a user may expect to act although they do not, with the sentence that tells him.
const REPORTED: &[(&str, &str)] = &[
    ("auto_map", "it names code that comes with the checkpoint; code from a checkpoint is never run"),
    ("custom_pipelines", "it names code that comes with the checkpoint; code from a checkpoint is never run"),
];

fn lists(architecture: Architecture) -> [&'static Lists; 2] {
    let own = match architecture {
        Architecture::Llama => &LLAMA,
        Architecture::Qwen2 => &QWEN2,
        Architecture::Gpt2 => &GPT2,
    };
    [own, &COMMON]
}

/// The first list.
pub(super) fn used(architecture: Architecture) -> impl Iterator<Item = &'static str> {
    lists(architecture).into_iter().flat_map(|list| list.used).copied()
}

/// Holds every field against the lists. What is worth a note is noted.
pub(super) fn check(architecture: Architecture, fields: Fields, notes: &mut Vec<String>) -> Result<(), ConfigError> {
    let lists = lists(architecture);
    for (name, value) in fields.iter() {
        if let Some((_, why)) = REPORTED.iter().find(|(reported, _)| *reported == name) {
            notes.push(format!("`{name}`: {why}"));
            continue;
        }
        let is_listed = |list: &&Lists| list.used.contains(&name) || list.inert.iter().any(|(_, names)| names.contains(&name));
        if lists.iter().any(is_listed) {
            continue;
        }
        let (field, found) = (fields.path(name), shown(value));
        match lists.iter().flat_map(|list| list.neutral).find(|(neutral, ..)| *neutral == name) {
            Some((_, neutral, _)) if neutral.is(value) => {}
            Some((_, neutral, why)) => return Err(ConfigError::Unsupported { field, found, neutral: neutral.words(), why }),
            None => return Err(ConfigError::UnknownField { field, found, architecture: architecture.name() }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_in_two_lists_of_one_architecture() {
        for architecture in Architecture::ALL {
            let mut seen = std::collections::BTreeSet::new();
            let names = lists(architecture).into_iter().flat_map(|list| {
                let inert = list.inert.iter().flat_map(|(_, names)| names.iter());
                list.used.iter().chain(inert).copied().chain(list.neutral.iter().map(|(name, ..)| *name))
            });
            for name in names.chain(REPORTED.iter().map(|(name, _)| *name)) {
                assert!(seen.insert(name), "{architecture}: {name}");
            }
        }
    }

    #[test]
    fn a_reason_is_there_for_each_field_that_is_read_past() {
        for list in Architecture::ALL.into_iter().flat_map(lists) {
            assert!(list.inert.iter().all(|(why, names)| !why.is_empty() && !names.is_empty()));
            assert!(list.neutral.iter().all(|(_, _, why)| !why.is_empty()));
        }
    }
}
