//! Models written as GGUF and read back: what a Hugging Face folder says and computes, the file says and computes, to the bit.

use std::path::{Path, PathBuf};

use ground_truth::error::GgufError;
use ground_truth::format::gguf::{self, Array, Gguf, Value};
use ground_truth::format::layout::TensorSpec;
use ground_truth::{Architecture, Checkpoint, Config, Dtype, Error, Model, Order, Positions, Tensor, Tensors};
use rstest::rstest;
use serde_json::{Map, Value as Json, json};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn config_of(checkpoint: &Checkpoint) -> Config {
    Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file()).unwrap()
}

/// The values of a tensor, as they lie in another order.
fn stored(tensor: &Tensor, order: Order) -> (Vec<usize>, Vec<f32>) {
    let (shape, values) = (tensor.shape().to_vec(), tensor.to_f32());
    match order {
        Order::RowMajor => (shape, values),
        Order::Transposed => {
            let (n, m) = (shape[0], shape[1]);
            (vec![m, n], (0..n * m).map(|i| values[i % n * m + i / n]).collect())
        }
        Order::InterleavedHeads(heads) => {
            let width = values.len() / shape[0];
            let half = shape[0] / heads / 2;
            let row = |stored: usize| stored / (2 * half) * 2 * half + stored % 2 * half + stored % (2 * half) / 2;
            let values = (0..shape[0]).flat_map(|i| values[row(i) * width..][..width].to_vec()).collect();
            (shape, values)
        }
    }
}

