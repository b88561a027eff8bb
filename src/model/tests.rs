//! Networks of random weights, one of every shape that a configuration can ask for, against what must hold for each.

use super::*;
use crate::error::ModelError;
use crate::kernel::seeds::{bits, values};
use crate::{Activation, Architecture, Dtype, Error, RopeConfig, RopeScaling, Tensor};

const IDS: [u32; 40] = {
    let mut ids = [0; 40];
    let mut i = 0;
    while i < 40 {
        ids[i] = (i as u32 * 7 + 3) % 29;
        i += 1;
    }
    ids
};

fn config(architecture: Architecture) -> Config {
    Config {
        architecture,
        vocab_size: 29,
        hidden_size: 24,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: if architecture == Architecture::Gpt2 { 4 } else { 2 },
        head_dim: 6,
        intermediate_size: 33,
        n_ctx: 40,
        norm_eps: 1e-5,
        activation: if architecture == Architecture::Gpt2 { Activation::GeluTanh } else { Activation::Silu },
        tie_word_embeddings: true,
        attention_bias: architecture != Architecture::Llama,
        mlp_bias: architecture == Architecture::Gpt2,
        rope: (architecture != Architecture::Gpt2).then_some(RopeConfig { theta: 1e4, scaling: RopeScaling::Default }),
        rope_freq_factors: Vec::new(),
        windows: vec![None; 2],
        scale_attn_weights: true,
        scale_attn_by_inverse_layer_idx: false,
        bos: None,
        eos: vec![],
        notes: vec![],
    }
}

