//! CANARY and PUBLISHED: the generated text, byte for byte.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::form::Class;
use crate::golden::MarginClass;
use crate::observation::{Answers, Op};
use crate::verdict::{Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "CANARY",
        claim: "CANARY",
        sentence: "the decoded greedy text equals the golden text of the model as published, in int8 too",
        refuted_by: "one byte that differs",
        per: Per::Source(|scope, prompt| {
            let precise = matches!(scope.form.class(), Class::Int8 | Class::Exact);
            prompt.category == "canary" && prompt.margin_class == MarginClass::Wide && precise && scope.is_robust()
        }),
        breadth: Breadth::Everywhere,
        needs: &[Op::Generate, Op::Detokenize],
        bounds: &[],
        judge: canary,
    },
    Check {
        id: "PUBLISHED",
        claim: "CANARY",
        sentence: "the greedy text from BOS is the text that the model's author published",
        refuted_by: "one byte that differs",
        per: Per::Cell(|scope| scope.index.published.is_some()),
        breadth: Breadth::Published,
        needs: &[Op::Generate, Op::Detokenize],
        bounds: &[],
        judge: published,
    },
];

fn canary(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::source(case)?;
    let asked = &golden.greedy;
    let (ids, _) = ask::generate(answers, &golden.prompt.ids, asked.max_new_tokens, asked.stop_at_eos)?;
    let text = ask::detokenize(answers, &ids)?;
    Ok(same_text(&asked.text, &text))
}

fn published(case: &Case, answers: &dyn Answers) -> Judged {
    let index = &case.model.index;
    let published = index.published.as_ref().ok_or_else(|| ask::missing("a published text", "the index names none"))?;
    let text =
        case.model.published.as_ref().ok_or_else(|| ask::missing("the published text", &format!("`{}` was not read", published.file)))?;
    let bos = index.config.bos.ok_or_else(|| ask::missing("a BOS token, which begins the published text", "the model has none"))?;
    let (ids, _) = ask::generate(answers, &[bos], published.max_new_tokens, false)?;
    let bytes = ask::detokenize(answers, &ids)?;
    // A text file ends with one newline that the model did not write.
    let due = text.strip_suffix('\n').unwrap_or(text);
    Ok(same_text(due, &bytes))
}

/// Compares bytes and shows the surroundings of the first difference.
fn same_text(due: &str, found: &[u8]) -> Verdict {
    let due = due.as_bytes();
    if due == found {
        return Verdict::corroborated(due.len(), format!("{} bytes of text", due.len()), "the same bytes");
    }
    let at = (0..due.len().min(found.len())).find(|&i| due[i] != found[i]).unwrap_or(due.len().min(found.len()));
    let expected = format!("{} bytes, at byte {at}: {}", due.len(), around(due, at));
    let observed = format!("{} bytes, at byte {at}: {}", found.len(), around(found, at));
    Verdict::falsified(expected, observed).at(Place::default()).owned_by(Owner::Kernel)
}

/// The bytes around a place, escaped.
fn around(text: &[u8], at: usize) -> String {
    const BEFORE: usize = 16;
    const AFTER: usize = 24;
    let start = at.saturating_sub(BEFORE).min(text.len());
    let end = at.saturating_add(AFTER).min(text.len());
    format!("{:?}", String::from_utf8_lossy(&text[start..end]))
}
