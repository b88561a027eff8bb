//! What our converter is asked for: a chain of conversions, the last of which is the artifact.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ground_truth::convert::Request;
use ground_truth::convert::fs::RealFilesystem;
use ground_truth::quant::Quantization;
use ground_truth::{Checkpoint, Dtype};
use ground_truth_falsification::observation::Failure;

use crate::column::Column;
use crate::escape::hex;
use crate::runtime::Format;
use crate::store::{Key, Product};

/// The converter, by its source: see `build.rs`.
pub const CONVERTER: &str = env!("GROUND_TRUTH_CONVERTER");

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
    /// The key of what becomes of `source`, which consists of these files (name and SHA-256). Its name is in what is made of it.
    pub fn key(&self, source: &Path, files: &BTreeMap<String, String>) -> Key {
        Key::of(files, CONVERTER, &format!("{} {:?}", stem(source), self.0))
    }
}

/// Converts `source` step by step into the folder `folder`; only the last artifact stays there.
///
/// # Errors
/// The first refusal, by the engine's own word.
pub fn convert(source: &Path, way: &Way, folder: &Path) -> Result<Product, Failure> {
    let stem = stem(source);
    let mut from = source.to_path_buf();
    let mut product = None;
    for (i, step) in way.0.iter().enumerate() {
        let is_last = i + 1 == way.0.len();
        let inner = if is_last { folder.to_path_buf() } else { folder.join(format!("step-{i}")) };
        fs::create_dir_all(&inner).map_err(|error| io(&inner, &error))?;
        let name = match step.format {
            Format::Safetensors => stem.clone(),
            Format::Gguf => format!("{stem}.gguf"),
            Format::Apr => format!("{stem}.apr"),
        };
        let to = inner.join(&name);
        let notes = convert_step(&from, *step, &to)?;
        if is_last {
            product = Some(Product { artifact: name, values_digest: values_digest(&to)?, notes });
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

/// Files say what they are called: an artifact is called as its model is.
fn stem(source: &Path) -> String {
    let stem = if source.is_dir() { source.file_name() } else { source.file_stem() };
    stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn convert_step(from: &Path, step: Step, to: &Path) -> Result<Vec<String>, Failure> {
    let of = |name: &str| {
        let found = Quantization::parse(step.format.name(), name);
        found
            .map(Some)
            .ok_or_else(|| Failure::Refused { kind: "request".to_owned(), message: format!("no {} is called {name}", step.format) })
    };
    let quantization = match step.types {
        Types::Of(name) => of(name)?,
        Types::Kept => None,
        Types::KeptOrF32 => {
            let checkpoint = Checkpoint::open(from).map_err(refused)?;
            if checkpoint.tensors.iter().all(|(_, tensor)| holds(step.format, tensor.dtype())) { None } else { of("f32")? }
        }
    };
    let request = Request { source: from, destination: to, format: step.format, quantization, shard_bytes: None };
    Ok(ground_truth::convert::convert(&request, &mut |_, _| {}, &RealFilesystem).map_err(refused)?.notes)
}

/// Whether a container has a number for that type.
fn holds(format: Format, dtype: Dtype) -> bool {
    match format {
        Format::Safetensors => dtype.is_scalar(),
        Format::Gguf => dtype.ggml_id().is_some(),
        Format::Apr => dtype.apr_id().is_some(),
    }
}

/// The digest of an artifact's values, in hexadecimal digits.
///
/// # Errors
/// The engine's refusal of the artifact.
pub fn values_digest(path: &Path) -> Result<String, Failure> {
    Ok(hex(&Checkpoint::open(path).map_err(refused)?.values_digest()))
}

fn refused(error: ground_truth::Error) -> Failure {
    Failure::Refused { kind: error.kind().to_owned(), message: error.to_string() }
}
