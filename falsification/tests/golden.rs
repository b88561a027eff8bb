//! The committed goldens parse and pass the lint.
#![allow(missing_docs, reason = "a test crate has no public items")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ground_truth_falsification::golden::{Full, Index, ModelGolden, PerplexityGolden, PromptGolden, TokenizerGolden};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join("golden"))
        .expect("the golden folder is committed")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.join("index.json").is_file())
        .collect();
    folders.sort();
    folders
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn model(folder: &Path) -> ModelGolden {
    let index = Index::parse(&read(&folder.join("index.json")), "index.json").unwrap();
    let tokenizer = TokenizerGolden::parse(&read(&folder.join(&index.tokenizer)), &index.tokenizer).unwrap();
    let perplexity: Vec<PerplexityGolden> =
        index.perplexity.iter().map(|name| PerplexityGolden::parse(&read(&folder.join(name)), name).unwrap()).collect();
    let text = |name: &String| (name.clone(), String::from_utf8(read(&root().join(format!("testdata/texts/{name}.txt")))).unwrap());
    let texts: BTreeMap<String, String> = perplexity.iter().map(|golden| text(&golden.text.name)).collect();
    let published = index.published.as_ref().map(|_| String::new());
    ModelGolden { index, tokenizer, perplexity, texts, published }
}

#[test]
fn committed_goldens_pass_the_lint() {
    let folders = folders();
    assert!(!folders.is_empty());
    for folder in folders {
        let model = model(&folder);
        model.lint(&folder.display().to_string()).unwrap();
        for entry in &model.index.prompts {
            let file = format!("{}.json", entry.name);
            let mut golden = PromptGolden::parse(&read(&folder.join(&file)), &file).unwrap();
            if entry.full {
                let name = format!("{}.safetensors", entry.name);
                golden.full = Some(Full::parse(&read(&folder.join(&name)), &name).unwrap());
            }
            golden.lint(entry, &model.index, &folder.join(&file).display().to_string()).unwrap();
        }
    }
}
