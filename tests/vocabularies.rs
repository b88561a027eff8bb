//! Tokenizers rebuilt from vocabularies that real models have, against what llama.cpp's own tests expect of them.
//!
//! | test | falsified by |
//! |---|---|
//! | `vocabulary::<name>::ids` | a case of `<name>.gguf.inp` whose ids are not its line in `<name>.gguf.out` |
//! | `vocabulary::<name>::decode` | ids of that file whose text is not the case's, where the tokenizer keeps every character |
//! | `again::<name>` | ids of those cases that change when the rebuilt tokenizer is written as GGUF keys and rebuilt once more |
//! | `export::<model>` | a golden string whose ids, or their bytes, are others after the model's tokenizer went to GGUF keys and back |
//! | `golden-large::<model>` | golden ids that do not decode to the golden text, or a prompt that does not come back from its ids |
//!
//! The data is not carried: `GROUND_TRUTH_DATA` names its folder (relative to the workspace). Where it is not set the tests are listed as
//! ignored; where it names nothing they are red.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use ground_truth::format::gguf::{Gguf, Metadata};
use ground_truth::tokenizer::gguf::{export, tokenizer_json};
use ground_truth::{Checkpoint, Config, Tokenizer};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

/// The vocabularies, and whether every text comes back from its ids (BERT's drops capitals, accents and spaces).
const VOCABULARIES: [(&str, bool); 9] = [
    ("bert-bge", false),
    ("deepseek-coder", true),
    ("falcon", true),
    ("gpt-2", true),
    ("llama-bpe", true),
    ("llama-spm", true),
    ("phi-3", true),
    ("qwen2", true),
    ("starcoder", true),
];

/// Those that can be written: not BERT's, and not phi-3's, whose tokens take spaces that a GGUF file does not mention.
const AGAIN: [&str; 7] = ["deepseek-coder", "falcon", "gpt-2", "llama-bpe", "llama-spm", "qwen2", "starcoder"];

/// The models of `golden-large` and the vocabularies that have their tokens.
const GOLDEN_LARGE: [(&str, &str); 2] = [("gpt2-124m", "gpt-2"), ("qwen2-0.5b", "qwen2")];

/// What parts the cases of an `.inp` file.
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let data = std::env::var_os("GROUND_TRUTH_DATA").filter(|value| !value.is_empty());
    let data = data.map(|value| root().join(value));
    let mut trials = Vec::new();
    for (name, keeps_all) in VOCABULARIES {
        trials.push(trial(format!("vocabulary::{name}::ids"), &data, move |data| ids(data, name)));
        if keeps_all {
            trials.push(trial(format!("vocabulary::{name}::decode"), &data, move |data| decode(data, name)));
        }
    }
    for name in AGAIN {
        trials.push(trial(format!("again::{name}"), &data, move |data| again(data, name)));
    }
    for (model, vocabulary) in GOLDEN_LARGE {
        trials.push(trial(format!("golden-large::{model}"), &data, move |data| golden(data, model, vocabulary)));
    }
    for model in carried() {
        trials.push(Trial::test(format!("export::{model}"), move || round_trip(&root().join("testdata/models").join(&model), &model)));
    }
    trials.push(trial("export::stories260K".to_owned(), &data, |data| round_trip(&data.join("models/stories260K"), "stories260K")));
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

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The names of the carried models.
fn carried() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("testdata/models")).expect("the folder of the models");
    let folders = folders.map(|entry| entry.expect("an entry").path()).filter(|path| path.join("tokenizer.json").is_file());
    let mut names: Vec<String> = folders.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    names.sort_unstable();
    assert!(!names.is_empty(), "no model is carried");
    names
}

