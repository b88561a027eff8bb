//! The engine's kernels, products and dequantization held against candle's, and what candle does that its users should know.
//!
//! Each kernel runs over random shapes and seeds on both sides, and the distance is held to a measured bound (`bounds.toml`). A broken twin
//! of each has to be three bounds away: a comparison that a fault does not move is no evidence.

#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "comparisons are written `!(x <= bound)`, so that NaN is red")]

mod dequantize;
mod device;
mod findings;
mod forward;
mod kernels;
mod random;

use ground_truth_falsification::metric::{relative_rms, widen};
use ground_truth_falsification::tolerance::Tolerances;

/// How far the broken twin of a kernel has to be, in bounds.
const SEPARATION: f64 = 3.0;

/// One comparison: candle's answer, the engine's, and the engine's with a fault.
pub struct Case {
    /// What candle computes.
    pub candle: Vec<f32>,
    /// What the engine computes.
    pub engine: Vec<f32>,
    /// What the engine would compute with a fault.
    pub broken: Vec<f32>,
}

/// Holds every case to the bound `key`, and its broken twin away from it.
///
/// # Panics
/// Where a case does not keep to the bound, or its twin does.
pub fn agrees(key: &str, cases: impl Iterator<Item = Case>) {
    let bounds = Tolerances::parse(include_str!("bounds.toml")).unwrap();
    let bound = bounds.limit(key, f64::NAN).unwrap();
    let (mut n, mut most, mut least) = (0, 0.0, f64::INFINITY);
    for (i, case) in cases.enumerate() {
        let due = widen(&case.candle);
        let error = relative_rms(&due, &widen(&case.engine)).unwrap();
        let fault = relative_rms(&due, &widen(&case.broken)).unwrap();
        assert!(error <= bound, "{key}, case {i}: relative RMS {error:.3e} to candle, the bound is {bound:.3e}");
        assert!(fault >= SEPARATION * bound, "{key}, case {i}: a broken kernel is {fault:.3e} away, the bound is {bound:.3e}");
        n += 1;
        most = if error <= most { most } else { error };
        least = if fault >= least { least } else { fault };
    }
    assert!(n > 0, "{key}: nothing was compared");
    println!("{key}: {n} cases, at most {most:.3e} of {bound:.3e}; the broken kernel at least {least:.3e}");
}
