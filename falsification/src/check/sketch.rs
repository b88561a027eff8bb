//! F-G4 on stages: the first stage of the forward pass that is not the oracle's.
//!
//! A sketch is six numbers for one activation vector, so a wrong one is found without gigabytes of dumps. Rounding grows along the forward
//! pass, so the bound at a stage follows the largest deviation that torch's own float32 run has shown up to it.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::SketchPair;
use crate::metric::rms;
use crate::observation::{Answers, Op, StageSketch};
use crate::verdict::{Measure, Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-G4-sketch-prefill",
        claim: "F-G4",
        sentence: "every stage at the last prompt position of a prefill is the oracle's, up to rounding",
        refuted_by: "a stage whose sketch deviates from the float64 oracle by more than the bound",
        per: Per::Prompt(|_, prompt| prompt.full),
        breadth: Breadth::Everywhere,
        needs: &[Op::Sketch],
        bounds: &["sketch.prefill"],
        judge: |case, answers| judge(case, answers, false, "sketch.prefill"),
    },
    Check {
        id: "F-G4-sketch-decode",
        claim: "F-G4",
        sentence: "every stage of the first decode step is the oracle's, up to rounding",
        refuted_by: "a stage whose sketch deviates from the float64 oracle by more than the bound",
        per: Per::Prompt(|_, prompt| prompt.full),
        breadth: Breadth::Everywhere,
        needs: &[Op::Sketch],
        bounds: &["sketch.decode"],
        judge: |case, answers| judge(case, answers, true, "sketch.decode"),
    },
];

/// What float64 sums in another order differ by, relative to the vector: an embedding row has no other rounding.
const SUMMATION: f64 = 1e-12;

/// Root mean square of the six differences, relative to the vector's own root mean square, which is the first of the six.
fn deviation(reference: &[f64; 6], found: &[f64; 6]) -> Judged<f64> {
    let differences: Vec<f64> = (0..6).map(|i| found[i] - reference[i]).collect();
    if !(reference[0] > 0.0) {
        return Err(ask::missing("stages that are not zero", &format!("an rms of {}", reference[0])));
    }
    Ok(rms(&differences)? / reference[0])
}

/// The largest deviation of the oracle's float32 run up to each stage.
fn envelope(golden: &SketchPair) -> Judged<Vec<f64>> {
    if golden.f32.len() != golden.f64.len() {
        return Err(ask::missing("sketches of equal length", &format!("{} and {} stages", golden.f32.len(), golden.f64.len())));
    }
    let mut highest = SUMMATION;
    let mut envelope = Vec::with_capacity(golden.f64.len());
    for (stage, reference) in golden.f64.iter().enumerate() {
        let own = deviation(reference, &golden.f32[stage])?;
        if own > highest {
            highest = own;
        }
        envelope.push(highest);
    }
    Ok(envelope)
}

/// Whether the answer has the golden's stages in their order.
fn same_stages(due: &[String], found: &[StageSketch]) -> Result<(), String> {
    for (i, name) in due.iter().enumerate() {
        match found.get(i) {
            None => return Err(format!("{} stages, `{name}` is missing", found.len())),
            Some(stage) if stage.stage != *name => return Err(format!("stage {i} is `{}`, `{name}` is due", stage.stage.escape_debug())),
            Some(_) => {}
        }
    }
    if found.len() == due.len() { Ok(()) } else { Err(format!("{} stages where {} are due", found.len(), due.len())) }
}

fn judge(case: &Case, answers: &dyn Answers, decode: bool, key: &str) -> Judged {
    let golden = ask::prompt(case)?;
    let full = golden.full.as_ref().ok_or_else(|| ask::missing("a full golden", "the index lists one, it was not read"))?;
    let oracle = if decode { &full.decode } else { &full.prefill };
    let mut ids = golden.prompt.ids.clone();
    if decode {
        let first = golden.greedy.ids.first().ok_or_else(|| ask::missing("a greedy token to decode", "none"))?;
        ids.push(*first);
    }
    let found = ask::sketch(answers, &ids, decode)?;
    let stages = format!("{} stages from `{}` to `{}`", full.stages.len(), full.stages[0], full.stages[full.stages.len() - 1]);
    if let Err(observed) = same_stages(&full.stages, &found) {
        return Ok(Verdict::falsified(stages, observed).owned_by(Owner::Runtime));
    }
    let envelope = envelope(oracle)?;
    // The stage that comes closest to its bound, and its deviation.
    let mut closest: Option<(usize, f64, f64)> = None;
    for (i, reference) in oracle.f64.iter().enumerate() {
        let numbers = found[i].numbers();
        let place = Place { stage: Some(full.stages[i].clone()), position: Some(ids.len() - 1), ..Place::default() };
        if let Some(bad) = numbers.iter().find(|number| !number.is_finite()) {
            let observed = format!("a sketch that holds {bad}");
            return Ok(Verdict::falsified("finite numbers in every sketch", observed).at(place).owned_by(Owner::Kernel));
        }
        let own = deviation(reference, &numbers)?;
        let bound = case.tolerances.limit(key, envelope[i])?;
        if !(own <= bound) {
            let expected = format!("deviation at most {bound:.3e} at `{}`", full.stages[i]);
            let before = i
                .checked_sub(1)
                .map_or_else(|| "it is the first stage".to_owned(), |last| format!("all is well up to `{}`", full.stages[last]));
            let observed = format!("deviation {own:.3e}, torch float32's own is at most {:.3e}; {before}", envelope[i]);
            let measures = vec![Measure::gated("deviation of the first wrong stage", own, bound, "")];
            return Ok(Verdict::measured(i + 1, measures, expected, observed).at(place).owned_by(Owner::Kernel));
        }
        if closest.is_none_or(|(_, most, limit)| own / bound > most / limit) {
            closest = Some((i, own, bound));
        }
    }
    let Some((i, own, bound)) = closest else {
        return Ok(Verdict::corroborated(0, stages, ""));
    };
    let measures = vec![Measure::gated("deviation of the stage closest to its bound", own, bound, "")];
    let observed =
        format!("closest to its bound is `{}`: deviation {own:.3e}, {:.2} x torch float32's own", full.stages[i], own / envelope[i]);
    Ok(Verdict::measured(6 * full.stages.len(), measures, format!("{stages} within their bounds"), observed))
}
