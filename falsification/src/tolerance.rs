//! Bounds: every one a measured floor times a multiple, with the date and the reason.
//!
//! Too loose is as wrong as too tight, so no bound is a bare number. A floor is what rounding alone causes: either the golden's own (the
//! distance of torch's float32 run from its float64 run, so that the bound follows the model), or a number that was measured on this
//! engine and is written down with how many values stand behind it.
//!
//! A key alone is the bound of the engine of this repository. What another arithmetic or another runtime costs is an entry of its own,
//! measured and reasoned like any other: `"<runtime>:<key>@<quantization>"`, `"<runtime>:<key>"`, `"<arithmetic>:<key>@<quantization>"`,
//! `"<arithmetic>:<key>"`; the first that is there counts ([`Bounds`]). A verdict's evidence names the entry that it was held to.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::arithmetic::Arithmetic;
use crate::form::Form;

/// The bounds of this build, as committed in `falsification/tolerances.toml`.
pub const TOLERANCES_TOML: &str = include_str!("../tolerances.toml");

/// How far a bound may lie above what a correct engine showed.
const MAX_SLACK: f64 = 8.0;

/// The runtime whose bounds are the keys alone.
pub const NATIVE: &str = "native";

/// Shortest reason that says something, in bytes.
const MIN_WHY: usize = 40;

/// Why bounds cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ToleranceError {
    /// The file is not TOML of this form: a bare number, an unknown or missing field.
    #[error("`tolerances.toml`: {0}")]
    Toml(String),
    /// A field of a bound is out of range.
    #[error("`tolerances.toml`, bound `{key}`, field `{field}`: {reason}")]
    Field {
        /// Key of the bound.
        key: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// No bound has this key.
    #[error("`tolerances.toml` has no bound `{0}`: measure it and write it down with its floor, multiple, date and reason")]
    Missing(String),
    /// The bound is relative to the golden's floor, and the golden has no usable one.
    #[error("bound `{key}` is relative to the golden's floor, which is {floor}")]
    Floor {
        /// Key of the bound.
        key: String,
        /// The floor that was given.
        floor: f64,
    },
}

/// Where a bound starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Floor {
    /// The golden's own rounding, given by the check that asks.
    Golden,
    /// Measured on this engine.
    Measured(f64),
}

/// One bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Where it starts from.
    pub floor: Floor,
    /// The largest value that a correct engine showed, in floors; 1 where the floor itself is the measurement.
    pub seen: f64,
    /// How many cases were measured.
    pub n: u64,
    /// How often the floor.
    pub multiple: f64,
    /// Unit of the limit; empty for a ratio.
    pub unit: String,
    /// Day of the measurement, `YYYY-MM-DD`.
    pub date: String,
    /// Why this floor and this multiple.
    pub why: String,
}

/// All bounds, by key.
#[derive(Debug, Clone, PartialEq)]
pub struct Tolerances {
    bounds: BTreeMap<String, Bound>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBound {
    floor: RawFloor,
    seen: Option<f64>,
    n: u64,
    multiple: f64,
    unit: String,
    date: String,
    why: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawFloor {
    Measured(f64),
    Named(String),
}

impl Tolerances {
    /// The bounds of this build.
    ///
    /// # Errors
    ///
    /// [`ToleranceError`] where the committed file does not pass the lint; a test holds that it does.
    pub fn committed() -> Result<Self, ToleranceError> {
        Tolerances::parse(TOLERANCES_TOML)
    }

    /// Reads bounds and lints them.
    ///
    /// # Errors
    ///
    /// [`ToleranceError`] naming the bound and the field.
    pub fn parse(text: &str) -> Result<Self, ToleranceError> {
        let raw: BTreeMap<String, RawBound> = toml::from_str(text).map_err(|error| ToleranceError::Toml(error.to_string()))?;
        if raw.is_empty() {
            return Err(ToleranceError::Toml("holds no bounds".to_owned()));
        }
        let mut bounds = BTreeMap::new();
        for (key, raw) in raw {
            let bound = lint(&key, raw)?;
            bounds.insert(key, bound);
        }
        for key in bounds.keys() {
            lint_override(key, &bounds)?;
        }
        Ok(Tolerances { bounds })
    }

    /// The bounds as they hold for a runtime in one column.
    pub fn of<'a>(&'a self, runtime: &'a str, arithmetic: Arithmetic, form: &'a Form) -> Bounds<'a> {
        let arithmetic = arithmetic.in_column(form.is_quantized());
        Bounds { tolerances: self, runtime, quantization: &form.quantization, arithmetic }
    }

