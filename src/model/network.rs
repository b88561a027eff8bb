//! What every architecture does, and which architecture a configuration names.

use super::gpt2::Gpt2;
use super::layers::{Compute, Pass};
use super::llama::Llama;
use super::qwen2::Qwen2;
use crate::kernel::attention::Heads;
use crate::kernel::rope::Rope;
use crate::{Architecture, Config, Result, Tensors};

/// An architecture with its weights. Rows never see each other but through attention.
pub(crate) trait Network: Send + Sync {
    /// Embedding and blocks: the rows of the pass to the residual stream `(rows, hidden_size)`.
    fn blocks(&self, pass: &mut Pass<'_>) -> Vec<f32>;

    /// The last norm: `(n, hidden_size)` to the same shape.
    fn norm(&self, x: &[f32]) -> Vec<f32>;

    /// The head: `(n, hidden_size)` to `(n, vocab_size)`.
    fn head(&self, compute: Compute, normed: &[f32]) -> Vec<f32>;
}

/// The network of a configuration, from tensors that are checked one by one.
pub(crate) fn load(config: &Config, tensors: &Tensors) -> Result<Box<dyn Network>> {
    Ok(match config.architecture {
        Architecture::Llama => Box::new(Llama::load(config, tensors)?),
        Architecture::Qwen2 => Box::new(Qwen2::load(config, tensors)?),
        Architecture::Gpt2 => Box::new(Gpt2::load(config, tensors)?),
    })
}

impl Config {
    /// The rotations of an architecture that has them: parsing gives it the field.
    pub(crate) fn rotary(&self) -> Rope {
        Rope::new(&self.rope.expect("a rotary architecture has a rotary configuration"), self.head_dim).divided(&self.rope_freq_factors)
    }

    /// The attention of block `layer`.
    pub(crate) fn heads(&self, layer: usize) -> Heads {
        let mut scale = if self.scale_attn_weights { (self.head_dim as f64).powf(-0.5) } else { 1.0 };
        if self.scale_attn_by_inverse_layer_idx {
            scale /= (layer + 1) as f64;
        }
        let window = self.windows.get(layer).copied().flatten();
        Heads { n_heads: self.n_heads, n_kv_heads: self.n_kv_heads, head_dim: self.head_dim, scale, window }
    }
}
