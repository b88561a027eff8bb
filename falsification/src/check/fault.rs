//! File or kernel: whose fault a red verdict on a quantized artifact is.
//!
//! Two oracles split it. gguf-py read the same file, and transformers answered with the values that it read: if the engine reads other values
//! the reading is wrong; if it reads the same and answers otherwise the kernel is; if it answers the same the values are, which the quantizer
//! chose. llama.cpp, where it was asked, is a second opinion on the file.

use super::{Case, ask};
use crate::observation::{Answer, Answers, Question};
use crate::verdict::{Owner, Verdict};

/// Claims that hold answers against the golden of the very values that the artifact holds.
const OF_THE_VALUES: [&str; 1] = ["F-G4"];

/// Claims that hold answers against the model as published.
const OF_THE_MODEL: [&str; 6] = ["TOKEN", "CANARY", "DRIFT", "PPL", "PPL-DRIFT", "LOGIT-CONSISTENCY"];

/// Adds to a red verdict of this claim whose fault it is, where that can be told.
pub(super) fn told(case: &Case, answers: &dyn Answers, claim: &str, verdict: Verdict) -> Verdict {
    if case.form.primary || !(OF_THE_VALUES.contains(&claim) || OF_THE_MODEL.contains(&claim)) {
        return verdict;
    }
    let Some((owner, reason)) = blame(case, answers, claim) else { return verdict };
    let observed = format!("{}; {reason}", verdict.observed);
    Verdict { observed, ..verdict }.owned_by(owner)
}

fn blame(case: &Case, answers: &dyn Answers, claim: &str) -> Option<(Owner, String)> {
    let golden = case.dequantized?;
    let container = ask::container(answers).ok()?;
    if container.values_digest != golden.values_digest {
        return Some((Owner::File, "gguf-py reads other values in this file: the file, or how it is read, is at fault".to_owned()));
    }
    let second = second_opinion(case, &container.values_digest);
    if OF_THE_VALUES.contains(&claim) {
        let reason = "gguf-py reads the same values, and the oracle answers otherwise with them: the kernel is at fault";
        return Some((Owner::Kernel, format!("{reason}{second}")));
    }
    let due = &case.prompt?.greedy;
    let question =
        Question::Generate { ids: case.prompt?.prompt.ids.clone(), max_new_tokens: due.max_new_tokens, stop_at_eos: due.stop_at_eos };
    let answer = answers.ask(&question).ok()?;
    let Answer::Generated { ids, .. } = &*answer else { return None };
    let (owner, reason) = if *ids == due.ids {
        (Owner::File, "the oracle answers the same with these values: the file is at fault, the quantizer lost too much")
    } else {
        (Owner::Kernel, "the oracle answers otherwise with these very values: the kernel is at fault")
    };
    Some((owner, format!("{reason}{second}")))
}

/// What llama.cpp says of the same file.
fn second_opinion(case: &Case, digest: &str) -> String {
    let Some(other) = case.llama_cpp.filter(|other| other.values_digest == digest) else { return String::new() };
    let Some((golden, answer)) = case.prompt.and_then(|golden| Some((golden, other.prompt(&golden.prompt.name)?))) else {
        return String::new();
    };
    let word = if answer.greedy.ids == golden.greedy.ids { "agrees with" } else { "answers otherwise than" };
    format!(" (llama.cpp {word} the oracle)")
}