    /// The bound with this key.
    ///
    /// # Errors
    ///
    /// [`ToleranceError::Missing`].
    pub fn bound(&self, key: &str) -> Result<&Bound, ToleranceError> {
        self.bounds.get(key).ok_or_else(|| ToleranceError::Missing(key.to_owned()))
    }

    /// The largest number that corroborates. `golden` is the golden's floor, which a bound with a measured floor ignores.
    ///
    /// # Errors
    ///
    /// [`ToleranceError`] where the bound is missing, or relative to a golden floor that is not a positive number.
    pub fn limit(&self, key: &str, golden: f64) -> Result<f64, ToleranceError> {
        let bound = self.bound(key)?;
        match bound.floor {
            Floor::Measured(floor) => Ok(floor * bound.multiple),
            Floor::Golden if golden > 0.0 && golden.is_finite() => Ok(golden * bound.multiple),
            Floor::Golden => Err(ToleranceError::Floor { key: key.to_owned(), floor: golden }),
        }
    }

    /// Every key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.bounds.keys().map(String::as_str)
    }
}

/// The bounds as they hold for one runtime in one column.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    tolerances: &'a Tolerances,
    runtime: &'a str,
    quantization: &'a str,
    arithmetic: Arithmetic,
}

impl Bounds<'_> {
    /// The entry that counts for a key: of the runtime, else of its arithmetic, either in this quantization first; else the key itself.
    ///
    /// Sums of one fixed order are float32 sums too, so that another exact runtime than the engine may lose what any order may.
    pub fn entry(&self, key: &str) -> String {
        let other = self.arithmetic == Arithmetic::Exact && self.runtime != NATIVE;
        let whose = [self.runtime, if other { Arithmetic::F32 } else { self.arithmetic }.name()];
        let mut narrower = whose.into_iter().flat_map(|whose| [format!("{whose}:{key}@{}", self.quantization), format!("{whose}:{key}")]);
        narrower.find(|entry| self.tolerances.bounds.contains_key(entry)).unwrap_or_else(|| key.to_owned())
    }

    /// The largest number that corroborates, as [`Tolerances::limit`] has it.
    ///
    /// # Errors
    ///
    /// As [`Tolerances::limit`].
    pub fn limit(&self, key: &str, golden: f64) -> Result<f64, ToleranceError> {
        self.tolerances.limit(&self.entry(key), golden)
    }

    /// The runtime on trial.
    pub fn runtime(&self) -> &str {
        self.runtime
    }

    /// What it computes with in this column.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }
}

/// An override widens or narrows a bound that there is, and never that of the engine of this repository: the key alone is its bound.
fn lint_override(key: &str, bounds: &BTreeMap<String, Bound>) -> Result<(), ToleranceError> {
    let (whose, rest) = match key.split_once(':') {
        Some(parts) => parts,
        None if key.contains('@') => ("", key),
        None => return Ok(()),
    };
    let wrong = |reason: String| ToleranceError::Field { key: key.to_owned(), field: "key", reason };
    let (base, quantization) = rest.split_once('@').unwrap_or((rest, "any"));
    if whose.is_empty() || quantization.is_empty() {
        return Err(wrong("names no runtime, or no quantization".to_owned()));
    }
    if [NATIVE, Arithmetic::Exact.name()].contains(&whose) {
        return Err(wrong(format!("is of `{whose}`, whose bound is `{base}` itself")));
    }
    if !bounds.contains_key(base) {
        return Err(wrong(format!("overrides `{base}`, which there is not")));
    }
    Ok(())
}

