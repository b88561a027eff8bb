//! The model qualification score of `hf-ground-truth-corpus`, section 7.2, computed from evidence, for each artifact and each model. It is
//! printed beside the table that it came from and decides nothing.
//!
//! Four gateways, six categories of 1000 points together, `100 log10(1 + 9x)` of the share x in [0, 1], grades, and a threshold of 85. The holes
//! of its ancestors are closed:
//!
//! | hole | here |
//! |---|---|
//! | nothing was judged, and the score is that of a good model | no evidence scores 0 |
//! | a category without a test gives all its points, or leaves the sum | it is unscored: none of its points, and no grade above B- |
//! | what was not tested passes | it is a part of the whole, and never of what passed; so is a failure that was expected |
//! | a gateway that failed costs points | a gateway that failed, or that nothing was judged of, is a score of 0 |
//! | bands leave gaps: 96.5 has no grade | each begins where the one below it ends |
//! | "85 is B" | a B begins at 83, and qualified is from 85 on |
//!
//! Coverage, types and documentation of a recipe are asked about a model file here: which claim stands for which part is [`part`].

use std::collections::{BTreeMap, BTreeSet};

use ground_truth_falsification::check;
use serde::Serialize;

use crate::evidence::Record;
use crate::export::{Findings, cell};
use crate::matrix;

mod part;
pub mod text;

#[cfg(test)]
mod tests;

pub use part::{CATEGORIES, Category, FAMILIES, GATEWAYS, Part, part};

/// From here on a model is qualified.
pub const THRESHOLD: f64 = 85.0;

/// The best grade of what has a category without tests: the last one below the threshold.
const CAP: &str = "B-";

/// Grades, and the least score of each.
const GRADES: [(&str, f64); 9] =
    [("A+", 97.0), ("A", 93.0), ("A-", 90.0), ("B+", 87.0), ("B", 83.0), ("B-", 80.0), ("C+", 77.0), ("C", 73.0), ("F", 0.0)];

/// How many rows came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The claim held.
    pub passed: usize,
    /// Falsified, or in error.
    pub failed: usize,
    /// Failed, as an expectation says.
    pub expected: usize,
    /// Listed, and not judged.
    pub not_tested: usize,
}

impl Count {
    fn enter(&mut self, row: Row) {
        match row {
            Row::Judged(record) if record.is_green() => self.passed += 1,
            Row::Judged(record) if record.is_expected() => self.expected += 1,
            Row::Judged(_) => self.failed += 1,
            Row::NotTested => self.not_tested += 1,
        }
    }

    /// Rows that were judged.
    pub fn judged(&self) -> usize {
        self.passed + self.failed + self.expected
    }

    /// Rows that there are.
    pub fn all(&self) -> usize {
        self.judged() + self.not_tested
    }

    /// The share that passed, of all rows; none where nothing was judged.
    pub fn share(&self) -> Option<f64> {
        (self.judged() > 0).then(|| self.passed as f64 / self.all() as f64)
    }

    /// Whether every row that there is passed, and there is one.
    pub fn is_passed(&self) -> bool {
        self.passed > 0 && self.passed == self.all()
    }

    /// In a word: a pass with rows that were not tested is not one.
    pub fn status(&self) -> &'static str {
        match self {
            Self { failed: 1.., .. } => "FAIL",
            _ if self.judged() == 0 => "not tested",
            _ if self.is_passed() => "PASS",
            Self { expected: 1.., .. } => "fails as expected",
            _ => "incomplete",
        }
    }
}

#[derive(Clone, Copy)]
enum Row<'a> {
    Judged(&'a Record),
    NotTested,
}

/// The score of one artifact, or of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// The cell, or the model.
    pub subject: String,
    /// Of each gateway.
    pub gateways: [Count; 4],
    /// Of each category.
    pub categories: [Count; 6],
    /// Of each family of claims in the qualification summary.
    pub families: [Count; 9],
    /// Claims of no family.
    pub others: Count,
    /// Points of 1000.
    pub points: f64,
    /// The score.
    pub score: f64,
    /// Its grade.
    pub grade: &'static str,
    /// Whether every gateway is passed, every category is scored, and the score reaches [`THRESHOLD`].
    pub qualified: bool,
    /// What keeps it from more, each in a sentence.
    pub why: Vec<String>,
}

/// Every score of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// `ground-truth/score/1`.
    pub schema: &'static str,
    /// The run.
    pub run: String,
    /// Of the models, by name.
    pub models: Vec<Score>,
    /// Of the artifacts in their runtimes, by name.
    pub artifacts: Vec<Score>,
    /// What speaks against all of them: records that were lost, rows about the lists that are red.
    pub doubts: Vec<String>,
}

