//! Every check is green on a right answer, and not green on each wrong one that it can see.

mod excused;
mod files;
mod named;
mod spoken;

use super::fixture::{Fake, Fixture};
use super::{Case, Check, Per, Scope, all, find};
use crate::arithmetic::Arithmetic;
use crate::form::Form;
use crate::golden::{MarginClass, PerplexityGolden, PromptEntry, PromptGolden};
use crate::observation::{Answer, Failure, Logits, Op, Question, Sampled, Stop};
use crate::verdict::{ErrorKind, Outcome, Verdict};

type Answered = Result<Answer, Failure>;
type Tamper = fn(&Question, Answered) -> Answered;

/// Every trial of a check on the fixture.
fn verdicts(fixture: &Fixture, check: &Check, tamper: impl Fn(&Question, Answered) -> Answered) -> Vec<(String, Verdict)> {
    let fake = Fake { fixture, tamper };
    let scope = fixture.scope();
    let judge =
        |prompt: Option<&PromptGolden>, perplexity: Option<&PerplexityGolden>| check.judge(&fixture.case(prompt, perplexity), &fake);
    let chosen = |applies: fn(&Scope, &PromptEntry) -> bool| -> Vec<&PromptGolden> {
        let all = (0..fixture.prompts.len()).filter(|&i| applies(&scope, &fixture.model.index.prompts[i]));
        all.map(|i| &fixture.prompts[i]).collect()
    };
    match check.per {
        Per::Cell(applies) if applies(&scope) => vec![("cell".to_owned(), judge(None, None))],
        Per::Cell(_) => Vec::new(),
        Per::Prompt(applies) | Per::Source(applies) => {
            chosen(applies).into_iter().map(|golden| (golden.prompt.name.clone(), judge(Some(golden), None))).collect()
        }
        Per::Sources(applies) => {
            let sources = chosen(applies);
            let judge = || check.judge(&Case { sources: &sources, ..fixture.case(None, None) }, &fake);
            if sources.is_empty() { Vec::new() } else { vec![("cell".to_owned(), judge())] }
        }
        Per::Chat(applies) => {
            let Some(chat) = scope.chat else { return Vec::new() };
            let places = (0..chat.styles.len()).filter(|&i| applies(&scope, &chat.styles[i]));
            let judge = |i| check.judge(&Case { style: Some(i), ..fixture.case(None, None) }, &fake);
            places.map(|i| (chat.styles[i].name.clone(), judge(i))).collect()
        }
        Per::Perplexity(applies) => {
            let texts = fixture.model.perplexity.iter().filter(|golden| applies(&scope, &golden.text.name));
            texts.map(|golden| (golden.text.name.clone(), judge(None, Some(golden)))).collect()
        }
    }
}

/// A canary prompt with wide margins, which the hash does not have by itself.
fn of(form: Form) -> Fixture {
    let mut fixture = Fixture::of(form);
    fixture.model.index.prompts[0].margin_class = MarginClass::Wide;
    fixture.prompts[0].greedy.margin_class = MarginClass::Wide;
    fixture
}

fn fixture() -> Fixture {
    of(Form::published("F32"))
}

/// The model as published, in columns that between them every check applies to, and by another runtime than the engine.
fn columns() -> Vec<Fixture> {
    let column = |name| of(Form::converted("gguf", name, "F32"));
    let other = Fixture { arithmetic: Arithmetic::F32, ..fixture() };
    vec![fixture(), column("f32"), column("q8_0"), column("q4_0"), other]
}

/// Every trial of a check, in every column.
fn everywhere(columns: &[Fixture], check: &Check, tamper: Tamper) -> Vec<(String, Verdict)> {
    columns.iter().flat_map(|fixture| verdicts(fixture, check, tamper)).collect()
}

#[test]
fn fixture_passes_the_lint() {
    let fixture = Fixture::new();
    fixture.model.lint("hash").unwrap();
    for (i, golden) in fixture.prompts.iter().enumerate() {
        golden.lint(&fixture.model.index.prompts[i], &fixture.model.index, "hash").unwrap();
    }
}

