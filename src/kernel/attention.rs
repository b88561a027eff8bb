//! Causal attention of one position over the keys and values up to it.
//!
//! Source: Vaswani et al. 2017 (arXiv 1706.03762); grouped queries, Ainslie et al. 2023 (arXiv 2305.13245). The keys are
//! visited from the first to the last whatever the rows around this one are, so a prefill and a decode step are the same
//! sequence of operations.

use super::lanes::dots;
use super::softmax::softmax;
use super::{Isa, Kind, per_isa};

/// The shape of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; `n_heads` is a multiple of it, and query head `h` reads `h / (n_heads / n_kv_heads)`.
    pub n_kv_heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// What a score is multiplied with.
    pub scale: f64,
    /// How many positions a query sees, itself among them; `None` is all of them.
    pub window: Option<usize>,
}

/// Keys and values of the positions from 0 on: what a sequence has seen, the rows that now attend among it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// `(positions, n_kv_heads * head_dim)`.
    pub keys: &'a [f32],
    /// `(positions, n_kv_heads * head_dim)`.
    pub values: &'a [f32],
}

/// Each row of `q (rows, n_heads * head_dim)`, the first of them at position `start`, attends to what was seen up to its own
/// position: `out (rows, n_heads * head_dim)`.
///
/// With `parallel` the rows are split over the rayon pool that the caller runs in.
///
/// # Panics
/// If fewer positions were seen, or `out` is not as long as `q`.
pub fn attention(isa: Isa, parallel: bool, heads: Heads, seen: Seen<'_>, start: usize, q: &[f32], out: &mut [f32]) {
    let width = heads.n_heads * heads.head_dim;
    assert_eq!(q.len(), out.len(), "queries and results");
    let row = |position, q: &[f32], scores: &mut Vec<f64>, out: &mut [f32]| match isa.0 {
        Kind::Other(order) => order.attend(heads, seen, position, q, scores, out),
        _ => row(isa, heads, seen, position, q, scores, out),
    };
    if parallel && q.len() > width {
        use rayon::prelude::*;
        let rows = q.par_chunks(width).zip(out.par_chunks_mut(width)).enumerate();
        rows.for_each_init(Vec::new, |scores, (r, (q, out))| row(start + r, q, scores, out));
    } else {
        let mut scores = Vec::new();
        for (r, (q, out)) in q.chunks(width).zip(out.chunks_mut(width)).enumerate() {
            row(start + r, q, &mut scores, out);
        }
    }
}

