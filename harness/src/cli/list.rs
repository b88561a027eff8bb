//! `list`: the models of the roster.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use ground_truth_falsification::claim::{self, Tested};

use super::{Exit, Refusal, print, print_json};
use crate::escape;
use crate::evidence::manifest::NotTested;
use crate::list;
use crate::matrix::Matrix;
use crate::roster::{Roster, Settings};
use crate::runtime::Runtime;
use crate::runtime::native::NativeRuntime;
use crate::runtime::process::{Registry, When};
use crate::workspace::Workspace;

#[derive(Serialize)]
struct List {
    schema: &'static str,
    models: Vec<list::Listed>,
    problems: Vec<String>,
}

pub(super) fn list(json: bool) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    let roster = Roster::read(&workspace, &Settings::from_env());
    let models = list::list(&workspace, &roster.models);
    let problems: Vec<String> = roster.problems.iter().map(|problem| problem.observed.clone()).collect();
    let red = !problems.is_empty() || models.iter().any(|model| model.error.is_some());
    if json {
        print_json(&List { schema: "ground-truth/list/1", models, problems })?;
    } else {
        let mut text = String::new();
        let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0);
        for model in &models {
            let word = |word: &Option<String>| escape::line(word.as_deref().unwrap_or("?"));
            let (architecture, dtype) = (word(&model.architecture), word(&model.dtype));
            let parameters = model.parameters.map_or_else(|| "?".to_owned(), |n| n.to_string());
            let name = escape::line(&model.name);
            let _ = writeln!(text, "{name:<width$}  {architecture:<6} {dtype:<5} {parameters:>12} parameters  {}", model.path);
            if let Some(error) = &model.error {
                let _ = writeln!(text, "{:<width$}  cannot be read: {}", "", escape::line(error));
            }
        }
        for problem in &problems {
            let _ = writeln!(text, "problem: {}", escape::line(problem));
        }
        print(&text);
    }
    Ok(if red { Exit::Red } else { Exit::Green })
}

#[derive(Serialize)]
struct Untested {
    schema: &'static str,
    rows: Vec<NotTested>,
    runtimes: Vec<NotTested>,
    claims: Vec<NotTested>,
}

/// What no run of `cargo test` here would judge: rows of the engine's matrix, runtimes that wait to be asked, claims without a test.
pub(super) fn not_tested(json: bool) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    let settings = Settings::from_env();
    let roster = Roster::read(&workspace, &settings);
    let matrix = Matrix::new(&roster, &NativeRuntime::new().capabilities());
    let rows: Vec<NotTested> = matrix.rows.iter().filter_map(NotTested::of).collect();
    let asked = |name: &str| format!("judged where it is asked for: cargo test --test runtimes -- --include-ignored ::{name}::");
    let runtimes = Registry::read(&workspace, &settings).entries.into_iter().filter(|entry| entry.run == When::Asked);
    let runtimes = runtimes.map(|entry| NotTested { reason: asked(&entry.name), name: entry.name }).collect();
    let planned = |tested: &&Tested| matches!(tested, Tested::Issue(_));
    let claims = claim::REGISTER.iter().filter(|claim| claim.tested.iter().any(|tested| planned(&tested)));
    let claims = claims.map(|claim| NotTested { name: claim.id.to_owned(), reason: claim.sentence.to_owned() }).collect();
    let untested = Untested { schema: "ground-truth/not-tested/1", rows, runtimes, claims };
    if json {
        return print_json(&untested);
    }
    let mut text = String::new();
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    untested.rows.iter().for_each(|row| reasons.entry(&row.reason).or_default().push(&row.name));
    let _ = writeln!(text, "rows          {} of {} in the matrix of the engine", untested.rows.len(), matrix.rows.len());
    for (reason, names) in reasons {
        let _ = writeln!(text, "  {} rows, {} first: {}", names.len(), escape::line(names.first().unwrap_or(&"")), escape::line(reason));
    }
    let _ = writeln!(text, "runtimes      {} wait to be asked", untested.runtimes.len());
    for runtime in &untested.runtimes {
        let _ = writeln!(text, "  {}: {}", escape::line(&runtime.name), escape::line(&runtime.reason));
    }
    let _ = writeln!(text, "claims        {} of {} have a part without a test yet", untested.claims.len(), claim::REGISTER.len());
    for claim in &untested.claims {
        let _ = writeln!(text, "  {}: {}", claim.name, claim.reason);
    }
    print(&text);
    Ok(if roster.problems.is_empty() { Exit::Green } else { Exit::Red })
}
