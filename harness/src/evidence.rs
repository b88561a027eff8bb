//! One JSON record for each judged row, under `<target>/ground-truth/<run>/`. Reporters read these and nothing else.
//!
//! What lies beside the records is in [`run`] and [`manifest`]; [`read`] reads all of it. A record appears whole or not at all.
//! Schema `ground-truth/evidence/1`; a field is added with the same number, removed or given another meaning with the next:
//!
//! | field | holds |
//! |---|---|
//! | `schema`, `run`, `name` | `ground-truth/evidence/1`; the run; the row's name, as in the list of tests |
//! | `axes` | `model`, `format`, `quantization`, `runtime`, `check`, `prompt`; null for a row about the lists themselves |
//! | `claim` | `id` in the register, `sentence` that was put to the test, `refuted_by` |
//! | `verdict`, `error` | `corroborated`, `falsified`, `error`, or `expected`: red as `expectation` says; the kind of error, or null |
//! | `behind_gate` | whether the row was not judged because its gate is red |
//! | `measures` | `name`, `observed`, `bound` (null: printed, never gated), `unit`; `"NaN"`, `"inf"`, `"-inf"` are strings |
//! | `bounds`, `compared` | entries of `tolerances.toml`, empty where exact; how many values were compared |
//! | `expected`, `observed` | what had to be, what was |
//! | `place` | `stage`, `tensor`, `position`, `token` |
//! | `owner`, `reproduce` | who most likely acts; the command that judges this row again |
//! | `asked` | every question put to the runtime, as op and digest |
//! | `flags` | what is worth a look and reddens nothing: a slow answer, a perplexity far above the published model's; absent where there is none |
//! | `minimal` | of a red row about logits: the shortest beginning of prompt and golden continuation that still fails (`tokens`, `ids`), the first `position` that is wrong in it, how many `questions` finding it took; absent where none was found |
//! | `expectation` | the entry of `expectations/<runtime>.toml` about this row, and whether it was `met`; absent where there is none |
//! | `duration_ms` | wall time, waiting for shared observations included |
//! | `versions` | of the suite, the runtime, and of the oracle's packages |

use std::collections::BTreeMap;

use ground_truth_falsification::verdict::{ErrorKind, Measure, Outcome, Owner, Place, Verdict};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::escape;
use crate::expectation::Entry;

pub mod manifest;
pub mod read;
pub mod run;

pub use manifest::Manifest;
pub use run::{Kind, Run};

/// The schema of a record.
pub const SCHEMA: &str = "ground-truth/evidence/1";

/// What a row says that was not judged because the run had been halted, before the name of what halted it.
pub const HALTED: &str = "halted by ";

/// The verdict of a row that failed as an expectation said it would.
pub const EXPECTED: &str = "expected";

/// One judged row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: String,
    /// The run.
    pub run: String,
    /// The row's name.
    pub name: String,
    /// Where in the matrix it stands; none for a row about the lists.
    pub axes: Option<Axes>,
    /// What was put to the test.
    pub claim: Claim,
    /// `corroborated`, `falsified`, `error` or `expected`.
    pub verdict: String,
    /// The kind of error.
    pub error: Option<String>,
    /// Whether the row was not judged because its gate is red.
    pub behind_gate: bool,
    /// The numbers.
    pub measures: Vec<Number>,
    /// The entries of `tolerances.toml` that it was held to: a key, or what overrides it for the runtime.
    pub bounds: Vec<String>,
    /// How many values were compared.
    pub compared: u64,
    /// What had to be.
    pub expected: String,
    /// What was.
    pub observed: String,
    /// Where it is.
    pub place: Where,
    /// Who most likely has to act.
    pub owner: String,
    /// The command that judges this row again.
    pub reproduce: String,
    /// The questions that were asked.
    pub asked: Vec<String>,
    /// Warnings: worth a look, and no verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The smallest question that still shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimal: Option<Minimal>,
    /// What was expected to fail about this row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expectation: Option<Entry>,
    /// Wall time in milliseconds.
    pub duration_ms: f64,
    /// Versions of everything that took part.
    pub versions: Versions,
}

/// The axes of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axes {
    /// The model's name in the roster.
    pub model: String,
    /// The container.
    pub format: String,
    /// The weight type.
    pub quantization: String,
    /// The runtime.
    pub runtime: String,
    /// The check's id.
    pub check: String,
    /// The prompt or text, where the row is about one.
    pub prompt: Option<String>,
}

/// The claim of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its id in the register.
    pub id: String,
    /// What must hold.
    pub sentence: String,
    /// What would refute it.
    pub refuted_by: String,
}

/// One measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Number {
    /// What was measured.
    pub name: String,
    /// The number.
    #[serde(with = "any_float")]
    pub observed: f64,
    /// Its bound.
    #[serde(with = "any_float_or_none")]
    pub bound: Option<f64>,
    /// Its unit.
    pub unit: String,
}

