//! One entry of an expectation file, as it is written and as it is held against a row.

use std::collections::BTreeMap;
use std::fmt;

use ground_truth_falsification::verdict::{ErrorKind, Outcome};
use serde::{Deserialize, Serialize};

use super::condition::{Condition, Here};
use super::date::Day;
use super::glob;
use crate::evidence::Record;

/// The most days from `since` to `expires`: whoever still expects a failure after a year says so again.
pub const MAX_DAYS: i64 = 366;

/// The entry, field by field.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    test: String,
    #[serde(default)]
    when: Condition,
    status: String,
    kind: Option<String>,
    contains: Option<String>,
    #[serde(default)]
    at_most: BTreeMap<String, f64>,
    #[serde(default)]
    bug: String,
    why: String,
}

/// What a row has to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// The claim is refuted.
    Falsified,
    /// Nothing can be said, for this reason.
    Error(ErrorKind),
}

impl Failing {
    /// What `status` and `kind` name.
    fn written(status: &str, kind: Option<&str>) -> Result<Self, String> {
        let kinds = || ErrorKind::ALL.map(ErrorKind::name).join(", ");
        match (status, kind) {
            ("falsified", None) => Ok(Self::Falsified),
            ("falsified", Some(_)) => Err("`kind` is of errors, and `status` is `falsified`".to_owned()),
            ("error", None) => Err(format!("`kind` is missing: an error is expected of one kind, one of {}", kinds())),
            ("error", Some(kind)) => ErrorKind::ALL
                .into_iter()
                .find(|known| known.name() == kind)
                .map(Self::Error)
                .ok_or_else(|| format!("`kind` is `{kind}`, none of {}", kinds())),
            ("passed" | "corroborated", _) => Err(format!("`status` is `{status}`: what passes needs no entry")),
            _ => Err(format!("`status` is `{status}`, neither `falsified` nor `error`")),
        }
    }

    /// What a record came to; none where it is green.
    pub fn of(record: &Record) -> Option<Self> {
        let kind = || ErrorKind::ALL.into_iter().find(|kind| record.error.as_deref() == Some(kind.name()));
        if record.is_falsified() { Some(Self::Falsified) } else { kind().map(Self::Error) }
    }

    /// `status`.
    pub fn status(self) -> &'static str {
        match self {
            Self::Falsified => Outcome::Falsified.name(),
            Self::Error(_) => Outcome::Error.name(),
        }
    }

    /// `kind`.
    pub fn kind(self) -> Option<&'static str> {
        match self {
            Self::Falsified => None,
            Self::Error(kind) => Some(kind.name()),
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            None => write!(f, "{}", self.status()),
            Some(kind) => write!(f, "{}: {kind}", self.status()),
        }
    }
}

/// An entry, as the evidence holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The file, as it is shown.
    pub file: String,
    /// Its place in the file, from 1.
    pub number: usize,
    /// The rows it is about.
    pub test: String,
    /// `falsified` or `error`.
    pub status: String,
    /// The kind of error.
    pub kind: Option<String>,
    /// What must stand in the failure.
    pub contains: Option<String>,
    /// The largest number that is still the expected failure, by measure.
    pub at_most: BTreeMap<String, f64>,
    /// The report of it.
    pub bug: String,
    /// Expected since this day.
    pub since: String,
    /// Expected until the end of this day.
    pub expires: String,
    /// What fails, in a sentence.
    pub why: String,
    /// Whether the row failed as the entry says.
    pub met: bool,
}

