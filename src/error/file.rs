//! Files that cannot be read, and JSON that is not strict.

use std::io;

use super::reasons;
use crate::Escaped;

/// Why a file or a folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is nothing under that name.
    #[error("not found")]
    NotFound,
    /// A model is due and something else is there.
    #[error("is {found}; a model is a folder that holds config.json, model.safetensors and tokenizer.json, or a GGUF or APR file")]
    NotAModel {
        /// What is there.
        found: &'static str,
    },
    /// A name that promises another content than there is.
    #[error("is named .{extension} and holds {found}; one of the two is a mistake, rename it if it is the name")]
    Extension {
        /// The extension.
        extension: &'static str,
        /// The format of the content.
        found: &'static str,
    },
    /// A regular file is due. Pipes, devices and sockets may block or never end, so they are not even opened.
    #[error("is {found}, not a regular file")]
    NotRegular {
        /// What is there.
        found: &'static str,
    },
    /// The file is larger than its kind may be.
    #[error("has {bytes} bytes, the limit for this file is {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The folder has neither `model.safetensors` nor an index.
    #[error("holds neither model.safetensors nor model.safetensors.index.json{}", hint(.other))]
    NoWeights {
        /// A weights file of another format that is there, if one is.
        other: Option<String>,
    },
    /// The operating system refused.
    #[error("cannot be read: {0}")]
    Io(#[source] io::Error),
}

fn hint(other: &Option<String>) -> String {
    match other {
        Some(name) => format!("; `{}` is not a format that is read here, convert it to safetensors", Escaped(name)),
        None => String::new(),
    }
}

reasons!(FileError {
    NotFound => "not-found",
    NotAModel => "not-a-model",
    Extension => "extension",
    NotRegular => "not-regular",
    TooLarge => "too-large",
    NoWeights => "no-weights",
    Io => "io",
});

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => FileError::NotFound,
            _ => FileError::Io(error),
        }
    }
}

/// Why bytes are not strict JSON with an object at the top.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The file has no bytes.
    #[error("is empty, a JSON object is due")]
    Empty,
    /// Another kind of file under a `.json` name.
    #[error("is {found}, not JSON")]
    OtherContent {
        /// What the bytes look like.
        found: &'static str,
    },
    /// A byte order mark, or UTF-16.
    #[error("is written in {found}; JSON is UTF-8 without a byte order mark")]
    Encoding {
        /// What it is written in.
        found: &'static str,
    },
    /// Bytes that are no UTF-8.
    #[error("is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first byte that is wrong.
        at: usize,
    },
    /// A key that stands twice in one object: readers differ in which one counts.
    #[error("`{}` is there twice", Escaped(.path))]
    DuplicateKey {
        /// Where it is, keys joined by dots.
        path: String,
    },
    /// Nested deeper than the limit.
    #[error("is nested more than {limit} deep at `{}`", Escaped(.path))]
    TooDeep {
        /// Where, keys joined by dots.
        path: String,
        /// The limit.
        limit: usize,
    },
    /// Something other than an object at the top.
    #[error("is {found} at the top, an object is due")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// Not JSON.
    #[error("is not JSON: {message}{}", at(.path))]
    Syntax {
        /// Where the reader was, keys joined by dots; empty at the top.
        path: String,
        /// What it says, with line and column.
        message: String,
    },
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(", in `{}`", Escaped(path)) }
}

reasons!(JsonError {
    Empty => "empty",
    OtherContent => "other-content",
    Encoding => "encoding",
    NotUtf8 => "not-utf8",
    DuplicateKey => "duplicate-key",
    TooDeep => "too-deep",
    NotAnObject => "not-an-object",
    Syntax => "syntax",
});
