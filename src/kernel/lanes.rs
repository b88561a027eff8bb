//! Sums of `f32` products: sixteen accumulators, element `k` goes to accumulator `k % 16`, and a fixed tree at the end.
//!
//! Sixteen is one register of AVX-512 and two of AVX2; four such sums side by side are enough to hide the latency of an addition. The error of a sum of `n` products grows
//! with `n / 16`, not with `n`. A product and a sum are two roundings: nothing here asks for a fused one, and the compiler
//! does not make one of its own accord.

use super::{Isa, Kind, per_isa};

/// Accumulators of a sum.
pub(super) const LANES: usize = 16;

/// Sums along each side of a [`tile`].
pub(super) const SIDE: usize = 4;

/// Sixteen sums of products, `tile[r][c]` of `x[r]` and `w[c]`, all of one length: each number is read once for four products.
///
/// # Panics
/// If the rows are not of one length.
#[inline]
pub(super) fn tile(isa: Isa, w: [&[f32]; SIDE], x: [&[f32]; SIDE]) -> [[f32; SIDE]; SIDE] {
    let n = w[0].len();
    assert!(w.iter().chain(&x).all(|row| row.len() == n), "rows of one length");
    let mut sums = [[0f32; SIDE]; SIDE];
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of this kind is made by `Isa` alone, after it detected AVX-512.
        Kind::Avx512 => sums = unsafe { wide::tile(w, x) },
        _ => narrow(isa, w, x, &mut sums),
    }
    sums
}

per_isa! {
    fn narrow(w: [&[f32]; SIDE], x: [&[f32]; SIDE], sums: &mut [[f32; SIDE]; SIDE]) = narrow_body;
}

#[inline(always)]
fn narrow_body(w: [&[f32]; SIDE], x: [&[f32]; SIDE], sums: &mut [[f32; SIDE]; SIDE]) {
    for (sums, x) in sums.iter_mut().zip(x) {
        *sums = dots(x, w);
    }
}

/// The tile in registers of sixteen numbers. Written out, because the compiler keeps sixteen accumulators on the stack and adds up each of
/// them alone: a fifth of the speed.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{LANES, SIDE};

    /// [`super::tile`]; rows are of one length.
    #[target_feature(enable = "avx512f,avx512dq")]
    pub(super) fn tile(w: [&[f32]; SIDE], x: [&[f32]; SIDE]) -> [[f32; SIDE]; SIDE] {
        let n = w[0].len();
        let mut sums = [[_mm512_setzero_ps(); SIDE]; SIDE];
        for k in (0..n).step_by(LANES) {
            // Past the end zeros are read: a product of zeros changes no sum.
            let mask = if n - k < LANES { (1 << (n - k)) - 1 } else { __mmask16::MAX };
            // SAFETY: the mask ends where the row does.
            let block = |row: &[f32]| unsafe { _mm512_maskz_loadu_ps(mask, row.as_ptr().add(k)) };
            let w = [block(w[0]), block(w[1]), block(w[2]), block(w[3])];
            for r in 0..SIDE {
                let x = block(x[r]);
                for c in 0..SIDE {
                    sums[r][c] = _mm512_add_ps(sums[r][c], _mm512_mul_ps(w[c], x));
                }
            }
        }
        [trees(sums[0]), trees(sums[1]), trees(sums[2]), trees(sums[3])]
    }

    /// [`super::tree`] of four at once.
    #[target_feature(enable = "avx512f,avx512dq")]
    fn trees([a, b, c, d]: [__m512; SIDE]) -> [f32; SIDE] {
        // A register is four quarters. Lower half plus upper half, of two sums side by side.
        let halves = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b));
        let (ab, cd) = (halves(a, b), halves(c, d));
        // Lower quarter plus upper quarter, of all four: one quarter each is left.
        let quarters = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(ab, cd), _mm512_shuffle_f32x4::<0xDD>(ab, cd));
        let pairs = _mm512_add_ps(quarters, _mm512_permute_ps::<0x4E>(quarters));
        let sums = _mm512_add_ps(pairs, _mm512_permute_ps::<0xB1>(pairs));
        let mut out = [0f32; LANES];
        // SAFETY: sixteen numbers fit.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sums) };
        [out[0], out[4], out[8], out[12]]
    }
}

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
pub(super) fn tree(lanes: [f32; LANES]) -> f32 {
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
    use super::super::seeds;
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
                let rows: [&[f32]; SIDE] = std::array::from_fn(|r| x[r].as_slice());
                for (r, sums) in tile(isa, rows, [&w, rows[0], rows[1], rows[2]]).iter().enumerate() {
                    let by = [&w, rows[0], rows[1], rows[2]][r];
                    let naive: Vec<f32> = rows.iter().map(|row| naive_dot(row, by)).collect();
                    assert_eq!(seeds::bits(sums), seeds::bits(&naive), "length {n}, {isa:?}, row {r} of a tile");
                }
                let mut sums = [f32::NAN; 4];
                four(isa, &w, [&x[0], &x[1], &x[2], &x[3]], &mut sums);
                let naive: Vec<f32> = x.iter().map(|x| naive_dot(&w, x)).collect();
                assert_eq!(seeds::bits(&sums), seeds::bits(&naive), "length {n}, {isa:?}");
            }
        }
    }
}
