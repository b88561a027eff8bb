//! Every way in which the engine says no.
//!
//! One room an enum, one variant a reason, each with a hostile input that raises it. A message is a lowercase fragment
//! that reads after "failed to open the model:" and names the file, the field or tensor, the numbers and their unit. Names that
//! came from a file are [escaped](crate::Escaped).

mod apr;
mod chat;
mod config;
mod convert;
mod file;
mod gguf;
mod model;
mod safetensors;
mod tokenizer;

use std::path::{Path, PathBuf};

pub use apr::AprError;
pub use chat::ChatError;
pub use config::ConfigError;
pub use convert::ConvertError;
pub use file::{FileError, JsonError};
pub use gguf::GgufError;
pub use model::{ModelError, RequestError};
pub use safetensors::{IndexError, SafetensorsError};
pub use tokenizer::TokenizerError;

use crate::escape::EscapedPath;

/// A result of the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// Anything that the engine refuses or fails at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read at all.
    #[error("{}: {source}", EscapedPath(.file))]
    File {
        /// The file or folder.
        file: PathBuf,
        /// Why.
        source: FileError,
    },
    /// A file that should be strict JSON is not.
    #[error("{}: {source}", EscapedPath(.file))]
    Json {
        /// The file.
        file: PathBuf,
        /// Why.
        source: JsonError,
    },
    /// A file is not the safetensors file that it should be.
    #[error("{}: {source}", EscapedPath(.file))]
    Safetensors {
        /// The file.
        file: PathBuf,
        /// Why.
        source: SafetensorsError,
    },
    /// `model.safetensors.index.json` and the shards do not agree.
    #[error("{}: {source}", EscapedPath(.file))]
    Index {
        /// The index.
        file: PathBuf,
        /// Why.
        source: IndexError,
    },
    /// `config.json` or `generation_config.json` does not describe a model that the engine computes.
    #[error("{}: {source}", EscapedPath(.file))]
    Config {
        /// The file.
        file: PathBuf,
        /// Why.
        source: ConfigError,
    },
    /// `tokenizer.json` is malformed, or it cannot encode or decode what it was given.
    #[error("{}: {source}", EscapedPath(.file))]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// Why.
        source: TokenizerError,
    },
    /// The tensors are not those that the configuration needs.
    #[error("{}{source}", Whose(.file))]
    Model {
        /// The file that holds the tensor, or the folder that holds none; `None` for tensors made in memory.
        file: Option<PathBuf>,
        /// Why.
        source: ModelError,
    },
    /// A loaded model was asked for something it cannot answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A file is not the GGUF file that it should be, or a model cannot become one.
    #[error("{}: {source}", EscapedPath(.file))]
    Gguf {
        /// The file; of a model that cannot become one, the model's.
        file: PathBuf,
        /// Why.
        source: GgufError,
    },
    /// A model cannot be converted, or what it was converted to cannot be published.
    #[error("{}: {source}", EscapedPath(.file))]
    Convert {
        /// The source where it is the reason, else the destination.
        file: PathBuf,
        /// Why.
        source: ConvertError,
    },
    /// A file is not the APR file that it should be, or cannot become one.
    #[error("{}: {source}", EscapedPath(.file))]
    Apr {
        /// The file.
        file: PathBuf,
        /// Why.
        source: AprError,
    },
    /// A chat template is none, or a conversation cannot be rendered under it.
    #[error("{}: {source}", EscapedPath(.file))]
    Chat {
        /// The file that the template is from, or the model's.
        file: PathBuf,
        /// Why.
        source: ChatError,
    },
}

