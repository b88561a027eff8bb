//! What follows from other fields is derived again.
//!
//! Hashes say that a file is the one that was committed; they do not say that it is right. A golden that contradicts itself, written by a
//! wrong oracle or by hand, is refused here with the field and the numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Full, GoldenError, Hex32, Index, KNIFE_MARGIN, MarginClass, ModelGolden, Oracle, PerplexityGolden, PromptEntry, PromptGolden,
    TIE_MARGIN, TOP_K, TOP_POSITIONS, TokenizerGolden, WIDE_MARGIN,
};
use crate::metric::{logsumexp, relative_rms, rms, widen};
use crate::observation::Stop;

/// Fewest different texts in a tokenizer golden.
pub const MIN_TEXTS: usize = 200;

/// An oracle whose float32 run is further from its float64 run than this is none.
pub const MAX_FLOOR: f64 = 1e-4;

/// Room for the rounding of a float32 that was computed in float64, relative to its size or to one, whichever is larger.
const ROUNDING: f64 = 1e-6;

/// The file that is being linted.
struct Lint<'a> {
    file: &'a str,
}

type Linted = Result<(), GoldenError>;

impl Lint<'_> {
    fn wrong(&self, field: impl Into<String>, reason: impl Into<String>) -> GoldenError {
        GoldenError::Field { file: self.file.to_owned(), field: field.into(), reason: reason.into() }
    }

    /// Holds that `found` is `due`, which `source` says.
    fn equal<T: PartialEq + std::fmt::Debug>(&self, field: &str, found: &T, due: &T, source: &str) -> Linted {
        if found == due {
            return Ok(());
        }
        Err(self.wrong(field, format!("is {found:?}, {source} {due:?}")))
    }

    /// Holds that `found` is `due` up to the rounding of a float32.
    fn close(&self, field: impl Into<String>, found: f64, due: f64, source: &str) -> Linted {
        let size = if due.abs() > 1.0 { due.abs() } else { 1.0 };
        if (found - due).abs() <= ROUNDING * size {
            return Ok(());
        }
        Err(self.wrong(field, format!("is {found}, {source} {due}")))
    }

    fn not_empty<T>(&self, field: &str, values: &[T]) -> Linted {
        if values.is_empty() { Err(self.wrong(field, "is empty: there is nothing to compare")) } else { Ok(()) }
    }

    fn unique<'n>(&self, field: &str, names: impl IntoIterator<Item = &'n str>) -> Linted {
        let mut seen = BTreeSet::new();
        for name in names {
            if name.is_empty() {
                return Err(self.wrong(field, "holds an empty name"));
            }
            if !seen.insert(name) {
                return Err(self.wrong(field, format!("holds `{}` twice", name.escape_debug())));
            }
        }
        Ok(())
    }

    fn sha256(&self, field: &str, text: &str) -> Linted {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(());
        }
        Err(self.wrong(field, format!("is `{}`, must be 64 lowercase hex digits", text.escape_debug())))
    }

    fn ids(&self, field: &str, ids: &[u32], vocab: usize) -> Linted {
        match ids.iter().position(|&id| id as usize >= vocab) {
            Some(at) => Err(self.wrong(format!("{field}[{at}]"), format!("is id {}, the vocabulary has {vocab}", ids[at]))),
            None => Ok(()),
        }
    }

    fn finite(&self, field: &str, values: &[Hex32]) -> Linted {
        match values.iter().position(|value| !value.0.is_finite()) {
            Some(at) => Err(self.wrong(format!("{field}[{at}]"), format!("is {}, the oracle writes finite numbers only", values[at].0))),
            None => Ok(()),
        }
    }

    fn length(&self, field: &str, found: usize, due: usize, source: &str) -> Linted {
        if found == due { Ok(()) } else { Err(self.wrong(field, format!("has {found} entries, {source} {due}"))) }
    }

    fn floor(&self, field: &str, floor: Hex32) -> Linted {
        if floor.get() > 0.0 && floor.get() < MAX_FLOOR {
            return Ok(());
        }
        Err(self.wrong(field, format!("is {}, must be above 0 and below {MAX_FLOOR}", floor.0)))
    }

    fn oracle(&self, oracle: &Oracle) -> Linted {
        self.equal("oracle.dtype", &oracle.dtype.as_str(), &"float32", "the reference computes in")?;
        self.equal("oracle.attention", &oracle.attention.as_str(), &"eager", "the reference attends by")?;
        self.equal("oracle.threads", &oracle.threads, &1, "the reference runs on")?;
        self.sha256("oracle.generator", &oracle.generator)?;
        if oracle.versions.is_empty() {
            return Err(self.wrong("oracle.versions", "is empty"));
        }
        Ok(())
    }

    /// A file that belongs to `index`.
    fn belongs(&self, model: &str, oracle: &Oracle, index: &Index) -> Linted {
        self.equal("model", &model, &index.model.as_str(), "the index is that of")?;
        self.equal("oracle", oracle, &index.oracle, "the index was written by")
    }
}

