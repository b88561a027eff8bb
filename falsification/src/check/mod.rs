//! The catalogue of checks: code that judges one claim on one case, from answers and golden alone.
//!
//! A check asks questions and returns a [`Verdict`]. It knows nothing of files, processes or test runners. No two checks share both an
//! observation and a bound: where two look at the same answer, they hold it to different things.
//!
//! Teacher-forced checks ask about prompt and greedy ids in one sequence. Positions of a one-token sequence prove nothing about RoPE,
//! masks or caches, which is why even the one-token prompt is judged together with its continuation.
//!
//! Nothing to compare is [`ErrorKind::NothingCompared`](crate::verdict::ErrorKind::NothingCompared), never a pass.

use std::sync::LazyLock;

use crate::arithmetic::Arithmetic;
use crate::form::Form;
use crate::golden::{ChatIndex, Dequantized, Index, LlamaCpp, ModelGolden, PerplexityGolden, PromptEntry, PromptGolden, StyleEntry};
use crate::observation::{Answers, Op, Peers};
use crate::tolerance::Bounds;
use crate::verdict::{Outcome, Verdict};

mod ask;
mod boundary;
mod causal;
mod chat;
mod container;
mod conversion;
mod counterpart;
mod cross;
mod distribution;
mod drift;
mod edge;
mod fault;
mod file;
mod greedy;
mod invariance;
mod inventory;
mod logits;
mod perplexity;
mod quantized;
mod sample;
mod service;
mod shape;
mod sketch;
mod stored;
mod text;
mod tokens;

#[cfg(test)]
mod bounded;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod tests;

/// What is known of a cell when its rows are listed: no file but indexes was opened.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The index of the model's golden.
    pub index: &'a Index,
    /// The column.
    pub form: &'a Form,
    /// The index of the dequantized golden of this column, where there is one.
    pub dequantized: Option<&'a Dequantized>,
    /// Whether there is a llama.cpp golden of this column.
    pub llama_cpp: bool,
    /// The index of the golden of chat templates, where there is one.
    pub chat: Option<&'a ChatIndex>,
    /// Whether GGUF has words for the model: what it cannot say, it refuses by the name of the field.
    pub sayable: bool,
    /// The name of the runtime.
    pub runtime: &'a str,
    /// What the runtime computes with in this column.
    pub arithmetic: Arithmetic,
}

impl Scope<'_> {
    /// Whether quantization may be expected to keep what this model does. A carried model that was not trained was rescaled so that it does
    /// not: what its columns lose is a finding, and no user's bound was ever meant for it. Its kernels are judged like all others, against
    /// the golden of the very values that each column holds.
    pub fn is_robust(&self) -> bool {
        self.form.lossless || self.index.trained_by_us || !self.index.carried
    }
}

/// What one trial of a check is about.
#[derive(Clone, Copy)]
pub enum Per {
    /// One trial for the cell.
    Cell(fn(&Scope) -> bool),
    /// One trial for each prompt that passes the filter: of the model's index where the column is lossless, else of the dequantized golden's.
    Prompt(fn(&Scope, &PromptEntry) -> bool),
    /// One trial for each prompt of the model's own index that passes the filter, whatever the column. [`Case::source`] is its golden.
    Source(fn(&Scope, &PromptEntry) -> bool),
    /// One trial for the cell, over all the prompts of the model's own index that pass the filter. [`Case::sources`] are their goldens.
    Sources(fn(&Scope, &PromptEntry) -> bool),
    /// One trial for each perplexity golden of the model's own index whose text (file name without extension) passes the filter.
    Perplexity(fn(&Scope, &str) -> bool),
    /// One trial for each chat template of the golden that passes the filter. [`Case::style`] is its place.
    Chat(fn(&Scope, &StyleEntry) -> bool),
}

/// In how much of the matrix a check is listed: what a column cannot change is asked once, where the model is as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breadth {
    /// In every cell, on everything it applies to.
    Everywhere,
    /// Where the model is as published, on everything it applies to; in any other cell on one prompt, the shortest.
    Short,
    /// Only where the model is as published.
    Published,
    /// In one cell of a runtime, the first that can be judged: no model takes part.
    Once,
}