#[test]
fn every_check_is_green_on_right_answers() {
    let columns = columns();
    for check in all() {
        let verdicts = everywhere(&columns, check, |_, answer| answer);
        assert!(!verdicts.is_empty(), "{} has no trial on the fixture", check.id);
        for (trial, verdict) in verdicts {
            assert!(verdict.is_green(), "{}::{trial}: {verdict:#?}", check.id);
            assert!(verdict.compared > 0, "{}::{trial}", check.id);
            assert_eq!(verdict.claim, check.sentence);
        }
    }
}

/// A row is listed by what the check needs: a runtime that declares no more is not asked what it cannot answer.
#[test]
fn no_check_asks_what_it_does_not_need() {
    for fixture in &columns() {
        for check in all() {
            let needs = check.needs_in(&fixture.form);
            let declared = |question: &Question, answer| {
                let op = question.op();
                if needs.contains(&op) { answer } else { Err(Failure::Unsupported { op }) }
            };
            for (trial, verdict) in verdicts(fixture, check, declared) {
                assert!(verdict.is_green(), "{}::{trial} in {:?}: {verdict:#?}", check.id, fixture.form);
            }
        }
    }
}

/// Applies `change` to every logits answer.
fn logits(answer: Answered, change: impl Fn(&mut Logits)) -> Answered {
    answer.map(|answer| match answer {
        Answer::Logits(mut logits) => {
            change(&mut logits);
            Answer::Logits(logits)
        }
        Answer::Many(mut many) => {
            many.iter_mut().for_each(change);
            Answer::Many(many)
        }
        other => other,
    })
}

fn generated(answer: Answered, change: impl Fn(&mut Vec<u32>, &mut Stop)) -> Answered {
    answer.map(|answer| match answer {
        Answer::Generated { mut ids, mut stop } => {
            change(&mut ids, &mut stop);
            Answer::Generated { ids, stop }
        }
        other => other,
    })
}

fn sampled(answer: Answered, change: impl Fn(&mut Sampled)) -> Answered {
    answer.map(|answer| match answer {
        Answer::Sampled(mut sampled) => {
            change(&mut sampled);
            Answer::Sampled(sampled)
        }
        other => other,
    })
}

fn chat(answer: Answered, change: impl Fn(&mut String, &mut Vec<u32>)) -> Answered {
    answer.map(|answer| match answer {
        Answer::Chat { mut text, mut ids } => {
            change(&mut text, &mut ids);
            Answer::Chat { text, ids }
        }
        other => other,
    })
}

