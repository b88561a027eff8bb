//! Numbers as files hold them: what the bytes of each [`Dtype`] stand for, and how numbers become those bytes.
//!
//! One file per family, each with its layout as a table. A row is a whole number of blocks; a block decodes by itself, so that a product
//! can take weights row by row as they lie in the file. The two types of APR are laid out over the tensor as one row.
//!
//! Decoding is exact to the bit: every product and sum is one `f32` operation in the order that the tables give, which is that of gguf-py
//! and of ggml's reference (`golden/vectors/quant*`).

mod apr;
mod block;
mod iq4;
mod legacy;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4;
mod q4_k;
mod q5;
mod q5_k;
mod q6_k;
mod q8_0;
mod recipe;
mod scalar;
mod search;

pub(crate) use apr::Q8Scale;
pub use apr::{apr_q8_scale, dequantize_apr_q8};
pub use recipe::Quantization;

use crate::Dtype;
use crate::kernel::{Isa, per_isa};

/// Writes the numbers that `bytes` stand for to `out`: a whole number of blocks.
///
/// Any whole number of rows will do, except of a tensor of [`Dtype::AprQ8`]: it is one block, its scale and then its elements
/// ([`dequantize_apr_q8`] takes a part of one). Blocks of [`Dtype::AprQ4`] cross rows where 32 does not divide a row.
///
/// # Panics
///
/// If `out` is not as long as the blocks say.
pub fn dequantize(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    dequantize_with(Isa::best(), dtype, bytes, out);
}

per_isa! {
    /// [`dequantize`] with the given instructions; the numbers do not depend on them.
    pub fn dequantize_with(dtype: Dtype, bytes: &[u8], out: &mut [f32]) = dequantize_body;
}

#[inline(always)]
fn dequantize_body(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::U8 | Dtype::Bool => scalar::dequantize(dtype, bytes, out),
        Dtype::Q8_0 => q8_0::dequantize(bytes, out),
        Dtype::Q4_0 => q4::dequantize_0(bytes, out),
        Dtype::Q4_1 => q4::dequantize_1(bytes, out),
        Dtype::Q5_0 => q5::dequantize_0(bytes, out),
        Dtype::Q5_1 => q5::dequantize_1(bytes, out),
        Dtype::Q2K => q2_k::dequantize(bytes, out),
        Dtype::Q3K => q3_k::dequantize(bytes, out),
        Dtype::Q4K => q4_k::dequantize(bytes, out),
        Dtype::Q5K => q5_k::dequantize(bytes, out),
        Dtype::Q6K => q6_k::dequantize(bytes, out),
        Dtype::Iq4Nl => iq4::dequantize_nl(bytes, out),
        Dtype::Iq4Xs => iq4::dequantize_xs(bytes, out),
        Dtype::Mxfp4 => mxfp4::dequantize(bytes, out),
        Dtype::AprQ8 => apr::dequantize_q8(bytes, out),
        Dtype::AprQ4 => apr::dequantize_q4(bytes, out),
    }
}

/// The bytes of `values`, rows of `row` numbers; `None` if a row is not a whole number of blocks, if the values are not a whole number of
/// rows, or if `dtype` is one that is only read (IQ4_NL, IQ4_XS, MXFP4).
pub fn quantize(dtype: Dtype, values: &[f32], row: usize) -> Option<Vec<u8>> {
    // Blocks of AprQ4 go over the rows; everything else is cut by rows.
    let unit = if matches!(dtype, Dtype::AprQ4 | Dtype::AprQ8) { 1 } else { dtype.block().0 };
    let whole = row.is_multiple_of(unit) && (values.is_empty() || row > 0 && values.len().is_multiple_of(row));
    whole.then(|| match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::U8 | Dtype::Bool => Some(scalar::quantize(dtype, values)),
        Dtype::Q8_0 => Some(q8_0::quantize(values)),
        Dtype::Q4_0 => Some(q4::quantize_0(values)),
        Dtype::Q4_1 => Some(q4::quantize_1(values)),
        Dtype::Q5_0 => Some(q5::quantize_0(values)),
        Dtype::Q5_1 => Some(q5::quantize_1(values)),
        Dtype::Q2K | Dtype::Q3K | Dtype::Q4K | Dtype::Q5K | Dtype::Q6K => {
            let mut out = Vec::new();
            quantize_k(Isa::best(), dtype, values, &mut out);
            Some(out)
        }
        Dtype::Iq4Nl | Dtype::Iq4Xs | Dtype::Mxfp4 => None,
        Dtype::AprQ8 => Some(apr::quantize_q8(values)),
        Dtype::AprQ4 => Some(apr::quantize_q4(values)),
    })?
}

per_isa! {
    /// The k-quants: the only ones that search.
    fn quantize_k(dtype: Dtype, values: &[f32], out: &mut Vec<u8>) = quantize_k_body;
}

#[inline(always)]
fn quantize_k_body(dtype: Dtype, values: &[f32], out: &mut Vec<u8>) {
    *out = match dtype {
        Dtype::Q2K => q2_k::quantize(values),
        Dtype::Q3K => q3_k::quantize(values),
        Dtype::Q4K => q4_k::quantize(values),
        Dtype::Q5K => q5_k::quantize(values),
        Dtype::Q6K => q6_k::quantize(values),
        other => unreachable!("{other} is no k-quant"),
    }
}
