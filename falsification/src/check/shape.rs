//! F-T4: the answer has the declared shape, and every number in it is a number.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::observation::{Answers, Op};
use crate::verdict::Verdict;

pub(super) const CHECKS: &[Check] = &[Check {
    id: "F-T4-shape",
    claim: "F-T4",
    sentence: "logits asked for at every position have one row for each id and one finite value for each token of the vocabulary",
    refuted_by: "another number of rows, columns or values, or one NaN or infinity",
    per: Per::Prompt(|_, _| true),
    breadth: Breadth::Short,
    needs: &[Op::Logits],
    bounds: &[],
    judge: shape,
}];

fn shape(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let logits = ask::forced(case, answers, golden)?;
    let expected = format!("shape ({}, {}), all finite", golden.forced_ids().len(), case.model.index.config.vocab_size);
    let observed = format!("shape ({}, {}), all finite", logits.n, logits.vocab);
    Ok(Verdict::corroborated(logits.values.len(), expected, observed))
}
