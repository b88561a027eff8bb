//! The two quantized types of APR, over a tensor as one row.
//!
//! | AprQ8 | what | AprQ4, each block of 32 | what |
//! |---|---|---|---|
//! | 0..4 | scale `s` of the whole tensor, binary32 | 0..2 | scale `s`, binary16 |
//! | 4.. | `q`, a signed byte for each number | 2..18 | `q`: number `2 i` in the lower nibble of byte `i`, number `2 i + 1` in the upper |
//!
//! A number is `s * q`, or `s * (q - 8)`. In AprQ4 a scale that is NaN, infinite or below the smallest normal binary16 counts as 0: so do
//! the readers of the format. A code past the end of the last block is 0. The scale of zeros is 1.

use super::block::{half, largest, numbers, part, to_half};

pub(super) const Q4_BYTES: usize = 18;

/// The smallest normal binary16, 2^-14.
const MIN_NORMAL: f32 = 1.0 / 16_384.0;

/// The scale of a tensor of [`Dtype::AprQ8`](crate::Dtype::AprQ8); its codes follow it, from byte 4 on.
///
/// # Panics
/// If there are fewer than four bytes.
pub fn apr_q8_scale(bytes: &[u8]) -> f32 {
    f32::from_le_bytes(*part(bytes, 0))
}

/// Writes the numbers that some codes of a tensor of [`Dtype::AprQ8`](crate::Dtype::AprQ8) stand for: any part of it.
///
/// # Panics
/// If `out` is not as long as `codes`.
#[inline(always)]
pub fn dequantize_apr_q8(scale: f32, codes: &[u8], out: &mut [f32]) {
    assert_eq!(codes.len(), out.len(), "codes for numbers");
    for (out, q) in out.iter_mut().zip(codes) {
        *out = f32::from(*q as i8) * scale;
    }
}

pub(super) fn dequantize_q8(bytes: &[u8], out: &mut [f32]) {
    dequantize_apr_q8(apr_q8_scale(bytes), &bytes[4..], out);
}

#[inline(always)]
pub(super) fn dequantize_q4(bytes: &[u8], out: &mut [f32]) {
    let (blocks, rest) = bytes.as_chunks::<Q4_BYTES>();
    assert!(rest.is_empty() && blocks.len() == out.len().div_ceil(32), "{} bytes of blocks for {} numbers", bytes.len(), out.len());
    let (whole, last) = out.as_chunks_mut::<32>();
    for (block, out) in blocks.iter().zip(whole) {
        *out = q4_block(block);
    }
    if let Some(block) = blocks.last().filter(|_| !last.is_empty()) {
        last.copy_from_slice(&q4_block(block)[..last.len()]);
    }
}

#[inline(always)]
fn q4_block(block: &[u8; Q4_BYTES]) -> [f32; 32] {
    let scale = half([block[0], block[1]]);
    let scale = if scale.is_finite() && scale.abs() >= MIN_NORMAL { scale } else { 0.0 };
    let mut codes = [0u8; 32];
    for (pair, byte) in codes.as_chunks_mut::<2>().0.iter_mut().zip(&block[2..]) {
        *pair = [byte & 15, byte >> 4];
    }
    let mut out = [0f32; 32];
    numbers(&codes, &mut out, |q| (q - 8.0) * scale);
    out
}

/// Blocks of 32, the last one as long as it is. A scale is never below the smallest normal binary16, which readers would take for 0: the
/// numbers of such a block keep what steps of 2^-14 leave of them.
pub(super) fn quantize_q4(values: &[f32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len().div_ceil(32) * Q4_BYTES);
    for values in values.chunks(32) {
        let max = largest(values).abs();
        let scale = if max / 7.0 < MIN_NORMAL { MIN_NORMAL } else { max / 7.0 };
        let mut codes = [0u8; 32];
        for (code, v) in codes.iter_mut().zip(values) {
            *code = ((v / scale).round().clamp(-8.0, 7.0) as i8 + 8) as u8;
        }
        let is_zero = codes[..values.len()].iter().all(|code| *code == 8) && scale == MIN_NORMAL;
        out.extend_from_slice(&to_half(if is_zero { 1.0 } else { scale }));
        out.extend(codes.as_chunks::<2>().0.iter().map(|[lower, upper]| lower | upper << 4));
    }
    out
}

/// The scale of a tensor that becomes AprQ8, found by looking at its numbers piece by piece: the largest magnitude first, then all of them.
///
/// A tensor that was AprQ8 before gets the scale that it had: `max / 127` misses it by one unit in one of 128 cases, because `127 * s` was
/// rounded. Of scales that give the same numbers the smallest is taken, so that quantizing twice changes nothing.
pub(crate) struct Q8Scale {
    near: f32,
    /// Whether each candidate gives the numbers themselves.
    gives_them: [bool; 3],
    /// Whether it gives what `near` gives.
    gives_the_same: [bool; 3],
}

impl Q8Scale {
    /// Begins with the largest magnitude.
    pub(crate) fn new(largest: f32) -> Self {
        let near = largest / 127.0;
        // Also where the scale of the smallest numbers would be 0.
        let near = if near == 0.0 { 1.0 } else { near };
        Q8Scale { near, gives_them: [true; 3], gives_the_same: [true; 3] }
    }

    fn candidates(&self) -> [f32; 3] {
        [self.near.next_down(), self.near, self.near.next_up()]
    }

    fn code(&self, v: f32) -> i8 {
        (v / self.near).round().clamp(-127.0, 127.0) as i8
    }

    /// Looks at some of the numbers; each has to be looked at.
    pub(crate) fn look(&mut self, values: &[f32]) {
        for (i, scale) in self.candidates().into_iter().enumerate() {
            self.gives_them[i] = self.gives_them[i] && values.iter().all(|v| f32::from(self.code(*v)) * scale == *v);
            let same = |v: &f32| f32::from(self.code(*v)) * scale == f32::from(self.code(*v)) * self.near;
            self.gives_the_same[i] = self.gives_the_same[i] && values.iter().all(same);
        }
    }

    /// The scale, once all numbers were looked at.
    pub(crate) fn scale(&self) -> f32 {
        let first = |gives: &[bool; 3]| gives.iter().position(|gives| *gives).map(|i| self.candidates()[i]);
        first(&self.gives_them).or_else(|| first(&self.gives_the_same)).unwrap_or(self.near)
    }

    /// The codes of some of the numbers.
    pub(crate) fn codes(&self, values: &[f32]) -> Vec<u8> {
        values.iter().map(|v| self.code(*v) as u8).collect()
    }
}

pub(super) fn quantize_q8(values: &[f32]) -> Vec<u8> {
    let mut scale = Q8Scale::new(largest(values).abs());
    scale.look(values);
    scale.scale().to_le_bytes().into_iter().chain(scale.codes(values)).collect()
}