impl Index {
    /// Lints the index by itself.
    ///
    /// # Errors
    ///
    /// [`GoldenError::Field`] naming the first field that contradicts another, repeats a name, or is empty.
    pub fn lint(&self, file: &str) -> Result<(), GoldenError> {
        let lint = Lint { file };
        lint.oracle(&self.oracle)?;
        lint.not_empty("tensors", &self.tensors)?;
        lint.not_empty("model_files", &self.model_files)?;
        lint.not_empty("golden_files", &self.golden_files)?;
        lint.not_empty("prompts", &self.prompts)?;
        lint.unique("tensors", self.tensors.iter().map(|entry| entry.name.as_str()))?;
        lint.unique("model_files", self.model_files.iter().map(|entry| entry.name.as_str()))?;
        lint.unique("golden_files", self.golden_files.iter().map(|entry| entry.name.as_str()))?;
        lint.unique("perplexity", self.perplexity.iter().map(String::as_str))?;
        let asked = self.prompts.iter().map(|entry| entry.name.as_str());
        lint.unique("prompts", asked.chain(self.not_asked.iter().map(|entry| entry.name.as_str())))?;
        for entry in self.model_files.iter().chain(&self.golden_files) {
            lint.sha256(&format!("sha256 of `{}`", entry.name.escape_debug()), &entry.sha256)?;
        }
        self.lint_sizes(&lint)?;
        self.lint_tensors(&lint)?;
        self.prompts.iter().enumerate().try_for_each(|(i, entry)| self.lint_prompt(&lint, i, entry))
    }

    fn lint_sizes(&self, lint: &Lint) -> Linted {
        let config = &self.config;
        let sizes = [
            ("n_layers", config.n_layers),
            ("n_heads", config.n_heads),
            ("n_kv_heads", config.n_kv_heads),
            ("head_dim", config.head_dim),
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("vocab_size", config.vocab_size),
            ("n_ctx", config.n_ctx),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(lint.wrong(format!("config.{name}"), "is 0"));
        }
        if !config.n_heads.is_multiple_of(config.n_kv_heads) {
            let reason = format!("is {}, which does not divide {} heads", config.n_kv_heads, config.n_heads);
            return Err(lint.wrong("config.n_kv_heads", reason));
        }
        lint.ids("config.eos", &config.eos, config.vocab_size)?;
        lint.ids("config.bos", config.bos.as_slice(), config.vocab_size)
    }

    fn lint_tensors(&self, lint: &Lint) -> Linted {
        let mut by_dtype: BTreeMap<&str, u64> = BTreeMap::new();
        let mut parameters = 0u64;
        for entry in &self.tensors {
            let too_many = || {
                lint.wrong("tensors", format!("`{}` has shape {:?}, too many elements to count", entry.name.escape_debug(), entry.shape))
            };
            let elements = entry.elements().ok_or_else(too_many)?;
            let sum = by_dtype.entry(&entry.dtype).or_default();
            *sum = sum.checked_add(elements).ok_or_else(too_many)?;
            if entry.is_parameter(self.config.tie_word_embeddings) {
                parameters = parameters.checked_add(elements).ok_or_else(too_many)?;
            }
        }
        lint.equal("parameters", &self.parameters, &parameters, "the shapes of `tensors` say")?;
        let most = by_dtype.values().max().copied();
        let dtype = by_dtype.iter().find(|(_, sum)| Some(**sum) == most).map_or("", |(name, _)| name);
        lint.equal("dtype", &self.dtype.as_str(), &dtype, "most elements of `tensors` are")
    }

