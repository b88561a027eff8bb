//! The keys of a GGUF file for a `tokenizer.json`.
//!
//! Which pair of `model` and `pre` it is follows from what the file holds, never from a name:
//!
//! | pre_tokenizer | normalizer | `model`, `pre` |
//! |---|---|---|
//! | ByteLevel with its pattern | none | `gpt2`, `gpt-2` |
//! | Digits one by one, ByteLevel with its pattern | none | `gpt2`, `smollm` |
//! | Split by the pattern of llama-bpe, ByteLevel; `ignore_merges` | none | `gpt2`, `llama-bpe` |
//! | Split by the pattern of qwen2, ByteLevel | NFC | `gpt2`, `qwen2` |
//! | the same | none | `gpt2`, `deepseek-r1-qwen` |
//! | as [`tokenizer_json`](super::tokenizer_json) writes them | none | `gpt2`, `falcon` or `deepseek-coder` |
//! | none | Prepend and Replace, or Replace | `llama`, `default` |
//!
//! | token | type |
//! |---|---|
//! | `<0x00>` to `<0xFF>` (`llama`) | byte |
//! | `unk_token` (`llama`) | unknown |
//! | an added token | control if special, else user-defined |
//! | the rows of the embedding that no token has, `[PAD<id>]` | unused |
//! | any other | normal |
//!
//! A score is minus the rank of the first merge that makes the token. That a score for each token says the same as the merges is checked,
//! not hoped for: see [`sentence_piece`].

mod byte_level;
mod parts;
mod sentence_piece;

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value as Json};

use self::parts::Around;
use super::super::Tokenizer;
use super::super::validate::Checked;
use super::vocabulary::{CONTROL_BY_NAME, TokenType};
use crate::error::{InFile, Result, TokenizerError};
use crate::format::gguf::{Array, Value};
use crate::format::json;
use crate::{Config, Escaped};

/// `tokenizer.ggml.*` for the bytes of a `tokenizer.json` (`file` is named in messages), for an embedding of `vocab_size` rows.
///
/// The ids of BOS and EOS are those that the tokenizer puts around a text, else those of the configuration; a second and a third EOS
/// are written as `eot_token_id` and `eom_token_id`, at which llama.cpp stops as well.
///
/// # Errors
///
/// As [`Tokenizer::from_bytes`], and [`Error::Tokenizer`](crate::Error::Tokenizer) naming the field that a GGUF file has no words for.
pub fn export(tokenizer_json: &[u8], file: &Path, vocab_size: usize, config: &Config) -> Result<Vec<(String, Value)>> {
    Tokenizer::from_bytes(tokenizer_json, file)?.check_fits(vocab_size)?;
    let fields = json::parse_object(tokenizer_json).in_file(file)?;
    keys(&fields, vocab_size, config).in_file(file)
}

fn keys(fields: &Map<String, Json>, vocab_size: usize, config: &Config) -> Checked<Vec<(String, Value)>> {
    let source = Source::read(fields, vocab_size)?;
    let mut keys = Keys(Vec::new());
    if parts::is_byte_level(fields) {
        byte_level::write(&source, &mut keys)?;
    } else {
        sentence_piece::write(&source, &mut keys)?;
    }
    write_special(&parts::around(fields)?, source.padding()?, config, source.tokens.len(), &mut keys)?;
    Ok(keys.0)
}

/// The keys, without `tokenizer.ggml.`, in the order of writing.
struct Keys(Vec<(String, Value)>);

impl Keys {
    fn put(&mut self, name: &str, value: Value) {
        self.0.push((format!("tokenizer.ggml.{name}"), value));
    }

    fn put_text(&mut self, name: &str, value: &str) {
        self.put(name, Value::String(value.to_owned()));
    }

    fn put_types(&mut self, types: &[TokenType]) {
        self.put("token_type", Value::Array(Array::I32(types.iter().map(|kind| *kind as i32).collect())));
    }
}

/// A `tokenizer.json` whose model is a BPE, as lists by id.
struct Source<'a> {
    fields: &'a Map<String, Json>,
    model: &'a Map<String, Json>,
    /// As many as the embedding has rows.
    tokens: Vec<String>,
    ids: HashMap<&'a str, u32>,
    /// Added tokens and rows without a token have theirs; all others are normal.
    types: Vec<TokenType>,
    merges: Vec<(&'a str, &'a str)>,
}

impl<'a> Source<'a> {
    /// Reads what was validated.
    fn read(fields: &'a Map<String, Json>, vocab_size: usize) -> Checked<Self> {
        let none = Map::new();
        let model = fields.get("model").and_then(Json::as_object);
        // Old files leave the type out.
        let is_bpe = |model: &&Map<String, Json>| model.get("type").map_or(model.contains_key("merges"), |name| name == "BPE");
        let Some(model) = model.filter(is_bpe) else {
            let found = model.unwrap_or(&none).get("type").unwrap_or(&Json::Null);
            return Err(cannot("model.type", format!("it is {}, BPE is due", shown(found))));
        };
        let mut source = Source {
            fields,
            model,
            tokens: (0..vocab_size).map(|id| format!("[PAD{id}]")).collect(),
            ids: HashMap::new(),
            types: vec![TokenType::Unused; vocab_size],
            merges: Vec::new(),
        };
        for (token, id) in model.get("vocab").and_then(Json::as_object).into_iter().flatten() {
            source.name(token, id, TokenType::Normal);
        }
        for (index, token) in fields.get("added_tokens").and_then(Json::as_array).into_iter().flatten().enumerate() {
            check_added(index, token, fields.get("normalizer"))?;
            let kind = if token["special"] == true { TokenType::Control } else { TokenType::UserDefined };
            if let Some(content) = token["content"].as_str() {
                source.name(content, &token["id"], kind);
            }
        }
        source.merges = parts::merges(model);
        source.check_names()?;
        Ok(source)
    }

