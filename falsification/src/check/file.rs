//! F-T1, TENSORS and INSPECT: what the runtime loaded is what the files hold.

use std::collections::BTreeMap;

use super::{Breadth, Case, Check, Judged, Per, ask, stored};
use crate::form::Form;
use crate::golden::TensorEntry;
use crate::observation::{Answers, Op, TensorRow};
use crate::verdict::{Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-T1",
        claim: "F-T1",
        sentence: "every tensor of the model is loaded, with its dtype and shape, and no other",
        refuted_by: "a tensor that is missing, one too many, repeated, or of another dtype or shape",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tensors],
        bounds: &[],
        judge: names,
    },
    Check {
        id: "TENSORS",
        claim: "TENSORS",
        sentence: "the tensors have as many elements as the model has parameters, all finite, and no matrix is all zero",
        refuted_by: "another count, a NaN, an infinity, a zero matrix, or statistics that contradict each other",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Tensors],
        bounds: &[],
        judge: statistics,
    },
    Check {
        id: "INSPECT",
        claim: "INSPECT",
        sentence: "the runtime reports the model's architecture and sizes, every field, as transformers resolved them",
        refuted_by: "a field that is missing or differs",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Metadata],
        bounds: &[],
        judge: inspect,
    },
];

/// What a check of this file asks in this column besides what it always needs: the type that a tensor of a converted model has to show is the one
/// that its file stores, which only a reader of the file can tell.
pub(super) fn needs_besides(id: &str, form: &Form) -> &'static [Op] {
    if id == "F-T1" && !form.primary { &[Op::Container] } else { &[] }
}

fn place(tensor: &str) -> Place {
    Place { tensor: Some(tensor.to_owned()), ..Place::default() }
}

fn names(case: &Case, answers: &dyn Answers) -> Judged {
    let rows = ask::tensors(answers)?;
    let due = due(case, answers)?;
    let expected = format!("{} tensors with their dtypes and shapes", due.len());
    let mut found: BTreeMap<&str, &TensorRow> = BTreeMap::new();
    for row in rows.iter() {
        if found.insert(&row.name, row).is_some() {
            let observed = format!("tensor {:?} twice", row.name);
            return Ok(Verdict::falsified(expected, observed).at(place(&row.name)).owned_by(Owner::File));
        }
    }
    for entry in &due {
        let observed = match found.remove(entry.name.as_str()) {
            None => "it is missing".to_owned(),
            Some(row) if (&row.dtype, &row.shape) != (&entry.dtype, &entry.shape) => format!("{} {:?}", row.dtype, row.shape),
            Some(_) => continue,
        };
        let expected = format!("{expected}; {:?} is {} {:?}", entry.name, entry.dtype, entry.shape);
        return Ok(Verdict::falsified(expected, observed).at(place(&entry.name)).owned_by(Owner::File));
    }
    found.retain(|name, _| !is_copied_head(case, name));
    if let Some((name, row)) = found.first_key_value() {
        let observed = format!("{} more, the first is {name:?}, {} {:?}", found.len(), row.dtype, row.shape);
        return Ok(Verdict::falsified(expected, observed).at(place(name)).owned_by(Owner::File));
    }
    Ok(Verdict::corroborated(due.len(), expected, format!("the same {} tensors", rows.len())))
}

/// Whether a tensor is the copy of the embedding that some formats keep as the head of a tied model.
fn is_copied_head(case: &Case, name: &str) -> bool {
    !case.form.primary && case.model.index.config.tie_word_embeddings && name == "lm_head.weight"
}

/// The tensors that the runtime has to show: of the model as published those of its files, of another artifact the model's parameters, in
/// the types in which the file stores them.
fn due(case: &Case, answers: &dyn Answers) -> Judged<Vec<TensorEntry>> {
    if case.form.primary {
        return Ok(case.model.index.tensors.clone());
    }
    let container = ask::container(answers)?;
    let typed = |entry: &TensorEntry| Ok(TensorEntry { dtype: stored::find(&container, &entry.name)?.dtype.clone(), ..entry.clone() });
    stored::parameters(case).map(typed).collect()
}

fn elements(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1u64, |product, &side| product.checked_mul(u64::try_from(side).ok()?))
}

/// What is wrong with one tensor's numbers.
fn complaint(row: &TensorRow) -> Option<String> {
    let elements = elements(&row.shape);
    if elements == Some(0) || elements.is_none() {
        return Some(format!("shape {:?} has no elements, or too many to count", row.shape));
    }
    if row.n_nonfinite > 0 {
        return Some(format!("{} of {} elements are NaN or infinite", row.n_nonfinite, elements.unwrap_or_default()));
    }
    let TensorRow { rms, mean, min, max, .. } = *row;
    if ![rms, mean, min, max].iter().all(|value| value.is_finite()) {
        return Some(format!("rms {rms}, mean {mean}, min {min}, max {max}"));
    }
    // A bias may well be zero; a matrix of zeros multiplies everything away.
    if row.shape.len() > 1 && rms == 0.0 {
        return Some("every element is zero".to_owned());
    }
    // The mean lies between the extremes, and no element is larger than they are; a little room for rounding.
    let room = 1e-9 * (min.abs() + max.abs());
    let widest = if min.abs() > max.abs() { min.abs() } else { max.abs() };
    if !(min <= mean + room && mean <= max + room && rms <= widest + room && mean.abs() <= rms + room) {
        return Some(format!("statistics that contradict each other: rms {rms}, mean {mean}, min {min}, max {max}"));
    }
    None
}

