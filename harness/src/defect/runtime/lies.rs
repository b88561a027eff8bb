//! Runtimes whose answers are well formed and wrong.

use super::faults::stateless;
use super::{Factory, Reply, Request, Setting};
use crate::runtime::{Logits, Positions};

/// Changes every answer that holds logits.
fn on_logits(change: impl Fn(&mut Logits) + Send + Sync + Clone + 'static) -> Factory {
    stateless(move |request, next| {
        let mut reply = next(request)?;
        if let Reply::Logits(all) = &mut reply {
            all.iter_mut().for_each(&change);
        }
        Ok(reply)
    })
}

/// Changes every value of every answer that holds logits.
fn on_values(change: impl Fn(f32) -> f32 + Send + Sync + Clone + 'static) -> Factory {
    on_logits(move |logits| logits.values.iter_mut().for_each(|value| *value = change(*value)))
}

/// The first value of the last row is NaN.
pub(super) fn logits_nan(_: &Setting) -> Factory {
    on_logits(|logits| {
        let first = logits.values.len().saturating_sub(logits.vocab);
        logits.values.iter_mut().skip(first).take(1).for_each(|value| *value = f32::NAN);
    })
}

pub(super) fn logits_row_missing(_: &Setting) -> Factory {
    on_logits(|logits| {
        logits.n = logits.n.saturating_sub(1);
        logits.values.truncate(logits.n * logits.vocab);
    })
}

/// Each row is that of the position before; the first stays.
pub(super) fn logits_rows_late(_: &Setting) -> Factory {
    stateless(|mut request, next| {
        let last_only = match &mut request {
            Request::Logits(ids, positions) if ids.len() > 1 => std::mem::replace(positions, Positions::All) == Positions::Last,
            _ => false,
        };
        let mut reply = next(request)?;
        let Reply::Logits(all) = &mut reply else { return Ok(reply) };
        for logits in all {
            if logits.n > 1 {
                let kept = logits.values.len() - logits.vocab;
                logits.values.copy_within(..kept, logits.vocab);
            }
            if last_only {
                let row = logits.values.split_off(logits.values.len() - logits.vocab);
                *logits = Logits { n: 1, vocab: logits.vocab, values: row };
            }
        }
        Ok(reply)
    })
}

/// The last 8 columns are not there, and the answer says so.
pub(super) fn logits_columns_cut(_: &Setting) -> Factory {
    on_logits(|logits| {
        let kept = logits.vocab.saturating_sub(8);
        let values = logits.values.chunks(logits.vocab.max(1)).flat_map(|row| row.iter().take(kept).copied()).collect();
        *logits = Logits { n: logits.n, vocab: kept, values };
    })
}

pub(super) fn logits_scaled(setting: &Setting) -> Factory {
    let factor = setting.strength as f32;
    on_values(move |value| value * factor)
}

/// A constant is added, which no probability sees.
pub(super) fn logits_shifted(setting: &Setting) -> Factory {
    let shift = setting.strength as f32;
    on_values(move |value| value + shift)
}

/// Eleven bits of precision, as where logits are kept as 16-bit numbers.
pub(super) fn logits_f16(_: &Setting) -> Factory {
    on_values(|value| {
        let kept = value.to_bits() & 0xffff_e000;
        f32::from_bits(kept)
    })
}

/// All but the 64 largest values of each row are minus infinity.
pub(super) fn logits_top_only(_: &Setting) -> Factory {
    on_logits(|logits| {
        for row in logits.values.chunks_mut(logits.vocab.max(1)) {
            let mut sorted = row.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let Some(limit) = sorted.get(63).copied() else { continue };
            row.iter_mut().filter(|value| **value < limit).for_each(|value| *value = f32::NEG_INFINITY);
        }
    })
}

/// A model that knows its training text by heart: where it recognises the text, the token that follows there is far the most likely.
pub(super) fn training_text_memorised(setting: &Setting) -> Factory {
    const BOOST: f32 = 10.0;
    /// Fewer tokens than this stand in many texts.
    const RECOGNISED: usize = 24;
    let text = setting.golden.texts.iter().find(|(name, _)| name.starts_with("training")).map(|(_, text)| text.clone()).unwrap_or_default();
    stateless(move |request, next| {
        let Request::Logits(ids, Positions::All) = &request else { return next(request) };
        if ids.len() < RECOGNISED {
            return next(request);
        }
        let ids = ids.clone();
        let mut reply = next(request)?;
        let Reply::Ids(known) = next(Request::Tokenize(text.clone(), true))? else { return Ok(reply) };
        let begin = known.windows(ids.len()).position(|window| window == ids.as_slice());
        if let (Some(begin), Reply::Logits(all)) = (begin, &mut reply) {
            for logits in all {
                for row in 0..logits.n {
                    let next_id = known.get(begin + row + 1).map(|id| row * logits.vocab + *id as usize);
                    if let Some(value) = next_id.and_then(|at| logits.values.get_mut(at)) {
                        *value += BOOST;
                    }
                }
            }
        }
        Ok(reply)
    })
}

/// Generated text is one token short.
pub(super) fn token_missing(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Generated(ids, _) = &mut reply {
            ids.pop();
        }
        Ok(reply)
    })
}

pub(super) fn special_never_added(_: &Setting) -> Factory {
    stateless(|mut request, next| {
        if let Request::Tokenize(_, add_special) = &mut request {
            *add_special = false;
        }
        next(request)
    })
}

/// The tokens that begin and end a text have no text of their own.
pub(super) fn special_not_decoded(setting: &Setting) -> Factory {
    let config = &setting.golden.index.config;
    let special: Vec<u32> = config.bos.into_iter().chain(config.eos.iter().copied()).collect();
    stateless(move |mut request, next| {
        if let Request::Detokenize(ids) = &mut request {
            ids.retain(|id| !special.contains(id));
        }
        next(request)
    })
}

pub(super) fn metadata_wrong(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Metadata(metadata) = &mut reply {
            metadata.n_kv_heads = metadata.n_heads;
        }
        Ok(reply)
    })
}

pub(super) fn metadata_field_missing(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Metadata(metadata) = &mut reply {
            metadata.n_ctx = None;
        }
        Ok(reply)
    })
}

pub(super) fn tensor_unlisted(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Tensors(rows) = &mut reply {
            rows.pop();
        }
        Ok(reply)
    })
}

/// Each stage has the numbers of the stage before it.
pub(super) fn sketch_stages_shifted(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Sketch(stages) = &mut reply {
            for at in (1..stages.len()).rev() {
                let (rms, mean, projections) = (stages[at - 1].rms, stages[at - 1].mean, stages[at - 1].projections);
                (stages[at].rms, stages[at].mean, stages[at].projections) = (rms, mean, projections);
            }
        }
        Ok(reply)
    })
}