/// Wrong answers: name, function, the op that must be among a check's needs for it to matter, and the checks that are blind to it.
#[rustfmt::skip] // A table reads best with one row a line.
const WRONG: &[(&str, Tamper, Op, &[&str])] = &[
    ("nan", |_, a| logits(a, |l| l.values[0] = f32::NAN), Op::Logits, &[]),
    ("infinity", |_, a| logits(a, |l| *l.values.last_mut().unwrap() = f32::INFINITY), Op::Logits, &[]),
    ("empty", |_, a| logits(a, |l| *l = Logits { n: 0, vocab: l.vocab, values: Vec::new() }), Op::Logits, &[]),
    ("values missing", |_, a| logits(a, |l| l.values.truncate(l.values.len() - 1)), Op::Logits, &[]),
    ("row missing", |_, a| logits(a, |l| { l.n -= 1; l.values.truncate(l.n * l.vocab) }), Op::Logits, &[]),
    ("row too many", |_, a| logits(a, |l| { l.n += 1; l.values.extend(vec![0.0; l.vocab]) }), Op::Logits, &[]),
    ("column missing", |_, a| logits(a, |l| { l.vocab -= 1; l.values.truncate(l.n * l.vocab) }), Op::Logits, &[]),
    // A scale that is the same everywhere moves no argmax, and is not seen by comparing the engine with itself.
    ("scaled by 1.01", |_, a| logits(a, |l| l.values.iter_mut().for_each(|x| *x *= 1.01)), Op::Logits, SELF_OR_ORDER),
    ("negated", |_, a| logits(a, |l| l.values.iter_mut().for_each(|x| *x = -*x)), Op::Logits, SELF_OR_SCALE),
    ("columns rotated", |_, a| logits(a, |l| { let v = l.vocab; l.values.chunks_mut(v).for_each(|r| r.rotate_right(1)) }), Op::Logits, SELF_OR_SCALE),
    ("rows rotated", |_, a| logits(a, |l| { let v = l.vocab; l.values.rotate_right(v) }), Op::Logits, SELF_OR_SCALE_OR_LENGTH),
    ("no ids", |_, a| a.map(|x| if let Answer::Ids(_) = x { Answer::Ids(Vec::new()) } else { x }), Op::Tokenize, &[]),
    ("one id more", |_, a| a.map(|x| if let Answer::Ids(mut i) = x { i.insert(0, 256); Answer::Ids(i) } else { x }), Op::Tokenize, &[]),
    ("ids reversed", |_, a| a.map(|x| if let Answer::Ids(mut i) = x { i.reverse(); Answer::Ids(i) } else { x }), Op::Tokenize, &[]),
    ("no bytes", |_, a| a.map(|x| if let Answer::Bytes(_) = x { Answer::Bytes(Vec::new()) } else { x }), Op::Detokenize, &[]),
    ("a space before", |_, a| a.map(|x| if let Answer::Bytes(mut b) = x { b.insert(0, b' '); Answer::Bytes(b) } else { x }), Op::Detokenize, &["SELFTEST"]),
    ("no tokens", |_, a| generated(a, |ids, _| ids.clear()), Op::Generate, &[]),
    ("a token short", |_, a| generated(a, |ids, _| { ids.pop(); }), Op::Generate, BOUNDED),
    ("a token long", |_, a| generated(a, |ids, _| ids.push(7)), Op::Generate, BOUNDED),
    ("first token wrong", |_, a| generated(a, |ids, _| ids[0] = (ids[0] + 1) % 256), Op::Generate, BOUNDED),
    ("last token wrong", |_, a| generated(a, |ids, _| { let n = ids.len(); ids[n - 1] = (ids[n - 1] + 1) % 256 }), Op::Generate, BOUNDED),
    ("a token past the vocabulary", |_, a| generated(a, |ids, _| ids[1] = 9999), Op::Generate, BOUNDED),
    ("stop reason wrong", |_, a| generated(a, |_, stop| *stop = if *stop == Stop::Eos { Stop::Length } else { Stop::Eos }), Op::Generate, &["CANARY", "PUBLISHED", "TOKEN", "DRIFT", "ROUNDTRIP", "BENCH"]),
    ("a letter more", |_, a| chat(a, |text, _| text.push(' ')), Op::Chat, &["CHAT-ids", "CHAT-refusal"]),
    ("the last letter missing", |_, a| chat(a, |text, _| { text.pop(); }), Op::Chat, &["CHAT-ids", "CHAT-refusal"]),
    ("no text", |_, a| chat(a, |text, _| text.clear()), Op::Chat, &["CHAT-ids", "CHAT-refusal"]),
    ("bos twice", |_, a| chat(a, |_, ids| ids.insert(0, ids[0])), Op::Chat, &["CHAT", "CHAT-refusal"]),
    ("no chat ids", |_, a| chat(a, |_, ids| ids.clear()), Op::Chat, &["CHAT", "CHAT-refusal"]),
    ("a refusal swallowed", |_, a| a.or_else(|_| Ok(Answer::Chat { text: String::new(), ids: Vec::new() })), Op::Chat, &["CHAT", "CHAT-ids", "CHAT-own"]),
    ("no stages", |_, a| a.map(|x| if let Answer::Sketch(_) = x { Answer::Sketch(Vec::new()) } else { x }), Op::Sketch, &[]),
    ("a stage missing", |_, a| a.map(|x| if let Answer::Sketch(mut s) = x { s.pop(); Answer::Sketch(s) } else { x }), Op::Sketch, &[]),
    ("a stage too many", |_, a| a.map(|x| if let Answer::Sketch(mut s) = x { s.push(s[0].clone()); Answer::Sketch(s) } else { x }), Op::Sketch, &[]),
    ("stages swapped", |_, a| a.map(|x| if let Answer::Sketch(mut s) = x { s.swap(2, 3); Answer::Sketch(s) } else { x }), Op::Sketch, &[]),
    ("nan in a sketch", |_, a| a.map(|x| if let Answer::Sketch(mut s) = x { s[4].mean = f64::NAN; Answer::Sketch(s) } else { x }), Op::Sketch, &[]),
    ("a stage scaled by 1.001", |_, a| a.map(|x| if let Answer::Sketch(mut s) = x { s[5].rms *= 1.001; Answer::Sketch(s) } else { x }), Op::Sketch, &[]),
    ("no tensors", |_, a| a.map(|x| if let Answer::Tensors(_) = x { Answer::Tensors(Vec::new()) } else { x }), Op::Tensors, &[]),
    ("a tensor missing", |_, a| a.map(|x| if let Answer::Tensors(mut t) = x { t.pop(); Answer::Tensors(t) } else { x }), Op::Tensors, &["SELFTEST"]),
    ("a tensor twice", |_, a| a.map(|x| if let Answer::Tensors(mut t) = x { t.push(t[0].clone()); Answer::Tensors(t) } else { x }), Op::Tensors, &["SELFTEST"]),
    ("another dtype", |_, a| a.map(|x| if let Answer::Tensors(mut t) = x { t[0].dtype = "F16".into(); Answer::Tensors(t) } else { x }), Op::Tensors, &["TENSORS", "SELFTEST"]),
    ("a shape transposed", |_, a| a.map(|x| if let Answer::Tensors(mut t) = x { t[0].shape.reverse(); Answer::Tensors(t) } else { x }), Op::Tensors, &["TENSORS"]),
    ("a nan in a tensor", |_, a| a.map(|x| if let Answer::Tensors(mut t) = x { t[1].n_nonfinite = 1; Answer::Tensors(t) } else { x }), Op::Tensors, &["F-T1", "SELFTEST"]),
    ("a zero matrix", |_, a| a.map(|x| if let Answer::Tensors(mut t) = x { let r = &mut t[0]; (r.rms, r.mean, r.min, r.max) = (0.0, 0.0, 0.0, 0.0); Answer::Tensors(t) } else { x }), Op::Tensors, &["F-T1", "SELFTEST"]),
    ("nan statistics", |_, a| a.map(|x| if let Answer::Tensors(mut t) = x { t[1].mean = f64::NAN; Answer::Tensors(t) } else { x }), Op::Tensors, &["F-T1", "SELFTEST"]),
    ("a field missing", |_, a| a.map(|x| if let Answer::Metadata(mut m) = x { m.head_dim = None; Answer::Metadata(m) } else { x }), Op::Metadata, &["SELFTEST"]),
    ("no bos", |_, a| a.map(|x| if let Answer::Metadata(mut m) = x { m.bos = None; Answer::Metadata(m) } else { x }), Op::Metadata, &["SELFTEST"]),
    ("no processed logits", |_, a| sampled(a, |s| s.logits.clear()), Op::Sample, &[]),
    ("a processed logit short", |_, a| sampled(a, |s| { s.logits.pop(); }), Op::Sample, &[]),
    ("processed logits scaled by 1.000001", |_, a| sampled(a, |s| s.logits.iter_mut().for_each(|x| *x *= 1.000_001)), Op::Sample, REFUSALS),
    ("a processed logit nan", |_, a| sampled(a, |s| s.logits[0] = f32::NAN), Op::Sample, REFUSALS),
    ("the first kept token masked", |_, a| sampled(a, |s| if let Some(x) = s.logits.iter_mut().find(|x| **x > f32::NEG_INFINITY) { *x = f32::NEG_INFINITY }), Op::Sample, REFUSALS),
    ("masks of finite size", |_, a| sampled(a, |s| s.logits.iter_mut().filter(|x| **x == f32::NEG_INFINITY).for_each(|x| *x = -1e4)), Op::Sample, REFUSALS),
    ("the next token drawn", |_, a| sampled(a, |s| s.id = (s.id + 1) % s.logits.len() as u32), Op::Sample, &[]),
    ("a token past the logits", |_, a| sampled(a, |s| s.id = s.logits.len() as u32), Op::Sample, &[]),
    ("no eos", |_, a| a.map(|x| if let Answer::Metadata(mut m) = x { m.eos = Some(Vec::new()); Answer::Metadata(m) } else { x }), Op::Metadata, &["SELFTEST"]),
];