    fn lint_prompt(&self, lint: &Lint, i: usize, entry: &PromptEntry) -> Linted {
        let field = |name: &str| format!("prompts[{i}].{name}");
        if entry.n_prompt == 0 {
            return Err(lint.wrong(field("n_prompt"), "is 0"));
        }
        if entry.n_greedy == 0 {
            return Err(lint.wrong(field("n_greedy"), "is 0: there is nothing to compare"));
        }
        if entry.n_prompt.saturating_add(entry.n_greedy) > self.config.n_ctx {
            let reason = format!("is {} after {} prompt tokens, the context holds {}", entry.n_greedy, entry.n_prompt, self.config.n_ctx);
            return Err(lint.wrong(field("n_greedy"), reason));
        }
        Ok(())
    }
}

impl PromptGolden {
    /// Lints a prompt golden against its entry in the index, and its full golden against both.
    ///
    /// # Errors
    ///
    /// [`GoldenError::Field`] naming the first field that contradicts another or the index.
    pub fn lint(&self, entry: &PromptEntry, index: &Index, file: &str) -> Result<(), GoldenError> {
        let lint = Lint { file };
        lint.belongs(&self.model, &self.oracle, index)?;
        lint.equal("prompt.name", &self.prompt.name, &entry.name, "the index says")?;
        lint.equal("prompt.category", &self.prompt.category, &entry.category, "the index says")?;
        lint.equal("greedy.stop", &self.greedy.stop, &entry.stop, "the index says")?;
        lint.equal("greedy.margin_class", &self.greedy.margin_class, &entry.margin_class, "the index says")?;
        let (prompt, new) = (self.prompt.ids.len(), self.greedy.ids.len());
        lint.length("prompt.ids", prompt, entry.n_prompt, "the index says")?;
        lint.length("greedy.ids", new, entry.n_greedy, "the index says")?;
        lint.length("greedy.margins", self.greedy.margins.len(), new, "there is one for each greedy id:")?;
        lint.length("forced.logsumexp", self.forced.logsumexp.len(), prompt + new, "there is one for each id:")?;
        lint.length("forced.nll", self.forced.nll.len(), (prompt + new).saturating_sub(1), "there is one for each id but the first:")?;
        lint.ids("prompt.ids", &self.prompt.ids, index.config.vocab_size)?;
        lint.ids("greedy.ids", &self.greedy.ids, index.config.vocab_size)?;
        lint.finite("greedy.margins", &self.greedy.margins)?;
        lint.finite("forced.logsumexp", &self.forced.logsumexp)?;
        lint.finite("forced.nll", &self.forced.nll)?;
        lint.floor("floor", self.floor)?;
        if !(self.logit_rms.get() > 0.0 && self.logit_rms.0.is_finite()) {
            return Err(lint.wrong("logit_rms", format!("is {}, must be positive", self.logit_rms.0)));
        }
        self.lint_stop(&lint, index)?;
        self.lint_margins(&lint)?;
        self.lint_top(&lint, index.config.vocab_size)?;
        match (&self.full, entry.full) {
            (Some(full), true) => self.lint_full(&lint, full, index),
            (None, false) => Ok(()),
            (Some(_), false) => Err(lint.wrong("full", "was read, the index lists none")),
            (None, true) => Err(lint.wrong("full", "is listed by the index, but was not read")),
        }
    }

    fn lint_stop(&self, lint: &Lint, index: &Index) -> Linted {
        let greedy = &self.greedy;
        let end = greedy.ids.iter().position(|id| greedy.stop_at_eos && index.config.eos.contains(id));
        if let Some(at) = end.filter(|at| at + 1 < greedy.ids.len()) {
            return Err(lint.wrong(format!("greedy.ids[{at}]"), "is EOS, and the text goes on"));
        }
        let due = if end.is_some() { Stop::Eos } else { Stop::Length };
        lint.equal("greedy.stop", &greedy.stop, &due, "the last id says")?;
        if due == Stop::Length {
            lint.length("greedy.ids", greedy.ids.len(), greedy.max_new_tokens, "`max_new_tokens` says")?;
        }
        if greedy.ids.len() > greedy.max_new_tokens {
            return Err(
                lint.wrong("greedy.ids", format!("has {} entries, `max_new_tokens` is {}", greedy.ids.len(), greedy.max_new_tokens))
            );
        }
        Ok(())
    }

