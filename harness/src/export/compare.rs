//! Two runs beside each other: what is newly red or green, what came and went, and which measures moved.
//!
//! A row that was not judged in the second run has disappeared, whatever the reason: a red row that is skipped is not mended.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::Findings;
use super::markdown::in_table;
use crate::escape;
use crate::evidence::Record;
use crate::markdown::code;
use crate::report::short;

/// The most rows of one kind that are shown.
const MAX_ROWS: usize = 50;

/// What became of the rows of one run in another.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// `ground-truth/comparison/1`.
    pub schema: &'static str,
    /// The runs, in their order.
    pub runs: [String; 2],
    /// Red in the second, and judged and not red in the first.
    pub newly_red: Vec<Change>,
    /// Green in the second, and judged and not green in the first.
    pub newly_green: Vec<Change>,
    /// Another verdict in any other way: from red to expected, from an error to a refutation.
    pub otherwise: Vec<Change>,
    /// Judged in the second alone.
    pub appeared: Vec<Change>,
    /// Judged in the first alone.
    pub disappeared: Vec<Change>,
    /// Measures of rows in both that differ, the largest ratio first.
    pub moved: Vec<Moved>,
    /// Measures of rows in both that are equal to the bit.
    pub unmoved: usize,
}

/// A row, and its verdict in either run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// In the first.
    pub before: Option<String>,
    /// In the second.
    pub after: Option<String>,
}

/// A measure that moved. Numbers that are not finite are words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// The row.
    pub name: String,
    /// The measure.
    pub measure: String,
    /// In the first run.
    pub before: String,
    /// In the second.
    pub after: String,
    /// Its bound in the second; none where it is only printed.
    pub bound: Option<String>,
    /// The natural logarithm of the ratio, without its sign; none where one of the two is zero, negative or not finite.
    pub log_ratio: Option<f64>,
}

/// What became of the rows of `a` in `b`.
pub fn compare(a: &Findings, b: &Findings) -> Comparison {
    let mut comparison =
        Comparison { schema: "ground-truth/comparison/1", runs: [a.run.to_owned(), b.run.to_owned()], ..Comparison::default() };
    let before: BTreeMap<&str, &Record> = a.records.iter().map(|record| (record.name.as_str(), record)).collect();
    let after: BTreeMap<&str, &Record> = b.records.iter().map(|record| (record.name.as_str(), record)).collect();
    for (name, record) in &before {
        if !after.contains_key(name) {
            comparison.disappeared.push(change(name, Some(record), None));
        }
    }
    for (name, now) in &after {
        let Some(was) = before.get(name) else {
            comparison.appeared.push(change(name, None, Some(now)));
            continue;
        };
        if was.verdict != now.verdict {
            let list = match (was.is_red(), now.is_red(), now.is_green()) {
                (false, true, _) => &mut comparison.newly_red,
                (_, _, true) => &mut comparison.newly_green,
                _ => &mut comparison.otherwise,
            };
            list.push(change(name, Some(was), Some(now)));
        }
        measures(&mut comparison, was, now);
    }
    // A measure that became zero or ceased to be a number comes first: no ratio says how far that is.
    let far = |moved: &Moved| moved.log_ratio.unwrap_or(f64::INFINITY);
    comparison.moved.sort_by(|a, b| far(b).total_cmp(&far(a)).then_with(|| (&a.name, &a.measure).cmp(&(&b.name, &b.measure))));
    comparison
}

fn change(name: &str, was: Option<&Record>, now: Option<&Record>) -> Change {
    let verdict = |record: &Record| record.verdict.clone();
    Change { name: name.to_owned(), before: was.map(verdict), after: now.map(verdict) }
}

fn measures(comparison: &mut Comparison, was: &Record, now: &Record) {
    for number in &now.measures {
        let Some(old) = was.measures.iter().find(|old| old.name == number.name) else { continue };
        let (before, after) = (old.observed, number.observed);
        if before.to_bits() == after.to_bits() || before.is_nan() && after.is_nan() {
            comparison.unmoved += 1;
            continue;
        }
        let log = (after / before).ln().abs();
        comparison.moved.push(Moved {
            name: now.name.clone(),
            measure: number.name.clone(),
            before: short(before),
            after: short(after),
            bound: number.bound.map(short),
            log_ratio: log.is_finite().then_some(log),
        });
    }
}

impl Comparison {
    /// Whether the second run is worse: a row is newly red, appeared red, or is no longer judged.
    pub fn is_worse(&self) -> bool {
        let red = |change: &Change| {
            change.after.as_deref().is_some_and(|verdict| !["corroborated", crate::evidence::EXPECTED].contains(&verdict))
        };
        !self.newly_red.is_empty() || !self.disappeared.is_empty() || self.appeared.iter().any(red)
    }

