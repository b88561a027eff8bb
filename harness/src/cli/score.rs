//! `score`: the model qualification score of a run, beside the table that it came from.

use super::report::Left;
use super::{Exit, Refusal, print, print_json};
use crate::score;
use crate::workspace::Workspace;

pub(super) fn score(run: Option<&str>, json: bool) -> Result<Exit, Refusal> {
    let workspace = Workspace::from_env();
    let left = Left::read(&workspace, run)?;
    let scores = score::scores(&left.findings());
    if json {
        print_json(&scores)?;
    } else {
        print(&score::text::text(&scores));
    }
    // The score decides nothing, the exit code neither: only evidence that is not whole is red.
    Ok(left.exit())
}
