//! Greedy generation: the most likely token, again and again.

use crate::error::RequestError;
use crate::{Model, Positions, Result};

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stop {
    /// As many tokens as were asked for, or as the context holds.
    Length,
    /// A token that ends a text; it is the last one of the answer.
    Eos,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The new ids, without the prompt.
    pub ids: Vec<u32>,
    /// Why there are no more.
    pub stop: Stop,
}

/// Continues `ids` by at most `max_new_tokens`. Prompt and continuation together never exceed the context. With
/// `stop_at_eos` the first of [`Config::eos`](crate::Config::eos) ends it, and is kept.
///
/// ```
/// # fn main() -> ground_truth::Result<()> {
/// use ground_truth::{Checkpoint, Model, Tokenizer, generate};
///
/// let checkpoint = Checkpoint::open("testdata/models/llama-tiny".as_ref())?;
/// let model = Model::from_checkpoint(&checkpoint)?;
/// let tokenizer = Tokenizer::from_bytes(checkpoint.tokenizer.as_deref().unwrap_or_default(), &checkpoint.tokenizer_file())?;
///
/// let prompt = tokenizer.encode("The capital of France is", true)?;
/// let answer = generate::generate(&model, &prompt, 8, true)?;
/// println!("{}", String::from_utf8_lossy(&tokenizer.decode(&answer.ids)?));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Model::forward`], and as [`argmax`].
pub fn generate(model: &Model, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Result<Generated> {
    let mut cache = model.new_cache();
    let mut logits = model.forward(ids, &mut cache, Positions::Last)?;
    let room = model.config().n_ctx.saturating_sub(ids.len()).min(max_new_tokens);
    let mut generated = Generated { ids: Vec::new(), stop: Stop::Length };
    while generated.ids.len() < room {
        let next = argmax(logits.row(0))?;
        generated.ids.push(next);
        if stop_at_eos && model.config().eos.contains(&next) {
            generated.stop = Stop::Eos;
            break;
        }
        if generated.ids.len() < room {
            logits = model.forward(&[next], &mut cache, Positions::Last)?;
        }
    }
    Ok(generated)
}

/// The index of the largest logit; of equal ones the first.
///
/// ```
/// use ground_truth::generate::argmax;
///
/// assert_eq!(argmax(&[0.5, 2.0, -1.0, 2.0]).unwrap(), 1);
/// assert!(argmax(&[0.5, f32::NAN]).is_err());
/// ```
///
/// # Errors
/// [`RequestError::NanLogit`] if any logit is NaN, [`RequestError::InfiniteLogit`] if the largest is infinite, and
/// [`RequestError::NoLogits`] if there are none: a token is never made of nothing.
pub fn argmax(logits: &[f32]) -> Result<u32> {
    let (mut best, mut largest) = (None, f32::NEG_INFINITY);
    for (index, &logit) in logits.iter().enumerate() {
        if logit.is_nan() {
            return Err(RequestError::NanLogit { index }.into());
        }
        if best.is_none() || logit > largest {
            (best, largest) = (Some(index), logit);
        }
    }
    let index = best.ok_or(RequestError::NoLogits)?;
    if largest.is_infinite() {
        return Err(RequestError::InfiniteLogit { index, value: largest }.into());
    }
    Ok(index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn argmax_takes_the_first_of_equals_and_refuses_what_is_no_number() {
        assert_eq!(argmax(&[-1.0]).unwrap(), 0);
        assert_eq!(argmax(&[0.0, -0.0, 0.0]).unwrap(), 0);
        assert_eq!(argmax(&[f32::NEG_INFINITY, -3.0]).unwrap(), 1);
        let reason = |logits: &[f32]| argmax(logits).unwrap_err().reason();
        assert_eq!(reason(&[]), "no-logits");
        assert_eq!(reason(&[9.0, 1.0, f32::NAN]), "nan-logit");
        assert_eq!(reason(&[1.0, f32::INFINITY]), "infinite-logit");
        assert_eq!(reason(&[f32::NEG_INFINITY]), "infinite-logit");
        let Err(Error::Request(RequestError::NanLogit { index })) = argmax(&[1.0, f32::NAN, f32::NAN]) else {
            panic!("a NaN was taken for a number");
        };
        assert_eq!(index, 1);
    }
}
