//! Files that somebody else made, as they are listed: container and quantization by their content, never by their name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ground_truth::format::apr::Apr;
use ground_truth::format::gguf::Gguf;
use ground_truth::{Checkpoint, Dtype};

use crate::escape;
use crate::golden_store::derived::GivenEntry;
use crate::golden_store::read_capped;
use crate::hashes::{self, FolderHashes};
use crate::make;
use crate::runtime::Format;

/// A file that is put on trial against the model that it claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The file, or the folder of safetensors.
    pub path: PathBuf,
    /// Its name as a part of a test name.
    pub name: String,
    /// Its container.
    pub format: Format,
    /// The type or recipe of its weights, as the file says it.
    pub quantization: String,
    /// What the model's golden says of it, where it is one of those that it lists.
    pub listed: Option<GivenEntry>,
    /// The digest of its values, where it was looked at when rows were listed.
    pub values_digest: Option<String>,
    /// Why it cannot be read.
    pub unreadable: Option<String>,
}

/// Names of llama.cpp's file types, by their number in `general.file_type` (`llama_ftype` in llama.h).
const FILE_TYPES: [(u64, &str); 35] = [
    (0, "f32"),
    (1, "f16"),
    (2, "q4_0"),
    (3, "q4_1"),
    (7, "q8_0"),
    (8, "q5_0"),
    (9, "q5_1"),
    (10, "q2_k"),
    (11, "q3_k_s"),
    (12, "q3_k_m"),
    (13, "q3_k_l"),
    (14, "q4_k_s"),
    (15, "q4_k_m"),
    (16, "q5_k_s"),
    (17, "q5_k_m"),
    (18, "q6_k"),
    (19, "iq2_xxs"),
    (20, "iq2_xs"),
    (21, "q2_k_s"),
    (22, "iq3_xs"),
    (23, "iq3_xxs"),
    (24, "iq1_s"),
    (25, "iq4_nl"),
    (26, "iq3_s"),
    (27, "iq3_m"),
    (28, "iq2_s"),
    (29, "iq2_m"),
    (30, "iq4_xs"),
    (31, "iq1_m"),
    (32, "bf16"),
    (36, "tq1_0"),
    (37, "tq2_0"),
    (38, "mxfp4"),
    (39, "nvfp4"),
    (40, "q1_0"),
];

/// The quantization of a file that cannot be read.
const UNREADABLE: &str = "unreadable";

/// What a look at a file's header says.
struct Look {
    format: Format,
    quantization: String,
}

impl Given {
    /// A file to be judged, looked at: its header is read, no weight is. One that cannot be read is listed too, and its gate is red.
    pub fn look(path: &Path) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (look, unreadable) = match look(path) {
            Ok(look) => (look, None),
            Err((format, reason)) => (Look { format, quantization: UNREADABLE.to_owned() }, Some(reason)),
        };
        Self {
            path: path.to_path_buf(),
            name: escape::plain_name(&name),
            format: look.format,
            quantization: look.quantization,
            listed: None,
            values_digest: None,
            unreadable,
        }
    }

    /// A file that a golden lists, in the model's folder. Nothing is read.
    ///
    /// # Errors
    /// That the golden names a format or a quantization that cannot be one.
    pub fn listed(entry: &GivenEntry, model: &Path) -> Result<Self, String> {
        let format = Format::named(&entry.format).ok_or_else(|| format!("no format is called `{}`", escape::line(&entry.format)))?;
        if !escape::is_plain_name(&entry.quantization) {
            return Err(format!("no quantization is called `{}`", escape::line(&entry.quantization)));
        }
        let path = model.join(&entry.path);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self {
            path,
            name: escape::plain_name(&name),
            format,
            quantization: entry.quantization.clone(),
            listed: Some(entry.clone()),
            values_digest: None,
            unreadable: None,
        })
    }

    /// Finds out which values the file holds, unless it is one of those that the golden lists. They are remembered by the file's hash.
    pub fn recognise(&mut self, listed: &[GivenEntry], out: &Path) {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else { return };
        if self.unreadable.is_some() || !self.path.is_file() {
            return;
        }
        let mut hashes = FolderHashes::open(folder, out);
        let Ok((_, sha256)) = hashes.of(&name.to_string_lossy()) else { return };
        hashes.remember();
        self.listed = listed.iter().find(|entry| entry.sha256 == sha256 && entry.quantization == self.quantization).cloned();
        if self.listed.is_some() {
            return;
        }
        let remembered = out.join("values").join(format!("{sha256}-{}", make::CONVERTER));
        let read = read_capped(&remembered, 64).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        self.values_digest = read.filter(|digest| digest.len() == 64).or_else(|| {
            let digest = make::values_digest(&self.path).ok()?;
            // What cannot be remembered is looked at again.
            let _ = hashes::publish_for_now(&remembered, digest.as_bytes());
            Some(digest)
        });
    }
}

/// Container and quantization of a file; the error has the container that it seems to be, and why it cannot be read.
fn look(path: &Path) -> Result<Look, (Format, String)> {
    let format = Format::of(path).map_err(|error| (Format::Safetensors, error.to_string()))?;
    let quantization = match format {
        Format::Gguf => of_gguf(path),
        Format::Apr => of_apr(path),
        Format::Safetensors => of_checkpoint(path),
    };
    quantization.map(|quantization| Look { format, quantization }).map_err(|error| (format, error.to_string()))
}

fn of_gguf(path: &Path) -> ground_truth::Result<String> {
    let gguf = Gguf::open(path)?;
    let said = gguf.metadata.unsigned("general.file_type").ok().flatten();
    let named = said.and_then(|said| FILE_TYPES.iter().find(|(number, _)| *number == said)).map(|(_, name)| (*name).to_owned());
    Ok(named.unwrap_or_else(|| most(gguf.tensors.iter().map(|tensor| (tensor.dtype, tensor.bytes, tensor.shape.len())))))
}

fn of_apr(path: &Path) -> ground_truth::Result<String> {
    let apr = Apr::open(path)?;
    let most = most(apr.tensors.iter().map(|tensor| (tensor.dtype, tensor.bytes, tensor.shape.len())));
    Ok(most.strip_prefix("apr").map(str::to_owned).unwrap_or(most))
}

fn of_checkpoint(path: &Path) -> ground_truth::Result<String> {
    let checkpoint = Checkpoint::open(path)?;
    Ok(most(checkpoint.tensors.iter().map(|(_, tensor)| (tensor.dtype(), tensor.bytes().len() as u64, tensor.shape().len()))))
}

/// The type of most bytes of the matrices, as it is named in columns; of no matrix, that of most bytes.
fn most(tensors: impl Iterator<Item = (Dtype, u64, usize)>) -> String {
    let mut bytes: BTreeMap<(bool, Dtype), u64> = BTreeMap::new();
    for (dtype, n, rank) in tensors {
        let sum = bytes.entry((rank > 1, dtype)).or_default();
        *sum = sum.saturating_add(n);
    }
    let largest = bytes.iter().max_by_key(|((is_matrix, _), n)| (*is_matrix, **n));
    largest.map_or_else(|| UNREADABLE.to_owned(), |((_, dtype), _)| dtype.name().to_ascii_lowercase())
}
