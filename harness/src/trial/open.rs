//! A cell some of whose rows have begun: made, loaded, and what its rows share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ground_truth_falsification::golden::{Index, LlamaCpp, ModelGolden, PromptGolden};
use ground_truth_falsification::observation::{Failure, Peer};
use ground_truth_falsification::verdict::{ErrorKind, Owner, Verdict};

use super::desk::{Asked, Closed, Desk, Equipment};
use super::locate::Located;
use crate::cell::{Cell, Origin};
use crate::column;
use crate::given::Given;
use crate::hashes::FolderHashes;
use crate::make;
use crate::matrix::Subject;
use crate::observe::{Memory, Sessions};
use crate::roster;
use crate::runtime::Artifact;
use crate::store::{Key, StoreError, Stored};

/// One cell, open.
pub(super) struct OpenCell {
    pub(super) equipment: Arc<Equipment>,
    pub(super) desk: Arc<Desk>,
    pub(super) cell: Arc<Cell>,
    made: OnceLock<Result<Made, Closed>>,
    loaded: OnceLock<Result<Arc<Sessions>, Closed>>,
    gate: OnceLock<Result<Arc<ModelGolden>, Closed>>,
    llama_cpp: OnceLock<Result<Option<Arc<LlamaCpp>>, String>>,
    subjects: Mutex<HashMap<Subject, Arc<OpenSubject>>>,
    pub(super) peers: Mutex<HashMap<Peer, PeerSlot>>,
    /// The first stage that differs, where a row asked on whose prompt nothing is known of stages.
    pub(super) located: OnceLock<Option<Located>>,
}

/// A peer that is made once, by whoever asks first.
pub(super) type PeerSlot = Arc<OnceLock<Result<Arc<Asked>, Failure>>>;

/// The artifact, at hand.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) artifact: Artifact,
    /// What the store knows of it, if it came from there.
    pub(super) stored: Option<Stored>,
    /// By which the store knows it.
    pub(super) key: Option<Key>,
}

/// What the rows about one prompt share.
#[derive(Default)]
pub(super) struct OpenSubject {
    source: OnceLock<Result<Arc<PromptGolden>, String>>,
    of_values: OnceLock<Result<Option<Arc<PromptGolden>>, String>>,
    pub(super) memory: Memory,
}

impl OpenCell {
    pub(super) fn new(equipment: &Arc<Equipment>, desk: Arc<Desk>, cell: &Arc<Cell>) -> Self {
        Self {
            equipment: Arc::clone(equipment),
            desk,
            cell: Arc::clone(cell),
            made: OnceLock::new(),
            loaded: OnceLock::new(),
            gate: OnceLock::new(),
            llama_cpp: OnceLock::new(),
            subjects: Mutex::default(),
            peers: Mutex::default(),
            located: OnceLock::new(),
        }
    }

    /// The artifact. One of ours is converted if the store does not hold it.
    pub(super) fn made(&self) -> Result<Made, Closed> {
        let make = || {
            let artifact = self.cell.artifact.clone();
            let Origin::Converted(column) = self.cell.origin else {
                return Ok(Made { artifact, stored: None, key: None });
            };
            let way = make::Way::from(column);
            let key = Some(way.key(&self.desk.published().path, &self.desk.hashes()?));
            let stored = self.stored(&way).map_err(|error| match error {
                StoreError::Maker(failure) => {
                    let kind = Verdict::failure(&failure, "").error.unwrap_or(ErrorKind::Refused);
                    Closed { kind, owner: Owner::Runtime, reason: format!("conversion failed: {failure}") }
                }
                StoreError::Io { .. } => Closed::file(error.to_string()),
            })?;
            Ok(Made { artifact: Artifact { path: stored.path.clone(), ..artifact }, stored: Some(stored), key })
        };
        self.made.get_or_init(make).clone()
    }

    /// What the published model becomes in this way, from the store.
    pub(super) fn stored(&self, way: &make::Way) -> Result<Stored, StoreError<Failure>> {
        let refused = |closed: Closed| StoreError::Maker(Failure::Refused { kind: "source".to_owned(), message: closed.reason });
        let source = &self.desk.published().path;
        let key = way.key(source, &self.desk.hashes().map_err(refused)?);
        self.equipment.store.get(&key, |folder| make::convert(source, way, folder))
    }

    /// Sessions of the artifact, the first of which loaded without a warning.
    pub(super) fn loaded(&self) -> Result<Arc<Sessions>, Closed> {
        let load = || {
            let made = self.made()?;
            let sessions = Sessions::new(Arc::clone(&self.equipment.runtime), made.artifact, self.equipment.deadlines);
            match sessions.warm_up() {
                Ok(warnings) if warnings.is_empty() => Ok(Arc::new(sessions)),
                Ok(warnings) => {
                    let reason = format!("loading warned: {}", warnings.join("; "));
                    Err(Closed { kind: ErrorKind::Refused, owner: Owner::File, reason })
                }
                Err(failure) => {
                    let owner = match failure {
                        Failure::Refused { .. } => Owner::File,
                        _ => Owner::Runtime,
                    };
                    let kind = Verdict::failure(&failure, "").error.unwrap_or(ErrorKind::Protocol);
                    Err(Closed { kind, owner, reason: format!("loading failed: {failure}") })
                }
            }
        };
        self.loaded.get_or_init(load).clone()
    }

    /// Verifies, reads and lints the goldens, then makes and loads the artifact.
    pub(super) fn gate(&self) -> Result<Arc<ModelGolden>, Closed> {
        self.gate.get_or_init(|| self.pass_gate()).clone()
    }

