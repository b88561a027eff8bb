//! F-E1, F-E2, F-E4 and F-E5: empty input, the context limit, ids at the ends of the vocabulary, many askers at once.
//!
//! A runtime that refuses everything would pass a check that asks for refusals alone, so each of these also asks for an answer.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::observation::{Answers, Mode, Op, Positions, Question, Stop};
use crate::verdict::{Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-E1-empty",
        claim: "F-E1",
        sentence: "no ids at all are refused with a typed error, and one id is answered",
        refuted_by: "an answer to nothing, or no answer to one id",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &[],
        judge: empty,
    },
    Check {
        id: "F-E2-past-context",
        claim: "F-E2",
        sentence: "one id more than the context holds is refused with a typed error",
        refuted_by: "an answer, or a crash",
        per: Per::Cell(|_| true),
        breadth: Breadth::Published,
        needs: &[Op::Logits],
        bounds: &[],
        judge: past_context,
    },
    Check {
        id: "F-E2-context",
        claim: "F-E2",
        sentence: "a text that reaches the context limit ends there, with stop reason length and the oracle's tokens",
        refuted_by: "a token past the limit, an early end, another stop reason, a refusal or a crash",
        per: Per::Prompt(|_, prompt| prompt.name == "context-limit"),
        breadth: Breadth::Published,
        needs: &[Op::Generate],
        bounds: &[],
        judge: context_limit,
    },
    Check {
        id: "F-E4-ids",
        claim: "F-E4",
        sentence: "the first and the last id of the vocabulary are answered with finite logits, ids past it are refused with a typed error",
        refuted_by: "an answer for an id that does not exist, or none for one that does",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &[],
        judge: ids,
    },
    Check {
        id: "F-E5-concurrent",
        claim: "F-E5",
        sentence: "askers at the same time get the bits that one asker gets",
        refuted_by: "one bit that differs between them, or from a single asker's",
        per: Per::Cell(|_| true),
        breadth: Breadth::Published,
        needs: &[Op::Logits, Op::Concurrent],
        bounds: &[],
        judge: concurrent,
    },
];

/// Askers at the same time.
const ASKERS: usize = 4;

/// Most ids in a sample: enough for positions, masks and caches to matter.
const SAMPLE: usize = 48;

/// Valid ids of this model: the longest text of the tokenizer golden, cut to the sample's length.
fn sample(case: &Case) -> Judged<Vec<u32>> {
    let longest = case.model.tokenizer.cases.iter().map(|entry| &entry.ids).max_by_key(|ids| ids.len());
    let most = SAMPLE.min(case.model.index.config.n_ctx);
    match longest {
        Some(ids) if ids.len() > 1 => Ok(ids[..ids.len().min(most)].to_vec()),
        _ => Err(ask::missing("a tokenizer golden with a text of several ids", "it has none")),
    }
}

fn empty(case: &Case, answers: &dyn Answers) -> Judged {
    let refusal = ask::refusal(answers, &Question::logits(&[]))?;
    let one = &sample(case)?[..1];
    let logits = ask::logits(case, answers, &Question::logits(one), 1)?;
    Ok(Verdict::corroborated(1 + logits.n, "a typed refusal of no ids, an answer to one", format!("refused, {refusal}")))
}

fn past_context(case: &Case, answers: &dyn Answers) -> Judged {
    let n_ctx = case.model.index.config.n_ctx;
    let sample = sample(case)?;
    let ids: Vec<u32> = sample.iter().copied().cycle().take(n_ctx + 1).collect();
    let refusal = ask::refusal(answers, &Question::logits(&ids))?;
    let logits = ask::logits(case, answers, &Question::logits(&sample), sample.len())?;
    let expected = format!("a typed refusal of {} ids, the context holds {n_ctx}; an answer to {}", ids.len(), sample.len());
    Ok(Verdict::corroborated(1 + logits.n, expected, format!("refused, {refusal}")))
}

fn context_limit(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let n_ctx = case.model.index.config.n_ctx;
    let due = &golden.greedy.ids;
    let asked = golden.greedy.max_new_tokens + due.len();
    let (ids, stop) = ask::generate(answers, &golden.prompt.ids, asked, false)?;
    let expected =
        format!("{} tokens up to the context of {n_ctx}, stop length, where {asked} are asked for: {}", due.len(), ask::list(due));
    if ids == *due && stop == Stop::Length {
        return Ok(Verdict::corroborated(ids.len(), expected, "the same"));
    }
    let place = Place { position: Some(n_ctx), ..Place::default() };
    Ok(Verdict::falsified(expected, format!("{} tokens, stop {stop}: {}", ids.len(), ask::list(&ids))).at(place).owned_by(Owner::Runtime))
}

fn ids(case: &Case, answers: &dyn Answers) -> Judged {
    let vocab =
        u32::try_from(case.model.index.config.vocab_size).map_err(|_| ask::missing("a vocabulary of 32-bit ids", "a larger one"))?;
    let refused = ask::refusal(answers, &Question::logits(&[vocab]))?;
    ask::refusal(answers, &Question::logits(&[u32::MAX]))?;
    // An id past the end must not slip through because valid ones stand before it.
    let hidden = [sample(case)?.as_slice(), &[vocab]].concat();
    ask::refusal(answers, &Question::logits(&hidden))?;
    for id in [0, vocab - 1] {
        ask::logits(case, answers, &Question::logits(&[id]), 1)?;
    }
    let expected =
        format!("answers for ids 0 and {}, typed refusals of {vocab}, of {vocab} after valid ids, and of {}", vocab - 1, u32::MAX);
    Ok(Verdict::corroborated(5, expected, format!("so; refused, {refused}")))
}

fn concurrent(case: &Case, answers: &dyn Answers) -> Judged {
    let ids = sample(case)?;
    let alone = ask::logits(case, answers, &Question::logits(&ids), ids.len())?;
    let question = Question::Logits { ids: ids.clone(), positions: Positions::All, mode: Mode::Concurrent(ASKERS) };
    let many = ask::many(case, answers, &question, ids.len())?;
    let expected = format!("{ASKERS} askers with the bits of one, at {} positions", ids.len());
    if many.len() != ASKERS {
        return Ok(Verdict::falsified(expected, format!("{} answers", many.len())).owned_by(Owner::Runtime));
    }
    for (asker, logits) in many.iter().enumerate() {
        if let Some(difference) = super::invariance::first_difference(&alone, logits) {
            let observed = format!("asker {asker}: {}", difference.describe());
            return Ok(Verdict::falsified(expected, observed).at(difference.place(case)).owned_by(Owner::Runtime));
        }
    }
    Ok(Verdict::corroborated(ASKERS * alone.values.len(), expected, "the same bits"))
}
