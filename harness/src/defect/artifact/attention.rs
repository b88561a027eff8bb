//! Faults in what attention reads: the layout and order of heads, the biases, the shape of a projection.

use ground_truth::Architecture;

use super::{Part, Surgery, SurgeryError};

type Result = std::result::Result<(), SurgeryError>;

/// The row orders of one projection, for a layout in which dimension `i` of a head is rotated with `i + 1` (GPT-J, and GGUF's
/// llama) and not with `i + head_dim / 2` (Hugging Face).
fn interleaved(n_heads: usize, head_dim: usize) -> Vec<usize> {
    let half = head_dim / 2;
    (0..n_heads * head_dim).map(|row| (row / head_dim, row % head_dim)).map(|(head, at)| head * head_dim + at % 2 * half + at / 2).collect()
}

/// The halves of each head exchanged: rotation by the negative angle.
fn half_swapped(n_heads: usize, head_dim: usize) -> Vec<usize> {
    let half = head_dim / 2;
    (0..n_heads * head_dim).map(|row| row / head_dim * head_dim + (row + half) % head_dim).collect()
}

/// Reorders the rows of the projection `name` and of its bias in every block.
fn permute_projection(surgery: &mut Surgery<'_>, name: &str, order: &[usize]) -> Result {
    for layer in 0..surgery.config().n_layers {
        let weight = surgery.block(layer, &format!("self_attn.{name}.weight"))?;
        surgery.permute_rows(&weight, order)?;
        if surgery.config().attention_bias {
            let bias = surgery.block(layer, &format!("self_attn.{name}.bias"))?;
            surgery.permute_rows(&bias, order)?;
        }
    }
    Ok(())
}

fn permute_queries(surgery: &mut Surgery<'_>, order: fn(usize, usize) -> Vec<usize>) -> Result {
    let order = order(surgery.config().n_heads, surgery.config().head_dim);
    permute_projection(surgery, "q_proj", &order)
}

fn permute_keys(surgery: &mut Surgery<'_>, order: fn(usize, usize) -> Vec<usize>) -> Result {
    let order = order(surgery.config().n_kv_heads, surgery.config().head_dim);
    permute_projection(surgery, "k_proj", &order)
}

pub(super) fn q_rows_interleaved(surgery: &mut Surgery<'_>, _: f64) -> Result {
    permute_queries(surgery, interleaved)
}

pub(super) fn k_rows_interleaved(surgery: &mut Surgery<'_>, _: f64) -> Result {
    permute_keys(surgery, interleaved)
}

/// Both, so that dot products agree at distance 0 and only the rotation is wrong.
pub(super) fn qk_rows_interleaved(surgery: &mut Surgery<'_>, _: f64) -> Result {
    permute_queries(surgery, interleaved)?;
    permute_keys(surgery, interleaved)
}

pub(super) fn rope_direction(surgery: &mut Surgery<'_>, _: f64) -> Result {
    permute_queries(surgery, half_swapped)?;
    permute_keys(surgery, half_swapped)
}

/// Query head h reads key head `h % n_kv_heads`, not `h / (n_heads / n_kv_heads)`: the query heads, and the columns of the output
/// projection that they feed, are put where the right runtime reads the wrong key head for them.
pub(super) fn gqa_tiled(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let (heads, kv_heads, head_dim) = (surgery.config().n_heads, surgery.config().n_kv_heads, surgery.config().head_dim);
    if kv_heads == 1 || kv_heads == heads {
        return Err(SurgeryError::NotApplicable("groups of query heads"));
    }
    let tiled: Vec<usize> = (0..kv_heads).flat_map(|kv| (kv..heads).step_by(kv_heads)).collect();
    let order: Vec<usize> = tiled.iter().flat_map(|head| head * head_dim..(head + 1) * head_dim).collect();
    permute_projection(surgery, "q_proj", &order)?;
    for layer in 0..surgery.config().n_layers {
        let out = surgery.part(layer, Part::AttentionOut)?;
        surgery.permute_columns(&out, &order)?;
    }
    Ok(())
}

