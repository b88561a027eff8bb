//! Activations times weights: `y[r][j] = sum over k of x[r][k] * w[j][k]`.
//!
//! Weights stay as the file has them, quantized ones too. An aligned F32 row is used in place; other rows are decoded into a scratch of a
//! few rows, which is exact: every number that a block stands for is an `f32`. A Conv1D weight of floats may lie the other way round,
//! `(in, out)`: its columns are turned into rows on the way into the scratch, so that the sum is the same sum. Activations are never
//! quantized. Cost: `rows * n_in * n_out` products, and one decoding of the weights for every 32 rows.

use super::lanes::{LANES, SIDE, dots, tile};
use super::widen::{Float, widen};
use super::{Isa, Kind, per_isa};
use crate::{Dtype, quant};

/// Rows of activations that share one widening of the weights; at hidden size 256 they fit the first cache.
const BLOCK_ROWS: usize = 32;
/// Weight rows that are widened together, where weights lie `(out, in)`.
const PANEL: usize = 4;
/// Weight rows that are widened together, where weights lie `(in, out)`.
const PANEL_TURNED: usize = 16;
/// Columns that are summed together where weights lie `(in, out)` and are not turned.
const PANEL_STRAIGHT: usize = 64;
/// Products below which a second thread costs more than it saves.
const PARALLEL: usize = 1 << 17;

/// How a weight lies in its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `(n_out, n_in)`, as a `Linear` of torch.
    OutIn,
    /// `(n_in, n_out)`, as a `Conv1D` of GPT-2.
    InOut,
}

/// A weight of `n_out` rows of `n_in` numbers, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    bytes: &'a [u8],
    stored: Stored,
    layout: Layout,
    n_out: usize,
    n_in: usize,
}

/// How the numbers of a weight are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stored {
    Float(Float),
    /// Codes of one byte, and the one scale of all.
    AprQ8 {
        scale: f32,
    },
    Blocks(Dtype),
}

impl Stored {
    /// Bytes of a row of `n` numbers.
    fn row_bytes(self, n: usize) -> usize {
        match self {
            Stored::Float(float) => n * float.size(),
            Stored::AprQ8 { .. } => n,
            Stored::Blocks(dtype) => n / dtype.block().0 * dtype.block().1,
        }
    }
}

impl<'a> Weights<'a> {
    /// The weight in `bytes`, little endian.
    ///
    /// # Panics
    /// If `bytes` is not `n_out` rows of `n_in` numbers long, if a row is not a whole number of blocks, if `dtype` is none of a weight, or
    /// if numbers that do not stand on their own lie `(in, out)`.
    pub fn new(bytes: &'a [u8], dtype: Dtype, layout: Layout, n_out: usize, n_in: usize) -> Self {
        assert!(dtype.is_weight(), "weights of dtype {dtype}");
        assert_eq!(Some(bytes.len()), dtype.bytes_of(&[n_out, n_in]), "bytes of a weight of {n_out} rows of {n_in}");
        let (stored, bytes) = match Float::of(dtype) {
            Some(float) => (Stored::Float(float), bytes),
            None if dtype == Dtype::AprQ8 => (Stored::AprQ8 { scale: quant::apr_q8_scale(bytes) }, &bytes[4..]),
            None => (Stored::Blocks(dtype), bytes),
        };
        assert!(layout == Layout::OutIn || matches!(stored, Stored::Float(_)), "{dtype} columns");
        assert!(n_in.is_multiple_of(dtype.block().0), "rows of {n_in} in blocks of {dtype}");
        Weights { bytes, stored, layout, n_out, n_in }
    }