/// Where a finding sits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Where {
    /// The stage of the forward pass.
    pub stage: Option<String>,
    /// The tensor.
    pub tensor: Option<String>,
    /// The position.
    pub position: Option<usize>,
    /// The token.
    pub token: Option<String>,
}

/// The smallest question that still shows what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minimal {
    /// How many tokens of prompt and golden continuation are enough.
    pub tokens: usize,
    /// The first position whose logits are wrong.
    pub position: usize,
    /// The tokens.
    pub ids: Vec<u32>,
    /// How many questions it took to find.
    pub questions: usize,
}

/// Versions of everything that took part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Of this suite.
    pub suite: String,
    /// Of the runtime.
    pub runtime: String,
    /// Of the oracle's packages.
    pub oracle: BTreeMap<String, String>,
}

impl Record {
    /// A record of `verdict`, everything about its place in the matrix left empty.
    pub fn of(run: &str, name: &str, verdict: &Verdict) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            run: run.to_owned(),
            name: name.to_owned(),
            axes: None,
            claim: Claim { id: String::new(), sentence: verdict.claim.to_owned(), refuted_by: String::new() },
            verdict: verdict.outcome.name().to_owned(),
            error: verdict.error.map(|kind| kind.name().to_owned()),
            behind_gate: verdict.error == Some(ErrorKind::Gate),
            measures: verdict.measures.iter().map(Number::from).collect(),
            bounds: Vec::new(),
            compared: verdict.compared,
            expected: verdict.expected.clone(),
            observed: verdict.observed.clone(),
            place: Where::from(&verdict.place),
            owner: Owner::name(verdict.owner).to_owned(),
            reproduce: String::new(),
            asked: Vec::new(),
            flags: Vec::new(),
            minimal: None,
            expectation: None,
            duration_ms: 0.0,
            versions: Versions { suite: env!("CARGO_PKG_VERSION").to_owned(), ..Versions::default() },
        }
    }

    /// Whether the row is green.
    pub fn is_green(&self) -> bool {
        self.verdict == Outcome::Corroborated.name()
    }

    /// Whether the row failed as an expectation said it would.
    pub fn is_expected(&self) -> bool {
        self.verdict == EXPECTED
    }

    /// Whether the row reddens the run.
    pub fn is_red(&self) -> bool {
        !self.is_green() && !self.is_expected()
    }

    /// Whether the row was not judged because the run had been halted.
    pub fn is_halted(&self) -> bool {
        self.behind_gate && self.observed.starts_with(HALTED)
    }

    /// Whether the claim was refuted, as opposed to not judged.
    pub fn is_falsified(&self) -> bool {
        self.verdict == Outcome::Falsified.name()
    }

    /// The record as JSON text that is safe to print.
    ///
    /// # Errors
    /// What the JSON writer says.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| escape::json(&text) + "\n")
    }
}

impl From<&Measure> for Number {
    fn from(measure: &Measure) -> Self {
        Self { name: measure.name.to_owned(), observed: measure.observed, bound: measure.bound, unit: measure.unit.to_owned() }
    }
}

impl From<&Place> for Where {
    fn from(place: &Place) -> Self {
        Self { stage: place.stage.clone(), tensor: place.tensor.clone(), position: place.position, token: place.token.clone() }
    }
}

mod any_float {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use serde::de::Error;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Written {
        Finite(f64),
        Other(String),
    }

    impl From<f64> for Written {
        fn from(value: f64) -> Self {
            if value.is_finite() { Written::Finite(value) } else { Written::Other(format!("{value}")) }
        }
    }

    impl Written {
        pub(super) fn value<E: Error>(self) -> Result<f64, E> {
            match self {
                Written::Finite(value) => Ok(value),
                Written::Other(word) => match word.as_str() {
                    "NaN" => Ok(f64::NAN),
                    "inf" => Ok(f64::INFINITY),
                    "-inf" => Ok(f64::NEG_INFINITY),
                    _ => Err(E::custom("a string that is not NaN, inf or -inf")),
                },
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Written::from(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Written::deserialize(deserializer)?.value()
    }
}

mod any_float_or_none {
    use super::any_float::Written;
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Written::from).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Option::<Written>::deserialize(deserializer)?.map(Written::value).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, observed: f64) -> Record {
        let verdict = Verdict {
            measures: vec![Measure::gated("relative RMS", observed, f64::INFINITY, "")],
            ..Verdict::falsified("x", "y\u{202e}z")
        };
        Record::of("run", name, &verdict)
    }

    #[test]
    fn a_record_survives_its_json() {
        for observed in [0.1, f64::NEG_INFINITY, 5e-324] {
            let before = record("a::b", observed);
            let text = before.to_json().unwrap();
            assert!(!text.contains('\u{202e}'));
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), before);
        }
        let text = record("a::b", f64::NAN).to_json().unwrap();
        assert!(text.contains(r#""observed": "NaN""#), "{text}");
        assert!(serde_json::from_str::<Record>(&text).unwrap().measures[0].observed.is_nan());
    }
}
