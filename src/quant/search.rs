//! How the k-quants choose their numbers: the line through a group of numbers that costs least, then the scales of all groups on one grid.
//!
//! The cost is the sum of squared errors, every number counting the same: without activations nothing says which counts more. For a given
//! rounding of the numbers to codes, the best line is a least-squares fit; different roundings come from different spacings of the codes,
//! and a list of them is tried ([ggml's reference](https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c) searches so
//! too, with weights). The scales are then rounded to their few bits, and each is tried against its neighbours with the codes it leads to.
//!
//! Cost: about thirty passes over each group. Every sum runs over eight lanes in one order, so that the blocks do not depend on the
//! instructions of the machine; nothing but `+ - * /` and a rounding is used.

use super::block::to_half;

const LANES: usize = 8;

/// Added and subtracted again, it leaves the nearest whole number, ties to even: of anything below 2^22.
const ROUND: f32 = 12_582_912.0;

/// The nearest whole number.
#[inline(always)]
fn round(v: f32) -> f32 {
    (v + ROUND) - ROUND
}

/// `low` and `high` are ordered, and NaN becomes `low`. Unlike `f32::clamp` it is two instructions.
#[inline(always)]
fn clamp(v: f32, low: f32, high: f32) -> f32 {
    let v = if v > low { v } else { low };
    if v < high { v } else { high }
}

/// The sum, always by the same tree.
#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `N` sums over the numbers of a group.
#[inline(always)]
fn sums<const N: usize>(x: &[f32], terms: impl Fn(f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0f32; LANES]; N];
    for chunk in x.as_chunks::<LANES>().0 {
        for (i, v) in chunk.iter().enumerate() {
            let terms = terms(*v);
            for n in 0..N {
                lanes[n][i] += terms[n];
            }
        }
    }
    lanes.map(total)
}

/// Numbers as `scale * q - minimum` with whole `q` from 0 to some top; neither is negative.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    scale: f32,
    minimum: f32,
}

impl Line {
    /// The best of the lines that the given spans lead to: so many steps from the smallest number, or zero, to the largest.
    #[inline(always)]
    fn through(x: &[f32], top: f32, spans: &[f32]) -> Line {
        let n = x.len() as f32;
        let low = x.iter().fold(0f32, |low, v| if *v < low { *v } else { low });
        let high = x.iter().fold(low, |high, v| if *v > high { *v } else { high });
        if high <= low {
            return Line { scale: 0.0, minimum: -low };
        }
        let [sum] = sums(x, |v| [v]);
        let (mut best, mut best_gain) = (Line { scale: (high - low) / top, minimum: -low }, f32::NEG_INFINITY);
        for span in spans {
            let inverse = span / (high - low);
            let [q, qq, qx] = sums(x, |v| {
                let q = clamp(round((v - low) * inverse), 0.0, top);
                [q, q * q, q * v]
            });
            let determinant = n * qq - q * q;
            // Of one code alone it is 0, and the gain infinite or NaN.
            let (mut scale, mut minimum) = ((n * qx - q * sum) / determinant, (q * qx - qq * sum) / determinant);
            if minimum < 0.0 {
                (scale, minimum) = (qx / qq, 0.0);
            }
            // What is left of the sum of squares is the sum less this.
            let gain = scale * qx - minimum * sum;
            if determinant > 0.0 && gain > best_gain && scale > 0.0 {
                (best, best_gain) = (Line { scale, minimum }, gain);
            }
        }
        best
    }

    #[inline(always)]
    fn code(self, inverse: f32, v: f32, top: f32) -> f32 {
        clamp(round((v + self.minimum) * inverse), 0.0, top)
    }

    /// The sum of squared errors.
    #[inline(always)]
    fn cost(self, x: &[f32], top: f32) -> f32 {
        let inverse = if self.scale > 0.0 { 1.0 / self.scale } else { 0.0 };
        let [cost] = sums(x, |v| {
            let error = self.scale * self.code(inverse, v, top) - self.minimum - v;
            [error * error]
        });
        cost
    }
}

/// The scale of `x` as `scale * q` with whole `q` from `-top` to `top - 1`: the best of those that the given reaches lead to, each the
/// code of the number of largest magnitude.
#[inline(always)]
fn proportion(x: &[f32], top: f32, reaches: &[f32]) -> f32 {
    let max = super::block::largest(x);
    let inverse_max = 1.0 / max;
    if !inverse_max.is_finite() {
        return 0.0;
    }
    let (mut best, mut best_gain) = (0.0, 0.0);
    for reach in reaches {
        let inverse = reach * inverse_max;
        let [qq, qx] = sums(x, |v| {
            let q = clamp(round(v * inverse), -top, top - 1.0);
            [q * q, q * v]
        });
        // What is left of the sum of squares is the sum less this.
        let scale = qx / qq;
        let gain = scale * qx;
        if gain > best_gain {
            (best, best_gain) = (scale, gain);
        }
    }
    best
}

/// The binary16 number that is a `steps`-th of `largest`, and so large that `steps` of it reach.
fn unit(largest: f32, steps: f32) -> f32 {
    let near = half::f16::from_f32(largest / steps);
    let short = near.to_f32().abs() * (steps + 0.5) < largest.abs();
    if short { half::f16::from_bits(near.to_bits() + 1).to_f32() } else { near.to_f32() }
}