    /// `(n_out, n_in)`.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.n_out, self.n_in)
    }

    /// Rows `first..first + n`, one after another, where they can be used as they lie.
    #[inline(always)]
    fn in_place(&self, first: usize, n: usize) -> Option<&'a [f32]> {
        if self.stored != Stored::Float(Float::F32) || self.layout != Layout::OutIn || cfg!(target_endian = "big") {
            return None;
        }
        let bytes = &self.bytes[first * self.n_in * 4..(first + n) * self.n_in * 4];
        // SAFETY: every pattern of four bytes is an f32, and `align_to` cuts at f32 alignment.
        let (head, rows, tail) = unsafe { bytes.align_to::<f32>() };
        (head.is_empty() && tail.is_empty()).then_some(rows)
    }

    /// Decodes rows `first..first + n` to `out`, one after another.
    #[inline(always)]
    pub(crate) fn decode(&self, first: usize, n: usize, out: &mut [f32]) {
        match (self.layout, self.stored) {
            (Layout::OutIn, stored) => {
                let row = stored.row_bytes(self.n_in);
                let bytes = &self.bytes[first * row..(first + n) * row];
                let out = &mut out[..n * self.n_in];
                match stored {
                    Stored::Float(float) => widen(float, bytes, out),
                    Stored::AprQ8 { scale } => quant::dequantize_apr_q8(scale, bytes, out),
                    Stored::Blocks(dtype) => quant::dequantize(dtype, bytes, out),
                }
            }
            (Layout::InOut, Stored::Float(float)) => self.turn(float, first, n, out),
            (Layout::InOut, _) => unreachable!("`new` refuses such weights"),
        }
    }

    /// Columns `first..first + n` of floats that lie `(in, out)`, as rows. By blocks of 16 x 16: a block is read by its rows and written by
    /// whole cache lines.
    #[inline(always)]
    fn turn(&self, float: Float, first: usize, n: usize, out: &mut [f32]) {
        let mut block = [[0f32; PANEL_TURNED]; 16];
        for k in (0..self.n_in).step_by(16) {
            let depth = (self.n_in - k).min(16);
            for (kk, row) in block[..depth].iter_mut().enumerate() {
                let start = ((k + kk) * self.n_out + first) * float.size();
                widen(float, &self.bytes[start..start + n * float.size()], &mut row[..n]);
            }
            for j in 0..n {
                let out = &mut out[j * self.n_in + k..][..depth];
                for (out, row) in out.iter_mut().zip(&block) {
                    *out = row[j];
                }
            }
        }
    }
}

/// `x (rows, n_in)` times `w` to `y (rows, n_out)`.
///
/// With `parallel` the work is split over the rayon pool that the caller runs in; without it, rayon is not touched.
///
/// # Panics
/// If `x` or `y` does not hold `rows` rows.
pub fn matmul(isa: Isa, parallel: bool, w: Weights<'_>, x: &[f32], y: &mut [f32], rows: usize) {
    assert_eq!(x.len(), rows * w.n_in, "activations of {rows} rows");
    assert_eq!(y.len(), rows * w.n_out, "results of {rows} rows");
    if y.is_empty() {
        return;
    }
    if w.n_in == 0 {
        return y.fill(0.0);
    }
    if let Kind::Other(order) = isa.0 {
        return order.matmul(parallel, w, x, y);
    }
    let threads = if parallel && rows * w.n_in * w.n_out >= PARALLEL { rayon::current_num_threads() } else { 1 };
    if threads == 1 {
        for (x, y) in x.chunks(BLOCK_ROWS * w.n_in).zip(y.chunks_mut(BLOCK_ROWS * w.n_out)) {
            block(isa, isa, w, 0, w.n_out, x, y);
        }
        return;
    }
    use rayon::prelude::*;
    if rows >= threads {
        let share = rows.div_ceil(threads).min(BLOCK_ROWS);
        let shares = y.par_chunks_mut(share * w.n_out).zip(x.par_chunks(share * w.n_in));
        shares.for_each(|(y, x)| block(isa, isa, w, 0, w.n_out, x, y));
    } else {
        let share = w.n_out.div_ceil(threads).next_multiple_of(PANEL_TURNED);
        for (x, y) in x.chunks(w.n_in).zip(y.chunks_mut(w.n_out)) {
            y.par_chunks_mut(share).enumerate().for_each(|(i, y)| block(isa, isa, w, i * share, y.len(), x, y));
        }
    }
}

