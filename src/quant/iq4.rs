//! IQ4_NL and IQ4_XS: indices of 4 bits into a table of sixteen numbers that lie closer together near zero. Only read.
//!
//! | bytes of IQ4_NL (32 numbers) | of IQ4_XS (256) | what |
//! |---|---|---|
//! | 0..2 | 0..2 | scale `d`, binary16 |
//! | | 2..4 | the upper two bits of eight `s`: bits `2 i` and `2 i + 1` of a u16 are those of group `i` |
//! | | 4..8 | the lower four of `s`: two groups a byte, the even one in the lower nibble |
//! | 2..18 | 8..136 | `q`, 16 bytes for each 32 numbers: number `i` in the lower nibble of byte `i`, number `i + 16` in the upper |
//!
//! A number is `d * TABLE[q]`, or `d * (s - 32) * TABLE[q]`, multiplied from left to right.

use super::block::{decode, half, part};

pub(super) const NL_BYTES: usize = 18;
pub(super) const XS_BYTES: usize = 136;

/// ggml's `kvalues_iq4nl`.
const TABLE: [f32; 16] = [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

#[inline(always)]
fn group(d: f32, q: &[u8; 16], out: &mut [f32; 32]) {
    for i in 0..16 {
        out[i] = d * TABLE[usize::from(q[i] & 15)];
        out[i + 16] = d * TABLE[usize::from(q[i] >> 4)];
    }
}

#[inline(always)]
pub(super) fn dequantize_nl(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, NL_BYTES => 32, decode_block_nl);
}

#[inline(always)]
fn decode_block_nl(block: &[u8; NL_BYTES], out: &mut [f32; 32]) {
    group(half([block[0], block[1]]), part(block, 2), out);
}

#[inline(always)]
pub(super) fn dequantize_xs(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, XS_BYTES => 256, decode_block_xs);
}

#[inline(always)]
fn decode_block_xs(block: &[u8; XS_BYTES], out: &mut [f32; 256]) {
    let d = half([block[0], block[1]]);
    let upper = u16::from_le_bytes([block[2], block[3]]);
    for (i, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let lower = block[4 + i / 2] >> (4 * (i % 2)) & 15;
        let scale = i32::from(lower) | i32::from(upper >> (2 * i) & 3) << 4;
        group(d * (scale - 32) as f32, part(block, 8 + 16 * i), out);
    }
}
