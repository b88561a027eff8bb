//! F-H2, F-T2 and F-T3: a configuration that is not right is refused, with file, field and value.

use std::collections::BTreeSet;
use std::path::Path;

use ground_truth::error::{ConfigError, Error};
use ground_truth::{Architecture, Checkpoint, Config};
use rstest::rstest;
use serde_json::{Map, Value, json};

/// A JSON type, and the words that a field of it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Type {
    /// A whole number over 0.
    Count,
    /// A whole number, 0 included.
    Layers,
    /// A number over 0, or from 0 to 1.
    Number,
    Flag,
    Word,
    Words,
    /// As many as a head has pairs: no value of the table is a list of four numbers.
    Factors,
    Id,
    Ids,
    Object,
}

const ROTARY: &[(&str, Type)] = &[
    ("hidden_size", Type::Count),
    ("intermediate_size", Type::Count),
    ("num_hidden_layers", Type::Count),
    ("num_attention_heads", Type::Count),
    ("num_key_value_heads", Type::Count),
    ("head_dim", Type::Count),
    ("hidden_act", Type::Word),
    ("max_position_embeddings", Type::Count),
    ("original_max_position_embeddings", Type::Number),
    ("rms_norm_eps", Type::Number),
    ("rope_theta", Type::Number),
    ("rope_scaling", Type::Object),
    ("rope_parameters", Type::Object),
];
const LLAMA: &[(&str, Type)] = &[("attention_bias", Type::Flag), ("mlp_bias", Type::Flag), ("rope_freq_factors", Type::Factors)];
const QWEN2: &[(&str, Type)] = &[
    ("use_sliding_window", Type::Flag),
    ("sliding_window", Type::Count),
    ("max_window_layers", Type::Layers),
    ("layer_types", Type::Words),
];
const GPT2: &[(&str, Type)] = &[
    ("n_embd", Type::Count),
    ("hidden_size", Type::Count),
    ("n_layer", Type::Count),
    ("num_hidden_layers", Type::Count),
    ("n_head", Type::Count),
    ("num_attention_heads", Type::Count),
    ("n_positions", Type::Count),
    ("max_position_embeddings", Type::Count),
    ("n_inner", Type::Count),
    ("activation_function", Type::Word),
    ("layer_norm_epsilon", Type::Number),
    ("scale_attn_weights", Type::Flag),
    ("scale_attn_by_inverse_layer_idx", Type::Flag),
];
const COMMON: &[(&str, Type)] = &[
    ("model_type", Type::Word),
    ("architectures", Type::Words),
    ("vocab_size", Type::Count),
    ("tie_word_embeddings", Type::Flag),
    ("bos_token_id", Type::Id),
    ("eos_token_id", Type::Ids),
];

fn fields(architecture: Architecture) -> Vec<(&'static str, Type)> {
    let own: &[&[(&str, Type)]] = match architecture {
        Architecture::Llama => &[ROTARY, LLAMA],
        Architecture::Qwen2 => &[ROTARY, QWEN2],
        Architecture::Gpt2 => &[GPT2],
    };
    own.iter().copied().chain([COMMON]).flatten().copied().collect()
}

/// The smallest configuration: what it leaves out has a default. llama3 scaling makes every rope field count.
fn minimal(architecture: Architecture) -> Map<String, Value> {
    let config = match architecture {
        Architecture::Gpt2 => json!({"model_type": "gpt2", "vocab_size": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}),
        _ => json!({
            "model_type": architecture.name(), "vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "rope_scaling": {
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            },
        }),
    };
    config.as_object().expect("an object").clone()
}

fn refusal(config: &Map<String, Value>) -> Option<String> {
    Config::parse(config, None, Path::new("some/model/config.json")).err().map(|error| error.to_string())
}

/// One value of every JSON type but null, and every type that takes it.
fn values() -> Vec<(Value, &'static [Type])> {
    vec![
        (json!(true), &[Type::Flag]),
        (json!(8), &[Type::Count, Type::Layers, Type::Number, Type::Id, Type::Ids]),
        (json!(0), &[Type::Layers, Type::Id, Type::Ids]),
        (json!(-8), &[]),
        (json!(0.5), &[Type::Number]),
        (json!(8.0), &[Type::Number]),
        (json!(-0.5), &[]),
        (json!(u64::MAX), &[Type::Number]),
        (json!("8"), &[Type::Word]),
        (json!([8]), &[Type::Ids]),
        (json!(["8"]), &[Type::Words]),
        (json!({"a": 8}), &[Type::Object]),
    ]
}

#[test]
fn f_t3_every_field_that_is_used_is_in_the_table() {
    for architecture in Architecture::ALL {
        let listed: BTreeSet<&str> = fields(architecture).iter().map(|(name, _)| *name).collect();
        let used: BTreeSet<&str> = Config::used_fields(architecture).collect();
        assert_eq!(listed, used, "{architecture}");
    }
}

