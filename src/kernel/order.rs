//! The same sums in other orders and with other roundings: as correct as those of [`super::lanes`], with other last bits.
//!
//! A bound that only one order of additions keeps would be no bound, so the suite judges this engine by each of these as well
//! (`runtimes/specificity.toml`). They are written for that alone, one sum of products at a time; no model takes one that was not asked to.
//! Within each of them an output element has one order of additions, as everywhere in this folder.

use rayon::prelude::*;

use super::attention::{Heads, Seen, weighted_sum};
use super::lanes::{LANES, tree};
use super::matmul::Weights;
use super::softmax::softmax;

/// How a sum of products is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Sixteen accumulators, a product and its sum in one rounding.
    Fused,
    /// Sixteen accumulators, from the last product to the first.
    Reversed,
    /// One accumulator, from the first product to the last.
    Sequential,
}

impl Order {
    fn dot(self, w: &[f32], x: &[f32]) -> f32 {
        assert_eq!(w.len(), x.len(), "factors of a sum of products");
        match self {
            Order::Fused => fused(w, x),
            Order::Reversed => {
                let mut lanes = [0f32; LANES];
                for (k, (w, x)) in w.iter().zip(x).rev().enumerate() {
                    lanes[k % LANES] += w * x;
                }
                tree(lanes)
            }
            Order::Sequential => w.iter().zip(x).fold(0.0, |sum, (w, x)| sum + w * x),
        }
    }

    /// [`super::matmul::matmul`], the rows of activations split over the pool.
    pub(super) fn matmul(self, parallel: bool, w: Weights<'_>, x: &[f32], y: &mut [f32]) {
        let (n_out, n_in) = w.shape();
        let threads = if parallel { rayon::current_num_threads() } else { 1 };
        let share = (x.len() / n_in).div_ceil(threads);
        let shares = |(x, y): (&[f32], &mut [f32])| {
            let mut row = vec![0f32; n_in];
            for j in 0..n_out {
                w.decode(j, 1, &mut row);
                for (x, y) in x.chunks_exact(n_in).zip(y.chunks_exact_mut(n_out)) {
                    y[j] = self.dot(&row, x);
                }
            }
        };
        if threads == 1 {
            return shares((x, y));
        }
        x.par_chunks(share * n_in).zip(y.par_chunks_mut(share * n_out)).for_each(shares);
    }

    /// One row of [`super::attention::attention`].
    pub(super) fn attend(self, heads: Heads, seen: Seen<'_>, position: usize, q: &[f32], scores: &mut Vec<f64>, out: &mut [f32]) {
        let Heads { n_heads, n_kv_heads, head_dim, scale, window } = heads;
        let width = n_kv_heads * head_dim;
        let first = window.map_or(0, |window| (position + 1).saturating_sub(window));
        for (h, (q, out)) in q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim)).enumerate() {
            let kv = h / (n_heads / n_kv_heads) * head_dim;
            let at = |t: usize| t * width + kv..t * width + kv + head_dim;
            scores.clear();
            scores.extend((first..=position).map(|t| f64::from(self.dot(q, &seen.keys[at(t)])) * scale));
            softmax(scores);
            weighted_sum(scores, (first..=position).map(|t| &seen.values[at(t)]), out);
        }
    }
}

/// By the instruction where the machine has it, by the slow way of the standard library elsewhere: the bits are the same.
fn fused(w: &[f32], x: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        #[target_feature(enable = "fma")]
        fn instruction(w: &[f32], x: &[f32]) -> f32 {
            fused_body(w, x)
        }
        // SAFETY: the instruction is there.
        return unsafe { instruction(w, x) };
    }
    fused_body(w, x)
}

#[inline(always)]
fn fused_body(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    for (w, x) in w.chunks(LANES).zip(x.chunks(LANES)) {
        for (lane, (w, x)) in lanes.iter_mut().zip(w.iter().zip(x)) {
            *lane = w.mul_add(*x, *lane);
        }
    }
    tree(lanes)
}

