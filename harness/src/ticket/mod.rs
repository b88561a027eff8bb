//! Tickets: what is red in a run, one for each thing to mend, as somebody reads it who was not there.
//!
//! A ticket is made of evidence records alone, so that the same evidence gives the same bytes. What the evidence does not say is left open and
//! says so. Schema of the JSON form: `ground-truth/tickets/1`.

use std::collections::BTreeSet;

use serde::Serialize;
use similar::TextDiff;

use crate::diagnosis::{Likeness, stage};
use crate::evidence::read::Evidence;
use crate::evidence::{Minimal, Number, Record, manifest::ModelFile};
use crate::report;
use group::{Contrast, Failing, Group};

pub mod group;
mod page;

pub use page::{file_name, gh, markdown};

/// Longest text of an expectation or observation that is compared, in characters. The evidence has it whole.
const MAX_COMPARED: usize = 4_000;

/// Width at which a long line of a comparison is broken, in characters.
const WIDTH: usize = 96;

/// Tickets of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Tickets {
    /// `ground-truth/tickets/1`.
    pub schema: &'static str,
    /// The run.
    pub run: String,
    /// Rows that were judged.
    pub rows: usize,
    /// Rows that are red.
    pub red: usize,
    /// What the reader should know of the evidence as a whole.
    pub notes: Vec<String>,
    /// The tickets: lists and gates first, then those with most rows.
    pub tickets: Vec<Ticket>,
}

/// One thing to mend.
#[derive(Debug, Clone, Serialize)]
pub struct Ticket {
    /// Eight digits, the same from run to run.
    pub fingerprint: String,
    /// One line.
    pub title: String,
    /// Id of the claim.
    pub claim: String,
    /// What was claimed by the row that is shown.
    pub sentence: String,
    /// What refutes it.
    pub refuted_by: String,
    /// `falsified`, or the kind of error.
    pub outcome: String,
    /// Who most likely has to act.
    pub owner: String,
    /// The first stage that differs.
    pub stage: Option<String>,
    /// What that stage is.
    pub stage_is: Option<String>,
    /// How many rows are red.
    pub rows: usize,
    /// How many were not judged because of them.
    pub behind: usize,
    /// Cells that fail.
    pub failing: Vec<Failing>,
    /// Cells in which the same checks pass: name, rows.
    pub passing: Vec<(String, usize)>,
    /// What sets them apart.
    pub apart: Vec<String>,
    /// The row that is shown.
    pub example: Example,
    /// Why, five times; `None` is open.
    pub whys: Vec<(String, Option<String>)>,
    /// Known faults that show nearly the same.
    pub alike: Vec<Likeness>,
    /// Name and value.
    pub environment: Vec<(String, String)>,
    /// Files of the failing models.
    pub files: Vec<ModelFile>,
    /// Other tickets with this owner and stage.
    pub see_also: Vec<String>,
    /// The command that shows it again.
    pub reproduce: String,
}

/// The row of a ticket that is farthest past its bound.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// Its name.
    pub name: String,
    /// What had to be.
    pub expected: String,
    /// What was.
    pub observed: String,
    /// One against the other.
    pub diff: String,
    /// The numbers.
    pub measures: Vec<Number>,
    /// The entries of `tolerances.toml` behind the bounds.
    pub bounds: Vec<String>,
    /// How far the weakest defect that the check must find lies past the bound, where the power tests ran in the same run.
    pub separation: Option<f64>,
    /// Where.
    pub place: String,
    /// The smallest question that still shows it, where one was looked for and found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimal: Option<Minimal>,
}

impl Tickets {
    /// The tickets of a run. `power` are the records of the power tests that belong to it, if they ran.
    pub fn of(run: &str, evidence: &Evidence, power: &[Record]) -> Self {
        let groups = group::groups(&evidence.records);
        let mut tickets: Vec<Ticket> = groups.iter().filter_map(|group| Ticket::of(group, evidence, power)).collect();
        let keys: Vec<_> = tickets.iter().map(|ticket| (ticket.owner.clone(), ticket.stage.clone(), ticket.title.clone())).collect();
        for (i, ticket) in tickets.iter_mut().enumerate().filter(|(_, ticket)| ticket.stage.is_some()) {
            let same = |other: &(String, Option<String>, String)| other.0 == ticket.owner && other.1 == ticket.stage;
            ticket.see_also = keys.iter().enumerate().filter(|(j, key)| *j != i && same(key)).map(|(_, key)| key.2.clone()).collect();
        }
        Self {
            schema: "ground-truth/tickets/1",
            run: run.to_owned(),
            rows: evidence.records.len(),
            red: evidence.records.iter().filter(|record| record.is_red()).count(),
            notes: notes(evidence),
            tickets,
        }
    }
}

