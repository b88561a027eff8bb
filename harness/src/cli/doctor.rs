//! `doctor`: what this machine has of what the suite can use, what each thing is for, and how to get what is missing.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ground_truth::kernel::Isa;

use super::{Exit, Refusal, print};
use crate::escape;
use crate::roster::{Roster, Settings};
use crate::runtime::Runtime;
use crate::runtime::process::{Entry, ProcessRuntime, Registry, Unstarted};
use crate::runtime::supervise::Deadlines;
use crate::workspace::Workspace;

/// How long a runtime may take to say what it can do. One that installs itself first is slower, and said to be.
const PATIENCE: Duration = Duration::from_secs(20);

/// Free space below which a whole run may not fit: artifacts of every column and the evidence of twenty runs.
const ENOUGH: u64 = 2 << 30;

/// One line of the answer.
struct Line {
    word: &'static str,
    what: String,
    said: String,
}

impl Line {
    fn ok(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self { word: "ok", what: what.into(), said: said.into() }
    }

    /// Something that is good to have.
    fn absent(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self { word: "absent", what: what.into(), said: said.into() }
    }

    /// Something without which nothing can be judged.
    fn missing(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self { word: "MISSING", what: what.into(), said: said.into() }
    }
}

/// Prints a line for each thing. Red where something that is needed is missing.
pub(super) fn doctor() -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    let settings = Settings::from_env();
    let mut lines = vec![kernels(), uv(), disk(&workspace)];
    lines.extend(data(&workspace, &settings));
    lines.extend(variables(std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned())));
    lines.extend(runtimes(&workspace, &settings));
    let (text, exit) = report(&lines);
    print(&text);
    Ok(exit)
}

/// The lines side by side, and whether something that is needed is missing.
fn report(lines: &[Line]) -> (String, Exit) {
    let mut text = String::new();
    let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or(0);
    for Line { word, what, said } in lines {
        let _ = writeln!(text, "{word:<7} {what:<width$}  {}", escape::line(said));
    }
    let missing = lines.iter().filter(|line| line.word == "MISSING").count();
    if missing > 0 {
        let _ = writeln!(text, "{missing} needed and missing");
        return (text, Exit::Red);
    }
    text.push_str("nothing that is needed is missing\n");
    (text, Exit::Green)
}

fn kernels() -> Line {
    let name = |isa: &Isa| format!("{isa:?}").to_lowercase().replace("isa(", "").replace(')', "");
    let all: Vec<String> = Isa::all().iter().map(name).collect();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    Line::ok(
        "kernels",
        format!("{} used, of {} here, on {threads} threads: answers have the same bits in each", name(&Isa::best()), all.join(", ")),
    )
}

