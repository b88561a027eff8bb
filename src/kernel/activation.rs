//! The functions in the MLP, computed in `f64` and rounded once.
//!
//! Sources: Hendrycks and Gimpel 2016 (arXiv 1606.08415) for GELU and SiLU; So et al. 2021 (arXiv 2109.08668) for the
//! squared ReLU. Names are those of transformers' `ACT2FN`.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI, SQRT_2};

use crate::Activation;

/// Numbers below which a second thread costs more than it saves.
const PARALLEL: usize = 1 << 12;

/// The mean of the Laplace function: 1 / sqrt(2) with the six digits that its users write.
#[allow(clippy::approx_constant, reason = "the digits are the definition")]
const LAPLACE_MEAN: f64 = 0.707107;
/// Its deviation: 1 / sqrt(4 pi) with six digits.
const LAPLACE_DEVIATION: f64 = 0.282095;

/// Replaces each number by its image.
pub fn activate(parallel: bool, activation: Activation, x: &mut [f32]) {
    let function: fn(f64) -> f64 = function(activation);
    each(parallel, x, |x| x.iter_mut().for_each(|v| *v = function(f64::from(*v)) as f32));
}

/// The image of one number, before it is rounded.
pub fn image(activation: Activation, x: f64) -> f64 {
    function(activation)(x)
}

/// The gated form of Shazeer 2020 (arXiv 2002.05202): replaces `gate` by `activation(gate) * up`.
///
/// # Panics
/// If the two have different lengths.
pub fn activate_gated(parallel: bool, activation: Activation, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "gate and up");
    activate(parallel, activation, gate);
    gate.iter_mut().zip(up).for_each(|(gate, up)| *gate *= up);
}

fn each(parallel: bool, x: &mut [f32], f: impl Fn(&mut [f32]) + Send + Sync) {
    if parallel && x.len() > PARALLEL {
        use rayon::prelude::*;
        x.par_chunks_mut(PARALLEL).for_each(f);
    } else {
        f(x);
    }
}

