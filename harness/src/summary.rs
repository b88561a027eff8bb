//! The last lines of a run: what there was to judge, what was judged, and what is red.
//!
//! At most twenty lines, the verdict last. Rows behind a red gate are counted with the gate and not listed: one altered file is one
//! thing to mend. Every red line ends with the owner and the next command.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::diagnosis;
use crate::escape::line;
use crate::evidence::Record;
use crate::expectation::Entry;
use crate::matrix::{self, Matrix, Subject, Task};
use crate::report;
use crate::roster::{FAST, ROSTER_VARIABLE};
use crate::trial::not_tested;

/// The most red lines that are shown.
const MAX_RED: usize = 8;

/// The most lines of diagnosis: cells of which the same is said share one.
const MAX_DIAGNOSES: usize = 3;

/// The most entries of expectation files that are shown.
const MAX_EXPECTED: usize = 3;

/// The most reasons for not testing that are shown.
const MAX_REASONS: usize = 3;

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows whose claim held.
    pub corroborated: usize,
    /// Rows whose claim is refuted.
    pub falsified: usize,
    /// Rows of which nothing can be said, also red.
    pub errors: usize,
    /// Rows that failed as an expectation said they would: neither green nor red.
    pub expected: usize,
}

impl Tally {
    /// Counts records.
    pub fn of(records: &[Record]) -> Self {
        let mut tally = Self::default();
        for record in records {
            if record.is_green() {
                tally.corroborated += 1;
            } else if record.is_expected() {
                tally.expected += 1;
            } else if record.is_falsified() {
                tally.falsified += 1;
            } else {
                tally.errors += 1;
            }
        }
        tally
    }

    /// Adds those of another runtime.
    pub fn add(&mut self, other: &Self) {
        self.corroborated += other.corroborated;
        self.falsified += other.falsified;
        self.errors += other.errors;
        self.expected += other.expected;
    }

    /// In a word and numbers.
    pub fn verdict(&self) -> String {
        let word = match (self.judged(), self.is_green()) {
            (0, _) => "NOTHING JUDGED",
            (_, true) if self.corroborated == 0 => "FAILED AS EXPECTED",
            (_, true) => "CORROBORATED",
            (_, false) => "RED",
        };
        let expected = if self.expected > 0 { format!("{} failed as expected, ", self.expected) } else { String::new() };
        format!("{word}: {} corroborated, {expected}{} falsified, {} errors", self.corroborated, self.falsified, self.errors)
    }

    /// Rows that were judged.
    pub fn judged(&self) -> usize {
        self.corroborated + self.falsified + self.errors + self.expected
    }

    /// Whether nothing is red.
    pub fn is_green(&self) -> bool {
        self.falsified == 0 && self.errors == 0
    }
}

/// What a summary is written from.
pub struct Summary<'a> {
    /// Every row there is.
    pub matrix: &'a Matrix,
    /// Every row that was judged.
    pub records: &'a [Record],
    /// Checks that were left out because there is no golden.
    pub without_golden: usize,
    /// The folder of the evidence, as it is shown.
    pub evidence: String,
    /// Wall time of the run.
    pub elapsed: Duration,
    /// Largest anonymous memory seen after a row, in bytes.
    pub peak_memory: Option<u64>,
}

