use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A byte-free BPE of six tokens, one of them added.
fn tokenizer() -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(5, "<s>")],
        "normalizer": null,
        "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": "?",
            "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3, "aba": 4},
            "merges": [["a", "b"], ["ab", "a"]],
        },
    })
}

fn added(id: u32, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true,
    })
}

/// The tokenizer with the value at a JSON pointer replaced.
fn with(pointer: &str, value: Value) -> Value {
    let mut file = tokenizer();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = file.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(name.to_owned(), value);
    file
}

fn read(file: &Value) -> Result<Tokenizer> {
    Tokenizer::from_bytes(file.to_string().as_bytes(), Path::new("m/tokenizer.json"))
}

#[test]
fn texts_are_encoded_and_decoded() {
    let tokenizer = read(&tokenizer()).unwrap();
    assert_eq!(tokenizer.vocab_size(), 6);
    assert_eq!(tokenizer.encode("ababb", false).unwrap(), [3, 3, 2]);
    assert_eq!(tokenizer.encode("ababb", true).unwrap(), [5, 3, 3, 2]);
    assert_eq!(tokenizer.encode("", true).unwrap(), [5]);
    assert_eq!(tokenizer.encode("", false).unwrap(), [0u32; 0]);
    assert_eq!(tokenizer.encode("a<s>b", false).unwrap(), [1, 5, 2]);
    assert_eq!(tokenizer.decode(&[5, 3, 3, 2]).unwrap(), b"<s>ababb");
    assert_eq!(tokenizer.decode(&[]).unwrap(), b"");
}

#[rstest]
#[case("/model/merges", json!(["a b", "ab a"]))] // the older form
#[case("/model/merges", json!(["#version: 0.2", "a b", "ab a"]))]
#[case("/model/dropout", json!(0.0))]
#[case("/truncation", json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}))]
#[case("/padding", json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "?"}))]
fn the_ids_are_those_of_the_text_alone(#[case] pointer: &str, #[case] value: Value) {
    assert_eq!(read(&with(pointer, value)).unwrap().encode("ababb", true).unwrap(), [5, 3, 3, 2]);
}

#[test]
fn a_file_that_does_not_state_the_type_of_its_model_is_read() {
    let mut file = tokenizer();
    file["model"].as_object_mut().unwrap().remove("type");
    assert_eq!(read(&file).unwrap().encode("ab", false).unwrap(), [3]);
}

