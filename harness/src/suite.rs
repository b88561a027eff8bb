//! The matrix as a test binary: libtest's command line, one trial for each row, the verdict last.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Conclusion, Failed, FormatSetting, Trial};

use crate::andon::{Board, Stage};
use crate::escape;
use crate::evidence::{Kind, Record, Run};
use crate::expectation::{self, Expectations, baseline};
use crate::gate::{self, Line};
use crate::matrix::{Matrix, Row, Task};
use crate::report;
use crate::roster::{Problem, Roster, Settings};
use crate::runtime::supervise::{DEADLINE_VARIABLE, Deadlines};
use crate::runtime::{Arithmetic, Artifact, Capabilities, Failure, Runtime, Session};
use crate::summary::{Summary, Tally, anonymous_memory};
use crate::trial::{Laboratory, Setup};
use crate::workspace::{ROOT_VARIABLE, Workspace};

mod ending;
mod registered;

pub(crate) use ending::manifest;
pub use registered::TARGET as REGISTERED_TARGET;

/// The test target of this workspace.
pub const DEFAULT_TARGET: &str = "falsify";

/// Judges every row of the matrix for `runtime`, as the whole body of a test target with `harness = false`.
pub fn falsify(runtime: impl Runtime) -> ExitCode {
    let target = test_target().unwrap_or_else(|| DEFAULT_TARGET.to_owned());
    let mut on_trial = OnTrial::judged(Arc::new(runtime));
    // The expectations of somebody else's runtime lie in their package, as cargo names it.
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        on_trial = on_trial.expecting_in(PathBuf::from(package).join(expectation::FOLDER));
    }
    if std::env::var_os(baseline::VARIABLE).is_some_and(|value| !value.is_empty()) {
        on_trial = on_trial.writing_a_baseline();
    }
    run(Arguments::from_args(), vec![on_trial], &target).exit_code()
}

/// Judges the runtimes of `runtimes/runtimes.toml` and `GROUND_TRUTH_RUNTIMES`, as the whole body of a test target with `harness = false`.
pub fn falsify_registered() -> ExitCode {
    run_registered(Arguments::from_args()).exit_code()
}

/// Judges the runtimes that are on trial by name, by the rows that `arguments` select.
pub fn run_registered(arguments: Arguments) -> Conclusion {
    let workspace = Workspace::from_env();
    let runtimes = registered::on_trial(&arguments, &workspace, &Settings::from_env());
    run(arguments, runtimes, registered::TARGET)
}

/// A runtime of a run, and which rows it has there.
pub struct OnTrial {
    runtime: Arc<dyn Runtime>,
    rows: Rows,
    /// Folders of expectation files, besides the workspace's.
    beside: Vec<PathBuf>,
    /// Whether its red rows become an expectation file.
    baseline: bool,
}

enum Rows {
    /// Those of the matrix.
    Judged,
    /// Those of the matrix, as ignored trials: judged where ignored ones are.
    Asked,
    /// This one alone, which says why there are no others.
    Instead(Box<Row>),
}

impl OnTrial {
    /// A runtime that every run judges.
    pub fn judged(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, rows: Rows::Judged, beside: Vec::new(), baseline: false }
    }

    /// A runtime that is judged where ignored trials are asked for. It has to answer [`Runtime::capabilities`] when the rows are listed.
    pub fn asked(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, rows: Rows::Asked, beside: Vec::new(), baseline: false }
    }

    /// The same, whose known failures are also looked for in this folder, as `<runtime>.toml`.
    #[must_use]
    pub fn expecting_in(mut self, folder: PathBuf) -> Self {
        self.beside.push(folder);
        self
    }

    /// The same, whose red rows are written down as its expectations: into the folder that was named last, else the workspace's.
    #[must_use]
    pub fn writing_a_baseline(mut self) -> Self {
        self.baseline = true;
        self
    }

    /// A runtime that is not judged, and why: one row `<name>::hello`, listed as not tested.
    pub fn not_tested(name: &str, reason: &str) -> Self {
        let problem = Problem::new(format!("runtime::{name}"), "a runtime that can be put on trial", reason);
        let row = Row { name: format!("{name}::hello"), task: Task::Problem(problem), not_tested: Some(reason.to_owned()) };
        Self { runtime: Arc::new(Nobody(name.to_owned())), rows: Rows::Instead(Box::new(row)), beside: Vec::new(), baseline: false }
    }

    /// A runtime that cannot be judged although it should be: one red row `matrix::<subject>`.
    pub fn problem(problem: Problem) -> Self {
        let row = Row { name: format!("matrix::{}", problem.subject), task: Task::Problem(problem), not_tested: None };
        Self { runtime: Arc::new(Nobody("none".to_owned())), rows: Rows::Instead(Box::new(row)), beside: Vec::new(), baseline: false }
    }
}

