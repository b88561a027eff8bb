//! What a GGUF file says of a model, as a Hugging Face folder would say it, and the other way round.
//!
//! | | in GGUF | in `config.json` and safetensors |
//! |---|---|---|
//! | names | `blk.0.attn_q.weight` | `model.layers.0.self_attn.q_proj.weight` |
//! | llama's queries and keys, weights and biases | rows of each head laid out for neighbours | halves |
//! | gpt2's four products of a block | `(n_out, n_in)` | `(n_in, n_out)` |
//! | a head that is the embedding | no `output.weight` | `tie_word_embeddings` |
//! | biases of llama | each where it is there | `attention_bias`, `mlp_bias`: all or none |
//!
//! Nothing is converted: a tensor stays in the map and carries its [`Order`](crate::Order). A bias that llama's file lacks although a sister has one is
//! zeros. Keys of the architecture that are not known are refused by name, as unknown fields of `config.json` are: they may change the
//! arithmetic.

mod export;
mod keys;
mod names;
mod rope;

use std::collections::BTreeMap;

use self::keys::Keys;
use self::names::{Bias, Module, Names};
use super::{Gguf, TensorInfo};
use crate::chat::Templates;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::error::{GgufError, InFile, Result};
use crate::tokenizer::gguf::tokenizer_json;
use crate::{Config, Dtype, Tensor};

pub use self::export::{can_say, export_metadata, extra_tensors};
pub use self::names::{export_name, export_order};

/// The model in a file: configuration, tokenizer and weights under the names that a Hugging Face folder has, the weights in the map.
///
/// # Errors
///
/// [`Error::Gguf`](crate::Error::Gguf) naming the key that is missing, of another type or out of bounds, or the tensor that is missing, left
/// over or of another shape than the keys say; [`Error::Config`](crate::Error::Config) and [`Error::Tokenizer`](crate::Error::Tokenizer) for
/// what they refuse in what is made of the keys.
pub fn checkpoint(gguf: &Gguf) -> Result<Checkpoint> {
    let keys = Keys::of(&gguf.metadata).in_file(&gguf.path)?;
    let factors = match gguf.info(rope::FACTORS).filter(|_| keys.architecture == crate::Architecture::Llama) {
        Some(info) if info.dtype == Dtype::F32 => Some(gguf.tensor(info)?.to_f32()),
        Some(info) => {
            let why = format!("is {}, F32 is due", info.dtype);
            return Err(GgufError::Tensor { tensor: info.name.clone(), why }).in_file(&gguf.path);
        }
        None => None,
    };
    let map = keys::config(keys, &gguf.tensors, factors.as_deref()).in_file(&gguf.path)?;
    let config = Config::parse(&map, None, &gguf.path)?;
    let tensors = tensors(gguf, &config, factors.is_some())?;
    Ok(Checkpoint {
        config: map,
        generation_config: None,
        tokenizer: tokenizer(gguf)?,
        chat_templates: Templates::of_gguf(&gguf.metadata),
        tensors,
        path: gguf.path.clone(),
    })
}

/// The tokenizer, if the file has one: llama.cpp calls a model without `none` or `no_vocab`.
fn tokenizer(gguf: &Gguf) -> Result<Option<Vec<u8>>> {
    match gguf.metadata.string("tokenizer.ggml.model").in_file(&gguf.path)? {
        None | Some("none" | "no_vocab") => Ok(None),
        Some(_) => tokenizer_json(&gguf.metadata).in_file(&gguf.path).map(Some),
    }
}

/// Every tensor that the architecture has, under its Hugging Face name. What is left over is refused.
fn tensors(gguf: &Gguf, config: &Config, has_factors: bool) -> Result<Tensors> {
    let mut infos: BTreeMap<&str, &TensorInfo> = gguf.tensors.iter().map(|info| (info.name.as_str(), info)).collect();
    if has_factors {
        infos.remove(rope::FACTORS);
    }
    let mut tensors = Tensors::new();
    for (name, hf, module) in Names::of(config.architecture).modules(config.n_layers) {
        let weight = format!("{name}.weight");
        match infos.remove(weight.as_str()) {
            Some(info) => drop(tensors.insert(format!("{hf}.weight"), placed(gguf, info, config, module)?)),
            None if module.optional => {}
            None => return Err(GgufError::MissingTensor { tensor: weight }).in_file(&gguf.path),
        }
        let bias = format!("{name}.bias");
        let is_due = match module.bias {
            Bias::Never => continue,
            Bias::Always => true,
            Bias::Optional => {
                if hf.contains(".mlp.") {
                    config.mlp_bias
                } else {
                    config.attention_bias
                }
            }
        };
        match infos.remove(bias.as_str()) {
            Some(info) => drop(tensors.insert(format!("{hf}.bias"), placed(gguf, info, config, module)?)),
            None if module.bias == Bias::Optional && is_due => {
                let n = module.shape[0].of(config);
                tensors.insert(format!("{hf}.bias"), Tensor::from_f32(Dtype::F32, vec![n], &vec![0.0; n])?);
            }
            None if is_due => return Err(GgufError::MissingTensor { tensor: bias }).in_file(&gguf.path),
            None => {}
        }
    }
    match infos.keys().next() {
        None => Ok(tensors),
        Some(name) => {
            let why = format!("{} of {} blocks has no place for it", config.architecture, config.n_layers);
            Err(GgufError::Tensor { tensor: (*name).to_owned(), why }).in_file(&gguf.path)
        }
    }
}

/// A tensor of the shape that the keys say, in the order that it lies in.
fn placed(gguf: &Gguf, info: &TensorInfo, config: &Config, module: &Module) -> Result<Tensor> {
    let sizes = if info.name.ends_with(".bias") { &module.shape[..1] } else { module.shape };
    let expected: Vec<usize> = sizes.iter().map(|size| size.of(config)).collect();
    if info.shape != expected {
        let keys: Vec<&str> = sizes.iter().map(|size| size.keys()).collect();
        let (tensor, found, keys) = (info.name.clone(), info.shape.clone(), keys.join(", "));
        return Err(GgufError::WrongShape { tensor, found, expected, keys }).in_file(&gguf.path);
    }
    let order = export_order(config, &info.name);
    let unfit = || GgufError::Tensor { tensor: info.name.clone(), why: format!("cannot lie as {order:?}") };
    gguf.tensor(info)?.in_order(order).ok_or_else(unfit).in_file(&gguf.path)
}
