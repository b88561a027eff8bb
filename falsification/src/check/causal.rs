//! INV-causal: a token moves what comes after it, and nothing before.
//!
//! No other claim asks about a sequence that the oracle never saw, so this is the one that a runtime which has read the golden cannot
//! meet: it has no row for the changed sequence.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::observation::{Answers, Logits, Op, Question};
use crate::verdict::{Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "INV-causal",
    claim: "INV",
    sentence: "another last token gives another last row of logits, and leaves every earlier row the same, bit for bit",
    refuted_by: "an earlier row that changes with the last token, or a last row that does not",
    per: Per::Prompt(|_, prompt| prompt.full && prompt.n_prompt > 1),
    breadth: Breadth::Published,
    needs: &[Op::Logits],
    bounds: &[],
    judge: causal,
}];

fn causal(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let ids = golden.forced_ids();
    let Some((&last, before)) = ids.split_last() else {
        return Err(ask::missing("a sequence of at least two tokens", "none"));
    };
    // A token of the same text: rows of the embedding that training never touched may well be equal.
    let Some(&other) = before.iter().find(|&&id| id != last) else {
        return Err(ask::missing("a sequence with two different tokens", "one token repeated"));
    };
    let changed = [before, &[other]].concat();
    let first = ask::forced(case, answers, golden)?;
    let second = ask::logits(case, answers, &Question::logits(&changed), changed.len())?;
    let n = before.len();
    let expected = format!("{n} rows that do not depend on the token after them, and a last row that depends on its own");
    let at = |position: usize| Place { position: Some(position), token: Some(ask::token(case, other)), ..Place::default() };
    for position in 0..n {
        let differing = differences(&first, &second, position)?;
        if differing > 0 {
            let observed =
                format!("row {position} differs in {differing} of {} values when token {n} is {other} and not {last}", first.vocab);
            return Ok(Verdict::falsified(expected, observed).at(at(position)).owned_by(Owner::Kernel));
        }
    }
    let differing = differences(&first, &second, n)?;
    if differing == 0 {
        let observed = format!("row {n} is the same, bit for bit, when its token is {other} and not {last}");
        return Ok(Verdict::falsified(expected, observed).at(at(n)).owned_by(Owner::Runtime));
    }
    let observed = format!("{n} rows the same bits, the last differs in {differing} of {} values", first.vocab);
    Ok(Verdict::corroborated((n + 1) * first.vocab, expected, observed))
}

/// How many values of a row differ in their bits. A row that one answer lacks, or has shorter, is an error: it must not count as different,
/// because the last row has to be.
fn differences(first: &Logits, second: &Logits, position: usize) -> Judged<usize> {
    let (Some(a), Some(b)) = (first.row(position), second.row(position)) else {
        return Err(ask::missing("both answers to have every row", &format!("row {position} is missing")));
    };
    if a.len() != b.len() {
        return Err(ask::missing("rows of one length", &format!("{} and {} values at row {position}", a.len(), b.len())));
    }
    Ok((0..a.len()).filter(|&i| a[i].to_bits() != b[i].to_bits()).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_missing_or_short_is_an_error_and_no_difference() {
        let rows = |n: usize, vocab: usize| Logits { n, vocab, values: vec![1.0; n * vocab] };
        assert_eq!(differences(&rows(2, 3), &rows(2, 3), 1).unwrap(), 0);
        assert!(differences(&rows(2, 3), &rows(1, 3), 1).is_err());
        assert!(differences(&rows(2, 3), &rows(2, 2), 1).is_err());
    }
}
