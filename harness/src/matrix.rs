//! The rows: cells x checks x prompts.
//!
//! A row's name is `model::format::quantization::runtime::check[::prompt]`. Rows come cell by cell and, within a cell, prompt by
//! prompt, so that what was observed on a prompt can be forgotten when its last check is done. What is wrong with the lists is a row
//! too, `matrix::<subject>`, and always red.

use std::collections::BTreeSet;

use ground_truth_falsification::check::{self, Check, Per, Scope};
use ground_truth_falsification::form::Form;
use ground_truth_falsification::golden::Index;

use crate::escape;
use crate::roster::{Entry, Problem, Roster};
use crate::runtime::{Artifact, Capabilities, Format};

/// The id of the gate's row: hashes hold, the golden parses and passes its lint, the artifact loads without a warning.
pub const GATE: &str = "F-G1";

/// The id of the row that holds the roster's listing against the golden.
pub const LIST: &str = "LIST";

/// One artifact of one model, in one runtime.
#[derive(Debug, Clone)]
pub struct Cell {
    /// `model::format::quantization::runtime`.
    pub name: String,
    /// The name of the runtime.
    pub runtime: String,
    /// What the runtime loads.
    pub artifact: Artifact,
    /// The model and its golden.
    pub entry: Entry,
}

/// What a row of a cell is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The cell as a whole.
    Cell,
    /// The prompt with this place in the index.
    Prompt(usize),
    /// The perplexity golden with this place in the index.
    Text(usize),
}

/// What a row does.
#[derive(Debug, Clone)]
pub enum Task {
    /// Fails, and says what is wrong with the lists.
    Problem(Problem),
    /// Judges the gate of a cell.
    Gate {
        /// Place in [`Matrix::cells`].
        cell: usize,
    },
    /// Holds the listing of a cell's model against its golden.
    List {
        /// Place in [`Matrix::cells`].
        cell: usize,
    },
    /// Judges one check.
    Check {
        /// Place in [`Matrix::cells`].
        cell: usize,
        /// The check.
        check: &'static Check,
        /// What it is about.
        subject: Subject,
    },
}

impl Task {
    /// The cell, and what the row is about in it. The gate and the listing need no observation.
    pub fn cell(&self) -> Option<(usize, Subject)> {
        match self {
            Task::Problem(_) => None,
            Task::Gate { cell } | Task::List { cell } => Some((*cell, Subject::Cell)),
            Task::Check { cell, subject, .. } => Some((*cell, *subject)),
        }
    }
}

/// One named test.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name, unique in the matrix.
    pub name: String,
    /// What it does.
    pub task: Task,
    /// Why it is listed as not tested.
    pub not_tested: Option<String>,
}

/// How many rows there could be. A check that does not apply to a prompt is in none of the numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rows whose model is at hand, out of those declared.
    pub applicable: usize,
    /// Rows whose format, architecture, weight type and ops the runtime declares, out of all.
    pub declared: usize,
    /// Rows of the whole catalogue on the whole roster.
    pub total: usize,
}

/// Every row of a run.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    /// The cells, by name.
    pub cells: Vec<Cell>,
    /// The rows, in the order in which they are judged.
    pub rows: Vec<Row>,
    /// How many rows there could be.
    pub coverage: Coverage,
}

impl Matrix {
    /// The rows of `roster` for a runtime with these capabilities, by the whole catalogue of checks.
    pub fn new(roster: &Roster, capabilities: &Capabilities) -> Self {
        Self::of(roster, capabilities, &check::all().iter().collect::<Vec<_>>())
    }

