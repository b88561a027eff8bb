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

use super::block::{decode, half, part};

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