/// Every name that `config` needs, with its shape.
fn needed(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let mut needed: Vec<(String, Vec<usize>)> = Vec::new();
    let mut need = |name: String, shape: &[usize]| needed.push((name, shape.to_vec()));
    if config.architecture == Architecture::Gpt2 {
        need("transformer.wte.weight".into(), &[config.vocab_size, width]);
        need("transformer.wpe.weight".into(), &[config.n_ctx, width]);
        for i in 0..config.n_layers {
            for (name, n_in, n_out) in
                [("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width), ("mlp.c_fc", width, inner), ("mlp.c_proj", inner, width)]
            {
                need(format!("transformer.h.{i}.{name}.weight"), &[n_in, n_out]);
                need(format!("transformer.h.{i}.{name}.bias"), &[n_out]);
            }
            for name in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
                need(format!("transformer.h.{i}.{name}"), &[width]);
            }
        }
        need("transformer.ln_f.weight".into(), &[width]);
        need("transformer.ln_f.bias".into(), &[width]);
    } else {
        let llama = config.architecture == Architecture::Llama;
        need("model.embed_tokens.weight".into(), &[config.vocab_size, width]);
        for i in 0..config.n_layers {
            for (name, n_out, n_in, bias) in [
                ("self_attn.q_proj", q, width, config.attention_bias),
                ("self_attn.k_proj", kv, width, config.attention_bias),
                ("self_attn.v_proj", kv, width, config.attention_bias),
                ("self_attn.o_proj", width, q, config.attention_bias && llama),
                ("mlp.gate_proj", inner, width, config.mlp_bias),
                ("mlp.up_proj", inner, width, config.mlp_bias),
                ("mlp.down_proj", width, inner, config.mlp_bias),
            ] {
                need(format!("model.layers.{i}.{name}.weight"), &[n_out, n_in]);
                if bias {
                    need(format!("model.layers.{i}.{name}.bias"), &[n_out]);
                }
            }
            need(format!("model.layers.{i}.input_layernorm.weight"), &[width]);
            need(format!("model.layers.{i}.post_attention_layernorm.weight"), &[width]);
        }
        need("model.norm.weight".into(), &[width]);
    }
    if !config.tie_word_embeddings {
        need("lm_head.weight".into(), &[config.vocab_size, width]);
    }
    needed
}

fn tensors(config: &Config, dtype: Dtype) -> Tensors {
    let mut tensors = Tensors::new();
    for (seed, (name, shape)) in needed(config).into_iter().enumerate() {
        let n = shape.iter().product();
        tensors.insert(name, Tensor::from_f32(dtype, shape, &values(seed as u64 + 1, n)).unwrap());
    }
    tensors
}

fn model(config: &Config, dtype: Dtype) -> Model {
    Model::assemble(config.clone(), &tensors(config, dtype)).unwrap()
}

/// One configuration for every option, each of them changing the answer.
fn shapes() -> Vec<Config> {
    let (llama, qwen2, gpt2) = (config(Architecture::Llama), config(Architecture::Qwen2), config(Architecture::Gpt2));
    let scaled = |scaling| Some(RopeConfig { theta: 1e4, scaling });
    let yarn =
        RopeScaling::Yarn { factor: 4.0, original_n_ctx: 10.0, attention_factor: 1.1386, beta_fast: 32.0, beta_slow: 1.0, truncate: true };
    vec![
        llama.clone(),
        Config { n_kv_heads: 1, ..llama.clone() },
        Config { n_kv_heads: 4, head_dim: 10, ..llama.clone() },
        Config { attention_bias: true, mlp_bias: true, ..llama.clone() },
        Config { tie_word_embeddings: false, ..llama.clone() },
        Config { activation: Activation::Gelu, norm_eps: 0.1, ..llama.clone() },
        Config { rope: scaled(RopeScaling::Linear { factor: 2.0 }), ..llama.clone() },
        Config { rope: scaled(yarn), ..llama },
        qwen2.clone(),
        Config { windows: vec![None, Some(5)], ..qwen2.clone() },
        Config { windows: vec![Some(1), Some(16)], tie_word_embeddings: false, ..qwen2 },
        gpt2.clone(),
        Config { scale_attn_weights: false, ..gpt2.clone() },
        Config { scale_attn_by_inverse_layer_idx: true, ..gpt2.clone() },
        Config { tie_word_embeddings: false, activation: Activation::Relu, intermediate_size: 16, ..gpt2 },
    ]
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Model>();
};

fn all(model: &Model, ids: &[u32]) -> Logits {
    model.forward(ids, &mut model.new_cache(), Positions::All).unwrap()
}

#[test]
fn every_option_changes_the_answer() {
    let answers: Vec<Vec<u32>> = shapes().iter().map(|c| bits(&all(&model(c, Dtype::F32), &IDS).values)).collect();
    for i in 0..answers.len() {
        assert!(answers[i].iter().all(|&b| f32::from_bits(b).is_finite()), "{:?}", shapes()[i]);
        for j in 0..i {
            assert_ne!(answers[i], answers[j], "{:?}\n{:?}", shapes()[i], shapes()[j]);
        }
    }
}

#[test]
fn chunks_steps_batches_and_threads_do_not_change_a_bit() {
    for config in shapes() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            let model = model(&config, dtype);
            let whole = all(&model, &IDS);
            for cut in [1, 2, 7, 16, 39] {
                let mut cache = model.new_cache();
                let parts = IDS.chunks(cut).map(|part| model.forward(part, &mut cache, Positions::All).unwrap());
                let values: Vec<f32> = parts.flat_map(|part| part.values).collect();
                assert_eq!(bits(&values), bits(&whole.values), "cut by {cut}: {config:?}");
            }
            let last = model.forward(&IDS, &mut model.new_cache(), Positions::Last).unwrap();
            assert_eq!((last.n, bits(&last.values)), (1, bits(whole.row(39))));

            let neighbours: [&[u32]; 3] = [&IDS[..11], &IDS, &IDS[3..4]];
            let mut caches: Vec<KvCache> = neighbours.iter().map(|_| model.new_cache()).collect();
            let mut batch: Vec<Sequence<'_>> = neighbours.iter().zip(&mut caches).map(|(ids, cache)| Sequence { ids, cache }).collect();
            let together = model.forward_batch(&mut batch, Positions::All).unwrap();
            for (ids, together) in neighbours.iter().zip(together) {
                assert_eq!(bits(&together.values), bits(&all(&model, ids).values), "{config:?}");
            }

            let threaded = model.with_threads(3);
            assert_eq!(bits(&all(&threaded, &IDS).values), bits(&whole.values), "{config:?}");
        }
    }
}

#[test]
fn other_arithmetic_gives_other_bits_of_the_same_answer_and_one_answer_each() {
    for config in [config(Architecture::Llama), config(Architecture::Qwen2), config(Architecture::Gpt2)] {
        let whole = all(&model(&config, Dtype::F32), &IDS).values;
        assert_eq!(bits(&all(&model(&config, Dtype::F32).computed_by(Isa::PORTABLE), &IDS).values), bits(&whole), "{config:?}");
        let mut answers = vec![bits(&whole)];
        for isa in [Isa::FUSED, Isa::REVERSED, Isa::SEQUENTIAL] {
            let model = model(&config, Dtype::F32).computed_by(isa);
            let other = all(&model, &IDS).values;
            let mut cache = model.new_cache();
            let steps = IDS.chunks(1).flat_map(|id| model.forward(id, &mut cache, Positions::All).unwrap().values);
            assert_eq!(bits(&steps.collect::<Vec<f32>>()), bits(&other), "{isa:?} step by step: {config:?}");
            assert_eq!(bits(&all(&model.sharing_weights(3), &IDS).values), bits(&other), "{isa:?} on threads: {config:?}");
            let square = |v: f32| f64::from(v) * f64::from(v);
            let apart: f64 = whole.iter().zip(&other).map(|(a, b)| square(a - b)).sum();
            let relative = (apart / whole.iter().map(|v| square(*v)).sum::<f64>()).sqrt();
            // The largest that was measured is 1.2e-6, one accumulator in qwen2; this is four times that.
            assert!(relative > 0.0 && relative <= 4.8e-6, "{isa:?}: relative RMS {relative:e}: {config:?}");
            answers.push(bits(&other));
        }
        answers.sort();
        answers.dedup();
        assert_eq!(answers.len(), 4, "{config:?}");
    }
}

