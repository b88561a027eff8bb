//! Rules by which other tools decide that two answers are the same, as pure functions.
//!
//! They are no part of any verdict. The power table tries them on the same defects and on the same correct implementations as the checks
//! of this suite, and says what each lets through and what it falsely accuses. Each does what its tool does, blind spots included: a rule
//! that cuts the longer list or passes NaN there does so here.

use crate::form::Class;
use crate::metric::{argmax, widen};

/// One rule, as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: &'static str,
    /// Who decides so.
    pub tool: &'static str,
    /// What passes.
    pub passes: &'static str,
}

const fn rule(id: &'static str, tool: &'static str, passes: &'static str) -> Rule {
    Rule { id, tool, passes }
}

/// The normalised squared error of the last position, [`nmse`].
pub const NMSE: Rule = rule("nmse", "llama.cpp, model-conversion/check-nmse.py", "NMSE of the logits after the prompt < 1e-2");
/// The angle between the logits of the last position, [`cosine`].
pub const COSINE: Rule =
    rule("cosine", "llama.cpp, model-conversion/semantic_check.py", "cosine of the vectors > 0.70 (here: logits after the prompt)");
/// Each token among the other's best, [`top_k`].
pub const TOP_K: Rule = rule("top-k", "vLLM, check_logprobs_close", "at the first mismatch each token is among the other's 5 best");
/// Element by element, [`allclose`].
pub const ALLCLOSE: Rule =
    rule("allclose", "optimum, validate_model_outputs", "numpy.allclose at atol 1e-3 (rtol 1e-5), all logits of the prompt");
/// Tokens by their place, [`positional`].
pub const POSITIONAL: Rule = rule("positional", "tiny-model-ground-truth", "at most 3 of 32 greedy tokens differ (4 to 6 bits: 5)");
/// Weights as if they were probabilities, [`abs_kl`].
pub const ABS_KL: Rule =
    rule("abs-kl", "download-convert-test, 6.3", "KL of |w| / sum |w| of each tensor <= 1e-7 (f16 1e-5, 8 bits 1e-3, fewer 1e-2)");
/// A ceiling on perplexity, [`perplexity`].
pub const PERPLEXITY: Rule = rule("perplexity", "GPTQ and AWQ practice", "perplexity of a text at most 2 % above the reference's");

/// Every rule.
pub const RULES: [Rule; 7] = [NMSE, COSINE, TOP_K, ALLCLOSE, POSITIONAL, ABS_KL, PERPLEXITY];

/// Most that the mean squared error may be of the variance of the reference.
const MAX_NMSE: f64 = 1e-2;
/// Least cosine.
const MIN_COSINE: f64 = 0.70;
/// Tokens that count as near.
pub const NEAR: usize = 5;
/// Absolute tolerance.
const ATOL: f64 = 1e-3;
/// The relative one that numpy adds unasked.
const RTOL: f64 = 1e-5;
/// Tokens that are compared by place.
pub const TOKENS: usize = 32;
/// Perplexity over the reference's.
const CEILING: f64 = 1.02;

/// Pairs up to the end of the shorter side.
fn pairs(reference: &[f32], observed: &[f32]) -> impl Iterator<Item = (f64, f64)> {
    let both = reference.len().min(observed.len());
    let (reference, observed) = (widen(&reference[..both]), widen(&observed[..both]));
    (0..both).map(move |i| (reference[i], observed[i]))
}

/// Whether `mean((y - x)^2) / variance(x)` is below 1e-2. Other shapes fail, and so does NaN.
pub fn nmse(reference: &[f32], observed: &[f32]) -> bool {
    if reference.len() != observed.len() || reference.is_empty() {
        return false;
    }
    let n = reference.len() as f64;
    let mean = pairs(reference, reference).map(|(x, _)| x).sum::<f64>() / n;
    let variance = pairs(reference, reference).map(|(x, _)| (x - mean) * (x - mean)).sum::<f64>() / n;
    let error = pairs(reference, observed).map(|(x, y)| (y - x) * (y - x)).sum::<f64>() / n;
    error / variance < MAX_NMSE
}

