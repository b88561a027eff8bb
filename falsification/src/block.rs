//! What the first bytes of a stored tensor say, read naively from the published layouts.
//!
//! No code is shared with the engine: this is the second reading that HEX holds the first one against. One block at a time, element by
//! element, in the order of the file. Layouts: `ggml-common.h` of llama.cpp, safetensors' README, and the APR v2 byte table.

use crate::metric::MetricError;

/// Elements and bytes of one block of a type; none for a type that is not known. `AprQ8` is one scale before any number of elements.
pub fn size(dtype: &str) -> Option<(usize, usize)> {
    Some(match dtype {
        "F32" => (1, 4),
        "F16" | "BF16" => (1, 2),
        "U8" | "BOOL" | "AprQ8" => (1, 1),
        "Q8_0" => (32, 34),
        "Q4_0" | "IQ4_NL" | "AprQ4" => (32, 18),
        "Q4_1" => (32, 20),
        "Q5_0" => (32, 22),
        "Q5_1" => (32, 24),
        "MXFP4" => (32, 17),
        "Q2_K" => (256, 84),
        "Q3_K" => (256, 110),
        "Q4_K" => (256, 144),
        "Q5_K" => (256, 176),
        "Q6_K" => (256, 210),
        "IQ4_XS" => (256, 136),
        _ => return None,
    })
}

/// How many bytes a tensor of that type and stored shape has; none where a row is not a whole number of blocks, or it overflows.
pub fn bytes_of(dtype: &str, shape: &[usize]) -> Option<u64> {
    let (elements, bytes) = size(dtype)?;
    let all = shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(u64::try_from(dim).ok()?))?;
    let (elements, bytes) = (elements as u64, bytes as u64);
    match dtype {
        "AprQ8" => all.checked_add(4),
        "AprQ4" => all.div_ceil(elements).checked_mul(bytes),
        _ if !(shape.last().copied().unwrap_or(1) as u64).is_multiple_of(elements) => None,
        _ => (all / elements).checked_mul(bytes),
    }
}

