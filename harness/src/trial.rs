//! One row, judged.
//!
//! The laboratory holds what rows share: those of one model the verified golden, those of one cell the artifact, its sessions and peers,
//! those about one prompt the observations. It knows from the filtered list how many rows are still to come, and forgets each with its
//! last row. Judging returns a record; it prints nothing, and a panic anywhere in it is an error verdict with its place.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ground_truth_falsification::check::{Case, Check, Per};
use ground_truth_falsification::golden::{Index, ModelGolden, PromptGolden};
use ground_truth_falsification::observation::Op;
use ground_truth_falsification::tolerance::Tolerances;
use ground_truth_falsification::verdict::{ErrorKind, Outcome, Owner, Verdict};

use crate::cell::Cell;
use crate::diagnosis::UNVOUCHED;
use crate::escape;
use crate::evidence::{Axes, Claim, HALTED, Minimal, Record, Run};
use crate::expectation::{Expectations, Gate};
use crate::gate::{self, Line};
use crate::guard;
use crate::list;
use crate::matrix::{self, Matrix, Row, Subject, Task};
use crate::observe::Observer;
use crate::report;
use crate::roster::{ModelFolder, Problem};
use crate::runtime::native::NativeRuntime;
use crate::runtime::supervise::Deadlines;
use crate::runtime::{Capabilities, Runtime};
use crate::store::ArtifactStore;
use crate::workspace::Workspace;
use desk::{Closed, Desk, Equipment};
use open::OpenCell;

mod desk;
mod locate;
pub(crate) mod minimal;
mod open;
mod peers;

/// What a gate's row puts to the test.
const GATE_SENTENCE: &str =
    "every file is the one that the golden was written for, the golden holds together, and the artifact loads without a warning";
/// What would refute it.
const GATE_REFUTED_BY: &str = "a missing, altered or unlisted file, a golden that contradicts itself, a refusal or a warning at loading";
/// What a conversion's row puts to the test.
const CONVERSION_SENTENCE: &str = "the model converts to the format and quantization and loads there, with no warning";
/// What would refute it.
const CONVERSION_REFUTED_BY: &str = "a refusal or a warning on the way";
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
    equipment: Arc<Equipment>,
    capabilities: Capabilities,
    cells: Vec<Arc<Cell>>,
    models: Vec<ModelFolder>,
    expectations: Expectations,
    line: Arc<Line>,
    run: Run,
    reproduce: Box<dyn Fn(&str) -> String + Send + Sync>,
    open: Mutex<HashMap<usize, Arc<OpenCell>>>,
    desks: Mutex<HashMap<String, Arc<Desk>>>,
    /// Rows still to come that share something.
    to_come: Mutex<BTreeMap<Shared, usize>>,
}

/// What judging a row leaves besides its verdict.
#[derive(Default)]
struct Notes {
    asked: Vec<String>,
    flags: Vec<String>,
    /// The smallest question that still shows it.
    minimal: Option<Minimal>,
}

