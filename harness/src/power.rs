//! Power: every check tried on every defect, as a test binary.
//!
//! A check that cannot fail proves nothing, and one that fails on everything proves nothing either. So each pair of a check and a defect is
//! a test of its own, and what it must come to is committed (`falsification/outcomes.toml`): killed, or spared, or an error where the
//! defect is that no answer comes.
//!
//! | test | green when |
//! |---|---|
//! | `<defect>::<check>::<model>` | the outcome is the committed one |
//! | `<defect>::F-G1::<model>` | the engine refuses to load the artifact, with the kind that the record names |
//! | `effect::<defect>::<model>` | the logits move, or stay, as committed |
//! | `control::<check>::<model>`, `control-layered::...` | the unbroken model by the same two ways is spared |
//! | `alive::<tensor>::<model>` | zeroing the tensor moves the logits of some prompt by over 100 floors |
//! | `record::<defect>` | its kills and spares are those of the table, in every model, and something kills it |
//! | `proof::<check>` | some defect names the check in its kills, and the check refutes its claim on it |
//! | `separation::<check>` | the weakest defect in its kills is 3 times past the bound or more |
//! | `table::complete` | the table has an entry for each of these tests, and no other |
//! | `rules::all` (ignored: minutes) | what the rules of other tools do is what is published |
//! | `generated::<seed>` (ignored: minutes) | what becomes of the drawn defects is what is published, and each survivor is explained |
//!
//! Runtime defects stand in front of a runtime that remembers what it computed, so thirty of them cost little more than one. A check about
//! a whole text (PPL, LEARNED, PUBLISHED) is tried on the defects that name it, not on all: each costs as much as ten others.
//! Claims that hold a runtime against itself (bitwise invariances, the context limit) are tried on an artifact defect in one model, the
//! smallest that it applies to, and on one prompt. Prompts are few and chosen by kind: see `power/bench.rs`.
//!
//! `GROUND_TRUTH_BLESS=1` writes the table from what was found. Where `CI` is set that is refused: a table that writes itself proves
//! nothing.

#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "written so that NaN is on the red side of every comparison")]

pub(crate) mod bed;
pub(crate) mod bench;
mod generated;
mod measured;
mod neighbours;
mod operators;
pub(crate) mod plan;
mod print;
mod proof;
mod published;
mod rivals;
#[cfg(test)]
pub(crate) mod shown;
pub(crate) mod spread;
mod summary;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ground_truth_falsification::verdict::{ErrorKind, Owner, Verdict};
use libtest_mimic::{Arguments, Failed, FormatSetting, Trial};

use crate::evidence::{Axes, Claim, Kind, Record, Run};
use crate::roster::{Roster, Settings};
use crate::workspace::Workspace;
use crate::{escape, guard, report};
use measured::{Measured, rounded};
use plan::{Plan, Task};
use table::Table;

pub(crate) use generated::wilson;
pub use generated::{Generated, Survivor};
pub use measured::{Implementation, RuleMeasured};
pub use print::{MARKS, between_marks, html, markdown, readme};
pub use published::{Baseline, CheckPower, Defects, Drawn, PowerTable, read as published};

/// Rewrites the committed table.
pub const BLESS_VARIABLE: &str = "GROUND_TRUTH_BLESS";

/// Where the committed table lies, under the root of the workspace.
const TABLE: &str = "falsification/outcomes.toml";

/// Everything the trials share.
struct Bureau {
    plan: Plan,
    table: Result<Table, String>,
    blessing: bool,
    run: Run,
    judged: AtomicUsize,
    reds: Mutex<Vec<Record>>,
    separations: Mutex<Vec<(String, f64)>>,
    measured: Result<Measured, String>,
    /// What this run has measured.
    newer: Mutex<Measured>,
    workspace: Workspace,
}

/// Draws and judges defects that nobody wrote down.
///
/// # Errors
///
/// Where a carried model or its golden cannot be opened, or a draw ends in another way than a verdict.
pub fn draw(workspace: &Workspace, count: usize, seed: u64) -> Result<Generated, String> {
    generated::run(&Plan::new(workspace, &Roster::read(workspace, &Settings::from_env()))?, count, seed)
}