#[test]
fn requests_longer_than_a_pass_are_cut_without_a_trace() {
    let config = Config { n_ctx: 700, ..config(Architecture::Llama) };
    let model = model(&config, Dtype::F32);
    let ids: Vec<u32> = (0..600).map(|i| i * 11 % 29).collect();
    let whole = all(&model, &ids);
    assert_eq!(whole.n, 600);
    let mut cache = model.new_cache();
    let parts = ids.chunks(599).map(|part| model.forward(part, &mut cache, Positions::All).unwrap());
    assert_eq!(bits(&parts.flat_map(|part| part.values).collect::<Vec<f32>>()), bits(&whole.values));
    let sketched = crate::sketch::sketch(&model, &ids, false).unwrap();
    assert_eq!(sketched, crate::sketch::sketch(&model, &ids, true).unwrap());
    assert_eq!(sketched.len(), Stage::list(2).count());
}

#[test]
fn a_truncated_cache_is_the_shorter_cache() {
    let model = model(&config(Architecture::Qwen2), Dtype::F32);
    let mut cache = model.new_cache();
    model.forward(&IDS[..20], &mut cache, Positions::Last).unwrap();
    cache.truncate(9);
    cache.truncate(30);
    assert_eq!(cache.len(), 9);
    let rest = model.forward(&IDS[9..], &mut cache, Positions::Last).unwrap();
    assert_eq!(bits(&rest.values), bits(all(&model, &IDS).row(39)));
}

#[test]
fn requests_that_cannot_be_answered_are_refused_and_leave_the_cache_alone() {
    let model = model(&config(Architecture::Llama), Dtype::F32);
    let other = self::model(&config(Architecture::Llama), Dtype::F32);
    let mut cache = model.new_cache();
    model.forward(&IDS[..30], &mut cache, Positions::Last).unwrap();
    for (ids, reason) in
        [(&[][..], "no-ids"), (&[0, 29], "id-out-of-range"), (&[u32::MAX], "id-out-of-range"), (&IDS[..11], "context-exceeded")]
    {
        let error = model.forward(ids, &mut cache, Positions::All).unwrap_err();
        assert_eq!((error.kind(), error.reason()), ("request", reason), "{error}");
        assert_eq!(cache.len(), 30);
    }
    let error = model.forward(&[1], &mut other.new_cache(), Positions::All).unwrap_err();
    assert_eq!(error.reason(), "foreign-cache", "{error}");
    // One wrong sequence in a batch: no other one moves.
    let mut fresh = model.new_cache();
    let mut batch = [Sequence { ids: &[1], cache: &mut fresh }, Sequence { ids: &[99], cache: &mut cache }];
    assert_eq!(model.forward_batch(&mut batch, Positions::All).unwrap_err().reason(), "id-out-of-range");
    assert!(fresh.is_empty());
    model.forward(&IDS[30..], &mut cache, Positions::Last).unwrap();
    assert_eq!(model.forward(&[0], &mut cache, Positions::Last).unwrap_err().reason(), "context-exceeded");
}

#[test]
fn every_needed_tensor_is_needed_with_its_shape_and_finite() {
    for config in shapes() {
        let good = tensors(&config, Dtype::F32);
        for (name, shape) in needed(&config) {
            let refuse = |tensors: &Tensors| match Model::assemble(config.clone(), tensors) {
                Err(Error::Model { source: error, .. }) => error,
                other => panic!("`{name}`: {other:?}"),
            };
            let mut tensors = good.clone();
            let tensor = tensors.remove(&name).unwrap();
            assert_eq!(refuse(&tensors), ModelError::MissingTensor { tensor: name.clone(), shape: shape.clone() });

            let found: Vec<usize> = shape.iter().map(|n| n + 1).collect();
            let values = vec![0.5; found.iter().product()];
            tensors.insert(name.as_str(), Tensor::from_f32(Dtype::F32, found.clone(), &values).unwrap());
            assert_eq!(refuse(&tensors), ModelError::WrongShape { tensor: name.clone(), found, expected: shape.clone() });

            let n_elements = tensor.n_elements();
            let bytes = Tensor::owned(Dtype::U8, shape.clone(), vec![1; n_elements]).unwrap();
            tensors.insert(name.as_str(), bytes);
            assert_eq!(refuse(&tensors), ModelError::WrongDtype { tensor: name.clone(), found: Dtype::U8 });

            let mut values = tensor.to_f32();
            values[n_elements - 1] = f32::INFINITY;
            tensors.insert(name.as_str(), Tensor::from_f32(Dtype::BF16, shape, &values).unwrap());
            let (tensor, index) = (name.clone(), n_elements - 1);
            assert_eq!(refuse(&tensors), ModelError::NotFinite { tensor, index, n_elements, value: f32::INFINITY });
        }
    }
}

