//! A run in the words of other programs: JUnit for build servers, SARIF for code scanning, Markdown for step summaries, annotations for
//! logs, JSON Lines for tables. Each is a pure function of the evidence: the same evidence gives the same bytes.
//!
//! Names, metadata and generated text are other people's. Each writer escapes for its own format, and every deceptive character is made
//! visible first ([`crate::escape`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::Record;
use crate::evidence::manifest::{Manifest, NotTested};
use crate::report::{self, holds};
use crate::summary::{Tally, cell_of};

pub mod annotations;
pub mod compare;
pub mod jsonl;
pub mod junit;
pub mod markdown;
pub mod sarif;
mod xml;

#[cfg(test)]
pub(crate) mod fixture;

/// A run, as every reporter reads it.
#[derive(Debug, Clone)]
pub struct Findings<'a> {
    /// The run's id.
    pub run: &'a str,
    /// Its records, by name.
    pub records: &'a [Record],
    /// What it was; none under nextest, or where it was cut short.
    pub manifest: Option<&'a Manifest>,
    /// Why the records are not all of the run, if they are not.
    pub lost: Option<&'a str>,
}

/// A red row, with those that were not judged because of it.
#[derive(Debug, Clone, Copy)]
pub struct Red<'a> {
    /// The row.
    pub record: &'a Record,
    /// How many rows stand behind it, where it is a gate.
    pub behind: usize,
}

impl<'a> Findings<'a> {
    /// How many rows came to which verdict.
    pub fn tally(&self) -> Tally {
        Tally::of(self.records)
    }

    /// The verdict in words and numbers, with what keeps it from being one.
    pub fn verdict(&self) -> String {
        let not_tested = match self.manifest {
            Some(manifest) => format!("{} not tested", manifest.not_tested.len()),
            None => "what was not tested is unknown (the run left no run.json)".to_owned(),
        };
        let incomplete = if self.lost.is_some() { "INCOMPLETE, " } else { "" };
        format!("{incomplete}{}, {not_tested}", self.tally().verdict())
    }

    /// Whether nothing keeps the run from being green.
    pub fn is_green(&self) -> bool {
        let tally = self.tally();
        self.lost.is_none() && tally.judged() > 0 && tally.is_green()
    }

    /// Why rows were not judged that the run had before it when it was halted, and how many: they are red, and no finding of their own.
    pub fn halted(&self) -> Option<(&'a str, usize)> {
        let mut halted = self.records.iter().filter(|record| record.is_halted());
        let first = halted.next()?;
        Some((&first.observed, 1 + halted.count()))
    }

    /// Rows with a warning, which reddens nothing.
    pub fn flagged(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        self.records.iter().filter(|record| !record.flags.is_empty())
    }

    /// The red rows by name, each gate with the rows behind it. Where a gate was filtered out, the first row behind it stands for it. Rows
    /// of a run that was halted are not among them: [`Findings::halted`].
    pub fn red(&self) -> Vec<Red<'a>> {
        let cell = |record: &'a Record| record.axes.as_ref().map(|axes| cell_of(&record.name, &axes.check));
        let gates: BTreeSet<&str> = self.records.iter().filter(|record| record.is_red() && !record.behind_gate).filter_map(cell).collect();
        let mut behind: BTreeMap<&str, usize> = BTreeMap::new();
        let red_rows = || self.records.iter().filter(|record| record.is_red() && !record.is_halted());
        for cell in red_rows().filter(|record| record.behind_gate).filter_map(cell) {
            *behind.entry(cell).or_default() += 1;
        }
        let mut told: BTreeSet<&str> = BTreeSet::new();
        let mut red = Vec::new();
        for record in red_rows() {
            let cell = cell(record);
            if !record.behind_gate {
                let is_gate = record.axes.as_ref().is_some_and(|axes| axes.check == crate::matrix::GATE);
                let rows = cell.filter(|_| is_gate).and_then(|cell| behind.get(cell)).copied();
                red.push(Red { record, behind: rows.unwrap_or(0) });
            } else if cell.is_none_or(|cell| !gates.contains(cell) && told.insert(cell)) {
                let rows = cell.and_then(|cell| behind.get(cell)).copied();
                red.push(Red { record, behind: rows.unwrap_or(1).saturating_sub(1) });
            }
        }
        red
    }

    /// Rows that failed as an expectation says.
    pub fn expected(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        self.records.iter().filter(|record| record.is_expected())
    }

    /// Rows that were listed and not judged.
    pub fn not_tested(&self) -> &'a [NotTested] {
        self.manifest.map_or(&[], |manifest| &manifest.not_tested)
    }

    /// The same by reason, the most frequent first.
    pub fn reasons(&self) -> Vec<(&'a str, Vec<&'a str>)> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in self.not_tested() {
            reasons.entry(&row.reason).or_default().push(&row.name);
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by(|(a, a_rows), (b, b_rows)| b_rows.len().cmp(&a_rows.len()).then(a.cmp(b)));
        reasons
    }
}

