//! F-G4 on logits: how far they are from the golden's, in all and in scale.
//!
//! Where the golden keeps all logits, an engine is measured against the oracle's float64 run, and the bound is a multiple of what torch's
//! own float32 run loses on the same positions. Elsewhere it is measured against the values that the JSON lists.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::{Full, PromptGolden};
use crate::metric::{log_softmax, logsumexp, norm_ratio, outdoes, relative_rms, rms, widen};
use crate::observation::{Answers, Logits, Op};
use crate::verdict::{Measure, Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-G4-logits",
        claim: "F-G4",
        sentence: "teacher-forced logits are as close to the oracle as float32 arithmetic allows",
        refuted_by: "a relative RMS difference above the bound, at all positions together",
        per: Per::Prompt(|_, _| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &["logits.full", "logits.listed"],
        judge: logits,
    },
    Check {
        id: "F-G4-norm",
        claim: "F-G4",
        sentence: "teacher-forced logits have the oracle's scale",
        refuted_by: "a norm that differs from the norm of the float64 logits by more than the bound",
        per: Per::Prompt(|_, prompt| prompt.full),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &["norm.full"],
        judge: norm,
    },
];

fn logits(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    match &golden.full {
        Some(full) => against_full(case, answers, golden, full),
        None => against_listed(case, answers, golden),
    }
}

/// The engine's rows at the positions that the full golden keeps, widened, row after row.
pub(super) fn rows_at(logits: &Logits, full: &Full) -> Judged<Vec<f64>> {
    let mut rows = Vec::with_capacity(full.logits_f64.len());
    for &position in &full.positions {
        rows.extend(widen(row(logits, position)?));
    }
    Ok(rows)
}

/// One row of the answer; a golden that names a position past the sequence is at fault.
pub(super) fn row(logits: &Logits, position: usize) -> Judged<&[f32]> {
    logits.row(position).ok_or_else(|| ask::missing("positions within the sequence", &format!("position {position} of {}", logits.n)))
}

fn against_full(case: &Case, answers: &dyn Answers, golden: &PromptGolden, full: &Full) -> Judged {
    let answer = ask::forced(case, answers, golden)?;
    let rows = rows_at(&answer, full)?;
    let floor = relative_rms(&full.logits_f64, &widen(&full.logits_f32))?;
    let bound = case.tolerances.limit("logits.full", floor)?;
    let observed = relative_rms(&full.logits_f64, &rows)?;
    let worst = worst_position(full, &rows)?;
    let measures = vec![
        Measure::gated("relative RMS to float64", observed, bound, ""),
        Measure::printed("torch float32's own", floor, ""),
        Measure::printed("at the worst position", worst.1, ""),
    ];
    let expected = format!("relative RMS at most {bound:.3e} to the float64 logits at {} positions", full.positions.len());
    let found = format!("relative RMS {observed:.3e}, {:.2} x torch float32's own {floor:.3e}", observed / floor);
    Ok(Verdict::measured(rows.len(), measures, expected, found).at(position(case, golden, worst.0)).owned_by(Owner::Kernel))
}

/// The position whose row differs most, and by how much.
fn worst_position(full: &Full, rows: &[f64]) -> Judged<(usize, f64)> {
    let mut worst = (full.positions[0], 0.0);
    for (i, &position) in full.positions.iter().enumerate() {
        let span = i * full.vocab..(i + 1) * full.vocab;
        let error = relative_rms(&full.logits_f64[span.clone()], &rows[span])?;
        if outdoes(error, worst.1) {
            worst = (position, error);
        }
    }
    Ok(worst)
}

/// A position of the sequence, with the token that stands there.
pub(super) fn position(case: &Case, golden: &PromptGolden, position: usize) -> Place {
    let token = golden.forced_ids().get(position).map(|&id| ask::token(case, id));
    Place { position: Some(position), token, ..Place::default() }
}

/// Values of the golden's JSON and the engine's for the same, as they are collected.
#[derive(Default)]
struct Listed {
    golden: Vec<f64>,
    engine: Vec<f64>,
    /// The position of each value.
    position: Vec<usize>,
}

impl Listed {
    fn push(&mut self, position: usize, golden: f64, engine: f64) {
        self.golden.push(golden);
        self.engine.push(engine);
        self.position.push(position);
    }

    fn differences(&self) -> Vec<f64> {
        (0..self.golden.len()).map(|i| self.engine[i] - self.golden[i]).collect()
    }

