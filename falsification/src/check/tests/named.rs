//! What a single check sees, and what its verdict names: the step, the stage, the token.

use super::{Answered, Tamper, fixture, generated, logits, verdicts};
use crate::arithmetic::Arithmetic;
use crate::check::fixture::{Fake, Fixture};
use crate::check::{Per, find};
use crate::golden::{PerplexityGolden, SamplingGolden};
use crate::observation::{Answer, Failure, Mode, Positions, Question};
use crate::verdict::Outcome;

/// One mode answers otherwise than one prefill does.
#[test]
fn invariances_see_one_bit_in_one_mode() {
    let fixture = fixture();
    let flipped = |answer: Answered| {
        logits(answer, |l| {
            let last = l.values.len() - 1;
            l.values[last] = f32::from_bits(l.values[last].to_bits() ^ 1)
        })
    };
    for id in ["F-P3-stepwise", "F-P3-chunks", "F-P3-last", "F-P3-prefix", "INV-threads", "INV-rerun", "INV-batch", "F-E5-concurrent"] {
        let check = find(id).unwrap();
        // The whole answer of the longest sequences stays; everything else is flipped.
        let fake = Fake {
            fixture: &fixture,
            tamper: |question: &Question, answer: Answered| match question {
                Question::Logits { mode: Mode::Whole, positions: Positions::All, ids } if id != "F-P3-prefix" || ids.len() > 8 => answer,
                Question::Logits { .. } => flipped(answer),
                _ => answer,
            },
        };
        for golden in fixture.prompts.iter().filter(|golden| golden.forced_ids().len() > 8) {
            let prompt = matches!(check.per, Per::Prompt(_)).then_some(golden);
            let verdict = check.judge(&fixture.case(prompt, None), &fake);
            assert_eq!(verdict.outcome, Outcome::Falsified, "{id}: {verdict:#?}");
        }
    }
}

/// A row that changes with the token after it is named, with that token.
#[test]
fn a_row_that_knows_what_comes_later_is_named() {
    let fixture = fixture();
    let golden = fixture.prompts.iter().max_by_key(|golden| golden.forced_ids().len()).unwrap();
    let ids = golden.forced_ids();
    let fake = Fake {
        fixture: &fixture,
        tamper: |question: &Question, answer: Answered| match question {
            Question::Logits { ids: asked, .. } if *asked != ids => {
                logits(answer, |l| l.values[l.vocab] = f32::from_bits(l.values[l.vocab].to_bits() ^ 1))
            }
            _ => answer,
        },
    };
    let verdict = find("INV-causal").unwrap().judge(&fixture.case(Some(golden), None), &fake);
    assert_eq!((verdict.outcome, verdict.place.position), (Outcome::Falsified, Some(1)), "{verdict:#?}");
    assert!(verdict.place.token.as_deref().is_some_and(|token| token.starts_with(|c: char| c.is_ascii_digit())), "{verdict:#?}");
}