/// Stands where there is no runtime to ask.
struct Nobody(String);

impl Runtime for Nobody {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: self.0.clone(),
            version: String::new(),
            formats: Vec::new(),
            architectures: Vec::new(),
            quantizations: Vec::new(),
            ops: Vec::new(),
            arithmetic: Arithmetic::default(),
        }
    }

    fn load(&self, _: &Artifact, _: usize) -> Result<Box<dyn Session>, Failure> {
        Err(Failure::Refused { kind: "absent".to_owned(), message: format!("there is no runtime {}", self.0) })
    }
}

/// The records of a run and the largest memory seen.
#[derive(Default)]
struct Ledger {
    records: Mutex<Vec<Record>>,
    peak_memory: AtomicU64,
}

impl Ledger {
    fn enter(&self, record: Record) {
        if let Some(bytes) = anonymous_memory() {
            self.peak_memory.fetch_max(bytes, Ordering::Relaxed);
        }
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

/// One runtime's rows, and everything that judging them needs.
struct Bench {
    /// Its name and version.
    heading: String,
    runtime: Arc<dyn Runtime>,
    matrix: Matrix,
    laboratory: Arc<Laboratory>,
    ledger: Arc<Ledger>,
    asked: bool,
    /// Where its baseline is to be written, with its name.
    baseline: Option<(PathBuf, String)>,
}

/// Judges the rows that `arguments` select, of each runtime in its turn. `target` is the test target that a command to reproduce names.
#[expect(clippy::too_many_lines, reason = "the body of a test target, from its arguments to its conclusion")]
pub fn run(mut arguments: Arguments, runtimes: Vec<OnTrial>, target: &str) -> Conclusion {
    let begin = Instant::now();
    let workspace = Workspace::from_env();
    let settings = Settings::from_env();
    let mut roster = Roster::read(&workspace, &settings);
    let deadlines = Deadlines::from_env().unwrap_or_else(|reason| {
        roster.problems.push(Problem::new(format!("variable::{DEADLINE_VARIABLE}"), "a number of seconds", reason));
        Deadlines::default()
    });
    let line = Arc::new(Line::from_env().unwrap_or_else(|reason| {
        roster.problems.push(Problem::new(format!("variable::{}", gate::VARIABLE), "claims and checks, separated by commas", reason));
        Line::default()
    }));
    let run = Run::of_this_process(workspace.out(), Kind::Matrix);
    let mut benches = Vec::with_capacity(runtimes.len());
    for OnTrial { runtime, rows, beside, baseline } in runtimes {
        let capabilities = runtime.capabilities();
        let folder = beside.last().cloned().unwrap_or_else(|| workspace.root().join(expectation::FOLDER));
        let asked = matches!(rows, Rows::Asked);
        let (matrix, expectations) = match rows {
            Rows::Judged | Rows::Asked => {
                let mut matrix = Matrix::new(&roster, &capabilities);
                // They are everybody's, and the first has told them.
                roster.problems.clear();
                let expectations = Expectations::read(&workspace, &beside, &capabilities, &mut matrix);
                if roster.fast {
                    matrix.keep_fast();
                }
                (matrix, expectations)
            }
            Rows::Instead(row) => (Matrix { rows: vec![*row], ..Matrix::default() }, Expectations::default()),
        };
        let setup = Setup {
            workspace: workspace.clone(),
            runtime: Arc::clone(&runtime),
            deadlines,
            run: run.clone(),
            models: roster.models.clone(),
            reproduce: reproduce(&settings, target, asked),
        };
        benches.push(Bench {
            heading: format!("{} {}", capabilities.name, capabilities.version),
            runtime,
            laboratory: Arc::new(Laboratory::new(setup, &matrix).expecting(expectations).on(Arc::clone(&line))),
            matrix,
            ledger: Arc::default(),
            asked,
            baseline: baseline.then(|| (folder.join(format!("{}.toml", capabilities.name)), capabilities.name.clone())),
        });
    }
    refuse_equal_names(&mut benches);
    let under_nextest = std::env::var_os("NEXTEST").is_some();
    let board: SharedBoard = Arc::default();
    let mut trials: Vec<Trial> = benches.iter().flat_map(|bench| bench.trials(&board, under_nextest)).collect();
    if !arguments.exact && !arguments.list {
        keep_problems(&mut arguments, &benches, &mut trials);
    }
    let judged: BTreeSet<String> = trials
        .iter()
        .filter(|trial| !arguments.is_filtered_out(trial) && !arguments.is_ignored(trial))
        .map(|trial| trial.name().to_owned())
        .collect();
    for bench in &benches {
        bench.laboratory.expect(bench.matrix.rows.iter().filter(|row| judged.contains(&row.name)));
    }

    if arguments.format.is_none() && !arguments.list {
        arguments.quiet = true;
    }
    let watched = arguments.quiet && arguments.logfile.is_none() && !under_nextest && Board::is_watched();
    if !arguments.list && !under_nextest && judged.len() > 1 {
        let rows = benches.iter().flat_map(|bench| bench.matrix.rows.iter().map(move |row| (bench, row)));
        let rows = rows.filter(|(_, row)| judged.contains(&row.name)).map(|(bench, row)| (bench.line_of(row), Stage::of(&row.task)));
        let _ = board.set(Board::new(rows, watched));
    }
    let mut conclusion = run_under(&board, watched, &mut arguments, trials);
    for bench in &benches {
        bench.runtime.end();
    }
    if !arguments.list && !under_nextest {
        if let Err(reason) = ending::write(&workspace, &run, target, &benches, &roster.entries, &arguments, begin.elapsed()) {
            eprintln!("error: {reason}");
            conclusion.num_failed += 1;
        }
        print_last(&arguments, &benches, &workspace.show(run.folder()), begin.elapsed());
    }
    conclusion
}

/// Runs the trials under the board. Its lines and libtest's dots would write over each other: where the board is watched, what libtest says
/// is kept aside until the board is done.
fn run_under(board: &SharedBoard, watched: bool, arguments: &mut Arguments, trials: Vec<Trial>) -> Conclusion {
    let aside = watched.then(tempfile::NamedTempFile::new).and_then(Result::ok);
    if let Some(aside) = &aside {
        arguments.logfile = Some(aside.path().to_string_lossy().into_owned());
    }
    fill_the_cores(arguments);
    let conclusion = libtest_mimic::run(arguments, trials);
    if let Some(board) = board.get() {
        board.end();
    }
    if let Some(said) = aside.and_then(|aside| std::fs::read_to_string(aside.path()).ok()) {
        print!("{}", said.find("\nfailures:").or_else(|| said.find("\ntest result:")).map_or(said.as_str(), |at| &said[at..]));
    }
    conclusion
}

/// Twice as many trials at once as there are cores, where nobody said how many: rows about one prompt wait for the first of them, which asks,
/// and their cores would stand idle meanwhile.
pub(crate) fn fill_the_cores(arguments: &mut Arguments) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * cores);
}

