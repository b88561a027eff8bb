//! How surprised a model is by a text.

use crate::error::RequestError;
use crate::{Model, Positions, Result};

/// Positions whose logits are held at once.
const ROWS: usize = 32;

/// `ln(sum over i of exp(logits[i]))`, in `f64`. NaN if any logit is.
///
/// ```
/// let two_equal = ground_truth::evaluate::logsumexp(&[3.0, 3.0]);
/// assert!((two_equal - (3.0 + 2f64.ln())).abs() < 1e-15);
/// ```
pub fn logsumexp(logits: &[f32]) -> f64 {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |m, &v| if f64::from(v) <= m { m } else { f64::from(v) });
    largest + logits.iter().map(|&v| (f64::from(v) - largest).exp()).sum::<f64>().ln()
}

/// The logarithm of each token's probability, in `f64`.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let sum = logsumexp(logits);
    logits.iter().map(|&v| f64::from(v) - sum).collect()
}

/// A summed negative log-likelihood, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nll {
    /// The sum.
    pub sum: f64,
    /// The tokens that it runs over.
    pub tokens: usize,
}

impl Nll {
    /// `exp(sum / tokens)`.
    pub fn perplexity(&self) -> f64 {
        (self.sum / self.tokens as f64).exp()
    }
}

/// The summed negative log-likelihood of every id but the first.
///
/// Windows of `window` ids begin every `stride` ids, until one reaches the end. Each id is scored once, in the first window
/// that has an id before it: with at least `window - stride` ids before it, where the text has so many. Whether `ids`
/// begin with a BOS is the caller's choice: it is not scored.
///
/// ```
/// # fn main() -> ground_truth::Result<()> {
/// use ground_truth::{Model, evaluate};
///
/// let model = Model::open("testdata/models/llama-tiny".as_ref())?;
/// let nll = evaluate::summed_nll(&model, &[1, 2, 3, 4, 5], 4, 2)?;
/// assert_eq!(nll.tokens, 4);
/// assert!(nll.sum > 0.0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`RequestError::Window`] unless `1 <= stride < window <= n_ctx`; [`RequestError::TooShort`] for fewer than two ids; otherwise as
/// [`Model::forward`].
pub fn summed_nll(model: &Model, ids: &[u32], window: usize, stride: usize) -> Result<Nll> {
    let refused = |why| Err(RequestError::Window { window, stride, why }.into());
    if stride == 0 {
        return refused("a stride of at least 1 is due");
    }
    if stride >= window {
        return refused("a stride under the window is due, so that every id has one before it");
    }
    if window > model.config().n_ctx {
        return refused("the window is longer than the context");
    }
    if ids.len() < 2 {
        return Err(RequestError::TooShort { given: ids.len() }.into());
    }
    let mut nll = Nll { sum: 0.0, tokens: 0 };
    let mut scored = 1;
    for begin in (0..ids.len()).step_by(stride) {
        let end = ids.len().min(begin.saturating_add(window));
        nll.sum += window_nll(model, &ids[begin..end], scored - begin)?;
        nll.tokens += end - scored;
        scored = end;
        if end == ids.len() {
            break;
        }
    }
    Ok(nll)
}

/// The sum over `ids[first..]`, each given those before it.
fn window_nll(model: &Model, ids: &[u32], first: usize) -> Result<f64> {
    let mut cache = model.new_cache();
    let mut sum = 0.0;
    if first > 1 {
        model.forward(&ids[..first - 1], &mut cache, Positions::Last)?;
    }
    // The last id is scored by the position before it and has none to score.
    for part in ids[first - 1..ids.len() - 1].chunks(ROWS) {
        let begin = cache.len();
        let logits = model.forward(part, &mut cache, Positions::All)?;
        for (i, row) in logits.rows().enumerate() {
            let next = ids[begin + i + 1];
            match row.get(next as usize) {
                Some(&logit) => sum += logsumexp(row) - f64::from(logit),
                None => {
                    let vocab_size = model.config().vocab_size;
                    return Err(RequestError::IdOutOfRange { id: next, position: begin + i + 1, vocab_size }.into());
                }
            }
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_softmax_is_the_logarithm_of_probabilities_that_add_up_to_one() {
        let logs = log_softmax(&[1.0, -2.0, 0.5, 80.0, -80.0]);
        assert!((logs.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-14);
        assert!((logs[3] - logs[0] - 79.0).abs() < 1e-12);
    }

    #[test]
    fn logits_beyond_the_exponential_are_fine_and_nan_is_not_hidden() {
        assert_eq!(logsumexp(&[1e30, 0.0]), f64::from(1e30f32));
        assert!(logsumexp(&[0.0, f32::NAN, 1.0]).is_nan());
        assert!(logsumexp(&[f32::NAN, 0.0]).is_nan());
        assert!(logsumexp(&[f32::INFINITY, 0.0]).is_nan());
    }
}
