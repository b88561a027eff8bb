//! CROSS-RUNTIME, side by side: the runtime on trial and the engine of this repository, reading the very same file.
//!
//! No golden is needed but for the prompts, so that it holds for files and quantizations of which no oracle spoke. Two runtimes of float32
//! differ by the order of their sums; one that quantizes activations differs by what that costs, which is measured for each type of weights.

use super::logits::{position, row};
use super::quantized::CROSS_KEYS;
use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::arithmetic::Arithmetic;
use crate::metric::{argmax, log_softmax, outdoes, relative_rms, widen};
use crate::observation::{Answers, Logits, Op, Peer, Question, Stop};
use crate::tolerance::NATIVE;
use crate::verdict::{Measure, Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "CROSS-RUNTIME-logits",
        claim: "CROSS-RUNTIME",
        sentence: "teacher-forced logits are those that the engine computes from the same file",
        refuted_by: "a relative RMS difference above the bound, over all positions, or at one a token that the engine gives less by more than the tie floor",
        per: Per::Prompt(|scope, _| is_another(scope)),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: LOGITS_KEYS,
        judge: logits,
    },
    Check {
        id: "CROSS-RUNTIME-greedy",
        claim: "CROSS-RUNTIME",
        sentence: "greedy text has the tokens, length and stop reason that the engine's has from the same file; after a tie it does so from the engine's token",
        refuted_by: "another token where the engine's own margin is above the tie floor, a text that is shorter or longer, or another stop reason",
        per: Per::Prompt(|scope, _| is_another(scope)),
        breadth: Breadth::Everywhere,
        needs: &[Op::Generate],
        bounds: CROSS_KEYS,
        judge: greedy,
    },
];

/// [`CROSS_KEYS`], and the bound of the logits themselves.
const LOGITS_KEYS: &[&str] = &{
    let mut keys = ["cross.logits"; CROSS_KEYS.len() + 1];
    let mut i = 0;
    while i < CROSS_KEYS.len() {
        keys[i] = CROSS_KEYS[i];
        i += 1;
    }
    keys
};

/// The engine agrees with itself.
fn is_another(scope: &Scope) -> bool {
    scope.runtime != NATIVE
}

/// Below which loss two tokens may change places. Products with float weights cost what float32 costs, whatever type the file stores.
fn tie(case: &Case) -> Judged<f64> {
    let float = matches!(case.tolerances.arithmetic(), Arithmetic::Exact | Arithmetic::F32);
    let key = if float { "cross.f32".to_owned() } else { format!("cross.{}", case.form.quantization) };
    Ok(case.tolerances.limit(&key, f64::NAN)?)
}

fn logits(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let engine = ask::peer(case, &Peer::Engine)?;
    let due = ask::forced(case, engine.as_ref(), golden)?;
    let found = ask::forced(case, answers, golden)?;
    let bound = case.tolerances.limit("cross.logits", golden.floor.get())?;
    let tie = tie(case)?;
    let error = relative_rms(&widen(&due.values), &widen(&found.values))?;
    let (mut apart, mut lost) = ((0.0, 0), (0.0, 0));
    for place in 0..due.n {
        let (a, b) = (widen(row(&due, place)?), widen(row(&found, place)?));
        let here = relative_rms(&a, &b)?;
        if outdoes(here, apart.0) {
            apart = (here, place);
        }
        let regret = regret(&a, argmax(&b)?)?;
        if outdoes(regret, lost.0) {
            lost = (regret, place);
        }
    }
    let measures = vec![
        Measure::gated("relative RMS to the engine", error, bound, ""),
        Measure::gated("largest loss by a chosen token", lost.0, tie, "nats"),
        Measure::printed("relative RMS at the worst position", apart.0, ""),
    ];
    let worst = if measures[0].holds() { lost.1 } else { apart.1 };
    let expected = format!("relative RMS at most {bound:.3e} to the engine's logits at {} positions, losing at most {tie:.3e} nats", due.n);
    let observed = format!("relative RMS {error:.3e}, largest loss {:.3e} nats", lost.0);
    let verdict = Verdict::measured(due.values.len(), measures, expected, observed);
    Ok(verdict.at(position(case, golden, worst)).owned_by(Owner::Kernel))
}

