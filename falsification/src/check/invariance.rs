//! F-P3 and INV: the answer does not depend on how it was computed. No golden is needed, only a prompt.
//!
//! A runtime of [`Arithmetic::Exact`] is held to it bit for bit. Any other may add in another order for another length, piece, number of
//! threads or batch: there every position is held to a bound, in which a stale cache, a mask that is off by one or a position that is
//! counted anew does not hide. What asks for the same work twice (INV-rerun, INV-causal, F-E5-concurrent) has one order of summation
//! whatever the arithmetic, so that a bit that differs is a race or memory that was never written: bit for bit for all.

use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::arithmetic::Arithmetic;
use crate::golden::{PromptEntry, PromptGolden};
use crate::metric::{outdoes, relative_rms, widen};
use crate::observation::{Answers, Logits, Mode, Op, Positions, Question};
use crate::verdict::{Measure, Owner, Place, Verdict};

/// Prompts with full goldens stand for all where a check asks for many runs: two ordinary lengths and the context limit. In a column that
/// was made by conversion no golden is full.
const FULL: fn(&Scope, &PromptEntry) -> bool = |scope, prompt| prompt.full || !scope.form.primary;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-P3-stepwise",
        claim: "F-P3",
        sentence: "ids fed one by one through the cache give the logits of one prefill",
        refuted_by: "one bit that differs",
        per: Per::Prompt(|_, _| true),
        breadth: Breadth::Short,
        needs: &[Op::Logits, Op::Stepwise],
        bounds: &[],
        judge: |case, answers| same(case, answers, |_| vec![Mode::Stepwise]),
    },
    Check {
        id: "F-P3-chunks",
        claim: "F-P3",
        sentence: "ids fed in pieces of any length give the logits of one prefill",
        refuted_by: "one bit that differs",
        per: Per::Prompt(FULL),
        breadth: Breadth::Published,
        needs: &[Op::Logits, Op::Chunks],
        bounds: &[],
        judge: |case, answers| same(case, answers, |n| chunkings(n).into_iter().map(Mode::Chunks).collect()),
    },
    Check {
        id: "F-P3-last",
        claim: "F-P3",
        sentence: "the logits at the last position do not depend on whether the others are asked for",
        refuted_by: "one bit that differs",
        per: Per::Prompt(|_, _| true),
        breadth: Breadth::Short,
        needs: &[Op::Logits],
        bounds: &[],
        judge: last,
    },
    Check {
        id: "F-P3-prefix",
        claim: "F-P3",
        sentence: "the logits of a beginning of the ids are the first rows of the logits of all, at lengths around every block boundary",
        refuted_by: "one bit that differs: a kernel that depends on the length, or a position that sees what comes after it",
        per: Per::Prompt(FULL),
        breadth: Breadth::Published,
        needs: &[Op::Logits],
        bounds: &[],
        judge: prefix,
    },
    Check {
        id: "INV-threads",
        claim: "INV",
        sentence: "the logits do not depend on the number of threads",
        refuted_by: "one bit that differs",
        per: Per::Prompt(FULL),
        breadth: Breadth::Short,
        needs: &[Op::Logits, Op::Threads],
        bounds: &[],
        judge: |case, answers| same(case, answers, |_| [1, 2, 3, 8].map(Mode::Threads).to_vec()),
    },
    Check {
        id: "INV-rerun",
        claim: "INV",
        sentence: "a second and a third run give the logits of the first",
        refuted_by: "one bit that differs",
        per: Per::Prompt(FULL),
        breadth: Breadth::Published,
        needs: &[Op::Logits],
        bounds: &[],
        judge: |case, answers| modes(case, answers, Rule::Bits, |_| vec![Mode::Again(1), Mode::Again(2)]),
    },
    Check {
        id: "INV-batch",
        claim: "INV",
        sentence: "the logits do not depend on the neighbours in the batch",
        refuted_by: "one bit that differs",
        per: Per::Prompt(FULL),
        breadth: Breadth::Published,
        needs: &[Op::Logits, Op::Batch],
        bounds: &[],
        judge: batch,
    },
];

