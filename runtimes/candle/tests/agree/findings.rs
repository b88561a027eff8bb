//! What candle 0.11 does with files that say more than it reads. Each test holds that candle still does so, and that its adapter here refuses
//! by the name of the field instead of being judged on another model. One that fails says that candle has changed: then the refusal goes.

use candle_transformers::models::{llama, qwen2};
use ground_truth_candle::config::Config;
use ground_truth_harness::runtime::Failure;
use serde_json::{Value, json};

fn llama() -> Value {
    json!({"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 16})
}

fn qwen2() -> Value {
    json!({"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 16,
        "use_sliding_window": false, "sliding_window": 8, "max_window_layers": 1, "tie_word_embeddings": true, "hidden_act": "silu"})
}

fn with(mut config: Value, name: &str, value: Value) -> Value {
    config[name] = value;
    config
}

/// The adapter's refusal of a configuration that candle itself reads.
fn refusal(config: &Value) -> String {
    match Config::read(config.to_string().as_bytes()) {
        Err(Failure::Refused { kind, message }) if kind == "config" => message,
        other => panic!("no refusal of {config}: {other:?}"),
    }
}

#[test]
fn llama_fields_that_candle_drops_are_refused_by_name() {
    for (name, value) in [
        ("head_dim", json!(32)), // https://github.com/huggingface/candle/pull/3602
        ("attention_bias", json!(true)),
        ("mlp_bias", json!(true)),
        ("hidden_act", json!("gelu")),
        ("partial_rotary_factor", json!(0.5)),
    ] {
        let config = with(llama(), name, value);
        assert!(serde_json::from_value::<llama::LlamaConfig>(config.clone()).is_ok(), "candle has come to look at `{name}`");
        assert!(refusal(&config).contains(&format!("`{name}`")));
    }
    assert!(Config::read(llama().to_string().as_bytes()).is_ok());
}

/// A configuration of transformers 5 has its base of RoPE in `rope_parameters`, where candle's llama does not look: it takes 10,000.
#[test]
fn candle_takes_its_default_for_a_base_that_transformers_5_wrote() {
    let mut config = with(llama(), "rope_parameters", json!({"rope_type": "default", "rope_theta": 500_000.0}));
    config.as_object_mut().unwrap().remove("rope_theta");
    let candle: llama::LlamaConfig = serde_json::from_value(config.clone()).unwrap();
    assert_eq!(candle.rope_theta, 10_000.0);
    let Config::Llama(moved) = Config::read(config.to_string().as_bytes()).unwrap() else { panic!("no llama") };
    assert_eq!(moved.rope_theta, 500_000.0);
}

/// The same of qwen2 is a refusal of candle's own; so is a window of null, which is what transformers writes where there is none.
#[test]
fn candle_refuses_a_qwen2_of_transformers_5() {
    let mut config = with(qwen2(), "rope_parameters", json!({"rope_type": "default", "rope_theta": 500_000.0}));
    config.as_object_mut().unwrap().remove("rope_theta");
    let refusal = serde_json::from_value::<qwen2::Config>(config.clone()).unwrap_err().to_string();
    assert!(refusal.contains("rope_theta"), "{refusal}");
    assert!(serde_json::from_value::<qwen2::Config>(with(qwen2(), "sliding_window", Value::Null)).is_err());
    let config = with(config, "sliding_window", Value::Null);
    let Config::Qwen2(moved) = Config::read(config.to_string().as_bytes()).unwrap() else { panic!("no qwen2") };
    assert_eq!((moved.rope_theta, moved.sliding_window), (500_000.0, 16));
}

/// Every layer and only a prefill is masked, whether the window is in use or not; a window that is in use is refused.
#[test]
fn a_window_of_qwen2_is_refused_where_it_is_used_and_put_out_of_reach_where_not() {
    assert!(refusal(&with(qwen2(), "use_sliding_window", json!(true))).contains("`use_sliding_window`"));
    let Config::Qwen2(config) = Config::read(qwen2().to_string().as_bytes()).unwrap() else { panic!("no qwen2") };
    assert_eq!(config.sliding_window, config.max_position_embeddings);
}

#[test]
fn scalings_of_rope_that_candle_drops_are_refused_by_name() {
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8});
    let config = with(qwen2(), "rope_scaling", yarn.clone());
    assert!(serde_json::from_value::<qwen2::Config>(config.clone()).is_ok(), "candle has come to look at `rope_scaling`");
    assert!(refusal(&config).contains("`rope_scaling` is of type \"yarn\""));
    assert!(refusal(&with(llama(), "rope_scaling", json!({"type": "linear", "factor": 2.0}))).contains("\"linear\""));
    assert!(refusal(&with(llama(), "rope_parameters", yarn)).contains("`rope_parameters` is of type \"yarn\""));
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8});
    let Config::Llama(config) = Config::read(with(llama(), "rope_scaling", llama3).to_string().as_bytes()).unwrap() else {
        panic!("no llama")
    };
    assert_eq!(config.rope_scaling.map(|scaling| scaling.factor), Some(8.0));
}
