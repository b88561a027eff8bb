//! What an artifact holds: C3, C6, C7, TREE, F-G3, ORACLE-ID and DIFF. Names, shapes and types; no value is looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::stored::{find, parameters, place, stored_shape};
use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::block;
use crate::observation::{Answers, Container, Op, Peer, Stored};
use crate::verdict::{Owner, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "C3",
        claim: "C3",
        sentence: "every tensor of the model is in the artifact under a name that leads back to it, and none is that the model does not have",
        refuted_by: "a tensor that is missing, or one that nobody asked for",
        per: Per::Cell(|scope| !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: extracted,
    },
    Check {
        id: "C6",
        claim: "C6",
        sentence: "the stored tensors have as many elements as the model has parameters",
        refuted_by: "another number",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: counted,
    },
    Check {
        id: "C7",
        claim: "C7",
        sentence: "every tensor has the model's shape, as its format stores it",
        refuted_by: "another shape: dimensions in the wrong order, a row lost, a matrix flattened",
        per: Per::Cell(|scope| !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: shaped,
    },
    Check {
        id: "TREE",
        claim: "TREE",
        sentence: "the names form the tree of the architecture: one root of each kind, blocks numbered from zero to the last, each with the same leaves",
        refuted_by: "a root that is missing, a block that is missing or one too many, a leaf that only some blocks have",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: tree,
    },
    Check {
        id: "F-G3-types",
        claim: "F-G3",
        sentence: "half the elements of the matrices, in mixed recipes a quarter, have the type that the column is named after, no matrix has fewer bits, and vectors keep theirs",
        refuted_by: "a column that is called what it is not, a matrix of a poorer type, a quantized vector",
        per: Per::Cell(|scope| !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: types,
    },
    Check {
        id: "ORACLE-ID",
        claim: "ORACLE-ID",
        sentence: "the artifact names the files that it was made from by their hashes, and they are those that the golden was written for",
        refuted_by: "no source, another model's, or another version of this one",
        per: Per::Cell(|scope| !scope.form.primary && !scope.form.given),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: identity,
    },
    Check {
        id: "DIFF",
        claim: "DIFF",
        sentence: "it differs from the F32 artifact of the same format in the types of tensors and in what says so, and in nothing else",
        refuted_by: "a name, a shape, an order or a metadata field that differs and is not about types",
        per: Per::Cell(|scope| !scope.form.primary && !scope.form.given && scope.form.quantization != "f32"),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: difference,
    },
];

/// Whether a stored tensor may be there although the model's folder has none: the head of a tied model, which is a copy of the embedding, and
/// frequencies that are computed from the configuration.
fn is_derived(case: &Case, stored: &Stored) -> bool {
    let tied = case.model.index.config.tie_word_embeddings;
    stored.hf_name.is_none() && stored.name == "rope_freqs.weight" || tied && stored.hf_name.as_deref() == Some("lm_head.weight")
}

fn extracted(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let mut due: BTreeSet<&str> = parameters(case).map(|entry| entry.name.as_str()).collect();
    let n = due.len();
    let expected = format!("the {n} tensors of the model");
    for stored in &container.tensors {
        if stored.hf_name.as_deref().is_some_and(|name| due.remove(name)) || is_derived(case, stored) {
            continue;
        }
        let observed = format!("tensor {:?}, which stands for {}", stored.name, ask::quoted(stored.hf_name.as_deref()));
        return Ok(Verdict::falsified(expected, observed).at(place(&stored.name)).owned_by(Owner::File));
    }
    match due.first() {
        None => Ok(Verdict::corroborated(n, expected, "all of them, and no other")),
        Some(name) => {
            let observed = format!("{} missing, the first is {name:?}", due.len());
            Ok(Verdict::falsified(expected, observed).at(place(name)).owned_by(Owner::File))
        }
    }
}

/// Elements of a shape.
fn elements(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &side| n.checked_mul(u64::try_from(side).ok()?))
}

fn counted(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let due = case.model.index.parameters;
    let is_mask = |stored: &Stored| {
        let entry = case.model.index.tensors.iter().find(|entry| stored.hf_name.as_deref() == Some(&entry.name));
        entry.is_some_and(|entry| !entry.is_parameter(case.model.index.config.tie_word_embeddings))
    };
    let mine = container.tensors.iter().filter(|stored| !is_derived(case, stored) && !is_mask(stored));
    let found = mine.map(|stored| elements(&stored.shape)).try_fold(0u64, |sum, n| sum.checked_add(n?));
    let expected = format!("{due} parameters");
    if found == Some(due) {
        return Ok(Verdict::corroborated(container.tensors.len(), expected, "as many"));
    }
    let observed = found.map_or_else(|| "more than can be counted".to_owned(), |found| found.to_string());
    Ok(Verdict::falsified(expected, observed).owned_by(Owner::File))
}

fn shaped(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let mut compared = 0;
    for entry in parameters(case) {
        let stored = find(&container, &entry.name)?;
        let due = stored_shape(case, entry);
        if stored.shape != due {
            let expected = format!("{:?} of shape {due:?}", entry.name);
            let observed = format!("shape {:?}", stored.shape);
            return Ok(Verdict::falsified(expected, observed).at(place(&stored.name)).owned_by(Owner::File));
        }
        compared += 1;
    }
    Ok(Verdict::corroborated(compared, "the model's shapes, as the format stores them", "so"))
}

/// The leaves that each block has, in the Hugging Face names of an architecture. Biases and norms of heads come with all blocks or with none.
fn leaves(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "gpt2" => &["attn.c_attn.weight", "attn.c_proj.weight", "ln_1.weight", "ln_2.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"],
        _ => &[
            "input_layernorm.weight",
            "mlp.down_proj.weight",
            "mlp.gate_proj.weight",
            "mlp.up_proj.weight",
            "post_attention_layernorm.weight",
            "self_attn.k_proj.weight",
            "self_attn.o_proj.weight",
            "self_attn.q_proj.weight",
            "self_attn.v_proj.weight",
        ],
    }
}

