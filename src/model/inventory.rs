//! The tensors of a checkpoint against those that the architecture needs: each is taken once, by name, and checked for
//! dtype, shape and finite values; what is left over is refused, unless it is known to be inert.
//!
//! What transformers 5.23 accepts, and what is made of it here:
//!
//! | in the files | there | here |
//! |---|---|---|
//! | a name without the prefix of the base model (`layers.0...` for `model.layers.0...`) | taken as the full name | the same |
//! | both names | one of them wins | the shorter is refused as extra |
//! | `lm_head.weight` although tied, equal to the embedding | tied | the same |
//! | `lm_head.weight` although tied, different | kept apart, with a warning | refused: [`ModelError::UntiedHead`] |
//! | `lm_head.weight` although tied, and no embedding | used as the embedding | the same |
//! | `...rotary_emb.inv_freq` (old llama), `h.N.attn.bias`, `h.N.attn.masked_bias` (old gpt2): buffers | ignored | the same |
//! | any other name | a warning | refused: [`ModelError::ExtraTensor`] |
//! | a missing tensor | random values, with a warning | refused: [`ModelError::MissingTensor`] |

use std::collections::BTreeSet;

use super::layers::{Embedding, LayerNorm, Linear, RmsNorm};
use crate::checkpoint::Order;
use crate::error::ModelError;
use crate::kernel::matmul::Layout;
use crate::{Dtype, Result, Tensor, Tensors};

/// The name of the head, the same in every architecture.
const HEAD: &str = "lm_head.weight";

/// The tensors of a checkpoint, and which of them were taken.
pub(crate) struct Inventory<'a> {
    tensors: &'a Tensors,
    /// What the names of the base model begin with; a checkpoint of the base model alone lacks it.
    prefix: &'static str,
    taken: BTreeSet<String>,
}

impl<'a> Inventory<'a> {
    pub(crate) fn new(tensors: &'a Tensors, prefix: &'static str) -> Self {
        Inventory { tensors, prefix, taken: BTreeSet::new() }
    }

