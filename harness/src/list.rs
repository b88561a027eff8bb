//! What `list` says of each model folder: its architecture and the type of its weights, read from the folder itself.
//!
//! The golden says the same from what transformers resolved. The claim LIST holds the two against each other.

use std::collections::BTreeMap;
use std::path::Path;

use ground_truth::{Checkpoint, Config};
use serde::Serialize;

use crate::roster::ModelFolder;
use crate::workspace::Workspace;

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The model's name.
    pub name: String,
    /// Its folder.
    pub path: String,
    /// Its architecture.
    pub architecture: Option<String>,
    /// The most common type of its weights.
    pub dtype: Option<String>,
    /// The number of its parameters.
    pub parameters: Option<u64>,
    /// Why the folder cannot be read as a model.
    pub error: Option<String>,
}

/// One line for each model folder.
pub fn list(workspace: &Workspace, models: &[ModelFolder]) -> Vec<Listed> {
    models.iter().map(|model| listed(workspace, model)).collect()
}

fn listed(workspace: &Workspace, model: &ModelFolder) -> Listed {
    let mut line = Listed {
        name: model.name.clone(),
        path: workspace.show(&model.path),
        architecture: None,
        dtype: None,
        parameters: None,
        error: None,
    };
    match read(&model.path) {
        Ok((architecture, dtype, parameters)) => {
            line.architecture = Some(architecture);
            line.dtype = dtype;
            line.parameters = Some(parameters);
        }
        Err(error) => line.error = Some(error.to_string()),
    }
    line
}

fn read(folder: &Path) -> ground_truth::Result<(String, Option<String>, u64)> {
    let checkpoint = Checkpoint::open(folder)?;
    let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file())?;
    let parameters = checkpoint.tensors.iter().map(|(_, tensor)| tensor.n_elements() as u64).sum();
    Ok((config.architecture.name().to_owned(), most_common_dtype(&checkpoint), parameters))
}

/// The type of most weights, counted by elements; the first by name where two are equal.
pub fn most_common_dtype(checkpoint: &Checkpoint) -> Option<String> {
    let mut elements: BTreeMap<String, usize> = BTreeMap::new();
    for (_, tensor) in checkpoint.tensors.iter() {
        *elements.entry(tensor.dtype().to_string()).or_default() += tensor.n_elements();
    }
    let most = elements.values().copied().max()?;
    elements.into_iter().find(|(_, n)| *n == most).map(|(dtype, _)| dtype)
}
