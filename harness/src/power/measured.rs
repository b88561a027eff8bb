//! What runs have measured, committed: `falsification/measured.json`.
//!
//! Everything else that is published follows from the records and the table of outcomes. These numbers do not, so they are written down
//! with two digits, by the run that measured them, and the same run is red where it measures something else.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::generated::Generated;

/// Where it lies, under the root of the workspace.
pub const FILE: &str = "falsification/measured.json";

const SCHEMA: &str = "ground-truth/power-measured/1";

/// How far a separation may lie from the committed one, as a factor: rounding differs from machine to machine, the effect of a defect does
/// not.
pub const AGREES: f64 = 1.5;

/// What was measured of one check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckMeasured {
    /// Effect of the weakest defect in its kills, over the bound. None where no red verdict of it holds a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separation: Option<f64>,
    /// Milliseconds over all defects, each observation charged to whom asked first. None where no complete run was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<f64>,
}

/// What a rule of another tool does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleMeasured {
    /// Defects, at each strength and in each model, that it was tried on.
    pub defects: usize,
    /// Those that it let through.
    pub let_through: usize,
    /// Defects of artifacts that move the logits, among them: what no rule about answers is entitled to miss.
    pub moving: usize,
    /// Those of them that it let through.
    pub moving_let_through: usize,
    /// Correct implementations that it was tried on.
    pub correct: usize,
    /// Those that it accused.
    pub accused: usize,
    /// Defects that it catches at no strength and in no model.
    pub blind_to: Vec<String>,
    /// Whom it accused.
    pub accuses: Vec<String>,
}

/// A correct implementation that was judged by the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Implementation {
    /// What it is, with its version.
    pub name: String,
    /// The command that judges it.
    pub command: String,
    /// Rows that were judged.
    pub rows: usize,
    /// Rows that were red.
    pub red: usize,
    /// Rows that its expectation file knows to fail.
    pub expected: usize,
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    schema: String,
    /// By check.
    pub checks: BTreeMap<String, CheckMeasured>,
    /// By rule.
    #[serde(default)]
    pub rules: BTreeMap<String, RuleMeasured>,
    /// Drawn defects, by seed.
    #[serde(default)]
    pub generated: Vec<Generated>,
    /// Correct implementations.
    #[serde(default)]
    pub implementations: Vec<Implementation>,
}

impl Measured {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is not of this schema.
    pub fn read(root: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(root.join(FILE)).map_err(|error| format!("{FILE}: {error}"))?;
        Self::parse(&text).map_err(|reason| format!("{FILE}: {reason}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let measured: Measured = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if measured.schema != SCHEMA {
            return Err(format!("schema `{}`, `{SCHEMA}` is due", measured.schema));
        }
        let unsound = |check: &CheckMeasured| {
            let numbers = [check.separation, check.milliseconds];
            numbers.iter().flatten().any(|number| !(number.is_finite() && *number >= 0.0))
        };
        match measured.checks.iter().find(|(_, check)| unsound(check)) {
            Some((id, _)) => Err(format!("`{id}` has a number that is none")),
            None => Ok(measured),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn write(&self, root: &Path) -> Result<(), String> {
        let whole = Measured { schema: SCHEMA.to_owned(), ..self.clone() };
        let text = serde_json::to_string_pretty(&whole).map_err(|error| error.to_string())?;
        std::fs::write(root.join(FILE), text + "\n").map_err(|error| format!("{FILE}: {error}"))
    }
}

/// A number with two digits that count. What is no number stays what it is.
pub fn rounded(number: f64) -> f64 {
    format!("{number:.1e}").parse().unwrap_or(number)
}

/// Whether a committed separation is that of this run.
pub fn agree(committed: f64, measured: f64) -> bool {
    let ratio = measured / committed;
    (1.0 / AGREES..=AGREES).contains(&ratio) || committed == measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_stay() {
        let shown = [3.149, 123_456.0, 0.012_34].map(|number| rounded(number).to_string());
        assert_eq!(shown, ["3.1", "120000", "0.012"]);
        assert!(rounded(f64::NAN).is_nan());
        assert!(agree(3.1, 3.3) && agree(3.3, 3.1) && !agree(3.1, 5.0) && !agree(5.0, 3.1) && !agree(3.1, f64::NAN));
    }

    #[test]
    fn other_schemas_and_numbers_that_are_none_are_refused() {
        let text =
            |schema: &str, number: &str| format!("{{\"schema\": \"{schema}\", \"checks\": {{\"X\": {{\"separation\": {number}}}}}}}");
        assert!(Measured::parse(&text(SCHEMA, "3.0")).is_ok());
        for (schema, number) in [("other", "3.0"), (SCHEMA, "-1.0"), (SCHEMA, "\"3\"")] {
            assert!(Measured::parse(&text(schema, number)).is_err(), "{schema} {number}");
        }
        assert!(Measured::parse("{}").is_err());
    }
}
