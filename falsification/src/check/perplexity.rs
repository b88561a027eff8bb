//! PPL and LEARNED: how well the model predicts a text, and whether it learned more than its training text.

use sha2::{Digest, Sha256};

use super::logits::row;
use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::PerplexityGolden;
use crate::metric::{logsumexp, widen};
use crate::observation::{Answers, Op, Peer, Question};
use crate::verdict::{Measure, Owner, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "PPL",
        claim: "PPL",
        sentence: "the summed negative log-likelihood of the text is the oracle's, up to rounding",
        refuted_by: "a relative difference above the bound, or another number of predicted tokens",
        per: Per::Perplexity(|scope, text| scope.form.primary || scope.form.lossless && text == UNSURE),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tokenize, Op::Logits],
        bounds: &["ppl"],
        judge: perplexity,
    },
    Check {
        id: "LEARNED",
        claim: "LEARNED",
        sentence: "a model that was trained for this suite predicts a text it never saw nearly as well as one like its training text",
        refuted_by: "a loss on the held-out text above the bound, which is relative to the loss on the training text",
        per: Per::Cell(|scope| scope.index.trained_by_us),
        breadth: Breadth::Published,
        needs: &[Op::Tokenize, Op::Logits],
        bounds: &["learned"],
        judge: learned,
    },
    Check {
        id: "PPL-quantized",
        claim: "PPL",
        sentence: "on a text of which the model is not sure, the mean loss is that of the model as published, up to what the recipe costs",
        refuted_by: "a relative difference above the bound of the recipe, or another number of predicted tokens",
        per: Per::Perplexity(|scope, text| scope.form.is_lossy() && scope.is_robust() && text == UNSURE),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tokenize, Op::Logits],
        bounds: PPL_KEYS,
        judge: quantized,
    },
    Check {
        id: "PPL-DRIFT",
        claim: "PPL-DRIFT",
        sentence: "int4 has a perplexity less than 0.5 above that of int8 in the same format on a text that the model knows (perplexity at most 5), and a logarithm of it within its floor on one that it is not sure of",
        refuted_by: "a larger difference in perplexity, or in its logarithm",
        per: Per::Perplexity(|scope, text| {
            let int4 = ["q4_0", "q4_1", "q4_k_s", "q4_k_m", "q4", "q4_k"].contains(&scope.form.quantization.as_str());
            int4 && text == UNSURE && !scope.form.given && scope.is_robust()
        }),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tokenize, Op::Logits],
        bounds: &["ppl-drift", "ppl-drift.log", "ppl-drift.log.apr"],
        judge: ladder,
    },
];

/// Bounds of the mean loss by recipe, relative to it.
const PPL_KEYS: &[&str] = &[
    "ppl.bf16",
    "ppl.f16",
    "ppl.iq4_nl",
    "ppl.iq4_xs",
    "ppl.q2_k",
    "ppl.q3_k_m",
    "ppl.q4",
    "ppl.q4_0",
    "ppl.q4_1",
    "ppl.q4_k",
    "ppl.q4_k_m",
    "ppl.q4_k_s",
    "ppl.q5_0",
    "ppl.q5_1",
    "ppl.q5_k_m",
    "ppl.q6_k",
    "ppl.q8",
    "ppl.q8_0",
];

/// What the texts that LEARNED compares are called, before the extension.
const TRAINING: &str = "training";
const HELD_OUT: &str = "held-out";

/// The text on which no model of the roster is sure: what is read in every column.
pub(super) const UNSURE: &str = "unsure";

/// Sum over the predicted tokens, in nats, and how many there are.
struct Loss {
    sum: f64,
    tokens: usize,
}

impl Loss {
    fn mean(&self) -> f64 {
        self.sum / self.tokens as f64
    }
}