/// A file of the model, its weights as F32, with the keys changed by `change`.
fn file(checkpoint: &Checkpoint, alignment: u64, change: impl Fn(&mut Vec<(String, Value)>)) -> Result<Vec<u8>, Error> {
    let config = config_of(checkpoint);
    let mut metadata =
        gguf::export_metadata(&config, checkpoint, Some("f32"), &[("ground_truth.converter".to_owned(), "a test".to_owned())])?;
    change(&mut metadata);
    let mut tensors: Vec<(TensorSpec, Vec<f32>)> = Vec::new();
    for (name, tensor) in &checkpoint.tensors {
        let name = gguf::export_name(config.architecture, name).unwrap();
        let (shape, values) = stored(tensor, gguf::export_order(&config, &name));
        tensors.push((TensorSpec { name, dtype: Dtype::F32, shape }, values));
    }
    tensors.extend(gguf::extra_tensors(&config, checkpoint)?.into_iter().map(|(spec, tensor)| (spec, tensor.to_f32())));
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let layout = gguf::layout(&metadata, &specs, alignment);
    let mut bytes = layout.header;
    for ((offset, _), (_, values)) in layout.tensors.iter().zip(&tensors) {
        bytes.resize(*offset as usize, 0);
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes.resize(layout.padded as usize, 0);
    Ok(bytes)
}

struct Written(TempDir);

impl Written {
    fn new(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model.gguf"), bytes).unwrap();
        Written(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("model.gguf")
    }
}

fn logits(checkpoint: &Checkpoint) -> Vec<u32> {
    let model = Model::from_checkpoint(checkpoint).unwrap();
    let vocab = model.config().vocab_size as u32;
    let ids: Vec<u32> = (0..24).map(|i| (i * 37 + 5) % vocab).collect();
    model.forward(&ids, &mut model.new_cache(), Positions::All).unwrap().values.into_iter().map(f32::to_bits).collect()
}

/// A configuration without its notes, which tell of the file and not of the model.
fn comparable(config: &Config) -> Config {
    Config { notes: Vec::new(), ..config.clone() }
}

fn assert_travels(checkpoint: &Checkpoint, alignment: u64) {
    let written = Written::new(&file(checkpoint, alignment, |_| {}).unwrap());
    let read = Checkpoint::open(&written.path()).unwrap();
    assert_eq!(comparable(&config_of(&read)), comparable(&config_of(checkpoint)));
    assert_eq!(read.values_digest(), checkpoint.values_digest());
    assert_eq!(logits(&read), logits(checkpoint));
}

#[rstest]
#[case("llama-tiny", 32)]
#[case("qwen2-tiny", 64)]
#[case("gpt2-tiny", 4096)]
fn carried_models_travel(#[case] name: &str, #[case] alignment: u64) {
    assert_travels(&Checkpoint::open(&Path::new(ROOT).join("testdata/models").join(name)).unwrap(), alignment);
}

/// Numbers that are the same in every run, and no two of which are the same.
fn drawn(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// A model of one's own: the tensors that the configuration needs, with numbers drawn.
#[expect(clippy::too_many_lines, reason = "tensor by tensor")]
fn model(config: Json) -> Checkpoint {
    let Json::Object(map) = config else { panic!("an object is due") };
    let config = Config::parse(&map, None, Path::new("config.json")).unwrap();
    let Config { hidden_size: width, intermediate_size: inner, vocab_size: vocab, head_dim, .. } = config;
    let (q, kv) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    if config.architecture == Architecture::Gpt2 {
        let mut put = |name: &str, shape: &[usize]| shapes.push((name.to_owned(), shape.to_vec()));
        put("wte.weight", &[vocab, width]);
        put("wpe.weight", &[config.n_ctx, width]);
        for norm in ["ln_f".to_owned()].into_iter().chain((0..config.n_layers).flat_map(|i| [format!("h.{i}.ln_1"), format!("h.{i}.ln_2")]))
        {
            put(&format!("{norm}.weight"), &[width]);
            put(&format!("{norm}.bias"), &[width]);
        }
        for i in 0..config.n_layers {
            for (name, a, b) in
                [("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width), ("mlp.c_fc", width, inner), ("mlp.c_proj", inner, width)]
            {
                put(&format!("h.{i}.{name}.weight"), &[a, b]);
                put(&format!("h.{i}.{name}.bias"), &[b]);
            }
        }
    } else {
        let mut put = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
        put("model.embed_tokens.weight".to_owned(), &[vocab, width]);
        put("model.norm.weight".to_owned(), &[width]);
        for i in 0..config.n_layers {
            let is_llama = config.architecture == Architecture::Llama;
            let (attention, output, mlp) = (config.attention_bias, is_llama && config.attention_bias, config.mlp_bias);
            let modules = [
                ("self_attn.q_proj", q, width, attention),
                ("self_attn.k_proj", kv, width, attention),
                ("self_attn.v_proj", kv, width, attention),
                ("self_attn.o_proj", width, q, output),
                ("mlp.gate_proj", inner, width, mlp),
                ("mlp.up_proj", inner, width, mlp),
                ("mlp.down_proj", width, inner, mlp),
            ];
            for (name, rows, columns, bias) in modules {
                put(format!("model.layers.{i}.{name}.weight"), &[rows, columns]);
                if bias {
                    put(format!("model.layers.{i}.{name}.bias"), &[rows]);
                }
            }
            put(format!("model.layers.{i}.input_layernorm.weight"), &[width]);
            put(format!("model.layers.{i}.post_attention_layernorm.weight"), &[width]);
        }
    }
    if !config.tie_word_embeddings {
        shapes.push(("lm_head.weight".to_owned(), vec![vocab, width]));
    }
    let mut tensors = Tensors::new();
    for (i, (name, shape)) in shapes.into_iter().enumerate() {
        let values = drawn(i as u64 + 1, shape.iter().product());
        tensors.insert(name, Tensor::from_f32(Dtype::F32, shape, &values).unwrap());
    }
    Checkpoint {
        config: map,
        generation_config: None,
        tokenizer: None,
        chat_templates: Default::default(),
        tensors,
        path: "nowhere".into(),
    }
}

/// The smallest llama, with fields over it.
fn llama(over: Json) -> Json {
    let mut config = json!({
        "model_type": "llama", "vocab_size": 37, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 3e-6, "rope_theta": 12345.0,
        "bos_token_id": 3, "eos_token_id": 4, "tie_word_embeddings": false,
    });
    config.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    config
}

fn gpt2(over: Json) -> Json {
    let mut config = json!({"model_type": "gpt2", "vocab_size": 37, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 48});
    config.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    config
}

#[rstest]
#[case::as_it_is(llama(json!({})))]
#[case::tied(llama(json!({"tie_word_embeddings": true})))]
#[case::one_key_head(llama(json!({"num_key_value_heads": 1})))]
#[case::as_many_key_heads(llama(json!({"num_key_value_heads": 4})))]
#[case::free_head_dim(llama(json!({"head_dim": 10})))]
#[case::biases(llama(json!({"attention_bias": true, "mlp_bias": true})))]
#[case::no_begin_and_several_ends(llama(json!({"bos_token_id": null, "eos_token_id": [7, 2, 30]})))]
#[case::linear(llama(json!({"rope_scaling": {"rope_type": "linear", "factor": 2.5}})))]
#[case::llama3(llama(json!({"head_dim": 32, "rope_scaling": {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}})))]
#[case::llama3_of_odd_numbers(llama(json!({"head_dim": 32, "rope_scaling": {
    "rope_type": "llama3", "factor": 5.3, "low_freq_factor": 1.25, "high_freq_factor": 3.5, "original_max_position_embeddings": 48}})))]
