//! One loaded artifact that answers one request at a time, as a program that uses candle would.

use std::sync::Arc;

use ground_truth_harness::runtime::{Failure, Logits, Positions, Session, Stop};

use crate::model::{Loaded, Model};
use crate::refused;

pub(crate) struct CandleSession {
    loaded: Arc<Loaded>,
    /// Loaded and not yet fed: the first request takes it.
    fresh: Option<Model>,
}

fn request(message: String) -> Failure {
    Failure::Refused { kind: "request".to_owned(), message }
}

impl CandleSession {
    pub(crate) fn new(loaded: Arc<Loaded>) -> Result<Self, Failure> {
        let fresh = Some(loaded.model()?);
        Ok(Self { loaded, fresh })
    }

    /// A model with an empty cache.
    fn model(&mut self) -> Result<Model, Failure> {
        match self.fresh.take() {
            Some(model) => Ok(model),
            None => self.loaded.model(),
        }
    }

    /// candle takes an empty sequence for one whose last row is before its first, and panics.
    fn check(&self, ids: &[u32]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Err(request("no ids".to_owned()));
        }
        Ok(())
    }
}

impl Session for CandleSession {
    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        self.check(ids)?;
        let mut model = self.model()?;
        let device = self.loaded.device();
        let (n, values) = match positions {
            Positions::All => (ids.len(), model.rows(ids, 0, device).map_err(refused)?),
            Positions::Last => (1, model.feed(ids, 0, device).map_err(refused)?),
        };
        Ok(Logits { n, vocab: values.len() / n, values })
    }

    fn generate(&mut self, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Result<(Vec<u32>, Stop), Failure> {
        self.check(ids)?;
        if ids.len() > self.loaded.n_ctx {
            return Err(request(format!("{} ids, the context holds {}", ids.len(), self.loaded.n_ctx)));
        }
        let mut model = self.model()?;
        let device = self.loaded.device();
        let (mut new, mut fed) = (Vec::new(), 0);
        let mut next = ids.to_vec();
        while new.len() < max_new_tokens && ids.len() + new.len() < self.loaded.n_ctx {
            let row = model.feed(&next, fed, device).map_err(refused)?;
            fed += next.len();
            let id = first_largest(&row).ok_or_else(|| request("a row of logits without a largest".to_owned()))?;
            new.push(id);
            if stop_at_eos && self.loaded.eos.contains(&id) {
                return Ok((new, Stop::Eos));
            }
            next = vec![id];
        }
        Ok((new, Stop::Length))
    }
}

/// The first of the largest values; none where one is NaN.
fn first_largest(row: &[f32]) -> Option<u32> {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if *value > row[best] {
            best = i;
        }
    }
    row.get(best).and_then(|_| u32::try_from(best).ok())
}