/// The roots outside the blocks.
fn roots(case: &Case) -> Vec<&'static str> {
    match case.model.index.architecture.as_str() {
        "gpt2" => vec!["wte.weight", "wpe.weight", "ln_f.weight"],
        _ if case.model.index.config.tie_word_embeddings => vec!["embed_tokens.weight", "norm.weight"],
        _ => vec!["embed_tokens.weight", "norm.weight", "lm_head.weight"],
    }
}

/// The number of a block and the leaf in it, of a Hugging Face name: `model.layers.3.mlp.up_proj.weight`, `transformer.h.3.ln_1.weight`.
fn leaf(name: &str) -> Option<(usize, &str)> {
    let name = name.strip_prefix("model.").or_else(|| name.strip_prefix("transformer.")).unwrap_or(name);
    let rest = name.strip_prefix("layers.").or_else(|| name.strip_prefix("h."))?;
    let (number, leaf) = rest.split_once('.')?;
    Some((number.parse().ok()?, leaf))
}

fn tree(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let index = &case.model.index;
    let names: Vec<&str> = container.tensors.iter().filter_map(|stored| stored.hf_name.as_deref()).collect();
    let mut blocks: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (block, leaf) in names.iter().filter_map(|name| leaf(name)) {
        blocks.entry(block).or_default().insert(leaf);
    }
    let expected = format!("{} blocks with the same leaves, under the roots of {}", index.config.n_layers, index.architecture);
    let red = |observed: String| Ok(Verdict::falsified(expected.clone(), observed).owned_by(Owner::File));
    for root in roots(case) {
        let n = names.iter().filter(|name| leaf(name).is_none() && (**name == root || name.ends_with(&format!(".{root}")))).count();
        if n != 1 {
            return red(format!("{n} roots {root:?}"));
        }
    }
    let found: Vec<usize> = blocks.keys().copied().collect();
    let due: Vec<usize> = (0..index.config.n_layers).collect();
    if found != due {
        return red(format!("blocks {found:?}"));
    }
    let first = &blocks[&0];
    if let Some(missing) = leaves(&index.architecture).iter().find(|leaf| !first.contains(*leaf)) {
        return red(format!("block 0 has no {missing:?}"));
    }
    if let Some((number, leaves)) = blocks.iter().find(|(_, leaves)| *leaves != first) {
        let odd: Vec<&&str> = leaves.symmetric_difference(first).collect();
        return red(format!("block {number} and block 0 differ in {odd:?}"));
    }
    Ok(Verdict::corroborated(names.len(), expected, format!("{} names, {} leaves a block", names.len(), first.len())))
}

