//! The smallest question that still shows wrong logits: the first wrong position, and the shortest sequence in which it is wrong.
//!
//! What stands at a position depends on nothing after it, so a sequence that ends there is enough, unless the fault has to do with lengths;
//! then the length is searched by halves. Every question goes to the session that failed, under its deadline, and there are at most
//! [`MAX_QUESTIONS`] of them. Nothing here turns a verdict.

#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "written so that NaN is on the red side of every comparison")]

use std::sync::Arc;

use ground_truth_falsification::golden::PromptGolden;
use ground_truth_falsification::metric::{log_softmax, logsumexp, relative_rms, widen};
use ground_truth_falsification::observation::{Answer, Logits};
use ground_truth_falsification::tolerance::Bounds;

use crate::evidence::Minimal;

/// The most questions that are asked for one row.
pub(crate) const MAX_QUESTIONS: usize = 8;

/// A row this many times past the bound of all rows together is wrong: single rows round further than all of them do.
const CLEARLY: f64 = 4.0;

/// How wrong logits are, position by position.
pub(crate) struct Ruler<'a> {
    golden: &'a PromptGolden,
    limit: f64,
}

impl<'a> Ruler<'a> {
    /// None where the golden or the bounds give no measure.
    pub(crate) fn new(golden: &'a PromptGolden, bounds: Bounds<'_>) -> Option<Self> {
        let limit = match &golden.full {
            Some(full) => bounds.limit("logits.full", relative_rms(&full.logits_f64, &widen(&full.logits_f32)).ok()?),
            None => bounds.limit("logits.listed", golden.floor.get()),
        };
        Some(Self { golden, limit: limit.ok()? })
    }

    /// How far the row at `position` is off; infinite where it is no row that could be compared, none where the golden does not say.
    fn error(&self, answer: &Logits, position: usize) -> Option<f64> {
        let row = answer.row(position).map(widen).filter(|row| row.iter().all(|value| value.is_finite()));
        if let Some(full) = &self.golden.full {
            let place = full.positions.iter().position(|at| *at == position)?;
            let due = &full.logits_f64[place * full.vocab..(place + 1) * full.vocab];
            return Some(row.and_then(|row| relative_rms(due, &row).ok()).unwrap_or(f64::INFINITY));
        }
        let scale = self.golden.logit_rms.get();
        let total = self.golden.forced.logsumexp.get(position)?.get();
        let Some(row) = row else { return Some(f64::INFINITY) };
        let mut worst = (logsumexp(&row).ok()? - total).abs() / scale;
        if let Some(nll) = self.golden.forced.nll.get(position) {
            let next = *self.golden.forced_ids().get(position + 1)? as usize;
            let own = -log_softmax(&row).ok()?.get(next).copied()?;
            let off = (own - nll.get()).abs() / scale;
            if !(off <= worst) {
                worst = off;
            }
        }
        Some(worst)
    }

    /// The first position that is clearly wrong, else the first that is past the bound, with what counts as wrong.
    pub(crate) fn earliest(&self, answer: &Logits) -> Option<(usize, f64)> {
        let errors: Vec<(usize, f64)> =
            (0..self.golden.forced_ids().len()).filter_map(|position| Some((position, self.error(answer, position)?))).collect();
        [CLEARLY * self.limit, self.limit].into_iter().find_map(|wrong| {
            let first = errors.iter().find(|(_, error)| !(*error <= wrong))?;
            Some((first.0, wrong))
        })
    }
}

