//! Rotary embeddings, as both generations of `config.json` state them.
//!
//! transformers 4 writes `rope_theta` and `rope_scaling` (`type`, later `rope_type`), transformers 5 `rope_parameters`. How the two are
//! brought together follows `modeling_rope_utils.py` of transformers 5.23.0:
//!
//! | | rule |
//! |---|---|
//! | which object | `rope_scaling` if it holds anything, else `rope_parameters` |
//! | `rope_theta` | that of the object, else that of the file, else 10,000 |
//! | type | `rope_type`, else `type`, else `default` |
//! | `original_max_position_embeddings` (llama3, yarn) | that of the file, else that of the object, else `max_position_embeddings` |
//! | yarn: `factor` | must be there; `null` is `max_position_embeddings` / `original_max_position_embeddings` |
//! | yarn: `attention_factor` | itself; else, with m(s) = 0.1 s ln(factor) + 1 (1 where factor <= 1), m(`mscale`) / m(`mscale_all_dim`) if both are there and not 0, else m(1) |
//! | yarn: `beta_fast`, `beta_slow` | 32 and 1 if absent or 0 |
//! | yarn: `truncate` | true if absent |

use super::fields::{Bounds, Fields};
use super::{RopeConfig, RopeScaling};
use crate::error::ConfigError;

/// The base where no file states one.
const DEFAULT_THETA: f64 = 10_000.0;

/// The types that transformers has.
const TYPES: &str = "default, linear, llama3, yarn";

/// Every key that some rope type reads, or that is known to be read by none.
const KEYS: [&str; 14] = [
    "rope_theta",
    "rope_type",
    "type",
    "factor",
    "original_max_position_embeddings",
    "low_freq_factor",
    "high_freq_factor",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "finetuned",
];

/// The rotary embeddings of a llama or qwen2 configuration.
pub(super) fn resolve(fields: Fields, n_ctx: usize, notes: &mut Vec<String>) -> Result<RopeConfig, ConfigError> {
    let holds_something = |object: &Fields| object.iter().next().is_some();
    let scaling = fields.within("rope_scaling")?.filter(holds_something);
    let parameters = fields.within("rope_parameters")?.filter(holds_something);
    if scaling.is_some() && parameters.is_some() {
        notes.push("`rope_parameters` is not read, because `rope_scaling` is there".to_owned());
    }
    let stated = fields.number("rope_theta", Bounds::Positive)?;
    let Some(rope) = scaling.or(parameters) else {
        return Ok(RopeConfig { theta: stated.unwrap_or(DEFAULT_THETA), scaling: RopeScaling::Default });
    };
    let own = rope.number("rope_theta", Bounds::Positive)?;
    if let (Some(own), Some(stated)) = (own, stated)
        && own != stated
    {
        notes.push(format!("`rope_theta` {stated} is not read, because `{}` is {own}", rope.path("rope_theta")));
    }
    let theta = own.or(stated).unwrap_or(DEFAULT_THETA);
    let rope = Rope { rope, fields, n_ctx, theta };
    let (scaling, read) = rope.scaling()?;
    rope.check_keys(read, notes)?;
    Ok(RopeConfig { theta, scaling })
}

/// The object that states the rope type, and what it may fall back on.
struct Rope<'a> {
    rope: Fields<'a>,
    fields: Fields<'a>,
    n_ctx: usize,
    theta: f64,
}

