mod written;

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use rstest::rstest;
use serde_json::{Value as Json, json};

use super::*;
use crate::format::gguf::{Array, Value};
use crate::{Config, Tokenizer};

/// Keys of a GGUF file, without `tokenizer.ggml.`.
#[derive(Clone)]
struct Keys(Vec<(String, Value)>);

impl Keys {
    fn new(model: &str, pre: &str, tokens: &[&str]) -> Self {
        let mut keys = Keys(Vec::new());
        keys.set("model", text(model));
        keys.set("pre", text(pre));
        keys.set("tokens", strings(tokens));
        keys
    }

    fn set(&mut self, name: &str, value: Value) -> &mut Self {
        self.remove(name);
        self.0.push((full(name), value));
        self
    }

    fn remove(&mut self, name: &str) -> &mut Self {
        self.0.retain(|(key, _)| *key != full(name));
        self
    }

    fn rebuild(&self) -> Result<Tokenizer, TokenizerError> {
        let json = tokenizer_json(&Metadata::from(self.0.clone()))?;
        Ok(Tokenizer::from_bytes(&json, Path::new("m.gguf")).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&json))))
    }
}

fn full(name: &str) -> String {
    if name.contains("general.") { name.to_owned() } else { format!("tokenizer.ggml.{name}") }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn strings(values: &[&str]) -> Value {
    Value::Array(Array::String(values.iter().map(|value| (*value).to_owned()).collect()))
}

fn types(values: &[i32]) -> Value {
    Value::Array(Array::I32(values.to_vec()))
}

fn scores(values: &[f32]) -> Value {
    Value::Array(Array::F32(values.to_vec()))
}

/// A vocabulary of the model `llama` with unknown, BOS, EOS, and a few words.
fn llama() -> Keys {
    let tokens = ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a", "▁ab", "<sep>", "unused"];
    let mut keys = Keys::new("llama", "default", &tokens);
    keys.set("scores", scores(&[0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -3.0, -2.0, -1.0, 0.0, 0.0]));
    keys.set("token_type", types(&[2, 3, 3, 1, 1, 1, 1, 1, 1, 4, 5]));
    keys.set("bos_token_id", Value::U32(1)).set("eos_token_id", Value::U32(2)).set("unknown_token_id", Value::U32(0));
    keys
}

/// A byte-level vocabulary of a few letters.
fn gpt2() -> Keys {
    let mut keys = Keys::new("gpt2", "gpt-2", &["a", "b", "Ġ", "ab", "Ġab", "<|e|>", "<x>"]);
    keys.set("merges", strings(&["a b", "Ġ ab"])).set("token_type", types(&[1, 1, 1, 1, 1, 3, 4]));
    keys.set("bos_token_id", Value::U32(5)).set("eos_token_id", Value::U32(5));
    keys
}

fn bert() -> Keys {
    let mut keys = Keys::new("bert", "bert-bge", &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁play", "ing", "▁.", "▁e"]);
    keys.set("token_type", types(&[3, 3, 3, 3, 1, 1, 1, 1]));
    keys.set("unknown_token_id", Value::U32(1)).set("cls_token_id", Value::U32(2)).set("seperator_token_id", Value::U32(3));
    keys
}

#[test]
fn every_pre_that_is_listed_is_known() {
    for pre in gpt2::PRES {
        assert!(gpt2::Pre::named(pre).is_some(), "{pre}");
    }
    assert!(gpt2::Pre::named("default").is_none());
}

#[test]
fn scores_order_the_merges() {
    let tokenizer = llama().rebuild().unwrap();
    // ▁ab is best, but a and b are put together only after ▁ and a are: -2 beats -3.
    assert_eq!(tokenizer.encode("ab", false).unwrap(), [8]);
    assert_eq!(tokenizer.encode("ab", true).unwrap(), [1, 8]);
    assert_eq!(tokenizer.encode("ab ab", false).unwrap(), [8, 8]);
    assert_eq!(tokenizer.decode(&[1, 8, 8]).unwrap(), b"<s> ab ab");
    let mut keys = llama();
    keys.set("scores", scores(&[0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -1.0, -2.0, -3.0, 0.0, 0.0]));
    keys.set("tokens", strings(&["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a", "▁abb", "<sep>", "unused"]));
    assert_eq!(keys.rebuild().unwrap().encode("ab", false).unwrap(), [3, 6]);
}

#[test]
fn a_space_goes_before_each_piece_of_text() {
    let mut keys = llama();
    let tokenizer = keys.rebuild().unwrap();
    assert!(tokenizer.encode("", false).unwrap().is_empty());
    assert_eq!(tokenizer.encode(" a", false).unwrap(), [3, 7]);
    assert_eq!(tokenizer.encode("a<sep>b<s>a", false).unwrap(), [7, 9, 3, 5, 1, 7]);
    keys.set("add_space_prefix", Value::Bool(false)).set("add_bos_token", Value::Bool(false)).set("add_eos_token", Value::Bool(true));
    let tokenizer = keys.rebuild().unwrap();
    assert_eq!(tokenizer.encode("ab<sep> a", true).unwrap(), [6, 9, 7, 2]);
    assert_eq!(tokenizer.decode(&[7]).unwrap(), b" a");
}

/// Without an unknown token each byte must have one; how many lack one is said.
#[test]
fn bytes_that_nothing_stands_for_are_counted() {
    let refusal = |bytes: usize| {
        let bytes: Vec<String> = (0..=u8::MAX).take(bytes).map(llama::byte_token).collect();
        let tokens: Vec<&str> = ["▁", "a", "<s>"].into_iter().chain(bytes.iter().map(String::as_str)).collect();
        let mut keys = Keys::new("llama", "default", &tokens);
        keys.set("scores", scores(&vec![0.0; tokens.len()])).set("bos_token_id", Value::U32(2));
        keys.set("token_type", types(&[vec![1, 1, 3], vec![6; bytes.len()]].concat()));
        keys.rebuild().err()
    };
    assert_eq!(refusal(256), None);
    for (bytes, missing) in [(255, 1), (250, 6), (0, 256)] {
        assert!(
            matches!(refusal(bytes), Some(TokenizerError::NoFallback { missing: found }) if found == missing),
            "{bytes}: {:?}",
            refusal(bytes)
        );
    }
}

#[test]
fn characters_without_a_token_become_bytes_or_unknown() {
    assert_eq!(llama().rebuild().unwrap().encode("é", false).unwrap(), [3, 0]);
    let bytes: Vec<String> = (0..=u8::MAX).map(llama::byte_token).collect();
    let tokens: Vec<&str> = ["▁", "a", "<s>"].into_iter().chain(bytes.iter().map(String::as_str)).collect();
    let mut keys = Keys::new("llama", "default", &tokens);
    keys.remove("pre").set("scores", scores(&vec![0.0; 259])).set("bos_token_id", Value::U32(2));
    keys.set("token_type", types(&[vec![1, 1, 3], vec![6; 256]].concat()));
    let tokenizer = keys.rebuild().unwrap();
    assert_eq!(tokenizer.encode("é\n", false).unwrap(), [0, 3 + 0xc3, 3 + 0xa9, 3 + 0x0a]);
    assert_eq!(tokenizer.decode(&[0, 3 + 0xc3, 3 + 0xa9]).unwrap(), "é".as_bytes());
}

#[test]
fn byte_level_vocabularies_keep_their_merges_and_special_tokens() {
    let mut keys = gpt2();
    let tokenizer = keys.rebuild().unwrap();
    assert_eq!(tokenizer.encode("ab ab<x>a<|e|>", true).unwrap(), [3, 4, 6, 0, 5]);
    // The merge that is there twice counts the first time.
    keys.set("merges", strings(&["a b", "Ġ a", "Ġ ab", "a b"])).set("tokens", strings(&["a", "b", "Ġ", "ab", "Ġab", "<|e|>", "Ġa"]));
    keys.set("token_type", types(&[1, 1, 1, 1, 1, 3, 1])).set("add_bos_token", Value::Bool(true)).set("add_eos_token", Value::Bool(true));
    assert_eq!(keys.rebuild().unwrap().encode(" ab", true).unwrap(), [5, 4, 5]);
    // What llama.cpp makes a control token for its name.
    keys.set("tokens", strings(&["a", "b", "Ġ", "ab", "Ġab", "<|e|>", "</s>"])).set("merges", strings(&[]));
    assert_eq!(keys.rebuild().unwrap().encode("a</s>", false).unwrap(), [0, 6]);
}

#[test]
fn a_word_that_is_a_token_ignores_merges_in_llama_bpe_alone() {
    let mut keys = gpt2();
    keys.set("merges", strings(&[]));
    assert_eq!(keys.rebuild().unwrap().encode("ab", false).unwrap(), [0, 1]);
    for pre in ["llama-bpe", "llama3", "llama-v3"] {
        keys.set("pre", text(pre));
        assert_eq!(keys.rebuild().unwrap().encode("ab", true).unwrap(), [5, 3]);
    }
}

#[test]
fn pieces_of_words_are_marked_as_bert_marks_them() {
    let mut keys = bert();
    let tokenizer = keys.rebuild().unwrap();
    assert_eq!(tokenizer.encode("Playing, é.", true).unwrap(), [2, 4, 5, 1, 7, 6, 3]);
    assert_eq!(tokenizer.decode(&[4, 5, 6]).unwrap(), b"playing.");
    keys.set("normalizer.lowercase", Value::Bool(false));
    assert_eq!(keys.rebuild().unwrap().encode("Play play", false).unwrap(), [1, 4]);
    keys.set("tokens", strings(&["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁##ing", "ing", "▁.", "▁e"]));
    assert_eq!(keys.rebuild().unwrap_err().reason(), "duplicate-token");
}

#[test]
fn phi3_takes_the_spaces_after_its_special_tokens() {
    let mut keys = llama();
    assert_eq!(keys.rebuild().unwrap().encode("<sep> a", false).unwrap(), [9, 3, 7]);
    keys.set("general.name", text("Phi-3 mini"));
    let tokenizer = keys.rebuild().unwrap();
    assert_eq!(tokenizer.encode("<sep> \n a</s> a<s> a", false).unwrap(), [9, 7, 2, 7, 1, 3, 7]);
}

type Row = (fn() -> Keys, fn(&mut Keys) -> &mut Keys, &'static str, &'static str);

#[rustfmt::skip] // one row a line
const REFUSED: &[Row] = &[
    (llama, |k| k.remove("model"), "missing", "`tokenizer.ggml.model` is missing"),
    (llama, |k| k.set("model", Value::U32(3)), "wrong-type", "`tokenizer.ggml.model` is u32 3, a string is due"),
    (llama, |k| k.remove("tokens"), "missing", "`tokenizer.ggml.tokens` is missing"),
    (llama, |k| k.remove("scores"), "missing", "`tokenizer.ggml.scores` is missing"),
    (llama, |k| k.set("scores", Value::Array(Array::I8(vec![0; 11]))), "wrong-type", "`tokenizer.ggml.scores` is an array of 11 i8, an array of f32 or i32 is due"),
    (llama, |k| k.set("scores", scores(&[0.0; 10])), "length-mismatch", "`tokenizer.ggml.scores` has 10 entries, `tokenizer.ggml.tokens` has 11"),
    (llama, |k| k.set("scores", scores(&[f32::NAN; 11])), "not-a-score", "`tokenizer.ggml.scores[0]` is not a number"),
    (llama, |k| k.set("token_type", types(&[1; 12])), "length-mismatch", "`tokenizer.ggml.token_type` has 12 entries, `tokenizer.ggml.tokens` has 11"),
    (llama, |k| k.set("token_type", types(&[2, 3, 3, 1, 1, 1, 1, 1, 1, 4, -1])), "token-type", "`tokenizer.ggml.token_type[10]` is -1, the types are 0 to 6"),
    (llama, |k| k.set("token_type", types(&[2, 3, 3, 1, 1, 1, 1, 1, 1, 4, 6])), "not-a-byte", "`tokenizer.ggml.tokens[10]` is typed as a byte and is `unused`"),
    (llama, |k| k.set("pre", text("llama-bpe")), "unknown-pair", "`tokenizer.ggml.model` is `llama` and `tokenizer.ggml.pre` is `llama-bpe`; known are llama with default, gpt2 with gpt-2"),
    (llama, |k| k.set("model", text("t5")), "unknown-pair", "`tokenizer.ggml.model` is `t5` and `tokenizer.ggml.pre` is `default`"),
    (gpt2, |k| k.remove("pre"), "unknown-pair", "`tokenizer.ggml.model` is `gpt2` and `tokenizer.ggml.pre` is missing"),
    (gpt2, |k| k.set("pre", text("default")), "unknown-pair", "`tokenizer.ggml.model` is `gpt2` and `tokenizer.ggml.pre` is `default`"),
    (gpt2, |k| k.set("pre", text("\u{1b}[2J")), "unknown-pair", r"`tokenizer.ggml.model` is `gpt2` and `tokenizer.ggml.pre` is `\u{1b}[2J`"),
    (gpt2, |k| k.remove("merges"), "missing", "`tokenizer.ggml.merges` is missing"),
    (gpt2, |k| k.set("merges", strings(&["a b", "b b"])), "merge-outside-vocabulary", "`tokenizer.ggml.merges[1]`: `bb` is not in the vocabulary"),
    (gpt2, |k| k.set("merges", strings(&["ab"])), "malformed-merge", "`tokenizer.ggml.merges[0]` is not a pair of tokens"),
    (gpt2, |k| k.set("merges", strings(&[" "])), "malformed-merge", "`tokenizer.ggml.merges[0]` is not a pair of tokens"),
    (gpt2, |k| k.set("merges", strings(&["é b"])), "merge-outside-vocabulary", "`tokenizer.ggml.merges[0]`: `é` is not in the vocabulary"),
    (gpt2, |k| k.set("tokens", strings(&["a", "b", "Ġ", "ab", "Ġab", "<|e|>", "b"])), "duplicate-token", "`tokenizer.ggml.tokens`: ids 1 and 6 are both `b`"),
    (gpt2, |k| k.set("tokens", strings(&["a", "", "Ġ", "ab", "Ġab", "<|e|>", "[EMPTY_1]"])), "duplicate-token", "`tokenizer.ggml.tokens`: ids 6 and 1 are both `[EMPTY_1]`"),
    (gpt2, |k| k.set("tokens", strings(&["a", "b", "Ġ", "ab", "日", "<|e|>", "<x>"])), "not-byte-level", "`tokenizer.ggml.tokens[4]` is `日`: U+65E5 stands for no byte"),
    (gpt2, |k| k.set("eos_token_id", Value::U32(7)), "special-id", "`tokenizer.ggml.eos_token_id` is 7, the ids are 0 to 6"),
    (gpt2, |k| k.set("fim_pad_token_id", Value::I32(-1)), "special-id", "`tokenizer.ggml.fim_pad_token_id` is -1, the ids are 0 to 6"),
    (gpt2, |k| k.set("bos_token_id", text("a")), "wrong-type", "`tokenizer.ggml.bos_token_id` is str `a`, a token id is due"),
    (gpt2, |k| k.remove("bos_token_id").set("add_bos_token", Value::Bool(true)), "missing", "`tokenizer.ggml.bos_token_id` is missing"),
    (gpt2, |k| k.set("add_bos_token", Value::U8(1)), "wrong-type", "`tokenizer.ggml.add_bos_token` is u8 1, true or false (bool) is due"),
    (bert, |k| k.remove("unknown_token_id"), "missing", "`tokenizer.ggml.unknown_token_id` is missing"),
    (bert, |k| k.remove("cls_token_id"), "missing", "`tokenizer.ggml.cls_token_id` is missing"),
    (bert, |k| k.remove("seperator_token_id"), "missing", "`tokenizer.ggml.seperator_token_id` is missing"),
    (bert, |k| k.set("pre", text("gpt-2")), "unknown-pair", "`tokenizer.ggml.model` is `bert` and `tokenizer.ggml.pre` is `gpt-2`"),
];

#[test]
fn malformed_keys_are_refused() {
    for (valid, spoil, reason, message) in REFUSED {
        let mut keys = valid();
        assert!(keys.rebuild().is_ok());
        let refusal = spoil(&mut keys).rebuild().unwrap_err();
        assert_eq!(refusal.reason(), *reason, "{refusal}");
        assert!(refusal.to_string().starts_with(message), "{refusal}");
    }
}

#[rstest]
#[case("<0x-1>")]
#[case("<0x1>")]
#[case("<0x0a>")]
#[case("<0x+1>")]
#[case("<0x100>")]
#[case("<0xé>")]
fn a_byte_is_two_digits(#[case] token: &str) {
    let mut keys = llama();
    keys.set("tokens", strings(&["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a", "▁ab", "<sep>", token]));
    keys.set("token_type", types(&[2, 3, 3, 1, 1, 1, 1, 1, 1, 4, 6]));
    assert_eq!(keys.rebuild().unwrap_err().reason(), "not-a-byte");
}

#[test]
fn tokens_of_ever_more_characters_are_refused_before_they_are_cut() {
    let tokens: Vec<String> = (1..2_000).map(|n| "a".repeat(n)).chain(["<unk>".to_owned()]).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let mut keys = Keys::new("llama", "default", &tokens);
    keys.set("scores", scores(&vec![0.0; tokens.len()])).set("unknown_token_id", Value::U32(1_999)).set("bos_token_id", Value::U32(0));
    assert_eq!(keys.rebuild().unwrap_err().reason(), "too-many-splits");
}

/// SentencePiece's rule as it is stated: of all neighbours that are a token together, the best score, the leftmost of equal ones.
fn by_scores<'a>(tokens: &[(&str, f32)], text: &'a str) -> Vec<&'a str> {
    let mut pieces: Vec<&str> = text.char_indices().map(|(at, character)| &text[at..at + character.len_utf8()]).collect();
    loop {
        let mut best: Option<(f32, usize)> = None;
        let mut start = 0;
        let mut place = 0;
        for at in 0..pieces.len().saturating_sub(1) {
            let both = &text[start..start + pieces[at].len() + pieces[at + 1].len()];
            if let Some((_, score)) = tokens.iter().find(|(token, _)| *token == both)
                && best.is_none_or(|(best, _)| *score > best)
            {
                best = Some((*score, at));
                place = start;
            }
            start += pieces[at].len();
        }
        let Some((_, at)) = best else { return pieces };
        let length = pieces[at].len() + pieces.remove(at + 1).len();
        pieces[at] = &text[place..place + length];
    }
}

