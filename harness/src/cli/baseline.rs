//! `baseline`: what a runtime fails, written down as its expectations.

use std::ffi::OsString;
use std::sync::Arc;

use super::judge;
use super::{Exit, Refusal};
use crate::expectation::{self, NATIVE};
use crate::runtime::process::When;
use crate::suite::{self, OnTrial};
use crate::workspace::Workspace;

/// Judges every row of the runtime of this name, or those whose names contain `only`, and writes the red ones down.
pub(super) fn baseline(name: &str, only: Option<String>) -> Result<Exit, Refusal> {
    let nothing = |message: String, next: &str| Refusal { message, next: next.to_owned(), exit: Exit::Nothing };
    if name == NATIVE {
        let next = "mend what is red, or name a runtime of runtimes/runtimes.toml or of GROUND_TRUTH_RUNTIMES";
        return Err(nothing(format!("failures of `{NATIVE}` are mended, not expected"), next));
    }
    let workspace = Workspace::from_env();
    let (entry, runtime) = judge::start(&workspace, name)?;
    let folder = entry.expectations.unwrap_or_else(|| workspace.root().join(expectation::FOLDER));
    let path = folder.join(format!("{name}.toml"));
    if path.exists() {
        return Err(nothing(format!("{} is there already", workspace.show(&path)), "move it away, and run again"));
    }
    let on_trial = match entry.run {
        When::Asked => OnTrial::asked(Arc::new(runtime)),
        When::Always => OnTrial::judged(Arc::new(runtime)),
    };
    let words = ["ground-truth baseline", "--include-ignored"].into_iter().map(OsString::from);
    let arguments = libtest_mimic::Arguments::from_iter(words.chain(only.map(OsString::from)));
    let conclusion = suite::run(arguments, vec![on_trial.expecting_in(folder).writing_a_baseline()], suite::REGISTERED_TARGET);
    Ok(match (path.exists(), conclusion.has_failed()) {
        (true, _) | (false, false) if conclusion.num_passed + conclusion.num_failed > 0 => Exit::Green,
        (_, true) => Exit::Red,
        (_, false) => Exit::Nothing,
    })
}
