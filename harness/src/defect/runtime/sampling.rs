//! Samplers that are wrong about one step.
//!
//! A sampler with a fault asks the one behind it for the steps before the fault, does that step itself, and asks again for the steps after.

use ground_truth_falsification::observation::Exact;

use super::faults::stateless;
use super::{Factory, Reply, Request, Setting};
use crate::runtime::{Failure, SampleParams, SampleRequest, Sampled};

type Answered = Result<Sampled, Failure>;
type Sampler<'a> = dyn FnMut(SampleRequest) -> Answered + 'a;

const OUT: f32 = f32::NEG_INFINITY;

/// Every request to draw a token goes through `handle`, which may ask the sampler behind it, and as often as it likes.
fn on_samples(handle: impl Fn(SampleRequest, &mut Sampler<'_>) -> Answered + Send + Sync + Clone + 'static) -> Factory {
    stateless(move |request, next| {
        let Request::Sample(sample) = request else { return next(request) };
        let mut sampler = |sample: SampleRequest| match next(Request::Sample(Box::new(sample)))? {
            Reply::Sampled(sampled) => Ok(sampled),
            _ => Err(Failure::Protocol { message: "an answer to another request came back".to_owned() }),
        };
        handle(*sample, &mut sampler).map(Reply::Sampled)
    })
}

/// A fault that only reads the parameters otherwise.
fn on_params(change: impl Fn(&mut SampleRequest) + Send + Sync + Clone + 'static) -> Factory {
    on_samples(move |mut request, next| {
        change(&mut request);
        next(request)
    })
}

/// The request with `logits` in the place of its own.
fn with(request: &SampleRequest, logits: &[f32], params: SampleParams) -> SampleRequest {
    SampleRequest { logit_bits: logits.iter().map(|x| x.to_bits()).collect(), params, ..request.clone() }
}

/// The parameters of a request, cut in three: the steps before `step`, and those after it.
struct Cut {
    before: SampleParams,
    after: SampleParams,
}

/// The steps, in their order.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Step {
    Repetition,
    Presence,
    Masks,
    Temperature,
    TopK,
    TopP,
    MinP,
    Typical,
}

fn only(params: &SampleParams, keep: impl Fn(Step) -> bool) -> SampleParams {
    let masks = keep(Step::Masks);
    SampleParams {
        repetition_penalty: params.repetition_penalty.filter(|_| keep(Step::Repetition)),
        presence_penalty: params.presence_penalty.filter(|_| keep(Step::Presence)),
        frequency_penalty: params.frequency_penalty.filter(|_| keep(Step::Presence)),
        no_repeat_ngram_size: params.no_repeat_ngram_size.filter(|_| masks),
        bad_words_ids: if masks { params.bad_words_ids.clone() } else { Vec::new() },
        min_length: params.min_length.filter(|_| masks),
        min_new_tokens: params.min_new_tokens.filter(|_| masks),
        eos_token_id: params.eos_token_id.clone(),
        temperature: params.temperature.filter(|_| keep(Step::Temperature)),
        top_k: params.top_k.filter(|_| keep(Step::TopK)),
        top_p: params.top_p.filter(|_| keep(Step::TopP)),
        min_p: params.min_p.filter(|_| keep(Step::MinP)),
        typical_p: params.typical_p.filter(|_| keep(Step::Typical)),
        min_tokens_to_keep: params.min_tokens_to_keep,
    }
}

impl Cut {
    fn around(params: &SampleParams, step: Step) -> Self {
        Cut { before: only(params, |other| other < step), after: only(params, |other| other > step) }
    }
}

/// One step done otherwise, where the request has it.
fn otherwise(
    step: Step,
    has: impl Fn(&SampleParams) -> bool + Send + Sync + Clone + 'static,
    change: impl Fn(&SampleRequest, &mut Vec<f32>) + Send + Sync + Clone + 'static,
) -> Factory {
    on_samples(move |request, next| {
        if !has(&request.params) {
            return next(request);
        }
        // What is out of range is refused as ever.
        next(request.clone())?;
        let cut = Cut::around(&request.params, step);
        let mut logits = next(with(&request, &request.logits(), cut.before))?.logits;
        change(&request, &mut logits);
        next(with(&request, &logits, cut.after))
    })
}