fn statistics(case: &Case, answers: &dyn Answers) -> Judged {
    let rows = ask::tensors(answers)?;
    let index = &case.model.index;
    let due = if case.form.primary { index.tensors.len() } else { stored::parameters(case).count() };
    let expected = format!("{due} tensors with {} parameters, finite and alive", index.parameters);
    let found = rows.iter().filter(|row| !is_copied_head(case, &row.name)).count();
    if found != due {
        return Ok(Verdict::falsified(expected, format!("{found} tensors")).owned_by(Owner::File));
    }
    for row in rows.iter() {
        if let Some(observed) = complaint(row) {
            return Ok(Verdict::falsified(expected, observed).at(place(&row.name)).owned_by(Owner::File));
        }
    }
    let tied = index.config.tie_word_embeddings;
    let mut entries = rows.iter().map(|row| TensorEntry { name: row.name.clone(), dtype: row.dtype.clone(), shape: row.shape.clone() });
    let total = entries.try_fold(0u64, |sum, entry| if entry.is_parameter(tied) { sum.checked_add(entry.elements()?) } else { Some(sum) });
    if total != Some(index.parameters) {
        let observed = total.map_or_else(|| "more elements than can be counted".to_owned(), |total| format!("{total} parameters"));
        return Ok(Verdict::falsified(expected, observed).owned_by(Owner::File));
    }
    Ok(Verdict::corroborated(rows.len(), expected, format!("{} tensors with {} parameters", rows.len(), index.parameters)))
}

fn inspect(case: &Case, answers: &dyn Answers) -> Judged {
    let found = ask::metadata(answers)?;
    let (index, config) = (&case.model.index, &case.model.index.config);
    let size = |value: usize| Some(value.to_string());
    let read = |value: Option<usize>| value.map(|value| value.to_string());
    let fields: [(&str, Option<String>, Option<String>); 11] = [
        ("architecture", Some(index.architecture.clone()), found.architecture.clone()),
        ("n_layers", size(config.n_layers), read(found.n_layers)),
        ("n_heads", size(config.n_heads), read(found.n_heads)),
        ("n_kv_heads", size(config.n_kv_heads), read(found.n_kv_heads)),
        ("head_dim", size(config.head_dim), read(found.head_dim)),
        ("hidden_size", size(config.hidden_size), read(found.hidden_size)),
        ("intermediate_size", size(config.intermediate_size), read(found.intermediate_size)),
        ("vocab_size", size(config.vocab_size), read(found.vocab_size)),
        ("n_ctx", size(config.n_ctx), read(found.n_ctx)),
        ("tie_word_embeddings", Some(config.tie_word_embeddings.to_string()), found.tie_word_embeddings.map(|tied| tied.to_string())),
        ("eos", Some(sorted(&config.eos)), found.eos.as_deref().map(sorted)),
    ];
    let mut reds: Vec<(String, String)> = Vec::new();
    for (name, due, value) in &fields {
        if due != value {
            let shown = |text: &Option<String>| text.as_ref().map_or_else(|| "missing".to_owned(), |text| format!("{text:?}"));
            reds.push((format!("{name} {}", shown(due)), format!("{name} {}", shown(value))));
        }
    }
    // A model without BOS reports none, so a missing field and no BOS are the same here.
    if found.bos != config.bos {
        let shown = |bos: Option<u32>| bos.map_or_else(|| "bos none".to_owned(), |bos| format!("bos {bos}"));
        reds.push((shown(config.bos), shown(found.bos)));
    }
    let compared = fields.len() + 1;
    if reds.is_empty() {
        return Ok(Verdict::corroborated(compared, format!("{compared} fields as transformers resolved them"), "the same"));
    }
    let (due, value): (Vec<String>, Vec<String>) = reds.into_iter().unzip();
    Ok(Verdict::falsified(due.join(", "), value.join(", ")).owned_by(Owner::Config))
}

/// EOS ids as a set.
fn sorted(ids: &[u32]) -> String {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    format!("{ids:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rms: f64, mean: f64, min: f64, max: f64) -> TensorRow {
        TensorRow { name: "t".into(), dtype: "F32".into(), shape: vec![2, 2], rms, mean, min, max, n_nonfinite: 0 }
    }

    #[test]
    fn statistics_that_cannot_be_of_one_tensor_are_a_complaint() {
        assert_eq!(complaint(&row(2.0, 1.0, -1.0, 3.0)), None);
        assert_eq!(complaint(&row(2.0, -2.0, -2.0, -2.0)), None);
        for (rms, mean, min, max) in [(2.0, -1.5, -1.0, 3.0), (2.0, 1.5, -1.0, 1.0), (3.5, 1.0, -1.0, 3.0), (0.5, 1.0, -1.0, 3.0)] {
            let told = complaint(&row(rms, mean, min, max));
            assert!(told.is_some_and(|told| told.starts_with("statistics that contradict")), "{rms} {mean} {min} {max}");
        }
        for broken in [row(f64::NAN, 1.0, -1.0, 3.0), row(2.0, 1.0, f64::NEG_INFINITY, 3.0), row(0.0, 0.0, 0.0, 0.0)] {
            assert!(complaint(&broken).is_some(), "{broken:?}");
        }
        assert!(complaint(&TensorRow { shape: vec![2], ..row(0.0, 0.0, 0.0, 0.0) }).is_none(), "a bias may be zero");
        assert!(complaint(&TensorRow { shape: vec![2, 0], ..row(2.0, 1.0, -1.0, 3.0) }).is_some());
        assert!(complaint(&TensorRow { n_nonfinite: 1, ..row(2.0, 1.0, -1.0, 3.0) }).is_some());
    }
}
