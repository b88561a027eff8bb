//! The parts of a `tokenizer.json` that are written. The lists are long, so they go to bytes without a tree of values between.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// A whole file.
#[derive(Debug, Serialize)]
pub(super) struct File<'a> {
    version: &'static str,
    truncation: Option<()>,
    padding: Option<()>,
    pub added_tokens: Vec<AddedToken<'a>>,
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub post_processor: Value,
    pub decoder: Value,
    pub model: Model<'a>,
}

impl<'a> File<'a> {
    pub fn new(added_tokens: Vec<AddedToken<'a>>, model: Model<'a>) -> Self {
        let [normalizer, pre_tokenizer, post_processor, decoder] = [const { Value::Null }; 4];
        File { version: "1.0", truncation: None, padding: None, added_tokens, normalizer, pre_tokenizer, post_processor, decoder, model }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("keys are strings, and nothing else fails in memory")
    }
}

/// A token that is looked for in a text before anything else.
#[derive(Debug, Serialize)]
pub(super) struct AddedToken<'a> {
    pub id: u32,
    pub content: &'a str,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    pub normalized: bool,
    pub special: bool,
}

/// What turns words into ids.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(super) enum Model<'a> {
    #[serde(rename = "BPE")]
    Bpe {
        dropout: Option<()>,
        unk_token: Option<&'a str>,
        continuing_subword_prefix: Option<()>,
        end_of_word_suffix: Option<()>,
        fuse_unk: bool,
        byte_fallback: bool,
        ignore_merges: bool,
        vocab: Vocab<'a>,
        merges: Vec<(&'a str, &'a str)>,
    },
    WordPiece {
        unk_token: &'a str,
        continuing_subword_prefix: &'static str,
        max_input_chars_per_word: usize,
        vocab: Vocab<'a>,
    },
}

/// Token to id.
#[derive(Debug)]
pub(super) struct Vocab<'a>(pub Vec<&'a str>);

impl Serialize for Vocab<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().enumerate().map(|(id, token)| (token, id)))
    }
}

/// A post-processor that puts tokens around a text; nothing where there are none.
pub(super) fn template(before: Option<(u32, &str)>, after: Option<(u32, &str)>) -> Value {
    if before.is_none() && after.is_none() {
        return Value::Null;
    }
    let special =
        |token: Option<(u32, &str)>, type_id: u32| token.map(|(_, text)| json!({"SpecialToken": {"id": text, "type_id": type_id}}));
    let around = |sequence: &str, type_id: u32| {
        let sequence = json!({"Sequence": {"id": sequence, "type_id": type_id}});
        [special(before, type_id), Some(sequence), special(after, type_id)].into_iter().flatten().collect::<Vec<_>>()
    };
    let single = around("A", 0);
    let pair = [single.clone(), around("B", 1)].concat();
    let tokens = before.into_iter().chain(after);
    let special_tokens: serde_json::Map<String, Value> =
        tokens.map(|(id, text)| (text.to_owned(), json!({"id": text, "ids": [id], "tokens": [text]}))).collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special_tokens})
}
