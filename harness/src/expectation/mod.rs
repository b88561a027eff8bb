//! What a runtime is known to get wrong: `expectations/<runtime>.toml`.
//!
//! An entry names rows that fail, how they fail, who has been told, and until when it is believed. A row that fails as its entry says is
//! `expected`: listed apart, counted apart, not red. Everything else about entries is red, so that the file can only tell the truth:
//!
//! | red | where |
//! |---|---|
//! | the row passes | the row: `error`, `unexpected pass` |
//! | the row fails otherwise than its entry says | the row, with its own verdict |
//! | an entry is expired, names no bug, has an unknown field, ... | `matrix::expectation::<runtime>::<number>` |
//! | an entry is about no row of the whole matrix, filtered or not | the same |
//! | two entries are about one row | the same, of the later one; neither excuses the row |
//! | any entry for `native` (no known failures: `spec/hf-ground-truth-corpus.md` 7.3) | the same |
//!
//! ```toml
//! [[expect]]
//! test = "gpt2-tiny::gguf::*::mine::F-G1"   # `*` is any run of characters; must hold `::<runtime>::`
//! when = { os = "linux", arch = "x86_64", version = ">=0.9, <0.10" }   # optional, and every part of it
//! status = "error"                          # or "falsified"
//! kind = "refused"                          # with "error": the kind in the evidence
//! contains = "unknown architecture"         # optional: stands in what was observed
//! at_most = { "relative RMS" = 0.02 }       # optional: an expected number that grew is red
//! bug = "https://example.org/mine/issues/1"
//! since = 2026-11-21
//! expires = 2027-02-21                      # at most 366 days later
//! why = "gpt2 is not implemented"
//! ```
//!
//! An entry that is wrong in any way excuses nothing. The entry of a gate's row (`F-G1`) excuses the rows behind that gate too, which
//! have none of their own. Days are UTC, by the clock of the system; an entry holds to the end of its last day.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use ground_truth_falsification::verdict::ErrorKind;

use crate::escape;
use crate::evidence::{self, Record};
use crate::golden_store;
use crate::matrix::{self, Matrix, Task};
use crate::roster::Problem;
use crate::runtime::Capabilities;
use crate::workspace::Workspace;

pub mod baseline;
mod condition;
mod date;
mod entry;
mod glob;

pub use condition::Here;
pub use date::Day;
pub use entry::{Entry, Failing, MAX_DAYS};

/// The folder of expectation files, under the workspace root and beside a file of runtimes.
pub const FOLDER: &str = "expectations";

/// The error of a row that has an entry and passes.
pub const UNEXPECTED_PASS: &str = "unexpected pass";

/// The runtime that has no known failures: this repository's own.
pub const NATIVE: &str = "native";

/// The most bytes of a file.
const MAX_BYTES: u64 = 1 << 20;

/// The expectations of one runtime, held against its matrix.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    entries: Vec<Entry>,
    /// Row names to places in `entries`.
    rows: HashMap<String, usize>,
}

impl Expectations {
    /// Reads the files of a runtime, under the root of the workspace and under each of `beside`, holds them against its whole matrix, and
    /// adds what is wrong with them to it.
    pub fn read(workspace: &Workspace, beside: &[PathBuf], capabilities: &Capabilities, matrix: &mut Matrix) -> Self {
        let here = Here::of_this_process(&capabilities.version);
        Self::on(Day::today(), &here, workspace, beside, &capabilities.name, matrix, Extent::Whole)
    }

    /// The same for a matrix of one model: an entry that is about none of its rows is about another model's.
    pub fn read_for_part(workspace: &Workspace, beside: &[PathBuf], capabilities: &Capabilities, matrix: &mut Matrix) -> Self {
        let here = Here::of_this_process(&capabilities.version);
        Self::on(Day::today(), &here, workspace, beside, &capabilities.name, matrix, Extent::Part)
    }

    /// The same, on some day, somewhere.
    fn on(
        today: Day,
        here: &Here<'_>,
        workspace: &Workspace,
        beside: &[PathBuf],
        runtime: &str,
        matrix: &mut Matrix,
        extent: Extent,
    ) -> Self {
        if !escape::is_plain_name(runtime) {
            return Self::default();
        }
        let mut reader = Reader { runtime, here, today, entries: Vec::new(), problems: BTreeMap::new() };
        let mut read: Vec<PathBuf> = Vec::new();
        for folder in [workspace.root().join(FOLDER)].iter().chain(beside) {
            let path = folder.join(format!("{runtime}.toml"));
            // One file by two ways is one file.
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if !read.contains(&real) {
                reader.file(&path, &workspace.show(&path), read.len());
                read.push(real);
            }
        }
        let rows = reader.hold(matrix, extent);
        let Reader { entries, problems, .. } = reader;
        for (subject, reasons) in problems {
            matrix.problem(Problem::new(subject, "expected failures that can be believed", reasons.join("; ")));
        }
        Self { entries: entries.into_iter().map(|(_, entry)| entry).collect(), rows }
    }

