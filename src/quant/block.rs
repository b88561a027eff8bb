//! What every block format is made of: half-precision scales, arrays of bytes, and one loop over blocks.

use half::f16;

use crate::kernel::widen::{Float, widen};

/// The number that two bytes hold as an IEEE binary16. Without a branch, and inlined into the loops of the caller's instructions.
#[inline(always)]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    let mut number = [0f32];
    widen(Float::F16, &bytes, &mut number);
    number[0]
}

/// A number rounded to binary16: to nearest, ties to even, infinity past 65,519.
#[inline]
pub(super) fn to_half(number: f32) -> [u8; 2] {
    f16::from_f32(number).to_le_bytes()
}

/// `N` bytes of a block, from `at` on. The position is a constant wherever it is called, so that nothing is checked at run time.
#[inline(always)]
pub(super) fn part<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    block[at..at + N].first_chunk().expect("a range of N bytes has N bytes")
}

/// Decodes blocks of `B` bytes to `N` numbers each.
///
/// # Panics
/// If `out` is not as long as the blocks say.
#[inline(always)]
pub(super) fn decode<const B: usize, const N: usize>(bytes: &[u8], out: &mut [f32], block: impl Fn(&[u8; B], &mut [f32; N])) {
    let (blocks, rest) = bytes.as_chunks::<B>();
    assert!(rest.is_empty() && blocks.len() * N == out.len(), "{} bytes of blocks for {} numbers", bytes.len(), out.len());
    let (groups, _) = out.as_chunks_mut::<N>();
    for (bytes, out) in blocks.iter().zip(groups) {
        block(bytes, out);
    }
}

/// Encodes groups of `N` numbers to blocks of `B` bytes each. The values are a whole number of groups.
#[inline(always)]
pub(super) fn encode<const N: usize, const B: usize>(values: &[f32], block: impl Fn(&[f32; N], &mut [u8; B])) -> Vec<u8> {
    let (groups, rest) = values.as_chunks::<N>();
    assert!(rest.is_empty(), "{} numbers are no whole number of blocks", values.len());
    let mut out = vec![0; groups.len() * B];
    let (blocks, _) = out.as_chunks_mut::<B>();
    for (group, out) in groups.iter().zip(blocks) {
        block(group, out);
    }
    out
}

/// The number of largest magnitude, the first of equals; NaN if there is one, 0 if there is nothing else.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |best: f32, v| if v.abs() > best.abs() || v.is_nan() { *v } else { best })
}

/// The lower nibbles of 16 bytes, then the upper ones.
#[inline(always)]
pub(super) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    for (i, byte) in bytes.iter().enumerate() {
        out[i] = byte & 15;
        out[i + 16] = byte >> 4;
    }
    out
}

/// 16 bytes of the lower nibbles of 32 codes: code `i` below, code `i + 16` above.
#[inline(always)]
pub(super) fn pack_nibbles(codes: &[u8; 32], out: &mut [u8]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = codes[i] & 15 | codes[i + 16] << 4;
    }
}
