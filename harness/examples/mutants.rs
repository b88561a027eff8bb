//! What the targets `mutants*` and `coverage` of the Makefile ask of a run of cargo-mutants or cargo-llvm-cov: see `ground_truth_harness::mutation`.
//!
//! ```text
//! mutants packages LIST.json PACKAGE...   every package has mutants, or exit code 1
//! mutants select LIST.json N SEED [FILE]  N mutants, stratified by complexity, as one regular expression a line; of files that begin so alone
//! mutants of PACKAGE LIST.json SAMPLE.txt those of the sample that are in one package
//! mutants unchosen LIST.json SAMPLE.txt   what cargo-mutants would run beside the sample
//! mutants survivors SAMPLE.txt OUTCOMES.json...
//!                                         those of the sample that survived: for a pass with other tests
//! mutants score LEAST all|SAMPLE.txt OUTCOMES.json...
//!                                         the four counts and the score of a run in passes; survivors become evidence;
//!                                         1 below LEAST or where some of the sample were not tried, 3 without a score
//! mutants control OUTCOMES.json           the control came to what is known of it
//! mutants coverage LEAST EXPORT.json...   files of which fewer than LEAST of a hundred lines are reached: 1 where there are any
//! ```

#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "written so that NaN is below every limit")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use ground_truth_harness::escape;
use ground_truth_harness::evidence::run::{Kind, Run};
use ground_truth_harness::mutation::{self, Counts, Fate, Mutant, sample};
use ground_truth_harness::workspace::Workspace;

/// No mutant was tried.
const UNDEFINED: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["packages", list, packages @ ..] => packages_of(list, packages),
        ["select", list, n, seed] => select(list, n, seed, ""),
        ["select", list, n, seed, file] => select(list, n, seed, file),
        ["of", package, list, sample] => of_package(package, list, sample),
        ["unchosen", list, sample] => unchosen(list, sample),
        ["survivors", sample, outcomes @ ..] => survivors(sample, outcomes),
        ["score", least, sample, outcomes @ ..] => score(least, sample, outcomes),
        ["control", outcomes] => control(outcomes),
        ["coverage", least, exports @ ..] => coverage(least, exports),
        _ => Err("packages LIST PACKAGE..., select LIST N SEED [FILE], of PACKAGE LIST SAMPLE, unchosen LIST SAMPLE, survivors SAMPLE OUTCOMES..., score LEAST all|SAMPLE OUTCOMES..., control OUTCOMES, or coverage LEAST EXPORT...".to_owned()),
    };
    result.unwrap_or_else(|reason| {
        eprintln!("{}", escape::line(&reason));
        ExitCode::FAILURE
    })
}

fn text(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn packages_of(list: &str, packages: &[&str]) -> Result<ExitCode, String> {
    for (package, mutants) in mutation::require_packages(&mutation::read_list(&text(list)?)?, packages)? {
        println!("{package}: {mutants} mutants");
    }
    Ok(ExitCode::SUCCESS)
}

fn strata<'a>(mutants: impl IntoIterator<Item = &'a Mutant>) -> Result<Vec<usize>, String> {
    let root = Workspace::from_env().root().to_path_buf();
    let mut source = |file: &str| text(&root.join(file).to_string_lossy());
    mutants.into_iter().map(|mutant| sample::stratum(mutant, &mut source)).collect()
}

fn select(list: &str, n: &str, seed: &str, file: &str) -> Result<ExitCode, String> {
    let mut mutants = mutation::read_list(&text(list)?)?;
    mutants.retain(|mutant| mutant.file.starts_with(file));
    let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{word}: {error}"));
    let n = usize::try_from(number(n)?).map_err(|error| error.to_string())?;
    for mutant in sample::choose(&mutants, &strata(&mutants)?, n, number(seed)?)? {
        println!("{}", sample::expression(mutant));
    }
    Ok(ExitCode::SUCCESS)
}

fn of_package(package: &str, list: &str, sample: &str) -> Result<ExitCode, String> {
    let chosen = text(sample)?;
    for mutant in mutation::read_list(&text(list)?)?.iter().filter(|mutant| mutant.package == package && is_chosen(&chosen, mutant)) {
        println!("{}", sample::expression(mutant));
    }
    Ok(ExitCode::SUCCESS)
}

fn is_chosen(chosen: &str, mutant: &Mutant) -> bool {
    let expression = sample::expression(mutant);
    chosen.lines().any(|line| line == expression)
}