    fn lint_margins(&self, lint: &Lint) -> Linted {
        let tie = TIE_MARGIN * self.floor.get() * self.logit_rms.get();
        let mut smallest = f64::INFINITY;
        for (step, margin) in self.greedy.margins.iter().enumerate() {
            if !(margin.get() >= -tie) {
                let reason = format!("is {}, so another token was clearly better; rounding explains {:.3e}", margin.0, -tie);
                return Err(lint.wrong(format!("greedy.margins[{step}]"), reason));
            }
            if margin.get() < smallest {
                smallest = margin.get();
            }
        }
        let class = match smallest {
            margin if margin >= WIDE_MARGIN => MarginClass::Wide,
            margin if margin < KNIFE_MARGIN => MarginClass::Knife,
            _ => MarginClass::Median,
        };
        lint.equal("greedy.margin_class", &self.greedy.margin_class, &class, &format!("the smallest margin {smallest} is"))
    }

    fn lint_top(&self, lint: &Lint, vocab: usize) -> Linted {
        let ids = self.forced_ids();
        let first = ids.len().saturating_sub(TOP_POSITIONS);
        lint.length("forced.top", self.forced.top.len(), ids.len() - first, "there is one for each of the last positions:")?;
        for (i, top) in self.forced.top.iter().enumerate() {
            let field = |name: &str| format!("forced.top[{i}].{name}");
            lint.equal(&field("position"), &top.position, &(first + i), "the order of the list says")?;
            lint.length(&field("ids"), top.ids.len(), TOP_K.min(vocab), "the list holds")?;
            lint.length(&field("logprobs"), top.logprobs.len(), top.ids.len(), "there is one for each id:")?;
            lint.ids(&field("ids"), &top.ids, vocab)?;
            lint.finite(&field("logprobs"), &top.logprobs)?;
            let different: BTreeSet<u32> = top.ids.iter().copied().collect();
            lint.length(&field("ids"), top.ids.len(), different.len(), "of which are different:")?;
            for k in 1..top.ids.len() {
                let (before, after) = (top.logprobs[k - 1].0, top.logprobs[k].0);
                // Two logits that differ may round to one logprob, so equal ones may stand in either order of ids.
                if !(before >= after) {
                    return Err(lint.wrong(field("logprobs"), format!("rises from {before} to {after} at {k}")));
                }
            }
            let sum: f64 = top.logprobs.iter().map(|logprob| logprob.get().exp()).sum();
            if !(sum <= 1.0 + ROUNDING) {
                return Err(lint.wrong(field("logprobs"), format!("stand for probabilities that sum to {sum}, more than 1")));
            }
            self.lint_next(lint, i, vocab)?;
        }
        Ok(())
    }

    /// The negative log-likelihood of the next token, and the greedy margin, against the list at the same position.
    fn lint_next(&self, lint: &Lint, i: usize, vocab: usize) -> Linted {
        let top = &self.forced.top[i];
        let ids = self.forced_ids();
        let (Some(&next), Some(nll)) = (ids.get(top.position + 1), self.forced.nll.get(top.position)) else {
            return Ok(());
        };
        let field = format!("forced.nll[{}]", top.position);
        match (top.ids.iter().position(|&id| id == next), top.logprobs.last()) {
            (Some(at), _) => lint.close(&field, nll.get(), -top.logprobs[at].get(), "the list at that position says")?,
            (None, Some(last)) if top.ids.len() < vocab && nll.get() < -last.get() => {
                return Err(lint.wrong(field, format!("is {}, but the token is not among the listed, which reach {}", nll.0, -last.0)));
            }
            _ => {}
        }
        let step = (top.position + 1).checked_sub(self.prompt.ids.len());
        let margin = step.and_then(|step| self.greedy.margins.get(step));
        if let (Some(margin), [best, second, ..]) = (margin, top.logprobs.as_slice()) {
            let gap = best.get() - second.get();
            let due = if top.ids.first() == Some(&next) { gap } else { -gap };
            // Beside a tie the chosen token may be the third of several that rounded to one value.
            if gap > 0.0 {
                let room = |value: f64| if value.abs() > 1.0 { value.abs() } else { 1.0 };
                if !((margin.get() - due).abs() <= 4.0 * ROUNDING * room(second.get())) {
                    let reason = format!("is {}, the list at position {} says {due}", margin.0, top.position);
                    return Err(lint.wrong(format!("greedy.margins[{}]", step.unwrap_or_default()), reason));
                }
            }
        }
        Ok(())
    }

