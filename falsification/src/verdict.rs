//! What a check found: an outcome, its numbers, and where to look.

use crate::observation::Failure;

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The claim survived this attempt to refute it.
    Corroborated,
    /// The claim is refuted.
    Falsified,
    /// Nothing can be said: no answer, no golden, or nothing to compare. Red, like a refutation.
    Error,
}

impl Outcome {
    /// The word used in evidence and reports.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Corroborated => "corroborated",
            Outcome::Falsified => "falsified",
            Outcome::Error => "error",
        }
    }
}

/// Why a verdict is an [`Outcome::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A typed refusal where an answer was due.
    Refused,
    /// The runtime crashed.
    Crash,
    /// The deadline passed.
    Timeout,
    /// The answer was not of the kind that was asked for.
    Protocol,
    /// The runtime lacks an op that the check needs.
    Unsupported,
    /// The golden lacks what the check compares against.
    Golden,
    /// No bound is written down for the check.
    Tolerance,
    /// The check compared nothing, which is never a pass.
    NothingCompared,
    /// A gate before this check failed.
    Gate,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::Crash,
        Self::Timeout,
        Self::Protocol,
        Self::Unsupported,
        Self::Golden,
        Self::Tolerance,
        Self::NothingCompared,
        Self::Gate,
    ];

    /// The word used in evidence and reports.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Refused => "refused",
            ErrorKind::Crash => "crash",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Golden => "golden",
            ErrorKind::Tolerance => "tolerance",
            ErrorKind::NothingCompared => "nothing compared",
            ErrorKind::Gate => "gate",
        }
    }
}

/// One number, with the bound it was held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What was measured.
    pub name: &'static str,
    /// The number. NaN is possible, and breaks every bound.
    pub observed: f64,
    /// The largest number that corroborates; `None` where it is printed and never gated.
    pub bound: Option<f64>,
    /// Its unit; empty for a ratio.
    pub unit: &'static str,
}

impl Measure {
    /// A number held against a bound.
    pub fn gated(name: &'static str, observed: f64, bound: f64, unit: &'static str) -> Self {
        Measure { name, observed, bound: Some(bound), unit }
    }

    /// A number that is printed and gates nothing.
    pub fn printed(name: &'static str, observed: f64, unit: &'static str) -> Self {
        Measure { name, observed, bound: None, unit }
    }

    /// Whether the bound holds. Written so that NaN, on either side, does not.
    pub fn holds(&self) -> bool {
        match self.bound {
            None => true,
            Some(bound) => self.observed <= bound,
        }
    }
}

/// Where in the model or the text the finding sits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Stage of the forward pass (`blk.3.attn.q`).
    pub stage: Option<String>,
    /// Name of the tensor.
    pub tensor: Option<String>,
    /// Position in the sequence, from 0.
    pub position: Option<usize>,
    /// Token id, with its text where that is known.
    pub token: Option<String>,
}

impl Place {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Place::default()
    }
}

/// Who most likely has to act on a red verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The model or artifact file.
    File,
    /// The arithmetic of the runtime.
    Kernel,
    /// The tokenizer.
    Tokenizer,
    /// The configuration, or how it was read.
    Config,
    /// The golden, or who wrote it.
    Golden,
    /// The runtime as a process: sessions, caches, requests.
    Runtime,
}

impl Owner {
    /// The word used in evidence and reports.
    pub fn name(self) -> &'static str {
        match self {
            Owner::File => "file",
            Owner::Kernel => "kernel",
            Owner::Tokenizer => "tokenizer",
            Owner::Config => "config",
            Owner::Golden => "golden",
            Owner::Runtime => "runtime",
        }
    }
}

/// The result of one check on one case.
///
/// The texts are material for the reporters, which print in this order: claim, expected, observed, bound, where, owner, and the command
/// that reproduces it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// The numbers, gated ones first.
    pub measures: Vec<Measure>,
    /// How many values were compared. Zero is never a pass.
    pub compared: u64,
    /// The sentence that was put to the test.
    pub claim: &'static str,
    /// What had to be.
    pub expected: String,
    /// What was.
    pub observed: String,
    /// Where it is.
    pub place: Place,
    /// Who most likely has to act.
    pub owner: Owner,
    /// Set where and only where the outcome is [`Outcome::Error`].
    pub error: Option<ErrorKind>,
}

impl Verdict {
    fn new(outcome: Outcome, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Verdict {
            outcome,
            measures: Vec::new(),
            compared: 0,
            claim: "",
            expected: expected.into(),
            observed: observed.into(),
            place: Place::default(),
            owner: Owner::Runtime,
            error: None,
        }
    }

    /// The claim held on `compared` values. None compared is an error.
    pub fn corroborated(compared: usize, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        if compared == 0 {
            return Verdict::error(ErrorKind::NothingCompared, expected, "nothing was compared");
        }
        Verdict { compared: compared as u64, ..Verdict::new(Outcome::Corroborated, expected, observed) }
    }

    /// The claim is refuted.
    pub fn falsified(expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Verdict::new(Outcome::Falsified, expected, observed)
    }

    /// Nothing can be said.
    pub fn error(kind: ErrorKind, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Verdict { error: Some(kind), ..Verdict::new(Outcome::Error, expected, observed) }
    }

