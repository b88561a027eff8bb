//! Containers of weights, and how files are opened. What a file is, is decided by its content.

pub mod apr;
pub(crate) mod file;
pub mod gguf;
pub(crate) mod json;
pub mod layout;
pub mod safetensors;
pub(crate) mod shards;
pub(crate) mod sniff;

use std::fmt::{self, Display, Formatter};
use std::io::Read;
use std::path::Path;

use crate::Tensors;
use crate::error::{FileError, InFile, Result};

/// The containers of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Hugging Face's: a folder of `config.json`, one file or shards, `tokenizer.json`.
    Safetensors,
    /// llama.cpp's: one file that holds everything.
    Gguf,
    /// aprender's: one file that holds everything.
    Apr,
}

/// Extensions that promise a kind of content, and which.
const PROMISES: [(&str, Option<Format>); 14] = [
    ("safetensors", Some(Format::Safetensors)),
    ("gguf", Some(Format::Gguf)),
    ("apr", Some(Format::Apr)),
    ("json", None),
    ("pt", None),
    ("pth", None),
    ("pkl", None),
    ("ckpt", None),
    ("h5", None),
    ("npz", None),
    ("onnx", None),
    ("zip", None),
    ("html", None),
    ("txt", None),
];

impl Format {
    /// Every format.
    pub const ALL: [Format; 3] = [Format::Safetensors, Format::Gguf, Format::Apr];

    /// `safetensors`, `gguf`, `apr`.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Gguf => "gguf",
            Format::Apr => "apr",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// What a file is, by how it begins; a folder is safetensors. Nothing else about it is checked.
    ///
    /// # Errors
    ///
    /// [`Error::File`](crate::Error::File): it cannot be read, begins like none of the formats, or its extension promises something else
    /// than it holds: who named it so, or was served it under that name, is mistaken about one of the two.
    pub fn of(path: &Path) -> Result<Format> {
        if std::fs::metadata(path).map_err(FileError::from).in_file(path)?.is_dir() {
            return Ok(Format::Safetensors);
        }
        let (file, _) = file::open_regular(path)?;
        let mut beginning = Vec::new();
        file.take(512).read_to_end(&mut beginning).map_err(FileError::from).in_file(path)?;
        let format = Format::of_bytes(&beginning).in_file(path)?;
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match PROMISES.into_iter().find(|(promise, _)| Some(*promise) == extension.as_deref()) {
            Some((promise, promised)) if promised != Some(format) => {
                Err(FileError::Extension { extension: promise, found: format.name() }).in_file(path)
            }
            _ => Ok(format),
        }
    }

    /// The format of a file that begins so.
    fn of_bytes(beginning: &[u8]) -> std::result::Result<Format, FileError> {
        let length = beginning.first_chunk().map(|length| u64::from_le_bytes(*length));
        let is_length = length.is_some_and(|length| (1..=safetensors::MAX_HEADER_BYTES).contains(&length));
        match sniff::sniff(beginning) {
            _ if beginning.starts_with(b"GGUF") || beginning.starts_with(b"FUGG") => Ok(Format::Gguf),
            _ if apr::is_apr(beginning) => Ok(Format::Apr),
            _ if is_length && beginning.get(8) == Some(&b'{') => Ok(Format::Safetensors),
            Some(found) => Err(FileError::NotAModel { found }),
            None if is_length => Ok(Format::Safetensors),
            None if beginning.is_empty() => Err(FileError::NotAModel { found: "an empty file" }),
            None => Err(FileError::NotAModel { found: "of no known kind" }),
        }
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Reads the weights in one safetensors file.
pub(crate) fn read_single(path: &Path) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for (name, tensor) in safetensors::open(path)? {
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// Reads the weights in `dir`: `model.safetensors` where there is one, as transformers does, else the shards of
/// `model.safetensors.index.json`.
pub(crate) fn read_weights(dir: &Path) -> Result<Tensors> {
    shards::read(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> std::result::Result<Format, &'static str> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Format::of(&path).map_err(|error| error.reason())
    }

    #[test]
    fn content_decides_and_the_extension_must_agree() {
        let header = b"\x02\0\0\0\0\0\0\0{}";
        let kinds: [(&[u8], Format); 3] = [(b"GGUF\x03\0\0\0", Format::Gguf), (b"APR\0\x02\0", Format::Apr), (header, Format::Safetensors)];
        for (bytes, format) in kinds {
            for name in ["model", "model.bin", "5f3a"] {
                assert_eq!(of(name, bytes), Ok(format), "{name}");
            }
            for other in Format::ALL {
                let expected = if other == format { Ok(format) } else { Err("extension") };
                assert_eq!(of(&format!("m.{other}"), bytes), expected, "{other}");
                assert_eq!(of(&format!("m.{}", other.name().to_uppercase()), bytes), expected, "{other}");
            }
            assert_eq!(of("model.json", bytes), Err("extension"));
        }
    }

    /// A length is followed by a header. What stands there instead, the reader of safetensors tells.
    #[test]
    fn a_length_without_a_header_is_left_to_its_reader() {
        assert_eq!(of("model", b"\x02\0\0\0\0\0\0\0[]"), Ok(Format::Safetensors));
        assert_eq!(of("model", b"\0\0\0\0\0\0\0\0[]"), Err("not-a-model"));
    }

    #[test]
    fn what_is_no_model_is_refused_by_what_it_is() {
        for bytes in [&b""[..], b"PK\x03\x04", b"{\"a\": 1}", b"\x80\x02}q\0.", b"version https://git-lfs.github.com/spec/v1"] {
            for name in ["m.gguf", "m.apr", "m.safetensors", "m.json", "m.bin", "m"] {
                assert_eq!(of(name, bytes), Err("not-a-model"));
            }
        }
        assert_eq!(Format::of(Path::new("/there/is/nothing/here")).unwrap_err().reason(), "not-found");
        assert_eq!(Format::of(tempfile::tempdir().unwrap().path()).unwrap(), Format::Safetensors);
    }
}
