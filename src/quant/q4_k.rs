//! Q4_K: 144 bytes for 256 numbers, in 8 groups of 32.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, binary16 |
//! | 2..4 | `dmin`, binary16 |
//! | 4..16 | 8 scales `s` and 8 minima `m` of 6 bits: see [`scales_and_minima`] |
//! | 16..144 | `q`, 4 bits: byte `32 h + l` holds number `64 h + l` in its lower nibble, number `64 h + 32 + l` in its upper |
//!
//! A number is `d * s * q - dmin * m`, multiplied from left to right.

use super::block::{decode, encode, half, numbers, part, wide_nibbles};
use super::search::{LANES, Lines, spaced};

pub(super) const BYTES: usize = 144;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, BYTES => 256, decode_block);
}

#[inline(always)]
fn decode_block(block: &[u8; BYTES], out: &mut [f32; 256]) {
    let (d, dmin) = (half([block[0], block[1]]), half([block[2], block[3]]));
    let (scales, minima) = scales_and_minima(part(block, 4));
    let codes = wide_nibbles(part(block, 16));
    for (i, (out, q)) in out.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<32>().0).enumerate() {
        let (d, m) = (d * f32::from(scales[i]), dmin * f32::from(minima[i]));
        numbers(q, out, |q| d * q - m);
    }
}

/// Scales and minima, 6 bits each. Those of groups 0..4 lie in the lower six bits of bytes 0..4 and 4..8. Of groups 4..8 the lower four
/// bits share a byte, 8..12, the scale's below; the upper two are the upper two of the bytes of the group four before.
#[inline(always)]
pub(super) fn scales_and_minima(bytes: &[u8; 12]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut minima) = ([0; 8], [0; 8]);
    for i in 0..4 {
        (scales[i], minima[i]) = (bytes[i] & 63, bytes[i + 4] & 63);
        scales[i + 4] = bytes[i + 8] & 15 | bytes[i] >> 6 << 4;
        minima[i + 4] = bytes[i + 8] >> 4 | bytes[i + 4] >> 6 << 4;
    }
    (scales, minima)
}

#[inline(always)]
pub(super) fn pack_scales_and_minima(scales: &[u8; 8], minima: &[u8; 8], out: &mut [u8]) {
    for i in 0..4 {
        out[i] = scales[i] | scales[i + 4] >> 4 << 6;
        out[i + 4] = minima[i] | minima[i + 4] >> 4 << 6;
        out[i + 8] = scales[i + 4] & 15 | (minima[i + 4] & 15) << 4;
    }
}

/// See [`search`](super::search).
#[inline(always)]
pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    encode!(values, 256 => BYTES, encode_block)
}

#[inline(always)]
fn encode_block(values: &[f32; 256], block: &mut [u8; BYTES]) {
    const SPANS: [[f32; LANES]; 3] = spaced(12.5, 0.15);

    let Lines::<8> { d, dmin, scales, minima, codes } = Lines::fit::<32>(values, 15.0, 63.0, &SPANS);
    block[..2].copy_from_slice(&d);
    block[2..4].copy_from_slice(&dmin);
    pack_scales_and_minima(&scales, &minima, &mut block[4..16]);
    for (codes, out) in codes.as_chunks::<64>().0.iter().zip(block[16..].chunks_mut(32)) {
        (0..32).for_each(|l| out[l] = codes[l] | codes[l + 32] << 4);
    }
}