fn lint(key: &str, raw: RawBound) -> Result<Bound, ToleranceError> {
    let wrong = |field: &'static str, reason: String| ToleranceError::Field { key: key.to_owned(), field, reason };
    let floor = match raw.floor {
        RawFloor::Measured(floor) if floor > 0.0 && floor.is_finite() => Floor::Measured(floor),
        RawFloor::Measured(floor) => return Err(wrong("floor", format!("is {floor}, must be a positive measurement"))),
        RawFloor::Named(word) if word == "golden" => Floor::Golden,
        RawFloor::Named(word) => return Err(wrong("floor", format!("is `{word}`, must be \"golden\" or a number"))),
    };
    let seen = match (floor, raw.seen) {
        (Floor::Measured(_), None) => 1.0,
        (Floor::Measured(_), Some(_)) => return Err(wrong("seen", "is the floor itself, where that is a number".to_owned())),
        (Floor::Golden, Some(seen)) if seen > 0.0 && seen.is_finite() => seen,
        (Floor::Golden, seen) => return Err(wrong("seen", format!("is {seen:?}, must be what a correct engine showed, in floors"))),
    };
    if raw.n == 0 {
        return Err(wrong("n", "is 0, a measurement says how many cases stand behind it".to_owned()));
    }
    // A measured floor may be another tool's worst, with the multiple as the distance kept from it.
    let loosest = if floor == Floor::Golden { MAX_SLACK * seen } else { f64::INFINITY };
    if !(raw.multiple > seen && raw.multiple <= loosest && raw.multiple.is_finite()) {
        return Err(wrong(
            "multiple",
            format!("is {}, must be above the {seen} that was seen, and at most {MAX_SLACK} times it", raw.multiple),
        ));
    }
    if !is_date(&raw.date) {
        return Err(wrong("date", format!("is `{}`, must be YYYY-MM-DD", raw.date)));
    }
    if raw.why.len() < MIN_WHY {
        return Err(wrong("why", format!("has {} bytes, a reason has at least {MIN_WHY}", raw.why.len())));
    }
    Ok(Bound { floor, seen, n: raw.n, multiple: raw.multiple, unit: raw.unit, date: raw.date, why: raw.why })
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse().is_ok_and(|n| range.contains(&n))
    };
    matches!(parts[..], [year, month, day] if number(year, 4, 2020..=2999) && number(month, 2, 1..=12) && number(day, 2, 1..=31))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
