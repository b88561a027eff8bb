//! Invariances of a runtime whose sums have no fixed order: rounding is green, and what rounding cannot explain is red.

use super::fixture::{Fake, Fixture};
use super::{Check, Per, all, find};
use crate::arithmetic::Arithmetic;
use crate::golden::PromptGolden;
use crate::observation::{Answer, Failure, Logits, Mode, Positions, Question};
use crate::verdict::Verdict;

const WITHIN: [&str; 6] = ["F-P3-stepwise", "F-P3-chunks", "F-P3-last", "F-P3-prefix", "INV-threads", "INV-batch"];

fn other() -> Fixture {
    Fixture { arithmetic: Arithmetic::F32, ..Fixture::new() }
}

/// The verdicts of a check on every prompt that it applies to, of a runtime that moves logits by `change` where they are asked for in another
/// way than in one piece.
fn verdicts(fixture: &Fixture, check: &Check, change: impl Fn(&mut Logits)) -> Vec<Verdict> {
    let moves = |question: &Question| match question {
        Question::Logits { mode, positions, ids } => {
            *mode != Mode::Whole || *positions == Positions::Last || !fixture.prompts.iter().any(|golden| golden.forced_ids() == *ids)
        }
        _ => false,
    };
    let tamper = |question: &Question, answer: Result<Answer, Failure>| match answer {
        Ok(Answer::Logits(mut logits)) if moves(question) => {
            change(&mut logits);
            Ok(Answer::Logits(logits))
        }
        other => other,
    };
    let fake = Fake { fixture, tamper };
    let Per::Prompt(applies) = check.per else { panic!("{} is not of a prompt", check.id) };
    let places = (0..fixture.prompts.len()).filter(|&i| applies(&fixture.scope(), &fixture.model.index.prompts[i]));
    places.map(|i| check.judge(&fixture.case(Some(&fixture.prompts[i]), None), &fake)).collect()
}

/// Every value moved by this much, up and down in turn, relative to a value of one.
fn moved(by: f32) -> impl Fn(&mut Logits) {
    move |logits| {
        for (i, value) in logits.values.iter_mut().enumerate() {
            *value *= if i % 2 == 0 { 1.0 + by } else { 1.0 - by };
        }
    }
}

#[test]
fn the_checks_with_a_bound_for_others_are_exact_for_the_engine() {
    for check in all() {
        let more = check.bounds_in(Arithmetic::F32).len() - check.bounds.len();
        assert_eq!(check.bounds_in(Arithmetic::Exact), check.bounds, "{}", check.id);
        assert_eq!(
            more > 0,
            WITHIN.contains(&check.id) || check.id == "INV-generate" || check.id.starts_with("F-E2-lengths"),
            "{}",
            check.id
        );
    }
}

#[test]
fn rounding_is_green_for_a_runtime_without_a_fixed_order_and_red_for_the_engine() {
    for id in WITHIN {
        let check = find(id).unwrap();
        let (exact, other) = (Fixture::new(), other());
        let rounding = moved(f32::EPSILON);
        for verdict in verdicts(&exact, check, &rounding) {
            assert!(!verdict.is_green(), "{id}: {verdict:#?}");
        }
        let green = verdicts(&other, check, &rounding);
        assert!(!green.is_empty());
        for verdict in green {
            assert!(verdict.is_green(), "{id}: {verdict:#?}");
            assert!(verdict.measures[0].bound.is_some() && verdict.measures[0].observed > 0.0, "{id}: {verdict:#?}");
        }
    }
}

#[test]
fn what_rounding_cannot_explain_is_red_for_every_runtime() {
    let thousandth = moved(1e-3);
    let one_row = |logits: &mut Logits| {
        let (n, vocab) = (logits.n, logits.vocab);
        logits.values[(n - 1) * vocab..].iter_mut().for_each(|value| *value *= 1.001);
    };
    let nan = |logits: &mut Logits| logits.values[0] = f32::NAN;
    let short = |logits: &mut Logits| {
        logits.values.pop();
    };
    let infinite = |logits: &mut Logits| *logits.values.last_mut().unwrap() = f32::INFINITY;
    let changes: [&dyn Fn(&mut Logits); 5] = [&thousandth, &one_row, &nan, &short, &infinite];
    for id in WITHIN {
        for (i, change) in changes.iter().enumerate() {
            for verdict in verdicts(&other(), find(id).unwrap(), change) {
                assert!(!verdict.is_green(), "{id}, change {i}: {verdict:#?}");
            }
        }
    }
}

#[test]
fn the_same_work_twice_has_the_same_bits_whatever_the_arithmetic() {
    for verdict in verdicts(&other(), find("INV-rerun").unwrap(), moved(f32::EPSILON)) {
        assert!(!verdict.is_green(), "{verdict:#?}");
    }
}

/// A runtime that answers `generate` with `ids` in place of its own.
fn generating(fixture: &Fixture, golden: &PromptGolden, change: impl Fn(&mut Vec<u32>)) -> Verdict {
    let tamper = |_: &Question, answer: Result<Answer, Failure>| match answer {
        Ok(Answer::Generated { mut ids, stop }) => {
            change(&mut ids);
            Ok(Answer::Generated { ids, stop })
        }
        other => other,
    };
    find("INV-generate").unwrap().judge(&fixture.case(Some(golden), None), &Fake { fixture, tamper })
}

#[test]
fn a_token_that_loses_more_than_a_tie_is_red_for_every_runtime() {
    let fixture = other();
    let golden = &fixture.prompts[0];
    let green = generating(&fixture, golden, |_| {});
    assert!(green.is_green() && green.measures[0].bound.is_some_and(|tie| tie > 0.0), "{green:#?}");
    let red = generating(&fixture, golden, |ids| ids[0] = (ids[0] + 1) % 256);
    assert!(!red.is_green(), "{red:#?}");
    let last = generating(&fixture, golden, |ids| *ids.last_mut().unwrap() ^= 1);
    assert!(!last.is_green(), "{last:#?}");
}
