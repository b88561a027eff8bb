//! One model folder, or files that were made of it, judged without cargo: what `ground-truth judge` does.
//!
//! With a golden these are the model's rows of the matrix, under their names there. Without one they are the rows of the checks that
//! need none, and the answer says what was not tested and how to write the golden. Where files are named, they are on trial against the
//! folder, and the folder itself is not judged again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ground_truth_falsification::check::{self, Check};
use serde::Serialize;

use crate::cell::Origin;
use crate::diagnosis::{self, Finding};
use crate::escape;
use crate::evidence::{Kind, Record, Run};
use crate::expectation::Expectations;
use crate::gate::{self, Line};
use crate::matrix::{Forms, Matrix, Row, Subject, Task};
use crate::observe::Sessions;
use crate::report;
use crate::roster::{self, Entry, GoldenFolder, ModelFolder, Problem, Roster, Settings};
use crate::runtime::supervise::Deadlines;
use crate::runtime::{Artifact, Format, Runtime};
use crate::self_reference::{self, SelfReference};
use crate::suite;
use crate::summary::{Summary, Tally, anonymous_memory};
use crate::trial::{Laboratory, Setup};
use crate::workspace::Workspace;

#[cfg(test)]
mod tests;

/// How many reasons against one file are shown.
const MAX_REASONS: usize = 5;

/// How long rows are begun where the essentials are asked for.
pub const QUICKLY: Duration = Duration::from_secs(8);

/// Checks that find most defects soonest: the file, its tensors, its tokens, the numbers, the text, one invariance.
const ESSENTIAL: [&str; 11] = [
    "F-T1",
    "TENSORS",
    "INSPECT",
    "F-RS6-ids",
    "F-T4-shape",
    "F-G4-sketch-prefill",
    "F-G4-logits",
    "F-G4-greedy",
    "CANARY",
    "F-P3-stepwise",
    "F-E4-ids",
];

/// On how many prompts of the index.
const ESSENTIAL_PROMPTS: usize = 3;

/// What is to be judged.
#[derive(Clone)]
pub struct Request<'a> {
    /// The model folder.
    pub model: &'a Path,
    /// Files that were made of it. None: the folder itself is judged.
    pub files: &'a [PathBuf],
    /// Its golden folder, or a folder that holds it under the model's name.
    pub golden: Option<&'a Path>,
    /// Judge only rows whose names contain this.
    pub only: Option<String>,
    /// Judge the essentials only, and begin no row after [`QUICKLY`].
    pub quick: bool,
    /// What answers.
    pub runtime: Arc<dyn Runtime>,
    /// By which name the command asked for it; none is the engine.
    pub runtime_name: Option<String>,
    /// Folders where its expectations are looked for, besides the workspace's.
    pub expectations: Vec<PathBuf>,
    /// How long it may take; none is what [`Deadlines::from_env`] says.
    pub deadlines: Option<Deadlines>,
}

/// Why nothing could be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unjudged {
    /// What is wrong, naming the file.
    pub message: String,
    /// What to do next.
    pub next: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Judged {
    /// The rows there are.
    pub matrix: Matrix,
    /// The rows that were judged, in their order.
    pub records: Vec<Record>,
    /// What was not tested, and why: empty where there is a golden.
    pub not_tested: Vec<String>,
    /// Rows that were left out because the essentials alone were asked for.
    pub left_out: usize,
    /// The command that writes the missing golden.
    pub oracle: Option<String>,
    evidence: String,
    elapsed: Duration,
    peak_memory: Option<u64>,
}

/// The answer of `judge --json`.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    schema: &'static str,
    corroborated: usize,
    falsified: usize,
    errors: usize,
    expected: usize,
    left_out: usize,
    not_tested: &'a [String],
    oracle: Option<&'a str>,
    diagnoses: Vec<Finding>,
    rows: &'a [Record],
}

