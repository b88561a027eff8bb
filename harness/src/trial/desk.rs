//! What all cells of one model share: the verified golden and the published model's own answers.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ground_truth_falsification::golden::{ModelGolden, PromptGolden};
use ground_truth_falsification::observation::{Answer, Answers, Failure, Question};
use ground_truth_falsification::tolerance::Tolerances;
use ground_truth_falsification::verdict::{ErrorKind, Owner};

use crate::cell::Cell;
use crate::golden_store::GoldenStore;
use crate::hashes::FolderHashes;
use crate::observe::{Memory, Observer, Sessions};
use crate::runtime::supervise::Deadlines;
use crate::runtime::{Artifact, Runtime};
use crate::self_reference::SelfReference;
use crate::store::ArtifactStore;
use crate::workspace::Workspace;

/// What every cell needs to be judged.
pub(super) struct Equipment {
    pub(super) workspace: Workspace,
    pub(super) runtime: Arc<dyn Runtime>,
    /// The engine of this repository, beside which any other runtime is held.
    pub(super) engine: Arc<dyn Runtime>,
    pub(super) deadlines: Deadlines,
    pub(super) tolerances: Result<Tolerances, String>,
    pub(super) store: ArtifactStore,
}

/// Why a gate is red.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    pub(super) kind: ErrorKind,
    pub(super) owner: Owner,
    pub(super) reason: String,
}

impl Closed {
    /// The golden is not what it must be.
    pub(super) fn golden(reason: String) -> Self {
        Self { kind: ErrorKind::Golden, owner: Owner::Golden, reason }
    }

    /// A file of the model, or the file on trial, is not what it must be.
    pub(super) fn file(reason: String) -> Self {
        Self { kind: ErrorKind::Golden, owner: Owner::File, reason }
    }
}

/// What a model is held against.
enum Reference {
    /// Files that an oracle wrote.
    Golden(GoldenStore),
    /// What the runtime says of itself.
    Own(Arc<SelfReference>),
}

/// Sessions of one artifact with a memory of its own.
pub(super) struct Asked {
    pub(super) sessions: Sessions,
    memory: Memory,
    /// Where the artifact lies, if it goes with its last asker.
    _folder: Option<tempfile::TempDir>,
}

impl Asked {
    /// Whoever answers for `artifact`; nothing is loaded until something is asked.
    pub(super) fn new(equipment: &Equipment, artifact: Artifact, folder: Option<tempfile::TempDir>) -> Self {
        Self::by(&equipment.runtime, equipment, artifact, folder)
    }

    /// The same, by another runtime than the one on trial.
    pub(super) fn by(runtime: &Arc<dyn Runtime>, equipment: &Equipment, artifact: Artifact, folder: Option<tempfile::TempDir>) -> Self {
        let sessions = Sessions::new(Arc::clone(runtime), artifact, equipment.deadlines);
        Self { sessions, memory: Memory::default(), _folder: folder }
    }
}

impl Answers for Asked {
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure> {
        Observer::new(&self.sessions, &self.memory).ask(question)
    }
}

/// One model, some of whose rows have begun.
pub(super) struct Desk {
    equipment: Arc<Equipment>,
    published: Artifact,
    reference: Reference,
    golden: OnceLock<Result<Arc<ModelGolden>, Closed>>,
    source: OnceLock<Arc<Asked>>,
    hashes: OnceLock<Result<BTreeMap<String, String>, Closed>>,
}

impl Desk {
    /// The desk of the model that `cell` is a form of.
    pub(super) fn new(equipment: &Arc<Equipment>, cell: &Cell) -> Self {
        let entry = &cell.entry;
        let published = Cell::published(entry, &cell.runtime).artifact;
        let reference = match &entry.self_reference {
            Some(own) => Reference::Own(Arc::clone(own)),
            None => Reference::Golden(GoldenStore::new(&equipment.workspace, &entry.golden, &published.path)),
        };
        Self {
            equipment: Arc::clone(equipment),
            published,
            reference,
            golden: OnceLock::new(),
            source: OnceLock::new(),
            hashes: OnceLock::new(),
        }
    }

    /// The golden: its files and the model's are those that it was written for, and it holds together.
    pub(super) fn golden(&self) -> Result<Arc<ModelGolden>, Closed> {
        let read = || match &self.reference {
            Reference::Golden(store) => {
                store.verify().map_err(Closed::file)?;
                store.linted().map_err(Closed::golden).map(Arc::new)
            }
            Reference::Own(own) => Ok(Arc::new(own.model.clone())),
        };
        self.golden.get_or_init(read).clone()
    }

    /// The golden of a prompt, by its place in the index.
    pub(super) fn prompt(&self, i: usize) -> Result<PromptGolden, String> {
        let absent = || "a prompt that the index does not hold".to_owned();
        match &self.reference {
            Reference::Golden(store) => store.index().prompts.get(i).ok_or_else(absent).and_then(|entry| store.prompt(entry)),
            Reference::Own(own) => own.prompts.get(i).cloned().ok_or_else(absent),
        }
    }

    /// The published model.
    pub(super) fn published(&self) -> &Artifact {
        &self.published
    }

    /// Whoever answers for the published model, one for all cells.
    pub(super) fn source(&self) -> Arc<Asked> {
        Arc::clone(self.source.get_or_init(|| Arc::new(Asked::new(&self.equipment, self.published.clone(), None))))
    }

    /// SHA-256 of every file that a conversion may read, by name.
    pub(super) fn hashes(&self) -> Result<BTreeMap<String, String>, Closed> {
        let hash = || {
            let folder = &self.published.path;
            let shown = |error: std::io::Error| Closed::file(format!("{}: {error}", self.equipment.workspace.show(folder)));
            let mut hashes = FolderHashes::open(folder, self.equipment.workspace.out());
            let mut found = BTreeMap::new();
            for entry in std::fs::read_dir(folder).map_err(shown)? {
                let name = entry.map_err(shown)?.file_name().to_string_lossy().into_owned();
                if name.ends_with(".json") || name.ends_with(".safetensors") {
                    let (_, sha256) = hashes.of(&name).map_err(shown)?;
                    found.insert(name, sha256);
                }
            }
            hashes.remember();
            Ok(found)
        };
        self.hashes.get_or_init(hash).clone()
    }
}
