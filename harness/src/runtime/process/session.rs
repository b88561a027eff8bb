//! The questions of a session as requests of the protocol.

use std::sync::Arc;

use super::{LONGEST, Pool};
use crate::protocol::answer::{self, Loaded};
use crate::protocol::array::Array;
use crate::protocol::{Positions, Request};
use crate::runtime::{self, Chat, Container, Failure, Logits, Metadata, Op, SampleRequest, Sampled, Session, StageSketch, Stop, TensorRow};

/// The largest vocabulary that is reckoned with where a runtime does not say its own.
const MAX_VOCAB: usize = 1 << 20;

/// The longest id in JSON, with its comma and a space.
const ID: usize = 12;

/// The most bytes that one id stands for, as base64.
const TEXT_OF_ID: usize = 1 << 10;

/// One artifact in a runtime behind the protocol.
pub(super) struct ProcessSession {
    pool: Arc<Pool>,
    loaded: Loaded,
}

impl ProcessSession {
    pub(super) fn new(pool: Arc<Pool>, loaded: Loaded) -> Self {
        Self { pool, loaded }
    }

    /// The bytes of this many rows of logits in base64.
    fn rows(&self, n: usize) -> usize {
        let vocab = self.loaded.metadata.as_ref().and_then(|metadata| metadata.vocab_size).unwrap_or(MAX_VOCAB);
        n.saturating_mul(vocab).saturating_mul(size_of::<f32>()).saturating_mul(4).div_ceil(3)
    }

    fn ask_logits(&self, op: Op, ids: &[u32], positions: runtime::Positions, chunks: Option<Vec<usize>>) -> Result<Logits, Failure> {
        let due = self.rows(if positions == runtime::Positions::All { ids.len() } else { 1 });
        let request = Request::Logits { ids: ids.to_vec(), positions: positions.into(), chunks };
        self.pool.ask(&request, op, due).and_then(logits)
    }
}

/// An array with two dimensions. Whether they are the right ones, and the values as many, the checks judge.
fn logits(array: Array) -> Result<Logits, Failure> {
    let [n, vocab] = *array.shape.as_slice() else {
        let message = format!("logits of shape {:?}, two dimensions are due: rows and vocabulary", array.shape);
        return Err(Failure::Protocol { message });
    };
    Ok(Logits { n, vocab, values: array.values })
}

impl Session for ProcessSession {
    fn warnings(&mut self) -> Vec<String> {
        self.loaded.warnings.clone()
    }

    fn metadata(&mut self) -> Result<Metadata, Failure> {
        let absent = || Failure::Protocol { message: "`metadata` is declared, and not in the answer to `load`".to_owned() };
        self.loaded.metadata.clone().map(Metadata::from).ok_or_else(absent)
    }

    fn tensors(&mut self) -> Result<Vec<TensorRow>, Failure> {
        let answer: answer::Tensors = self.pool.ask(&Request::Tensors, Op::Tensors, 16 << 20)?;
        Ok(answer.tensors.into_iter().map(TensorRow::from).collect())
    }

    fn tokenize(&mut self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        let due = text.len().saturating_mul(ID);
        let request = Request::Tokenize { text: text.to_owned(), add_special };
        self.pool.ask(&request, Op::Tokenize, due).map(|answer: answer::Ids| answer.ids)
    }

    fn detokenize(&mut self, ids: &[u32]) -> Result<Vec<u8>, Failure> {
        let due = ids.len().saturating_mul(TEXT_OF_ID);
        self.pool.ask(&Request::Detokenize { ids: ids.to_vec() }, Op::Detokenize, due).map(|answer: answer::Text| answer.bytes.0)
    }

    fn logits(&mut self, ids: &[u32], positions: runtime::Positions) -> Result<Logits, Failure> {
        self.ask_logits(Op::Logits, ids, positions, None)
    }

    fn logits_chunked(&mut self, ids: &[u32], positions: runtime::Positions, chunks: &[usize]) -> Result<Logits, Failure> {
        self.ask_logits(Op::Chunks, ids, positions, Some(chunks.to_vec()))
    }

    fn logits_batch(&mut self, batch: &[Vec<u32>], positions: runtime::Positions) -> Result<Vec<Logits>, Failure> {
        let rows = batch.iter().map(|ids| if positions == runtime::Positions::All { ids.len() } else { 1 }).sum();
        let request = Request::LogitsBatch { batch: batch.to_vec(), positions: Positions::from(positions) };
        let answer: answer::Batch = self.pool.ask(&request, Op::Batch, self.rows(rows))?;
        answer.logits.into_iter().map(logits).collect()
    }

    fn generate(&mut self, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Result<(Vec<u32>, Stop), Failure> {
        let due = max_new_tokens.saturating_mul(ID);
        let request = Request::Generate { ids: ids.to_vec(), max_new_tokens, stop_at_eos };
        self.pool.ask(&request, Op::Generate, due).map(|answer: answer::Generated| (answer.ids, answer.stop.into()))
    }

    fn sketch(&mut self, ids: &[u32], decode: bool) -> Result<Vec<StageSketch>, Failure> {
        let answer: answer::Stages = self.pool.ask(&Request::Sketch { ids: ids.to_vec(), decode }, Op::Sketch, 4 << 20)?;
        Ok(answer.stages.into_iter().map(StageSketch::from).collect())
    }

    fn container(&mut self) -> Result<Container, Failure> {
        let answer: answer::Stored = self.pool.ask(&Request::Container, Op::Container, 64 << 20)?;
        Ok(answer.container.into())
    }

    fn weights(&mut self, tensor: &str) -> Result<Vec<f32>, Failure> {
        let array: Array = self.pool.ask(&Request::Weights { tensor: tensor.to_owned() }, Op::Weights, LONGEST)?;
        let due = array.shape.iter().try_fold(1usize, |n, dimension| n.checked_mul(*dimension));
        if due != Some(array.values.len()) {
            let message = format!("weights of shape {:?} with {} values", array.shape, array.values.len());
            return Err(Failure::Protocol { message });
        }
        Ok(array.values)
    }

    fn chat(&mut self, chat: &Chat) -> Result<(String, Vec<u32>), Failure> {
        let request = Request::chat(chat)?;
        self.pool.ask(&request, Op::Chat, 16 << 20).map(|answer: answer::Chat| (answer.text, answer.ids))
    }

    fn sample(&mut self, request: &SampleRequest) -> Result<Sampled, Failure> {
        let due = request.logit_bits.len().saturating_mul(size_of::<f32>()).saturating_mul(2);
        let answer: answer::Drawn = self.pool.ask(&Request::sample(request), Op::Sample, due)?;
        Ok(Sampled { logits: answer.logits.values, id: answer.token })
    }
}
