//! `generation_config.json`, of which the ids that end a text are used. The rest is about how tokens are drawn, and here none are drawn.

use super::fields::{Fields, shown};
use crate::Escaped;

/// Settings of `generation_config.json` that change what transformers generates greedily, and not what is generated here, which is
/// the most likely token of the logits as they are.
const NOT_GREEDY: [(&str, Option<f64>); 17] = [
    ("repetition_penalty", Some(1.0)),
    ("encoder_repetition_penalty", Some(1.0)),
    ("no_repeat_ngram_size", Some(0.0)),
    ("min_length", Some(0.0)),
    ("min_new_tokens", Some(0.0)),
    ("num_beams", Some(1.0)),
    ("guidance_scale", Some(1.0)),
    ("penalty_alpha", Some(0.0)),
    ("suppress_tokens", None),
    ("begin_suppress_tokens", None),
    ("bad_words_ids", None),
    ("forced_bos_token_id", None),
    ("forced_eos_token_id", None),
    ("sequence_bias", None),
    ("exponential_decay_length_penalty", None),
    ("stop_strings", None),
    ("watermarking_config", None),
];

/// Notes each of them that is there and not neutral.
pub(super) fn note_what_is_not_applied(fields: Fields, notes: &mut Vec<String>) {
    for (name, neutral) in NOT_GREEDY {
        if let Some(value) = fields.get(name)
            && (neutral.is_none() || value.as_f64() != neutral)
        {
            let shown = shown(value);
            let shown = Escaped(&shown);
            notes.push(format!("generation_config.json: `{name}` {shown} is not applied, generation is plainly greedy"));
        }
    }
}
