//! An artifact beside the model as published: its settings, its whole vocabulary, the chat template that it carries.
//!
//! No oracle spoke of these for every model. The golden of a tokenizer holds some hundred texts, and a tenth of a vocabulary is in none of
//! them; the golden of the values of a quantized file exists for the roster alone, so that elsewhere a base of rotary embeddings or an epsilon
//! that is another model's is hidden by what rounding costs. What the published folder answers stands in: of the engine its own answers there,
//! of another runtime the engine's on the same artifact.

use std::sync::Arc;

use super::logits::position;
use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::golden::{PromptEntry, PromptGolden};
use crate::metric::{outdoes, relative_rms, widen};
use crate::observation::{Answer, Answers, Chat, Failure, Op, Peer, Question};
use crate::tolerance::NATIVE;
use crate::verdict::{Measure, Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "V2-settings",
        claim: "V2",
        sentence: "what the engine computes from the artifact is what it computes from the artifact's values under the published configuration, up to the rounding of a setting",
        refuted_by: "a relative RMS difference above the bound: a setting that was lost, or that is another model's",
        per: Per::Sources(|scope, prompt| rounds(scope) && is_short(prompt)),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &["settings"],
        judge: settings,
    },
    Check {
        id: "F-RS6-vocabulary",
        claim: "F-RS6",
        sentence: "the text of every token of the vocabulary has the ids that it has by the published model's tokenizer",
        refuted_by: "one token whose text has other ids",
        per: Per::Cell(has_counterpart),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tokenize],
        bounds: &[],
        judge: encoded,
    },
    Check {
        id: "F-P4-vocabulary",
        claim: "F-P4",
        sentence: "every id of the vocabulary that has a text in the published model decodes to the bytes that it has there",
        refuted_by: "one id with other bytes, or none",
        per: Per::Cell(has_counterpart),
        breadth: Breadth::Everywhere,
        needs: &[Op::Detokenize],
        bounds: &[],
        judge: decoded,
    },
    Check {
        id: "CHAT-own",
        claim: "CHAT",
        sentence: "conversations under the chat template that the artifact carries have the text and the ids that the published model's own gives them; where it has none, the artifact has none",
        refuted_by: "another byte or id, a template that was lost, or one that the model does not have",
        per: Per::Cell(has_counterpart),
        breadth: Breadth::Everywhere,
        needs: &[Op::Chat],
        bounds: &[],
        judge: own_template,
    },
];

/// How many ids of a vocabulary are asked for; of a larger one as many, evenly spread, the last among them.
const ASKED: usize = 1 << 15;

/// The engine on the published folder is what it would be held against.
fn has_counterpart(scope: &Scope) -> bool {
    scope.runtime != NATIVE || !scope.form.primary
}

/// Where values are rounded, F-G4 cannot tell a setting from a value without a golden of the very values. Other runtimes are held beside the
/// engine on the same file by CROSS-RUNTIME.
fn rounds(scope: &Scope) -> bool {
    scope.runtime == NATIVE && scope.form.is_lossy()
}

/// A prompt that all of whose logits are known costs little, up to this length; over one of a token nothing turns.
fn is_short(prompt: &PromptEntry) -> bool {
    const SHORT: usize = 128;
    prompt.full && prompt.n_prompt > 1 && prompt.n_prompt + prompt.n_greedy <= SHORT
}

fn counterpart(case: &Case) -> Judged<Arc<dyn Answers + Send + Sync>> {
    let peer = if case.tolerances.runtime() == NATIVE { Peer::Source } else { Peer::Engine };
    ask::peer(case, &peer)
}

