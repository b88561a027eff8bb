//! The rows as the script of the page reads them: JSON in which every text stands once and a green row is a few numbers.
//!
//! `strings` holds the texts; everywhere else a number is a place in it. A row is `[cell, check, prompt, verdict, milliseconds, compared,
//! measures, more]`; `more` has what only some rows have, by one letter each. Texts are made harmless here (`escape::line`), and `<` is
//! written as an escape of JSON, so that none of them ends the element that it stands in.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::diagnosis;
use crate::escape;
use crate::evidence::{EXPECTED, Record};
use crate::export::{Findings, cell};
use crate::report::{self, holds};

/// Verdicts by their place in a row.
pub(super) const VERDICTS: [&str; 5] = ["corroborated", "falsified", "error", "expected", "not tested"];

/// So many red rows are told in full; of the others, the beginning. The evidence has all of it.
const IN_FULL: usize = 400;

/// The most characters of one text of a row that is told in full, and of another.
const MAX_TEXT: [usize; 2] = [1_200, 60];

/// What stands for the row's name in the command that all rows share.
const NAME: char = '\u{1}';

/// The place of a verdict in [`VERDICTS`]. An unknown word is an error.
pub(super) fn verdict(record: &Record) -> usize {
    match record.verdict.as_str() {
        _ if record.is_green() => 0,
        _ if record.is_falsified() => 1,
        EXPECTED => 3,
        _ => 2,
    }
}

/// Texts, each once, in the order in which they were first needed.
#[derive(Default)]
struct Strings {
    places: HashMap<String, usize>,
    texts: Vec<String>,
}

impl Strings {
    fn place(&mut self, text: &str) -> usize {
        let text = escape::line(text);
        if let Some(place) = self.places.get(&text) {
            return *place;
        }
        self.texts.push(text.clone());
        self.places.insert(text, self.texts.len() - 1);
        self.texts.len() - 1
    }
}

/// Lists of distinct entries, by what makes them distinct.
struct Distinct<K> {
    places: HashMap<K, usize>,
    entries: Vec<Value>,
}

impl<K: std::hash::Hash + Eq> Distinct<K> {
    fn new() -> Self {
        Self { places: HashMap::new(), entries: Vec::new() }
    }

    fn place(&mut self, key: K, entry: impl FnOnce() -> Value) -> usize {
        let next = self.entries.len();
        *self.places.entry(key).or_insert_with(|| {
            self.entries.push(entry());
            next
        })
    }
}

/// What the rows are written from.
struct Writer<'a> {
    strings: Strings,
    cells: Distinct<&'a str>,
    checks: Distinct<&'a str>,
    measures: Distinct<(&'a str, &'a str)>,
    sentences: HashMap<&'a str, &'a str>,
    reproduce: String,
    told: usize,
}

/// The document.
///
/// # Errors
/// What the JSON writer says.
pub(super) fn json_of(findings: &Findings, diagnoses: &HashMap<&str, diagnosis::Diagnosis>) -> serde_json::Result<String> {
    let reproduce = findings.records.iter().find_map(shared).unwrap_or_default();
    let mut writer = Writer {
        strings: Strings::default(),
        cells: Distinct::new(),
        checks: Distinct::new(),
        measures: Distinct::new(),
        sentences: HashMap::new(),
        reproduce,
        told: 0,
    };
    let mut rows: Vec<Value> = findings.records.iter().map(|record| writer.row(record, diagnoses)).collect();
    for row in findings.not_tested() {
        let (name, reason) = (writer.strings.place(&row.name), writer.strings.place(&row.reason));
        rows.push(json!([-1, -1, -1, 4, 0, 0, [], {"n": name, "o": reason}]));
    }
    let document = json!({
        "schema": "ground-truth/page/1",
        "verdicts": VERDICTS,
        "folder": format!("target/ground-truth/{}", escape::line(findings.run)),
        "reproduce": writer.reproduce,
        "cells": writer.cells.entries,
        "checks": writer.checks.entries,
        "measures": writer.measures.entries,
        "strings": writer.strings.texts,
        "rows": rows,
    });
    Ok(inert(&escape::json(&serde_json::to_string(&document)?)))
}

/// JSON that no reader of HTML takes for markup: these characters stand inside of strings only.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The command of a row, with its name taken out; none where the name is not in it as it is quoted.
fn shared(record: &Record) -> Option<String> {
    let quoted = escape::quoted(&record.name);
    let (before, after) = record.reproduce.split_once(&quoted)?;
    Some(format!("{}{NAME}{}", escape::line(before), escape::line(after)))
}