    /// RMS of the differences, relative to the RMS of the golden's values or of all logits, whichever is larger: rounding grows with the
    /// size of a number, and the most likely tokens have the largest logits; but values near zero do not have less of it.
    fn error(&self, logit_rms: f64) -> Judged<f64> {
        let size = rms(&self.golden)?;
        Ok(rms(&self.differences())? / if size > logit_rms { size } else { logit_rms })
    }

    /// The position of the largest difference.
    fn worst(&self) -> usize {
        let differences = self.differences();
        let mut worst = 0;
        for i in 0..differences.len() {
            if !(differences[i].abs() <= differences[worst].abs()) {
                worst = i;
            }
        }
        self.position.get(worst).copied().unwrap_or_default()
    }
}

fn against_listed(case: &Case, answers: &dyn Answers, golden: &PromptGolden) -> Judged {
    let answer = ask::forced(case, answers, golden)?;
    let [totals, tokens, top] = listed(golden, &answer)?;
    let logit_rms = golden.logit_rms.get();
    let floor = golden.floor.get();
    let bound = case.tolerances.limit("logits.listed", floor)?;
    let mut measures = vec![Measure::gated("logsumexp, relative RMS", totals.error(logit_rms)?, bound, "")];
    if !tokens.golden.is_empty() {
        measures.push(Measure::gated("log-probability of the next token, relative RMS", tokens.error(logit_rms)?, bound, ""));
    }
    measures.push(Measure::gated("most likely logits, relative RMS", top.error(logit_rms)?, bound, ""));
    let most = top.differences().iter().fold(0.0, |most: f64, x| if x.abs() <= most { most } else { x.abs() });
    let observed = measures.iter().map(|measure| format!("{} {:.3e}", measure.name, measure.observed)).collect::<Vec<_>>().join("; ");
    // What a tie floor has to leave room for: two logits that differ by less than twice this may change places.
    measures.push(Measure::printed("largest difference of one logit", most, "nats"));
    let worst = if measures[0].holds() { &top } else { &totals };
    let place = position(case, golden, worst.worst());
    let compared = totals.golden.len() + tokens.golden.len() + top.golden.len();
    let expected = format!("relative RMS at most {bound:.3e} to the {compared} values that the golden lists");
    Ok(Verdict::measured(compared, measures, expected, observed).at(place).owned_by(Owner::Kernel))
}

/// Logsumexp at every position, log-probability of each next token, logits of the listed tokens.
fn listed(golden: &PromptGolden, answer: &Logits) -> Judged<[Listed; 3]> {
    let ids = golden.forced_ids();
    let (mut totals, mut tokens, mut top) = (Listed::default(), Listed::default(), Listed::default());
    for (position, total) in golden.forced.logsumexp.iter().enumerate() {
        totals.push(position, total.get(), logsumexp(&widen(row(answer, position)?))?);
    }
    for (position, nll) in golden.forced.nll.iter().enumerate() {
        let logprobs = log_softmax(&widen(row(answer, position)?))?;
        let next = ids.get(position + 1).and_then(|&id| logprobs.get(id as usize));
        let next = next.ok_or_else(|| ask::missing("a next token within the vocabulary", &format!("none after position {position}")))?;
        tokens.push(position, nll.get(), -next);
    }
    for entry in &golden.forced.top {
        let values = row(answer, entry.position)?;
        let total = golden.forced.logsumexp.get(entry.position);
        let total = total.ok_or_else(|| ask::missing("a logsumexp at every listed position", &format!("none at {}", entry.position)))?;
        for (i, &id) in entry.ids.iter().enumerate() {
            let logprob = entry.logprobs.get(i).ok_or_else(|| ask::missing("a log-probability for every listed id", "fewer"))?;
            let value = values.get(id as usize).ok_or_else(|| ask::missing("listed ids within the vocabulary", &id.to_string()))?;
            top.push(entry.position, logprob.get() + total.get(), f64::from(*value));
        }
    }
    Ok([totals, tokens, top])
}

fn norm(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let full = golden.full.as_ref().ok_or_else(|| ask::missing("a full golden", "the index lists one, it was not read"))?;
    let answer = ask::forced(case, answers, golden)?;
    let rows = rows_at(&answer, full)?;
    let ratio = norm_ratio(&full.logits_f64, &rows)?;
    let floor = relative_rms(&full.logits_f64, &widen(&full.logits_f32))?;
    let bound = case.tolerances.limit("norm.full", floor)?;
    let measures = vec![Measure::gated("|norm ratio - 1|", (ratio - 1.0).abs(), bound, "")];
    let expected = format!("norm ratio 1 within {bound:.3e} over {} logits", rows.len());
    Ok(Verdict::measured(rows.len(), measures, expected, format!("norm ratio 1 {:+.3e}", ratio - 1.0)).owned_by(Owner::Kernel))
}
