//! Small tokenizers, each with a rule of its own, against what `tokenizers` made of texts in Python: `golden/vectors/tokenizers.json`.
//!
//! The library is the same, so these hold our reading of the file, what we switch off in it and what we ask it for. What a GGUF file can say
//! is asked a second time of the tokenizer that is made of its keys.

use std::fs;
use std::path::{Path, PathBuf};

use ground_truth::format::gguf::Metadata;
use ground_truth::tokenizer::gguf::{export, tokenizer_json};
use ground_truth::{Config, Tokenizer};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden() -> Value {
    let bytes = fs::read(root().join("golden/vectors/tokenizers.json")).expect("the golden");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

fn file(name: &str) -> PathBuf {
    root().join("testdata/tokenizers").join(format!("{name}.json"))
}

/// What is wrong with a tokenizer, text by text.
fn complaints(tokenizer: &Tokenizer, cases: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in cases {
        let text = case["text"].as_str().expect("a text");
        for (field, add_special) in [("with", true), ("without", false)] {
            let (due, found) = (ids(&case[field]), tokenizer.encode(text, add_special).expect("ids"));
            if due != found {
                wrong.push(format!("{text:?} {field} special tokens: {due:?} is due, there is {found:?}"));
            }
        }
        let decoded = tokenizer.decode(&ids(&case["without"])).expect("bytes");
        let hex: String = decoded.iter().map(|byte| format!("{byte:02x}")).collect();
        if case["decoded"] != hex.as_str() {
            wrong.push(format!("{text:?} decodes to {hex}, {} is due", case["decoded"]));
        }
    }
    wrong
}

fn read(name: &str) -> (Vec<u8>, Tokenizer) {
    let bytes = fs::read(file(name)).expect("a tokenizer");
    let tokenizer = Tokenizer::from_bytes(&bytes, &file(name)).unwrap_or_else(|error| panic!("{error}"));
    (bytes, tokenizer)
}

#[test]
fn every_rule_gives_the_golden_ids_and_bytes() {
    let golden = golden();
    let tokenizers = golden["tokenizers"].as_array().expect("tokenizers");
    assert_eq!(tokenizers.len(), 9);
    for entry in tokenizers {
        let name = entry["name"].as_str().expect("a name");
        let (bytes, tokenizer) = read(name);
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(entry["sha256"], sha256.as_str(), "{name}: the file is not the one that the golden was written for");
        let cases = entry["cases"].as_array().expect("cases");
        assert!(cases.len() >= 50, "{name}");
        let wrong = complaints(&tokenizer, cases);
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}

/// The rules differ: a reader that took one file for another would be seen.
#[test]
fn every_rule_is_seen_in_some_text() {
    let golden = golden();
    let tokenizers = golden["tokenizers"].as_array().expect("tokenizers");
    for one in tokenizers {
        for other in tokenizers.iter().filter(|other| other["name"] != one["name"]) {
            assert_ne!(one["cases"], other["cases"], "{} and {}", one["name"], other["name"]);
        }
    }
}

#[test]
fn what_gguf_can_say_gives_the_same_ids_and_the_rest_is_refused_by_its_field() {
    let config = serde_json::json!({
        "model_type": "llama", "vocab_size": 512, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 8,
    });
    let config = Config::parse(config.as_object().expect("an object"), None, Path::new("config.json")).expect("a configuration");
    let mut said = Vec::new();
    for entry in golden()["tokenizers"].as_array().expect("tokenizers") {
        let name = entry["name"].as_str().expect("a name");
        let (bytes, tokenizer) = read(name);
        match export(&bytes, &file(name), tokenizer.vocab_size(), &config) {
            Ok(keys) => {
                let json = tokenizer_json(&Metadata::from(keys)).expect("a tokenizer");
                let rebuilt = Tokenizer::from_bytes(&json, &file(name)).expect("a tokenizer");
                let wrong = complaints(&rebuilt, entry["cases"].as_array().expect("cases"));
                assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
                said.push(name.to_owned());
            }
            Err(error) => said.push(format!("{name}: {error}").replace(&format!("{}: ", file(name).display()), "")),
        }
    }
    let due: Vec<&str> = SAID.to_vec();
    assert_eq!(said, due);
}

/// What becomes of each in a GGUF file.
const SAID: &[&str] = &[
    "spm-bos",
    "spm-bos-eos",
    "spm-nothing",
    "spm-unknown-fused: `model.byte_fallback` cannot be said in a GGUF file: characters that are no token become bytes there, and 256 of \
     `<0x00>` to `<0xFF>` are no token",
    "spm-unknown: `model.byte_fallback` cannot be said in a GGUF file: characters that are no token become bytes there, and 256 of `<0x00>` \
     to `<0xFF>` are no token",
    "byte-level",
    "byte-level-eos",
    "added-tokens: `added_tokens[2].lstrip` cannot be said in a GGUF file: it is true, only false is read there",
    "added-tokens-lowercase: `added_tokens[2].lstrip` cannot be said in a GGUF file: it is true, only false is read there",
];
