//! Numbers as files hold them: what the bytes of each [`Dtype`] stand for, and how numbers become those bytes.
//!
//! One file per family. A row is a whole number of blocks; a block decodes by itself, so that a product can take weights row by row as
//! they lie in the file.

mod scalar;

use crate::Dtype;

/// Writes the numbers that `bytes` stand for to `out`: a whole number of blocks.
///
/// A tensor of [`Dtype::AprQ8`] is one block: its scale, then its elements.
///
/// # Panics
///
/// If `out` is not as long as the blocks say.
pub fn dequantize(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::U8 | Dtype::Bool => scalar::dequantize(dtype, bytes, out),
        other => unimplemented!("{other}"),
    }
}

/// The bytes of `values`, rows of `row` numbers; `None` if a row is not a whole number of blocks, or if `dtype` is one that is only read
/// (IQ4_NL, IQ4_XS, MXFP4).
pub fn quantize(dtype: Dtype, values: &[f32], row: usize) -> Option<Vec<u8>> {
    let _ = row;
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::U8 | Dtype::Bool => Some(scalar::quantize(dtype, values)),
        other => unimplemented!("{other}"),
    }
}

/// TEMP
pub fn apr_q8_scale(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
/// TEMP
pub fn dequantize_apr_q8(scale: f32, codes: &[u8], out: &mut [f32]) {
    out.iter_mut().zip(codes).for_each(|(o, c)| *o = scale * f32::from(*c as i8));
}