/// The type that a column is named after.
fn named(quantization: &str) -> Option<&'static str> {
    Some(match quantization {
        "f32" => "F32",
        "f16" => "F16",
        "bf16" => "BF16",
        "q8_0" => "Q8_0",
        "q8" => "AprQ8",
        "q4" => "AprQ4",
        "q4_0" => "Q4_0",
        "q4_1" => "Q4_1",
        "q5_0" => "Q5_0",
        "q5_1" => "Q5_1",
        "iq4_nl" => "IQ4_NL",
        "iq4_xs" => "IQ4_XS",
        name if name.starts_with("q2_k") => "Q2_K",
        name if name.starts_with("q3_k") => "Q3_K",
        name if name.starts_with("q4_k") => "Q4_K",
        name if name.starts_with("q5_k") => "Q5_K",
        name if name.starts_with("q6_k") => "Q6_K",
        _ => return None,
    })
}

/// Bits that a type spends on one element.
fn bits(dtype: &str) -> Option<f64> {
    let (elements, bytes) = block::size(dtype)?;
    Some(8.0 * bytes as f64 / elements as f64)
}

fn types(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let quantization = &case.form.quantization;
    let Some(due) = named(quantization) else {
        return Err(ask::missing("a column that is named after a type", &format!("{quantization:?}")));
    };
    let least = bits(due).ok_or_else(|| ask::missing("a type that is known", due))?;
    // The recipes of two and three bits give most of a small model better types.
    let share = if least < 4.0 { 4 } else { 2 };
    let expected = format!("one of {share} elements of the matrices in {due}, none with fewer bits than {least}");
    let (mut of_type, mut all) = (0u64, 0u64);
    for entry in parameters(case) {
        let stored = find(&container, &entry.name)?;
        let red = |observed: String| Ok(Verdict::falsified(expected.clone(), observed).at(place(&stored.name)).owned_by(Owner::File));
        let own = bits(&stored.dtype).unwrap_or(0.0);
        if entry.shape.len() < 2 {
            if !matches!(stored.dtype.as_str(), "F32" | "F16" | "BF16") {
                return red(format!("a vector in {}", stored.dtype));
            }
            continue;
        }
        if !(own >= least) {
            return red(format!("a matrix in {}, which has {own} bits", stored.dtype));
        }
        let n = entry.elements().unwrap_or(0);
        all = all.saturating_add(n);
        of_type = of_type.saturating_add(if stored.dtype == due { n } else { 0 });
    }
    let observed = format!("{of_type} of {all} elements in {due}");
    if all == 0 || of_type.saturating_mul(share) < all {
        return Ok(Verdict::falsified(expected, observed).owned_by(Owner::File));
    }
    Ok(Verdict::corroborated(container.tensors.len(), expected, observed))
}

/// Whether a file is meant by a name as it stands in a key: what is neither a letter nor a digit is written as a line there.
fn is_named(file: &str, key: &str) -> bool {
    let plain: String = file.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    file == key || plain == key
}

fn identity(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let files = &case.model.index.model_files;
    let expected = format!("hashes of files of {}, its weights among them", case.model.index.model);
    for (name, hash) in &container.source {
        let known = files.iter().find(|file| is_named(&file.name, name));
        if known.is_none_or(|file| file.sha256 != *hash) {
            let known = ask::quoted(known.map(|file| file.sha256.as_str()));
            let observed = format!("{name:?} with SHA-256 {hash}, the golden's has {known}");
            return Ok(Verdict::falsified(expected, observed).owned_by(Owner::File));
        }
    }
    let weights = files.iter().filter(|file| file.name.ends_with(".safetensors"));
    if let Some(file) = weights.clone().find(|file| !container.source.iter().any(|(name, _)| is_named(&file.name, name))) {
        let observed = format!("{} sources, {:?} is not among them", container.source.len(), file.name);
        return Ok(Verdict::falsified(expected, observed).owned_by(Owner::File));
    }
    Ok(Verdict::corroborated(container.source.len(), expected, format!("{} files", container.source.len())))
}