fn uv() -> Line {
    let said = [&["uv", "--version"][..], &["python3", "-m", "uv", "--version"]].into_iter().find_map(|words| {
        let (program, arguments) = words.split_first()?;
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    match said {
        Some(version) => Line::ok("uv", format!("{version}: runs oracles and the adapters in Python")),
        None => Line::absent("uv", "runs oracles and the adapters in Python; judging needs none: python3 -m pip install uv"),
    }
}

fn disk(workspace: &Workspace) -> Line {
    let out = workspace.out();
    let shown = workspace.show(out);
    let written = std::fs::create_dir_all(out).and_then(|()| tempfile::tempfile_in(out).map(drop));
    if let Err(error) = written {
        return Line::missing("disk", format!("{shown} cannot be written: {error}; evidence and converted models go there"));
    }
    match rustix::fs::statvfs(out) {
        Err(error) => Line::absent("disk", format!("free space of {shown} is not known: {error}")),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let said = format!("{:.1} GB free in {shown}: evidence and converted models go there", free as f64 / 1e9);
            if free >= ENOUGH {
                Line::ok("disk", said)
            } else {
                Line::absent("disk", format!("{said}; a whole run wants {} GB", ENOUGH >> 30))
            }
        }
    }
}

fn data(workspace: &Workspace, settings: &Settings) -> Vec<Line> {
    let roster = Roster::read(workspace, settings);
    let (here, away): (Vec<_>, Vec<_>) = roster.entries.iter().partition(|entry| entry.model.is_some());
    let names: Vec<&str> = here.iter().map(|entry| entry.golden.index.model.as_str()).collect();
    let mut lines = vec![if names.is_empty() {
        Line::missing("models", "none with a golden: testdata/models and golden hold those of the repository; check GROUND_TRUTH_ROOT")
    } else {
        Line::ok("models", format!("{} with their goldens: {}", names.len(), names.join(", ")))
    }];
    for entry in away {
        let reason = entry.not_tested.clone().or_else(|| entry.refused.clone()).unwrap_or_default();
        lines.push(Line::absent(format!("model {}", entry.golden.index.model), format!("{reason}; its rows are listed as not tested")));
    }
    lines.extend(roster.problems.iter().map(|problem| Line::missing(problem.subject.clone(), problem.observed.clone())));
    lines
}

/// Variables that speak to the suite, and those that look so and are read by nothing.
fn variables(names: impl Iterator<Item = String>) -> Vec<Line> {
    let mut names: Vec<String> = names.filter(|name| name.starts_with("GROUND_TRUTH_")).collect();
    names.sort();
    let known = super::VARIABLES;
    let line = |name: String| match known.iter().find(|(known, _)| *known == name) {
        Some((_, what)) => Line::ok(name, format!("set: {what}")),
        None => Line::absent(name, "set, and read by nothing: a slip of the pen?"),
    };
    names.into_iter().map(line).collect()
}

/// Every runtime of the registry, started at once.
fn runtimes(workspace: &Workspace, settings: &Settings) -> Vec<Line> {
    let registry = Registry::read(workspace, settings);
    let mut lines: Vec<Line> =
        registry.problems.iter().map(|problem| Line::missing(problem.subject.clone(), problem.observed.clone())).collect();
    let begin = |entry: Entry| (format!("runtime {}", entry.name), thread::spawn(move || started(entry)));
    let handles: Vec<_> = registry.entries.into_iter().map(begin).collect();
    let crashed = |what| Line::missing(what, "starting it crashed this program's own thread");
    lines.extend(handles.into_iter().map(|(what, handle)| handle.join().unwrap_or_else(|_| crashed(what))));
    lines
}

/// Whether a runtime answers without being installed first: nothing is downloaded to find out.
fn started(mut entry: Entry) -> Line {
    entry.command.splice(0..0, ["env".to_owned(), "UV_OFFLINE=1".to_owned()]);
    let what = format!("runtime {}", entry.name);
    let (name, install) = (entry.name.clone(), entry.install.clone().unwrap_or_else(|| "see docs/adapter.md".to_owned()));
    match ProcessRuntime::start(entry, Deadlines::of(PATIENCE)) {
        Ok(runtime) => {
            let version = runtime.capabilities().version;
            runtime.end();
            Line::ok(what, format!("{version}: cargo test --test runtimes -- --include-ignored ::{name}::"))
        }
        Err(Unstarted::NotInstalled(reason)) => Line::absent(what, reason),
        Err(Unstarted::Broken(reason)) => {
            let given = PATIENCE.as_secs();
            Line::absent(what, format!("does not start within {given} s and without the network; {install}; then start it once: {reason}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_about_this_machine_say_what_each_thing_is_for() {
        assert!(kernels().said.contains("portable"), "{}", kernels().said);
        let out = tempfile::tempdir().unwrap();
        assert_ne!(disk(&Workspace::at("/nowhere", out.path())).word, "MISSING");
        let file = out.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(disk(&Workspace::at("/nowhere", file.join("out"))).word, "MISSING");
    }

    #[test]
    fn what_is_missing_is_red_and_what_is_absent_is_not() {
        let (text, exit) = report(&[Line::ok("one", "here"), Line::absent("longer", "not\there")]);
        assert_eq!((text.lines().last(), exit), (Some("nothing that is needed is missing"), Exit::Green));
        assert!(text.contains("ok      one     here\nabsent  longer  not\\there\n"), "{text}");
        let (text, exit) = report(&[Line::ok("one", "here"), Line::missing("two", "gone"), Line::missing("three", "gone")]);
        assert_eq!((text.lines().last(), exit), (Some("2 needed and missing"), Exit::Red));
    }

    #[test]
    fn variables_of_the_suite_are_told_and_slips_of_the_pen_too() {
        let names = ["PATH", "GROUND_TRUTH_MODLES", "GROUND_TRUTH_MODELS", "GROUND_TRUT"].map(str::to_owned);
        let lines = variables(names.into_iter());
        let told: Vec<(&str, &str)> = lines.iter().map(|line| (line.word, line.what.as_str())).collect();
        assert_eq!(told, [("ok", "GROUND_TRUTH_MODELS"), ("absent", "GROUND_TRUTH_MODLES")]);
        assert_eq!(lines[0].said, "set: further folders of models");
    }

    #[test]
    fn an_empty_workspace_misses_its_models() {
        let out = tempfile::tempdir().unwrap();
        let lines = data(&Workspace::at(out.path(), out.path().join("out")), &Settings::default());
        assert!(lines.iter().any(|line| line.word == "MISSING" && line.what == "models"));
    }

    #[test]
    fn a_runtime_that_is_not_there_is_absent_and_no_fault() {
        let entry = Entry { install: Some("get it".into()), ..Entry::of("mine", &["no-such-program"], std::path::Path::new("/")) };
        let line = started(entry);
        assert!(line.word == "absent" && line.said.contains("get it"), "{}", line.said);
    }
}