impl<'a> Summary<'a> {
    /// The lines, each with its line end.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if self.matrix.cells.is_empty() {
            // No runtime was judged: a row says why, and there is nothing to count.
            self.not_tested(&mut text);
            self.red(&mut text);
            return if self.records.is_empty() { text } else { text + &self.verdict() };
        }
        let _ = writeln!(text, "matrix        {}", self.product());
        let _ = writeln!(text, "rows          {}", self.sum());
        let coverage = self.matrix.coverage;
        let _ = writeln!(
            text,
            "coverage      applicable {} / declared {} / total {} (model and column at hand / declared by the runtime / in the catalogue)",
            coverage.applicable, coverage.declared, coverage.total
        );
        if coverage.sampled > 0 {
            let _ = writeln!(
                text,
                "sampled       {} of the catalogue are judged in the published form alone: costly checks, and prompts outside of the sample",
                count(coverage.sampled, "row")
            );
        }
        if coverage.left_out > 0 {
            let left_out = count(coverage.left_out, "row");
            let _ = writeln!(
                text,
                "fast          {left_out} left out by {ROSTER_VARIABLE}={FAST}: every check once, which is for mutants of the suite and proves less"
            );
        }
        self.not_tested(&mut text);
        self.not_asked(&mut text);
        self.cost(&mut text);
        let _ = writeln!(text, "evidence      {}", self.evidence);
        self.expected(&mut text);
        self.diagnoses(&mut text);
        self.flagged(&mut text);
        self.red(&mut text);
        text + &self.verdict()
    }

    /// The last line alone.
    pub fn verdict(&self) -> String {
        let tally = Tally::of(self.records);
        let left_out = self.matrix.rows.iter().filter(|row| row.not_tested.is_none()).count().saturating_sub(tally.judged());
        let filtered = if left_out > 0 { format!(", {left_out} filtered out") } else { String::new() };
        let mut not_tested = not_tested(&self.matrix.rows).values().sum::<usize>().to_string();
        if self.without_golden > 0 {
            not_tested = count(self.without_golden, "check");
        }
        format!("verdict       {}, {not_tested} not tested{filtered}\n", tally.verdict())
    }

    /// Models, cells, checks and prompts.
    fn product(&self) -> String {
        let cells = &self.matrix.cells;
        let models: BTreeSet<_> = cells.iter().map(|cell| &cell.artifact.model).collect();
        let formats: BTreeSet<_> = cells.iter().map(|cell| cell.artifact.format).collect();
        let runtimes: BTreeSet<_> = cells.iter().map(|cell| &cell.runtime).collect();
        let columns: BTreeSet<_> = cells.iter().map(|cell| (cell.artifact.format, cell.form.quantization.as_str())).collect();
        let given = cells.iter().filter(|cell| cell.form.given).count();
        let mut models_told = BTreeSet::new();
        let indexes: Vec<_> =
            cells.iter().map(|cell| &cell.entry.golden.index).filter(|index| models_told.insert(index.model.as_str())).collect();
        let prompts: usize = indexes.iter().map(|index| index.prompts.len()).sum();
        let texts: usize = indexes.iter().map(|index| index.perplexity.len()).sum();
        let id = |task: &Task| match task {
            Task::Problem(_) => None,
            Task::Gate { .. } => Some(matrix::GATE),
            Task::Conversion { .. } => Some(matrix::CONVERSION),
            Task::List { .. } => Some(matrix::LIST),
            Task::Check { check, .. } => Some(check.id),
        };
        let checks: BTreeSet<_> = self.matrix.rows.iter().filter_map(|row| id(&row.task)).collect();
        format!(
            "{} in {} of {}, {}: {}, {} of them given files; {}; {} and {} over all models",
            count(models.len(), "model"),
            count(columns.len(), "column"),
            count(formats.len(), "format"),
            count(runtimes.len(), "runtime"),
            count(cells.len(), "cell"),
            given,
            count(checks.len(), "check"),
            count(prompts, "prompt"),
            count(texts, "text"),
        )
    }

    /// How the rows add up.
    fn sum(&self) -> String {
        let mut lists = 0;
        let mut by_subject: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
        for row in &self.matrix.rows {
            let (subject, check) = match &row.task {
                Task::Problem(_) => {
                    lists += 1;
                    continue;
                }
                Task::Gate { .. } => ("cell", matrix::GATE),
                Task::Conversion { .. } => ("cell", matrix::CONVERSION),
                Task::List { .. } => ("cell", matrix::LIST),
                Task::Check { check, subject, .. } => (
                    match subject {
                        Subject::Cell => "cell",
                        Subject::Prompt(_) => "prompt",
                        Subject::Text(_) => "text",
                        Subject::Style(_) => "template",
                    },
                    check.id,
                ),
            };
            let (checks, rows) = by_subject.entry(subject).or_default();
            checks.insert(check);
            *rows += 1;
        }
        let mut parts: Vec<String> =
            by_subject.iter().map(|(subject, (checks, rows))| format!("{rows} ({} per {subject})", count(checks.len(), "check"))).collect();
        if lists > 0 {
            parts.push(format!("{lists} (problems of the lists)"));
        }
        format!("{} = {}", self.matrix.rows.len(), parts.join(" + "))
    }

    fn not_tested(&self, text: &mut String) {
        let reasons = not_tested(&self.matrix.rows);
        let more = reasons.len().saturating_sub(MAX_REASONS);
        for (reason, rows) in reasons.iter().take(MAX_REASONS) {
            let _ = writeln!(text, "not tested    {}: {reason}", count(*rows, "row"));
        }
        if more > 0 {
            let rows: usize = reasons.values().skip(MAX_REASONS).sum();
            let _ = writeln!(text, "not tested    {} for {more} other reasons", count(rows, "row"));
        }
    }

    /// Prompts that the oracle could not be asked about some model, so that no row is missing in silence.
    fn not_asked(&self, text: &mut String) {
        let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut told = BTreeSet::new();
        for cell in &self.matrix.cells {
            let index = &cell.entry.golden.index;
            if !told.insert(&index.model) {
                continue;
            }
            for left in &index.not_asked {
                reasons.entry(line(&left.reason)).or_default().push(format!("{} {}", line(&index.model), line(&left.name)));
            }
        }
        if !reasons.is_empty() {
            let parts: Vec<String> = reasons.iter().map(|(reason, prompts)| format!("{}: {reason}", prompts.join(", "))).collect();
            let _ = writeln!(text, "not asked     {}", report::shorten(&parts.join("; "), 200));
        }
    }

    fn cost(&self, text: &mut String) {
        let slowest = self.records.iter().max_by(|a, b| a.duration_ms.total_cmp(&b.duration_ms));
        let mut line_ = format!("{:.1} s", self.elapsed.as_secs_f64());
        if let Some(bytes) = self.peak_memory {
            let _ = write!(line_, ", {} MB of anonymous memory at most", bytes / 1_000_000);
        }
        if let Some(slowest) = slowest {
            let _ = write!(line_, ", slowest row {} ({:.1} s)", line(&slowest.name), slowest.duration_ms / 1e3);
        }
        let _ = writeln!(text, "cost          {line_}");
    }

    /// Failures that were expected, entry by entry.
    fn expected(&self, text: &mut String) {
        let mut entries: BTreeMap<(&str, usize), (&Entry, usize)> = BTreeMap::new();
        for entry in self.records.iter().filter(|record| record.is_expected()).filter_map(|record| record.expectation.as_ref()) {
            entries.entry((&entry.file, entry.number)).or_insert((entry, 0)).1 += 1;
        }
        for (entry, rows) in entries.values().take(MAX_EXPECTED) {
            let what = format!("`{}` until {}: {}", entry.failing(), entry.expires, line(&entry.why));
            let what = report::shorten(&what, 120);
            let _ = writeln!(
                text,
                "expected      {}, {} entry {}, {what} ({})",
                count(*rows, "row"),
                entry.file,
                entry.number,
                line(&entry.bug)
            );
        }
        if entries.len() > MAX_EXPECTED {
            let rows: usize = entries.values().skip(MAX_EXPECTED).map(|(_, rows)| rows).sum();
            let _ = writeln!(text, "expected      {} of {} other entries", count(rows, "row"), entries.len() - MAX_EXPECTED);
        }
    }

    /// Warnings, which redden nothing.
    fn flagged(&self, text: &mut String) {
        let flagged: Vec<&Record> = self.records.iter().filter(|record| !record.flags.is_empty()).collect();
        if let Some(first) = flagged.first() {
            let (name, flag) = (line(&first.name), report::shorten(&line(&first.flags.join("; ")), 120));
            let others = if flagged.len() > 1 { ", and others in the evidence" } else { "" };
            let _ = writeln!(text, "flagged       {}, no failure: {name}: {flag}{others}", count(flagged.len(), "row"));
        }
    }

    /// What is probably wrong, once for all red cells of which the same is said.
    fn diagnoses(&self, text: &mut String) {
        let mut cells: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for finding in diagnosis::of_run(self.records) {
            cells.entry(finding.diagnosis.line()).or_default().push(finding.cell);
        }
        let mut told: Vec<(String, Vec<String>)> = cells.into_iter().collect();
        // Those of which most cells speak, then by name: the same evidence gives the same lines.
        told.sort_by(|(_, a), (_, b)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        for (what, cells) in told.iter().take(MAX_DIAGNOSES) {
            let more = if cells.len() > 1 { format!(" and {} more", cells.len() - 1) } else { String::new() };
            let _ = writeln!(text, "diagnosis     {}{more}: {}", line(&cells[0]), report::shorten(what, 500));
        }
        if told.len() > MAX_DIAGNOSES {
            let cells: usize = told.iter().skip(MAX_DIAGNOSES).map(|(_, cells)| cells.len()).sum();
            let _ = writeln!(text, "diagnosis     {} in {} other ways", count(cells, "more cell"), told.len() - MAX_DIAGNOSES);
        }
    }

    fn red(&self, text: &mut String) {
        let halted: Vec<&Record> = self.records.iter().filter(|record| record.is_halted()).collect();
        if let Some(first) = halted.first() {
            let _ =
                writeln!(text, "halted        {} not judged: {}", count(halted.len(), "row"), report::shorten(&line(&first.observed), 200));
        }
        let cell = |record: &'a Record| record.axes.as_ref().map(|axes| cell_of(&record.name, &axes.check));
        let behind = |record: &'a Record| cell(record).filter(|_| record.behind_gate);
        let mut behind_gates: BTreeMap<&str, usize> = BTreeMap::new();
        let red_rows = || self.records.iter().filter(|record| record.is_red() && !record.is_halted());
        for cell in red_rows().filter_map(behind) {
            *behind_gates.entry(cell).or_default() += 1;
        }
        // A gate's own row stands for the rows behind it; where it was filtered out, the first of them does.
        let mut told = BTreeSet::new();
        let mut red: Vec<(&Record, usize)> = Vec::new();
        for record in red_rows() {
            let gate = record.axes.as_ref().is_some_and(|axes| axes.check == matrix::GATE);
            let cell = match behind(record) {
                Some(cell) => cell,
                None if gate => cell(record).unwrap_or_default(),
                None => {
                    red.push((record, 0));
                    continue;
                }
            };
            if told.insert(cell) {
                let rows = behind_gates.get(cell).copied().unwrap_or(0);
                red.push((record, if record.behind_gate && !gate { rows.saturating_sub(1) } else { rows }));
            }
        }
        red.sort_by_key(|(record, _)| record.axes.is_some());
        for (record, rows) in red.iter().take(MAX_RED) {
            let _ = writeln!(text, "{}", report::red_gate_line(record, *rows));
        }
        if red.len() > MAX_RED {
            let _ = writeln!(text, "and {} more red, all in the evidence", red.len() - MAX_RED);
        }
    }
}

