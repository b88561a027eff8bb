//! One line for each run, so that a slow drift is seen that no single run shows: counts, time, and the measures closest to their bounds.
//!
//! `history.jsonl` in the output folder, beside the runs, of which only the newest are kept. It outlives them, and is cut to its newest
//! [`KEPT`] lines. It is a memory and no evidence: nothing is judged by it. A run whose targets end one after the other has one line, the last.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::escape;
use crate::evidence::manifest::{self, Counts, Manifest};
use crate::evidence::{Record, Run};
use crate::export::jsonl::closest;
use crate::export::markdown::in_table;
use crate::golden_store::read_capped;
use crate::hashes::publish_for_now;
use crate::markdown::code;

/// The schema of a line.
pub const SCHEMA: &str = "ground-truth/history/1";

/// The file in the output folder.
pub const FILE: &str = "history.jsonl";

/// How many lines are kept.
pub const KEPT: usize = 500;

/// How many checks of a run are remembered: those that came closest to their bounds.
const CLOSEST: usize = 12;

/// The largest file that is read: [`KEPT`] lines have a twentieth of it.
const MAX_BYTES: u64 = 16 << 20;

/// The most runs that are shown.
const SHOWN: usize = 30;

/// A run in a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA`].
    pub schema: String,
    /// The run.
    pub run: String,
    /// When it began, UTC.
    pub started: String,
    /// Version of the suite.
    pub suite: String,
    /// Records that it left.
    pub records: usize,
    /// Of all its parts.
    pub counts: Counts,
    /// Wall time of its parts together, in seconds.
    pub duration_s: f64,
    /// The questions, as a hash: runs of equal hashes were asked the same.
    pub prompts_sha256: String,
    /// By check, the largest share of its bound that any row came to; the checks that came closest. Null is more than any number.
    pub closest: BTreeMap<String, Option<f64>>,
}

impl Line {
    /// Of a run with this manifest, whose targets left these records.
    pub fn new<'a>(manifest: &Manifest, records: impl IntoIterator<Item = &'a Record>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            run: manifest.run.clone(),
            started: manifest.started.clone(),
            suite: manifest.environment.suite.clone(),
            records: manifest.records,
            counts: manifest.counts,
            duration_s: manifest.duration_s,
            prompts_sha256: manifest.prompts_sha256.clone(),
            closest: shares(records, BTreeMap::new()),
        }
    }
}

/// The largest share of its bound of each check, over `records` and what is already known.
fn shares<'a>(records: impl IntoIterator<Item = &'a Record>, known: BTreeMap<String, Option<f64>>) -> BTreeMap<String, Option<f64>> {
    let mut most: BTreeMap<String, f64> = known.into_iter().map(|(check, share)| (check, share.unwrap_or(f64::INFINITY))).collect();
    for record in records {
        if let (Some(axes), Some((_, share))) = (&record.axes, closest(record)) {
            let entry = most.entry(escape::line(&axes.check)).or_insert(share);
            if share.total_cmp(entry).is_gt() {
                *entry = share;
            }
        }
    }
    let mut order: Vec<(String, f64)> = most.into_iter().collect();
    order.sort_by(|(a, a_share), (b, b_share)| b_share.total_cmp(a_share).then_with(|| a.cmp(b)));
    order.truncate(CLOSEST);
    order.into_iter().map(|(check, share)| (check, share.is_finite().then_some(share))).collect()
}

/// Adds the line of a run that has a manifest and left these records; a line of the same run is replaced.
///
/// # Errors
/// What the file system says, naming the file.
pub fn append<'a>(out: &Path, run: &Run, records: impl IntoIterator<Item = &'a Record>) -> Result<(), String> {
    let path = run.folder().join(manifest::FILE);
    if !path.is_file() {
        return Ok(());
    }
    let mut line = Line::new(&Manifest::read(&path)?, records);
    let path = out.join(FILE);
    let failed = |error: io::Error| format!("history {}: {error}", escape::line(&path.to_string_lossy()));
    let before = if path.exists() { text(&path)? } else { String::new() };
    let mut lines: Vec<String> = Vec::new();
    for old in before.lines().filter(|line| !line.trim().is_empty()) {
        // A line of another version or a broken one stays as it is: whoever reads the history is told.
        match serde_json::from_str::<Line>(old) {
            Ok(earlier) if earlier.run == line.run => line.closest = shares([], merged(earlier.closest, std::mem::take(&mut line.closest))),
            _ => lines.push(old.to_owned()),
        }
    }
    lines.push(escape::json(&serde_json::to_string(&line).map_err(|error| failed(error.into()))?));
    let too_many = lines.len().saturating_sub(KEPT);
    let text: String = lines.iter().skip(too_many).flat_map(|line| [line, "\n"]).collect();
    publish_for_now(&path, text.as_bytes()).map_err(failed)
}