    fn pass_gate(&self) -> Result<Arc<ModelGolden>, Closed> {
        let golden = self.desk.golden()?;
        if let Err(reason) = &self.equipment.tolerances {
            return Err(Closed { kind: ErrorKind::Tolerance, ..Closed::golden(reason.clone()) });
        }
        self.verify_beside(&golden.index)?;
        if let Origin::Given(given) = &self.cell.origin {
            self.verify_given(given)?;
        }
        self.loaded()?;
        self.verify_values()?;
        Ok(golden)
    }

    /// The goldens beside the model's, as far as this cell needs them.
    fn verify_beside(&self, index: &Index) -> Result<(), Closed> {
        let workspace = &self.equipment.workspace;
        let cell = &self.cell;
        if let Some(golden) = &cell.dequantized {
            let command = || roster::dequantized_command(workspace, &self.desk.published().path);
            let next = |reason: String| Closed::golden(format!("{reason}. Restore what was changed, or write it again: {}", command()));
            golden.verify(workspace).map_err(next)?;
            let index = Index { oracle: golden.index.oracle.clone(), ..index.clone() };
            for entry in &golden.index.prompts {
                let file = workspace.show(&golden.path.join(format!("{}.json", entry.name)));
                let prompt = golden.prompt(workspace, &entry.name).map_err(Closed::golden)?;
                prompt.lint(entry, &index, &file).map_err(|error| Closed::golden(error.to_string()))?;
            }
        } else if cell.lacks_golden() && index.carried && !cell.form.given {
            let name = column::golden_name(cell.artifact.format, &cell.form.quantization);
            let shown = workspace.show(&cell.entry.golden.path.join("dequantized").join(name).join("index.json"));
            let command = roster::dequantized_command(workspace, &self.desk.published().path);
            return Err(Closed::golden(format!("{shown} is absent; write it: {command}")));
        }
        match &cell.llama_cpp {
            Some(golden) => golden.verify(workspace).map_err(Closed::golden),
            None => Ok(()),
        }
    }

    /// A given file that the golden lists is the one that it lists.
    fn verify_given(&self, given: &Given) -> Result<(), Closed> {
        if let Some(reason) = &given.unreadable {
            return Err(Closed { kind: ErrorKind::Refused, owner: Owner::File, reason: reason.clone() });
        }
        let (Some(listed), Some(folder), Some(name)) = (&given.listed, given.path.parent(), given.path.file_name()) else {
            return Ok(());
        };
        let workspace = &self.equipment.workspace;
        let shown = workspace.show(&given.path);
        let mut hashes = FolderHashes::open(folder, workspace.out());
        let (bytes, sha256) = hashes.of(&name.to_string_lossy()).map_err(|error| Closed::file(format!("{shown}: {error}")))?;
        hashes.remember();
        if (bytes, &sha256) == (listed.bytes, &listed.sha256) {
            return Ok(());
        }
        Err(Closed::file(format!(
            "{shown}: altered: {bytes} bytes with sha256 {sha256}, given.json says {} with {}",
            listed.bytes, listed.sha256
        )))
    }

    /// What we converted holds the values that its golden speaks of.
    fn verify_values(&self) -> Result<(), Closed> {
        let (Some(golden), Some(stored)) = (&self.cell.dequantized, self.made()?.stored) else {
            return Ok(());
        };
        if golden.index.values_digest == stored.values_digest {
            return Ok(());
        }
        let workspace = &self.equipment.workspace;
        let index = workspace.show(&golden.path.join("index.json"));
        Err(Closed::golden(format!(
            "{index} is the golden of other values: it says {}, the artifact's are {}; write it again: {}",
            golden.index.values_digest,
            stored.values_digest,
            roster::dequantized_command(workspace, &self.desk.published().path)
        )))
    }

    /// What llama.cpp answered with this quantization, if it was asked.
    pub(super) fn llama_cpp(&self) -> Result<Option<Arc<LlamaCpp>>, String> {
        let read = || match &self.cell.llama_cpp {
            Some(golden) => golden.read(&self.equipment.workspace, &self.cell.form.quantization).map(|golden| Some(Arc::new(golden))),
            None => Ok(None),
        };
        self.llama_cpp.get_or_init(read).clone()
    }

    pub(super) fn subject(&self, subject: Subject) -> Arc<OpenSubject> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(subjects.entry(subject).or_default())
    }

    /// Forgets what was observed about one subject.
    pub(super) fn forget(&self, subject: Subject) {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner).remove(&subject);
    }

    /// The golden of a prompt of the published model.
    pub(super) fn source(&self, i: usize) -> Result<Arc<PromptGolden>, String> {
        self.subject(Subject::Prompt(i)).source.get_or_init(|| self.desk.prompt(i).map(Arc::new)).clone()
    }

    /// The golden of a prompt for the values that this artifact holds, where there is one.
    pub(super) fn of_values(&self, i: usize) -> Result<Option<Arc<PromptGolden>>, String> {
        if self.cell.form.lossless {
            return self.source(i).map(Some);
        }
        if self.cell.dequantized.is_none() {
            return Ok(None);
        }
        self.subject(Subject::Prompt(i)).of_values.get_or_init(|| self.read_of_values(i)).clone()
    }

    /// The same, read again and kept by nobody.
    pub(super) fn read_of_values(&self, i: usize) -> Result<Option<Arc<PromptGolden>>, String> {
        if self.cell.form.lossless {
            return self.desk.prompt(i).map(|prompt| Some(Arc::new(prompt)));
        }
        let Some(golden) = &self.cell.dequantized else { return Ok(None) };
        let name = &self.cell.entry.golden.index.prompts.get(i).ok_or("a prompt that the index does not hold")?.name;
        if !golden.index.prompts.iter().any(|prompt| prompt.name == *name) {
            return Ok(None);
        }
        golden.prompt(&self.equipment.workspace, name).map(|prompt| Some(Arc::new(prompt)))
    }
}
