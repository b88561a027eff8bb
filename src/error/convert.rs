//! Conversions that cannot be done, and files that cannot be published.

use std::io;

use super::reasons;
use crate::{Dtype, Escaped};

/// Why a model is not converted, or what it was converted to is not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Source and destination are one.
    #[error("is the source itself; give another destination, a conversion never changes what it reads")]
    SameFile,
    /// The folder that is to hold the destination is not there.
    #[error("the folder that it is to lie in is {found}; make that folder first, a conversion makes none but its own")]
    NoFolder {
        /// What is there instead.
        found: &'static str,
    },
    /// The destination is something that is not replaced.
    #[error("is {found}, {due} is due; remove it, or give another destination")]
    Occupied {
        /// What is there.
        found: &'static str,
        /// What could be replaced.
        due: &'static str,
    },
    /// The destination is a folder with something else in it.
    #[error("is a folder that holds other content ({}); remove it, or give another destination", Escaped(.first))]
    OtherContent {
        /// The first file that is not the same.
        first: String,
    },
    /// A path that ends in no name.
    #[error("ends in no name of a file or folder")]
    NoName,
    /// A name that promises another format than the one that would be under it: our own readers would refuse it.
    #[error("ends in .{extension}, and {due} is due for {format}; give another name")]
    Extension {
        /// What the name ends in.
        extension: String,
        /// What it may end in.
        due: &'static str,
        /// The format.
        format: &'static str,
    },
    /// A quantization that the format does not have.
    #[error("a {format} file has no quantization {quantization}; {format} has {known}")]
    NoSuchQuantization {
        /// The format.
        format: &'static str,
        /// The quantization.
        quantization: &'static str,
        /// What the format has.
        known: String,
    },
    /// Shards of a format that is one file, or of no size.
    #[error("shards of {bytes} bytes: {why}")]
    Shards {
        /// The size of a shard.
        bytes: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A tensor whose type the format does not have, where the types were to be kept.
    #[error("tensor `{}`: {format} does not have its type {dtype} {shape:?}; name a quantization, f32 holds every value", Escaped(.tensor))]
    CannotTravel {
        /// Its name.
        tensor: String,
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// The format.
        format: &'static str,
    },
    /// A field of the configuration that the readers of the format do not know.
    #[error("{format} has no words for `{}`: {why}", Escaped(.field))]
    CannotSay {
        /// Its name.
        field: String,
        /// The format.
        format: &'static str,
        /// What would become of it.
        why: &'static str,
    },
    /// A value that is too large for the type it was to have.
    #[error("tensor `{}`: element {index} is {value:e}, which overflows {dtype}; use bf16, f32, or another quantization", Escaped(.tensor))]
    Overflow {
        /// Its name.
        tensor: String,
        /// The element, in the order of the destination.
        index: usize,
        /// The value.
        value: f32,
        /// The type.
        dtype: Dtype,
    },
    /// The source changed while it was read.
    #[error("changed while it was read; convert again when nothing writes to it")]
    SourceChanged,
    /// What was read back is not what was written.
    #[error("reads back as sha256 {found}, {written} was written; nothing was published, check the disk")]
    ReadsBack {
        /// Of what was written.
        written: String,
        /// Of what was read.
        found: String,
    },
    /// What was written does not parse as what was meant.
    #[error("was written and does not parse as what was meant: {what}; nothing was published, report this as a bug")]
    Disagrees {
        /// The difference.
        what: String,
    },
    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

reasons!(ConvertError {
    SameFile => "same-file",
    NoFolder => "no-folder",
    Occupied => "occupied",
    OtherContent => "other-content",
    NoName => "no-name",
    Extension => "extension",
    NoSuchQuantization => "no-such-quantization",
    Shards => "shards",
    CannotTravel => "cannot-travel",
    CannotSay => "cannot-say",
    Overflow => "overflow",
    SourceChanged => "source-changed",
    ReadsBack => "reads-back",
    Disagrees => "disagrees",
    Io => "io",
});
