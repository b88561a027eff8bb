//! Q8_0: 34 bytes for 32 numbers.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | scale `d`, binary16 |
//! | 2..34 | `q`, 32 signed bytes |
//!
//! A number is `d * q`. To quantize, `d` is the largest magnitude / 127 and `q = round(x / d)`, halves away from zero, by the `d` that is
//! not yet rounded to binary16 (ggml's reference, which gguf-py repeats to the bit).

use super::block::{decode, encode, half, largest, to_half};

pub(super) const BYTES: usize = 34;

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, BYTES => 32, decode_block);
}

#[inline(always)]
fn decode_block(block: &[u8; BYTES], out: &mut [f32; 32]) {
    let d = half([block[0], block[1]]);
    for (out, q) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(*q as i8) * d;
    }
}

pub(super) fn quantize(values: &[f32]) -> Vec<u8> {
    encode!(values, 32 => BYTES, encode_block)
}

#[inline(always)]
fn encode_block(values: &[f32; 32], block: &mut [u8; BYTES]) {
    let d = largest(values).abs() / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    block[..2].copy_from_slice(&to_half(d));
    for (q, v) in block[2..].iter_mut().zip(values) {
        *q = (v * inverse).round() as i8 as u8;
    }
}