    fn lint_full(&self, lint: &Lint, full: &Full, index: &Index) -> Linted {
        let ids = self.forced_ids();
        lint.equal("full.vocab", &full.vocab, &index.config.vocab_size, "the index says")?;
        lint.equal("full.stages", &full.stages, &index.stages(), "a model of these layers has")?;
        lint.equal("full.positions", &full.positions.last().copied(), &ids.len().checked_sub(1), "the last position is")?;
        for (i, &position) in full.positions.iter().enumerate() {
            let row = widen(&full.logits_f32[i * full.vocab..(i + 1) * full.vocab]);
            let total = logsumexp(&row).map_err(|error| lint.wrong("full.logits.f32", error.to_string()))?;
            let said = self.forced.logsumexp.get(position).map_or(f64::NAN, |value| value.get());
            lint.close(format!("forced.logsumexp[{position}]"), said, total, "the stored logits say")?;
            let Some(top) = self.top_at(position) else { continue };
            let order = most_likely(&row, top.ids.len());
            lint.equal(&format!("forced.top of position {position}"), &top.ids, &order, "the stored logits say")?;
            for (k, &id) in top.ids.iter().enumerate() {
                let due = row.get(id as usize).map_or(f64::NAN, |value| value - total);
                lint.close(format!("forced.top of position {position}, logprob {k}"), top.logprobs[k].get(), due, "the stored logits say")?;
            }
        }
        self.lint_floor(lint, full, ids.len())?;
        self.lint_sketches(lint, full)
    }

    /// Floor and RMS, where the stored logits are all there are.
    fn lint_floor(&self, lint: &Lint, full: &Full, positions: usize) -> Linted {
        if full.positions.len() != positions {
            return Ok(());
        }
        let f32 = widen(&full.logits_f32);
        let refuse = |error: crate::metric::MetricError| lint.wrong("full.logits", error.to_string());
        let floor = relative_rms(&full.logits_f64, &f32).map_err(refuse)?;
        if !((self.floor.get() / floor - 1.0).abs() <= 1e-3) {
            return Err(lint.wrong("floor", format!("is {:e}, the stored logits say {floor:e}", self.floor.0)));
        }
        lint.close("logit_rms", self.logit_rms.get(), rms(&f32).map_err(refuse)?, "the stored logits say")
    }

    /// The last stage is the logits: its rms and mean follow from them.
    fn lint_sketches(&self, lint: &Lint, full: &Full) -> Linted {
        let prompt = self.prompt.ids.len();
        let runs = [("prefill", &full.prefill, prompt.checked_sub(1)), ("decode", &full.decode, Some(prompt))];
        for (run, sketches, position) in runs {
            let at = position.and_then(|position| full.positions.iter().position(|&kept| kept == position));
            let (Some(at), Some(sketch)) = (at, sketches.f64.last()) else { continue };
            let row = &full.logits_f64[at * full.vocab..(at + 1) * full.vocab];
            let due = rms(row).map_err(|error| lint.wrong("full.logits.f64", error.to_string()))?;
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            if !((sketch[0] - due).abs() <= 1e-9 * due && (sketch[1] - mean).abs() <= 1e-9 * due) {
                let reason = format!("has rms {} and mean {} at `logits`, the stored logits say {due} and {mean}", sketch[0], sketch[1]);
                return Err(lint.wrong(format!("sketch.{run}.f64"), reason));
            }
        }
        Ok(())
    }
}