/// A token that the oracle itself calls a tie does not end the comparison.
#[test]
fn greedy_continues_from_the_oracle_after_a_tie() {
    let mut fixture = fixture();
    let check = find("F-G4-greedy").unwrap();
    // At step 3 of the canary the engine takes another token; what it then goes on with is its own text.
    let other = |ids: &mut Vec<u32>| ids[3] = (ids[3] + 1) % 256;
    let prompt = fixture.prompts[0].prompt.ids.len();
    let deviates = move |question: &Question, answer: Answered| match question {
        Question::Generate { ids, .. } if ids.len() == prompt => generated(answer, |ids, _| {
            other(ids);
            ids[4..].fill(1);
        }),
        _ => answer,
    };
    let judge = |fixture: &Fixture| {
        let fake = Fake { fixture, tamper: deviates };
        check.judge(&fixture.case(Some(&fixture.prompts[0]), None), &fake)
    };
    let diverged = judge(&fixture);
    assert_eq!(diverged.outcome, Outcome::Falsified, "{diverged:#?}");
    assert!(diverged.observed.starts_with("diverged(3)"), "{}", diverged.observed);

    // The same with a margin below the tie floor, and the engine's token second in the oracle's list.
    let golden = &mut fixture.prompts[0];
    let engine = (golden.greedy.ids[3] + 1) % 256;
    golden.greedy.margins[3].0 = 1e-9;
    let position = golden.prompt.ids.len() + 2;
    let top = golden.forced.top.iter_mut().find(|top| top.position == position).unwrap();
    top.ids[1] = engine;
    top.logprobs[1] = top.logprobs[0];
    let tied = judge(&fixture);
    assert!(tied.is_green(), "{tied:#?}");
    assert_eq!(tied.observed, "tie-break at steps [3]");

    // A tie in the margin does not excuse a token that the oracle does not list.
    let top = fixture.prompts[0].forced.top.iter_mut().find(|top| top.position == position).unwrap();
    top.ids[1] = (engine + 1) % 256;
    assert_eq!(judge(&fixture).outcome, Outcome::Falsified);
}

#[test]
fn regret_on_a_tie_is_green_and_off_the_list_is_red() {
    let fixture = fixture();
    let check = find("F-G4-regret").unwrap();
    // The second of the oracle's list is put first: a regret of its margin, which is no tie here.
    let swapped: Tamper = |_, answer| {
        logits(answer, |l| {
            let v = l.vocab;
            for row in l.values.chunks_mut(v) {
                let best = (0..v).reduce(|a, b| if row[b] > row[a] { b } else { a }).unwrap();
                row[best] = -10.0;
            }
        })
    };
    for (trial, verdict) in verdicts(&fixture, check, swapped) {
        assert_eq!(verdict.outcome, Outcome::Falsified);
        let golden = fixture.prompts.iter().find(|golden| golden.prompt.name == trial).unwrap();
        let flips = format!("another token at {} positions", golden.forced.top.len());
        assert!(verdict.observed.contains("largest regret") && verdict.observed.ends_with(&flips), "{}", verdict.observed);
    }
    let unlisted: Tamper = |_, answer| {
        logits(answer, |l| {
            let v = l.vocab;
            for row in l.values.chunks_mut(v) {
                let worst = (0..v).reduce(|a, b| if row[b] < row[a] { b } else { a }).unwrap();
                row[worst] = 100.0;
            }
        })
    };
    for (_, verdict) in verdicts(&fixture, check, unlisted) {
        assert!(verdict.observed.contains("not among the oracle's 10"), "{}", verdict.observed);
    }
}

#[test]
fn a_wrong_stage_is_named_and_the_one_before_it() {
    let fixture = fixture();
    let bent: Tamper = |_, answer| {
        answer.map(|answer| match answer {
            Answer::Sketch(mut stages) => {
                stages[2..].iter_mut().for_each(|stage| stage.projections[1] += 0.01);
                Answer::Sketch(stages)
            }
            other => other,
        })
    };
    for id in ["F-G4-sketch-prefill", "F-G4-sketch-decode"] {
        for (_, verdict) in verdicts(&fixture, find(id).unwrap(), bent) {
            assert_eq!(verdict.place.stage.as_deref(), Some("blk.0.attn.q"));
            assert!(verdict.observed.contains("all is well up to `blk.0.attn_norm`"), "{}", verdict.observed);
        }
    }
}

