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

use super::block::{decode_small, encode, half, largest, nibbles, numbers, pack_nibbles, part, to_half};
use super::legacy::{Affine, codes};

pub(super) const BYTES_0: usize = 22;
pub(super) const BYTES_1: usize = 24;

#[inline(always)]
pub(super) fn dequantize_0(bytes: &[u8], out: &mut [f32]) {
    decode_small!(bytes, out, BYTES_0, codes_0, |block| half([block[0], block[1]]), |d, q| (q - 16.0) * d);
}

#[inline(always)]
fn codes_0(block: &[u8; BYTES_0]) -> [u8; 32] {
    five_bits(*part(block, 2), part(block, 6))
}

#[inline(always)]
pub(super) fn dequantize_1(bytes: &[u8], out: &mut [f32]) {
    decode_small!(bytes, out, BYTES_1, codes_1, |block| (half([block[0], block[1]]), half([block[2], block[3]])), |(d, m), q| q * d + m);
}

#[inline(always)]
fn codes_1(block: &[u8; BYTES_1]) -> [u8; 32] {
    five_bits(*part(block, 4), part(block, 8))
}

#[inline(always)]
fn five_bits(upper: [u8; 4], lower: &[u8; 16]) -> [u8; 32] {
    let mut codes = nibbles(lower);
    for (codes, bits) in codes.as_chunks_mut::<8>().0.iter_mut().zip(upper) {
        *codes = (u64::from_le_bytes(*codes) | spread(bits) << 4).to_le_bytes();
    }
    codes
}

/// Bit `i` of a byte as the lowest bit of byte `i` of a word.
#[inline(always)]
fn spread(bits: u8) -> u64 {
    // Each byte keeps the bit that is its own; anything but 0 then carries into the highest.
    let own = u64::from_le_bytes([bits; 8]) & 0x8040_2010_0804_0201;
    (own + 0x7F7F_7F7F_7F7F_7F7F) >> 7 & 0x0101_0101_0101_0101
}

pub(super) fn quantize_0(values: &[f32]) -> Vec<u8> {
    encode!(values, 32 => BYTES_0, encode_block_0)
}

#[inline(always)]
fn encode_block_0(values: &[f32; 32], block: &mut [u8; BYTES_0]) {
    let d = largest(values) / -16.0;
    block[..2].copy_from_slice(&to_half(d));
    pack(&codes(values, d, 0.0, 16.5, 31), &mut block[2..]);
}

pub(super) fn quantize_1(values: &[f32]) -> Vec<u8> {
    encode!(values, 32 => BYTES_1, encode_block_1)
}

#[inline(always)]
fn encode_block_1(values: &[f32; 32], block: &mut [u8; BYTES_1]) {
    let Affine { d, m } = Affine::of(values, 31.0);
    block[..2].copy_from_slice(&to_half(d));
    block[2..4].copy_from_slice(&to_half(m));
    pack(&codes(values, d, m, 0.5, 31), &mut block[4..]);
}

/// The fifth bits, then the lower nibbles.
fn pack(codes: &[u8; 32], out: &mut [u8]) {
    let upper = codes.iter().enumerate().fold(0u32, |bits, (i, q)| bits | u32::from(q >> 4) << i);
    out[..4].copy_from_slice(&upper.to_le_bytes());
    pack_nibbles(&codes.map(|q| q & 15), &mut out[4..]);
}
