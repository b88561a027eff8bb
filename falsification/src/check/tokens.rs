//! F-RS6, F-E3 and F-P4: token ids of texts, and the bytes of token ids.
//!
//! The cases of the tokenizer golden are partitioned, so that no two checks compare the same thing: plain ASCII texts are judged by F-RS6
//! (without and with special tokens) and F-P4 (decoding); texts with other characters, or with control characters, by F-E3.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::TokenizerCase;
use crate::observation::{Answers, Op};
use crate::verdict::{Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-RS6-ids",
        claim: "F-RS6",
        sentence: "plain texts have the oracle's token ids, no special tokens added",
        refuted_by: "one text with other ids",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tokenize],
        bounds: &[],
        judge: |case, answers| encode(case, answers, |entry| is_plain(entry) && !entry.add_special_tokens),
    },
    Check {
        id: "F-RS6-special",
        claim: "F-RS6",
        sentence: "plain texts have the oracle's token ids, special tokens added",
        refuted_by: "one text with other ids: a BOS that is missing or doubled",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tokenize],
        bounds: &[],
        judge: |case, answers| encode(case, answers, |entry| is_plain(entry) && entry.add_special_tokens),
    },
    Check {
        id: "F-P4-decode",
        claim: "F-P4",
        sentence: "the ids of plain texts decode to the oracle's bytes",
        refuted_by: "one byte that differs",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Detokenize],
        bounds: &[],
        judge: |case, answers| decode(case, answers, is_plain),
    },
    Check {
        id: "F-E3-encode",
        claim: "F-E3",
        sentence: "texts with emoji, right-to-left and invisible characters, composed and decomposed letters, NUL and other controls have the oracle's ids",
        refuted_by: "one text with other ids",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tokenize],
        bounds: &[],
        judge: |case, answers| encode(case, answers, |entry| !is_plain(entry)),
    },
    Check {
        id: "F-E3-decode",
        claim: "F-E3",
        sentence: "the ids of such texts decode to the oracle's bytes, incomplete characters included",
        refuted_by: "one byte that differs",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Detokenize],
        bounds: &[],
        judge: |case, answers| decode(case, answers, |entry| !is_plain(entry)),
    },
];

/// ASCII without control characters other than tab and line ends.
fn is_plain(entry: &TokenizerCase) -> bool {
    entry.text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r'))
}

/// A text, escaped and cut.
fn brief(text: &str) -> String {
    const SHOWN: usize = 60;
    let cut: String = text.chars().take(SHOWN).collect();
    let more = text.chars().count().saturating_sub(SHOWN);
    if more == 0 { format!("{cut:?}") } else { format!("{cut:?} and {more} characters more") }
}

fn encode(case: &Case, answers: &dyn Answers, is_mine: impl Fn(&TokenizerCase) -> bool) -> Judged {
    let mut compared = 0;
    let mut reds = Vec::new();
    for entry in case.model.tokenizer.cases.iter().filter(|entry| is_mine(entry)) {
        let ids = ask::tokenize(answers, &entry.text, entry.add_special_tokens)?;
        compared += 1;
        if *ids != entry.ids {
            reds.push((entry, ids.clone()));
        }
    }
    let expected = format!("the oracle's ids for {compared} texts");
    let Some((entry, ids)) = reds.first() else {
        return Ok(Verdict::corroborated(compared, expected, "the same ids"));
    };
    let special = if entry.add_special_tokens { "with" } else { "without" };
    let expected = format!("{expected}; for {} {special} special tokens {}", brief(&entry.text), ask::list(&entry.ids));
    let observed = format!("{} texts differ, the first is this: {}", reds.len(), ask::list(ids));
    let at = (0..entry.ids.len().min(ids.len())).find(|&i| entry.ids[i] != ids[i]).unwrap_or(entry.ids.len().min(ids.len()));
    let token = ids.get(at).map(|&id| ask::token(case, id));
    Ok(Verdict::falsified(expected, observed).at(Place { position: Some(at), token, ..Place::default() }).owned_by(Owner::Tokenizer))
}

fn decode(case: &Case, answers: &dyn Answers, is_mine: impl Fn(&TokenizerCase) -> bool) -> Judged {
    let mut compared = 0;
    let mut reds = Vec::new();
    for entry in case.model.tokenizer.cases.iter().filter(|entry| is_mine(entry)) {
        let bytes = ask::detokenize(answers, &entry.ids)?;
        compared += 1;
        if *bytes != entry.decoded.0 {
            reds.push((entry, bytes.clone()));
        }
    }
    let expected = format!("the oracle's bytes for the ids of {compared} texts");
    let Some((entry, bytes)) = reds.first() else {
        return Ok(Verdict::corroborated(compared, expected, "the same bytes"));
    };
    let expected = format!("{expected}; for {} the bytes {}", ask::list(&entry.ids), brief(&String::from_utf8_lossy(&entry.decoded.0)));
    let observed = format!("{} texts differ, the first is this: {}", reds.len(), brief(&String::from_utf8_lossy(bytes)));
    Ok(Verdict::falsified(expected, observed).owned_by(Owner::Tokenizer))
}
