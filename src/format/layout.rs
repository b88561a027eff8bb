//! Where everything stands in a file that is about to be written: what each container's writer says, and what one streaming writer
//! follows.

use crate::Dtype;

/// A tensor as it will stand in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in that container.
    pub name: String,
    /// Its type in that container.
    pub dtype: Dtype,
    /// Its dimensions as it is stored, slowest first.
    pub shape: Vec<usize>,
}

/// A file to be: `header`, then each tensor's bytes at its offset, zeros between, and what follows the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLayout {
    /// Everything before the first tensor, padding included.
    pub header: Vec<u8>,
    /// Offset from the start of the file and bytes of each tensor, in the order of the specs that were given.
    pub tensors: Vec<(u64, u64)>,
    /// Length of the file up to and with the padding after the last tensor, without the footer.
    pub padded: u64,
    /// Whether a CRC-32 of everything before it, little endian, ends the file.
    pub crc_footer: bool,
}
