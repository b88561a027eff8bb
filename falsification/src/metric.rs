//! Distances between an answer and a golden, in float64.
//!
//! Every function refuses what would make its number meaningless (empty input, unequal lengths, NaN, infinity), so that a bound is never
//! met by accident. A caller writes `!(x <= bound)` all the same.

/// Why a distance cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum MetricError {
    /// There is nothing to measure.
    #[error("nothing to measure: no values")]
    Empty,
    /// The two sides have different lengths.
    #[error("{reference} reference values against {answer} in the answer")]
    Length {
        /// Values on the reference side.
        reference: usize,
        /// Values in the answer.
        answer: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} is {value}")]
    NotFinite {
        /// Its index.
        index: usize,
        /// The value.
        value: f64,
    },
    /// The reference is zero everywhere, so nothing is relative to it.
    #[error("the reference is zero at every one of {0} values")]
    ZeroReference(usize),
    /// A quantile is asked for that is none.
    #[error("{0} is not a fraction between 0 and 1")]
    NotAFraction(f64),
    /// An index lies outside the values.
    #[error("index {index} outside {len} values")]
    Index {
        /// The index.
        index: usize,
        /// How many values there are.
        len: usize,
    },
}

/// Refuses empty input and values that are not finite.
fn finite(values: &[f64]) -> Result<(), MetricError> {
    if values.is_empty() {
        return Err(MetricError::Empty);
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(MetricError::NotFinite { index, value: values[index] }),
        None => Ok(()),
    }
}

fn pair(reference: &[f64], answer: &[f64]) -> Result<(), MetricError> {
    if reference.len() != answer.len() {
        return Err(MetricError::Length { reference: reference.len(), answer: answer.len() });
    }
    finite(reference)?;
    finite(answer)
}

fn sum_of_squares(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum()
}

/// `f` of each reference value and its counterpart. Lengths must have been compared before.
fn paired<'a>(reference: &'a [f64], answer: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    debug_assert_eq!(reference.len(), answer.len());
    (0..reference.len()).map(|i| (reference[i], answer[i]))
}

/// Root mean square.
///
/// # Errors
///
/// [`MetricError`] where the input is empty or not finite.
pub fn rms(values: &[f64]) -> Result<f64, MetricError> {
    finite(values)?;
    Ok((sum_of_squares(values) / values.len() as f64).sqrt())
}

/// Relative root mean square of the difference: `sqrt(sum (answer - reference)^2 / sum reference^2)`.
///
/// # Errors
///
/// [`MetricError`] where the lengths differ, a side is empty or not finite, or the reference is zero.
///
/// ```
/// use ground_truth_falsification::metric::relative_rms;
///
/// assert_eq!(relative_rms(&[3.0, 4.0], &[3.0, 4.0]), Ok(0.0));
/// let scaled = relative_rms(&[3.0, 4.0], &[3.03, 4.04]).unwrap();
/// assert!((scaled - 0.01).abs() < 1e-12);
/// assert!(relative_rms(&[], &[]).is_err());
/// ```
pub fn relative_rms(reference: &[f64], answer: &[f64]) -> Result<f64, MetricError> {
    pair(reference, answer)?;
    let power = sum_of_squares(reference);
    if power == 0.0 {
        return Err(MetricError::ZeroReference(reference.len()));
    }
    let error: f64 = paired(reference, answer).map(|(x, y)| (y - x) * (y - x)).sum();
    Ok((error / power).sqrt())
}

/// Norm of the answer over the norm of the reference. Cosine similarity is blind to scale; this is what it is blind to.
///
/// # Errors
///
/// As [`relative_rms`].
pub fn norm_ratio(reference: &[f64], answer: &[f64]) -> Result<f64, MetricError> {
    pair(reference, answer)?;
    let power = sum_of_squares(reference);
    if power == 0.0 {
        return Err(MetricError::ZeroReference(reference.len()));
    }
    Ok((sum_of_squares(answer) / power).sqrt())
}

/// Index of the largest value, the first one on a tie, as in torch.
///
/// # Errors
///
/// [`MetricError`] where the input is empty or holds a value that is not finite.
pub fn argmax(values: &[f64]) -> Result<usize, MetricError> {
    finite(values)?;
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    Ok(best)
}

/// `log(sum(exp(x)))`, shifted by the largest value so that nothing overflows.
///
/// # Errors
///
/// [`MetricError`] where the input is empty or not finite.
pub fn logsumexp(values: &[f64]) -> Result<f64, MetricError> {
    let largest = values[argmax(values)?];
    let sum: f64 = values.iter().map(|x| (x - largest).exp()).sum();
    Ok(largest + sum.ln())
}

/// Log-probabilities: each value minus [`logsumexp`].
///
/// # Errors
///
/// [`MetricError`] where the input is empty or not finite.
pub fn log_softmax(values: &[f64]) -> Result<Vec<f64>, MetricError> {
    let total = logsumexp(values)?;
    Ok(values.iter().map(|x| x - total).collect())
}

/// Kullback-Leibler divergence in nats between two lists of log-probabilities, as the sum of `p log(p/q) - p + q`.
///
/// Each term is non-negative whatever rounding did to the sums, so the result cannot cancel to a flattering small or negative number.
///
/// # Errors
///
/// [`MetricError`] where the lengths differ or a side is empty or not finite.
pub fn kl(reference: &[f64], answer: &[f64]) -> Result<f64, MetricError> {
    pair(reference, answer)?;
    // p log(p/q) - p + q = p (exp(d) - 1 - d) with d = log q - log p; `exp_m1` keeps the digits of a small d.
    Ok(paired(reference, answer).map(|(p, q)| p.exp() * exp_remainder(q - p)).sum())
}

/// `exp(d) - 1 - d`, which is `d^2/2 + d^3/6 + ...`: never negative.
fn exp_remainder(d: f64) -> f64 {
    if d.abs() < 1e-4 { d * d * (0.5 + d * (1.0 / 6.0 + d / 24.0)) } else { d.exp_m1() - d }
}

/// What the oracle loses, in nats, by taking the engine's token instead of its own: both log-probabilities are the oracle's.
///
/// # Errors
///
/// [`MetricError`] where an index lies outside, or the values are empty or not finite.
pub fn regret(oracle: &[f64], chosen: usize) -> Result<f64, MetricError> {
    let best = argmax(oracle)?;
    let taken = oracle.get(chosen).ok_or(MetricError::Index { index: chosen, len: oracle.len() })?;
    Ok(oracle[best] - taken)
}

/// Arithmetic mean.
///
/// # Errors
///
/// [`MetricError`] where the input is empty or not finite.
pub fn mean(values: &[f64]) -> Result<f64, MetricError> {
    finite(values)?;
    Ok(values.iter().sum::<f64>() / values.len() as f64)
}

/// The value that the fraction `q` of the values do not exceed, interpolated between neighbours as numpy does by default, so that the 99th
/// percentile of fewer than a hundred values is not their largest.
///
/// # Errors
///
/// [`MetricError`] where the input is empty or not finite, or `q` is not in `[0, 1]`.
pub fn quantile(values: &[f64], q: f64) -> Result<f64, MetricError> {
    finite(values)?;
    if !(0.0..=1.0).contains(&q) {
        return Err(MetricError::NotAFraction(q));
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Ok(low + (high - low) * at.fract())
}

/// The largest value.
///
/// # Errors
///
/// [`MetricError`] where the input is empty or not finite.
pub fn largest(values: &[f64]) -> Result<f64, MetricError> {
    Ok(values[argmax(values)?])
}

/// Widens float32 values.
pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}
