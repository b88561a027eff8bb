//! Red rows by what they have in common: one fingerprint, one ticket.
//!
//! A wrong kernel turns hundreds of rows red, and they are one thing to mend. Rows are together where their claim, their owner and their
//! stage are. Rows about values take owner and stage from the [`diagnosis`](mod@crate::diagnosis) of their cell, which looks at all of its rows;
//! the others keep what their check said. Rows behind a red gate belong to the gate.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::diagnosis::{self, Diagnosis};
use crate::escape;
use crate::evidence::Record;
use crate::matrix::{CONVERSION, GATE};
use crate::report;

/// Owners that a check names when all it has is a wrong value.
const OF_VALUES: [&str; 3] = ["kernel", "file", "runtime"];

/// What red rows have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The claim that is refuted or not judged.
    pub claim: String,
    /// Who most likely has to act.
    pub owner: String,
    /// The first stage that differs.
    pub stage: Option<String>,
}

impl Fingerprint {
    /// Eight digits that stay the same from run to run, so that a ticket that was filed is found again.
    pub fn id(&self) -> String {
        let text = [self.claim.as_str(), &self.owner, self.stage.as_deref().unwrap_or("")].join("\n");
        escape::hex(&Sha256::digest(text.as_bytes()))[..8].to_owned()
    }
}

/// The red rows of one fingerprint.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// What they have in common.
    pub fingerprint: Fingerprint,
    /// The rows, by name.
    pub records: Vec<&'a Record>,
    /// Rows that were not judged because one of these is a red gate.
    pub behind: Vec<&'a Record>,
    /// What their cells show together, by cell.
    pub diagnoses: BTreeMap<String, Diagnosis>,
}

/// The name of a row's cell, `model::format::quantization::runtime`; none for a row about the lists.
pub fn cell_of(record: &Record) -> Option<String> {
    record.axes.as_ref()?;
    let parts: Vec<&str> = record.name.splitn(5, "::").collect();
    parts.get(..4).map(|cell| cell.join("::"))
}

/// Groups what is red: lists and gates first, then by how many rows there are, then by fingerprint.
pub fn groups(records: &[Record]) -> Vec<Group<'_>> {
    let diagnoses = diagnoses(records);
    let sources = sources(records);
    let mut groups: BTreeMap<Fingerprint, Group> = BTreeMap::new();
    let mut gates: BTreeMap<String, Fingerprint> = BTreeMap::new();
    let red = || records.iter().filter(|record| record.is_red());
    for record in red().filter(|record| !record.behind_gate) {
        let cell = cell_of(record);
        let diagnosis = cell.as_ref().and_then(|cell| diagnoses.get(cell));
        let source = record.axes.as_ref().and_then(|axes| sources.get(axes.model.as_str()).copied());
        let fingerprint = fingerprint(record, diagnosis, source);
        if let (Some(cell), true) = (&cell, is_gate(record)) {
            // Where both are red, nothing stands on the conversion alone.
            let first = record.axes.as_ref().is_some_and(|axes| axes.check == GATE);
            if first || !gates.contains_key(cell) {
                gates.insert(cell.clone(), fingerprint.clone());
            }
        }
        let group = groups.entry(fingerprint.clone()).or_insert_with(|| Group::new(fingerprint));
        group.records.push(record);
        if let (Some(cell), Some(diagnosis)) = (cell, diagnosis) {
            group.diagnoses.entry(cell).or_insert_with(|| diagnosis.clone());
        }
    }
    // Rows that a halt left out are not judged and have no ticket, unless what halted the run left no record.
    let is_told = !groups.is_empty();
    for record in red().filter(|record| record.behind_gate && !(record.is_halted() && is_told)) {
        let cell = cell_of(record).unwrap_or_default();
        match gates.get(&cell).and_then(|gate| groups.get_mut(gate)) {
            Some(gate) => gate.behind.push(record),
            // The gate itself was filtered out of the run: the first row behind it tells its story.
            None => {
                let fingerprint = Fingerprint { claim: GATE.to_owned(), owner: record.owner.clone(), stage: None };
                let group = groups.entry(fingerprint.clone()).or_insert_with(|| Group::new(fingerprint));
                let is_first = group.records.iter().all(|other| cell_of(other).as_ref() != Some(&cell));
                if is_first { group.records.push(record) } else { group.behind.push(record) }
            }
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    let rank = |group: &Group| match group.records.first() {
        Some(record) if record.axes.is_none() => 0,
        Some(record) if is_gate(record) => 1,
        _ => 2,
    };
    groups.sort_by(|a, b| (rank(a), b.rows(), &a.fingerprint).cmp(&(rank(b), a.rows(), &b.fingerprint)));
    groups
}

impl<'a> Group<'a> {
    fn new(fingerprint: Fingerprint) -> Self {
        Self { fingerprint, records: Vec::new(), behind: Vec::new(), diagnoses: BTreeMap::new() }
    }

    fn rows(&self) -> usize {
        self.records.len() + self.behind.len()
    }

    /// The row to show: of those that name the stage, or else of all, the one that breaks its bound by most; without bounds, the first.
    pub fn worst(&self) -> Option<&'a Record> {
        let names_it = |record: &&&Record| self.fingerprint.stage.is_some() && record.place.stage == self.fingerprint.stage;
        let any_names_it = self.records.iter().any(|record| names_it(&record));
        let mut worst: Option<(f64, &Record)> = None;
        for record in self.records.iter().filter(|record| !any_names_it || names_it(record)) {
            let excess = excess(record);
            if worst.is_none_or(|(most, _)| excess.total_cmp(&most).is_gt()) {
                worst = Some((excess, record));
            }
        }
        worst.map(|(_, record)| record)
    }
}

