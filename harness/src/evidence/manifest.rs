//! What a run was, beside its records: `run.json` in the run's folder, written when a test target or a command ends.
//!
//! The targets of one `cargo test` are one run and add up here, part by part. Under nextest every row is a process and none of them is the
//! last, so that there is no manifest; one is also absent where a run was cut short. Schema `ground-truth/run/1`; a field is added with the
//! same number, removed or given another meaning with the next:
//!
//! | field | holds |
//! |---|---|
//! | `schema`, `run`, `kind` | `ground-truth/run/1`; the run; `matrix` or `judge` |
//! | `started`, `duration_s` | UTC; wall time of the parts together |
//! | `environment` | `os`, `arch`, `cpu`, `cores`, `threads`, `suite`, `rustc`, `variables` (`GROUND_TRUTH_*`; values of those that the suite reads) |
//! | `counts` | `applicable`, `declared`, `total` as the summary has them; `corroborated`, `falsified`, `errors`, `expected`; `not_tested` |
//! | `records` | how many records lay in the folder when the last part ended |
//! | `not_tested` | `name` and `reason` of every row that was listed and not judged |
//! | `files` | `model`, `path`, `sha256` of every file of a model that was at hand; the hash is empty where it could not be read |
//! | `prompts_sha256` | of the names and hashes of all golden files: equal where the same questions were asked |
//! | `parts` | test target or command, its runtimes, its counts and its time |

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Record;
use super::read::MAX_BYTES;
use super::run::{Run, now, utc};
use crate::escape;
use crate::gate;
use crate::golden_store::read_capped;
use crate::hashes::{FolderHashes, publish_for_now};
use crate::matrix::{Coverage, Matrix, Row};
use crate::roster::{
    ARTIFACTS_VARIABLE, DATA_VARIABLE, Entry, GOLDEN_VARIABLE, MODELS_VARIABLE, REQUIRE_ALL_VARIABLE, ROSTER_VARIABLE, RUNTIMES_VARIABLE,
};
use crate::runtime::supervise::DEADLINE_VARIABLE;
use crate::summary::Tally;
use crate::workspace::{ROOT_VARIABLE, Workspace};

/// The schema of a manifest.
pub const SCHEMA: &str = "ground-truth/run/1";

/// Its file in the run's folder.
pub const FILE: &str = "run.json";

/// Variables whose values are recorded. Of any other only the name is: what it holds may be nobody's business.
const VARIABLES: [&str; 10] = [
    MODELS_VARIABLE,
    GOLDEN_VARIABLE,
    ARTIFACTS_VARIABLE,
    DATA_VARIABLE,
    RUNTIMES_VARIABLE,
    REQUIRE_ALL_VARIABLE,
    ROSTER_VARIABLE,
    DEADLINE_VARIABLE,
    ROOT_VARIABLE,
    gate::VARIABLE,
];

/// What a run was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The run.
    pub run: String,
    /// What it judged.
    pub kind: String,
    /// When its first part began, `YYYY-MM-DDTHH:MM:SSZ`.
    pub started: String,
    /// Wall time of its parts together, in seconds.
    pub duration_s: f64,
    /// Where it ran.
    pub environment: Environment,
    /// Of all parts.
    pub counts: Counts,
    /// Records in the folder when the last part ended.
    pub records: usize,
    /// Rows that were listed and not judged.
    pub not_tested: Vec<NotTested>,
    /// Files of the models.
    pub files: Vec<ModelFile>,
    /// The questions, as a hash.
    pub prompts_sha256: String,
    /// Test targets or commands, in their order.
    pub parts: Vec<Part>,
}

/// Where a run took place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Operating system.
    pub os: String,
    /// Architecture of the CPU.
    pub arch: String,
    /// Its model, where the system tells.
    pub cpu: String,
    /// How many threads can run at once.
    pub cores: usize,
    /// How many rows were judged at once.
    pub threads: usize,
    /// Version of the suite.
    pub suite: String,
    /// The compiler, if it is known.
    pub rustc: String,
    /// Variables that speak to the suite.
    pub variables: BTreeMap<String, String>,
}

