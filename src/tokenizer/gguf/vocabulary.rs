//! The keys `tokenizer.ggml.*`, read and checked.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::validate::Checked;
use super::json::AddedToken;
use crate::error::TokenizerError;
use crate::format::gguf::{Array, Metadata, Value};

/// The most tokens. The largest published vocabularies have 262,144.
const MAX_TOKENS: usize = 1 << 20;

/// What a token is for, in llama.cpp's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    Undefined = 0,
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

impl TokenType {
    fn of(id: usize, number: i32) -> Checked<Self> {
        use TokenType::{Byte, Control, Undefined, Unknown, Unused, UserDefined};
        let types = [Undefined, TokenType::Normal, Unknown, Control, UserDefined, Unused, Byte];
        let known = usize::try_from(number).ok().and_then(|number| types.get(number));
        known.copied().ok_or(TokenizerError::TokenType { id, found: number })
    }
}

/// Tokens that llama.cpp makes control tokens for their text, whatever their type: what ends a turn, and what stands around the gap
/// that a model is asked to fill.
pub(super) const CONTROL_BY_NAME: [&str; 49] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

/// A vocabulary as a GGUF file states it. Every list is as long as the tokens, every id is one of theirs.
#[derive(Debug)]
pub(super) struct Vocabulary<'a> {
    /// `tokenizer.ggml.model`.
    pub model: &'a str,
    /// `tokenizer.ggml.pre`.
    pub pre: Option<&'a str>,
    /// The tokens by id, no two the same. One without text is called `[EMPTY_<id>]`, as in llama.cpp.
    pub tokens: Vec<Cow<'a, str>>,
    /// Token to id.
    pub ids: HashMap<&'a str, u32>,
    /// Their types; all normal where the file has none.
    pub types: Vec<TokenType>,
    /// Their scores.
    pub scores: Option<Cow<'a, [f32]>>,
    /// Merges, two tokens with a space between.
    pub merges: Option<&'a [String]>,
    /// `general.name`, in small letters.
    name: String,
    metadata: &'a Metadata,
}

impl<'a> Vocabulary<'a> {
    /// Reads the keys.
    pub fn read(metadata: &'a Metadata) -> Checked<Self> {
        let model = string(metadata, "tokenizer.ggml.model")?.ok_or_else(|| missing("tokenizer.ggml.model"))?;
        let pre = string(metadata, "tokenizer.ggml.pre")?;
        let stored = strings(metadata, "tokenizer.ggml.tokens")?.ok_or_else(|| missing("tokenizer.ggml.tokens"))?;
        if stored.len() > MAX_TOKENS {
            return Err(TokenizerError::TooManyTokens { found: stored.len(), limit: MAX_TOKENS });
        }
        let mut ids = HashMap::with_capacity(stored.len());
        for (id, token) in stored.iter().enumerate().filter(|(_, token)| !token.is_empty()) {
            if let Some(first) = ids.insert(token.as_str(), id as u32) {
                return Err(TokenizerError::DuplicateToken { token: token.clone(), first: first as usize, second: id });
            }
        }
        let name = |(id, token): (usize, &'a String)| match token.as_str() {
            "" => Cow::Owned(format!("[EMPTY_{id}]")),
            token => Cow::Borrowed(token),
        };
        let tokens: Vec<Cow<'a, str>> = stored.iter().enumerate().map(name).collect();
        for (id, token) in tokens.iter().enumerate() {
            if let (Cow::Owned(token), Some(first)) = (token, ids.get(token.as_ref())) {
                return Err(TokenizerError::DuplicateToken { token: token.clone(), first: *first as usize, second: id });
            }
        }
        let vocabulary = Vocabulary {
            model,
            pre,
            types: types(metadata, tokens.len())?,
            scores: scores(metadata, tokens.len())?,
            merges: strings(metadata, "tokenizer.ggml.merges")?,
            name: string(metadata, "general.name")?.unwrap_or_default().to_ascii_lowercase(),
            tokens,
            ids,
            metadata,
        };
        vocabulary.check_ids()?;
        Ok(vocabulary)
    }

    /// Whether every `tokenizer.ggml.*_token_id` is an id, also those that no text needs.
    fn check_ids(&self) -> Checked<()> {
        for (key, _) in self.metadata.iter() {
            if let Some(name) = key.strip_prefix("tokenizer.ggml.").and_then(|key| key.strip_suffix("_token_id")) {
                self.id(name)?;
            }
        }
        Ok(())
    }

    /// The token that `tokenizer.ggml.<name>_token_id` names.
    pub fn id(&self, name: &str) -> Checked<Option<u32>> {
        let field = format!("tokenizer.ggml.{name}_token_id");
        let Some(value) = self.metadata.get(&field) else { return Ok(None) };
        let number = value.as_integer().ok_or_else(|| wrong_type(&field, "a token id", value))?;
        let id = usize::try_from(number).ok().filter(|id| *id < self.tokens.len());
        let id = id.ok_or_else(|| TokenizerError::SpecialId { field, found: number.to_string(), n_ids: self.tokens.len() })?;
        Ok(Some(id as u32))
    }