fn merged(mut a: BTreeMap<String, Option<f64>>, b: BTreeMap<String, Option<f64>>) -> BTreeMap<String, Option<f64>> {
    for (check, share) in b {
        let far = |share: Option<f64>| share.unwrap_or(f64::INFINITY);
        let entry = a.entry(check).or_insert(share);
        if far(share).total_cmp(&far(*entry)).is_gt() {
            *entry = share;
        }
    }
    a
}

fn text(path: &Path) -> Result<String, String> {
    let shown = escape::line(&path.to_string_lossy());
    let bytes = read_capped(path, MAX_BYTES).map_err(|error| format!("history {shown}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("history {shown}: is not UTF-8; remove it, and the next run begins a new one"))
}

/// The lines, oldest first.
///
/// # Errors
/// There is no history, or a line of it cannot be read; the message names it.
pub fn read(out: &Path) -> Result<Vec<Line>, String> {
    let path = out.join(FILE);
    let shown = escape::line(&path.to_string_lossy());
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("no history in {shown}: every run of `cargo test --test falsify` adds a line"));
        }
        Err(error) => return Err(format!("history {shown}: {error}")),
        Ok(_) => {}
    }
    let mut lines = Vec::new();
    for (place, line) in text(&path)?.lines().enumerate() {
        let wrong = |reason: &str| format!("history {shown}, line {}: {reason}; remove the line or the file", place + 1);
        let line: Line = serde_json::from_str(line).map_err(|error| wrong(&escape::line(&error.to_string())))?;
        if line.schema != SCHEMA {
            return Err(wrong(&format!("schema `{}`, where this version reads `{SCHEMA}`", escape::line(&line.schema))));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(format!("history {shown}: holds no line"));
    }
    Ok(lines)
}

