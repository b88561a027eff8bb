//! What a test target leaves beside its records when it ends: its part of the run's manifest, and its line of the history.

use std::sync::PoisonError;
use std::time::Duration;

use libtest_mimic::Arguments;

use super::Bench;
use crate::evidence::manifest::{self, Environment, Manifest, Part};
use crate::evidence::{Record, Run};
use crate::history;
use crate::matrix::Matrix;
use crate::roster::Entry;
use crate::workspace::Workspace;

/// The manifest of a run that ends now, before anything in it is counted.
pub(crate) fn manifest(workspace: &Workspace, run: &Run, target: &str, entries: &[Entry], threads: usize, elapsed: Duration) -> Manifest {
    let part = Part { target: target.to_owned(), duration_s: elapsed.as_secs_f64(), ..Part::default() };
    Manifest {
        files: manifest::files(workspace, entries),
        prompts_sha256: manifest::prompts_sha256(entries),
        ..Manifest::new(run, Environment::here(workspace, threads), part)
    }
}

/// Writes the part of this test target.
pub(super) fn write(
    workspace: &Workspace,
    run: &Run,
    target: &str,
    benches: &[Bench],
    entries: &[Entry],
    arguments: &Arguments,
    elapsed: Duration,
) -> Result<(), String> {
    let threads = arguments.test_threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let ledgers: Vec<_> = benches.iter().map(|bench| bench.ledger.records.lock().unwrap_or_else(PoisonError::into_inner)).collect();
    if ledgers.iter().all(|records| records.is_empty()) && !run.folder().is_dir() {
        return Ok(());
    }
    let counted: Vec<(String, &Matrix, &[Record])> =
        std::iter::zip(benches, &ledgers).map(|(bench, records)| (bench.heading.clone(), &bench.matrix, records.as_slice())).collect();
    manifest(workspace, run, target, entries, threads, elapsed).counting(&counted).write(run)?;
    history::append(workspace.out(), run, counted.iter().flat_map(|(_, _, records)| *records))
}
