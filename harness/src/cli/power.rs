//! `power`: what each check is worth, as it is published.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Exit, Refusal, print, print_json};
use crate::escape;
use crate::power::{self, PowerTable};
use crate::workspace::Workspace;

/// What the command was asked for.
pub(super) struct Asked {
    pub format: Form,
    pub out: Option<PathBuf>,
    pub readme: Option<PathBuf>,
    pub generated: Option<usize>,
    pub seed: u64,
}

/// In which form an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// Markdown
    Md,
    /// One JSON document
    Json,
    /// One page
    Html,
    /// The short form of the README, in Markdown
    Readme,
}

pub(super) fn power(asked: &Asked) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    if let Some(count) = asked.generated {
        return generated(&workspace, count, asked);
    }
    let next = "run `GROUND_TRUTH_BLESS=1 cargo test --test power -- --include-ignored`, which writes it, and read the difference";
    let table =
        power::published(workspace.root()).map_err(|reason| Refusal::new(format!("failed to read the power table: {reason}"), next))?;
    if let Some(file) = &asked.readme {
        return rewrite(file, &table);
    }
    if let Some(folder) = &asked.out {
        return write(folder, &table);
    }
    match asked.format {
        Form::Md => print(&power::markdown(&table)),
        Form::Html => print(&power::html(&table)),
        Form::Readme => print(&power::readme(&table)),
        Form::Json => return print_json(&table),
    }
    Ok(Exit::Green)
}

fn failed(path: &Path, error: impl std::fmt::Display) -> Refusal {
    Refusal::new(format!("failed to write {}: {error}", path.display()), "name a folder, or a file, that can be written")
}

fn write(folder: &Path, table: &PowerTable) -> Result<Exit, Refusal> {
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let json = serde_json::to_string_pretty(table).map_err(|error| failed(folder, error))?;
    let files = [("power.md", power::markdown(table)), ("power.json", escape::json(&json) + "\n"), ("power.html", power::html(table))];
    let mut told = String::new();
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        let _ = writeln!(told, "wrote {}", escape::line(&path.to_string_lossy()));
    }
    print(&told);
    Ok(Exit::Green)
}

fn rewrite(file: &Path, table: &PowerTable) -> Result<Exit, Refusal> {
    let old = std::fs::read_to_string(file).map_err(|error| {
        Refusal::new(format!("failed to read {}: {error}", file.display()), "name a Markdown file that holds the two marks")
    })?;
    let new = power::between_marks(&old, &power::readme(table)).ok_or_else(|| {
        let next = format!("put `{}` and `{}` where it belongs", power::MARKS[0], power::MARKS[1]);
        Refusal::new(format!("failed to find the section in {}", file.display()), next)
    })?;
    std::fs::write(file, &new).map_err(|error| failed(file, error))?;
    print(if new == old { "unchanged\n" } else { "rewritten\n" });
    Ok(Exit::Green)
}

fn generated(workspace: &Workspace, count: usize, asked: &Asked) -> Result<Exit, Refusal> {
    let next = "see that `cargo test --test power` is green; it reads the same models";
    let generated =
        power::draw(workspace, count, asked.seed).map_err(|reason| Refusal::new(format!("failed to judge the draws: {reason}"), next))?;
    print_json(&generated)
}
