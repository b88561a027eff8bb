use rstest::rstest;
use serde_json::{Map, Value, json};

use super::*;
use crate::Error;
use crate::kernel::rope::Rope;

/// The smallest configurations there are: everything else has a default.
fn minimal(architecture: Architecture) -> Map<String, Value> {
    let config = match architecture {
        Architecture::Llama | Architecture::Qwen2 => json!({
            "model_type": architecture.name(), "vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1,
        }),
        Architecture::Gpt2 => json!({"model_type": "gpt2", "vocab_size": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}),
    };
    object(config)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// A minimal configuration with some fields replaced.
fn with(architecture: Architecture, fields: Value) -> Map<String, Value> {
    let mut config = minimal(architecture);
    config.extend(object(fields));
    config
}

fn parse(config: &Map<String, Value>) -> Result<Config> {
    Config::parse(config, None, Path::new("m/config.json"))
}

fn refusal(config: &Map<String, Value>) -> ConfigError {
    match parse(config) {
        Err(Error::Config { source, .. }) => source,
        other => panic!("not a refusal: {other:?}"),
    }
}

/// What the engine makes of every case in the committed table is what transformers makes of it, or what the table says.
#[test]
fn configurations_resolve_as_in_transformers() {
    let table: Value = serde_json::from_str(include_str!("../../../testdata/config/facts.json")).unwrap();
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() > 80);
    for case in cases {
        let (name, facts) = (case["name"].as_str().unwrap(), &case["transformers"]);
        let generation_config = case["generation_config"].as_object();
        let file = Path::new("m/config.json");
        let parsed = Config::parse(case["config"].as_object().unwrap(), generation_config, file);
        match (case["here"].as_str().unwrap(), parsed) {
            ("same", Ok(config)) => assert_same(name, &config, facts),
            ("accepted", Ok(_)) | ("refused", Err(_)) => assert!(facts["refused"].is_string(), "{name}"),
            (reason, Err(error)) => assert_eq!(error.reason(), reason, "{name}: {error}"),
            (here, Ok(_)) => panic!("{name}: {here} expected, and it was accepted"),
        }
    }
}

fn assert_same(name: &str, config: &Config, facts: &Value) {
    let windows: Vec<Value> = config.windows.iter().map(|window| json!(window)).collect();
    let activation = ACTIVATIONS.iter().find(|(word, _)| *word == facts["activation"]).map(|(_, activation)| *activation);
    let found = json!({
        "vocab_size": config.vocab_size, "hidden_size": config.hidden_size, "n_layers": config.n_layers,
        "n_heads": config.n_heads, "n_ctx": config.n_ctx, "tie_word_embeddings": config.tie_word_embeddings,
        "bos": config.bos, "eos": config.eos, "head_dim": config.head_dim, "n_kv_heads": config.n_kv_heads,
        "intermediate_size": config.intermediate_size, "norm_eps": config.norm_eps,
        "attention_bias": config.attention_bias, "mlp_bias": config.mlp_bias, "windows": windows,
    });
    for (field, value) in found.as_object().unwrap() {
        assert_eq!(value, &facts[field], "{name}: {field}");
    }
    assert_eq!(Some(config.activation), activation, "{name}");
    let scalings: Vec<String> = (0..config.n_layers).map(|layer| bits(attention_scaling(config, layer))).collect();
    assert_eq!(json!(scalings), facts["scalings"], "{name}");
    let Some(rope) = &config.rope else { return assert!(facts["rope"].is_null(), "{name}") };
    let rope = Rope::new(rope, config.head_dim);
    let stated: Vec<u32> =
        facts["rope"]["inv_freq"].as_array().unwrap().iter().map(|hex| u32::from_str_radix(hex.as_str().unwrap(), 16).unwrap()).collect();
    assert_eq!(rope.inv_freq().len(), stated.len(), "{name}");
    for (index, (frequency, stated)) in rope.inv_freq().iter().zip(stated).enumerate() {
        // The power function of torch is right to two units in the last place, not to the last bit, and differs from CPU to CPU.
        assert!(frequency.to_bits().abs_diff(stated) <= 2, "{name}: {frequency} at {index}");
    }
    assert_eq!(bits(rope.attention_factor()), facts["rope"]["attention_factor"], "{name}");
}

/// What the flags of the configuration say of the scores of a layer.
fn attention_scaling(config: &Config, layer: usize) -> f64 {
    let scale = if config.scale_attn_weights { (config.head_dim as f64).powf(-0.5) } else { 1.0 };
    if config.scale_attn_by_inverse_layer_idx { scale / (layer + 1) as f64 } else { scale }
}

