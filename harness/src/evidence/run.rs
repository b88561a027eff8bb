//! The folder of one run: its id, its kind, and how long it is kept.
//!
//! The id is `NEXTEST_RUN_ID` where nextest set it, else start time and process id of the cargo that started the test target, else of this
//! process. The hidden file `.run` marks the folder as ours and says its [`Kind`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Record;
use crate::escape;
use crate::expectation::Day;
use crate::hashes;

/// How many runs are kept. The oldest make room.
const KEPT_RUNS: usize = 20;

/// What every run's folder holds besides its records: the mark by which it is known to be ours to remove.
pub(super) const RUN_MARK: &str = ".run";

/// Ticks of a second in `/proc/<pid>/stat`, on every architecture that Rust builds for Linux (proc(5); the kernel's own clock may differ).
const USER_HZ: u64 = 100;

/// What a run judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rows of the matrix, by a test target.
    Matrix,
    /// Rows of one model, by `ground-truth judge`.
    Judge,
    /// Checks, by the defects that they have to find.
    Power,
    /// Checks, by changes of their code.
    Mutants,
    /// Nobody knows: the mark is older than the word, or says another.
    Unknown,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Matrix, Self::Judge, Self::Power, Self::Mutants];

    /// The word in the mark.
    pub fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Judge => "judge",
            Self::Power => "power",
            Self::Mutants => "mutants",
            Self::Unknown => "",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == word)
    }

    /// Whether its records are rows of models: those that a ticket or a report is about when no run is named.
    pub fn judges_models(self) -> bool {
        matches!(self, Self::Matrix | Self::Judge)
    }
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct Run {
    id: String,
    folder: PathBuf,
    kind: Kind,
}

impl Run {
    /// The run that this process takes part in, under the output folder `out`. Nothing is created yet.
    pub fn of_this_process(out: &Path, kind: Kind) -> Self {
        let nextest = std::env::var("NEXTEST_RUN_ID").ok();
        let id = nextest.filter(|id| escape::is_plain_name(id)).or_else(of_cargo).unwrap_or_else(of_this_process);
        let id = if kind == Kind::Power { format!("{id}-power") } else { id };
        Self { kind, ..Self::named(out, id) }
    }

    /// The run with this id, of a kind that its mark says where it is there.
    pub fn named(out: &Path, id: impl Into<String>) -> Self {
        let id = id.into();
        let folder = out.join(&id);
        let kind = fs::read_to_string(folder.join(RUN_MARK)).ok().and_then(|word| Kind::of(word.trim())).unwrap_or(Kind::Unknown);
        Self { folder, id, kind }
    }

    /// What it judged.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes one record.
    ///
    /// # Errors
    /// What the file system says, naming the file.
    pub fn write(&self, record: &Record) -> Result<PathBuf, String> {
        let path = self.folder.join(file_of(&record.name));
        let written = self.prepare().and_then(|()| Ok(record.to_json()?)).and_then(|text| hashes::publish_for_now(&path, text.as_bytes()));
        written.map(|()| path.clone()).map_err(|error| format!("evidence {}: {error}", escape::line(&path.to_string_lossy())))
    }

    /// The file names of its records, in order.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn records(&self) -> io::Result<Vec<String>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".json") && !name.starts_with('.') && name != super::manifest::FILE {
                files.push(name);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Makes the folder. Whoever makes it also removes the runs that are too many.
    pub(super) fn prepare(&self) -> io::Result<()> {
        if self.folder.join(RUN_MARK).is_file() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        fs::write(self.folder.join(RUN_MARK), self.kind.name())?;
        if let Some(runs) = self.folder.parent() {
            forget_old_runs(runs, &self.folder);
        }
        Ok(())
    }
}

