//! One artifact of one model in one runtime, and what is asked of it.

use std::sync::Arc;

use ground_truth_falsification::arithmetic::Arithmetic;
use ground_truth_falsification::check::{Breadth, Check, Per, Scope};
use ground_truth_falsification::form::{self, Form};
use ground_truth_falsification::golden::{Dequantized, Index, PromptEntry};

use crate::column::{self, Column};
use crate::escape;
use crate::given::Given;
use crate::golden_store::derived::{Derived, LlamaCppIndex};
use crate::matrix::{Subject, text_name};
use crate::roster::Entry;
use crate::runtime::{Artifact, Format};

/// Where an artifact comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The model's folder.
    Published,
    /// Our converter, when the first row of the cell is judged.
    Converted(Column),
    /// Somebody else.
    Given(Box<Given>),
}

/// One artifact of one model, in one runtime.
#[derive(Debug, Clone)]
pub struct Cell {
    /// `model::format::quantization::runtime`.
    pub name: String,
    /// The name of the runtime.
    pub runtime: String,
    /// What the runtime computes with in this column; the strictest until it is said.
    pub arithmetic: Arithmetic,
    /// What the runtime loads. The path of a converted one is known when it was made.
    pub artifact: Artifact,
    /// Where it comes from.
    pub origin: Origin,
    /// What may be asked of it.
    pub form: Form,
    /// The model and its golden.
    pub entry: Entry,
    /// The golden of the values that it holds. Where they are the published ones it adds only their digest.
    pub dequantized: Option<Arc<Derived<Dequantized>>>,
    /// The goldens of llama.cpp, if there is one of this quantization.
    pub llama_cpp: Option<Arc<Derived<LlamaCppIndex>>>,
    /// Why its rows are listed as not tested.
    pub not_tested: Option<String>,
}

/// One row that a cell could have.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    /// The check.
    pub check: &'static Check,
    /// What it is about.
    pub subject: Subject,
    /// Whether it needs a golden of the cell's values that there is not.
    pub lacks_golden: bool,
}

impl Cell {
    /// The cell of the model as published.
    pub fn published(entry: &Entry, runtime: &str) -> Self {
        let form = Form::published(&entry.golden.index.dtype);
        let quantization = form.quantization.clone();
        let path = entry.model.as_ref().map(|model| model.path.clone()).unwrap_or_default();
        let mut cell = Self::new(entry, runtime, Format::Safetensors, form, quantization, Origin::Published);
        cell.artifact.path = path;
        cell
    }

    /// The cell of a column that the model is converted to.
    pub fn converted(entry: &Entry, runtime: &str, column: Column) -> Self {
        let index = &entry.golden.index;
        let form = Form::converted(column.format.name(), column.quantization, &index.dtype);
        let mut cell = Self::new(entry, runtime, column.format, form, column.quantization.to_owned(), Origin::Converted(column));
        if column.format == Format::Gguf {
            cell.not_tested = cell.not_tested.or_else(|| entry.unsayable.clone());
        }
        cell.not_tested = cell.not_tested.or_else(|| column::not_applicable(index, column));
        cell
    }

    /// The cell of a file that somebody else made.
    pub fn given(entry: &Entry, runtime: &str, given: &Given) -> Self {
        let index = &entry.golden.index;
        let form = Form {
            format: given.format.name().to_owned(),
            quantization: given.quantization.clone(),
            lossless: form::holds(&given.quantization, &index.dtype),
            given: true,
            primary: false,
        };
        let quantization = format!("{}@{}", given.quantization, given.name);
        let mut cell = Self::new(entry, runtime, given.format, form, quantization, Origin::Given(Box::new(given.clone())));
        cell.artifact.path.clone_from(&given.path);
        if given.listed.is_none() {
            // The goldens of other bytes say nothing of these.
            let values = given.values_digest.as_deref();
            cell.dequantized = cell.dequantized.filter(|golden| Some(golden.index.values_digest.as_str()) == values);
            cell.llama_cpp = None;
        }
        cell
    }

    /// `quantization` is its part of the name.
    fn new(entry: &Entry, runtime: &str, format: Format, form: Form, quantization: String, origin: Origin) -> Self {
        let index = &entry.golden.index;
        let beside = &entry.golden.beside;
        let part = match &origin {
            Origin::Given(given) => format!("{}@{}", escape::plain_name(&form.quantization), given.name),
            _ => escape::plain_name(&quantization),
        };
        Cell {
            name: format!("{}::{format}::{part}::{runtime}", index.model),
            runtime: runtime.to_owned(),
            arithmetic: Arithmetic::Exact,
            dequantized: beside.of_values(format, &form.quantization).cloned(),
            llama_cpp: beside.llama_cpp.as_ref().filter(|golden| format == Format::Gguf && golden.has(&form.quantization)).cloned(),
            artifact: Artifact { model: index.model.clone(), format, quantization, path: Default::default() },
            origin,
            form,
            entry: entry.clone(),
            not_tested: entry.not_tested.clone(),
        }
    }

    /// The same cell for a runtime that computes with `arithmetic`.
    #[must_use]
    pub fn computed_with(self, arithmetic: Arithmetic) -> Self {
        let arithmetic = arithmetic.in_column(self.form.is_quantized());
        Self { arithmetic, ..self }
    }

