//! `gpt2`: byte-level BPE. What splits a text into words is known by name.
//!
//! The patterns are those of the tokenizers that the names come from. llama.cpp writes some of them otherwise because its regular
//! expressions know less; the words are the same.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::validate::Checked;
use super::json::{File, Model, Vocab, template};
use super::vocabulary::{TokenType, Vocabulary, missing};
use crate::error::TokenizerError;

/// The values of `tokenizer.ggml.pre` that are known: the names that llama.cpp has for the splits of gpt-2, llama-bpe, qwen2, and the others.
pub const PRES: [&str; 33] = [
    "gpt-2",
    "phi-2",
    "jina-es",
    "jina-de",
    "gigachat",
    "jina-v2-es",
    "jina-v2-de",
    "a.x-4.0",
    "mellum",
    "modern-bert",
    "exaone4",
    "jina-v1-en",
    "jina-v2-code",
    "roberta-bpe",
    "llama-bpe",
    "llama3",
    "llama-v3",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "jina-v5-nano",
    "qwen2",
    "deepseek-r1-qwen",
    "kormo",
    "f2llmv2",
    "megrez",
    "starcoder",
    "smollm",
    "falcon",
    "deepseek-coder",
    "refact",
];

/// llama-bpe: GPT-4's pattern.
pub(super) const LLAMA_BPE: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// qwen2: the same with digits one by one.
pub(super) const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// falcon: what is cut before GPT-2's pattern, and after it.
const FALCON_PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const FALCON_DIGITS: &str = "[0-9][0-9][0-9]";

/// deepseek-coder, one after the other.
const DEEPSEEK_CODER: [&str; 4] = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥\u{800}-一가-\u{d7ff}]+"];

/// How a text is split into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// GPT-2's pattern.
    Gpt2,
    /// Digits one by one, then GPT-2's.
    StarCoder,
    LlamaBpe,
    Qwen2,
    Falcon,
    DeepseekCoder,
}

/// What a value of `tokenizer.ggml.pre` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pre {
    pub split: Split,
    /// Whether a word that is a token is that token, whatever the merges make of it.
    pub ignore_merges: bool,
    /// Whether BOS is put before a text where the file does not say.
    pub add_bos: bool,
    /// Whether a text is composed (NFC) first.
    pub compose: bool,
}

impl Pre {
    /// What the name stands for, if it is one of [`PRES`].
    pub fn named(name: &str) -> Option<Self> {
        let split = match name {
            "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "gigachat" | "jina-v2-es" | "jina-v2-de" | "a.x-4.0" | "mellum" | "modern-bert"
            | "exaone4" | "jina-v1-en" | "jina-v2-code" | "roberta-bpe" => Split::Gpt2,
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" | "jina-v5-nano" => {
                Split::LlamaBpe
            }
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" => Split::Qwen2,
            "starcoder" | "smollm" | "refact" => Split::StarCoder,
            "falcon" => Split::Falcon,
            "deepseek-coder" => Split::DeepseekCoder,
            _ => return None,
        };
        let llama = split == Split::LlamaBpe;
        Some(Pre { split, ignore_merges: llama, add_bos: llama, compose: name == "qwen2" })
    }
}

impl Split {
    /// The pre-tokenizer of `tokenizer.json`.
    pub fn pre_tokenizer(self) -> Value {
        let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let digits = json!({"type": "Digits", "individual_digits": true});
        match self {
            Split::Gpt2 => byte_level(true),
            Split::StarCoder => sequence(vec![digits, byte_level(true)]),
            Split::LlamaBpe => sequence(vec![split(LLAMA_BPE), byte_level(false)]),
            Split::Qwen2 => sequence(vec![split(QWEN2), byte_level(false)]),
            Split::Falcon => sequence(vec![split(FALCON_PUNCTUATION), byte_level(true), split(FALCON_DIGITS)]),
            Split::DeepseekCoder => {
                let splits = DEEPSEEK_CODER.iter().map(|pattern| split(pattern));
                sequence(splits.chain([digits, byte_level(false)]).collect())
            }
        }
    }
}

fn sequence(pretokenizers: Vec<Value>) -> Value {
    json!({"type": "Sequence", "pretokenizers": pretokenizers})
}

/// Bytes to characters, after GPT-2's pattern or without it.
fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

/// The file, for a vocabulary of the model `gpt2`.
pub(super) fn tokenizer_json(vocabulary: &Vocabulary<'_>, pre: &Pre) -> Checked<Vec<u8>> {
    check_bytes(vocabulary)?;
    let (bos, eos) = vocabulary.around(pre.add_bos)?;
    let model = Model::Bpe {
        dropout: None,
        unk_token: None,
        continuing_subword_prefix: None,
        end_of_word_suffix: None,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: pre.ignore_merges,
        vocab: Vocab(vocabulary.tokens.iter().map(AsRef::as_ref).collect()),
        merges: merges(vocabulary)?,
    };
    let mut file = File::new(vocabulary.added_tokens(), model);
    if pre.compose {
        file.normalizer = json!({"type": "NFC"});
    }
    file.pre_tokenizer = pre.split.pre_tokenizer();
    file.decoder = byte_level(true);
    let named = |id: Option<u32>| id.map(|id| (id, vocabulary.token(id)));
    file.post_processor = template(named(bos), named(eos));
    Ok(file.to_bytes())
}

/// Whether a character stands for a byte in GPT-2's alphabet: printable ones of Latin-1 for themselves, U+0100 to U+0143 for the others.
pub(super) fn stands_for_byte(character: char) -> bool {
    matches!(character, '!'..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{143}')
}

fn check_bytes(vocabulary: &Vocabulary<'_>) -> Checked<()> {
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        let foreign = token.chars().find(|character| !stands_for_byte(*character));
        if let (TokenType::Normal, Some(character)) = (vocabulary.types[id], foreign) {
            return Err(TokenizerError::NotByteLevel { id, token: token.clone().into_owned(), character });
        }
    }
    Ok(())
}

/// The merges of the file, each once. As in llama.cpp the first counts; tokenizers would take the last.
fn merges<'a>(vocabulary: &'a Vocabulary<'_>) -> Checked<Vec<(&'a str, &'a str)>> {
    const LIST: &str = "tokenizer.ggml.merges";
    let stored = vocabulary.merges.ok_or_else(|| missing(LIST))?;
    let mut seen = HashSet::with_capacity(stored.len());
    let mut merges = Vec::with_capacity(stored.len());
    let mut whole = String::new();
    for (index, merge) in stored.iter().enumerate() {
        // The space that parts the halves is not the first character.
        let at = merge.bytes().skip(1).position(|byte| byte == b' ').ok_or(TokenizerError::MalformedMerge { list: LIST, index })?;
        let (left, right) = (&merge[..at + 1], &merge[at + 2..]);
        whole.clear();
        whole.push_str(left);
        whole.push_str(right);
        if let Some(token) = [left, right, &whole].into_iter().find(|token| !vocabulary.ids.contains_key(token)) {
            return Err(TokenizerError::MergeOutsideVocabulary { list: LIST, index, token: token.to_owned() });
        }
        if seen.insert((left, right)) {
            merges.push((left, right));
        }
    }
    Ok(merges)
}
