//! What our converter is asked for: a chain of conversions, the last of which is the artifact.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ground_truth_falsification::observation::Failure;

use crate::column::Column;
use crate::runtime::Format;
use crate::store::{Key, Product};

/// The converter, by its source: see `build.rs`.
pub const CONVERTER: &str = env!("GROUND_TRUTH_CONVERTER");

/// TEMP until the converter lands.
pub const AVAILABLE: bool = false;

/// The types that a step gives to the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Types {
    /// Those of this recipe.
    Of(&'static str),
    /// Those that they have.
    Kept,
    /// Those that they have, if the container knows all of them; else F32 for all.
    KeptOrF32,
}

/// One conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The container.
    pub format: Format,
    /// The types of the weights.
    pub types: Types,
}

/// A chain of conversions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Way(pub Vec<Step>);

impl From<Column> for Way {
    fn from(column: Column) -> Self {
        Way(vec![Step { format: column.format, types: Types::Of(column.quantization) }])
    }
}

impl Way {
    /// The key of what becomes of these files (name and SHA-256).
    pub fn key(&self, files: &BTreeMap<String, String>) -> Key {
        Key::of(files, CONVERTER, &format!("{:?}", self.0))
    }
}

/// Converts `source` step by step into the folder `folder`; only the last artifact stays there.
///
/// # Errors
/// The first refusal, by the engine's own word.
pub fn convert(source: &Path, way: &Way, folder: &Path) -> Result<Product, Failure> {
    let mut from = source.to_path_buf();
    let mut product = None;
    for (i, step) in way.0.iter().enumerate() {
        let is_last = i + 1 == way.0.len();
        let inner = if is_last { folder.to_path_buf() } else { folder.join(format!("step-{i}")) };
        fs::create_dir_all(&inner).map_err(|error| io(&inner, &error))?;
        let name = match step.format {
            Format::Safetensors => "model",
            Format::Gguf => "model.gguf",
            Format::Apr => "model.apr",
        };
        let to = inner.join(name);
        let notes = convert_step(&from, *step, &to)?;
        if is_last {
            product = Some(Product { artifact: name.to_owned(), values_digest: values_digest(&to)?, notes });
        }
        from = to;
    }
    for i in 0..way.0.len().saturating_sub(1) {
        let inner = folder.join(format!("step-{i}"));
        fs::remove_dir_all(&inner).map_err(|error| io(&inner, &error))?;
    }
    product.ok_or_else(|| Failure::Refused { kind: "request".to_owned(), message: "no conversion was asked for".to_owned() })
}

fn io(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Refused { kind: "io".to_owned(), message: format!("{}: {error}", path.display()) }
}

/// TEMP until the converter lands.
fn convert_step(_from: &Path, _step: Step, _to: &Path) -> Result<Vec<String>, Failure> {
    Err(Failure::Unsupported { op: ground_truth_falsification::observation::Op::Container })
}

fn values_digest(_path: &Path) -> Result<String, Failure> {
    Ok(String::new())
}