#[case::yarn(llama(json!({"head_dim": 16, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}})))]
#[case::yarn_with_its_own_attention_factor(llama(json!({"head_dim": 16, "rope_scaling": {
    "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.25}})))]
#[case::factors(llama(json!({"rope_freq_factors": [1.0, 3.0, 2.0]})))]
#[case::qwen2(llama(json!({"model_type": "qwen2", "tie_word_embeddings": true})))]
#[case::qwen2_with_a_window_that_ends_nothing(
    llama(json!({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 64, "max_window_layers": 0})))]
#[case::gpt2_without_prefix(gpt2(json!({})))]
#[case::gpt2_untied(gpt2(json!({"tie_word_embeddings": false, "layer_norm_epsilon": 2e-5})))]
fn configurations_travel(#[case] config: Json) {
    let source = model(config);
    let written = Written::new(&file(&source, 32, |_| {}).unwrap());
    let read = Checkpoint::open(&written.path()).unwrap();
    let (mut expected, found) = (config_of(&source), config_of(&read));
    expected.windows = vec![None; expected.n_layers];
    assert_eq!(comparable(&found), comparable(&expected));
    assert_eq!(read.values_digest(), source.values_digest());
    assert_eq!(logits(&read), logits(&source));
}

#[rstest]
#[case(llama(json!({"hidden_act": "gelu"})), "hidden_act")]
#[case(gpt2(json!({"activation_function": "gelu"})), "activation_function")]
#[case(gpt2(json!({"n_inner": 72})), "n_inner")]
#[case(gpt2(json!({"scale_attn_weights": false})), "scale_attn_weights")]
#[case(gpt2(json!({"scale_attn_by_inverse_layer_idx": true})), "scale_attn_by_inverse_layer_idx")]
#[case(llama(json!({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1})), "sliding_window")]
#[case(llama(json!({"model_type": "qwen2", "rope_scaling": {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}})), "rope_scaling")]
#[case(llama(json!({"model_type": "qwen2", "head_dim": 10})), "head_dim")]
#[case(llama(json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": false}})), "rope_scaling.truncate")]
#[case(llama(json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 16}})), "rope_scaling.beta_fast")]
#[case(llama(json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16.5}})),
    "rope_scaling.original_max_position_embeddings")]
fn what_gguf_cannot_say_is_refused_by_field(#[case] config: Json, #[case] field: &str) {
    match file(&model(config), 32, |_| {}) {
        Err(Error::Gguf { source: GgufError::CannotSay { field: refused, .. }, .. }) => assert_eq!(refused, field),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{field} was written"),
    }
}

fn set(key: &'static str, value: Value) -> impl Fn(&mut Vec<(String, Value)>) {
    move |metadata| match metadata.iter_mut().find(|(name, _)| name == key) {
        Some((_, old)) => *old = value.clone(),
        None => metadata.push((key.to_owned(), value.clone())),
    }
}

fn unset(key: &'static str) -> impl Fn(&mut Vec<(String, Value)>) {
    move |metadata| metadata.retain(|(name, _)| name != key)
}

fn opened(config: Json, change: impl Fn(&mut Vec<(String, Value)>)) -> Result<Checkpoint, Error> {
    let written = Written::new(&file(&model(config), 32, change).unwrap());
    Checkpoint::open(&written.path())
}

#[rstest]
#[case("general.architecture")]
#[case("llama.block_count")]
#[case("llama.context_length")]
#[case("llama.embedding_length")]
#[case("llama.feed_forward_length")]
#[case("llama.attention.head_count")]
#[case("llama.attention.layer_norm_rms_epsilon")]
fn a_key_that_is_due_is_named(#[case] key: &'static str) {
    match opened(llama(json!({})), unset(key)) {
        Err(Error::Gguf { source: GgufError::MissingKey { key: missing }, .. }) => assert_eq!(missing, key),
        other => panic!("{other:?}"),
    }
}

