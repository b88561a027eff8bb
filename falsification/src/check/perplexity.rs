//! PPL and LEARNED: how well the model predicts a text, and whether it learned more than its training text.

use sha2::{Digest, Sha256};

use super::logits::row;
use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::PerplexityGolden;
use crate::metric::{logsumexp, widen};
use crate::observation::{Answers, Op, Question};
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