/// Judges one model folder.
///
/// # Errors
/// [`Unjudged`] where there is no model folder, a golden that was named is absent or unreadable, or no row is left.
pub fn judge(workspace: &Workspace, request: &Request<'_>) -> Result<Judged, Unjudged> {
    let begin = Instant::now();
    let of_variable = || Deadlines::from_env().map_err(|message| unjudged(message, "set the variable to a number of seconds, or unset it"));
    let deadlines = request.deadlines.map_or_else(of_variable, Ok)?;
    let Bench { roster, checks, left_out, oracle } = bench(workspace, request, deadlines)?;
    let runtime = Arc::clone(&request.runtime);
    let forms = if request.files.is_empty() { Forms::Published } else { Forms::Given };
    let mut matrix = Matrix::of(&roster, &runtime.capabilities(), &checks, forms);
    let expectations = match request.runtime_name {
        None => Expectations::default(),
        Some(_) => Expectations::read_for_part(workspace, &request.expectations, &runtime.capabilities(), &mut matrix),
    };
    // No filter hides what is wrong with the lists.
    let is_problem = |row: &Row| matches!(row.task, Task::Problem(_));
    let is_named = |row: &Row| request.only.as_ref().is_none_or(|only| row.name.contains(only));
    let is_asked = |row: &&Row| row.not_tested.is_none() && (is_problem(row) || is_named(row));
    let all: Vec<&Row> = matrix.rows.iter().filter(is_asked).collect();
    let rows: Vec<&Row> = all.iter().copied().filter(|row| !request.quick || is_essential(row)).collect();
    let setup = Setup {
        workspace: workspace.clone(),
        runtime,
        deadlines,
        run: Run::of_this_process(workspace.out(), Kind::Judge),
        models: roster.models,
        reproduce: reproduce(request),
    };
    let line = Line::from_env().map_err(|reason| {
        unjudged(format!("{}: {reason}", gate::VARIABLE), "name claims and checks, separated by commas, or unset the variable")
    })?;
    let laboratory = Laboratory::new(setup, &matrix).expecting(expectations).on(Arc::new(line));
    let (records, peak_memory) = judge_rows(&laboratory, &rows, request.quick.then(|| begin + QUICKLY));
    request.runtime.end();
    let capabilities = request.runtime.capabilities();
    suite::manifest(workspace, laboratory.run(), "judge", &roster.entries, judging_threads(), begin.elapsed())
        .counting(&[(format!("{} {}", capabilities.name, capabilities.version), &matrix, &records)])
        .write(laboratory.run())
        .map_err(|reason| unjudged(reason, "make room for what was judged, or let the folder be written"))?;
    Ok(Judged {
        left_out: all.len() - records.len(),
        records,
        not_tested: left_out.iter().map(|check| format!("{}: {}", check.id, check.sentence)).collect(),
        oracle,
        evidence: workspace.show(laboratory.run().folder()),
        elapsed: begin.elapsed(),
        peak_memory,
        matrix,
    })
}

/// What is judged by which checks.
struct Bench {
    roster: Roster,
    checks: Vec<&'static Check>,
    /// Checks that have nothing to compare with.
    left_out: Vec<&'static Check>,
    /// How to get what they would compare with.
    oracle: Option<String>,
}

