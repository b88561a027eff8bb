//! The judge judged: what the suite's own tests do to mutants of the suite's own code.
//!
//! cargo-mutants changes one expression at a time, builds, runs the tests and writes `outcomes.json`. This module reads that file and believes
//! little of it: a mutant is caught where it was built and a test failed, or ran out of time; one whose build failed was never tried, whatever
//! the file calls it. The score is the share that was caught of those that were tried. Where none was tried there is no score.

use std::collections::BTreeMap;

use ground_truth_falsification::verdict::Verdict;
use serde::Deserialize;

use crate::escape;
use crate::evidence::{Claim, Record};
use crate::power::wilson;

pub mod coverage;
pub mod sample;

/// The id under which survivors stand in the evidence.
const CLAIM: &str = "MUTANT";

/// A mutant, as cargo-mutants describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Mutant {
    /// File, line, column, and what is replaced with what.
    pub name: String,
    /// The package.
    pub package: String,
    /// The file, relative to the workspace.
    pub file: String,
    /// The function that it is in, if it is in one.
    pub function: Option<Function>,
}

/// A function with a mutant in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Function {
    /// Its name.
    pub function_name: String,
    /// Where it stands.
    pub span: Span,
}

/// Where something begins and ends in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Span {
    /// The first character.
    pub start: Place,
    /// The last one.
    pub end: Place,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

/// What became of one mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It was built and a test failed.
    Caught,
    /// It was built and its tests did not end: as good as caught.
    Timeout,
    /// It was built and every test passed.
    Missed,
    /// It was not built, so nothing is known.
    Unviable,
}

/// How many mutants came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Caught by a failing test.
    pub caught: usize,
    /// Caught by a deadline.
    pub timeout: usize,
    /// Survivors.
    pub missed: usize,
    /// Not built.
    pub unviable: usize,
}

impl Counts {
    /// Of these fates.
    pub fn of(fates: impl IntoIterator<Item = Fate>) -> Self {
        let mut counts = Self::default();
        for fate in fates {
            *match fate {
                Fate::Caught => &mut counts.caught,
                Fate::Timeout => &mut counts.timeout,
                Fate::Missed => &mut counts.missed,
                Fate::Unviable => &mut counts.unviable,
            } += 1;
        }
        counts
    }

    /// Those that were tried.
    pub fn viable(&self) -> usize {
        self.caught + self.timeout + self.missed
    }

    /// The share of those tried that were caught; none where none was tried.
    pub fn score(&self) -> Option<f64> {
        (self.viable() > 0).then(|| (self.caught + self.timeout) as f64 / self.viable() as f64)
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { caught, timeout, missed, unviable } = self;
        write!(f, "{caught} caught, {timeout} timeout, {missed} missed, {unviable} unviable: ")?;
        match self.score() {
            Some(score) => {
                let (least, most) = wilson(self.caught + self.timeout, self.viable()).unwrap_or((0.0, 1.0));
                write!(f, "score {score:.4}, as a sample at 95 % {least:.4} to {most:.4}")
            }
            None => write!(f, "score undefined, as no mutant was tried"),
        }
    }
}

#[derive(Deserialize)]
struct RawFile {
    outcomes: Vec<RawOutcome>,
}

#[derive(Deserialize)]
struct RawOutcome {
    scenario: Scenario,
    summary: String,
    phase_results: Vec<Phase>,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant(Mutant),
}

#[derive(Deserialize)]
struct Phase {
    phase: String,
    process_status: Status,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Word(String),
    Number(BTreeMap<String, i64>),
}

impl RawOutcome {
    /// How a phase ended: `Success`, `Failure`, `Timeout`, `Signalled`, ...; none where it did not begin.
    fn ended(&self, name: &str) -> Option<&str> {
        let phase = self.phase_results.iter().find(|phase| phase.phase == name)?;
        match &phase.process_status {
            Status::Word(word) => Some(word),
            Status::Number(number) => number.keys().next().map(String::as_str),
        }
    }

    fn fate(&self, name: &str) -> Result<Fate, String> {
        if self.ended("Build") != Some("Success") {
            return Ok(Fate::Unviable);
        }
        match (self.summary.as_str(), self.ended("Test")) {
            ("CaughtMutant", Some("Failure" | "Signalled" | "Other")) => Ok(Fate::Caught),
            ("Timeout", Some("Timeout")) => Ok(Fate::Timeout),
            ("MissedMutant", Some("Success")) => Ok(Fate::Missed),
            (summary, test) => Err(format!("`{name}` is called {summary}, and its tests ended with {}", test.unwrap_or("nothing"))),
        }
    }
}

