//! Each rule of the protocol, and an answer that breaks it.

use serde_json::json;

use super::answer::{Ids, Loaded};
use super::array::{Array, Statistic};
use super::*;

fn read_ids(line: &str) -> Result<Vec<u32>, Failure> {
    read::<Ids>(line.as_bytes(), 7, Op::Tokenize).map(|answer| answer.ids)
}

/// The message of an answer that breaks the protocol.
fn broken(line: &str) -> String {
    match read_ids(line) {
        Err(Failure::Protocol { message }) => message,
        other => panic!("{line} is {other:?}"),
    }
}

#[test]
fn an_answer_repeats_its_id_and_may_say_more() {
    assert_eq!(read_ids(r#"{"id":7,"ids":[1,4294967295],"seconds":0.5}"#), Ok(vec![1, u32::MAX]));
}

#[test]
fn every_way_to_break_the_protocol_is_told_apart() {
    for (line, told) in [
        (r#"{"id":6,"ids":[1]}"#, "an answer to request 6 where request 7 was to be answered"),
        (r#"{"ids":[1]}"#, "an answer without the `id` 7"),
        (r#"{"id":"7","ids":[1]}"#, "lacks something"),
        (r#"{"id":7,"op":"tokenize","text":"a","ids":[1]}"#, "a request came back"),
        (r#"{"id":7}"#, "missing field `ids`"),
        (r#"{"id":7,"ids":[-1]}"#, "invalid value: integer `-1`"),
        (r#"{"id":7,"ids":[4294967296]}"#, "invalid value: integer `4294967296`"),
        (r#"{"id":7,"ids":[1.5]}"#, "invalid type: floating point `1.5`"),
        (r#"{"id":7,"ids":null}"#, "invalid type: null"),
        (r#"{"id":7,"ids":[1],"ids":[2]}"#, "duplicate field `ids`"),
        (r#"{"id":7,"ids":[1]"#, "not JSON"),
        (r#"{"id":7,"ids":[NaN]}"#, "not JSON"),
        ("", "not JSON"),
        ("loading model...", "not JSON"),
        (r#"[7,[1]]"#, "lacks something"),
        (r#"{"id":7,"error":{"kind":"","message":"m"}}"#, "without a plain kind and a message"),
        (r#"{"id":7,"error":{"kind":"a b","message":"m"}}"#, "without a plain kind and a message"),
        (r#"{"id":7,"error":{"kind":"a","message":" "}}"#, "without a plain kind and a message"),
        (r#"{"id":7,"error":"no"}"#, "lacks something"),
    ] {
        let message = broken(line);
        assert!(message.contains(told), "{line}: {message}");
    }
}

#[test]
fn a_refusal_is_typed() {
    let refused = Failure::Refused { kind: "request".into(), message: "no ids".into() };
    assert_eq!(read_ids(r#"{"id":7,"error":{"kind":"request","message":"no ids"}}"#), Err(refused));
    let unsupported = read_ids(r#"{"id":7,"error":{"kind":"unsupported","message":"tokenize"}}"#);
    assert_eq!(unsupported, Err(Failure::Unsupported { op: Op::Tokenize }));
    // An error to another request is no answer to this one.
    assert!(broken(r#"{"id":6,"error":{"kind":"request","message":"no ids"}}"#).contains("request 6"));
}

#[test]
fn nothing_of_a_line_reaches_a_terminal_and_little_of_a_long_one_is_shown() {
    let message = broken("\u{1b}[2Jgarbage\u{202e}");
    assert!(message.contains("\\u{1b}[2Jgarbage\\u{202e}"), "{message}");
    assert!(broken(&"x".repeat(1 << 20)).len() < 500);
    let latin1 = read::<Ids>(b"{\"id\":7,\"ids\":[1],\"note\":\"\xe9\"}", 7, Op::Tokenize);
    assert!(matches!(latin1, Err(Failure::Protocol { .. })), "{latin1:?}");
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let line = format!("{{\"id\":7,\"ids\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(broken(&line).contains("invalid type: sequence"));
}

#[test]
fn floats_keep_every_bit() {
    let values = vec![0.0, -0.0, 1.5e-45, f32::MAX, f32::INFINITY, f32::from_bits(0xffc0_1234)];
    let text = serde_json::to_string(&Array { shape: vec![2, 3], values: values.clone() }).unwrap();
    let back: Array = serde_json::from_str(&text).unwrap();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!((back.shape, bits(&back.values)), (vec![2, 3], bits(&values)));
    assert_eq!(serde_json::from_str::<Array>(r#"{"shape":[1],"f32":"AACAPw=="}"#).unwrap().values, [1.0]);
    for wrong in [r#""AACAP!==""#, r#""AAA=""#, "[1.0]", "null"] {
        assert!(serde_json::from_str::<Array>(&format!(r#"{{"shape":[1],"f32":{wrong}}}"#)).is_err(), "{wrong}");
    }
}

#[test]
fn a_statistic_is_a_number_or_one_of_three_words() {
    for (value, text) in [(0.1, "0.1"), (f64::INFINITY, "\"Infinity\""), (f64::NEG_INFINITY, "\"-Infinity\"")] {
        assert_eq!(serde_json::to_string(&Statistic(value)).unwrap(), text);
        assert_eq!(serde_json::from_str::<Statistic>(text).unwrap(), Statistic(value));
    }
    assert!(serde_json::from_str::<Statistic>("\"NaN\"").unwrap().0.is_nan());
    for wrong in ["null", "\"nan\"", "true", "[1]"] {
        assert!(serde_json::from_str::<Statistic>(wrong).is_err(), "{wrong}");
    }
}

/// The lines of `docs/adapter.md`, to the letter.
#[test]
fn requests_are_written_as_the_documentation_has_them() {
    let cases = [
        (Request::Hello { protocol: VERSION }, json!({"id":1,"op":"hello","protocol":1})),
        (Request::Load { path: "/abs/path".into(), threads: 1 }, json!({"id":1,"op":"load","path":"/abs/path","threads":1})),
        (Request::Tokenize { text: "Once".into(), add_special: true }, json!({"id":1,"op":"tokenize","text":"Once","add_special":true})),
        (
            Request::Logits { ids: vec![1, 448], positions: Positions::All, chunks: None },
            json!({"id":1,"op":"logits","ids":[1,448],"positions":"all"}),
        ),
        (
            Request::Logits { ids: vec![1, 448, 449], positions: Positions::Last, chunks: Some(vec![2, 1]) },
            json!({"id":1,"op":"logits","ids":[1,448,449],"positions":"last","chunks":[2,1]}),
        ),
        (
            Request::LogitsBatch { batch: vec![vec![1, 2], vec![3]], positions: Positions::All },
            json!({"id":1,"op":"logits_batch","batch":[[1,2],[3]],"positions":"all"}),
        ),
        (Request::Tensors, json!({"id":1,"op":"tensors"})),
        (Request::Container, json!({"id":1,"op":"container"})),
    ];
    for (request, due) in cases {
        let line = request.line(1).unwrap();
        assert_eq!(line.last(), Some(&b'\n'));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), due);
        assert_eq!(Request::read(&line), (Some(1), Ok(request)));
    }
}

#[test]
fn a_request_with_more_or_less_than_its_fields_is_refused() {
    for (line, told) in [
        (r#"{"id":1,"op":"sketch","ids":[1],"decode":false,"x":1}"#, "unknown field `x`"),
        (r#"{"id":1,"op":"logits","ids":[1]}"#, "missing field `positions`"),
        (r#"{"id":1,"op":"sing"}"#, "unknown variant `sing`"),
        (r#"{"id":1}"#, "missing field `op`"),
        (r#"{"op":"tensors"}"#, "`id` is not there"),
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
    ] {
        let (_, request) = Request::read(line.as_bytes());
        let message = request.unwrap_err();
        assert!(message.contains(told), "{line}: {message}");
    }
}

#[test]
fn a_conversation_keeps_the_order_of_its_keys() {
    let chat = Chat {
        template: None,
        messages: r#"[{"role":"user","content":"a\nb"}]"#.into(),
        tools: Some(r#"[{"z":1,"a":{"y":2,"b":3}}]"#.into()),
        variables: r#"{"bos_token":"<s>"}"#.into(),
        add_generation_prompt: true,
        now: None,
    };
    let line = String::from_utf8(Request::chat(&chat).unwrap().line(3).unwrap()).unwrap();
    assert!(line.contains(r#""tools":[{"z":1,"a":{"y":2,"b":3}}]"#), "{line}");
    assert!(line.contains(r#""messages":[{"role":"user","content":"a\nb"}]"#) && !line.contains("template"), "{line}");
    assert!(Request::chat(&Chat { messages: "{".into(), ..chat }).is_err());
}

#[test]
fn metadata_may_be_partial_but_not_of_another_type() {
    let loaded: Loaded = read(br#"{"id":7,"ok":true,"metadata":{"n_layers":2,"bos":null}}"#, 7, Op::Metadata).unwrap();
    assert_eq!(loaded.metadata.map(|metadata| (metadata.n_layers, metadata.bos, metadata.n_heads)), Some((Some(2), None, None)));
    assert!(read::<Loaded>(br#"{"id":7,"ok":true,"metadata":{"n_layers":"2"}}"#, 7, Op::Metadata).is_err());
}

#[test]
fn a_kind_is_a_plain_word_of_64_bytes_at_most() {
    let of = |kind: &str| read_ids(&format!(r#"{{"id":7,"error":{{"kind":"{kind}","message":"why"}}}}"#));
    let longest = "k".repeat(MAX_KIND);
    assert_eq!(of(&longest), Err(Failure::Refused { kind: longest.clone(), message: "why".into() }));
    for kind in [format!("{longest}k"), String::new(), "two words".to_owned()] {
        assert!(matches!(of(&kind), Err(Failure::Protocol { .. })), "{kind}");
    }
}
