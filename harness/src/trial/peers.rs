//! Other artifacts of the model that a cell is a form of: made, kept while the cell is open, each with sessions and a memory of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use ground_truth_falsification::observation::{Answers, Failure, Peer, Peers};

use super::desk::{Asked, Closed};
use super::open::OpenCell;
use crate::cell::Origin;
use crate::column::Column;
use crate::make::{self, Step, Types, Way};
use crate::runtime::native::NativeRuntime;
use crate::runtime::{Artifact, Format, Runtime};
use crate::store::StoreError;

impl Peers for OpenCell {
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure> {
        if *peer == Peer::Source {
            return Ok(self.desk.source());
        }
        let slot = Arc::clone(self.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(peer.clone()).or_default());
        let asked: Arc<Asked> = slot.get_or_init(|| self.make(peer).map(Arc::new)).clone()?;
        Ok(asked)
    }
}

impl OpenCell {
    fn make(&self, peer: &Peer) -> Result<Asked, Failure> {
        if *peer == Peer::Engine {
            let made = self.made().map_err(closed)?;
            return Ok(Asked::by(&self.equipment.engine, &self.equipment, made.artifact, None));
        }
        if *peer == Peer::Values {
            let made = self.made().map_err(closed)?;
            let engine: Arc<dyn Runtime> = Arc::new(NativeRuntime::with_settings_of(&made.artifact.path, &self.desk.published().path)?);
            return Ok(Asked::by(&engine, &self.equipment, made.artifact, None));
        }
        let own = Step { format: self.cell.artifact.format, types: self.own_types()? };
        let steps = match peer {
            Peer::Source | Peer::Engine | Peer::Values => return Err(refused("is not made")),
            Peer::Column { format, quantization } => {
                let column = Column::all()
                    .find(|column| column.format.name() == format && column.quantization == quantization)
                    .ok_or_else(|| refused(format!("no column {format} {quantization}")))?;
                let stored = self.stored(&Way::from(column)).map_err(failure)?;
                let artifact = Artifact {
                    format: column.format,
                    quantization: column.quantization.to_owned(),
                    path: stored.path,
                    ..self.cell.artifact.clone()
                };
                return Ok(Asked::new(&self.equipment, artifact, None));
            }
            Peer::Again => return self.again(own),
            Peer::Rewritten => vec![Step { types: Types::Kept, ..own }],
            Peer::Requantized => vec![Step { types: Types::Of("f32"), ..own }, own],
            Peer::RoundTrip => {
                let format = if own.format == Format::Gguf { Format::Apr } else { Format::Gguf };
                vec![Step { format, types: Types::KeptOrF32 }, own]
            }
        };
        let way = Way(steps);
        let made = self.made().map_err(closed)?;
        let source = &made.artifact.path;
        // What our converter makes of our own artifact is kept as the artifact is; what it makes of a file that was given goes again.
        let Some(key) = made.key else { return self.scratch(source, &way) };
        let files = BTreeMap::from([(key.to_string(), String::new())]);
        let stored = self.equipment.store.get(&way.key(source, &files), |folder| make::convert(source, &way, folder)).map_err(failure)?;
        let artifact = Artifact { path: stored.path, ..self.cell.artifact.clone() };
        Ok(Asked::new(&self.equipment, artifact, None))
    }

    /// What was asked of the converter for this artifact. Of a given file only what our converter could have been asked is known.
    fn own_types(&self) -> Result<Types, Failure> {
        let column =
            Column::all().find(|column| column.format == self.cell.artifact.format && column.quantization == self.cell.form.quantization);
        match (column, &self.cell.origin) {
            (Some(column), _) => Ok(Types::Of(column.quantization)),
            (None, Origin::Published) => Ok(Types::Kept),
            (None, _) => Err(refused(format!("our converter writes no {} {}", self.cell.artifact.format, self.cell.form.quantization))),
        }
    }

    /// The same conversion from the same source, not from the store.
    fn again(&self, own: Step) -> Result<Asked, Failure> {
        self.scratch(&self.desk.published().path, &Way(vec![own]))
    }

    fn scratch(&self, source: &std::path::Path, way: &Way) -> Result<Asked, Failure> {
        let (folder, product) = self.equipment.store.scratch(|folder| make::convert(source, way, folder)).map_err(failure)?;
        let artifact = Artifact { path: folder.path().join(product.artifact), ..self.cell.artifact.clone() };
        Ok(Asked::new(&self.equipment, artifact, Some(folder)))
    }
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::Refused { kind: "peer".to_owned(), message: message.into() }
}

fn failure(error: StoreError<Failure>) -> Failure {
    match error {
        StoreError::Maker(failure) => failure,
        StoreError::Io { .. } => refused(error.to_string()),
    }
}

fn closed(closed: Closed) -> Failure {
    refused(closed.reason)
}
