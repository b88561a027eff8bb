//! Which trials there are, and what they share.
//!
//! Benches are taken four at a time and their trials interleaved: two threads that worked on one bench would wait for each other's
//! observations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use ground_truth_falsification::check::{self, Breadth, Check, Per};
use ground_truth_falsification::defect::{self, Defect, Kind};
use ground_truth_falsification::golden::Index;
use ground_truth_falsification::observation::Op;

use super::bed::Bed;
use super::bench::{Bench, Plant};
use super::generated;
use super::table::{Entry, Key, Table};
use crate::column::{self, Column};
use crate::defect::planted;
use crate::golden_store::GoldenStore;
use crate::matrix;
use crate::roster::Roster;
use crate::runtime::{Artifact, Format};
use crate::workspace::Workspace;

/// Where the records lie, under the root of the workspace.
const RECORDS: &str = "falsification/defects.toml";

/// Benches that are open at the same time.
const OPEN: usize = 4;

/// One trial. Numbers are places in the plan.
#[derive(Debug, Clone, Copy)]
pub enum Task {
    /// A check on a defect.
    Check { bench: usize, check: usize },
    /// A check on the unbroken model.
    Control { bench: usize, check: usize },
    /// Loading a defect that must be refused.
    Refusal { bench: usize },
    /// How far a defect moves the logits.
    Effect { bench: usize },
    /// What zeroing a tensor does.
    Alive { bed: usize, tensor: usize },
    /// A record against the table.
    Record { defect: usize },
    /// A check against the table.
    Proof { check: usize },
    /// The weakest kill of a check.
    Separation { check: usize },
    /// The table against the plan.
    Complete,
    /// What the rules of other tools do, against what is published.
    Rules,
    /// What becomes of drawn defects, against what is published.
    Generated,
}

impl Task {
    /// Whether it takes minutes: such a test is run when it is asked for.
    pub fn is_long(self) -> bool {
        matches!(self, Task::Rules | Task::Generated)
    }
}

/// Every trial.
pub struct Plan {
    /// The carried models.
    pub beds: Vec<Arc<Bed>>,
    /// The records.
    pub defects: &'static [Defect],
    /// Each defect at each strength in each model, then the controls.
    pub benches: Vec<Bench>,
    /// Checks that apply to some carried model, in the order of the catalogue.
    pub catalogue: Vec<&'static Check>,
    /// The trials in the order in which they run, with their names.
    pub tasks: Vec<(String, Task)>,
}

/// Whether a check reads a whole text, or has one of 200 tokens written: each costs as much as ten others.
fn is_about_a_text(check: &Check) -> bool {
    check.id == "PUBLISHED" || check.needs.contains(&Op::Tokenize) && check.needs.contains(&Op::Logits)
}

/// Whether a check makes other artifacts out of the one that it judges.
fn is_about_conversions(check: &Check) -> bool {
    ["F-P1", "F-P5", "INV-convert", "ROUNDTRIP"].contains(&check.id)
}

/// Whether a check is about conversations, which nothing else that is asked shows: it is tried only on the defects that name it.
fn is_about_conversations(check: &Check) -> bool {
    matches!(check.per, Per::Chat(_))
}

/// Claims that hold a runtime against itself, and the context limit: a defect of an artifact does not touch them, and the suite would spend
/// most of its time on them. On each artifact defect they are tried in one model, the smallest that it applies to, and on one prompt.
const AGAINST_ITSELF: [&str; 4] = ["F-P3", "INV", "F-E2", "F-E5"];

/// Whether a check is one of those.
pub(super) fn holds_a_runtime_against_itself(check: &Check) -> bool {
    AGAINST_ITSELF.contains(&check.claim)
}

/// Checks that an artifact or a file cannot change, or that feed it hundreds of ids to find what others find with ten: on their defects they are
/// tried where a record names them.
fn is_about_the_runtime(check: &Check) -> bool {
    check.breadth == Breadth::Once || check.id.starts_with("F-E2-lengths")
}

/// The part of a name that stands for a defect at a strength.
fn strength_name(id: &str, strength: Option<f64>) -> String {
    strength.map_or_else(|| id.to_owned(), |strength| format!("{id}@{strength}"))
}