/// Reads `outcomes.json`: every mutant with what became of it, in the order of the file.
///
/// # Errors
///
/// What is no such file, a run without a green baseline, and an outcome that contradicts its own phases.
pub fn read(text: &str) -> Result<Vec<(Mutant, Fate)>, String> {
    let file: RawFile = serde_json::from_str(text).map_err(|error| format!("outcomes.json: {error}"))?;
    let mut baselines = 0;
    let mut mutants = Vec::new();
    for outcome in file.outcomes {
        match &outcome.scenario {
            Scenario::Baseline if outcome.summary == "Success" => baselines += 1,
            Scenario::Baseline => {
                return Err(format!("the tests of the unchanged code end with {}: nothing is known of mutants", outcome.summary));
            }
            Scenario::Mutant(mutant) => mutants.push((mutant.clone(), outcome.fate(&mutant.name)?)),
        }
    }
    if baselines != 1 {
        return Err(format!("{baselines} runs of the unchanged code, one is due: without it a failing test proves nothing"));
    }
    Ok(mutants)
}

/// What a run in several passes came to. What survived an earlier pass is tried by a later one with other tests; what a later one did not try
/// has survived, and so has what it could not build, as it was built once.
pub fn of_passes(passes: impl IntoIterator<Item = Vec<(Mutant, Fate)>>) -> Vec<(Mutant, Fate)> {
    let mut all: Vec<(Mutant, Fate)> = Vec::new();
    for (mutant, fate) in passes.into_iter().flatten() {
        match all.iter_mut().find(|(other, _)| *other == mutant) {
            None => all.push((mutant, fate)),
            Some((_, earlier)) if *earlier == Fate::Missed && fate != Fate::Unviable => *earlier = fate,
            Some(_) => {}
        }
    }
    all
}

/// Reads the list that `cargo mutants --list --json` writes.
///
/// # Errors
///
/// What is no such list.
pub fn read_list(text: &str) -> Result<Vec<Mutant>, String> {
    serde_json::from_str(text).map_err(|error| format!("the list of mutants: {error}"))
}

/// Whether every package has mutants: from the root, cargo-mutants sees the root's package alone unless it is told otherwise.
///
/// # Errors
///
/// The packages that have none.
pub fn require_packages(mutants: &[Mutant], packages: &[&str]) -> Result<BTreeMap<String, usize>, String> {
    let mut counts: BTreeMap<String, usize> = packages.iter().map(|package| ((*package).to_owned(), 0)).collect();
    for mutant in mutants {
        *counts.entry(mutant.package.clone()).or_default() += 1;
    }
    let empty: Vec<&str> = counts.iter().filter(|(_, mutants)| **mutants == 0).map(|(package, _)| package.as_str()).collect();
    if packages.is_empty() || !empty.is_empty() {
        return Err(format!("no mutants in: {}", if packages.is_empty() { "no package was named".to_owned() } else { empty.join(", ") }));
    }
    Ok(counts)
}

/// What the control must come to: one mutant that has to be caught, one that has to survive, one that does not build.
const CONTROL: [(&str, Fate); 3] = [
    ("replace - with + in difference", Fate::Caught),
    ("replace < with <= in magnitude", Fate::Missed),
    ("replace opaque -> Opaque with Default::default()", Fate::Unviable),
];

/// Holds a run over the control crate against what is known of it.
///
/// # Errors
///
/// The mutants that are absent or came to another end.
pub fn require_control(mutants: &[(Mutant, Fate)]) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (name, due) in CONTROL {
        match mutants.iter().find(|(mutant, _)| mutant.name.ends_with(name)) {
            Some((_, fate)) if *fate == due => {}
            Some((_, fate)) => wrong.push(format!("`{name}` is {fate:?}, {due:?} is due")),
            None => wrong.push(format!("`{name}` is not among the mutants")),
        }
    }
    let survivors = mutants.iter().filter(|(_, fate)| *fate == Fate::Missed).count();
    if survivors > 1 {
        wrong.push(format!("{survivors} mutants of the control survive, one is due"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// A survivor as a record of evidence, so that whatever renders records renders it.
pub fn record(run: &str, mutant: &Mutant) -> Record {
    let verdict = Verdict::falsified("a test that fails", format!("every test passes: {}", mutant.name));
    let mut record = Record::of(run, &format!("mutant::{}::{}", mutant.package, mutant.name), &verdict);
    record.claim = Claim {
        id: CLAIM.to_owned(),
        sentence: "the code says nothing that some test does not hold it to".to_owned(),
        refuted_by: "a change of one expression that every test accepts".to_owned(),
    };
    record.owner = "suite".to_owned();
    record.reproduce = format!("cargo mutants -p {} --re {}", mutant.package, escape::quoted(&sample::expression(mutant)));
    record
}

#[cfg(test)]
mod tests;