    /// The tensor `name`, under its full name or without the prefix.
    fn find<'n>(&self, name: &'n str) -> Option<(&'n str, &'a Tensor)> {
        let stored = |name: &'n str| self.tensors.get(name).map(|tensor| (name, tensor));
        stored(name).or_else(|| name.strip_prefix(self.prefix).and_then(stored))
    }

    /// The tensor `name`, of that shape, every value a finite number.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some((stored, tensor)) = self.find(name) else {
            return Err(ModelError::MissingTensor { tensor: name.to_owned(), shape: shape.to_owned() }.into());
        };
        self.taken.insert(stored.to_owned());
        if tensor.shape() != shape {
            let (found, expected) = (tensor.shape().to_owned(), shape.to_owned());
            return Err(ModelError::WrongShape { tensor: stored.to_owned(), found, expected }.into());
        }
        if !tensor.dtype().is_weight() {
            return Err(ModelError::WrongDtype { tensor: stored.to_owned(), found: tensor.dtype() }.into());
        }
        if let Some((index, value)) = tensor.first_not_finite() {
            let (tensor, n_elements) = (stored.to_owned(), tensor.n_elements());
            return Err(ModelError::NotFinite { tensor, index, n_elements, value }.into());
        }
        Ok(tensor.clone())
    }

    fn vector(&mut self, name: &str, n: usize) -> Result<Vec<f32>> {
        Ok(self.take(name, &[n])?.to_f32())
    }

    /// A matrix that products can take row by row as it lies, and how it lies: what cannot be taken so is widened once, here. That is a
    /// matrix whose rows blocks cross, a transposed one of blocks, or one that lies in heads where no query or key is computed from it.
    fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<(Tensor, Order)> {
        let tensor = self.take(name, &shape)?;
        let (block, _) = tensor.dtype().block();
        let row = if tensor.order() == Order::Transposed { shape[0] } else { shape[1] };
        if row.is_multiple_of(block) {
            let order = tensor.order();
            return Ok((tensor, order));
        }
        Ok((Tensor::from_f32(Dtype::F32, shape.to_vec(), &tensor.to_f32())?, Order::RowMajor))
    }

    /// A matrix in row-major order or transposed, floats if it then lies as `needs_floats` says.
    fn product(&mut self, name: &str, shape: [usize; 2], as_it_stands: Layout, turned: Layout) -> Result<(Tensor, Layout)> {
        let (tensor, order) = self.matrix(name, shape)?;
        let layout = if order == Order::Transposed { turned } else { as_it_stands };
        if layout == Layout::OutIn || tensor.dtype().is_scalar() {
            return Ok((tensor, layout));
        }
        Ok((Tensor::from_f32(Dtype::F32, shape.to_vec(), &tensor.to_f32())?, as_it_stands))
    }

    /// `name.weight (n_out, n_in)` and, if `bias`, `name.bias (n_out)`.
    pub(crate) fn linear(&mut self, name: &str, n_out: usize, n_in: usize, bias: bool) -> Result<Linear> {
        let (weight, layout) = self.product(&format!("{name}.weight"), [n_out, n_in], Layout::OutIn, Layout::InOut)?;
        let bias = if bias { Some(self.vector(&format!("{name}.bias"), n_out)?) } else { None };
        Ok(Linear { weight, layout, n_out, n_in, bias })
    }

    /// `name.weight (n_in, n_out)` and `name.bias (n_out)`.
    pub(crate) fn conv1d(&mut self, name: &str, n_in: usize, n_out: usize) -> Result<Linear> {
        let (weight, layout) = self.product(&format!("{name}.weight"), [n_in, n_out], Layout::InOut, Layout::OutIn)?;
        let bias = Some(self.vector(&format!("{name}.bias"), n_out)?);
        Ok(Linear { weight, layout, n_out, n_in, bias })
    }

    /// `name.weight (n)`.
    pub(crate) fn rms_norm(&mut self, name: &str, n: usize, eps: f64) -> Result<RmsNorm> {
        Ok(RmsNorm { weight: self.vector(&format!("{name}.weight"), n)?, eps })
    }

    /// `name.weight (n)` and `name.bias (n)`.
    pub(crate) fn layer_norm(&mut self, name: &str, n: usize, eps: f64) -> Result<LayerNorm> {
        let weight = self.vector(&format!("{name}.weight"), n)?;
        Ok(LayerNorm { weight, bias: self.vector(&format!("{name}.bias"), n)?, eps })
    }

    /// `name.weight (rows, width)`.
    pub(crate) fn embedding(&mut self, name: &str, rows: usize, width: usize) -> Result<Embedding> {
        let name = format!("{name}.weight");
        let (weight, order) = self.matrix(&name, [rows, width])?;
        let weight = match order {
            Order::RowMajor => weight,
            _ => Tensor::from_f32(Dtype::F32, vec![rows, width], &weight.to_f32())?,
        };
        Ok(Embedding { weight, rows, width })
    }

    /// The embedding `name` and the head, which is the embedding again where the two are tied.
    pub(crate) fn embedding_and_head(&mut self, name: &str, rows: usize, width: usize, tied: bool) -> Result<(Embedding, Linear)> {
        if !tied {
            return Ok((self.embedding(name, rows, width)?, self.linear("lm_head", rows, width, false)?));
        }
        let full_name = format!("{name}.weight");
        let stored = self.find(&full_name).map(|(name, _)| name);
        let head = if self.find(HEAD).is_some() { Some(self.embedding("lm_head", rows, width)?) } else { None };
        let embedding = match (&head, stored) {
            (Some(head), None) => head.clone(),
            _ => self.embedding(name, rows, width)?,
        };
        if let (Some(head), Some(stored)) = (head, stored)
            && !head.has_the_values_of(&embedding)
        {
            return Err(ModelError::UntiedHead { head: HEAD.to_owned(), embedding: stored.to_owned() }.into());
        }
        let weight = embedding.weight.clone();
        Ok((embedding, Linear { weight, layout: Layout::OutIn, n_out: rows, n_in: width, bias: None }))
    }

    /// Refuses what was not taken, unless `inert` knows its name without the prefix.
    pub(crate) fn finish(self, inert: impl Fn(&str) -> bool) -> Result<()> {
        let short = |name: &'a str| name.strip_prefix(self.prefix).unwrap_or(name);
        let extra = self.tensors.iter().find(|(name, _)| !self.taken.contains(*name) && !inert(short(name)));
        match extra {
            Some((name, _)) => Err(ModelError::ExtraTensor { tensor: name.to_owned() }.into()),
            None => Ok(()),
        }
    }
}

/// The rest of `name` after `stem.N.`, where `N` is a block that exists: `attn.bias` of `h.3.attn.bias`.
pub(crate) fn in_block<'n>(name: &'n str, stem: &str, n_layers: usize) -> Option<&'n str> {
    let (index, rest) = name.strip_prefix(stem)?.strip_prefix('.')?.split_once('.')?;
    (0..n_layers).any(|i| i.to_string() == index).then_some(rest)
}