    /// Gives an id its token. The ids were validated against the rows. A token that is named as a row without one is none.
    fn name(&mut self, token: &'a str, id: &Json, kind: TokenType) {
        let id = id.as_u64().map_or(usize::MAX, |id| id as usize);
        if let Some(name) = self.tokens.get_mut(id) {
            self.types[id] = if kind == TokenType::Normal && name == token { TokenType::Unused } else { kind };
            token.clone_into(name);
            self.ids.insert(token, id as u32);
        }
    }

    /// A name for a row without a token must not be a token's, and no normal token may have the name of one that llama.cpp takes for a
    /// control token.
    fn check_names(&self) -> Checked<()> {
        for (id, token) in self.tokens.iter().enumerate() {
            let why = match self.types[id] {
                TokenType::Unused if self.ids.get(token.as_str()).is_some_and(|other| *other as usize != id) => {
                    format!("it is the name of row {id}, which has no token")
                }
                TokenType::Normal if CONTROL_BY_NAME.contains(&token.as_str()) => {
                    "readers take it for a control token, and it is not an added one".to_owned()
                }
                _ => continue,
            };
            return Err(cannot(&format!("model.vocab.{token}"), why));
        }
        Ok(())
    }

    /// A flag of the model that must be off.
    fn check_off(&self, field: &str) -> Checked<()> {
        match self.model.get(field) {
            None | Some(Json::Null | Json::Bool(false)) => Ok(()),
            Some(Json::String(value)) if value.is_empty() => Ok(()),
            Some(value) => Err(cannot(&format!("model.{field}"), format!("it is {}, only none is read there", shown(value)))),
        }
    }

    /// The id that texts are padded with, where the file says.
    fn padding(&self) -> Checked<Option<u64>> {
        Ok(self.fields.get("padding").and_then(|padding| padding.get("pad_id")).and_then(Json::as_u64))
    }

    fn unknown(&self) -> Option<u32> {
        text(self.model, "unk_token").and_then(|token| self.ids.get(token)).copied()
    }
}

fn check_added(index: usize, token: &Json, normalizer: Option<&Json>) -> Checked<()> {
    for field in ["single_word", "lstrip", "rstrip"] {
        if token[field] == true {
            return Err(cannot(&format!("added_tokens[{index}].{field}"), "it is true, only false is read there".to_owned()));
        }
    }
    if token["normalized"] == true && !parts::is_none(normalizer) {
        let why = "it is true, and readers look for the token before they normalize".to_owned();
        return Err(cannot(&format!("added_tokens[{index}].normalized"), why));
    }
    Ok(())
}

/// BOS, EOS and the padding.
fn write_special(around: &Around, padding: Option<u64>, config: &Config, n_ids: usize, keys: &mut Keys) -> Checked<()> {
    if let (Some(before), Some(bos)) = (around.before, config.bos)
        && before != bos
    {
        return Err(cannot("post_processor", format!("it puts id {before} before a text, and the configuration's BOS is {bos}")));
    }
    let mut ends: Vec<u32> = Vec::new();
    for end in around.after.iter().chain(&config.eos) {
        if !ends.contains(end) {
            ends.push(*end);
        }
    }
    if let Some(after) = around.after.filter(|after| !config.eos.is_empty() && !config.eos.contains(after)) {
        return Err(cannot("post_processor", format!("it puts id {after} after a text, and the configuration has another EOS")));
    }
    if ends.len() > 3 {
        return Err(cannot(
            "eos_token_id",
            format!("it is {} ids (config.json or generation_config.json), there are three keys", ends.len()),
        ));
    }
    let mut put = |name: &str, id: Option<u64>| match id {
        None => Ok(()),
        Some(id) if id < n_ids as u64 => {
            keys.put(&format!("{name}_token_id"), Value::U32(id as u32));
            Ok(())
        }
        Some(id) => Err(TokenizerError::SpecialId { field: format!("{name}_token_id"), found: id.to_string(), n_ids }),
    };
    put("bos", around.before.or(config.bos).map(u64::from))?;
    for (name, id) in ["eos", "eot", "eom"].into_iter().zip(ends) {
        put(name, Some(u64::from(id)))?;
    }
    put("padding", padding)?;
    keys.put("add_bos_token", Value::Bool(around.before.is_some()));
    keys.put("add_eos_token", Value::Bool(around.after.is_some()));
    Ok(())
}

fn text<'a>(object: &'a Map<String, Json>, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Json::as_str)
}

fn cannot(field: &str, why: String) -> TokenizerError {
    TokenizerError::NotInGguf { field: field.to_owned(), why }
}

/// A value for a message: its beginning, escaped.
fn shown(value: &Json) -> String {
    const LONGEST: usize = 200;
    let whole = value.to_string();
    match whole.char_indices().nth(LONGEST) {
        None => format!("`{}`", Escaped(&whole)),
        Some((end, _)) => format!("`{}`...", Escaped(&whole[..end])),
    }
}