/// Whether the cosine is above 0.70. Other shapes fail, and so does NaN.
pub fn cosine(reference: &[f32], observed: &[f32]) -> bool {
    if reference.len() != observed.len() {
        return false;
    }
    let (mut dot, mut x2, mut y2) = (0.0, 0.0, 0.0);
    for (x, y) in pairs(reference, observed) {
        dot += x * y;
        x2 += x * x;
        y2 += y * y;
    }
    dot / (x2 * y2).sqrt() > MIN_COSINE
}

/// Whether the ids agree up to the end of the shorter text, or each of the first two that differ is among the other's best. What comes
/// after the first mismatch is not looked at, and how probable anything is, never. `best` answers with the [`NEAR`] best ids of the
/// reference and of the observed side at a step.
pub fn top_k(reference: &[u32], observed: &[u32], best: impl FnOnce(usize) -> Option<[Vec<u32>; 2]>) -> bool {
    let both = reference.len().min(observed.len());
    match (0..both).find(|step| reference[*step] != observed[*step]) {
        None => true,
        Some(step) => best(step).is_some_and(|[golden, other]| golden.contains(&observed[step]) && other.contains(&reference[step])),
    }
}

/// The ids of the [`NEAR`] largest values, the first one on a tie. None where a value is not a number.
pub fn best(row: &[f32]) -> Option<Vec<u32>> {
    argmax(&widen(row)).ok()?;
    let mut ids: Vec<u32> = (0..u32::try_from(row.len()).ok()?).collect();
    ids.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
    ids.truncate(NEAR);
    Some(ids)
}

/// Whether every `|y - x| <= 1e-3 + 1e-5 |x|`. Other shapes fail, and so does NaN.
pub fn allclose(reference: &[f32], observed: &[f32]) -> bool {
    reference.len() == observed.len() && pairs(reference, observed).all(|(x, y)| (y - x).abs() <= ATOL + RTOL * x.abs())
}

/// Whether at most 3 of the first 32 tokens (5 for recipes of fewer than eight bits) differ, place by place. A token that one side lacks
/// differs.
pub fn positional(reference: &[u32], observed: &[u32], class: Class) -> bool {
    let most = if matches!(class, Class::Int4 | Class::Low) { 5 } else { 3 };
    let different = (0..TOKENS).filter(|i| reference.get(*i) != observed.get(*i)).count();
    different <= most
}

/// Whether the weights of a tensor diverge little from its source's, each made a distribution by its absolute values. NaN passes: the rule
/// asks whether the number is too large.
pub fn abs_kl(source: &[f32], converted: &[f32], quantization: &str) -> bool {
    let epsilon = match quantization {
        "f32" => 1e-7,
        "f16" | "bf16" => 1e-5,
        "q8_0" | "q8" => 1e-3,
        _ => 1e-2,
    };
    let sum = |values: &[f32]| values.iter().map(|x| f64::from(x.abs())).sum::<f64>();
    let (p_sum, q_sum) = (sum(source), sum(converted));
    let divergence: f64 = pairs(source, converted)
        .map(|(p, q)| {
            let (p, q) = (p.abs() / p_sum + 1e-10, q.abs() / q_sum + 1e-10);
            p * (p / q).ln()
        })
        .sum();
    !(divergence > epsilon)
}