["x.full"]
floor = "golden"
seen = 0.7
n = 3
multiple = 2.0
unit = ""
date = "2026-11-21"
why = "twice what torch itself loses, because two roundings meet"
["y"]
floor = 1e-7
n = 12
multiple = 4.0
unit = "nats"
date = "2026-11-21"
why = "the largest of twelve measurements on the carried models"
"#;

    #[test]
    fn limits_are_floor_times_multiple() {
        let tolerances = Tolerances::parse(GOOD).unwrap();
        assert_eq!(tolerances.limit("x.full", 3e-7), Ok(6e-7));
        assert_eq!(tolerances.limit("y", f64::NAN), Ok(4e-7));
        assert!(matches!(tolerances.limit("z", 1.0), Err(ToleranceError::Missing(_))));
        for floor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(tolerances.limit("x.full", floor), Err(ToleranceError::Floor { .. })), "{floor}");
        }
    }

    #[test]
    fn committed_bounds_pass_the_lint() {
        let wide = Tolerances::committed().unwrap().limit("margin.wide", f64::NAN);
        assert_eq!(wide, Ok(crate::golden::WIDE_MARGIN), "the oracle classifies by the margin that is written down");
    }

    /// `GOOD` with one more entry, whose floor is `floor`.
    fn with(key: &str, floor: f64) -> String {
        let why = "measured on another runtime, whose sums have another order";
        format!("{GOOD}[\"{key}\"]\nfloor = {floor}\nn = 3\nmultiple = 2.0\nunit = \"\"\ndate = \"2026-11-21\"\nwhy = \"{why}\"\n")
    }

    #[test]
    fn the_narrowest_entry_counts_and_is_named() {
        let form = |name: &str| Form::converted("gguf", name, "F32");
        let text = |keys: &[(&str, f64)]| keys.iter().map(|&(key, floor)| with(key, floor).replacen(GOOD, "", 1)).collect::<String>();
        let all = [("blocks:y", 1e-3), ("slow:y", 1e-2), ("slow:y@q4_0", 1e-1), ("blocks:y@q4_k", 1e-4), ("f32:y", 1e-6)];
        let tolerances = Tolerances::parse(&format!("{GOOD}{}", text(&all))).unwrap();
        let of = |runtime: &'static str, arithmetic, quantization: &str| {
            let form = form(quantization);
            let bounds = tolerances.of(runtime, arithmetic, &form);
            (bounds.entry("y"), bounds.limit("y", f64::NAN).unwrap())
        };
        assert_eq!(of("slow", Arithmetic::Blocks, "q4_0"), ("slow:y@q4_0".to_owned(), 0.2));
        assert_eq!(of("slow", Arithmetic::Blocks, "q8_0"), ("slow:y".to_owned(), 0.02));
        assert_eq!(of("fast", Arithmetic::Blocks, "q8_0"), ("blocks:y".to_owned(), 0.002));
        assert_eq!(of("slow", Arithmetic::Blocks, "q4_k"), ("slow:y".to_owned(), 0.02));
        assert_eq!(of("fast", Arithmetic::Blocks, "q4_k"), ("blocks:y@q4_k".to_owned(), 0.0002));
        assert_eq!(of("fast", Arithmetic::Blocks, "f16"), ("f32:y".to_owned(), 2e-6));
        assert_eq!(of("fast", Arithmetic::Half, "q4_0"), ("y".to_owned(), 4e-7));
        assert_eq!(of(NATIVE, Arithmetic::Exact, "q4_0"), ("y".to_owned(), 4e-7));
        assert_eq!(of("fast", Arithmetic::Exact, "q4_0"), ("f32:y".to_owned(), 2e-6));
        assert!(tolerances.of("slow", Arithmetic::F32, &form("f32")).limit("z", 1.0).is_err());
    }

    #[test]
    fn overrides_of_nothing_of_nobody_and_of_the_engine_are_refused() {
        for key in ["slow:z", ":y", "slow:y@", ":y@q4_0", "y@q4_0", "slow:@q4_0", "native:y", "native:y@q4_0", "exact:y"] {
            assert!(Tolerances::parse(&with(key, 1e-3)).is_err(), "{key}");
        }
        assert!(Tolerances::parse(&with("slow:y", 0.0)).is_err());
        assert!(Tolerances::parse(&with("slow:y", 1e-3)).is_ok());
    }

    #[test]
    fn bare_numbers_and_missing_reasons_are_refused() {
        for (from, to) in [
            ("floor = 1e-7", "floor = 0.0"),
            ("floor = 1e-7", "floor = -1e-7"),
            ("floor = 1e-7", "floor = nan"),
            ("floor = 1e-7", "floor = inf"),
            ("floor = \"golden\"", "floor = \"guess\""),
            ("n = 12", "n = 0"),
            ("n = 12", ""),
            ("n = 12", "n = 12\nseen = 1.0"),
            ("seen = 0.7", ""),
            ("seen = 0.7", "seen = 0.0"),
            ("seen = 0.7", "seen = nan"),
            ("seen = 0.7", "seen = 2.1"),
            ("seen = 0.7", "seen = 0.2"),
            ("multiple = 4.0", "multiple = 0.0"),
            ("multiple = 4.0", "multiple = inf"),
            ("multiple = 4.0", "multiple = nan"),
            ("multiple = 4.0", ""),
            ("date = \"2026-11-21\"", "date = \"today\""),
            ("date = \"2026-11-21\"", ""),
            ("why = \"twice what torch itself loses, because two roundings meet\"", "why = \"ok\""),
            ("unit = \"nats\"", "colour = \"blue\""),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            assert!(Tolerances::parse(&text).is_err(), "{from} -> {to}");
        }
        assert!(Tolerances::parse("x = 1e-5").is_err());
        assert!(Tolerances::parse("").is_err());
    }
}