#[rstest]
fn f_t3_a_used_field_of_any_wrong_type_is_refused_by_name(
    #[values(Architecture::Llama, Architecture::Qwen2, Architecture::Gpt2)] architecture: Architecture,
) {
    for (field, right) in fields(architecture) {
        for (value, takers) in values() {
            // 0 is an epsilon, and a number from 0 to 1 is not 8.
            if takers.contains(&right) || right == Type::Number && value == json!(0) {
                continue;
            }
            let mut config = minimal(architecture);
            config.insert(field.to_owned(), value.clone());
            let refusal = refusal(&config).unwrap_or_else(|| panic!("{architecture}: {field} took {value}"));
            assert!(refusal.starts_with("some/model/config.json: ") && refusal.contains(&format!("`{field}")), "{value}: {refusal}");
        }
    }
}

#[rstest]
#[case(Architecture::Llama, &["model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"])]
#[case(Architecture::Qwen2, &["model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"])]
#[case(Architecture::Gpt2, &["model_type", "vocab_size", "n_embd", "n_layer", "n_head"])]
fn f_t2_a_required_field_that_is_absent_or_null_is_refused_by_name(#[case] architecture: Architecture, #[case] required: &[&str]) {
    assert_eq!(refusal(&minimal(architecture)), None);
    for field in required {
        for null in [None, Some(Value::Null)] {
            let mut config = minimal(architecture);
            config.remove(*field);
            config.extend(null.map(|null| (field.to_string(), null)));
            assert_eq!(refusal(&config), Some(format!("some/model/config.json: `{field}` is missing")));
        }
    }
}

/// Every other field may be absent or null, and has the default of the class that transformers has for it.
#[test]
fn f_t2_a_field_with_a_default_may_be_absent_or_null() {
    for architecture in Architecture::ALL {
        let minimal = minimal(architecture);
        for (field, _) in fields(architecture).into_iter().filter(|(field, _)| !minimal.contains_key(*field)) {
            let mut config = minimal.clone();
            config.insert(field.to_owned(), Value::Null);
            assert_eq!(refusal(&config), None, "{architecture}: {field}");
        }
    }
}

#[rstest]
#[case("hidden_size", json!(15), "15")]
#[case("hidden_size", json!("16"), "\"16\"")]
#[case("num_hidden_layers", json!(1_000_000_000), "1000000000")]
#[case("vocab_size", json!(1u64 << 60), "1152921504606846976")]
#[case("num_attention_heads", json!(-2), "-2")]
#[case("num_key_value_heads", json!(3), "3")]
#[case("rms_norm_eps", json!(-1.0), "-1.0")]
#[case("rope_theta", json!(0), "0")]
#[case("rope_scaling", json!({"type": "longrope"}), "longrope")]
#[case("rope_scaling", json!({"type": "linear"}), "factor")]
#[case("quantization_config", json!({"bits": 4}), "4")]
#[case("sliding_window", json!(4096), "4096")]
#[case("a_field_of_tomorrow", json!(1.5), "1.5")]
#[case("eos_token_id", json!([2, -1]), "-1")]
fn f_h2_a_refusal_names_file_field_and_value(#[case] field: &str, #[case] value: Value, #[case] shown: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = minimal(Architecture::Llama);
    config.insert(field.to_owned(), value);
    std::fs::write(folder.path().join("config.json"), Value::Object(config).to_string()).expect("a file");
    std::fs::write(folder.path().join("model.safetensors"), [2u64.to_le_bytes().as_slice(), b"{}"].concat()).expect("a file");
    let error = ground_truth::Model::open(folder.path()).expect_err(field);
    let message = error.to_string();
    assert!(matches!(error, Error::Config { .. }), "{message}");
    let file = folder.path().join("config.json").display().to_string();
    assert!(message.starts_with(&file) && message.contains(&format!("`{field}")) && message.contains(shown), "{message}");
}

#[rstest]
#[case(r#"{"rope_theta": 1e999}"#, "`rope_theta`")]
#[case(r#"{"rope_scaling": {"factor": NaN}}"#, "`rope_scaling.factor`")]
#[case(r#"{"rms_norm_eps": -Infinity}"#, "`rms_norm_eps`")]
#[case(r#"{"hidden_size": 4, "hidden_size": 8}"#, "`hidden_size`")]
fn f_h2_what_json_cannot_say_is_refused_with_its_field(#[case] config: &str, #[case] field: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.json"), config).expect("a file");
    let error = Checkpoint::open(folder.path()).expect_err(config);
    assert!(matches!(error, Error::Json { .. }) && error.to_string().contains(field), "{error}");
    assert_eq!(error.file(), Some(folder.path().join("config.json").as_path()));
}

/// A name in a refusal cannot act on the terminal that shows it.
#[test]
fn f_h2_a_hostile_field_name_is_shown_escaped() {
    let mut config = minimal(Architecture::Llama);
    config.insert("a\u{1b}]0;x\u{7}\u{202e}".to_owned(), json!("\u{9b}31m"));
    match Config::parse(&config, None, Path::new("config.json")) {
        Err(error @ Error::Config { source: ConfigError::UnknownField { .. }, .. }) => {
            let message = error.to_string();
            assert!(message.contains(r"`a\u{1b}]0;x\u{7}\u{202e}`") && !message.chars().any(char::is_control), "{message}");
        }
        other => panic!("{other:?}"),
    }
}