/// Looks for the smallest question. `whole` is the answer to all ids; `ask` asks for all rows of a sequence, and gives none where it failed.
pub(super) fn minimal(ruler: &Ruler<'_>, whole: &Logits, mut ask: impl FnMut(&[u32]) -> Option<Arc<Answer>>) -> Option<Minimal> {
    let (position, wrong) = ruler.earliest(whole)?;
    let ids = ruler.golden.forced_ids();
    let mut questions = 0;
    // The longest length at which the row is right, the shortest at which it is wrong.
    let (mut right, mut shown) = (position, ids.len());
    let mut next = position + 1;
    while right + 1 < shown && questions < MAX_QUESTIONS {
        questions += 1;
        let answer = ask(&ids[..next])?;
        let Answer::Logits(logits) = &*answer else { return None };
        if ruler.error(logits, position).is_none_or(|error| error <= wrong) {
            right = next;
        } else {
            shown = next;
        }
        next = right + (shown - right) / 2;
    }
    Some(Minimal { tokens: shown, position, ids: ids[..shown].to_vec(), questions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{Roster, Settings};
    use crate::workspace::Workspace;
    use ground_truth_falsification::arithmetic::Arithmetic;
    use ground_truth_falsification::form::Form;
    use ground_truth_falsification::tolerance::{NATIVE, Tolerances};

    /// A golden with full logits, and the answer that is right.
    fn golden() -> (PromptGolden, Logits) {
        let workspace = Workspace::from_env();
        let roster = Roster::read(&workspace, &Settings::default());
        let entry = roster.entries.iter().find(|entry| entry.golden.index.model == "llama-tiny").unwrap();
        let store = crate::golden_store::GoldenStore::new(&workspace, &entry.golden, &entry.model.as_ref().unwrap().path);
        let index = &entry.golden.index;
        let prompt = index.prompts.iter().filter(|prompt| prompt.full).min_by_key(|prompt| prompt.n_prompt).unwrap();
        let golden = store.prompt(prompt).unwrap();
        let full = golden.full.as_ref().unwrap();
        assert_eq!(full.positions, (0..golden.forced_ids().len()).collect::<Vec<_>>());
        let logits = Logits { n: full.positions.len(), vocab: full.vocab, values: full.logits_f32.clone() };
        (golden, logits)
    }

    fn beginning(whole: &Logits, n: usize) -> Logits {
        Logits { n, vocab: whole.vocab, values: whole.values[..n * whole.vocab].to_vec() }
    }

    fn wrong_at(mut logits: Logits, position: usize) -> Logits {
        for value in &mut logits.values[position * logits.vocab..(position + 1) * logits.vocab] {
            *value += 1.0;
        }
        logits
    }

    fn found(fault: impl Fn(Logits) -> Logits) -> Option<Minimal> {
        let (golden, right) = golden();
        let (tolerances, form) = (Tolerances::committed().unwrap(), Form::published("F32"));
        let ruler = Ruler::new(&golden, tolerances.of(NATIVE, Arithmetic::Exact, &form)).unwrap();
        let whole = fault(right.clone());
        minimal(&ruler, &whole, |ids| {
            assert_eq!(ids, &golden.forced_ids()[..ids.len()]);
            Some(Arc::new(Answer::Logits(fault(beginning(&right, ids.len())))))
        })
    }

    #[test]
    fn what_is_right_has_no_minimal_question() {
        assert_eq!(found(|logits| logits), None);
    }

    #[test]
    fn a_position_that_is_always_wrong_needs_nothing_after_it() {
        let minimal = found(|logits| if logits.n > 4 { wrong_at(logits, 4) } else { logits }).unwrap();
        assert_eq!((minimal.tokens, minimal.position, minimal.questions, minimal.ids.len()), (5, 4, 1, 5));
    }

    #[test]
    fn a_fault_of_lengths_is_searched_by_halves_within_the_limit() {
        for length in 4..30 {
            let minimal = found(|logits| if logits.n >= length { wrong_at(logits, 2) } else { logits }).unwrap();
            assert_eq!((minimal.tokens, minimal.position), (length, 2));
            assert!(minimal.questions <= MAX_QUESTIONS, "{minimal:?}");
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_wrong() {
        let minimal = found(|mut logits| {
            if let Some(value) = logits.values.get_mut(logits.vocab * 3) {
                *value = f32::NAN;
            }
            logits
        });
        assert_eq!(minimal.unwrap().position, 3);
    }

    #[test]
    fn a_runtime_that_stops_answering_leaves_no_minimal_question() {
        let (golden, right) = golden();
        let (tolerances, form) = (Tolerances::committed().unwrap(), Form::published("F32"));
        let ruler = Ruler::new(&golden, tolerances.of(NATIVE, Arithmetic::Exact, &form)).unwrap();
        assert_eq!(minimal(&ruler, &wrong_at(right, 3), |_| None), None);
    }
}