/// Each names its key; GG47 is among them.
#[rstest]
#[case("general.architecture", Value::String("mamba".to_owned()))]
#[case("general.architecture", Value::U32(1))]
#[case("general.type", Value::String("adapter".to_owned()))]
#[case("llama.block_count", Value::U32(1_000_000_000))]
#[case("llama.block_count", Value::U32(0))]
#[case("llama.embedding_length", Value::U32(28))]
#[case("llama.embedding_length", Value::U32(4_000_000_000))]
#[case("llama.feed_forward_length", Value::U32(4_000_000_000))]
#[case("llama.context_length", Value::U32(4_000_000_000))]
#[case("llama.block_count", Value::String("2".to_owned()))]
#[case("llama.block_count", Value::F32(2.0))]
#[case("llama.attention.head_count", Value::U32(0))]
#[case("llama.attention.head_count", Value::I32(-4))]
#[case("llama.attention.head_count_kv", Value::U32(3))]
#[case("llama.attention.head_count_kv", Value::Array(Array::U32(vec![2, 1])))]
#[case("llama.attention.key_length", Value::U32(7))]
#[case("llama.attention.value_length", Value::U32(8))]
#[case("llama.rope.dimension_count", Value::U32(4))]
#[case("llama.vocab_size", Value::U32(38))]
#[case("llama.attention.layer_norm_rms_epsilon", Value::F32(f32::NAN))]
#[case("llama.attention.layer_norm_rms_epsilon", Value::F32(-1e-5))]
#[case("llama.attention.layer_norm_rms_epsilon", Value::U32(0))]
#[case("llama.rope.freq_base", Value::F32(0.0))]
#[case("llama.rope.freq_base", Value::String("10000".to_owned()))]
#[case("llama.rope.scaling.type", Value::String("longrope".to_owned()))]
#[case("llama.rope.scaling.type", Value::String("other".to_owned()))]
#[case("llama.rope.scaling.attn_factor", Value::F32(1.5))]
#[case("llama.rope.scaling.factor", Value::F32(f32::INFINITY))]
#[case("llama.expert_count", Value::U32(8))]
#[case("llama.attention.sliding_window", Value::U32(16))]
#[case("llama.attention.causal", Value::Bool(false))]
#[case("llama.logit_scale", Value::F32(0.5))]
#[case("llama.attention.something_new", Value::U32(0))]
#[case("ground_truth.eos_token_ids", Value::Array(Array::U32(vec![9])))]
#[case("ground_truth.eos_token_ids", Value::U32(4))]
#[case("tokenizer.ggml.bos_token_id", Value::String("<s>".to_owned()))]
#[case("tokenizer.ggml.tokens", Value::Array(Array::String(vec!["a".to_owned(); 38])))]
fn a_value_that_cannot_be_is_refused_by_key(#[case] key: &'static str, #[case] value: Value) {
    let refusal = opened(llama(json!({})), set(key, value)).expect_err(key);
    assert_eq!(refusal.kind(), "gguf");
    assert!(refusal.to_string().contains(&format!("`{key}`")), "{refusal}");
}

