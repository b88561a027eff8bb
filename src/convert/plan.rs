//! What a file will hold, decided before a byte of it is written: names, types and orders of all tensors.

use std::path::Path;

use super::Format;
use super::stream::{Way, way};
use crate::error::{ConvertError, InFile, Result};
use crate::format::gguf::{export_name, export_order, extra_tensors};
use crate::format::layout::TensorSpec;
use crate::quant::Quantization;
use crate::{Architecture, Checkpoint, Config, Dtype, Order, Tensor};

/// A tensor of the source, and what becomes of it.
pub(super) struct Entry {
    /// Its name in Hugging Face files, with the base model's prefix.
    pub(super) hf_name: String,
    /// Its name in GGUF files, which the recipes of quantization go by.
    gguf_name: String,
    /// The tensor whose values it has.
    pub(super) tensor: Tensor,
    /// How it will stand in the destination.
    pub(super) spec: TensorSpec,
    /// In which order its elements will lie there.
    pub(super) order: Order,
}

/// Everything that the destination will hold, in file order.
pub(super) struct Plan {
    /// The tensors.
    pub(super) entries: Vec<Entry>,
    /// The quantization that the destination names; where types are kept, the one that most of the weights have.
    pub(super) quantization: Quantization,
    /// What a user should know about it.
    pub(super) notes: Vec<String>,
}

const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";

/// Plans the tensors of `checkpoint`, which makes a model. `quantization` is `None` to keep each tensor's type.
pub(super) fn plan(checkpoint: &Checkpoint, config: &Config, format: Format, quantization: Option<Quantization>) -> Result<Plan> {
    let file = &checkpoint.path;
    let mut notes = Vec::new();
    let mut entries = entries(checkpoint, config, format, &mut notes);
    let dtypes = match quantization {
        Some(quantization) => named(config, &entries, quantization, format),
        None => entries.iter().map(|entry| kept(entry, format).in_file(file)).collect::<Result<Vec<_>>>()?,
    };
    for (entry, dtype) in entries.iter_mut().zip(dtypes) {
        entry.spec.dtype = dtype;
        check_rows(entry).in_file(file)?;
    }
    let again = entries.iter().filter(|entry| !entry.tensor.dtype().is_scalar() && is_lossy(entry)).count();
    if again > 0 {
        notes.push(format!("{again} tensors were quantized already and are quantized again"));
    }
    let quantization = quantization.unwrap_or_else(|| most_common(&entries, format));
    if format == Format::Gguf {
        for (spec, tensor) in extra_tensors(config, checkpoint)? {
            entries.push(Entry { hf_name: spec.name.clone(), gguf_name: spec.name.clone(), tensor, spec, order: Order::RowMajor });
        }
    }
    Ok(Plan { entries, quantization, notes })
}

/// Every tensor that the format has a place for.
fn entries(checkpoint: &Checkpoint, config: &Config, format: Format, notes: &mut Vec<String>) -> Vec<Entry> {
    let architecture = config.architecture;
    let mut entries = Vec::new();
    for (name, tensor) in checkpoint.tensors.iter() {
        // The model has been made, so what has no name is a buffer that every runtime leaves alone.
        match export_name(architecture, name) {
            None => notes.push(format!("`{}` is a buffer that no runtime reads, and is left out", crate::Escaped(name))),
            Some(gguf_name) => entries.push(entry(config, format, full_name(architecture, name), gguf_name, tensor.clone())),
        }
    }
    // A tied head may stand there or not. GGUF and safetensors leave it out, APR has it.
    if config.tie_word_embeddings {
        let place = |entries: &[Entry], name: &str| entries.iter().position(|entry| entry.gguf_name == name);
        match (place(&entries, EMBEDDING), place(&entries, HEAD)) {
            (None, Some(head)) => {
                // Files with the head alone: the head is the embedding.
                let (name, tensor) = (embedding_name(architecture), entries[head].tensor.clone());
                entries.push(entry(config, format, name, EMBEDDING.to_owned(), tensor));
            }
            (Some(embedding), None) if format == Format::Apr => {
                let tensor = entries[embedding].tensor.clone();
                entries.push(entry(config, format, "lm_head.weight".to_owned(), HEAD.to_owned(), tensor));
            }
            _ => {}
        }
        entries.retain(|entry| format == Format::Apr || entry.gguf_name != HEAD);
    }
    entries.sort_by_key(|entry| rank(&entry.gguf_name));
    entries
}

