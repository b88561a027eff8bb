//! Any form of a model to any other.
//!
//! A conversion is planned whole before anything is written: names, types and orders of all tensors (`plan`), then the container's layout.
//! What cannot be is refused there, by name. Then one stream writes the file ([`stream`](self), by positioned reads and in pieces: the memory
//! does not grow with the model), and [`fs`] says what becomes of it if the machine, the disk or the user gives up half-way: nothing.
//!
//! | destination | is |
//! |---|---|
//! | [`Format::Safetensors`] | a folder: `config.json`, `generation_config.json`, `tokenizer.json`, `chat_template.jinja`, `model.safetensors` or shards and their index |
//! | [`Format::Gguf`], [`Format::Apr`] | a file that is enough to run |
//!
//! Values: a type that stays is copied, to the byte, also where rows move. Everything else is widened (exactly) and quantized. A value that
//! is not finite is refused, one that overflows its type too (65,520 and more in F16); numbers that become 0 in F16 or BF16 are counted in
//! [`Converted::notes`]. The same source gives the same bytes, whatever the destination is called and however many threads there are.
//!
//! Provenance: every destination states the converter's version, the quantization, the source's format, and the SHA-256 of each file that was
//! read (`ground_truth.*`). Paths and times are not stated.

mod container;
pub mod fs;
mod plan;
mod publish;
mod source;
mod stream;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use publish::Published;

use self::container::Destination;
use self::fs::Filesystem;
use self::plan::{Plan, check_quantization, plan};
use self::publish::{Publication, Sink};
use self::source::{Files, Reader};
use self::stream::Job;
use crate::error::{ConvertError, InFile, Result};
use crate::format::Format;
use crate::format::layout::TensorSpec;
use crate::quant::Quantization;
use crate::{Checkpoint, Config, Model};

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// A model: a folder, or a file that is enough to run.
    pub source: &'a Path,
    /// Where it goes. Its folder must be there.
    pub destination: &'a Path,
    /// What it becomes.
    pub format: Format,
    /// Which types its tensors get; `None` to keep every value and its type, and refuse what cannot.
    pub quantization: Option<Quantization>,
    /// The most bytes of tensors in one safetensors file; a larger tensor gets a file of its own. `None` for a single file.
    pub shard_bytes: Option<u64>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The bytes of all files.
    pub bytes: u64,
    /// The tensors as they stand there.
    pub tensors: Vec<TensorSpec>,
    /// The files: one, or those of the folder.
    pub files: Vec<Published>,
    /// The quantization that the destination names.
    pub quantization: Quantization,
    /// What the destination says about where it comes from.
    pub provenance: Vec<(String, String)>,
    /// What a user should know: buffers left out, tensors quantized twice, values that became 0.
    pub notes: Vec<String>,
}

/// Converts a model. `progress` is told how many of how many bytes are done; it is asked often and must not take long.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ground_truth::convert::{Request, convert, fs::RealFilesystem};
/// use ground_truth::{Checkpoint, format::Format, quant::Quantization};
///
/// let folder = tempfile::tempdir()?;
/// let destination = folder.path().join("llama-tiny.gguf");
/// let request = Request {
///     source: "testdata/models/llama-tiny".as_ref(),
///     destination: &destination,
///     format: Format::Gguf,
///     quantization: Some(Quantization::Q8_0),
///     shard_bytes: None,
/// };
/// let converted = convert(&request, &mut |_, _| {}, &RealFilesystem)?;
/// assert_eq!(converted.bytes, std::fs::metadata(&destination)?.len());
/// assert!(Checkpoint::open(&destination)?.tokenizer.is_some());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The source's refusals, as [`Checkpoint::open`] and [`Model::from_checkpoint`] raise them; [`crate::Error::Convert`] for everything else,
/// naming the tensor or the destination. Whatever the error, the destination is what it was before.
pub fn convert(request: &Request, progress: &mut dyn FnMut(u64, u64), fs: &dyn Filesystem) -> Result<Converted> {
    let Request { source, destination, format, .. } = *request;
    check_request(request)?;
    let checkpoint = Checkpoint::open(source)?;
    let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file())?;
    Model::from_checkpoint(&checkpoint)?;
    let plan = plan(&checkpoint, &config, format, request.quantization)?;

    let mut files = Files::default();
    let paths = source_files(source, &checkpoint);
    paths.iter().try_for_each(|path| files.open(path))?;
    let to_read: u64 = paths.iter().map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len())).sum();
    let mut done = 0;
    let written = |plan: &Plan| plan.entries.iter().filter_map(|entry| entry.spec.dtype.bytes_of(&entry.spec.shape)).sum::<usize>() as u64;
    let total = to_read + 2 * written(&plan);
    let mut advance = |n: u64| {
        done = total.min(done + n);
        progress(done, total);
    };
    let provenance = provenance(source, plan.quantization, &files, &paths, &mut advance)?;
    let out = container::destination(request, &checkpoint, &config, &plan, &provenance)?;

    let names: Option<Vec<String>> = (format == Format::Safetensors).then(|| out.names());
    let mut publication = Publication::begin(fs, destination, names.as_deref())?;
    let mut notes = plan.notes.clone();
    for file in &out.files {
        let mut sink = publication.file(&file.name)?;
        write(&files, &plan, file, source, request, &mut sink, &mut notes, &mut advance)?;
        publication.close(&file.name, sink)?;
    }
    for (name, bytes) in &out.texts {
        let mut sink = publication.file(name)?;
        sink.write(bytes)?;
        publication.close(name, sink)?;
    }
    files.are_unchanged()?;
    let published = publication.commit(&mut advance, |temporary| container::check(temporary, request, &out, &plan))?;
    progress(total, total);
    let tensors = plan.entries.into_iter().map(|entry| entry.spec).collect();
    let bytes = published.iter().map(|file| file.bytes).sum();
    Ok(Converted { bytes, tensors, files: published, quantization: plan.quantization, provenance, notes })
}