fn settings(case: &Case, answers: &dyn Answers) -> Judged {
    let values = ask::peer(case, &Peer::Values)?;
    let mut compared = 0;
    // The prompt that is closest to its bound, or furthest past it: error, bound, prompt, position.
    let mut worst: Option<(f64, f64, &PromptGolden, usize)> = None;
    for golden in case.sources.iter().copied() {
        let due = ask::forced(case, values.as_ref(), golden)?;
        let found = ask::forced(case, answers, golden)?;
        let bound = case.tolerances.limit("settings", golden.floor.get())?;
        let error = relative_rms(&widen(&due.values), &widen(&found.values))?;
        let differs = (0..due.values.len()).find(|&i| due.values[i].to_bits() != found.values[i].to_bits());
        if worst.is_none_or(|(most, limit, ..)| outdoes(error / bound, most / limit)) {
            worst = Some((error, bound, golden, differs.unwrap_or(0) / due.vocab));
        }
        compared += due.values.len();
    }
    let (error, bound, golden, at) = worst.ok_or_else(|| ask::missing("a prompt of the model", "there is none"))?;
    let measures = vec![Measure::gated("relative RMS to the values under the published configuration", error, bound, "")];
    let expected = format!("relative RMS at most {bound:.3e} to what its values give under the published configuration");
    let observed = format!("relative RMS {error:.3e} on `{}`", golden.prompt.name);
    Ok(Verdict::measured(compared, measures, expected, observed).at(position(case, golden, at)).owned_by(Owner::Config))
}

/// The ids that are asked for.
fn ids(case: &Case) -> Vec<u32> {
    let n = case.model.index.config.vocab_size;
    let asked = if n < ASKED { n } else { ASKED };
    (0..asked).filter_map(|i| u32::try_from(if asked < 2 { i } else { i * (n - 1) / (asked - 1) }).ok()).collect()
}

/// The bytes of an id; none where it has no text. Rows of an embedding past the last token have none in the published model, and containers call
/// them what they like.
fn bytes_of(answers: &dyn Answers, id: u32) -> Judged<Option<Vec<u8>>> {
    let question = Question::Detokenize { ids: vec![id] };
    match answers.ask(&question) {
        Err(Failure::Refused { .. }) => Ok(None),
        _ => ask::detokenize(answers, &[id]).map(|bytes| (!bytes.is_empty()).then(|| bytes.clone())),
    }
}

fn decoded(case: &Case, answers: &dyn Answers) -> Judged {
    let source = counterpart(case)?;
    let (mut compared, mut reds) = (0, Vec::new());
    for id in ids(case) {
        let Some(due) = bytes_of(source.as_ref(), id)? else { continue };
        let found = ask::detokenize(answers, &[id])?;
        if found.is_empty() && is_padding(&due, id) {
            continue;
        }
        compared += 1;
        if !says(&found, &due) {
            reds.push((id, due, found.clone()));
        }
    }
    let expected = format!("the bytes of {compared} tokens as the published model's tokenizer has them");
    let Some((id, due, found)) = reds.first() else { return Ok(Verdict::corroborated(compared, expected, "the same bytes")) };
    let expected = format!("{expected}; of {id} {}", text_of(due));
    let observed = format!("{} differ, the first is {id}: {}", reds.len(), text_of(found));
    Ok(Verdict::falsified(expected, observed).at(token(case, *id)).owned_by(Owner::Tokenizer))
}

/// Whether this is what converters to GGUF call a row of the embedding past the last token, which a runtime need not show.
fn is_padding(due: &[u8], id: u32) -> bool {
    due == format!("[PAD{id}]").as_bytes()
}

/// Whether the bytes found are the text that is due. For a part of a character the published model's library says U+FFFD, and a runtime may say
/// the bytes themselves: there they have to be no character either.
fn says(found: &[u8], due: &[u8]) -> bool {
    let due_text = String::from_utf8_lossy(due);
    found == due || due_text.contains(char::REPLACEMENT_CHARACTER) && String::from_utf8_lossy(found) == due_text
}

