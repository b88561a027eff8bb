//! One row, judged.
//!
//! The laboratory holds what rows of one cell share: the verified golden, the sessions, the observations. It knows from the filtered
//! list how many rows are still to come, and forgets a prompt's observations with the prompt's last row and a model with its last
//! row. Judging returns a record; it prints nothing, and a panic anywhere in it is an error verdict with its place.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use ground_truth_falsification::check::{Case, Check, Per, Scope};
use ground_truth_falsification::form::Form;
use ground_truth_falsification::golden::{Index, ModelGolden, PromptGolden};
use ground_truth_falsification::observation::{Failure, NoPeers};
use ground_truth_falsification::tolerance::Tolerances;
use ground_truth_falsification::verdict::{ErrorKind, Owner, Verdict};

use crate::escape;
use crate::evidence::{Axes, Claim, Record, Run};
use crate::golden_store::GoldenStore;
use crate::guard;
use crate::list;
use crate::matrix::{self, Cell, Matrix, Row, Subject, Task};
use crate::observe::{Memory, Observer, Sessions};
use crate::report;
use crate::roster::{ModelFolder, Problem};
use crate::runtime::supervise::Deadlines;
use crate::runtime::{Capabilities, Runtime};
use crate::self_reference::SelfReference;
use crate::workspace::Workspace;

/// What a gate's row puts to the test.
const GATE_SENTENCE: &str =
    "every file is the one that the golden was written for, the golden holds together, and the artifact loads without a warning";
/// What would refute it.
const GATE_REFUTED_BY: &str = "a missing, altered or unlisted file, a golden that contradicts itself, a refusal or a warning at loading";
/// What a listing's row puts to the test.
const LIST_SENTENCE: &str = "the model is listed exactly once, with the architecture and weight type that the golden names";
/// What would refute it.
const LIST_REFUTED_BY: &str = "a model that is listed never, twice, or as something else";
/// What a problem's row puts to the test.
const MATRIX_SENTENCE: &str = "everything that the lists of models and goldens name can be judged";

/// How much of a gate's reason the rows behind it repeat, in characters. The gate's own row has it whole.
const BRIEFLY: usize = 200;

/// Everything that judging needs, shared by all rows.
pub struct Laboratory {
    workspace: Workspace,
    runtime: Arc<dyn Runtime>,
    capabilities: Capabilities,
    deadlines: Deadlines,
    tolerances: Result<Tolerances, String>,
    cells: Vec<Cell>,
    models: Vec<ModelFolder>,
    run: Run,
    reproduce: Box<dyn Fn(&str) -> String + Send + Sync>,
    open: Mutex<HashMap<usize, Arc<OpenCell>>>,
    /// Rows still to come, by cell and, within it, by subject.
    to_come: Mutex<BTreeMap<(usize, Option<Subject>), usize>>,
}

/// What a cell is held against.
enum Reference {
    /// Files that an oracle wrote.
    Golden(GoldenStore),
    /// What the runtime says of itself.
    Own(Arc<SelfReference>),
}

/// A cell some of whose rows have begun.
struct OpenCell {
    reference: Reference,
    sessions: Sessions,
    gate: OnceLock<Result<Arc<ModelGolden>, Closed>>,
    subjects: Mutex<HashMap<Subject, Arc<OpenSubject>>>,
}

/// What the rows about one prompt share.
#[derive(Default)]
struct OpenSubject {
    golden: OnceLock<Result<Arc<PromptGolden>, String>>,
    memory: Memory,
}

/// Why a gate is red.
#[derive(Debug, Clone)]
struct Closed {
    kind: ErrorKind,
    owner: Owner,
    reason: String,
}

impl Closed {
    fn golden(reason: String) -> Self {
        Self { kind: ErrorKind::Golden, owner: Owner::Golden, reason }
    }
}

/// How a laboratory is set up.
pub struct Setup {
    /// The folders of the run.
    pub workspace: Workspace,
    /// What is judged.
    pub runtime: Arc<dyn Runtime>,
    /// How long it may take for each answer.
    pub deadlines: Deadlines,
    /// Where the evidence goes.
    pub run: Run,
    /// Every model folder of the roster.
    pub models: Vec<ModelFolder>,
    /// The command that judges the row of a name again.
    pub reproduce: Box<dyn Fn(&str) -> String + Send + Sync>,
}