/// Probabilities, in float64.
fn probabilities(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().copied().fold(OUT, |most, x| if x > most { x } else { most });
    let weights: Vec<f64> = row.iter().map(|x| f64::from(x - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

fn descending(row: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    order
}

pub(super) fn temperature_inverted(_: &Setting) -> Factory {
    on_params(|request| {
        if let Some(temperature) = request.params.temperature.filter(|t| t.get() > 0.0) {
            request.params.temperature = Some(Exact::new(1.0 / temperature.get()));
        }
    })
}

/// Temperature is applied to what the other steps left.
pub(super) fn temperature_last(_: &Setting) -> Factory {
    on_samples(|request, next| {
        if request.params.temperature.is_none() {
            return next(request);
        }
        let first = only(&request.params, |step| step != Step::Temperature);
        let logits = next(with(&request, &request.logits(), first))?.logits;
        next(with(&request, &logits, only(&request.params, |step| step == Step::Temperature)))
    })
}

/// Of equal logits at the last place only as many stay as make k.
pub(super) fn top_k_drops_ties(_: &Setting) -> Factory {
    otherwise(
        Step::TopK,
        |params| params.top_k.is_some_and(|k| k > 0),
        |request, row| {
            let k = request.params.top_k.unwrap_or(1).max(request.params.min_tokens_to_keep.unwrap_or(1));
            descending(row).into_iter().skip(k).for_each(|id| row[id] = OUT);
        },
    )
}

pub(super) fn top_k_one_more(_: &Setting) -> Factory {
    on_params(|request| {
        if let Some(k) = request.params.top_k.as_mut().filter(|k| **k > 0) {
            *k += 1;
        }
    })
}

/// A token is kept as long as those before it do not exceed the probability: at the limit itself, one too many.
pub(super) fn top_p_past_limit(_: &Setting) -> Factory {
    top_p_otherwise(|before, p| before > p)
}

/// A token is kept only if the sum with it does not exceed the probability: the one that reaches it is lost.
pub(super) fn top_p_short_of_limit(_: &Setting) -> Factory {
    otherwise(Step::TopP, has_top_p, |request, row| {
        let (p, keep) = limits(request);
        let (order, parts) = (descending(row), probabilities(row));
        let mut sum = 0.0;
        for (place, id) in order.into_iter().enumerate() {
            sum += parts[id];
            if place >= keep && sum > p {
                row[id] = OUT;
            }
        }
    })
}

fn has_top_p(params: &SampleParams) -> bool {
    params.top_p.is_some_and(|p| p.get() < 1.0)
}

fn limits(request: &SampleRequest) -> (f64, usize) {
    (request.params.top_p.map_or(1.0, Exact::get), request.params.min_tokens_to_keep.unwrap_or(1))
}

fn top_p_otherwise(ends: impl Fn(f64, f64) -> bool + Send + Sync + Clone + 'static) -> Factory {
    otherwise(Step::TopP, has_top_p, move |request, row| {
        let (p, keep) = limits(request);
        let (order, parts) = (descending(row), probabilities(row));
        let mut before = 0.0;
        for (place, id) in order.into_iter().enumerate() {
            let part = parts[id];
            if place >= keep && ends(before, p) {
                row[id] = OUT;
            }
            before += part;
        }
    })
}

/// The limit is a part of all probability, not of the most likely token's.
pub(super) fn min_p_of_sum(_: &Setting) -> Factory {
    otherwise(
        Step::MinP,
        |params| params.min_p.is_some(),
        |request, row| {
            let min_p = request.params.min_p.map_or(0.0, Exact::get);
            let kept: Vec<usize> = descending(row).into_iter().take(request.params.min_tokens_to_keep.unwrap_or(1)).collect();
            let parts = probabilities(row);
            (0..row.len()).filter(|id| parts[*id] < min_p && !kept.contains(id)).for_each(|id| row[id] = OUT);
        },
    )
}

/// Surprise is not measured from the entropy: the most likely tokens come first, and it is top-p.
pub(super) fn typical_unshifted(_: &Setting) -> Factory {
    on_samples(|request, next| {
        let Some(mass) = request.params.typical_p.filter(|mass| mass.get() > 0.0) else { return next(request) };
        let first = only(&request.params, |step| step != Step::Typical);
        let logits = next(with(&request, &request.logits(), first))?.logits;
        let keep = request.params.min_tokens_to_keep;
        next(with(&request, &logits, SampleParams { top_p: Some(mass), min_tokens_to_keep: keep, ..SampleParams::default() }))
    })
}

/// A negative logit is divided too, which makes the token likelier.
pub(super) fn penalty_divides(_: &Setting) -> Factory {
    otherwise(
        Step::Repetition,
        |params| params.repetition_penalty.is_some(),
        |request, row| {
            let penalty = request.params.repetition_penalty.map_or(1.0, Exact::get) as f32;
            for (id, x) in row.iter_mut().enumerate() {
                if request.prompt.iter().chain(&request.generated).any(|said| *said as usize == id) {
                    *x /= penalty;
                }
            }
        },
    )
}

/// The prompt counts for presence and frequency.
pub(super) fn frequency_counts_prompt(_: &Setting) -> Factory {
    on_samples(|request, next| {
        let params = &request.params;
        if params.presence_penalty.is_none() && params.frequency_penalty.is_none() {
            return next(request);
        }
        let cut = Cut::around(params, Step::Presence);
        let logits = next(with(&request, &request.logits(), cut.before))?.logits;
        let all = [request.prompt.as_slice(), &request.generated].concat();
        let counted =
            SampleRequest { prompt: Vec::new(), generated: all, ..with(&request, &logits, only(params, |s| s == Step::Presence)) };
        let logits = next(counted)?.logits;
        next(with(&request, &logits, cut.after))
    })
}

/// A repetition is found one token early.
pub(super) fn ngram_short(_: &Setting) -> Factory {
    on_params(|request| {
        if let Some(n) = request.params.no_repeat_ngram_size.as_mut().filter(|n| **n > 1) {
            *n -= 1;
        }
    })
}

/// The least length of the text is met by prompt and text together.
pub(super) fn min_length_counts_prompt(_: &Setting) -> Factory {
    on_params(|request| {
        if let Some(least) = request.params.min_new_tokens.take() {
            let longer = request.params.min_length.filter(|length| *length > least);
            request.params.min_length = Some(longer.unwrap_or(least));
        }
    })
}

/// The last token of a forbidden sequence is masked, whatever stands before it.
pub(super) fn bad_words_always(_: &Setting) -> Factory {
    on_params(|request| {
        for word in request.params.bad_words_ids.iter_mut().filter(|word| word.len() > 1) {
            word.drain(..word.len() - 1);
        }
    })
}

/// Exponentials in float32 of logits as they are: past 88 they are infinite, and where all are small they are nothing.
pub(super) fn softmax_overflows(_: &Setting) -> Factory {
    on_samples(|request, next| {
        let u = request.u.get();
        let mut sampled = next(request)?;
        let weights: Vec<f32> = sampled.logits.iter().map(|x| x.exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut sum = 0.0;
        let picked = weights.iter().position(|weight| {
            sum += f64::from(weight / total);
            sum > u
        });
        sampled.id = picked.unwrap_or(sampled.logits.len().saturating_sub(1)) as u32;
        Ok(sampled)
    })
}

/// Where rounding leaves the sum short of the random number, the last id is drawn, masked or not.
pub(super) fn last_id_at_the_end(_: &Setting) -> Factory {
    on_samples(|request, next| {
        let u = request.u.get();
        let mut sampled = next(request)?;
        if u > 0.999_999 {
            sampled.id = sampled.logits.len().saturating_sub(1) as u32;
        }
        Ok(sampled)
    })
}

/// A mask is a large negative number.
pub(super) fn mask_finite(_: &Setting) -> Factory {
    on_samples(|request, next| {
        let mut sampled = next(request)?;
        sampled.logits.iter_mut().filter(|x| **x == OUT).for_each(|x| *x = -1e4);
        Ok(sampled)
    })
}

/// What should be refused is answered with the first token.
pub(super) fn sampler_accepts_all(_: &Setting) -> Factory {
    on_samples(|request, next| {
        let logits = request.logits();
        next(request).or(Ok(Sampled { logits, id: 0 }))
    })
}
