//! GGUF files that are not what they should be, that do not make a model, and models that GGUF has no words for.

use super::reasons;
use crate::Escaped;

/// Why a GGUF file is refused, or cannot be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// Another kind of file.
    #[error("is {found}, not a GGUF file")]
    OtherContent {
        /// What the bytes look like, and what to do about it.
        found: &'static str,
    },
    /// The first four bytes are not `GGUF`.
    #[error("begins with the bytes {found:02x?}, a GGUF file begins with 47 47 55 46")]
    Magic {
        /// The first bytes, at most four.
        found: Vec<u8>,
    },
    /// A file of a machine that writes numbers the other way round.
    #[error("is a big-endian GGUF file; only little-endian ones are read (convert it with gguf-py's `gguf_convert_endian`)")]
    BigEndian,
    /// Version 1, whose counts have 32 bits.
    #[error("is a GGUF file of version 1, which no writer has written since 2023; only versions 2 and 3 are read")]
    Version1,
    /// A version that there is not.
    #[error("states version {version}; only versions 2 and 3 are read")]
    Version {
        /// The version.
        version: u32,
    },
    /// The file ends within something.
    #[error("{what} at byte {at} needs {needed} bytes, the file has {left} left")]
    PastEnd {
        /// What is cut; names in it are escaped.
        what: String,
        /// Where it begins.
        at: u64,
        /// How many bytes it needs.
        needed: u64,
        /// How many there are.
        left: u64,
    },
    /// More of something than any file has.
    #[error("states {n} {what}, the limit is {limit}")]
    TooMany {
        /// What: keys, tensors, strings in arrays.
        what: &'static str,
        /// How many.
        n: u64,
        /// The limit.
        limit: u64,
    },
    /// A string that is longer than any is.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// Which string; names in it are escaped.
        what: String,
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A string that is no UTF-8.
    #[error("{what} is not UTF-8 at byte {at} of it")]
    NotUtf8 {
        /// Which string; names in it are escaped.
        what: String,
        /// The first byte that is wrong.
        at: usize,
    },
    /// A name without characters.
    #[error("{what} {index} has an empty name")]
    EmptyName {
        /// What: key or tensor.
        what: &'static str,
        /// Its index in the file.
        index: usize,
    },
    /// A name that readers in C would cut, or that would act on a terminal.
    #[error("{what} `{}` has a control character in its name", Escaped(.name))]
    NameCharacter {
        /// What: key or tensor.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that stands twice: readers differ in which one counts.
    #[error("{what} `{}` is there twice", Escaped(.name))]
    Duplicate {
        /// What: key or tensor.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A value of a type that there is not.
    #[error("key `{}`: value type {id} is unknown, types are 0 to 12", Escaped(.key))]
    ValueType {
        /// The key.
        key: String,
        /// The number of the type.
        id: u32,
    },
    /// An array of arrays.
    #[error("key `{}`: an array of arrays, which no reader takes", Escaped(.key))]
    NestedArray {
        /// The key.
        key: String,
    },
    /// A boolean that is neither true nor false.
    #[error("key `{}`: a boolean is byte {byte}, 0 or 1 is due", Escaped(.key))]
    Bool {
        /// The key.
        key: String,
        /// The byte.
        byte: u8,
    },
    /// An alignment that nothing can be aligned to.
    #[error("key `general.alignment` is {found}; a u32 that is a power of two from 8 to {limit} is due")]
    Alignment {
        /// Type and value.
        found: String,
        /// The largest.
        limit: u64,
    },
    /// One file of several.
    #[error("key `split.count` is {count}: the file is one of several; join them first (llama-gguf-split --merge)")]
    Split {
        /// Type and value.
        count: String,
    },
    /// A number of dimensions that no tensor has.
    #[error("tensor `{}`: has {n} dimensions, 1 to {limit} are due", Escaped(.tensor))]
    Rank {
        /// The tensor.
        tensor: String,
        /// How many.
        n: u32,
        /// The limit.
        limit: u32,
    },
    /// A tensor without elements.
    #[error("tensor `{}`: dimensions {dims:?} (fastest first) hold no element", Escaped(.tensor))]
    ZeroDimension {
        /// The tensor.
        tensor: String,
        /// The dimensions as the file states them.
        dims: Vec<u64>,
    },
    /// Dimensions whose product is no number of bytes that a machine can hold.
    #[error("tensor `{}`: dimensions {dims:?} (fastest first) hold more than 2^63 bytes", Escaped(.tensor))]
    ShapeOverflow {
        /// The tensor.
        tensor: String,
        /// The dimensions as the file states them.
        dims: Vec<u64>,
    },
    /// A row that is not a whole number of blocks.
    #[error("tensor `{}`: rows of {row} elements, {dtype} has blocks of {block}", Escaped(.tensor))]
    PartialBlock {
        /// The tensor.
        tensor: String,
        /// The elements of a row.
        row: u64,
        /// The type.
        dtype: &'static str,
        /// The elements of a block.
        block: usize,
    },
    /// A type that ggml has and the engine does not compute with.
    #[error("tensor `{}`: unsupported type {name}; quantize the model to another one", Escaped(.tensor))]
    UnsupportedType {
        /// The tensor.
        tensor: String,
        /// The name that ggml gives it.
        name: &'static str,
    },
    /// A type that ggml does not have, or no longer.
    #[error("tensor `{}`: type {id} is unknown", Escaped(.tensor))]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// The number of the type.
        id: u32,
    },
    /// An offset that is not where the tensor before it ends, padded.
    #[error("tensor `{}`: lies at {offset} of the data, {expected} is due (aligned, no hole, no overlap)", Escaped(.tensor))]
    Offset {
        /// The tensor.
        tensor: String,
        /// Where it says that it lies.
        offset: u64,
        /// Where it must lie.
        expected: u64,
    },
    /// A tensor that the file ends before.
    #[error("tensor `{}`: needs {needed} bytes at byte {at} of the file, which has {left} left there", Escaped(.tensor))]
    DataPastEnd {
        /// The tensor.
        tensor: String,
        /// Where it begins.
        at: u64,
        /// How many bytes it needs.
        needed: u64,
        /// How many there are.
        left: u64,
    },
    /// Bytes after the data.
    #[error("ends {bytes} bytes after its data; only the padding to the alignment may follow ({limit} bytes)")]
    Trailing {
        /// Bytes after the last tensor.
        bytes: u64,
        /// The padding's.
        limit: u64,
    },
    /// Padding that is not zero.
    #[error("byte {at} is padding and is 0x{byte:02x}, 0x00 is due")]
    Padding {
        /// Where.
        at: u64,
        /// The byte.
        byte: u8,
    },
    /// A key that a model cannot do without.
    #[error("key `{}` is missing", Escaped(.key))]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A value of another type than its key needs.
    #[error("key `{}` is {found}, {expected} is due", Escaped(.key))]
    WrongType {
        /// The key.
        key: String,
        /// What must be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A value that its key may not have.
    #[error("key `{}` is {}, {expected} is due", Escaped(.key), Escaped(.found))]
    BadValue {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// A key that changes the arithmetic in a way that is not computed here.
    #[error("key `{}` is {}: {why}", Escaped(.key), Escaped(.found))]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// What it would change.
        why: &'static str,
    },
    /// A tensor that the architecture has no place for, or not of that shape.
    #[error("tensor `{}`: {why}", Escaped(.tensor))]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        why: String,
    },
    /// A tensor that the architecture cannot do without.
    #[error("tensor `{}` is missing", Escaped(.tensor))]
    MissingTensor {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of another shape than the keys say.
    #[error("tensor `{}`: shape {found:?} (slowest first), {expected:?} is due by the keys {keys}", Escaped(.tensor))]
    WrongShape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// What the keys say.
        expected: Vec<usize>,
        /// The keys, without the architecture's name.
        keys: String,
    },
    /// What a model is and GGUF has no words for.
    #[error("`{}` is {}: GGUF cannot say so ({why}); keep this model in safetensors or APR", Escaped(.field), Escaped(.found))]
    CannotSay {
        /// The field of `config.json`, or the tensor.
        field: String,
        /// Its value.
        found: String,
        /// Why.
        why: &'static str,
    },
}

reasons!(GgufError {
    OtherContent => "other-content",
    Magic => "magic",
    BigEndian => "big-endian",
    Version1 => "version-1",
    Version => "version",
    PastEnd => "past-end",
    TooMany => "too-many",
    TooLong => "too-long",
    NotUtf8 => "not-utf8",
    EmptyName => "empty-name",
    NameCharacter => "name-character",
    Duplicate => "duplicate",
    ValueType => "value-type",
    NestedArray => "nested-array",
    Bool => "bool",
    Alignment => "alignment",
    Split => "split",
    Rank => "rank",
    ZeroDimension => "zero-dimension",
    ShapeOverflow => "shape-overflow",
    PartialBlock => "partial-block",
    UnsupportedType => "unsupported-type",
    UnknownType => "unknown-type",
    Offset => "offset",
    DataPastEnd => "data-past-end",
    Trailing => "trailing",
    Padding => "padding",
    MissingKey => "missing-key",
    WrongType => "wrong-type",
    BadValue => "bad-value",
    Unsupported => "unsupported",
    Tensor => "tensor",
    MissingTensor => "missing-tensor",
    WrongShape => "wrong-shape",
    CannotSay => "cannot-say",
});
