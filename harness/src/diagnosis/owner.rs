//! Who has to act: whoever made the file, whoever wrote the kernel, the tokenizer, the configuration, or the golden.
//!
//! One red row seldom tells. What tells is which kinds of rows are red together, and what became of the same rows in the model's other cells:
//! red in this file alone is the file, red in one weight type alone is its kernel or its quantizer, red in every form is the code of the model.

use std::collections::{BTreeMap, BTreeSet};

use super::signature::Known;
use crate::evidence::Record;
use crate::matrix;

/// What a check's rows are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// Whether the artifact can be judged at all.
    Gate,
    /// Text to ids and back.
    Tokens,
    /// Conversations under a template.
    Chat,
    /// What the artifact says of itself.
    Config,
    /// What lies in the file.
    File,
    /// The runtime against itself: caches, threads, limits, refusals, sampling.
    Process,
    /// Logits and what follows from them.
    Numbers,
}

/// Ids, or beginnings of ids, of the checks that are not about numbers.
const ABOUT: [(About, &[&str]); 6] = [
    (About::Gate, &[matrix::GATE, matrix::CONVERSION]),
    (About::Tokens, &["F-RS6-", "F-E3-", "F-P4-"]),
    (About::Chat, &["CHAT", "CHAT-"]),
    (About::Config, &["INSPECT", "V2", "V2-", matrix::LIST]),
    (
        About::File,
        &[
            "C1",
            "C2",
            "C3",
            "C4",
            "C5",
            "C6",
            "C7",
            "C8",
            "VALIDATE",
            "LINT",
            "TREE",
            "HEX",
            "F-T1",
            "TENSORS",
            "SPC-",
            "ROSETTA-DIFF",
            "DIFF",
            "F-P1",
            "F-P2",
            "F-P5",
            "F-RS5",
            "V1",
            "F-G3-types",
            "ORACLE-ID",
            "INV-convert",
            "ROUNDTRIP",
        ],
    ),
    (About::Process, &["INV-", "F-P3-", "F-E1-", "F-E2-", "F-E4-", "F-E5-", "F-T4-", "BENCH", "SAMPLE-", "SELFTEST"]),
];

fn about(check: &str) -> About {
    // A name that ends in a hyphen is the beginning of several, and a whole name goes before it: `INV-convert` is about files.
    let whole = ABOUT.iter().find(|(_, names)| names.contains(&check));
    let begins = || ABOUT.iter().find(|(_, names)| names.iter().any(|name| name.ends_with('-') && check.starts_with(name)));
    whole.or_else(begins).map_or(About::Numbers, |(about, _)| *about)
}

/// Checks that look at what the arithmetic gives, and at no text.
fn is_arithmetic(check: &str) -> bool {
    check.starts_with("F-G4-") && check != "F-G4-greedy"
}

/// What a gate says where no golden names the files.
pub(crate) const UNVOUCHED: &str = "no golden vouches for its files";

/// Errors by which a runtime gives no answer.
const NO_ANSWER: [&str; 3] = ["crash", "timeout", "protocol"];

fn check_of(record: &Record) -> &str {
    record.axes.as_ref().map_or(matrix::GATE, |axes| axes.check.as_str())
}

/// The cell of a record: everything of its name before the check.
fn cell_of(record: &Record) -> Option<[&str; 4]> {
    let mut parts = record.name.split("::");
    Some([parts.next()?, parts.next()?, parts.next()?, parts.next()?])
}

fn is_red(record: &Record) -> bool {
    !record.is_green()
}

/// The check that holds the digest of every value against the model's.
const VALUES: &str = "F-P2";

/// The check that computes with the artifact's values under the published configuration: whatever else is wrong, its settings are.
const SETTINGS: &str = "V2-settings";

/// Whether every value of the artifact is the model's, bit for bit; none where nobody looked.
pub(super) fn values_hold(records: &[&Record]) -> Option<bool> {
    let mut looked = records.iter().filter(|record| check_of(record) == VALUES && !record.behind_gate).peekable();
    looked.peek()?;
    Some(looked.all(|record| record.is_green()))
}

