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

use super::block::{decode, encode, half, part};
use super::q2_k::pack_pairs;
use super::search::{Proportions, spaced};

pub(super) const BYTES: usize = 110;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode::<BYTES, 256>(bytes, out, |block, out| {
        let d = half([block[108], block[109]]);
        let scales = scales(part(block, 96));
        for (i, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let d = d * f32::from(scales[i]);
            let lower: &[u8; 16] = part(block, 32 + 32 * (i / 8) + 16 * (i % 2));
            let upper: &[u8; 16] = part(block, 16 * (i % 2));
            let shift = 2 * (i / 2 % 4);
            for (out, (lower, upper)) in out.iter_mut().zip(lower.iter().zip(upper)) {
                let q = lower >> shift & 3 | (upper >> (i / 2) & 1) << 2;
                *out = d * (i32::from(q) - 4) as f32;
            }
        }
    });
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
    const REACHES: [f32; 24] = signed(spaced::<12>(2.2, 0.2));
    encode::<256, BYTES>(values, |values, block| {
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
    })
}

/// The reaches of both signs: which one the largest number should have depends on the others.
const fn signed(reaches: [f32; 12]) -> [f32; 24] {
    let mut out = [0.0; 24];
    let mut i = 0;
    while i < 12 {
        (out[2 * i], out[2 * i + 1]) = (-reaches[i], reaches[i]);
        i += 1;
    }
    out
}
