//! Faults in what the configuration says, or in how it was read.

use ground_truth::{Activation, Architecture};
use serde_json::{Value, json};

use super::{Surgery, SurgeryError};

type Result = std::result::Result<(), SurgeryError>;

/// The norms' epsilon, multiplied by the strength.
pub(super) fn norm_eps(surgery: &mut Surgery<'_>, strength: f64) -> Result {
    let gpt2 = surgery.config().architecture == Architecture::Gpt2;
    let eps = surgery.config().norm_eps * strength;
    surgery.set(if gpt2 { "layer_norm_epsilon" } else { "rms_norm_eps" }, eps);
    Ok(())
}

/// Puts fields of rotary embeddings where this configuration keeps them: `rope_parameters` of transformers 5, or `rope_theta` and
/// `rope_scaling` of transformers 4.
fn set_rope(surgery: &mut Surgery<'_>, theta: f64, scaling: Option<Value>) -> Result {
    if surgery.config().rope.is_none() {
        return Err(SurgeryError::NotApplicable("rotary embedding"));
    }
    if !surgery.checkpoint().config.contains_key("rope_parameters") {
        surgery.set("rope_theta", theta);
        surgery.set("rope_scaling", scaling.unwrap_or(Value::Null));
        return Ok(());
    }
    let mut parameters = scaling.unwrap_or_else(|| json!({"rope_type": "default"}));
    parameters["rope_theta"] = json!(theta);
    surgery.set("rope_parameters", parameters);
    Ok(())
}

fn theta(surgery: &Surgery<'_>) -> std::result::Result<f64, SurgeryError> {
    surgery.config().rope.map(|rope| rope.theta).ok_or(SurgeryError::NotApplicable("rotary embedding"))
}

/// The base, multiplied by the strength.
pub(super) fn rope_theta(surgery: &mut Surgery<'_>, strength: f64) -> Result {
    let base = theta(surgery)? * strength;
    set_rope(surgery, base, None)
}

/// The base is not found where it is looked for, and the default is taken.
pub(super) fn rope_theta_lost(surgery: &mut Surgery<'_>, _: f64) -> Result {
    if theta(surgery)? == 10_000.0 {
        return Err(SurgeryError::NotApplicable("rope_theta other than the default"));
    }
    for place in ["rope_parameters", "rope_scaling"] {
        if let Some(fields) = surgery.checkpoint().config.get_mut(place).and_then(Value::as_object_mut) {
            fields.remove("rope_theta");
        }
    }
    surgery.checkpoint().config.remove("rope_theta");
    Ok(())
}

/// Every position, divided by the strength.
pub(super) fn rope_linear_added(surgery: &mut Surgery<'_>, strength: f64) -> Result {
    let base = theta(surgery)?;
    set_rope(surgery, base, Some(json!({"rope_type": "linear", "factor": strength})))
}

/// The rule of Llama 3.1, with an original context short enough that it moves the lower half of the frequencies.
pub(super) fn rope_llama3_added(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let base = theta(surgery)?;
    let original = surgery.config().n_ctx / 4;
    let rule = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": original,
    });
    set_rope(surgery, base, Some(rule))
}

pub(super) fn rope_yarn_added(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let base = theta(surgery)?;
    let original = surgery.config().n_ctx / 4;
    let rule = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": original});
    set_rope(surgery, base, Some(rule))
}

/// The exact GELU where the tanh approximation is due.
pub(super) fn gelu_exact(surgery: &mut Surgery<'_>, _: f64) -> Result {
    if surgery.config().activation != Activation::GeluTanh {
        return Err(SurgeryError::NotApplicable("tanh approximation of GELU"));
    }
    surgery.set("activation_function", "gelu");
    Ok(())
}

pub(super) fn gelu_for_silu(surgery: &mut Surgery<'_>, _: f64) -> Result {
    if surgery.config().activation != Activation::Silu {
        return Err(SurgeryError::NotApplicable("SiLU"));
    }
    surgery.set("hidden_act", "gelu");
    Ok(())
}

pub(super) fn attention_scale_off(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.set("scale_attn_weights", false);
    Ok(())
}

pub(super) fn attention_scale_by_layer(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.set("scale_attn_by_inverse_layer_idx", true);
    Ok(())
}

/// A window of as many tokens as the strength says, in every block.
pub(super) fn sliding_window_on(surgery: &mut Surgery<'_>, strength: f64) -> Result {
    let layers = surgery.config().n_layers;
    surgery.set("use_sliding_window", true);
    surgery.set("sliding_window", strength as u64);
    surgery.set("max_window_layers", 0);
    if surgery.checkpoint().config.contains_key("layer_types") {
        surgery.set("layer_types", vec!["sliding_attention"; layers]);
    }
    Ok(())
}

/// Half the positions. gpt2 keeps one row a position, so its table is halved as well.
pub(super) fn context_halved(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let n_ctx = surgery.config().n_ctx / 2;
    if surgery.config().architecture != Architecture::Gpt2 {
        surgery.set("max_position_embeddings", n_ctx);
        return Ok(());
    }
    surgery.set("n_positions", n_ctx);
    if surgery.checkpoint().config.contains_key("n_ctx") {
        surgery.set("n_ctx", n_ctx);
    }
    let (name, width) = (surgery.tensor("wpe.weight")?, surgery.config().hidden_size);
    let Some(tensor) = surgery.checkpoint().tensors.get(&name).cloned() else { return Ok(()) };
    let values = tensor.to_f32();
    surgery.put(&name, tensor.dtype(), vec![n_ctx, width], values.get(..n_ctx * width).unwrap_or(&values))
}

fn set_eos(surgery: &mut Surgery<'_>, value: &Value) {
    surgery.files().for_each(|fields| drop(fields.insert("eos_token_id".to_owned(), value.clone())));
}

/// Of several ids that end a text, the first one alone.
pub(super) fn eos_first_only(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let &[first, _, ..] = surgery.config().eos.as_slice() else {
        return Err(SurgeryError::NotApplicable("second id that ends a text"));
    };
    set_eos(surgery, &json!(first));
    Ok(())
}

/// The id that ends a text is 0.
pub(super) fn eos_zero(surgery: &mut Surgery<'_>, _: f64) -> Result {
    if surgery.config().eos.contains(&0) {
        return Err(SurgeryError::NotApplicable("id other than 0 that ends a text"));
    }
    set_eos(surgery, &json!(0));
    Ok(())
}

/// No id ends a text.
pub(super) fn eos_lost(surgery: &mut Surgery<'_>, _: f64) -> Result {
    set_eos(surgery, &Value::Null);
    Ok(())
}

/// The id that begins a text is the next one.
pub(super) fn bos_id_wrong(surgery: &mut Surgery<'_>, _: f64) -> Result {
    let bos = surgery.config().bos.ok_or(SurgeryError::NotApplicable("id that begins a text"))?;
    let next = (bos as usize + 1) % surgery.config().vocab_size;
    surgery.files().for_each(|fields| drop(fields.insert("bos_token_id".to_owned(), json!(next))));
    Ok(())
}
