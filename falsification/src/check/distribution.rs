//! F-G4 on the distribution over the next token: which one the engine would choose, and how far its probabilities are.

use super::logits::{position, row, rows_at};
use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::{Full, PromptGolden, Top};
use crate::metric::{argmax, kl, largest, log_softmax, mean, outdoes, quantile, widen};
use crate::observation::{Answers, Logits, Op};
use crate::verdict::{Measure, Owner, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-G4-regret",
        claim: "F-G4",
        sentence: "at every position the engine's most likely token is the oracle's, or tied with it",
        refuted_by: "a position where the oracle gives the engine's token a log-probability below its best by more than the tie floor, or does not list it",
        per: Per::Prompt(|_, _| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &["tie"],
        judge: regret,
    },
    Check {
        id: "F-G4-kl",
        claim: "F-G4",
        sentence: "the engine's distribution over the next token is the oracle's, up to rounding",
        refuted_by: "a Kullback-Leibler divergence above the bound, in the mean or at the 99th percentile of the positions",
        per: Per::Prompt(|_, _| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &["kl.full.mean", "kl.full.p99", "kl.listed.mean", "kl.listed.p99"],
        judge: divergence,
    },
];

/// The tie floor of a prompt in nats: two tokens whose logits differ by less may change places through rounding alone.
pub(super) fn tie_floor(case: &Case, golden: &PromptGolden) -> Judged<f64> {
    Ok(case.tolerances.limit("tie", golden.floor.get() * golden.logit_rms.get())?)
}

/// What the oracle loses by taking `id` at a listed position: `None` where the list does not have it.
pub(super) fn regret_of(top: &Top, id: u32) -> Option<f64> {
    let best = top.logprobs.first()?;
    let at = top.ids.iter().position(|&listed| listed == id)?;
    Some(best.get() - top.logprobs.get(at)?.get())
}

fn regret(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let answer = ask::forced(case, answers, golden)?;
    let tie = tie_floor(case, golden)?;
    let expected = format!("regret 0, or at most {tie:.3e} nats on a tie, at {} positions", golden.forced.top.len());
    let mut worst: Option<(f64, usize)> = None;
    let mut flips = 0usize;
    for top in &golden.forced.top {
        let chosen = u32::try_from(argmax(&widen(row(&answer, top.position)?))?).unwrap_or(u32::MAX);
        let Some(regret) = regret_of(top, chosen) else {
            let best = top.ids.first().map_or_else(|| "none".to_owned(), |&id| ask::token(case, id));
            let observed =
                format!("token {}, which is not among the oracle's {}; its best is {best}", ask::token(case, chosen), top.ids.len());
            return Ok(Verdict::falsified(expected, observed).at(position(case, golden, top.position)).owned_by(Owner::Kernel));
        };
        flips += usize::from(top.ids.first() != Some(&chosen));
        if worst.is_none_or(|(most, _)| outdoes(regret, most)) {
            worst = Some((regret, top.position));
        }
    }
    let Some((most, at)) = worst else {
        return Ok(Verdict::corroborated(0, expected, ""));
    };
    let measures =
        vec![Measure::gated("largest regret", most, tie, "nats"), Measure::printed("positions with another token", flips as f64, "")];
    let observed = format!("largest regret {most:.3e} nats, another token at {flips} positions");
    Ok(Verdict::measured(golden.forced.top.len(), measures, expected, observed).at(position(case, golden, at)).owned_by(Owner::Kernel))
}

/// Divergences at each compared position, and the floors of their mean and 99th percentile.
struct Divergences {
    keys: [&'static str; 2],
    positions: Vec<usize>,
    observed: Vec<f64>,
    floors: [f64; 2],
}

fn divergence(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let answer = ask::forced(case, answers, golden)?;
    let found = match &golden.full {
        Some(full) => over_vocabulary(&answer, full)?,
        None => over_listed(&answer, golden)?,
    };
    if found.observed.is_empty() {
        return Ok(Verdict::corroborated(0, "divergences at the listed positions", ""));
    }
    let [mean_bound, p99_bound] =
        [case.tolerances.limit(found.keys[0], found.floors[0])?, case.tolerances.limit(found.keys[1], found.floors[1])?];
    let (average, p99) = (mean(&found.observed)?, quantile(&found.observed, 0.99)?);
    let most = largest(&found.observed)?;
    let measures = vec![
        Measure::gated("mean KL", average, mean_bound, "nats"),
        Measure::gated("99th percentile of KL", p99, p99_bound, "nats"),
        Measure::printed("largest KL", most, "nats"),
    ];
    let expected =
        format!("mean KL at most {mean_bound:.3e} nats, 99th percentile at most {p99_bound:.3e}, at {} positions", found.observed.len());
    let observed = format!("mean {average:.3e}, 99th percentile {p99:.3e}, largest {most:.3e} nats");
    let worst = found.positions.get(argmax(&found.observed)?).copied().unwrap_or_default();
    Ok(Verdict::measured(found.observed.len(), measures, expected, observed).at(position(case, golden, worst)).owned_by(Owner::Kernel))
}

/// Over the whole vocabulary, from the float64 logits. The floor is torch's own divergence from them.
fn over_vocabulary(answer: &Logits, full: &Full) -> Judged<Divergences> {
    let rows = rows_at(answer, full)?;
    let (mut observed, mut own) = (Vec::new(), Vec::new());
    for i in 0..full.positions.len() {
        let span = i * full.vocab..(i + 1) * full.vocab;
        let reference = log_softmax(&full.logits_f64[span.clone()])?;
        observed.push(kl(&reference, &log_softmax(&rows[span.clone()])?)?);
        own.push(kl(&reference, &log_softmax(&widen(&full.logits_f32[span]))?)?);
    }
    let floors = [mean(&own)?, quantile(&own, 0.99)?];
    Ok(Divergences { keys: ["kl.full.mean", "kl.full.p99"], positions: full.positions.clone(), observed, floors })
}

/// Smallest probability at which the unlisted rest counts. Ten probabilities whose logarithms were rounded to float32 sum to one within
/// 1e-7, so a smaller rest would be a difference of roundings.
const REST: f64 = 1e-4;

/// Over the listed tokens and the rest of the vocabulary as one.
fn over_listed(answer: &Logits, golden: &PromptGolden) -> Judged<Divergences> {
    let (mut observed, mut positions) = (Vec::new(), Vec::new());
    for top in &golden.forced.top {
        let engine = log_softmax(&widen(row(answer, top.position)?))?;
        let chosen: Option<Vec<f64>> = top.ids.iter().map(|&id| engine.get(id as usize).copied()).collect();
        let chosen = chosen.ok_or_else(|| ask::missing("listed ids within the vocabulary", "an id past it"))?;
        let reference: Vec<f64> = top.logprobs.iter().map(|logprob| logprob.get()).collect();
        observed.push(kl(&with_rest(&reference), &with_rest(&chosen))?);
        positions.push(top.position);
    }
    // A relative error e of logits with root mean square r moves each by about e r, and the divergence by half the square of that.
    let error = golden.floor.get() * golden.logit_rms.get();
    Ok(Divergences { keys: ["kl.listed.mean", "kl.listed.p99"], positions, observed, floors: [error * error / 2.0; 2] })
}

/// Appends the log-probability of everything unlisted.
fn with_rest(logprobs: &[f64]) -> Vec<f64> {
    let listed: f64 = logprobs.iter().map(|logprob| logprob.exp()).sum();
    let rest = if 1.0 - listed > REST { 1.0 - listed } else { REST };
    let mut all = logprobs.to_vec();
    all.push(rest.ln());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::Fixture;

    #[test]
    fn what_is_not_listed_is_one_token_more() {
        let near = |found: &[f64], due: &[f64]| {
            assert_eq!(found.len(), due.len());
            assert!((0..due.len()).all(|i| (found[i] - due[i].ln()).abs() < 1e-12), "{found:?}");
        };
        near(&with_rest(&[0.5f64.ln(), 0.25f64.ln()]), &[0.5, 0.25, 0.25]);
        near(&with_rest(&[0.0]), &[1.0, REST]);
        near(&with_rest(&[(1.0 - REST / 2.0).ln()]), &[1.0 - REST / 2.0, REST]);
        near(&with_rest(&[(1.0 - 2.0 * REST).ln()]), &[1.0 - 2.0 * REST, 2.0 * REST]);
    }

    /// A relative error e of logits of size r is a divergence of (e r)^2 / 2.
    #[test]
    fn the_floor_of_a_divergence_is_half_the_square_of_that_of_logits() {
        let mut fixture = Fixture::new();
        let golden = &mut fixture.prompts[0];
        (golden.floor.0, golden.logit_rms.0) = (0.5, 6.0);
        let n = golden.forced_ids().len();
        let vocab = fixture.model.index.config.vocab_size;
        let found = over_listed(&Logits { n, vocab, values: vec![0.0; n * vocab] }, &fixture.prompts[0]);
        let Ok(found) = found else { panic!("not judged") };
        assert_eq!((found.floors, found.keys), ([4.5, 4.5], ["kl.listed.mean", "kl.listed.p99"]));
        assert_eq!(found.observed.len(), fixture.prompts[0].forced.top.len());
        assert!(found.observed.iter().all(|kl| *kl > 0.0), "{:?}", found.observed);
    }
}
