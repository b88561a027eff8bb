//! Goldens beside a model's golden: of the values that a quantized file holds, by llama.cpp, and of files that somebody else made.
//!
//! | folder or file | holds |
//! |---|---|
//! | `dequantized/<quantization>/` | what transformers answers with exactly the values of that file: `index.json`, `index.sha256`, `<prompt>.json` |
//! | `llama.cpp/` | what llama.cpp answers with the same file: `index.json`, `index.sha256`, `<quantization>.json` |
//! | `given.json` | files of the model's folder that somebody else made, to be judged wherever the folder is at hand |
//!
//! A golden under `dequantized/` speaks of values, not of files: it is bound to the digest of the values, so that a new converter that
//! rounds in the same way keeps it, and one that does not is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ground_truth_falsification::golden::{
    ChatIndex, Dequantized, FileEntry, GoldenError, LLAMA_CPP_SCHEMA, LlamaCpp, MAX_JSON_BYTES, PromptGolden,
};
use serde::Deserialize;

use super::{INDEX_DIGEST, chat, complaints_about, read_capped, verify_index};
use crate::column;
use crate::escape;
use crate::hashes::FolderHashes;
use crate::runtime::Format;
use crate::workspace::Workspace;

/// The folder of goldens of values.
pub const DEQUANTIZED: &str = "dequantized";
/// The folder of llama.cpp's goldens.
pub const LLAMA_CPP: &str = "llama.cpp";
/// The list of given files.
pub const GIVEN: &str = "given.json";

const GIVEN_SCHEMA: &str = "ground-truth/given/1";

/// `index.json` under `llama.cpp/`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCppIndex {
    schema: String,
    /// Name of the model.
    pub model: String,
    /// Who wrote this.
    pub oracle: serde_json::Value,
    /// Every file but the index.
    pub files: Vec<FileEntry>,
}

/// One file that somebody else made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenEntry {
    /// Where it lies in the model's folder.
    pub path: String,
    /// Its container.
    pub format: String,
    /// The type or recipe of its weights.
    pub quantization: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenList {
    schema: String,
    model: String,
    files: Vec<GivenEntry>,
}

/// A folder of one of the derived goldens, its index read.
#[derive(Debug, Clone)]
pub struct Derived<I> {
    /// The folder.
    pub path: PathBuf,
    /// Its index.
    pub index: I,
}

/// What lies beside a model's golden, as far as listing knows it.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// By the name of the quantization.
    pub dequantized: BTreeMap<String, Arc<Derived<Dequantized>>>,
    /// llama.cpp's.
    pub llama_cpp: Option<Arc<Derived<LlamaCppIndex>>>,
    /// Files that somebody else made.
    pub given: Vec<GivenEntry>,
    /// The index of the golden of chat templates, which all models share.
    pub chat: Option<Arc<ChatIndex>>,
}

impl Beside {
    /// Reads the indexes beside the golden in `folder`, of the model `model`.
    ///
    /// # Errors
    /// What is wrong with the first that is, naming the file.
    pub fn read(workspace: &Workspace, folder: &Path, model: &str) -> Result<Self, String> {
        let mut beside = Self { chat: chat::index(workspace)?, ..Self::default() };
        for path in folders_in(workspace, &folder.join(DEQUANTIZED))? {
            let shown = workspace.show(&path.join("index.json"));
            let index = Dequantized::parse(&index_bytes(workspace, &path)?, &shown).map_err(|error| error.to_string())?;
            said(&shown, "model", &index.model, model)?;
            said(&shown, "quantization", &index.quantization, &name_of(&path))?;
            if index.prompts.is_empty() {
                return Err(format!("{shown}: field `prompts` is empty: nothing would be tested"));
            }
            let mut due: BTreeSet<String> = BTreeSet::new();
            for prompt in &index.prompts {
                let files = [Some(format!("{}.json", prompt.name)), prompt.full.then(|| format!("{}.safetensors", prompt.name))];
                due.extend(files.into_iter().flatten());
            }
            let listed: BTreeSet<String> = index.files.iter().map(|file| file.name.clone()).collect();
            if due != listed || listed.len() != index.files.len() {
                return Err(format!("{shown}: `files` are not the files of `prompts`, each once"));
            }
            beside.dequantized.insert(index.quantization.clone(), Arc::new(Derived { path, index }));
        }
        let path = folder.join(LLAMA_CPP);
        if path.is_dir() {
            let shown = workspace.show(&path.join("index.json"));
            let index: LlamaCppIndex =
                serde_json::from_slice(&index_bytes(workspace, &path)?).map_err(|error| format!("{shown}: {error}"))?;
            said(&shown, "schema", &index.schema, LLAMA_CPP_SCHEMA)?;
            said(&shown, "model", &index.model, model)?;
            beside.llama_cpp = Some(Arc::new(Derived { path, index }));
        }
        let path = folder.join(GIVEN);
        if path.is_file() {
            let shown = workspace.show(&path);
            let list: GivenList = serde_json::from_slice(&json_bytes(workspace, &path)?).map_err(|error| format!("{shown}: {error}"))?;
            said(&shown, "schema", &list.schema, GIVEN_SCHEMA)?;
            said(&shown, "model", &list.model, model)?;
            for file in &list.files {
                if file.path.split('/').any(|part| !escape::is_plain_name(part)) {
                    let name = escape::line(&file.path);
                    return Err(format!("{shown}: lists `{name}`, which is no path of plain names inside the model's folder"));
                }
            }
            beside.given = list.files;
        }
        Ok(beside)
    }
}