/// What there is to know of the evidence as a whole.
fn notes(evidence: &Evidence) -> Vec<String> {
    let mut notes = Vec::new();
    match &evidence.manifest {
        None => notes.push("the run has no manifest: it ran under nextest, or was cut short and may have more to say".to_owned()),
        Some(manifest) => {
            let judged = manifest.counts.judged();
            if evidence.records.len() > manifest.records {
                notes.push(format!(
                    "{} records came after the manifest: a part of the run did not end",
                    evidence.records.len() - manifest.records
                ));
            }
            if judged < manifest.counts.applicable {
                notes.push(format!("{judged} of {} applicable rows were judged: the run was filtered", manifest.counts.applicable));
            }
        }
    }
    let halted: Vec<&Record> = evidence.records.iter().filter(|record| record.is_halted()).collect();
    if let Some(first) = halted.first() {
        notes.push(format!("{} not judged: {}", count(halted.len(), "row"), brief(&first.observed)));
    }
    let expected = evidence.records.iter().filter(|record| record.is_expected()).count();
    if expected > 0 {
        notes.push(format!("{expected} rows failed as an expectation says they would, and have no ticket"));
    }
    notes
}

impl Ticket {
    fn of(group: &Group, evidence: &Evidence, power: &[Record]) -> Option<Self> {
        let worst = group.worst()?;
        let contrast = group::contrast(group, &evidence.records);
        let stage = group.fingerprint.stage.clone().filter(|_| worst.axes.is_some() || worst.place.stage.is_some());
        let stage_is = stage.as_deref().and_then(stage::meaning).map(str::to_owned);
        let diagnosis = group::cell_of(worst).and_then(|cell| group.diagnoses.get(&cell));
        let alike = diagnosis.map(|diagnosis| diagnosis.alike.iter().take(3).cloned().collect()).unwrap_or_default();
        let outcome = worst.error.clone().unwrap_or_else(|| worst.verdict.clone());
        let mut ticket = Self {
            fingerprint: group.fingerprint.id(),
            title: String::new(),
            claim: group.fingerprint.claim.clone(),
            sentence: worst.claim.sentence.clone(),
            refuted_by: worst.claim.refuted_by.clone(),
            outcome,
            owner: group.fingerprint.owner.clone(),
            stage,
            stage_is,
            rows: group.records.len(),
            behind: group.behind.len(),
            example: Example { minimal: smallest(group), ..example(worst, power) },
            whys: Vec::new(),
            alike,
            environment: environment(worst, evidence),
            files: files(&contrast, evidence),
            see_also: Vec::new(),
            reproduce: worst.reproduce.clone(),
            failing: contrast.failing,
            passing: contrast.passing,
            apart: contrast.apart,
        };
        ticket.title = ticket.titled();
        ticket.whys = ticket.whys(worst, diagnosis.map_or(&[][..], |diagnosis| &diagnosis.why));
        Some(ticket)
    }

    fn titled(&self) -> String {
        let models = models(&self.failing);
        let place = match models.as_slice() {
            [] => format!("by {}", self.example.name),
            [model] => format!("in {} of {model}", count(self.failing.len(), "cell")),
            models => format!("in {} of {} models", count(self.failing.len(), "cell"), models.len()),
        };
        let stage = self.stage.as_ref().map(|stage| format!(" from {stage} on")).unwrap_or_default();
        let claim = if self.claim.is_empty() { "row" } else { &self.claim };
        let outcome = if self.outcome == "falsified" { "falsified".to_owned() } else { format!("error ({})", self.outcome) };
        format!("{claim} {outcome} {place}{stage}: owner {}", self.owner)
    }

