//! What of a `tokenizer.json` a GGUF file has no words for, and what it says of special ids.

use super::*;

type Valid = fn(&[(String, String)]) -> Json;
type Change = (&'static str, fn() -> Json, &'static str);

#[rustfmt::skip] // one row a line
const NOT_SAID: &[(Valid, Change)] = &[
    (sentence_piece, ("/normalizer", || json!({"type": "NFKC"}), "`normalizer` cannot be said in a GGUF file: it is `{\"type\":\"NFKC\"}`")),
    (sentence_piece, ("/pre_tokenizer", || json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}), "`pre_tokenizer` cannot be said")),
    (sentence_piece, ("/decoder/decoders/3", || json!({"type": "Fuse"}), "`decoder` cannot be said")),
    (sentence_piece, ("/model/byte_fallback", || json!(false), "`model.byte_fallback` cannot be said")),
    (sentence_piece, ("/model/ignore_merges", || json!(true), "`model.ignore_merges` cannot be said in a GGUF file: it is `true`")),
    (sentence_piece, ("/model/merges", || json!([]), "`model.vocab.ab` cannot be said in a GGUF file: no merge makes it, but a score would")),
    (sentence_piece, ("/post_processor/single", || json!([{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]), "`post_processor.single` cannot be said")),
    (sentence_piece, ("/added_tokens/1/rstrip", || json!(true), "`added_tokens[1].rstrip` cannot be said")),
    (sentence_piece, ("/added_tokens/1/lstrip", || json!(true), "`added_tokens[1].lstrip` cannot be said")),
    (sentence_piece, ("/added_tokens/1/single_word", || json!(true), "`added_tokens[1].single_word` cannot be said")),
    (sentence_piece, ("/added_tokens/1/normalized", || json!(true), "`added_tokens[1].normalized` cannot be said")),
    (sentence_piece, ("/added_tokens/2", || json!({"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}), "`model.vocab.</s>` cannot be said in a GGUF file: readers take it for a control token")),
    (byte_level, ("/normalizer", || json!({"type": "NFC"}), "`normalizer` cannot be said in a GGUF file: it is NFC, and `gpt-2`")),
    (byte_level, ("/normalizer", || json!({"type": "NFKC"}), "`normalizer` cannot be said in a GGUF file: it is `{\"type\":\"NFKC\"}`")),
    (byte_level, ("/pre_tokenizer/add_prefix_space", || json!(true), "`pre_tokenizer` cannot be said")),
    (byte_level, ("/decoder", || json!({"type": "Fuse"}), "`decoder` cannot be said")),
    (byte_level, ("/model/ignore_merges", || json!(true), "`model.ignore_merges` cannot be said in a GGUF file: it is true, and `gpt-2`")),
    (byte_level, ("/model/byte_fallback", || json!(true), "`model.byte_fallback` cannot be said")),
    (byte_level, ("/model/unk_token", || json!("<unk>"), "`model.unk_token` cannot be said")),
    (byte_level, ("/post_processor", || json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": true, "add_prefix_space": true}), "`post_processor` cannot be said in a GGUF file: it is `{\"type\":\"RobertaProcessing\"")),
    (byte_level, ("/post_processor/single", || json!([{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]), "`post_processor.single` cannot be said")),
    (byte_level, ("/post_processor/single", || json!([{"SpecialToken": {"id": "<s>", "type_id": 0}}]), "`post_processor.single` cannot be said")),
];

/// What the configuration and the post-processor say of BOS and EOS has to agree, and to be sayable.
#[test]
fn special_ids_are_those_of_the_configuration_and_of_the_post_processor() {
    let file = byte_level(&[]);
    let rows = rows(&file);
    let keys = |file: &Json, bos: Option<u32>, eos: &[u32]| {
        let config = Config { bos, eos: eos.to_vec(), ..config(rows) };
        export(file.to_string().as_bytes(), Path::new("tokenizer.json"), rows, &config)
    };
    let ids = |keys: Vec<(String, Value)>| -> Vec<String> {
        let keys = keys.into_iter().filter(|(key, _)| key.ends_with("_token_id") || key.contains(".add_"));
        keys.map(|(key, value)| format!("{} {value}", key.trim_start_matches("tokenizer.ggml."))).collect()
    };
    let due = [
        "bos_token_id 1",
        "eos_token_id 2",
        "eot_token_id 3",
        "eom_token_id 0",
        "add_space_prefix false",
        "add_bos_token true",
        "add_eos_token false",
    ];
    let mut found = ids(keys(&file, Some(1), &[2, 3, 0, 2]).unwrap());
    found.sort();
    let mut due = due.map(str::to_owned).to_vec();
    due.sort();
    assert_eq!(found, due);
    let reason = |result: crate::Result<Vec<(String, Value)>>| result.unwrap_err().to_string();
    let bos = reason(keys(&file, Some(0), &[2]));
    assert!(bos.contains("it puts id 1 before a text, and the configuration's BOS is 0"), "{bos}");
    let many = reason(keys(&file, None, &[0, 2, 3, 4]));
    assert!(many.contains("`eos_token_id` cannot be said") && many.contains("it is 4 ids"), "{many}");
    let far = reason(keys(&file, None, &[rows as u32]));
    assert!(far.contains("eos_token_id") && far.contains(&rows.to_string()), "{far}");
    let mut after = file.clone();
    after["post_processor"]["single"] = json!([{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 0}}]);
    let other = reason(keys(&after, None, &[2]));
    assert!(other.contains("it puts id 1 after a text, and the configuration has another EOS"), "{other}");
    let alone = ids(keys(&after, None, &[]).unwrap());
    assert!(alone.contains(&"eos_token_id 1".to_owned()) && alone.contains(&"add_eos_token true".to_owned()), "{alone:?}");
    assert!(!alone.iter().any(|key| key.starts_with("bos_token_id")), "{alone:?}");
}

/// A token that is no byte, a merge with a space in it, a text of merges instead of pairs, as old files have them.
#[test]
fn tokens_are_bytes_and_merges_are_pairs() {
    let merges = [("a".to_owned(), "b".to_owned())];
    let mut file = byte_level(&merges);
    let rows = rows(&file);
    let plain = round_trip(&file, rows).unwrap();
    file["model"]["merges"] = json!(["#version: 0.2", "a b"]);
    let spelled = round_trip(&file, rows).unwrap();
    for text in ["ab", "aabb", "ba ab"] {
        assert_eq!(spelled.encode(text, true).unwrap(), plain.encode(text, true).unwrap(), "{text}");
    }
    let mut foreign = byte_level(&merges);
    let id = foreign["model"]["vocab"].as_object_mut().unwrap().remove("c").unwrap();
    foreign["model"]["vocab"]["日"] = id;
    let refusal = round_trip(&foreign, rows).unwrap_err().to_string();
    assert!(refusal.contains("`model.vocab.日` cannot be said in a GGUF file: U+65E5 stands for no byte"), "{refusal}");
}

#[test]
fn what_gguf_cannot_say_is_refused_by_field_name() {
    for (valid, (pointer, value, message)) in NOT_SAID {
        let mut file = valid(&[("a".to_owned(), "b".to_owned())]);
        let rows = rows(&file);
        round_trip(&file, rows).unwrap_or_else(|error| panic!("{error}: {file}"));
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match file.pointer_mut(parent).unwrap() {
            Json::Array(list) => list[name.parse::<usize>().unwrap()] = value(),
            object => object[name] = value(),
        }
        let refusal = round_trip(&file, rows).unwrap_err();
        assert_eq!((refusal.kind(), refusal.reason()), ("tokenizer", "not-in-gguf"), "{refusal}");
        assert!(refusal.to_string().starts_with(&format!("tokenizer.json: {message}")), "{refusal}");
    }
}
