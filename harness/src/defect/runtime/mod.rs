//! Faults in a runtime: the artifact is right, and what comes back is not.
//!
//! Each is a [`Layered`] runtime around one that works, so it can be tried on any.

mod chat;
mod echo;
mod faults;
mod layer;
mod lengths;
mod lies;
mod sampling;
mod stored;

use std::sync::Arc;

use ground_truth_falsification::golden::{ModelGolden, PromptGolden};

pub use layer::{Factory, Handler, Layered, Next, Outcome, Reply, Request, remembered};

/// What a fault may know of the cell it is tried in.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The golden of the model: what a runtime that cheats has read.
    pub golden: Arc<ModelGolden>,
    /// The golden of each prompt that the checks will ask about.
    pub prompts: Vec<Arc<PromptGolden>>,
    /// The strength of the defect, 1 where it has none.
    pub strength: f64,
}

/// Makes the faulty handlers of one cell.
pub type Fault = fn(&Setting) -> Factory;

/// Every runtime defect by the id of its record.
pub const FAULTS: &[(&str, Fault)] = &[
    // No answer, or the wrong one of an earlier request.
    ("hangs", faults::hangs),
    ("crashes", faults::crashes),
    ("answers-late", faults::answers_late),
    ("answers-previous", faults::answers_previous),
    ("answers-empty", faults::answers_empty),
    // State that outlives its request.
    ("stale-cache", faults::stale_cache),
    ("last-token-fed-twice", faults::last_token_fed_twice),
    ("second-run-differs", faults::second_run_differs),
    ("threads-differ", faults::threads_differ),
    ("batch-neighbours-leak", faults::batch_neighbours_leak),
    ("chunk-boundary-off", faults::chunk_boundary_off),
    ("last-row-alone-off", faults::last_row_alone_off),
    ("block-length-off", faults::block_length_off),
    ("sessions-interfere", faults::sessions_interfere),
    // Limits that are not kept.
    ("empty-input-accepted", faults::empty_input_accepted),
    ("ids-clamped", faults::ids_clamped),
    ("context-truncated", faults::context_truncated),
    ("context-one-short", faults::context_one_short),
    ("eos-ignored", faults::eos_ignored),
    ("eos-swallowed", faults::eos_swallowed),
    ("one-token-too-many", faults::one_token_too_many),
    // Values that are not what was computed.
    ("golden-echoed", echo::golden_echoed),
    ("logits-nan", lies::logits_nan),
    ("logits-row-missing", lies::logits_row_missing),
    ("logits-rows-late", lies::logits_rows_late),
    ("logits-columns-cut", lies::logits_columns_cut),
    ("logits-scaled", lies::logits_scaled),
    ("logits-shifted", lies::logits_shifted),
    ("logits-f16", lies::logits_f16),
    ("logits-top-only", lies::logits_top_only),
    ("training-text-memorised", lies::training_text_memorised),
    ("token-missing", lies::token_missing),
    ("special-never-added", lies::special_never_added),
    ("special-not-decoded", lies::special_not_decoded),
    ("metadata-wrong", lies::metadata_wrong),
    ("metadata-field-missing", lies::metadata_field_missing),
    ("tensor-unlisted", lies::tensor_unlisted),
    ("sketch-stages-shifted", lies::sketch_stages_shifted),
    // Conversations.
    ("chat-prompt-dropped", chat::prompt_dropped),
    ("chat-prompt-always", chat::prompt_always),
    ("chat-bos-doubled", chat::bos_doubled),
    ("chat-special-as-text", chat::special_as_text),
    ("chat-system-dropped", chat::system_dropped),
    ("chat-history-cut", chat::history_cut),
    ("chat-content-stripped", chat::content_stripped),
    ("chat-calls-dropped", chat::calls_dropped),
    ("chat-tools-ignored", chat::tools_ignored),
    ("chat-keys-sorted", chat::keys_sorted),
    ("chat-json-escaped-for-html", chat::json_escaped_for_html),
    ("chat-json-escaped-to-ascii", chat::json_escaped_to_ascii),
    ("chat-json-not-indented", chat::json_not_indented),
    ("chat-trim-blocks-off", chat::trim_blocks_off),
    ("chat-lstrip-blocks-off", chat::lstrip_blocks_off),
    ("chat-end-stripped", chat::end_stripped),
    ("chat-cut-at-nul", chat::cut_at_nul),
    ("chat-always-chatml", chat::always_chatml),
    ("chat-raise-ignored", chat::raise_ignored),
    ("chat-refusal-swallowed", chat::refusal_swallowed),
    ("chat-clock-of-the-machine", chat::clock_of_the_machine),
    ("chat-tokens-not-given", chat::tokens_not_given),
    // What is said of the file.
    ("container-format-wrong", stored::format_wrong),
    ("container-version-odd", stored::version_odd),
    ("container-cut-short", stored::cut_short),
    ("container-magic-odd", stored::magic_odd),
    ("container-tensor-unlisted", stored::tensor_unlisted),
    ("container-row-lost", stored::row_lost),
    ("container-misaligned", stored::misaligned),
    ("container-warns", stored::warns),
    ("container-heads-late", stored::heads_late),
    ("container-names-moved", stored::names_moved),
    ("container-digest-stale", stored::digest_stale),
    ("vocabulary-misreported", stored::vocabulary_misreported),
    ("container-types-poorer", stored::types_poorer),
    ("weights-backwards", stored::weights_backwards),
    ("second-text-differs", stored::second_text_differs),
    ("generated-token-off", stored::generated_token_off),
    // Samplers.
    ("temperature-inverted", sampling::temperature_inverted),
    ("temperature-last", sampling::temperature_last),
    ("top-k-drops-ties", sampling::top_k_drops_ties),
    ("top-k-one-more", sampling::top_k_one_more),
    ("top-p-past-limit", sampling::top_p_past_limit),
    ("top-p-short-of-limit", sampling::top_p_short_of_limit),
    ("min-p-of-sum", sampling::min_p_of_sum),
    ("typical-unshifted", sampling::typical_unshifted),
    ("penalty-divides", sampling::penalty_divides),
    ("frequency-counts-prompt", sampling::frequency_counts_prompt),
    ("ngram-short", sampling::ngram_short),
    ("min-length-counts-prompt", sampling::min_length_counts_prompt),
    ("bad-words-always", sampling::bad_words_always),
    ("softmax-overflows", sampling::softmax_overflows),
    ("last-id-at-the-end", sampling::last_id_at_the_end),
    ("mask-finite", sampling::mask_finite),
    ("sampler-accepts-all", sampling::sampler_accepts_all),
    // Lengths.
    ("block-of-one-lost", lengths::block_of_one_lost),
    ("length-256-wrong", lengths::length_256_wrong),
    ("decode-window-one-short", lengths::decode_window_one_short),
    ("cache-one-short", lengths::cache_one_short),
    ("step-past-context", lengths::step_past_context),
];
