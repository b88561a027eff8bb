//! JSON Lines, one row a verdict, for DuckDB, pandas and jq. Schema `ground-truth/verdict/1`, described in `docs/evidence.md`: every line has
//! every field, in one order and of one type, so that a reader that looks at the first lines guesses right about the others.

use serde::Serialize;

use super::{Findings, cell};
use crate::escape;
use crate::evidence::{Number, Record};
use crate::report::holds;

/// The schema of a line.
pub const SCHEMA: &str = "ground-truth/verdict/1";

#[derive(Default, Serialize)]
struct Line<'a> {
    schema: &'static str,
    run: &'a str,
    name: &'a str,
    cell: &'a str,
    model: Option<&'a str>,
    format: Option<&'a str>,
    quantization: Option<&'a str>,
    runtime: Option<&'a str>,
    check: Option<&'a str>,
    prompt: Option<&'a str>,
    claim: &'a str,
    sentence: &'a str,
    verdict: &'a str,
    error: Option<&'a str>,
    behind_gate: bool,
    reason: Option<&'a str>,
    expected: &'a str,
    observed: &'a str,
    stage: Option<&'a str>,
    tensor: Option<&'a str>,
    position: Option<usize>,
    token: Option<&'a str>,
    owner: &'a str,
    reproduce: &'a str,
    bug: Option<&'a str>,
    flags: &'a [String],
    duration_ms: Option<f64>,
    compared: u64,
    closest: Option<Measure<'a>>,
    measures: Vec<Measure<'a>>,
    bounds: &'a [String],
    suite_version: &'a str,
    runtime_version: &'a str,
}

/// A measure. A number that is not finite is null, and says what it was in `not_finite`: a word in a column of numbers makes it one of words.
#[derive(Clone, Serialize)]
struct Measure<'a> {
    name: &'a str,
    observed: Option<f64>,
    not_finite: Option<String>,
    bound: Option<f64>,
    unit: &'a str,
    holds: bool,
}

impl<'a> From<&'a Number> for Measure<'a> {
    fn from(number: &'a Number) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        Self {
            name: &number.name,
            observed: finite(number.observed),
            not_finite: (!number.observed.is_finite()).then(|| number.observed.to_string()),
            bound: number.bound.and_then(finite),
            unit: &number.unit,
            holds: holds(number),
        }
    }
}

/// The run as JSON Lines: the rows that were judged, by name, then those that were not.
///
/// # Errors
/// What the JSON writer says.
pub fn jsonl(findings: &Findings) -> serde_json::Result<String> {
    let mut text = String::new();
    let judged = findings.records.iter().map(|record| judged(findings.run, record));
    let not_tested = findings.not_tested().iter().map(|row| Line {
        schema: SCHEMA,
        run: findings.run,
        name: &row.name,
        cell: &row.name,
        verdict: "not tested",
        reason: Some(&row.reason),
        ..Line::default()
    });
    for line in judged.chain(not_tested) {
        text.push_str(&escape::json(&serde_json::to_string(&line)?));
        text.push('\n');
    }
    Ok(text)
}

fn judged<'a>(run: &'a str, record: &'a Record) -> Line<'a> {
    let axes = record.axes.as_ref();
    Line {
        schema: SCHEMA,
        run,
        name: &record.name,
        cell: cell(record),
        model: axes.map(|axes| axes.model.as_str()),
        format: axes.map(|axes| axes.format.as_str()),
        quantization: axes.map(|axes| axes.quantization.as_str()),
        runtime: axes.map(|axes| axes.runtime.as_str()),
        check: axes.map(|axes| axes.check.as_str()),
        prompt: axes.and_then(|axes| axes.prompt.as_deref()),
        claim: &record.claim.id,
        sentence: &record.claim.sentence,
        verdict: &record.verdict,
        error: record.error.as_deref(),
        behind_gate: record.behind_gate,
        reason: None,
        expected: &record.expected,
        observed: &record.observed,
        stage: record.place.stage.as_deref(),
        tensor: record.place.tensor.as_deref(),
        position: record.place.position,
        token: record.place.token.as_deref(),
        owner: &record.owner,
        reproduce: &record.reproduce,
        bug: record.expectation.as_ref().map(|entry| entry.bug.as_str()),
        flags: &record.flags,
        duration_ms: record.duration_ms.is_finite().then_some(record.duration_ms),
        compared: record.compared,
        closest: closest(record).map(|(number, _)| Measure::from(number)),
        measures: record.measures.iter().map(Measure::from).collect(),
        bounds: &record.bounds,
        suite_version: &record.versions.suite,
        runtime_version: &record.versions.runtime,
    }
}