/// What became of the mutants of a run, and how many of the sample were never tried.
fn tried(sample: &str, outcomes: &[&str]) -> Result<(Vec<(Mutant, Fate)>, usize), String> {
    let passes: Vec<_> = outcomes.iter().map(|file| mutation::read(&text(file)?)).collect::<Result<_, String>>()?;
    let mut mutants = mutation::of_passes(passes);
    if sample == "all" {
        return Ok((mutants, 0));
    }
    let chosen = text(sample)?;
    mutants.retain(|(mutant, _)| is_chosen(&chosen, mutant));
    // Of two mutants that have one name, a line chooses both.
    let names: BTreeSet<String> = mutants.iter().map(|(mutant, _)| sample::expression(mutant)).collect();
    let untried = chosen.lines().filter(|line| !names.contains(*line)).count();
    Ok((mutants, untried))
}

/// cargo-mutants 27.1.0 runs every mutant that deletes a field of a struct, whatever it is told to choose or to leave out, but for those that it
/// reads to have been caught before.
fn unchosen(list: &str, sample: &str) -> Result<ExitCode, String> {
    let chosen = text(sample)?;
    for mutant in mutation::read_list(&text(list)?)? {
        if mutant.name.contains(": delete field ") && !is_chosen(&chosen, &mutant) {
            println!("{}", mutant.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn survivors(sample: &str, outcomes: &[&str]) -> Result<ExitCode, String> {
    for (mutant, _) in tried(sample, outcomes)?.0.iter().filter(|(_, fate)| *fate == Fate::Missed) {
        println!("{}", sample::expression(mutant));
    }
    Ok(ExitCode::SUCCESS)
}

fn control(outcomes: &str) -> Result<ExitCode, String> {
    mutation::require_control(&mutation::read(&text(outcomes)?)?)?;
    println!("control: what must be caught is caught, what is equivalent survives, what does not build is no catch");
    Ok(ExitCode::SUCCESS)
}

fn coverage(least: &str, exports: &[&str]) -> Result<ExitCode, String> {
    let least: f64 = least.parse().map_err(|error| format!("{least}: {error}"))?;
    let exports = exports.iter().map(|export| text(export)).collect::<Result<Vec<_>, _>>()?;
    let files = mutation::coverage::read(&exports, &Workspace::from_env().root().to_string_lossy())?;
    let below = mutation::coverage::below(&files, least);
    for file in &below {
        println!("{:>6.2} %  {:>5} of {:<5} lines  {}", file.percent(), file.reached, file.lines, escape::line(&file.file));
    }
    let (lines, reached) = files.iter().fold((0, 0), |(lines, reached), file| (lines + file.lines, reached + file.reached));
    println!("{} of {} files are below {least} %; {reached} of {lines} lines are reached", below.len(), files.len());
    Ok(if below.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn score(least: &str, sample: &str, outcomes: &[&str]) -> Result<ExitCode, String> {
    let least: f64 = least.parse().map_err(|error| format!("{least}: {error}"))?;
    let (mutants, untried) = tried(sample, outcomes)?;
    let counts = Counts::of(mutants.iter().map(|(_, fate)| *fate));
    let strata = strata(mutants.iter().map(|(mutant, _)| mutant))?;
    let fates: Vec<(usize, Fate)> = mutants.iter().enumerate().map(|(i, (_, fate))| (strata[i], *fate)).collect();
    for (stratum, counts) in sample::by_stratum(&fates) {
        println!("{:<24} {counts}", sample::stratum_name(stratum));
    }
    let run = Run::of_this_process(Workspace::from_env().out(), Kind::Mutants);
    for (mutant, _) in mutants.iter().filter(|(_, fate)| *fate == Fate::Missed) {
        run.write(&mutation::record(run.id(), mutant))?;
        println!("survivor  {}", escape::line(&mutant.name));
    }
    println!("{counts}");
    if untried > 0 {
        println!("{untried} of {} were never tried: this is the score of no sample", untried + mutants.len());
    }
    if counts.missed > 0 {
        let folder: &Path = run.folder();
        println!("evidence  {}", Workspace::from_env().show(folder));
    }
    Ok(match counts.score() {
        None => ExitCode::from(UNDEFINED),
        Some(score) if untried > 0 || !(score >= least) => ExitCode::FAILURE,
        Some(_) => ExitCode::SUCCESS,
    })
}
