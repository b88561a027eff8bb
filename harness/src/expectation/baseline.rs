//! The first expectation file of a runtime: its red rows of one run, in as few entries as a greedy search finds.
//!
//! A candidate pattern keeps or stars each part of a row's name (`model`, `format`, `quantization`, and `check`, `prompt` or both). It may stand if
//! every row of the whole matrix that it matches failed in one way, so that no pattern is about a row that passed, failed otherwise or was
//! not judged. Largest first, each row in one entry; of patterns about the same rows, the one that says most. Rows behind a red gate have no
//! entry: the gate's excuses them. `bug` is left empty, and what is empty is red: a baseline is a list of reports to be written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::date::Day;
use super::entry::Failing;
use super::glob;
use crate::escape;
use crate::evidence::Record;
use crate::report;

/// Asks a test target of one's own for a baseline.
pub const VARIABLE: &str = "GROUND_TRUTH_BASELINE";

/// How long a baseline is believed, in days.
const DAYS: i64 = 90;

/// The most characters of a failure that are repeated.
const BRIEFLY: usize = 200;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// The file.
    pub text: String,
    /// Its entries.
    pub entries: usize,
    /// The red rows that they are about, those behind a gate left out.
    pub rows: usize,
}

/// Writes the expectations of `runtime` from the records of a run. `names` are all rows of the matrix, judged or not.
///
/// # Errors
/// A row that no entry can be about: it is red for a reason of the suite, not of the runtime.
pub fn baseline(runtime: &str, names: &[&str], records: &[Record], today: Day) -> Result<Baseline, String> {
    // Refutations first, then errors by their kind.
    let mut failures: BTreeMap<Option<&str>, (Failing, Vec<&Record>)> = BTreeMap::new();
    for record in records.iter().filter(|record| record.is_red()) {
        let in_matrix = record.axes.as_ref().is_some_and(|axes| axes.runtime == runtime);
        match Failing::of(record).filter(|_| in_matrix && record.expectation.is_none()) {
            Some(_) if record.behind_gate => {}
            Some(failing) => failures.entry(failing.kind()).or_insert((failing, Vec::new())).1.push(record),
            None => {
                return Err(format!(
                    "{} is red, and no expectation can be about it: {}",
                    record.name,
                    report::shorten(&record.observed, BRIEFLY)
                ));
            }
        }
    }
    let mut text = format!(
        "# What `{runtime}` failed on {today}, written by a baseline run. Every entry is red until its `bug` holds the https address of a report:\n\
         # look at the failures, report them, write down where. Narrow or split what has more than one cause.\n"
    );
    let (mut entries, mut rows) = (0, 0);
    for (failing, red) in failures.values() {
        for (pattern, of_pattern) in patterns(names, red) {
            text.push_str(&entry(&pattern, *failing, &of_pattern, today));
            entries += 1;
            rows += of_pattern.len();
        }
    }
    Ok(Baseline { text, entries, rows })
}

/// Writes the baseline of a run to `path`, and says in a line what came of it.
///
/// # Errors
/// Why there is none: a file that is there already, a runtime that may have none, or a row that no entry can be about.
pub fn write(path: &Path, runtime: &str, names: &[&str], records: &[Record]) -> Result<String, String> {
    let shown = escape::line(&path.to_string_lossy());
    if runtime == super::NATIVE {
        return Err(format!("failures of `{runtime}` are mended, not expected"));
    }
    if path.exists() {
        return Err(format!("{shown} is there already: move it away, and run again"));
    }
    if records.is_empty() {
        return Err("nothing was judged".to_owned());
    }
    let written = baseline(runtime, names, records, Day::today())?;
    if written.entries == 0 {
        return Ok("nothing is red: no file is needed, and none was written".to_owned());
    }
    let save = || path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, &written.text));
    save().map_err(|error| format!("{shown}: {error}"))?;
    let (entries, rows) = (written.entries, rows_of(written.rows));
    Ok(format!("{shown}: {entries} entries about {rows}, each of them red until its `bug` holds the https address of a report"))
}

fn entry(pattern: &str, failing: Failing, rows: &[&Record], today: Day) -> String {
    let first = rows[0];
    let mut text = format!("\n[[expect]] # {}\ntest = {}\nstatus = \"{}\"\n", rows_of(rows.len()), quoted(pattern), failing.status());
    if let Some(kind) = failing.kind() {
        let _ = writeln!(text, "kind = \"{kind}\"");
    }
    let observed = &first.observed;
    let is_plain = escape::line(observed) == *observed && observed.chars().count() <= BRIEFLY && !observed.is_empty();
    if failing.kind().is_some() && is_plain && rows.iter().all(|row| row.observed == *observed) {
        let _ = writeln!(text, "contains = {}", quoted(observed));
    }
    let why = format!("{}: {}", first.claim.sentence, report::shorten(observed, BRIEFLY));
    let _ = writeln!(text, "bug = \"\"\nsince = {today}\nexpires = {}\nwhy = {}", today.after(DAYS), quoted(&escape::line(&why)));
    text
}

