//! The choice of type per tensor against llama.cpp's: `golden/vectors/quant-recipes.json` and the files of `quant-ref256.json`.

use std::path::Path;

use ground_truth::quant::Quantization;
use ground_truth::{Architecture, Dtype};
use serde_json::Value;

fn golden(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/vectors").join(name);
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a number")).unwrap()
}

/// By the name that llama.cpp's tools print.
fn dtype(name: &str) -> Dtype {
    Dtype::ALL.into_iter().find(|dtype| dtype.name().eq_ignore_ascii_case(name)).unwrap_or_else(|| panic!("no dtype {name}"))
}

fn recipe(name: &str) -> Quantization {
    let read = [Quantization::Iq4Nl, Quantization::Iq4Xs];
    let known = Quantization::of("gguf").iter().copied().chain(read);
    known.into_iter().find(|recipe| recipe.name() == name).unwrap_or_else(|| panic!("no recipe {name}"))
}

/// The tensors of a llama of that many layers: name and stored shape.
fn llama(n_layers: usize, hidden: usize, tied: bool) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![512, hidden]), ("output_norm.weight".to_owned(), vec![hidden])];
    if !tied {
        tensors.push(("output.weight".to_owned(), vec![512, hidden]));
    }
    for layer in 0..n_layers {
        for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"] {
            tensors.push((format!("blk.{layer}.{name}.weight"), vec![2 * hidden, hidden]));
        }
        tensors.push((format!("blk.{layer}.ffn_down.weight"), vec![hidden, 2 * hidden]));
        tensors.push((format!("blk.{layer}.attn_norm.weight"), vec![hidden]));
        tensors.push((format!("blk.{layer}.attn_q.bias"), vec![2 * hidden]));
    }
    tensors
}

#[test]
fn the_types_are_those_of_llama_cpp_in_all_288_cases() {
    let golden = golden("quant-recipes.json");
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 288);
    for case in cases {
        let [name, layers, heads, kv_heads, tied, default, except] = &case.as_array().unwrap()[..] else { panic!("{case}") };
        let n_layers = number(layers);
        // Backwards, because a recipe counts layers and not places in a file.
        let mut tensors = llama(n_layers, 256, tied.as_bool().unwrap());
        tensors.reverse();
        let ours = recipe(name.as_str().unwrap()).dtypes("gguf", Architecture::Llama, n_layers, number(heads), number(kv_heads), &tensors);
        assert_eq!(ours.len(), tensors.len());
        for ((tensor, shape), ours) in tensors.iter().zip(ours) {
            let mut parts = tensor.split('.');
            let (kind, layer) = match (parts.next().unwrap(), parts.next()) {
                ("blk", Some(layer)) => (parts.next().unwrap(), layer.parse().unwrap()),
                (kind, _) => (kind, 0),
            };
            let runs = except
                .get(kind)
                .map_or_else(|| format!("{}*{n_layers}", default.as_str().unwrap()), |runs| runs.as_str().unwrap().to_owned());
            let types: Vec<&str> = runs
                .split(' ')
                .flat_map(|run| {
                    let (name, n) = run.split_once('*').unwrap_or((run, "1"));
                    vec![name; n.parse().unwrap()]
                })
                .collect();
            let expected = if shape.len() == 1 { Dtype::F32 } else { dtype(types[layer]) };
            assert_eq!(ours, expected, "{tensor} in {case}");
        }
    }
}

/// The files that llama.cpp's quantizer wrote say of every tensor what it chose.
#[test]
fn the_types_are_those_of_the_files_of_ref256() {
    let golden = golden("quant-ref256.json");
    let files = golden["files"].as_array().unwrap();
    assert_eq!(files.len(), 16);
    for file in files {
        let name = file["file"].as_str().unwrap().strip_prefix("ref256-").unwrap().strip_suffix(".gguf").unwrap();
        let tensors = file["tensors"].as_array().unwrap().iter();
        let (tensors, types): (Vec<_>, Vec<_>) = tensors
            .map(|tensor| {
                let shape = tensor["shape"].as_array().unwrap().iter().map(number).collect();
                ((tensor["name"].as_str().unwrap().to_owned(), shape), dtype(tensor["dtype"].as_str().unwrap()))
            })
            .unzip();
        assert_eq!(recipe(name).dtypes("gguf", Architecture::Llama, 2, 4, 2, &tensors), types, "{name}");
    }
}

/// llama.cpp calls a model of 80 layers one of 70 billion parameters, but a LLaMA whose heads share nothing, and gives its values more bits.
#[test]
fn the_values_of_a_model_of_80_layers_have_more_bits_where_heads_share_them() {
    let values = |architecture, n_layers: usize, n_kv_heads| {
        let tensors = llama(n_layers, 256, false);
        let types = Quantization::Q4KS.dtypes("gguf", architecture, n_layers, 8, n_kv_heads, &tensors);
        types[tensors.iter().position(|(name, _)| name == "blk.40.attn_v.weight").unwrap()]
    };
    for (architecture, n_layers, n_kv_heads, due) in [
        (Architecture::Llama, 80, 4, Dtype::Q5K),
        (Architecture::Llama, 80, 8, Dtype::Q4K),
        (Architecture::Llama, 79, 4, Dtype::Q4K),
        (Architecture::Qwen2, 80, 4, Dtype::Q5K),
        (Architecture::Qwen2, 80, 8, Dtype::Q5K),
        (Architecture::Qwen2, 81, 4, Dtype::Q4K),
        (Architecture::Gpt2, 80, 4, Dtype::Q4K),
    ] {
        assert_eq!(values(architecture, n_layers, n_kv_heads), due, "{architecture:?}, {n_layers} layers, {n_kv_heads} heads of keys");
    }
}

