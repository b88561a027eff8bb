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

/// Whether `value` takes the place of the largest so far. A NaN does and keeps it: what came after must not make it forgotten.
pub fn outdoes(value: f64, largest: f64) -> bool {
    !largest.is_nan() && !(value <= largest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_nan_is_the_largest_wherever_it_stands() {
        for values in [[f64::NAN, 1.0, 2.0], [1.0, f64::NAN, 2.0], [1.0, 2.0, f64::NAN]] {
            let largest = values.into_iter().fold(0.0, |most, value| if super::outdoes(value, most) { value } else { most });
            assert!(largest.is_nan(), "{values:?}");
        }
        assert!(super::outdoes(2.0, 1.0) && !super::outdoes(1.0, 1.0));
    }

    use proptest::prelude::*;

    use super::*;

    type Distance = fn(&[f64], &[f64]) -> Result<f64, MetricError>;

    const DISTANCES: [(&str, Distance); 3] = [("relative_rms", relative_rms), ("norm_ratio", norm_ratio), ("kl", kl)];

    type Summary = fn(&[f64]) -> Result<f64, MetricError>;

    const SUMMARIES: [(&str, Summary); 6] = [
        ("rms", rms),
        ("logsumexp", logsumexp),
        ("mean", mean),
        ("largest", largest),
        ("argmax", |values| argmax(values).map(|i| i as f64)),
        ("quantile", |values| quantile(values, 0.99)),
    ];

    #[test]
    fn relative_rms_is_the_true_one() {
        // sqrt(sum)/n, which two tools print as RMSE, would be 64 times smaller here.
        let reference = vec![1.0; 4096];
        let answer = vec![1.5; 4096];
        assert_eq!(relative_rms(&reference, &answer), Ok(0.5));
        assert_eq!(norm_ratio(&reference, &answer), Ok(1.5));
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), Ok(1));
        assert_eq!(argmax(&[-0.0, 0.0]), Ok(0));
        assert_eq!(argmax(&[f64::MIN, f64::MIN]), Ok(0));
    }

    #[test]
    fn log_softmax_survives_extremes() {
        let logprobs = log_softmax(&[1e4, 1e4 - 1.0, -1e4]).unwrap();
        let sum: f64 = logprobs.iter().map(|x| x.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert!((logsumexp(&[-1e4, -1e4]).unwrap() - (-1e4 + 2f64.ln())).abs() < 1e-9);
    }

    #[test]
    fn kl_of_a_known_pair() {
        let log = |p: [f64; 2]| p.map(f64::ln);
        let expected = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((kl(&log([0.5, 0.5]), &log([0.25, 0.75])).unwrap() - expected).abs() < 1e-15);
        // Both branches of the series meet.
        let near = |d: f64| kl(&[0.0], &[d]).unwrap() / (d * d / 2.0 + d * d * d / 6.0 + d.powi(4) / 24.0);
        assert!((near(0.999e-4) - 1.0).abs() < 1e-9 && (near(1.001e-4) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn regret_is_what_the_oracle_loses() {
        assert_eq!(regret(&[-1.0, -0.5, -3.0], 1), Ok(0.0));
        assert_eq!(regret(&[-1.0, -0.5, -3.0], 2), Ok(2.5));
        assert_eq!(regret(&[-1.0], 7), Err(MetricError::Index { index: 7, len: 1 }));
    }

    #[test]
    fn quantile_interpolates_as_numpy_does() {
        let values: Vec<f64> = (0..48).map(f64::from).collect();
        assert!((quantile(&values, 0.99).unwrap() - 46.53).abs() < 1e-12);
        assert_eq!(quantile(&values, 1.0), Ok(47.0));
        assert_eq!(quantile(&[3.0], 0.5), Ok(3.0));
        assert!(quantile(&values, f64::NAN).is_err());
        assert!(quantile(&values, 1.5).is_err());
    }

    fn numbers() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(-50.0..50.0f64, 1..40)
    }

    fn poison() -> impl Strategy<Value = f64> {
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)]
    }

    proptest! {
        #[test]
        fn nothing_is_measured_on_what_is_no_number(values in numbers(), poison in poison(), at in any::<prop::sample::Index>()) {
            let mut bad = values.clone();
            bad[at.index(values.len())] = poison;
            for (name, distance) in DISTANCES {
                prop_assert!(distance(&values, &bad).is_err(), "{name}");
                prop_assert!(distance(&bad, &values).is_err(), "{name}");
            }
            for (name, summary) in SUMMARIES {
                prop_assert!(summary(&bad).is_err(), "{name}");
            }
            prop_assert!(log_softmax(&bad).is_err());
            prop_assert!(regret(&bad, 0).is_err());
        }

        #[test]
        fn nothing_is_measured_on_unequal_lengths(values in numbers(), cut in 0usize..40) {
            let short = &values[..cut.min(values.len() - 1)];
            for (name, distance) in DISTANCES {
                prop_assert!(distance(&values, short).is_err(), "{name}");
                prop_assert!(distance(short, &values).is_err(), "{name}");
                prop_assert!(distance(&[], &[]).is_err(), "{name}");
            }
        }

        #[test]
        fn nothing_is_measured_on_nothing(chosen in any::<usize>()) {
            for (name, summary) in SUMMARIES {
                prop_assert_eq!(summary(&[]), Err(MetricError::Empty), "{}", name);
            }
            prop_assert_eq!(regret(&[], chosen), Err(MetricError::Empty));
        }

        #[test]
        fn distances_vanish_on_equals_alone(values in numbers(), at in any::<prop::sample::Index>(), by in 1e-3..1.0f64) {
            prop_assume!(values.iter().any(|x| x.abs() > 1e-3));
            prop_assert_eq!(relative_rms(&values, &values), Ok(0.0));
            let logprobs = log_softmax(&values).unwrap();
            prop_assert_eq!(kl(&logprobs, &logprobs), Ok(0.0));
            let mut other = values.clone();
            other[at.index(values.len())] += by;
            prop_assert!(relative_rms(&values, &other).unwrap() > 0.0);
        }

        #[test]
        fn kl_is_never_negative(a in proptest::collection::vec(-50.0..50.0f64, 8), b in proptest::collection::vec(-50.0..50.0f64, 8)) {
            let (p, q) = (log_softmax(&a).unwrap(), log_softmax(&b).unwrap());
            prop_assert!(kl(&p, &q).unwrap() >= 0.0);
        }
    }
}