fn rows_of(n: usize) -> String {
    format!("{n} row{}", if n == 1 { "" } else { "s" })
}

/// A basic string of TOML, of text without control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Patterns that together match these rows of the matrix, each row once, and no others.
fn patterns<'a>(names: &[&str], red: &[&'a Record]) -> Vec<(String, Vec<&'a Record>)> {
    let by_name: HashMap<&str, &Record> = red.iter().map(|record| (record.name.as_str(), *record)).collect();
    // Every pattern to the rows that it is about, red and others.
    let mut candidates: HashMap<String, (usize, Vec<&'a Record>)> = HashMap::new();
    let shapes: BTreeSet<String> = red.iter().flat_map(|record| shapes(&record.name)).collect();
    for name in names {
        for shape in self::shapes(name).into_iter().filter(|shape| shapes.contains(shape)).collect::<BTreeSet<_>>() {
            let (all, of_shape) = candidates.entry(shape).or_default();
            *all += 1;
            of_shape.extend(by_name.get(name));
        }
    }
    let mut sound: Vec<(String, Vec<&'a Record>)> =
        candidates.into_iter().filter(|(_, (all, red))| *all == red.len()).map(|(shape, (_, red))| (shape, red)).collect();
    let literal = |shape: &str| shape.bytes().filter(|byte| *byte != b'*').count();
    sound.sort_by(|(a, of_a), (b, of_b)| of_b.len().cmp(&of_a.len()).then(literal(b).cmp(&literal(a))).then(a.cmp(b)));
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    let mut chosen = Vec::new();
    for (shape, rows) in sound {
        // Stars reach over `::`; a pattern that is about more than its parts say is not the one that was counted.
        let is_new = rows.iter().all(|row| !covered.contains(row.name.as_str()));
        if is_new && names.iter().filter(|name| glob::matches(&shape, name)).count() == rows.len() {
            covered.extend(rows.iter().map(|row| row.name.as_str()));
            chosen.push((shape, rows));
        }
    }
    chosen
}

/// The patterns that a name has: each of model, format and quantization as it is or starred; the check with its prompt, with any, the prompt with any
/// check, any check with a prompt, or anything. The runtime always stands.
fn shapes(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split("::").collect();
    let ([model, format, quantization, runtime, check], prompt) = match parts[..] {
        [m, f, q, r, c] => ([m, f, q, r, c], None),
        [m, f, q, r, c, p] => ([m, f, q, r, c], Some(p)),
        _ => return vec![name.to_owned()],
    };
    let mut tails = vec!["*".to_owned()];
    match prompt {
        None => tails.push(check.to_owned()),
        Some(prompt) => tails.extend([format!("{check}::{prompt}"), format!("{check}::*"), format!("*::{prompt}"), "*::*".to_owned()]),
    }
    let mut shapes = Vec::new();
    for stars in 0..8 {
        let part = |i: usize, part: &str| if stars >> i & 1 == 1 { "*".to_owned() } else { part.to_owned() };
        let mut head = [part(0, model), part(1, format), part(2, quantization)].to_vec();
        head.dedup_by(|a, b| a == "*" && b == "*");
        shapes.extend(tails.iter().map(|tail| format!("{}::{runtime}::{tail}", head.join("::"))));
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Axes;
    use crate::fixture::pinned;
    use ground_truth_falsification::verdict::{ErrorKind, Verdict};

    /// Two models, two columns, two checks on two prompts and one gate.
    fn names() -> Vec<String> {
        let mut names = Vec::new();
        for model in ["gpt2-tiny", "llama-tiny"] {
            for column in ["gguf::q8_0", "safetensors::f32"] {
                let cell = format!("{model}::{column}::mine");
                names.push(format!("{cell}::F-G1"));
                names.extend(
                    ["F-G4-logits", "CANARY"].iter().flat_map(|check| ["code", "door"].map(|prompt| format!("{cell}::{check}::{prompt}"))),
                );
            }
        }
        names
    }

    fn record(name: &str, verdict: &Verdict) -> Record {
        let parts: Vec<String> = name.split("::").map(str::to_owned).collect();
        let mut record = Record::of("run", name, verdict);
        record.axes = Some(Axes {
            model: parts[0].clone(),
            format: parts[1].clone(),
            quantization: parts[2].clone(),
            runtime: parts[3].clone(),
            check: parts[4].clone(),
            prompt: parts.get(5).cloned(),
        });
        record.claim.sentence = "a sentence".to_owned();
        record
    }

    /// The records of a run in which the rows that `fails` names fail.
    fn run(fails: impl Fn(&str) -> Option<Verdict>) -> (Vec<String>, Vec<Record>) {
        let names = names();
        let sound = Verdict::corroborated(1, "x", "y");
        let records = names.iter().map(|name| record(name, &fails(name).unwrap_or_else(|| sound.clone()))).collect();
        (names, records)
    }

    /// The patterns of the baseline; each is about red rows alone, and every red row is in one.
    #[track_caller]
    fn of(fails: impl Fn(&str) -> Option<Verdict>) -> Vec<String> {
        let (names, records) = run(fails);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let written = baseline("mine", &names, &records, Day::of(2026, 11, 21)).expect("a baseline");
        let table: toml::Table = written.text.parse().expect("TOML");
        let entries = table.get("expect").and_then(|entries| entries.as_array()).cloned().unwrap_or_default();
        let tests: Vec<String> = entries.iter().map(|entry| entry["test"].as_str().unwrap().to_owned()).collect();
        for record in &records {
            let about = tests.iter().filter(|test| glob::matches(test, &record.name)).count();
            assert_eq!(about, usize::from(record.is_red() && !record.behind_gate), "{} in {tests:?}", record.name);
        }
        assert_eq!(tests.len(), written.entries);
        tests
    }

    fn wrong() -> Option<Verdict> {
        Some(Verdict::falsified("x", "they differ"))
    }

    #[test]
    fn a_baseline_is_read_by_people() {
        let (names, records) = run(|name| match name {
            "llama-tiny::gguf::q8_0::mine::CANARY::code" => wrong(),
            name if name.starts_with("gpt2-tiny::") && name.ends_with("F-G1") => {
                Some(Verdict::error(ErrorKind::Refused, "x", "unknown \"gpt2\" \\ \u{202e}"))
            }
            name if name.starts_with("gpt2-tiny::") => Some(Verdict::error(ErrorKind::Gate, "x", "gate F-G1 failed: unknown")),
            name if name.ends_with("door") => Some(Verdict::error(ErrorKind::Timeout, "x", "no answer within 60 s")),
            _ => None,
        });
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let written = baseline("mine", &names, &records, Day::of(2026, 11, 21)).unwrap();
        assert_eq!((written.entries, written.rows), (3, 7));
        pinned().bind(|| insta::assert_snapshot!("baseline", written.text));
    }

    #[test]
    fn as_few_patterns_as_will_do() {
        assert_eq!(of(|_| None), [""; 0]);
        assert_eq!(of(|_| wrong()).len(), 1);
        assert_eq!(of(|name| wrong().filter(|_| name.starts_with("gpt2"))), ["gpt2-tiny::*::mine::*"]);
        assert_eq!(of(|name| wrong().filter(|_| name.contains("CANARY"))), ["*::mine::CANARY::*"]);
        assert_eq!(of(|name| wrong().filter(|_| name.contains("q8_0::mine::F-G4"))), ["*::gguf::q8_0::mine::F-G4-logits::*"]);
        assert_eq!(of(|name| wrong().filter(|_| name.ends_with("::code"))), ["*::mine::*::code"]);
        let one = "llama-tiny::safetensors::f32::mine::CANARY::door";
        assert_eq!(of(|name| wrong().filter(|_| name == one)), [one]);
        assert_eq!(of(|name| wrong().filter(|_| name.contains("gguf") && name != "gpt2-tiny::gguf::q8_0::mine::F-G1")).len(), 2);
    }

    #[test]
    fn any_set_of_red_rows_is_met_exactly() {
        for seed in 0..200_u64 {
            // Each row by one bit of a mixed number.
            let bit = |name: &str| {
                name.bytes().fold(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)) >> 33
            };
            of(|name| match bit(name) % 5 {
                0 => wrong(),
                1 => Some(Verdict::error(ErrorKind::Crash, "x", "signal 11")),
                _ => None,
            });
        }
    }

    #[test]
    fn what_was_not_judged_is_not_in_it() {
        let (names, mut records) = run(|_| wrong());
        records.truncate(3);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let written = baseline("mine", &names, &records, Day::of(2026, 11, 21)).unwrap();
        assert_eq!(written.rows, 3);
    }

    #[test]
    fn what_the_suite_got_wrong_is_no_baseline() {
        let problem = Record::of("run", "matrix::golden::a", &Verdict::error(ErrorKind::Golden, "x", "altered"));
        assert!(baseline("mine", &[], &[problem], Day::of(2026, 11, 21)).unwrap_err().contains("matrix::golden::a"));
        let mut evidence = record(&names()[0], &Verdict::falsified("x", "y"));
        (evidence.verdict, evidence.error) = ("error".to_owned(), Some("evidence".to_owned()));
        assert!(baseline("mine", &[], &[evidence], Day::of(2026, 11, 21)).is_err());
    }
}
