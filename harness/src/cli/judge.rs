//! `judge`: one model folder, or files that were made of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Exit, Refusal, print, print_json};
use crate::judge::{self, Judged, Request};
use crate::roster::Settings;
use crate::runtime::Runtime;
use crate::runtime::native::NativeRuntime;
use crate::runtime::process::{Entry, ProcessRuntime, Registry, Unstarted};
use crate::workspace::Workspace;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) model: &'a Path,
    pub(super) files: &'a [PathBuf],
    pub(super) golden: Option<&'a Path>,
    pub(super) runtime: Option<&'a str>,
    pub(super) only: Option<String>,
    pub(super) quick: bool,
}

pub(super) fn judge(asked: &Asked<'_>, json: bool) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    let (runtime, expectations): (Arc<dyn Runtime>, _) = match asked.runtime {
        None => (Arc::new(NativeRuntime::new()), Vec::new()),
        Some(name) => {
            let (entry, runtime) = start(&workspace, name)?;
            (Arc::new(runtime), Vec::from_iter(entry.expectations))
        }
    };
    let request = Request {
        model: asked.model,
        files: asked.files,
        golden: asked.golden,
        only: asked.only.clone(),
        quick: asked.quick,
        runtime,
        runtime_name: asked.runtime.map(str::to_owned),
        expectations,
        deadlines: None,
    };
    let judged = judge::judge(&workspace, &request).map_err(|refusal| Refusal {
        message: refusal.message,
        next: refusal.next,
        exit: Exit::Nothing,
    })?;
    if json {
        print_json(&judged.to_json())?;
    } else {
        print(&judged.text());
    }
    Ok(exit(&judged))
}

/// The runtime of that name, with its entry.
pub(super) fn start(workspace: &Workspace, name: &str) -> Result<(Entry, ProcessRuntime), Refusal> {
    let nothing = |message: String, next: &str| Refusal { message, next: next.to_owned(), exit: Exit::Nothing };
    let registry = Registry::read(workspace, &Settings::from_env());
    if let Some(problem) = registry.problems.first() {
        return Err(nothing(format!("failed to read the runtimes: {}", problem.observed), "mend the file that is named"));
    }
    let Some(entry) = registry.find(name) else {
        let names: Vec<&str> = registry.entries.iter().map(|entry| entry.name.as_str()).collect();
        let next = "name one of them, or write an entry: docs/adapter.md";
        return Err(nothing(format!("no runtime `{name}`; there are: {}", names.join(", ")), next));
    };
    let deadlines = entry.deadlines().map_err(|reason| nothing(reason, "set the variable to a number of seconds, or unset it"))?;
    let started = ProcessRuntime::start(entry.clone(), deadlines).map_err(|unstarted| match unstarted {
        Unstarted::NotInstalled(reason) => nothing(format!("failed to start `{name}`: {reason}"), "install what is missing"),
        Unstarted::Broken(reason) => nothing(format!("failed to start `{name}`: {reason}"), "mend the adapter: docs/adapter.md"),
    })?;
    Ok((entry.clone(), started))
}

fn exit(judged: &Judged) -> Exit {
    let tally = judged.tally();
    match (tally.judged(), tally.is_green()) {
        (0, _) => Exit::Nothing,
        (_, true) => Exit::Green,
        (_, false) => Exit::Red,
    }
}
