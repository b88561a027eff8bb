//! Weights files and the index that joins them.

use super::reasons;
use crate::Escaped;

/// Why a file is not a safetensors file that the engine reads, in the order in which it is checked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Another kind of file under a `.safetensors` name.
    #[error("is {found}, not a safetensors file")]
    OtherContent {
        /// What the bytes look like, and what to do about it.
        found: &'static str,
    },
    /// Shorter than the eight bytes that say how long the header is.
    #[error("has {bytes} bytes, a safetensors file has at least 10")]
    TooShort {
        /// Its size.
        bytes: usize,
    },
    /// The header is longer than any header may be.
    #[error("its header has {bytes} bytes, the limit is {limit}")]
    HeaderTooLarge {
        /// The length that the file states.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The header is longer than the file.
    #[error("its header has {bytes} bytes, but only {left} follow the length")]
    HeaderPastEnd {
        /// The length that the file states.
        bytes: u64,
        /// The bytes that there are.
        left: u64,
    },
    /// The header does not begin with `{`.
    #[error("its header begins with byte 0x{first:02x}, not with `{{`")]
    HeaderStart {
        /// The first byte of the header.
        first: u8,
    },
    /// The header is padded with something other than spaces.
    #[error("its header is padded with byte 0x{byte:02x}, only spaces (0x20) may follow the JSON")]
    HeaderPadding {
        /// The byte.
        byte: u8,
    },
    /// The header is not the JSON that the format asks for.
    #[error("its header is not valid: {}{}", Escaped(.message), about(.tensor))]
    Header {
        /// The entry that was being read.
        tensor: Option<String>,
        /// What is wrong with it.
        message: String,
    },
    /// A name that stands twice: readers differ in which one counts.
    #[error("tensor `{}` is there twice", Escaped(.tensor))]
    DuplicateName {
        /// The name, escapes resolved.
        tensor: String,
    },
    /// More tensors than any file holds.
    #[error("its header names more than {limit} tensors")]
    TooManyTensors {
        /// The limit.
        limit: usize,
    },
    /// A dtype that the format knows and the engine does not compute with.
    #[error("tensor `{}`: dtype {} is not supported, weights are F32, F16 or BF16", Escaped(.tensor), Escaped(.dtype))]
    UnsupportedDtype {
        /// The tensor.
        tensor: String,
        /// The dtype as the file writes it.
        dtype: String,
    },
    /// More dimensions than any weight has.
    #[error("tensor `{}`: has {rank} dimensions, the limit is {limit}", Escaped(.tensor))]
    RankTooLarge {
        /// The tensor.
        tensor: String,
        /// How many dimensions it has.
        rank: usize,
        /// The limit.
        limit: usize,
    },
    /// The product of the dimensions is no number of bytes that a machine can hold.
    #[error("tensor `{}`: shape {shape:?} holds more than 2^63 bytes", Escaped(.tensor))]
    ShapeOverflow {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
    },
    /// The bytes that a tensor claims are not those that its shape and dtype need.
    #[error("tensor `{}`: shape {shape:?} of {dtype} needs {needed} bytes, its offsets hold {held}", Escaped(.tensor))]
    WrongSize {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Its dtype.
        dtype: String,
        /// The bytes that it needs.
        needed: u64,
        /// The bytes that it claims.
        held: u64,
    },
    /// Offsets that go backwards, overlap another tensor or leave a hole.
    #[error("tensor `{}`: lies at {begin}..{end} of the data, its first byte must be {expected} (no hole, no overlap)", Escaped(.tensor))]
    Offsets {
        /// The tensor.
        tensor: String,
        /// Where it begins.
        begin: u64,
        /// Where it ends.
        end: u64,
        /// Where it must begin.
        expected: u64,
    },
    /// The data section is shorter or longer than the tensors together.
    #[error("its tensors need {needed} bytes of data, the file holds {held}")]
    DataLength {
        /// The bytes that the tensors need.
        needed: u64,
        /// The bytes that follow the header.
        held: u64,
    },
    /// The reference reader refuses what passed every check above.
    #[error("the reference reader refuses it: {}", Escaped(.message))]
    Reference {
        /// What it says.
        message: String,
    },
}