/// Blind to logits: they are other checks' matter.
const REFUSALS: &[&str] = &["SAMPLE-refusals"];

/// Bounds that allow a token or two.
const BOUNDED: &[&str] = &["TOKEN", "DRIFT"];

/// Checks that compare the engine with itself, or look at ids and shapes alone.
const SELF_OR_SCALE: &[&str] = &[
    "F-T4-shape",
    "F-G4-norm",
    "F-P3-stepwise",
    "F-P3-chunks",
    "F-P3-last",
    "F-P3-prefix",
    "INV-threads",
    "INV-rerun",
    "INV-batch",
    "INV-causal",
    "F-E1-empty",
    "F-E2-past-context",
    "F-E4-ids",
    "F-E5-concurrent",
    "LEARNED",
    "V1",
    "SELFTEST",
    "F-E2-lengths",
    "F-E2-lengths-decode",
];
/// Likewise; a change of scale keeps the order of the tokens too, and a model that does not know the held-out text is not held to the users'
/// bound on it.
const SELF_OR_ORDER: &[&str] = &[
    "F-T4-shape",
    "F-G4-regret",
    "INV-generate",
    "F-P3-stepwise",
    "F-P3-chunks",
    "F-P3-last",
    "F-P3-prefix",
    "INV-threads",
    "INV-rerun",
    "INV-batch",
    "INV-causal",
    "F-E1-empty",
    "F-E2-past-context",
    "F-E4-ids",
    "F-E5-concurrent",
    "LEARNED",
    "V1",
    "SELFTEST",
    "LOGIT-CONSISTENCY",
    "PPL-DRIFT",
    "F-E2-lengths",
    "F-E2-lengths-decode",
    "F-E2-lengths-generate",
];
/// Rows that change places break the comparison of answers of different lengths as well.
const SELF_OR_SCALE_OR_LENGTH: &[&str] = &[
    "F-T4-shape",
    "F-G4-norm",
    "F-P3-stepwise",
    "F-P3-chunks",
    "INV-threads",
    "INV-rerun",
    "INV-batch",
    "F-E1-empty",
    "F-E2-past-context",
    "F-E4-ids",
    "F-E5-concurrent",
    "LEARNED",
    "V1",
    "SELFTEST",
    "F-E2-lengths-generate",
];