#[test]
fn a_text_that_was_memorised_is_not_learned() {
    let fixture = fixture();
    // Certainty on the training text alone: its loss falls to almost nothing, and the held-out loss stays.
    let fake = Fake {
        fixture: &fixture,
        tamper: |question: &Question, answer: Answered| match question {
            Question::Logits { ids, .. } => {
                let text: Vec<u32> = std::iter::once(256).chain(fixture.model.texts["training"].bytes().map(u32::from)).collect();
                let Some(at) = text.windows(ids.len()).position(|window| window == *ids) else { return answer };
                logits(answer, |l| {
                    for i in 0..ids.len() {
                        if let Some(&next) = text.get(at + i + 1) {
                            l.values[i * l.vocab + next as usize] = 30.0;
                        }
                    }
                })
            }
            _ => answer,
        },
    };
    let verdict = find("LEARNED").unwrap().judge(&fixture.case(None, None), &fake);
    assert_eq!(verdict.outcome, Outcome::Falsified, "{verdict:#?}");
}

/// The place of a token that the engine does not have is that in prompt and text together, also where the text ends early.
#[test]
fn a_token_that_the_engine_does_not_have_is_named_by_its_place() {
    let fixture = Fixture { arithmetic: Arithmetic::F32, ..fixture() };
    let check = find("CROSS-RUNTIME-greedy").unwrap();
    let judge = |change: fn(&mut Vec<u32>)| {
        let (_, verdict) = verdicts(&fixture, check, |_: &Question, answer: Answered| generated(answer, |ids, _| change(ids))).remove(0);
        assert_eq!(verdict.outcome, Outcome::Falsified, "{verdict:#?}");
        verdict.place.position.expect("a place")
    };
    let prompt = fixture.prompts[0].prompt.ids.len();
    assert_eq!(judge(|ids| ids[0] = (ids[0] + 1) % 256), prompt);
    assert_eq!(judge(|ids| ids[3] = (ids[3] + 1) % 256), prompt + 3);
    assert_eq!(judge(|ids| ids.truncate(2)), prompt + 2);
}

/// A token that costs more than a tie is red, whatever the signs of the two logits are.
#[test]
fn what_a_token_loses_is_a_difference() {
    let fixture = Fixture { arithmetic: Arithmetic::F32, ..fixture() };
    // The largest logit of each row is 1, all others are -1.
    let tamper = |_: &Question, answer: Answered| {
        let answer = logits(answer, |l| {
            for row in l.values.chunks_mut(l.vocab) {
                let best = (0..row.len()).reduce(|a, b| if row[b] > row[a] { b } else { a }).unwrap();
                row.fill(-1.0);
                row[best] = 1.0;
            }
        });
        generated(answer, |ids, _| ids[2] = (ids[2] + 1) % 256)
    };
    let (_, verdict) = verdicts(&fixture, find("INV-generate").unwrap(), tamper).remove(0);
    assert_eq!(verdict.outcome, Outcome::Falsified, "{verdict:#?}");
    assert_eq!(verdict.place.position, Some(fixture.prompts[0].prompt.ids.len() + 2), "{verdict:#?}");
}

#[test]
fn every_field_of_an_inspection_is_counted() {
    let (_, verdict) = verdicts(&fixture(), find("INSPECT").unwrap(), |_, answer| answer).remove(0);
    assert!(verdict.is_green() && verdict.expected.starts_with(&format!("{} fields", verdict.compared)), "{verdict:#?}");
    assert_eq!(verdict.compared, 12);
}

#[test]
fn a_time_that_no_clock_shows_is_red() {
    for seconds in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
        let tamper = |_: &Question, answer: Answered| {
            answer.map(|answer| if let Answer::Timed { ids, .. } = answer { Answer::Timed { ids, seconds } } else { answer })
        };
        let (_, verdict) = verdicts(&fixture(), find("BENCH").unwrap(), tamper).remove(0);
        assert_eq!(verdict.outcome, Outcome::Falsified, "{seconds}: {verdict:#?}");
    }
}

#[test]
fn a_wrong_text_is_named_by_the_place_where_it_begins() {
    let fixture = fixture();
    let other = |_: &Question, answer: Answered| generated(answer, |ids, _| ids[0] = (ids[0] + 1) % 256);
    let (_, verdict) = verdicts(&fixture, find("QA").unwrap(), other).remove(0);
    assert_eq!(verdict.place.position, Some(fixture.prompts[0].prompt.ids.len()), "{verdict:#?}");
}

