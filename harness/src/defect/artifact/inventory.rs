//! Faults in which tensors there are. The engine is to refuse most of them by name.

use ground_truth::Architecture;

use super::{Surgery, SurgeryError};

type Result = std::result::Result<(), SurgeryError>;

fn set_layers(surgery: &mut Surgery<'_>, n_layers: usize) {
    let gpt2 = surgery.config().architecture == Architecture::Gpt2;
    surgery.set(if gpt2 { "n_layer" } else { "num_hidden_layers" }, n_layers);
    if let Some(types) = surgery.checkpoint().config.get_mut("layer_types").and_then(serde_json::Value::as_array_mut) {
        types.truncate(n_layers);
    }
}

fn remove_last_layer(surgery: &mut Surgery<'_>) -> Result {
    surgery.layer(surgery.last_layer()).iter().try_for_each(|name| surgery.remove(name))
}

/// The tensors of the last block are not in the file.
pub(super) fn last_layer_missing(surgery: &mut Surgery<'_>, _: f64) -> Result {
    remove_last_layer(surgery)
}

/// The configuration does not know of the last block, whose tensors are there.
pub(super) fn last_layer_undeclared(surgery: &mut Surgery<'_>, _: f64) -> Result {
    set_layers(surgery, surgery.last_layer());
    Ok(())
}

/// Neither the configuration nor the file knows of the last block: nothing contradicts anything.
pub(super) fn one_layer_fewer(surgery: &mut Surgery<'_>, _: f64) -> Result {
    remove_last_layer(surgery)?;
    set_layers(surgery, surgery.last_layer());
    Ok(())
}

/// The head is said to be its own, and is not in the file.
pub(super) fn lm_head_missing(surgery: &mut Surgery<'_>, _: f64) -> Result {
    if surgery.config().tie_word_embeddings {
        surgery.set("tie_word_embeddings", false);
        return Ok(());
    }
    surgery.remove("lm_head.weight")
}

/// One bias is not in the file.
pub(super) fn bias_missing(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let gpt2 = surgery.config().architecture == Architecture::Gpt2;
    let bias = surgery.block(surgery.last_layer(), if gpt2 { "attn.c_attn.bias" } else { "self_attn.v_proj.bias" })?;
    surgery.remove(&bias)
}

/// 64 rows of zeros after the last token, in the embedding and in the head.
pub(super) fn vocab_padded(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let vocab = surgery.config().vocab_size + 64;
    let mut names = vec![surgery.embedding()?];
    if !surgery.config().tie_word_embeddings {
        names.push(surgery.tensor("lm_head.weight")?);
    }
    for name in names {
        let Some(tensor) = surgery.checkpoint().tensors.get(&name).cloned() else { continue };
        let width = surgery.config().hidden_size;
        let mut values = tensor.to_f32();
        values.resize(vocab * width, 0.0);
        surgery.put(&name, tensor.dtype(), vec![vocab, width], &values)?;
    }
    surgery.set("vocab_size", vocab);
    Ok(())
}