fn bits(value: f64) -> String {
    format!("{:08x}", (value as f32).to_bits())
}

#[rstest]
#[case(Architecture::Llama, ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"])]
#[case(Architecture::Qwen2, ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"])]
#[case(Architecture::Gpt2, ["vocab_size", "n_embd", "n_layer", "n_head"])]
fn sizes_must_be_stated(#[case] architecture: Architecture, #[case] sizes: [&str; 4]) {
    for size in sizes.into_iter().chain(["model_type"]) {
        for absent in [None, Some(Value::Null)] {
            let mut config = minimal(architecture);
            config.remove(size);
            config.extend(absent.map(|null| (size.to_owned(), null)));
            assert_eq!(refusal(&config), ConfigError::Missing { field: size.to_owned() });
        }
    }
}

#[rstest]
#[case(json!({"num_hidden_layers": 1_000_000_000}), "`num_hidden_layers` is 1000000000, a whole number from 1 to 4096 is due")]
#[case(json!({"vocab_size": 1u64 << 60}), "`vocab_size` is 1152921504606846976, a whole number from 1 to 16777216 is due")]
#[case(json!({"hidden_size": 0}), "`hidden_size` is 0, a whole number from 1 to 1048576 is due")]
#[case(json!({"hidden_size": -16}), "`hidden_size` is -16, a whole number from 1 to 1048576 is due")]
#[case(json!({"hidden_size": 16.0}), "`hidden_size` is a number (16.0), a whole number is due")]
#[case(json!({"hidden_size": "16"}), "`hidden_size` is a string (\"16\"), a whole number is due")]
#[case(json!({"hidden_size": [16]}), "`hidden_size` is an array, a whole number is due")]
#[case(json!({"hidden_size": true}), "`hidden_size` is a boolean (true), a whole number is due")]
#[case(json!({"hidden_size": 15}), "`hidden_size` is 15, which is not a multiple of `num_attention_heads` (2)")]
#[case(json!({"num_key_value_heads": 3}), "`num_attention_heads` is 2, which is not a multiple of `num_key_value_heads` (3)")]
#[case(json!({"head_dim": 7}), "`head_dim` is 7, an even number (rotary embeddings turn pairs) is due")]
#[case(json!({"rms_norm_eps": -1e-5}), "`rms_norm_eps` is -0.00001, a number from 0 to under 1 is due")]
#[case(json!({"rms_norm_eps": "1e-5"}), "`rms_norm_eps` is a string (\"1e-5\"), a number is due")]
#[case(json!({"rope_theta": 0}), "`rope_theta` is 0, a number over 0 is due")]
#[case(json!({"rope_scaling": 2.0}), "`rope_scaling` is a number (2.0), an object is due")]
#[case(json!({"rope_scaling": {"type": "linear", "factor": "2"}}), "`rope_scaling.factor` is a string (\"2\"), a number is due")]
#[case(json!({"rope_scaling": {"type": "linear"}}), "`rope_scaling.factor` is missing")]
#[case(json!({"rope_theta": 1.0, "rope_scaling": {"type": "yarn", "factor": 4.0}}), "`rope_theta` is 1, a number over 1 (yarn divides by its logarithm) is due")]
#[case(json!({"rope_scaling": {"type": "yarn", "factor": 4.0, "truncate": null}}), "`rope_scaling.truncate` is null, true or false is due")]
#[case(json!({"rope_scaling": {"type": "linear", "factor": 4.0, "partial_rotary_factor": 0.5}}), "`rope_scaling.partial_rotary_factor` is 0.5: only a part of each head would be rotated; only 1 is computed")]
#[case(json!({"rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}}), "`rope_scaling.high_freq_factor` is 4, a number over low_freq_factor (4) is due")]
#[case(json!({"eos_token_id": -1}), "`eos_token_id` is -1, a token id from 0 to 4294967295 is due")]
#[case(json!({"eos_token_id": [1, "2"]}), "`eos_token_id` is a string (\"2\"), a token id or an array of token ids is due")]
#[case(json!({"architectures": "LlamaForCausalLM"}), "`architectures` is a string (\"LlamaForCausalLM\"), an array of strings is due")]
#[case(json!({"architectures": ["a\u{1b}[31m`"]}), "`architectures` is `a\\u{1b}[31m\\u{60}`, one of LlamaForCausalLM is due")]
#[case(json!({"model_type": "mamba"}), "`model_type` is `mamba`, one of llama, qwen2, gpt2 is due")]
#[case(json!({"hidden_act": "xielu"}), "`hidden_act` is `xielu`, one of silu, ")]
#[case(json!({"sliding_window": 4096}), "`sliding_window` is 4096: attention would stop at the edge of a window; only null is computed")]
#[case(json!({"quantization_config": {}}), "`quantization_config` is {}: the weights would have to be dequantized; only null is computed")]
#[case(json!({"rotary_emb_base": 10000}), "`rotary_emb_base` is 10000: the field is not known for llama, and what is not known is not ignored")]
fn a_refusal_names_file_field_and_value(#[case] fields: Value, #[case] message: &str) {
    let refusal = parse(&with(Architecture::Llama, fields)).unwrap_err().to_string();
    assert!(refusal.starts_with(&format!("m/config.json: {message}")), "{refusal}");
}