/// What is said to have been drawn was drawn.
#[test]
fn draws_are_counted() {
    let golden = SamplingGolden::committed().unwrap();
    for family in ["draw", "top-k", "combined"] {
        let check = find(&format!("SAMPLE-{family}")).unwrap();
        let (_, verdict) = verdicts(&fixture(), check, |_, answer| answer).remove(0);
        let drawn: usize = golden.family(family).map(|case| case.draws.len()).sum();
        let clear = golden.family(family).flat_map(|case| &case.draws).filter(|draw| draw.clear).count();
        let due = format!(" cases, {drawn} draws, {clear} of them clear");
        assert!(clear > 0 && verdict.expected.contains(&due), "{due}: {verdict:#?}");
    }
}

/// The row whose logits differ first is named, not the element.
#[test]
fn a_setting_that_tells_late_is_named_by_its_row() {
    let fixture = super::of(crate::form::Form::converted("gguf", "q8_0", "F32"));
    let late = |_: &Question, answer: Answered| logits(answer, |l| *l.values.last_mut().unwrap() += 100.0);
    let (_, verdict) = verdicts(&fixture, find("V2-settings").unwrap(), late).remove(0);
    assert_eq!(verdict.outcome, Outcome::Falsified, "{verdict:#?}");
    let lasts: Vec<usize> = fixture.prompts.iter().map(|golden| golden.forced_ids().len() - 1).collect();
    assert!(verdict.place.position.is_some_and(|position| position > 0 && lasts.contains(&position)), "{verdict:#?}, {lasts:?}");
}

/// Two conventions are right where nothing is left to draw from: a refusal in words, and the most likely token alone.
#[test]
fn a_refusal_without_a_kind_or_a_message_is_none() {
    let fixture = fixture();
    let check = find("SAMPLE-refusals").unwrap();
    let outcome = |kind: &str, message: &str| {
        let (kind, message) = (kind.to_owned(), message.to_owned());
        let tamper = move |_: &Question, answer: Answered| match answer {
            Err(Failure::Refused { .. }) => Err(Failure::Refused { kind: kind.clone(), message: message.clone() }),
            other => other,
        };
        check.judge(&fixture.case(None, None), &Fake { fixture: &fixture, tamper }).outcome
    };
    assert_eq!(outcome("sample", "nothing is left"), Outcome::Corroborated);
    for (kind, message) in [("", "nothing is left"), ("sample", ""), (" ", "nothing is left"), ("sample", " "), ("", "")] {
        assert_ne!(outcome(kind, message), Outcome::Corroborated, "{kind:?} {message:?}");
    }
}

/// Each token of a text is predicted once: windows must overlap or meet, and hold two.
#[test]
fn windows_that_leave_tokens_out_are_refused() {
    let fixture = fixture();
    let check = find("PPL").unwrap();
    let outcome = |window: usize, stride: usize| {
        let golden = PerplexityGolden { window, stride, ..fixture.model.perplexity[0].clone() };
        let fake = Fake { fixture: &fixture, tamper: |_: &Question, answer| answer };
        check.judge(&fixture.case(None, Some(&golden)), &fake)
    };
    assert_eq!(outcome(16, 8).outcome, Outcome::Corroborated);
    for (window, stride) in [(16, 17), (1, 1), (16, 0), (8, 9)] {
        let verdict = outcome(window, stride);
        assert_eq!(verdict.outcome, Outcome::Error, "{window} {stride}: {verdict:#?}");
        assert!(verdict.observed.contains(&format!("window {window}, stride {stride}")), "{verdict:#?}");
    }
    for (window, stride) in [(16, 16), (2, 1)] {
        assert_ne!(outcome(window, stride).outcome, Outcome::Error, "{window} {stride}");
    }
}