/// The gated measure that is closest to its bound or furthest out of it, and its share of the bound. Where one is not a number, it is that.
pub fn closest(record: &Record) -> Option<(&Number, f64)> {
    let share = |number: &Number| match number.bound {
        None => None,
        Some(_) if number.observed.is_nan() => Some(f64::INFINITY),
        Some(0.0) if number.observed <= 0.0 => Some(0.0),
        Some(bound) => Some(number.observed / bound).map(|share| if share.is_nan() { f64::INFINITY } else { share }),
    };
    let shares = record.measures.iter().filter_map(|number| Some((number, share(number)?)));
    shares.reduce(|best, next| if next.1.total_cmp(&best.1).is_gt() { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, PAYLOADS, is_clean};
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_line_is_a_verdict_and_has_every_field() {
        let text = jsonl(&Fixture::mixed().findings()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 6);
        let fields = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert!(lines.iter().all(|line| fields(line) == fields(&lines[0]) && line["schema"] == SCHEMA));
        assert_eq!(lines.last().unwrap()["verdict"], "not tested");
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("verdict_line", text.lines().nth(1).unwrap()));
    }

    #[test]
    fn the_documented_fields_are_those_of_a_line() {
        let page = include_str!("../../../docs/evidence.md");
        let section = page.split_once("ground-truth/verdict/1").expect("the page describes the schema").1;
        let text = jsonl(&Fixture::mixed().findings()).unwrap();
        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        for field in line.as_object().unwrap().keys() {
            assert!(section.contains(&format!("`{field}`")), "docs/evidence.md does not describe `{field}`");
        }
    }

    #[test]
    fn what_is_not_a_number_is_no_word_among_numbers() {
        let mut fixture = Fixture::mixed();
        fixture.records[1].measures[0].observed = f64::NAN;
        let text = jsonl(&fixture.findings()).unwrap();
        let line: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!(line["closest"]["observed"], Value::Null);
        assert_eq!(line["closest"]["not_finite"], "NaN");
        assert_eq!(line["closest"]["holds"], false);
    }

    #[test]
    fn a_bound_of_zero_is_kept_by_zero_and_by_nothing_else() {
        let mut record = Fixture::mixed().records.swap_remove(1);
        let mut share = |observed: f64, bound: f64| {
            (record.measures[0].observed, record.measures[0].bound) = (observed, Some(bound));
            record.measures.truncate(1);
            closest(&record).map(|(_, share)| share)
        };
        assert_eq!(share(0.0, 0.0), Some(0.0));
        assert_eq!(share(-1.0, 0.0), Some(0.0));
        assert_eq!(share(1e-9, 0.0), Some(f64::INFINITY));
        assert_eq!(share(f64::NAN, 0.0), Some(f64::INFINITY));
        assert_eq!(share(1.0, f64::NAN), Some(f64::INFINITY));
        assert_eq!(share(3.0, 2.0), Some(1.5));
    }

    #[test]
    fn no_payload_leaves_its_line() {
        let text = jsonl(&Fixture::hostile().findings()).unwrap();
        assert!(is_clean(&text));
        assert_eq!(text.lines().count(), PAYLOADS.len());
        for (line, payload) in text.lines().zip(PAYLOADS) {
            assert_eq!(serde_json::from_str::<Value>(line).unwrap()["observed"], *payload);
        }
    }
}
