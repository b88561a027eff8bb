//! Q5_K: 176 bytes for 256 numbers, in 8 groups of 32.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, binary16 |
//! | 2..4 | `dmin`, binary16 |
//! | 4..16 | 8 scales `s` and 8 minima `m` of 6 bits, as in Q4_K |
//! | 16..48 | the fifth bit of `q`: bit `k` of byte `l` is that of number `32 k + l` |
//! | 48..176 | the lower four: byte `32 h + l` holds number `64 h + l` in its lower nibble, number `64 h + 32 + l` in its upper |
//!
//! A number is `d * s * q - dmin * m`, multiplied from left to right.

use super::block::{add_bits, decode, encode, half, numbers, part, wide_nibbles};
use super::q4_k::{pack_scales_and_minima, scales_and_minima};
use super::search::{LANES, Lines, spaced};

pub(super) const BYTES: usize = 176;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, BYTES => 256, decode_block);
}

#[inline(always)]
fn decode_block(block: &[u8; BYTES], out: &mut [f32; 256]) {
    let (d, dmin) = (half([block[0], block[1]]), half([block[2], block[3]]));
    let (scales, minima) = scales_and_minima(part(block, 4));
    let mut codes = wide_nibbles(part(block, 48));
    add_bits(&mut codes, part(block, 16), 16);
    for (i, (out, q)) in out.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<32>().0).enumerate() {
        let (d, m) = (d * f32::from(scales[i]), dmin * f32::from(minima[i]));
        numbers(q, out, |q| d * q - m);
    }
}

/// See [`search`](super::search).
#[inline(always)]
pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    encode!(values, 256 => BYTES, encode_block)
}

#[inline(always)]
fn encode_block(values: &[f32; 256], block: &mut [u8; BYTES]) {
    const SPANS: [[f32; LANES]; 3] = spaced(28.5, 0.15);

    let Lines::<8> { d, dmin, scales, minima, codes } = Lines::fit::<32>(values, 31.0, 63.0, &SPANS);
    block[..2].copy_from_slice(&d);
    block[2..4].copy_from_slice(&dmin);
    pack_scales_and_minima(&scales, &minima, &mut block[4..16]);
    for (l, upper) in block[16..48].iter_mut().enumerate() {
        *upper = (0..8).fold(0, |bits, k| bits | codes[32 * k + l] >> 4 << k);
    }
    for (codes, out) in codes.as_chunks::<64>().0.iter().zip(block[48..].chunks_mut(32)) {
        (0..32).for_each(|l| out[l] = codes[l] & 15 | (codes[l + 32] & 15) << 4);
    }
}
