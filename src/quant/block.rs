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

/// Decodes blocks of so many bytes to so many numbers each, by a function that is `#[inline(always)]`. A macro, because a function that took
/// the function would call it through one that is compiled without the caller's instructions. Panics if `out` is not as long as the blocks say.
macro_rules! decode {
    ($bytes:expr, $out:expr, $size:expr => $n:expr, $block:ident) => {{
        let (bytes, out): (&[u8], &mut [f32]) = ($bytes, $out);
        let (blocks, rest) = bytes.as_chunks::<{ $size }>();
        assert!(rest.is_empty() && blocks.len() * $n == out.len(), "{} bytes of blocks for {} numbers", bytes.len(), out.len());
        let (groups, _) = out.as_chunks_mut::<{ $n }>();
        for (bytes, out) in blocks.iter().zip(groups) {
            $block(bytes, out);
        }
    }};
}
pub(super) use decode;

/// Encodes groups of so many numbers to blocks of so many bytes each; the values are a whole number of groups. The reverse of [`decode`].
macro_rules! encode {
    ($values:expr, $n:expr => $size:expr, $block:ident) => {{
        let values: &[f32] = $values;
        let (groups, rest) = values.as_chunks::<{ $n }>();
        assert!(rest.is_empty(), "{} numbers are no whole number of blocks", values.len());
        let mut out = vec![0; groups.len() * $size];
        let (blocks, _) = out.as_chunks_mut::<{ $size }>();
        for (group, out) in groups.iter().zip(blocks) {
            $block(group, out);
        }
        out
    }};
}
pub(super) use encode;

/// The number of largest magnitude, the first of equals; NaN if there is one, 0 if there is nothing else.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |best: f32, v| if v.abs() > best.abs() || v.is_nan() { *v } else { best })
}

/// Decodes blocks of 32 numbers, eight at a time: their codes are cut out byte by byte, and made numbers then. Each of the two is a loop that
/// becomes vector instructions, where one loop for both does not.
macro_rules! decode_small {
    ($bytes:expr, $out:expr, $size:expr, $codes:ident, |$block:ident| $header:expr, |$given:pat_param, $q:ident| $number:expr) => {{
        let (bytes, out): (&[u8], &mut [f32]) = ($bytes, $out);
        let (blocks, rest) = bytes.as_chunks::<{ $size }>();
        assert!(rest.is_empty() && blocks.len() * 32 == out.len(), "{} bytes of blocks for {} numbers", bytes.len(), out.len());
        let mut codes = [[0u8; 32]; 8];
        for (blocks, out) in blocks.chunks(8).zip(out.chunks_mut(256)) {
            for (block, codes) in blocks.iter().zip(&mut codes) {
                *codes = $codes(block);
            }
            for (($block, codes), out) in blocks.iter().zip(&codes).zip(out.as_chunks_mut::<32>().0) {
                let $given = $header;
                numbers(codes, out, |$q| $number);
            }
        }
    }};
}
pub(super) use decode_small;

/// Makes numbers of codes.
#[inline(always)]
pub(super) fn numbers(codes: &[u8; 32], out: &mut [f32; 32], number: impl Fn(f32) -> f32) {
    for (out, q) in out.iter_mut().zip(codes) {
        *out = number(f32::from(*q));
    }
}

/// 16 numbers, each sixteen times.
#[inline(always)]
pub(super) fn by_sixteen(numbers: [f32; 16]) -> [f32; 256] {
    let mut out = [0f32; 256];
    for (out, number) in out.as_chunks_mut::<16>().0.iter_mut().zip(numbers) {
        *out = [number; 16];
    }
    out
}

/// The lower nibbles of 16 bytes, then the upper ones.
#[inline(always)]
pub(super) fn nibbles(bytes: &[u8; 16]) -> [u8; 32] {
    let mut codes = [0; 32];
    let (lower, upper) = codes.split_at_mut(16);
    lower.iter_mut().zip(bytes).for_each(|(q, byte)| *q = byte & 15);
    upper.iter_mut().zip(bytes).for_each(|(q, byte)| *q = byte >> 4);
    codes
}

/// The same for each 32 bytes in turn, 256 codes of 128 bytes.
#[inline(always)]
pub(super) fn wide_nibbles(bytes: &[u8; 128]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (codes, bytes) in codes.as_chunks_mut::<64>().0.iter_mut().zip(bytes.as_chunks::<32>().0) {
        let (lower, upper) = codes.split_at_mut(32);
        lower.iter_mut().zip(bytes).for_each(|(q, byte)| *q = byte & 15);
        upper.iter_mut().zip(bytes).for_each(|(q, byte)| *q = byte >> 4);
    }
    codes
}

/// 256 codes of two bits: byte `32 h + l` holds those of numbers `128 h + 32 j + l` for `j` = 0..4, the first in the lowest bits.
#[inline(always)]
pub(super) fn pairs(bytes: &[u8; 64]) -> [u8; 256] {
    let mut codes = [0; 256];
    for (codes, bytes) in codes.as_chunks_mut::<128>().0.iter_mut().zip(bytes.as_chunks::<32>().0) {
        for (j, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            codes.iter_mut().zip(bytes).for_each(|(q, byte)| *q = byte >> (2 * j) & 3);
        }
    }
    codes
}

/// Adds one more bit to 256 codes, of the given weight: bit `k` of byte `l` is that of number `32 k + l`.
#[inline(always)]
pub(super) fn add_bits(codes: &mut [u8; 256], bytes: &[u8; 32], weight: u8) {
    for (k, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        codes.iter_mut().zip(bytes).for_each(|(q, byte)| *q |= (byte >> k & 1) * weight);
    }
}

/// 16 bytes of the lower nibbles of 32 codes: code `i` below, code `i + 16` above.
#[inline(always)]
pub(super) fn pack_nibbles(codes: &[u8; 32], out: &mut [u8]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = codes[i] & 15 | codes[i + 16] << 4;
    }
}
