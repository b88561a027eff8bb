//! Runtimes that break or cheat: each red for the right reason, soon, and at no cost to any other.
//!
//! The scripts in `scripts/` are adapters of the protocol in `docs/adapter.md`; those in Rust stand in front of the engine.

mod adapter;
mod fidelity;
mod registry;
mod within;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ground_truth_harness::evidence::Record;
use ground_truth_harness::judge::{self, Request};
use ground_truth_harness::runtime::Runtime;
use ground_truth_harness::runtime::process::{Entry, ProcessRuntime};
use ground_truth_harness::runtime::supervise::Deadlines;
use ground_truth_harness::workspace::Workspace;

/// The command that serves the engine.
const BINARY: &str = env!("CARGO_BIN_EXE_ground-truth");

/// Long enough for an answer of the engine on a busy machine, short enough to wait for one that never comes.
const PATIENT: Deadlines = Deadlines::of(Duration::from_secs(60));

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/controls/scripts").join(name)
}

fn model(name: &str) -> PathBuf {
    Workspace::from_env().models().join(name)
}

/// The control of this name, with the engine's command and `file` at its hand.
fn control(name: &str, file: &Path, deadlines: Deadlines) -> Arc<ProcessRuntime> {
    let script = script(name);
    let words = ["sh", path(&script), BINARY, path(file)];
    let entry = Entry::of("control", &words, Path::new("/"));
    Arc::new(ProcessRuntime::start(entry, deadlines).unwrap_or_else(|unstarted| panic!("{name}: {unstarted:?}")))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

/// The rows of a model whose names contain `only`, judged.
fn judged(model_name: &str, only: &str, runtime: Arc<dyn Runtime>, deadlines: Deadlines) -> Vec<Record> {
    let out = tempfile::tempdir().expect("a temporary folder");
    let workspace = Workspace::at(Workspace::from_env().root(), out.path());
    let model = model(model_name);
    let request = Request {
        model: &model,
        files: &[],
        golden: None,
        only: Some(only.to_owned()),
        quick: false,
        runtime,
        runtime_name: None,
        expectations: Vec::new(),
        deadlines: Some(deadlines),
    };
    let records = judge::judge(&workspace, &request).expect("rows to judge").records;
    assert!(!records.is_empty(), "{only}");
    records
}

/// The command, on a workspace and with runtimes of its own.
fn ground_truth(root: &Path, runtimes: &str, arguments: &[&str]) -> Command {
    let mut command = crate::process::on_workspace(BINARY, root);
    command.args(arguments).env("GROUND_TRUTH_RUNTIMES", runtimes);
    command
}
