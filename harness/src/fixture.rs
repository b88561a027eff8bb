//! A workspace in a temporary folder, with models and goldens small enough to write by hand.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::escape::hex;
use crate::golden_store::INDEX_DIGEST;
use crate::make::{self, Step, Types, Way};
use crate::runtime::Format;
use crate::workspace::Workspace;

/// Where snapshots of what people read are kept.
pub fn pinned() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// A carried model as published, or what a conversion makes of it, which lies in the folder as long as that is held.
pub fn carried(name: &str, form: Option<(Format, &'static str)>) -> (PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let model = Workspace::from_env().root().join("testdata/models").join(name);
    let path = form.map_or(model.clone(), |(format, quantization)| {
        let way = Way(vec![Step { format, types: Types::Of(quantization) }]);
        folder.path().join(make::convert(&model, &way, folder.path()).unwrap().artifact)
    });
    (path, folder)
}

/// The temporary workspace. Dropping it removes it.
pub struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// An empty workspace.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A workspace that carries these models, each with its golden.
    pub fn carrying(models: &[&str]) -> Self {
        let fixture = Self::empty();
        for name in models {
            fixture.model(&format!("testdata/models/{name}"));
            fixture.golden(&format!("golden/{name}"), &format!("testdata/models/{name}"), name, true);
        }
        fixture
    }

    pub fn workspace(&self) -> Workspace {
        Workspace::at(self.root(), self.root().join("out"))
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root().join(relative)
    }

    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.ends_with("index.json") {
            let digest = format!("{}  index.json\n", hex(&Sha256::digest(content.as_ref())));
            fs::write(path.with_file_name(INDEX_DIGEST), digest).unwrap();
        }
        fs::write(path, content).unwrap();
    }

    pub fn remove(&self, relative: &str) {
        let path = self.path(relative);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// Flips the lowest bit of the middle byte of a file.
    pub fn flip(&self, relative: &str) {
        let mut bytes = fs::read(self.path(relative)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(self.path(relative), bytes).unwrap();
    }

    /// A folder that has the files of a model, if not their content.
    pub fn model(&self, folder: &str) {
        self.write(&format!("{folder}/config.json"), r#"{"model_type":"llama"}"#);
        self.write(&format!("{folder}/model.safetensors"), b"weights");
        self.write(&format!("{folder}/tokenizer.json"), b"{}");
    }

    /// A golden whose index vouches for its two prompts and for the model.
    pub fn golden(&self, folder: &str, model_folder: &str, name: &str, carried: bool) {
        for file in ["arithmetic.json", "code.json", "code.safetensors", "tokenizer.json", "perplexity-held-out.json"] {
            self.write(&format!("{folder}/{file}"), format!("the golden of {name}: {file}"));
        }
        let index = self.index(folder, model_folder, name, carried);
        self.write(&format!("{folder}/index.json"), index.to_string());
    }

    /// The index of what lies in the two folders.
    pub fn index(&self, folder: &str, model_folder: &str, name: &str, carried: bool) -> Value {
        let prompt = |name: &str, full: bool| json!({"name": name, "category": "canary", "n_prompt": 3, "n_greedy": 32, "stop": "length", "margin_class": "wide", "full": full});
        json!({
            "schema": "ground-truth/golden/1", "model": name, "architecture": "llama", "dtype": "F32",
            "carried": carried, "trained_by_us": false,
            "oracle": {"runtime": "transformers", "versions": {"torch": "2"}, "dtype": "float32", "attention": "eager", "threads": 1,
                "cpu": "a", "generator": "b"},
            "config": {"n_layers": 1, "n_heads": 1, "n_kv_heads": 1, "head_dim": 2, "hidden_size": 2, "intermediate_size": 2,
                "vocab_size": 8, "n_ctx": 16, "tie_word_embeddings": false, "bos": 1, "eos": [2]},
            "parameters": 1, "tensors": [], "model_files": self.described(model_folder), "golden_files": self.described(folder),
            "prompts": [prompt("arithmetic", false), prompt("code", true)], "not_asked": [], "tokenizer": "tokenizer.json",
            "perplexity": ["perplexity-held-out.json"], "published": null,
        })
    }

    fn described(&self, folder: &str) -> Vec<Value> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.path(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        files
            .iter()
            .filter(|path| name(path) != "index.json" && name(path) != INDEX_DIGEST)
            .map(|path| {
                let bytes = fs::read(path).unwrap();
                json!({"name": name(path), "bytes": bytes.len(), "sha256": hex(&Sha256::digest(&bytes))})
            })
            .collect()
    }
}