/// How many times past its bound the worst number of a row is; 0 without one, infinite where it is no number.
pub fn excess(record: &Record) -> f64 {
    let times = |observed: f64, bound: f64| {
        if observed <= bound {
            0.0
        } else if (observed / bound).is_nan() || bound <= 0.0 {
            f64::INFINITY
        } else {
            observed / bound
        }
    };
    record
        .measures
        .iter()
        .filter_map(|number| Some(times(number.observed, number.bound?)))
        .fold(0.0, |most, times| if times > most { times } else { most })
}

fn is_gate(record: &Record) -> bool {
    record.axes.as_ref().is_some_and(|axes| [GATE, CONVERSION].contains(&axes.check.as_str()))
}

/// The red gate of each model's own folder, as opposed to what it was converted to: what is wrong there is wrong in every column.
fn sources(records: &[Record]) -> BTreeMap<&str, &Record> {
    let has = |check: &'static str| move |record: &&Record| record.axes.as_ref().is_some_and(|axes| axes.check == check);
    let converted: BTreeSet<String> = records.iter().filter(has(CONVERSION)).filter_map(cell_of).collect();
    let own = records.iter().filter(has(GATE)).filter(|record| record.is_red() && !record.behind_gate);
    let own = own.filter(|record| cell_of(record).is_some_and(|cell| !converted.contains(&cell)));
    own.filter_map(|record| Some((record.axes.as_ref()?.model.as_str(), record))).collect()
}

fn fingerprint(record: &Record, diagnosis: Option<&Diagnosis>, source: Option<&Record>) -> Fingerprint {
    let claim = record.claim.id.clone();
    if let (true, Some(source)) = (is_gate(record), source) {
        return Fingerprint { claim, owner: source.owner.clone(), stage: None };
    }
    if let (true, Some(diagnosis)) = (is_gate(record), diagnosis.filter(|diagnosis| !diagnosis.owner.is_empty())) {
        // What a gate says names the file that it is closed over, and so who has to act.
        return Fingerprint { claim, owner: diagnosis.owner.clone(), stage: None };
    }
    if record.axes.is_none() && record.place.stage.is_none() {
        // A row about no cell, a problem of the lists or a mutant that survived, shares nothing with the next one but its claim.
        return Fingerprint { claim, owner: record.owner.clone(), stage: Some(record.name.clone()) };
    }
    let whose = diagnosis.filter(|diagnosis| {
        record.is_falsified()
            && OF_VALUES.contains(&record.owner.as_str())
            && !["", "tokenizer", "golden"].contains(&diagnosis.owner.as_str())
    });
    match whose {
        Some(diagnosis) => Fingerprint { claim, owner: diagnosis.owner.clone(), stage: diagnosis.stage.clone() },
        None => Fingerprint { claim, owner: record.owner.clone(), stage: record.place.stage.clone() },
    }
}

