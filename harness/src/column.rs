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

use ground_truth::Architecture;
use ground_truth::format::gguf;
use ground_truth::quant::Quantization;
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

/// Why a model has no such column, if it has none: rows that a block does not divide fall back to another type, and where most bytes of the
/// matrices do, the file is not what the column is named after. Nothing is read but the index.
pub fn not_applicable(index: &Index, column: Column) -> Option<String> {
    let quantization = Quantization::parse(column.format.name(), column.quantization)?;
    let architecture = Architecture::ALL.into_iter().find(|architecture| architecture.name() == index.architecture)?;
    let config = &index.config;
    let is_tied_head = |name: &str| config.tie_word_embeddings && name == "lm_head.weight";
    let tensors: Vec<(String, Vec<usize>)> = index
        .tensors
        .iter()
        .filter(|tensor| !is_tied_head(&tensor.name))
        .filter_map(|tensor| Some((gguf::export_name(architecture, &tensor.name)?, tensor)))
        .map(|(name, tensor)| {
            let mut shape = tensor.shape.clone();
            if is_conv1d(architecture, &name) {
                shape.reverse();
            }
            (name, shape)
        })
        .collect();
    let dtypes = quantization.dtypes(column.format.name(), architecture, config.n_layers, config.n_heads, config.n_kv_heads, &tensors);
    // A recipe gives some tensors another type on purpose: what counts is whether the rows are wide enough for the one it is named after.
    let (block, _) = quantization.named().block();
    let (mut all, mut fallen_back, mut narrowest) = (0usize, 0usize, usize::MAX);
    for (i, (_, shape)) in tensors.iter().enumerate().filter(|(_, (_, shape))| shape.len() > 1) {
        let (bytes, row) = (dtypes.get(i)?.bytes_of(shape)?, *shape.last()?);
        all += bytes;
        if column.format != Format::Safetensors && !row.is_multiple_of(block) {
            fallen_back += bytes;
            narrowest = narrowest.min(row);
        }
    }
    let why =
        || format!("{narrowest}-wide rows: {fallen_back} of {all} bytes of the matrices would not be {}", quantization.named().name());
    (fallen_back * 2 > all).then(why)
}

/// Whether GGUF stores this tensor of gpt2 the other way round.
fn is_conv1d(architecture: Architecture, name: &str) -> bool {
    let local = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, local)| local);
    architecture == Architecture::Gpt2 && ["attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight"].contains(&local)
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

    fn index(model: &str) -> Index {
        let file = format!("{}/../golden/{model}/index.json", env!("CARGO_MANIFEST_DIR"));
        Index::parse(&std::fs::read(&file).unwrap(), &file).unwrap()
    }

    #[test]
    fn blocks_of_256_do_not_divide_rows_of_64() {
        let (narrow, wide) = (index("stories260K"), index("llama-tiny"));
        let without: Vec<String> = Column::all()
            .filter(|column| not_applicable(&narrow, *column).is_some_and(|why| why.starts_with("64-wide rows")))
            .map(|column| format!("{} {}", column.format, column.quantization))
            .collect();
        let k_quants = ["gguf q2_k", "gguf q3_k_m", "gguf q4_k_s", "gguf q4_k_m", "gguf q5_k_m", "gguf q6_k", "apr q4_k", "apr q6_k"];
        assert_eq!(without, k_quants);
        assert_eq!(Column::all().find_map(|column| not_applicable(&wide, column)), None);
    }

    #[test]
    fn the_sample_is_what_was_asked_of_other_values_else_a_few_short_prompts() {
        let index = index("llama-tiny");
        let asked: Vec<PromptEntry> = index.prompts.iter().filter(|prompt| prompt.name.starts_with("unicode")).cloned().collect();
        let named = |places: Vec<usize>| places.iter().map(|i| index.prompts[*i].name.clone()).collect::<Vec<_>>();
        assert_eq!(named(sample(&index, Some(&asked))), asked.iter().map(|prompt| prompt.name.clone()).collect::<Vec<_>>());
        assert_eq!(sample(&index, None).len(), SAMPLE);
        assert!(sample(&index, None).iter().all(|i| index.prompts[*i].n_prompt > 1));
    }

    #[test]
    fn containers_share_the_golden_of_the_same_values() {
        let of_apr = |name: &str| golden_name(Format::Apr, name);
        assert_eq!(golden_name(Format::Gguf, "q4_k"), "q4_k");
        assert_eq!((of_apr("bf16"), of_apr("q4_k"), of_apr("q8")), ("bf16".into(), "apr-q4_k".into(), "apr-q8".into()));
    }
}
