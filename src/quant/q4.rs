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

use super::block::{decode_small, encode, half, largest, nibbles, numbers, pack_nibbles, part, to_half};
use super::legacy::{Affine, codes};

pub(super) const BYTES_0: usize = 18;
pub(super) const BYTES_1: usize = 20;

#[inline(always)]
pub(super) fn dequantize_0(bytes: &[u8], out: &mut [f32]) {
    decode_small!(bytes, out, BYTES_0, codes_0, |block| half([block[0], block[1]]), |d, q| (q - 8.0) * d);
}

#[inline(always)]
fn codes_0(block: &[u8; BYTES_0]) -> [u8; 32] {
    nibbles(part(block, 2))
}

#[inline(always)]
pub(super) fn dequantize_1(bytes: &[u8], out: &mut [f32]) {
    decode_small!(bytes, out, BYTES_1, codes_1, |block| (half([block[0], block[1]]), half([block[2], block[3]])), |(d, m), q| q * d + m);
}

#[inline(always)]
fn codes_1(block: &[u8; BYTES_1]) -> [u8; 32] {
    nibbles(part(block, 4))
}

pub(super) fn quantize_0(values: &[f32]) -> Vec<u8> {
    encode!(values, 32 => BYTES_0, encode_block_0)
}

#[inline(always)]
fn encode_block_0(values: &[f32; 32], block: &mut [u8; BYTES_0]) {
    let d = largest(values) / -8.0;
    block[..2].copy_from_slice(&to_half(d));
    pack_nibbles(&codes(values, d, 0.0, 8.5, 15), &mut block[2..]);
}

pub(super) fn quantize_1(values: &[f32]) -> Vec<u8> {
    encode!(values, 32 => BYTES_1, encode_block_1)
}

#[inline(always)]
fn encode_block_1(values: &[f32; 32], block: &mut [u8; BYTES_1]) {
    let Affine { d, m } = Affine::of(values, 15.0);
    block[..2].copy_from_slice(&to_half(d));
    block[2..4].copy_from_slice(&to_half(m));
    pack_nibbles(&codes(values, d, m, 0.5, 15), &mut block[4..]);
}