#[test]
fn every_check_refutes_each_wrong_answer_that_it_can_see() {
    let columns = columns();
    let mut surprises = Vec::new();
    for &(name, tamper, op, blind) in WRONG {
        for check in all().iter().filter(|check| check.needs.contains(&op)) {
            let verdicts = everywhere(&columns, check, tamper);
            let red = verdicts.iter().filter(|(_, verdict)| verdict.outcome == Outcome::Falsified).count();
            match (blind.contains(&check.id), red) {
                (true, 0) | (false, 1..) => {}
                (true, _) => surprises.push(format!("{} is said to be blind to `{name}`, and is not", check.id)),
                (false, 0) => surprises.push(format!("{} does not see `{name}`: {:?}", check.id, verdicts[0].1.observed)),
            }
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// Answers that are right for another sequence of the same length.
#[test]
fn an_answer_to_another_prompt_is_red() {
    let fixture = fixture();
    let previous: Tamper = |question, answer| match question {
        Question::Logits { ids, .. } if answer.is_ok() && ids.len() > 1 => {
            logits(answer, |l| l.values.iter_mut().enumerate().for_each(|(i, x)| *x = ((i * 7919) % 1000) as f32 / 100.0))
        }
        Question::Sketch { .. } => answer.map(|answer| match answer {
            Answer::Sketch(mut stages) => {
                stages.iter_mut().for_each(|stage| stage.projections.rotate_left(1));
                Answer::Sketch(stages)
            }
            other => other,
        }),
        _ => answer,
    };
    for id in [
        "F-G4-logits",
        "F-G4-norm",
        "F-G4-regret",
        "F-G4-kl",
        "F-G4-sketch-prefill",
        "F-G4-sketch-decode",
        "PPL",
        "INV-generate",
        "INV-causal",
    ] {
        let verdicts = verdicts(&fixture, find(id).unwrap(), previous);
        assert!(verdicts.iter().all(|(_, verdict)| verdict.outcome == Outcome::Falsified), "{id}: {verdicts:#?}");
    }
}

#[test]
fn a_failure_where_an_answer_is_due_is_an_error_of_its_kind() {
    let columns = columns();
    let failures: [(Tamper, ErrorKind); 5] = [
        (|_, _| Err(Failure::Refused { kind: "request".into(), message: "no".into() }), ErrorKind::Refused),
        (|_, _| Err(Failure::Crash { message: "signal 11".into() }), ErrorKind::Crash),
        (|_, _| Err(Failure::Timeout { seconds: 5.0 }), ErrorKind::Timeout),
        (|_, _| Err(Failure::Protocol { message: "not JSON".into() }), ErrorKind::Protocol),
        (|_, _| Err(Failure::Unsupported { op: Op::Logits }), ErrorKind::Unsupported),
    ];
    for (tamper, kind) in failures {
        for check in all() {
            for (trial, verdict) in everywhere(&columns, check, tamper) {
                assert_eq!(verdict.outcome, Outcome::Error, "{}::{trial}: {verdict:#?}", check.id);
                assert_eq!(verdict.error, Some(kind), "{}::{trial}", check.id);
            }
        }
    }
}

#[test]
fn an_answer_of_another_kind_is_a_broken_protocol() {
    let columns = columns();
    for check in all() {
        let wrong: Tamper =
            |question, _| Ok(if *question == Question::Metadata { Answer::Ids(vec![1]) } else { Answer::Metadata(Default::default()) });
        for (trial, verdict) in everywhere(&columns, check, wrong) {
            let refusal_was_due = ["F-E1-empty", "F-E2-past-context", "F-E4-ids", "SAMPLE-refusals"].contains(&check.id);
            let due = if refusal_was_due { Outcome::Falsified } else { Outcome::Error };
            assert_eq!(verdict.outcome, due, "{}::{trial}: {verdict:#?}", check.id);
        }
    }
}

#[test]
fn refusals_must_be_typed() {
    let fixture = fixture();
    let untyped: Tamper = |_, answer| match answer {
        Err(Failure::Refused { message, .. }) => Err(Failure::Refused { kind: String::new(), message }),
        other => other,
    };
    let crash: Tamper = |_, answer| match answer {
        Err(Failure::Refused { .. }) => Err(Failure::Crash { message: "index out of bounds".into() }),
        other => other,
    };
    let answered: Tamper = |_, answer| match answer {
        Err(Failure::Refused { .. }) => Ok(Answer::Logits(Logits { n: 1, vocab: 1, values: vec![0.0] })),
        other => other,
    };
    for id in ["F-E1-empty", "F-E2-past-context", "F-E4-ids"] {
        let outcome = |tamper| verdicts(&fixture, find(id).unwrap(), tamper)[0].1.outcome;
        assert_eq!(outcome(untyped), Outcome::Falsified, "{id}");
        assert_eq!(outcome(answered), Outcome::Falsified, "{id}");
        assert_eq!(outcome(crash), Outcome::Error, "{id}");
        let (_, verdict) = verdicts(&fixture, find(id).unwrap(), answered).remove(0);
        assert_eq!(verdict.observed, "an answer: logits of shape (1, 1)", "{id}");
    }
}

#[test]
fn a_golden_without_what_is_compared_is_an_error() {
    let mut fixture = fixture();
    fixture.model.tokenizer.cases.clear();
    for golden in &mut fixture.prompts {
        golden.full = None;
        golden.forced.top.clear();
        golden.forced.logsumexp.clear();
        golden.forced.nll.clear();
    }
    for id in [
        "F-G4-norm",
        "F-G4-regret",
        "F-G4-kl",
        "F-G4-logits",
        "F-G4-sketch-prefill",
        "F-RS6-ids",
        "F-RS6-special",
        "F-P4-decode",
        "F-E3-encode",
        "F-E3-decode",
        "F-E1-empty",
    ] {
        for (trial, verdict) in verdicts(&fixture, find(id).unwrap(), |_, answer| answer) {
            assert_eq!(verdict.outcome, Outcome::Error, "{id}::{trial}: {verdict:#?}");
        }
    }
}

#[test]
fn ids_are_unique_and_every_bound_is_used_and_written_down() {
    let mut ids: Vec<&str> = all().iter().map(|check| check.id).collect();
    let n = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), n, "an id is used twice");
    let fixture = fixture();
    // The oracle's classes of margins are not a check's bound.
    let mut used: Vec<&str> = all().iter().flat_map(|check| check.bounds_in(Arithmetic::F32)).chain(["margin.wide"]).collect();
    used.sort_unstable();
    used.dedup();
    // An override is of a bound that is there; the lint of the file holds that.
    assert_eq!(used, fixture.tolerances.keys().filter(|key| !key.contains(':')).collect::<Vec<_>>());
}