#[rstest]
#[case("llama.feed_forward_length", Value::U32(41))]
#[case("llama.attention.head_count", Value::U32(2))]
#[case("llama.attention.head_count_kv", Value::U32(4))]
fn keys_that_contradict_the_tensors_are_refused(#[case] key: &'static str, #[case] value: Value) {
    match opened(llama(json!({})), set(key, value)) {
        Err(Error::Gguf { source: GgufError::WrongShape { keys, .. }, .. }) => assert!(keys.contains(&key["llama.".len()..]), "{keys}"),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case("llama.block_count", Value::U32(1), "tensor")]
#[case("llama.block_count", Value::U32(3), "missing-tensor")]
fn blocks_and_tensors_are_as_many(#[case] key: &'static str, #[case] value: Value, #[case] reason: &str) {
    assert_eq!(opened(llama(json!({})), set(key, value)).unwrap_err().reason(), reason);
}

/// No architecture is without the biases of gpt2. Those that a llama may have are zero where a file leaves them out.
#[test]
fn a_bias_that_is_due_is_named() {
    let without = |config: Json, bias: &str| {
        let mut checkpoint = model(config);
        assert!(checkpoint.tensors.remove(bias).is_some(), "{bias}");
        let written = Written::new(&file(&checkpoint, 32, |_| {}).unwrap());
        Checkpoint::open(&written.path())
    };
    match without(gpt2(json!({})), "h.1.attn.c_attn.bias") {
        Err(Error::Gguf { source: GgufError::MissingTensor { tensor }, .. }) => assert_eq!(tensor, "blk.1.attn_qkv.bias"),
        other => panic!("{other:?}"),
    }
    let bias = "model.layers.1.self_attn.q_proj.bias";
    let read = without(llama(json!({"attention_bias": true})), bias).unwrap();
    assert_eq!(read.tensors.get(bias).expect("the bias").to_f32(), [0.0; 24]);
}

/// Values that change nothing, as other writers write them.
#[rstest]
#[case("llama.attention.head_count", Value::Array(Array::I32(vec![4, 4])))]
#[case("llama.attention.head_count", Value::U64(4))]
#[case("llama.context_length", Value::U16(64))]
#[case("llama.attention.layer_norm_rms_epsilon", Value::F64(3e-6))]
#[case("llama.expert_count", Value::U32(0))]
#[case("llama.rope.scale_linear", Value::F32(1.0))]
#[case("llama.rope.scaling.type", Value::String("none".to_owned()))]
#[case("llama.rope.scaling.finetuned", Value::Bool(true))]
#[case("llama.tensor_data_layout", Value::String("Meta AI original pth".to_owned()))]
#[case("llama.logit_scale", Value::F32(1.0))]
#[case("llama.attention.sliding_window", Value::U32(64))]
#[case("split.count", Value::U16(1))]
fn values_of_other_writers_change_nothing(#[case] key: &'static str, #[case] value: Value) {
    let source = model(llama(json!({})));
    let read = opened(llama(json!({})), set(key, value)).unwrap();
    assert_eq!(comparable(&config_of(&read)), comparable(&config_of(&source)));
}

#[test]
fn what_may_be_absent_has_the_value_that_llama_cpp_gives_it() {
    let keys = ["llama.attention.key_length", "llama.attention.value_length", "llama.rope.dimension_count", "llama.vocab_size"];
    let read = opened(llama(json!({})), |metadata| metadata.retain(|(name, _)| !keys.contains(&name.as_str()))).unwrap();
    assert_eq!(comparable(&config_of(&read)), comparable(&config_of(&model(llama(json!({}))))));
    let read = config_of(&opened(llama(json!({"rope_theta": 10000.0})), unset("llama.rope.freq_base")).unwrap());
    assert_eq!(read.rope.unwrap().theta, 10_000.0);
    let read = config_of(&opened(llama(json!({"num_key_value_heads": 4})), unset("llama.attention.head_count_kv")).unwrap());
    assert_eq!(read.n_kv_heads, 4);
}

/// Another writer's file says nothing of the four numbers: they are found in the tensor, where they can be.
#[rstest]
#[case(json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192.0}), 500_000.0, 128)]
#[case(json!({"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192.0}), 500_000.0, 64)]
#[case(json!({"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 8.0, "original_max_position_embeddings": 64.0}), 10_000.0, 64)]
fn the_rule_of_llama3_is_found_in_its_factors(#[case] rule: Json, #[case] theta: f64, #[case] head_dim: usize) {
    let mut scaling = json!({"rope_type": "llama3"});
    scaling.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    let config = llama(json!({"head_dim": head_dim, "rope_theta": theta, "rope_scaling": scaling}));
    let read = opened(config.clone(), unset("ground_truth.rope.llama3")).unwrap();
    assert_eq!(comparable(&config_of(&read)), comparable(&config_of(&model(config))));
}

/// Frequencies of a rule that no parameters give: the tensor is the rule.
#[test]
fn factors_of_no_rule_are_taken_as_they_are() {
    let config = llama(json!({"head_dim": 32, "rope_scaling": {
        "rope_type": "llama3", "factor": 5.3, "low_freq_factor": 1.25, "high_freq_factor": 3.5, "original_max_position_embeddings": 48}}));
    let read = config_of(&opened(config, unset("ground_truth.rope.llama3")).unwrap());
    let is_llama3 = matches!(read.rope.unwrap().scaling, ground_truth::RopeScaling::Llama3 { .. });
    assert!(is_llama3 || read.rope_freq_factors.len() == 16);
}

/// A factor divides a frequency: it is a finite number over 0, wherever it stands.
#[rstest]
#[case(0.0)]
#[case(-1.0)]
#[case(f32::INFINITY)]
#[case(f32::NAN)]
fn a_factor_that_is_no_number_over_0_is_refused(#[case] factor: f32) {
    let config = llama(json!({"head_dim": 32, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}));
    for keep in [true, false] {
        let bytes =
            file(&model(config.clone()), 32, |metadata| metadata.retain(|(name, _)| keep || name != "ground_truth.rope.llama3")).unwrap();
        let written = Written::new(&bytes);
        let found = Gguf::open(&written.path()).unwrap();
        let at = found.tensors.iter().find(|info| info.name == "rope_freqs.weight").unwrap().offset as usize + 4 * 7;
        let mut spoiled = bytes;
        spoiled[at..at + 4].copy_from_slice(&factor.to_le_bytes());
        let refusal = Checkpoint::open(&Written::new(&spoiled).path()).unwrap_err().to_string();
        assert!(refusal.contains("rope_freqs.weight") && refusal.contains("numbers over 0 are due"), "{refusal}");
    }
}

#[test]
fn four_numbers_that_do_not_give_the_factors_are_refused() {
    let config = llama(json!({"head_dim": 32, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}));
    let other = Value::Array(Array::F64(vec![8.0, 1.0, 4.0, 65.0]));
    assert_eq!(opened(config, set("ground_truth.rope.llama3", other)).unwrap_err().reason(), "bad-value");
}

#[test]
fn four_numbers_without_their_factors_are_refused() {
    let rule = Value::Array(Array::F64(vec![8.0, 1.0, 4.0, 64.0]));
    assert_eq!(opened(llama(json!({})), set("ground_truth.rope.llama3", rule)).unwrap_err().reason(), "missing-tensor");
}

/// llama.cpp multiplies what YaRN itself scales cos and sin with by the factor of the key.
#[test]
fn an_attention_factor_is_stated_beside_that_of_yarn() {
    let scaling = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "attention_factor": 1.25});
    let config = llama(json!({"head_dim": 16, "rope_scaling": scaling}));
    let read = config_of(&opened(config, unset("llama.rope.scaling.yarn_attn_factor")).unwrap());
    let ground_truth::RopeScaling::Yarn { attention_factor, .. } = read.rope.unwrap().scaling else { panic!("YaRN is due") };
    assert!((attention_factor - 1.25).abs() < 1e-6, "{attention_factor}");
}

