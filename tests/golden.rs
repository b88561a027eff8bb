//! The engine against what transformers answered, on every model that is carried: logits, tokens, perplexity, stages.
//!
//! The harness judges the same files with more care and more words. This is the engine's own smoke alarm, and it says how
//! the engine's rounding compares with torch's.

use std::path::{Path, PathBuf};

use ground_truth::{Checkpoint, Model, Positions, Tokenizer, evaluate, generate, sketch};
use safetensors::SafeTensors;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every carried model with the folder of its golden.
fn models() -> Vec<(Model, PathBuf)> {
    let folders = std::fs::read_dir(root().join("testdata/models")).unwrap().map(|entry| entry.unwrap().path());
    let models = folders.filter(|folder| folder.is_dir()).map(|folder| {
        let golden = root().join("golden").join(folder.file_name().unwrap());
        (Model::open(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())), golden)
    });
    let models: Vec<_> = models.collect();
    assert!(!models.is_empty(), "no model is carried");
    models
}

fn json(file: &Path) -> Value {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list of ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// The prompts of a golden: name and content.
fn prompts(golden: &Path) -> Vec<(String, Value)> {
    let index = json(&golden.join("index.json"));
    let prompts = index["prompts"].as_array().expect("prompts").iter().map(|prompt| {
        let name = prompt["name"].as_str().expect("a name").to_owned();
        let content = json(&golden.join(format!("{name}.json")));
        (name, content)
    });
    prompts.collect()
}

fn f64s(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    match tensor.dtype() {
        safetensors::Dtype::F32 => tensor.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        safetensors::Dtype::F64 => tensor.data().as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

/// `|a - b| / |b|`, of the root mean squares.
fn relative_rms(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    (square(&mut (0..a.len()).map(|i| a[i] - b[i])) / square(&mut b.iter().copied())).sqrt()
}

#[test]
fn logits_are_as_close_to_float64_as_torch_float32() {
    let mut judged = 0;
    for (model, golden) in models() {
        for (name, prompt) in prompts(&golden) {
            let Ok(bytes) = std::fs::read(golden.join(format!("{name}.safetensors"))) else { continue };
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let all: Vec<u32> = [ids(&prompt["prompt"]["ids"]), ids(&prompt["greedy"]["ids"])].concat();
            let logits = model.forward(&all, &mut model.new_cache(), Positions::All).unwrap();
            let positions = file.tensor("positions").unwrap();
            let positions = positions.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as usize);
            let ours: Vec<f64> = positions.flat_map(|p| logits.row(p).iter().map(|&v| f64::from(v))).collect();
            let exact = f64s(&file, "logits.f64");
            let (engine, torch) = (relative_rms(&ours, &exact), relative_rms(&f64s(&file, "logits.f32"), &exact));
            println!("{} {name}: {engine:.2e}, torch {torch:.2e}, ratio {:.2}", golden.display(), engine / torch);
            assert!(engine <= 2.0 * torch, "{} {name}: relative RMS {engine:e}, torch {torch:e}", golden.display());

            for (decode, stages) in [(false, "sketch.prefill.f64"), (true, "sketch.decode.f64")] {
                let n_prompt = ids(&prompt["prompt"]["ids"]).len();
                let sketched = sketch::sketch(&model, &all[..n_prompt + usize::from(decode)], decode).unwrap();
                let exact = f64s(&file, stages);
                assert_eq!(exact.len(), 6 * sketched.len());
                for (stage, exact) in sketched.iter().zip(exact.chunks(6)) {
                    let ours = [&[stage.rms, stage.mean][..], &stage.projections].concat();
                    let error = (0..6).map(|i| (ours[i] - exact[i]).abs()).fold(0.0, f64::max) / exact[0];
                    assert!(error < 1e-5, "{} {name} {}: {ours:?} for {exact:?}", golden.display(), stage.stage);
                }
            }
            judged += 1;
        }
    }
    assert!(judged >= 3, "{judged} prompts have full logits");
}

#[test]
fn greedy_tokens_are_those_of_the_golden() {
    for (model, golden) in models() {
        for (name, prompt) in prompts(&golden) {
            let greedy = &prompt["greedy"];
            let (n, stop_at_eos) = (greedy["max_new_tokens"].as_u64().unwrap(), greedy["stop_at_eos"].as_bool().unwrap());
            let ours = generate::generate(&model, &ids(&prompt["prompt"]["ids"]), n as usize, stop_at_eos).unwrap();
            assert_eq!(ours.ids, ids(&greedy["ids"]), "{} {name}", golden.display());
            let stop = if ours.stop == generate::Stop::Eos { "eos" } else { "length" };
            assert_eq!(greedy["stop"], stop, "{} {name}", golden.display());
        }
    }
}

#[test]
fn forced_log_likelihoods_are_those_of_the_golden() {
    for (model, golden) in models() {
        for (name, prompt) in prompts(&golden) {
            let all: Vec<u32> = [ids(&prompt["prompt"]["ids"]), ids(&prompt["greedy"]["ids"])].concat();
            let logits = model.forward(&all, &mut model.new_cache(), Positions::All).unwrap();
            let nll = prompt["forced"]["nll"].as_array().unwrap();
            assert_eq!(nll.len(), all.len() - 1);
            for (i, expected) in nll.iter().enumerate() {
                let expected = f32::from_bits(u32::from_str_radix(expected.as_str().unwrap(), 16).unwrap());
                let ours = -evaluate::log_softmax(logits.row(i))[all[i + 1] as usize];
                assert!((ours - f64::from(expected)).abs() < 2e-4, "{} {name} at {i}: {ours} for {expected}", golden.display());
            }
        }
    }
}

#[test]
fn summed_log_likelihoods_of_texts_are_those_of_the_golden() {
    for (model, golden) in models() {
        let folder = root().join("testdata/models").join(golden.file_name().unwrap());
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let tokenizer = Tokenizer::from_bytes(checkpoint.tokenizer.as_deref().unwrap(), &checkpoint.tokenizer_file()).unwrap();
        for name in json(&golden.join("index.json"))["perplexity"].as_array().unwrap() {
            let expected = json(&golden.join(name.as_str().unwrap()));
            let text = root().join(format!("testdata/texts/{}.txt", expected["text"]["name"].as_str().unwrap()));
            let mut ids = tokenizer.encode(&std::fs::read_to_string(text).unwrap(), expected["bos"].as_bool().unwrap()).unwrap();
            let number = |field: &str| expected[field].as_u64().unwrap() as usize;
            ids.truncate(number("tokens") + 1);
            let ours = evaluate::summed_nll(&model, &ids, number("window"), number("stride")).unwrap();
            let sum = f64::from_bits(u64::from_str_radix(expected["sum_nll"].as_str().unwrap(), 16).unwrap());
            assert_eq!(ours.tokens, number("tokens"), "{} {name}", golden.display());
            assert!((ours.sum - sum).abs() <= 1e-6 * sum, "{} {name}: {} for {sum}", golden.display(), ours.sum);
        }
    }
}