fn entry(config: &Config, format: Format, hf_name: String, gguf_name: String, tensor: Tensor) -> Entry {
    let order = match (format, export_order(config, &gguf_name)) {
        (Format::Gguf, order) => order,
        // APR has every matrix as (out, in), and never moves heads.
        (Format::Apr, Order::Transposed) => Order::Transposed,
        _ => Order::RowMajor,
    };
    let mut shape = tensor.shape().to_vec();
    if order == Order::Transposed {
        shape.reverse();
    }
    let name = if format == Format::Gguf { gguf_name.clone() } else { hf_name.clone() };
    let spec = TensorSpec { name, dtype: tensor.dtype(), shape };
    Entry { hf_name, gguf_name, tensor, spec, order }
}

/// The name with the prefix that a checkpoint of the base model alone lacks.
fn full_name(architecture: Architecture, name: &str) -> String {
    let prefix = if architecture == Architecture::Gpt2 { "transformer." } else { "model." };
    if name.starts_with(prefix) || name == "lm_head.weight" { name.to_owned() } else { format!("{prefix}{name}") }
}

fn embedding_name(architecture: Architecture) -> String {
    if architecture == Architecture::Gpt2 { "transformer.wte.weight" } else { "model.embed_tokens.weight" }.to_owned()
}

/// The order in files: what comes before the blocks, the blocks by number, what comes after them.
fn rank(gguf_name: &str) -> (usize, usize, String) {
    match gguf_name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((block, rest)) => (1, block.parse().unwrap_or(usize::MAX), rest.to_owned()),
        None if gguf_name.starts_with("output") => (2, 0, gguf_name.to_owned()),
        None => (0, usize::from(gguf_name != EMBEDDING), gguf_name.to_owned()),
    }
}

/// The types that a recipe gives.
fn named(config: &Config, entries: &[Entry], quantization: Quantization, format: Format) -> Vec<Dtype> {
    let tensors: Vec<(String, Vec<usize>)> = entries.iter().map(|entry| (entry.gguf_name.clone(), entry.spec.shape.clone())).collect();
    quantization.dtypes(format.name(), config.architecture, config.n_layers, config.n_heads, config.n_kv_heads, &tensors)
}

/// The type of the destination that holds exactly what the tensor holds.
fn kept(entry: &Entry, format: Format) -> std::result::Result<Dtype, ConvertError> {
    let dtype = entry.tensor.dtype();
    let is_there = match format {
        Format::Safetensors => dtype.is_scalar(),
        Format::Gguf => dtype.ggml_id().is_some(),
        Format::Apr => dtype.apr_id().is_some(),
    };
    let due = match (dtype, format) {
        (dtype, _) if is_there => Some(dtype),
        (Dtype::AprQ4, Format::Gguf) => Some(Dtype::Q4_0),
        (Dtype::Q4_0, Format::Apr) => Some(Dtype::AprQ4),
        _ => None,
    };
    // Blocks do not survive a transposition.
    let travels = due.filter(|due| dtype.is_scalar() || way(&entry.tensor, *due, entry.order) != Way::Values);
    travels.ok_or_else(|| {
        let (tensor, shape) = (entry.hf_name.clone(), entry.tensor.shape().to_vec());
        ConvertError::CannotTravel { tensor, dtype, shape, format: format.name() }
    })
}

/// A recipe gives no type whose blocks do not divide the rows; the layouts rely on it.
fn check_rows(entry: &Entry) -> std::result::Result<(), ConvertError> {
    let TensorSpec { name, dtype, shape } = &entry.spec;
    match dtype.bytes_of(shape) {
        Some(_) => Ok(()),
        None => Err(ConvertError::Disagrees { what: format!("tensor `{}` of shape {shape:?} as {dtype}", crate::Escaped(name)) }),
    }
}

/// Whether values may change on the way.
fn is_lossy(entry: &Entry) -> bool {
    entry.spec.dtype != Dtype::F32 && way(&entry.tensor, entry.spec.dtype, entry.order) == Way::Values
}

/// The quantization whose type most bytes of the matrices have.
fn most_common(entries: &[Entry], format: Format) -> Quantization {
    let bytes_of = |quantization: Quantization| {
        let is_its = |entry: &&Entry| entry.spec.shape.len() > 1 && entry.spec.dtype == quantization.named();
        entries.iter().filter(is_its).map(|entry| entry.spec.dtype.bytes_of(&entry.spec.shape).unwrap_or(0)).sum::<usize>()
    };
    // The first of equals: of recipes that are named after one type, the one without suffix or the smallest.
    let known = Quantization::of(format.name());
    known.iter().rev().copied().max_by_key(|quantization| bytes_of(*quantization)).unwrap_or(Quantization::F32)
}

