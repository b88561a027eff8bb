//! The files that llama.cpp's own quantizer wrote of `ref256`, against the Hugging Face folder that they were made of.
//!
//! | test | falsified by |
//! |---|---|
//! | `ref256::<type>::config` | a file whose keys do not give the folder's configuration |
//! | `ref256::<type>::tensors` | a tensor whose name, shape or values are not the folder's: to the bit for f32, rounded for f16 and bf16, else within the noise of the type |
//! | `ref256::f32::digest` | a digest of values that is not the folder's |
//! | `ref256::f32::greedy` | a greedy token that is not that of transformers; a prompt or an answer that the file's own tokenizer has otherwise |
//!
//! The data is not carried: `GROUND_TRUTH_DATA` names its folder (relative to the workspace). Where it is not set the tests are listed as
//! ignored; where it names nothing they are red.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ground_truth::{Checkpoint, Config, Dtype, Model, Tensor, Tokenizer, generate};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// The mixes, and the most that a tensor may differ from its source, as relative RMS: what llama.cpp's own files measure, and a half more.
const FILES: [(&str, f64); 16] = [
    ("f32", 0.0),
    ("f16", 0.0004),
    ("bf16", 0.0026),
    ("q8_0", 0.0085),
    ("q6_k", 0.028),
    ("q5_k_m", 0.056),
    ("q5_1", 0.060),
    ("q5_0", 0.068),
    ("q4_k_m", 0.113),
    ("q4_k_s", 0.113),
    ("iq4_nl", 0.122),
    ("iq4_xs", 0.122),
    ("q4_1", 0.126),
    ("q4_0", 0.137),
    ("q3_k_m", 0.24),
    ("q2_k", 0.46),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let data = std::env::var_os("GROUND_TRUTH_DATA").filter(|value| !value.is_empty());
    let data = data.map(|value| Path::new(env!("CARGO_MANIFEST_DIR")).join(value).join("ref256"));
    let mut trials = Vec::new();
    for (name, bound) in FILES {
        trials.push(trial(format!("ref256::{name}::config"), &data, move |data| config(data, name)));
        trials.push(trial(format!("ref256::{name}::tensors"), &data, move |data| tensors(data, name, bound)));
    }
    trials.push(trial("ref256::f32::digest".to_owned(), &data, digest));
    trials.push(trial("ref256::f32::greedy".to_owned(), &data, greedy));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A trial where the data is at hand, else a line that says why there is none.
fn trial(name: String, data: &Option<PathBuf>, run: impl FnOnce(&Path) -> Result<(), Failed> + Send + 'static) -> Trial {
    let required = std::env::var_os("GROUND_TRUTH_REQUIRE_ALL").is_some_and(|value| value == "1");
    match data.clone() {
        Some(data) => Trial::test(name, move || run(&data)),
        None if required => Trial::test(name, || Err("GROUND_TRUTH_DATA is not set, and GROUND_TRUTH_REQUIRE_ALL=1".into())),
        None => Trial::test(name, || Ok(())).with_kind("GROUND_TRUTH_DATA is not set").with_ignored_flag(true),
    }
}

fn file(data: &Path, name: &str) -> Result<Checkpoint, Failed> {
    Ok(Checkpoint::open(&data.join(format!("gguf/ref256-{name}.gguf")))?)
}

/// What a checkpoint is configured as, without the notes, which tell of the file.
fn parsed(checkpoint: &Checkpoint) -> Result<Config, Failed> {
    let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file())?;
    Ok(Config { notes: Vec::new(), ..config })
}

fn config(data: &Path, name: &str) -> Result<(), Failed> {
    let (found, expected) = (parsed(&file(data, name)?)?, parsed(&Checkpoint::open(data)?)?);
    if found == expected { Ok(()) } else { Err(format!("the file says {found:?}, the folder {expected:?}").into()) }
}

fn tensors(data: &Path, name: &str, bound: f64) -> Result<(), Failed> {
    let (found, expected) = (file(data, name)?, Checkpoint::open(data)?);
    let names = |checkpoint: &Checkpoint| checkpoint.tensors.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    if names(&found) != names(&expected) {
        return Err(format!("the file has {:?}, the folder {:?}", names(&found), names(&expected)).into());
    }
    for (tensor, source) in expected.tensors.iter() {
        let stored = found.tensors.get(tensor).ok_or("gone")?;
        if stored.shape() != source.shape() {
            return Err(format!("{tensor}: shape {:?} for {:?}", stored.shape(), source.shape()).into());
        }
        let rounded = match stored.dtype() {
            dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16) => {
                Some(Tensor::from_f32(dtype, source.shape().to_vec(), &source.to_f32())?.to_f32())
            }
            _ => None,
        };
        let (values, wanted) = (stored.to_f32(), source.to_f32());
        if rounded.is_some_and(|rounded| bits(&rounded) != bits(&values)) {
            return Err(format!("{tensor}: is not the folder's values, rounded to {}", stored.dtype()).into());
        }
        let drift = relative_rms(&values, &wanted);
        if drift.is_nan() || drift > bound {
            return Err(format!("{tensor} ({}): relative RMS {drift:.4}, the bound is {bound}", stored.dtype()).into());
        }
    }
    Ok(())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn relative_rms(values: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(values.len(), wanted.len(), "two tensors of one shape");
    let squares = |pairs: &mut dyn Iterator<Item = f64>| pairs.map(|x| x * x).sum::<f64>();
    let difference = squares(&mut (0..values.len()).map(|i| f64::from(values[i]) - f64::from(wanted[i])));
    (difference / squares(&mut wanted.iter().map(|x| f64::from(*x)))).sqrt()
}

fn digest(data: &Path) -> Result<(), Failed> {
    let (file, folder) = (file(data, "f32")?.values_digest(), Checkpoint::open(data)?.values_digest());
    if file == folder { Ok(()) } else { Err(format!("{file:02x?} of the file, {folder:02x?} of the folder").into()) }
}

fn greedy(data: &Path) -> Result<(), Failed> {
    let golden: Value = serde_json::from_slice(&std::fs::read(data.join("greedy-transformers.json"))?)?;
    let checkpoint = file(data, "f32")?;
    let model = Model::from_checkpoint(&checkpoint)?;
    let tokenizer = Tokenizer::from_bytes(checkpoint.tokenizer.as_deref().ok_or("no tokenizer")?, &checkpoint.tokenizer_file())?;
    let ids = |value: &Value| value.as_array().map(|ids| ids.iter().filter_map(|id| id.as_u64().map(|id| id as u32)).collect::<Vec<u32>>());
    let prompts = golden.as_object().filter(|prompts| prompts.len() == 4).ok_or("four prompts are due")?;
    for (prompt, answer) in prompts {
        let (prompt_ids, expected) = (ids(&answer["prompt_ids"]).ok_or("no ids")?, ids(&answer["ids"]).ok_or("no ids")?);
        let generated = generate::generate(&model, &prompt_ids, expected.len(), false)?;
        if expected.len() != 32 || generated.ids != expected {
            return Err(format!("`{prompt}`: {:?}, transformers has {expected:?}", generated.ids).into());
        }
        let encoded = tokenizer.encode(prompt, true)?;
        if encoded != prompt_ids {
            return Err(format!("`{prompt}` is encoded as {encoded:?}, transformers has {prompt_ids:?}").into());
        }
        if Some(String::from_utf8_lossy(&tokenizer.decode(&generated.ids)?).as_ref()) != answer["text"].as_str() {
            return Err(format!("`{prompt}`: {:?} is decoded to another text than {}", generated.ids, answer["text"]).into());
        }
    }
    Ok(())
}