/// What a trial came to, before it is written down.
struct Finding {
    verdict: Verdict,
    sentence: String,
    asked: Vec<String>,
}

impl Finding {
    fn green(expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self::of(Verdict::corroborated(1, expected, observed))
    }

    fn red(expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self::of(Verdict::falsified(expected, observed).owned_by(Owner::Golden))
    }

    fn of(verdict: Verdict) -> Self {
        Finding { verdict, sentence: String::new(), asked: Vec::new() }
    }

    fn claiming(mut self, sentence: impl Into<String>) -> Self {
        self.sentence = sentence.into();
        self
    }
}

/// Runs the power tests, as the whole body of a test target with `harness = false`.
#[expect(clippy::too_many_lines, reason = "the body of a test target, from its arguments to its exit code")]
pub fn main() -> ExitCode {
    let begin = Instant::now();
    let mut arguments = Arguments::from_args();
    let workspace = Workspace::from_env();
    let blessing = std::env::var_os(BLESS_VARIABLE).is_some_and(|value| value == "1");
    if blessing && std::env::var_os("CI").is_some() {
        eprintln!("{BLESS_VARIABLE} is set where CI is: the table is written by hand and reviewed; unset one of them");
        return ExitCode::FAILURE;
    }
    let path = workspace.root().join(TABLE);
    let table = std::fs::read_to_string(&path).map_err(|error| error.to_string()).and_then(|text| Table::parse(&text));
    let roster = Roster::read(&workspace, &Settings::from_env());
    let plan = match Plan::new(&workspace, &roster) {
        Ok(plan) => plan,
        Err(reason) => {
            eprintln!("the power tests cannot be listed: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let table = table.map_err(|reason| format!("{TABLE}: {reason}"));
    let bureau = Arc::new(Bureau {
        judged: AtomicUsize::new(0),
        plan,
        table,
        blessing,
        run: Run::of_this_process(workspace.out(), Kind::Power),
        reds: Mutex::default(),
        separations: Mutex::default(),
        measured: Measured::read(workspace.root()),
        newer: Mutex::default(),
        workspace,
    });
    let trials: Vec<Trial> = bureau.plan.tasks.iter().map(|(name, task)| trial(&bureau, name, *task)).collect();
    let is_judged = |trial: &Trial| !arguments.is_filtered_out(trial) && !arguments.is_ignored(trial);
    for (i, _) in trials.iter().enumerate().filter(|(_, trial)| is_judged(trial)) {
        if let Some(bench) = bureau.plan.bench(bureau.plan.tasks[i].1) {
            bench.expect();
        }
    }
    if arguments.format.is_none() && !arguments.list {
        arguments.quiet = true;
    }
    crate::suite::fill_the_cores(&mut arguments);
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list || std::env::var_os("NEXTEST").is_some() {
        return conclusion.exit_code();
    }
    if blessing {
        let is_whole = bureau.plan.tasks.iter().filter(|(_, task)| !task.is_long()).count() <= bureau.judged.load(Ordering::Relaxed);
        return bless(&bureau, &path, is_whole);
    }
    let text = summary::text(&bureau, begin.elapsed());
    if arguments.format == Some(FormatSetting::Json) {
        eprint!("{text}")
    } else {
        print!("{text}")
    }
    conclusion.exit_code()
}

/// Writes what was found over what was committed. Times count where everything ran.
fn bless(bureau: &Bureau, path: &Path, is_whole: bool) -> ExitCode {
    let mut table = bureau.table.clone().unwrap_or_default();
    let (keys, checks) = (bureau.plan.keys(), bureau.plan.checks());
    table.update(bureau.plan.found(), &bureau.plan.tried());
    let newer = bureau.newer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut measured = bureau.measured.clone().unwrap_or_default();
    for (id, of) in newer.checks {
        let old = measured.checks.entry(id).or_default();
        old.separation = of.separation.or(old.separation);
        old.milliseconds = of.milliseconds.filter(|_| is_whole).map(rounded).or(old.milliseconds);
    }
    measured.checks.retain(|id, _| checks.contains(&id.as_str()));
    if !newer.rules.is_empty() {
        measured.rules = newer.rules;
    }
    for generated in newer.generated {
        let older = measured.generated.iter().position(|older| older.seed == generated.seed).map(|at| measured.generated.remove(at));
        measured.generated.push(generated.with_reasons_of(older.as_ref()));
    }
    let written = std::fs::write(path, table.text(&keys, &checks)).map_err(|error| format!("{TABLE}: {error}"));
    match written.and_then(|()| measured.write(bureau.workspace.root())) {
        Ok(()) => {
            println!(
                "{TABLE} and {} are written: read the diff, put what is meant into kills and spares, and run again without {BLESS_VARIABLE}",
                measured::FILE
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn trial(bureau: &Arc<Bureau>, name: &str, task: Task) -> Trial {
    let (bureau, name_) = (Arc::clone(bureau), name.to_owned());
    Trial::test(name, move || bureau.judge(&name_, task)).with_ignored_flag(task.is_long())
}

impl Bureau {
    fn judge(&self, name: &str, task: Task) -> Result<(), Failed> {
        let begin = Instant::now();
        let finding = guard::catch(|| self.finding(task))
            .unwrap_or_else(|panic| Finding::of(Verdict::error(ErrorKind::Crash, "a finding", panic.to_string())));
        self.judged.fetch_add(1, Ordering::Relaxed);
        if let (Some(check), Task::Check { .. }) = (self.plan.check(task), task) {
            let mut newer = self.newer.lock().unwrap_or_else(PoisonError::into_inner);
            *newer.checks.entry(check.to_owned()).or_default().milliseconds.get_or_insert(0.0) += begin.elapsed().as_secs_f64() * 1e3;
        }
        if let Some(bench) = self.plan.bench(task) {
            bench.done();
        }
        let mut record = Record::of(self.run.id(), name, &finding.verdict);
        let check = self.plan.check(task).unwrap_or("power");
        record.claim =
            Claim { id: "POWER".to_owned(), sentence: finding.sentence, refuted_by: "another outcome than the committed one".to_owned() };
        record.asked = finding.asked;
        record.reproduce = format!("cargo test --test power -- --exact {}", escape::quoted(name));
        record.duration_ms = begin.elapsed().as_secs_f64() * 1e3;
        record.axes = self.plan.bed(task).map(|bed| Axes {
            model: bed.name.clone(),
            format: bed.artifact.format.to_string(),
            quantization: bed.artifact.quantization.clone(),
            runtime: "native".to_owned(),
            check: check.to_owned(),
            prompt: None,
        });
        // The committed table is the evidence of what is green; how far each bound lies from the weakest defect is measured in every run.
        let told = if !record.is_green() || matches!(task, Task::Separation { .. }) { self.run.write(&record).err() } else { None };
        if let Some(error) = told {
            record = Record::of(self.run.id(), name, &Verdict::error(ErrorKind::Gate, "evidence that can be written", error));
        }
        if record.is_green() {
            return Ok(());
        }
        let text = report::failure(&record);
        if std::env::var_os("NEXTEST").is_some() {
            eprintln!("Error: {text}");
        }
        self.reds.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        Err(text.into())
    }

    fn finding(&self, task: Task) -> Finding {
        let result = match task {
            Task::Check { bench, check } => self.outcome(bench, check),
            Task::Control { bench, check } => self.control(bench, check),
            Task::Refusal { bench } => self.refusal(bench),
            Task::Effect { bench } => self.effect(bench),
            Task::Alive { bed, tensor } => self.alive(bed, tensor),
            Task::Record { defect } => self.record(defect),
            Task::Proof { check } => self.proof(check),
            Task::Separation { check } => self.separation(check),
            Task::Complete => self.complete(),
            Task::Rules => self.rules(),
            Task::Generated => self.generated(),
        };
        result.unwrap_or_else(|reason| Finding::of(Verdict::error(ErrorKind::Gate, "a defect that can be tried", reason)))
    }

    fn measured(&self) -> Result<&Measured, String> {
        self.measured.as_ref().map_err(Clone::clone)
    }

    fn table(&self) -> Result<&Table, String> {
        self.table.as_ref().map_err(Clone::clone)
    }
}