/// Whether a quantization is one of the format's.
pub(super) fn check_quantization(format: Format, quantization: Quantization, file: &Path) -> Result<()> {
    let known = Quantization::of(format.name());
    if known.contains(&quantization) {
        return Ok(());
    }
    let known = known.iter().map(|quantization| quantization.name()).collect::<Vec<_>>().join(", ");
    Err(ConvertError::NoSuchQuantization { format: format.name(), quantization: quantization.name(), known }).in_file(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(name: &str) -> (Checkpoint, Config) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models").join(name);
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file()).unwrap();
        (checkpoint, config)
    }

    /// Folders have the embedding, the head, or both.
    #[test]
    fn a_tied_head_is_written_where_a_format_has_it_and_nowhere_else() {
        for (model, embedding) in [("gpt2-tiny", "transformer.wte.weight"), ("qwen2-tiny", "model.embed_tokens.weight")] {
            let (mut checkpoint, config) = carried(model);
            let tensor = checkpoint.tensors.get(embedding).unwrap().clone();
            for (is_embedding, is_head) in [(true, false), (true, true), (false, true)] {
                checkpoint.tensors.remove(embedding);
                checkpoint.tensors.remove("lm_head.weight");
                for name in [(is_embedding, embedding), (is_head, "lm_head.weight")].into_iter().filter_map(|(is, name)| is.then_some(name))
                {
                    checkpoint.tensors.insert(name, tensor.clone());
                }
                for (format, heads) in [(Format::Gguf, 0), (Format::Safetensors, 0), (Format::Apr, 1)] {
                    let plan = plan(&checkpoint, &config, format, Some(Quantization::F32)).unwrap();
                    let named = |name: &str| -> Vec<&str> {
                        plan.entries.iter().filter(|entry| entry.gguf_name == name).map(|entry| entry.hf_name.as_str()).collect()
                    };
                    assert_eq!(named(EMBEDDING), [embedding], "{model} as {format:?}, head {is_head}");
                    assert_eq!(named(HEAD).len(), heads, "{model} as {format:?}, embedding {is_embedding}");
                    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
                }
            }
        }
    }

    #[test]
    fn what_is_left_out_or_quantized_again_is_said() {
        let (mut checkpoint, config) = carried("gpt2-tiny");
        let mask = Tensor::from_f32(Dtype::F32, vec![1, 1, 4, 4], &[0.0; 16]).unwrap();
        checkpoint.tensors.insert("transformer.h.0.attn.bias", mask);
        let plan_of =
            |checkpoint: &Checkpoint, config: &Config, quantization| plan(checkpoint, config, Format::Gguf, quantization).unwrap();
        let left_out = plan_of(&checkpoint, &config, Some(Quantization::F32));
        assert_eq!(left_out.notes, ["`transformer.h.0.attn.bias` is a buffer that no runtime reads, and is left out"]);
        assert_eq!(left_out.entries.len(), checkpoint.tensors.len() - 1);
        let (mut checkpoint, config) = carried("llama-tiny");
        for name in ["model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"] {
            let tensor = checkpoint.tensors.get(name).unwrap();
            let blocks = crate::quant::quantize(Dtype::Q8_0, &tensor.to_f32(), *tensor.shape().last().unwrap()).unwrap();
            let quantized = Tensor::owned(Dtype::Q8_0, tensor.shape().to_vec(), blocks).unwrap();
            checkpoint.tensors.insert(name, quantized);
        }
        assert_eq!(
            plan_of(&checkpoint, &config, Some(Quantization::Q4_0)).notes,
            ["2 tensors were quantized already and are quantized again"]
        );
        assert!(plan_of(&checkpoint, &config, Some(Quantization::Q8_0)).notes.is_empty(), "the same type is copied");
        let kept = plan_of(&checkpoint, &config, None);
        assert!(kept.notes.is_empty() && kept.quantization == Quantization::F32, "{:?}", kept.notes);
        let types = |dtype| kept.entries.iter().filter(|entry| entry.spec.dtype == dtype).count();
        assert_eq!((types(Dtype::Q8_0), types(Dtype::F32)), (2, checkpoint.tensors.len() - 2));
    }

    #[test]
    fn a_file_begins_with_the_embedding_and_ends_with_the_head() {
        let mut names =
            ["output.weight", "blk.10.attn_q.weight", "output_norm.weight", "blk.2.ffn_up.weight", "position_embd.weight"].to_vec();
        names.extend(["rope_freqs.weight", "token_embd.weight", "blk.2.attn_q.weight"]);
        names.sort_by_key(|name| rank(name));
        let due = ["token_embd.weight", "position_embd.weight", "rope_freqs.weight", "blk.2.attn_q.weight", "blk.2.ffn_up.weight"];
        assert_eq!(names[..5], due);
        assert_eq!(names[5..], ["blk.10.attn_q.weight", "output.weight", "output_norm.weight"]);
    }
}
