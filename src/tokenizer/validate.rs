//! What must hold of a `tokenizer.json` before the library sees it.
//!
//! | part | rule |
//! |---|---|
//! | `model.vocab`, `added_tokens` | whole, not negative ids; together they are 0..n without a gap, and no two tokens share one |
//! | `added_tokens` | each has text; one that is in the vocabulary has its id there |
//! | `model.merges` (BPE) | pairs whose halves and whole are in the vocabulary; with `continuing_subword_prefix` the right half begins with it |
//! | `model.dropout` | absent or 0: a tokenizer with dropout answers differently every time |
//! | `model.type` | BPE, Unigram, WordPiece, WordLevel; where old files leave it out, what the vocabulary looks like |
//! | `post_processor` | puts in only ids that a token has |
//! | every string | at most [`MAX_TOKEN_BYTES`], character maps at most [`MAX_CHARSMAP_BYTES`] |

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::error::TokenizerError;
use crate::format::json::kind;

pub(super) type Checked<T> = Result<T, TokenizerError>;

/// The longest token, pattern or other string. The longest published tokens are runs of a few hundred spaces.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The longest `precompiled_charsmap`. T5's, the usual one, has 316 KB.
const MAX_CHARSMAP_BYTES: usize = 4 << 20;

/// The largest id. The largest published vocabularies end at 262,144.
const MAX_ID: u32 = (1 << 24) - 1;

const MERGES: &str = "model.merges";

/// The ids of a tokenizer.
#[derive(Debug)]
pub(super) struct Ids {
    /// One past the largest.
    pub n_ids: u32,
    /// The added tokens.
    pub added: Vec<(String, u32)>,
}

/// Checks a whole file.
pub(super) fn validate(file: &Map<String, Value>) -> Checked<Ids> {
    for part in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        if let Some(value) = file.get(part) {
            check_strings(part, value)?;
        }
    }
    let model = object("model", file.get("model"))?;
    let vocab = vocabulary(model)?;
    check_model(model, &vocab)?;
    let added = added_tokens(file.get("added_tokens"))?;
    let n_ids = check_ids(&vocab, &added)?;
    check_template(file.get("post_processor"), n_ids)?;
    Ok(Ids { n_ids, added })
}

/// Token to id, from either form of vocabulary.
fn vocabulary(model: &Map<String, Value>) -> Checked<HashMap<&str, u32>> {
    let mut vocab = HashMap::new();
    match model.get("vocab") {
        Some(Value::Object(entries)) => {
            for (token, value) in entries {
                check_length("model.vocab", token, MAX_TOKEN_BYTES)?;
                vocab.insert(token.as_str(), id(token, value)?);
            }
        }
        // Unigram: the index is the id.
        Some(Value::Array(entries)) => {
            for (index, entry) in entries.iter().enumerate() {
                let Some([Value::String(token), Value::Number(_)]) = entry.as_array().map(Vec::as_slice) else {
                    let field = format!("model.vocab[{index}]");
                    return Err(TokenizerError::WrongType { field, expected: "a pair of token and score", found: kind(entry).to_owned() });
                };
                check_length("model.vocab", token, MAX_TOKEN_BYTES)?;
                let id = id(token, &index.into())?;
                if let Some(first) = vocab.insert(token.as_str(), id) {
                    return Err(TokenizerError::TwoIds { token: token.clone(), first, second: id });
                }
            }
        }
        other => return Err(wrong("model.vocab", other, "an object or an array")),
    }
    Ok(vocab)
}

fn id(token: &str, value: &Value) -> Checked<u32> {
    let Value::Number(number) = value else {
        return Err(wrong(&format!("model.vocab.{token}"), Some(value), "a whole number"));
    };
    number.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id <= MAX_ID).ok_or_else(|| TokenizerError::IdOutOfRange {
        token: token.to_owned(),
        id: number.to_string(),
        limit: MAX_ID,
    })
}

fn check_model(model: &Map<String, Value>, vocab: &HashMap<&str, u32>) -> Checked<()> {
    match model.get("type") {
        None => {}
        Some(Value::String(name)) if ["BPE", "Unigram", "WordPiece", "WordLevel"].contains(&name.as_str()) => {}
        Some(Value::String(name)) => return Err(TokenizerError::ModelType { found: name.clone() }),
        other => return Err(wrong("model.type", other, "a string")),
    }
    for (name, value) in model {
        if let Value::String(string) = value {
            check_length(&format!("model.{name}"), string, MAX_TOKEN_BYTES)?;
        }
    }
    match model.get("dropout") {
        None | Some(Value::Null) => {}
        Some(dropout) if dropout.as_f64() == Some(0.0) => {}
        Some(dropout) => {
            let why = "the ids would differ from one time to the next; only null and 0 are read";
            return Err(TokenizerError::Unsupported { field: "model.dropout", found: dropout.to_string(), why });
        }
    }
    let prefix = match model.get("continuing_subword_prefix") {
        None | Some(Value::Null) => "",
        Some(Value::String(prefix)) => prefix,
        other => return Err(wrong("model.continuing_subword_prefix", other, "a string")),
    };
    match model.get("merges") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(merges)) => check_merges(merges, prefix, vocab),
        other => Err(wrong("model.merges", other, "an array")),
    }
}