fn about(tensor: &Option<String>) -> String {
    match tensor {
        Some(name) => format!(" (tensor `{}`)", Escaped(name)),
        None => String::new(),
    }
}

reasons!(SafetensorsError {
    OtherContent => "other-content",
    TooShort => "too-short",
    HeaderTooLarge => "header-too-large",
    HeaderPastEnd => "header-past-end",
    HeaderStart => "header-start",
    HeaderPadding => "header-padding",
    Header => "header",
    DuplicateName => "duplicate-name",
    TooManyTensors => "too-many-tensors",
    UnsupportedDtype => "unsupported-dtype",
    RankTooLarge => "rank-too-large",
    ShapeOverflow => "shape-overflow",
    WrongSize => "wrong-size",
    Offsets => "offsets",
    DataLength => "data-length",
    Reference => "reference",
});

/// Why an index and its shards do not make one model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// No `weight_map`, or it is not an object.
    #[error("`weight_map` is {found}, an object of tensor name to shard name is due")]
    NoWeightMap {
        /// What is there.
        found: &'static str,
    },
    /// A tensor that is mapped to something other than a name.
    #[error("`weight_map`: tensor `{}` is mapped to {found}, a shard name is due", Escaped(.tensor))]
    NotAName {
        /// The tensor.
        tensor: String,
        /// What it is mapped to.
        found: &'static str,
    },
    /// A shard name that is not a plain `*.safetensors` file name. Nothing was opened.
    #[error("shard name `{}` is refused: a plain file name of letters, digits, `.`, `_`, `-` that ends in .safetensors is due", Escaped(.shard))]
    ShardName {
        /// The name.
        shard: String,
    },
    /// A shard that is a link out of the folder.
    #[error("shard `{}` is a link that leads out of the model's folder", Escaped(.shard))]
    OutsideFolder {
        /// The shard.
        shard: String,
    },
    /// A shard that is not there.
    #[error("shard `{}` is missing", Escaped(.shard))]
    MissingShard {
        /// The shard.
        shard: String,
    },
    /// A tensor that the shard it is mapped to does not hold.
    #[error("tensor `{}` is mapped to shard `{}`, which does not hold it{}", Escaped(.tensor), Escaped(.shard), instead(.found_in))]
    NotInShard {
        /// The tensor.
        tensor: String,
        /// Where it should be.
        shard: String,
        /// Where it is.
        found_in: Option<String>,
    },
    /// A tensor that two shards hold.
    #[error("tensor `{}` is in two shards, `{}` and `{}`", Escaped(.tensor), Escaped(.first), Escaped(.second))]
    InTwoShards {
        /// The tensor.
        tensor: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A tensor that a shard holds and the index does not name.
    #[error("shard `{}` holds tensor `{}`, which the index does not name", Escaped(.shard), Escaped(.tensor))]
    NotInMap {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// `metadata.total_size` is not the size of the tensors.
    #[error("`metadata.total_size` is {}, the tensors hold {actual} bytes", Escaped(.stated))]
    TotalSize {
        /// What the index states.
        stated: String,
        /// What the shards hold.
        actual: u64,
    },
}

fn instead(found_in: &Option<String>) -> String {
    match found_in {
        Some(shard) => format!("; it is in `{}`", Escaped(shard)),
        None => String::new(),
    }
}

reasons!(IndexError {
    NoWeightMap => "no-weight-map",
    NotAName => "not-a-name",
    ShardName => "shard-name",
    OutsideFolder => "outside-folder",
    MissingShard => "missing-shard",
    NotInShard => "not-in-shard",
    InTwoShards => "in-two-shards",
    NotInMap => "not-in-map",
    TotalSize => "total-size",
});