impl Beside {
    /// The golden of the values that this quantization of the model has in this container. Containers share one, but where they keep small
    /// tensors in another type: such a container has one of its own.
    pub fn of_values(&self, format: Format, quantization: &str) -> Option<&Arc<Derived<Dequantized>>> {
        let shared = column::golden_name(format, quantization);
        self.dequantized.get(&format!("{format}-{quantization}")).or_else(|| self.dequantized.get(&shared))
    }
}

impl Derived<Dequantized> {
    /// Holds every file against the index.
    ///
    /// # Errors
    /// What is missing, altered or not listed, each naming its file.
    pub fn verify(&self, workspace: &Workspace) -> Result<(), String> {
        verify(workspace, &self.path, &self.index.files)
    }

    /// Reads the golden of one prompt.
    ///
    /// # Errors
    /// What cannot be read or parsed, naming its file.
    pub fn prompt(&self, workspace: &Workspace, name: &str) -> Result<PromptGolden, String> {
        parsed(workspace, &self.path.join(format!("{name}.json")), PromptGolden::parse)
    }
}

impl Derived<LlamaCppIndex> {
    /// Holds every file against the index.
    ///
    /// # Errors
    /// What is missing, altered or not listed, each naming its file.
    pub fn verify(&self, workspace: &Workspace) -> Result<(), String> {
        verify(workspace, &self.path, &self.index.files)
    }

    /// Reads the golden of one quantization.
    ///
    /// # Errors
    /// What cannot be read or parsed, naming its file.
    pub fn read(&self, workspace: &Workspace, quantization: &str) -> Result<LlamaCpp, String> {
        parsed(workspace, &self.path.join(format!("{quantization}.json")), LlamaCpp::parse)
    }

    /// Whether there is a golden of that quantization.
    pub fn has(&self, quantization: &str) -> bool {
        self.index.files.iter().any(|file| file.name.strip_suffix(".json") == Some(quantization))
    }
}

fn verify(workspace: &Workspace, folder: &Path, files: &[FileEntry]) -> Result<(), String> {
    let index = workspace.show(&folder.join("index.json"));
    let mut complaints = Vec::new();
    let mut hashes = FolderHashes::open(folder, workspace.out());
    complaints_about(workspace, folder, files, &index, &mut hashes, &mut complaints);
    hashes.remember();
    let listed = |name: &str| name == "index.json" || name == INDEX_DIGEST || files.iter().any(|file| file.name == name);
    match super::names_in(folder) {
        Ok(names) => {
            for name in names.iter().filter(|name| !listed(name)) {
                complaints.push(format!("{}: not listed in {index}", workspace.show(&folder.join(name))));
            }
        }
        Err(error) => complaints.push(format!("{}: {error}", workspace.show(folder))),
    }
    if complaints.is_empty() { Ok(()) } else { Err(super::few(&complaints)) }
}

fn said(file: &str, field: &str, found: &str, due: &str) -> Result<(), String> {
    if found == due {
        return Ok(());
    }
    Err(format!("{file}: field `{field}` is `{}`, must be `{}`", escape::line(found), escape::line(due)))
}

/// The bytes of a folder's `index.json`, held against the digest beside it.
fn index_bytes(workspace: &Workspace, folder: &Path) -> Result<Vec<u8>, String> {
    let bytes = json_bytes(workspace, &folder.join("index.json"))?;
    verify_index(workspace, folder, &bytes)?;
    Ok(bytes)
}

fn json_bytes(workspace: &Workspace, path: &Path) -> Result<Vec<u8>, String> {
    read_capped(path, MAX_JSON_BYTES as u64).map_err(|error| format!("{}: {error}", workspace.show(path)))
}

fn parsed<T>(workspace: &Workspace, path: &Path, parse: fn(&[u8], &str) -> Result<T, GoldenError>) -> Result<T, String> {
    parse(&json_bytes(workspace, path)?, &workspace.show(path)).map_err(|error| error.to_string())
}

fn folders_in(workspace: &Workspace, folder: &Path) -> Result<Vec<PathBuf>, String> {
    let shown = |error: io::Error| format!("{}: {error}", workspace.show(folder));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(shown(error)),
    };
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(shown)?;
    folders.sort();
    match folders.iter().find(|path| !path.is_dir() || !escape::is_plain_name(&name_of(path))) {
        Some(path) => Err(format!("{}: is no folder of a golden", workspace.show(path))),
        None => Ok(folders),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