impl Laboratory {
    /// A laboratory for the cells of `matrix`. Say with [`Laboratory::expect`] which rows will be judged.
    pub fn new(setup: Setup, matrix: &Matrix) -> Self {
        Self {
            capabilities: setup.runtime.capabilities(),
            workspace: setup.workspace,
            runtime: setup.runtime,
            deadlines: setup.deadlines,
            tolerances: Tolerances::committed().map_err(|error| error.to_string()),
            cells: matrix.cells.clone(),
            models: setup.models,
            run: setup.run,
            reproduce: setup.reproduce,
            open: Mutex::default(),
            to_come: Mutex::default(),
        }
    }

    /// Counts the rows that will be judged, so that what they share can be dropped with the last of them.
    pub fn expect<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) {
        let mut to_come = self.to_come.lock().unwrap_or_else(PoisonError::into_inner);
        for (cell, subject) in rows.into_iter().filter_map(|row| row.task.cell()) {
            *to_come.entry((cell, None)).or_default() += 1;
            *to_come.entry((cell, Some(shared(subject)))).or_default() += 1;
        }
    }

    /// Judges a row and writes its evidence.
    pub fn judge(&self, row: &Row) -> Record {
        let begin = Instant::now();
        let mut asked = Vec::new();
        let mut verdict = guard::catch(|| self.verdict(row, &mut asked))
            .unwrap_or_else(|panic| Verdict::error(ErrorKind::Crash, "a verdict", panic.to_string()).owned_by(Owner::Runtime));
        if let Some((cell, subject)) = row.task.cell() {
            self.done(cell, shared(subject));
        }
        let (claim, sentence) = self.claim(row);
        if verdict.claim.is_empty() {
            verdict.claim = sentence;
        }
        let mut record = Record::of(self.run.id(), &row.name, &verdict);
        record.claim = claim;
        record.asked = asked;
        record.reproduce = (self.reproduce)(&row.name);
        record.duration_ms = begin.elapsed().as_secs_f64() * 1e3;
        self.place_in_matrix(row, &mut record);
        if let Err(error) = self.run.write(&record) {
            record.verdict = "error".to_owned();
            record.error = Some("evidence".to_owned());
            record.observed = error;
        }
        record
    }

    /// The folder that the evidence goes to.
    pub fn run(&self) -> &Run {
        &self.run
    }

    fn verdict(&self, row: &Row, asked: &mut Vec<String>) -> Verdict {
        if let Some(reason) = &row.not_tested {
            return Verdict::error(ErrorKind::Gate, "a model to judge", reason.clone()).owned_by(Owner::File);
        }
        match &row.task {
            Task::Problem(problem) => problem_verdict(problem),
            Task::Gate { cell } => match self.golden(*cell) {
                Ok(golden) => gate_verdict(&golden.index, self.cells[*cell].entry.self_reference.is_some()),
                Err(closed) => Verdict::error(closed.kind, "no complaint", closed.reason).owned_by(closed.owner),
            },
            Task::List { cell } => self.behind_gate(*cell, |golden| Ok(self.listing(*cell, golden))),
            Task::Check { cell, check, subject } => self.behind_gate(*cell, |golden| self.check(*cell, check, *subject, golden, asked)),
        }
    }

    fn behind_gate(&self, cell: usize, judge: impl FnOnce(&Arc<ModelGolden>) -> Result<Verdict, String>) -> Verdict {
        match self.golden(cell) {
            Ok(golden) => {
                judge(&golden).unwrap_or_else(|reason| Verdict::error(ErrorKind::Golden, "a golden", reason).owned_by(Owner::Golden))
            }
            Err(closed) => {
                let observed = format!("gate {} failed: {}", matrix::GATE, report::shorten(&closed.reason, BRIEFLY));
                Verdict::error(ErrorKind::Gate, "an open gate", observed).owned_by(closed.owner)
            }
        }
    }

    /// The golden of a cell, through its gate.
    fn golden(&self, cell: usize) -> Result<Arc<ModelGolden>, Closed> {
        if let Some(reason) = &self.cells[cell].entry.refused {
            return Err(Closed { kind: ErrorKind::Gate, owner: Owner::File, reason: reason.clone() });
        }
        let open = self.open(cell);
        open.gate.get_or_init(|| open.pass_gate(&self.tolerances)).clone()
    }

    fn open(&self, cell: usize) -> Arc<OpenCell> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let Cell { artifact, entry, .. } = &self.cells[cell];
            let reference = match &entry.self_reference {
                Some(own) => Reference::Own(Arc::clone(own)),
                None => Reference::Golden(GoldenStore::new(&self.workspace, &entry.golden, &artifact.path)),
            };
            Arc::new(OpenCell {
                reference,
                sessions: Sessions::new(Arc::clone(&self.runtime), artifact.clone(), self.deadlines),
                gate: OnceLock::new(),
                subjects: Mutex::default(),
            })
        };
        Arc::clone(open.entry(cell).or_insert_with(make))
    }

    fn check(
        &self,
        cell: usize,
        check: &'static Check,
        subject: Subject,
        golden: &Arc<ModelGolden>,
        asked: &mut Vec<String>,
    ) -> Result<Verdict, String> {
        let open = self.open(cell);
        let sharing = open.subject(shared(subject));
        let tolerances = self.tolerances.as_ref().map_err(String::clone)?;
        let prompt = match subject {
            Subject::Prompt(i) => Some(sharing.prompt(&open.reference, i)?),
            Subject::Cell | Subject::Text(_) => None,
        };
        let perplexity = match subject {
            Subject::Text(i) => Some(golden.perplexity.get(i).ok_or("a text that the golden does not hold")?),
            Subject::Cell | Subject::Prompt(_) => None,
        };
        let form = Form::published(&golden.index.dtype);
        let mut all = Vec::new();
        if let Per::Sources(applies) = check.per {
            let scope = Scope { index: &golden.index, form: &form, dequantized: None, llama_cpp: false };
            for place in (0..golden.index.prompts.len()).filter(|i| applies(&scope, &golden.index.prompts[*i])) {
                all.push(open.subject(Subject::Prompt(place)).prompt(&open.reference, place)?);
            }
        }
        let sources: Vec<&PromptGolden> = all.iter().map(Arc::as_ref).collect();
        let case = Case {
            model: golden,
            form: &form,
            peers: &NoPeers,
            prompt: prompt.as_deref(),
            source: prompt.as_deref(),
            sources: &sources,
            perplexity,
            dequantized: None,
            llama_cpp: None,
            tolerances,
        };
        let observer = Observer::new(&open.sessions, &sharing.memory);
        let verdict = check.judge(&case, &observer);
        *asked = observer.asked();
        Ok(verdict)
    }

    fn listing(&self, cell: usize, golden: &ModelGolden) -> Verdict {
        let index = &golden.index;
        let wanted = format!("one `{}`, {}, {}", index.model, index.architecture, index.dtype);
        let listed = list::list(&self.workspace, &self.models);
        let found: Vec<_> = listed.iter().filter(|line| line.name == index.model).collect();
        let shown = |line: &list::Listed| {
            let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "nothing".to_owned());
            format!("`{}`, {}, {}", line.name, word(&line.architecture), word(&line.dtype))
        };
        let observed = found.iter().map(|line| shown(line)).collect::<Vec<_>>().join("; ");
        match found.as_slice() {
            [line]
                if line.architecture.as_deref() == Some(&index.architecture)
                    && line.dtype.as_deref() == Some(&index.dtype)
                    && line.parameters.is_some_and(|n| n > 0) =>
            {
                Verdict::corroborated(listed.len(), wanted, observed)
            }
            [] => Verdict::falsified(wanted, format!("{} models, `{}` not among them", listed.len(), self.cells[cell].artifact.model)),
            _ => Verdict::falsified(wanted, observed),
        }
        .owned_by(Owner::File)
    }

    /// Forgets what no row to come needs.
    fn done(&self, cell: usize, subject: Subject) {
        let mut to_come = self.to_come.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last_of = |key| {
            let left = to_come.get_mut(&key).map(|left| {
                *left = left.saturating_sub(1);
                *left
            });
            left == Some(0)
        };
        let (last_of_subject, last_of_cell) = (last_of((cell, Some(subject))), last_of((cell, None)));
        drop(to_come);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if last_of_cell {
            open.remove(&cell);
        } else if last_of_subject && let Some(open) = open.get(&cell) {
            open.subjects.lock().unwrap_or_else(PoisonError::into_inner).remove(&subject);
        }
    }

    fn claim(&self, row: &Row) -> (Claim, &'static str) {
        let (id, sentence, refuted_by) = match &row.task {
            Task::Problem(_) => ("matrix", MATRIX_SENTENCE, "anything named there that cannot be"),
            Task::Gate { .. } => (matrix::GATE, GATE_SENTENCE, GATE_REFUTED_BY),
            Task::List { .. } => (matrix::LIST, LIST_SENTENCE, LIST_REFUTED_BY),
            Task::Check { check, .. } => (check.claim, check.sentence, check.refuted_by),
        };
        let claim = Claim { id: id.to_owned(), sentence: sentence.to_owned(), refuted_by: refuted_by.to_owned() };
        (claim, sentence)
    }

    fn place_in_matrix(&self, row: &Row, record: &mut Record) {
        record.versions.runtime = format!("{} {}", self.capabilities.name, self.capabilities.version);
        let Some((cell, subject)) = row.task.cell() else {
            return;
        };
        let Cell { artifact, entry, runtime, .. } = &self.cells[cell];
        let index = &entry.golden.index;
        record.versions.oracle = index.oracle.versions.clone();
        let check = match &row.task {
            Task::Check { check, .. } => {
                record.bounds = check.bounds.iter().map(ToString::to_string).collect();
                check.id
            }
            Task::List { .. } => matrix::LIST,
            Task::Gate { .. } | Task::Problem(_) => matrix::GATE,
        };
        let prompt = match subject {
            Subject::Cell => None,
            Subject::Prompt(i) => index.prompts.get(i).map(|prompt| prompt.name.clone()),
            Subject::Text(i) => index.perplexity.get(i).map(|file| matrix::text_name(file).to_owned()),
        };
        record.axes = Some(Axes {
            model: artifact.model.clone(),
            format: artifact.format.to_string(),
            quantization: artifact.quantization.clone(),
            runtime: runtime.clone(),
            check: check.to_owned(),
            prompt,
        });
    }
}

