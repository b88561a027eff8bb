//! `list`: the models of the roster.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Exit, Refusal, print, print_json};
use crate::escape;
use crate::list;
use crate::roster::{Roster, Settings};
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