/// Up to forty words over four letters, each with a score of its own, and texts of the same letters.
fn vocabulary() -> impl Strategy<Value = (Vec<String>, Vec<f32>, Vec<String>)> {
    let word = prop::collection::vec(select(vec!['a', 'b', 'c', '▁']), 2..6).prop_map(String::from_iter);
    let words = prop::collection::hash_set(word, 1..40).prop_map(Vec::from_iter);
    let text = prop::collection::vec(select(vec!['a', 'b', 'c', ' ']), 1..24).prop_map(String::from_iter);
    (words, prop::collection::vec(text, 1..8)).prop_flat_map(|(words, texts)| {
        let order: Vec<usize> = (0..words.len()).collect();
        (Just(words), Just(order).prop_shuffle(), Just(texts))
            .prop_map(|(words, order, texts)| (words, order.into_iter().map(|rank| -(rank as f32)).collect(), texts))
    })
}

/// A configuration of so many rows.
fn config(rows: usize) -> Config {
    let fields = json!({
        "model_type": "llama", "vocab_size": rows, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1
    });
    Config { bos: None, eos: Vec::new(), ..Config::parse(fields.as_object().unwrap(), None, Path::new("config.json")).unwrap() }
}

/// A tokenizer as SentencePiece models are converted, with some letters and the tokens that the merges make.
fn sentence_piece(merges: &[(String, String)]) -> Json {
    let bytes = (0..=u8::MAX).map(llama::byte_token);
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).into_iter().chain(bytes).collect();
    tokens.extend(["▁", "a", "b", "c"].map(str::to_owned));
    for (left, right) in merges {
        let whole = [left.as_str(), right].concat();
        if !tokens.contains(&whole) {
            tokens.push(whole);
        }
    }
    let vocab: serde_json::Map<String, Json> = tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let added = |id: u32, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let escape = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    json!({
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, escape]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "post_processor": {
            "type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": merges},
    })
}

