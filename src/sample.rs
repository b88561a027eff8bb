//! Sampling: logits, what was said before, and one random number in; a token out. Nothing else decides.
//!
//! The parameters are those of transformers' `generate`, in the order in which it applies them, and the two penalties of the OpenAI API,
//! which stand behind the repetition penalty as in vLLM:
//!
//! | step | parameter | what it does |
//! |---|---|---|
//! | 1 | `repetition_penalty` | a token of prompt or text: positive logits divided by it, negative ones multiplied |
//! | 2 | `presence_penalty`, `frequency_penalty` | a token of the text, prompt not counted: minus one, minus the other times its count |
//! | 3 | `no_repeat_ngram_size` | what would repeat n tokens in a row of prompt and text is masked |
//! | 4 | `bad_words_ids` | what would complete a forbidden sequence is masked |
//! | 5 | `min_length`, `min_new_tokens` | EOS is masked until prompt and text, or the text alone, are so long |
//! | 6 | `temperature` | logits divided by it |
//! | 7 | `top_k` | all below the k-th largest are masked; its equals stay |
//! | 8 | `top_p` | the fewest most likely tokens that reach this probability stay |
//! | 9 | `min_p` | what is less likely than this part of the most likely token is masked |
//! | 10 | `typical_p` | the tokens whose surprise is nearest to the entropy stay, until they reach this probability |
//!
//! A masked logit is minus infinity. Logits stay float32 between the steps; probabilities are sums in float64, in a fixed order.

use crate::Result;
use crate::error::RequestError;

/// How logits are changed before a token is drawn. The default changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Above 0; 1 changes nothing.
    pub repetition_penalty: f64,
    /// Any finite number; 0 changes nothing.
    pub presence_penalty: f64,
    /// Any finite number; 0 changes nothing.
    pub frequency_penalty: f64,
    /// 0 masks nothing.
    pub no_repeat_ngram_size: usize,
    /// Forbidden sequences. One that is empty or an EOS token alone forbids nothing, as in transformers.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens that prompt and text have at least.
    pub min_length: usize,
    /// Tokens that the text has at least.
    pub min_new_tokens: usize,
    /// The tokens that end a text.
    pub eos_token_id: Vec<u32>,
    /// Above 0. Zero is refused, as by transformers: whoever wants the most likely token has [`argmax`](crate::generate::argmax).
    pub temperature: f64,
    /// 0 masks nothing.
    pub top_k: usize,
    /// From 0 to 1; 1 masks nothing.
    pub top_p: f64,
    /// From 0 to 1; 0 masks nothing.
    pub min_p: f64,
    /// Above 0, up to 1; 1 masks nothing.
    pub typical_p: f64,
    /// How many tokens steps 7 to 10 leave at least; 1 or more.
    pub min_tokens_to_keep: usize,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            min_length: 0,
            min_new_tokens: 0,
            eos_token_id: Vec::new(),
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            min_tokens_to_keep: 1,
        }
    }
}

/// What was said before. Ids past the vocabulary count for lengths and n-grams, and have no logit to change.
#[derive(Debug, Clone, Copy, Default)]
pub struct History<'a> {
    /// The prompt.
    pub prompt: &'a [u32],
    /// What was generated after it.
    pub generated: &'a [u32],
}

impl History<'_> {
    fn all(&self) -> Vec<u32> {
        [self.prompt, self.generated].concat()
    }
}

/// The logits after every step, (vocab).
///
/// ```
/// use ground_truth::sample::{History, Params, process};
///
/// let params = Params { top_k: 2, temperature: 0.5, ..Params::default() };
/// assert_eq!(process(&[1.0, 3.0, 2.0], History::default(), &params).unwrap(), [f32::NEG_INFINITY, 6.0, 4.0]);
/// ```
///
/// # Errors
/// [`RequestError::NoLogits`], [`RequestError::NanLogit`] and [`RequestError::InfiniteLogit`] for logits that no token can be drawn from
/// (minus infinity is a mask), or that overflow on the way; [`RequestError::Parameter`] and [`RequestError::BadWord`] for a parameter out
/// of its range; [`RequestError::NothingLeft`] where every token is masked.
pub fn process(logits: &[f32], history: History, params: &Params) -> Result<Vec<f32>> {
    validate(logits, params)?;
    let (mut row, all) = (logits.to_vec(), history.all());
    repetition(&mut row, &all, params.repetition_penalty as f32);
    presence_and_frequency(&mut row, history.generated, params);
    no_repeat_ngram(&mut row, &all, params.no_repeat_ngram_size);
    bad_words(&mut row, &all, params);
    if all.len() < params.min_length || history.generated.len() < params.min_new_tokens {
        mask(&mut row, |id, _| params.eos_token_id.contains(&(id as u32)));
    }
    if params.temperature != 1.0 {
        row.iter_mut().for_each(|x| *x /= params.temperature as f32);
    }
    // A logit that overflows has lost its place among the others. Past the other end of float32 it is as good as masked.
    refuse_odd(&row)?;
    if row.iter().all(|x| *x == f32::NEG_INFINITY) {
        return Err(RequestError::NothingLeft { vocab_size: row.len() }.into());
    }
    top_k(&mut row, params);
    top_p(&mut row, params);
    min_p(&mut row, params);
    typical(&mut row, params);
    Ok(row)
}