/// How many rows there were, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows whose model and column are at hand.
    pub applicable: usize,
    /// Rows that the runtimes declare.
    pub declared: usize,
    /// Rows of the whole catalogue.
    pub total: usize,
    /// Rows whose claim held.
    pub corroborated: usize,
    /// Rows whose claim is refuted.
    pub falsified: usize,
    /// Rows of which nothing can be said.
    pub errors: usize,
    /// Rows that failed as an expectation says.
    pub expected: usize,
    /// Rows that were listed and not judged.
    pub not_tested: usize,
}

/// A row that was listed and not judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotTested {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelFile {
    /// The model.
    pub model: String,
    /// The file, relative to the root where it lies there.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// What one test target or command did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The test target, or the command.
    pub target: String,
    /// Name and version of each runtime.
    pub runtimes: Vec<String>,
    /// Its rows.
    pub counts: Counts,
    /// Wall time in seconds.
    pub duration_s: f64,
}

impl NotTested {
    /// The row, where it is not judged.
    pub fn of(row: &Row) -> Option<Self> {
        row.not_tested.as_deref().map(|reason| Self { name: row.name.clone(), reason: escape::line(reason) })
    }
}

impl Counts {
    /// What a summary counts of one runtime.
    pub fn of(coverage: Coverage, tally: &Tally, not_tested: usize) -> Self {
        let Coverage { applicable, declared, total, .. } = coverage;
        let Tally { corroborated, falsified, errors, expected } = *tally;
        Self { applicable, declared, total, corroborated, falsified, errors, expected, not_tested }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.applicable += other.applicable;
        self.declared += other.declared;
        self.total += other.total;
        self.corroborated += other.corroborated;
        self.falsified += other.falsified;
        self.errors += other.errors;
        self.expected += other.expected;
        self.not_tested += other.not_tested;
    }

    /// Rows that were judged.
    pub fn judged(&self) -> usize {
        self.corroborated + self.falsified + self.errors + self.expected
    }
}

impl Environment {
    /// Of this process.
    pub fn here(workspace: &Workspace, threads: usize) -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, _)| name.starts_with("GROUND_TRUTH_"))
            .map(|(name, value)| {
                let shown = if VARIABLES.contains(&name.as_str()) { relative(workspace, &value.to_string_lossy()) } else { String::new() };
                (escape::line(&name), shown)
            });
        Self {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu: cpu(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            threads,
            suite: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: env!("GROUND_TRUTH_RUSTC").to_owned(),
            variables: variables.collect(),
        }
    }
}

/// A value without the folder of the workspace, entry by entry.
fn relative(workspace: &Workspace, value: &str) -> String {
    let root = format!("{}/", workspace.root().to_string_lossy().trim_end_matches('/'));
    escape::line(&value.split(':').map(|entry| entry.strip_prefix(&root).unwrap_or(entry)).collect::<Vec<_>>().join(":"))
}

/// The model of the CPU, where the system tells (Linux).
fn cpu() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    escape::line(model.map_or("", |model| model.trim_start_matches([' ', '\t', ':'])))
}

/// The files of every model that is at hand, and of what was given for it, hashed or remembered.
pub fn files(workspace: &Workspace, entries: &[Entry]) -> Vec<ModelFile> {
    let mut files = Vec::new();
    for entry in entries {
        let model = &entry.golden.index.model;
        let mut folder_files: Vec<(std::path::PathBuf, String)> = Vec::new();
        if let Some(folder) = &entry.model {
            folder_files.extend(entry.golden.index.model_files.iter().map(|file| (folder.path.clone(), file.name.clone())));
        }
        let given = entry.given.iter().filter(|given| given.path.is_file());
        folder_files.extend(
            given.filter_map(|given| Some((given.path.parent()?.to_path_buf(), given.path.file_name()?.to_string_lossy().into_owned()))),
        );
        let mut open: BTreeMap<std::path::PathBuf, FolderHashes> = BTreeMap::new();
        for (folder, name) in folder_files {
            let hashes = open.entry(folder.clone()).or_insert_with(|| FolderHashes::open(&folder, workspace.out()));
            let sha256 = hashes.of(&name).map(|(_, sha256)| sha256).unwrap_or_default();
            files.push(ModelFile { model: model.clone(), path: workspace.show(&folder.join(&name)), sha256 });
        }
        open.values().for_each(FolderHashes::remember);
    }
    files.sort();
    files.dedup();
    files
}

