//! Which models and goldens there are.
//!
//! The roster is data: every folder under `testdata/models` and `golden`, and what six variables name. Relative values start at
//! the workspace root. A value that names nothing is a [`Problem`], and a problem is a red row: a list that silently lost an entry
//! would look like a list that never had it.
//!
//! | variable | holds |
//! |---|---|
//! | `GROUND_TRUTH_MODELS` | folders of model folders, or model folders, separated by colons |
//! | `GROUND_TRUTH_GOLDEN` | folders of golden folders, or golden folders, separated by colons |
//! | `GROUND_TRUTH_ARTIFACTS` | `model=file`, separated by colons: files that somebody else made of a model of the roster |
//! | `GROUND_TRUTH_DATA` | one folder of other test data, among them models whose golden lists files that somebody else made |
//! | `GROUND_TRUTH_REQUIRE_ALL` | `1`: what would be listed as not tested is red |
//! | `GROUND_TRUTH_ROSTER` | `fast`: every check once, where it costs least; for mutants of the suite |

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ground_truth::Config;
use ground_truth::format::gguf;
use ground_truth_falsification::golden::{Index, MAX_JSON_BYTES};

use crate::escape;
use crate::given::Given;
use crate::golden_store::derived::{self, Beside};
use crate::golden_store::{self, chat};
use crate::self_reference::SelfReference;
use crate::workspace::Workspace;

mod settings;

pub use settings::{
    ARTIFACTS_VARIABLE, DATA_VARIABLE, FAST, GOLDEN_VARIABLE, MODELS_VARIABLE, REQUIRE_ALL_VARIABLE, ROSTER_VARIABLE, RUNTIMES_VARIABLE,
    Settings,
};

/// Folders of `golden/` that hold no model's golden.
const NOT_GOLDENS: [&str; 3] = [chat::CHAT, "schema", "vectors"];

/// Something wrong with the lists themselves: a row of its own, red.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What it is about, as parts of a test name: `golden::llama-tiny`, `variable::GROUND_TRUTH_MODELS::2`.
    pub subject: String,
    /// What had to be.
    pub expected: String,
    /// What is, naming the file and what to do.
    pub observed: String,
}

impl Problem {
    /// A problem with `subject`, the parts of a test name after `matrix::`.
    pub fn new(subject: impl Into<String>, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self { subject: subject.into(), expected: expected.into(), observed: observed.into() }
    }
}

/// A model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFolder {
    /// Its name, the first part of every test name.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Whether it lies in `testdata/models`.
    pub carried: bool,
}

/// A golden folder whose index could be read.
#[derive(Debug, Clone)]
pub struct GoldenFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its `index.json`.
    pub index: Arc<Index>,
    /// What lies beside it.
    pub beside: Arc<Beside>,
}

/// A model with its golden, or a golden whose model is not at hand.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The model folder, if there is one.
    pub model: Option<ModelFolder>,
    /// The golden.
    pub golden: GoldenFolder,
    /// Why the rows of this entry are listed as not tested.
    pub not_tested: Option<String>,
    /// Why the rows of this entry fail at the gate, whatever its files hold.
    pub refused: Option<String>,
    /// Why GGUF has no words for the model, if it has none.
    pub unsayable: Option<String>,
    /// What stands in for the golden where there is none.
    pub self_reference: Option<Arc<SelfReference>>,
    /// Files that somebody else made of this model.
    pub given: Vec<Given>,
    /// Whether the model is at hand only for its given files, so that it has no columns of ours.
    pub is_data: bool,
}

/// Every model of a run.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// Models with goldens, by name.
    pub entries: Vec<Entry>,
    /// Every model folder, by name, those without golden too.
    pub models: Vec<ModelFolder>,
    /// What is wrong with the lists.
    pub problems: Vec<Problem>,
    /// The folder of other test data.
    pub data: Option<PathBuf>,
    /// Whether every check is judged once only, where it costs least.
    pub fast: bool,
}

impl Roster {
    /// Reads the lists: folder names and golden indexes, nothing else.
    pub fn read(workspace: &Workspace, settings: &Settings) -> Self {
        let mut reader = Reader { workspace, problems: BTreeSet::new() };
        if let Some(problem) = workspace.problem() {
            reader.red("data".into(), "the models and goldens of the data crates", problem);
        }
        if let Some(problem) = &settings.problem {
            reader.red("settings".into(), "a file of settings that can be read", problem);
        }
        let models = reader.models(settings);
        let goldens = reader.goldens(settings);
        let data = reader.data(settings);
        let require_all = reader.require_all(settings);
        let fast = reader.fast(settings);
        let mut entries = reader.pair(&models, goldens, data.as_deref(), require_all);
        reader.artifacts(settings, &mut entries);
        let in_data = entries.iter().filter(|entry| entry.is_data).filter_map(|entry| entry.model.clone());
        let models = models.into_values().chain(in_data).collect();
        Self { entries, models, problems: reader.problems.into_iter().collect(), data, fast }
    }
}