fn check_request(request: &Request) -> Result<()> {
    let Request { source, destination, format, quantization, shard_bytes } = *request;
    let is_same = match (source.canonicalize(), destination.canonicalize()) {
        (Ok(source), Ok(destination)) => source == destination || is_one_file(&source, &destination),
        _ => false,
    };
    if is_same {
        return Err(ConvertError::SameFile).in_file(destination);
    }
    let extension = destination.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let promises = Format::ALL.into_iter().find(|format| format.name() == extension);
    if promises.is_some_and(|promised| promised != format || format == Format::Safetensors) {
        let due = match format {
            Format::Safetensors => "the name of a folder",
            Format::Gguf => "no extension or .gguf",
            Format::Apr => "no extension or .apr",
        };
        return Err(ConvertError::Extension { extension, due, format: format.name() }).in_file(destination);
    }
    if let Some(quantization) = quantization {
        check_quantization(format, quantization, destination)?;
    }
    match shard_bytes {
        Some(bytes @ 0) => Err(ConvertError::Shards { bytes, why: "at least one byte is due" }).in_file(destination),
        Some(bytes) if format != Format::Safetensors => {
            Err(ConvertError::Shards { bytes, why: "only safetensors is written in shards" }).in_file(destination)
        }
        _ => Ok(()),
    }
}

/// Whether two names stand for one file.
fn is_one_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path: &Path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        identity(a).is_some() && identity(a) == identity(b)
    }
    #[cfg(not(unix))]
    {
        let _ = (a, b);
        false
    }
}

/// The files of the source, sorted: those that tensors lie in, and the JSON files beside them.
fn source_files(source: &Path, checkpoint: &Checkpoint) -> BTreeSet<PathBuf> {
    let mut paths: BTreeSet<PathBuf> = checkpoint.tensors.iter().filter_map(|(_, tensor)| tensor.file().map(Path::to_owned)).collect();
    let beside = if source.is_dir() { Some(source) } else { source.parent().filter(|_| checkpoint.config_file() != source) };
    if let Some(folder) = beside {
        let read = ["config.json", "generation_config.json", "tokenizer.json"].map(|name| folder.join(name));
        paths.extend(read.into_iter().filter(|path| path.is_file()));
    } else {
        paths.insert(source.to_owned());
    }
    paths
}

/// Where the destination comes from, as it will state it. A file that is the whole source has no name there: what it is called is chance.
fn provenance(
    source: &Path,
    quantization: Quantization,
    files: &Files,
    paths: &BTreeSet<PathBuf>,
    read: &mut dyn FnMut(u64),
) -> Result<Vec<(String, String)>> {
    let format = Format::of(source)?;
    let mut stated = vec![
        ("ground_truth.converter".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("ground_truth.quantization".to_owned(), quantization.name().to_owned()),
        ("ground_truth.source.format".to_owned(), format.name().to_owned()),
    ];
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = if path == source { format.name().to_owned() } else { plain(&name) };
        stated.push((format!("ground_truth.source.sha256.{name}"), files.sha256(path, read)?));
    }
    Ok(stated)
}

/// A file name as a part of a key: what is neither a lowercase letter nor a digit is written as a line.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// Writes one file as its layout says.
#[expect(clippy::too_many_arguments, reason = "one caller; a struct would only name them twice")]
fn write(
    files: &Files,
    plan: &Plan,
    file: &Destination,
    source: &Path,
    request: &Request,
    sink: &mut Sink,
    notes: &mut Vec<String>,
    advance: &mut dyn FnMut(u64),
) -> Result<()> {
    sink.write(&file.layout.header)?;
    let mut order: Vec<usize> = (0..file.entries.len()).collect();
    order.sort_by_key(|i| file.layout.tensors[*i].0);
    for i in order {
        let (offset, bytes) = file.layout.tensors[i];
        let entry = &plan.entries[file.entries[i]];
        let disagrees = |what: String| ConvertError::Disagrees { what: format!("tensor `{}`: {what}", crate::Escaped(&entry.spec.name)) };
        if !sink.pad_to(offset)? {
            return Err(disagrees(format!("begins at {offset}, inside of what comes before"))).in_file(request.destination);
        }
        let reader = Reader::new(files, &entry.tensor)?;
        let job = Job {
            name: &entry.hf_name,
            reader,
            tensor: &entry.tensor,
            dtype: entry.spec.dtype,
            order: entry.order,
            exact: request.quantization.is_none(),
            file: source,
        };
        let mut held = 0;
        let losses = job.run(&mut |piece| {
            held += piece.len() as u64;
            advance(piece.len() as u64);
            sink.write(piece)
        })?;
        if held != bytes {
            return Err(disagrees(format!("{held} bytes, {bytes} are due"))).in_file(request.destination);
        }
        if losses.zeroed > 0 {
            let (n, name, dtype) = (losses.zeroed, crate::Escaped(&entry.hf_name), entry.spec.dtype);
            notes.push(format!("tensor `{name}`: {n} values that were not 0 are 0 in {dtype}"));
        }
    }
    sink.pad_to(file.layout.padded)?;
    if file.layout.crc_footer {
        let sum = sink.crc32();
        sink.write(&sum.to_le_bytes())?;
    }
    Ok(())
}