/// One hash for all questions: equal where every golden file is.
pub fn prompts_sha256(entries: &[Entry]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for entry in entries {
        let index = &entry.golden.index;
        lines.extend(index.golden_files.iter().map(|file| format!("{} {} {}\n", index.model, file.name, file.sha256)));
    }
    lines.sort();
    escape::hex(&Sha256::digest(lines.concat().as_bytes()))
}

impl Manifest {
    /// The manifest of a run of one part.
    pub fn new(run: &Run, environment: Environment, part: Part) -> Self {
        let begun = now().saturating_sub(Duration::from_secs_f64(part.duration_s.max(0.0)).as_secs());
        Self {
            schema: SCHEMA.to_owned(),
            run: run.id().to_owned(),
            kind: run.kind().name().to_owned(),
            started: dashed(&utc(begun)),
            duration_s: part.duration_s,
            environment,
            counts: part.counts,
            records: 0,
            not_tested: Vec::new(),
            files: Vec::new(),
            prompts_sha256: String::new(),
            parts: vec![part],
        }
    }

    /// The same, with what came of these runtimes' rows.
    #[must_use]
    pub fn counting(mut self, runtimes: &[(String, &Matrix, &[Record])]) -> Self {
        let mut names = BTreeSet::new();
        for (runtime, matrix, records) in runtimes {
            let not_tested: Vec<NotTested> = matrix.rows.iter().filter_map(NotTested::of).collect();
            let counts = Counts::of(matrix.coverage, &Tally::of(records), not_tested.len());
            self.counts.add(&counts);
            self.not_tested.extend(not_tested);
            names.extend(records.iter().map(|record| record.name.as_str()));
            if let Some(part) = self.parts.last_mut() {
                part.runtimes.push(escape::line(runtime));
                part.counts.add(&counts);
            }
        }
        self.not_tested.sort();
        self.records = names.len();
        self
    }

    /// Writes it into the run's folder, added to that of earlier parts. A part that judged nothing in a folder that is not there leaves none.
    ///
    /// # Errors
    /// What the file system says, or that an earlier part's is broken.
    pub fn write(mut self, run: &Run) -> Result<(), String> {
        let path = run.folder().join(FILE);
        let failed = |error: io::Error| format!("evidence {}: {error}", escape::line(&path.to_string_lossy()));
        if self.counts.judged() == 0 && !run.folder().is_dir() {
            return Ok(());
        }
        run.prepare().map_err(failed)?;
        if path.exists() {
            self = Self::read(&path)?.and(self);
        }
        // A record that could not be written is missing to the reader, and not to the counts.
        self.records = run.records().map_err(failed)?.len().max(self.records);
        let text = serde_json::to_string_pretty(&self).map_err(|error| failed(error.into()))?;
        publish_for_now(&path, (escape::json(&text) + "\n").as_bytes()).map_err(failed)
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the file, naming it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = escape::line(&path.to_string_lossy());
        let bytes = read_capped(path, MAX_BYTES).map_err(|error| format!("{shown}: {error}"))?;
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| format!("{shown}: {}", escape::line(&error.to_string())))?;
        if manifest.schema != SCHEMA {
            return Err(format!("{shown}: schema `{}`, where this version reads `{SCHEMA}`", escape::line(&manifest.schema)));
        }
        Ok(manifest)
    }

    /// This one and what came after it.
    fn and(mut self, later: Self) -> Self {
        self.duration_s += later.duration_s;
        self.records = self.records.max(later.records);
        self.counts.add(&later.counts);
        self.not_tested.extend(later.not_tested);
        self.not_tested.sort();
        self.not_tested.dedup();
        self.files.extend(later.files);
        self.files.sort();
        self.files.dedup();
        self.environment.variables.extend(later.environment.variables);
        if self.prompts_sha256.is_empty() {
            self.prompts_sha256 = later.prompts_sha256;
        }
        self.parts.extend(later.parts);
        self
    }
}

