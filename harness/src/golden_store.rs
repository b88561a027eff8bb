//! Goldens and model files, read and held against their hashes.
//!
//! This is the only place that opens them. `index.json` is read when rows are listed; everything else is hashed once, when the
//! gate of the first cell of a model is judged, and parsed when a row needs it. An index vouches for every byte of the golden and
//! of the model: a file that is missing, altered or not listed is named, and the gate is red. Folders beside it have an index of their
//! own: see [`derived`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ground_truth_falsification::golden::{
    self, ChatIndex, FileEntry, Full, Index, MAX_FULL_BYTES, MAX_JSON_BYTES, ModelGolden, PerplexityGolden, PromptEntry, PromptGolden,
    TokenizerGolden,
};
use sha2::{Digest, Sha256};

use crate::escape;
use crate::hashes::FolderHashes;
use crate::roster::{self, GoldenFolder};
use crate::workspace::Workspace;

pub mod chat;
pub mod derived;

/// Largest text that a perplexity golden or a published continuation names, in bytes.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// One line in the form of sha256sum, beside `index.json`: what vouches for the index itself.
pub const INDEX_DIGEST: &str = "index.sha256";

/// Largest digest file, in bytes; a right one has 77.
const MAX_DIGEST_BYTES: u64 = 256;

/// How many complaints a gate prints; the rest are counted.
const MAX_COMPLAINTS: usize = 5;

/// Files of a model folder that change answers by being there: one of these that the index does not list is red.
const READ_IF_PRESENT: [&str; 4] = ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"];

/// Reads one model's golden.
#[derive(Debug, Clone)]
pub struct GoldenStore {
    workspace: Workspace,
    folder: GoldenFolder,
    model: PathBuf,
}

impl GoldenStore {
    /// The golden `folder` of the model in the folder `model`.
    pub fn new(workspace: &Workspace, folder: &GoldenFolder, model: &Path) -> Self {
        Self { workspace: workspace.clone(), folder: folder.clone(), model: model.to_path_buf() }
    }