impl Entry {
    /// Reads the entry with this place in its file. None: it is about another system or version.
    ///
    /// # Errors
    /// Everything that is wrong with it. Such an entry excuses nothing.
    pub fn read(
        file: &str,
        number: usize,
        value: toml::Value,
        runtime: &str,
        here: &Here<'_>,
        today: Day,
    ) -> Result<Option<Self>, Vec<String>> {
        let mut value = value;
        // A date is taken as it is written: through serde it would be a text like any other.
        let mut take = |field: &str| value.as_table_mut().and_then(|table| table.remove(field));
        let (since, expires) = (take("since"), take("expires"));
        let written = Written::deserialize(value).map_err(|error| vec![error.message().to_owned()])?;
        let mut wrong = Vec::new();
        let part = format!("::{runtime}::");
        if !written.test.contains(&part) {
            wrong.push(format!("`test` is `{}`, and must name the runtime as `{part}`", written.test));
        }
        let failing = Failing::written(&written.status, written.kind.as_deref()).map_err(|reason| wrong.push(reason)).ok();
        if written.contains.as_ref().is_some_and(String::is_empty) {
            wrong.push("`contains` is empty, which every text contains: leave it out".to_owned());
        }
        for (name, bound) in &written.at_most {
            if !bound.is_finite() {
                wrong.push(format!("`at_most` holds `{name}` to {bound}, which no number is above"));
            }
        }
        if let Err(reason) = link(&written.bug) {
            wrong.push(reason);
        }
        if written.why.trim().is_empty() {
            wrong.push("`why` is empty".to_owned());
        }
        let (since, expires) = (day("since", since), day("expires", expires));
        let mut days = (String::new(), String::new());
        match (since, expires) {
            (Ok(since), Ok(expires)) => {
                wrong.extend(dates(since, expires, today));
                days = (since.to_string(), expires.to_string());
            }
            (since, expires) => wrong.extend(since.err().into_iter().chain(expires.err())),
        }
        let holds = written.when.holds(here).map_err(|reason| wrong.push(reason)).unwrap_or(false);
        let Some(failing) = failing.filter(|_| wrong.is_empty()) else { return Err(wrong) };
        Ok(holds.then(|| Self {
            file: file.to_owned(),
            number,
            test: written.test,
            status: failing.status().to_owned(),
            kind: failing.kind().map(str::to_owned),
            contains: written.contains,
            at_most: written.at_most,
            bug: written.bug,
            since: days.0,
            expires: days.1,
            why: written.why,
            met: false,
        }))
    }

    /// Whether it is about the row of this name.
    pub fn is_about(&self, name: &str) -> bool {
        glob::matches(&self.test, name)
    }

    /// Why `record` is another failure than this, if it is. `found` is what it came to; of a row behind a red gate, what the gate came to,
    /// whose reason the record repeats and whose numbers it has not.
    pub fn differs(&self, record: &Record, found: Option<Failing>) -> Option<String> {
        let due = self.failing();
        if found.is_none_or(|found| found.to_string() != due) {
            return Some(format!("is no `{due}`"));
        }
        if let Some(text) = self.contains.as_ref().filter(|text| !record.observed.contains(*text)) {
            return Some(format!("does not say `{text}`"));
        }
        for (name, most) in self.at_most.iter().filter(|_| found == Failing::of(record)) {
            let mut measures = record.measures.iter().filter(|measure| &measure.name == name).peekable();
            if measures.peek().is_none() {
                return Some(format!("has no measure `{name}`"));
            }
            let keeps = |observed: f64| observed <= *most;
            if let Some(measure) = measures.find(|measure| !keeps(measure.observed)) {
                return Some(format!("has a `{name}` of {:e}, above {most:e}", measure.observed));
            }
        }
        None
    }

    /// `falsified`, or `error: refused`.
    pub fn failing(&self) -> String {
        self.kind.as_ref().map_or_else(|| self.status.clone(), |kind| format!("{}: {kind}", self.status))
    }
}

/// The day that a field names.
fn day(field: &str, value: Option<toml::Value>) -> Result<Day, String> {
    let shown = match &value {
        None => return Err(format!("missing field `{field}`")),
        Some(toml::Value::Datetime(value)) => value.to_string(),
        Some(toml::Value::String(text)) => format!("\"{text}\""),
        Some(other) => format!("of the type {}", other.type_str()),
    };
    let day = value.as_ref().and_then(toml::Value::as_datetime).and_then(Day::written);
    day.ok_or_else(|| format!("`{field}` is {shown}, not a date such as 2026-11-21 (without quotes)"))
}

/// Whether `bug` leads somewhere: an https address with a host and a path.
fn link(bug: &str) -> Result<(), String> {
    if bug.is_empty() {
        return Err("`bug` is missing: write the https address of the report upstream".to_owned());
    }
    let parts = bug.strip_prefix("https://").and_then(|rest| rest.split_once('/'));
    let is_plain = bug.chars().all(|c| c.is_ascii_graphic() && !"\"'<>`\\".contains(c));
    let leads = parts.is_some_and(|(host, path)| host.contains('.') && !host.starts_with('.') && !path.is_empty());
    if leads && is_plain { Ok(()) } else { Err(format!("`bug` is `{bug}`, not an https address with a host and a path")) }
}

fn dates(since: Day, expires: Day, today: Day) -> Vec<String> {
    let mut wrong = Vec::new();
    if since > today {
        wrong.push(format!("`since` is {since}, and today is {today} (UTC)"));
    }
    if expires < since {
        wrong.push(format!("`expires` is {expires}, before `since`, {since}"));
    } else if expires.since(since) > MAX_DAYS {
        wrong.push(format!("`expires` is {expires}, more than {MAX_DAYS} days after `since`, {since}"));
    }
    if expires < today {
        wrong.push(format!("expired: `expires` is {expires}, and today is {today} (UTC); look at the bug again"));
    }
    wrong
}
