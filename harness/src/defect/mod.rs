//! Named faults, and the functions that make them.
//!
//! A defect is a record in `falsification/defects.toml` and a function here, joined by id. What a check is worth is what it does to
//! them: [`power`](crate::power) tries every check on every defect.

pub mod artifact;
pub mod file;
pub mod runtime;

use std::collections::BTreeMap;

use ground_truth_falsification::defect::{Defect, Kind};

/// The function of a defect.
#[derive(Clone, Copy)]
pub enum Make {
    /// Changes a loaded checkpoint.
    Artifact(artifact::Edit),
    /// Stands in front of a runtime.
    Runtime(runtime::Fault),
    /// Changes a file: the artifact's, or a peer's.
    File(file::Target, file::Edit),
}

/// A record and its function.
#[derive(Clone, Copy)]
pub struct Planted {
    /// The record.
    pub record: &'static Defect,
    /// The function.
    pub make: Make,
}

impl std::fmt::Debug for Planted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planted").field("id", &self.record.id).field("kind", &self.record.kind).finish_non_exhaustive()
    }
}

/// Every defect, in the order of the records.
///
/// # Errors
///
/// A record without a function of its kind, or a function without a record: each is named.
pub fn planted(records: &'static [Defect]) -> Result<Vec<Planted>, String> {
    let mut makes: BTreeMap<&str, Make> = BTreeMap::new();
    makes.extend(artifact::EDITS.iter().map(|(id, edit)| (*id, Make::Artifact(*edit))));
    makes.extend(runtime::FAULTS.iter().map(|(id, fault)| (*id, Make::Runtime(*fault))));
    makes.extend(file::EDITS.iter().map(|(id, target, edit)| (*id, Make::File(*target, *edit))));
    let declared = artifact::EDITS.len() + runtime::FAULTS.len() + file::EDITS.len();
    let mut wrong: Vec<String> = Vec::new();
    if makes.len() != declared {
        wrong.push(format!("{} functions share {} ids", declared, makes.len()));
    }
    let mut planted = Vec::new();
    for record in records {
        match (record.kind, makes.remove(record.id.as_str())) {
            (Kind::Artifact, Some(make @ Make::Artifact(_)))
            | (Kind::Runtime, Some(make @ Make::Runtime(_)))
            | (Kind::File, Some(make @ Make::File(..))) => {
                planted.push(Planted { record, make });
            }
            (_, None) => wrong.push(format!("`{}` has a record and no function", record.id)),
            (kind, Some(_)) => wrong.push(format!("`{}` is recorded as {}, its function is not of that kind", record.id, kind.name())),
        }
    }
    wrong.extend(makes.keys().map(|id| format!("`{id}` has a function and no record")));
    if wrong.is_empty() { Ok(planted) } else { Err(wrong.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    fn records() -> Vec<Defect> {
        let text = std::fs::read_to_string(Workspace::from_env().root().join("falsification/defects.toml")).expect("readable");
        ground_truth_falsification::defect::parse(&text).expect("the records pass their lint")
    }

    #[test]
    fn every_record_has_its_function_and_every_function_its_record() {
        let records = records().leak();
        assert_eq!(planted(records).expect("a bijection").len(), records.len());
    }

    #[test]
    fn a_record_without_a_function_is_named() {
        let mut records = records();
        records[0].id = "no-such-function".to_owned();
        let gone = records[1].id.clone();
        records.remove(1);
        let error = planted(records.leak()).expect_err("two are wrong");
        assert!(error.contains("`no-such-function` has a record and no function"), "{error}");
        assert!(error.contains(&format!("`{gone}` has a function and no record")), "{error}");
    }

    #[test]
    fn there_are_as_many_defects_as_were_promised() {
        let records = records();
        let of = |kind| records.iter().filter(|record| record.kind == kind).count();
        assert!(of(Kind::Artifact) >= 60 && of(Kind::Runtime) >= 20 && of(Kind::File) >= 30);
        let own = |name| records.iter().any(|record| record.kind == Kind::Artifact && record.architectures == [name]);
        assert!(ground_truth_falsification::defect::ARCHITECTURES.into_iter().all(own), "each architecture has defects of its own");
    }
}
