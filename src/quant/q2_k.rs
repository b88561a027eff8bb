//! Q2_K: 84 bytes for 256 numbers, in 16 groups of 16.
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | a byte for each group: scale `s` in the lower nibble, minimum `m` in the upper |
//! | 16..80 | `q`, 2 bits: byte `32 h + l` holds numbers `128 h + 32 j + l` for `j` = 0..4, the first in the lowest bits |
//! | 80..82 | `d`, binary16 |
//! | 82..84 | `dmin`, binary16 |
//!
//! A number is `d * s * q - dmin * m`, multiplied from left to right.

use super::block::{by_sixteen, decode, encode, half, pairs, part};
use super::search::{LANES, Lines, spaced};

pub(super) const BYTES: usize = 84;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, BYTES => 256, decode_block);
}

#[inline(always)]
fn decode_block(block: &[u8; BYTES], out: &mut [f32; 256]) {
    let (d, dmin) = (half([block[80], block[81]]), half([block[82], block[83]]));
    let (scales, codes) = (part::<16>(block, 0), pairs(part(block, 16)));
    let (d, m) = (by_sixteen(scales.map(|s| d * f32::from(s & 15))), by_sixteen(scales.map(|s| dmin * f32::from(s >> 4))));
    for i in 0..256 {
        out[i] = d[i] * f32::from(codes[i]) - m[i];
    }
}

/// See [`search`](super::search).
#[inline(always)]
pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    encode!(values, 256 => BYTES, encode_block)
}

#[inline(always)]
fn encode_block(values: &[f32; 256], block: &mut [u8; BYTES]) {
    const SPANS: [[f32; LANES]; 2] = spaced(1.8, 0.125);

    let Lines::<16> { d, dmin, scales, minima, codes } = Lines::fit::<16>(values, 3.0, 15.0, &SPANS);
    (0..16).for_each(|i| block[i] = scales[i] | minima[i] << 4);
    pack_pairs(&codes, &mut block[16..80]);
    block[80..82].copy_from_slice(&d);
    block[82..84].copy_from_slice(&dmin);
}

/// Codes of two bits: byte `32 h + l` holds those of numbers `128 h + 32 j + l` for `j` = 0..4, the first in the lowest bits.
#[inline(always)]
pub(super) fn pack_pairs(codes: &[u8; 256], out: &mut [u8]) {
    for (half, out) in codes.as_chunks::<128>().0.iter().zip(out.chunks_mut(32)) {
        for (l, out) in out.iter_mut().enumerate() {
            *out = half[l] & 3 | (half[l + 32] & 3) << 2 | (half[l + 64] & 3) << 4 | (half[l + 96] & 3) << 6;
        }
    }
}
