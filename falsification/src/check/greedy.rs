//! F-G4 on free-running text, and INV-generate.
//!
//! Once two texts differ, every later token differs for that reason alone, so counting positions measures the cascade and not the bug.
//! A mismatch at a step whose margin the oracle itself calls a tie is followed by re-anchoring: the run continues from the oracle's
//! token. The result is `identical`, `tie-break` or `diverged(step)`.

use super::distribution::{regret_of, tie_floor};
use super::logits::row;
use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::arithmetic::Arithmetic;
use crate::golden::PromptGolden;
use crate::metric::{argmax, outdoes, widen};
use crate::observation::{Answers, Op, Question, Stop};
use crate::verdict::{Measure, Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-G4-greedy",
        claim: "F-G4",
        sentence: "greedy text has the oracle's tokens, length and stop reason; after a tie it continues so from the oracle's token",
        refuted_by: "another token where the oracle's margin is above the tie floor, a text that is shorter or longer, or another stop reason",
        per: Per::Prompt(|_, _| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Generate],
        bounds: &["tie"],
        judge: greedy,
    },
    Check {
        id: "INV-generate",
        claim: "INV",
        sentence: "generated tokens are the argmax chain of teacher-forced logits, and the stop reason follows from them",
        refuted_by: "a token that is not the first largest logit of its position, a text past an EOS token, or a stop that its tokens contradict",
        per: Per::Prompt(|_, _| true),
        breadth: Breadth::Short,
        needs: &[Op::Logits, Op::Generate],
        bounds: &[],
        judge: chain,
    },
];

/// How a stretch of generated ids relates to the oracle's.
enum Comparison {
    Identical,
    /// The first step at which the ids differ; it exists on both sides.
    Token(usize),
    /// No id differs, one text is shorter.
    Length,
    /// Only the stop reason differs.
    Stop,
}

fn compare(oracle: (&[u32], Stop), engine: (&[u32], Stop)) -> Comparison {
    let shared = oracle.0.len().min(engine.0.len());
    if let Some(step) = (0..shared).find(|&step| oracle.0[step] != engine.0[step]) {
        return Comparison::Token(step);
    }
    if oracle.0.len() != engine.0.len() {
        return Comparison::Length;
    }
    if oracle.1 != engine.1 { Comparison::Stop } else { Comparison::Identical }
}

fn greedy(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let oracle = &golden.greedy;
    let tie = tie_floor(case, golden)?;
    let expected =
        format!("{} tokens, stop {}, diverging only where the oracle's margin is at most {tie:.3e}", oracle.ids.len(), oracle.stop);
    let mut ties: Vec<usize> = Vec::new();
    let mut done = 0;
    // Each turn either ends or moves `done` past one more of the oracle's tokens.
    loop {
        let rest = &oracle.ids[done..];
        let asked = [golden.prompt.ids.as_slice(), &oracle.ids[..done]].concat();
        let budget = oracle.max_new_tokens.saturating_sub(done);
        let (ids, stop) = ask::generate(answers, &asked, budget, oracle.stop_at_eos)?;
        let red = |observed: String, step: usize| {
            let place = Place { position: Some(golden.prompt.ids.len() + step), ..Place::default() };
            Ok(Verdict::falsified(expected.clone(), observed).at(place).owned_by(Owner::Kernel))
        };
        if ids.len() > budget {
            return red(format!("{} tokens where {budget} were asked for", ids.len()), done + budget);
        }
        let step = match compare((rest, oracle.stop), (&ids, stop)) {
            Comparison::Identical => return Ok(settled(golden, &ties, expected)),
            Comparison::Length => {
                return red(
                    format!("{} tokens and stop {stop} where {} and stop {} were due, equal so far", ids.len(), rest.len(), oracle.stop),
                    done + ids.len().min(rest.len()),
                );
            }
            Comparison::Stop => return red(format!("the same {} tokens, but stop {stop}", rest.len()), done + rest.len()),
            Comparison::Token(step) => step,
        };
        let (at, chosen, due) = (done + step, ids[step], rest[step]);
        let margin =
            oracle.margins.get(at).ok_or_else(|| ask::missing("a margin for every greedy step", &format!("none at step {at}")))?.get();
        let position = (golden.prompt.ids.len() + at).saturating_sub(1);
        let regret = golden.top_at(position).map(|top| regret_of(top, chosen));
        let tied = margin <= tie && regret.is_none_or(|regret| regret.is_some_and(|regret| regret <= tie));
        if !tied {
            let (chosen, due) = (ask::token(case, chosen), ask::token(case, due));
            return red(format!("diverged({at}): token {chosen} where the oracle has {due} with margin {margin:.3e}"), at);
        }
        ties.push(at);
        done = at + 1;
        if done == oracle.ids.len() {
            return Ok(settled(golden, &ties, expected));
        }
    }
}