/// What rows share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    Model(String),
    Cell(usize),
    Subject(usize, Subject),
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
            cells: matrix.cells.iter().cloned().map(Arc::new).collect(),
            equipment: Arc::new(Equipment {
                store: ArtifactStore::new(setup.workspace.out()),
                workspace: setup.workspace,
                runtime: setup.runtime,
                engine: Arc::new(NativeRuntime::new()),
                deadlines: setup.deadlines,
                tolerances: Tolerances::committed().map_err(|error| error.to_string()),
            }),
            models: setup.models,
            expectations: Expectations::default(),
            line: Arc::default(),
            run: setup.run,
            reproduce: setup.reproduce,
            open: Mutex::default(),
            desks: Mutex::default(),
            to_come: Mutex::default(),
        }
    }

    /// The same, where these failures are expected.
    #[must_use]
    pub fn expecting(mut self, expectations: Expectations) -> Self {
        self.expectations = expectations;
        self
    }

    /// The same, on a line that other laboratories stand on too.
    #[must_use]
    pub fn on(mut self, line: Arc<Line>) -> Self {
        self.line = line;
        self
    }

    /// Counts the rows that will be judged, so that what they share can be dropped with the last of them.
    pub fn expect<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) {
        let mut to_come = self.to_come.lock().unwrap_or_else(PoisonError::into_inner);
        for (cell, subject) in rows.into_iter().filter_map(|row| row.task.cell()) {
            for shared in self.shares(cell, subject) {
                *to_come.entry(shared).or_default() += 1;
            }
        }
    }

    /// What a row shares with others.
    fn shares(&self, cell: usize, subject: Subject) -> [Shared; 3] {
        [Shared::Subject(cell, shared(subject)), Shared::Cell(cell), Shared::Model(self.cells[cell].artifact.model.clone())]
    }

    /// Judges a row and writes its evidence.
    pub fn judge(&self, row: &Row) -> Record {
        let begin = Instant::now();
        let mut notes = Notes::default();
        let halted = self.line.stopped().map(|by| Verdict::error(ErrorKind::Gate, "a run that goes on", format!("{HALTED}{by}")));
        let is_halted = halted.is_some();
        let mut verdict = halted
            .map_or_else(|| guard::catch(|| self.verdict(row, &mut notes)), Ok)
            .unwrap_or_else(|panic| Verdict::error(ErrorKind::Crash, "a verdict", panic.to_string()).owned_by(Owner::Runtime));
        let mut gate = None;
        if let Some((cell, subject)) = row.task.cell() {
            // Asked while the cell is still open, so that the answer is there and not made again.
            if verdict.error == Some(ErrorKind::Gate) && row.not_tested.is_none() && !is_halted {
                let closed = guard::catch(|| self.golden(cell).err()).ok().flatten();
                gate = closed.map(|closed| Gate::of(&self.cells[cell].name, closed.kind));
            }
            self.done(cell, subject);
        }
        let (claim, sentence) = self.claim(row);
        if verdict.claim.is_empty() {
            verdict.claim = sentence;
        }
        let mut record = Record::of(self.run.id(), &row.name, &verdict);
        record.claim = claim;
        (record.asked, record.flags, record.minimal) = (notes.asked, notes.flags, notes.minimal);
        record.reproduce = (self.reproduce)(&row.name);
        record.duration_ms = begin.elapsed().as_secs_f64() * 1e3;
        self.place_in_matrix(row, &mut record);
        self.expectations.apply(gate.as_ref(), &mut record);
        if let Err(error) = self.run.write(&record) {
            record.verdict = "error".to_owned();
            record.error = Some("evidence".to_owned());
            record.observed = error;
            self.line.stop(format!("{}: {}", row.name, record.observed));
        }
        self.line.pass(&record);
        record
    }

    /// The folder that the evidence goes to.
    pub fn run(&self) -> &Run {
        &self.run
    }

    fn verdict(&self, row: &Row, notes: &mut Notes) -> Verdict {
        if let Some(reason) = &row.not_tested {
            return Verdict::error(ErrorKind::Gate, "a model to judge", reason.clone()).owned_by(Owner::File);
        }
        match &row.task {
            Task::Problem(problem) => problem_verdict(problem),
            Task::Gate { cell } => match self.golden(*cell) {
                Ok(golden) => gate_verdict(&golden.index, &self.cells[*cell]),
                Err(closed) => Verdict::error(closed.kind, "no complaint", closed.reason).owned_by(closed.owner),
            },
            Task::Conversion { cell } => self.conversion(*cell, notes),
            Task::List { cell } => self.behind_gate(*cell, |golden| Ok(self.listing(*cell, golden))),
            Task::Check { cell, check, subject } => self.behind_gate(*cell, |golden| self.check(*cell, check, *subject, golden, notes)),
        }
    }

    fn behind_gate(&self, cell: usize, judge: impl FnOnce(&Arc<ModelGolden>) -> Result<Verdict, String>) -> Verdict {
        match self.golden(cell) {
            Ok(golden) => {
                judge(&golden).unwrap_or_else(|reason| Verdict::error(ErrorKind::Golden, "a golden", reason).owned_by(Owner::Golden))
            }
            Err(closed) => behind(matrix::GATE, &closed.reason, closed.owner),
        }
    }

    /// The golden of a cell, through its gate.
    fn golden(&self, cell: usize) -> Result<Arc<ModelGolden>, Closed> {
        if let Some(reason) = &self.cells[cell].entry.refused {
            return Err(Closed { kind: ErrorKind::Gate, owner: Owner::File, reason: reason.clone() });
        }
        self.open(cell).gate()
    }

    fn open(&self, place: usize) -> Arc<OpenCell> {
        let cell = &self.cells[place];
        let desk = {
            let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
            let desk = desks.entry(cell.artifact.model.clone()).or_insert_with(|| Arc::new(Desk::new(&self.equipment, cell)));
            Arc::clone(desk)
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.entry(place).or_insert_with(|| Arc::new(OpenCell::new(&self.equipment, desk, cell))))
    }

    /// The row of F-G3: the model becomes this column and loads there.
    fn conversion(&self, place: usize, notes: &mut Notes) -> Verdict {
        if let Some(reason) = &self.cells[place].entry.refused {
            return behind(matrix::GATE, reason, Owner::File);
        }
        let open = self.open(place);
        if let Err(closed) = open.desk.golden() {
            return behind(matrix::GATE, &closed.reason, closed.owner);
        }
        let expected = "a conversion and a loading without a complaint";
        let begin = Instant::now();
        let made = open.made();
        notes.flags.extend(gate::slow_conversion(begin.elapsed()));
        match made.and_then(|made| open.loaded().map(|_| made)) {
            Ok(made) => {
                let stored = made.stored.as_ref();
                let (bytes, files) = stored.map_or((0, 0), |stored| (stored.bytes, stored.n_files));
                let notes = stored.map(|stored| stored.notes.join("; ")).filter(|notes| !notes.is_empty());
                let notes = notes.map(|notes| format!("; {notes}")).unwrap_or_default();
                Verdict::corroborated(files, expected, format!("{bytes} bytes in {files} files, loaded{notes}"))
            }
            Err(closed) => match closed.kind {
                ErrorKind::Refused => Verdict::falsified(expected, closed.reason).owned_by(closed.owner),
                kind => Verdict::error(kind, expected, closed.reason).owned_by(closed.owner),
            },
        }
    }

    fn check(
        &self,
        cell: usize,
        check: &'static Check,
        subject: Subject,
        golden: &Arc<ModelGolden>,
        notes: &mut Notes,
    ) -> Result<Verdict, String> {
        let open = self.open(cell);
        let (sharing, of_cell) = (open.subject(shared(subject)), open.subject(Subject::Cell));
        let tolerances = self.equipment.tolerances.as_ref().map_err(String::clone)?;
        let (mut prompt, mut source) = (None, None);
        if let Subject::Prompt(i) = subject {
            source = Some(open.source(i)?);
            // A check that needs no golden of exactly these values needs ids, and any prompt has those.
            prompt = open.of_values(i)?.or_else(|| source.clone());
        }
        let perplexity = match subject {
            Subject::Text(i) => Some(golden.perplexity.get(i).ok_or("a text that the golden does not hold")?),
            Subject::Cell | Subject::Prompt(_) | Subject::Style(_) => None,
        };
        let style = if let Subject::Style(i) = subject { Some(i) } else { None };
        let all = Self::sources(&open, check, golden)?;
        let sources: Vec<&PromptGolden> = all.iter().map(Arc::as_ref).collect();
        let llama_cpp = open.llama_cpp()?;
        let case = Case {
            model: golden,
            form: &open.cell.form,
            peers: open.as_ref(),
            prompt: prompt.as_deref(),
            source: source.as_deref(),
            sources: &sources,
            perplexity,
            style,
            dequantized: open.cell.scope().dequantized,
            llama_cpp: llama_cpp.as_deref(),
            tolerances: tolerances.of(&open.cell.runtime, open.cell.arithmetic, &open.cell.form),
        };
        let sessions = open.loaded().map_err(|closed| closed.reason)?;
        let observer = Observer::new(&sessions, &sharing.memory).with_artifact(&of_cell.memory);
        let mut verdict = check.judge(&case, &observer);
        notes.asked = observer.asked();
        notes.flags.extend(gate::slow_answer(observer.longest()));
        notes.flags.extend(perplexity.and_then(|published| gate::perplexity(published, &verdict)));
        if verdict.outcome == Outcome::Falsified && check.claim == locate::CLAIM {
            // What is found out beside the verdict may fail without a word: the verdict stands as it is.
            let sketches = self.capabilities.declares_ops(&[Op::Sketch]);
            let located = guard::catch(|| open.located(&case, &observer, sketches)).ok().flatten();
            notes.minimal = guard::catch(|| locate::minimal(&case, &observer, &sessions)).ok().flatten();
            if let Some(located) = located.filter(|_| verdict.place.stage.is_none()) {
                located.tell(&mut verdict);
            }
        }
        Ok(verdict)
    }

    /// The goldens of the model as published that a check over all of them is given; none for any other.
    fn sources(open: &OpenCell, check: &Check, golden: &ModelGolden) -> Result<Vec<Arc<PromptGolden>>, String> {
        let Per::Sources(applies) = check.per else { return Ok(Vec::new()) };
        let scope = open.cell.scope();
        let places = (0..golden.index.prompts.len()).filter(|i| applies(&scope, &golden.index.prompts[*i]));
        places.map(|place| open.source(place)).collect()
    }

    fn listing(&self, cell: usize, golden: &ModelGolden) -> Verdict {
        let index = &golden.index;
        let wanted = format!("one `{}`, {}, {}", index.model, index.architecture, index.dtype);
        let listed = list::list(&self.equipment.workspace, &self.models);
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
        let mut finished = Vec::new();
        for shared in self.shares(cell, subject) {
            if let Some(left) = to_come.get_mut(&shared) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    finished.push(shared);
                }
            }
        }
        drop(to_come);
        for shared in finished {
            match shared {
                Shared::Model(model) => drop(self.desks.lock().unwrap_or_else(PoisonError::into_inner).remove(&model)),
                Shared::Cell(cell) => drop(self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&cell)),
                Shared::Subject(cell, subject) => {
                    let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&cell).cloned();
                    if let Some(open) = open {
                        open.forget(subject);
                    }
                }
            }
        }
    }

    fn claim(&self, row: &Row) -> (Claim, &'static str) {
        let (id, sentence, refuted_by) = match &row.task {
            Task::Problem(_) => ("matrix", MATRIX_SENTENCE, "anything named there that cannot be"),
            Task::Gate { .. } => (matrix::GATE, GATE_SENTENCE, GATE_REFUTED_BY),
            Task::Conversion { .. } => (matrix::CONVERSION, CONVERSION_SENTENCE, CONVERSION_REFUTED_BY),
            Task::List { .. } => (matrix::LIST, LIST_SENTENCE, LIST_REFUTED_BY),
            Task::Check { check, .. } => (check.claim, check.sentence, check.refuted_by),
        };
        let claim = Claim { id: id.to_owned(), sentence: sentence.to_owned(), refuted_by: refuted_by.to_owned() };
        (claim, sentence)
    }

    /// The entries of `tolerances.toml` that a check holds this cell to: the key, or what overrides it for the runtime.
    fn entries(&self, cell: &Cell, check: &Check) -> Vec<String> {
        let keys = check.bounds_in(cell.arithmetic);
        match &self.equipment.tolerances {
            Ok(tolerances) => {
                let bounds = tolerances.of(&cell.runtime, cell.arithmetic, &cell.form);
                keys.into_iter().map(|key| bounds.entry(key)).collect()
            }
            Err(_) => keys.into_iter().map(str::to_owned).collect(),
        }
    }

    fn place_in_matrix(&self, row: &Row, record: &mut Record) {
        record.versions.runtime = format!("{} {}", self.capabilities.name, self.capabilities.version);
        let Some((cell, subject)) = row.task.cell() else {
            return;
        };
        let Cell { artifact, entry, runtime, .. } = self.cells[cell].as_ref();
        let index = &entry.golden.index;
        record.versions.oracle = index.oracle.versions.clone();
        let check = match &row.task {
            Task::Check { check, .. } => {
                record.bounds = self.entries(&self.cells[cell], check);
                check.id
            }
            Task::Conversion { .. } => matrix::CONVERSION,
            Task::List { .. } => matrix::LIST,
            Task::Gate { .. } | Task::Problem(_) => matrix::GATE,
        };
        let prompt = match subject {
            Subject::Cell => None,
            Subject::Prompt(i) => index.prompts.get(i).map(|prompt| prompt.name.clone()),
            Subject::Text(i) => index.perplexity.get(i).map(|file| matrix::text_name(file).to_owned()),
            Subject::Style(i) => Some(self.cells[cell].style_name(i).to_owned()),
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

/// The verdict of a row that was not judged because something before it failed.
fn behind(gate: &str, reason: &str, owner: Owner) -> Verdict {
    let observed = format!("gate {gate} failed: {}", report::shorten(reason, BRIEFLY));
    Verdict::error(ErrorKind::Gate, "an open gate", observed).owned_by(owner)
}

/// The verdict of an open gate.
fn gate_verdict(index: &Index, cell: &Cell) -> Verdict {
    let tensors = index.tensors.len();
    if cell.entry.self_reference.is_some() {
        return Verdict::corroborated(tensors, "no complaint", format!("the artifact loads, {tensors} tensors; {UNVOUCHED}"));
    }
    let beside = cell.dequantized.as_ref().map_or(0, |golden| golden.index.files.len())
        + cell.llama_cpp.as_ref().map_or(0, |golden| golden.index.files.len());
    let files = index.golden_files.len() + index.model_files.len() + beside;
    Verdict::corroborated(files, "no complaint", format!("{files} files verified, the artifact loads, {tensors} tensors"))
}

/// Whose observations a row shares. Rows about a text share those of the cell, which has a check about the same texts.
fn shared(subject: Subject) -> Subject {
    match subject {
        Subject::Prompt(_) | Subject::Style(_) => subject,
        Subject::Cell | Subject::Text(_) => Subject::Cell,
    }
}

fn problem_verdict(problem: &Problem) -> Verdict {
    let owner = if problem.subject.starts_with("golden") { Owner::Golden } else { Owner::File };
    Verdict::error(ErrorKind::Golden, problem.expected.clone(), problem.observed.clone()).owned_by(owner)
}

/// Why rows are not judged, with their number.
pub fn not_tested(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for reason in rows.iter().filter_map(|row| row.not_tested.as_deref()) {
        *reasons.entry(escape::line(reason)).or_default() += 1;
    }
    reasons
}
