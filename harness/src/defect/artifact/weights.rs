//! Faults in what the tensors hold.

use ground_truth::{Architecture, Dtype, Tokenizer};

use super::{Part, Surgery, SurgeryError};

type Result = std::result::Result<(), SurgeryError>;

/// One matrix, multiplied by the strength.
pub(super) fn tensor_scaled(surgery: &mut Surgery<'_>, strength: f64) -> Result {
    let name = surgery.part(surgery.last_layer(), Part::MlpOut)?;
    surgery.map(&name, |value| value * strength as f32)
}

/// One matrix is all zeros, as where a tensor was allocated and never filled.
pub(super) fn matrix_zeroed(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.part(surgery.last_layer(), Part::MlpOut)?;
    surgery.map(&name, |_| 0.0)
}

pub(super) fn tensor_sign_flipped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.part(surgery.last_layer(), Part::AttentionOut)?;
    surgery.map(&name, |value| -value)
}

/// Every logit is multiplied by the strength, so directions and ranks are right and only the size is wrong.
pub(super) fn final_norm_scaled(surgery: &mut Surgery<'_>, strength: f64) -> Result {
    surgery.final_norm()?.iter().try_for_each(|name| surgery.map(name, |value| value * strength as f32))
}

/// Gemma's rule, x * (1 + w), for a model whose rule is x * w.
pub(super) fn norm_plus_one(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let norms: Vec<String> = surgery.all().into_iter().filter(|name| name.ends_with("norm.weight")).collect();
    if norms.is_empty() {
        return Err(SurgeryError::NotApplicable("RMSNorm"));
    }
    norms.iter().try_for_each(|name| surgery.map(name, |value| value + 1.0))
}

pub(super) fn norm_weights_swapped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let first = surgery.part(0, Part::AttentionNorm)?;
    let last = surgery.part(surgery.last_layer(), Part::AttentionNorm)?;
    surgery.swap(&first, &last)
}

/// The weight of the last norm is not applied.
pub(super) fn final_norm_ones(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let names = surgery.final_norm()?;
    names.iter().filter(|name| name.ends_with("weight")).try_for_each(|name| surgery.map(name, |_| 1.0))
}

pub(super) fn layernorm_bias_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.block(surgery.last_layer(), "ln_2.bias")?;
    surgery.map(&name, |_| 0.0)
}

pub(super) fn mlp_bias_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.block(surgery.last_layer(), "mlp.c_fc.bias")?;
    surgery.map(&name, |_| 0.0)
}

/// The activation is applied to the other half of the MLP, in the last block.
pub(super) fn gate_up_swapped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let layer = surgery.last_layer();
    let (gate, up) = (surgery.block(layer, "mlp.gate_proj.weight")?, surgery.block(layer, "mlp.up_proj.weight")?);
    surgery.swap(&gate, &up)
}

/// Pairs the tensors of the first and the last block by what follows the block's number.
fn twins(surgery: &Surgery<'_>) -> Vec<(String, String)> {
    let last = surgery.last_layer();
    let (from, to) = (".0.", format!(".{last}."));
    surgery.layer(0).into_iter().map(|name| (name.replacen(from, &to, 1), name)).map(|(last, first)| (first, last)).collect()
}

pub(super) fn layers_swapped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    twins(surgery).iter().try_for_each(|(first, last)| surgery.swap(first, last))
}

/// The first block stands in the place of the last one as well.
pub(super) fn layer_repeated(surgery: &mut Surgery<'_>, _: f64) -> Result {
    for (first, last) in twins(surgery) {
        let copy = surgery.checkpoint().tensors.get(&first).cloned();
        let copy = copy.ok_or(SurgeryError::Tensor { name: first, found: 0 })?;
        surgery.checkpoint().tensors.insert(last, copy);
    }
    Ok(())
}

/// The upper 16 bits of the value, rounded to nearest, ties to even.
fn bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if value.is_finite() { f32::from_bits(rounded & 0xffff_0000) } else { value }
}

pub(super) fn rounded_to_bf16(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.all().iter().try_for_each(|name| surgery.map(name, bf16))
}

pub(super) fn tensor_rounded_to_f16(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.part(surgery.last_layer(), Part::MlpOut)?;
    let tensor = surgery.checkpoint().tensors.get(&name).cloned();
    let Some(tensor) = tensor.filter(|tensor| tensor.dtype() == Dtype::F32) else {
        return Err(SurgeryError::NotApplicable("F32 weights"));
    };
    surgery.put(&name, Dtype::F16, tensor.shape().to_vec(), &tensor.to_f32())?;
    let rounded = surgery.checkpoint().tensors.get(&name).map(ground_truth::Tensor::to_f32).unwrap_or_default();
    surgery.put(&name, Dtype::F32, tensor.shape().to_vec(), &rounded)
}

/// One tensor in the byte order of another machine.
pub(super) fn bytes_swapped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.part(surgery.last_layer(), Part::AttentionNorm)?;
    surgery.edit_bytes(&name, |dtype, mut bytes| {
        bytes.chunks_exact_mut(dtype.block().1).for_each(<[u8]>::reverse);
        (dtype, bytes)
    })
}