/// The owner, and why.
#[expect(clippy::too_many_lines, reason = "the rules in the order in which they are asked, the first that knows decides")]
pub(super) fn of(records: &[&Record], siblings: &[&Record], near: &[(f64, &Known)], located: bool) -> (String, Vec<String>) {
    let red: Vec<&Record> = records.iter().copied().filter(|record| is_red(record) && !record.behind_gate).collect();
    let Some(first) = red.first().copied().or_else(|| records.iter().copied().find(|record| is_red(record))) else {
        return (String::new(), Vec::new());
    };
    let said = |owner: &str, why: String| (owner.to_owned(), vec![why]);
    if let Some(gate) = red.iter().find(|record| about(check_of(record)) == About::Gate) {
        return gate_owner(gate);
    }
    if red.is_empty() {
        return said(&first.owner, "every red row stands behind a gate".to_owned());
    }
    let silent = red.iter().filter(|record| record.error.as_deref().is_some_and(|kind| NO_ANSWER.contains(&kind))).count();
    if silent > 0 {
        return said(
            "runtime",
            format!("{silent} of {} red rows had no answer: a crash, a deadline that passed, or something that is no answer", red.len()),
        );
    }
    let checks: BTreeSet<&str> = red.iter().map(|record| check_of(record)).collect();
    if checks.contains(SETTINGS) {
        return said(
            "config",
            format!(
                "its own values answer otherwise under the published configuration ({SETTINGS}): what is wrong is a setting, or how it was read"
            ),
        );
    }
    let groups: BTreeSet<About> = checks.iter().map(|check| about(check)).collect();
    let wrong_numbers = checks.iter().any(|check| is_arithmetic(check));
    let list = |wanted: About| checks.iter().filter(|check| about(check) == wanted).copied().collect::<Vec<_>>().join(", ");
    if groups.contains(&About::Tokens) && !wrong_numbers {
        return said(
            "tokenizer",
            format!("rows about text and ids are red ({}), and no logits that were computed from given ids are wrong", list(About::Tokens)),
        );
    }
    // A text whose ids are not the oracle's is predicted otherwise, and its rows say so themselves.
    if !wrong_numbers && red.iter().all(|record| record.owner == "tokenizer") {
        return said(
            "tokenizer",
            "every red row is about texts whose ids are others, and no logits that were computed from given ids are wrong".to_owned(),
        );
    }
    if groups == BTreeSet::from([About::Chat]) {
        let owner = if checks.iter().all(|check| *check == "CHAT-ids") { "tokenizer" } else { majority(&red, "runtime") };
        return said(owner, "conversations alone are red: the template, or how it is rendered".to_owned());
    }
    let vouched = !records.iter().any(|record| record.observed.contains(UNVOUCHED));
    let published = red.iter().find_map(|record| cell_of(record)).is_some_and(|cell| cell[1] == "safetensors" && !is_given(&cell));
    if groups.contains(&About::File) && published && vouched {
        let list = list(About::File);
        return said(
            "runtime",
            format!("the files are those that the golden was written for, and what the runtime says of them is not what they hold: {list}"),
        );
    }
    if groups.contains(&About::File) {
        return said("file", format!("rows that look at what the file holds are red: {}", list(About::File)));
    }
    if groups.contains(&About::Config) {
        return said("config", format!("what the artifact says of itself is not what the model is: {}", list(About::Config)));
    }
    if !groups.contains(&About::Numbers) || groups.contains(&About::Process) && !wrong_numbers {
        return said(
            "runtime",
            format!("the runtime contradicts itself or its limits ({}), and its logits are right", list(About::Process)),
        );
    }
    let setting = if values_hold(records) == Some(true) {
        Some("every value of the file is the model's, bit for bit (F-P2): what is wrong is a setting, or how it was read")
    } else {
        looks_like_a_setting(near, located).then_some("most of the faults that look like it are of a setting, not of values")
    };
    numbers(&red, siblings, setting)
}

/// Whether most of the nearest faults in artifacts are of a setting, not of values; the nearer, the more it counts. Without a stage more of them
/// are asked, for each says less.
fn looks_like_a_setting(near: &[(f64, &Known)], located: bool) -> bool {
    let (mut settings, mut values) = (0.0, 0.0);
    let artifacts = near.iter().filter_map(|(distance, known)| Some((distance, known.shown.touches.as_deref()?)));
    for (distance, touches) in artifacts.take(if located { 3 } else { 5 }) {
        let weight = 1.0 / (distance + 0.05);
        settings += if touches.contains("config") { weight } else { 0.0 };
        values += if touches.contains("file") { weight } else { 0.0 };
    }
    settings > values
}