    /// Holds a record against its entry, if it has one. `gate` is the red gate before the row, if that is why it was not judged.
    pub fn apply(&self, gate: Option<&Gate>, record: &mut Record) {
        let own = self.rows.get(&record.name).map(|place| (*place, Failing::of(record)));
        let of_gate = || gate.and_then(|gate| Some((*self.rows.get(&gate.name)?, Some(Failing::Error(gate.kind)))));
        let Some((place, found)) = own.or_else(of_gate) else { return };
        let mut entry = self.entries[place].clone();
        let named = format!("{} entry {} ({})", entry.file, entry.number, entry.bug);
        if record.is_green() {
            record.verdict = "error".to_owned();
            record.error = Some(UNEXPECTED_PASS.to_owned());
            record.expected = format!("`{}`, as {named} says", entry.failing());
            record.observed = format!("the row passes: remove the entry, or narrow it ({})", record.observed);
        } else if let Some(difference) = entry.differs(record, found) {
            record.observed = format!("{}; {named} expects another failure: this one {difference}", record.observed);
        } else {
            entry.met = true;
            record.verdict = evidence::EXPECTED.to_owned();
        }
        record.expectation = Some(entry);
    }
}

/// How much of a runtime's rows a matrix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of them.
    Whole,
    /// Those of one model.
    Part,
}

struct Reader<'a> {
    runtime: &'a str,
    here: &'a Here<'a>,
    today: Day,
    /// With the subject of their problems.
    entries: Vec<(String, Entry)>,
    problems: BTreeMap<String, Vec<String>>,
}

impl Reader<'_> {
    fn wrong(&mut self, subject: &str, reason: String) {
        self.problems.entry(subject.to_owned()).or_default().push(reason);
    }

    /// Reads a file, the `nth` of the runtime, from 0. One that is absent holds nothing.
    fn file(&mut self, path: &Path, shown: &str, nth: usize) {
        let file = match nth {
            0 => format!("expectation::{}", self.runtime),
            _ => format!("expectation::{}::file-{}", self.runtime, nth + 1),
        };
        let text = match golden_store::read_capped(path, MAX_BYTES) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(error.to_string()),
        };
        let table = text.and_then(|text| text.parse::<toml::Table>().map_err(|error| error.to_string()));
        let mut table = match table {
            Ok(table) => table,
            Err(reason) => return self.wrong(&file, format!("{shown}: {}", reason.trim())),
        };
        let entries = table.remove("expect");
        for key in table.keys() {
            self.wrong(&file, format!("{shown}: unknown field `{key}`, a file holds [[expect]] tables"));
        }
        let entries = match entries {
            None => return,
            Some(toml::Value::Array(entries)) => entries,
            Some(_) => return self.wrong(&file, format!("{shown}: `expect` is no array of [[expect]] tables")),
        };
        for (i, value) in entries.into_iter().enumerate() {
            let (number, subject) = (i + 1, format!("{file}::{}", i + 1));
            let test = value.get("test").and_then(toml::Value::as_str).unwrap_or("no `test`").to_owned();
            let here = format!("{shown} entry {number} ({test})");
            if self.runtime == NATIVE {
                self.wrong(&subject, format!("{here}: failures of `{}` are mended, not expected", NATIVE));
                continue;
            }
            match Entry::read(shown, number, value, self.runtime, self.here, self.today) {
                Ok(Some(entry)) => self.entries.push((subject, entry)),
                Ok(None) => {}
                Err(reasons) => self.wrong(&subject, format!("{here}: {}", reasons.join("; "))),
            }
        }
    }

    /// Finds the entry of every row.
    fn hold(&mut self, matrix: &Matrix, extent: Extent) -> HashMap<String, usize> {
        let mut rows = HashMap::new();
        let mut about = vec![0; self.entries.len()];
        // (earlier, later) to the rows that both are about.
        let mut shared: BTreeMap<(usize, usize), Vec<&str>> = BTreeMap::new();
        for row in matrix.rows.iter().filter(|row| !matches!(row.task, Task::Problem(_))) {
            let of_row: Vec<usize> = (0..self.entries.len()).filter(|i| self.entries[*i].1.is_about(&row.name)).collect();
            for place in &of_row {
                about[*place] += 1;
            }
            match of_row[..] {
                [] => {}
                [place] => drop(rows.insert(row.name.clone(), place)),
                [first, .., last] => shared.entry((first, last)).or_default().push(&row.name),
            }
        }
        let named = |place: usize, entries: &[(String, Entry)]| {
            let (subject, entry) = &entries[place];
            (subject.clone(), format!("{} entry {} ({})", entry.file, entry.number, entry.test))
        };
        for ((first, last), both) in shared {
            let ((_, first), (subject, last)) = (named(first, &self.entries), named(last, &self.entries));
            self.wrong(&subject, format!("{last}: {} of its rows are those of {first} too, such as {}", both.len(), both[0]));
        }
        for place in (0..about.len()).filter(|place| extent == Extent::Whole && about[*place] == 0) {
            let (subject, entry) = named(place, &self.entries);
            self.wrong(&subject, format!("{entry}: no row of the matrix has such a name"));
        }
        rows
    }
}

/// A red gate, before a row that was not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The name of its row.
    name: String,
    /// Why it is red.
    kind: ErrorKind,
}

impl Gate {
    /// The gate of the cell of this name.
    pub fn of(cell: &str, kind: ErrorKind) -> Self {
        Self { name: format!("{cell}::{}", matrix::GATE), kind }
    }
}

#[cfg(test)]
mod tests;