/// The bound of every claim about two ways to one answer, for a runtime whose sums have no fixed order.
const INVARIANCE: &str = "invariance";

/// The bounds of a check that an exact runtime meets bit for bit, for all others.
pub(super) fn within(id: &str) -> &'static [&'static str] {
    match id {
        "F-P3-stepwise"
        | "F-P3-chunks"
        | "F-P3-last"
        | "F-P3-prefix"
        | "INV-threads"
        | "INV-batch"
        | "F-E2-lengths"
        | "F-E2-lengths-decode" => &[INVARIANCE],
        "INV-generate" | "F-E2-lengths-generate" => &["tie"],
        _ => &[],
    }
}

/// How far two ways to one answer may lie apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// The same bits.
    Bits,
    /// At every position at most this relative RMS.
    Within(f64),
}

impl Rule {
    pub(super) fn of(case: &Case, golden: &PromptGolden) -> Judged<Rule> {
        match case.tolerances.arithmetic() {
            Arithmetic::Exact => Ok(Rule::Bits),
            _ => Ok(Rule::Within(case.tolerances.limit(INVARIANCE, golden.floor.get())?)),
        }
    }
}

/// Answers held by a rule against others that came another way.
pub(super) struct Held {
    rule: Rule,
    expected: String,
    compared: usize,
    /// The largest relative RMS of a position.
    most: f64,
}

impl Held {
    pub(super) fn new(rule: Rule, expected: String) -> Held {
        let expected = match rule {
            Rule::Bits => expected,
            Rule::Within(bound) => format!("{expected}, at most {bound:.3e} relative RMS away at any position"),
        };
        Held { rule, expected, compared: 0, most: 0.0 }
    }

    /// Holds `found` against `due`, whose first row stands at position `first`. The verdict, where the rule is broken.
    pub(super) fn hold(&mut self, case: &Case, due: &Logits, found: &Logits, first: usize, how: &str) -> Judged<()> {
        let broken = |observed: String, place: Place| {
            let place = Place { position: place.position.map(|position| first + position), ..place };
            let observed = if how.is_empty() { observed } else { format!("{how}: {observed}") };
            Err(Verdict::falsified(self.expected.clone(), observed).at(place).owned_by(Owner::Kernel).into())
        };
        match self.rule {
            Rule::Bits => {
                if let Some(difference) = first_difference(due, found) {
                    return broken(difference.describe(), difference.place(case));
                }
            }
            Rule::Within(bound) => {
                let (position, error) = worst_row(due, found)?;
                if !(error <= bound) {
                    return broken(format!("relative RMS {error:.3e} away"), Place { position: Some(position), ..Place::default() });
                }
                if outdoes(error, self.most) {
                    self.most = error;
                }
            }
        }
        self.compared += found.values.len();
        Ok(())
    }

    pub(super) fn verdict(self) -> Verdict {
        match self.rule {
            Rule::Bits => Verdict::corroborated(self.compared, self.expected, "the same bits"),
            Rule::Within(bound) => {
                let measures = vec![Measure::gated("relative RMS at the worst position", self.most, bound, "")];
                Verdict::measured(self.compared, measures, self.expected, format!("at most {:.3e} away", self.most))
            }
        }
    }
}