per_isa! {
    fn row(heads: Heads, seen: Seen<'_>, position: usize, q: &[f32], scores: &mut Vec<f64>, out: &mut [f32]) = row_body;
}

#[inline(always)]
fn row_body(heads: Heads, seen: Seen<'_>, position: usize, q: &[f32], scores: &mut Vec<f64>, out: &mut [f32]) {
    let Heads { n_heads, n_kv_heads, head_dim, scale, window } = heads;
    let width = n_kv_heads * head_dim;
    let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
    let visible = first * width..(position + 1) * width;
    let (keys, values) = (&seen.keys[visible.clone()], &seen.values[visible]);
    for (h, (q, out)) in q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate() {
        let kv = h / (n_heads / n_kv_heads) * head_dim;
        scores.clear();
        let key = |k| &keys[k * width + kv..][..head_dim];
        let seen = position + 1 - first;
        let whole = seen - seen % 4;
        for k in (0..whole).step_by(4) {
            scores.extend(dots(q, [key(k), key(k + 1), key(k + 2), key(k + 3)]).map(|dot| f64::from(dot) * scale));
        }
        for k in whole..seen {
            let [dot] = dots(q, [key(k)]);
            scores.push(f64::from(dot) * scale);
        }
        softmax(scores);
        weighted_sum(scores, values.chunks_exact(width).map(|v| &v[kv..][..head_dim]), out);
    }
}

/// `sum over t of p[t] * v[t]`, in `f64`, from the first position to the last.
#[inline(always)]
pub(super) fn weighted_sum<'v>(p: &[f64], values: impl Iterator<Item = &'v [f32]>, out: &mut [f32]) {
    let mut sums = vec![0f64; out.len()];
    for (p, v) in p.iter().zip(values) {
        for (sum, v) in sums.iter_mut().zip(v) {
            *sum += p * f64::from(*v);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sum as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::super::seeds;
    use super::*;

    /// Head `h` at `position`: scores, softmax, weighted sum, all in `f64`.
    fn naive(heads: Heads, position: usize, h: usize, q: &[f32], keys: &[f32], values: &[f32]) -> Vec<f64> {
        let (dim, width) = (heads.head_dim, heads.n_kv_heads * heads.head_dim);
        let kv = h / (heads.n_heads / heads.n_kv_heads) * dim;
        let seen: Vec<usize> = (0..=position).filter(|t| heads.window.is_none_or(|w| position - t < w)).collect();
        let dot = |t: usize| (0..dim).map(|d| f64::from(q[h * dim + d]) * f64::from(keys[t * width + kv + d])).sum::<f64>();
        let weights: Vec<f64> = seen.iter().map(|&t| (dot(t) * heads.scale).exp()).collect();
        let mean = |d: usize| seen.iter().zip(&weights).map(|(t, w)| w * f64::from(values[t * width + kv + d])).sum::<f64>();
        (0..dim).map(|d| mean(d) / weights.iter().sum::<f64>()).collect()
    }

    #[test]
    fn every_path_agrees_with_the_naive_form_and_bitwise_with_each_other() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for (n_heads, n_kv_heads, head_dim) in [(1, 1, 1), (4, 4, 16), (4, 2, 24), (6, 1, 7), (3, 3, 33)] {
            for window in [None, Some(1), Some(3), Some(100)] {
                let heads = Heads { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f64).sqrt(), window };
                let (rows, start) = (5, 4);
                let q = seeds::values(1, rows * n_heads * head_dim);
                let keys = seeds::values(2, (start + rows) * n_kv_heads * head_dim);
                let values = seeds::values(3, (start + rows) * n_kv_heads * head_dim);
                let seen = Seen { keys: &keys, values: &values };
                let mut first: Option<Vec<u32>> = None;
                for isa in Isa::all().into_iter().chain([Isa::FUSED, Isa::REVERSED, Isa::SEQUENTIAL]) {
                    let mut serial = vec![f32::NAN; q.len()];
                    attention(isa, false, heads, seen, start, &q, &mut serial);
                    let mut split = vec![f32::NAN; q.len()];
                    pool.install(|| attention(isa, true, heads, seen, start, &q, &mut split));
                    assert_eq!(seeds::bits(&serial), seeds::bits(&split), "{heads:?} {isa:?}");
                    if Isa::all().contains(&isa) {
                        assert_eq!(*first.get_or_insert(seeds::bits(&serial)), seeds::bits(&serial), "{heads:?} {isa:?}");
                    }
                    let width = n_heads * head_dim;
                    for (r, (q, got)) in q.chunks(width).zip(serial.chunks(width)).enumerate() {
                        for h in 0..n_heads {
                            let expected = naive(heads, start + r, h, q, &keys, &values);
                            for (got, expected) in got[h * head_dim..].iter().zip(expected) {
                                assert!((f64::from(*got) - expected).abs() <= 2e-5, "{heads:?}: {got} for {expected}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_window_of_one_sees_itself_alone() {
        let heads = Heads { n_heads: 1, n_kv_heads: 1, head_dim: 2, scale: 1.0, window: Some(1) };
        let mut out = [0f32; 2];
        let seen = Seen { keys: &[9.0; 4], values: &[1.0, 2.0, 3.0, 4.0] };
        attention(Isa::best(), false, heads, seen, 1, &[1.0, 1.0], &mut out);
        assert_eq!(out, [3.0, 4.0]);
    }
}
