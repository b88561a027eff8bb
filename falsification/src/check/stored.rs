//! What of a model an artifact must hold, and how it lies there: shared by the checks that look at files.

use super::{Case, Judged, ask};
use crate::golden::TensorEntry;
use crate::observation::{Container, Stored};
use crate::verdict::{Owner, Place, Verdict};

/// Names of gpt2's Conv1D weights, which GGUF and APR store the other way round.
const CONV1D: [&str; 4] = ["attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"];

/// The tensors of the model that every artifact of it holds: its parameters, a head that is the embedding left out.
pub(super) fn parameters<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a TensorEntry> + use<'a> {
    let tied = case.model.index.config.tie_word_embeddings;
    case.model.index.tensors.iter().filter(move |entry| entry.is_parameter(tied))
}

/// The number of elements of a tensor of the index.
pub(super) fn elements(entry: &TensorEntry) -> Judged<usize> {
    let elements = entry.elements().and_then(|n| usize::try_from(n).ok());
    elements.ok_or_else(|| ask::missing("tensors whose elements can be counted", &format!("{:?} has shape {:?}", entry.name, entry.shape)))
}

/// Whether the tensor lies with its two dimensions exchanged.
pub(super) fn is_transposed(case: &Case, hf_name: &str) -> bool {
    case.model.index.architecture == "gpt2" && !case.form.is("safetensors") && CONV1D.iter().any(|name| hf_name.ends_with(name))
}

/// The shape in which a tensor of the model has to lie.
pub(super) fn stored_shape(case: &Case, entry: &TensorEntry) -> Vec<usize> {
    let mut shape = entry.shape.clone();
    if is_transposed(case, &entry.name) {
        shape.reverse();
    }
    shape
}

/// The stored tensor with this Hugging Face name. One that is missing refutes whatever is being judged.
pub(super) fn find<'a>(container: &'a Container, hf_name: &str) -> Judged<&'a Stored> {
    container.stored(hf_name).ok_or_else(|| {
        let verdict = Verdict::falsified(format!("a stored tensor for {hf_name:?}"), "none");
        verdict.at(place(hf_name)).owned_by(Owner::File).into()
    })
}

/// Where a tensor stands in a verdict.
pub(super) fn place(tensor: &str) -> Place {
    Place { tensor: Some(tensor.to_owned()), ..Place::default() }
}

/// Values in row-major order of the logical shape, put into the order in which a transposed matrix lies.
pub(super) fn in_stored_order(values: &[f32], shape: &[usize], transposed: bool) -> Vec<f64> {
    match *shape {
        [rows, columns] if transposed && rows * columns == values.len() => {
            (0..columns).flat_map(|j| (0..rows).map(move |i| (i, j))).map(|(i, j)| f64::from(values[i * columns + j])).collect()
        }
        _ => values.iter().copied().map(f64::from).collect(),
    }
}