/// The position at which two answers of one shape differ most, and its relative RMS. A row that one of them lacks is infinitely far.
fn worst_row(due: &Logits, found: &Logits) -> Judged<(usize, f64)> {
    if due.values.len() != found.values.len() {
        return Ok((due.n.min(found.n), f64::INFINITY));
    }
    let mut worst = (0, 0.0);
    for position in 0..due.n {
        let (Some(a), Some(b)) = (due.row(position), found.row(position)) else { return Ok((position, f64::INFINITY)) };
        let (a, b) = (widen(a), widen(b));
        // No golden takes part: a row of zeros is the runtime's own, and anything else is infinitely far from it.
        let error = match a.iter().all(|x| *x == 0.0) {
            true if a == b => 0.0,
            true => f64::INFINITY,
            false => relative_rms(&a, &b)?,
        };
        if outdoes(error, worst.1) {
            worst = (position, error);
        }
    }
    Ok(worst)
}

/// The first place where two answers of one shape differ.
pub(super) struct Difference {
    position: usize,
    token: usize,
    due: f32,
    found: f32,
}

impl Difference {
    pub(super) fn describe(&self) -> String {
        let Difference { due, found, .. } = self;
        format!("{found:e} (0x{:08x}) where {due:e} (0x{:08x}) is due", found.to_bits(), due.to_bits())
    }

    pub(super) fn place(&self, case: &Case) -> Place {
        let token = u32::try_from(self.token).ok().map(|id| ask::token(case, id));
        Place { position: Some(self.position), token, ..Place::default() }
    }
}

/// Compares the bits of two answers. Their shapes were compared when they were asked for; values past the shorter one count as different.
pub(super) fn first_difference(due: &Logits, found: &Logits) -> Option<Difference> {
    let longer = if due.values.len() > found.values.len() { due.values.len() } else { found.values.len() };
    let value = |logits: &Logits, i: usize| logits.values.get(i).copied().unwrap_or(f32::NAN);
    let differs = |i: &usize| {
        let (due, found) = (due.values.get(*i), found.values.get(*i));
        due.map(|x| x.to_bits()) != found.map(|x| x.to_bits())
    };
    let at = (0..longer).find(differs)?;
    let vocab = due.vocab.checked_sub(1).map_or(1, |rest| rest + 1);
    Some(Difference { position: at / vocab, token: at % vocab, due: value(due, at), found: value(found, at) })
}

/// Asks for prompt and greedy ids in each mode and holds the logits against those of one prefill, by the rule of the arithmetic.
fn same(case: &Case, answers: &dyn Answers, modes_of: impl Fn(usize) -> Vec<Mode>) -> Judged {
    modes(case, answers, Rule::of(case, ask::prompt(case)?)?, modes_of)
}

fn modes(case: &Case, answers: &dyn Answers, rule: Rule, modes: impl Fn(usize) -> Vec<Mode>) -> Judged {
    let golden = ask::prompt(case)?;
    let ids = golden.forced_ids();
    let whole = ask::forced(case, answers, golden)?;
    let modes = modes(ids.len());
    let what = if matches!(rule, Rule::Bits) { "bits" } else { "logits" };
    let mut held = Held::new(rule, format!("the {what} of one prefill at {} positions, in each of {} runs", ids.len(), modes.len()));
    for mode in modes {
        let question = Question::Logits { ids: ids.clone(), positions: Positions::All, mode: mode.clone() };
        let logits = ask::logits(case, answers, &question, ids.len())?;
        held.hold(case, &whole, &logits, 0, &mode.to_string())?;
    }
    Ok(held.verdict())
}

/// Ways to cut `n` ids: one apart at either end, pairs, and around blocks of 16.
fn chunkings(n: usize) -> Vec<Vec<usize>> {
    let pieces = |first: usize, length: usize| {
        let mut pieces = vec![first.min(n)];
        let mut rest = n - first.min(n);
        while rest > 0 {
            pieces.push(length.min(rest));
            rest -= length.min(rest);
        }
        pieces
    };
    let mut all = vec![pieces(1, n), pieces(n.saturating_sub(1).max(1), 1), pieces(2, 2), pieces(16, 16), pieces(15, 17), pieces(17, 5)];
    all.sort();
    all.dedup();
    all
}

