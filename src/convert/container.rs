//! The files of a destination: their names and layouts, and whether what was written is what was meant.

use std::path::Path;

use serde_json::{Map, Value};

use super::plan::Plan;
use super::{Format, Request};
use crate::error::{ConvertError, InFile, Result};
use crate::format::layout::{FileLayout, TensorSpec};
use crate::format::safetensors::{self, INDEX};
use crate::format::{apr, gguf};
use crate::{Checkpoint, Config, Dtype, Escaped};

/// A file with tensors in it.
pub(super) struct Destination {
    pub(super) name: String,
    pub(super) layout: FileLayout,
    /// Which entries of the plan it holds, in the order of its layout.
    pub(super) entries: Vec<usize>,
}

/// Everything that is written.
pub(super) struct Output {
    pub(super) files: Vec<Destination>,
    /// Names and contents of the other files of a folder.
    pub(super) texts: Vec<(String, Vec<u8>)>,
}

impl Output {
    /// The names of all files.
    pub(super) fn names(&self) -> Vec<String> {
        let texts = self.texts.iter().map(|(name, _)| name.clone());
        self.files.iter().map(|file| file.name.clone()).chain(texts).collect()
    }
}

/// Lays the destination out.
pub(super) fn destination(
    request: &Request,
    checkpoint: &Checkpoint,
    config: &Config,
    plan: &Plan,
    provenance: &[(String, String)],
) -> Result<Output> {
    let specs: Vec<TensorSpec> = plan.entries.iter().map(|entry| entry.spec.clone()).collect();
    let single = |layout| {
        let name = request.destination.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Output { files: vec![Destination { name, layout, entries: (0..specs.len()).collect() }], texts: Vec::new() }
    };
    let quantization = plan.quantization.name();
    match request.format {
        Format::Gguf => {
            let metadata = gguf::export_metadata(config, checkpoint, Some(quantization), provenance)?;
            Ok(single(gguf::layout(&metadata, &specs, gguf::DEFAULT_ALIGNMENT)))
        }
        Format::Apr => {
            let metadata = apr::export_metadata(config, checkpoint, quantization, &specs, provenance)?;
            Ok(single(apr::layout(&metadata, &specs).in_file(request.destination)?))
        }
        Format::Safetensors if !config.rope_freq_factors.is_empty() => {
            let field = "rope_freq_factors".to_owned();
            let why = "transformers reads past it and turns by other angles; GGUF and APR can say it";
            Err(ConvertError::CannotSay { field, format: request.format.name(), why }).in_file(request.source)
        }
        Format::Safetensors => folder(request, checkpoint, &specs, provenance),
    }
}

/// The files of a folder.
fn folder(request: &Request, checkpoint: &Checkpoint, specs: &[TensorSpec], provenance: &[(String, String)]) -> Result<Output> {
    let format = ("format".to_owned(), "pt".to_owned());
    let metadata = provenance.iter().cloned().chain([format]).collect();
    let shards = safetensors::shards(specs, request.shard_bytes).in_file(request.destination)?;
    let mut files = Vec::with_capacity(shards.files.len());
    for (name, entries) in shards.files {
        let of_file: Vec<TensorSpec> = entries.iter().map(|i| specs[*i].clone()).collect();
        let layout = safetensors::layout(&metadata, &of_file).in_file(request.destination)?;
        files.push(Destination { name, layout, entries });
    }
    let mut texts = vec![("config.json".to_owned(), text(&config_json(&checkpoint.config, specs)))];
    texts.extend(checkpoint.generation_config.as_ref().map(|fields| ("generation_config.json".to_owned(), text(fields))));
    texts.extend(checkpoint.tokenizer.clone().map(|bytes| ("tokenizer.json".to_owned(), bytes)));
    texts.extend(checkpoint.chat_templates.file());
    texts.extend(shards.index.map(|index| (INDEX.to_owned(), index.into_bytes())));
    Ok(Output { files, texts })
}

/// The configuration, its dtype that of most of the weights.
fn config_json(config: &Map<String, Value>, specs: &[TensorSpec]) -> Map<String, Value> {
    let bytes =
        |dtype: Dtype| specs.iter().filter(|spec| spec.dtype == dtype).filter_map(|spec| dtype.bytes_of(&spec.shape)).sum::<usize>();
    let names = [(Dtype::F32, "float32"), (Dtype::F16, "float16"), (Dtype::BF16, "bfloat16")];
    let name = names.into_iter().max_by_key(|(dtype, _)| bytes(*dtype)).map_or("float32", |(_, name)| name);
    let mut config = config.clone();
    // Transformers 5 writes `dtype`, older ones `torch_dtype`.
    let key = if config.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
    config.insert(key.to_owned(), Value::String(name.to_owned()));
    config
}

/// JSON as transformers writes it: two spaces, a line end at the end.
fn text(fields: &Map<String, Value>) -> Vec<u8> {
    format!("{:#}\n", Value::Object(fields.clone())).into_bytes()
}

/// Opens what was written with our own readers and holds it against what was meant.
pub(super) fn check(temporary: &Path, request: &Request, out: &Output, plan: &Plan) -> Result<()> {
    let disagree = |what: String| Err(ConvertError::Disagrees { what }).in_file(request.destination);
    for file in &out.files {
        let path = if request.format == Format::Safetensors { temporary.join(&file.name) } else { temporary.to_owned() };
        let found: Vec<(TensorSpec, u64, u64)> = match read(&path, request.format) {
            Ok(found) => found,
            Err(error) => return disagree(error.to_string()),
        };
        if found.len() != file.entries.len() {
            return disagree(format!("{} tensors, {} are due", found.len(), file.entries.len()));
        }
        for (i, entry) in file.entries.iter().enumerate() {
            let (spec, (offset, bytes)) = (&plan.entries[*entry].spec, file.layout.tensors[i]);
            if !found.iter().any(|(found, at, held)| found == spec && (*at, *held) == (offset, bytes)) {
                return disagree(format!("tensor `{}` is not where it is due", Escaped(&spec.name)));
            }
        }
    }
    match Checkpoint::open(temporary) {
        Ok(_) => Ok(()),
        Err(error) => disagree(error.to_string()),
    }
}

/// The tensors of a file: as stored, with offset in the file and bytes.
fn read(path: &Path, format: Format) -> Result<Vec<(TensorSpec, u64, u64)>> {
    match format {
        Format::Gguf => {
            let file = gguf::Gguf::open(path)?;
            let tensor = |info: &gguf::TensorInfo| {
                (TensorSpec { name: info.name.clone(), dtype: info.dtype, shape: info.shape.clone() }, info.offset, info.bytes)
            };
            Ok(file.tensors.iter().map(tensor).collect())
        }
        Format::Apr => {
            let file = apr::Apr::open(path)?;
            let tensor = |info: &apr::TensorInfo| {
                (TensorSpec { name: info.name.clone(), dtype: info.dtype, shape: info.shape.clone() }, info.offset, info.bytes)
            };
            Ok(file.tensors.iter().map(tensor).collect())
        }
        Format::Safetensors => {
            let tensors = safetensors::open(path)?;
            let tensor = |(name, tensor): &(String, crate::Tensor)| {
                let spec = TensorSpec { name: name.clone(), dtype: tensor.dtype(), shape: tensor.shape().to_vec() };
                (spec, tensor.place().map_or(0, |(_, at)| at), tensor.n_bytes() as u64)
            };
            Ok(tensors.iter().map(tensor).collect())
        }
    }
}
