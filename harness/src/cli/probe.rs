//! `probe`: reads one file or folder as strictly as the engine can, and says what it holds or why it is refused.
//!
//! A container without an architecture is read as a container; one that names an architecture has to be a model that the engine can
//! compute and tokenize for. This is what the catalogue of hostile files is tried on.

use std::path::Path;

use ground_truth::format::gguf::Gguf;
use ground_truth::{Checkpoint, Error, Model, Tokenizer};
use serde::Serialize;

use super::{Exit, Refusal, print, print_json};
use crate::escape;
use crate::summary::peak_resident_memory;

#[derive(Serialize)]
struct Probed {
    schema: &'static str,
    path: String,
    verdict: &'static str,
    kind: Option<&'static str>,
    reason: Option<&'static str>,
    message: Option<String>,
    tensors: Option<usize>,
    peak_resident_bytes: Option<u64>,
}

pub(super) fn probe(path: &Path, json: bool) -> Result<Exit, Refusal> {
    let read = read(path);
    let (exit, verdict) = if read.is_ok() { (Exit::Green, "accepted") } else { (Exit::Red, "refused") };
    let error = read.as_ref().err();
    let probed = Probed {
        schema: "ground-truth/probe/1",
        path: path.to_string_lossy().into_owned(),
        verdict,
        kind: error.map(Error::kind),
        reason: error.map(Error::reason),
        message: error.map(Error::to_string),
        tensors: read.as_ref().ok().copied(),
        peak_resident_bytes: peak_resident_memory(),
    };
    if json {
        print_json(&probed)?;
    } else {
        let found = match (&probed.message, probed.tensors) {
            (Some(message), _) => format!("refused: {message}"),
            (None, n) => format!("accepted: {} tensors", n.unwrap_or_default()),
        };
        print(&(escape::line(&found) + "\n"));
    }
    Ok(exit)
}

/// The number of tensors of a file or folder that holds together.
fn read(path: &Path) -> Result<usize, Error> {
    use ground_truth::format::{Format, safetensors};
    if path.is_dir() {
        return Checkpoint::open(path).map(|checkpoint| checkpoint.tensors.len());
    }
    match Format::of(path)? {
        Format::Safetensors => safetensors::open(path).map(|tensors| tensors.len()),
        Format::Gguf => {
            let gguf = Gguf::open(path)?;
            let names_a_model = gguf.metadata.get("general.architecture").is_some();
            if names_a_model { model(path) } else { Ok(gguf.tensors.len()) }
        }
        Format::Apr => {
            let apr = ground_truth::format::apr::Apr::open(path)?;
            if apr.names_a_model() { model(path) } else { Ok(apr.tensors.len()) }
        }
    }
}

/// The number of tensors of a model that can be computed and tokenized for.
fn model(path: &Path) -> Result<usize, Error> {
    let checkpoint = Checkpoint::open(path)?;
    let model = Model::from_checkpoint(&checkpoint)?;
    if let Some(bytes) = &checkpoint.tokenizer {
        Tokenizer::from_bytes(bytes, &checkpoint.tokenizer_file())?.check_fits(model.config().vocab_size)?;
    }
    Ok(checkpoint.tensors.len())
}
