//! The runtimes that are on trial by name: started where this run judges them, and otherwise a row that says why not.

use std::sync::Arc;

use libtest_mimic::Arguments;

use super::OnTrial;
use crate::expectation::baseline;
use crate::roster::{Problem, Settings};
use crate::runtime::process::{Entry, ProcessRuntime, Registry, Unstarted, When};
use crate::workspace::Workspace;

/// The test target of the runtimes that are on trial by name.
pub const TARGET: &str = "runtimes";

/// Every entry, started if it is to be judged.
pub(super) fn on_trial(arguments: &Arguments, workspace: &Workspace, settings: &Settings) -> Vec<OnTrial> {
    let registry = Registry::read(workspace, settings);
    let named = named(arguments, &registry);
    let required = settings.require_all.as_ref().is_some_and(|value| value == "1");
    let ignored_too = arguments.ignored || arguments.include_ignored;
    let problems = registry.problems.iter().cloned().map(OnTrial::problem);
    let entries = registry.entries.iter().map(|entry| {
        let name = &entry.name;
        if entry.run == When::Asked && !ignored_too {
            return OnTrial::not_tested(name, &format!("judged where it is asked for: cargo test --test {TARGET} -- --ignored {name}"));
        }
        if named.as_ref().is_some_and(|named| named != name) {
            return OnTrial::not_tested(name, "not started, because the filter names another runtime");
        }
        start(entry, required)
    });
    problems.chain(entries).collect()
}

/// The entry that the filter names: as a whole, or as a part of a row's name. The others need not be started, which may take minutes.
fn named(arguments: &Arguments, registry: &Registry) -> Option<String> {
    let filter = arguments.filter.as_deref()?;
    let mut parts = filter.split("::").filter_map(|part| registry.find(part));
    let first = parts.next()?;
    parts.next().is_none().then(|| first.name.clone())
}

fn start(entry: &Entry, required: bool) -> OnTrial {
    let name = &entry.name;
    let problem = |reason: String| OnTrial::problem(Problem::new(format!("runtime::{name}"), "a runtime that can be put on trial", reason));
    let deadlines = match entry.deadlines() {
        Ok(deadlines) => deadlines,
        Err(reason) => return problem(reason),
    };
    let put_on_trial = |runtime: ProcessRuntime| {
        let mut on_trial = match entry.run {
            When::Asked => OnTrial::asked(Arc::new(runtime)),
            When::Always => OnTrial::judged(Arc::new(runtime)),
        };
        if let Some(folder) = &entry.expectations {
            on_trial = on_trial.expecting_in(folder.clone());
        }
        if std::env::var_os(baseline::VARIABLE).is_some_and(|value| !value.is_empty()) {
            on_trial = on_trial.writing_a_baseline();
        }
        on_trial
    };
    match ProcessRuntime::start(entry.clone(), deadlines) {
        Ok(runtime) => put_on_trial(runtime),
        Err(Unstarted::NotInstalled(reason)) if required => problem(reason),
        Err(Unstarted::NotInstalled(reason)) => OnTrial::not_tested(name, &reason),
        Err(Unstarted::Broken(reason)) => problem(reason),
    }
}
