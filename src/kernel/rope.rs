//! Rotary position embeddings, half-split: number `i` of a head turns with number `i + head_dim / 2`.
//!
//! Sources: Su et al. 2021 (arXiv 2104.09864); YaRN, Peng et al. 2023 (arXiv 2309.00071); transformers
//! `modeling_rope_utils.py` for the order of operations. The frequencies are part of the model: transformers computes them
//! in `f32`, models are trained with those, and at position 255 one unit in their last place is a hundred times the
//! error of everything else. So each step here is the step taken there, rounded where it is rounded there.

use std::f64::consts::PI;

use crate::{RopeConfig, RopeScaling};

/// The rotations of a model.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Radians per position, `(head_dim / 2)`.
    inv_freq: Vec<f32>,
    /// What cos and sin are multiplied with.
    attention_factor: f64,
}

impl Rope {
    /// The rotations of heads of `head_dim` numbers.
    pub fn new(config: &RopeConfig, head_dim: usize) -> Rope {
        // base^(2i / head_dim), f32 exponents
        let exponent = |i: usize| f64::from((2 * i) as f32 / head_dim as f32);
        let powers: Vec<f32> = (0..head_dim / 2).map(|i| f64::from(config.theta as f32).powf(exponent(i)) as f32).collect();
        let (inv_freq, attention_factor) = match config.scaling {
            RopeScaling::Default => (powers.iter().map(|p| 1.0 / p).collect(), 1.0),
            RopeScaling::Linear { factor } => (powers.iter().map(|p| 1.0 / p / factor as f32).collect(), 1.0),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_n_ctx } => {
                let blend = llama3(factor, low_freq_factor, high_freq_factor, original_n_ctx);
                (powers.iter().map(|p| blend(1.0 / p)).collect(), 1.0)
            }
            RopeScaling::Yarn { factor, original_n_ctx, attention_factor, beta_fast, beta_slow, truncate } => {
                let dimension = |turns: f64| head_dim as f64 * (original_n_ctx / (turns * 2.0 * PI)).ln() / (2.0 * config.theta.ln());
                let (low, high) = (dimension(beta_fast), dimension(beta_slow));
                let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let kept = yarn_ramp(low.max(0.0), high.min(head_dim as f64 - 1.0));
                let divided = |p: f32| 1.0 / (factor as f32 * p);
                let blend = |(i, &p): (usize, &f32)| divided(p) * (1.0 - kept(i)) + 1.0 / p * kept(i);
                (powers.iter().enumerate().map(blend).collect(), attention_factor)
            }
        };
        Rope { inv_freq, attention_factor }
    }

    /// The same rotations with each frequency divided by its factor; as they are, where there are no factors.
    ///
    /// # Panics
    /// If there are some, and not one for each frequency.
    #[must_use]
    pub fn divided(mut self, factors: &[f32]) -> Rope {
        assert!(factors.is_empty() || factors.len() == self.inv_freq.len(), "{} factors", factors.len());
        self.inv_freq.iter_mut().zip(factors).for_each(|(frequency, factor)| *frequency /= factor);
        self
    }

    /// Radians per position, `(head_dim / 2)`.
    pub fn inv_freq(&self) -> &[f32] {
        &self.inv_freq
    }

    /// What cos and sin are multiplied with: 1, except for YaRN.
    pub fn attention_factor(&self) -> f64 {
        self.attention_factor
    }

    /// The rotation at each of `positions`.
    pub fn angles(&self, positions: &[usize]) -> Angles {
        let mut table = Vec::with_capacity(positions.len() * 2 * self.inv_freq.len());
        for &position in positions {
            let angle = |f: &f32| f64::from(*f) * position as f64;
            table.extend(self.inv_freq.iter().map(|f| (angle(f).cos() * self.attention_factor) as f32));
            table.extend(self.inv_freq.iter().map(|f| (angle(f).sin() * self.attention_factor) as f32));
        }
        Angles { table, rows: positions.len(), half: self.inv_freq.len() }
    }
}

/// Rotations at some positions.
#[derive(Debug, Clone)]
pub struct Angles {
    /// Cosines, then sines: `(rows, 2, half)`.
    table: Vec<f32>,
    rows: usize,
    /// Half of `head_dim`.
    half: usize,
}

impl Angles {
    /// Cosines, then sines, of the `row`-th position: `(2, head_dim / 2)`.
    ///
    /// # Panics
    /// If there are fewer positions.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.table[row * 2 * self.half..(row + 1) * 2 * self.half]
    }

    /// Turns every head of each row of `x (rows, heads, head_dim)` by the angles of that row.
    ///
    /// # Panics
    /// If `x` is not as many rows of whole heads.
    pub fn rotate(&self, x: &mut [f32]) {
        assert_eq!(x.len() % (self.rows * 2 * self.half).max(1), 0, "{} rows of heads of {}", self.rows, 2 * self.half);
        let half = self.half;
        for (row, x) in x.chunks_exact_mut((x.len() / self.rows.max(1)).max(1)).enumerate() {
            let (cos, sin) = self.row(row).split_at(half);
            for head in x.chunks_exact_mut(2 * half) {
                let (lower, upper) = head.split_at_mut(half);
                for i in 0..half {
                    let (a, b) = (lower[i], upper[i]);
                    lower[i] = a * cos[i] - b * sin[i];
                    upper[i] = b * cos[i] + a * sin[i];
                }
            }
        }
    }
}