/// What is lost by choosing a token of a row, to its best.
fn regret(row: &[f64], chosen: usize) -> Judged<f64> {
    let logprobs = log_softmax(row)?;
    let chosen = logprobs.get(chosen).ok_or_else(|| ask::missing("a token within the vocabulary", &chosen.to_string()))?;
    Ok(logprobs[argmax(&logprobs)?] - chosen)
}

/// The engine's own text after a prompt, and its logits over both.
struct Anchor {
    prompt: Vec<u32>,
    ids: Vec<u32>,
    stop: Stop,
    logits: ask::Held<Logits>,
}

impl Anchor {
    fn new(case: &Case, engine: &dyn Answers, prompt: &[u32], most: usize, stop_at_eos: bool) -> Judged<Self> {
        let (ids, stop) = ask::generate(engine, prompt, most, stop_at_eos)?;
        if ids.is_empty() || prompt.is_empty() {
            return Err(ask::missing("a text that the engine generates", "none"));
        }
        let fed = [prompt, &ids[..ids.len() - 1]].concat();
        let logits = ask::logits(case, engine, &Question::logits(&fed), fed.len())?;
        Ok(Anchor { prompt: prompt.to_vec(), ids, stop, logits })
    }

    /// What the engine loses by taking `chosen` at a step; nothing where its vocabulary has no such token.
    fn regret(&self, step: usize, chosen: u32) -> Judged<Option<f64>> {
        let values = widen(row(&self.logits, self.prompt.len() + step - 1)?);
        if chosen as usize >= values.len() {
            return Ok(None);
        }
        regret(&values, chosen as usize).map(Some)
    }
}

fn greedy(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let engine = ask::peer(case, &Peer::Engine)?;
    let (most, stop_at_eos) = (golden.greedy.max_new_tokens, golden.greedy.stop_at_eos);
    let anchor = Anchor::new(case, engine.as_ref(), &golden.prompt.ids, most, stop_at_eos)?;
    let tie = tie(case)?;
    let n = anchor.ids.len();
    let expected = format!("{n} tokens of the engine, stop {}, other ones only where it loses at most {tie:.3e} nats by them", anchor.stop);
    let (mut ties, mut lost, mut done) = (Vec::new(), 0.0, 0);
    // Each turn either ends or moves `done` past one more of the engine's tokens.
    while done < n {
        let asked = [anchor.prompt.as_slice(), &anchor.ids[..done]].concat();
        let (ids, stop) = ask::generate(answers, &asked, most.saturating_sub(done), stop_at_eos)?;
        let rest = &anchor.ids[done..];
        let red = |observed: String, step: usize| {
            let place = Place { position: Some(anchor.prompt.len() + step), ..Place::default() };
            Ok(Verdict::falsified(expected.clone(), observed).at(place).owned_by(Owner::Kernel))
        };
        let shared = if rest.len() < ids.len() { rest.len() } else { ids.len() };
        let Some(step) = (0..shared).find(|&i| rest[i] != ids[i]) else {
            if rest.len() != ids.len() || stop != anchor.stop {
                let observed = format!("{} tokens, stop {stop}; the engine has {}, stop {}", ids.len(), rest.len(), anchor.stop);
                return red(observed, done + shared);
            }
            break;
        };
        let (at, chosen) = (done + step, ids[step]);
        let regret = anchor.regret(at, chosen)?;
        let Some(regret) = regret.filter(|regret| *regret <= tie) else {
            let how = regret.map_or_else(|| "which it does not have".to_owned(), |regret| format!("by which it loses {regret:.3e} nats"));
            let (chosen, due) = (ask::token(case, chosen), ask::token(case, rest[step]));
            return red(format!("diverged({at}): token {chosen} where the engine has {due}, {how}"), at);
        };
        lost = if outdoes(regret, lost) { regret } else { lost };
        ties.push(at);
        done = at + 1;
    }
    let observed = if ties.is_empty() { "identical".to_owned() } else { format!("tie-break at steps {ties:?}") };
    let measures = vec![Measure::gated("largest loss by a tie", lost, tie, "nats"), Measure::printed("ties broken", ties.len() as f64, "")];
    Ok(Verdict::measured(n, measures, expected, observed))
}
