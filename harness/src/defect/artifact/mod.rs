//! Faults in an artifact: its configuration, its tensors or its tokenizer is wrong, and the golden stays what it was.
//!
//! Each is one function from a checkpoint and a strength to the same checkpoint with one thing wrong. A defect that has no
//! strengths is given 1.

mod attention;
mod config;
mod inventory;
mod surgery;
mod tokenizer;
mod weights;

pub use surgery::{Part, Surgery, SurgeryError};

/// Puts one fault into a checkpoint.
pub type Edit = fn(&mut Surgery<'_>, f64) -> Result<(), SurgeryError>;

/// Every artifact defect by the id of its record.
pub const EDITS: &[(&str, Edit)] = &[
    // What attention reads: layout, order, biases, scores.
    ("q-rows-interleaved", attention::q_rows_interleaved),
    ("k-rows-interleaved", attention::k_rows_interleaved),
    ("qk-rows-interleaved", attention::qk_rows_interleaved),
    ("rope-direction", attention::rope_direction),
    ("gqa-tiled", attention::gqa_tiled),
    ("kv-heads-swapped", attention::kv_heads_swapped),
    ("kv-swapped", attention::kv_swapped),
    ("attn-thirds-rotated", attention::attn_thirds_rotated),
    ("q-bias-dropped", attention::q_bias_dropped),
    ("k-bias-dropped", attention::k_bias_dropped),
    ("v-bias-dropped", attention::v_bias_dropped),
    ("c-attn-bias-dropped", attention::c_attn_bias_dropped),
    ("o-proj-transposed", attention::out_projection_transposed),
    ("conv1d-transposed", attention::out_projection_transposed),
    ("head-count-halved", attention::head_count_halved),
    // What the weights hold.
    ("tensor-scaled", weights::tensor_scaled),
    ("matrix-zeroed", weights::matrix_zeroed),
    ("tensor-sign-flipped", weights::tensor_sign_flipped),
    ("logits-scaled-by-norm", weights::final_norm_scaled),
    ("norm-plus-one", weights::norm_plus_one),
    ("norm-weights-swapped", weights::norm_weights_swapped),
    ("final-norm-skipped", weights::final_norm_ones),
    ("layernorm-bias-dropped", weights::layernorm_bias_dropped),
    ("mlp-bias-dropped", weights::mlp_bias_dropped),
    ("gate-up-swapped", weights::gate_up_swapped),
    ("layers-swapped", weights::layers_swapped),
    ("layer-repeated", weights::layer_repeated),
    ("weights-rounded-bf16", weights::rounded_to_bf16),
    ("tensor-rounded-f16", weights::tensor_rounded_to_f16),
    ("tensor-bytes-swapped", weights::bytes_swapped),
    ("tensor-dtype-misread", weights::dtype_misread),
    ("nan-weight", weights::nan_weight),
    ("inf-weight", weights::inf_weight),
    ("embedding-row-zeroed", weights::embedding_row_zeroed),
    ("embedding-scaled", weights::embedding_scaled),
    ("token-rows-shifted", weights::token_rows_shifted),
    ("position-rows-shifted", weights::position_rows_shifted),
    ("lm-head-not-tied", weights::lm_head_not_tied),
    ("lm-head-tied-wrongly", weights::lm_head_tied_wrongly),
    // Which tensors there are.
    ("last-layer-missing", inventory::last_layer_missing),
    ("last-layer-undeclared", inventory::last_layer_undeclared),
    ("one-layer-fewer", inventory::one_layer_fewer),
    ("lm-head-missing", inventory::lm_head_missing),
    ("bias-missing", inventory::bias_missing),
    ("vocab-padded", inventory::vocab_padded),
    // What the configuration says.
    ("norm-eps", config::norm_eps),
    ("rope-theta", config::rope_theta),
    ("rope-theta-lost", config::rope_theta_lost),
    ("rope-linear-added", config::rope_linear_added),
    ("rope-llama3-added", config::rope_llama3_added),
    ("rope-yarn-added", config::rope_yarn_added),
    ("gelu-exact", config::gelu_exact),
    ("mlp-gelu-for-silu", config::gelu_for_silu),
    ("attn-scale-off", config::attention_scale_off),
    ("attn-scale-by-layer", config::attention_scale_by_layer),
    ("sliding-window-on", config::sliding_window_on),
    ("context-halved", config::context_halved),
    ("eos-first-only", config::eos_first_only),
    ("eos-zero", config::eos_zero),
    ("eos-lost", config::eos_lost),
    ("bos-id-wrong", config::bos_id_wrong),
    // How text becomes ids.
    ("bos-doubled", tokenizer::bos_doubled),
    ("bos-missing", tokenizer::bos_missing),
    ("bos-added", tokenizer::bos_added),
    ("merges-truncated", tokenizer::merges_truncated),
    ("merges-reversed", tokenizer::merges_reversed),
    ("normalizer-dropped", tokenizer::normalizer_dropped),
    ("byte-fallback-off", tokenizer::byte_fallback_off),
    ("pre-tokenizer-foreign", tokenizer::pre_tokenizer_foreign),
    ("prefix-space-added", tokenizer::prefix_space_added),
    ("added-token-lost", tokenizer::added_token_lost),
    ("vocab-ids-swapped", tokenizer::vocab_ids_swapped),
    ("decoder-dropped", tokenizer::decoder_dropped),
];
