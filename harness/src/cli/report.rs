//! `report`: a run for people and for other programs; two runs beside each other; how the runs go on.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Exit, Refusal, print};
use crate::escape;
use crate::evidence::Run;
use crate::evidence::read::{self, Evidence};
use crate::export::{Findings, annotations, compare, jsonl, junit, markdown, sarif};
use crate::history;
use crate::page;
use crate::power;
use crate::workspace::Workspace;

/// What a report is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One page that needs no network
    Html,
    /// For build servers
    Junit,
    /// For code scanning
    Sarif,
    /// For the summary of a CI step
    Markdown,
    /// Lines that GitHub shows beside a change
    Annotations,
    /// One row a verdict, as docs/evidence.md says
    Jsonl,
}

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) run: Option<&'a str>,
    pub(super) out: Option<&'a Path>,
    pub(super) format: Option<Format>,
    pub(super) compare: Option<&'a [String]>,
    pub(super) trend: bool,
}

/// A run that was read, and why it is not whole.
pub(super) struct Left {
    run: Run,
    evidence: Evidence,
    lost: Option<String>,
}

impl Left {
    pub(super) fn read(workspace: &Workspace, id: Option<&str>) -> Result<Self, Refusal> {
        let run = match id {
            Some(id) => read::run_named(workspace.out(), id),
            None => read::last_run(workspace.out()),
        };
        let run = run.map_err(nothing)?;
        let (evidence, lost) = read::what_is_left(&run).map_err(nothing)?;
        Ok(Self { lost: lost.map(|lost| lost.replace(&*run.folder().to_string_lossy(), run.id())), run, evidence })
    }

    pub(super) fn findings(&self) -> Findings<'_> {
        let Evidence { records, manifest } = &self.evidence;
        Findings { run: self.run.id(), records, manifest: manifest.as_ref(), lost: self.lost.as_deref() }
    }

    /// An incomplete run is told on stderr too, and is red.
    pub(super) fn exit(&self) -> Exit {
        match &self.lost {
            None => Exit::Green,
            Some(lost) => {
                eprintln!("error: the evidence is incomplete: {}", escape::line(lost));
                eprintln!("next:  judge again: cargo test --test falsify");
                Exit::Red
            }
        }
    }
}

fn nothing(reason: String) -> Refusal {
    Refusal { exit: Exit::Nothing, ..Refusal::new(reason, "judge first: cargo test --test falsify") }
}

pub(super) fn report(asked: &Asked) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    if asked.trend {
        let lines = history::read(workspace.out()).map_err(nothing)?;
        let text = match asked.format.unwrap_or(Format::Markdown) {
            Format::Markdown => history::trend(&lines),
            Format::Jsonl => {
                let lines: Result<Vec<String>, _> = lines.iter().map(serde_json::to_string).collect();
                lines.map_err(unwritten)?.iter().map(|line| escape::json(line) + "\n").collect()
            }
            _ => return Err(only("--trend")),
        };
        deliver(&workspace, asked.out, &text)?;
        return Ok(Exit::Green);
    }
    if let Some([a, b]) = asked.compare {
        let (a, b) = (Left::read(&workspace, Some(a))?, Left::read(&workspace, Some(b))?);
        let comparison = compare::compare(&a.findings(), &b.findings());
        let text = match asked.format.unwrap_or(Format::Markdown) {
            Format::Markdown => comparison.markdown(),
            Format::Jsonl => escape::json(&serde_json::to_string(&comparison).map_err(unwritten)?) + "\n",
            _ => return Err(only("--compare")),
        };
        deliver(&workspace, asked.out, &text)?;
        let whole = a.exit() == Exit::Green && b.exit() == Exit::Green;
        return Ok(if comparison.is_worse() || !whole { Exit::Red } else { Exit::Green });
    }
    let left = Left::read(&workspace, asked.run)?;
    let findings = left.findings();
    let format = asked.format.unwrap_or(Format::Html);
    let text = match format {
        Format::Html => page::html_with_power(&findings, &power::published(workspace.root())),
        Format::Junit => Ok(junit::junit(&findings)),
        Format::Sarif => sarif::sarif(&findings),
        Format::Markdown => Ok(markdown::markdown(&findings)),
        Format::Annotations => Ok(annotations::annotations(&findings)),
        Format::Jsonl => jsonl::jsonl(&findings),
    };
    let text = text.map_err(unwritten)?;
    // A page is for a browser: without a name it lies beside its run, and every other form goes where it can be piped.
    let beside = workspace.out().join(format!("{}.html", findings.run));
    let out = asked.out.map(Path::to_path_buf).or((format == Format::Html).then_some(beside));
    deliver(&workspace, out.as_deref(), &text)?;
    Ok(left.exit())
}

/// Writes the text to the file, whose name is then the answer, or to stdout.
fn deliver(workspace: &Workspace, out: Option<&Path>, text: &str) -> Result<(), Refusal> {
    let Some(out) = out.filter(|out| *out != Path::new("-")) else {
        print(text);
        return Ok(());
    };
    // Of a file that is half written nobody can tell which half.
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let written = tempfile::NamedTempFile::new_in(&folder).and_then(|mut file| {
        use std::io::Write as _;
        use std::os::unix::fs::PermissionsExt as _;
        file.write_all(text.as_bytes())?;
        // A temporary file is its owner's alone; a report is for whoever may read the folder.
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(out).map_err(|error| error.error)
    });
    let shown = workspace.show(out);
    written
        .map_err(|error| Refusal::new(format!("failed to write {shown}: {error}"), "name a file in a folder that is there: --out FILE"))?;
    print(&format!("{shown} ({} bytes)\n", text.len()));
    Ok(())
}

fn only(option: &str) -> Refusal {
    Refusal {
        exit: Exit::Usage,
        ..Refusal::new(format!("{option} is written as markdown or jsonl"), "leave out --format, or give one of the two")
    }
}

fn unwritten(error: serde_json::Error) -> Refusal {
    Refusal::new(format!("failed to write JSON: {error}"), "report this as a bug of ground-truth")
}
