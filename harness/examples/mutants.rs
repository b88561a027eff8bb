//! What the targets `mutants*` and `coverage` of the Makefile ask of a run of cargo-mutants or cargo-llvm-cov: see `ground_truth_harness::mutation`.
//!
//! ```text
//! mutants packages LIST.json PACKAGE...     every package has mutants, or exit code 1
//! mutants select LIST.json N SEED           N mutants, stratified by complexity, as one regular expression a line
//! mutants control OUTCOMES.json             the control came to what is known of it
//! mutants unchosen LIST.json SAMPLE.txt       what cargo-mutants would run beside the sample
//! mutants survivors OUTCOMES.json SAMPLE.txt  those of the sample that survived, as one regular expression a line: for a second pass, with every test
//! mutants score OUTCOMES.json[,SECOND.json] [LEAST [SAMPLE.txt]]
//!                                           the four counts and the score, of the sample alone where one is named; survivors become evidence;
//!                                           1 below LEAST, 3 without a score
//! mutants coverage EXPORT.json LEAST        files of which fewer than LEAST of a hundred lines are reached: 1 where there are any
//! ```

#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "written so that NaN is below every limit")]

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
        ["select", list, n, seed] => select(list, n, seed),
        ["unchosen", list, sample] => unchosen(list, sample),
        ["survivors", outcomes, sample] => survivors(outcomes, sample),
        ["control", outcomes] => control(outcomes),
        ["score", outcomes] => score(outcomes, None, None),
        ["score", outcomes, least] => score(outcomes, Some(least), None),
        ["score", outcomes, least, sample] => score(outcomes, Some(least), Some(sample)),
        ["coverage", export, least] => coverage(export, least),
        _ => {
            Err("packages LIST PACKAGE..., select LIST N SEED, unchosen LIST SAMPLE, survivors OUTCOMES SAMPLE, control OUTCOMES, score OUTCOMES[,SECOND] [LEAST [SAMPLE]], or coverage EXPORT LEAST"
                .to_owned())
        }
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

fn select(list: &str, n: &str, seed: &str) -> Result<ExitCode, String> {
    let mutants = mutation::read_list(&text(list)?)?;
    let number = |word: &str| word.parse::<u64>().map_err(|error| format!("{word}: {error}"));
    let n = usize::try_from(number(n)?).map_err(|error| error.to_string())?;
    for mutant in sample::choose(&mutants, &strata(&mutants)?, n, number(seed)?)? {
        println!("{}", sample::expression(mutant));
    }
    Ok(ExitCode::SUCCESS)
}

/// The outcomes of a file, or of two that are separated by a comma: the passes of one run.
fn passes(outcomes: &str) -> Result<Vec<(Mutant, Fate)>, String> {
    match outcomes.split_once(',') {
        None => mutation::read(&text(outcomes)?),
        Some((near, far)) => mutation::both_passes(mutation::read(&text(near)?)?, &mutation::read(&text(far)?)?),
    }
}

fn keep_chosen(mutants: &mut Vec<(Mutant, Fate)>, sample: &str) -> Result<(), String> {
    let chosen = text(sample)?;
    mutants.retain(|(mutant, _)| chosen.lines().any(|line| line == sample::expression(mutant)));
    Ok(())
}

/// cargo-mutants 27.1.0 runs every mutant that deletes a field of a struct, whatever it is told to choose or to leave out, but for those that it
/// reads to have been caught before.
fn unchosen(list: &str, sample: &str) -> Result<ExitCode, String> {
    let chosen = text(sample)?;
    for mutant in mutation::read_list(&text(list)?)? {
        if mutant.name.contains(": delete field ") && !chosen.lines().any(|line| line == sample::expression(&mutant)) {
            println!("{}", mutant.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn survivors(outcomes: &str, sample: &str) -> Result<ExitCode, String> {
    let mut mutants = passes(outcomes)?;
    keep_chosen(&mut mutants, sample)?;
    for (mutant, _) in mutants.iter().filter(|(_, fate)| *fate == Fate::Missed) {
        println!("{}", sample::expression(mutant));
    }
    Ok(ExitCode::SUCCESS)
}

fn control(outcomes: &str) -> Result<ExitCode, String> {
    mutation::require_control(&mutation::read(&text(outcomes)?)?)?;
    println!("control: what must be caught is caught, what is equivalent survives, what does not build is no catch");
    Ok(ExitCode::SUCCESS)
}

fn coverage(export: &str, least: &str) -> Result<ExitCode, String> {
    let least: f64 = least.parse().map_err(|error| format!("{least}: {error}"))?;
    let files = mutation::coverage::read(&text(export)?, &Workspace::from_env().root().to_string_lossy())?;
    let below = mutation::coverage::below(&files, least);
    for file in &below {
        println!("{:>6.2} %  {:>5} of {:<5} lines  {}", file.percent(), file.reached, file.lines, escape::line(&file.file));
    }
    let (lines, reached) = files.iter().fold((0, 0), |(lines, reached), file| (lines + file.lines, reached + file.reached));
    println!("{} of {} files are below {least} %; {reached} of {lines} lines are reached", below.len(), files.len());
    Ok(if below.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn score(outcomes: &str, least: Option<&str>, named: Option<&str>) -> Result<ExitCode, String> {
    let least = least.map(|word| word.parse::<f64>().map_err(|error| format!("{word}: {error}"))).transpose()?;
    let mut mutants = passes(outcomes)?;
    if let Some(named) = named {
        keep_chosen(&mut mutants, named)?;
    }
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
    if counts.missed > 0 {
        let folder: &Path = run.folder();
        println!("evidence  {}", Workspace::from_env().show(folder));
    }
    Ok(match (counts.score(), least) {
        (None, _) => ExitCode::from(UNDEFINED),
        (Some(score), Some(least)) if !(score >= least) => ExitCode::FAILURE,
        (Some(_), _) => ExitCode::SUCCESS,
    })
}