/// The token that a random number `u` in [0, 1) picks from processed logits: the first, in the order of ids, at which the sum of
/// probabilities exceeds `u`. A masked token is never picked.
///
/// ```
/// use ground_truth::sample::draw;
///
/// let logits = [0.0, f32::NEG_INFINITY, 0.0];
/// assert_eq!((draw(&logits, 0.49).unwrap(), draw(&logits, 0.5).unwrap()), (0, 2));
/// ```
///
/// # Errors
/// [`RequestError::Parameter`] for a `u` outside [0, 1), and as [`process`] for logits that no token can be drawn from.
pub fn draw(logits: &[f32], u: f64) -> Result<u32> {
    if !(0.0..1.0).contains(&u) {
        return Err(RequestError::Parameter { name: "u", value: u, due: "at least 0 and less than 1" }.into());
    }
    refuse_odd(logits)?;
    let weights = weights(logits);
    let due = u * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let picked = weights.iter().position(|weight| {
        sum += weight;
        sum > due
    });
    let picked = picked.or_else(|| weights.iter().rposition(|weight| *weight > 0.0));
    picked.map(|id| id as u32).ok_or_else(|| RequestError::NothingLeft { vocab_size: logits.len() }.into())
}

fn validate(logits: &[f32], params: &Params) -> Result<()> {
    refuse_odd(logits)?;
    let positive = |x: f64| x > 0.0 && x.is_finite();
    let part = |x: f64| (0.0..=1.0).contains(&x);
    let ranges = [
        ("repetition_penalty", params.repetition_penalty, positive(params.repetition_penalty), "a finite number above 0"),
        ("presence_penalty", params.presence_penalty, params.presence_penalty.is_finite(), "a finite number"),
        ("frequency_penalty", params.frequency_penalty, params.frequency_penalty.is_finite(), "a finite number"),
        ("temperature", params.temperature, positive(params.temperature), "a finite number above 0"),
        ("top_p", params.top_p, part(params.top_p), "a number from 0 to 1"),
        ("min_p", params.min_p, part(params.min_p), "a number from 0 to 1"),
        ("typical_p", params.typical_p, part(params.typical_p) && params.typical_p > 0.0, "a number above 0, up to 1"),
        ("min_tokens_to_keep", params.min_tokens_to_keep as f64, params.min_tokens_to_keep > 0, "1 or more"),
    ];
    if let Some(&(name, value, _, due)) = ranges.iter().find(|(_, _, holds, _)| !holds) {
        return Err(RequestError::Parameter { name, value, due }.into());
    }
    for (index, word) in params.bad_words_ids.iter().enumerate() {
        if let Some(id) = word.iter().copied().find(|id| *id as usize >= logits.len()) {
            return Err(RequestError::BadWord { index, id, vocab_size: logits.len() }.into());
        }
    }
    Ok(())
}

fn refuse_odd(logits: &[f32]) -> Result<()> {
    if logits.is_empty() {
        return Err(RequestError::NoLogits.into());
    }
    if let Some(index) = logits.iter().position(|x| x.is_nan()) {
        return Err(RequestError::NanLogit { index }.into());
    }
    if let Some(index) = logits.iter().position(|x| *x == f32::INFINITY) {
        return Err(RequestError::InfiniteLogit { index, value: f32::INFINITY }.into());
    }
    Ok(())
}

fn mask(row: &mut [f32], masked: impl Fn(usize, f32) -> bool) {
    row.iter_mut().enumerate().filter(|(id, x)| masked(*id, **x)).for_each(|(_, x)| *x = f32::NEG_INFINITY);
}

fn repetition(row: &mut [f32], all: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut ids = all.to_vec();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        if let Some(x) = row.get_mut(id as usize) {
            *x = if *x < 0.0 { *x * penalty } else { *x / penalty };
        }
    }
}

fn presence_and_frequency(row: &mut [f32], generated: &[u32], params: &Params) {
    if params.presence_penalty == 0.0 && params.frequency_penalty == 0.0 {
        return;
    }
    let mut counts = vec![0u32; row.len()];
    for id in generated {
        if let Some(count) = counts.get_mut(*id as usize) {
            *count += 1;
        }
    }
    for (x, count) in row.iter_mut().zip(counts).filter(|(_, count)| *count > 0) {
        *x = (f64::from(*x) - params.presence_penalty - params.frequency_penalty * f64::from(count)) as f32;
    }
}

