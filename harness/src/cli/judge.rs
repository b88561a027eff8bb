//! `judge`: one model folder, or files that were made of it.

use std::path::{Path, PathBuf};

use super::{Exit, Refusal, print, print_json};
use crate::judge::{self, Judged, Request};
use crate::workspace::Workspace;

pub(super) fn judge(model: &Path, files: &[PathBuf], golden: Option<&Path>, only: Option<String>, json: bool) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    let request = Request { model, files, golden, only };
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

fn exit(judged: &Judged) -> Exit {
    let tally = judged.tally();
    match (tally.judged(), tally.is_green()) {
        (0, _) => Exit::Nothing,
        (_, true) => Exit::Green,
        (_, false) => Exit::Red,
    }
}