impl Rope<'_> {
    /// The scaling, and the keys that its type reads.
    fn scaling(&self) -> Result<(RopeScaling, &'static [&'static str]), ConfigError> {
        let name = if self.rope.get("rope_type").is_some() { "rope_type" } else { "type" };
        match self.rope.word(name)?.unwrap_or("default") {
            "default" => Ok((RopeScaling::Default, &[])),
            "linear" => Ok((RopeScaling::Linear { factor: self.required("factor")? }, &["factor"])),
            "llama3" => Ok((self.llama3()?, &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"])),
            "yarn" => Ok((
                self.yarn()?,
                &[
                    "factor",
                    "original_max_position_embeddings",
                    "attention_factor",
                    "beta_fast",
                    "beta_slow",
                    "mscale",
                    "mscale_all_dim",
                    "truncate",
                ],
            )),
            found @ ("dynamic" | "longrope" | "proportional") => Err(ConfigError::Unsupported {
                field: self.rope.path(name),
                found: found.to_owned(),
                neutral: TYPES,
                why: "the frequencies would be other ones",
            }),
            found => Err(ConfigError::UnknownValue { field: self.rope.path(name), found: found.to_owned(), known: TYPES }),
        }
    }

    fn llama3(&self) -> Result<RopeScaling, ConfigError> {
        let (low_freq_factor, high_freq_factor) = (self.required("low_freq_factor")?, self.required("high_freq_factor")?);
        if high_freq_factor <= low_freq_factor {
            return Err(ConfigError::OutOfRange {
                field: self.rope.path("high_freq_factor"),
                value: high_freq_factor.to_string(),
                bounds: format!("a number over low_freq_factor ({low_freq_factor})"),
            });
        }
        Ok(RopeScaling::Llama3 {
            factor: self.required("factor")?,
            low_freq_factor,
            high_freq_factor,
            original_n_ctx: self.original_n_ctx()?,
        })
    }

    fn yarn(&self) -> Result<RopeScaling, ConfigError> {
        if self.theta <= 1.0 {
            return Err(ConfigError::OutOfRange {
                field: "rope_theta".to_owned(),
                value: self.theta.to_string(),
                bounds: "a number over 1 (yarn divides by its logarithm)".to_owned(),
            });
        }
        if self.rope.is_null("truncate") {
            return Err(self.rope.wrong_type("truncate", "true or false", &serde_json::Value::Null));
        }
        let original_n_ctx = self.original_n_ctx()?;
        let factor = match self.number("factor")? {
            None if self.rope.is_null("factor") => self.n_ctx as f64 / original_n_ctx,
            factor => self.rope.required("factor", factor)?,
        };
        let not_zero = |name| Ok(self.rope.number(name, Bounds::NotNegative)?.filter(|value| *value != 0.0));
        let attention_factor = match (self.number("attention_factor")?, not_zero("mscale")?, not_zero("mscale_all_dim")?) {
            (Some(attention_factor), ..) => attention_factor,
            (None, Some(mscale), Some(all_dim)) => magnitude(factor, mscale) / magnitude(factor, all_dim),
            (None, ..) => magnitude(factor, 1.0),
        };
        Ok(RopeScaling::Yarn {
            factor,
            original_n_ctx,
            attention_factor,
            beta_fast: not_zero("beta_fast")?.unwrap_or(32.0),
            beta_slow: not_zero("beta_slow")?.unwrap_or(1.0),
            truncate: self.rope.flag("truncate")?.unwrap_or(true),
        })
    }

    fn original_n_ctx(&self) -> Result<f64, ConfigError> {
        let name = "original_max_position_embeddings";
        let (file, object) = (self.fields.number(name, Bounds::Positive)?, self.number(name)?);
        Ok(file.or(object).unwrap_or(self.n_ctx as f64))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, ConfigError> {
        self.rope.number(name, Bounds::Positive)
    }

    fn required(&self, name: &str) -> Result<f64, ConfigError> {
        self.rope.required(name, self.number(name)?)
    }

    /// Keys that no type reads are refused, those that only another type reads are noted, as transformers warns of them.
    fn check_keys(&self, read: &[&str], notes: &mut Vec<String>) -> Result<(), ConfigError> {
        for (name, value) in self.rope.iter() {
            let (field, found) = (self.rope.path(name), super::fields::shown(value));
            match name {
                "partial_rotary_factor" if value.as_f64() == Some(1.0) => {}
                "partial_rotary_factor" => {
                    let why = "only a part of each head would be rotated";
                    return Err(ConfigError::Unsupported { field, found, neutral: "1", why });
                }
                "rope_theta" | "rope_type" | "type" | "finetuned" => {}
                name if read.contains(&name) => {}
                name if KEYS.contains(&name) => notes.push(format!("`{field}` is not read by this rope type")),
                _ => return Err(ConfigError::UnknownField { field, found, architecture: "rotary embeddings" }),
            }
        }
        Ok(())
    }
}

/// YaRN's `mscale` rule: what a context stretched by `factor` multiplies cos and sin with.
fn magnitude(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}
