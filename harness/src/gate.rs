//! Gates: rows that others stand on, and what a red one does to the rest of a run.
//!
//! | level | what a red gate does | which |
//! |---|---|---|
//! | warn | the row is flagged and counted, and the run goes on | an answer of over 5 s, a conversion of over 10 min, a perplexity of over 5 % above the published model's |
//! | fail | the rows that stand on it are `Error: gate F-G1 failed` | F-G1 and F-G3, for their cell |
//! | halt | every row that has not begun is `Error: halted by ...`; what ran is kept | evidence that cannot be written; the claims and checks in `GROUND_TRUTH_HALT` |
//!
//! The levels and the thresholds of a warning are those of the register (download-convert-test 2.2 and 9.2). A warning reddens nothing: bounds do
//! that. A halt is for what makes the rest of a run worthless, or for somebody who wants the first failure and no other. Where every row is
//! a process of its own (nextest), a halt ends that process alone: it acts as a failure.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use ground_truth_falsification::check;
use ground_truth_falsification::golden::PerplexityGolden;
use ground_truth_falsification::verdict::Verdict;

use crate::evidence::Record;
use crate::matrix;

/// Names claims and checks, separated by commas: the first of their rows that is red ends the run.
pub const VARIABLE: &str = "GROUND_TRUTH_HALT";

/// An answer that takes longer is flagged.
const SLOW_ANSWER: Duration = Duration::from_secs(5);

/// A conversion that takes longer is flagged.
const SLOW_CONVERSION: Duration = Duration::from_secs(600);

/// A perplexity that is higher by more than this share is flagged.
const WORSE: f64 = 0.05;

/// The line that rows stand on: it runs until something stops it.
#[derive(Debug, Default)]
pub struct Line {
    halting: BTreeSet<String>,
    stopped: OnceLock<String>,
}

impl Line {
    /// The line of this process, with the gates that [`VARIABLE`] raises.
    ///
    /// # Errors
    /// A name that no claim and no check has.
    pub fn from_env() -> Result<Self, String> {
        match std::env::var_os(VARIABLE) {
            None => Ok(Self::default()),
            Some(value) => Self::raising(&value.to_string_lossy()),
        }
    }

    /// A line that the first red row of these claims and checks stops.
    ///
    /// # Errors
    /// A name that no claim and no check has, or none at all.
    pub fn raising(names: &str) -> Result<Self, String> {
        let halting: BTreeSet<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        let ours = [matrix::GATE, matrix::CONVERSION, matrix::LIST];
        let known = |name: &str| ours.contains(&name) || check::all().iter().any(|check| check.id == name || check.claim == name);
        match halting.iter().find(|name| !known(name)) {
            None => Ok(Self { halting, stopped: OnceLock::new() }),
            Some(name) => Err(format!("no claim and no check is called `{name}`; `ground-truth explain` lists them")),
        }
    }

    /// What stopped it.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    /// Stops it. What stopped it first stands.
    pub fn stop(&self, by: impl Into<String>) {
        let _ = self.stopped.set(by.into());
    }

    /// Lets a judged row pass, and stops if it is a red gate that halts.
    pub fn pass(&self, record: &Record) {
        let halts = |name: &str| self.halting.contains(name);
        let check = record.axes.as_ref().is_some_and(|axes| halts(&axes.check));
        if record.is_red() && !record.behind_gate && (check || halts(&record.claim.id)) {
            self.stop(record.name.clone());
        }
    }
}

/// A flag on a row one of whose answers took `longest`.
pub fn slow_answer(longest: Duration) -> Option<String> {
    (longest > SLOW_ANSWER).then(|| format!("slow: an answer took {:.1} s, over {} s", longest.as_secs_f64(), SLOW_ANSWER.as_secs()))
}

/// A flag on a conversion that took `taken`.
pub fn slow_conversion(taken: Duration) -> Option<String> {
    (taken > SLOW_CONVERSION).then(|| format!("slow: {:.0} s, over {} s", taken.as_secs_f64(), SLOW_CONVERSION.as_secs()))
}

/// A flag on a row about a text, where the perplexity that it found is worse than the published model's.
pub fn perplexity(published: &PerplexityGolden, verdict: &Verdict) -> Option<String> {
    let found = verdict.measures.iter().find(|measure| measure.name == "perplexity")?;
    worse_perplexity(found.observed, (published.sum_nll.get() / published.tokens as f64).exp())
}

fn worse_perplexity(perplexity: f64, published: f64) -> Option<String> {
    let more = perplexity / published - 1.0;
    let within = more <= WORSE;
    (!within).then(|| {
        format!("perplexity {perplexity:.3}, {:.1} % above the published model's {published:.3}: over {:.0} %", more * 1e2, WORSE * 1e2)
    })
}

#[cfg(test)]
mod tests {
    use ground_truth_falsification::verdict::ErrorKind;

    use super::*;
    use crate::evidence::Axes;

    fn record(check: &str, verdict: &Verdict) -> Record {
        let axes = Axes {
            model: "m".into(),
            format: "gguf".into(),
            quantization: "q8_0".into(),
            runtime: "native".into(),
            check: check.into(),
            prompt: None,
        };
        Record { axes: Some(axes), ..Record::of("run", &format!("m::gguf::q8_0::native::{check}"), verdict) }
    }

    #[test]
    fn the_first_red_row_of_a_raised_gate_stops_the_line_and_no_other_does() {
        let red = Verdict::falsified("a", "b");
        let line = Line::raising("CANARY, F-P3").unwrap();
        line.pass(&record("CANARY", &Verdict::corroborated(1, "a", "a")));
        line.pass(&record("TOKEN", &red));
        line.pass(&record("CANARY", &Verdict::error(ErrorKind::Gate, "an open gate", "gate F-G1 failed")));
        assert_eq!(line.stopped(), None, "green, not raised, behind a gate");
        line.pass(&record("CANARY", &red));
        line.stop("something later");
        assert_eq!(line.stopped(), Some("m::gguf::q8_0::native::CANARY"));
        let by_claim = Line::raising("F-P3").unwrap();
        let mut judged = record("F-P3-stepwise", &red);
        judged.claim.id = "F-P3".into();
        by_claim.pass(&judged);
        assert!(by_claim.stopped().is_some());
    }

    #[test]
    fn a_name_that_nothing_has_is_an_error_and_so_is_no_name() {
        for names in ["", "CANARY,", "F-G4-nonsense", "canary"] {
            assert!(Line::raising(names).unwrap_err().contains("no claim and no check"), "{names}");
        }
    }

    #[test]
    fn warnings_begin_past_their_thresholds_and_nan_is_past_all() {
        assert_eq!(slow_answer(SLOW_ANSWER), None);
        assert!(slow_answer(SLOW_ANSWER + Duration::from_millis(1)).unwrap().starts_with("slow: an answer took 5.0 s"));
        assert_eq!(slow_conversion(Duration::from_secs(600)), None);
        assert!(slow_conversion(Duration::from_secs(601)).is_some());
        assert_eq!(worse_perplexity(1.04, 1.0), None);
        assert_eq!(worse_perplexity(0.5, 1.0), None);
        assert!(worse_perplexity(1.2, 1.0).unwrap().contains("20.0 % above"));
        assert!(worse_perplexity(f64::NAN, 1.0).is_some());
    }
}
