//! Q3_K: 110 bytes for 256 numbers, in 16 groups of 16.
//!
//! | bytes | what |
//! |---|---|
//! | 0..32 | the third bit of `q`: bit `k` of byte `l` is that of number `32 k + l` |
//! | 32..96 | the lower two: byte `32 h + l` holds numbers `128 h + 32 j + l` for `j` = 0..4, the first in the lowest bits |
//! | 96..108 | 16 scales `s` of 6 bits: the lower four of `s[i]` and `s[i + 8]` in byte `i`, the upper two of `s[4 j + i]` in bits `2 j` of byte `8 + i` |
//! | 108..110 | `d`, binary16 |
//!
//! A number is `d * (s - 32) * (q - 4)`, multiplied from left to right.

use super::block::{add_bits, by_sixteen, decode, encode, half, pairs, part};
use super::q2_k::pack_pairs;
use super::search::{LANES, Proportions, spaced};

pub(super) const BYTES: usize = 110;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, BYTES => 256, decode_block);
}

#[inline(always)]
fn decode_block(block: &[u8; BYTES], out: &mut [f32; 256]) {
    let d = half([block[108], block[109]]);
    let d = by_sixteen(scales(part(block, 96)).map(|s| d * f32::from(s)));
    let mut codes = pairs(part(block, 32));
    add_bits(&mut codes, part(block, 0), 4);
    for i in 0..256 {
        out[i] = d[i] * (f32::from(codes[i]) - 4.0);
    }
}

/// The sixteen scales, less 32.
#[inline(always)]
fn scales(bytes: &[u8; 12]) -> [i8; 16] {
    let mut out = [0; 16];
    for (i, out) in out.iter_mut().enumerate() {
        let lower = bytes[i % 8] >> (4 * (i / 8)) & 15;
        let upper = bytes[8 + i % 4] >> (2 * (i / 4)) & 3;
        *out = (lower | upper << 4) as i8 - 32;
    }
    out
}

/// See [`search`](super::search).
#[inline(always)]
pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    encode!(values, 256 => BYTES, encode_block)
}

#[inline(always)]
fn encode_block(values: &[f32; 256], block: &mut [u8; BYTES]) {
    const REACHES: [[f32; LANES]; 4] = {
        // Of both signs: which one the largest number should have depends on the others.
        let ([a, b], [c, d]) = (spaced(-2.2, -0.15), spaced(2.2, 0.15));
        [a, b, c, d]
    };

    let Proportions { d, scales, codes } = Proportions::fit(values, 4.0, 32.0, &REACHES);
    let codes = codes.map(|q| (q + 4) as u8);
    for (l, upper) in block[..32].iter_mut().enumerate() {
        *upper = (0..8).fold(0, |bits, k| bits | codes[32 * k + l] >> 2 << k);
    }
    pack_pairs(&codes, &mut block[32..96]);
    let scales = scales.map(|s| (s + 32) as u8);
    for i in 0..8 {
        block[96 + i] = scales[i] & 15 | (scales[i + 8] & 15) << 4;
    }
    for i in 0..4 {
        block[104 + i] = (0..4).fold(0, |bits, j| bits | scales[4 * j + i] >> 4 << (2 * j));
    }
    block[108..110].copy_from_slice(&d);
}