/// The share x of the points in [0, 1], on the logarithmic scale of the document.
pub fn normalised(share: f64) -> f64 {
    if !(0.0..=1.0).contains(&share) {
        return 0.0;
    }
    100.0 * (1.0 + 9.0 * share).log10()
}

/// The grade of a score. What is not a number is the worst.
pub fn grade(score: f64) -> &'static str {
    GRADES.iter().find(|(_, least)| score >= *least).map_or("F", |(grade, _)| grade)
}

/// What the document says of a grade.
pub fn status(grade: &str) -> &'static str {
    match grade.as_bytes().first() {
        Some(b'A') => "Production Ready",
        Some(b'B') => "Conditional",
        Some(b'C') => "Development Only",
        _ => "Rejected",
    }
}

/// The scores of a run.
pub fn scores(findings: &Findings) -> Scores {
    let claims: BTreeMap<&str, &str> = check::all().iter().map(|check| (check.id, check.claim)).collect();
    let mut artifacts: BTreeMap<String, Vec<(String, Row)>> = BTreeMap::new();
    let mut models: BTreeMap<String, Vec<(String, Row)>> = BTreeMap::new();
    let mut broken: BTreeSet<&str> = BTreeSet::new();
    for record in findings.records {
        let Some(axes) = &record.axes else {
            if record.is_red() {
                broken.insert(&record.name);
            }
            continue;
        };
        let row = (record.claim.id.clone(), Row::Judged(record));
        artifacts.entry(cell(record).to_owned()).or_default().push(row.clone());
        models.entry(axes.model.clone()).or_default().push(row);
    }
    for row in findings.not_tested() {
        let parts: Vec<&str> = row.name.split("::").collect();
        let [model, _, _, _, check, ..] = parts.as_slice() else { continue };
        let claim =
            if [matrix::GATE, matrix::CONVERSION, matrix::LIST].contains(check) { check } else { claims.get(check).unwrap_or(check) };
        let entry = ((*claim).to_owned(), Row::NotTested);
        artifacts.entry(parts[..4].join("::")).or_default().push(entry.clone());
        models.entry((*model).to_owned()).or_default().push(entry);
    }
    let mut doubts = Vec::new();
    if let Some(lost) = findings.lost {
        doubts.push(format!("the evidence is incomplete: {lost}"));
    }
    if !broken.is_empty() {
        doubts.push(format!("{} rows about the lists are red: what they lost is in no score", broken.len()));
    }
    let score = |(subject, rows): (String, Vec<(String, Row)>)| of(subject, &rows, doubts.is_empty());
    let models = models.into_iter().map(score).collect();
    let artifacts = artifacts.into_iter().map(score).collect();
    Scores { schema: "ground-truth/score/1", run: findings.run.to_owned(), models, artifacts, doubts }
}

/// The score of these rows, each with the id of its claim.
fn of(subject: String, rows: &[(String, Row)], whole: bool) -> Score {
    let (mut gateways, mut categories) = ([Count::default(); 4], [Count::default(); 6]);
    let (mut families, mut others) = ([Count::default(); 9], Count::default());
    for (claim, row) in rows {
        match part(claim) {
            Some(Part::Gateway(place)) => gateways[place].enter(*row),
            Some(Part::Category(category)) => categories[category as usize].enter(*row),
            None => {}
        }
        match part::family(claim) {
            Some(place) => families[place].enter(*row),
            None => others.enter(*row),
        }
    }
    let mut why = Vec::new();
    for (count, (gateway, claimed)) in gateways.iter().zip(GATEWAYS) {
        if count.judged() == 0 {
            why.push(format!("{gateway} has no evidence: {claimed}"));
        } else if !count.is_passed() {
            why.push(format!("{gateway} is not passed ({} of {}): {claimed}", count.passed, count.all()));
        }
    }
    let through = why.is_empty();
    let mut points = 0.0;
    let mut unscored = false;
    for (count, (category, most, _)) in categories.iter().zip(CATEGORIES) {
        match count.share() {
            Some(share) => points += most * share,
            None => {
                unscored = true;
                why.push(format!("{category} has no test that was judged: unscored, no grade above {CAP}"));
            }
        }
    }
    let score = if through { normalised(points / 1000.0) } else { 0.0 };
    let mut grade = grade(score);
    let capped = GRADES.iter().find(|(name, _)| *name == CAP).map_or(0.0, |(_, least)| *least);
    if unscored && score >= capped {
        grade = CAP;
    }
    let qualified = whole && through && !unscored && score >= THRESHOLD;
    Score { subject, gateways, categories, families, others, points, score, grade, qualified, why }
}
