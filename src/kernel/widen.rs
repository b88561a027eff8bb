//! Stored weights to `f32`, exactly: every F16 and BF16 number is an `f32` number.

use crate::Dtype;

/// The dtypes that weights may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
}

impl Float {
    /// The dtype as a weight's, where weights may have it.
    pub fn of(dtype: Dtype) -> Option<Float> {
        match dtype {
            Dtype::F32 => Some(Float::F32),
            Dtype::F16 => Some(Float::F16),
            Dtype::BF16 => Some(Float::BF16),
            _ => None,
        }
    }

    /// Bytes of one number.
    pub const fn size(self) -> usize {
        match self {
            Float::F32 => 4,
            Float::F16 | Float::BF16 => 2,
        }
    }
}

/// Writes the numbers in `bytes`, little endian, to `out`. Both hold the same count.
#[inline(always)]
pub fn widen(float: Float, bytes: &[u8], out: &mut [f32]) {
    match float {
        Float::F32 => each(bytes, out, |b: [u8; 4]| f32::from_le_bytes(b)),
        Float::F16 => each(bytes, out, |b: [u8; 2]| f16(u16::from_le_bytes(b))),
        Float::BF16 => each(bytes, out, |b: [u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
    }
}

#[inline(always)]
fn each<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    let (numbers, rest) = bytes.as_chunks::<N>();
    assert!(rest.is_empty() && numbers.len() == out.len(), "{} bytes for {} numbers", bytes.len(), out.len());
    for (out, bytes) in out.iter_mut().zip(numbers) {
        *out = number(*bytes);
    }
}

/// A binary16 by its bits. No branch, so that a row of them is a row of vector instructions.
#[inline(always)]
fn f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let shifted = u32::from(bits & 0x7FFF) << 13;
    // Exponents are biased by 15 there and by 127 here, so read as an f32 the number is 2^112 times too small, and exactly so: also
    // where it is subnormal there. Infinity and NaN have an exponent of all ones, here as there.
    let finite = (f32::from_bits(shifted) * f32::from_bits((127 + 112) << 23)).to_bits();
    let magnitude = if shifted < 0x7C00 << 13 { finite } else { shifted | 0x7F80_0000 };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_and_every_bf16_widens_to_the_number_it_is() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut out = vec![0f32; 65536];
        widen(Float::F16, &bytes, &mut out);
        for (bits, got) in (0..=u16::MAX).zip(&out) {
            let naive = half::f16::from_bits(bits).to_f32();
            assert!(got.to_bits() == naive.to_bits() || (got.is_nan() && naive.is_nan()), "F16 {bits:04x}: {got}");
        }
        widen(Float::BF16, &bytes, &mut out);
        for (bits, got) in (0..=u16::MAX).zip(&out) {
            let naive = half::bf16::from_bits(bits).to_f32();
            assert!(got.to_bits() == naive.to_bits() || (got.is_nan() && naive.is_nan()), "BF16 {bits:04x}: {got}");
        }
    }
}