impl<'a> Writer<'a> {
    fn row(&mut self, record: &'a Record, diagnoses: &HashMap<&str, diagnosis::Diagnosis>) -> Value {
        let label = cell(record);
        let rest = record.axes.as_ref().and_then(|axes| record.name.strip_prefix(label)?.strip_prefix("::")?.strip_prefix(&axes.check));
        let prompt = rest.and_then(|rest| if rest.is_empty() { Some(None) } else { rest.strip_prefix("::").map(Some) });
        let mut more = Map::new();
        let (mut place, mut check, mut asked) = (Value::from(-1), Value::from(-1), Value::from(-1));
        if let (Some(axes), Some(prompt)) = (&record.axes, prompt) {
            let strings = &mut self.strings;
            let parts = [label, &axes.model, &axes.format, &axes.quantization, &axes.runtime];
            place = self.cells.place(label, || json!(parts.map(|part| strings.place(part)))).into();
            let claim = &record.claim;
            let parts = [&axes.check, &claim.id, &claim.sentence, &claim.refuted_by];
            check = self.checks.place(&axes.check, || json!(parts.map(|part| strings.place(part)))).into();
            if *self.sentences.entry(&axes.check).or_insert(&claim.sentence) != claim.sentence {
                more.insert("c".into(), strings.place(&claim.sentence).into());
            }
            asked = prompt.map_or(Value::from(-1), |prompt| strings.place(prompt).into());
        } else {
            more.insert("n".into(), self.strings.place(&record.name).into());
            more.insert("c".into(), self.strings.place(&record.claim.sentence).into());
        }
        if shared(record).as_deref() != Some(self.reproduce.as_str()) {
            more.insert("r".into(), self.strings.place(&record.reproduce).into());
        }
        if !record.flags.is_empty() {
            more.insert("y".into(), self.strings.place(&report::shorten(&record.flags.join("; "), MAX_TEXT[0])).into());
        }
        if !record.is_green() {
            self.tell(record, &mut more, diagnoses.get(label));
        }
        let measures: Vec<Value> = record.measures.iter().map(|number| self.measure(number)).collect();
        let milliseconds = if record.duration_ms.is_finite() { (record.duration_ms * 10.0).round() / 10.0 } else { 0.0 };
        let mut row = json!([place, check, asked, verdict(record), tidy(milliseconds), record.compared, measures]);
        if let (Value::Array(fields), false) = (&mut row, more.is_empty()) {
            fields.push(Value::Object(more));
        }
        row
    }

    /// What only a row that is not green has.
    fn tell(&mut self, record: &Record, more: &mut Map<String, Value>, diagnosis: Option<&diagnosis::Diagnosis>) {
        let limit = MAX_TEXT[usize::from(self.told >= IN_FULL)];
        self.told += 1;
        let mut put = |key: &str, text: &str| {
            if !text.is_empty() {
                more.insert(key.into(), self.strings.place(&report::shorten(text, limit)).into());
            }
        };
        put("e", &record.expected);
        put("o", &record.observed);
        put("w", &report::place(&record.place));
        put("a", &record.owner);
        put("k", record.error.as_deref().unwrap_or_default());
        if let Some(entry) = &record.expectation {
            put("x", &format!("{} ({}), until {}", entry.why, entry.bug, entry.expires));
        }
        if !record.behind_gate && self.told <= IN_FULL {
            let file = format!("{}.json", escape::plain_name(&record.name));
            more.insert("f".into(), self.strings.place(&file).into());
            let said: Vec<usize> =
                diagnosis.map(super::diagnosed).unwrap_or_default().iter().map(|line| self.strings.place(line)).collect();
            if !said.is_empty() {
                more.insert("d".into(), json!(said));
            }
        }
    }

    fn measure(&mut self, number: &'a crate::evidence::Number) -> Value {
        let strings = &mut self.strings;
        let place = self.measures.place((&number.name, &number.unit), || json!([strings.place(&number.name), strings.place(&number.unit)]));
        let mut entry = vec![Value::from(place), digits(number.observed), number.bound.map_or(Value::Null, digits)];
        if !holds(number) {
            entry.push(Value::from(0));
        }
        Value::Array(entry)
    }
}

/// A number with six digits, which is more than the page shows; what is not finite as a word.
fn digits(value: f64) -> Value {
    if !value.is_finite() {
        return Value::from(value.to_string());
    }
    tidy(format!("{value:.5e}").parse().unwrap_or(value))
}

/// A whole number without its `.0`.
fn tidy(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { Value::from(value as i64) } else { Value::from(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture::Fixture;

    #[test]
    fn every_row_is_there_and_its_name_can_be_put_together() {
        let fixture = Fixture::mixed();
        let page: Value = serde_json::from_str(&json_of(&fixture.findings(), &HashMap::new()).unwrap()).unwrap();
        let text = |place: &Value| page["strings"][place.as_u64().unwrap() as usize].as_str().unwrap().to_owned();
        let rows = page["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 6);
        for (row, record) in rows.iter().zip(&fixture.records) {
            let cell = &page["cells"][row[0].as_u64().unwrap() as usize];
            let check = &page["checks"][row[1].as_u64().unwrap() as usize];
            let mut name = format!("{}::{}", text(&cell[0]), text(&check[0]));
            if row[2].as_i64() != Some(-1) {
                name += &format!("::{}", text(&row[2]));
            }
            assert_eq!(name, record.name);
            assert_eq!(page["reproduce"].as_str().unwrap().replace('\u{1}', &format!("'{name}'")), record.reproduce);
            assert_eq!(VERDICTS[row[3].as_u64().unwrap() as usize], record.verdict);
        }
        assert_eq!(rows[1][6][0][3], 0, "a measure that is out of its bound says so");
        assert_eq!(rows[5][3], 4);
    }

    #[test]
    fn numbers_are_short_and_words_where_they_are_none() {
        assert_eq!(digits(0.1234567891).to_string(), "0.123457");
        assert_eq!([digits(3.0), digits(f64::NAN), digits(f64::NEG_INFINITY)], [json!(3), json!("NaN"), json!("-inf")]);
    }

    #[test]
    fn an_unknown_verdict_is_no_pass() {
        let mut fixture = Fixture::green();
        fixture.records[0].verdict = "passed".into();
        assert_eq!(verdict(&fixture.records[0]), 2);
    }
}