fn last(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let ids = golden.forced_ids();
    let whole = ask::forced(case, answers, golden)?;
    let question = Question::Logits { ids: ids.clone(), positions: Positions::Last, mode: Mode::Whole };
    let alone = ask::logits(case, answers, &question, 1)?;
    let row = ids.len().checked_sub(1).and_then(|last| whole.row(last));
    let row = row.ok_or_else(|| ask::missing("ids", "none"))?;
    let due = Logits { n: 1, vocab: whole.vocab, values: row.to_vec() };
    let rule = Rule::of(case, golden)?;
    let what = if matches!(rule, Rule::Bits) { "bits" } else { "logits" };
    let mut held = Held::new(rule, format!("the {what} of row {} of {}", ids.len() - 1, ids.len()));
    held.hold(case, &due, &alone, ids.len() - 1, "")?;
    Ok(held.verdict())
}

/// Lengths of beginnings: the smallest, and around powers of two.
fn lengths(n: usize) -> Vec<usize> {
    let near = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, n.saturating_sub(1)];
    let mut lengths: Vec<usize> = near.into_iter().filter(|&length| length > 0 && length < n).collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

fn prefix(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let ids = golden.forced_ids();
    let whole = ask::forced(case, answers, golden)?;
    let lengths = lengths(ids.len());
    let mut held = Held::new(Rule::of(case, golden)?, format!("the first rows of {}, at lengths {lengths:?}", ids.len()));
    for length in lengths {
        let logits = ask::logits(case, answers, &Question::logits(&ids[..length]), length)?;
        let due = Logits { n: length, vocab: whole.vocab, values: whole.values[..length * whole.vocab].to_vec() };
        held.hold(case, &due, &logits, 0, &format!("{length} ids alone"))?;
    }
    Ok(held.verdict())
}

/// Neighbours that differ in length and content: one id, the ids backwards, and a long one.
fn neighbours(ids: &[u32], n_ctx: usize) -> Vec<Vec<u32>> {
    let backwards: Vec<u32> = ids.iter().rev().copied().collect();
    let long: Vec<u32> = ids.iter().copied().cycle().skip(1).take((ids.len() + 19).min(n_ctx)).collect();
    vec![ids[..1].to_vec(), backwards, long]
}

fn batch(case: &Case, answers: &dyn Answers) -> Judged {
    let ids = ask::prompt(case)?.forced_ids();
    let n_ctx = case.model.index.config.n_ctx;
    if ids.is_empty() {
        return Err(ask::missing("ids", "none"));
    }
    same(case, answers, |_| vec![Mode::Batch(neighbours(&ids, n_ctx)), Mode::Batch(neighbours(&ids, n_ctx)[1..2].to_vec())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunkings_cover_the_ids_and_leave_no_piece_empty() {
        for n in 1..70 {
            for pieces in chunkings(n) {
                assert_eq!(pieces.iter().sum::<usize>(), n);
                assert!(!pieces.contains(&0), "{n}: {pieces:?}");
            }
        }
        assert!(chunkings(40).contains(&vec![39, 1]));
        assert!(chunkings(40).contains(&vec![16, 16, 8]));
    }

    #[test]
    fn values_past_the_shorter_answer_are_a_difference() {
        let long = Logits { n: 2, vocab: 2, values: vec![1.0, 2.0, 3.0, 4.0] };
        let short = Logits { n: 2, vocab: 2, values: vec![1.0, 2.0, 3.0] };
        assert!(first_difference(&long, &short).is_some());
        assert!(first_difference(&short, &long).is_some());
        assert!(first_difference(&long, &long).is_none());
    }

    #[test]
    fn signed_zeros_are_a_difference() {
        let plus = Logits { n: 1, vocab: 1, values: vec![0.0] };
        let minus = Logits { n: 1, vocab: 1, values: vec![-0.0] };
        assert!(first_difference(&plus, &minus).is_some_and(|at| (at.position, at.token) == (0, 0)));
    }
}