/// The ids of the golden's text, special tokens added, as many as the oracle took, after its hash of them was held against the runtime's.
fn text_ids(case: &Case, answers: &dyn Answers, golden: &PerplexityGolden) -> Judged<Vec<u32>> {
    let name = &golden.text.name;
    let text = case.model.texts.get(name).ok_or_else(|| ask::missing(&format!("the text `{name}`"), "it was not read"))?;
    let ids = ask::tokenize(answers, text, true)?;
    let ids = &ids[..ids.len().min(golden.tokens.saturating_add(1))];
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest != golden.ids_sha256 {
        let expected = format!("the oracle's ids of `{name}`, sha256 {}", golden.ids_sha256);
        let observed = format!("{} ids, sha256 {digest}: {}", ids.len(), ask::list(ids));
        return Err(Verdict::falsified(expected, observed).owned_by(Owner::Tokenizer).into());
    }
    Ok(ids.to_vec())
}

/// Moves a window over the ids. Each id but the first is predicted once, from what stands before it in the window that first holds it.
fn loss(case: &Case, answers: &dyn Answers, golden: &PerplexityGolden) -> Judged<Loss> {
    let ids = text_ids(case, answers, golden)?;
    let (window, stride) = (golden.window, golden.stride);
    if stride == 0 || window < 2 || stride > window {
        return Err(ask::missing("a window of two or more and a stride within it", &format!("window {window}, stride {stride}")));
    }
    let mut loss = Loss { sum: 0.0, tokens: 0 };
    let mut next = 1;
    for begin in (0..ids.len()).step_by(stride) {
        let end = ids.len().min(begin + window);
        let piece = &ids[begin..end];
        let logits = ask::logits(case, answers, &Question::logits(piece), piece.len())?;
        let first = if next > begin { next - begin } else { 1 };
        for (i, &id) in piece.iter().enumerate().skip(first) {
            let values = widen(row(&logits, i - 1)?);
            let value = values.get(id as usize);
            let value = value.ok_or_else(|| ask::missing("ids within the vocabulary", &format!("id {id}")))?;
            loss.sum += logsumexp(&values)? - value;
            loss.tokens += 1;
        }
        next = end;
        if end == ids.len() {
            break;
        }
    }
    Ok(loss)
}

/// The first window of a text.
struct Window<'a>(&'a PerplexityGolden);

impl Window<'_> {
    fn loss(&self, case: &Case, answers: &dyn Answers) -> Judged<Loss> {
        let mut ids = text_ids(case, answers, self.0)?;
        ids.truncate(self.0.window);
        let logits = ask::logits(case, answers, &Question::logits(&ids), ids.len())?;
        let mut loss = Loss { sum: 0.0, tokens: 0 };
        for (i, &id) in ids.iter().enumerate().skip(1) {
            let values = widen(row(&logits, i - 1)?);
            let value = values.get(id as usize).ok_or_else(|| ask::missing("ids within the vocabulary", &format!("id {id}")))?;
            loss.sum += logsumexp(&values)? - value;
            loss.tokens += 1;
        }
        Ok(loss)
    }
}

fn perplexity(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = case.perplexity.ok_or_else(|| ask::missing("a perplexity golden", "this trial has none"))?;
    let loss = loss(case, answers, golden)?;
    let due = golden.sum_nll.get();
    let bound = case.tolerances.limit("ppl", golden.floor.get())?;
    let expected = format!("{} tokens with {due:.6} nats in all, within {bound:.3e} of it", golden.tokens);
    if loss.tokens != golden.tokens {
        return Ok(Verdict::falsified(expected, format!("{} tokens predicted", loss.tokens)).owned_by(Owner::Tokenizer));
    }
    let difference = (loss.sum - due).abs() / due.abs();
    let measures = vec![
        Measure::gated("relative difference of the summed NLL", difference, bound, ""),
        Measure::printed("perplexity", loss.mean().exp(), ""),
    ];
    let observed = format!("{:.6} nats, a relative difference of {difference:.3e}; perplexity {:.4}", loss.sum, loss.mean().exp());
    Ok(Verdict::measured(loss.tokens, measures, expected, observed).owned_by(Owner::Kernel))
}