/// `YYYYMMDDTHHMMSSZ` with its dashes and colons.
fn dashed(utc: &str) -> String {
    let part = |from: usize, to: usize| utc.get(from..to).unwrap_or_default();
    format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(9, 11), part(11, 13), part(13, 15))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Kind;
    use ground_truth_falsification::verdict::Verdict;

    fn part(target: &str, corroborated: usize) -> Part {
        let counts = Counts { applicable: 3, declared: 4, total: 5, corroborated, ..Counts::default() };
        Part { target: target.to_owned(), runtimes: vec!["native 0".to_owned()], counts, duration_s: 1.5 }
    }

    #[test]
    fn each_count_is_added_to_its_own() {
        let of = |k: usize| Counts {
            applicable: k,
            declared: 2 * k,
            total: 3 * k,
            corroborated: 4 * k,
            falsified: 5 * k,
            errors: 6 * k,
            expected: 7 * k,
            not_tested: 8 * k,
        };
        let mut counts = of(10);
        counts.add(&of(1));
        assert_eq!(counts, of(11));
        assert_eq!(counts.judged(), 11 * (4 + 5 + 6 + 7));
    }

    #[test]
    fn the_cpu_is_the_one_that_the_system_names() {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        match model {
            Some(line) => assert!(!cpu().is_empty() && line.ends_with(&cpu()), "{line}: {}", cpu()),
            None => assert_eq!(cpu(), ""),
        }
    }

    #[test]
    fn parts_of_one_run_add_up() {
        let out = tempfile::tempdir().unwrap();
        let run = Run::of_this_process(out.path(), Kind::Matrix);
        for (i, target) in ["falsify", "runtimes"].into_iter().enumerate() {
            run.write(&Record::of(run.id(), target, &Verdict::corroborated(1, "", ""))).unwrap();
            let manifest = Manifest::new(&run, Environment::default(), part(target, i + 1));
            manifest.write(&run).unwrap();
        }
        let manifest = Manifest::read(&run.folder().join(FILE)).unwrap();
        assert_eq!((manifest.records, manifest.counts.corroborated, manifest.counts.total), (2, 3, 10));
        assert_eq!(manifest.parts.iter().map(|part| part.target.as_str()).collect::<Vec<_>>(), ["falsify", "runtimes"]);
        assert_eq!(manifest.duration_s, 3.0);
    }

    #[test]
    fn a_part_that_judged_nothing_makes_no_run() {
        let out = tempfile::tempdir().unwrap();
        let run = Run::of_this_process(out.path(), Kind::Matrix);
        Manifest::new(&run, Environment::default(), part("falsify", 0)).write(&run).unwrap();
        assert!(!run.folder().exists());
    }

    #[test]
    fn of_a_variable_that_the_suite_does_not_read_only_the_name_is_recorded() {
        let here = Environment::here(&Workspace::at("/data/suite", "/tmp/out"), 2);
        assert!(here.variables.iter().all(|(name, value)| VARIABLES.contains(&name.as_str()) || value.is_empty()));
        assert_eq!(relative(&Workspace::at("/data/suite", "/tmp/out"), "/data/suite/a:/else/b"), "a:/else/b");
    }

    #[test]
    fn a_manifest_of_another_schema_is_refused() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join(FILE);
        let run = Run::named(out.path(), "r");
        let text = serde_json::to_string(&Manifest::new(&run, Environment::default(), part("falsify", 1))).unwrap();
        fs::write(&path, text.replace("run/1", "run/9")).unwrap();
        assert!(Manifest::read(&path).unwrap_err().contains("schema `ground-truth/run/9`"));
    }

    #[test]
    fn a_date_is_read_by_people() {
        assert_eq!(dashed("20261121T080910Z"), "2026-11-21T08:09:10Z");
    }
}
