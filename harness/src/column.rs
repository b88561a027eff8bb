//! The forms in which a model is judged: the columns of the matrix, as data.
//!
//! | column | what it is held against |
//! |---|---|
//! | the model as published (safetensors in its own type) | the golden, by every check, on every prompt |
//! | one that holds every published value exactly | the golden, on the prompts of [`sample`] |
//! | one that rounds | `dequantized/` for what has the bound of f32, on its prompts; the golden for what quantization may cost |
//! | a given file | the same, as far as there are goldens of its values |
//!
//! A model has two dozen columns, and all of them together may take a few times as long as the published form alone: so a check says with
//! its [`Breadth`](ground_truth_falsification::check::Breadth) where it is listed, and prompts outside of the sample are asked in the published form alone. What is left out of a
//! column is counted in the summary: `total` counts every check on every prompt in every column.

use ground_truth_falsification::golden::{Index, PromptEntry};

use crate::runtime::Format;

/// A form that every model is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Column {
    /// The container.
    pub format: Format,
    /// The type or recipe of the weights, as it stands in test names.
    pub quantization: &'static str,
}

const SAFETENSORS: [&str; 3] = ["f32", "f16", "bf16"];
const GGUF: [&str; 14] =
    ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k"];
const APR: [&str; 7] = ["f32", "f16", "bf16", "q8", "q4", "q4_k", "q6_k"];

impl Column {
    /// Every column, in the order of the matrix.
    pub fn all() -> impl Iterator<Item = Column> {
        let of = |format, names: &'static [&'static str]| names.iter().map(move |quantization| Column { format, quantization });
        of(Format::Safetensors, &SAFETENSORS).chain(of(Format::Gguf, &GGUF)).chain(of(Format::Apr, &APR))
    }

    /// The column of a published model: safetensors in the type of most of its weights.
    pub fn is_published(self, index: &Index) -> bool {
        self.format == Format::Safetensors && index.dtype.eq_ignore_ascii_case(self.quantization)
    }
}

/// The folder under `dequantized/` that speaks of these values. Containers share it: the same values are the same golden.
pub fn golden_name(format: Format, quantization: &str) -> String {
    match (format, quantization) {
        (Format::Apr, "f32" | "f16" | "bf16") | (Format::Safetensors | Format::Gguf, _) => quantization.to_owned(),
        (Format::Apr, _) => format!("apr-{quantization}"),
    }
}

/// Why a model has no such column, if it has none.
pub fn not_applicable(_index: &Index, _column: Column) -> Option<String> {
    None
}

/// How many prompts a form other than the published one is asked, where no golden says which.
const SAMPLE: usize = 3;

/// The prompts of a form other than the published one, as places in the index: those that were asked about other values of this model,
/// else the shortest ones that are continued, those with full logits first.
pub fn sample(index: &Index, asked: Option<&[PromptEntry]>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..index.prompts.len()).collect();
    if let Some(asked) = asked {
        places.retain(|i| asked.iter().any(|prompt| prompt.name == index.prompts[*i].name));
        return places;
    }
    places.sort_by_key(|i| {
        let prompt = &index.prompts[*i];
        (prompt.n_prompt < 2, !prompt.full, prompt.n_prompt, *i)
    });
    places.truncate(SAMPLE);
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_column_has_its_own_name() {
        let names: BTreeSet<_> = Column::all().map(|column| format!("{}::{}", column.format, column.quantization)).collect();
        assert_eq!(names.len(), 24);
        assert_eq!(Column::all().count(), 24);
    }

    #[test]
    fn containers_share_the_golden_of_the_same_values() {
        let of_apr = |name: &str| golden_name(Format::Apr, name);
        assert_eq!(golden_name(Format::Gguf, "q4_k"), "q4_k");
        assert_eq!((of_apr("bf16"), of_apr("q4_k"), of_apr("q8")), ("bf16".into(), "apr-q4_k".into(), "apr-q8".into()));
    }
}