/// Whether the perplexity is at most 2 % above the reference's; both are mean negative log-likelihoods in nats. NaN fails.
pub fn perplexity(reference: f64, observed: f64) -> bool {
    observed.exp() <= CEILING * reference.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [f32; 6] = [1.0, -2.0, 3.0, 0.5, 7.0, -1.0];

    fn scaled(factor: f32) -> Vec<f32> {
        ROW.iter().map(|x| x * factor).collect()
    }

    #[test]
    fn each_rule_passes_what_is_equal() {
        assert!(nmse(&ROW, &ROW) && cosine(&ROW, &ROW) && allclose(&ROW, &ROW) && abs_kl(&ROW, &ROW, "f32"));
        assert!(top_k(&[1, 2], &[1, 2], |_| None) && positional(&[1, 2], &[1, 2], Class::Exact) && perplexity(1.0, 1.0));
    }

    #[test]
    fn each_rule_fails_on_what_it_is_for() {
        assert!(!nmse(&ROW, &scaled(1.2)) && !nmse(&ROW, &ROW[..5]) && !nmse(&[], &[]));
        assert!(!cosine(&ROW, &scaled(-1.0)) && !cosine(&ROW, &ROW[..5]));
        assert!(!allclose(&ROW, &scaled(1.001)) && !allclose(&ROW, &ROW[..5]));
        assert!(!abs_kl(&ROW, &[7.0, 1.0, 1.0, 1.0, 1.0, 9.0], "q4_0"));
        assert!(!top_k(&[1, 2], &[1, 3], |_| Some([vec![2], vec![2, 3]])));
        assert!(!top_k(&[1, 2], &[1, 3], |_| None));
        let text: Vec<u32> = (0..32).collect();
        let differs = |n: u32| text.iter().map(|id| if *id < n { id + 100 } else { *id }).collect::<Vec<u32>>();
        assert!(positional(&text, &differs(3), Class::Exact) && !positional(&text, &differs(4), Class::Int8));
        assert!(positional(&text, &differs(5), Class::Int4) && !positional(&text, &differs(6), Class::Low));
        assert!(!positional(&text, &text[..28], Class::Exact));
        assert!(perplexity(1.0, 1.0 + 0.019) && !perplexity(1.0, 1.0 + 0.021));
    }

    /// One and the same error, a little within and a little past each limit, about a mean that is not zero and at a size that is not one.
    #[test]
    fn each_limit_is_where_its_tool_has_it() {
        let row = [10.0, 20.0, 30.0, 40.0];
        let moved = |by: f32| row.map(|x| x + by);
        assert!(nmse(&row, &moved(1.11)) && !nmse(&row, &moved(1.13)), "a variance of 125");
        assert!(cosine(&[10.0, 0.0], &[71.0, 70.0]) && !cosine(&[10.0, 0.0], &[69.0, 72.0]), "0.712 and 0.692");
        assert!(!cosine(&[10.0, 0.0], &[1.0, 100.0]), "large numbers");
        assert!(allclose(&row, &moved(0.00105)) && !allclose(&[0.0; 4], &[0.00101; 4]));
    }

    /// A divergence of 4e-6, 1.6e-4 and 2.5e-3: each is within the limit of wider types alone.
    #[test]
    fn the_divergence_of_weights_has_a_limit_for_each_width() {
        let within = |by: f32| ["f32", "f16", "bf16", "q8_0", "q8", "q4_0"].map(|name| abs_kl(&[1.0, 1.0], &[1.0 + by, 1.0 - by], name));
        assert_eq!(within(0.0028), [false, true, true, true, true, true]);
        assert_eq!(within(0.018), [false, false, false, true, true, true]);
        assert_eq!(within(0.07), [false, false, false, false, false, true]);
        assert_eq!(within(0.3), [false; 6]);
    }

    #[test]
    fn each_rule_is_blind_where_its_tool_is() {
        assert!(nmse(&ROW, &scaled(1.05)), "five per cent of scale");
        assert!(cosine(&ROW, &scaled(1000.0)), "any scale");
        assert!(abs_kl(&ROW, &scaled(-1000.0), "f32"), "any scale, and the sign");
        assert!(abs_kl(&ROW, &[f32::NAN; 6], "f32"), "NaN is not above anything");
        assert!(top_k(&[1, 2, 3], &[1], |_| None) && top_k(&[1, 2, 3], &[], |_| None), "a text that ends early");
        assert!(top_k(&[1, 2, 9, 9], &[1, 3, 8, 8], |_| Some([vec![2, 3], vec![3, 2]])), "everything after the first mismatch");
        assert!(allclose(&[1e-4; 3], &[-8e-4; 3]), "small numbers");
    }

    #[test]
    fn nan_fails_where_a_small_number_is_asked_for() {
        let nan = [f32::NAN; 6];
        assert!(!nmse(&ROW, &nan) && !cosine(&ROW, &nan) && !allclose(&ROW, &nan) && !perplexity(1.0, f64::NAN));
        assert_eq!(best(&nan), None);
        assert_eq!(best(&ROW), Some(vec![4, 2, 0, 3, 5]));
    }
}