/// The mapping is of the map: no tensor is copied.
#[test]
fn every_tensor_lies_in_the_file() {
    let written = Written::new(&file(&model(llama(json!({}))), 32, |_| {}).unwrap());
    let (gguf, read) = (Gguf::open(&written.path()).unwrap(), Checkpoint::open(&written.path()).unwrap());
    assert_eq!(read.tensors.len(), gguf.tensors.len());
    assert!(read.tensors.iter().all(|(_, tensor)| tensor.file() == Some(written.path().as_path())));
    assert_eq!(read.tensors.get("model.layers.0.self_attn.k_proj.weight").unwrap().order(), Order::InterleavedHeads(2));
}

/// What the folder says of its prefix, its buffers and its copied head does not count.
#[test]
fn the_digest_is_of_the_values_alone() {
    let source = model(gpt2(json!({})));
    let mut other = source.clone();
    other.tensors.insert("h.0.attn.bias", Tensor::from_f32(Dtype::F32, vec![1], &[1.0]).unwrap());
    other.tensors.insert("lm_head.weight", source.tensors.get("wte.weight").unwrap().clone());
    assert!(other.tensors.rename("ln_f.weight", "transformer.ln_f.weight"));
    assert_eq!(other.values_digest(), source.values_digest());
    let mut values = source.tensors.get("ln_f.bias").unwrap().to_f32();
    values[0] = -values[0];
    other.tensors.insert("ln_f.bias", Tensor::from_f32(Dtype::F32, vec![24], &values).unwrap());
    assert_ne!(other.values_digest(), source.values_digest());
    let empty = Checkpoint {
        config: Map::new(),
        generation_config: None,
        tokenizer: None,
        chat_templates: Default::default(),
        tensors: Tensors::new(),
        path: "nowhere".into(),
    };
    assert_eq!(empty.values_digest()[..4], [0xe3, 0xb0, 0xc4, 0x42]);
}
