//! The rows: cells x checks x prompts.
//!
//! A row's name is `model::format::quantization::runtime::check[::prompt]`. Rows come cell by cell and, within a cell, prompt by
//! prompt, so that what was observed on a prompt can be forgotten when its last check is done, and an artifact with its last row. What is
//! wrong with the lists is a row too, `matrix::<subject>`, and always red.

use std::collections::BTreeSet;

use ground_truth_falsification::check::{self, Breadth, Check};

use crate::cell::{Cell, Origin};
use crate::column::Column;
use crate::escape;
use crate::roster::{Entry, Problem, Roster};
use crate::runtime::Capabilities;

mod fast;

/// The id of the gate's row: hashes hold, the golden parses and passes its lint, the artifact loads without a warning.
pub const GATE: &str = "F-G1";

/// The id of the row that converts a model to a column and loads it there.
pub const CONVERSION: &str = "F-G3";

/// The id of the row that holds the roster's listing against the golden.
pub const LIST: &str = "LIST";

/// What a row of a cell is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The cell as a whole.
    Cell,
    /// The prompt with this place in the index.
    Prompt(usize),
    /// The perplexity golden with this place in the index.
    Text(usize),
    /// The chat template with this place in the index of those.
    Style(usize),
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
    /// Converts the model to a cell's column and loads it there.
    Conversion {
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
    /// The cell, and what the row is about in it. Gate, conversion and listing need no observation.
    pub fn cell(&self) -> Option<(usize, Subject)> {
        match self {
            Task::Problem(_) => None,
            Task::Gate { cell } | Task::Conversion { cell } | Task::List { cell } => Some((*cell, Subject::Cell)),
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
    /// Rows whose model is at hand and has that column, out of those declared.
    pub applicable: usize,
    /// Listed rows: the runtime declares their format, architecture, weight type and ops.
    pub declared: usize,
    /// Rows of the whole catalogue on the whole roster: every check, in every column, on every prompt that it applies to.
    pub total: usize,
    /// Rows of the catalogue that other columns leave to the published form: costly ones, and those of prompts outside of the sample.
    pub sampled: usize,
    /// Rows that the fast roster leaves out.
    pub left_out: usize,
}

/// Which cells a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forms {
    /// The published form, every column, and the files that were given.
    All,
    /// The published form alone.
    Published,
    /// The given files alone.
    Given,
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
        Self::of(roster, capabilities, &check::all().iter().collect::<Vec<_>>(), Forms::All)
    }

    /// The same, by some of the checks, in some of the forms.
    pub fn of(roster: &Roster, capabilities: &Capabilities, checks: &[&'static Check], forms: Forms) -> Self {
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
        let cells: Vec<Cell> = roster.entries.iter().flat_map(|entry| cells(entry, &capabilities.name, forms)).collect();
        let home = home(&cells, capabilities);
        for (place, cell) in cells.into_iter().enumerate() {
            let here = |check: &&&'static Check| check.breadth != Breadth::Once || home == Some(place);
            let checks: Vec<&'static Check> = checks.iter().filter(here).copied().collect();
            matrix.add(cell.computed_with(capabilities.arithmetic), capabilities, &checks);
        }
        if matrix.rows.is_empty() {
            matrix.problem(Problem::new(
                format!("empty::{}", capabilities.name),
                "at least one row",
                format!("runtime `{}` declares none of the roster's models", capabilities.name),
            ));
        }
        matrix.refuse_equal_names();
        matrix
    }

    /// Adds a row that says what is wrong with a list.
    pub fn problem(&mut self, problem: Problem) {
        self.rows.push(Row { name: format!("matrix::{}", problem.subject), task: Task::Problem(problem), not_tested: None });
    }

    fn add(&mut self, cell: Cell, capabilities: &Capabilities, checks: &[&'static Check]) {
        let index = &cell.entry.golden.index;
        let place = self.cells.len();
        let name = &cell.name;
        // The gate belongs to every cell; the listing to the published form of a model with a golden, a conversion to what was converted.
        let mut rows = vec![Row { name: format!("{name}::{GATE}"), task: Task::Gate { cell: place }, not_tested: cell.not_tested.clone() }];
        let mut house = |id: &str, task: Task| rows.push(Row { name: format!("{name}::{id}"), task, not_tested: cell.not_tested.clone() });
        match &cell.origin {
            Origin::Published if cell.entry.self_reference.is_none() => house(LIST, Task::List { cell: place }),
            Origin::Converted(_) => house(CONVERSION, Task::Conversion { cell: place }),
            Origin::Published | Origin::Given(_) => {}
        }
        let readable = !matches!(&cell.origin, Origin::Given(given) if given.unreadable.is_some());
        let catalogue = if readable { rows.len() + cell.catalogue(checks) } else { rows.len() };
        self.coverage.total += catalogue;
        // What a file that cannot be read holds, nobody declares: its gate says what is wrong with it.
        let declared = if readable {
            capabilities.declares(cell.artifact.format, &index.architecture, &cell.form.quantization)
        } else {
            capabilities.formats.contains(&cell.artifact.format)
        };
        if !declared {
            return;
        }
        let all = if readable { cell.rows(checks) } else { Vec::new() };
        self.coverage.sampled += catalogue.saturating_sub(rows.len() + all.len());
        for row in all.into_iter().filter(|row| capabilities.declares_ops(&row.check.needs_in(&cell.form))) {
            let id = row.check.id;
            let row_name = match row.subject {
                Subject::Cell => format!("{name}::{id}"),
                Subject::Prompt(i) => format!("{name}::{id}::{}", index.prompts[i].name),
                Subject::Text(i) => format!("{name}::{id}::{}", text_name(&index.perplexity[i])),
                Subject::Style(i) => format!("{name}::{id}::{}", cell.style_name(i)),
            };
            // Of a carried model every golden must be there: its rows are red behind the gate.
            let lacking = row.lacks_golden && (!index.carried || cell.form.given);
            let lacking = lacking.then(|| "no golden of the values that the file holds: golden/dequantized.py writes one".to_owned());
            let prompt = if let Subject::Prompt(i) = row.subject { index.prompts.get(i) } else { None };
            let undecided = || row.check.undecided(&cell.scope(), prompt).map(str::to_owned);
            let task = Task::Check { cell: place, check: row.check, subject: row.subject };
            rows.push(Row { name: row_name, task, not_tested: cell.not_tested.clone().or(lacking).or_else(undecided) });
        }
        self.coverage.declared += rows.len();
        self.coverage.applicable += rows.iter().filter(|row| row.not_tested.is_none()).count();
        self.rows.append(&mut rows);
        self.cells.push(cell);
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

/// The cell in which checks are listed that no model takes part in: the first that the runtime can be asked in, else the first of all.
fn home(cells: &[Cell], capabilities: &Capabilities) -> Option<usize> {
    let declared = |cell: &Cell| {
        capabilities.declares(cell.artifact.format, &cell.entry.golden.index.architecture, &cell.form.quantization)
            && cell.not_tested.is_none()
            && cell.entry.refused.is_none()
            && !matches!(cell.origin, Origin::Given(_))
    };
    cells.iter().position(declared).or(if cells.is_empty() { None } else { Some(0) })
}

/// The cells of a model: as published, column by column, then the files that were given.
fn cells(entry: &Entry, runtime: &str, forms: Forms) -> Vec<Cell> {
    let mut cells = Vec::new();
    if forms != Forms::Given {
        cells.push(Cell::published(entry, runtime));
    }
    if forms == Forms::All && !entry.is_data && entry.self_reference.is_none() {
        let index = &entry.golden.index;
        cells.extend(Column::all().filter(|column| !column.is_published(index)).map(|column| Cell::converted(entry, runtime, column)));
    }
    if forms != Forms::Published {
        cells.extend(entry.given.iter().map(|given| Cell::given(entry, runtime, given)));
    }
    cells
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
    use crate::given::Given;
    use crate::roster::Settings;
    use crate::runtime::native::NativeRuntime;
    use crate::runtime::{Format, Op, Runtime};

    fn roster(fixture: &Fixture) -> Roster {
        Roster::read(&fixture.workspace(), &Settings::default())
    }

    fn names(matrix: &Matrix) -> Vec<&str> {
        matrix.rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn the_listing_of_a_small_roster() {
        let matrix = Matrix::new(&roster(&Fixture::carrying(&["a-tiny", "b-tiny"])), &NativeRuntime::new().capabilities());
        // Every cell by name and number of rows; the rows of one published form, one lossless column and one that rounds.
        let mut text = String::new();
        for cell in &matrix.cells {
            let rows: Vec<&str> = names(&matrix).into_iter().filter(|name| name.starts_with(&format!("{}::", cell.name))).collect();
            text.push_str(&format!("{} ({} rows)\n", cell.name, rows.len()));
            if ["a-tiny::safetensors::f32::native", "a-tiny::gguf::f32::native", "a-tiny::apr::q4::native"].contains(&cell.name.as_str()) {
                text.extend(rows.iter().map(|name| format!("    {name}\n")));
            }
        }
        pinned().bind(|| insta::assert_snapshot!("listing", text));
    }

    /// What GGUF has no words for is not tested there, by the name of the field, and is tested in every other form.
    #[test]
    fn what_gguf_cannot_say_is_not_tested_in_gguf_alone() {
        let mut roster = roster(&Fixture::carrying(&["a"]));
        roster.entries[0].unsayable = Some("no words for it".to_owned());
        let matrix = Matrix::new(&roster, &NativeRuntime::new().capabilities());
        let left_out = |cell: &&Cell| cell.not_tested.as_deref() == Some("no words for it");
        assert!(matrix.cells.iter().any(|cell| left_out(&cell)));
        for cell in &matrix.cells {
            assert_eq!(left_out(&cell), cell.artifact.format == Format::Gguf, "{}", cell.name);
            assert!(!cell.scope().sayable);
        }
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
        assert_eq!(whole.declared + whole.sampled, whole.total);
        let published = Matrix::of(&roster(&fixture), &all, &check::all().iter().collect::<Vec<_>>(), Forms::Published).coverage;
        assert_eq!((published.applicable, published.declared, published.sampled), (published.total, published.total, 0));
        let logits = Capabilities { ops: vec![Op::Logits], ..all.clone() };
        let some = Matrix::new(&roster(&fixture), &logits);
        assert_eq!(some.coverage.total, whole.total);
        assert!(some.coverage.declared < whole.total);
        assert_eq!(some.rows.len(), some.coverage.declared);
        let of_needs = |row: &Row| match &row.task {
            Task::Check { cell, check, .. } => check.needs_in(&some.cells[*cell].form) == [Op::Logits],
            _ => true,
        };
        assert!(some.rows.iter().all(of_needs));
        // What a converted tensor has to be, only the container tells.
        let tensors = Capabilities { ops: vec![Op::Tensors], ..all.clone() };
        let tensors = Matrix::new(&roster(&fixture), &tensors);
        let of_f_t1 = names(&tensors).into_iter().filter(|name| name.ends_with("::F-T1")).collect::<Vec<_>>();
        assert_eq!(of_f_t1, ["a::safetensors::f32::native::F-T1"]);
        let other = Capabilities { architectures: vec!["mamba".into()], ..all };
        let none = Matrix::new(&roster(&fixture), &other);
        assert_eq!(none.coverage, Coverage { total: whole.total, ..Coverage::default() });
        assert_eq!(names(&none), ["matrix::empty::native"]);
    }

    #[test]
    fn a_given_file_is_on_trial_where_the_runtime_declares_what_it_is() {
        let fixture = Fixture::carrying(&["a"]);
        let mut roster = roster(&fixture);
        let of = |name: &str, quantization: &str, unreadable: Option<&str>| Given {
            path: fixture.path(name),
            name: name.to_owned(),
            format: Format::Gguf,
            quantization: quantization.to_owned(),
            listed: None,
            values_digest: None,
            unreadable: unreadable.map(str::to_owned),
        };
        roster.entries[0].given = vec![of("x.gguf", "q8_0", None), of("y.gguf", "unreadable", Some("torn"))];
        let native = NativeRuntime::new().capabilities();
        let on_trial = |capabilities: &Capabilities| {
            let matrix = Matrix::new(&roster, capabilities);
            let has = |file: &str| matrix.rows.iter().any(|row| row.name.contains(&format!("@{file}::")));
            (has("x.gguf"), has("y.gguf"))
        };
        assert_eq!(on_trial(&native), (true, true));
        let some = Capabilities { quantizations: vec!["f32".into()], ..native.clone() };
        assert_eq!(on_trial(&some), (false, true));
        let others = Capabilities { formats: vec![Format::Safetensors], ..native };
        assert_eq!(on_trial(&others), (false, false));
    }

    #[test]
    fn rows_of_a_model_that_is_not_at_hand_are_listed_with_the_reason() {
        let fixture = Fixture::carrying(&["a"]);
        fixture.model("more/b");
        fixture.golden("golden/b", "more/b", "b", false);
        let matrix = Matrix::new(&roster(&fixture), &NativeRuntime::new().capabilities());
        let (absent, present): (Vec<&Row>, Vec<&Row>) = matrix.rows.iter().partition(|row| row.name.starts_with("b::"));
        assert!(absent.len() >= present.len());
        assert!(absent.iter().all(|row| row.not_tested.as_ref().is_some_and(|reason| reason.contains("`b` is not carried"))));
        assert_eq!(matrix.coverage.applicable, present.iter().filter(|row| row.not_tested.is_none()).count());
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