#[test]
fn a_refusal_of_the_generation_config_names_that_file() {
    let generation_config = object(json!({"eos_token_id": "2"}));
    let parsed = Config::parse(&minimal(Architecture::Llama), Some(&generation_config), Path::new("m/config.json"));
    assert!(parsed.unwrap_err().to_string().starts_with("m/generation_config.json: `eos_token_id` is a string"));
}

#[test]
fn fields_that_are_not_known_are_refused_in_every_architecture_unless_null() {
    for architecture in Architecture::ALL {
        let config = with(architecture, json!({"a_field_of_tomorrow": false}));
        assert_eq!(refusal(&config).reason(), "unknown-field");
        assert!(parse(&with(architecture, json!({"a_field_of_tomorrow": null}))).is_ok());
    }
}

/// Every field of the third list: its neutral value is taken, others are refused by name.
#[rstest]
#[case(Architecture::Llama, "partial_rotary_factor", json!(1), json!(0.5))]
#[case(Architecture::Llama, "rope_interleaved", json!(false), json!(true))]
#[case(Architecture::Llama, "layer_types", json!(["full_attention", "full_attention"]), json!(["sliding_attention"]))]
#[case(Architecture::Llama, "is_causal", json!(true), json!(false))]
#[case(Architecture::Llama, "pruned_heads", json!({}), json!({"0": [1]}))]
#[case(Architecture::Qwen2, "attention_bias", json!(true), json!(false))]
#[case(Architecture::Qwen2, "mlp_bias", json!(false), json!(true))]
#[case(Architecture::Gpt2, "add_cross_attention", json!(false), json!(true))]
#[case(Architecture::Gpt2, "is_encoder_decoder", json!(false), json!(true))]
fn fields_that_would_change_the_arithmetic_are_taken_at_their_neutral_value_only(
    #[case] architecture: Architecture,
    #[case] field: &str,
    #[case] neutral: Value,
    #[case] other: Value,
) {
    assert!(parse(&with(architecture, json!({field: neutral}))).is_ok(), "{field}");
    let refusal = refusal(&with(architecture, json!({field: other})));
    assert!(matches!(&refusal, ConfigError::Unsupported { field: named, .. } if named == field), "{refusal}");
}

#[rstest]
#[case(json!({"auto_map": {"AutoModel": "evil.Model"}}), None, "`auto_map`: it names code")]
#[case(json!({"eos_token_id": 50256}), None, "token id 50256 is stated")]
#[case(json!({}), Some(json!({"repetition_penalty": 1.1})), "generation_config.json: `repetition_penalty` 1.1 is not applied")]
#[case(json!({"rope_scaling": {"type": "linear", "factor": 2.0, "beta_fast": 3}}), None, "`rope_scaling.beta_fast` is not read")]
#[case(json!({"rope_theta": 5, "rope_parameters": {"rope_theta": 7}}), None, "`rope_theta` 5 is not read")]
fn what_is_read_past_although_it_may_be_expected_to_act_is_noted(
    #[case] fields: Value,
    #[case] generation_config: Option<Value>,
    #[case] note: &str,
) {
    let generation_config = generation_config.map(object);
    let config = with(Architecture::Llama, fields);
    let parsed = Config::parse(&config, generation_config.as_ref(), Path::new("m/config.json")).unwrap();
    assert!(matches!(parsed.notes.as_slice(), [only] if only.starts_with(note)), "{:?}", parsed.notes);
}

#[test]
fn a_plain_configuration_has_no_notes() {
    for architecture in Architecture::ALL {
        let generation_config = object(json!({"repetition_penalty": 1.0, "num_beams": 1, "temperature": 0.6}));
        let parsed = Config::parse(&minimal(architecture), Some(&generation_config), Path::new("m/config.json"));
        assert_eq!(parsed.unwrap().notes, Vec::<String>::new());
    }
}
