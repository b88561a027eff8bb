//! Q5_0 and Q5_1: 32 numbers of 5 bits each.
//!
//! | bytes of Q5_0 | of Q5_1 | what |
//! |---|---|---|
//! | 0..2 | 0..2 | scale `d`, binary16 |
//! | | 2..4 | minimum `m`, binary16 |
//! | 2..6 | 4..8 | the fifth bit of `q`: bit `i` of the 32 is that of number `i` |
//! | 6..22 | 8..24 | the lower four: number `i` in the lower nibble of byte `i`, number `i + 16` in the upper |
//!
//! A number is `d * (q - 16)`, or `d * q + m`. Quantized as Q4_0 and Q4_1 are, with -16 for -8 and 31 for 15.

use super::block::{decode, encode, half, largest, nibbles, pack_nibbles, part, to_half};
use super::legacy::{Affine, codes};

pub(super) const BYTES_0: usize = 22;
pub(super) const BYTES_1: usize = 24;

#[inline(always)]
pub(super) fn dequantize_0(bytes: &[u8], out: &mut [f32]) {
    decode::<BYTES_0, 32>(bytes, out, |block, out| {
        let d = half([block[0], block[1]]);
        let q = five_bits(*part(block, 2), part(block, 6));
        for (out, q) in out.iter_mut().zip(q) {
            *out = (q as i32 - 16) as f32 * d;
        }
    });
}

#[inline(always)]
pub(super) fn dequantize_1(bytes: &[u8], out: &mut [f32]) {
    decode::<BYTES_1, 32>(bytes, out, |block, out| {
        let (d, m) = (half([block[0], block[1]]), half([block[2], block[3]]));
        let q = five_bits(*part(block, 4), part(block, 8));
        for (out, q) in out.iter_mut().zip(q) {
            *out = q as i32 as f32 * d + m;
        }
    });
}

#[inline(always)]
fn five_bits(upper: [u8; 4], lower: &[u8; 16]) -> [u32; 32] {
    let upper = u32::from_le_bytes(upper);
    let lower = nibbles(lower);
    let mut out = [0; 32];
    for (i, out) in out.iter_mut().enumerate() {
        *out = u32::from(lower[i]) | (upper >> i & 1) << 4;
    }
    out
}

pub(super) fn quantize_0(values: &[f32]) -> Vec<u8> {
    encode::<32, BYTES_0>(values, |values, block| {
        let d = largest(values) / -16.0;
        block[..2].copy_from_slice(&to_half(d));
        pack(&codes(values, d, 0.0, 16.5, 31), &mut block[2..]);
    })
}

pub(super) fn quantize_1(values: &[f32]) -> Vec<u8> {
    encode::<32, BYTES_1>(values, |values, block| {
        let Affine { d, m } = Affine::of(values, 31.0);
        block[..2].copy_from_slice(&to_half(d));
        block[2..4].copy_from_slice(&to_half(m));
        pack(&codes(values, d, m, 0.5, 31), &mut block[4..]);
    })
}

/// The fifth bits, then the lower nibbles.
fn pack(codes: &[u8; 32], out: &mut [u8]) {
    let upper = codes.iter().enumerate().fold(0u32, |bits, (i, q)| bits | u32::from(q >> 4) << i);
    out[..4].copy_from_slice(&upper.to_le_bytes());
    pack_nibbles(&codes.map(|q| q & 15), &mut out[4..]);
}