/// Masks each token that followed, anywhere before, the last `n - 1` tokens.
fn no_repeat_ngram(row: &mut [f32], all: &[u32], n: usize) {
    if n == 0 || all.len() < n {
        return;
    }
    let last = &all[all.len() + 1 - n..];
    for window in all.windows(n).filter(|window| window[..n - 1] == *last) {
        if let Some(x) = row.get_mut(window[n - 1] as usize) {
            *x = f32::NEG_INFINITY;
        }
    }
}

fn bad_words(row: &mut [f32], all: &[u32], params: &Params) {
    for word in &params.bad_words_ids {
        let Some((end, beginning)) = word.split_last() else { continue };
        let spared = beginning.is_empty() && params.eos_token_id.contains(end);
        if !spared && all.ends_with(beginning) {
            row[*end as usize] = f32::NEG_INFINITY;
        }
    }
}

/// Places in the row, most likely first, the lower id first among equals.
fn descending(row: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    order
}

fn top_k(row: &mut [f32], params: &Params) {
    if params.top_k == 0 {
        return;
    }
    let k = params.top_k.max(params.min_tokens_to_keep).min(row.len());
    let least = row[descending(row)[k - 1]];
    mask(row, |_, x| x < least);
}

fn top_p(row: &mut [f32], params: &Params) {
    if params.top_p >= 1.0 {
        return;
    }
    let (weights, order) = (weights(row), descending(row));
    let total: f64 = weights.iter().sum();
    let (mut before, mut kept) = (0.0, 0);
    for id in &order {
        if kept >= params.min_tokens_to_keep && before >= params.top_p * total {
            break;
        }
        before += weights[*id];
        kept += 1;
    }
    order[kept..].iter().for_each(|id| row[*id] = f32::NEG_INFINITY);
}

fn min_p(row: &mut [f32], params: &Params) {
    if params.min_p == 0.0 {
        return;
    }
    // The weight of the most likely token is 1: weights are relative to the largest logit.
    let weights = weights(row);
    let kept: Vec<usize> = descending(row).into_iter().take(params.min_tokens_to_keep).collect();
    mask(row, |id, _| weights[id] < params.min_p && !kept.contains(&id));
}

/// Locally typical sampling (Meister et al. 2022, arXiv:2202.00666).
fn typical(row: &mut [f32], params: &Params) {
    if params.typical_p >= 1.0 {
        return;
    }
    let weights = weights(row);
    let total: f64 = weights.iter().sum();
    let largest = row.iter().fold(f32::NEG_INFINITY, |most, x| most.max(*x));
    // The surprise of a token is -log p; a masked one has no finite surprise, and adds nothing to the entropy.
    let surprise = |x: f32| f64::from(largest) - f64::from(x) + total.ln();
    let entropy: f64 = (0..row.len()).filter(|id| weights[*id] > 0.0).map(|id| weights[id] / total * surprise(row[id])).sum();
    let shifted: Vec<f64> = row.iter().map(|x| (surprise(*x) - entropy).abs()).collect();
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| shifted[a].total_cmp(&shifted[b]).then(a.cmp(&b)));
    let (mut sum, mut last) = (0.0, order.len() - 1);
    for (place, id) in order.iter().enumerate() {
        sum += weights[*id];
        if sum >= params.typical_p * total {
            last = place;
            break;
        }
    }
    let limit = shifted[order[last]];
    let kept = &order[..params.min_tokens_to_keep.min(order.len())];
    mask(row, |id, _| shifted[id] > limit && !kept.contains(&id));
}