fn bench(workspace: &Workspace, request: &Request<'_>, deadlines: Deadlines) -> Result<Bench, Unjudged> {
    let folder = model_folder(request.model)?;
    let golden = find_golden(workspace, request, &folder.name)?;
    let mut oracle = None;
    let mut roster = Roster::default();
    if let Some(problem) = Settings::from_env().problem {
        roster.problems.push(Problem::new("settings", "a file of settings that can be read", problem));
    }
    let (mut checks, mut left_out) = (check::all().iter().collect(), Vec::new());
    match golden {
        Some(golden) => {
            let folder = ModelFolder { name: golden.index.model.clone(), ..folder };
            roster.models.push(folder.clone());
            roster.entries.push(entry(folder, golden, None));
        }
        None => {
            oracle = Some(roster::oracle_command(workspace, &folder.path));
            (checks, left_out) = if request.files.is_empty() { self_reference::checks() } else { self_reference::checks_of_files() };
            match without_golden(folder, &request.runtime, deadlines) {
                Ok(entry) => roster.entries.push(entry),
                Err(problem) => roster.problems.push(problem),
            }
        }
    }
    for file in request.files {
        let path = file.canonicalize().map_err(|error| {
            unjudged(format!("failed to open the file: {}: {error}", file.display()), "give the path of a GGUF, APR or safetensors file")
        })?;
        for entry in &mut roster.entries {
            roster::give(entry, &path, workspace);
        }
    }
    Ok(Bench { roster, checks, left_out, oracle })
}

fn unjudged(message: impl Into<String>, next: impl Into<String>) -> Unjudged {
    Unjudged { message: message.into(), next: next.into() }
}

fn model_folder(path: &Path) -> Result<ModelFolder, Unjudged> {
    let next =
        "give the path of a Hugging Face folder: config.json, *.safetensors, tokenizer.json; `ground-truth list` shows those of the roster";
    let shown = path.display();
    let absolute = path.canonicalize().map_err(|error| unjudged(format!("failed to open the model: {shown}: {error}"), next))?;
    if !absolute.join("config.json").is_file() {
        return Err(unjudged(format!("failed to open the model: {shown} holds no config.json"), next));
    }
    let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(ModelFolder { name: escape::plain_name(&name), path: absolute, carried: false })
}

/// The golden that was named, else one of the model's name among those of the workspace.
fn find_golden(workspace: &Workspace, request: &Request<'_>, name: &str) -> Result<Option<GoldenFolder>, Unjudged> {
    let next = "name a folder that holds index.json, or write one: uv run golden/oracle.py MODEL_DIR --out DIR";
    let folder = match request.golden {
        Some(named) => {
            let inside = [named.to_path_buf(), named.join(name)].into_iter().find(|folder| folder.join("index.json").is_file());
            Some(inside.ok_or_else(|| unjudged(format!("failed to open the golden: {} holds no index.json", named.display()), next))?)
        }
        None => workspace_golden(workspace, name),
    };
    let Some(folder) = folder else {
        return Ok(None);
    };
    roster::read_golden(workspace, &folder).map(Some).map_err(|message| unjudged(format!("failed to open the golden: {message}"), next))
}

fn workspace_golden(workspace: &Workspace, name: &str) -> Option<PathBuf> {
    let named = Settings::from_env().golden.map(|value| roster::folders_of(workspace, &value)).unwrap_or_default();
    named
        .into_iter()
        .flat_map(|folder| {
            let own = folder.file_name().is_some_and(|last| last == name);
            own.then(|| folder.clone()).into_iter().chain([folder.join(name)])
        })
        .chain([workspace.golden().join(name)])
        .find(|folder| folder.join("index.json").is_file())
}

fn entry(folder: ModelFolder, golden: GoldenFolder, self_reference: Option<SelfReference>) -> Entry {
    Entry {
        unsayable: roster::unsayable(&folder),
        model: Some(folder),
        golden,
        not_tested: None,
        refused: None,
        self_reference: self_reference.map(Arc::new),
        given: Vec::new(),
        is_data: false,
    }
}

/// Asks the runtime for what the checks without oracle need. A model that does not load is red.
fn without_golden(folder: ModelFolder, runtime: &Arc<dyn Runtime>, deadlines: Deadlines) -> Result<Entry, Problem> {
    let artifact =
        Artifact { model: folder.name.clone(), format: Format::Safetensors, quantization: "unknown".to_owned(), path: folder.path.clone() };
    let sessions = Sessions::new(Arc::clone(runtime), artifact, deadlines);
    let own = SelfReference::of(&folder.name, &sessions)
        .map_err(|reason| Problem::new(format!("model::{}", folder.name), "a model that loads and answers", reason))?;
    let golden = GoldenFolder { path: folder.path.clone(), index: Arc::new(own.model.index.clone()), beside: Arc::default() };
    Ok(entry(folder, golden, Some(own)))
}