fn settled(golden: &PromptGolden, ties: &[usize], expected: String) -> Verdict {
    let observed = match ties {
        [] => "identical".to_owned(),
        steps => format!("tie-break at steps {steps:?}"),
    };
    let measures = vec![Measure::printed("ties broken", ties.len() as f64, "")];
    Verdict::measured(golden.greedy.ids.len(), measures, expected, observed)
}

fn chain(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let asked = &golden.greedy;
    let (ids, stop) = ask::generate(answers, &golden.prompt.ids, asked.max_new_tokens, asked.stop_at_eos)?;
    let config = &case.model.index.config;
    let expected = format!("{} tokens, each the first largest logit of its position", ids.len());
    let red = |observed: String, position: usize| {
        let place = Place { position: Some(position), ..Place::default() };
        Ok(Verdict::falsified(expected.clone(), observed).at(place).owned_by(Owner::Runtime))
    };
    let start = golden.prompt.ids.len();
    if let Some(step) = ids.iter().position(|&id| id as usize >= config.vocab_size) {
        return red(format!("token {}, the vocabulary has {}", ids[step], config.vocab_size), start + step);
    }
    if ids.is_empty() {
        return red("no token at all".to_owned(), start);
    }
    // The last generated token is not fed: the row before it decides it.
    let fed = [golden.prompt.ids.as_slice(), &ids[..ids.len() - 1]].concat();
    let logits = chain_logits(case, answers, golden, &fed, &ids)?;
    // Decoding adds in the order of a prefill only where the arithmetic is exact; elsewhere two logits within rounding may change places.
    let tie = if case.tolerances.arithmetic() == Arithmetic::Exact { None } else { Some(tie_floor(case, golden)?) };
    let mut most = 0.0;
    for (step, &id) in ids.iter().enumerate() {
        let position = (start + step).saturating_sub(1);
        let values = widen(row(&logits, position)?);
        let due = argmax(&values)?;
        if due != id as usize {
            let lost = values[due] - values[id as usize];
            if tie.is_some_and(|tie| lost <= tie) {
                most = if outdoes(lost, most) { lost } else { most };
                continue;
            }
            let due = u32::try_from(due).map_or_else(|_| due.to_string(), |due| ask::token(case, due));
            return red(format!("generated {} where the logits say {due}", ask::token(case, id)), start + step);
        }
    }
    let ends = |id: &u32| asked.stop_at_eos && config.eos.contains(id);
    let first_end = ids.iter().position(ends);
    let due = if first_end.is_some() { Stop::Eos } else { Stop::Length };
    if let Some(step) = first_end.filter(|step| step + 1 < ids.len()) {
        return red(format!("text goes on for {} tokens after EOS", ids.len() - step - 1), start + step);
    }
    let full = ids.len() == asked.max_new_tokens || start + ids.len() >= config.n_ctx;
    if stop != due || (due == Stop::Length && !full) || ids.len() > asked.max_new_tokens {
        return red(
            format!("{} of {} tokens with stop {stop}, these tokens mean stop {due}", ids.len(), asked.max_new_tokens),
            start + ids.len(),
        );
    }
    let mut verdict = Verdict::corroborated(ids.len(), expected, format!("{} tokens, stop {stop}", ids.len()));
    verdict.measures.extend(tie.map(|tie| Measure::gated("largest loss by a chosen token", most, tie, "nats")));
    Ok(verdict)
}

/// Teacher-forced logits that cover the chain. Where the text is the oracle's, those of prompt and text together are already asked for.
fn chain_logits(
    case: &Case,
    answers: &dyn Answers,
    golden: &PromptGolden,
    fed: &[u32],
    ids: &[u32],
) -> Judged<ask::Held<crate::observation::Logits>> {
    if ids == golden.greedy.ids {
        return ask::forced(case, answers, golden);
    }
    ask::logits(case, answers, &Question::logits(fed), fed.len())
}