#[test]
fn rows_that_a_block_does_not_divide_fall_back_as_in_llama_cpp() {
    let one = |recipe: Quantization, format, row| {
        let tensors = vec![("blk.0.ffn_up.weight".to_owned(), vec![512, row])];
        recipe.dtypes(format, Architecture::Llama, 1, 4, 4, &tensors)[0]
    };
    for (recipe, whole, of_32) in [
        (Quantization::Q2K, Dtype::Q2K, Dtype::Q4_0),
        (Quantization::Q3KS, Dtype::Q3K, Dtype::Q4_0),
        (Quantization::Q4KS, Dtype::Q4K, Dtype::Q5_0),
        (Quantization::Q5KS, Dtype::Q5K, Dtype::Q5_1),
        (Quantization::Q6K, Dtype::Q6K, Dtype::Q8_0),
        (Quantization::Iq4Xs, Dtype::Iq4Xs, Dtype::Iq4Nl),
        (Quantization::Q8_0, Dtype::Q8_0, Dtype::Q8_0),
        (Quantization::Q4_0, Dtype::Q4_0, Dtype::Q4_0),
    ] {
        assert_eq!(one(recipe, "gguf", 512), whole);
        assert_eq!(one(recipe, "gguf", 64), of_32);
        assert_eq!(one(recipe, "gguf", 172), Dtype::F16, "stories260K's ffn_down");
    }
    for (recipe, whole, of_32, of_4) in [
        (Quantization::AprQ8, Dtype::AprQ8, Dtype::AprQ8, Dtype::AprQ8),
        (Quantization::AprQ4, Dtype::AprQ4, Dtype::AprQ4, Dtype::F16),
        (Quantization::AprQ4K, Dtype::Q4K, Dtype::AprQ4, Dtype::F16),
        (Quantization::AprQ6K, Dtype::Q6K, Dtype::AprQ8, Dtype::AprQ8),
    ] {
        assert_eq!((one(recipe, "apr", 512), one(recipe, "apr", 64), one(recipe, "apr", 172)), (whole, of_32, of_4));
    }
    // The head, and an embedding that is one, become Q8_0 where Q6_K does not fit; an embedding beside a head falls back as anything else.
    let types = |recipe: Quantization, tied| recipe.dtypes("gguf", Architecture::Llama, 5, 8, 4, &llama(5, 64, tied));
    assert_eq!(types(Quantization::Q4KM, true)[0], Dtype::Q8_0);
    assert_eq!((types(Quantization::Q4KM, false)[0], types(Quantization::Q4KM, false)[2]), (Dtype::Q5_0, Dtype::Q8_0));
    assert_eq!(types(Quantization::Q4_0, true)[0], Dtype::Q8_0);
}

/// GPT-2 has queries, keys and values in one matrix, which counts as values, and positions, which no recipe touches.
#[test]
fn gpt2_keeps_its_positions_and_its_joined_attention_counts_as_values() {
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![640, 256]), ("position_embd.weight".to_owned(), vec![128, 256])];
    for layer in 0..8 {
        for (name, shape) in [("attn_qkv.weight", vec![768, 256]), ("attn_qkv.bias", vec![768]), ("ffn_down.weight", vec![256, 1024])] {
            tensors.push((format!("blk.{layer}.{name}"), shape));
        }
    }
    let types = |recipe: Quantization, format| recipe.dtypes(format, Architecture::Gpt2, 8, 4, 4, &tensors);
    for recipe in Quantization::of("gguf") {
        assert_eq!(types(*recipe, "gguf")[1], Dtype::F32, "{recipe:?}");
        assert_eq!(types(*recipe, "gguf")[3], Dtype::F32, "{recipe:?}");
    }
    let q4_k_m = types(Quantization::Q4KM, "gguf");
    let joined: Vec<Dtype> = q4_k_m.iter().skip(2).step_by(3).copied().collect();
    let (k, more) = (Dtype::Q4K, Dtype::Q6K);
    assert_eq!(joined, [more, k, k, more, k, k, more, more]);
    // APR leaves biases alone, safetensors nothing.
    assert_eq!(types(Quantization::AprQ8, "apr")[..4], [Dtype::AprQ8, Dtype::AprQ8, Dtype::AprQ8, Dtype::F32]);
    assert!(types(Quantization::F16, "safetensors").iter().all(|dtype| *dtype == Dtype::F16));
    assert_eq!(types(Quantization::F16, "apr")[3], Dtype::F32);
}

#[test]
fn names_and_containers_name_one_quantization_each() {
    for format in ["safetensors", "gguf", "apr"] {
        for quantization in Quantization::of(format) {
            assert_eq!(Quantization::parse(format, quantization.name()), Some(*quantization));
        }
    }
    assert_eq!(Quantization::parse("apr", "q6_k"), Some(Quantization::AprQ6K));
    assert_eq!(Quantization::parse("gguf", "iq4_nl"), None, "only read");
    assert_eq!(Quantization::parse("gguf", "q8"), None);
    assert_eq!(Quantization::parse("pickle", "f32"), None);
}