    /// The folders of the run.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.folder.index
    }

    /// The index of the golden of chat templates, where there is one.
    pub fn chat(&self) -> Option<Arc<ChatIndex>> {
        self.folder.beside.chat.clone()
    }

    /// Holds every file of the golden and of the model against the index.
    ///
    /// # Errors
    /// What is missing, altered or not listed, each naming its file.
    pub fn verify(&self) -> Result<(), String> {
        let mut complaints = Vec::new();
        self.verify_lists(&mut complaints);
        self.verify_golden(&mut complaints);
        self.verify_model(&mut complaints);
        match complaints.as_slice() {
            [] => Ok(()),
            _ => Err(self.summed_up(&complaints)),
        }
    }

    fn summed_up(&self, complaints: &[String]) -> String {
        let text = few(complaints);
        let command = roster::oracle_command(&self.workspace, &self.model);
        format!("{text}. Restore what was changed; if the change is meant, write the golden again: {command}")
    }

    /// The lists of the index against each other: every prompt and text has its files, every file has its use.
    fn verify_lists(&self, complaints: &mut Vec<String>) {
        let index = self.index();
        let shown = self.show_golden("index.json");
        let mut used: BTreeSet<String> = BTreeSet::new();
        used.insert(index.tokenizer.clone());
        used.extend(index.perplexity.iter().cloned());
        used.extend((!self.folder.beside.given.is_empty()).then(|| derived::GIVEN.to_owned()));
        for prompt in &index.prompts {
            used.insert(format!("{}.json", prompt.name));
            if prompt.full {
                used.insert(format!("{}.safetensors", prompt.name));
            }
        }
        let mut listed = BTreeSet::new();
        for file in &index.golden_files {
            if !listed.insert(file.name.clone()) {
                complaints.push(format!("{shown}: lists `{}` twice", file.name));
            }
        }
        for name in used.difference(&listed) {
            complaints.push(format!("{shown}: `golden_files` lacks `{}`", escape::line(name)));
        }
        for name in listed.difference(&used) {
            complaints.push(format!("{shown}: lists `{name}`, which no prompt or text uses"));
        }
        if index.model_files.is_empty() {
            complaints.push(format!("{shown}: `model_files` is empty, nothing vouches for the model"));
        }
    }

    fn verify_golden(&self, complaints: &mut Vec<String>) {
        let folder = &self.folder.path;
        self.verify_hashes(folder, &self.index().golden_files, complaints);
        let listed = |name: &str| {
            let beside = [derived::DEQUANTIZED, derived::LLAMA_CPP].contains(&name) && folder.join(name).is_dir();
            beside || name == "index.json" || name == INDEX_DIGEST || self.index().golden_files.iter().any(|file| file.name == name)
        };
        match names_in(folder) {
            Ok(names) => {
                for name in names.iter().filter(|name| !listed(name)) {
                    complaints.push(format!("{}: not listed in index.json", self.show_golden(name)));
                }
            }
            Err(error) => complaints.push(format!("{}: {error}", self.workspace.show(folder))),
        }
    }

    fn verify_model(&self, complaints: &mut Vec<String>) {
        self.verify_hashes(&self.model, &self.index().model_files, complaints);
        let listed = |name: &str| self.index().model_files.iter().any(|file| file.name == name);
        match names_in(&self.model) {
            Ok(names) => {
                for name in names.iter().filter(|name| READ_IF_PRESENT.contains(&name.as_str()) && !listed(name)) {
                    let shown = self.workspace.show(&self.model.join(name));
                    complaints.push(format!("{shown}: not among the model's files in {}", self.show_golden("index.json")));
                }
            }
            Err(error) => complaints.push(format!("{}: {error}", self.workspace.show(&self.model))),
        }
    }

    fn verify_hashes(&self, folder: &Path, files: &[FileEntry], complaints: &mut Vec<String>) {
        let mut hashes = FolderHashes::open(folder, self.workspace.out());
        complaints_about(&self.workspace, folder, files, &self.show_golden("index.json"), &mut hashes, complaints);
        hashes.remember();
    }

    /// Reads what the checks of a cell compare against.
    ///
    /// # Errors
    /// What cannot be read or parsed, naming its file.
    pub fn model(&self) -> Result<ModelGolden, String> {
        let index = self.index().clone();
        let tokenizer = self.parsed(&index.tokenizer, TokenizerGolden::parse)?;
        let perplexity = index.perplexity.iter().map(|name| self.parsed(name, PerplexityGolden::parse)).collect::<Result<Vec<_>, _>>()?;
        let mut texts = BTreeMap::new();
        for golden in &perplexity {
            texts.insert(golden.text.name.clone(), self.text(golden)?);
        }
        let published = match &index.published {
            Some(published) => Some(self.published(&published.file)?),
            None => None,
        };
        let chat = match &self.folder.beside.chat {
            Some(index) => Some(Arc::new(chat::golden(&self.workspace, index)?)),
            None => None,
        };
        Ok(ModelGolden { index, tokenizer, perplexity, texts, published, chat })
    }

    /// Reads the whole golden and derives again what can be derived. What belongs to one prompt is dropped with it.
    ///
    /// # Errors
    /// What cannot be read or contradicts itself, naming its file.
    pub fn linted(&self) -> Result<ModelGolden, String> {
        let golden = self.model()?;
        golden.lint(&self.workspace.show(&self.folder.path)).map_err(|error| error.to_string())?;
        for entry in &golden.index.prompts {
            let file = self.show_golden(&format!("{}.json", entry.name));
            self.prompt(entry)?.lint(entry, &golden.index, &file).map_err(|error| error.to_string())?;
        }
        Ok(golden)
    }

    /// Reads the golden of one prompt, with its full logits where there are any.
    ///
    /// # Errors
    /// What cannot be read or parsed, naming its file.
    pub fn prompt(&self, entry: &PromptEntry) -> Result<PromptGolden, String> {
        let mut golden = self.parsed(&format!("{}.json", entry.name), PromptGolden::parse)?;
        if entry.full {
            let name = format!("{}.safetensors", entry.name);
            let path = self.folder.path.join(&name);
            let shown = self.workspace.show(&path);
            let bytes = read_capped(&path, MAX_FULL_BYTES as u64).map_err(|error| format!("{shown}: {error}"))?;
            golden.full = Some(Full::parse(&bytes, &shown).map_err(|error| error.to_string())?);
        }
        Ok(golden)
    }

    fn parsed<T>(&self, name: &str, parse: fn(&[u8], &str) -> Result<T, golden::GoldenError>) -> Result<T, String> {
        let path = self.folder.path.join(name);
        let shown = self.workspace.show(&path);
        let bytes = read_capped(&path, MAX_JSON_BYTES as u64).map_err(|error| format!("{shown}: {error}"))?;
        parse(&bytes, &shown).map_err(|error| error.to_string())
    }

    /// The text whose perplexity was measured.
    fn text(&self, golden: &PerplexityGolden) -> Result<String, String> {
        let name = &golden.text.name;
        if !escape::is_plain_name(name) {
            return Err(format!("perplexity golden names the text `{}`, which is not a plain file name", escape::line(name)));
        }
        let path = self.workspace.texts().join(format!("{name}.txt"));
        let shown = self.workspace.show(&path);
        let bytes = read_capped(&path, MAX_TEXT_BYTES).map_err(|error| format!("{shown}: {error}"))?;
        let sha256 = escape::hex(&Sha256::digest(&bytes));
        if sha256 != golden.text.sha256 {
            let said = escape::line(&golden.text.sha256);
            return Err(format!("{shown}: altered, sha256 is {sha256}, the golden says {said}"));
        }
        String::from_utf8(bytes).map_err(|error| format!("{shown}: not UTF-8: {error}"))
    }

    fn published(&self, name: &str) -> Result<String, String> {
        if !self.index().model_files.iter().any(|file| file.name == name) {
            let shown = self.show_golden("index.json");
            return Err(format!("{shown}: `published.file` is `{}`, which is none of the model's files", escape::line(name)));
        }
        let path = self.model.join(name);
        let shown = self.workspace.show(&path);
        let bytes = read_capped(&path, MAX_TEXT_BYTES).map_err(|error| format!("{shown}: {error}"))?;
        String::from_utf8(bytes).map_err(|error| format!("{shown}: not UTF-8: {error}"))
    }

    fn show_golden(&self, name: &str) -> String {
        self.workspace.show(&self.folder.path.join(name))
    }
}

