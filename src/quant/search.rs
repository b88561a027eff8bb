//! How the k-quants choose their numbers: the line through a group of numbers that costs least, then the scales of all groups on one grid.
//!
//! The cost is the sum of squared errors, every number counting the same: without activations nothing says which counts more. For a given
//! rounding of the numbers to codes, the best line is a least-squares fit; different roundings come from different spacings of the codes,
//! and a list of them is tried ([ggml's reference](https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-quants.c) searches so
//! too, with weights). The scales are then rounded to their few bits, and each is tried against its neighbours with the codes it leads to.
//!
//! Cost: about forty passes over each group, eight of them at a time, one in each lane of a vector. Every sum is over the numbers in their
//! order, so that the blocks do not depend on the instructions of the machine; nothing but `+ - * /` and a rounding is used.

use super::block::{largest, to_half};

/// Trials that are made together.
pub(super) const LANES: usize = 8;

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

/// `1 / v`, and 0 of 0.
#[inline(always)]
fn inverse(v: f32) -> f32 {
    if v == 0.0 { 0.0 } else { 1.0 / v }
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
    fn through<const N: usize>(x: &[f32; N], top: f32, spans: &[[f32; LANES]]) -> Line {
        let n = N as f32;
        let (mut low, mut high, mut sum) = (0f32, x[0], 0f32);
        for v in x {
            low = if *v < low { *v } else { low };
            high = if *v > high { *v } else { high };
            sum += v;
        }
        if high <= low {
            return Line { scale: 0.0, minimum: -low };
        }
        let (mut best, mut best_gain) = (Line { scale: (high - low) / top, minimum: -low }, f32::NEG_INFINITY);
        for spans in spans {
            let inverse = spans.map(|span| span / (high - low));
            let (mut q, mut qq, mut qx) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
            for v in x {
                let above = v - low;
                for l in 0..LANES {
                    let code = clamp(round(above * inverse[l]), 0.0, top);
                    q[l] += code;
                    qq[l] += code * code;
                    qx[l] += code * v;
                }
            }
            for l in 0..LANES {
                let (q, qq, qx) = (q[l], qq[l], qx[l]);
                // Of one code alone it is 0, and the gain infinite or NaN.
                let determinant = n * qq - q * q;
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
        }
        best
    }
}

/// The scale of `x` as `scale * q` with whole `q` from `-top` to `top - 1`: the best of those that the given reaches lead to, each the
/// code of the number of largest magnitude.
#[inline(always)]
fn proportion<const N: usize>(x: &[f32; N], top: f32, reaches: &[[f32; LANES]]) -> f32 {
    let inverse_max = 1.0 / largest(x);
    if !inverse_max.is_finite() {
        return 0.0;
    }
    let (mut best, mut best_gain) = (0.0, 0.0);
    for reaches in reaches {
        let inverse = reaches.map(|reach| reach * inverse_max);
        let (mut qq, mut qx) = ([0f32; LANES], [0f32; LANES]);
        for v in x {
            for l in 0..LANES {
                let code = clamp(round(v * inverse[l]), -top, top - 1.0);
                qq[l] += code * code;
                qx[l] += code * v;
            }
        }
        for l in 0..LANES {
            // What is left of the sum of squares is the sum less the gain.
            let scale = qx[l] / qq[l];
            let gain = scale * qx[l];
            if gain > best_gain {
                (best, best_gain) = (scale, gain);
            }
        }
    }
    best
}

/// Which of the lines costs least, the first of equals.
#[inline(always)]
fn cheapest<const N: usize, const M: usize>(x: &[f32; N], low: f32, high: f32, lines: &[Line; M]) -> usize {
    let inverse = lines.map(|line| inverse(line.scale));
    let mut cost = [0f32; M];
    for v in x {
        for m in 0..M {
            let code = clamp(round((v + lines[m].minimum) * inverse[m]), low, high);
            let error = (lines[m].scale * code - lines[m].minimum) - v;
            cost[m] += error * error;
        }
    }
    let mut best = 0;
    for m in 1..M {
        best = if cost[m] < cost[best] { m } else { best };
    }
    best
}

/// The binary16 number that is a `steps`-th of `largest`, and so large that `steps` of it reach.
fn unit(largest: f32, steps: f32) -> f32 {
    let near = half::f16::from_f32(largest / steps);
    let short = near.to_f32().abs() * (steps.abs() + 0.5) < largest.abs();
    if short { half::f16::from_bits(near.to_bits() + 1).to_f32() } else { near.to_f32() }
}

/// A block of `G` groups of numbers, each a line.
pub(super) struct Lines<const G: usize> {
    pub(super) d: [u8; 2],
    pub(super) dmin: [u8; 2],
    pub(super) scales: [u8; G],
    pub(super) minima: [u8; G],
    pub(super) codes: [u8; 256],
}

impl<const G: usize> Lines<G> {
    /// Codes from 0 to `top`, scales and minima from 0 to `scale_top`; `G * N` is 256.
    #[inline(always)]
    pub(super) fn fit<const N: usize>(x: &[f32; 256], top: f32, scale_top: f32, spans: &[[f32; LANES]]) -> Lines<G> {
        let mut block = Lines { d: [0; 2], dmin: [0; 2], scales: [0; G], minima: [0; G], codes: [0; 256] };
        if x.iter().fold(false, |bad, v| bad | !v.is_finite()) {
            block.d = to_half(f32::NAN);
            return block;
        }
        let groups = x.as_chunks::<N>().0;
        let mut lines = [Line::default(); G];
        for (line, x) in lines.iter_mut().zip(groups) {
            *line = Line::through(x, top, spans);
        }
        let d = unit(lines.iter().fold(0.0, |max, line| if line.scale > max { line.scale } else { max }), scale_top);
        let dmin = unit(lines.iter().fold(0.0, |max, line| if line.minimum > max { line.minimum } else { max }), scale_top);
        (block.d, block.dmin) = (to_half(d), to_half(dmin));
        let codes = block.codes.as_chunks_mut::<N>().0;
        for (g, (x, codes)) in groups.iter().zip(codes).enumerate() {
            let near = [lines[g].scale * inverse(d), lines[g].minimum * inverse(dmin)].map(|v| round(clamp(v, 0.0, scale_top)));
            let steps = NEIGHBOURS.map(|(s, m)| [clamp(near[0] + s, 0.0, scale_top), clamp(near[1] + m, 0.0, scale_top)]);
            let best = cheapest(x, 0.0, top, &steps.map(|[s, m]| Line { scale: d * s, minimum: dmin * m }));
            let [s, m] = steps[best];
            (block.scales[g], block.minima[g]) = (s as u8, m as u8);
            let (inverse, minimum) = (inverse(d * s), dmin * m);
            *codes = x.map(|v| clamp(round((v + minimum) * inverse), 0.0, top) as u8);
        }
        block
    }
}

/// Steps of scale and minimum away. Itself first: of equals the first is taken.
const NEIGHBOURS: [(f32, f32); 2 * LANES] = {
    let (a, b) = (1.0, 2.0);
    let near = [(0.0, 0.0), (a, 0.0), (-a, 0.0), (0.0, a), (0.0, -a), (a, a), (-a, -a), (a, -a)];
    let far = [(-a, a), (0.0, b), (0.0, -b), (a, b), (-a, -b), (a, -b), (-a, b), (b, b)];
    let mut all = [(0.0, 0.0); 2 * LANES];
    let mut i = 0;
    while i < LANES {
        (all[i], all[LANES + i]) = (near[i], far[i]);
        i += 1;
    }
    all
};

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
    pub(super) fn fit(x: &[f32; 256], top: f32, scale_top: f32, reaches: &[[f32; LANES]]) -> Proportions {
        let mut block = Proportions { d: [0; 2], scales: [0; 16], codes: [0; 256] };
        if x.iter().fold(false, |bad, v| bad | !v.is_finite()) {
            block.d = to_half(f32::NAN);
            return block;
        }
        let groups = x.as_chunks::<16>().0;
        let mut scales = [0f32; 16];
        for (scale, x) in scales.iter_mut().zip(groups) {
            *scale = proportion(x, top, reaches);
        }
        // The largest becomes the lowest code, which has no positive twin.
        let d = unit(largest(&scales), -scale_top);
        block.d = to_half(d);
        let codes = block.codes.as_chunks_mut::<16>().0;
        for (g, (x, codes)) in groups.iter().zip(codes).enumerate() {
            let near = round(clamp(scales[g] * inverse(d), -scale_top, scale_top - 1.0));
            let steps = [0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0].map(|s| clamp(near + s, -scale_top, scale_top - 1.0));
            let best = cheapest(x, -top, top - 1.0, &steps.map(|s| Line { scale: d * s, minimum: 0.0 }));
            block.scales[g] = steps[best] as i8;
            let inverse = inverse(d * steps[best]);
            *codes = x.map(|v| clamp(round(v * inverse), -top, top - 1.0) as i8);
        }
        block
    }
}

/// `8 * N` numbers from `first` on, so far apart.
pub(super) const fn spaced<const N: usize>(first: f32, step: f32) -> [[f32; LANES]; N] {
    let mut out = [[0.0; LANES]; N];
    let mut i = 0;
    while i < N * LANES {
        out[i / LANES][i % LANES] = first + step * i as f32;
        i += 1;
    }
    out
}