#[rstest]
#[case(with("/model", json!(null)), "wrong-type", "`model` is null")]
#[case(json!({"version": "1.0"}), "missing", "`model` is missing")]
#[case(with("/model/type", json!("Magic")), "model-type", "`model.type` is `Magic`")]
#[case(with("/model/type", json!(1)), "wrong-type", "`model.type` is a number")]
#[case(with("/model/vocab", json!({})), "merge-outside-vocabulary", "`model.merges[0]`: `a` is not in the vocabulary")]
#[case(json!({"model": {"type": "BPE", "vocab": {}, "merges": []}}), "missing", "`model.vocab.*` is missing")]
#[case(with("/model/vocab/a", json!(-1)), "id-out-of-range", "token `a` has id -1")]
#[case(with("/model/vocab/a", json!(u32::MAX)), "id-out-of-range", "token `a` has id 4294967295, the ids are 0 to 16777215")]
#[case(with("/model/vocab/a", json!(1.0)), "id-out-of-range", "token `a` has id 1.0")]
#[case(with("/model/vocab/a", json!("1")), "wrong-type", "`model.vocab.a` is a string")]
#[case(with("/model/vocab/a", json!(2)), "duplicate-id", "tokens `a` and `b` both have id 2")]
#[case(with("/model/vocab/c", json!(5)), "duplicate-id", "tokens `<s>` and `c` both have id 5")]
#[case(with("/model/vocab/c", json!(7)), "id-gap", "no token has id 6, although the largest id is 7")]
#[case(with("/model/vocab", json!({"?": 1, "a": 2, "b": 3, "ab": 4, "aba": 6})), "id-gap", "no token has id 0")]
#[case(with("/model/merges", json!([["a", "b"], ["ab", "ab"]])), "merge-outside-vocabulary", "`model.merges[1]`: `abab` is not")]
#[case(with("/model/merges", json!([["a", "c"]])), "merge-outside-vocabulary", "`model.merges[0]`: `c` is not")]
#[case(with("/model/merges", json!(["a b a"])), "malformed-merge", "`model.merges[0]` is not a pair")]
#[case(with("/model/merges", json!(["ab"])), "malformed-merge", "`model.merges[0]` is not a pair")]
#[case(with("/model/merges", json!([["a"]])), "malformed-merge", "`model.merges[0]` is not a pair")]
#[case(with("/model/merges", json!([["a", 1]])), "malformed-merge", "`model.merges[0]` is not a pair")]
#[case(with("/model/continuing_subword_prefix", json!("##")), "malformed-merge", "`model.merges[0]` is not a pair")]
#[case(with("/model/continuing_subword_prefix", json!(1)), "wrong-type", "`model.continuing_subword_prefix` is a number")]
#[case(with("/model/dropout", json!(0.1)), "unsupported", "`model.dropout` is `0.1`: the ids would differ")]
#[case(with("/model/unk_token", json!("u".repeat(50 << 20))), "too-long", "`model.unk_token` has 52428800 bytes")]
#[case(with("/normalizer", json!({"type": "Prepend", "prepend": "x".repeat(20_000)})), "too-long", "`normalizer.prepend` has 20000 bytes")]
#[case(with("/added_tokens", json!([added(5, "")])), "empty-added-token", "`added_tokens[0].content` is empty")]
#[case(with("/added_tokens", json!([{"content": "x"}])), "missing", "`added_tokens[0].id` is missing")]
#[case(with("/added_tokens", json!({})), "wrong-type", "`added_tokens` is an object")]
#[case(with("/added_tokens", json!([added(5, "a")])), "two-ids", "token `a` has id 1 in the vocabulary and id 5 as an added token")]
#[case(with("/added_tokens", json!([added(5, "<s>"), added(5, "</s>")])), "duplicate-id", "tokens `</s>` and `<s>` both have id 5")]
#[case(with("/added_tokens", json!([added(6, "</s>"), added(5, "<s>")])), "renumbered", "added token `</s>` has id 6, the tokenizers library gives it 5")]
#[case(with("/post_processor/special_tokens", json!({"<s>": {"id": "<s>", "ids": [6], "tokens": ["<s>"]}})), "template-id", "`post_processor`: `<s>` stands for id 6, the ids are 0 to 5")]
#[case(with("/post_processor", json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 9], "trim_offsets": true, "add_prefix_space": false})), "template-id", "`post_processor`: `<s>` stands for id 9")]
#[case(with("/version", json!("2.0")), "reference", "the tokenizers library refuses it: Unknown tokenizer version")]
#[case(with("/pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false})), "reference", "the tokenizers library refuses it")]
fn a_malformed_file_is_refused(#[case] file: Value, #[case] reason: &str, #[case] message: &str) {
    let refusal = read(&file).unwrap_err();
    assert_eq!((refusal.kind(), refusal.reason()), ("tokenizer", reason), "{refusal}");
    let refusal = refusal.to_string();
    assert!(refusal.starts_with(&format!("m/tokenizer.json: {message}")), "{refusal}");
}

#[test]
fn a_token_that_is_there_twice_and_a_pit_of_sequences_are_refused() {
    let refusal = |text: &str| Tokenizer::from_bytes(text.as_bytes(), Path::new("t")).unwrap_err().to_string();
    assert_eq!(refusal(r#"{"model":{"vocab":{"a":0,"\u0061":1}}}"#), "t: `model.vocab.a` is there twice");
    let pit = r#"{"type":"Sequence","normalizers":["#.repeat(10_000);
    assert!(refusal(&format!(r#"{{"normalizer":{pit}"#)).contains("is nested more than 64 deep"));
}

/// A unigram's vocabulary is an array, and the index is the id.
#[test]
fn unigrams_are_read_and_checked() {
    let unigram = |vocab: Value| json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}});
    let tokenizer = read(&unigram(json!([["?", 0.0], ["a", -1.0], ["ab", -1.5]]))).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.encode("aba", false).unwrap()), (3, vec![2, 1]));
    assert_eq!(read(&unigram(json!([["?", 0.0], ["?", -1.0]]))).unwrap_err().reason(), "two-ids");
    assert_eq!(read(&unigram(json!([["?"]]))).unwrap_err().reason(), "wrong-type");
}

