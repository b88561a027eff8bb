//! Rotary embeddings between GGUF and `config.json`.
//!
//! | in GGUF | what it means | source |
//! |---|---|---|
//! | `rope.freq_base` | the base, 10,000 where it is absent | `llama-model.cpp` |
//! | `rope.scaling.type` | `none`, `linear`, `yarn`; `linear` where it is absent | `llama-model.cpp` |
//! | `rope.scaling.factor`, or `rope.scale_linear` | what frequencies are divided by; 1 where both are absent or 0 | `llama-model.cpp` |
//! | `rope.scaling.original_context_length` | YaRN's, the context where it is absent | `llama-model.cpp` |
//! | `rope.scaling.attn_factor` | cos and sin are multiplied with it, on top of what YaRN multiplies them with | `llama-context.cpp` |
//! | `rope.scaling.yarn_log_multiplier` | YaRN's `mscale_all_dim`, with an `mscale` of 1 | `llama-context.cpp` |
//! | `rope.scaling.yarn_attn_factor`, `yarn_beta_fast`, `yarn_beta_slow` | as in `config.json`; llama.cpp writes them and computes llama and qwen2 without them | `conversion/base.py` |
//! | the tensor `rope_freqs.weight` | what each frequency is divided by; llama alone has it | `conversion/llama.py` |
//!
//! The rule of Llama 3.1 travels as that tensor. Read back, its parameters are looked for: those that this project writes beside it, else
//! those that every published model has or that fit. Where none give the tensor, the tensor itself is the rule (`rope_freq_factors`).

use std::f64::consts::PI;

use serde_json::{Map, Value as Json, json};

use super::keys::Keys;
use crate::error::GgufError;
use crate::format::gguf::{Array, Value};
use crate::kernel::rope::Rope;
use crate::{Config, RopeConfig, RopeScaling};

type Checked<T> = Result<T, GgufError>;

/// The tensor that divides frequencies.
pub(super) const FACTORS: &str = "rope_freqs.weight";

/// Our own key: the four numbers of Llama 3.1's rule, from which [`FACTORS`] follows.
pub(super) const LLAMA3: &str = "ground_truth.rope.llama3";

/// How far a factor may be from the one that the parameters give, relative: rounding in f32, in another order of operations.
const CLOSE: f64 = 5e-7;

/// Fields of `config.json` that say what the file says. `factors` are the tensor's, if it is there.
pub(super) fn read(keys: &Keys, n_ctx: u64, head_dim: usize, factors: Option<&[f32]>) -> Checked<Map<String, Json>> {
    let theta = keys.positive("rope.freq_base")?.unwrap_or(10_000.0);
    let factor = match (keys.not_negative("rope.scaling.factor")?, keys.not_negative("rope.scale_linear")?) {
        (Some(factor), _) | (None, Some(factor)) if factor != 0.0 => factor,
        _ => 1.0,
    };
    let attn_factor = keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
    let kind = keys.word("rope.scaling.type")?.unwrap_or("linear");
    let mut config = Map::new();
    config.insert("rope_theta".to_owned(), json!(theta));
    let scaling = match kind {
        "none" | "linear" if attn_factor != 1.0 => {
            let why = "cos and sin would be scaled, which only YaRN does in the model that this engine computes";
            return Err(keys.unsupported("rope.scaling.attn_factor", why));
        }
        "none" => None,
        "linear" if factor == 1.0 => None,
        "linear" => Some(json!({"rope_type": "linear", "factor": factor})),
        "yarn" => Some(yarn(keys, n_ctx, factor, attn_factor)?),
        "longrope" => return Err(keys.unsupported("rope.scaling.type", "the frequencies would be other ones")),
        _ => return Err(keys.bad("rope.scaling.type", "none, linear or yarn")),
    };
    let stated = keys.metadata.get(LLAMA3);
    match (scaling, factors) {
        (Some(_), Some(_)) => {
            return Err(keys.unsupported("rope.scaling.type", "frequencies would be scaled twice, here and by rope_freqs"));
        }
        (Some(scaling), None) => drop(config.insert("rope_scaling".to_owned(), scaling)),
        (None, None) if stated.is_some() => return Err(GgufError::MissingTensor { tensor: FACTORS.to_owned() }),
        (None, None) => {}
        (None, Some(factors)) => by_factors(&mut config, keys, theta, head_dim, factors)?,
    }
    Ok(config)
}