/// F16 read as BF16, or the reverse: as many bytes, other numbers.
pub(super) fn dtype_misread(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.part(surgery.last_layer(), Part::MlpOut)?;
    let dtype = surgery.checkpoint().tensors.get(&name).map(ground_truth::Tensor::dtype);
    let other = match dtype {
        Some(Dtype::F16) => Dtype::BF16,
        Some(Dtype::BF16) => Dtype::F16,
        _ => return Err(SurgeryError::NotApplicable("16-bit weights")),
    };
    surgery.edit_bytes(&name, |_, bytes| (other, bytes))
}

fn poison(surgery: &mut Surgery<'_>, with: f32) -> Result {
    let name = surgery.part(surgery.last_layer(), Part::MlpOut)?;
    surgery.edit(&name, |values, _| values.iter_mut().take(1).for_each(|value| *value = with))
}

pub(super) fn nan_weight(surgery: &mut Surgery<'_>, _: f64) -> Result {
    poison(surgery, f32::NAN)
}

pub(super) fn inf_weight(surgery: &mut Surgery<'_>, _: f64) -> Result {
    poison(surgery, f32::INFINITY)
}

/// The row of the token that `2` is, which the arithmetic prompt holds.
pub(super) fn embedding_row_zeroed(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let (name, file) = (surgery.embedding()?, surgery.checkpoint().tokenizer_file());
    let bytes = surgery.checkpoint().tokenizer.clone().ok_or_else(|| SurgeryError::Tokenizer("there is none".to_owned()))?;
    let ids = Tokenizer::from_bytes(&bytes, &file)?.encode("What is 2+2?", false)?;
    let text = |id: u32| Tokenizer::from_bytes(&bytes, &file)?.decode(&[id]);
    let mut row = None;
    for id in ids {
        if text(id)?.ends_with(b"2") {
            row = Some(id as usize);
        }
    }
    let row = row.ok_or(SurgeryError::NotApplicable("token for the digit 2"))?;
    surgery.edit(&name, |values, shape| {
        let width = shape.get(1).copied().unwrap_or(0);
        values.iter_mut().skip(row * width).take(width).for_each(|value| *value = 0.0);
    })
}

/// Gemma's rule: embeddings are multiplied by the square root of the width.
pub(super) fn embedding_scaled(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let (name, factor) = (surgery.embedding()?, (surgery.config().hidden_size as f32).sqrt());
    surgery.map(&name, |value| value * factor)
}

fn shift_rows(surgery: &mut Surgery<'_>, name: &str) -> Result {
    surgery.edit(name, |values, shape| values.rotate_right(shape.get(1).copied().unwrap_or(0)))
}

/// Each token has the row of the token before it.
pub(super) fn token_rows_shifted(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.embedding()?;
    shift_rows(surgery, &name)
}

/// Each position has the row of the position before it.
pub(super) fn position_rows_shifted(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let name = surgery.tensor("wpe.weight")?;
    shift_rows(surgery, &name)
}

/// The head of a tied model is left as it was initialised: small numbers of no meaning.
pub(super) fn lm_head_not_tied(surgery: &mut Surgery<'_>, _: f64) -> Result {
    if !surgery.config().tie_word_embeddings || surgery.config().architecture == Architecture::Gpt2 {
        return Err(SurgeryError::NotApplicable("head that could be untied"));
    }
    let (vocab, hidden) = (surgery.config().vocab_size, surgery.config().hidden_size);
    let dtype = surgery.embedding().map(|name| surgery.checkpoint().tensors.get(&name).map(ground_truth::Tensor::dtype))?;
    let mut state = 1_u64;
    let values: Vec<f32> = (0..vocab * hidden)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5) * 0.07
        })
        .collect();
    surgery.set("tie_word_embeddings", false);
    surgery.put("lm_head.weight", dtype.unwrap_or(Dtype::F32), vec![vocab, hidden], &values)
}

/// The head of an untied model is taken to be its embedding.
pub(super) fn lm_head_tied_wrongly(surgery: &mut Surgery<'_>, _: f64) -> Result {
    if surgery.config().tie_word_embeddings {
        return Err(SurgeryError::NotApplicable("head of its own"));
    }
    surgery.set("tie_word_embeddings", true);
    surgery.remove("lm_head.weight")
}

#[cfg(test)]
mod tests {
    use super::bf16;

    #[test]
    fn bf16_rounds_to_nearest_even() {
        assert_eq!(bf16(1.0), 1.0);
        assert_eq!(bf16(f32::from_bits(0x3f80_8000)).to_bits(), 0x3f80_0000, "a tie goes to the even one below");
        assert_eq!(bf16(f32::from_bits(0x3f81_8000)).to_bits(), 0x3f82_0000, "a tie goes to the even one above");
        assert_eq!(bf16(f32::from_bits(0x3f80_8001)).to_bits(), 0x3f81_0000);
        assert!(bf16(f32::NAN).is_nan());
    }
}
