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

use super::block::{decode, half, part};

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