    /// Why this cell cannot be judged although it is listed: a carried model lacks the golden of its values.
    pub fn lacks_golden(&self) -> bool {
        self.form.is_lossy() && self.dequantized.is_none()
    }

    /// What is known of it when rows are listed.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            index: &self.entry.golden.index,
            form: &self.form,
            dequantized: self.dequantized.as_ref().map(|golden| &golden.index),
            llama_cpp: self.llama_cpp.is_some(),
            chat: self.entry.golden.beside.chat.as_deref(),
            sayable: self.entry.unsayable.is_none(),
            runtime: &self.runtime,
            arithmetic: self.arithmetic,
        }
    }

    /// The name of a chat template, by its place in the index of those.
    pub fn style_name(&self, place: usize) -> &str {
        let styles = self.entry.golden.beside.chat.as_deref().map_or(&[][..], |chat| &chat.styles);
        styles.get(place).map_or("", |style| &style.name)
    }

    /// The rows of these checks: first about the cell, then prompt by prompt, then text by text.
    pub fn rows(&self, checks: &[&'static Check]) -> Vec<Listed> {
        let mut rows: Vec<Listed> = checks.iter().flat_map(|check| self.rows_of(check)).collect();
        rows.sort_by_key(|row| row.subject);
        rows
    }

    /// How many rows the catalogue has here: every check on everything that it applies to, wherever it is listed.
    pub fn catalogue(&self, checks: &[&'static Check]) -> usize {
        checks.iter().map(|check| self.subjects(check, None).len()).sum()
    }

    fn rows_of(&self, check: &'static Check) -> Vec<Listed> {
        if check.breadth == Breadth::Published && !self.form.primary {
            return Vec::new();
        }
        let index = &self.entry.golden.index;
        let asked = self.dequantized.as_ref().or_else(|| self.entry.golden.beside.dequantized.values().next());
        let sample = (!self.form.primary).then(|| column::sample(index, asked.map(|golden| golden.index.prompts.as_slice())));
        let mut subjects = self.subjects(check, sample.as_deref());
        if check.breadth == Breadth::Short && !self.form.primary {
            let length = |subject: &Subject| match subject {
                Subject::Prompt(i) => index.prompts[*i].n_prompt + index.prompts[*i].n_greedy,
                Subject::Cell | Subject::Text(_) | Subject::Style(_) => 0,
            };
            subjects.sort_by_key(length);
            subjects.truncate(1);
        }
        let lacks_golden = self.lacks_golden() && is_about_values(check);
        subjects.into_iter().map(|subject| Listed { check, subject, lacks_golden }).collect()
    }

    /// What a check applies to, among the prompts of the sample if there is one.
    fn subjects(&self, check: &Check, sample: Option<&[usize]>) -> Vec<Subject> {
        let index: &Index = &self.entry.golden.index;
        let scope = self.scope();
        let places = (0..index.prompts.len()).filter(|i| sample.is_none_or(|sample| sample.contains(i)));
        let prompts = |applies: fn(&Scope, &PromptEntry) -> bool| {
            places.clone().filter(|i| applies(&scope, self.prompt_entry(check, *i))).map(Subject::Prompt).collect()
        };
        let cell = |applies: bool| applies.then_some(Subject::Cell).into_iter().collect();
        match check.per {
            Per::Cell(applies) => cell(applies(&scope)),
            Per::Prompt(applies) => prompts(applies),
            Per::Source(applies) => (0..index.prompts.len()).filter(|i| applies(&scope, &index.prompts[*i])).map(Subject::Prompt).collect(),
            Per::Sources(applies) => cell(index.prompts.iter().any(|prompt| applies(&scope, prompt))),
            Per::Chat(applies) => {
                let styles = scope.chat.map_or(&[][..], |chat| &chat.styles);
                (0..styles.len()).filter(|i| applies(&scope, &styles[*i])).map(Subject::Style).collect()
            }
            Per::Perplexity(applies) => {
                (0..index.perplexity.len()).filter(|i| applies(&scope, text_name(&index.perplexity[*i]))).map(Subject::Text).collect()
            }
        }
    }

    /// What the golden that a check holds this cell against says of a prompt: that of the cell's values where the numbers of the answer
    /// are judged, the model's own elsewhere.
    fn prompt_entry(&self, check: &Check, place: usize) -> &PromptEntry {
        let own = &self.entry.golden.index.prompts[place];
        let of_values = self.dequantized.as_ref().filter(|_| self.form.is_lossy() && is_about_values(check));
        of_values.and_then(|golden| golden.index.prompts.iter().find(|prompt| prompt.name == own.name)).unwrap_or(own)
    }
}

/// Whether a check holds answers against numbers that belong to exactly the values of the artifact, so that a form that rounds needs a
/// golden of its own. Other checks of a prompt ask a runtime about itself and need ids only.
fn is_about_values(check: &Check) -> bool {
    matches!(check.per, Per::Prompt(_)) && ["F-G4", "QA", "ROUNDTRIP"].contains(&check.claim)
}