/// What the rows of every cell with a red row show together.
fn diagnoses(records: &[Record]) -> BTreeMap<String, Diagnosis> {
    let mut cells: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    let mut models: BTreeMap<&str, Vec<(&Record, String)>> = BTreeMap::new();
    for record in records {
        let (Some(cell), Some(axes)) = (cell_of(record), &record.axes) else { continue };
        models.entry(&axes.model).or_default().push((record, cell.clone()));
        cells.entry(cell).or_default().push(record);
    }
    let red: BTreeSet<&String> =
        cells.iter().filter(|(_, records)| records.iter().any(|record| record.is_red())).map(|(cell, _)| cell).collect();
    let mut diagnoses = BTreeMap::new();
    for cell in red {
        let of_cell = &cells[cell];
        let model = of_cell.first().and_then(|record| record.axes.as_ref()).map_or("", |axes| axes.model.as_str());
        let of_model = models.get(model).map_or(&[][..], Vec::as_slice);
        let siblings: Vec<&Record> = of_model.iter().filter(|(_, other)| other != cell).map(|(record, _)| *record).collect();
        diagnoses.insert(cell.clone(), diagnosis::of_cell(of_cell, &siblings));
    }
    let located: Vec<(String, String)> =
        diagnoses.iter().filter_map(|(cell, diagnosis)| Some((cell.clone(), diagnosis.stage.clone()?))).collect();
    for (cell, diagnosis) in diagnoses.iter_mut().filter(|(_, diagnosis)| diagnosis.stage.is_none()) {
        diagnosis.stage = stage_of_siblings(cell, &located);
        if let Some(stage) = &diagnosis.stage {
            diagnosis.why.push(format!("no row of this cell looks at stages, and the model's other cells all leave the oracle at {stage}"));
        }
    }
    diagnoses
}

/// The stage at which every cell of the same model and runtime that has one differs: a cell whose type is rounded has no rows about stages,
/// and what is wrong in all forms of a model is wrong there too.
fn stage_of_siblings(cell: &str, located: &[(String, String)]) -> Option<String> {
    let whose = |cell: &str| (cell.split("::").next().map(str::to_owned), cell.split("::").nth(3).map(str::to_owned));
    let stages: BTreeSet<&String> = located.iter().filter(|(other, _)| whose(other) == whose(cell)).map(|(_, stage)| stage).collect();
    stages.first().filter(|_| stages.len() == 1).map(|stage| (*stage).clone())
}

/// Cells in which checks were judged, apart by whether they fail there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contrast {
    /// Cells with a red row.
    pub failing: Vec<Failing>,
    /// Cells without, with how many rows were judged there.
    pub passing: Vec<(String, usize)>,
    /// What sets the first apart from the second, in sentences.
    pub apart: Vec<String>,
}

/// A cell that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failing {
    /// Its name; of a row about the lists, the row's.
    pub cell: String,
    /// How many of the rows are red.
    pub red: usize,
    /// How many rows of the same checks were judged.
    pub rows: usize,
    /// What the worst of them found.
    pub found: String,
}

/// Where the checks of a group fail and where the same checks pass. Cells in which they were not judged are in neither.
pub fn contrast(group: &Group, records: &[Record]) -> Contrast {
    let check = |record: &Record| record.axes.as_ref().map(|axes| axes.check.clone());
    let checks: BTreeSet<String> = group.records.iter().filter_map(|record| check(record)).collect();
    let names: BTreeSet<&str> = group.records.iter().map(|record| record.name.as_str()).collect();
    let mut cells: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for record in records.iter().filter(|record| !record.behind_gate || names.contains(record.name.as_str())) {
        let Some(cell) = cell_of(record).filter(|_| check(record).is_some_and(|check| checks.contains(&check))) else { continue };
        let (red, all) = cells.entry(cell).or_default();
        *red += usize::from(names.contains(record.name.as_str()));
        *all += 1;
    }
    // A cell that fails in another way is no sibling that passes.
    let elsewhere: BTreeSet<String> = records
        .iter()
        .filter(|record| !record.is_green() && check(record).is_some_and(|check| checks.contains(&check)))
        .filter_map(cell_of)
        .collect();
    let mut contrast = Contrast::default();
    for (cell, (red, all)) in cells {
        if red > 0 {
            let found = found(group, &cell);
            contrast.failing.push(Failing { cell, red, rows: all, found });
        } else if !elsewhere.contains(&cell) {
            contrast.passing.push((cell, all));
        }
    }
    for record in group.records.iter().filter(|record| record.axes.is_none()) {
        contrast.failing.push(Failing { cell: record.name.clone(), red: 1, rows: 1, found: told(record) });
    }
    contrast.apart = apart(&contrast);
    contrast.apart.extend(prompts(group, records));
    contrast
}