fn yarn(keys: &Keys, n_ctx: u64, factor: f64, attn_factor: f64) -> Checked<Json> {
    if keys.real("rope.scaling.yarn_ext_factor")?.is_some_and(|factor| factor != 1.0) {
        return Err(keys.unsupported("rope.scaling.yarn_ext_factor", "only a part of the ramp would be applied"));
    }
    let original = keys.count("rope.scaling.original_context_length")?.unwrap_or(n_ctx);
    let mut scaling = Map::new();
    scaling.insert("rope_type".to_owned(), json!("yarn"));
    scaling.insert("factor".to_owned(), json!(factor));
    scaling.insert("original_max_position_embeddings".to_owned(), json!(original));
    for (key, field) in [("rope.scaling.yarn_beta_fast", "beta_fast"), ("rope.scaling.yarn_beta_slow", "beta_slow")] {
        if let Some(beta) = keys.positive(key)? {
            scaling.insert(field.to_owned(), json!(beta));
        }
    }
    let log_multiplier = keys.not_negative("rope.scaling.yarn_log_multiplier")?.filter(|m| *m != 0.0);
    let magnitude = magnitude(factor, 1.0) / log_multiplier.map_or(1.0, |m| magnitude(factor, m));
    match keys.positive("rope.scaling.yarn_attn_factor")? {
        Some(stated) => drop(scaling.insert("attention_factor".to_owned(), json!(stated))),
        None if attn_factor != 1.0 || log_multiplier.is_some() => {
            scaling.insert("attention_factor".to_owned(), json!(magnitude * attn_factor));
        }
        None => {}
    }
    Ok(Json::Object(scaling))
}

/// What YaRN multiplies cos and sin with, by itself.
fn magnitude(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// The rule that the factors are made by.
fn by_factors(config: &mut Map<String, Json>, keys: &Keys, theta: f64, head_dim: usize, factors: &[f32]) -> Checked<()> {
    if factors.len() != head_dim / 2 {
        let why = format!("has {} factors for heads of {head_dim}", factors.len());
        return Err(GgufError::Tensor { tensor: FACTORS.to_owned(), why });
    }
    if let Some(factor) = factors.iter().find(|factor| !(**factor > 0.0 && factor.is_finite())) {
        return Err(GgufError::Tensor { tensor: FACTORS.to_owned(), why: format!("holds {factor}, numbers over 0 are due") });
    }
    let frequencies = Rope::new(&RopeConfig { theta, scaling: RopeScaling::Default }, head_dim);
    let found = match keys.metadata.get(LLAMA3) {
        Some(value) => {
            let stated = stated(value).filter(|rule| rule.gives(frequencies.inv_freq(), factors));
            let why = || keys.bad_key(LLAMA3, value, "the four numbers that the tensor rope_freqs.weight follows from");
            Some(stated.ok_or_else(why)?)
        }
        None => Llama3::fit(frequencies.inv_freq(), factors),
    };
    let largest = factors.iter().copied().fold(f32::MIN, f32::max);
    if let Some(Llama3 { factor, low, high, original }) = found {
        let scaling = json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high, "original_max_position_embeddings": original,
        });
        config.insert("rope_scaling".to_owned(), scaling);
    } else if factors.iter().any(|factor| *factor != largest) || largest != 1.0 {
        config.insert("rope_freq_factors".to_owned(), factors.iter().map(|factor| f64::from(*factor)).collect());
    }
    Ok(())
}

fn stated(value: &Value) -> Option<Llama3> {
    let Value::Array(Array::F64(numbers)) = value else { return None };
    let &[factor, low, high, original] = numbers.as_slice() else { return None };
    Some(Llama3 { factor, low, high, original })
}

