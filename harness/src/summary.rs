//! The last lines of a run: what there was to judge, what was judged, and what is red.
//!
//! At most twenty lines, the verdict last. Rows behind a red gate are counted with the gate and not listed: one altered file is one
//! thing to mend. Every red line ends with the owner and the next command.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::escape::line;
use crate::evidence::Record;
use crate::matrix::{self, Matrix, Subject, Task};
use crate::report;
use crate::trial::not_tested;

/// The most red lines that are shown.
const MAX_RED: usize = 10;

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
}

impl Tally {
    /// Counts records.
    pub fn of(records: &[Record]) -> Self {
        let mut tally = Self::default();
        for record in records {
            if record.is_green() {
                tally.corroborated += 1;
            } else if record.is_falsified() {
                tally.falsified += 1;
            } else {
                tally.errors += 1;
            }
        }
        tally
    }

    /// Rows that were judged.
    pub fn judged(&self) -> usize {
        self.corroborated + self.falsified + self.errors
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
    /// The folder of the evidence, as it is shown.
    pub evidence: String,
    /// Wall time of the run.
    pub elapsed: Duration,
    /// Largest anonymous memory seen after a row, in bytes.
    pub peak_memory: Option<u64>,
}

impl Summary<'_> {
    /// The lines, each with its line end.
    pub fn text(&self) -> String {
        let tally = Tally::of(self.records);
        let mut text = String::new();
        let _ = writeln!(text, "matrix        {}", self.product());
        let _ = writeln!(text, "rows          {}", self.sum());
        let coverage = self.matrix.coverage;
        let _ = writeln!(
            text,
            "coverage      applicable {} / declared {} / total {} (model at hand / declared by the runtime / in the catalogue)",
            coverage.applicable, coverage.declared, coverage.total
        );
        self.not_tested(&mut text);
        self.cost(&mut text);
        let _ = writeln!(text, "evidence      {}", self.evidence);
        self.red(&mut text);
        let left_out = self.matrix.rows.iter().filter(|row| row.not_tested.is_none()).count().saturating_sub(tally.judged());
        let filtered = if left_out > 0 { format!(", {left_out} filtered out") } else { String::new() };
        let word = match (tally.judged(), tally.is_green()) {
            (0, _) => "NOTHING JUDGED",
            (_, true) => "CORROBORATED",
            (_, false) => "RED",
        };
        let not_tested: usize = not_tested(&self.matrix.rows).values().sum();
        let _ = writeln!(
            text,
            "verdict       {word}: {} corroborated, {} falsified, {} errors, {not_tested} not tested{filtered}",
            tally.corroborated, tally.falsified, tally.errors
        );
        text
    }

    /// Models, cells, checks and prompts.
    fn product(&self) -> String {
        let cells = &self.matrix.cells;
        let models: BTreeSet<_> = cells.iter().map(|cell| &cell.artifact.model).collect();
        let formats: BTreeSet<_> = cells.iter().map(|cell| cell.artifact.format).collect();
        let runtimes: BTreeSet<_> = cells.iter().map(|cell| &cell.runtime).collect();
        let prompts: usize = cells.iter().map(|cell| cell.entry.golden.index.prompts.len()).sum();
        let texts: usize = cells.iter().map(|cell| cell.entry.golden.index.perplexity.len()).sum();
        let mut checks = BTreeSet::from([matrix::GATE, matrix::LIST]);
        for row in &self.matrix.rows {
            if let Task::Check { check, .. } = &row.task {
                checks.insert(check.id);
            }
        }
        format!(
            "{} x {} x {} = {}; {}; {} and {} over all cells",
            count(models.len(), "model"),
            count(formats.len(), "format"),
            count(runtimes.len(), "runtime"),
            count(cells.len(), "cell"),
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
                Task::List { .. } => ("cell", matrix::LIST),
                Task::Check { check, subject, .. } => (
                    match subject {
                        Subject::Cell => "cell",
                        Subject::Prompt(_) => "prompt",
                        Subject::Text(_) => "text",
                    },
                    check.id,
                ),
            };
            let (checks, rows) = by_subject.entry(subject).or_default();
            checks.insert(check);
            *rows += 1;
        }
        let mut parts: Vec<String> = by_subject
            .iter()
            .map(|(subject, (checks, rows))| format!("{rows} ({} per {subject})", count(checks.len(), "check")))
            .collect();
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

    fn red(&self, text: &mut String) {
        let behind = |record: &Record| record.axes.as_ref().filter(|_| record.behind_gate).map(|axes| cell_of(&record.name, &axes.check));
        let mut behind_gates: BTreeMap<String, usize> = BTreeMap::new();
        for cell in self.records.iter().filter_map(behind) {
            *behind_gates.entry(cell).or_default() += 1;
        }
        // A gate's own row stands for the rows behind it; where it was filtered out, the first of them does.
        let mut told = BTreeSet::new();
        let mut red: Vec<(&Record, usize)> = Vec::new();
        for record in self.records.iter().filter(|record| !record.is_green()) {
            let gate = record.axes.as_ref().is_some_and(|axes| axes.check == matrix::GATE);
            let cell = match behind(record) {
                Some(cell) => cell,
                None if gate => record.axes.as_ref().map(|axes| cell_of(&record.name, &axes.check)).unwrap_or_default(),
                None => {
                    red.push((record, 0));
                    continue;
                }
            };
            if told.insert(cell.clone()) {
                let rows = behind_gates.get(&cell).copied().unwrap_or(0);
                red.push((record, if record.behind_gate && !gate { rows.saturating_sub(1) } else { rows }));
            }
        }
        red.sort_by_key(|(record, _)| record.axes.is_some());
        for (record, rows) in red.iter().take(MAX_RED) {
            let behind = if *rows > 0 { format!("(and {} behind this gate) ", count(*rows, "row")) } else { String::new() };
            let _ = writeln!(text, "{behind}{}", report::red_line(record));
        }
        if red.len() > MAX_RED {
            let _ = writeln!(text, "and {} more red, all in the evidence", red.len() - MAX_RED);
        }
    }
}

/// The name of a row's cell: what stands before its check.
fn cell_of(name: &str, check: &str) -> String {
    name.split_once(&format!("::{check}")).map_or(name, |(cell, _)| cell).to_owned()
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Anonymous memory of this process in bytes, where the system tells (Linux).
pub fn anonymous_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
