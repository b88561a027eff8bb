//! Runtimes that are wrong at one length: where a block ends, where a window ends, where the context does.

use super::faults::stateless;
use super::{Factory, Outcome, Reply, Request, Setting};
use crate::runtime::{Logits, Positions};

/// Ids in a block of a prefill, and in a window.
const BLOCK: usize = 32;

/// A length at which a counter of eight bits is back at nothing.
const BYTE: usize = 256;

/// The last row is that of the position before.
fn last_row_late(outcome: Outcome) -> Outcome {
    Ok(match outcome? {
        Reply::Logits(mut all) => {
            for logits in all.iter_mut().filter(|logits| logits.n > 1) {
                let end = logits.values.len();
                logits.values.copy_within(end - 2 * logits.vocab..end - logits.vocab, end - logits.vocab);
            }
            Reply::Logits(all)
        }
        other => other,
    })
}

/// A prefill of these ids, whose last row is that of the position before, however many rows are asked for.
fn late_prefill(ids: Vec<u32>, positions: Positions, next: &mut super::Next<'_>) -> Outcome {
    let outcome = last_row_late(next(Request::Logits(ids, Positions::All)))?;
    Ok(match (outcome, positions) {
        (Reply::Logits(all), Positions::Last) => Reply::Logits(all.into_iter().map(last_alone).collect()),
        (other, _) => other,
    })
}

fn last_alone(mut logits: Logits) -> Logits {
    logits.values.drain(..logits.values.len().saturating_sub(logits.vocab));
    Logits { n: 1, ..logits }
}

/// A prefill whose last block holds one id answers with the row before it.
pub(super) fn block_of_one_lost(_: &Setting) -> Factory {
    stateless(|request, next| match request {
        Request::Logits(ids, positions) if ids.len() > BLOCK && ids.len() % BLOCK == 1 => late_prefill(ids, positions, next),
        other => next(other),
    })
}

/// At exactly 256 ids the last row is that of 255.
pub(super) fn length_256_wrong(_: &Setting) -> Factory {
    stateless(|request, next| match request {
        Request::Logits(ids, positions) if ids.len() == BYTE => late_prefill(ids, positions, next),
        other => next(other),
    })
}

/// Past a window, a decode step sees one id less than a prefill does: the oldest is gone.
pub(super) fn decode_window_one_short(_: &Setting) -> Factory {
    stateless(|request, next| match request {
        Request::Chunked(mut ids, Positions::Last, mut chunks) if ids.len() > BLOCK && chunks.len() > 1 => {
            ids.remove(0);
            match chunks.iter_mut().find(|chunk| **chunk > 1) {
                Some(chunk) => *chunk -= 1,
                None => drop(chunks.pop()),
            }
            next(Request::Chunked(ids, Positions::Last, chunks))
        }
        other => next(other),
    })
}

/// The cache holds one id less than the context: the step that fills the context has lost the first.
pub(super) fn cache_one_short(setting: &Setting) -> Factory {
    let n_ctx = setting.golden.index.config.n_ctx;
    stateless(move |request, next| match request {
        Request::Chunked(mut ids, Positions::Last, mut chunks) if ids.len() == n_ctx && chunks.first().is_some_and(|first| *first > 1) => {
            ids.remove(0);
            chunks[0] -= 1;
            next(Request::Chunked(ids, Positions::Last, chunks))
        }
        other => next(other),
    })
}

/// A decode step past the limit overwrites the oldest id and answers.
pub(super) fn step_past_context(setting: &Setting) -> Factory {
    let n_ctx = setting.golden.index.config.n_ctx;
    stateless(move |mut request, next| {
        if let Request::Chunked(ids, _, chunks) = &mut request
            && ids.len() > n_ctx
            && chunks.first().is_some_and(|first| *first > 1)
        {
            ids.remove(0);
            chunks[0] -= 1;
        }
        next(request)
    })
}
