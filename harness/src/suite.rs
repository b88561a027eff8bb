//! The matrix as a test binary: libtest's command line, one trial for each row, the verdict last.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Conclusion, Failed, FormatSetting, Trial};

use crate::escape;
use crate::evidence::{Record, Run};
use crate::matrix::{Matrix, Row, Task};
use crate::report;
use crate::roster::{Problem, Roster, Settings};
use crate::runtime::Runtime;
use crate::runtime::supervise::{DEADLINE_VARIABLE, Deadlines};
use crate::summary::{Summary, anonymous_memory};
use crate::trial::{Laboratory, Setup};
use crate::workspace::{ROOT_VARIABLE, Workspace};

/// The test target of this workspace.
pub const DEFAULT_TARGET: &str = "falsify";

/// Judges every row of the matrix for `runtime`, as the whole body of a test target with `harness = false`.
pub fn falsify(runtime: impl Runtime) -> ExitCode {
    let target = test_target().unwrap_or_else(|| DEFAULT_TARGET.to_owned());
    run(Arguments::from_args(), Arc::new(runtime), &target).exit_code()
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

/// Judges the rows that `arguments` select. `target` is the test target that a command to reproduce names.
pub fn run(mut arguments: Arguments, runtime: Arc<dyn Runtime>, target: &str) -> Conclusion {
    let begin = Instant::now();
    let workspace = Workspace::from_env();
    let settings = Settings::from_env();
    let mut roster = Roster::read(&workspace, &settings);
    let deadlines = Deadlines::from_env().unwrap_or_else(|reason| {
        roster.problems.push(Problem::new(format!("variable::{DEADLINE_VARIABLE}"), "a number of seconds", reason));
        Deadlines::default()
    });
    let matrix = Matrix::new(&roster, &runtime.capabilities());
    let setup = Setup {
        workspace: workspace.clone(),
        runtime,
        deadlines,
        run: Run::of_this_process(workspace.out()),
        models: roster.models,
        reproduce: reproduce(&settings, target),
    };
    let laboratory = Arc::new(Laboratory::new(setup, &matrix));
    let ledger = Arc::new(Ledger::default());
    let under_nextest = std::env::var_os("NEXTEST").is_some();
    let mut trials: Vec<Trial> = matrix.rows.iter().map(|row| trial(row, &laboratory, &ledger, under_nextest)).collect();
    if !arguments.exact && !arguments.list {
        keep_problems(&mut arguments, &matrix, &mut trials);
    }
    let judged: BTreeSet<String> = trials
        .iter()
        .filter(|trial| !arguments.is_filtered_out(trial) && !arguments.is_ignored(trial))
        .map(|trial| trial.name().to_owned())
        .collect();
    laboratory.expect(matrix.rows.iter().filter(|row| judged.contains(&row.name)));

    if arguments.format.is_none() && !arguments.list {
        arguments.quiet = true;
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list && !under_nextest {
        let records = ledger.records.lock().unwrap_or_else(PoisonError::into_inner);
        let peak = ledger.peak_memory.load(Ordering::Relaxed);
        let summary = Summary {
            matrix: &matrix,
            records: &records,
            without_golden: 0,
            evidence: workspace.show(laboratory.run().folder()),
            elapsed: begin.elapsed(),
            peak_memory: (peak > 0).then_some(peak),
        };
        print_last(&arguments, &summary, &records);
    }
    conclusion
}

/// Lets no filter hide what is wrong with the lists: a model that broken lists lost has no row that a filter could find, and nothing to
/// judge would look like nothing red.
fn keep_problems(arguments: &mut Arguments, matrix: &Matrix, trials: &mut Vec<Trial>) {
    let problems: BTreeSet<&str> =
        matrix.rows.iter().filter(|row| matches!(row.task, Task::Problem(_))).map(|row| row.name.as_str()).collect();
    if problems.is_empty() {
        return;
    }
    trials.retain(|trial| problems.contains(trial.name()) || !arguments.is_filtered_out(trial));
    (arguments.filter, arguments.skip, arguments.ignored) = (None, Vec::new(), false);
}

/// A row as libtest sees it. The panic hook and `catch_unwind` are inside: a panic is a verdict like any other.
fn trial(row: &Row, laboratory: &Arc<Laboratory>, ledger: &Arc<Ledger>, under_nextest: bool) -> Trial {
    let (laboratory, ledger, task) = (Arc::clone(laboratory), Arc::clone(ledger), row.clone());
    let body = move || -> Result<(), Failed> {
        let record = laboratory.judge(&task);
        let failure = (!record.is_green()).then(|| report::failure(&record));
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
    Trial::test(row.name.clone(), body).with_ignored_flag(row.not_tested.is_some())
}

/// The verdict is what stands last on the screen. Where stdout holds JSON events it goes to stderr.
fn print_last(arguments: &Arguments, summary: &Summary<'_>, records: &[Record]) {
    let mut text = String::new();
    // Whoever filtered down to a single row wants its numbers, green or not.
    if let [record] = records
        && record.is_green()
    {
        text = format!("{}\n  {}\n  {}\n", escape::line(&record.name), escape::line(&record.claim.sentence), report::bounds(record));
    }
    // A filter that was meant for another test target is no occasion for a summary.
    text.push_str(&if records.is_empty() { summary.verdict() } else { summary.text() });
    if arguments.format == Some(FormatSetting::Json) {
        eprint!("{text}");
    } else {
        print!("{text}");
    }
}

/// The command that judges one row again, with the variables that brought its model here.
fn reproduce(settings: &Settings, target: &str) -> Box<dyn Fn(&str) -> String + Send + Sync> {
    let target = target.to_owned();
    let mut prefix = settings.as_shell_prefix();
    for variable in [ROOT_VARIABLE, DEADLINE_VARIABLE] {
        if let Some(value) = std::env::var_os(variable) {
            prefix.push_str(&format!("{variable}={} ", escape::shell(&value.to_string_lossy())));
        }
    }
    Box::new(move |name| format!("{prefix}cargo test --test {target} -- --exact {}", escape::quoted(name)))
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