struct Reader<'a> {
    workspace: &'a Workspace,
    problems: BTreeSet<Problem>,
}

impl Reader<'_> {
    fn red(&mut self, subject: String, expected: impl Into<String>, observed: impl Into<String>) {
        self.problems.insert(Problem::new(subject, expected, observed));
    }

    fn show(&self, path: &Path) -> String {
        self.workspace.show(path)
    }

    fn models(&mut self, settings: &Settings) -> BTreeMap<String, ModelFolder> {
        let mut found = Vec::new();
        let carried = self.workspace.models();
        match subfolders(&carried) {
            Ok(folders) => found.extend(folders.into_iter().map(|path| (path, true))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.red("models".into(), "a readable folder of models", format!("{}: {error}", self.show(&carried))),
        }
        for (subject, path) in self.paths(MODELS_VARIABLE, settings.models.as_deref(), "config.json") {
            if path.join("config.json").is_file() {
                found.push((path, false));
                continue;
            }
            match subfolders(&path) {
                Ok(folders) if !folders.is_empty() => {
                    found.extend(folders.into_iter().map(|path| (path, false)));
                }
                Ok(_) => {
                    let shown = self.show(&path);
                    self.red(subject, "at least one model folder", format!("{shown} holds no folder"));
                }
                Err(error) => {
                    let shown = self.show(&path);
                    self.red(subject, "a folder of models", format!("{shown}: {error}"));
                }
            }
        }
        self.named(found)
    }

    /// Gives every model folder its name and refuses what cannot have one.
    fn named(&mut self, found: Vec<(PathBuf, bool)>) -> BTreeMap<String, ModelFolder> {
        let mut models: BTreeMap<String, ModelFolder> = BTreeMap::new();
        for (path, carried) in found {
            let name = folder_name(&path);
            let subject = format!("model::{}", escape::plain_name(&name));
            let shown = self.show(&path);
            if !escape::is_plain_name(&name) {
                self.red(
                    subject,
                    "a folder name of [A-Za-z0-9._-], the first part of every test name",
                    format!("{shown} cannot be a part of a test name: rename the folder"),
                );
            } else if !path.join("config.json").is_file() {
                self.red(subject, "a model folder", format!("{shown} holds no config.json: complete it or move it elsewhere"));
            } else if let Some(first) = models.get(&name) {
                let first = self.show(&first.path);
                self.red(
                    subject,
                    format!("one model named `{name}`"),
                    format!("two: {first} and {shown}; rename one of them, with its golden"),
                );
            } else {
                models.insert(name.clone(), ModelFolder { name, path, carried });
            }
        }
        models
    }

    #[expect(clippy::too_many_lines, reason = "each way in which a folder of goldens can be wrong, in the order in which it is met")]
    fn goldens(&mut self, settings: &Settings) -> BTreeMap<String, GoldenFolder> {
        let mut found = Vec::new();
        let golden = self.workspace.golden();
        match subfolders(&golden) {
            Ok(folders) => {
                let is_model = |path: &PathBuf| !NOT_GOLDENS.contains(&folder_name(path).as_str());
                found.extend(folders.into_iter().filter(is_model));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let shown = self.show(&golden);
                self.red("goldens".into(), "a readable folder of goldens", format!("{shown}: {error}"));
            }
        }
        for (subject, path) in self.paths(GOLDEN_VARIABLE, settings.golden.as_deref(), "index.json") {
            if path.join("index.json").is_file() {
                found.push(path);
                continue;
            }
            match subfolders(&path) {
                Ok(folders) if !folders.is_empty() => found.extend(folders),
                Ok(_) => {
                    let shown = self.show(&path);
                    self.red(subject, "at least one golden folder", format!("{shown} holds no folder"));
                }
                Err(error) => {
                    let shown = self.show(&path);
                    self.red(subject, "a folder of goldens", format!("{shown}: {error}"));
                }
            }
        }
        let mut goldens: BTreeMap<String, GoldenFolder> = BTreeMap::new();
        for path in found {
            if let Some(folder) = self.golden(&path) {
                let name = folder.index.model.clone();
                if name != folder_name(&path) {
                    let (shown, folder) = (self.show(&path.join("index.json")), escape::line(&folder_name(&path)));
                    self.red(
                        format!("golden::{}", escape::plain_name(&folder)),
                        "a golden folder that bears its model's name",
                        format!("{shown}: field `model` is `{name}`, the folder is `{folder}`"),
                    );
                } else if let Some(first) = goldens.get(&name) {
                    let (first, second) = (self.show(&first.path), self.show(&path));
                    self.red(
                        format!("golden::{name}"),
                        format!("one golden of `{name}`"),
                        format!("two: {first} and {second}; keep one of them"),
                    );
                } else {
                    goldens.insert(name, folder);
                }
            }
        }
        goldens
    }

    /// Reads one index, as far as listing needs it.
    fn golden(&mut self, path: &Path) -> Option<GoldenFolder> {
        let name = folder_name(path);
        let subject = format!("golden::{}", escape::plain_name(&name));
        match read_golden(self.workspace, path) {
            Ok(folder) => Some(folder),
            Err(observed) => {
                self.red(subject, "a golden index that can be read", observed);
                None
            }
        }
    }

    fn data(&mut self, settings: &Settings) -> Option<PathBuf> {
        let value = settings.data.as_deref()?;
        let path = self.workspace.resolve(value);
        if !value.is_empty() && path.is_dir() {
            return Some(path);
        }
        let shown = self.show(&path);
        self.red(
            format!("variable::{DATA_VARIABLE}"),
            "a folder",
            format!("{DATA_VARIABLE} names `{shown}`, which is no folder: correct it or unset it"),
        );
        None
    }

    /// Hands each given file to the model that it is said to be of.
    fn artifacts(&mut self, settings: &Settings, entries: &mut [Entry]) {
        let Some(value) = settings.artifacts.as_deref() else {
            return;
        };
        for (position, segment) in segments(value) {
            if let Err(observed) = self.artifact(&segment, entries) {
                let observed = format!("{ARTIFACTS_VARIABLE}, entry {position}: {observed}");
                self.red(
                    format!("variable::{ARTIFACTS_VARIABLE}::{position}"),
                    "model=file, a model of the roster and a file of it",
                    observed,
                );
            }
        }
    }

    fn artifact(&self, segment: &OsStr, entries: &mut [Entry]) -> Result<(), String> {
        let bytes = segment.as_bytes();
        let text = escape::line(&segment.to_string_lossy());
        let split = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0 && at + 1 < bytes.len());
        let at = split.ok_or_else(|| format!("`{text}` is not of the form model=file"))?;
        let (model, file) = (String::from_utf8_lossy(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]));
        let path = self.workspace.resolve(file);
        if !path.exists() {
            return Err(format!("{} is absent; relative paths start at the workspace root", self.show(&path)));
        }
        let entry = entries.iter_mut().find(|entry| entry.golden.index.model == model);
        let entry = entry
            .ok_or_else(|| format!("no golden of a model `{}`; `ground-truth judge MODEL_DIR FILE` needs none", escape::line(&model)))?;
        give(entry, &path, self.workspace);
        Ok(())
    }

    fn fast(&mut self, settings: &Settings) -> bool {
        match settings.roster.as_deref().map(OsStr::as_bytes) {
            None | Some(b"") => false,
            Some(value) if value == FAST.as_bytes() => true,
            Some(value) => {
                let other = escape::line(&String::from_utf8_lossy(value));
                self.red(format!("variable::{ROSTER_VARIABLE}"), "fast, or nothing", format!("{ROSTER_VARIABLE} is `{other}`"));
                false
            }
        }
    }

    fn require_all(&mut self, settings: &Settings) -> bool {
        match settings.require_all.as_deref().map(OsStr::as_bytes) {
            None | Some(b"" | b"0") => false,
            Some(b"1") => true,
            Some(other) => {
                let other = escape::line(&String::from_utf8_lossy(other));
                self.red(format!("variable::{REQUIRE_ALL_VARIABLE}"), "1, 0 or nothing", format!("{REQUIRE_ALL_VARIABLE} is `{other}`"));
                true
            }
        }
    }

    /// The folders that a variable names, each with the subject of a problem about it. `mark` is the file by which a folder is
    /// itself what is looked for.
    fn paths(&mut self, variable: &str, value: Option<&OsStr>, mark: &str) -> Vec<(String, PathBuf)> {
        let Some(value) = value else {
            return Vec::new();
        };
        let mut paths = Vec::new();
        for (position, segment) in segments(value) {
            let subject = format!("variable::{variable}::{position}");
            let path = self.workspace.resolve(&segment);
            if segment.is_empty() {
                self.red(
                    subject,
                    "a folder in every entry",
                    format!("{variable}, entry {position} is empty: remove the colon, or unset the variable"),
                );
            } else if !path.is_dir() {
                let shown = self.show(&path);
                self.red(
                    subject,
                    format!("a folder that holds {mark}, or folders that do"),
                    format!("{variable}, entry {position}: {shown} is no folder; relative paths start at the workspace root"),
                );
            } else {
                paths.push((subject, path));
            }
        }
        paths
    }

    /// Joins models and goldens by name. What is missing on either side is red, unless it may be listed as not tested.
    fn pair(
        &mut self,
        models: &BTreeMap<String, ModelFolder>,
        goldens: BTreeMap<String, GoldenFolder>,
        data: Option<&Path>,
        require_all: bool,
    ) -> Vec<Entry> {
        for model in models.values().filter(|model| !goldens.contains_key(&model.name)) {
            let broken = format!("golden::{}", model.name);
            if self.problems.iter().any(|problem| problem.subject == broken) {
                continue;
            }
            let index = self.show(&self.workspace.golden().join(&model.name).join("index.json"));
            let observed = format!("{index} is absent; write it: {}", oracle_command(self.workspace, &model.path));
            self.red(format!("model::{}", model.name), format!("a golden of `{}`", model.name), observed);
        }
        if models.is_empty() && goldens.is_empty() {
            let (models, golden) = (self.workspace.models(), self.workspace.golden());
            let observed = format!("{} and {} hold none", self.show(&models), self.show(&golden));
            self.red("empty".into(), "at least one model with its golden", observed);
        }
        let mut entries = Vec::new();
        for (name, golden) in goldens {
            let in_data = data.map(|data| data.join(&name)).filter(|path| path.join("config.json").is_file());
            let in_data = in_data.map(|path| ModelFolder { name: name.clone(), path, carried: false });
            let mut entry = self.entry(models.get(&name).or(in_data.as_ref()), golden, require_all);
            entry.is_data = !models.contains_key(&name) && !entry.golden.beside.given.is_empty();
            self.listed(&mut entry);
            entries.push(entry);
        }
        entries
    }

    /// The files that a golden lists as given, wherever its model lies.
    fn listed(&mut self, entry: &mut Entry) {
        let folder = entry.model.as_ref().map(|model| model.path.clone()).unwrap_or_default();
        for file in &entry.golden.beside.given {
            match Given::listed(file, &folder) {
                Ok(given) => entry.given.push(given),
                Err(reason) => {
                    let shown = self.show(&entry.golden.path.join(derived::GIVEN));
                    self.red(format!("golden::{}", entry.golden.index.model), "a list of given files", format!("{shown}: {reason}"));
                }
            }
        }
    }

    fn entry(&self, model: Option<&ModelFolder>, golden: GoldenFolder, require_all: bool) -> Entry {
        let index = &golden.index;
        let home = self.show(&self.workspace.models().join(&index.model));
        let (mut not_tested, mut refused) = (None, None);
        match model {
            None if index.carried => refused = Some(format!("carried model {home} is absent: restore the folder")),
            None => {
                let elsewhere = if golden.beside.given.is_empty() { "" } else { ", nor in GROUND_TRUTH_DATA" };
                let reason = format!("model `{}` is not carried and in no path of {MODELS_VARIABLE}{elsewhere}", index.model);
                if require_all {
                    refused = Some(format!("{reason}, and {REQUIRE_ALL_VARIABLE} is 1"));
                } else {
                    not_tested = Some(reason);
                }
            }
            Some(model) if model.carried != index.carried => {
                let index_file = self.show(&golden.path.join("index.json"));
                let (model, word) = (self.show(&model.path), index.carried);
                refused = Some(format!(
                    "{index_file} says `carried: {word}`, and the model lies in {model}; carried models lie in testdata/models, no others do"
                ));
            }
            Some(_) => {}
        }
        let unsayable = model.and_then(unsayable);
        Entry { model: model.cloned(), golden, not_tested, refused, unsayable, self_reference: None, given: Vec::new(), is_data: false }
    }
}