fn text_of(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

fn token(case: &Case, id: u32) -> Place {
    Place { token: Some(ask::token(case, id)), ..Place::default() }
}

fn encoded(case: &Case, answers: &dyn Answers) -> Judged {
    let source = counterpart(case)?;
    let (mut compared, mut reds) = (0, Vec::new());
    for id in ids(case) {
        // Half a character is no text.
        let Some(text) = bytes_of(source.as_ref(), id)?.and_then(|bytes| String::from_utf8(bytes).ok()) else { continue };
        // With something before it too, as tokenizers treat the beginning of a text in their own way.
        for text in [text.clone(), format!("a{text}{text}")] {
            let due = ask::tokenize(source.as_ref(), &text, false)?;
            let found = ask::tokenize(answers, &text, false)?;
            compared += 1;
            if *due != *found {
                reds.push((id, text, due.clone(), found.clone()));
            }
        }
    }
    let expected = format!("the ids of {compared} texts of tokens as the published model's tokenizer has them");
    let Some((id, text, due, found)) = reds.first() else { return Ok(Verdict::corroborated(compared, expected, "the same ids")) };
    let expected = format!("{expected}; of {text:?} {}", ask::list(due));
    let observed = format!("{} differ, the first is {text:?}: {}", reds.len(), ask::list(found));
    Ok(Verdict::falsified(expected, observed).at(token(case, *id)).owned_by(Owner::Tokenizer))
}

/// Conversations that show what a template does with a turn, with turns, and with a system's.
const CONVERSATIONS: [(&str, bool); 3] = [
    (r#"[{"role":"user","content":"Hi"}]"#, true),
    (r#"[{"role":"user","content":" One "},{"role":"assistant","content":"Two"},{"role":"user","content":"Three"}]"#, true),
    (r#"[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"assistant","content":"No"}]"#, false),
];

fn own_template(case: &Case, answers: &dyn Answers) -> Judged {
    let source = counterpart(case)?;
    let rendered = |answers: &dyn Answers, question: &Question| -> Judged<Option<(String, Vec<u32>)>> {
        match answers.ask(question).as_deref() {
            Err(Failure::Refused { .. }) => Ok(None),
            Ok(Answer::Chat { text, ids }) => Ok(Some((text.clone(), ids.clone()))),
            _ => ask::chat(answers, question).map(Some),
        }
    };
    let shown = |answer: &Option<(String, Vec<u32>)>| match answer {
        None => "refused".to_owned(),
        Some((text, ids)) => format!("{text:?}, ids {}", ask::list(ids)),
    };
    let (mut compared, mut templates) = (0, 0);
    for (messages, add_generation_prompt) in CONVERSATIONS {
        let question = Question::Chat(Chat {
            template: None,
            messages: messages.to_owned(),
            tools: None,
            variables: "{}".to_owned(),
            add_generation_prompt,
            now: Some("2026-07-05T09:08:07".to_owned()),
        });
        let due = rendered(source.as_ref(), &question)?;
        // Where the published model renders, a refusal is no answer; where it refuses, a text is the wrong one.
        let found = if due.is_some() { Some(ask::chat(answers, &question)?) } else { rendered(answers, &question)? };
        if due != found {
            let expected = format!("{messages}: {}", shown(&due));
            return Ok(Verdict::falsified(expected, shown(&found)).owned_by(Owner::Tokenizer));
        }
        compared += 1;
        templates += usize::from(due.is_some());
    }
    let observed = if templates == 0 { "neither has one that renders them" } else { "the same text and ids" };
    Ok(Verdict::corroborated(compared, format!("{compared} conversations as under the published model's own template"), observed))
}

#[cfg(test)]
mod tests {
    use super::{is_padding, says, text_of};

    #[test]
    fn bytes_are_shown_as_the_text_that_they_are() {
        assert_eq!(text_of("é\n".as_bytes()), r#""é\n""#);
        assert_eq!(text_of(&[b'a', 0x80]), "\"a\u{fffd}\"");
    }

    #[test]
    fn only_a_row_past_the_last_token_is_padding() {
        assert!(is_padding(b"[PAD760]", 760));
        for (due, id) in [(b"[PAD760]".as_slice(), 761), (b"[PAD]", 760), (b"", 760), (b"[PAD0760]", 760)] {
            assert!(!is_padding(due, id), "{id}");
        }
    }

    #[test]
    fn a_part_of_a_character_may_be_its_bytes_and_nothing_else() {
        let half = "\u{fffd}".as_bytes();
        assert!(says(half, half) && says(&[0x80], half) && says(&[0xe2, 0x80], half) && says(b"a", b"a"));
        for wrong in [b"".as_slice(), b"a", b" ", "\u{e9}".as_bytes(), &[0x80, 0x80], &[b'a', 0x80]] {
            assert!(!says(wrong, half), "{wrong:?}");
        }
        assert!(!says(&[0x80], b"a") && !says(half, b"a"));
    }
}