/// What a check may look at besides the answers.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// The model's golden.
    pub model: &'a ModelGolden,
    /// The column.
    pub form: &'a Form,
    /// Other artifacts of the model.
    pub peers: &'a dyn Peers,
    /// The prompt's golden, for a check under [`Per::Prompt`]: of the values that the artifact holds.
    pub prompt: Option<&'a PromptGolden>,
    /// The prompt's golden of the model as published, for a check under [`Per::Source`]; also under [`Per::Prompt`], where there is one.
    pub source: Option<&'a PromptGolden>,
    /// The goldens of the model as published, for a check under [`Per::Sources`]; empty for any other.
    pub sources: &'a [&'a PromptGolden],
    /// The perplexity golden, for a check under [`Per::Perplexity`].
    pub perplexity: Option<&'a PerplexityGolden>,
    /// The place of the chat template in the golden of those, for a check under [`Per::Chat`].
    pub style: Option<usize>,
    /// The index of the dequantized golden of this column, where there is one.
    pub dequantized: Option<&'a Dequantized>,
    /// What llama.cpp answered for this column, where it was asked.
    pub llama_cpp: Option<&'a LlamaCpp>,
    /// The bounds, as they hold for the runtime in this column.
    pub tolerances: Bounds<'a>,
}

/// A verdict, or the verdict that ended the check early.
pub(crate) type Judged<T = Verdict> = Result<T, Box<Verdict>>;

/// One check of the catalogue.
#[derive(Clone, Copy)]
pub struct Check {
    /// The name by which people filter: `F-G4-logits`.
    pub id: &'static str,
    /// The claim of the register that it puts to the test: `F-G4`.
    pub claim: &'static str,
    /// What must hold.
    pub sentence: &'static str,
    /// What would refute it.
    pub refuted_by: &'static str,
    /// What one trial is about.
    pub per: Per,
    /// In which cells it is listed.
    pub breadth: Breadth,
    /// The ops that a runtime must declare for the check to be listed in any column. [`Check::needs_in`] is all that it asks in one.
    pub needs: &'static [Op],
    /// Keys of its bounds in `tolerances.toml`; none where it is exact.
    pub bounds: &'static [&'static str],
    /// The code.
    judge: fn(&Case, &dyn Answers) -> Judged,
}

impl Check {
    /// Judges one case.
    pub fn judge(&self, case: &Case, answers: &dyn Answers) -> Verdict {
        let mut verdict = match (self.judge)(case, answers) {
            Ok(verdict) => verdict.guarded(),
            Err(verdict) => verdict.guarded(),
        };
        if verdict.outcome == Outcome::Falsified {
            verdict = fault::told(case, answers, self.claim, verdict);
        }
        verdict.claim = self.sentence;
        verdict
    }

    /// Why it is not judged on a prompt that it applies to, or on the cell (`None`): what a right engine cannot hold there is no evidence.
    /// Such a row is listed with the reason, and counted.
    pub fn undecided(&self, scope: &Scope, prompt: Option<&PromptEntry>) -> Option<&'static str> {
        quantized::undecided(self.id, scope, prompt)
    }

    /// The ops that a runtime must declare for the check to be listed in this column: what it always asks, and what only the column makes it
    /// ask.
    pub fn needs_in(&self, form: &Form) -> Vec<Op> {
        [self.needs, file::needs_besides(self.id, form)].concat()
    }

    /// Whether it compares without a bound: equal or not.
    pub fn is_exact(&self) -> bool {
        self.bounds.is_empty()
    }

    /// Keys of the bounds that it holds a runtime of this arithmetic to. What is asked of an exact runtime bit for bit has a bound for any
    /// other, where the way to the answer is another: see `invariance`.
    pub fn bounds_in(&self, arithmetic: Arithmetic) -> Vec<&'static str> {
        let within = if arithmetic == Arithmetic::Exact { &[] } else { invariance::within(self.id) };
        [self.bounds, within].concat()
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("id", &self.id).field("claim", &self.claim).finish_non_exhaustive()
    }
}

/// Every check, in the order in which a newcomer reads them: file, configuration, tokens, numbers, text, invariances, edges.
pub fn all() -> &'static [Check] {
    static CATALOGUE: LazyLock<Vec<Check>> = LazyLock::new(|| {
        [
            container::CHECKS,
            inventory::CHECKS,
            file::CHECKS,
            drift::CHECKS,
            conversion::CHECKS,
            tokens::CHECKS,
            chat::CHECKS,
            counterpart::CHECKS,
            shape::CHECKS,
            logits::CHECKS,
            distribution::CHECKS,
            sketch::CHECKS,
            greedy::CHECKS,
            text::CHECKS,
            quantized::CHECKS,
            cross::CHECKS,
            perplexity::CHECKS,
            invariance::CHECKS,
            causal::CHECKS,
            edge::CHECKS,
            boundary::CHECKS,
            sample::CHECKS,
            service::CHECKS,
        ]
        .concat()
    });
    &CATALOGUE
}

/// The check with this id.
pub fn find(id: &str) -> Option<&'static Check> {
    all().iter().find(|check| check.id == id)
}