#[test]
fn what_the_architecture_has_no_place_for_is_refused_by_name() {
    for (architecture, name) in [
        (Architecture::Llama, "model.layers.0.self_attn.q_proj.bias"),
        (Architecture::Llama, "model.layers.2.input_layernorm.weight"),
        (Architecture::Llama, "model.layers.02.self_attn.rotary_emb.inv_freq"),
        (Architecture::Qwen2, "model.layers.0.self_attn.o_proj.bias"),
        (Architecture::Qwen2, "model.layers.1.self_attn.q_norm.weight"),
        (Architecture::Gpt2, "transformer.h.2.attn.bias"),
        (Architecture::Gpt2, "transformer.h.0.crossattention.bias"),
        (Architecture::Gpt2, "score.weight"),
    ] {
        let config = config(architecture);
        let mut tensors = tensors(&config, Dtype::F32);
        tensors.insert(name, Tensor::from_f32(Dtype::F32, vec![1], &[1.0]).unwrap());
        let error = Model::assemble(config, &tensors).unwrap_err();
        assert!(matches!(&error, Error::Model { source: ModelError::ExtraTensor { tensor }, .. } if tensor == name), "{name}: {error}");
    }
}

#[test]
fn buffers_of_old_checkpoints_and_names_without_prefix_change_nothing() {
    for (architecture, prefix, buffers) in [
        (Architecture::Llama, "model.", ["model.rotary_emb.inv_freq", "model.layers.1.self_attn.rotary_emb.inv_freq"]),
        (Architecture::Qwen2, "model.", ["rotary_emb.inv_freq", "layers.0.self_attn.rotary_emb.inv_freq"]),
        (Architecture::Gpt2, "transformer.", ["transformer.h.0.attn.bias", "h.1.attn.masked_bias"]),
    ] {
        let config = config(architecture);
        let full = tensors(&config, Dtype::F32);
        let mut short = Tensors::new();
        for (name, tensor) in full.iter() {
            short.insert(name.strip_prefix(prefix).unwrap(), tensor.clone());
        }
        for name in buffers {
            short.insert(name, Tensor::owned(Dtype::Bool, vec![2], vec![0, 1]).unwrap());
        }
        let expected = all(&Model::assemble(config.clone(), &full).unwrap(), &IDS);
        assert_eq!(all(&Model::assemble(config.clone(), &short).unwrap(), &IDS), expected);
        // The same tensor under both names: which one counts?
        let (name, tensor) = full.iter().last().unwrap();
        short.insert(name, tensor.clone());
        let error = Model::assemble(config, &short).unwrap_err();
        assert_eq!((error.kind(), error.reason()), ("model", "extra-tensor"), "{error}");
    }
}

#[test]
fn a_tied_head_may_be_repeated_but_not_differ() {
    for architecture in Architecture::ALL {
        let config = config(architecture);
        let mut tensors = tensors(&config, Dtype::F32);
        let name = if architecture == Architecture::Gpt2 { "transformer.wte.weight" } else { "model.embed_tokens.weight" };
        let expected = all(&Model::assemble(config.clone(), &tensors).unwrap(), &IDS);
        let embedding = tensors.get(name).unwrap().clone();
        tensors.insert("lm_head.weight", embedding.clone());
        assert_eq!(all(&Model::assemble(config.clone(), &tensors).unwrap(), &IDS), expected);

        let mut values = embedding.to_f32();
        values[7] += 1.0;
        let other = Tensor::from_f32(Dtype::F32, embedding.shape().to_vec(), &values).unwrap();
        tensors.insert("lm_head.weight", other);
        let error = Model::assemble(config.clone(), &tensors).unwrap_err();
        assert_eq!(error.reason(), "untied-head", "{error}");

        tensors.insert("lm_head.weight", embedding);
        tensors.remove(name);
        assert_eq!(all(&Model::assemble(config, &tensors).unwrap(), &IDS), expected, "the head alone is both");
    }
}
