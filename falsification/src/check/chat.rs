//! CHAT: conversations under a chat template, against what transformers wrote.
//!
//! Three checks look at the same answers and hold them to different things: the bytes of the text, its ids, and that what the oracle refused
//! is refused. The most frequent faults differ by these: a dropped generation prompt is seen in the text, a doubled BOS in the ids alone.

use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::golden::{ChatCase, ChatGolden, ChatStyle, StyleEntry};
use crate::observation::{Answers, Op, Question};
use crate::verdict::{Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "CHAT",
        claim: "CHAT",
        sentence: "conversations have the oracle's text under a chat template, byte by byte",
        refuted_by: "one byte that differs",
        per: Per::Chat(is_asked),
        breadth: Breadth::Everywhere,
        needs: &[Op::Chat],
        bounds: &[],
        judge: text,
    },
    Check {
        id: "CHAT-ids",
        claim: "CHAT",
        sentence: "the text of a conversation has the oracle's ids: its special tokens are one id each, and none is added",
        refuted_by: "one text with other ids: a BOS that is doubled",
        per: Per::Chat(is_asked),
        breadth: Breadth::Everywhere,
        needs: &[Op::Chat],
        bounds: &[],
        judge: ids,
    },
    Check {
        id: "CHAT-refusal",
        claim: "CHAT",
        sentence: "a conversation that the template refuses is refused with a typed error, and one that it takes is not",
        refuted_by: "a text where the oracle raised",
        per: Per::Chat(is_asked),
        breadth: Breadth::Everywhere,
        needs: &[Op::Chat],
        bounds: &[],
        judge: refusals,
    },
];

/// Where a model is as published, and in GGUF, whose readers bring their own Jinja; of two models with one tokenizer, the one that was trained.
fn is_asked(scope: &Scope, _: &StyleEntry) -> bool {
    let is_form = scope.form.primary || scope.form.is("gguf") && scope.form.quantization == "f32" && !scope.form.given;
    let is_known = scope.chat.is_some_and(|chat| chat.tokenizer_of(scope.index).is_some());
    is_form && is_known && scope.index.trained_by_us
}

/// The golden, and the style that this trial is about.
fn golden<'a>(case: &Case<'a>) -> Judged<(&'a ChatGolden, &'a ChatStyle)> {
    let found = case.model.chat.as_deref().and_then(|golden| Some((golden, golden.styles.get(case.style?)?)));
    found.ok_or_else(|| ask::missing("a golden of a chat template", "this trial has none"))
}

fn question(golden: &ChatGolden, style: &ChatStyle, case: &ChatCase) -> Judged<Question> {
    golden.question(style, case).ok_or_else(|| ask::missing("a conversation of the golden", &case.conversation))
}

/// A case in words.
fn named(case: &ChatCase) -> String {
    let ending = if case.add_generation_prompt { "with" } else { "without" };
    format!("conversation `{}`, {ending} generation prompt", case.conversation)
}

fn text(case: &Case, answers: &dyn Answers) -> Judged {
    let (golden, style) = golden(case)?;
    let mut compared = 0;
    let mut reds = Vec::new();
    for entry in &style.cases {
        let Some(due) = &entry.text else { continue };
        let (found, _) = ask::chat(answers, &question(golden, style, entry)?)?;
        compared += 1;
        if found != *due {
            reds.push((entry, due, found));
        }
    }
    let expected = format!("the oracle's text of {compared} conversations");
    let Some((entry, due, found)) = reds.first() else {
        return Ok(Verdict::corroborated(compared, expected, "the same bytes"));
    };
    let at = first_difference(due.as_bytes(), found.as_bytes());
    let expected = format!("{expected}; {}: from byte {at} on {}", named(entry), around(due, at));
    let observed = format!("{} differ, the first is this: {}", reds.len(), around(found, at));
    Ok(Verdict::falsified(expected, observed).at(Place { position: Some(at), ..Place::default() }).owned_by(Owner::Runtime))
}

fn ids(case: &Case, answers: &dyn Answers) -> Judged {
    let (golden, style) = golden(case)?;
    let tokenizer = golden.index.tokenizer_of(&case.model.index);
    let tokenizer = tokenizer.ok_or_else(|| ask::missing("ids of this tokenizer", "the golden has none"))?;
    let mut compared = 0;
    let mut reds = Vec::new();
    for entry in &style.cases {
        let Some(due) = entry.ids.get(tokenizer) else { continue };
        let (_, found) = ask::chat(answers, &question(golden, style, entry)?)?;
        compared += 1;
        if found != *due {
            reds.push((entry, due, found));
        }
    }
    let expected = format!("the oracle's ids of {compared} conversations");
    let Some((entry, due, found)) = reds.first() else {
        return Ok(Verdict::corroborated(compared, expected, "the same ids"));
    };
    let at = first_difference(due, found);
    let from = at.saturating_sub(1);
    let expected = format!("{expected}; {}: from id {from} on {}", named(entry), ask::list(due.get(from..).unwrap_or_default()));
    let observed = format!("{} differ, the first is this: {}", reds.len(), ask::list(found.get(from..).unwrap_or_default()));
    let token = found.get(at).map(|&id| ask::token(case, id));
    Ok(Verdict::falsified(expected, observed).at(Place { position: Some(at), token, ..Place::default() }).owned_by(Owner::Tokenizer))
}

fn refusals(case: &Case, answers: &dyn Answers) -> Judged {
    let (golden, style) = golden(case)?;
    // Whoever refuses everything would refuse these too.
    let taken = style.cases.iter().find(|entry| entry.text.is_some());
    let taken = taken.ok_or_else(|| ask::missing("a conversation that the template takes", "there is none"))?;
    ask::chat(answers, &question(golden, style, taken)?)?;
    let mut compared = 0;
    for entry in style.cases.iter().filter(|entry| entry.refused.is_some()) {
        ask::refusal(answers, &question(golden, style, entry)?)?;
        compared += 1;
    }
    Ok(Verdict::corroborated(compared, format!("{compared} refusals, as the oracle's"), "typed refusals"))
}

/// Where two sequences part.
fn first_difference<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let shorter = a.len().min(b.len());
    (0..shorter).find(|&i| a[i] != b[i]).unwrap_or(shorter)
}

/// A text from a byte on, escaped and cut.
fn around(text: &str, at: usize) -> String {
    const SHOWN: usize = 60;
    let from = (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let rest = &text[from..];
    let cut: String = rest.chars().take(SHOWN).collect();
    if cut.len() == rest.len() { format!("{cut:?}") } else { format!("{cut:?} and {} bytes more", rest.len() - cut.len()) }
}
