//! Files that somebody else made, as they are listed: container and quantization by their content, never by their name.

use std::path::PathBuf;

use crate::golden_store::derived::GivenEntry;
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
