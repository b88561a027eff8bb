//! `llama`: SentencePiece's BPE.
//!
//! There are no merges. Of all neighbours in a text whose texts together are a token, those are put together first whose token has the best
//! score, the leftmost of equal ones; characters that are no token at the end become bytes. As a list of merges that is: every way to cut
//! a token into two tokens, the tokens with the best score first. A list cannot say "the leftmost"; among equal scores the longest left part
//! comes first, then the longest right part, then the smaller id, which is how transformers converts such vocabularies. The two differ where
//! neighbours of equal score overlap; in llama's vocabulary only runs of spaces have equal scores, and their ids are the same.
//!
//! Cost: a token of n bytes is cut at n - 1 places, and both parts are looked up, O(n^2) bytes; the sum over all tokens has a limit.

use std::cmp::{Ordering, Reverse};

use serde_json::json;

use super::super::validate::Checked;
use super::json::{File, Model, Vocab, template};
use super::vocabulary::{TokenType, Vocabulary, missing};
use crate::error::TokenizerError;

/// The character that stands for a space: U+2581.
pub(super) const SPACE: &str = "\u{2581}";

/// The most bytes that are looked up to find the parts of all tokens. Gemma's 262,144 tokens need 16 million.
const MAX_STEPS: u64 = 1 << 29;

/// The file, for a vocabulary of the model `llama`.
pub(super) fn tokenizer_json(vocabulary: &Vocabulary<'_>) -> Checked<Vec<u8>> {
    check_bytes(vocabulary)?;
    let unknown = match vocabulary.id("unknown")? {
        Some(id) => Some(id),
        None => vocabulary.types.iter().position(|kind| *kind == TokenType::Unknown).map(|id| id as u32),
    };
    let n_bytes = (0..=u8::MAX).filter(|byte| vocabulary.ids.contains_key(byte_token(*byte).as_str())).count();
    if unknown.is_none() && n_bytes < 256 {
        return Err(TokenizerError::NoFallback { missing: 256 - n_bytes });
    }
    let (bos, eos) = vocabulary.around(true)?;
    let model = Model::Bpe {
        dropout: None,
        unk_token: unknown.map(|id| vocabulary.token(id)),
        continuing_subword_prefix: None,
        end_of_word_suffix: None,
        fuse_unk: true,
        byte_fallback: n_bytes > 0,
        ignore_merges: false,
        vocab: Vocab(vocabulary.tokens.iter().map(AsRef::as_ref).collect()),
        merges: merges(vocabulary)?,
    };
    let mut file = File::new(vocabulary.added_tokens(), model);
    let escape = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let unescape = json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "});
    // The space is put before every piece of text that stands between special tokens, in both libraries.
    if vocabulary.flag("add_space_prefix")?.unwrap_or(true) {
        let prefix = json!({"type": "Prepend", "prepend": SPACE});
        file.normalizer = json!({"type": "Sequence", "normalizers": [prefix, escape]});
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        file.decoder = json!({"type": "Sequence", "decoders": [unescape, {"type": "ByteFallback"}, {"type": "Fuse"}, strip]});
    } else {
        file.normalizer = escape;
        file.decoder = json!({"type": "Sequence", "decoders": [unescape, {"type": "ByteFallback"}, {"type": "Fuse"}]});
    }
    let named = |id: Option<u32>| id.map(|id| (id, vocabulary.token(id)));
    file.post_processor = template(named(bos), named(eos));
    Ok(file.to_bytes())
}

/// How the token of a byte is written.
pub(super) fn byte_token(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

/// The byte of a token that is written so.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let upper = digits.len() == 2 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
    if upper { u8::from_str_radix(digits, 16).ok() } else { None }
}

fn check_bytes(vocabulary: &Vocabulary<'_>) -> Checked<()> {
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        if vocabulary.types[id] == TokenType::Byte && byte_of(token).is_none() {
            return Err(TokenizerError::NotAByte { id, token: token.clone().into_owned() });
        }
    }
    Ok(())
}

/// Whether the parts of all tokens can be looked for.
pub(super) fn check_steps<'a>(tokens: impl Iterator<Item = &'a str>) -> Checked<()> {
    let steps = tokens.map(|token| (token.len() as u64).saturating_pow(2)).fold(0, u64::saturating_add);
    if steps > MAX_STEPS {
        return Err(TokenizerError::TooManySplits { found: steps, limit: MAX_STEPS });
    }
    Ok(())
}

/// The merges that the scores stand for, the first to be made first.
fn merges<'a>(vocabulary: &'a Vocabulary<'_>) -> Checked<Vec<(&'a str, &'a str)>> {
    let scores = vocabulary.scores.as_deref().ok_or_else(|| missing("tokenizer.ggml.scores"))?;
    check_steps(vocabulary.tokens.iter().map(AsRef::as_ref))?;
    // A byte that stands for a part of a character is not put together with its neighbours: in llama.cpp it is no piece of text.
    let is_part = |part: &str| vocabulary.ids.contains_key(part) && byte_of(part).is_none();
    let mut merges = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let n_chars = token.chars().count();
        for (n_left, (at, _)) in token.char_indices().enumerate().skip(1) {
            let (left, right) = token.split_at(at);
            if is_part(left) && is_part(right) {
                // Adding 0 makes the negative zero equal to the positive one.
                merges.push((Best(scores[id] + 0.0), Reverse((n_left, n_chars - n_left)), (left, right)));
            }
        }
    }
    merges.sort_by_key(|(score, lengths, _)| (Reverse(*score), *lengths)); // stable: the smaller id first
    Ok(merges.into_iter().map(|(_, _, merge)| merge).collect())
}

/// A score in the order of numbers; none is NaN.
#[derive(Clone, Copy, PartialEq)]
struct Best(f32);

impl Eq for Best {}

impl Ord for Best {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Best {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
