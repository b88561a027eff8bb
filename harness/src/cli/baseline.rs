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
    Ok(ended(path.exists(), &conclusion))
}

/// How the command ends. A run without a red row writes nothing, and one without any row proves nothing.
fn ended(is_written: bool, conclusion: &libtest_mimic::Conclusion) -> Exit {
    let judged = conclusion.num_passed + conclusion.num_failed > 0;
    match (is_written, conclusion.has_failed()) {
        (true, _) | (false, false) if judged => Exit::Green,
        (_, true) => Exit::Red,
        (_, false) => Exit::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_nothing_is_not_green() {
        let of = |is_written, num_passed, num_failed| {
            let rest = libtest_mimic::Conclusion { num_filtered_out: 9, num_ignored: 9, num_measured: 0, num_passed, num_failed };
            ended(is_written, &rest)
        };
        assert_eq!(of(false, 0, 0), Exit::Nothing);
        assert_eq!(of(true, 0, 0), Exit::Nothing);
        assert_eq!(of(false, 1, 0), Exit::Green);
        assert_eq!(of(true, 1, 2), Exit::Green);
        assert_eq!(of(true, 0, 2), Exit::Green);
        assert_eq!(of(false, 1, 2), Exit::Red);
    }
}
