//! Scores to probabilities, in `f64`, in the order of the scores.

/// Replaces scores by `exp(score - largest) / sum`. A NaN, or a largest score that is infinite, makes every one NaN.
pub fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().fold(f64::NEG_INFINITY, |m, &s| if s <= m { m } else { s });
    let mut sum = 0f64;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    let scale = 1.0 / sum;
    scores.iter_mut().for_each(|score| *score *= scale);
}

#[cfg(test)]
mod tests {
    use super::super::seeds;
    use super::*;

    fn naive(scores: &[f64]) -> Vec<f64> {
        let sum: f64 = scores.iter().map(|s| s.exp()).sum();
        scores.iter().map(|s| s.exp() / sum).collect()
    }

    #[test]
    fn small_scores_agree_with_the_naive_form() {
        for n in seeds::LENGTHS {
            let scores: Vec<f64> = seeds::values(n as u64, n).into_iter().map(f64::from).collect();
            let mut got = scores.clone();
            softmax(&mut got);
            for (got, expected) in got.iter().zip(naive(&scores)) {
                assert!((got - expected).abs() <= 4.0 * f64::EPSILON * expected, "length {n}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn scores_that_overflow_the_naive_form_are_fine() {
        let mut scores = [1e4, 1e4 - 1.0, -1e300];
        softmax(&mut scores);
        assert!((scores[0] - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-15, "{scores:?}");
        assert_eq!(scores[2], 0.0);
    }

    #[test]
    fn a_nan_anywhere_and_an_infinite_maximum_leave_no_number() {
        for hostile in [[0.0, f64::NAN, 1.0], [f64::NAN, 0.0, 1.0], [0.0, 1.0, f64::NAN], [0.0, f64::INFINITY, 1.0]] {
            let mut scores = hostile;
            softmax(&mut scores);
            assert!(scores.iter().all(|s| s.is_nan()), "{hostile:?} gave {scores:?}");
        }
    }
}