fn function(activation: Activation) -> fn(f64) -> f64 {
    match activation {
        Activation::Silu => |x| x * sigmoid(x),
        Activation::Gelu => |x| 0.5 * x * erfc(-x * FRAC_1_SQRT_2),
        // (1 + tanh u) / 2 is sigmoid(2u), without the loss of digits at -1.
        Activation::GeluTanh => |x| x * sigmoid(2.0 * (2.0 / PI).sqrt() * (x + 0.044715 * x * x * x)),
        Activation::QuickGelu => |x| x * sigmoid(1.702 * x),
        Activation::Relu => relu,
        Activation::Relu2 => |x| relu(x) * relu(x),
        Activation::Tanh => f64::tanh,
        Activation::Sigmoid => sigmoid,
        Activation::Mish => |x| x * softplus(x).tanh(),
        Activation::Linear => |x| x,
        Activation::GeluClamped => |x| (0.5 * x * erfc(-x * FRAC_1_SQRT_2)).clamp(-10.0, 10.0),
        Activation::Relu6 => |x| x.clamp(0.0, 6.0),
        Activation::LeakyRelu => |x| if x < 0.0 { 0.01 * x } else { x },
        Activation::HardSwish => |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Laplace => |x| 0.5 * erfc((LAPLACE_MEAN - x) / (LAPLACE_DEVIATION * SQRT_2)),
        Activation::SqrtSoftplus => |x| softplus(x).sqrt(),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(1 + e^x), without overflow.
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// Keeps NaN, which `max` would drop.
fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// `1 / (2n + 3)`: the factors of the series of [`erfc`].
const ODD_RECIPROCALS: [f64; 64] = {
    let mut table = [0.0; 64];
    let mut n = 0;
    while n < 64 {
        table[n] = 1.0 / (2 * n + 3) as f64;
        n += 1;
    }
    table
};

/// `1 - erf(x)`, to about 1e-15 of the larger of 1 and itself, and to 1e-10 of itself in the upper tail.
///
/// Near zero by the series `erf(x) = 2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!`, whose terms have one sign; in the
/// tails by Laplace's continued fraction (Abramowitz and Stegun 7.1.6 and 7.1.14).
fn erfc(x: f64) -> f64 {
    let square = x * x;
    if x.abs() < 2.5 {
        let (mut term, mut sum) = (x, x);
        for reciprocal in ODD_RECIPROCALS {
            term *= 2.0 * square * reciprocal;
            if sum + term == sum {
                break;
            }
            sum += term;
        }
        return 1.0 - FRAC_2_SQRT_PI * (-square).exp() * sum;
    }
    let fraction = (1..40).rev().fold(x.abs(), |rest, n| x.abs() + 0.5 * f64::from(n) / rest);
    let tail = 0.5 * FRAC_2_SQRT_PI * (-square).exp() / fraction;
    if x < 0.0 { 2.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::super::seeds;
    use super::*;

    /// Each function as its paper writes it.
    fn naive(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Gelu => x * 0.5 * (1.0 + naive_erf(x / 2f64.sqrt())),
            Activation::GeluTanh => 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            Activation::Relu => x.max(0.0),
            Activation::Relu2 => x.max(0.0).powi(2),
            Activation::Tanh => (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
            Activation::Sigmoid => 0.5 * (1.0 + (x / 2.0).tanh()),
            Activation::Mish => x * (1.0 - 2.0 / ((1.0 + x.exp()).powi(2) + 1.0)),
            Activation::Linear => x,
            Activation::GeluClamped => naive(Activation::Gelu, x).clamp(-10.0, 10.0),
            Activation::Relu6 => naive(Activation::Relu, x) - naive(Activation::Relu, x - 6.0),
            Activation::LeakyRelu => x.max(0.0) + 0.01 * x.min(0.0),
            Activation::HardSwish => x * naive(Activation::Relu6, x + 3.0) / 6.0,
            Activation::Laplace => 0.5 * (1.0 + naive_erf((x - LAPLACE_MEAN) / (LAPLACE_DEVIATION * 2f64.sqrt()))),
            Activation::SqrtSoftplus => (1.0 + x.exp()).ln().sqrt(),
        }
    }

    /// The integral that erf is, by Simpson's rule.
    fn naive_erf(x: f64) -> f64 {
        let n = 2000;
        let h = x / f64::from(n);
        let weight = |i: i32| if i == 0 || i == n { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
        FRAC_2_SQRT_PI * h / 3.0 * (0..=n).map(|i| weight(i) * (-(h * f64::from(i)).powi(2)).exp()).sum::<f64>()
    }

    const ALL: [Activation; 16] = [
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Relu2,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Mish,
        Activation::Linear,
        Activation::GeluClamped,
        Activation::Relu6,
        Activation::LeakyRelu,
        Activation::HardSwish,
        Activation::Laplace,
        Activation::SqrtSoftplus,
    ];

    #[test]
    fn each_function_agrees_with_its_naive_form() {
        for activation in ALL {
            let steps: Vec<f32> = (-300..=300).map(|i| i as f32 / 32.0).collect();
            for x in steps.into_iter().chain(seeds::values(5, 300)) {
                let mut got = [x];
                activate(false, activation, &mut got);
                let expected = naive(activation, f64::from(x));
                let error = (f64::from(got[0]) - expected).abs();
                assert!(error <= 6e-8 * expected.abs() + 1e-13, "{activation:?}({x}) = {} for {expected}", got[0]);
            }
        }
    }

    #[test]
    fn the_ends_of_the_number_line_stay_numbers_and_nan_stays_nan() {
        for activation in ALL {
            let mut x = [f32::MAX, f32::MIN, 0.0, -0.0, f32::MIN_POSITIVE, f32::NAN];
            activate(false, activation, &mut x);
            assert!(x[..5].iter().all(|v| !v.is_nan()), "{activation:?}: {x:?}");
            assert!(x[5].is_nan(), "{activation:?} of NaN: {}", x[5]);
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let x = seeds::values(9, 3 * PARALLEL + 5);
        let up = seeds::values(10, x.len());
        for activation in ALL {
            let (mut serial, mut split) = (x.clone(), x.clone());
            activate_gated(false, activation, &mut serial, &up);
            pool.install(|| activate_gated(true, activation, &mut split, &up));
            assert_eq!(seeds::bits(&serial), seeds::bits(&split), "{activation:?}");
        }
    }

    #[test]
    fn erfc_is_smooth_where_its_two_forms_meet() {
        for x in [2.5, -2.5] {
            let (below, above) = (erfc(f64::from_bits(f64::to_bits(x) - 1)), erfc(x));
            assert!((below - above).abs() <= 1e-14, "{x}: {below} and {above}");
        }
        assert_eq!((erfc(0.0), erfc(30.0), erfc(-30.0)), (1.0, 0.0, 2.0));
    }
}