/// The rule of Llama 3.1 for one frequency.
fn llama3(factor: f64, low: f64, high: f64, n_ctx: f64) -> impl Fn(f32) -> f32 {
    let (longest, shortest) = ((n_ctx / low) as f32, (n_ctx / high) as f32);
    move |f| {
        let wavelength = 1.0 / f * (2.0 * PI) as f32;
        if wavelength > longest {
            f / factor as f32
        } else if wavelength < shortest {
            f
        } else {
            let smooth = (1.0 / wavelength * n_ctx as f32 - low as f32) / (high - low) as f32;
            (1.0 - smooth) * f / factor as f32 + smooth * f
        }
    }
}

/// The share of a frequency that YaRN keeps: 1 below dimension `low`, 0 above `high`, a line between.
fn yarn_ramp(low: f64, high: f64) -> impl Fn(usize) -> f32 {
    let high = if low == high { high + 0.001 } else { high };
    move |i| 1.0 - ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::seeds;
    use super::*;

    fn rope(theta: f64, scaling: RopeScaling, head_dim: usize) -> Rope {
        Rope::new(&RopeConfig { theta, scaling }, head_dim)
    }

    /// Every pair is a complex number, turned by `position * theta^(-2i / head_dim)`.
    fn naive(theta: f64, head_dim: usize, position: usize, x: &[f32]) -> Vec<f64> {
        let angle = |i: usize| position as f64 * theta.powf(-2.0 * (i % (head_dim / 2)) as f64 / head_dim as f64);
        let other = |i: usize| (i + head_dim / 2) % head_dim;
        let sign = |i: usize| if i < head_dim / 2 { -1.0 } else { 1.0 };
        let at = |i: usize| f64::from(x[i]);
        (0..head_dim).map(|i| at(i) * angle(i).cos() + sign(i) * at(other(i)) * angle(i).sin()).collect()
    }

    #[test]
    fn heads_turn_as_complex_numbers() {
        for (head_dim, position) in [(2, 1), (8, 0), (8, 3), (24, 17), (64, 255)] {
            let mut x = seeds::values(head_dim as u64, 2 * head_dim);
            let expected: Vec<f64> = x.chunks(head_dim).flat_map(|x| naive(1e4, head_dim, position, x)).collect();
            rope(1e4, RopeScaling::Default, head_dim).angles(&[position]).rotate(&mut x);
            for (got, expected) in x.iter().zip(expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-4, "{head_dim} at {position}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn each_row_turns_by_its_own_position() {
        let rope = rope(1e4, RopeScaling::Default, 8);
        let x = seeds::values(2, 3 * 16);
        let mut together = x.clone();
        rope.angles(&[5, 6, 90]).rotate(&mut together);
        for (r, position) in [5, 6, 90].into_iter().enumerate() {
            let mut alone = x[16 * r..16 * (r + 1)].to_vec();
            rope.angles(&[position]).rotate(&mut alone);
            assert_eq!(seeds::bits(&together[16 * r..16 * (r + 1)]), seeds::bits(&alone));
        }
    }

    #[test]
    fn position_zero_turns_nothing() {
        let mut x = seeds::values(1, 16);
        let before = seeds::bits(&x);
        rope(1e4, RopeScaling::Default, 8).angles(&[0]).rotate(&mut x);
        assert_eq!(seeds::bits(&x), before);
    }

    #[test]
    fn linear_scaling_at_a_multiple_is_no_scaling_at_the_position() {
        let (plain, linear) = (rope(1e4, RopeScaling::Default, 16), rope(1e4, RopeScaling::Linear { factor: 4.0 }, 16));
        assert_eq!(seeds::bits(plain.angles(&[3]).row(0)), seeds::bits(linear.angles(&[12]).row(0)));
    }

    #[test]
    fn llama3_keeps_high_frequencies_divides_low_ones_and_blends_between() {
        let scaling = RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_n_ctx: 8192.0 };
        let (plain, scaled) = (rope(5e5, RopeScaling::Default, 128), rope(5e5, scaling, 128));
        assert_eq!(plain.inv_freq()[0], scaled.inv_freq()[0]);
        assert_eq!(plain.inv_freq()[63] / 8.0, scaled.inv_freq()[63]);
        let between = |i: usize| scaled.inv_freq()[i] / plain.inv_freq()[i];
        assert!((0..64).any(|i| between(i) > 0.2 && between(i) < 0.9), "no frequency is blended");
        assert!((1..64).all(|i| between(i) <= between(i - 1) * 1.0001), "the share kept falls with the frequency");
    }

    #[test]
    fn yarn_keeps_the_first_dimension_and_divides_the_last() {
        let scaling = |truncate| RopeScaling::Yarn {
            factor: 4.0,
            original_n_ctx: 64.0,
            attention_factor: 1.138_629_436_111_989,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate,
        };
        let plain = rope(1e4, RopeScaling::Default, 64);
        for truncate in [true, false] {
            let yarn = rope(1e4, scaling(truncate), 64);
            assert_eq!(yarn.inv_freq()[0], plain.inv_freq()[0]);
            assert_eq!(yarn.inv_freq()[31], plain.inv_freq()[31] / 4.0);
            assert_eq!(yarn.angles(&[0]).row(0)[0], 1.138_629_4);
        }
        assert_ne!(rope(1e4, scaling(true), 64).inv_freq(), rope(1e4, scaling(false), 64).inv_freq());
    }
}