/// Ids by falling logit, the lower id first on a tie.
fn most_likely(row: &[f64], n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..row.len()).filter_map(|i| u32::try_from(i).ok()).collect();
    order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]).then(a.cmp(&b)));
    order.truncate(n);
    order
}

impl TokenizerGolden {
    /// Lints the tokenizer golden.
    ///
    /// # Errors
    ///
    /// [`GoldenError::Field`] where a text is repeated, there are too few, or one is not asked both with and without special tokens.
    pub fn lint(&self, index: &Index, file: &str) -> Result<(), GoldenError> {
        let lint = Lint { file };
        lint.belongs(&self.model, &self.oracle, index)?;
        let mut asked: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
        for (i, case) in self.cases.iter().enumerate() {
            if !asked.entry(&case.text).or_default().insert(case.add_special_tokens) {
                let reason = format!("repeats the text {:?} with add_special_tokens {}", case.text, case.add_special_tokens);
                return Err(lint.wrong(format!("cases[{i}]"), reason));
            }
            if case.ids.is_empty() && !case.decoded.0.is_empty() {
                return Err(lint.wrong(format!("cases[{i}].decoded"), "has bytes, but no ids"));
            }
        }
        if let Some((text, _)) = asked.iter().find(|(_, modes)| modes.len() != 2) {
            return Err(lint.wrong("cases", format!("hold the text {text:?} only once, it is asked with and without special tokens")));
        }
        if asked.len() < MIN_TEXTS {
            return Err(lint.wrong("cases", format!("hold {} texts, at least {MIN_TEXTS} are needed", asked.len())));
        }
        Ok(())
    }
}

impl PerplexityGolden {
    /// Lints a perplexity golden.
    ///
    /// # Errors
    ///
    /// [`GoldenError::Field`] where its window does not fit the context, it predicts nothing, or its numbers are not finite.
    pub fn lint(&self, index: &Index, file: &str) -> Result<(), GoldenError> {
        let lint = Lint { file };
        lint.belongs(&self.model, &self.oracle, index)?;
        lint.sha256("text.sha256", &self.text.sha256)?;
        lint.sha256("ids_sha256", &self.ids_sha256)?;
        if !(2..=index.config.n_ctx).contains(&self.window) {
            return Err(lint.wrong("window", format!("is {}, the context holds {}", self.window, index.config.n_ctx)));
        }
        if !(1..=self.window).contains(&self.stride) {
            return Err(lint.wrong("stride", format!("is {}, the window is {}", self.stride, self.window)));
        }
        if self.tokens == 0 {
            return Err(lint.wrong("tokens", "is 0: there is nothing to compare"));
        }
        if !(self.sum_nll.get() > 0.0 && self.sum_nll.get().is_finite()) {
            return Err(lint.wrong("sum_nll", format!("is {}, must be positive", self.sum_nll.get())));
        }
        lint.floor("floor", self.floor)
    }
}

impl ModelGolden {
    /// Lints everything that is not about one prompt. `folder` is put before the file names in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] of the first file that does not pass.
    pub fn lint(&self, folder: &str) -> Result<(), GoldenError> {
        let index = &self.index;
        index.lint(&format!("{folder}/index.json"))?;
        self.tokenizer.lint(index, &format!("{folder}/{}", index.tokenizer))?;
        let here = format!("{folder}/index.json");
        let lint = Lint { file: &here };
        lint.length("perplexity", self.perplexity.len(), index.perplexity.len(), "the index lists")?;
        for (i, golden) in self.perplexity.iter().enumerate() {
            let file = format!("{folder}/{}", index.perplexity[i]);
            golden.lint(index, &file)?;
            if !self.texts.contains_key(&golden.text.name) {
                return Err(
                    Lint { file: &file }.wrong("text.name", format!("is `{}`, which was not read", golden.text.name.escape_debug()))
                );
            }
        }
        match (&index.published, &self.published) {
            (Some(published), None) => Err(lint.wrong("published", format!("is `{}`, which was not read", published.file.escape_debug()))),
            _ => Ok(()),
        }
    }
}
