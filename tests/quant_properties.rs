//! Quantizing what was quantized changes nothing (claim F-P1), and no number is refused with a panic.
//!
//! To the byte for F16, BF16, Q8_0, Q4_x, Q5_x and the types of APR, except where binary16 cannot hold the header: a scale or minimum that
//! it makes 0 or infinite, or a block that is constant to 11 bits (Q4_1, Q5_1). gguf-py, whose bytes ours are, does the same there. The
//! k-quants search: their second error is at most half the first.

use ground_truth::{Dtype, quant};
use proptest::prelude::*;

const EXACT: [Dtype; 9] =
    [Dtype::F16, Dtype::BF16, Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4_1, Dtype::Q5_0, Dtype::Q5_1, Dtype::AprQ8, Dtype::AprQ4];
const K_QUANTS: [Dtype; 5] = [Dtype::Q2K, Dtype::Q3K, Dtype::Q4K, Dtype::Q5K, Dtype::Q6K];

fn dequantized(dtype: Dtype, bytes: &[u8], n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    quant::dequantize(dtype, bytes, &mut out);
    out
}

fn quantized(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    quant::quantize(dtype, values, values.len()).expect("a whole number of blocks")
}

/// Numbers of all signs, an order of magnitude apart, scaled so that binary16 holds every header.
fn weights(n: usize) -> impl Strategy<Value = Vec<f32>> {
    let numbers = prop::collection::vec(prop_oneof![8 => -1f32..1.0, 1 => -0.01f32..0.01, 1 => Just(0.0)], n);
    (numbers, -8i32..8).prop_map(|(numbers, exponent)| numbers.into_iter().map(|v| v * 2f32.powi(exponent)).collect())
}

fn error(a: &[f32], b: &[f32]) -> f64 {
    (0..a.len()).map(|i| (f64::from(a[i]) - f64::from(b[i])).powi(2)).sum::<f64>().sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantizing_twice_gives_the_same_bytes(values in weights(64)) {
        for dtype in EXACT {
            let once = quantized(dtype, &values);
            let twice = quantized(dtype, &dequantized(dtype, &once, values.len()));
            prop_assert_eq!(&once, &twice, "{} of {:?}", dtype, values);
        }
    }

    /// Any scale that a file may hold comes back: `max / 127` alone would miss one in 128 of them.
    #[test]
    fn the_scale_of_apr_q8_is_recovered_exactly(bits in 0x2000_0000u32..0x5000_0000, codes in prop::collection::vec(-127i8..=127, 1..64)) {
        let codes = codes.into_iter().chain([127, 1]).map(|q| q as u8);
        let bytes: Vec<u8> = bits.to_le_bytes().into_iter().chain(codes).collect();
        let values = dequantized(Dtype::AprQ8, &bytes, bytes.len() - 4);
        prop_assert_eq!(quantized(Dtype::AprQ8, &values), bytes);
    }

    #[test]
    fn the_second_error_of_a_k_quant_is_at_most_half_the_first(values in weights(1024)) {
        for dtype in K_QUANTS {
            let once = dequantized(dtype, &quantized(dtype, &values), values.len());
            let twice = dequantized(dtype, &quantized(dtype, &once), values.len());
            let (first, second) = (error(&once, &values), error(&twice, &once));
            prop_assert!(second <= 0.5 * first, "{}: {} after {}", dtype, second, first);
        }
    }

    /// Every pattern of bits: NaN, infinity, the largest and the smallest. A block that holds one that is not finite is not finite.
    #[test]
    fn no_number_makes_a_quantizer_panic(bits in prop::collection::vec(any::<u32>(), 256), all_finite in any::<bool>()) {
        let number = |bits| Some(f32::from_bits(bits)).filter(|v| v.is_finite() || !all_finite).unwrap_or(f32::MAX);
        let values: Vec<f32> = bits.into_iter().map(number).collect();
        for dtype in EXACT.into_iter().chain(K_QUANTS) {
            let bytes = quantized(dtype, &values);
            prop_assert_eq!(Some(bytes.len()), dtype.bytes_of(&[256]));
            let is_lost = dtype != Dtype::AprQ4 && values.iter().any(|v| !v.is_finite());
            let out = dequantized(dtype, &bytes, 256);
            prop_assert!(!is_lost || out.iter().any(|v| !v.is_finite()), "{} hides a number that is not finite", dtype);
        }
    }
}

#[test]
fn zeros_stay_zeros_to_the_byte() {
    for dtype in EXACT.into_iter().chain(K_QUANTS) {
        let once = quantized(dtype, &[0.0; 256]);
        let values = dequantized(dtype, &once, 256);
        assert!(values.iter().all(|v| *v == 0.0), "{dtype}");
        assert_eq!(quantized(dtype, &values), once, "{dtype}");
    }
}

/// Below 7 x 2^-14 its readers would take the scale of AprQ4 for 0; numbers keep what steps of 2^-14 leave of them.
#[test]
fn small_numbers_survive_in_apr_q4() {
    let values: Vec<f32> = (0..32).map(|i| (i - 16) as f32 * 2e-5).collect();
    let bytes = quantized(Dtype::AprQ4, &values);
    let out = dequantized(Dtype::AprQ4, &bytes, 32);
    assert!((0..32).all(|i| (out[i] - values[i]).abs() <= 2f32.powi(-15)), "{out:?}");
    assert_eq!(quantized(Dtype::AprQ4, &out), bytes);
}
