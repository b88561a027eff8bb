//! Kernels against vectors that torch and transformers computed: `golden/vectors`.

use std::path::Path;

use ground_truth::kernel::{activation, rope::Rope};
use ground_truth::{Activation, Config};
use serde_json::{Map, Value, json};

pub fn vectors(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/vectors").join(name);
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub fn hex(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().expect("hex digits"), 16).expect("hex digits")
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// A configuration that differs from a complete one in the given fields.
fn config(architecture: &str, fields: &Map<String, Value>) -> Config {
    let mut config = json!({
        "model_type": architecture, "vocab_size": 8, "hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 4, "max_position_embeddings": 256
    });
    let config = config.as_object_mut().unwrap();
    config.extend(fields.clone());
    Config::parse(config, None, Path::new("config.json")).unwrap_or_else(|error| panic!("{error}: {config:?}"))
}

#[test]
fn rotary_frequencies_are_those_of_transformers() {
    let vectors = vectors("rope.json");
    let (mut exact, mut total) = (0, 0);
    for case in list(&vectors["cases"]) {
        let config = config("llama", case["config"].as_object().unwrap());
        let rope = Rope::new(&config.rope.unwrap(), config.head_dim);
        assert_eq!(rope.attention_factor().to_bits(), hex(&case["attention_factor"]), "{case}");
        let expected: Vec<u32> = list(&case["inv_freq"]).iter().map(|v| hex(v) as u32).collect();
        assert_eq!(rope.inv_freq().len(), expected.len(), "{case}");
        for (ours, expected) in rope.inv_freq().iter().zip(expected) {
            // torch's own power is not correctly rounded: about one in a hundred is one unit off.
            let apart = i64::from(ours.to_bits()) - i64::from(expected);
            assert!(apart.abs() <= 1, "{ours} for {}: {case}", f32::from_bits(expected));
            exact += usize::from(apart == 0);
            total += 1;
        }
    }
    println!("{exact} of {total} frequencies to the bit");
    assert!(total >= 100 && exact * 20 >= total * 19, "{exact} of {total} frequencies to the bit");
}

#[test]
fn activations_are_those_of_transformers() {
    let vectors = vectors("activations.json");
    let inputs: Vec<f64> = list(&vectors["inputs"]).iter().map(|v| f64::from_bits(hex(v))).collect();
    let images = vectors["activations"].as_object().unwrap();
    for (name, expected) in images {
        let fields = json!({ "hidden_act": name });
        let activation = config("llama", fields.as_object().unwrap()).activation;
        assert_eq!(list(expected).len(), inputs.len(), "{name}");
        for (&x, expected) in inputs.iter().zip(list(expected)) {
            let (ours, expected) = (activation::image(activation, x), f64::from_bits(hex(expected)));
            // Torch forms 1 + tanh and 1 + erf, which cost digits of the tail, and `gelu_fast` writes sqrt(2 / pi) with ten
            // digits. An f32 has a relative error of 6e-8.
            let error = (ours - expected).abs();
            assert!(error <= 1e-9 * expected.abs() + 1e-15 * x.abs(), "{name}({x}) = {ours} for {expected}");
        }
    }
    assert!(images.contains_key("silu") && images.contains_key("gelu") && images.contains_key("gelu_new"));
    assert_eq!(activation::image(Activation::Silu, 0.0), 0.0);
}