/// The cell of a row as its name says it: all before the check. The whole name where the row is about the lists.
pub fn cell(record: &Record) -> &str {
    record.axes.as_ref().map_or(record.name.as_str(), |axes| cell_of(&record.name, &axes.check))
}

/// What a red row is about, on one line: the measure that is out of its bound, else what was observed.
pub fn what(record: &Record) -> String {
    let kind = record.error.as_deref().map(|kind| format!("{}: ", crate::escape::line(kind))).unwrap_or_default();
    let broken = record.measures.iter().find(|number| !holds(number)).map(report::measure);
    kind + &broken.unwrap_or_else(|| crate::escape::line(&record.observed))
}

#[cfg(test)]
mod tests {
    use super::fixture::{Fixture, record};
    use ground_truth_falsification::verdict::{ErrorKind, Verdict};

    #[test]
    fn a_gate_stands_for_the_rows_behind_it() {
        let mut fixture = Fixture::mixed();
        let told = |fixture: &Fixture| -> Vec<(String, usize)> {
            fixture.findings().red().iter().map(|red| (red.record.name.clone(), red.behind)).collect()
        };
        let gate = "b-tiny::gguf::q8_0::native::F-G1".to_owned();
        assert_eq!(told(&fixture)[1..], [(gate.clone(), 1)]);
        // Where the gate was filtered out, the first row behind it is told, and how many stand beside it.
        let behind = || Verdict::error(ErrorKind::Gate, "an open gate", "gate F-G1 failed: altered");
        fixture.records.push(record("b-tiny::gguf::q8_0::native", "TENSORS", None, behind()));
        fixture.records.retain(|record| record.name != gate);
        assert_eq!(told(&fixture)[1..], [("b-tiny::gguf::q8_0::native::F-T1".to_owned(), 1)]);
    }

    #[test]
    fn a_run_that_was_halted_is_red_and_says_so_once() {
        let mut fixture = Fixture::green();
        let halted = || Verdict::error(ErrorKind::Gate, "a verdict", "halted by a::F-G1");
        fixture.records.extend(["V1", "V2"].map(|check| record("a-tiny::safetensors::f32::native", check, None, halted())));
        let findings = fixture.findings();
        assert!(findings.red().is_empty() && !findings.is_green());
        assert_eq!(findings.halted(), Some(("halted by a::F-G1", 2)));
        assert!(super::markdown::markdown(&findings).contains("**Halted:** 2 rows were not judged"));
        assert!(super::annotations::annotations(&findings).starts_with("::error title=the run was halted::2 rows"));
        assert!(crate::page::html(&findings).unwrap().contains("! 2 rows not judged: halted by a::F-G1"));
    }

    #[test]
    fn nothing_judged_is_not_green() {
        let mut fixture = Fixture::green();
        assert!(fixture.findings().is_green());
        fixture.records.clear();
        assert!(!fixture.findings().is_green());
    }
}