/// Holds files against what `index` says of them.
fn complaints_about(
    workspace: &Workspace,
    folder: &Path,
    files: &[FileEntry],
    index: &str,
    hashes: &mut FolderHashes,
    complaints: &mut Vec<String>,
) {
    for file in files {
        let shown = workspace.show(&folder.join(&file.name));
        match hashes.of(&file.name) {
            Ok((bytes, _)) if bytes != file.bytes => {
                complaints.push(format!("{shown}: has {bytes} bytes, {index} says {}", file.bytes));
            }
            Ok((_, sha256)) if sha256 != file.sha256 => {
                let said = escape::line(&file.sha256);
                complaints.push(format!("{shown}: altered, sha256 is {sha256}, {index} says {said}"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                complaints.push(format!("{shown}: absent, {index} lists it"));
            }
            Err(error) => complaints.push(format!("{shown}: {error}")),
        }
    }
}

/// The first complaints, and the number of the others.
fn few(complaints: &[String]) -> String {
    let more = complaints.len().saturating_sub(MAX_COMPLAINTS);
    let mut text = complaints[..complaints.len() - more].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

/// Holds the bytes of an `index.json` against the digest beside it. The index vouches for every other file.
///
/// # Errors
/// That the digest is absent or another one, naming both files.
pub(crate) fn verify_index(workspace: &Workspace, folder: &Path, index: &[u8]) -> Result<(), String> {
    let file = folder.join(INDEX_DIGEST);
    let shown = workspace.show(&file);
    let line = read_capped(&file, MAX_DIGEST_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{shown} is absent: restore it, or write the golden again"),
        _ => format!("{shown}: {error}"),
    })?;
    let digest = escape::hex(&Sha256::digest(index));
    if line == format!("{digest}  index.json\n").as_bytes() {
        return Ok(());
    }
    let index = workspace.show(&folder.join("index.json"));
    Err(format!(
        "{index} has the sha256 {digest}, which is not what {shown} says: restore the one that was changed, or write the golden again"
    ))
}

/// Reads a regular file of at most `cap` bytes.
///
/// # Errors
/// Whatever reading says; that the file is larger, with both numbers; that it is no regular file.
pub fn read_capped(path: &Path, cap: u64) -> io::Result<Vec<u8>> {
    // Asked before opening: to open a pipe is to wait for its other end.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > cap {
        return Err(io::Error::other(format!("has {} bytes, the cap is {cap}", metadata.len())));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(cap).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The names in a folder, sorted.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
