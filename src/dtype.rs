//! The types that a tensor's elements may have in a file: scalars, and blocks of quantized numbers.

use std::fmt::{self, Display, Formatter};

/// The type of a tensor's elements. Every value of every dtype here is an `f32` exactly.
///
/// `U8` and `Bool` occur only in causal masks that old gpt2 checkpoints carry and that no runtime reads. The quantized types are laid out
/// as [`quant`](crate::quant) says, family by family; a block never crosses a row, except those of the two types of APR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// An unsigned byte.
    U8,
    /// A byte that is 0 or 1.
    Bool,
    /// ggml: 32 numbers of 8 bits and a scale.
    Q8_0,
    /// ggml: 32 numbers of 4 bits and a scale.
    Q4_0,
    /// ggml: 32 numbers of 4 bits, a scale and a minimum.
    Q4_1,
    /// ggml: 32 numbers of 5 bits and a scale.
    Q5_0,
    /// ggml: 32 numbers of 5 bits, a scale and a minimum.
    Q5_1,
    /// ggml: 256 numbers of 2 bits, sixteen scales and minima of 4 bits.
    Q2K,
    /// ggml: 256 numbers of 3 bits, sixteen scales of 6 bits.
    Q3K,
    /// ggml: 256 numbers of 4 bits, eight scales and minima of 6 bits.
    Q4K,
    /// ggml: 256 numbers of 5 bits, eight scales and minima of 6 bits.
    Q5K,
    /// ggml: 256 numbers of 6 bits, sixteen scales of 8 bits.
    Q6K,
    /// ggml: 32 indices into a table of sixteen values, and a scale.
    Iq4Nl,
    /// ggml: 256 indices into the same table, eight scales of 6 bits.
    Iq4Xs,
    /// ggml: 32 numbers of 4 bits (E2M1) and a scale that is a power of two (OCP microscaling).
    Mxfp4,
    /// APR: 8-bit numbers, one scale for the whole tensor.
    AprQ8,
    /// APR: 32 numbers of 4 bits and a scale, over the tensor as one row.
    AprQ4,
}

impl Dtype {
    /// Every dtype.
    pub const ALL: [Dtype; 20] = [
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::U8,
        Dtype::Bool,
        Dtype::Q8_0,
        Dtype::Q4_0,
        Dtype::Q4_1,
        Dtype::Q5_0,
        Dtype::Q5_1,
        Dtype::Q2K,
        Dtype::Q3K,
        Dtype::Q4K,
        Dtype::Q5K,
        Dtype::Q6K,
        Dtype::Iq4Nl,
        Dtype::Iq4Xs,
        Dtype::Mxfp4,
        Dtype::AprQ8,
        Dtype::AprQ4,
    ];

