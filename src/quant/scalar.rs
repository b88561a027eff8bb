//! Numbers that stand on their own: F32, F16, BF16, and the bytes of masks.

use half::{bf16, f16};

use crate::Dtype;
use crate::kernel::widen::{Float, widen};

#[inline(always)]
pub(super) fn dequantize(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match (dtype, Float::of(dtype)) {
        (_, Some(float)) => widen(float, bytes, out),
        (Dtype::Bool, None) => bytes_to(bytes, out, |b| f32::from(b != 0)),
        _ => bytes_to(bytes, out, f32::from),
    }
}

#[inline(always)]
fn bytes_to(bytes: &[u8], out: &mut [f32], number: impl Fn(u8) -> f32) {
    assert_eq!(bytes.len(), out.len(), "bytes for numbers");
    out.iter_mut().zip(bytes).for_each(|(out, b)| *out = number(*b));
}

/// To nearest, ties to even. For `U8` to a whole number, clamped to 0..=255; for `Bool` whether the number is not 0.
pub(super) fn quantize(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    match dtype {
        Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::U8 => values.iter().map(|v| v.round_ties_even() as u8).collect(),
        Dtype::Bool => values.iter().map(|v| u8::from(*v != 0.0)).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}