/// A byte-level tokenizer of the same letters.
fn byte_level(merges: &[(String, String)]) -> Json {
    let spelled = |text: &str| text.replace('▁', "Ġ");
    let merges: Vec<(String, String)> = merges.iter().map(|(left, right)| (spelled(left), spelled(right))).collect();
    let mut file = sentence_piece(&merges);
    let vocab = file["model"]["vocab"].as_object().unwrap();
    let vocab: serde_json::Map<String, Json> = vocab.iter().map(|(token, id)| (spelled(token), id.clone())).collect();
    file["model"]["vocab"] = Json::Object(vocab);
    file["model"]["unk_token"] = Json::Null;
    file["model"]["byte_fallback"] = json!(false);
    file["normalizer"] = Json::Null;
    file["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    file["decoder"] = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    file
}

/// What is read from the keys that are written for a tokenizer.
fn round_trip(file: &Json, rows: usize) -> crate::Result<Tokenizer> {
    let path = Path::new("tokenizer.json");
    let keys = export(file.to_string().as_bytes(), path, rows, &config(rows))?;
    Tokenizer::from_bytes(&tokenizer_json(&Metadata::from(keys)).unwrap(), path)
}

fn rows(file: &Json) -> usize {
    file["model"]["vocab"].as_object().unwrap().len()
}

/// Merges as training finds them: the pair that is there most often, again and again; of equals the first in the order of letters.
fn train(texts: &[String], n: usize) -> Vec<(String, String)> {
    // The letters that are tokens.
    let letters = |text: &String| format!("▁{text}").replace(' ', "▁").chars().filter(|letter| *letter != 'é').map(String::from).collect();
    let mut words: Vec<Vec<String>> = texts.iter().map(letters).collect();
    let mut merges = Vec::new();
    for _ in 0..n {
        let mut counts = std::collections::BTreeMap::new();
        for pair in words.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((pair[0].clone(), pair[1].clone())).or_insert(0) += 1;
        }
        let Some((pair, _)) = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0))) else { break };
        for word in &mut words {
            let mut at = 0;
            while at + 1 < word.len() {
                if (&word[at], &word[at + 1]) == (&pair.0, &pair.1) {
                    let right = word.remove(at + 1);
                    word[at].push_str(&right);
                }
                at += 1;
            }
        }
        merges.push(pair);
    }
    merges
}