/// Probabilities but for one factor: exponentials relative to the largest logit, which cannot overflow.
fn weights(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().fold(f32::NEG_INFINITY, |most, x| most.max(*x));
    row.iter().map(|x| if *x == f32::NEG_INFINITY { 0.0 } else { (f64::from(*x) - f64::from(largest)).exp() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: f32 = f32::NEG_INFINITY;

    fn processed(logits: &[f32], generated: &[u32], params: Params) -> Vec<f32> {
        process(logits, History { prompt: &[], generated }, &params).unwrap()
    }

    fn reason(logits: &[f32], params: Params) -> &'static str {
        process(logits, History::default(), &params).unwrap_err().reason()
    }

    #[test]
    fn the_default_changes_nothing() {
        let logits = [0.5, -0.0, f32::MAX, OUT, f32::MIN_POSITIVE];
        assert_eq!(processed(&logits, &[0, 0, 2], Params::default()).map_bits(), logits.to_vec().map_bits());
    }

    trait Bits {
        fn map_bits(&self) -> Vec<u32>;
    }

    impl Bits for Vec<f32> {
        fn map_bits(&self) -> Vec<u32> {
            self.iter().map(|x| x.to_bits()).collect()
        }
    }

    #[test]
    fn ids_past_the_vocabulary_have_no_logit() {
        let params = Params { repetition_penalty: 2.0, frequency_penalty: 1.0, no_repeat_ngram_size: 1, ..Params::default() };
        assert_eq!(processed(&[4.0, 4.0], &[7, 1, 9], params), [4.0, OUT]);
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        assert_eq!(reason(&[], Params::default()), "no-logits");
        assert_eq!(reason(&[0.0, f32::NAN], Params::default()), "nan-logit");
        assert_eq!(reason(&[0.0, f32::INFINITY], Params::default()), "infinite-logit");
        assert_eq!(reason(&[OUT, OUT], Params::default()), "nothing-left");
        assert_eq!(reason(&[1e30], Params { temperature: 1e-30, ..Params::default() }), "infinite-logit");
        for u in [-0.1, 1.0, f64::NAN] {
            assert_eq!(draw(&[0.0], u).unwrap_err().reason(), "parameter", "{u}");
        }
        assert_eq!(draw(&[OUT], 0.0).unwrap_err().reason(), "nothing-left");
    }

    #[test]
    fn parameters_out_of_range_are_refused_by_name() {
        let refused = |params: Params| process(&[0.0, 1.0], History::default(), &params).unwrap_err().to_string();
        let default = Params::default;
        assert!(refused(Params { temperature: 0.0, ..default() }).contains("`temperature` is 0"));
        assert!(refused(Params { temperature: f64::NAN, ..default() }).contains("`temperature`"));
        assert!(refused(Params { repetition_penalty: 0.0, ..default() }).contains("`repetition_penalty`"));
        assert!(refused(Params { presence_penalty: f64::INFINITY, ..default() }).contains("`presence_penalty`"));
        assert!(refused(Params { top_p: 1.5, ..default() }).contains("`top_p` is 1.5: a number from 0 to 1 is due"));
        assert!(refused(Params { min_p: -0.5, ..default() }).contains("`min_p`"));
        assert!(refused(Params { typical_p: 0.0, ..default() }).contains("`typical_p`"));
        assert!(refused(Params { min_tokens_to_keep: 0, ..default() }).contains("`min_tokens_to_keep`"));
        let refusal = refused(Params { bad_words_ids: vec![vec![0], vec![0, 2]], ..default() });
        assert_eq!(refusal, "`bad_words_ids[1]`: id 2, the vocabulary has 2");
    }

    #[test]
    fn one_token_is_always_drawn() {
        for u in [0.0, 0.5, 1.0 - f64::EPSILON / 2.0] {
            assert_eq!(draw(&[-3.0], u).unwrap(), 0);
            assert_eq!(draw(&[OUT, 1.0, OUT], u).unwrap(), 1);
        }
    }

    /// Steps one at a time, each by a call of its own, are the steps of one call.
    #[test]
    fn steps_compose() {
        let logits: Vec<f32> = (0..32u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as f32 / 32.0 - 4.0).collect();
        let (prompt, generated) = (&[3u32, 5, 3][..], &[9u32, 5, 9][..]);
        let history = History { prompt, generated };
        let default = Params::default;
        let steps = [
            Params { repetition_penalty: 1.5, ..default() },
            Params { presence_penalty: 0.5, frequency_penalty: 0.25, ..default() },
            Params { no_repeat_ngram_size: 2, ..default() },
            Params { bad_words_ids: vec![vec![5, 9, 1], vec![2]], ..default() },
            Params { min_length: 9, eos_token_id: vec![4], ..default() },
            Params { temperature: 0.75, ..default() },
            Params { top_k: 12, ..default() },
            Params { top_p: 0.9, ..default() },
            Params { min_p: 0.05, ..default() },
            Params { typical_p: 0.8, ..default() },
        ];
        let together = Params {
            repetition_penalty: 1.5,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            no_repeat_ngram_size: 2,
            bad_words_ids: vec![vec![5, 9, 1], vec![2]],
            min_length: 9,
            eos_token_id: vec![4],
            temperature: 0.75,
            top_k: 12,
            top_p: 0.9,
            min_p: 0.05,
            typical_p: 0.8,
            ..default()
        };
        let one_by_one = steps.iter().fold(logits.clone(), |row, step| process(&row, history, step).unwrap());
        let at_once = process(&logits, history, &together).unwrap();
        assert_eq!(at_once.map_bits(), one_by_one.map_bits());
        assert!(at_once.contains(&OUT) && at_once.iter().any(|x| *x > OUT));
    }
}