/// Whether a row is judged where the essentials alone are asked for. What is wrong with the lists, and gates, always are.
fn is_essential(row: &Row) -> bool {
    match &row.task {
        Task::Problem(_) | Task::Gate { .. } => true,
        Task::Conversion { .. } | Task::List { .. } => false,
        Task::Check { check, subject, .. } => {
            ESSENTIAL.contains(&check.id) && !matches!(subject, Subject::Prompt(place) if *place >= ESSENTIAL_PROMPTS)
        }
    }
}

/// Judges rows on every core; none begins after `until`. Records come back in the order of the rows.
fn judge_rows(laboratory: &Laboratory, rows: &[&Row], until: Option<Instant>) -> (Vec<Record>, Option<u64>) {
    laboratory.expect(rows.iter().copied());
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(rows.len()));
    let peak = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..judging_threads() {
            scope.spawn(|| {
                while let Some((i, row)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| rows.get(i).map(|row| (i, row))) {
                    if until.is_some_and(|until| Instant::now() >= until) {
                        break;
                    }
                    let record = laboratory.judge(row);
                    let memory = anonymous_memory();
                    let mut peak = peak.lock().unwrap_or_else(PoisonError::into_inner);
                    *peak = memory.max(*peak);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((i, record));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    (done.into_iter().map(|(_, record)| record).collect(), peak.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// How many rows are judged at once.
fn judging_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn reproduce(request: &Request<'_>) -> Box<dyn Fn(&str) -> String + Send + Sync> {
    let mut command = format!("cargo run -- judge {}", escape::shell(&request.model.to_string_lossy()));
    for file in request.files {
        command.push_str(&format!(" {}", escape::shell(&file.to_string_lossy())));
    }
    if let Some(golden) = request.golden {
        command.push_str(&format!(" --golden {}", escape::shell(&golden.to_string_lossy())));
    }
    if let Some(name) = &request.runtime_name {
        command.push_str(&format!(" --runtime {}", escape::shell(name)));
    }
    Box::new(move |name| format!("{command} --only {}", escape::quoted(name)))
}

impl Judged {
    /// How many rows came out which way.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.records)
    }

    /// The answer as a value to be written as JSON.
    pub fn to_json(&self) -> Answer<'_> {
        let tally = self.tally();
        Answer {
            schema: "ground-truth/judge/1",
            corroborated: tally.corroborated,
            falsified: tally.falsified,
            errors: tally.errors,
            expected: tally.expected,
            left_out: self.left_out,
            not_tested: &self.not_tested,
            oracle: self.oracle.as_deref(),
            diagnoses: diagnosis::of_run(&self.records),
            rows: &self.records,
        }
    }

    /// The answer for people: a line for each check, what was not tested, then the summary with the verdict last.
    pub fn text(&self) -> String {
        let mut text = self.files();
        for line in table(&self.records) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push('\n');
        let summary = Summary {
            matrix: &self.matrix,
            records: &self.records,
            without_golden: self.not_tested.len(),
            evidence: self.evidence.clone(),
            elapsed: self.elapsed,
            peak_memory: self.peak_memory,
        };
        if let Some(command) = &self.oracle {
            let ids: Vec<_> = self.not_tested.iter().filter_map(|line| line.split(':').next()).collect();
            text.push_str(&format!(
                "not tested    {} checks that compare with a golden, and there is none: {}\n",
                ids.len(),
                ids.join(", ")
            ));
            text.push_str(&format!("next          {command}\n"));
        }
        if self.left_out > 0 {
            text.push_str(&format!(
                "quick         {} rows judged, {} left out: the verdict is about the first alone; without --quick all are judged\n",
                self.records.len(),
                self.left_out
            ));
        }
        text.push_str(&summary.text());
        text
    }
}

impl Judged {
    /// A paragraph for each file on trial: what it is, whether it may be published, and what speaks against it.
    fn files(&self) -> String {
        let mut text = String::new();
        for cell in &self.matrix.cells {
            let Origin::Given(given) = &cell.origin else { continue };
            let prefix = format!("{}::", cell.name);
            let records: Vec<&Record> = self.records.iter().filter(|record| record.name.starts_with(&prefix)).collect();
            let red: Vec<&Record> = records.iter().copied().filter(|record| record.is_red() && !record.behind_gate).collect();
            let file = escape::line(&given.path.to_string_lossy());
            let what = format!("{} {}, said to be {}", given.format, given.quantization, cell.artifact.model);
            if records.is_empty() {
                text.push_str(&format!("{file}\n  NOT JUDGED: {what}: no row was selected\n"));
                continue;
            }
            let green = records.iter().filter(|record| record.is_green()).count();
            let rows = records.len();
            let expected = records.iter().filter(|record| record.is_expected()).count();
            let word = match (green == rows, green + expected == rows) {
                (true, _) => "SOUND",
                (_, true) => "FAILED AS EXPECTED",
                _ => "RED",
            };
            let expected = if expected > 0 { format!(", {expected} failed as expected") } else { String::new() };
            text.push_str(&format!("{file}\n  {word}: {what}: {green} of {rows} rows corroborated{expected}\n"));
            for record in red.iter().take(MAX_REASONS) {
                let what = record.measures.iter().find(|number| !report::holds(number));
                let what = what.map_or_else(|| report::shorten(&escape::line(&record.observed), 300), report::measure);
                let place = report::place(&record.place);
                let place = if place.is_empty() { place } else { format!(", {place}") };
                let check = record.name.strip_prefix(&prefix).unwrap_or(&record.name);
                text.push_str(&format!("  - {}: {}; {what}{place}\n", escape::line(check), escape::line(&record.claim.sentence)));
            }
            if red.len() > MAX_REASONS {
                text.push_str(&format!("  - and {} more rows are red\n", red.len() - MAX_REASONS));
            }
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// One line for each check: how many rows, how many green, and the number that came closest to its bound.
fn table(records: &[Record]) -> Vec<String> {
    let mut order: Vec<&str> = Vec::new();
    for record in records {
        let check = record.axes.as_ref().map_or("matrix", |axes| axes.check.as_str());
        if !order.contains(&check) {
            order.push(check);
        }
    }
    let width = order.iter().map(|check| check.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for check in order {
        let of_check: Vec<&Record> =
            records.iter().filter(|record| record.axes.as_ref().map_or("matrix", |axes| axes.check.as_str()) == check).collect();
        let green = of_check.iter().filter(|record| record.is_green()).count();
        let word = match (green == of_check.len(), of_check.iter().any(|record| record.is_red())) {
            (true, _) => "ok ",
            (_, true) => "RED",
            _ => "exp",
        };
        let sentence = escape::line(&of_check[0].claim.sentence);
        lines.push(format!("{word} {check:<width$} {green:>3}/{:<3} {sentence}{}", of_check.len(), tightest(&of_check)));
    }
    lines
}

/// The gated number with the largest share of its bound, over the rows of one check.
fn tightest(records: &[&Record]) -> String {
    let share = |observed: f64, bound: f64| if observed == bound { 1.0 } else { observed / bound };
    let gated =
        records.iter().flat_map(|record| &record.measures).filter_map(|number| Some((number, share(number.observed, number.bound?))));
    gated.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(number, _)| format!(" ({})", report::measure(number))).unwrap_or_default()
}
