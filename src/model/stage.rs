//! The places in a network that can be watched, in the order in which a pass comes by them.

use std::fmt::{self, Display, Formatter};

/// A place in the network. [`Stage::list`] has their order; [`Display`] their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The embedding, gpt2: token plus position. Width: hidden size.
    Embedding,
    /// What the first norm of a block gives. Width: hidden size.
    AttnNorm(usize),
    /// Queries, after RoPE where there is RoPE. Layout: (n_heads, head_dim).
    AttnQ(usize),
    /// Keys, after RoPE where there is RoPE. Layout: (n_kv_heads, head_dim).
    AttnK(usize),
    /// What attention adds to the residual stream, after its output projection. Width: hidden size.
    AttnOut(usize),
    /// What the MLP adds to the residual stream. Width: hidden size.
    MlpOut(usize),
    /// The residual stream after a block. Width: hidden size.
    Out(usize),
    /// What the last norm gives. Width: hidden size.
    FinalNorm,
    /// The logits. Width: vocabulary size.
    Logits,
}

impl Stage {
    /// Every stage of a network of `n_layers` blocks, in order.
    pub fn list(n_layers: usize) -> impl Iterator<Item = Stage> {
        let block = [Stage::AttnNorm, Stage::AttnQ, Stage::AttnK, Stage::AttnOut, Stage::MlpOut, Stage::Out];
        let blocks = (0..n_layers).flat_map(move |i| block.map(|stage| stage(i)));
        std::iter::once(Stage::Embedding).chain(blocks).chain([Stage::FinalNorm, Stage::Logits])
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Embedding => f.pad("embedding"),
            Stage::AttnNorm(i) => write!(f, "blk.{i}.attn_norm"),
            Stage::AttnQ(i) => write!(f, "blk.{i}.attn.q"),
            Stage::AttnK(i) => write!(f, "blk.{i}.attn.k"),
            Stage::AttnOut(i) => write!(f, "blk.{i}.attn_out"),
            Stage::MlpOut(i) => write!(f, "blk.{i}.mlp_out"),
            Stage::Out(i) => write!(f, "blk.{i}.out"),
            Stage::FinalNorm => f.pad("final_norm"),
            Stage::Logits => f.pad("logits"),
        }
    }
}

/// Somebody who watches the stages of a pass.
pub(crate) trait Observer: Send {
    /// `values (n_rows, width)`. The final norm and the logits are shown for the rows that were asked for, other stages for all.
    fn observe(&mut self, stage: Stage, values: &[f32], n_rows: usize);
}
