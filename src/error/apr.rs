//! APR files.

use super::{JsonError, reasons};
use crate::{Dtype, Escaped};

/// Why a file is not an APR file that the engine reads, in the order in which it is checked; and what an APR file cannot say.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AprError {
    /// Another kind of file where an APR file was expected.
    #[error("is {found}, not an APR file")]
    OtherContent {
        /// What the bytes look like, and what to do about it.
        found: &'static str,
    },
    /// Another container of the same family, or one that only documents describe.
    #[error("is {found}; of the APR containers only version 2 (`APR\\0`) is read")]
    OtherVersion {
        /// Which.
        found: &'static str,
    },
    /// Four bytes that begin no file of this family.
    #[error("begins with bytes {found:02x?}, an APR file begins with [41, 50, 52, 00] (`APR\\0`)")]
    Magic {
        /// The bytes.
        found: [u8; 4],
    },
    /// Shorter than a header.
    #[error("has {bytes} bytes, the header of an APR file has 64")]
    TooShort {
        /// Its size.
        bytes: usize,
    },
    /// The header's CRC-32 is not that of its bytes.
    #[error("its header states CRC-32 {stated:08x}, its bytes have {computed:08x}: the header is damaged")]
    HeaderChecksum {
        /// What bytes 40 to 43 say.
        stated: u32,
        /// What the other sixty bytes have.
        computed: u32,
    },
    /// A version other than 2.0.
    #[error("is APR version {major}.{minor}, version 2.0 is read")]
    Version {
        /// The major version.
        major: u8,
        /// The minor version.
        minor: u8,
    },
    /// A flag that says that the bytes are not what the index alone says they are.
    #[error("its header sets flag bit {bit} ({name}), which is not supported")]
    Flag {
        /// The bit, counted from the lowest.
        bit: u32,
        /// What it stands for.
        name: &'static str,
    },
    /// Bytes that every version leaves zero are not.
    #[error("byte {at} is 0x{byte:02x}, bytes {what} are zero in every APR file")]
    NotZero {
        /// The byte's offset in the file.
        at: usize,
        /// The byte.
        byte: u8,
        /// Which bytes should be zero.
        what: &'static str,
    },
    /// A section that does not begin where the one before it ends.
    #[error("its {section} is said to begin at byte {found}, the sections before it end at {due}")]
    Section {
        /// `metadata`, `tensor index` or `tensor data`.
        section: &'static str,
        /// Where the header says that it begins.
        found: u64,
        /// Where it must begin.
        due: u64,
    },
    /// A section that ends past the end of the file.
    #[error("its {section} ends at byte {end}, the file has {bytes}: it is truncated")]
    PastEnd {
        /// `metadata`, `tensor index`, `tensor data` or `footer`.
        section: &'static str,
        /// Where the section ends, padding left out.
        end: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// More metadata than any file may have.
    #[error("its metadata has {bytes} bytes, the limit is {limit}")]
    MetadataTooLarge {
        /// How many.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The metadata are not a strict JSON object.
    #[error("its metadata: {source}")]
    Metadata {
        /// Why.
        source: JsonError,
    },
    /// Two spellings of one field; readers differ in which one counts, and one drops all metadata.
    #[error("its metadata state `{first}` and `{second}`, two names of one field")]
    Aliases {
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The index ends within an entry.
    #[error("entry {entry} of {count} of its tensor index is cut off after {left} bytes")]
    Entry {
        /// Which entry, from 0.
        entry: u32,
        /// How many there should be.
        count: u32,
        /// The bytes that are left for it.
        left: usize,
    },
    /// A name longer than the format allows.
    #[error("tensor `{}`: its name has {bytes} bytes, the limit is {limit}", Escaped(.tensor))]
    NameTooLong {
        /// The beginning of the name.
        tensor: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A name that is not UTF-8.
    #[error("the name of entry {entry} of its tensor index is not UTF-8 (`{}`)", Escaped(.tensor))]
    NameNotUtf8 {
        /// Which entry, from 0.
        entry: u32,
        /// The name, what is not UTF-8 replaced.
        tensor: String,
    },
    /// A name that stands twice.
    #[error("tensor `{}` is there twice", Escaped(.tensor))]
    DuplicateName {
        /// The name.
        tensor: String,
    },
    /// Names that are not in ascending order of their bytes.
    #[error("tensor `{}` stands after `{}` in its index, names must ascend", Escaped(.tensor), Escaped(.before))]
    Unsorted {
        /// The name.
        tensor: String,
        /// The one before it.
        before: String,
    },
    /// A dtype byte that no version of the format defines.
    #[error("tensor `{}`: no version of APR defines dtype {id}", Escaped(.tensor))]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// The byte.
        id: u8,
    },
    /// A dtype byte that means one thing to some writers and another to others.
    #[error("tensor `{}`: dtype {id} is {meanings}; which one, the file does not say", Escaped(.tensor))]
    AmbiguousDtype {
        /// The tensor.
        tensor: String,
        /// The byte.
        id: u8,
        /// What it means to whom.
        meanings: &'static str,
    },
    /// More dimensions than the format allows.
    #[error("tensor `{}`: has {rank} dimensions, the limit is {limit}", Escaped(.tensor))]
    RankTooLarge {
        /// The tensor.
        tensor: String,
        /// How many dimensions it has.
        rank: usize,
        /// The limit.
        limit: usize,
    },
    /// The product of the dimensions is no number of bytes that a machine can hold, or a row is not a whole number of blocks.
    #[error("tensor `{}`: shape {shape:?} is none that {dtype} can have (its rows are whole blocks, its bytes fewer than 2^63)", Escaped(.tensor))]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
        /// Its dtype.
        dtype: Dtype,
    },
    /// The bytes that a tensor claims are not those that its shape and dtype need.
    #[error("tensor `{}`: shape {shape:?} of {dtype} needs {needed} bytes, its index entry states {held}", Escaped(.tensor))]
    WrongSize {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its dtype.
        dtype: Dtype,
        /// The bytes that it needs.
        needed: u64,
        /// The bytes that it claims.
        held: u64,
    },
    /// An offset that is misaligned, overlaps another tensor or leaves a hole.
    #[error("tensor `{}`: lies at {found} of the data, its first byte must be {due} (64-byte steps, no hole, no overlap)", Escaped(.tensor))]
    Offset {
        /// The tensor.
        tensor: String,
        /// Where it begins.
        found: u64,
        /// Where it must begin.
        due: u64,
    },
    /// Bytes after the place of the footer.
    #[error("has {extra} bytes after its footer")]
    Trailing {
        /// How many.
        extra: u64,
    },
    /// No CRC-32 at the end.
    #[error(
        "has no CRC-32 footer, so that damage to its {data} bytes of data could not be seen; if the file is known to be whole, stamp it: \
         printf '\\{:03o}\\{:03o}\\{:03o}\\{:03o}' >> FILE", stamp[0], stamp[1], stamp[2], stamp[3]
    )]
    NoFooter {
        /// Bytes of the tensor data.
        data: u64,
        /// The four bytes that are missing.
        stamp: [u8; 4],
    },
    /// The footer's CRC-32 is not that of the file.
    #[error("its footer states CRC-32 {stated:08x}, the bytes before it have {computed:08x}: the file is damaged")]
    FooterChecksum {
        /// What the last four bytes say.
        stated: u32,
        /// What the bytes before them have.
        computed: u32,
    },
    /// A dtype that the format has no byte for, or that the engine does not compute with.
    #[error("tensor `{}`: dtype {dtype} is not supported in APR files, weights are F32, F16, BF16, AprQ8, AprQ4, Q4_K or Q6_K", Escaped(.tensor))]
    UnsupportedDtype {
        /// The tensor.
        tensor: String,
        /// The dtype.
        dtype: &'static str,
    },
    /// A field of the metadata, or of the tokenizer that goes into them, that is missing or of another type.
    #[error("`{}` is {found}, {due} is due", Escaped(.field))]
    Field {
        /// The field.
        field: String,
        /// What is there.
        found: &'static str,
        /// What should be.
        due: &'static str,
    },
    /// A field that says something else of the model than `hf_config`, which was embedded with it.
    #[error("`{}` is {}, `hf_config` says {}", Escaped(.field), Escaped(.stated), Escaped(.due))]
    Contradiction {
        /// The field.
        field: String,
        /// What it says.
        stated: String,
        /// What `hf_config` says.
        due: String,
    },
    /// An architecture that the engine does not compute.
    #[error("`{}` is `{}`, the architectures are llama, qwen2 and gpt2", Escaped(.field), Escaped(.found))]
    Architecture {
        /// The field that names it.
        field: String,
        /// The architecture.
        found: String,
    },
    /// A tensor that cannot lie as the metadata say that it does.
    #[error("tensor `{}`: shape {shape:?} of {dtype} has no rows that could be laid out for neighbours (`rope_type` 0)", Escaped(.tensor))]
    Order {
        /// The tensor.
        tensor: String,
        /// Its shape as it is stored.
        shape: Vec<usize>,
        /// Its dtype.
        dtype: Dtype,
    },
}

reasons!(AprError {
    OtherContent => "other-content",
    OtherVersion => "other-version",
    Magic => "magic",
    TooShort => "too-short",
    HeaderChecksum => "header-checksum",
    Version => "version",
    Flag => "flag",
    NotZero => "not-zero",
    Section => "section",
    PastEnd => "past-end",
    MetadataTooLarge => "metadata-too-large",
    Metadata => "metadata",
    Aliases => "aliases",
    Entry => "entry",
    NameTooLong => "name-too-long",
    NameNotUtf8 => "name-not-utf8",
    DuplicateName => "duplicate-name",
    Unsorted => "unsorted",
    UnknownDtype => "unknown-dtype",
    AmbiguousDtype => "ambiguous-dtype",
    RankTooLarge => "rank-too-large",
    Shape => "shape",
    WrongSize => "wrong-size",
    Offset => "offset",
    Trailing => "trailing",
    NoFooter => "no-footer",
    FooterChecksum => "footer-checksum",
    UnsupportedDtype => "unsupported-dtype",
    Field => "field",
    Contradiction => "contradiction",
    Architecture => "architecture",
    Order => "order",
});
