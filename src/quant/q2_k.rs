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

use super::block::{decode, encode, half, part};
use super::search::{Lines, spaced};

pub(super) const BYTES: usize = 84;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode::<BYTES, 256>(bytes, out, |block, out| {
        let (d, dmin) = (half([block[80], block[81]]), half([block[82], block[83]]));
        for (i, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (d, m) = (d * f32::from(block[i] & 15), dmin * f32::from(block[i] >> 4));
            // Group i is half i / 8, pair of bits i / 2 % 4, sixteen bytes i % 2.
            let q: &[u8; 16] = part(block, 16 + 32 * (i / 8) + 16 * (i % 2));
            let shift = 2 * (i / 2 % 4);
            for (out, q) in out.iter_mut().zip(q) {
                *out = d * f32::from(q >> shift & 3) - m;
            }
        }
    });
}

/// See [`search`](super::search).
#[inline(always)]
pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    const SPANS: [f32; 24] = spaced(1.8, 0.1);
    encode::<256, BYTES>(values, |values, block| {
        let Lines::<16> { d, dmin, scales, minima, codes } = Lines::fit(values, 3.0, 15.0, &SPANS);
        (0..16).for_each(|i| block[i] = scales[i] | minima[i] << 4);
        pack_pairs(&codes, &mut block[16..80]);
        block[80..82].copy_from_slice(&d);
        block[82..84].copy_from_slice(&dmin);
    })
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
