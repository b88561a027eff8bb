//! The runtimes that are on trial by name: `runtimes/runtimes.toml` and the files that `GROUND_TRUTH_RUNTIMES` names.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::roster::{Problem, RUNTIMES_VARIABLE, Settings};
use crate::runtime::supervise::{DEADLINE_VARIABLE, Deadlines};
use crate::workspace::Workspace;
use crate::{escape, expectation};

/// The entries that every run reads, under the root of the workspace.
pub const REGISTRY: &str = "runtimes/runtimes.toml";

/// The name of the engine, which no entry may take.
const NATIVE: &str = "native";

/// The longest deadline of an entry, in seconds: a day.
const MAX_SECONDS: u64 = 86_400;

/// The most processes of one artifact.
const MAX_SESSIONS: usize = 64;

/// When a runtime's rows are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// In every run.
    #[default]
    Always,
    /// Where ignored trials are asked for. Until then it is not even started.
    Asked,
}

/// One runtime that can be put on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in test names.
    pub name: String,
    /// Program and arguments; a program that is a path is absolute.
    pub command: Vec<String>,
    /// The folder it runs in: the root of the workspace.
    pub folder: PathBuf,
    /// The command that installs it.
    pub install: Option<String>,
    /// When it is judged.
    pub run: When,
    /// The most processes at once for one artifact.
    pub sessions: usize,
    /// For a request, where it is not the default.
    pub deadline: Option<Duration>,
    /// For `hello` and `load`, where it is not that of a request.
    pub start: Option<Duration>,
    /// Where its expectations are looked for besides the workspace: beside a file of the user's own.
    pub expectations: Option<PathBuf>,
}

impl Entry {
    /// An entry that runs `command`, everything else as it is by default.
    pub fn of(name: &str, command: &[&str], folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            folder: folder.to_owned(),
            install: None,
            run: When::Always,
            sessions: 1,
            deadline: None,
            start: None,
            expectations: None,
        }
    }

    /// How long this runtime may take. The variable, where it is set, is the user's last word.
    ///
    /// # Errors
    /// As [`Deadlines::from_env`].
    pub fn deadlines(&self) -> Result<Deadlines, String> {
        let default = Deadlines::from_env()?;
        if std::env::var_os(DEADLINE_VARIABLE).is_some() {
            return Ok(default);
        }
        let request = self.deadline.unwrap_or(default.request);
        Ok(Deadlines { request, load: self.start.unwrap_or(request) })
    }
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    command: Vec<String>,
    install: Option<String>,
    #[serde(default)]
    run: When,
    sessions: Option<usize>,
    deadline: Option<u64>,
    start: Option<u64>,
}

/// Every entry of a run, and what is wrong with the files.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// The entries, in the order of files and names.
    pub entries: Vec<Entry>,
    /// What could not be read as an entry.
    pub problems: Vec<Problem>,
}

impl Registry {
    /// Reads the registry of the workspace, where there is one, and the files that the variable names.
    pub fn read(workspace: &Workspace, settings: &Settings) -> Self {
        let mut registry = Self::default();
        let own = workspace.root().join(REGISTRY);
        if own.exists() {
            registry.file(workspace, &own, "runtimes", false);
        }
        let named = settings.runtimes.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b':'));
        for (i, part) in named.enumerate() {
            let subject = format!("variable::{RUNTIMES_VARIABLE}::{}", i + 1);
            if part.is_empty() {
                registry.problem(subject, "a path", format!("part {} of {RUNTIMES_VARIABLE} is empty", i + 1));
                continue;
            }
            let path = workspace.resolve(std::ffi::OsStr::from_bytes(part).to_owned());
            registry.file(workspace, &path, &subject, true);
        }
        if registry.entries.is_empty() && registry.problems.is_empty() {
            let observed = format!("{REGISTRY} names none, and {RUNTIMES_VARIABLE} is unset");
            registry.problem("runtimes".to_owned(), "at least one runtime", observed);
        }
        registry
    }

    /// The entry of this name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    fn problem(&mut self, subject: String, expected: &str, observed: String) {
        self.problems.push(Problem::new(subject, expected, observed));
    }

    fn file(&mut self, workspace: &Workspace, path: &Path, subject: &str, of_user: bool) {
        let shown = workspace.show(path);
        let expected = "a TOML file with a table for each runtime";
        let read = fs::read_to_string(path).map_err(|error| error.to_string());
        // A table of tables that are read one by one: a wrong one leaves the others on trial.
        let tables = read.and_then(|text| toml::from_str::<BTreeMap<String, toml::Value>>(&text).map_err(|error| error.to_string()));
        let tables = match tables {
            Ok(tables) => tables,
            Err(reason) => return self.problem(subject.to_owned(), expected, format!("{shown}: {}", escape::line(reason.trim()))),
        };
        for (name, value) in tables {
            match self.entry(workspace, &name, value) {
                Ok(entry) => {
                    let beside = path.parent().filter(|_| of_user).map(|folder| folder.join(expectation::FOLDER));
                    self.entries.push(Entry { expectations: beside, ..entry });
                }
                Err(reason) => {
                    let subject = format!("runtime::{}", escape::plain_name(&name));
                    let observed = format!("{shown}: [{}]: {}", escape::line(&name), escape::line(reason.trim()));
                    self.problem(subject, "an entry as docs/adapter.md describes it", observed);
                }
            }
        }
    }

    fn entry(&self, workspace: &Workspace, name: &str, value: toml::Value) -> Result<Entry, String> {
        if !escape::is_plain_name(name) {
            return Err("a name of [A-Za-z0-9._-] is due".to_owned());
        }
        if name == NATIVE || self.find(name).is_some() {
            return Err("the name is taken".to_owned());
        }
        let written: Written = value.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let within = |field: &str, n: u64, most: u64| match n {
            n if (1..=most).contains(&n) => Ok(n),
            n => Err(format!("`{field}` is {n}, 1 to {most} is due")),
        };
        let seconds = |field: &str, n: Option<u64>| n.map(|n| within(field, n, MAX_SECONDS).map(Duration::from_secs)).transpose();
        let sessions = written.sessions.unwrap_or(1);
        within("sessions", sessions as u64, MAX_SESSIONS as u64)?;
        let mut command = written.command;
        match command.first_mut() {
            Some(program) if !program.is_empty() => {
                if program.contains('/') {
                    *program = workspace.root().join(&*program).to_string_lossy().into_owned();
                }
            }
            _ => return Err("`command` names no program".to_owned()),
        }
        Ok(Entry {
            name: name.to_owned(),
            command,
            folder: workspace.root().to_owned(),
            install: written.install,
            run: written.run,
            sessions,
            deadline: seconds("deadline", written.deadline)?,
            start: seconds("start", written.start)?,
            expectations: None,
        })
    }
}