    /// The same, by some of the checks.
    pub fn of(roster: &Roster, capabilities: &Capabilities, checks: &[&'static Check]) -> Self {
        let mut matrix = Self::default();
        for problem in &roster.problems {
            matrix.problem(problem.clone());
        }
        if !escape::is_plain_name(&capabilities.name) {
            matrix.problem(Problem::new(
                "runtime",
                "a runtime name of [A-Za-z0-9._-]",
                format!("`{}` cannot be a part of a test name", escape::line(&capabilities.name)),
            ));
            return matrix;
        }
        for entry in &roster.entries {
            matrix.add_cell(entry, capabilities, checks);
        }
        if matrix.rows.is_empty() {
            matrix.problem(Problem::new(
                "empty",
                "at least one row",
                format!("runtime `{}` declares none of the roster's models", capabilities.name),
            ));
        }
        matrix.refuse_equal_names();
        matrix
    }

    fn problem(&mut self, problem: Problem) {
        self.rows.push(Row { name: format!("matrix::{}", problem.subject), task: Task::Problem(problem), not_tested: None });
    }

    fn add_cell(&mut self, entry: &Entry, capabilities: &Capabilities, checks: &[&'static Check]) {
        let index = &entry.golden.index;
        let quantization = index.dtype.to_ascii_lowercase();
        let format = Format::Safetensors;
        let all = tasks(index, checks);
        // The gate belongs to every cell, the listing to every cell with a golden.
        let is_listed = entry.self_reference.is_none();
        let house = 1 + usize::from(is_listed);
        self.coverage.total += house + all.len();
        if !capabilities.declares(format, &index.architecture, &quantization) {
            return;
        }
        let declared: Vec<_> = all.into_iter().filter(|(check, _)| capabilities.declares_ops(check.needs)).collect();
        self.coverage.declared += house + declared.len();
        if entry.not_tested.is_none() {
            self.coverage.applicable += house + declared.len();
        }

        let cell = self.cells.len();
        let name = format!("{}::{format}::{}::{}", index.model, escape::plain_name(&quantization), capabilities.name);
        self.push(format!("{name}::{GATE}"), Task::Gate { cell }, entry);
        if is_listed {
            self.push(format!("{name}::{LIST}"), Task::List { cell }, entry);
        }
        for (check, subject) in declared {
            let row = match subject {
                Subject::Cell => format!("{name}::{}", check.id),
                Subject::Prompt(i) => format!("{name}::{}::{}", check.id, index.prompts[i].name),
                Subject::Text(i) => format!("{name}::{}::{}", check.id, text_name(&index.perplexity[i])),
            };
            self.push(row, Task::Check { cell, check, subject }, entry);
        }
        self.cells.push(Cell {
            name,
            runtime: capabilities.name.clone(),
            artifact: Artifact {
                model: index.model.clone(),
                format,
                quantization,
                path: entry.model.as_ref().map(|model| model.path.clone()).unwrap_or_default(),
            },
            entry: entry.clone(),
        });
    }

    fn push(&mut self, name: String, task: Task, entry: &Entry) {
        self.rows.push(Row { name, task, not_tested: entry.not_tested.clone() });
    }

    /// Two rows of one name would be one row to every tool that filters by name.
    fn refuse_equal_names(&mut self) {
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<String> = self.rows.iter().filter(|row| !seen.insert(row.name.as_str())).map(|row| row.name.clone()).collect();
        if twice.is_empty() {
            return;
        }
        let mut kept = BTreeSet::new();
        self.rows.retain(|row| kept.insert(row.name.clone()));
        for name in twice {
            self.problem(Problem::new(
                format!("name::{}", escape::plain_name(&name)),
                "unique row names",
                format!("two rows are named {name}"),
            ));
        }
    }
}

/// Every check on everything it applies to: first the cell, then prompt by prompt, then text by text.
fn tasks(index: &Index, checks: &[&'static Check]) -> Vec<(&'static Check, Subject)> {
    let form = Form::published(&index.dtype);
    let scope = Scope { index, form: &form, dequantized: None, llama_cpp: false };
    let mut tasks = Vec::new();
    let about = |check: &Check, subject: Subject| match (check.per, subject) {
        (Per::Cell(applies), Subject::Cell) => applies(&scope),
        (Per::Prompt(applies) | Per::Source(applies), Subject::Prompt(i)) => applies(&scope, &index.prompts[i]),
        (Per::Sources(applies), Subject::Cell) => index.prompts.iter().any(|prompt| applies(&scope, prompt)),
        (Per::Perplexity(applies), Subject::Text(i)) => applies(&scope, text_name(&index.perplexity[i])),
        _ => false,
    };
    let subjects = std::iter::once(Subject::Cell)
        .chain((0..index.prompts.len()).map(Subject::Prompt))
        .chain((0..index.perplexity.len()).map(Subject::Text));
    for subject in subjects {
        tasks.extend(checks.iter().filter(|check| about(check, subject)).map(|check| (*check, subject)));
    }
    tasks
}

/// `perplexity-stories.json` is about the text `stories`.
pub fn text_name(file: &str) -> &str {
    let stem = file.strip_suffix(".json").unwrap_or(file);
    stem.strip_prefix("perplexity-").unwrap_or(stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, pinned};
    use crate::roster::Settings;
    use crate::runtime::native::NativeRuntime;
    use crate::runtime::{Op, Runtime};

    fn roster(fixture: &Fixture) -> Roster {
        Roster::read(&fixture.workspace(), &Settings::default())
    }

    fn names(matrix: &Matrix) -> Vec<&str> {
        matrix.rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn the_listing_of_a_small_roster() {
        let matrix = Matrix::new(&roster(&Fixture::carrying(&["a-tiny", "b-tiny"])), &NativeRuntime::new().capabilities());
        pinned().bind(|| insta::assert_snapshot!("listing", names(&matrix).join("\n")));
    }

    #[test]
    fn names_are_unique_and_the_same_every_time() {
        let fixture = Fixture::carrying(&["a", "b"]);
        let capabilities = NativeRuntime::new().capabilities();
        let first = Matrix::new(&roster(&fixture), &capabilities);
        let unique: BTreeSet<_> = names(&first).into_iter().collect();
        assert_eq!(unique.len(), first.rows.len());
        assert_eq!(names(&first), names(&Matrix::new(&roster(&fixture), &capabilities)));
    }

    #[test]
    fn what_a_runtime_does_not_declare_is_counted_and_not_listed() {
        let fixture = Fixture::carrying(&["a"]);
        let all = NativeRuntime::new().capabilities();
        let whole = Matrix::new(&roster(&fixture), &all).coverage;
        assert_eq!((whole.applicable, whole.declared), (whole.total, whole.total));
        let logits = Capabilities { ops: vec![Op::Logits], ..all.clone() };
        let some = Matrix::new(&roster(&fixture), &logits);
        assert_eq!(some.coverage.total, whole.total);
        assert!(some.coverage.declared < whole.total);
        assert_eq!(some.rows.len(), some.coverage.declared);
        let of_needs = |row: &Row| match &row.task {
            Task::Check { check, .. } => check.needs == [Op::Logits],
            _ => true,
        };
        assert!(some.rows.iter().all(of_needs));
        let other = Capabilities { architectures: vec!["mamba".into()], ..all };
        let none = Matrix::new(&roster(&fixture), &other);
        assert_eq!(none.coverage, Coverage { total: whole.total, ..Coverage::default() });
        assert_eq!(names(&none), ["matrix::empty"]);
    }

    #[test]
    fn rows_of_a_model_that_is_not_at_hand_are_listed_with_the_reason() {
        let fixture = Fixture::carrying(&["a"]);
        fixture.model("more/b");
        fixture.golden("golden/b", "more/b", "b", false);
        let matrix = Matrix::new(&roster(&fixture), &NativeRuntime::new().capabilities());
        let (absent, present): (Vec<&Row>, Vec<&Row>) = matrix.rows.iter().partition(|row| row.not_tested.is_some());
        assert_eq!(absent.len(), present.len());
        assert!(absent.iter().all(|row| row.name.starts_with("b::")));
        assert_eq!(matrix.coverage.applicable, present.len());
        assert_eq!(matrix.coverage.declared, matrix.rows.len());
    }

    #[test]
    fn problems_are_rows_and_an_empty_matrix_is_one() {
        let matrix = Matrix::new(&roster(&Fixture::empty()), &NativeRuntime::new().capabilities());
        assert_eq!(names(&matrix), ["matrix::empty"]);
        assert!(matches!(matrix.rows[0].task, Task::Problem(_)));
    }

    #[test]
    fn equal_names_are_red() {
        let fixture = Fixture::carrying(&["a"]);
        let mut roster = roster(&fixture);
        roster.entries.push(roster.entries[0].clone());
        let matrix = Matrix::new(&roster, &NativeRuntime::new().capabilities());
        let unique: BTreeSet<_> = names(&matrix).into_iter().collect();
        assert_eq!(unique.len(), matrix.rows.len());
        assert!(names(&matrix).iter().any(|name| name.starts_with("matrix::name::")));
    }

    #[test]
    fn a_runtime_that_cannot_be_named_is_red() {
        let capabilities = Capabilities { name: "a::b".into(), ..NativeRuntime::new().capabilities() };
        assert_eq!(names(&Matrix::new(&roster(&Fixture::carrying(&["a"])), &capabilities)), ["matrix::runtime"]);
    }
}