    /// The same, where there has to be one.
    pub fn needed_id(&self, name: &str) -> Checked<u32> {
        self.id(name)?.ok_or_else(|| missing(&format!("tokenizer.ggml.{name}_token_id")))
    }

    /// The flag `tokenizer.ggml.<name>`.
    pub fn flag(&self, name: &str) -> Checked<Option<bool>> {
        let field = format!("tokenizer.ggml.{name}");
        match self.metadata.get(&field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => Err(wrong_type(&field, "true or false (bool)", value)),
        }
    }

    /// A token by its id.
    pub fn token(&self, id: u32) -> &str {
        &self.tokens[id as usize]
    }

    /// What is put before and after a text: `<name>_token_id` where `add_<name>_token` is true, or by default where it is absent.
    pub fn around(&self, bos_by_default: bool) -> Checked<(Option<u32>, Option<u32>)> {
        let before = self.flag("add_bos_token")?.unwrap_or(bos_by_default);
        let after = self.flag("add_eos_token")?.unwrap_or(false);
        let id = |name: &str, wanted: bool| if wanted { self.needed_id(name).map(Some) } else { Ok(None) };
        Ok((id("bos", before)?, id("eos", after)?))
    }

    /// The tokens that are looked for in a text before anything else.
    pub fn added_tokens(&self) -> Vec<AddedToken<'_>> {
        let added = self.tokens.iter().enumerate().filter_map(|(id, content)| {
            let special = match self.types[id] {
                TokenType::Control | TokenType::Unknown => true,
                TokenType::UserDefined => CONTROL_BY_NAME.contains(&content.as_ref()),
                _ if CONTROL_BY_NAME.contains(&content.as_ref()) => true,
                _ => return None,
            };
            Some(AddedToken {
                id: id as u32,
                content,
                single_word: false,
                lstrip: self.takes_spaces_before(content),
                rstrip: self.takes_spaces_after(content),
                normalized: false,
                special,
            })
        });
        added.collect()
    }

    /// The file says nothing about it: llama.cpp goes by `pre` and by the model's name.
    fn takes_spaces_before(&self, token: &str) -> bool {
        match token {
            "<mask>" => self.pre.is_some_and(|pre| ["jina-v2-de", "jina-v2-es", "jina-v2-code"].contains(&pre)),
            "[MASK]" => self.name.contains("modern-bert"),
            _ => false,
        }
    }

    fn takes_spaces_after(&self, token: &str) -> bool {
        let phi3 = self.name.contains("phi-3") || self.name.contains("phi3");
        phi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(&token)
    }
}

fn types(metadata: &Metadata, n_tokens: usize) -> Checked<Vec<TokenType>> {
    const FIELD: &str = "tokenizer.ggml.token_type";
    match metadata.get(FIELD) {
        None => Ok(vec![TokenType::Normal; n_tokens]),
        Some(Value::Array(Array::I32(types))) => {
            check_length(FIELD, types.len(), n_tokens)?;
            types.iter().enumerate().map(|(id, number)| TokenType::of(id, *number)).collect()
        }
        Some(value) => Err(wrong_type(FIELD, "an array of i32", value)),
    }
}

fn scores(metadata: &Metadata, n_tokens: usize) -> Checked<Option<Cow<'_, [f32]>>> {
    const FIELD: &str = "tokenizer.ggml.scores";
    let scores = match metadata.get(FIELD) {
        None => return Ok(None),
        Some(Value::Array(Array::F32(scores))) => Cow::Borrowed(scores.as_slice()),
        Some(Value::Array(Array::I32(scores))) => scores.iter().map(|score| *score as f32).collect(),
        Some(value) => return Err(wrong_type(FIELD, "an array of f32 or i32", value)),
    };
    check_length(FIELD, scores.len(), n_tokens)?;
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(TokenizerError::NotAScore { id }),
        None => Ok(Some(scores)),
    }
}

fn check_length(field: &'static str, found: usize, tokens: usize) -> Checked<()> {
    if found == tokens { Ok(()) } else { Err(TokenizerError::LengthMismatch { field, found, tokens }) }
}

fn string<'a>(metadata: &'a Metadata, field: &str) -> Checked<Option<&'a str>> {
    match metadata.get(field) {
        None => Ok(None),
        Some(Value::String(value)) => Ok(Some(value)),
        Some(value) => Err(wrong_type(field, "a string", value)),
    }
}

fn strings<'a>(metadata: &'a Metadata, field: &str) -> Checked<Option<&'a [String]>> {
    match metadata.get(field) {
        None => Ok(None),
        Some(Value::Array(Array::String(values))) => Ok(Some(values)),
        Some(value) => Err(wrong_type(field, "an array of strings", value)),
    }
}

pub(super) fn missing(field: &str) -> TokenizerError {
    TokenizerError::Missing { field: field.to_owned() }
}

fn wrong_type(field: &str, expected: &'static str, found: &Value) -> TokenizerError {
    TokenizerError::WrongType { field: field.to_owned(), expected, found: found.described() }
}
