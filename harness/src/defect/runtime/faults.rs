//! Runtimes that do not answer, remember what they should forget, or do not keep their limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Factory, Handler, Next, Outcome, Reply, Request, Setting};
use crate::runtime::{Failure, Logits, Positions, Stop};

/// How long a session hangs. It ends by itself, so that the process does.
pub(super) const HANG: Duration = Duration::from_secs(2);

/// A factory of handlers that know nothing of each other.
pub(super) fn stateless(handle: impl Fn(Request, &mut Next<'_>) -> Outcome + Send + Sync + Clone + 'static) -> Factory {
    Box::new(move |_| -> Handler { Box::new(handle.clone()) })
}

/// Moves one value of the last row to the next float: the smallest difference there is.
fn nudge(reply: &mut Reply) {
    let Reply::Logits(all) = reply else { return };
    for logits in all {
        if let Some(value) = logits.values.last_mut() {
            *value = value.next_up();
        }
    }
}

fn nudged(mut reply: Reply) -> Reply {
    nudge(&mut reply);
    reply
}

pub(super) fn hangs(_: &Setting) -> Factory {
    stateless(|request, next| {
        thread::sleep(HANG);
        next(request)
    })
}

pub(super) fn crashes(_: &Setting) -> Factory {
    stateless(|request, next| {
        assert!(!request.is_logits(), "the runtime ends here");
        next(request)
    })
}

/// The answer to the request before; to the first, none.
pub(super) fn answers_late(_: &Setting) -> Factory {
    Box::new(|_| {
        let mut due: Outcome = Err(Failure::Protocol { message: "no answer was there yet".to_owned() });
        Box::new(move |request, next| std::mem::replace(&mut due, next(request)))
    })
}

/// The answer to the request of the same kind before; to the first, the right one.
pub(super) fn answers_previous(_: &Setting) -> Factory {
    Box::new(|_| {
        let mut last: HashMap<std::mem::Discriminant<Request>, Outcome> = HashMap::new();
        Box::new(move |request, next| {
            let kind = std::mem::discriminant(&request);
            let outcome = next(request);
            last.insert(kind, outcome.clone()).unwrap_or(outcome)
        })
    })
}

pub(super) fn answers_empty(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        match &mut reply {
            Reply::Logits(all) => all.iter_mut().for_each(|logits| *logits = Logits { n: 0, vocab: logits.vocab, values: Vec::new() }),
            Reply::Ids(ids) | Reply::Generated(ids, _) => ids.clear(),
            Reply::Bytes(bytes) => bytes.clear(),
            Reply::Tensors(rows) => rows.clear(),
            Reply::Sketch(stages) => stages.clear(),
            Reply::Metadata(metadata) => *metadata = crate::runtime::Metadata::default(),
            Reply::Container(container) => **container = crate::runtime::Container::default(),
            Reply::Weights(values) => values.clear(),
            Reply::Chat(text, ids) => {
                text.clear();
                ids.clear();
            }
            Reply::Sampled(sampled) => sampled.logits.clear(),
        }
        Ok(reply)
    })
}

/// The last `n` rows of logits, of as many as there are.
fn last_rows(mut logits: Logits, n: usize) -> Logits {
    let skip = logits.n.saturating_sub(n);
    logits.values.drain(..(skip * logits.vocab).min(logits.values.len()));
    logits.n -= skip;
    logits
}

fn map_logits(outcome: Outcome, change: impl Fn(Logits) -> Logits) -> Outcome {
    Ok(match outcome? {
        Reply::Logits(all) => Reply::Logits(all.into_iter().map(change).collect()),
        other => other,
    })
}

/// The cache of the sequence before is still there: this one is read as its continuation, as far as the context holds both.
pub(super) fn stale_cache(setting: &Setting) -> Factory {
    let n_ctx = setting.golden.index.config.n_ctx;
    Box::new(move |_| {
        let mut cached: Vec<u32> = Vec::new();
        Box::new(move |mut request, next| {
            let mut sequences = request.sequences();
            let [ids] = sequences.as_mut_slice() else { return next(request) };
            if ids.is_empty() || ids.len() > n_ctx {
                return next(request);
            }
            let (own, room) = (ids.clone(), n_ctx - ids.len());
            let stale = cached.len().min(room).min(8);
            ids.splice(0..0, cached[..stale].iter().copied());
            cached.clone_from(&own);
            if let Request::Chunked(_, _, chunks) = &mut request
                && stale > 0
            {
                chunks.insert(0, stale);
            }
            map_logits(next(request), |logits| last_rows(logits, own.len()))
        })
    })
}

/// Decoding begins by feeding the last token of the prompt again, so every later token sits one position late.
pub(super) fn last_token_fed_twice(setting: &Setting) -> Factory {
    let n_ctx = setting.golden.index.config.n_ctx;
    stateless(move |mut request, next| match &mut request {
        Request::Chunked(ids, _, chunks) if chunks.len() > 1 && ids.len() < n_ctx => {
            let Some((at, again)) = chunks.first().and_then(|at| Some((*at, *ids.get(at.checked_sub(1)?)?))) else { return next(request) };
            ids.insert(at, again);
            chunks.insert(1, 1);
            map_logits(next(request), |mut logits| {
                if logits.n > at {
                    logits.values.drain(at * logits.vocab..(at + 1) * logits.vocab);
                    logits.n -= 1;
                }
                logits
            })
        }
        Request::Generate(ids, ..) if ids.len() < n_ctx => {
            ids.extend(ids.last().copied());
            next(request)
        }
        Request::Sketch(ids, true) if ids.len() < n_ctx && ids.len() > 1 => {
            let at = ids.len() - 1;
            ids.insert(at, ids[at - 1]);
            next(request)
        }
        _ => next(request),
    })
}