/// A half-precision number.
fn half(low: u8, high: u8) -> f32 {
    let bits = u16::from_le_bytes([low, high]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const MXFP4_VALUES: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// The nibble of element `i` of 32: the low halves of sixteen bytes come first, then the high ones.
fn split(nibbles: &[u8], i: usize) -> u8 {
    nibbles[i % 16] >> (4 * (i / 16)) & 15
}

/// Scale and minimum `j` of eight, six bits each, of Q4_K and Q5_K.
fn six(scales: &[u8], j: usize) -> (f32, f32) {
    if j < 4 {
        return (f32::from(scales[j] & 63), f32::from(scales[j + 4] & 63));
    }
    let scale = scales[j + 4] & 15 | scales[j - 4] >> 6 << 4;
    let minimum = scales[j + 4] >> 4 | scales[j] >> 6 << 4;
    (f32::from(scale), f32::from(minimum))
}

/// Scale `j` of sixteen, six bits each, less 32, of Q3_K.
fn q3_scale(scales: &[u8], j: usize) -> i32 {
    let low = if j < 8 { scales[j] & 15 } else { scales[j - 8] >> 4 };
    let high = scales[8 + j % 4] >> (2 * (j / 4)) & 3;
    i32::from(low | high << 4) - 32
}

/// Element `i` of one block. The block has as many bytes as [`size`] says.
#[expect(clippy::too_many_lines, reason = "an arm for each block type, as its layout is written down")]
fn element(dtype: &str, b: &[u8], i: usize) -> f32 {
    let at = |k: usize| f32::from(b[k] as i8);
    match dtype {
        "F32" => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        "F16" => half(b[0], b[1]),
        "BF16" => f32::from_bits(u32::from_le_bytes([0, 0, b[0], b[1]])),
        "U8" | "BOOL" => f32::from(b[0]),
        "Q8_0" => half(b[0], b[1]) * at(2 + i),
        "Q4_0" => half(b[0], b[1]) * (f32::from(split(&b[2..], i)) - 8.0),
        "AprQ4" => half(b[0], b[1]) * (f32::from(b[2 + i / 2] >> (4 * (i % 2)) & 15) - 8.0),
        "Q4_1" => half(b[0], b[1]) * f32::from(split(&b[4..], i)) + half(b[2], b[3]),
        "Q5_0" => {
            let fifth = (u32::from_le_bytes([b[2], b[3], b[4], b[5]]) >> i & 1) as u8;
            half(b[0], b[1]) * (f32::from(split(&b[6..], i) | fifth << 4) - 16.0)
        }
        "Q5_1" => {
            let fifth = (u32::from_le_bytes([b[4], b[5], b[6], b[7]]) >> i & 1) as u8;
            half(b[0], b[1]) * f32::from(split(&b[8..], i) | fifth << 4) + half(b[2], b[3])
        }
        "IQ4_NL" => half(b[0], b[1]) * f32::from(IQ4_VALUES[usize::from(split(&b[2..], i))]),
        "MXFP4" => MXFP4_VALUES[usize::from(split(&b[1..], i))] * 2f32.powi(i32::from(b[0]) - 127),
        "Q2_K" => {
            let (scale, q) = (b[i / 16], b[16 + i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3);
            half(b[80], b[81]) * f32::from(scale & 15) * f32::from(q) - half(b[82], b[83]) * f32::from(scale >> 4)
        }
        "Q3_K" => {
            let low = b[32 + i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
            let high = b[i % 32] >> (i / 32) & 1;
            let q = i32::from(low) - if high == 1 { 0 } else { 4 };
            half(b[108], b[109]) * q3_scale(&b[96..108], i / 16) as f32 * q as f32
        }
        "Q4_K" => {
            let (scale, minimum) = six(&b[4..16], i / 32);
            let q = b[16 + i / 64 * 32 + i % 32] >> (4 * (i / 32 % 2)) & 15;
            half(b[0], b[1]) * scale * f32::from(q) - half(b[2], b[3]) * minimum
        }
        "Q5_K" => {
            let (scale, minimum) = six(&b[4..16], i / 32);
            let q = b[48 + i / 64 * 32 + i % 32] >> (4 * (i / 32 % 2)) & 15 | (b[16 + i % 32] >> (i / 32) & 1) << 4;
            half(b[0], b[1]) * scale * f32::from(q) - half(b[2], b[3]) * minimum
        }
        "Q6_K" => {
            let low = b[i / 128 * 64 + i % 64] >> (4 * (i / 64 % 2)) & 15;
            let high = b[128 + i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
            let q = f32::from(low | high << 4) - 32.0;
            half(b[208], b[209]) * f32::from(b[192 + i / 16] as i8) * q
        }
        "IQ4_XS" => {
            let block = i / 32;
            let high = u16::from_le_bytes([b[2], b[3]]) >> (2 * block) & 3;
            let low = b[4 + block / 2] >> (4 * (block % 2)) & 15;
            let scale = f32::from(i16::from(low) | (high as i16) << 4) - 32.0;
            half(b[0], b[1]) * scale * f32::from(IQ4_VALUES[usize::from(split(&b[8 + 16 * block..], i % 32))])
        }
        _ => f32::NAN,
    }
}

/// The elements that the first bytes of a tensor hold, as many as are there whole, at most `most`.
///
/// # Errors
///
/// [`MetricError::Empty`] where the type is not known or not one block is there.
pub fn beginning(dtype: &str, bytes: &[u8], most: usize) -> Result<Vec<f32>, MetricError> {
    let (elements, length) = size(dtype).ok_or(MetricError::Empty)?;
    let values: Vec<f32> = if dtype == "AprQ8" {
        let (scale, rest) = bytes.split_at_checked(4).ok_or(MetricError::Empty)?;
        let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        rest.iter().take(most).map(|&q| scale * f32::from(q as i8)).collect()
    } else {
        let blocks = bytes.chunks_exact(length);
        blocks.flat_map(|block| (0..elements).map(move |i| element(dtype, block, i))).take(most).collect()
    };
    if values.is_empty() { Err(MetricError::Empty) } else { Ok(values) }
}

#[cfg(test)]
mod tests {
    use ground_truth::{Dtype, quant};

    use super::*;

    /// Pseudo-random bytes, by splitmix64.
    fn noise(n: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 56) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn sizes_are_those_of_the_engine() {
        for dtype in Dtype::ALL {
            assert_eq!(size(dtype.name()), Some(dtype.block()), "{dtype}");
            for shape in [vec![3, 256], vec![7], vec![2, 33]] {
                assert_eq!(bytes_of(dtype.name(), &shape), dtype.bytes_of(&shape).map(|n| n as u64), "{dtype} {shape:?}");
            }
        }
        assert_eq!(size("Q9_9"), None);
        assert_eq!(bytes_of("F32", &[usize::MAX, 2]), None);
    }

    /// Both were read from the same layouts by different people; where they differ, one of them is wrong.
    #[test]
    fn two_readings_of_every_type_agree() {
        for dtype in Dtype::ALL.into_iter().filter(|dtype| dtype.is_weight()) {
            for seed in 0..64 {
                let shape = [256usize];
                let bytes = noise(dtype.bytes_of(&shape).unwrap(), seed);
                let mut engine = vec![0f32; 256];
                quant::dequantize(dtype, &bytes, &mut engine);
                let own = beginning(dtype.name(), &bytes, 256).unwrap();
                for i in 0..256 {
                    let (a, b) = (f64::from(own[i]), f64::from(engine[i]));
                    // APR reads a scale that is no normal number as zero.
                    let dropped = dtype == Dtype::AprQ4 && b == 0.0 && (!a.is_finite() || a.abs() < 1e-3);
                    // MXFP4's largest scale is too large for a float32, and only some programs halve it first.
                    let odd = dropped || dtype == Dtype::Mxfp4 && bytes[i / 32 * 17] == 255;
                    let near = (a - b).abs() <= 1e-5 * a.abs() || a.is_nan() && b.is_nan() || a == b;
                    assert!(near || odd, "{dtype}, seed {seed}, element {i}: {a:e} and {b:e}");
                }
            }
        }
    }

    #[test]
    fn whole_numbers_are_themselves() {
        for dtype in ["U8", "BOOL"] {
            assert_eq!(beginning(dtype, &[0, 1, 200], 9), Ok(vec![0.0, 1.0, 200.0]), "{dtype}");
        }
    }

    #[test]
    fn half_a_block_is_none() {
        assert!(beginning("Q8_0", &[0; 33], 256).is_err());
        assert!(beginning("AprQ8", &[0; 4], 256).is_err());
        assert!(beginning("Q9_9", &[0; 400], 256).is_err());
        assert_eq!(beginning("F32", &[0, 0, 128, 63, 1], 9), Ok(vec![1.0]));
    }
}
