//! RMSNorm and LayerNorm, a row at a time. Sums in `f64` over eight accumulators, one rounding to `f32` at the end.
//!
//! Sources: Zhang and Sennrich 2019 (arXiv 1910.07467); Ba, Kiros and Hinton 2016 (arXiv 1607.06450), with the biased
//! variance that torch uses.

/// `x / sqrt(mean(x^2) + eps) * weight`, for each row of `weight.len()` numbers.
///
/// # Panics
/// If `out` is not as long as `x`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f64, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "rows in and out");
    let n = weight.len();
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let scale = 1.0 / (sum(x, |v| v * v) / n as f64 + eps).sqrt();
        for k in 0..n {
            out[k] = (f64::from(x[k]) * scale * f64::from(weight[k])) as f32;
        }
    }
}

/// `(x - mean) / sqrt(var + eps) * weight + bias`, for each row of `weight.len()` numbers.
///
/// # Panics
/// If `out` is not as long as `x`.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "rows in and out");
    let n = weight.len();
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let mean = sum(x, |v| v) / n as f64;
        let scale = 1.0 / (sum(x, |v| (v - mean) * (v - mean)) / n as f64 + eps).sqrt();
        for k in 0..n {
            out[k] = ((f64::from(x[k]) - mean) * scale * f64::from(weight[k]) + f64::from(bias[k])) as f32;
        }
    }
}

/// The sum of `term(x[k])`: element `k` goes to accumulator `k % 8`, then a tree of three levels.
#[inline(always)]
fn sum(x: &[f32], term: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0f64; 8];
    let (blocks, tail) = x.as_chunks::<8>();
    for block in blocks {
        for l in 0..8 {
            lanes[l] += term(f64::from(block[l]));
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(tail) {
        *lane += term(f64::from(v));
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::super::seeds;
    use super::*;

    fn naive_rms_norm(x: &[f32], weight: &[f32], eps: f64) -> Vec<f64> {
        let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
        x.iter().zip(weight).map(|(&v, &w)| f64::from(v) / (mean + eps).sqrt() * f64::from(w)).collect()
    }

    fn naive_layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f64> {
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
        let var = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / x.len() as f64;
        let unit = x.iter().map(|&v| (f64::from(v) - mean) / (var + eps).sqrt());
        unit.enumerate().map(|(k, v)| v * f64::from(weight[k]) + f64::from(bias[k])).collect()
    }

    fn within_an_ulp(got: &[f32], expected: &[f64], what: &str) {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            let error = (f64::from(*got) - expected).abs();
            assert!(error <= 1.2e-7 * expected.abs() + 1e-12, "{what}: {got} for {expected}");
        }
    }

    #[test]
    fn both_agree_with_the_naive_form_at_every_length() {
        for n in seeds::LENGTHS.into_iter().filter(|&n| n > 0) {
            let (x, weight, bias) = (seeds::values(1, n), seeds::values(2, n), seeds::values(3, n));
            let mut out = vec![f32::NAN; n];
            rms_norm(&x, &weight, 1e-5, &mut out);
            within_an_ulp(&out, &naive_rms_norm(&x, &weight, 1e-5), &format!("rms_norm of {n}"));
            layer_norm(&x, &weight, &bias, 1e-5, &mut out);
            within_an_ulp(&out, &naive_layer_norm(&x, &weight, &bias, 1e-5), &format!("layer_norm of {n}"));
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let (x, weight, bias) = (seeds::values(1, 3 * 17), seeds::values(2, 17), seeds::values(3, 17));
        let (mut all, mut one) = (vec![0f32; 3 * 17], vec![0f32; 17]);
        rms_norm(&x, &weight, 1e-6, &mut all);
        rms_norm(&x[17..34], &weight, 1e-6, &mut one);
        assert_eq!(seeds::bits(&all[17..34]), seeds::bits(&one));
        layer_norm(&x, &weight, &bias, 1e-6, &mut all);
        layer_norm(&x[17..34], &weight, &bias, 1e-6, &mut one);
        assert_eq!(seeds::bits(&all[17..34]), seeds::bits(&one));
    }

    #[test]
    fn eps_keeps_a_row_of_zeros_finite() {
        let mut out = [f32::NAN; 4];
        rms_norm(&[0.0; 4], &[1.0; 4], 1e-6, &mut out);
        assert_eq!(out, [0.0; 4]);
        layer_norm(&[3.0; 4], &[1.0; 4], &[0.5; 4], 1e-6, &mut out);
        assert_eq!(out, [0.5; 4]);
    }
}
