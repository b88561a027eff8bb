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

use super::block::{decode, encode, half, part};
use super::q2_k::pack_pairs;
use super::search::{Proportions, spaced};

pub(super) const BYTES: usize = 210;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode::<BYTES, 256>(bytes, out, |block, out| {
        let d = half([block[208], block[209]]);
        for (i, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let d = d * f32::from(block[192 + i] as i8);
            // Group i is half i / 8; in it, i % 4 says which 16 of 64 bytes, and i / 4 % 2 which nibble.
            let lower: &[u8; 16] = part(block, 64 * (i / 8) + 16 * (i % 4));
            let upper: &[u8; 16] = part(block, 128 + 32 * (i / 8) + 16 * (i % 2));
            let (nibble, pair) = (4 * (i / 4 % 2), 2 * (i / 2 % 4));
            for (out, (lower, upper)) in out.iter_mut().zip(lower.iter().zip(upper)) {
                let q = lower >> nibble & 15 | (upper >> pair & 3) << 4;
                *out = d * (i32::from(q) - 32) as f32;
            }
        }
    });
}

/// See [`search`](super::search).
#[inline(always)]
pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    const REACHES: [f32; 21] = spaced(-30.0, -0.15);
    encode::<256, BYTES>(values, |values, block| {
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
    })
}