/// From the second time that the same logits are asked for, in whatever session, one value is the next float.
pub(super) fn second_run_differs(_: &Setting) -> Factory {
    let seen: Arc<Mutex<HashMap<Request, usize>>> = Arc::default();
    Box::new(move |_| {
        let seen = Arc::clone(&seen);
        Box::new(move |request, next| {
            let again = {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let times = seen.entry(request.clone()).or_default();
                *times += 1;
                *times > 1
            };
            let reply = next(request)?;
            Ok(if again { nudged(reply) } else { reply })
        })
    })
}

pub(super) fn threads_differ(_: &Setting) -> Factory {
    Box::new(|threads| {
        Box::new(move |request, next| {
            let reply = next(request)?;
            Ok(if threads > 1 { nudged(reply) } else { reply })
        })
    })
}

/// A sequence of a batch has a trace of the one after it in its last row.
pub(super) fn batch_neighbours_leak(_: &Setting) -> Factory {
    stateless(|request, next| {
        let shared = matches!(&request, Request::Batch(batch, _) if batch.len() > 1);
        let reply = next(request)?;
        Ok(if shared { nudged(reply) } else { reply })
    })
}

/// The last row, where it is asked for alone, is off by the smallest step.
pub(super) fn last_row_alone_off(_: &Setting) -> Factory {
    stateless(|request, next| {
        let alone = matches!(&request, Request::Logits(_, Positions::Last));
        let reply = next(request)?;
        Ok(if alone { nudged(reply) } else { reply })
    })
}

/// Where the length is a multiple of 16, the last row is off by the smallest step.
pub(super) fn block_length_off(_: &Setting) -> Factory {
    stateless(|request, next| {
        let whole = matches!(&request, Request::Logits(ids, _) if ids.len() % 16 == 0);
        let reply = next(request)?;
        Ok(if whole { nudged(reply) } else { reply })
    })
}

/// The last row after a chunk boundary is off by the smallest step.
pub(super) fn chunk_boundary_off(_: &Setting) -> Factory {
    stateless(|request, next| {
        let cut = matches!(&request, Request::Chunked(_, _, chunks) if chunks.len() > 1);
        let reply = next(request)?;
        Ok(if cut { nudged(reply) } else { reply })
    })
}

/// Sessions share a buffer: who is not alone gets a trace of the other.
pub(super) fn sessions_interfere(_: &Setting) -> Factory {
    let buffer: Arc<()> = Arc::default();
    Box::new(move |_| {
        let shared = Arc::clone(&buffer);
        Box::new(move |request, next| {
            // The factory holds the buffer once, each living session once.
            let alone = Arc::strong_count(&shared) <= 2;
            let reply = next(request)?;
            Ok(if alone { reply } else { nudged(reply) })
        })
    })
}

pub(super) fn empty_input_accepted(_: &Setting) -> Factory {
    stateless(|mut request, next| {
        request.sequences().into_iter().filter(|ids| ids.is_empty()).for_each(|ids| ids.push(0));
        if let Request::Chunked(_, _, chunks) = &mut request
            && chunks.is_empty()
        {
            chunks.push(1);
        }
        next(request)
    })
}

/// An id past the vocabulary is taken for the last one.
pub(super) fn ids_clamped(setting: &Setting) -> Factory {
    let last = setting.golden.index.config.vocab_size.saturating_sub(1) as u32;
    stateless(move |mut request, next| {
        request.sequences().into_iter().flatten().for_each(|id| *id = (*id).min(last));
        if let Request::Detokenize(ids) = &mut request {
            ids.iter_mut().for_each(|id| *id = (*id).min(last));
        }
        next(request)
    })
}

/// A prompt longer than the context loses its beginning, and nobody is told.
pub(super) fn context_truncated(setting: &Setting) -> Factory {
    let n_ctx = setting.golden.index.config.n_ctx;
    stateless(move |mut request, next| {
        for ids in request.sequences() {
            let over = ids.len().saturating_sub(n_ctx);
            ids.drain(..over);
        }
        if let Request::Chunked(ids, positions, chunks) = &request
            && chunks.iter().sum::<usize>() > ids.len()
        {
            return next(Request::Logits(ids.clone(), *positions));
        }
        next(request)
    })
}

/// Text ends one token before the context does.
pub(super) fn context_one_short(setting: &Setting) -> Factory {
    let n_ctx = setting.golden.index.config.n_ctx;
    stateless(move |mut request, next| {
        if let Request::Generate(ids, max_new_tokens, _) = &mut request {
            *max_new_tokens = (*max_new_tokens).min((n_ctx - 1).saturating_sub(ids.len()));
        }
        next(request)
    })
}

pub(super) fn eos_ignored(_: &Setting) -> Factory {
    stateless(|mut request, next| {
        if let Request::Generate(_, _, stop_at_eos) = &mut request {
            *stop_at_eos = false;
        }
        next(request)
    })
}

/// The id that ended the text is not part of the answer.
pub(super) fn eos_swallowed(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Generated(ids, Stop::Eos) = &mut reply {
            ids.pop();
        }
        Ok(reply)
    })
}

pub(super) fn one_token_too_many(_: &Setting) -> Factory {
    stateless(|mut request, next| {
        if let Request::Generate(_, max_new_tokens, _) = &mut request {
            *max_new_tokens += 1;
        }
        next(request)
    })
}