/// The newest runs as Markdown, and how close their checks came to their bounds.
pub fn trend(lines: &[Line]) -> String {
    let shown = &lines[lines.len().saturating_sub(SHOWN)..];
    let mut text = format!("# The last {} of {} runs\n\n", shown.len(), lines.len());
    let _ = writeln!(text, "| run | began | judged | corroborated | falsified | errors | expected | not tested | seconds | questions |");
    let _ = writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|--:|---|");
    for line in shown {
        let Counts { corroborated, falsified, errors, expected, not_tested, .. } = line.counts;
        let questions: String = line.prompts_sha256.chars().take(8).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {corroborated} | {falsified} | {errors} | {expected} | {not_tested} | {:.1} | {} |",
            in_table(&line.run),
            in_table(&line.started),
            line.counts.judged(),
            line.duration_s,
            in_table(&questions)
        );
    }
    let Some(last) = shown.last() else { return text };
    let _ = writeln!(text, "\n## Closest to their bounds\n");
    let _ = writeln!(
        text,
        "The share of its bound that a check came to in the last run, and, from old to new, in the runs above in which it was one of the {CLOSEST} closest.\n"
    );
    let _ = writeln!(text, "| check | last | then |\n|---|--:|---|");
    let mut checks: Vec<(&String, f64)> = last.closest.iter().map(|(check, share)| (check, share.unwrap_or(f64::INFINITY))).collect();
    checks.sort_by(|(a, a_share), (b, b_share)| b_share.total_cmp(a_share).then_with(|| a.cmp(b)));
    let percent = |share: Option<f64>| match share {
        None => "beyond".to_owned(),
        Some(share) if share < 10.0 => format!("{:.0} %", share * 100.0),
        Some(share) => format!("{share:.1e} times"),
    };
    for (check, _) in checks {
        let then: Vec<String> = shown.iter().filter_map(|line| line.closest.get(check)).map(|share| percent(*share)).collect();
        let _ = writeln!(text, "| {} | {} | {} |", in_table(check), percent(last.closest[check]), then.join(", "));
    }
    let _ = writeln!(text, "\nThe last run was {}.", code(&last.run));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Kind;
    use crate::export::fixture::{Fixture, is_clean};

    /// A run in a folder, with a manifest of this id.
    fn run(out: &Path, id: &str, fixture: &Fixture) -> Run {
        let run = Run::named(out, id);
        fs::create_dir_all(run.folder()).unwrap();
        let manifest = Manifest { run: id.to_owned(), ..fixture.manifest.clone() };
        fs::write(run.folder().join(manifest::FILE), serde_json::to_string(&manifest).unwrap()).unwrap();
        assert_eq!(run.kind(), Kind::Unknown);
        run
    }

    #[test]
    fn a_run_is_one_line_and_old_ones_make_room() {
        let out = tempfile::tempdir().unwrap();
        let fixture = Fixture::mixed();
        let old = |i: usize| {
            let line = Line { run: format!("r{i}"), ..Line::new(&fixture.manifest, []) };
            serde_json::to_string(&line).unwrap() + "\n"
        };
        fs::write(out.path().join(FILE), (0..KEPT).map(old).collect::<String>()).unwrap();
        for i in 0..3 {
            let run = run(out.path(), &format!("new{i}"), &fixture);
            // The targets of the same run: the measures of all of them are in its line.
            append(out.path(), &run, &fixture.records).unwrap();
            append(out.path(), &run, &fixture.records[..1]).unwrap();
        }
        let lines = read(out.path()).unwrap();
        assert_eq!((lines.len(), &*lines[0].run, &*lines[KEPT - 1].run), (KEPT, "r3", "new2"));
        let share = lines[KEPT - 1].closest["F-G4-logits"].unwrap();
        assert!((share - 0.021_37 / 5.4e-7).abs() < 1e-6, "{share}");
    }

    #[test]
    fn a_measure_that_is_no_number_is_beyond_every_bound() {
        let mut fixture = Fixture::mixed();
        fixture.records[1].measures[0].observed = f64::NAN;
        let line = Line::new(&fixture.manifest, &fixture.records);
        assert_eq!(line.closest["F-G4-logits"], None);
        assert!(trend(&[line]).contains("| `F-G4-logits` | beyond | beyond |"));
    }

    #[test]
    fn no_history_and_a_broken_one_are_errors() {
        let out = tempfile::tempdir().unwrap();
        assert!(read(out.path()).unwrap_err().contains("no history"));
        fs::write(out.path().join(FILE), "").unwrap();
        assert!(read(out.path()).unwrap_err().contains("holds no line"));
        fs::write(out.path().join(FILE), "{\n").unwrap();
        assert!(read(out.path()).unwrap_err().contains("line 1"));
        // A run still leaves its own.
        let fixture = Fixture::green();
        append(out.path(), &run(out.path(), "r", &fixture), &fixture.records).unwrap();
        assert_eq!(fs::read_to_string(out.path().join(FILE)).unwrap().lines().count(), 2);
    }

    #[test]
    fn the_trend_of_two_runs() {
        let (before, after) = (Fixture::green(), Fixture::mixed());
        let mut lines = vec![Line::new(&before.manifest, &before.records), Line::new(&after.manifest, &after.records)];
        lines[1].run = "a|b`\u{202e}".to_owned();
        let text = trend(&lines);
        assert!(is_clean(&text));
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("trend", text));
    }

    #[test]
    fn a_share_of_a_bound_is_in_percent_until_it_is_ten_times_the_bound() {
        let mut line = Line::new(&Fixture::green().manifest, []);
        let shares = [("a", 0.5, "50 %"), ("b", 9.994, "999 %"), ("c", 10.0, "1.0e1 times")];
        line.closest.extend(shares.iter().map(|(check, share, _)| ((*check).to_owned(), Some(*share))));
        let text = trend(&[line]);
        for (check, _, said) in shares {
            assert!(text.contains(&format!("| `{check}` | {said} | {said} |")), "{text}");
        }
    }
}