impl Plan {
    /// Lists everything; nothing is read but indexes.
    pub fn new(workspace: &Workspace, roster: &Roster) -> Result<Self, String> {
        let defects = records(workspace)?;
        let beds = beds(workspace, roster);
        let planted = planted(defects)?;
        let mut benches = Vec::new();
        for bed in &beds {
            let applicable = applicable(bed);
            let light: Vec<_> = applicable.iter().copied().filter(|check| !is_about_a_text(check)).collect();
            let here = |record: &Defect| record.applies_to(&bed.index.architecture) && record.is_for(&bed.form);
            for planted in planted.iter().filter(|planted| here(planted.record)) {
                let record = planted.record;
                let smaller = |other: &&Arc<Bed>| other.size() < bed.size() && record.applies_to(&other.index.architecture);
                let named = |check: &&&'static Check| record.kills.iter().chain(&record.spares).any(|id| id == check.id);
                let mut checks = light.clone();
                if record.kind == Kind::Artifact && beds.iter().any(|other| smaller(&other)) {
                    checks.retain(|check| !holds_a_runtime_against_itself(check));
                }
                checks.extend(applicable.iter().filter(|check| is_about_a_text(check)).filter(named));
                checks.retain(|check| !is_about_conversions(check) && !is_about_conversations(check) || named(&check));
                checks.retain(|check| record.kind == Kind::Runtime || !is_about_the_runtime(check) || named(&check));
                // What looks at neither the file nor its values is the same code in every column.
                let looks = |check: &Check| check.needs.iter().any(|op| matches!(op, Op::Container | Op::Weights));
                checks.retain(|check| bed.form.primary || looks(check) || named(&check));
                checks.sort_by_key(|check| applicable.iter().position(|other| other.id == check.id));
                if record.refused.is_some() {
                    checks.clear();
                }
                let strengths: Vec<Option<f64>> =
                    if record.strengths.is_empty() { vec![None] } else { record.strengths.iter().copied().map(Some).collect() };
                for strength in strengths {
                    let key = (strength_name(&record.id, strength), bed.name.clone());
                    let plant = Plant::Defect(planted.make, strength.unwrap_or(1.0));
                    benches.push(Bench::new(key, bed, plant, Some(record), &checks));
                }
            }
            let layered = if beds.iter().any(|other| other.size() < bed.size()) { &light } else { &applicable };
            let controls = [("control", Plant::Control, &applicable), ("control-layered", Plant::Layered, layered)];
            for (name, plant, checks) in controls.into_iter().take(if bed.form.primary { 2 } else { 1 }) {
                benches.push(Bench::new((name.to_owned(), bed.name.clone()), bed, plant, None, checks));
            }
        }
        let catalogue = check::all().iter().filter(|check| beds.iter().any(|bed| applies(check, bed))).collect();
        let mut plan = Plan { beds, defects, benches, catalogue, tasks: Vec::new() };
        plan.list();
        Ok(plan)
    }

    fn list(&mut self) {
        let places: Vec<usize> = (0..self.benches.len()).collect();
        let mut tasks = Vec::new();
        for group in places.chunks(OPEN) {
            let most = group.iter().map(|bench| self.benches[*bench].checks.len()).max().unwrap_or(0);
            for &bench in group {
                let (id, model) = &self.benches[bench].key;
                let record = self.benches[bench].record;
                if record.is_some_and(|record| record.refused.is_some()) {
                    tasks.push((format!("{id}::{}::{model}", matrix::GATE), Task::Refusal { bench }));
                } else if record.is_some_and(|record| record.kind == Kind::Artifact) {
                    tasks.push((format!("effect::{id}::{model}"), Task::Effect { bench }));
                }
            }
            for check in 0..most {
                for &bench in group.iter().filter(|bench| check < self.benches[**bench].checks.len()) {
                    let (id, model) = &self.benches[bench].key;
                    let name = format!("{id}::{}::{model}", self.benches[bench].checks[check].0.id);
                    let control = self.benches[bench].record.is_none();
                    tasks.push((name, if control { Task::Control { bench, check } } else { Task::Check { bench, check } }));
                }
            }
        }
        for (bed, of) in self.beds.iter().enumerate().filter(|(_, of)| of.form.primary) {
            let tensors = of.index.tensors.iter().enumerate();
            tasks.extend(tensors.map(|(tensor, entry)| (format!("alive::{}::{}", entry.name, of.name), Task::Alive { bed, tensor })));
        }
        tasks.extend(self.defects.iter().enumerate().map(|(defect, record)| (format!("record::{}", record.id), Task::Record { defect })));
        for (check, of) in self.catalogue.iter().enumerate() {
            tasks.push((format!("proof::{}", of.id), Task::Proof { check }));
            if !of.is_exact() {
                tasks.push((format!("separation::{}", of.id), Task::Separation { check }));
            }
        }
        tasks.push(("table::complete".to_owned(), Task::Complete));
        tasks.push(("rules::all".to_owned(), Task::Rules));
        tasks.push((format!("generated::{}", generated::SEED), Task::Generated));
        self.tasks = tasks;
    }