/// The board, hung up when it is known which rows will be judged.
type SharedBoard = Arc<OnceLock<Board>>;

impl Bench {
    /// The line of the board that a row belongs to.
    fn line_of(&self, row: &Row) -> String {
        match row.task.cell() {
            None => "lists".to_owned(),
            Some((cell, _)) => {
                let cell = &self.matrix.cells[cell];
                format!("{} in {}", cell.artifact.model, cell.runtime)
            }
        }
    }

    fn trials(&self, board: &SharedBoard, under_nextest: bool) -> Vec<Trial> {
        // What cannot be tested of a runtime that waits to be asked is counted; as an ignored trial it would be run with the others.
        let rows = self.matrix.rows.iter().filter(|row| !(self.asked && row.not_tested.is_some()));
        rows.map(|row| trial(row, self, board, under_nextest)).collect()
    }
}

/// Two rows of one name would be one row to every tool that filters by name.
fn refuse_equal_names(benches: &mut [Bench]) {
    let mut seen = BTreeSet::new();
    for bench in benches {
        for row in &mut bench.matrix.rows {
            if !seen.insert(row.name.clone()) {
                let observed = format!("two rows are named {}", row.name);
                let problem = Problem::new(format!("name::{}", escape::plain_name(&row.name)), "unique row names", observed);
                *row = Row { name: format!("matrix::{}", problem.subject), task: Task::Problem(problem), not_tested: None };
            }
        }
    }
}

/// Lets no filter hide what is wrong with the lists: a model that broken lists lost has no row that a filter could find, and nothing to
/// judge would look like nothing red.
fn keep_problems(arguments: &mut Arguments, benches: &[Bench], trials: &mut Vec<Trial>) {
    let is_red = |row: &&Row| matches!(row.task, Task::Problem(_)) && row.not_tested.is_none();
    let rows = benches.iter().flat_map(|bench| &bench.matrix.rows);
    let problems: BTreeSet<&str> = rows.filter(is_red).map(|row| row.name.as_str()).collect();
    if problems.is_empty() {
        return;
    }
    trials.retain(|trial| problems.contains(trial.name()) || !arguments.is_filtered_out(trial));
    // Who asked for ignored rows alone has them still, beside what is wrong.
    arguments.include_ignored |= arguments.ignored;
    (arguments.filter, arguments.skip, arguments.ignored) = (None, Vec::new(), false);
}

