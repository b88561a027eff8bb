//! What people read of each check, green and red: the counts, the places and the words.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::files::WRONG_FILES;
use super::{Tamper, WRONG, columns, everywhere, verdicts};
use crate::check::all;
use crate::observation::Op;
use crate::verdict::Verdict;

/// Numbers with a fraction depend on the exponential of the machine's C library, to the last bit: they are left out.
fn without_fractions(text: &str) -> String {
    let mut said = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let digits = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        // A full stop ends a sentence; what stands behind a number's own may be an exponent.
        let digits = number[..digits].trim_end_matches('.').len();
        let exponent = number[digits..].strip_prefix('e').map_or(0, |power| {
            let end = power.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(power.len());
            if power[..end].is_empty() { 0 } else { 1 + end }
        });
        let whole = exponent == 0 && !number[..digits].contains('.');
        said += before;
        said += if whole { &number[..digits] } else { "#" };
        rest = &number[digits + exponent..];
    }
    said + rest
}

/// The same without any digits: two messages of one shape are one message.
fn shape(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn line(verdict: &Verdict) -> String {
    let place = &verdict.place;
    let position = place.position.map(|position| position.to_string());
    let place = [place.stage.clone(), place.tensor.clone(), position, place.token.clone()];
    let place = place.map(|part| part.unwrap_or_else(|| "-".to_owned())).join(" ");
    let kind = verdict.error.map_or(String::new(), |kind| format!(" ({})", kind.name()));
    let text = format!("{}{kind} {} [{place}]: {} | {}", verdict.outcome.name(), verdict.owner.name(), verdict.expected, verdict.observed);
    without_fractions(&text.replace('\n', "\\n"))
}

#[test]
fn every_check_says_what_it_found_and_where() {
    let columns = columns();
    let answers = WRONG.iter().map(|&(name, tamper, op, _)| (name, tamper, vec![op]));
    let files = WRONG_FILES.iter().map(|&(name, tamper, _)| (name, tamper, vec![Op::Container, Op::Weights]));
    let wrong: Vec<(&str, Tamper, Vec<Op>)> = answers.chain(files).collect();
    let mut text = String::new();
    for check in all() {
        let (trial, right) = everywhere(&columns, check, |_, answer| answer).remove(0);
        let _ = writeln!(text, "{} on {trial}, {} compared: {}", check.id, right.compared, line(&right));
        let mut shapes = BTreeSet::new();
        for (name, tamper, _) in wrong.iter().filter(|(.., ops)| ops.iter().any(|op| check.needs.contains(op))) {
            let red = |fixture| verdicts(fixture, check, tamper).into_iter().find(|(_, verdict)| !verdict.is_green());
            let Some((trial, verdict)) = columns.iter().find_map(red) else { continue };
            if shapes.insert(shape(&line(&verdict))) {
                let _ = writeln!(text, "    {name} on {trial}: {}", line(&verdict));
            }
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("checks", text));
}

#[test]
fn numbers_with_a_fraction_are_left_out() {
    assert_eq!(without_fractions("3 of 4.5, 1e-3 and 2.000e0 on v2. Ends 7."), "3 of #, # and # on v2. Ends 7.");
}
