//! The other artifacts that a claim about two of them needs: made when they are asked for, with a fault in one of them where the defect says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ground_truth_falsification::observation::{Answer, Answers, Failure, Peer, Peers, Question};

use crate::column::Column;
use crate::defect::file::{Edit, Surgery};
use crate::make::{self, Step, Types, Way};
use crate::observe::{Memory, Observer, Sessions};
use crate::runtime::native::NativeRuntime;
use crate::runtime::supervise::Deadlines;
use crate::runtime::{Artifact, Format, container};

const DEADLINES: Deadlines = Deadlines::of(Duration::from_secs(30));

/// An artifact with sessions and a memory of its own.
pub struct Neighbour {
    sessions: Sessions,
    memory: Memory,
    /// Where it lies, as long as anybody asks.
    _folder: Option<tempfile::TempDir>,
}

impl Neighbour {
    /// The artifact at its path, by the engine.
    pub fn new(artifact: Artifact, folder: Option<tempfile::TempDir>) -> Self {
        Neighbour {
            sessions: Sessions::new(Arc::new(NativeRuntime::new()), artifact, DEADLINES),
            memory: Memory::default(),
            _folder: folder,
        }
    }
}

impl Answers for Neighbour {
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure> {
        Observer::new(&self.sessions, &self.memory).ask(question)
    }
}

type Made = HashMap<Peer, Result<Arc<Neighbour>, Failure>>;

/// The neighbours of one bed that no defect touches.
pub struct Street {
    /// The model as published.
    pub source: Arc<Neighbour>,
    /// Its folder.
    pub model: PathBuf,
    columns: Mutex<Made>,
}

impl Street {
    /// A street with the published model alone.
    pub fn new(published: Artifact) -> Self {
        Street { model: published.path.clone(), source: Arc::new(Neighbour::new(published, None)), columns: Mutex::default() }
    }
}

/// The neighbours of one bench.
pub struct Neighbours {
    /// What is shared with other benches.
    pub street: Arc<Street>,
    /// The artifact that is judged.
    pub artifact: Artifact,
    /// Which of them has a fault, and what it is.
    pub fault: Option<(Peer, Edit)>,
    /// Those that were made for this bench.
    pub made: Mutex<Made>,
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::Refused { kind: "peer".to_owned(), message: message.into() }
}

/// The recipe of this name, as the table of columns spells it.
pub fn types(format: Format, quantization: &str) -> Result<Types, Failure> {
    let found = Column::all().find(|column| column.format == format && column.quantization == quantization);
    found.map(|column| Types::Of(column.quantization)).ok_or_else(|| refused(format!("no column {format} {quantization}")))
}

/// Converts into a folder of its own.
pub fn convert(source: &Path, steps: Vec<Step>) -> Result<(PathBuf, tempfile::TempDir), Failure> {
    let folder = tempfile::tempdir().map_err(|error| refused(error.to_string()))?;
    let product = make::convert(source, &Way(steps), folder.path())?;
    Ok((folder.path().join(product.artifact), folder))
}

/// Puts a fault into a file.
pub fn operate(path: &Path, edit: Edit) -> Result<(), String> {
    let checkpoint = ground_truth::Checkpoint::open(path).map_err(|error| error.to_string())?;
    let container = container::read(path, &checkpoint, false)?;
    drop(checkpoint);
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut surgery = Surgery { bytes, container };
    edit(&mut surgery)?;
    // A defect of the checksum itself leaves no name of the format.
    if !surgery.container.format.is_empty() {
        surgery.seal();
    }
    std::fs::write(path, &surgery.bytes).map_err(|error| error.to_string())
}

impl Neighbours {
    fn make(&self, peer: &Peer) -> Result<Arc<Neighbour>, Failure> {
        let own = Step { format: self.artifact.format, types: types(self.artifact.format, &self.artifact.quantization)? };
        let (source, steps) = match peer {
            Peer::Again => (&self.street.model, vec![own]),
            Peer::Rewritten => (&self.artifact.path, vec![Step { types: Types::Kept, ..own }]),
            Peer::Requantized => (&self.artifact.path, vec![Step { types: Types::Of("f32"), ..own }, own]),
            Peer::RoundTrip => {
                let format = if own.format == Format::Gguf { Format::Apr } else { Format::Gguf };
                (&self.artifact.path, vec![Step { format, types: Types::KeptOrF32 }, own])
            }
            Peer::Engine => return Ok(Arc::new(Neighbour::new(self.artifact.clone(), None))),
            Peer::Values => {
                let engine = NativeRuntime::with_settings_of(&self.artifact.path, &self.street.model)?;
                let sessions = Sessions::new(Arc::new(engine), self.artifact.clone(), DEADLINES);
                return Ok(Arc::new(Neighbour { sessions, memory: Memory::default(), _folder: None }));
            }
            Peer::Source | Peer::Column { .. } => return Err(refused("is made for all benches together")),
        };
        let (path, folder) = convert(source, steps)?;
        if let Some((_, edit)) = self.fault.as_ref().filter(|(target, _)| target == peer) {
            operate(&path, *edit).map_err(refused)?;
        }
        Ok(Arc::new(Neighbour::new(Artifact { path, ..self.artifact.clone() }, Some(folder))))
    }

    fn column(&self, format: &str, quantization: &str) -> Result<Arc<Neighbour>, Failure> {
        let column = Column::all().find(|column| column.format.name() == format && column.quantization == quantization);
        let column = column.ok_or_else(|| refused(format!("no column {format} {quantization}")))?;
        let (path, folder) = convert(&self.street.model, vec![Step { format: column.format, types: Types::Of(column.quantization) }])?;
        let artifact = Artifact { format: column.format, quantization: column.quantization.to_owned(), path, ..self.artifact.clone() };
        Ok(Arc::new(Neighbour::new(artifact, Some(folder))))
    }
}

impl Peers for Neighbours {
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure> {
        if *peer == Peer::Source {
            return Ok(Arc::clone(&self.street.source) as Arc<dyn Answers + Send + Sync>);
        }
        let made = match peer {
            Peer::Column { .. } => &self.street.columns,
            _ => &self.made,
        };
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        let found = made.entry(peer.clone()).or_insert_with(|| match peer {
            Peer::Column { format, quantization } => self.column(format, quantization),
            _ => self.make(peer),
        });
        found.clone().map(|neighbour| neighbour as Arc<dyn Answers + Send + Sync>)
    }
}
