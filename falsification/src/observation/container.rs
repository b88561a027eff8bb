//! An artifact as it is stored: files, metadata and tensors, before anything is computed.

/// One of the files that an artifact consists of: one for GGUF and APR, one or more for safetensors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name, without folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its first [`MAGIC_BYTES`] bytes, or all of them where it is shorter.
    pub magic: Vec<u8>,
    /// Where the data of the tensors begin, in bytes.
    pub data: u64,
}

/// How many bytes from its beginning a file shows.
pub const MAGIC_BYTES: usize = 16;

/// How many bytes from its beginning a stored tensor shows: one block of the largest type.
pub const HEAD_BYTES: usize = 256;

/// One tensor as it lies in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its name in the container.
    pub name: String,
    /// Its name in the Hugging Face folder; none for a tensor that has no counterpart there (rope frequencies).
    pub hf_name: Option<String>,
    /// Its element type, spelled as safetensors and ggml do (`F32`, `Q4_K`), and APR's own as `AprQ8` and `AprQ4`.
    pub dtype: String,
    /// Its shape as stored, slowest dimension first.
    pub shape: Vec<usize>,
    /// The file it lies in, as a place in [`Container::files`].
    pub file: usize,
    /// Where its bytes begin, from the beginning of the file.
    pub offset: u64,
    /// How many bytes it has, without padding.
    pub bytes: u64,
    /// SHA-256 of those bytes, read from the file by position, 64 lowercase hex digits.
    pub sha256: String,
    /// The first [`HEAD_BYTES`] of them, read likewise.
    pub head: Vec<u8>,
}

/// One entry of a container's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataEntry {
    /// Its key.
    pub key: String,
    /// Its type in the container's own words: GGUF's `u32`, `str`, `arr[str]`; JSON's `number`, `string`, `bool`, `array`, `object`.
    pub kind: String,
    /// Its value as text; of an array its length in brackets, `[768]`.
    pub value: String,
}

/// An artifact as it is stored, before anything is computed with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// `safetensors`, `gguf` or `apr`, from the content.
    pub format: String,
    /// The version of the format that the file says it has; empty where the format has none.
    pub version: String,
    /// Bytes of all files together.
    pub n_bytes: u64,
    /// What the offsets of tensors are multiples of, in bytes; 1 where the format asks for nothing.
    pub alignment: u64,
    /// The files.
    pub files: Vec<StoredFile>,
    /// The metadata, in file order.
    pub metadata: Vec<MetadataEntry>,
    /// The tensors, in file order.
    pub tensors: Vec<Stored>,
    /// Whether the checksum that the container carries is right; none where it carries none.
    pub checksum: Option<bool>,
    /// Whether a tokenizer lies in the container or, for safetensors, beside it.
    pub has_tokenizer: bool,
    /// SHA-256 over all values, whatever the container: for each tensor by Hugging Face name in byte order the name, a zero byte, the number
    /// of dimensions (u32), each dimension (u64) and the values in row-major order (f32), all little endian. A head that is a copy of the
    /// embedding, and what is computed at loading, is left out.
    pub values_digest: String,
    /// What the artifact says that it was made from: names of files and SHA-256 of their bytes. Where a name stands in a key, what is
    /// neither a letter nor a digit is written `_`.
    pub source: Vec<(String, String)>,
    /// What reading or converting warned about.
    pub warnings: Vec<String>,
}

impl Container {
    /// The metadata entry with this key.
    pub fn entry(&self, key: &str) -> Option<&MetadataEntry> {
        self.metadata.iter().find(|entry| entry.key == key)
    }

    /// The tensor with this Hugging Face name.
    pub fn stored(&self, hf_name: &str) -> Option<&Stored> {
        self.tensors.iter().find(|stored| stored.hf_name.as_deref() == Some(hf_name))
    }
}
