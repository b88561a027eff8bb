//! What is probably wrong, read from the records of one cell.
//!
//! A verdict says that an answer is wrong. A diagnosis says where the arithmetic first left the oracle's, who has to act, and which fault of the
//! catalogue looks most like it. It reads records alone, asks nobody anything and changes no verdict.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::escape::line;
use crate::evidence::Record;
use crate::report;

mod owner;
pub(crate) mod signature;
pub mod stage;
#[cfg(test)]
mod tests;

pub(crate) use owner::UNVOUCHED;

/// How many faults of the catalogue are named, and how far away the last of them may be.
const ALIKE: usize = 3;
const FAR: f64 = 0.5;

/// What is probably wrong with one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The first stage of the forward pass that differs, `blk.1.attn.q`.
    pub stage: Option<String>,
    /// Who most likely has to act; empty where nothing is red.
    pub owner: String,
    /// The reasons, each a sentence.
    pub why: Vec<String>,
    /// Faults of the catalogue that show the same, nearest first.
    pub alike: Vec<Likeness>,
}

/// A fault of the catalogue that shows nearly the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Likeness {
    /// Its id.
    pub defect: String,
    /// What is wrong there, in a sentence.
    pub what: String,
    /// Where it was seen.
    pub seen_in: String,
    /// From 0, the same checks are red and no others, to 1, none in common.
    pub distance: f64,
}

/// The diagnosis of one red cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `model::format::quantization::runtime`.
    pub cell: String,
    /// What is probably wrong with it.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
}

/// What the records of one cell say together. `siblings` are the records of the model's other cells, of the same runtime or another.
pub fn of_cell(records: &[&Record], siblings: &[&Record]) -> Diagnosis {
    diagnosed(records, siblings, None)
}

/// The diagnosis of every cell of a run that has a red row, by name.
pub fn of_run(records: &[Record]) -> Vec<Finding> {
    let mut cells: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        if let Some(axes) = &record.axes {
            cells.entry(cell_of(&record.name, &axes.check)).or_default().push(record);
        }
    }
    let model = |cell: &str| cell.split("::").next().map(str::to_owned);
    let red = cells.iter().filter(|(_, records)| records.iter().any(|record| record.is_red() && !record.is_halted()));
    let judged = red.map(|(cell, own)| {
        let others = cells.iter().filter(|(other, _)| *other != cell && model(other) == model(cell));
        let siblings: Vec<&Record> = others.flat_map(|(_, records)| records.iter().copied()).collect();
        Finding { cell: (*cell).to_owned(), diagnosis: of_cell(own, &siblings) }
    });
    // A model that is refused before its rows can be listed has no cell.
    let unlisted = records.iter().filter(|record| record.is_red() && record.axes.is_none()).filter_map(|record| {
        let at = record.name.find(UNLISTED)?;
        let (owner, why) = owner::gate_owner(record);
        let cell = record.name[at + UNLISTED.len()..].to_owned();
        Some(Finding { cell, diagnosis: Diagnosis { owner, why, ..Diagnosis::default() } })
    });
    judged.chain(unlisted).collect()
}

/// What stands before a model's name where its rows could not be listed.
const UNLISTED: &str = "model::";

/// The name of a row's cell: what stands before its check.
fn cell_of<'a>(name: &'a str, check: &str) -> &'a str {
    name.split_once(&format!("::{check}")).map_or(name, |(cell, _)| cell)
}

/// The diagnosis by all faults of the catalogue but one.
fn diagnosed(records: &[&Record], siblings: &[&Record], but: Option<&str>) -> Diagnosis {
    if records.iter().all(|record| record.is_green()) {
        return Diagnosis::default();
    }
    let signature = signature::Signature::of(records);
    // Values that are right rule out faults of values, and values that are wrong rule out faults of settings alone.
    let ruled_out = match owner::values_hold(records) {
        Some(true) => Some("file"),
        Some(false) => Some("config"),
        None => None,
    };
    let possible = |known: &&signature::Known| ruled_out.is_none() || known.shown.touches.as_deref() != ruled_out;
    let (near, unread) = match signature::catalogue() {
        Ok(catalogue) => (signature::nearest(&signature, catalogue.iter().filter(possible), but), None),
        Err(reason) => (Vec::new(), Some(format!("no fault of the catalogue can be compared: {reason}"))),
    };
    let (owner, mut why) = owner::of(records, siblings, &near, signature.stage.is_some());
    why.extend(unread);
    let alike = near.into_iter().filter(|(distance, _)| *distance <= FAR).take(ALIKE);
    let alike = alike.map(|(distance, known)| Likeness::of(distance, known)).collect();
    Diagnosis { stage: signature.stage, owner, why, alike }
}

impl Diagnosis {
    /// On one line, without a name: stage, owner and its first reason, and the nearest fault.
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        if let Some(stage) = &self.stage {
            parts.push(format!("first wrong stage {}", stage::described(stage)));
        }
        let why = self.why.first().map(|why| format!(" ({})", report::shorten(&line(why), 160))).unwrap_or_default();
        parts.push(format!("owner {}{why}", line(&self.owner)));
        if let Some(nearest) = self.alike.first() {
            parts.push(nearest.to_string());
        }
        parts.join("; ")
    }
}

impl std::fmt::Display for Likeness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "looks like `{}` (distance {:.2}): {}, seen in {}", self.defect, self.distance, self.what, self.seen_in)
    }
}