#[cfg(test)]
mod tests {
    use super::super::lanes::naive_dot;
    use super::super::{Isa, seeds};
    use super::*;
    use crate::Dtype;
    use crate::kernel::matmul::{Layout, matmul};

    const ORDERS: [Order; 3] = [Order::Fused, Order::Reversed, Order::Sequential];

    /// What each order says of itself, product by product.
    fn naive(order: Order, w: &[f32], x: &[f32]) -> f32 {
        let reversed = |v: &[f32]| v.iter().rev().copied().collect::<Vec<f32>>();
        match order {
            Order::Fused => {
                let mut lanes = [0f32; LANES];
                for k in 0..w.len() {
                    lanes[k % LANES] = w[k].mul_add(x[k], lanes[k % LANES]);
                }
                tree(lanes)
            }
            Order::Reversed => naive_dot(&reversed(w), &reversed(x)),
            Order::Sequential => {
                let mut sum = 0.0;
                for k in 0..w.len() {
                    sum += w[k] * x[k];
                }
                sum
            }
        }
    }

    #[test]
    fn each_order_has_bits_of_its_own_and_the_accuracy_of_all() {
        let mut differ = [0; ORDERS.len()];
        for (n, seed) in seeds::LENGTHS.into_iter().flat_map(|n| (0..20).map(move |seed| (n, 1000 * seed + n as u64))) {
            let (w, x) = (seeds::values(seed, n), seeds::values(100 + seed, n));
            let exact: f64 = w.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            let magnitude: f64 = w.iter().zip(&x).map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs()).sum();
            for (order, differ) in ORDERS.into_iter().zip(&mut differ) {
                let sum = order.dot(&w, &x);
                assert_eq!(sum.to_bits(), naive(order, &w, &x).to_bits(), "{order:?}, length {n}, seed {seed}");
                // No order of n additions is further off than n roundings of the sum of magnitudes.
                let bound = n as f64 * f64::from(f32::EPSILON) * magnitude;
                assert!((f64::from(sum) - exact).abs() <= bound, "{order:?}, length {n}, seed {seed}: {sum} for {exact}");
                *differ += usize::from(sum.to_bits() != naive_dot(&w, &x).to_bits());
            }
        }
        // Many a sum has the same bits in every order: short ones, and those that one large product decides.
        assert!(differ.iter().all(|n| *n >= 40), "sums of other bits, by order: {differ:?} of {}", 20 * seeds::LENGTHS.len());
    }

    #[test]
    fn a_product_is_the_orders_own_sums_on_any_number_of_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let (n_out, n_in, rows) = (7, 64, 8);
        let (w, x) = (seeds::values(1, n_out * n_in), seeds::values(2, rows * n_in));
        let bytes: Vec<u8> = w.iter().flat_map(|v| v.to_le_bytes()).collect();
        let weights = Weights::new(&bytes, Dtype::F32, Layout::OutIn, n_out, n_in);
        let turned: Vec<u8> = (0..n_in).flat_map(|k| (0..n_out).map(move |j| j * n_in + k)).flat_map(|i| w[i].to_le_bytes()).collect();
        let columns = Weights::new(&turned, Dtype::F32, Layout::InOut, n_out, n_in);
        let product = |isa: Isa, w: Weights<'_>, parallel: bool| {
            let mut y = vec![f32::NAN; rows * n_out];
            pool.install(|| matmul(isa, parallel, w, &x, &mut y, rows));
            seeds::bits(&y)
        };
        for (isa, order) in [Isa::FUSED, Isa::REVERSED, Isa::SEQUENTIAL].into_iter().zip(ORDERS) {
            let naive: Vec<f32> = x.chunks(n_in).flat_map(|x| w.chunks(n_in).map(move |w| naive(order, w, x))).collect();
            for (parallel, w) in [(false, weights), (true, weights), (true, columns)] {
                assert_eq!(product(isa, w, parallel), seeds::bits(&naive), "{isa:?}, parallel {parallel}");
            }
            assert_ne!(product(isa, weights, false), product(Isa::PORTABLE, weights, false), "{isa:?}");
        }
    }
}