/// The parameters of Llama 3.1's rule.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
}

impl Llama3 {
    /// What a frequency is divided by, as llama.cpp's converter computes it.
    fn divisor(self, frequency: f32) -> f64 {
        let wavelength = 2.0 * PI / f64::from(frequency);
        if wavelength < self.original / self.high {
            1.0
        } else if wavelength > self.original / self.low {
            self.factor
        } else {
            let smooth = (self.original / wavelength - self.low) / (self.high - self.low);
            1.0 / ((1.0 - smooth) / self.factor + smooth)
        }
    }

    fn gives(self, frequencies: &[f32], factors: &[f32]) -> bool {
        let is_close = |(f, factor): (&f32, &f32)| (self.divisor(*f) - f64::from(*factor)).abs() <= CLOSE * f64::from(*factor);
        self.high > self.low && self.low > 0.0 && frequencies.len() == factors.len() && frequencies.iter().zip(factors).all(is_close)
    }

    /// Parameters that give these factors. Of the three that shape the blend any two can be had from the third; every published model has
    /// a `low_freq_factor` of 1.
    fn fit(frequencies: &[f32], factors: &[f32]) -> Option<Llama3> {
        let factor = f64::from(factors.iter().copied().fold(f32::MIN, f32::max));
        if factor <= 1.0 {
            return None;
        }
        let rule = |low, high, original| Llama3 { factor, low, high, original };
        // In the blend, `smooth` is `original / (high - low)` times the turns per position, less `low / (high - low)`.
        let smooth = |divisor: f64| (1.0 / divisor - 1.0 / factor) / (1.0 - 1.0 / factor);
        let points = frequencies.iter().zip(factors).map(|(f, d)| (f64::from(*f) / (2.0 * PI), f64::from(*d)));
        let blend: Vec<(f64, f64)> = points.filter(|(_, d)| *d > 1.0 && *d < factor).map(|(turns, d)| (turns, smooth(d))).collect();
        let mut candidates = vec![rule(1.0, 4.0, 8192.0)];
        if let (Some((t0, s0)), Some((t1, s1))) = (blend.first(), blend.last()) {
            let slope = if blend.len() > 1 { (s1 - s0) / (t1 - t0) } else { (s0 + 1.0 / 3.0) / t0 };
            let width = 1.0 / (slope * t0 - s0);
            let (high, original) = (1.0 + width, slope * width);
            candidates.extend([rule(1.0, high.round(), original.round()), rule(1.0, high, original)]);
        }
        candidates.into_iter().find(|rule| rule.original.is_finite() && rule.gives(frequencies, factors))
    }
}

/// Keys, and the factors of [`FACTORS`], none if there is no such tensor.
type Written = (Vec<(String, Value)>, Vec<f32>);

