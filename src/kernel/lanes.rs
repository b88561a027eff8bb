//! Sums of `f32` products: sixteen accumulators, element `k` goes to accumulator `k % 16`, and a fixed tree at the end.
//!
//! Sixteen is one register of AVX-512 and two of AVX2; four such sums side by side are enough to hide the latency of an addition. The error of a sum of `n` products grows
//! with `n / 16`, not with `n`. A product and a sum are two roundings: nothing here asks for a fused one, and the compiler
//! does not make one of its own accord.

/// Accumulators of a sum.
pub(super) const LANES: usize = 16;

/// `R` sums of products at once: `w` with each of `x`, all of one length.
///
/// The accumulators are never indexed by a variable, which is what lets the compiler keep them in vector registers.
#[inline(always)]
pub(super) fn dots<const R: usize>(w: &[f32], x: [&[f32]; R]) -> [f32; R] {
    let (w_blocks, w_tail) = w.as_chunks::<LANES>();
    let x = x.map(|x| x.as_chunks::<LANES>());
    let x_blocks = x.map(|(blocks, _)| &blocks[..w_blocks.len()]);
    let mut lanes = [[0f32; LANES]; R];
    for (block, w) in w_blocks.iter().enumerate() {
        for r in 0..R {
            add_products(&mut lanes[r], w, &x_blocks[r][block]);
        }
    }
    if !w_tail.is_empty() {
        // Accumulators past the end get a product of zeros, which changes none.
        let w = padded(w_tail);
        for r in 0..R {
            add_products(&mut lanes[r], &w, &padded(&x[r].1[..w_tail.len()]));
        }
    }
    lanes.map(tree)
}

#[inline(always)]
fn add_products(lanes: &mut [f32; LANES], w: &[f32; LANES], x: &[f32; LANES]) {
    for l in 0..LANES {
        lanes[l] += w[l] * x[l];
    }
}

#[inline(always)]
fn padded(tail: &[f32]) -> [f32; LANES] {
    let mut block = [0f32; LANES];
    block[..tail.len()].copy_from_slice(tail);
    block
}

/// The accumulators, the upper half added onto the lower until one is left.
#[inline(always)]
fn tree(lanes: [f32; LANES]) -> f32 {
    let (mut eight, mut four) = ([0f32; 8], [0f32; 4]);
    for l in 0..8 {
        eight[l] = lanes[l] + lanes[l + 8];
    }
    for l in 0..4 {
        four[l] = eight[l] + eight[l + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}

/// The order of [`dots`], element by element.
#[cfg(test)]
pub(super) fn naive_dot(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    for k in 0..w.len() {
        lanes[k % LANES] += w[k] * x[k];
    }
    for half in [8, 4, 2, 1] {
        (0..half).for_each(|l| lanes[l] += lanes[l + half]);
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::super::{Isa, per_isa, seeds};
    use super::*;

    per_isa! {
        fn four(w: &[f32], x: [&[f32]; 4], sums: &mut [f32; 4]) = four_body;
    }

    #[inline(always)]
    fn four_body(w: &[f32], x: [&[f32]; 4], sums: &mut [f32; 4]) {
        *sums = dots(w, x);
        for r in 0..4 {
            assert_eq!(dots(w, [x[r]])[0].to_bits(), sums[r].to_bits(), "row {r} alone");
            assert_eq!(dots(x[r], [w])[0].to_bits(), sums[r].to_bits(), "row {r} the other way round");
        }
    }

    #[test]
    fn every_compilation_keeps_the_order_of_the_naive_sum_at_every_length() {
        for n in seeds::LENGTHS {
            let w = seeds::values(n as u64, n);
            let x: Vec<Vec<f32>> = (0..4).map(|r| seeds::values(100 + r, n)).collect();
            for isa in Isa::all() {
                let mut sums = [f32::NAN; 4];
                four(isa, &w, [&x[0], &x[1], &x[2], &x[3]], &mut sums);
                let naive: Vec<f32> = x.iter().map(|x| naive_dot(&w, x)).collect();
                assert_eq!(seeds::bits(&sums), seeds::bits(&naive), "length {n}, {isa:?}");
            }
        }
    }
}