    /// The plan of this repository, whatever the variables say.
    #[cfg(test)]
    pub fn carried() -> Self {
        let workspace = Workspace::from_env();
        Self::new(&workspace, &Roster::read(&workspace, &crate::roster::Settings::default())).unwrap()
    }

    /// The bench of a trial.
    pub fn bench(&self, task: Task) -> Option<&Bench> {
        match task {
            Task::Check { bench, .. } | Task::Control { bench, .. } | Task::Refusal { bench } | Task::Effect { bench } => {
                self.benches.get(bench)
            }
            _ => None,
        }
    }

    /// The model of a trial.
    pub fn bed(&self, task: Task) -> Option<&Bed> {
        match task {
            Task::Alive { bed, .. } => self.beds.get(bed).map(Arc::as_ref),
            _ => self.bench(task).map(|bench| bench.bed.as_ref()),
        }
    }

    /// The check of a trial.
    pub fn check(&self, task: Task) -> Option<&'static str> {
        match task {
            Task::Check { bench, check } | Task::Control { bench, check } => Some(self.benches.get(bench)?.checks.get(check)?.0.id),
            Task::Proof { check } | Task::Separation { check } => Some(self.catalogue.get(check)?.id),
            _ => None,
        }
    }

    /// The benches of one defect.
    pub fn benches_of(&self, id: &str) -> impl Iterator<Item = &Bench> {
        self.benches.iter().filter(move |bench| bench.record.is_some_and(|record| record.id == id))
    }

    /// The entries that the table must have: defects in the order of their records, then models. What must be refused has none.
    pub fn keys(&self) -> Vec<Key> {
        let order: BTreeMap<&str, usize> = self.defects.iter().enumerate().map(|(i, defect)| (defect.id.as_str(), i)).collect();
        let mut benches: Vec<&Bench> =
            self.benches.iter().filter(|bench| bench.record.is_some_and(|record| record.refused.is_none())).collect();
        benches.sort_by_key(|bench| bench.record.map(|record| order[record.id.as_str()]));
        benches.into_iter().map(|bench| bench.key.clone()).collect()
    }

    /// The checks that are tried, by entry.
    pub fn tried(&self) -> BTreeMap<Key, BTreeSet<&'static str>> {
        let checks = |bench: &Bench| bench.checks.iter().map(|(check, _)| check.id).collect();
        self.benches.iter().map(|bench| (bench.key.clone(), checks(bench))).collect()
    }

    /// The ids of the checks, in the order of the catalogue.
    pub fn checks(&self) -> Vec<&'static str> {
        self.catalogue.iter().map(|check| check.id).collect()
    }

    /// The checks that judge a defect which no record names: all but those that are tried only where they are named.
    pub fn checks_for_a_stranger(&self, bed: &Bed) -> Vec<&'static Check> {
        let idle: [fn(&Check) -> bool; 4] =
            [is_about_conversions, is_about_conversations, is_about_the_runtime, holds_a_runtime_against_itself];
        let mut checks: Vec<&'static Check> = applicable(bed).into_iter().filter(|check| !idle.iter().any(|idle| idle(check))).collect();
        // The first that kills decides: most draws are seen in the logits, and a whole text is read where nothing else saw anything.
        checks.sort_by_key(|check| (is_about_a_text(check), check.claim != "F-G4"));
        checks
    }

    /// What the benches have found so far.
    pub fn found(&self) -> Table {
        let mut table = Table::default();
        for bench in self.benches.iter().filter(|bench| bench.record.is_some()) {
            let mut entry = Entry { effect: bench.seen_effect(), ..Entry::default() };
            for (check, judged) in &bench.checks {
                if let Some(Ok(judged)) = judged.get() {
                    entry.found.insert(check.id.to_owned(), judged.found.clone());
                }
            }
            if entry != Entry::default() {
                table.entries.insert(bench.key.clone(), entry);
            }
        }
        table
    }
}

