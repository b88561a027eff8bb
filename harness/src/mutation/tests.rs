//! What is believed of a run of cargo-mutants, and what is not.

use super::sample::{choose, complexity, expression, stratum, stratum_name};
use super::*;

fn outcome(name: &str, summary: &str, phases: &[(&str, &str)]) -> String {
    let phases: Vec<String> = phases
        .iter()
        .map(|(phase, status)| format!(r#"{{"phase":"{phase}","duration":0.1,"process_status":{status},"argv":[]}}"#))
        .collect();
    let span = r#"{"start":{"line":1,"column":1},"end":{"line":2,"column":2}}"#;
    let function = format!(r#"{{"function_name":"f","return_type":"-> i32","span":{span}}}"#);
    let mutant = format!(
        r#"{{"name":"{name}","package":"p","file":"src/lib.rs","function":{function},"span":{span},"replacement":"0","genre":"FnValue"}}"#
    );
    let scenario = if name.is_empty() { r#""Baseline""#.to_owned() } else { format!(r#"{{"Mutant":{mutant}}}"#) };
    format!(r#"{{"scenario":{scenario},"summary":"{summary}","log_path":"x","phase_results":[{}]}}"#, phases.join(","))
}

const BUILT: (&str, &str) = ("Build", r#""Success""#);
const FAILED: (&str, &str) = ("Test", r#"{"Failure":101}"#);

fn file(outcomes: &[String]) -> String {
    format!(r#"{{"outcomes":[{}],"total_mutants":1}}"#, outcomes.join(","))
}

fn baseline() -> String {
    outcome("", "Success", &[BUILT, ("Test", r#""Success""#)])
}

fn fates(outcomes: &[String]) -> Result<Vec<Fate>, String> {
    read(&file(outcomes)).map(|mutants| mutants.into_iter().map(|(_, fate)| fate).collect())
}

#[test]
fn each_end_is_read() {
    let found = fates(&[
        baseline(),
        outcome("a", "CaughtMutant", &[BUILT, FAILED]),
        outcome("b", "Timeout", &[BUILT, ("Test", r#""Timeout""#)]),
        outcome("c", "MissedMutant", &[BUILT, ("Test", r#""Success""#)]),
        outcome("d", "Unviable", &[("Build", r#"{"Failure":101}"#)]),
    ]);
    let found = found.unwrap();
    assert_eq!(found, [Fate::Caught, Fate::Timeout, Fate::Missed, Fate::Unviable]);
    let counts = Counts::of(found);
    assert_eq!(counts.to_string(), "1 caught, 1 timeout, 1 missed, 1 unviable: score 0.6667, as a sample at 95 % 0.2077 to 0.9385");
}

#[test]
fn a_build_that_crashed_is_never_a_catch() {
    for status in [r#"{"Failure":101}"#, r#"{"Signalled":9}"#, r#""Timeout""#] {
        for summary in ["CaughtMutant", "Timeout", "MissedMutant", "Unviable"] {
            assert_eq!(
                fates(&[baseline(), outcome("a", summary, &[("Build", status), FAILED])]),
                Ok(vec![Fate::Unviable]),
                "{status} {summary}"
            );
        }
    }
    assert_eq!(fates(&[baseline(), outcome("a", "CaughtMutant", &[])]), Ok(vec![Fate::Unviable]));
}

#[test]
fn an_outcome_that_contradicts_its_phases_is_an_error() {
    let passed = ("Test", r#""Success""#);
    assert!(fates(&[baseline(), outcome("a", "CaughtMutant", &[BUILT, passed])]).is_err());
    assert!(fates(&[baseline(), outcome("a", "MissedMutant", &[BUILT, FAILED])]).is_err());
    assert!(fates(&[baseline(), outcome("a", "Success", &[BUILT, passed])]).is_err());
    assert!(fates(&[baseline(), outcome("a", "CaughtMutant", &[BUILT])]).is_err());
}

#[test]
fn without_a_green_baseline_nothing_is_known() {
    let caught = outcome("a", "CaughtMutant", &[BUILT, FAILED]);
    assert!(fates(std::slice::from_ref(&caught)).is_err());
    assert!(fates(&[outcome("", "Failure", &[BUILT, FAILED]), caught.clone()]).unwrap_err().contains("unchanged code"));
    assert!(fates(&[baseline(), baseline(), caught]).is_err());
    assert!(read("{}").is_err() && read("").is_err());
}

#[test]
fn no_viable_mutant_is_no_score() {
    assert_eq!(Counts::default().score(), None);
    let counts = Counts { unviable: 7, ..Counts::default() };
    assert_eq!(counts.score(), None);
    assert!(counts.to_string().ends_with("score undefined, as no mutant was tried"), "{counts}");
    assert_eq!(Counts { missed: 2, ..Counts::default() }.score(), Some(0.0));
}

fn mutant(name: &str, package: &str) -> Mutant {
    let span = Span { start: Place { line: 2, column: 1 }, end: Place { line: 4, column: 1 } };
    let function = Some(Function { function_name: "f".into(), span });
    Mutant { name: name.into(), package: package.into(), file: "x.rs".into(), function }
}

#[test]
fn every_package_has_mutants_or_is_named() {
    let mutants = [mutant("a", "p"), mutant("b", "q"), mutant("c", "q")];
    assert_eq!(require_packages(&mutants, &["p", "q"]).unwrap()["q"], 2);
    assert_eq!(require_packages(&mutants, &["p", "r"]).unwrap_err(), "no mutants in: r");
    assert!(require_packages(&[], &["p"]).is_err() && require_packages(&mutants, &[]).is_err());
}

#[test]
fn the_control_is_held_to_all_three_of_its_mutants() {
    let all: Vec<(Mutant, Fate)> = CONTROL.iter().map(|(name, fate)| (mutant(&format!("src/lib.rs:1:1: {name}"), "c"), *fate)).collect();
    assert_eq!(require_control(&all), Ok(()));
    for i in 0..all.len() {
        let mut other = all.clone();
        other[i].1 = if other[i].1 == Fate::Caught { Fate::Missed } else { Fate::Caught };
        assert!(require_control(&other).unwrap_err().contains(CONTROL[i].0));
        other.remove(i);
        assert!(require_control(&other).is_err());
    }
    let mut other = all;
    other.push((mutant("another", "c"), Fate::Missed));
    assert!(require_control(&other).is_err());
}

#[test]
fn a_sample_is_stratified_and_the_seed_decides_it() {
    let mutants: Vec<Mutant> = (0..100).map(|i| mutant(&format!("m{i}"), "p")).collect();
    let strata: Vec<usize> = (0..100).map(|i| if i < 90 { 0 } else { 3 }).collect();
    let of = |n, seed| choose(&mutants, &strata, n, seed).unwrap().iter().map(|mutant| mutant.name.clone()).collect::<Vec<_>>();
    let sample = of(12, 1);
    assert_eq!((sample.len(), sample.iter().filter(|name| name[1..].parse::<usize>().unwrap() >= 90).count()), (12, 6));
    assert_eq!(sample, of(12, 1));
    assert_ne!(sample, of(12, 2));
    assert_eq!(of(30, 1).iter().filter(|name| name[1..].parse::<usize>().unwrap() >= 90).count(), 10);
    assert_eq!(of(1000, 1).len(), 100);
    assert!(choose(&mutants, &strata, 0, 1).is_err() && choose(&[], &[], 3, 1).is_err());
}

#[test]
fn complexity_counts_branches_and_no_comments() {
    assert_eq!(complexity(&["fn f() {", "    1", "}"]), 1);
    assert_eq!(complexity(&["if a && b {", "} else if c {", "// if d", "match x { 1 => 2, _ => 3 }", "f()?;"]), 7);
    let mut source = |_: &str| Ok("\nfn f() {\n if a { while b {} }\n}\n".to_owned());
    assert_eq!(stratum(&mutant("a", "p"), &mut source), Ok(0));
    assert!(stratum(&mutant("a", "p"), &mut |_: &str| Ok("short".to_owned())).is_err());
    assert_eq!((stratum_name(0), stratum_name(3)), ("complexity 1 to 4".to_owned(), "complexity 15 and more".to_owned()));
}

#[test]
fn an_expression_means_one_mutant() {
    let name = "src/a.rs:5:7: replace || with && in <impl X for Y>::f(a) -> Option<[u8]>";
    assert_eq!(expression(&mutant(name, "p")), r"^src/a\.rs:5:7: replace \|\| with \&\& in <impl X for Y>::f\(a\) \-> Option<\[u8\]>$");
}

#[test]
fn a_survivor_becomes_a_record() {
    let record = record("run", &mutant("src/a.rs:5:7: replace < with <= in f", "p"));
    assert!(record.is_falsified() && record.claim.id == "MUTANT" && record.observed.ends_with("replace < with <= in f"));
    assert_eq!(record.reproduce, r"cargo mutants -p p --re '^src/a\.rs:5:7: replace < with <= in f$'");
}

#[test]
fn a_second_pass_catches_survivors_and_nothing_else() {
    let pass = |fates: &[(&str, Fate)]| -> Vec<(Mutant, Fate)> {
        let names: Vec<String> = fates.iter().map(|(name, _)| outcome(name, "Unviable", &[])).collect();
        let read = read(&file(&[vec![baseline()], names].concat())).unwrap();
        read.into_iter().enumerate().map(|(i, (mutant, _))| (mutant, fates[i].1)).collect()
    };
    let fates = |near: &[(&str, Fate)], far: &[(&str, Fate)]| {
        of_passes([pass(near), pass(far)]).into_iter().map(|(_, fate)| fate).collect::<Vec<_>>()
    };
    let near =
        [("a", Fate::Caught), ("b", Fate::Missed), ("c", Fate::Missed), ("d", Fate::Missed), ("e", Fate::Unviable), ("f", Fate::Missed)];
    let far = [("a", Fate::Missed), ("b", Fate::Caught), ("c", Fate::Missed), ("d", Fate::Unviable), ("e", Fate::Caught)];
    assert_eq!(fates(&near, &far), [Fate::Caught, Fate::Caught, Fate::Missed, Fate::Missed, Fate::Unviable, Fate::Missed]);
    assert_eq!(fates(&near[..2], &[]), [Fate::Caught, Fate::Missed]);
    assert_eq!(fates(&near[..1], &[("g", Fate::Missed)]), [Fate::Caught, Fate::Missed]);
}