/// The name of a row's cell: what stands before its check.
pub fn cell_of<'a>(name: &'a str, check: &str) -> &'a str {
    name.split_once(&format!("::{check}")).map_or(name, |(cell, _)| cell)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Anonymous memory of this process in bytes, where the system tells (Linux).
pub fn anonymous_memory() -> Option<u64> {
    status_bytes("RssAnon:")
}

/// The most memory of any kind that this process ever had resident, in bytes, where the system tells (Linux).
pub fn peak_resident_memory() -> Option<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Axes;
    use crate::fixture::{Fixture, pinned};
    use crate::roster::{Roster, Settings};
    use crate::runtime::Runtime;
    use crate::runtime::native::NativeRuntime;
    use ground_truth_falsification::verdict::{ErrorKind, Measure, Owner, Verdict};

    /// A matrix of two models, one of which is not at hand.
    fn matrix() -> Matrix {
        let fixture = Fixture::carrying(&["a-tiny", "b-tiny"]);
        fixture.model("more/far");
        fixture.golden("golden/far", "more/far", "far", false);
        let roster = Roster::read(&fixture.workspace(), &Settings::default());
        Matrix::new(&roster, &NativeRuntime::new().capabilities())
    }

    fn record(name: &str, verdict: Verdict) -> Record {
        let parts: Vec<&str> = name.split("::").collect();
        let mut record = Record::of("run", name, &verdict);
        record.reproduce = format!("cargo test --test falsify -- --exact '{name}'");
        record.duration_ms = 7.0;
        record.axes = Some(Axes {
            model: parts[0].into(),
            format: parts[1].into(),
            quantization: parts[2].into(),
            runtime: parts[3].into(),
            check: parts[4].into(),
            prompt: parts.get(5).map(ToString::to_string),
        });
        record
    }

    fn summary(matrix: &Matrix, records: &[Record]) -> String {
        Summary {
            matrix,
            records,
            without_golden: 0,
            evidence: "target/ground-truth/run".into(),
            elapsed: Duration::from_millis(1234),
            peak_memory: Some(44_000_000),
        }
        .text()
    }

    #[test]
    fn the_summary_of_a_red_run() {
        let matrix = matrix();
        let a = "a-tiny::safetensors::f32::native";
        let b = "b-tiny::safetensors::f32::native";
        let mut wrong = Verdict::falsified("the golden's logits", "they differ").owned_by(Owner::Kernel);
        wrong.measures = vec![Measure::gated("relative RMS", 0.02, 5e-7, "")];
        let behind = || Verdict::error(ErrorKind::Gate, "an open gate", "gate F-G1 failed: altered");
        let mut records = vec![
            record(&format!("{a}::F-G1"), Verdict::corroborated(3, "", "")),
            record(&format!("{a}::F-G4-logits::code"), wrong),
            record(
                &format!("{b}::F-G1"),
                Verdict::error(ErrorKind::Golden, "no complaint", "model.safetensors: altered").owned_by(Owner::File),
            ),
        ];
        records.extend(["F-T1", "TENSORS", "LIST"].map(|check| record(&format!("{b}::{check}"), behind())));
        let text = summary(&matrix, &records);
        assert!(text.lines().count() <= 20, "{text}");
        pinned().bind(|| insta::assert_snapshot!("summary", text));
    }

    #[test]
    fn however_much_is_red_the_verdict_fits_twenty_lines() {
        let matrix = matrix();
        let records: Vec<Record> =
            (0..500).map(|i| record(&format!("m{i}::safetensors::f32::native::F-T1"), Verdict::falsified("x", "y\nz"))).collect();
        let text = summary(&matrix, &records);
        assert!(text.lines().count() <= 20, "{text}");
        assert!(text.contains("RED: 0 corroborated, 500 falsified, 0 errors"), "{text}");
        assert!(text.contains("and 492 more red"), "{text}");
    }

    #[test]
    fn a_gate_that_was_filtered_out_is_told_by_the_first_row_behind_it() {
        let matrix = matrix();
        let behind = || Verdict::error(ErrorKind::Gate, "an open gate", "gate F-G1 failed: altered");
        let records = ["F-T1", "TENSORS"].map(|check| record(&format!("a-tiny::safetensors::f32::native::{check}"), behind()));
        let text = summary(&matrix, &records);
        assert_eq!(text.matches("gate F-G1 failed").count(), 1, "{text}");
        assert!(text.contains("(and 1 row behind this gate)"), "{text}");
    }

    #[test]
    fn what_is_wrong_with_the_lists_is_a_part_of_the_rows() {
        let mut roster = Roster::read(&Fixture::carrying(&["a-tiny"]).workspace(), &Settings::default());
        let rows = |roster: &Roster| {
            let matrix = Matrix::new(roster, &NativeRuntime::new().capabilities());
            let text = summary(&matrix, &[]);
            (matrix.rows.len(), text.lines().find(|line| line.starts_with("rows ")).unwrap().to_owned())
        };
        let (sound, line) = rows(&roster);
        assert!(line.contains(&format!("{sound} = ")) && !line.contains("problems"), "{line}");
        roster.problems.push(crate::roster::Problem::new("golden::b", "a golden", "none"));
        let (wrong, line) = rows(&roster);
        assert!(wrong == sound + 1 && line.ends_with(" + 1 (problems of the lists)"), "{line}");
    }

    #[test]
    fn nothing_judged_is_no_corroboration() {
        assert!(summary(&matrix(), &[]).contains("NOTHING JUDGED"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn anonymous_memory_is_measured() {
        let before = anonymous_memory().unwrap();
        let block = vec![1u8; 64 << 20];
        assert!(anonymous_memory().unwrap() > before + (32 << 20));
        drop(block);
    }
}