fn check_merges(merges: &[Value], prefix: &str, vocab: &HashMap<&str, u32>) -> Checked<()> {
    let mut whole = String::new();
    for (index, merge) in merges.iter().enumerate() {
        if merge.as_str().is_some_and(|merge| merge.starts_with("#version")) {
            continue; // the first line of merges.txt, which old files carry along
        }
        let (left, right) = pair(merge).ok_or(TokenizerError::MalformedMerge { list: MERGES, index })?;
        // The library cuts the prefix off without looking.
        let rest = right.strip_prefix(prefix).ok_or(TokenizerError::MalformedMerge { list: MERGES, index })?;
        whole.clear();
        whole.push_str(left);
        whole.push_str(rest);
        if let Some(token) = [left, right, &whole].into_iter().find(|token| !vocab.contains_key(token)) {
            return Err(TokenizerError::MergeOutsideVocabulary { list: MERGES, index, token: token.to_owned() });
        }
    }
    Ok(())
}

/// The halves of a merge, from either of its forms: `["a", "b"]`, or `"a b"`.
fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(merge) => merge.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(halves) => match halves.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

fn added_tokens(value: Option<&Value>) -> Checked<Vec<(String, u32)>> {
    let tokens = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(tokens)) => tokens,
        other => return Err(wrong("added_tokens", other, "an array")),
    };
    let read = tokens.iter().enumerate().map(|(index, token)| {
        let token = object(&format!("added_tokens[{index}]"), Some(token))?;
        let content = match token.get("content") {
            Some(Value::String(content)) if content.is_empty() => return Err(TokenizerError::EmptyAddedToken { index }),
            Some(Value::String(content)) => content,
            other => return Err(wrong(&format!("added_tokens[{index}].content"), other, "a string")),
        };
        check_length(&format!("added_tokens[{index}].content"), content, MAX_TOKEN_BYTES)?;
        match token.get("id") {
            None => Err(TokenizerError::Missing { field: format!("added_tokens[{index}].id") }),
            Some(value) => Ok((content.clone(), id(content, value)?)),
        }
    });
    read.collect()
}

/// Whether the ids are 0..n, each of one token. Gives n.
fn check_ids(vocab: &HashMap<&str, u32>, added: &[(String, u32)]) -> Checked<u32> {
    let mut by_id: Vec<(u32, &str)> = vocab.iter().map(|(token, id)| (*id, *token)).collect();
    for (token, id) in added {
        match vocab.get(token.as_str()) {
            Some(first) if first != id => {
                return Err(TokenizerError::TwoIds { token: token.clone(), first: *first, second: *id });
            }
            _ => by_id.push((*id, token)),
        }
    }
    by_id.sort_unstable();
    by_id.dedup();
    if let Some([(id, first), (_, second)]) = by_id.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(TokenizerError::DuplicateId { first: (*first).to_owned(), second: (*second).to_owned(), id: *id });
    }
    if let Some((missing, _)) = by_id.iter().enumerate().find(|(index, (id, _))| *id as usize != *index) {
        let largest = by_id.last().map_or(0, |(id, _)| *id);
        return Err(TokenizerError::IdGap { missing: missing as u32, largest });
    }
    match by_id.len() {
        0 => Err(TokenizerError::Missing { field: "model.vocab.*".to_owned() }),
        n => Ok(n as u32), // at most MAX_ID + 1
    }
}

/// Whether the ids that a post-processor puts around a text are ids: `special_tokens.*.ids` of a template, `cls` and `sep` of others.
fn check_template(processor: Option<&Value>, n_ids: u32) -> Checked<()> {
    let unknown = |token: &str, value: &Value| {
        let is_id = value.as_u64().is_some_and(|id| id < u64::from(n_ids));
        if is_id { Ok(()) } else { Err(TokenizerError::TemplateId { token: token.to_owned(), id: value.to_string(), n_ids }) }
    };
    let Some(Value::Object(processor)) = processor else { return Ok(()) };
    if let Some(Value::Array(parts)) = processor.get("processors") {
        parts.iter().try_for_each(|part| check_template(Some(part), n_ids))?;
    }
    if let Some(Value::Object(tokens)) = processor.get("special_tokens") {
        for (token, entry) in tokens {
            if let Some(Value::Array(ids)) = entry.get("ids") {
                ids.iter().try_for_each(|id| unknown(token, id))?;
            }
        }
    }
    for name in ["cls", "sep"] {
        if let Some([Value::String(token), id]) = processor.get(name).and_then(Value::as_array).map(Vec::as_slice) {
            unknown(token, id)?;
        }
    }
    Ok(())
}

/// Whether every string within a part of the file is of a length that such strings have.
fn check_strings(path: &str, value: &Value) -> Checked<()> {
    match value {
        Value::String(string) if path.ends_with("precompiled_charsmap") => check_length(path, string, MAX_CHARSMAP_BYTES),
        Value::String(string) => check_length(path, string, MAX_TOKEN_BYTES),
        Value::Array(values) => values.iter().try_for_each(|value| check_strings(path, value)),
        Value::Object(map) => map.iter().try_for_each(|(name, value)| check_strings(&format!("{path}.{name}"), value)),
        _ => Ok(()),
    }
}

fn check_length(field: &str, string: &str, limit: usize) -> Checked<()> {
    if string.len() <= limit {
        return Ok(());
    }
    Err(TokenizerError::TooLong { field: field.to_owned(), bytes: string.len(), limit })
}

fn object<'a>(field: &str, value: Option<&'a Value>) -> Checked<&'a Map<String, Value>> {
    match value {
        Some(Value::Object(map)) => Ok(map),
        other => Err(wrong(field, other, "an object")),
    }
}

fn wrong(field: &str, value: Option<&Value>, expected: &'static str) -> TokenizerError {
    let field = field.to_owned();
    match value {
        None => TokenizerError::Missing { field },
        Some(value) => TokenizerError::WrongType { field, expected, found: kind(value).to_owned() },
    }
}
