//! What is probably wrong, read from the records of one cell.
//!
//! A verdict says that an answer is wrong. A diagnosis says where the arithmetic first left the oracle's, who has to act, and which fault of the
//! catalogue looks most like it. It reads records alone, asks nobody anything and changes no verdict.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evidence::Record;

pub mod stage;

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

/// What the records of one cell say together. `siblings` are the records of the model's other cells, of the same runtime or another.
pub fn of_cell(records: &[&Record], siblings: &[&Record]) -> Diagnosis {
    let _ = siblings;
    let red: Vec<&Record> = records.iter().copied().filter(|record| !record.is_green() && !record.behind_gate).collect();
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &red {
        *owners.entry(record.owner.as_str()).or_default() += 1;
    }
    // Of equals the first by name: the same evidence gives the same answer.
    let mut owner = ("", 0);
    for (name, rows) in owners {
        if rows > owner.1 {
            owner = (name, rows);
        }
    }
    let stages = red.iter().filter_map(|record| record.place.stage.as_deref());
    Diagnosis { stage: stage::first(stages).map(str::to_owned), owner: owner.0.to_owned(), ..Diagnosis::default() }
}