    /// Symptom, check, stage, owner, known faults: each answered as far as the evidence goes.
    fn whys(&self, worst: &Record, reasons: &[String]) -> Vec<(String, Option<String>)> {
        let rows = count(self.rows, "row");
        let cells = if worst.axes.is_none() { "no cell".to_owned() } else { count(self.failing.len(), "cell") };
        let behind = if self.behind > 0 { format!(", and {} behind this gate", count(self.behind, "row")) } else { String::new() };
        let symptom = format!("{rows} red in {cells}{behind}; {}: {}", worst.name, brief(&worst.observed));
        let broken: Vec<String> = worst.measures.iter().filter(|number| !report::holds(number)).map(report::measure).collect();
        let check = worst.axes.as_ref().map_or("it", |axes| axes.check.as_str());
        let check = match broken.as_slice() {
            [] => format!("{check} found {}", if worst.claim.refuted_by.is_empty() { "it" } else { &worst.claim.refuted_by }),
            broken => format!("{check} measured {}", broken.join("; ")),
        };
        let stage = self.stage.as_ref().map(|stage| match &self.stage_is {
            Some(what) => format!("{stage} ({what}) is the first stage that differs; everything before it is the oracle's"),
            None => format!("{stage} is the first that differs"),
        });
        let mut owner = reasons.to_vec();
        owner.extend(self.apart.iter().cloned());
        let owner = (!self.owner.is_empty()).then(|| {
            format!("{} has to act: {}", self.owner, if owner.is_empty() { "its check says so".to_owned() } else { owner.join("; ") })
        });
        let known = self.alike.first().map(|like| format!("most like {}: {}; seen in {}", like.defect, like.what, like.seen_in));
        let why = |question: &str, answer| (question.to_owned(), answer);
        vec![
            why("Why is the run red?", Some(symptom)),
            why("Why is the row red?", Some(check)),
            why("Why is the answer wrong: from which stage on?", stage),
            why("Why there: whose is it?", owner),
            why("Why was it made so: is the fault known?", known),
        ]
    }
}

/// The shortest of the minimal questions of a group; of equals the first.
fn smallest(group: &Group) -> Option<Minimal> {
    group.records.iter().filter_map(|record| record.minimal.as_ref()).min_by_key(|minimal| minimal.tokens).cloned()
}

fn example(record: &Record, power: &[Record]) -> Example {
    let check = record.axes.as_ref().map_or("", |axes| axes.check.as_str());
    let name = format!("separation::{check}");
    let inverse = power.iter().find(|record| record.name == name && record.is_green()).and_then(|record| record.measures.first());
    let separation = inverse.map(|number| 1.0 / number.observed).filter(|ratio| ratio.is_finite());
    Example {
        name: record.name.clone(),
        expected: record.expected.clone(),
        observed: record.observed.clone(),
        diff: diff(&record.expected, &record.observed),
        measures: record.measures.clone(),
        bounds: record.bounds.clone(),
        separation,
        place: report::place(&record.place),
        minimal: None,
    }
}

/// What had to be against what was, line by line. Long lines are broken at spaces first, so that two long lists differ where they differ.
fn diff(expected: &str, observed: &str) -> String {
    let (expected, observed) = (broken(expected), broken(observed));
    TextDiff::from_lines(&expected, &observed)
        .unified_diff()
        .context_radius(2)
        .missing_newline_hint(false)
        .header("expected", "observed")
        .to_string()
}

fn broken(text: &str) -> String {
    report::wrapped(&report::shorten(text, MAX_COMPARED), WIDTH)
}

fn environment(record: &Record, evidence: &Evidence) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), if value.is_empty() { "unknown".to_owned() } else { value }));
    line("suite", record.versions.suite.clone());
    if let Some(axes) = &record.axes {
        line("runtime", format!("{} {}", axes.runtime, record.versions.runtime).trim().to_owned());
        let oracle: Vec<String> = record.versions.oracle.iter().map(|(name, version)| format!("{name} {version}")).collect();
        line("oracle", oracle.join(", "));
    }
    match &evidence.manifest {
        None => line("machine", "unknown: the run has no manifest".to_owned()),
        Some(manifest) => {
            let here = &manifest.environment;
            line("system", format!("{} {}", here.os, here.arch));
            line("CPU", here.cpu.clone());
            line("threads", format!("{} of {} cores", here.threads, here.cores));
            line("compiler", here.rustc.clone());
            for (name, value) in &here.variables {
                line(name, if value.is_empty() { "set".to_owned() } else { value.clone() });
            }
            line("prompts, sha256", manifest.prompts_sha256.clone());
        }
    }
    lines
}

/// The files of the models that fail.
fn files(contrast: &Contrast, evidence: &Evidence) -> Vec<ModelFile> {
    let models = models(&contrast.failing);
    let all = evidence.manifest.as_ref().map_or(&[][..], |manifest| &manifest.files);
    all.iter().filter(|file| models.contains(&file.model)).cloned().collect()
}

/// The models of these cells. A row about the lists is in none.
fn models(cells: &[Failing]) -> Vec<String> {
    let names = cells.iter().filter(|failing| failing.cell.split("::").count() == 4).filter_map(|failing| failing.cell.split("::").next());
    names.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

fn brief(text: &str) -> String {
    report::shorten(text, 200)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