fn applies(check: &Check, bed: &Bed) -> bool {
    if check.breadth == Breadth::Published && !bed.form.primary {
        return false;
    }
    if check.breadth == Breadth::Once && !(bed.form.primary && bed.index.model == WITH_COLUMNS) {
        return false;
    }
    match check.per {
        Per::Cell(applies) => applies(&bed.scope()),
        // What is judged against the golden of the values themselves is the same code in every column; F-G4 is tried there all the same, on
        // the defects that name it.
        Per::Prompt(_) if !bed.form.primary && check.id != "ROUNDTRIP" && !(check.claim == "F-G4" && bed.has_values()) => false,
        Per::Prompt(_) | Per::Source(_) | Per::Sources(_) => !bed.prompts_of(check).is_empty(),
        Per::Chat(_) => !bed.styles_of(check).is_empty(),
        Per::Perplexity(applies) => bed.index.perplexity.iter().any(|file| applies(&bed.scope(), matrix::text_name(file))),
    }
}

fn applicable(bed: &Bed) -> Vec<&'static Check> {
    check::all().iter().filter(|check| applies(check, bed)).collect()
}

/// The records, read once for the whole run.
fn records(workspace: &Workspace) -> Result<&'static [Defect], String> {
    let text = std::fs::read_to_string(workspace.root().join(RECORDS)).map_err(|error| format!("{RECORDS}: {error}"))?;
    let records = defect::parse(&text).map_err(|error| error.to_string())?;
    Ok(Vec::leak(records))
}

/// The model that is tried in columns too: the smallest.
const WITH_COLUMNS: &str = "llama-tiny";

/// The columns: one of each kind of grid, in both formats.
const COLUMNS: [(Format, &str); 6] = [
    (Format::Gguf, "f32"),
    (Format::Gguf, "f16"),
    (Format::Gguf, "q8_0"),
    (Format::Gguf, "q4_0"),
    (Format::Gguf, "q4_k_m"),
    (Format::Apr, "q4"),
];

/// The carried models that have a golden and were trained here: `llama-outlier` is the function of `llama-tiny` at other scales, and would
/// show every defect a second time.
fn beds(workspace: &Workspace, roster: &Roster) -> Vec<Arc<Bed>> {
    beds_in(workspace, roster, |index| if index.model == WITH_COLUMNS { COLUMNS.to_vec() } else { Vec::new() })
}

/// The same models in every column of the matrix, each model as published among them.
pub fn columns(workspace: &Workspace, roster: &Roster) -> Vec<Arc<Bed>> {
    beds_in(workspace, roster, |index| {
        let made = Column::all().filter(|column| !column.is_published(index) && column::not_applicable(index, *column).is_none());
        made.map(|column| (column.format, column.quantization)).collect()
    })
}

fn beds_in(workspace: &Workspace, roster: &Roster, columns: impl Fn(&Index) -> Vec<(Format, &'static str)>) -> Vec<Arc<Bed>> {
    let mut beds = Vec::new();
    for entry in &roster.entries {
        let Some(model) = entry.model.as_ref().filter(|model| model.carried && entry.refused.is_none()) else { continue };
        let index = &entry.golden.index;
        if !index.trained_by_us {
            continue;
        }
        let path: PathBuf = model.path.clone();
        let store = GoldenStore::new(workspace, &entry.golden, &path);
        let quantization = index.dtype.to_ascii_lowercase();
        let artifact = Artifact { model: index.model.clone(), format: Format::Safetensors, quantization, path: path.clone() };
        for column in columns(index) {
            let store = GoldenStore::new(workspace, &entry.golden, &path);
            beds.push(Arc::new(Bed::converted(Arc::clone(index), store, artifact.clone(), column, &entry.golden.beside)));
        }
        beds.push(Arc::new(Bed::new(Arc::clone(index), store, artifact)));
    }
    beds
}