/// Merges of pieces that are there already, in any order.
fn any_merges() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..10).prop_map(|picks| {
        let mut pieces: Vec<String> = ["▁", "a", "b", "c"].map(str::to_owned).to_vec();
        let mut merges = Vec::new();
        for (left, right) in picks {
            let pair = (left.get(&pieces).clone(), right.get(&pieces).clone());
            if !merges.contains(&pair) {
                pieces.push([pair.0.as_str(), &pair.1].concat());
                merges.push(pair);
            }
        }
        merges
    })
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let text = prop::collection::vec(select(vec!['a', 'b', 'c', ' ', 'é']), 1..24).prop_map(String::from_iter);
    prop::collection::vec(text, 2..12)
}

#[test]
fn merges_that_training_finds_can_be_said_in_scores() {
    let merges = train(&["abcab cab".to_owned(), "aab caba bca".to_owned(), "cccc cc".to_owned()], 12);
    let file = sentence_piece(&merges);
    let read = Tokenizer::from_bytes(file.to_string().as_bytes(), Path::new("t")).unwrap();
    let rebuilt = round_trip(&file, rows(&file) + 3).unwrap();
    assert_eq!(rebuilt.vocab_size(), rows(&file) + 3);
    for text in ["abcab cab", "caabcc<s>ab é", "", " ", "ccccccccc"] {
        assert_eq!(rebuilt.encode(text, true).unwrap(), read.encode(text, true).unwrap(), "{text}");
    }
}

