//! Q6_K: 210 bytes for 256 numbers, in 16 groups of 16.
//!
//! | bytes | what |
//! |---|---|
//! | 0..128 | the lower four bits of `q`: byte `64 h + l` holds number `128 h + l` in its lower nibble, number `128 h + 64 + l` in its upper |
//! | 128..192 | the upper two: byte `32 h + l` holds numbers `128 h + 32 j + l` for `j` = 0..4, the first in the lowest bits |
//! | 192..208 | `s`, a signed byte for each group |
//! | 208..210 | `d`, binary16 |
//!
//! A number is `d * s * (q - 32)`, multiplied from left to right.

use super::block::{by_sixteen, decode, encode, half, pairs, part};
use super::q2_k::pack_pairs;
use super::search::{LANES, Proportions, spaced};

pub(super) const BYTES: usize = 210;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, BYTES => 256, decode_block);
}

#[inline(always)]
fn decode_block(block: &[u8; BYTES], out: &mut [f32; 256]) {
    let d = half([block[208], block[209]]);
    let mut codes = pairs(part(block, 128));
    let lower: &[u8; 128] = part(block, 0);
    for (codes, lower) in codes.as_chunks_mut::<128>().0.iter_mut().zip(lower.as_chunks::<64>().0) {
        let (first, second) = codes.split_at_mut(64);
        first.iter_mut().zip(lower).for_each(|(q, lower)| *q = *q << 4 | lower & 15);
        second.iter_mut().zip(lower).for_each(|(q, lower)| *q = *q << 4 | lower >> 4);
    }
    let d = by_sixteen(part::<16>(block, 192).map(|s| d * f32::from(s as i8)));
    for i in 0..256 {
        out[i] = d[i] * (f32::from(codes[i]) - 32.0);
    }
}

/// See [`search`](super::search).
#[inline(always)]
pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    encode!(values, 256 => BYTES, encode_block)
}

#[inline(always)]
fn encode_block(values: &[f32; 256], block: &mut [u8; BYTES]) {
    const REACHES: [[f32; LANES]; 3] = spaced(-30.0, -0.15);

    let Proportions { d, scales, codes } = Proportions::fit(values, 32.0, 128.0, &REACHES);
    let codes = codes.map(|q| (q + 32) as u8);
    let (lower, rest) = block.split_at_mut(128);
    let (upper, rest) = rest.split_at_mut(64);
    for (codes, out) in codes.as_chunks::<128>().0.iter().zip(lower.chunks_mut(64)) {
        (0..64).for_each(|l| out[l] = codes[l] & 15 | (codes[l + 64] & 15) << 4);
    }
    pack_pairs(&codes.map(|q| q >> 4), upper);
    (0..16).for_each(|i| rest[i] = scales[i] as u8);
    rest[16..].copy_from_slice(&d);
}