    /// In Markdown.
    pub fn markdown(&self) -> String {
        let [a, b] = &self.runs;
        let mut text = format!("# {} against {}\n\n", code(b), code(a));
        let _ = writeln!(text, "{}", if self.is_worse() { "Worse." } else { "Not worse." });
        let lists = [
            ("Newly red", &self.newly_red),
            ("Newly green", &self.newly_green),
            ("Another verdict", &self.otherwise),
            ("Appeared", &self.appeared),
            ("Disappeared", &self.disappeared),
        ];
        for (title, changes) in lists {
            let _ = writeln!(text, "\n## {title}: {}", changes.len());
            if changes.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n| row | before | after |\n|---|---|---|");
            for change in changes.iter().take(MAX_ROWS) {
                let word = |verdict: &Option<String>| escape::line(verdict.as_deref().unwrap_or("not judged"));
                let _ = writeln!(text, "| {} | {} | {} |", in_table(&change.name), word(&change.before), word(&change.after));
            }
            rest(&mut text, changes.len());
        }
        let _ = writeln!(text, "\n## Measures that moved: {} ({} are equal to the bit)", self.moved.len(), self.unmoved);
        if !self.moved.is_empty() {
            let _ = writeln!(text, "\n| row | measure | before | after | bound |\n|---|---|--:|--:|--:|");
            for moved in self.moved.iter().take(MAX_ROWS) {
                let bound = moved.bound.as_deref().unwrap_or("none");
                let (row, measure) = (in_table(&moved.name), in_table(&moved.measure));
                let _ = writeln!(text, "| {row} | {measure} | {} | {} | {bound} |", moved.before, moved.after);
            }
            rest(&mut text, self.moved.len());
        }
        text
    }
}

fn rest(text: &mut String, all: usize) {
    if all > MAX_ROWS {
        let _ = writeln!(text, "\nand {} more.", all - MAX_ROWS);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, is_clean, record};
    use super::*;
    use ground_truth_falsification::verdict::Verdict;

    fn names(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.name.as_str()).collect()
    }

    #[test]
    fn every_row_that_changed_is_in_one_list() {
        let before = Fixture::mixed();
        let mut after = Fixture::mixed();
        after.records[0].verdict = "falsified".into();
        after.records[1].verdict = "corroborated".into();
        after.records[1].measures[0].observed = 0.0;
        after.records[2].verdict = "falsified".into();
        after.records[3].verdict = "falsified".into();
        after.records.truncate(4);
        after.records.push(record("c::gguf::f32::native", "F-G1", None, Verdict::corroborated(1, "", "")));
        let comparison = compare(&before.findings(), &after.findings());
        let a = "a-tiny::safetensors::f32::native";
        assert_eq!(names(&comparison.newly_red), [format!("{a}::F-G1"), format!("{a}::F-T1")]);
        assert_eq!(names(&comparison.newly_green), [format!("{a}::F-G4-logits::code")]);
        assert_eq!(names(&comparison.otherwise), ["b-tiny::gguf::q8_0::native::F-G1"]);
        assert_eq!(names(&comparison.appeared), ["c::gguf::f32::native::F-G1"]);
        assert_eq!(names(&comparison.disappeared), ["b-tiny::gguf::q8_0::native::F-T1"]);
        assert_eq!((comparison.moved.len(), comparison.unmoved), (1, 1));
        assert!(comparison.is_worse());
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("comparison", comparison.markdown()));
    }

    #[test]
    fn a_run_is_not_worse_than_itself() {
        let fixture = Fixture::mixed();
        let comparison = compare(&fixture.findings(), &fixture.findings());
        assert!(!comparison.is_worse() && comparison.moved.is_empty() && comparison.unmoved == 2);
    }

    #[test]
    fn a_red_row_that_is_no_longer_judged_is_worse() {
        let before = Fixture::mixed();
        let after = Fixture::green();
        assert!(compare(&before.findings(), &after.findings()).is_worse());
        let mut red = Fixture::green();
        red.records.push(record("z::gguf::f32::native", "F-G1", None, Verdict::falsified("", "")));
        assert!(compare(&after.findings(), &red.findings()).is_worse(), "a row that appears red");
    }

    #[test]
    fn no_payload_is_more_than_text() {
        let text = compare(&Fixture::hostile().findings(), &Fixture::green().findings()).markdown();
        assert!(is_clean(&text));
        assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| line.replace("\\|", "").matches('|').count() == 4));
    }
}