per_isa! {
    /// Columns `first..first + n` of the product: `x (rows, n_in)` to `y (rows, n)`.
    ///
    /// Tiles are computed by the instructions of `tiles`, everything else by those that this is compiled for.
    fn block(tiles: Isa, w: Weights<'_>, first: usize, n: usize, x: &[f32], y: &mut [f32]) = block_body;
}

#[inline(always)]
fn block_body(tiles: Isa, w: Weights<'_>, first: usize, n: usize, x: &[f32], y: &mut [f32]) {
    if let (Layout::InOut, Stored::Float(float)) = (w.layout, w.stored)
        && x.len() < SIDE * w.n_in
    {
        for (x, y) in x.chunks_exact(w.n_in).zip(y.chunks_exact_mut(n)) {
            let (panels, rest) = y.as_chunks_mut::<PANEL_STRAIGHT>();
            let past = first + panels.len() * PANEL_STRAIGHT;
            for (i, y) in panels.iter_mut().enumerate() {
                *y = straight(w, float, first + i * PANEL_STRAIGHT, x);
            }
            for (i, y) in rest.iter_mut().enumerate() {
                [*y] = straight(w, float, past + i, x);
            }
        }
        return;
    }
    let panel = if w.layout == Layout::OutIn { PANEL } else { PANEL_TURNED };
    let mut scratch = Vec::new();
    for j in (0..n).step_by(panel) {
        let n_panel = (n - j).min(panel);
        let mut rows: [&[f32]; PANEL_TURNED] = [&[]; PANEL_TURNED];
        match w.in_place(first + j, n_panel) {
            Some(panel) => rows.iter_mut().zip(panel.chunks_exact(w.n_in)).for_each(|(row, w)| *row = w),
            None => {
                scratch.resize(panel * w.n_in, 0f32);
                w.decode(first + j, n_panel, &mut scratch);
                rows.iter_mut().zip(scratch.chunks_exact(w.n_in)).for_each(|(row, w)| *row = w);
            }
        }
        columns(tiles, &rows[..n_panel], x, &mut y[j..], n);
    }
}

/// Columns of the product from as many weight rows; a row of `y` is `stride` long.
#[inline(always)]
fn columns(tiles: Isa, w: &[&[f32]], x: &[f32], y: &mut [f32], stride: usize) {
    let n_in = w[0].len();
    let rows = x.len() / n_in;
    let x = |r: usize| &x[r * n_in..(r + 1) * n_in];
    let whole = rows - rows % SIDE;
    let (quads, rest) = w.as_chunks::<SIDE>();
    for r in (0..whole).step_by(SIDE) {
        let x = [x(r), x(r + 1), x(r + 2), x(r + 3)];
        for (i, quad) in quads.iter().enumerate() {
            for (t, sums) in tile(tiles, *quad, x).iter().enumerate() {
                y[(r + t) * stride + SIDE * i..][..SIDE].copy_from_slice(sums);
            }
        }
        for (i, w) in rest.iter().enumerate() {
            for (t, sum) in dots(w, x).into_iter().enumerate() {
                y[(r + t) * stride + SIDE * quads.len() + i] = sum;
            }
        }
    }
    for r in whole..rows {
        let y = &mut y[r * stride..][..w.len()];
        for (y, quad) in y.chunks_exact_mut(SIDE).zip(quads) {
            y.copy_from_slice(&dots(x(r), *quad));
        }
        for (y, w) in y[SIDE * quads.len()..].iter_mut().zip(rest) {
            *y = dots(x(r), [w])[0];
        }
    }
}

/// `N` columns for one row of activations, straight from `(in, out)`: turning the weights around would take longer than
/// using them. Accumulator `l` of every column is a row of `lanes`, so the sums are those of [`dots`].
#[inline(always)]
fn straight<const N: usize>(w: Weights<'_>, float: Float, first: usize, x: &[f32]) -> [f32; N] {
    let mut lanes = [[0f32; N]; LANES];
    for (k, x) in x.iter().enumerate() {
        let start = (k * w.n_out + first) * float.size();
        let mut row = [0f32; N];
        widen(float, &w.bytes[start..start + N * float.size()], &mut row);
        let lane = &mut lanes[k % LANES];
        for j in 0..N {
            lane[j] += x * row[j];
        }
    }
    for half in [8, 4, 2, 1] {
        let (lower, upper) = lanes.split_at_mut(half);
        for (lower, upper) in lower.iter_mut().zip(upper) {
            for (lower, upper) in lower.iter_mut().zip(upper) {
                *lower += *upper;
            }
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::super::lanes::naive_dot;
    use super::super::seeds;
    use super::*;

    fn naive(w: &[f32], x: &[f32], n_in: usize) -> Vec<f32> {
        x.chunks(n_in).flat_map(|x| w.chunks(n_in).map(|w| naive_dot(w, x))).collect()
    }

    /// The same numbers as bytes of each dtype, layout and alignment.
    fn stored(w: &[f32], n_out: usize, n_in: usize, dtype: Dtype, layout: Layout, offset: usize) -> (Vec<u8>, usize) {
        let number = |v: f32| quant::quantize(dtype, &[v], 1).expect("a scalar");
        let mut bytes = vec![0u8; offset];
        match layout {
            Layout::OutIn => w.iter().for_each(|&v| bytes.extend(number(v))),
            Layout::InOut => (0..n_in).for_each(|k| (0..n_out).for_each(|j| bytes.extend(number(w[j * n_in + k])))),
        }
        (bytes, offset)
    }

    /// Numbers that F16 and BF16 hold exactly: eight bits of significand, few exponents.
    fn exact(seed: u64, n: usize) -> Vec<f32> {
        seeds::values(seed, n).into_iter().map(|v| f32::from_bits(v.to_bits() & 0xFFFF_0000)).collect()
    }

    /// The one runner: every instruction set, dtype, layout, alignment and thread count against the naive product.
    fn run(n_out: usize, n_in: usize, rows: usize, pool: &rayon::ThreadPool) {
        let w = exact(n_in as u64 + 1, n_out * n_in);
        let x = seeds::values(n_out as u64 + 7, rows * n_in);
        let expected = seeds::bits(&naive(&w, &x, n_in));
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            for layout in [Layout::OutIn, Layout::InOut] {
                for offset in [0, 1, 4] {
                    let (bytes, offset) = stored(&w, n_out, n_in, dtype, layout, offset);
                    let weights = Weights::new(&bytes[offset..], dtype, layout, n_out, n_in);
                    for isa in Isa::all() {
                        for parallel in [false, true] {
                            let mut y = vec![f32::NAN; rows * n_out];
                            if parallel {
                                pool.install(|| matmul(isa, true, weights, &x, &mut y, rows));
                            } else {
                                matmul(isa, false, weights, &x, &mut y, rows);
                            }
                            assert_eq!(
                                seeds::bits(&y),
                                expected,
                                "({n_out}, {n_in}) x {rows}: {dtype} {layout:?} at {offset}, {isa:?}, parallel {parallel}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_path_gives_the_bits_of_the_naive_product() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for n_in in seeds::LENGTHS.into_iter().filter(|&n| n > 0) {
            for (n_out, rows) in [(1, 1), (3, 2), (5, 5), (18, 1), (33, 4)] {
                run(n_out, n_in, rows, &pool);
            }
        }
        // Large enough to be split over threads, by rows and by columns.
        for (n_out, n_in, rows) in [(80, 64, 67), (512, 257, 1), (520, 256, 2), (64, 64, 33)] {
            run(n_out, n_in, rows, &pool);
        }
    }

    #[test]
    fn nothing_in_gives_zero_and_nothing_out_gives_nothing() {
        let mut y = [1.0, 1.0];
        matmul(Isa::best(), false, Weights::new(&[], Dtype::F32, Layout::OutIn, 2, 0), &[], &mut y, 1);
        assert_eq!(y, [0.0, 0.0]);
        matmul(Isa::best(), false, Weights::new(&[], Dtype::F32, Layout::OutIn, 0, 3), &[0.0; 3], &mut [], 1);
    }
}
