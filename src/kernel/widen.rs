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

    /// The first number in `bytes` that is NaN or infinite, and its index.
    pub fn first_not_finite(self, bytes: &[u8]) -> Option<(usize, f32)> {
        // Searched by blocks: a block is tested without a branch, and only a bad one is looked through.
        const BLOCK: usize = 1024;
        let mut numbers = [0f32; BLOCK];
        for (i, block) in bytes.chunks(BLOCK * self.size()).enumerate() {
            let numbers = &mut numbers[..block.len() / self.size()];
            widen(self, block, numbers);
            if numbers.iter().fold(false, |bad, v| bad | !v.is_finite()) {
                let bad = numbers.iter().position(|v| !v.is_finite())?;
                return Some((i * BLOCK + bad, numbers[bad]));
            }
        }
        None
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
    fn the_first_number_that_is_not_finite_is_found_wherever_it_is() {
        for float in [Float::F32, Float::F16, Float::BF16] {
            for n in [1, 1023, 1024, 1025, 3000] {
                for (hostile, bits) in [("NaN", 0x7FC0_0000u32), ("-inf", 0xFF80_0000)] {
                    let number = |bits: u32| match float {
                        Float::F32 => bits.to_le_bytes().to_vec(),
                        Float::F16 => half::f16::from_f32(f32::from_bits(bits)).to_le_bytes().to_vec(),
                        Float::BF16 => half::bf16::from_f32(f32::from_bits(bits)).to_le_bytes().to_vec(),
                    };
                    let mut bytes = number(0x3F80_0000).repeat(n);
                    assert_eq!(float.first_not_finite(&bytes), None);
                    bytes.splice((n - 1) * float.size().., number(bits));
                    let (index, value) = float.first_not_finite(&bytes).unwrap();
                    assert_eq!((index, value.to_string().as_str()), (n - 1, hostile), "{float:?} of {n}");
                }
            }
        }
    }

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