#[test]
fn an_id_that_is_no_token_is_not_decoded() {
    let refusal = read(&tokenizer()).unwrap().decode(&[1, 6]).unwrap_err().to_string();
    assert_eq!(refusal, "m/tokenizer.json: id 6 at position 1 is no token, the ids are 0 to 5");
}

#[test]
fn every_id_must_have_a_row_in_the_embedding() {
    let tokenizer = read(&tokenizer()).unwrap();
    assert!(tokenizer.check_fits(6).is_ok() && tokenizer.check_fits(64).is_ok());
    let refusal = tokenizer.check_fits(5).unwrap_err().to_string();
    assert_eq!(refusal, "m/tokenizer.json: token `<s>` has id 5, the model has 5 embedding rows");
}

#[test]
fn a_text_past_the_limit_is_refused() {
    let refusal = read(&tokenizer()).unwrap().encode(&"a".repeat(10 << 20), false).unwrap_err();
    assert_eq!(refusal.reason(), "text-too-long");
}

#[test]
fn a_word_that_the_model_cannot_take_is_an_error() {
    let mut file = with("/model/unk_token", json!("<unk>"));
    file["model"]["fuse_unk"] = json!(true);
    let refusal = read(&file).unwrap().encode("c", false).unwrap_err();
    assert_eq!(refusal.reason(), "encode", "{refusal}");
}

/// The longest text of one class of characters, through the splits that gpt2 and qwen2 use: no overflow of the stack, no quadratic
/// time (one second would be a thousand times what it takes), and no character lost.
#[rstest]
fn long_runs_are_encoded(#[values("a", " ", "\n", "!")] unit: &str) {
    const SPLITS: [&str; 2] = [
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ];
    for split in SPLITS {
        let file = json!({
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": false},
            "decoder": {"type": "Fuse"},
            "model": {
                "type": "BPE",
                "vocab": {"a": 0, " ": 1, "\n": 2, "1": 3, "!": 4, "é": 5, "aa": 6, "  ": 7},
                "merges": [["a", "a"], [" ", " "]],
            },
        });
        let tokenizer = read(&file).unwrap();
        let text = unit.repeat(MAX_TEXT_BYTES / unit.len());
        let ids = tokenizer.encode(&text, false).unwrap();
        assert!(tokenizer.decode(&ids).unwrap() == text.as_bytes(), "{unit:?}");
    }
}

/// Exponential backtracking is cut off by a limit of the regular expression's own, and what is left of the text is one piece.
#[test]
fn a_split_that_backtracks_for_ever_is_cut_off() {
    let split = json!({"type": "Split", "pattern": {"Regex": r"(?:(?!x)a+)+$"}, "behavior": "Isolated", "invert": false});
    let tokenizer = read(&with("/pre_tokenizer", split)).unwrap();
    let text = format!("{}b", "a".repeat(4_000));
    let ids = tokenizer.encode(&text, false).unwrap();
    assert!(tokenizer.decode(&ids).unwrap() == text.as_bytes());
}

#[test]
fn an_id_has_the_token_that_the_file_spells() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models/llama-tiny/tokenizer.json");
    let bytes = std::fs::read(&path).unwrap();
    let tokenizer = Tokenizer::from_bytes(&bytes, &path).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let vocabulary = file["model"]["vocab"].as_object().unwrap();
    assert!(vocabulary.len() > 300);
    for (token, id) in vocabulary {
        assert_eq!(tokenizer.token(id.as_u64().unwrap() as u32).as_ref(), Some(token));
    }
    assert_eq!(tokenizer.token(tokenizer.vocab_size() as u32), None);
}