/// What the worst row of a cell found, in a few words.
fn found(group: &Group, cell: &str) -> String {
    let mut worst: Option<(f64, &Record)> = None;
    for record in group.records.iter().filter(|record| cell_of(record).as_deref() == Some(cell)) {
        let excess = excess(record);
        if worst.is_none_or(|(most, _)| excess.total_cmp(&most).is_gt()) {
            worst = Some((excess, record));
        }
    }
    worst.map(|(_, record)| told(record)).unwrap_or_default()
}

fn told(record: &Record) -> String {
    let broken = record.measures.iter().find(|number| !report::holds(number));
    broken.map_or_else(|| report::shorten(&record.observed, 120), report::measure)
}

/// Which prompts fail and which pass in the failing cells, where both do: what the first have in common is a lead.
fn prompts(group: &Group, records: &[Record]) -> Option<String> {
    let key = |record: &Record| Some((cell_of(record)?, record.axes.as_ref()?.check.clone()));
    let keys: BTreeSet<(String, String)> = group.records.iter().filter_map(|record| key(record)).collect();
    let of = |keep: fn(&Record) -> bool| -> BTreeSet<&str> {
        let records = records.iter().filter(|record| keep(record) && key(record).is_some_and(|key| keys.contains(&key)));
        records.filter_map(|record| record.axes.as_ref()?.prompt.as_deref()).collect()
    };
    let (red, green) = (of(Record::is_red), of(Record::is_green));
    let passing: Vec<&str> = green.difference(&red).copied().collect();
    if red.is_empty() || passing.is_empty() {
        return None;
    }
    let list = |names: Vec<&str>| {
        let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
        names.into_iter().take(8).collect::<Vec<_>>().join(", ") + &more
    };
    let (n, m) = (red.len(), passing.len());
    Some(format!("in the failing cells {n} prompts fail ({}) and {m} pass ({})", list(red.into_iter().collect()), list(passing)))
}

/// The axes of the matrix on which no failing cell is where a passing one is.
fn apart(contrast: &Contrast) -> Vec<String> {
    const AXES: [(&str, &str); 4] = [
        ("model", "what only these models have: their files, their configuration, their architecture"),
        ("format", "the container: its converter or its reader"),
        ("quantization", "the weight type: how it is written, read or multiplied"),
        ("runtime", "the runtime; the file is read well elsewhere"),
    ];
    if contrast.failing.is_empty() {
        return Vec::new();
    }
    match (contrast.failing.len(), contrast.passing.is_empty()) {
        (1, true) => return vec!["no other cell was judged by these checks, so that nothing tells this one apart".to_owned()],
        (_, true) => return vec!["it fails in every cell that was judged by these checks: look at what they share".to_owned()],
        _ => {}
    }
    let values = |cells: Vec<&String>, axis: usize| -> BTreeSet<String> {
        cells.into_iter().filter_map(|cell| cell.split("::").nth(axis).map(str::to_owned)).collect()
    };
    let mut sentences = Vec::new();
    for (axis, (name, suspect)) in AXES.iter().enumerate() {
        let failing = values(contrast.failing.iter().map(|failing| &failing.cell).collect(), axis);
        let passing = values(contrast.passing.iter().map(|(cell, _)| cell).collect(), axis);
        if failing.is_disjoint(&passing) {
            let list = |values: &BTreeSet<String>| {
                let more = if values.len() > 8 { format!(" and {} more", values.len() - 8) } else { String::new() };
                values.iter().take(8).cloned().collect::<Vec<_>>().join(", ") + &more
            };
            sentences.push(format!("{name} {} fails and {} passes: {suspect}", list(&failing), list(&passing)));
        }
    }
    if sentences.is_empty() {
        sentences.push("no axis of the matrix alone tells the failing cells from the passing ones".to_owned());
    }
    sentences
}