/// Why GGUF has no words for a model: its configuration is read, no weight. A configuration that cannot be read is the gate's to judge.
pub(crate) fn unsayable(model: &ModelFolder) -> Option<String> {
    let path = model.path.join("config.json");
    let is_small = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= MAX_JSON_BYTES as u64);
    let fields = is_small.then(|| fs::read(&path).ok()).flatten()?;
    let config = Config::parse(&serde_json::from_slice(&fields).ok()?, None, &path).ok()?;
    gguf::can_say(&config).err().map(|refusal| escape::line(&refusal.to_string()))
}

/// Hands a file to the model that it is said to be of, once. Where the model has goldens of quantized values, the file's are looked at, to
/// know whether one of them speaks of it.
pub fn give(entry: &mut Entry, path: &Path, workspace: &Workspace) {
    if entry.given.iter().any(|given| given.path == path) {
        return;
    }
    let mut given = Given::look(path);
    let beside = &entry.golden.beside;
    if beside.of_values(given.format, &given.quantization).is_some() {
        given.recognise(&beside.given, workspace.out());
    }
    entry.given.push(given);
}

/// Reads the index of a golden folder, as far as listing needs it.
///
/// # Errors
/// What is wrong with it, naming the file.
pub fn read_golden(workspace: &Workspace, folder: &Path) -> Result<GoldenFolder, String> {
    let file = folder.join("index.json");
    let shown = workspace.show(&file);
    let bytes = golden_store::read_capped(&file, MAX_JSON_BYTES as u64).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{shown} is absent: restore it, or remove the folder {}", workspace.show(folder)),
        _ => format!("{shown}: {error}"),
    })?;
    let index = Index::parse(&bytes, &shown).map_err(|error| error.to_string())?;
    listable(&index, &shown)?;
    golden_store::verify_index(workspace, folder, &bytes)?;
    let beside = Beside::read(workspace, folder, &index.model)?;
    Ok(GoldenFolder { path: folder.to_path_buf(), index: Arc::new(index), beside: Arc::new(beside) })
}