/// A block of groups of `256 / G` numbers, each a line.
pub(super) struct Lines<const G: usize> {
    pub(super) d: [u8; 2],
    pub(super) dmin: [u8; 2],
    pub(super) scales: [u8; G],
    pub(super) minima: [u8; G],
    pub(super) codes: [u8; 256],
}

impl<const G: usize> Lines<G> {
    /// Codes from 0 to `top`, scales and minima from 0 to `scale_top`.
    #[inline(always)]
    pub(super) fn fit(x: &[f32; 256], top: f32, scale_top: f32, spans: &[f32]) -> Lines<G> {
        let size = 256 / G;
        let mut block = Lines { d: [0; 2], dmin: [0; 2], scales: [0; G], minima: [0; G], codes: [0; 256] };
        if x.iter().any(|v| !v.is_finite()) {
            block.d = to_half(f32::NAN);
            return block;
        }
        let mut lines = [Line::default(); G];
        for (line, x) in lines.iter_mut().zip(x.chunks(size)) {
            *line = Line::through(x, top, spans);
        }
        let d = unit(lines.iter().fold(0.0, |max, line| if line.scale > max { line.scale } else { max }), scale_top);
        let dmin = unit(lines.iter().fold(0.0, |max, line| if line.minimum > max { line.minimum } else { max }), scale_top);
        (block.d, block.dmin) = (to_half(d), to_half(dmin));
        let steps = |v: f32, unit: f32| if unit > 0.0 { clamp(round(clamp(v / unit, 0.0, scale_top)), 0.0, scale_top) } else { 0.0 };
        for (g, (line, x)) in lines.iter().zip(x.chunks(size)).enumerate() {
            let (scale, minimum) = (steps(line.scale, d), steps(line.minimum, dmin));
            let (mut best, mut best_cost) = ((scale, minimum), f32::INFINITY);
            for (ds, dm) in NEIGHBOURS {
                let (s, m) = (clamp(scale + ds, 0.0, scale_top), clamp(minimum + dm, 0.0, scale_top));
                let cost = Line { scale: d * s, minimum: dmin * m }.cost(x, top);
                if cost < best_cost {
                    (best, best_cost) = ((s, m), cost);
                }
            }
            (block.scales[g], block.minima[g]) = (best.0 as u8, best.1 as u8);
            let line = Line { scale: d * best.0, minimum: dmin * best.1 };
            let inverse = if line.scale > 0.0 { 1.0 / line.scale } else { 0.0 };
            for (code, v) in block.codes[g * size..][..size].iter_mut().zip(x) {
                *code = line.code(inverse, *v, top) as u8;
            }
        }
        block
    }
}

/// Itself first: of equals the first is taken.
const NEIGHBOURS: [(f32, f32); 9] =
    [(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0), (1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)];

/// A block of 16 groups of 16 numbers, each a multiple of a scale.
pub(super) struct Proportions {
    pub(super) d: [u8; 2],
    pub(super) scales: [i8; 16],
    /// From `-top` on.
    pub(super) codes: [i8; 256],
}

impl Proportions {
    /// Codes from `-top` to `top - 1`, scales from `-scale_top` to `scale_top - 1`.
    #[inline(always)]
    pub(super) fn fit(x: &[f32; 256], top: f32, scale_top: f32, reaches: &[f32]) -> Proportions {
        let mut block = Proportions { d: [0; 2], scales: [0; 16], codes: [0; 256] };
        if x.iter().any(|v| !v.is_finite()) {
            block.d = to_half(f32::NAN);
            return block;
        }
        let mut scales = [0f32; 16];
        for (scale, x) in scales.iter_mut().zip(x.chunks(16)) {
            *scale = proportion(x, top, reaches);
        }
        // The largest becomes the lowest code, which has no positive twin.
        let d = unit(super::block::largest(&scales), -scale_top);
        block.d = to_half(d);
        if d == 0.0 {
            return block;
        }
        for (g, (scale, x)) in scales.iter().zip(x.chunks(16)).enumerate() {
            let scale = round(clamp(scale / d, -scale_top, scale_top - 1.0));
            let (mut best, mut best_cost) = (scale, f32::INFINITY);
            for s in [scale, scale + 1.0, scale - 1.0] {
                let s = clamp(s, -scale_top, scale_top - 1.0);
                let (step, inverse) = (d * s, if s == 0.0 { 0.0 } else { 1.0 / (d * s) });
                let [cost] = sums(x, |v| {
                    let error = step * clamp(round(v * inverse), -top, top - 1.0) - v;
                    [error * error]
                });
                if cost < best_cost {
                    (best, best_cost) = (s, cost);
                }
            }
            block.scales[g] = best as i8;
            let inverse = if best == 0.0 { 0.0 } else { 1.0 / (d * best) };
            for (code, v) in block.codes[g * 16..][..16].iter_mut().zip(x) {
                *code = clamp(round(v * inverse), -top, top - 1.0) as i8;
            }
        }
        block
    }
}

/// `N` numbers from `first` on, so far apart.
pub(super) const fn spaced<const N: usize>(first: f32, step: f32) -> [f32; N] {
    let mut out = [0.0; N];
    let mut i = 0;
    while i < N {
        out[i] = first + step * i as f32;
        i += 1;
    }
    out
}
