//! JUnit XML, the form that build servers read: a suite for each cell, a case for each row.
//!
//! A row that failed as expected and a row that was not tested are `skipped` with their reasons, because the form has no other word that
//! does not redden a build; neither is ever a plain case, which would be a pass. Records that were lost are one error of their own.

use std::collections::BTreeMap;

use super::xml::Xml;
use super::{Findings, cell, what};
use crate::evidence::Record;
use crate::report;

/// One case of a suite.
enum Case<'a> {
    Judged(&'a Record),
    NotTested { name: &'a str, reason: &'a str },
}

#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    milliseconds: f64,
}

impl Counts {
    fn add(&mut self, case: &Case) {
        self.tests += 1;
        match case {
            Case::NotTested { .. } => self.skipped += 1,
            Case::Judged(record) => {
                self.milliseconds += record.duration_ms;
                if record.is_expected() {
                    self.skipped += 1;
                } else if record.is_falsified() {
                    self.failures += 1;
                } else if record.is_red() {
                    self.errors += 1;
                }
            }
        }
    }

    fn attributes(&self) -> [(&'static str, String); 5] {
        [
            ("tests", self.tests.to_string()),
            ("failures", self.failures.to_string()),
            ("errors", self.errors.to_string()),
            ("skipped", self.skipped.to_string()),
            ("time", seconds(self.milliseconds)),
        ]
    }
}

/// The run as JUnit XML.
pub fn junit(findings: &Findings) -> String {
    let mut suites: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for record in findings.records {
        suites.entry(cell(record)).or_default().push(Case::Judged(record));
    }
    for row in findings.not_tested() {
        suites.entry(before_check(&row.name)).or_default().push(Case::NotTested { name: &row.name, reason: &row.reason });
    }
    let mut all = Counts::default();
    suites.values().flatten().for_each(|case| all.add(case));
    if findings.lost.is_some() {
        all.tests += 1;
        all.errors += 1;
    }
    let mut xml = Xml::new();
    let counts = all.attributes();
    let head = [("name", "ground-truth"), ("id", findings.run)];
    xml.open("testsuites", &join(&head, &counts));
    if let Some(lost) = findings.lost {
        xml.open(
            "testsuite",
            &[("name", "evidence"), ("tests", "1"), ("failures", "0"), ("errors", "1"), ("skipped", "0"), ("time", "0.000")],
        );
        xml.open("testcase", &[("name", "evidence is whole"), ("classname", "evidence"), ("time", "0.000")]);
        xml.text("error", &[("type", "incomplete"), ("message", lost)], lost);
        xml.close();
        xml.close();
    }
    for (name, cases) in &suites {
        suite(&mut xml, name, cases);
    }
    xml.finish()
}

fn suite(xml: &mut Xml, name: &str, cases: &[Case]) {
    let mut counts = Counts::default();
    cases.iter().for_each(|case| counts.add(case));
    xml.open("testsuite", &join(&[("name", name)], &counts.attributes()));
    let versions = cases.iter().find_map(|case| if let Case::Judged(record) = case { Some(&record.versions) } else { None });
    if let Some(versions) = versions {
        xml.open("properties", &[]);
        xml.empty("property", &[("name", "suite"), ("value", &versions.suite)]);
        xml.empty("property", &[("name", "runtime"), ("value", &versions.runtime)]);
        xml.close();
    }
    for case in cases {
        match case {
            Case::NotTested { name: row, reason } => {
                xml.open("testcase", &[("name", short(row, name)), ("classname", name), ("time", "0.000")]);
                xml.empty("skipped", &[("message", &format!("not tested: {reason}"))]);
                xml.close();
            }
            Case::Judged(record) => judged(xml, name, record),
        }
    }
    xml.close();
}

fn judged(xml: &mut Xml, suite: &str, record: &Record) {
    let time = seconds(record.duration_ms);
    let attributes = [("name", short(&record.name, suite)), ("classname", suite), ("time", time.as_str())];
    if record.is_green() {
        xml.empty("testcase", &attributes);
        return;
    }
    xml.open("testcase", &attributes);
    let message = report::shorten(&what(record), 300);
    if record.is_expected() {
        let entry = record.expectation.as_ref();
        let why = entry.map(|entry| format!("expected: {} ({})", entry.why, entry.bug)).unwrap_or_else(|| "expected".to_owned());
        xml.empty("skipped", &[("message", &format!("{why}: {message}"))]);
    } else if record.is_falsified() {
        xml.text("failure", &[("type", "falsified"), ("message", &message)], &report::failure(record));
    } else {
        let kind = record.error.as_deref().unwrap_or("error");
        xml.text("error", &[("type", kind), ("message", &message)], &report::failure(record));
    }
    xml.close();
}

fn join<'a>(head: &[(&'a str, &'a str)], counts: &'a [(&'static str, String); 5]) -> Vec<(&'a str, &'a str)> {
    head.iter().copied().chain(counts.iter().map(|(key, value)| (*key, value.as_str()))).collect()
}

/// The name of a row inside of its suite.
fn short<'a>(name: &'a str, suite: &str) -> &'a str {
    name.strip_prefix(suite).and_then(|rest| rest.strip_prefix("::")).filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// The cell of a row of which only the name is known: its first four parts.
fn before_check(name: &str) -> &str {
    name.match_indices("::").nth(3).map_or(name, |(at, _)| &name[..at])
}

fn seconds(milliseconds: f64) -> String {
    let seconds = milliseconds / 1e3;
    // A time that is not a number is one that was not measured.
    if seconds.is_finite() && seconds >= 0.0 { format!("{seconds:.3}") } else { "0.000".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, PAYLOADS, is_clean};
    use super::*;

    #[test]
    fn every_row_is_a_case_and_none_that_was_not_judged_passes() {
        let fixture = Fixture::mixed();
        let text = junit(&fixture.findings());
        assert!(text.contains(r#"<testsuites name="ground-truth" id="run" tests="6" failures="1" errors="2" skipped="2""#), "{text}");
        assert_eq!(text.matches("<testcase ").count(), 6, "{text}");
        assert!(text.contains(r#"<skipped message="not tested: 64-wide rows"/>"#), "{text}");
        assert!(text.contains(r#"<failure type="falsified" message="relative RMS 0.0214 is not &lt;= 5.400e-7">"#), "{text}");
        assert!(text.contains(r#"<error type="gate""#), "{text}");
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("junit", text));
    }

    #[test]
    fn lost_records_redden_the_build() {
        let fixture = Fixture::green();
        let mut findings = fixture.findings();
        assert!(junit(&findings).contains(r#"failures="0" errors="0""#));
        findings.lost = Some("holds 1 record, and run.json says 2");
        let text = junit(&findings);
        assert!(text.contains(r#"failures="0" errors="1""#) && text.contains("evidence is whole"), "{text}");
    }

    #[test]
    fn no_payload_leaves_its_element() {
        let fixture = Fixture::hostile();
        let text = junit(&fixture.findings());
        assert!(is_clean(&text));
        for name in ["script", "img", "c/", "!--", "![CDATA["] {
            assert!(!text.contains(&format!("<{name}")), "{name}");
        }
        assert_eq!(text.matches("<testcase ").count(), PAYLOADS.len());
        assert_eq!(text.matches("</testcase>").count(), PAYLOADS.len());
    }
}
