//! The layers that architectures are made of: weights that stay as the file has them, and how a pass goes through them.

use crate::Tensor;
use crate::checkpoint::{Order, interleaved};
use crate::kernel::Isa;
use crate::kernel::attention::{Heads, attention};
use crate::kernel::matmul::{Layout, Weights, matmul};
use crate::kernel::norm::{layer_norm, rms_norm};

use super::cache::KvCache;
use super::stage::{Observer, Stage};

/// What the arithmetic runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compute {
    pub(crate) isa: Isa,
    /// Whether to split work over the rayon pool that the pass runs in.
    pub(crate) parallel: bool,
}

/// `x W^T + b`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor, // (n_out, n_in), or (n_in, n_out) of a Conv1D
    pub(crate) layout: Layout,
    pub(crate) n_out: usize,
    pub(crate) n_in: usize,
    pub(crate) bias: Option<Vec<f32>>, // (n_out)
}

impl Linear {
    /// `x (rows, n_in)` to `(rows, n_out)`.
    pub(crate) fn forward(&self, compute: Compute, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.n_in;
        let mut y = vec![0f32; rows * self.n_out];
        let weights = Weights::new(self.weight.bytes(), self.weight.dtype(), self.layout, self.n_out, self.n_in);
        matmul(compute.isa, compute.parallel, weights, x, &mut y, rows);
        if let Order::InterleavedHeads(heads) = self.weight.order() {
            let mut stored = vec![0f32; self.n_out];
            for row in y.chunks_exact_mut(self.n_out) {
                stored.copy_from_slice(row);
                row.iter_mut().enumerate().for_each(|(i, y)| *y = stored[interleaved(i, self.n_out / heads)]);
            }
        }
        if let Some(bias) = &self.bias {
            y.chunks_exact_mut(self.n_out).for_each(|row| add(row, bias));
        }
        y
    }
}

/// A row for every token, or for every position.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    pub(crate) weight: Tensor, // (rows, width)
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

impl Embedding {
    /// The rows of `indices`: `(indices, width)`. Indices are below `rows`: requests are checked before a pass.
    pub(crate) fn forward(&self, indices: impl ExactSizeIterator<Item = usize>) -> Vec<f32> {
        let mut out = vec![0f32; indices.len() * self.width];
        let weights = Weights::new(self.weight.bytes(), self.weight.dtype(), Layout::OutIn, self.rows, self.width);
        for (out, row) in out.chunks_exact_mut(self.width).zip(indices) {
            debug_assert!(row < self.rows);
            weights.decode(row, 1, out);
        }
        out
    }

    /// Whether both hold the same numbers, row by row, whatever their dtypes.
    pub(crate) fn has_the_values_of(&self, other: &Embedding) -> bool {
        let row = |embedding: &Embedding, i| embedding.forward(std::iter::once(i));
        self.rows == other.rows && (0..self.rows).all(|i| row(self, i) == row(other, i))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Vec<f32>, // (width)
    pub(crate) eps: f64,
}

impl RmsNorm {
    /// `x (rows, width)` to the same shape.
    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0f32; x.len()];
        rms_norm(x, &self.weight, self.eps, &mut out);
        out
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>, // (width)
    pub(crate) bias: Vec<f32>,   // (width)
    pub(crate) eps: f64,
}

impl LayerNorm {
    /// `x (rows, width)` to the same shape.
    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0f32; x.len()];
        layer_norm(x, &self.weight, &self.bias, self.eps, &mut out);
        out
    }
}

/// `x += y`, the residual connection.
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "the two sides of a residual connection");
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Rows of several sequences that go through the network together.
pub(crate) struct Pass<'a> {
    pub(crate) compute: Compute,
    pub(crate) ids: Vec<usize>,       // (rows)
    pub(crate) positions: Vec<usize>, // (rows)
    pub(crate) segments: Vec<Segment<'a>>,
    pub(crate) observer: Option<&'a mut dyn Observer>,
}

/// The rows of one sequence in a pass.
pub(crate) struct Segment<'a> {
    pub(crate) rows: std::ops::Range<usize>,
    pub(crate) cache: &'a mut KvCache,
}

impl Pass<'_> {
    /// Shows a stage `(rows, width)` to whoever watches.
    pub(crate) fn observe(&mut self, stage: Stage, values: &[f32]) {
        self.observe_rows(stage, values, self.ids.len());
    }

    /// Shows a stage `(n_rows, width)` of some rows of the pass.
    pub(crate) fn observe_rows(&mut self, stage: Stage, values: &[f32], n_rows: usize) {
        if let Some(observer) = &mut self.observer {
            observer.observe(stage, values, n_rows);
        }
    }

    /// Appends keys and values of block `layer` to each sequence's cache, and lets each row attend to its own sequence.
    /// `q (rows, n_heads * head_dim)`, `k` and `v (rows, n_kv_heads * head_dim)`, to the shape of `q`.
    pub(crate) fn attend(&mut self, layer: usize, heads: Heads, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let (width, kv_width) = (heads.n_heads * heads.head_dim, heads.n_kv_heads * heads.head_dim);
        let mut out = vec![0f32; q.len()];
        for Segment { rows, cache } in &mut self.segments {
            let (of_q, of_kv) = (rows.start * width..rows.end * width, rows.start * kv_width..rows.end * kv_width);
            let seen = cache.append(layer, &k[of_kv.clone()], &v[of_kv]);
            let start = self.positions[rows.start];
            attention(self.compute.isa, self.compute.parallel, heads, seen, start, &q[of_q.clone()], &mut out[of_q]);
        }
        out
    }
}