/// A gate's own reason names the file, where one is wrong; so does the refusal of a model that has no golden and whose rows could not be listed.
pub(super) fn gate_owner(gate: &Record) -> (String, Vec<String>) {
    let says = |word: &str| gate.observed.contains(word);
    let (owner, why) = if gate.owner == "golden" {
        ("golden", "the golden itself does not hold together")
    } else if gate.error.as_deref().is_some_and(|kind| NO_ANSWER.contains(&kind)) {
        ("runtime", "the runtime did not survive loading")
    } else if says("generation_config.json") || says("config.json") && !says("tokenizer_config.json") {
        ("config", "the gate is closed over the configuration")
    } else if says("key `") && !says("key `tokenizer.") {
        ("config", "the gate is closed over what the header says")
    } else if says("tokenizer") || says("vocab.json") || says("merges.txt") {
        ("tokenizer", "the gate is closed over the tokenizer's files")
    } else {
        (gate.owner.as_str(), "the gate is closed over the artifact")
    };
    (owner.to_owned(), vec![why.to_owned()])
}

/// The owner that most of these rows name; of equals the first by name.
fn majority<'a>(red: &[&'a Record], default: &'a str) -> &'a str {
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    for record in red.iter().filter(|record| !record.owner.is_empty()) {
        *owners.entry(&record.owner).or_default() += 1;
    }
    let mut most = (default, 0);
    for (owner, rows) in owners {
        if rows > most.1 {
            most = (owner, rows);
        }
    }
    most.0
}

/// Whether a file was given, whether it is the model as published, or a column of ours.
fn is_given(cell: &[&str; 4]) -> bool {
    cell[2].contains('@')
}

/// Numbers are wrong and the file looks right: the other cells tell whose they are.
fn numbers(red: &[&Record], siblings: &[&Record], setting: Option<&str>) -> (String, Vec<String>) {
    let cell = red.first().and_then(|record| cell_of(record)).unwrap_or_default();
    let others = states(siblings);
    let same_runtime = |other: &[&str; 4]| other[3] == cell[3];
    let (green, wrong): (Vec<_>, Vec<_>) = others.iter().filter(|(other, _)| same_runtime(other)).partition(|(_, red)| !**red);
    let names = |cells: &[(&[&str; 4], &bool)]| shortened(cells.iter().map(|(cell, _)| format!("{} {}", cell[1], cell[2])));
    let elsewhere: Vec<_> = others.iter().filter(|(other, red)| !same_runtime(other) && other[1..3] == cell[1..3] && !**red).collect();
    if let [(other, _), ..] = elsewhere.as_slice() {
        let why = format!("{} answers rightly on the same {} {}: the file is right", other[3], cell[1], cell[2]);
        return ("kernel".to_owned(), vec![why]);
    }
    if is_given(&cell) {
        let trial = if green.is_empty() {
            "the file is on trial and the runtime is not: judge the folder that it was made of, to see whether the runtime is right there"
                .to_owned()
        } else {
            format!("the same runtime is right on {}: what differs is this file", names(&green))
        };
        let owner = if setting.is_some() { "config" } else { "file" };
        return (owner.to_owned(), setting.map(str::to_owned).into_iter().chain([trial]).collect());
    }
    let published = cell[1] == "safetensors" && !red.iter().any(|record| record.observed.contains("gguf-py reads"));
    if published && green.is_empty() {
        let mut whys = vec!["the files are those that the golden was written for, so they are not at fault".to_owned()];
        if !wrong.is_empty() {
            whys.push(format!("it is wrong in {} too: the code of the model, not of one weight type", names(&wrong)));
        }
        return ("kernel".to_owned(), whys);
    }
    if green.is_empty() {
        let why = if wrong.is_empty() {
            "no other cell of the model was judged".to_owned()
        } else {
            format!("it is wrong in {} too: the code of the model", names(&wrong))
        };
        return (if wrong.is_empty() { majority(red, "kernel").to_owned() } else { "kernel".to_owned() }, vec![why]);
    }
    let why = format!("it is right in {} and wrong here: the kernel or the quantizer of {}", names(&green), cell[2]);
    (majority(red, "kernel").to_owned(), vec![why])
}

/// Whether rows about numbers are red, by cell; a cell without such rows is not there.
fn states<'a>(records: &[&'a Record]) -> BTreeMap<[&'a str; 4], bool> {
    let mut cells: BTreeMap<[&str; 4], bool> = BTreeMap::new();
    for record in records.iter().filter(|record| !record.behind_gate && is_arithmetic(check_of(record))) {
        if let Some(cell) = cell_of(record) {
            *cells.entry(cell).or_default() |= is_red(record);
        }
    }
    cells
}

/// At most three, and how many more.
fn shortened(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{shown} and {} more", names.len() - 3) } else { shown }
}