/// The verdict of an open gate.
fn gate_verdict(index: &Index, is_self_reference: bool) -> Verdict {
    let tensors = index.tensors.len();
    if is_self_reference {
        return Verdict::corroborated(
            tensors,
            "no complaint",
            format!("the artifact loads, {tensors} tensors; no golden vouches for its files"),
        );
    }
    let files = index.golden_files.len() + index.model_files.len();
    Verdict::corroborated(files, "no complaint", format!("{files} files verified, the artifact loads, {tensors} tensors"))
}

/// Whose observations a row shares. Rows about a text share those of the cell, which has a check about the same texts.
fn shared(subject: Subject) -> Subject {
    match subject {
        Subject::Prompt(_) => subject,
        Subject::Cell | Subject::Text(_) => Subject::Cell,
    }
}

fn problem_verdict(problem: &Problem) -> Verdict {
    let owner = if problem.subject.starts_with("golden") { Owner::Golden } else { Owner::File };
    Verdict::error(ErrorKind::Golden, problem.expected.clone(), problem.observed.clone()).owned_by(owner)
}

impl OpenCell {
    fn subject(&self, subject: Subject) -> Arc<OpenSubject> {
        let mut subjects = self.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(subjects.entry(subject).or_default())
    }

    /// Verifies, reads and lints the golden, then loads the artifact.
    fn pass_gate(&self, tolerances: &Result<Tolerances, String>) -> Result<Arc<ModelGolden>, Closed> {
        let golden = match &self.reference {
            Reference::Golden(store) => {
                store.verify().map_err(|reason| Closed { owner: Owner::File, ..Closed::golden(reason) })?;
                store.linted().map_err(Closed::golden)?
            }
            Reference::Own(own) => own.model.clone(),
        };
        if let Err(reason) = tolerances {
            return Err(Closed { kind: ErrorKind::Tolerance, ..Closed::golden(reason.clone()) });
        }
        match self.sessions.warm_up() {
            Ok(warnings) if warnings.is_empty() => Ok(Arc::new(golden)),
            Ok(warnings) => {
                Err(Closed { kind: ErrorKind::Refused, owner: Owner::File, reason: format!("loading warned: {}", warnings.join("; ")) })
            }
            Err(failure) => {
                let owner = match failure {
                    Failure::Refused { .. } => Owner::File,
                    _ => Owner::Runtime,
                };
                Err(Closed {
                    kind: Verdict::failure(&failure, "").error.unwrap_or(ErrorKind::Protocol),
                    owner,
                    reason: format!("loading failed: {failure}"),
                })
            }
        }
    }
}

impl OpenSubject {
    fn prompt(&self, reference: &Reference, i: usize) -> Result<Arc<PromptGolden>, String> {
        let absent = || "a prompt that the index does not hold".to_owned();
        let read = || match reference {
            Reference::Golden(store) => store.index().prompts.get(i).ok_or_else(absent).and_then(|entry| store.prompt(entry)),
            Reference::Own(own) => own.prompts.get(i).cloned().ok_or_else(absent),
        };
        self.golden.get_or_init(|| read().map(Arc::new)).clone()
    }
}

/// Why rows are not judged, with their number.
pub fn not_tested(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for reason in rows.iter().filter_map(|row| row.not_tested.as_deref()) {
        *reasons.entry(escape::line(reason)).or_default() += 1;
    }
    reasons
}
