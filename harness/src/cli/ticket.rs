//! `ticket`: what is red in a run, as issues.

use std::fs;
use std::path::Path;

use super::{Exit, Refusal, print, print_json};
use crate::escape;
use crate::evidence::Run;
use crate::evidence::read;
use crate::ticket::{self, Tickets};
use crate::workspace::Workspace;

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) run: Option<&'a str>,
    pub(super) split: Option<&'a Path>,
    pub(super) json: bool,
    pub(super) gh: bool,
}

pub(super) fn ticket(asked: &Asked<'_>) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    let tickets = of_run(&workspace, asked.run)?;
    if asked.json {
        if let Some(folder) = asked.split {
            for ticket in &tickets.tickets {
                let text = serde_json::to_string_pretty(ticket).map_err(|error| Refusal::new(error.to_string(), "report this as a bug"))?;
                write(&folder.join(ticket::file_name(ticket).replace(".md", ".json")), &(escape::json(&text) + "\n"))?;
            }
        }
        return print_json(&tickets);
    }
    let Some(folder) = asked.split.filter(|_| !tickets.tickets.is_empty()) else {
        print(&ticket::markdown(&tickets));
        return Ok(Exit::Green);
    };
    for ticket in &tickets.tickets {
        let file = folder.join(ticket::file_name(ticket));
        write(&file, &ticket.markdown())?;
        let file = file.to_string_lossy();
        print(&if asked.gh { ticket::gh(ticket, &file) + "\n" } else { format!("{}\n", escape::line(&file)) });
    }
    Ok(Exit::Green)
}

/// The tickets of a run, or of the last.
fn of_run(workspace: &Workspace, id: Option<&str>) -> Result<Tickets, Refusal> {
    let out = workspace.out();
    let run = id.map_or_else(|| read::last_run(out), |id| read::run_named(out, id)).map_err(|message| Refusal {
        message,
        next: "judge something: cargo test --test falsify, or ground-truth judge FOLDER".to_owned(),
        exit: Exit::Nothing,
    })?;
    let refused = |message| Refusal::new(message, "judge again: what is left of this run would say less than was found");
    let evidence = read::read(&run).map_err(refused)?;
    // The power tests of the same `cargo test` have measured how far the weakest defect lies from each bound.
    let power = Run::named(out, format!("{}-power", run.id()));
    let power = if power.folder().is_dir() { read::read(&power).map_err(refused)?.records } else { Vec::new() };
    Ok(Tickets::of(run.id(), &evidence, &power))
}

fn write(path: &Path, text: &str) -> Result<(), Refusal> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|error| Refusal::new(format!("failed to write {}: {error}", path.display()), "name a folder that can be written"))
}