#[test]
fn merges_that_one_score_cannot_say_are_refused() {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(l, r)| ((*l).to_owned(), (*r).to_owned())).collect::<Vec<_>>();
    let refusal = |merges: &[(&str, &str)]| {
        let file = sentence_piece(&pairs(merges));
        round_trip(&file, rows(&file)).unwrap_err().to_string()
    };
    // ab is made first, c stays; a score would join them.
    let left = refusal(&[("a", "b"), ("b", "c"), ("a", "bc")]);
    assert!(left.contains("`model.vocab.abc`") && left.contains("leave it as `ab` and `c`"), "{left}");
    // Two ways to abc, and something else between them.
    let between = refusal(&[("a", "b"), ("b", "c"), ("a", "bc"), ("c", "c"), ("ab", "c")]);
    assert!(between.contains("`model.merges`") && between.contains("merges 2 to 4 make `abc`"), "{between}");
    // Runs, as llama has them for spaces: all ways at one score, in the order of equal scores.
    let runs = [("aaa", "a"), ("aa", "aa"), ("aa", "a"), ("a", "aaa"), ("a", "aa"), ("a", "a")];
    let mut file = sentence_piece(&pairs(&[("a", "a"), ("aa", "a"), ("aa", "aa")]));
    file["model"]["merges"] = json!(runs);
    let rows = rows(&file);
    let read = Tokenizer::from_bytes(file.to_string().as_bytes(), Path::new("t")).unwrap();
    match round_trip(&file, rows) {
        Ok(rebuilt) => (1..30).for_each(|n| {
            let text = "a".repeat(n);
            assert_eq!(rebuilt.encode(&text, false).unwrap(), read.encode(&text, false).unwrap(), "{n}");
        }),
        Err(error) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_byte_level_merges_come_back(merges in any_merges(), texts in texts()) {
        let file = byte_level(&merges);
        let read = Tokenizer::from_bytes(file.to_string().as_bytes(), Path::new("t")).unwrap();
        let rebuilt = round_trip(&file, rows(&file)).unwrap();
        for text in texts {
            let ids = read.encode(&text, true).unwrap();
            prop_assert_eq!(&rebuilt.encode(&text, true).unwrap(), &ids, "{:?}", text);
            prop_assert_eq!(rebuilt.decode(&ids).unwrap(), read.decode(&ids).unwrap());
        }
    }

    #[test]
    fn scores_say_what_merges_say_or_are_refused(merges in any_merges(), trained in any::<bool>(), texts in texts()) {
        let merges = if trained { train(&texts, 12) } else { merges };
        let file = sentence_piece(&merges);
        let read = Tokenizer::from_bytes(file.to_string().as_bytes(), Path::new("t")).unwrap();
        let rebuilt = match round_trip(&file, rows(&file)) {
            Ok(rebuilt) => rebuilt,
            Err(error) => {
                prop_assert_eq!(error.reason(), "not-in-gguf");
                return Ok(());
            }
        };
        for text in texts {
            let ids = read.encode(&text, true).unwrap();
            prop_assert_eq!(&rebuilt.encode(&text, true).unwrap(), &ids, "{:?} with {:?}", text, merges);
            prop_assert_eq!(rebuilt.decode(&ids).unwrap(), read.decode(&ids).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merges_give_what_scores_give((words, order, texts) in vocabulary()) {
        let letters = ["<unk>", "<s>", "a", "b", "c", "▁"];
        let tokens: Vec<&str> = letters.into_iter().chain(words.iter().map(String::as_str)).collect();
        let all: Vec<f32> = [0.0, 0.0, -50.0, -51.0, -52.0, -53.0].into_iter().chain(order).collect();
        let mut keys = Keys::new("llama", "default", &tokens);
        keys.set("scores", scores(&all)).set("bos_token_id", Value::U32(1)).set("unknown_token_id", Value::U32(0));
        let tokenizer = keys.rebuild().unwrap();
        let scored: Vec<(&str, f32)> = tokens.iter().copied().zip(all).collect();
        for text in texts {
            let expected = by_scores(&scored, &format!("▁{}", text.replace(' ', "▁"))).into_iter().map(|piece| {
                tokens.iter().position(|token| *token == piece).expect("every letter is a token") as u32
            }).collect::<Vec<_>>();
            prop_assert_eq!(tokenizer.encode(&text, false).unwrap(), expected, "{:?}", text);
        }
    }
}