/// What a file says of a model's rotary embeddings.
pub(super) fn write(config: &Config, arch: &str) -> Checked<Written> {
    let Some(rope) = &config.rope else { return Ok((Vec::new(), Vec::new())) };
    let key = |name: &str| format!("{arch}.rope.{name}");
    let real = |name: &str, value: f64| (key(name), Value::F32(value as f32));
    let mut keys = vec![(key("dimension_count"), Value::U32(config.head_dim as u32)), real("freq_base", rope.theta)];
    let mut factors = config.rope_freq_factors.clone();
    let scaled_twice = !factors.is_empty() && rope.scaling != RopeScaling::Default;
    let no_place = arch != "llama" && (!factors.is_empty() || matches!(rope.scaling, RopeScaling::Llama3 { .. }));
    if scaled_twice || no_place {
        let why = if no_place { "only llama has frequency factors there" } else { "frequencies are scaled in one way alone" };
        let found = format!("{:?} with {} factors", rope.scaling, factors.len());
        return Err(GgufError::CannotSay { field: "rope_scaling".to_owned(), found, why });
    }
    match rope.scaling {
        RopeScaling::Default => {}
        RopeScaling::Linear { factor } => {
            keys.push((key("scaling.type"), Value::String("linear".to_owned())));
            keys.push(real("scaling.factor", factor));
        }
        RopeScaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_n_ctx: original } => {
            let rule = Llama3 { factor, low, high, original };
            let plain = Rope::new(&RopeConfig { theta: rope.theta, scaling: RopeScaling::Default }, config.head_dim);
            factors = plain.inv_freq().iter().map(|f| rule.divisor(*f) as f32).collect();
            keys.push((LLAMA3.to_owned(), Value::Array(Array::F64(vec![factor, low, high, original]))));
        }
        RopeScaling::Yarn { factor, original_n_ctx, attention_factor, beta_fast, beta_slow, truncate } => {
            let refuse = |name: &str, found: String, why| Err(GgufError::CannotSay { field: format!("rope_scaling.{name}"), found, why });
            if !truncate {
                return refuse("truncate", truncate.to_string(), "the ends of the ramp are always rounded there");
            }
            if (beta_fast, beta_slow) != (32.0, 1.0) {
                let why = "llama.cpp computes llama and qwen2 with 32 and 1 whatever the file states";
                return refuse("beta_fast", format!("{beta_fast}, beta_slow {beta_slow}"), why);
            }
            if original_n_ctx.fract() != 0.0 || original_n_ctx > f64::from(u32::MAX) {
                return refuse("original_max_position_embeddings", original_n_ctx.to_string(), "it is a whole number there");
            }
            keys.push((key("scaling.type"), Value::String("yarn".to_owned())));
            keys.push(real("scaling.factor", factor));
            keys.push((key("scaling.original_context_length"), Value::U32(original_n_ctx as u32)));
            keys.push(real("scaling.yarn_beta_fast", beta_fast));
            keys.push(real("scaling.yarn_beta_slow", beta_slow));
            if attention_factor != magnitude(factor, 1.0) {
                keys.push(real("scaling.attn_factor", attention_factor / magnitude(factor, 1.0)));
                keys.push(real("scaling.yarn_attn_factor", attention_factor));
            }
        }
    }
    Ok((keys, factors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(theta: f64, head_dim: i32) -> Vec<f32> {
        (0..head_dim / 2).map(|i| theta.powf(-2.0 * f64::from(i) / f64::from(head_dim)) as f32).collect()
    }

    fn factors(rule: Llama3, frequencies: &[f32]) -> Vec<f32> {
        frequencies.iter().map(|f| rule.divisor(*f) as f32).collect()
    }

    /// Long waves are divided by the factor, short ones by 1, those between by a blend of both.
    #[test]
    fn a_divisor_depends_on_the_wavelength() {
        let rule = Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let of = |wavelength: f64| rule.divisor((2.0 * PI / wavelength) as f32);
        assert_eq!((of(2000.0), of(9000.0)), (1.0, 8.0));
        // Halfway in turns, 2.5 in 8192 positions: a smoothness of one half.
        assert!((of(8192.0 / 2.5) - 1.0 / (0.5 / 8.0 + 0.5)).abs() < 1e-6);
    }

    #[test]
    fn the_rule_is_found_from_its_factors() {
        let rules =
            [(8.0, 4.0, 8192.0, 500_000.0), (32.0, 4.0, 8192.0, 500_000.0), (2.0, 3.0, 256.0, 10_000.0), (4.0, 6.0, 1000.0, 10_000.0)];
        for (factor, high, original, theta) in rules {
            let rule = Llama3 { factor, low: 1.0, high, original };
            let frequencies = frequencies(theta, 64);
            let found = Llama3::fit(&frequencies, &factors(rule, &frequencies)).expect("a rule");
            assert_eq!(found, rule);
        }
    }

    #[test]
    fn no_rule_gives_other_factors() {
        let frequencies = frequencies(10_000.0, 64);
        let rule = Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let mut factors = factors(rule, &frequencies);
        assert_eq!(Llama3::fit(&frequencies, &[1.0; 32]), None);
        assert_eq!(Llama3::fit(&frequencies, &factors[1..]), None);
        factors[0] = 3.0;
        assert_eq!(Llama3::fit(&frequencies, &factors), None);
    }
}