/// The folders that a colon-separated value names.
pub fn folders_of(workspace: &Workspace, value: &OsStr) -> Vec<PathBuf> {
    segments(value).map(|(_, segment)| workspace.resolve(segment)).collect()
}

/// The command that writes the golden of a model folder.
pub fn oracle_command(workspace: &Workspace, model: &Path) -> String {
    let carried = if model.starts_with(workspace.models()) { " --carried" } else { "" };
    format!("uv run golden/oracle.py {}{carried}", escape::shell(&workspace.show(model)))
}

/// The command that writes the goldens of what a model becomes in the columns that round.
pub fn dequantized_command(workspace: &Workspace, model: &Path) -> String {
    format!("uv run golden/dequantized.py {} --all", escape::shell(&workspace.show(model)))
}

/// What has to hold of an index before rows can be named after it.
fn listable(index: &Index, shown: &str) -> Result<(), String> {
    let red = |reason: String| Err(format!("{shown}: {reason}"));
    if !escape::is_plain_name(&index.model) {
        return red("field `model` holds characters outside [A-Za-z0-9._-]".into());
    }
    if index.prompts.is_empty() {
        return red("field `prompts` is empty: nothing would be tested".into());
    }
    let mut seen = BTreeSet::new();
    for (i, prompt) in index.prompts.iter().enumerate() {
        let name = escape::line(&prompt.name);
        if !escape::is_plain_name(&prompt.name) {
            return red(format!("field `prompts[{i}].name` is `{name}`, outside [A-Za-z0-9._-]"));
        }
        if !seen.insert(&prompt.name) {
            return red(format!("field `prompts[{i}].name` repeats `{name}`"));
        }
    }
    for file in index.golden_files.iter().chain(&index.model_files) {
        if !escape::is_plain_name(&file.name) {
            let name = escape::line(&file.name);
            return red(format!("lists the file `{name}`, which is not a plain file name"));
        }
    }
    for text in &index.perplexity {
        if !escape::is_plain_name(text) {
            return red(format!("lists the file `{}`, which is not a plain file name", escape::line(text)));
        }
    }
    Ok(())
}

/// The entries of a colon-separated value, counted from 1.
fn segments(value: &OsStr) -> impl Iterator<Item = (usize, OsString)> + '_ {
    value
        .as_bytes()
        .split(|byte| *byte == b':')
        .map(|segment| OsString::from_vec(segment.to_vec()))
        .enumerate()
        .map(|(i, segment)| (i + 1, segment))
}

/// The folders in a folder, sorted by name. Hidden ones, which tools leave behind, are none of ours.
fn subfolders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().as_bytes().starts_with(b".");
        if !hidden && fs::metadata(entry.path())?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// The last part of a path; `.` and `..` are resolved first.
fn folder_name(path: &Path) -> String {
    let named = match path.file_name() {
        Some(name) => name.to_owned(),
        None => path.canonicalize().ok().and_then(|path| path.file_name().map(OsStr::to_owned)).unwrap_or_default(),
    };
    named.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