fn quantized(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = case.perplexity.ok_or_else(|| ask::missing("a perplexity golden", "this trial has none"))?;
    let loss = loss(case, answers, golden)?;
    let due = golden.sum_nll.get() / golden.tokens as f64;
    let bound = case.tolerances.limit(&format!("ppl.{}", case.form.quantization), f64::NAN)?;
    let expected = format!("{} tokens with {due:.4} nats each in the mean, within {bound:.3e} of it", golden.tokens);
    if loss.tokens != golden.tokens {
        return Ok(Verdict::falsified(expected, format!("{} tokens predicted", loss.tokens)).owned_by(Owner::Tokenizer));
    }
    let difference = (loss.mean() - due).abs() / due.abs();
    let measures = vec![
        Measure::gated("relative difference of the mean loss", difference, bound, ""),
        Measure::printed("perplexity", loss.mean().exp(), ""),
    ];
    let observed = format!(
        "{:.4} nats, a relative difference of {difference:.3e}; perplexity {:.3}, as published {:.3}",
        loss.mean(),
        loss.mean().exp(),
        due.exp()
    );
    Ok(Verdict::measured(loss.tokens, measures, expected, observed).owned_by(Owner::File))
}

fn ladder(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = case.perplexity.ok_or_else(|| ask::missing("a perplexity golden", "this trial has none"))?;
    /// The perplexity up to which a model knows a text. The users' bound is a difference of perplexities, which grows with them.
    const KNOWN: f64 = 5.0;
    let format = case.form.format.clone();
    let key = if format == "apr" { "ppl-drift.log.apr" } else { "ppl-drift.log" };
    let (absolute, relative) = (case.tolerances.limit("ppl-drift", f64::NAN)?, case.tolerances.limit(key, f64::NAN)?);
    let peer = Peer::Column { quantization: if format == "apr" { "q8" } else { "q8_0" }.to_owned(), format };
    let other = ask::peer(case, &peer)?;
    let (int4, int8) = (loss(case, answers, golden)?, loss(case, other.as_ref(), golden)?);
    let held_out = text(case, HELD_OUT)?;
    let published = (held_out.sum_nll.get() / held_out.tokens as f64).exp();
    let known = Window(held_out);
    let more = known.loss(case, answers)?.mean().exp() - known.loss(case, other.as_ref())?.mean().exp();
    let log = (int4.mean() - int8.mean()).abs();
    let name = "perplexity of int4 less that of int8";
    let measures = vec![
        if published > KNOWN { Measure::printed(name, more, "") } else { Measure::gated(name, more, absolute, "") },
        Measure::gated("difference of their logarithms", log, relative, "nats"),
    ];
    let expected = format!("a perplexity less than {absolute} above that of {peer}, and within {relative:.4} nats of it");
    let observed = format!("{more:+.4}; on the other text {:.4} and {:.4}, {log:.4} nats apart", int4.mean().exp(), int8.mean().exp());
    Ok(Verdict::measured(int4.tokens.min(int8.tokens), measures, expected, observed).owned_by(Owner::File))
}

/// The perplexity golden of the text with this name, with or without an extension.
fn text<'a>(case: &Case<'a>, stem: &str) -> Judged<&'a PerplexityGolden> {
    let named = |golden: &&PerplexityGolden| golden.text.name.split('.').next() == Some(stem);
    case.model.perplexity.iter().find(named).ok_or_else(|| ask::missing(&format!("a perplexity golden of the text `{stem}`"), "none"))
}

fn learned(case: &Case, answers: &dyn Answers) -> Judged {
    let training = loss(case, answers, text(case, TRAINING)?)?;
    let held_out = loss(case, answers, text(case, HELD_OUT)?)?;
    let (own, other) = (training.mean(), held_out.mean());
    let bound = case.tolerances.limit("learned", own)?;
    let measures =
        vec![Measure::gated("loss on the held-out text", other, bound, "nats"), Measure::printed("loss on the training text", own, "nats")];
    let expected = format!("held-out loss at most {bound:.4} nats a token, the training text has {own:.4}");
    let observed = format!("held-out loss {other:.4} nats a token, {:.3} x", other / own);
    let compared = training.tokens.min(held_out.tokens);
    Ok(Verdict::measured(compared, measures, expected, observed).owned_by(Owner::File))
}