/// The tokenizer of a model's folder, written as GGUF keys and rebuilt from them, on every string of its golden.
fn round_trip(folder: &Path, model: &str) -> Result<(), Failed> {
    let checkpoint = Checkpoint::open(folder)?;
    let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file())?;
    let file = checkpoint.tokenizer_file();
    let keys = export(checkpoint.tokenizer.as_deref().ok_or("no tokenizer")?, &file, config.vocab_size, &config)?;
    let rebuilt = Tokenizer::from_bytes(&tokenizer_json(&Metadata::from(keys))?, &file)?;
    if rebuilt.vocab_size() != config.vocab_size {
        return Err(format!("{} ids, the embedding has {} rows", rebuilt.vocab_size(), config.vocab_size).into());
    }
    let golden: Value = serde_json::from_str(&read(&root().join("golden").join(model).join("tokenizer.json"))?)?;
    let cases = golden["cases"].as_array().ok_or("no cases")?;
    if cases.len() < 400 {
        return Err(format!("{} cases, at least 200 strings with and without special tokens are due", cases.len()).into());
    }
    for case in cases {
        let (text, special) = (case["text"].as_str().ok_or("no text")?, case["add_special_tokens"].as_bool().ok_or("no flag")?);
        let expected: Vec<u32> = serde_json::from_value(case["ids"].clone())?;
        let observed = rebuilt.encode(text, special)?;
        if observed != expected {
            return Err(format!("{text:?} ({special}): expected {expected:?}, observed {observed:?}").into());
        }
        let decoded: String = rebuilt.decode(&expected)?.iter().map(|byte| format!("{byte:02x}")).collect();
        if case["decoded"] != decoded {
            return Err(format!("{expected:?}: expected {}, observed {decoded}", case["decoded"]).into());
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// A vocabulary that was rebuilt: the text of its `tokenizer.json`, and the tokenizer.
#[derive(Clone)]
struct Rebuilt {
    file: PathBuf,
    json: Arc<Vec<u8>>,
    tokenizer: Tokenizer,
}

/// A vocabulary; rebuilt once by whoever asks first, several trials ask for it.
fn open(data: &Path, name: &str) -> Result<Rebuilt, Failed> {
    type Slot = Arc<OnceLock<Result<Rebuilt, String>>>;
    static BUILT: Mutex<BTreeMap<String, Slot>> = Mutex::new(BTreeMap::new());
    let slot = Slot::clone(BUILT.lock()?.entry(name.to_owned()).or_default());
    let build = || -> Result<Rebuilt, Box<dyn std::error::Error>> {
        let file = data.join(format!("tokenizers/ggml-vocab-{name}.gguf"));
        let json = tokenizer_json(&Gguf::open(&file)?.metadata)?;
        let tokenizer = Tokenizer::from_bytes(&json, &file)?;
        Ok(Rebuilt { file, json: Arc::new(json), tokenizer })
    };
    Ok(slot.get_or_init(|| build().map_err(|error| error.to_string())).clone()?)
}

/// Text and ids of every case.
fn cases(data: &Path, name: &str) -> Result<Vec<(String, Vec<u32>)>, Failed> {
    let path = |end: &str| data.join(format!("tokenizers/ggml-vocab-{name}.gguf.{end}"));
    let (texts, ids) = (read(&path("inp"))?, read(&path("out"))?);
    let mut texts: Vec<&str> = texts.split(SEPARATOR).collect();
    // The last separator ends the last case, the last newline the last line.
    if texts.last() == Some(&"") {
        texts.pop();
    }
    let ids = ids.lines().map(|line| line.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>());
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    if texts.len() != ids.len() || texts.len() < 40 {
        return Err(format!("{name}: {} texts, {} lines of ids, at least 40 of each are due", texts.len(), ids.len()).into());
    }
    Ok(texts.into_iter().map(str::to_owned).zip(ids).collect())
}

fn ids(data: &Path, name: &str) -> Result<(), Failed> {
    let Rebuilt { tokenizer, .. } = open(data, name)?;
    let mut wrong = Vec::new();
    for (text, expected) in cases(data, name)? {
        let observed = tokenizer.encode(&text, false)?;
        if observed != expected {
            wrong.push(format!("{text:?}: expected {expected:?}, observed {observed:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn decode(data: &Path, name: &str) -> Result<(), Failed> {
    let Rebuilt { tokenizer, .. } = open(data, name)?;
    let mut wrong = Vec::new();
    for (text, ids) in cases(data, name)? {
        let observed = String::from_utf8(tokenizer.decode(&ids)?)?;
        if observed != text {
            wrong.push(format!("{ids:?}: expected {text:?}, observed {observed:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn again(data: &Path, name: &str) -> Result<(), Failed> {
    let Rebuilt { file, json, tokenizer } = open(data, name)?;
    let rows = tokenizer.vocab_size() + 5;
    let config = json!({
        "model_type": "llama", "vocab_size": rows, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1
    });
    let config = Config::parse(config.as_object().ok_or("no object")?, None, Path::new("config.json"))?;
    let twice = Metadata::from(export(&json, &file, rows, &Config { bos: None, eos: vec![0, 1, 2], ..config })?);
    let tokenizer = Tokenizer::from_bytes(&tokenizer_json(&twice)?, &file)?;
    if tokenizer.vocab_size() != rows {
        return Err(format!("{} ids for {rows} rows", tokenizer.vocab_size()).into());
    }
    for (text, expected) in cases(data, name)? {
        let observed = tokenizer.encode(&text, false)?;
        if observed != expected {
            return Err(format!("{text:?}: expected {expected:?}, observed {observed:?}").into());
        }
    }
    Ok(())
}

fn golden(data: &Path, model: &str, vocabulary: &str) -> Result<(), Failed> {
    let Rebuilt { tokenizer, .. } = open(data, vocabulary)?;
    let folder = data.join("golden-large").join(model);
    let mut judged = 0;
    for entry in std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let file = entry?.path();
        let golden: Value = serde_json::from_str(&read(&file)?)?;
        let ids: Vec<u32> = serde_json::from_value(golden["tokens"].clone())?;
        let (text, prompt) = (golden["text"].as_str().ok_or("no text")?, golden["prompt"].as_str().ok_or("no prompt")?);
        let observed = String::from_utf8(tokenizer.decode(&ids)?)?;
        if observed != text {
            return Err(format!("{}: {ids:?}: expected {text:?}, observed {observed:?}", file.display()).into());
        }
        let back = tokenizer.decode(&tokenizer.encode(prompt, false)?)?;
        if back != prompt.as_bytes() {
            return Err(format!("{}: {prompt:?} comes back as {:?}", file.display(), String::from_utf8_lossy(&back)).into());
        }
        judged += 1;
    }
    if judged >= 4 { Ok(()) } else { Err(format!("{}: {judged} goldens, at least 4 are due", folder.display()).into()) }
}
