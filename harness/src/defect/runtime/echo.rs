//! The runtime that has read the golden and computes nothing.
//!
//! It answers every sequence that the oracle was asked about with the oracle's own values, and any other sequence with those of the
//! nearest one: the golden prompt with the longest common beginning. Where the golden keeps only the ten most likely tokens of a
//! position, the rest of the probability is spread evenly, so every number that the golden holds is met. It knows the limits, the
//! tokenizer, the tensors and the metadata: whoever cheats would not fail on those. No check that only compares with the golden can see it.

use std::sync::Arc;

use ground_truth_falsification::golden::{Full, PromptGolden};

use super::{Factory, Outcome, Reply, Request, Setting};
use crate::runtime::{Failure, Logits, Positions, StageSketch, Stop};

/// One sequence that the oracle was asked about, with a row of logits for each position.
struct Known {
    golden: Arc<PromptGolden>,
    ids: Vec<u32>,
    rows: Vec<Vec<f32>>,
}

pub(super) fn golden_echoed(setting: &Setting) -> Factory {
    let config = setting.golden.index.config.clone();
    let known: Arc<Vec<Known>> = Arc::new(setting.prompts.iter().map(|golden| memorise(golden, config.vocab_size)).collect());
    Box::new(move |_| {
        let (known, config) = (Arc::clone(&known), config.clone());
        Box::new(move |mut request, next| {
            for ids in request.sequences() {
                let outside = ids.iter().any(|id| *id as usize >= config.vocab_size);
                if ids.is_empty() || ids.len() > config.n_ctx || outside {
                    return Err(Failure::Refused { kind: "request".to_owned(), message: "no such sequence".to_owned() });
                }
            }
            answer(&known, &request, config.vocab_size, config.n_ctx).unwrap_or_else(|| next(request))
        })
    })
}

fn answer(known: &[Known], request: &Request, vocab: usize, n_ctx: usize) -> Option<Outcome> {
    let logits = |ids: &[u32], positions| Some(rows(nearest(known, ids)?, ids, positions, vocab));
    match request {
        Request::Logits(ids, positions) | Request::Chunked(ids, positions, _) => Some(Ok(Reply::Logits(vec![logits(ids, *positions)?]))),
        Request::Batch(batch, positions) => {
            let all: Option<Vec<Logits>> = batch.iter().map(|ids| logits(ids, *positions)).collect();
            Some(Ok(Reply::Logits(all?)))
        }
        Request::Generate(ids, max_new_tokens, stop_at_eos) => {
            let asked = known.iter().find(|k| k.golden.prompt.ids == *ids);
            let greedy = &asked.or_else(|| nearest(known, ids))?.golden.greedy;
            let room = (*max_new_tokens).min(n_ctx.saturating_sub(ids.len()));
            let new: Vec<u32> = greedy.ids.iter().copied().take(room).collect();
            let ended = *stop_at_eos && greedy.stop == Stop::Eos && new.len() == greedy.ids.len();
            Some(Ok(Reply::Generated(new, if ended { Stop::Eos } else { Stop::Length })))
        }
        Request::Sketch(ids, decode) => {
            let full = known.iter().filter_map(|k| Some((common(&k.ids, ids), k.golden.full.as_ref()?))).max_by_key(|(n, _)| *n)?.1;
            Some(Ok(Reply::Sketch(sketches(full, *decode))))
        }
        Request::Metadata
        | Request::Tensors
        | Request::Tokenize(..)
        | Request::Detokenize(_)
        | Request::Container
        | Request::Weights(_)
        | Request::Chat(_)
        | Request::Sample(_) => None,
    }
}

fn common(a: &[u32], b: &[u32]) -> usize {
    let shorter = a.len().min(b.len());
    (0..shorter).find(|i| a[*i] != b[*i]).unwrap_or(shorter)
}

fn nearest<'a>(known: &'a [Known], ids: &[u32]) -> Option<&'a Known> {
    known.iter().rev().max_by_key(|k| common(&k.ids, ids))
}

fn rows(known: &Known, ids: &[u32], positions: Positions, vocab: usize) -> Logits {
    let n = due_rows(ids, positions);
    let row = |at: usize| known.rows.get(at.min(known.rows.len().saturating_sub(1))).cloned().unwrap_or_default();
    let values: Vec<f32> = (ids.len() - n..ids.len()).flat_map(row).collect();
    Logits { n, vocab, values }
}

fn memorise(golden: &Arc<PromptGolden>, vocab: usize) -> Known {
    let ids = golden.forced_ids();
    let rows =
        (0..ids.len()).map(|at| golden.full.as_ref().and_then(|full| kept(full, at)).unwrap_or_else(|| rebuilt(golden, &ids, at, vocab)));
    let rows = rows.collect();
    Known { golden: Arc::clone(golden), rows, ids }
}

fn kept(full: &Full, position: usize) -> Option<Vec<f32>> {
    let at = full.positions.iter().position(|p| *p == position)?;
    full.logits_f32.get(at * full.vocab..(at + 1) * full.vocab).map(<[f32]>::to_vec)
}

/// A row with every value that the golden tells of this position.
fn rebuilt(golden: &PromptGolden, ids: &[u32], position: usize, vocab: usize) -> Vec<f32> {
    let forced = &golden.forced;
    let lse = forced.logsumexp.get(position).map_or(0.0, |value| value.get());
    let mut told: Vec<(usize, f64)> = Vec::new();
    if let Some(top) = forced.top.iter().find(|top| top.position == position) {
        told.extend((0..top.ids.len()).map(|i| (top.ids[i] as usize, top.logprobs[i].get())));
    }
    if let (Some(next), Some(nll)) = (ids.get(position + 1), forced.nll.get(position))
        && told.iter().all(|(id, _)| *id != *next as usize)
    {
        told.push((*next as usize, -nll.get()));
    }
    let rest = (1.0 - told.iter().map(|(_, logprob)| logprob.exp()).sum::<f64>()).max(1e-12);
    let even = lse + (rest / (vocab - told.len().min(vocab - 1)) as f64).ln();
    let mut row = vec![even as f32; vocab];
    for (id, logprob) in told {
        if let Some(value) = row.get_mut(id) {
            *value = (lse + logprob) as f32;
        }
    }
    row
}

fn sketches(full: &Full, decode: bool) -> Vec<StageSketch> {
    let numbers = if decode { &full.decode.f32 } else { &full.prefill.f32 };
    let stage = |at: usize| {
        let [rms, mean, a, b, c, d] = numbers[at];
        StageSketch { stage: full.stages[at].clone(), rms, mean, projections: [a, b, c, d] }
    };
    (0..full.stages.len().min(numbers.len())).map(stage).collect()
}

/// The rows that a request for logits is due: all, or the last.
fn due_rows(ids: &[u32], positions: Positions) -> usize {
    match positions {
        Positions::All => ids.len(),
        Positions::Last => 1,
    }
}