    /// A failure of the runtime where an answer was due; `due` names the answer.
    pub fn failure(failure: &Failure, due: impl Into<String>) -> Self {
        let kind = match failure {
            Failure::Refused { .. } => ErrorKind::Refused,
            Failure::Crash { .. } => ErrorKind::Crash,
            Failure::Timeout { .. } => ErrorKind::Timeout,
            Failure::Protocol { .. } => ErrorKind::Protocol,
            Failure::Unsupported { .. } => ErrorKind::Unsupported,
        };
        Verdict::error(kind, due, failure.to_string())
    }

    /// Judges `measures` that were taken over `compared` values: falsified if any of them breaks its bound.
    pub fn measured(compared: usize, measures: Vec<Measure>, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        let holds = measures.iter().all(Measure::holds);
        let verdict = if holds {
            Verdict::corroborated(compared, expected, observed)
        } else {
            Verdict { compared: compared as u64, ..Verdict::falsified(expected, observed) }
        };
        Verdict { measures, ..verdict }
    }

    /// Names who has to act.
    #[must_use]
    pub fn owned_by(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Whether the trial is green.
    pub fn is_green(&self) -> bool {
        self.outcome == Outcome::Corroborated
    }

    /// Turns a green verdict that contradicts itself into an error: nothing compared, no gate held, or a broken bound.
    pub(crate) fn guarded(mut self) -> Self {
        if !self.is_green() {
            return self;
        }
        let reason = if self.compared == 0 {
            "nothing was compared"
        } else if !self.measures.iter().all(Measure::holds) {
            "a number breaks its bound in a verdict that says corroborated"
        } else {
            return self;
        };
        self.outcome = Outcome::Error;
        self.error = Some(ErrorKind::NothingCompared);
        self.observed = reason.to_owned();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_compared_is_an_error() {
        let verdict = Verdict::corroborated(0, "x", "x");
        assert_eq!(verdict.outcome, Outcome::Error);
        assert_eq!(verdict.error, Some(ErrorKind::NothingCompared));
    }

    #[test]
    fn nan_breaks_every_bound() {
        assert!(!Measure::gated("x", f64::NAN, f64::INFINITY, "").holds());
        assert!(!Measure::gated("x", 0.0, f64::NAN, "").holds());
        let verdict = Verdict::measured(3, vec![Measure::gated("x", f64::NAN, 1.0, "")], "", "");
        assert_eq!(verdict.outcome, Outcome::Falsified);
    }

    #[test]
    fn green_verdict_with_a_broken_bound_is_an_error() {
        let mut verdict = Verdict::corroborated(1, "", "");
        verdict.measures.push(Measure::gated("x", 2.0, 1.0, ""));
        assert_eq!(verdict.guarded().outcome, Outcome::Error);
    }

    /// Evidence, reports and expectations go by these words.
    #[test]
    fn everything_is_called_by_its_word() {
        assert_eq!([Outcome::Corroborated, Outcome::Falsified, Outcome::Error].map(Outcome::name), ["corroborated", "falsified", "error"]);
        let kinds = ["refused", "crash", "timeout", "protocol", "unsupported", "golden", "tolerance", "nothing compared", "gate"];
        assert_eq!(ErrorKind::ALL.map(ErrorKind::name), kinds);
        let owners = [Owner::File, Owner::Kernel, Owner::Tokenizer, Owner::Config, Owner::Golden, Owner::Runtime];
        assert_eq!(owners.map(Owner::name), ["file", "kernel", "tokenizer", "config", "golden", "runtime"]);
    }

    #[test]
    fn a_bound_includes_itself_and_what_is_printed_has_none() {
        assert!(Measure::gated("x", 1.0, 1.0, "").holds() && !Measure::gated("x", 1.5, 1.0, "").holds());
        assert!(Measure::printed("x", f64::NAN, "").holds());
    }

    #[test]
    fn a_verdict_keeps_what_it_was_told() {
        let numbers = |observed: f64| vec![Measure::gated("x", observed, 1.0, "nats")];
        for (observed, outcome) in [(0.5, Outcome::Corroborated), (1.5, Outcome::Falsified)] {
            let verdict = Verdict::measured(7, numbers(observed), "due", "found");
            assert_eq!((verdict.outcome, verdict.compared, &verdict.measures), (outcome, 7, &numbers(observed)));
            assert_eq!((verdict.expected.as_str(), verdict.observed.as_str(), verdict.error), ("due", "found", None));
            assert_eq!(verdict.is_green(), outcome == Outcome::Corroborated);
            assert_eq!(verdict.clone().guarded(), verdict);
        }
        assert_eq!(Verdict::measured(0, numbers(0.5), "", "").error, Some(ErrorKind::NothingCompared));
        let place = Place { position: Some(3), ..Place::default() };
        assert!(Place::default().is_empty() && !place.is_empty());
        let verdict = Verdict::falsified("due", "found").at(place.clone()).owned_by(Owner::File);
        assert_eq!((verdict.outcome, verdict.place, verdict.owner), (Outcome::Falsified, place, Owner::File));
    }

    #[test]
    fn a_failure_is_an_error_of_its_kind() {
        let verdict = Verdict::failure(&Failure::Timeout { seconds: 5.0 }, "an answer");
        assert_eq!((verdict.outcome, verdict.error, verdict.expected.as_str()), (Outcome::Error, Some(ErrorKind::Timeout), "an answer"));
        assert!(verdict.observed.contains("5 s") && !verdict.is_green());
    }

    #[test]
    fn a_green_verdict_on_nothing_is_an_error() {
        let hollow = Verdict { compared: 0, ..Verdict::corroborated(1, "", "") };
        assert_eq!(hollow.guarded().error, Some(ErrorKind::NothingCompared));
    }
}