/// A row as libtest sees it. The panic hook and `catch_unwind` are inside: a panic is a verdict like any other.
fn trial(row: &Row, bench: &Bench, board: &SharedBoard, under_nextest: bool) -> Trial {
    let (laboratory, ledger, task) = (Arc::clone(&bench.laboratory), Arc::clone(&bench.ledger), row.clone());
    let (board, line) = (Arc::clone(board), bench.line_of(row));
    let body = move || -> Result<(), Failed> {
        let record = laboratory.judge(&task);
        let failure = record.is_red().then(|| report::failure(&record));
        if let Some(said) = board.get().and_then(|board| board.enter(&line, Stage::of(&task.task), &record)) {
            eprintln!("{said}");
        }
        ledger.enter(record);
        match failure {
            None => Ok(()),
            Some(text) => {
                if under_nextest {
                    // nextest takes the reason of a failure from a line of stderr that begins like this.
                    eprintln!("Error: {text}");
                }
                Err(text.into())
            }
        }
    };
    // What is wrong with the lists is never ignored, however the runtime is judged.
    let waits = bench.asked && !matches!(row.task, Task::Problem(_));
    Trial::test(row.name.clone(), body).with_ignored_flag(waits || row.not_tested.is_some())
}

/// The verdict is what stands last on the screen. Where stdout holds JSON events it goes to stderr.
fn print_last(arguments: &Arguments, benches: &[Bench], evidence: &str, elapsed: Duration) {
    let mut text = String::new();
    let mut all = Tally::default();
    for bench in benches {
        let records = bench.ledger.records.lock().unwrap_or_else(PoisonError::into_inner);
        let peak = bench.ledger.peak_memory.load(Ordering::Relaxed);
        let summary = Summary {
            matrix: &bench.matrix,
            records: &records,
            without_golden: 0,
            evidence: evidence.to_owned(),
            elapsed,
            peak_memory: (peak > 0).then_some(peak),
        };
        if benches.len() > 1 && !bench.matrix.cells.is_empty() {
            text.push_str(&format!("\nruntime       {}\n", escape::line(&bench.heading)));
        }
        // Whoever wants a single row wants its numbers, green or not.
        if let [record] = records.as_slice()
            && !record.is_red()
        {
            let (name, sentence) = (escape::line(&record.name), escape::line(&record.claim.sentence));
            text.push_str(&format!("{name}\n  {sentence}\n  {}\n", report::bounds(record)));
        }
        // A filter that was meant for another test target is no occasion for a summary.
        text.push_str(&if records.is_empty() && !bench.matrix.cells.is_empty() { summary.verdict() } else { summary.text() });
        if let Some((path, name)) = &bench.baseline {
            let names: Vec<&str> =
                bench.matrix.rows.iter().filter(|row| !matches!(row.task, Task::Problem(_))).map(|row| row.name.as_str()).collect();
            let written =
                baseline::write(path, name, &names, &records).unwrap_or_else(|reason| format!("not written: {}", escape::line(&reason)));
            text.push_str(&format!("baseline      {written}\n"));
        }
        all.add(&Tally::of(&records));
    }
    if benches.len() > 1 {
        text.push_str(&format!("\nall runtimes  {}\n", all.verdict()));
    }
    if arguments.format == Some(FormatSetting::Json) {
        eprint!("{text}");
    } else {
        print!("{text}");
    }
}

/// The command that judges one row again, with the variables that brought its model here.
fn reproduce(settings: &Settings, target: &str, asked: bool) -> Box<dyn Fn(&str) -> String + Send + Sync> {
    let target = target.to_owned();
    let mut prefix = settings.as_shell_prefix();
    for variable in [ROOT_VARIABLE, DEADLINE_VARIABLE] {
        if let Some(value) = std::env::var_os(variable) {
            prefix.push_str(&format!("{variable}={} ", escape::shell(&value.to_string_lossy())));
        }
    }
    let asked = if asked { "--ignored " } else { "" };
    Box::new(move |name| format!("{prefix}cargo test --test {target} -- {asked}--exact {}", escape::quoted(name)))
}

/// The name of the running test target: the executable's, without the hash that cargo appends.
fn test_target() -> Option<String> {
    let executable = std::env::current_exe().ok()?;
    let stem = executable.file_stem()?.to_str()?;
    let name = match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => name,
        _ => stem,
    };
    escape::is_plain_name(name).then(|| name.to_owned())
}
