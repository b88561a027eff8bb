//! Q4_0 and Q4_1: 32 numbers of 4 bits each.
//!
//! | bytes of Q4_0 | of Q4_1 | what |
//! |---|---|---|
//! | 0..2 | 0..2 | scale `d`, binary16 |
//! | | 2..4 | minimum `m`, binary16 |
//! | 2..18 | 4..20 | `q`: number `i` in the lower nibble of byte `i`, number `i + 16` in the upper |
//!
//! A number is `d * (q - 8)`, or `d * q + m`. To quantize to Q4_0, the number of largest magnitude becomes -8, whatever its sign; to Q4_1,
//! the smallest becomes 0 and the largest 15. Halves are rounded up, by the `d` that is not yet rounded to binary16 (ggml's reference).

use super::block::{decode, encode, half, largest, nibbles, pack_nibbles, part, to_half};
use super::legacy::{Affine, codes};

pub(super) const BYTES_0: usize = 18;
pub(super) const BYTES_1: usize = 20;

#[inline(always)]
pub(super) fn dequantize_0(bytes: &[u8], out: &mut [f32]) {
    decode::<BYTES_0, 32>(bytes, out, |block, out| {
        let d = half([block[0], block[1]]);
        for (out, q) in out.iter_mut().zip(nibbles(part(block, 2))) {
            *out = (i32::from(q) - 8) as f32 * d;
        }
    });
}

#[inline(always)]
pub(super) fn dequantize_1(bytes: &[u8], out: &mut [f32]) {
    decode::<BYTES_1, 32>(bytes, out, |block, out| {
        let (d, m) = (half([block[0], block[1]]), half([block[2], block[3]]));
        for (out, q) in out.iter_mut().zip(nibbles(part(block, 4))) {
            *out = f32::from(q) * d + m;
        }
    });
}

pub(super) fn quantize_0(values: &[f32]) -> Vec<u8> {
    encode::<32, BYTES_0>(values, |values, block| {
        let d = largest(values) / -8.0;
        block[..2].copy_from_slice(&to_half(d));
        pack_nibbles(&codes(values, d, 0.0, 8.5, 15), &mut block[2..]);
    })
}

pub(super) fn quantize_1(values: &[f32]) -> Vec<u8> {
    encode::<32, BYTES_1>(values, |values, block| {
        let Affine { d, m } = Affine::of(values, 15.0);
        block[..2].copy_from_slice(&to_half(d));
        block[2..4].copy_from_slice(&to_half(m));
        pack_nibbles(&codes(values, d, m, 0.5, 15), &mut block[4..]);
    })
}