impl Error {
    /// The room that refused, as a word that does not change between releases: `file`, `json`, `safetensors`,
    /// `index`, `config`, `tokenizer`, `model`, `request`, `gguf`, `convert`, `apr` or `chat`.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::File { .. } => "file",
            Error::Json { .. } => "json",
            Error::Safetensors { .. } => "safetensors",
            Error::Index { .. } => "index",
            Error::Config { .. } => "config",
            Error::Tokenizer { .. } => "tokenizer",
            Error::Model { .. } => "model",
            Error::Request(_) => "request",
            Error::Gguf { .. } => "gguf",
            Error::Convert { .. } => "convert",
            Error::Apr { .. } => "apr",
            Error::Chat { .. } => "chat",
        }
    }

    /// The reason within the room, as a word that does not change between releases: one of [`Error::reasons`].
    pub fn reason(&self) -> &'static str {
        match self {
            Error::File { source, .. } => source.reason(),
            Error::Json { source, .. } => source.reason(),
            Error::Safetensors { source, .. } => source.reason(),
            Error::Index { source, .. } => source.reason(),
            Error::Config { source, .. } => source.reason(),
            Error::Tokenizer { source, .. } => source.reason(),
            Error::Model { source, .. } => source.reason(),
            Error::Request(source) => source.reason(),
            Error::Gguf { source, .. } => source.reason(),
            Error::Convert { source, .. } => source.reason(),
            Error::Apr { source, .. } => source.reason(),
            Error::Chat { source, .. } => source.reason(),
        }
    }

    /// Every (kind, reason) there is.
    pub fn reasons() -> impl Iterator<Item = (&'static str, &'static str)> {
        let rooms: [(&str, &[&str]); 12] = [
            ("file", FileError::REASONS),
            ("json", JsonError::REASONS),
            ("safetensors", SafetensorsError::REASONS),
            ("index", IndexError::REASONS),
            ("config", ConfigError::REASONS),
            ("tokenizer", TokenizerError::REASONS),
            ("model", ModelError::REASONS),
            ("request", RequestError::REASONS),
            ("gguf", GgufError::REASONS),
            ("convert", ConvertError::REASONS),
            ("apr", AprError::REASONS),
            ("chat", ChatError::REASONS),
        ];
        rooms.into_iter().flat_map(|(kind, reasons)| reasons.iter().map(move |reason| (kind, *reason)))
    }

    /// The file that was refused, where it was a file.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Error::File { file, .. }
            | Error::Json { file, .. }
            | Error::Safetensors { file, .. }
            | Error::Index { file, .. }
            | Error::Config { file, .. }
            | Error::Tokenizer { file, .. }
            | Error::Apr { file, .. }
            | Error::Gguf { file, .. }
            | Error::Convert { file, .. }
            | Error::Chat { file, .. } => Some(file),
            Error::Model { file, .. } => file.as_deref(),
            Error::Request(_) => None,
        }
    }
}

impl From<ModelError> for Error {
    fn from(source: ModelError) -> Self {
        Error::Model { file: None, source }
    }
}

/// The beginning of a message about a file, where there is one.
struct Whose<'a>(&'a Option<PathBuf>);

impl std::fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |file| write!(f, "{}: ", EscapedPath(file)))
    }
}

/// Says which file a room's refusal is about.
pub(crate) trait InFile<T> {
    /// The same result, its error naming `file`.
    fn in_file(self, file: &Path) -> Result<T>;
}

macro_rules! in_file {
    ($($source:ident => $room:ident),* $(,)?) => {$(
        impl<T> InFile<T> for std::result::Result<T, $source> {
            fn in_file(self, file: &Path) -> Result<T> {
                self.map_err(|source| Error::$room { file: file.to_owned(), source })
            }
        }
    )*};
}

in_file! {
    FileError => File,
    JsonError => Json,
    SafetensorsError => Safetensors,
    IndexError => Index,
    ConfigError => Config,
    TokenizerError => Tokenizer,
    GgufError => Gguf,
    ConvertError => Convert,
    AprError => Apr,
    ChatError => Chat,
}

/// Gives an error enum its list of reasons: the match is exhaustive, so a variant without a word does not compile.
macro_rules! reasons {
    ($room:ident { $($variant:ident => $reason:literal),* $(,)? }) => {
        impl $room {
            /// The words that [`reason`](Self::reason) answers with, one a variant.
            pub const REASONS: &'static [&'static str] = &[$($reason),*];

            /// The reason, as a word that does not change between releases.
            pub fn reason(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $reason),*
                }
            }
        }
    };
}
use reasons;