    /// Elements and bytes of a block; of a scalar, one and its size. A tensor of [`Dtype::AprQ8`] has four bytes more, its scale.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Dtype::F32 => (1, 4),
            Dtype::F16 | Dtype::BF16 => (1, 2),
            Dtype::U8 | Dtype::Bool | Dtype::AprQ8 => (1, 1),
            Dtype::Q8_0 => (32, 34),
            Dtype::Q4_0 | Dtype::Iq4Nl | Dtype::AprQ4 => (32, 18),
            Dtype::Q4_1 => (32, 20),
            Dtype::Q5_0 => (32, 22),
            Dtype::Q5_1 => (32, 24),
            Dtype::Q2K => (256, 84),
            Dtype::Q3K => (256, 110),
            Dtype::Q4K => (256, 144),
            Dtype::Q5K => (256, 176),
            Dtype::Q6K => (256, 210),
            Dtype::Iq4Xs => (256, 136),
            Dtype::Mxfp4 => (32, 17),
        }
    }

    /// Whether each element stands on its own, at a whole number of bytes.
    pub const fn is_scalar(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::U8 | Dtype::Bool)
    }

    /// Whether a weight may have it.
    pub const fn is_weight(self) -> bool {
        !matches!(self, Dtype::U8 | Dtype::Bool)
    }

    /// The bytes of a tensor of that shape (slowest dimension first). `None` if a row is not a whole number of blocks, or if no address
    /// reaches that far.
    pub fn bytes_of(self, shape: &[usize]) -> Option<usize> {
        let elements = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim))?;
        let (block, bytes) = self.block();
        match self {
            Dtype::AprQ8 => elements.checked_add(4),
            Dtype::AprQ4 => elements.div_ceil(block).checked_mul(bytes),
            _ if !shape.last().copied().unwrap_or(1).is_multiple_of(block) => None,
            _ => (elements / block).checked_mul(bytes),
        }
    }

    /// Its name, as safetensors and ggml spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::BF16 => "BF16",
            Dtype::U8 => "U8",
            Dtype::Bool => "BOOL",
            Dtype::Q8_0 => "Q8_0",
            Dtype::Q4_0 => "Q4_0",
            Dtype::Q4_1 => "Q4_1",
            Dtype::Q5_0 => "Q5_0",
            Dtype::Q5_1 => "Q5_1",
            Dtype::Q2K => "Q2_K",
            Dtype::Q3K => "Q3_K",
            Dtype::Q4K => "Q4_K",
            Dtype::Q5K => "Q5_K",
            Dtype::Q6K => "Q6_K",
            Dtype::Iq4Nl => "IQ4_NL",
            Dtype::Iq4Xs => "IQ4_XS",
            Dtype::Mxfp4 => "MXFP4",
            Dtype::AprQ8 => "AprQ8",
            Dtype::AprQ4 => "AprQ4",
        }
    }

    /// Its number in a GGUF file, where it may stand in one.
    pub const fn ggml_id(self) -> Option<u32> {
        Some(match self {
            Dtype::F32 => 0,
            Dtype::F16 => 1,
            Dtype::Q4_0 => 2,
            Dtype::Q4_1 => 3,
            Dtype::Q5_0 => 6,
            Dtype::Q5_1 => 7,
            Dtype::Q8_0 => 8,
            Dtype::Q2K => 10,
            Dtype::Q3K => 11,
            Dtype::Q4K => 12,
            Dtype::Q5K => 13,
            Dtype::Q6K => 14,
            Dtype::Iq4Nl => 20,
            Dtype::Iq4Xs => 23,
            Dtype::BF16 => 30,
            Dtype::Mxfp4 => 39,
            Dtype::U8 | Dtype::Bool | Dtype::AprQ8 | Dtype::AprQ4 => return None,
        })
    }

    /// The dtype of that number in a GGUF file, if the engine reads it.
    pub fn from_ggml_id(id: u32) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.ggml_id() == Some(id))
    }

    /// The byte of this dtype in an APR file, where it may stand in one.
    pub const fn apr_id(self) -> Option<u8> {
        Some(match self {
            Dtype::F32 => 0,
            Dtype::F16 => 1,
            Dtype::Q4K => 12,
            Dtype::Q6K => 14,
            Dtype::BF16 => 30,
            Dtype::AprQ4 => 128,
            Dtype::AprQ8 => 129,
            _ => return None,
        })
    }

    /// The dtype of that byte in an APR file, as it is written today.
    pub fn from_apr_id(id: u8) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.apr_id() == Some(id))
    }
}

impl Display for Dtype {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_whole_number_of_blocks() {
        assert_eq!(Dtype::Q4K.bytes_of(&[2, 512]), Some(4 * 144));
        assert_eq!(Dtype::Q4K.bytes_of(&[512, 2]), None, "the total would divide, the row does not");
        assert_eq!(Dtype::Q8_0.bytes_of(&[]), None);
        assert_eq!(Dtype::F16.bytes_of(&[]), Some(2));
        assert_eq!(Dtype::AprQ8.bytes_of(&[3, 5]), Some(19));
        assert_eq!(Dtype::AprQ4.bytes_of(&[3, 11]), Some(36));
        assert_eq!(Dtype::F32.bytes_of(&[usize::MAX, 2]), None);
    }

    #[test]
    fn numbers_in_files_name_one_dtype_each() {
        for dtype in Dtype::ALL {
            assert!(dtype.ggml_id().is_none_or(|id| Dtype::from_ggml_id(id) == Some(dtype)), "{dtype}");
        }
        assert_eq!(Dtype::from_ggml_id(4), None);
    }
}
