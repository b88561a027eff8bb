//! MXFP4 (OCP microscaling): 17 bytes for 32 numbers. Only read.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | scale, E8M0: the power of two `2^(e - 127)` |
//! | 1..17 | `q`, E2M1: number `i` in the lower nibble of byte `i`, number `i + 16` in the upper |
//!
//! ggml keeps twice the E2M1 number and half the scale, so that the table is whole; the products are the same. It has no -0, and reads the
//! scale 255, which is NaN in the standard, as `2^128`: so does this.

use super::block::{decode, part};

pub(super) const BYTES: usize = 17;

const TWICE: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

#[inline(always)]
pub(super) fn dequantize(bytes: &[u8], out: &mut [f32]) {
    decode!(bytes, out, BYTES => 32, decode_block);
}

#[inline(always)]
fn decode_block(block: &[u8; BYTES], out: &mut [f32; 32]) {
    let e = u32::from(block[0]);
    // Half of 2^-127 and of 2^-126 are subnormal.
    let d = f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 });
    let q: &[u8; 16] = part(block, 1);
    for i in 0..16 {
        out[i] = d * TWICE[usize::from(q[i] & 15)];
        out[i + 16] = d * TWICE[usize::from(q[i] >> 4)];
    }
}