/// Whether a metadata field is about the types of the tensors.
fn is_about_types(key: &str) -> bool {
    ["file_type", "quantization", "quant", "dtype", "total_size"].iter().any(|word| key.to_ascii_lowercase().contains(word))
}

/// What two artifacts of one format differ in, beside types.
fn odds(due: &Container, found: &Container) -> Option<String> {
    let names = |container: &Container| -> Vec<(String, Vec<usize>)> {
        container.tensors.iter().map(|stored| (stored.name.clone(), stored.shape.clone())).collect()
    };
    let (mine, other) = (names(found), names(due));
    if mine.len() != other.len() {
        return Some(format!("{} tensors, the F32 artifact has {}", mine.len(), other.len()));
    }
    if let Some(at) = (0..mine.len()).find(|&at| mine[at] != other[at]) {
        return Some(format!("tensor {at} is {:?} {:?}, there {:?} {:?}", mine[at].0, mine[at].1, other[at].0, other[at].1));
    }
    let entries = |container: &Container| -> BTreeMap<String, (String, String)> {
        let plain = container.metadata.iter().filter(|entry| !is_about_types(&entry.key));
        plain.map(|entry| (entry.key.clone(), (entry.kind.clone(), entry.value.clone()))).collect()
    };
    let (mine, other) = (entries(found), entries(due));
    if let Some((key, value)) = mine.iter().find(|(key, value)| other.get(*key) != Some(value)) {
        let there = ask::quoted(other.get(key).map(|value| value.1.as_str()));
        return Some(format!("{key} is {:?}, there {there}", value.1));
    }
    let lost = other.keys().find(|key| !mine.contains_key(*key))?;
    Some(format!("{lost} is missing"))
}

fn difference(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let peer = Peer::Column { format: case.form.format.clone(), quantization: "f32".to_owned() };
    let other = ask::peer(case, &peer)?;
    let other = ask::container(other.as_ref())?;
    let expected = format!("what {peer} has, but for types");
    match odds(&other, &container) {
        Some(observed) => Ok(Verdict::falsified(expected, observed).owned_by(Owner::File)),
        None => Ok(Verdict::corroborated(container.tensors.len() + container.metadata.len(), expected, "so")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every column there is, and what its name stands for.
    #[test]
    fn a_column_is_named_after_a_type_that_is_known() {
        for (quantization, dtype, its_bits) in [
            ("f32", "F32", 32.0),
            ("f16", "F16", 16.0),
            ("bf16", "BF16", 16.0),
            ("q8_0", "Q8_0", 8.5),
            ("q4_0", "Q4_0", 4.5),
            ("q4_1", "Q4_1", 5.0),
            ("q5_0", "Q5_0", 5.5),
            ("q5_1", "Q5_1", 6.0),
            ("iq4_nl", "IQ4_NL", 4.5),
            ("iq4_xs", "IQ4_XS", 4.25),
            ("q2_k", "Q2_K", 2.625),
            ("q3_k_s", "Q3_K", 3.4375),
            ("q3_k_m", "Q3_K", 3.4375),
            ("q4_k", "Q4_K", 4.5),
            ("q4_k_m", "Q4_K", 4.5),
            ("q5_k_s", "Q5_K", 5.5),
            ("q6_k", "Q6_K", 6.5625),
        ] {
            assert_eq!((named(quantization), bits(dtype)), (Some(dtype), Some(its_bits)), "{quantization}");
        }
        assert_eq!((named("q8"), named("q4")), (Some("AprQ8"), Some("AprQ4")));
        assert!(bits("AprQ8").is_some_and(|bits| bits > 7.9 && bits < 8.1) && bits("AprQ4") == Some(4.5));
        assert_eq!((named("q7_0"), named(""), bits("Q9_9")), (None, None, None));
    }

    #[test]
    fn names_are_cut_into_block_and_leaf() {
        assert_eq!(leaf("model.layers.3.mlp.up_proj.weight"), Some((3, "mlp.up_proj.weight")));
        assert_eq!((leaf("transformer.h.11.ln_1.bias"), leaf("h.0.attn.bias")), (Some((11, "ln_1.bias")), Some((0, "attn.bias"))));
        assert_eq!((leaf("model.norm.weight"), leaf("model.layers.x.a"), leaf("model.layers.3")), (None, None, None));
    }
}