/// Removes all but the newest [`KEPT_RUNS`] runs. That one cannot be removed is no reason to fail.
fn forget_old_runs(runs: &Path, current: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    let mut ours: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path != current && path.join(RUN_MARK).is_file())
        .filter_map(|path| Some((fs::metadata(path.join(RUN_MARK)).ok()?.modified().ok()?, path)))
        .collect();
    ours.sort();
    let too_many = (ours.len() + 1).saturating_sub(KEPT_RUNS);
    for (_, path) in ours.into_iter().take(too_many) {
        let _ = fs::remove_dir_all(path);
    }
}

/// `<UTC date and time>-<process id>` of this process.
fn of_this_process() -> String {
    format!("{}-{}", utc(now()), std::process::id())
}

/// The same of the cargo that started this process, where the system tells (Linux): the test targets of one `cargo test` are one run, so
/// that a green target cannot hide the red one before it. Cargo starts the targets one after the other.
fn of_cargo() -> Option<String> {
    let parent = std::os::unix::process::parent_id();
    // `pid (name) state ...`, where the name may hold anything; the time of the start is field 22.
    let status = fs::read_to_string(format!("/proc/{parent}/stat")).ok()?;
    let (name, fields) = (status.get(status.find('(')? + 1..status.rfind(')')?)?, status.get(status.rfind(')')? + 2..)?);
    if name != "cargo" {
        return None;
    }
    let ticks: u64 = fields.split(' ').nth(19)?.parse().ok()?;
    let booted = fs::read_to_string("/proc/stat").ok()?;
    let booted: u64 = booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(format!("{}-{parent}", utc(booted + ticks / USER_HZ)))
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The file of a row's record.
pub(super) fn file_of(name: &str) -> String {
    format!("{}.json", escape::plain_name(name))
}

/// Seconds since 1970 as `YYYYMMDDTHHMMSSZ`.
pub(super) fn utc(seconds: u64) -> String {
    let day = Day::of(1970, 1, 1).after((seconds / 86_400) as i64);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{}T{hour:02}{minute:02}{second:02}Z", day.to_string().replace('-', ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ground_truth_falsification::verdict::Verdict;

    fn record(name: &str) -> Record {
        Record::of("run", name, &Verdict::falsified("x", "y"))
    }

    #[test]
    fn records_of_different_rows_are_different_files() {
        let out = tempfile::tempdir().unwrap();
        let run = Run::named(out.path(), "one");
        let names = ["a::b", "a::b/../../c", "a::b c", &"x".repeat(400)];
        let paths: std::collections::BTreeSet<_> = names.iter().map(|name| run.write(&record(name)).unwrap()).collect();
        assert_eq!(paths.len(), names.len());
        assert!(paths.iter().all(|path| path.parent() == Some(run.folder())));
    }

    #[test]
    fn old_runs_make_room_and_foreign_folders_stay() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir_all(out.path().join("foreign")).unwrap();
        for i in 0..KEPT_RUNS + 3 {
            Run::named(out.path(), format!("run-{i:02}")).write(&record("a")).unwrap();
        }
        let left = fs::read_dir(out.path()).unwrap().count();
        assert_eq!(left, KEPT_RUNS + 1);
        assert!(out.path().join("foreign").is_dir());
        assert!(out.path().join(format!("run-{:02}", KEPT_RUNS + 2)).is_dir());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_782_399), "20000228T235959Z");
        assert_eq!(utc(951_782_400), "20000229T000000Z");
        assert_eq!(utc(1_795_219_200), "20261121T000000Z");
    }

    #[test]
    fn a_run_remembers_its_kind() {
        let out = tempfile::tempdir().unwrap();
        for kind in Kind::ALL {
            let run = Run { kind, ..Run::named(out.path(), kind.name()) };
            run.write(&record("a")).unwrap();
            assert_eq!(Run::named(out.path(), kind.name()).kind(), kind);
        }
        fs::write(out.path().join("matrix").join(RUN_MARK), "").unwrap();
        assert_eq!(Run::named(out.path(), "matrix").kind(), Kind::Unknown);
        assert!(Run::of_this_process(out.path(), Kind::Power).id().ends_with("-power"));
    }
}