/// The first two key and value heads of the last block change places.
pub(super) fn kv_heads_swapped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let (kv_heads, head_dim) = (surgery.config().n_kv_heads, surgery.config().head_dim);
    if kv_heads < 2 {
        return Err(SurgeryError::NotApplicable("second key head"));
    }
    let rows = kv_heads * head_dim;
    let order: Vec<usize> = (head_dim..2 * head_dim).chain(0..head_dim).chain(2 * head_dim..rows).collect();
    let layer = surgery.last_layer();
    for name in ["k_proj", "v_proj"] {
        let weight = surgery.block(layer, &format!("self_attn.{name}.weight"))?;
        surgery.permute_rows(&weight, &order)?;
    }
    Ok(())
}

/// Keys are read as values and values as keys, in the last block.
pub(super) fn kv_swapped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let layer = surgery.last_layer();
    if surgery.config().architecture == Architecture::Gpt2 {
        return permute_thirds(surgery, layer, [0, 2, 1]);
    }
    let parts: &[&str] = if surgery.config().attention_bias { &["weight", "bias"] } else { &["weight"] };
    for part in parts {
        let keys = surgery.block(layer, &format!("self_attn.k_proj.{part}"))?;
        let values = surgery.block(layer, &format!("self_attn.v_proj.{part}"))?;
        surgery.swap(&keys, &values)?;
    }
    Ok(())
}

/// The fused projection of gpt2 holds query, key and value; here it is read in the order `thirds`.
fn permute_thirds(surgery: &mut Surgery<'_>, layer: usize, thirds: [usize; 3]) -> Result {
    let width = surgery.config().hidden_size;
    let order: Vec<usize> = thirds.iter().flat_map(|third| third * width..(third + 1) * width).collect();
    let weight = surgery.block(layer, "attn.c_attn.weight")?;
    surgery.permute_columns(&weight, &order)?;
    let bias = surgery.block(layer, "attn.c_attn.bias")?;
    surgery.permute_rows(&bias, &order)
}

pub(super) fn attn_thirds_rotated(surgery: &mut Surgery<'_>, _: f64) -> Result {
    (0..surgery.config().n_layers).try_for_each(|layer| permute_thirds(surgery, layer, [1, 2, 0]))
}

/// Zeroes the bias of one third of attention's input in every block.
fn drop_bias(surgery: &mut Surgery<'_>, third: usize) -> Result {
    let (layers, width) = (surgery.config().n_layers, surgery.config().hidden_size);
    for layer in 0..layers {
        if surgery.config().architecture == Architecture::Gpt2 {
            let bias = surgery.block(layer, "attn.c_attn.bias")?;
            surgery.edit(&bias, |values, _| values.iter_mut().skip(third * width).take(width).for_each(|value| *value = 0.0))?;
        } else {
            let name = ["q_proj", "k_proj", "v_proj"][third];
            let bias = surgery.block(layer, &format!("self_attn.{name}.bias"))?;
            surgery.map(&bias, |_| 0.0)?;
        }
    }
    Ok(())
}

pub(super) fn q_bias_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    drop_bias(surgery, 0)
}

pub(super) fn k_bias_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    drop_bias(surgery, 1)
}

pub(super) fn v_bias_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    drop_bias(surgery, 2)
}

pub(super) fn c_attn_bias_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    (0..3).try_for_each(|third| drop_bias(surgery, third))
}

/// A square projection read the other way round: no shape tells.
pub(super) fn out_projection_transposed(surgery: &mut Surgery<'_>, _: f64) -> Result {
    for layer in 0..surgery.config().n_layers {
        let out = surgery.part(layer, Part::AttentionOut)?;
        surgery.transpose(&out)?;
    }
    Ok(())
}

/// Half as many heads of twice the width: every shape still fits.
pub(super) fn head_count_halved(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let (heads, kv_heads) = (surgery.config().n_heads / 2, surgery.config().n_kv_heads / 2);
    if heads == 0 || kv_heads == 0 {
        return Err(SurgeryError::NotApplicable("second key head"));
    }
    if surgery.config().architecture == Architecture::Gpt2 {
        surgery.set("n_head", heads);
        return Ok(());
    }
    surgery.set("num_attention_heads", heads);
    surgery.set("num_key_value_heads", kv_heads);
    let head_dim = 2 * surgery.config().head_dim;
    if surgery.checkpoint().config.contains_key("head_dim") {
        surgery.set("head_dim", head_dim);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaving_pairs_each_dimension_with_its_neighbour() {
        assert_eq!(interleaved(1, 8), [0, 4, 1, 5, 2, 6, 3, 7]);
        assert_eq!(interleaved(2, 4), [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(half_swapped(2, 4), [2, 3, 0, 1, 6, 7, 4, 5]);
    }
}
