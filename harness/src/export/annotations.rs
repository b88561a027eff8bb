//! Lines that GitHub's runner reads from a log and shows beside a change: `::error title=...::...`.

use std::fmt::Write as _;

use super::{Findings, what};
use crate::escape;
use crate::report;

/// The most annotations of a run; of more, the page of a change shows none.
const MAX: usize = 50;

/// The run as annotations: one for each red row, and one for the verdict.
pub fn annotations(findings: &Findings) -> String {
    let mut text = String::new();
    if let Some(lost) = findings.lost {
        line(&mut text, "error", "the evidence is incomplete", lost);
    }
    if let Some((why, rows)) = findings.halted() {
        line(&mut text, "error", "the run was halted", &format!("{rows} rows were not judged: {why}"));
    }
    for record in findings.flagged().take(MAX) {
        line(&mut text, "warning", &format!("flagged {}", record.name), &record.flags.join("; "));
    }
    let red = findings.red();
    for row in red.iter().take(MAX) {
        let record = row.record;
        let behind = if row.behind > 0 { format!(" (and {} rows behind this gate)", row.behind) } else { String::new() };
        let mut said = format!("{}{behind}", report::shorten(&what(record), 500));
        let place = report::place(&record.place);
        if !place.is_empty() {
            let _ = write!(said, ", {place}");
        }
        let _ = write!(said, "; owner: {}; next: {}", escape::line(&record.owner), record.reproduce);
        line(&mut text, "error", &format!("{} {}", record.verdict, record.name), &said);
    }
    if red.len() > MAX {
        line(&mut text, "error", "more is red", &format!("{} more rows, all in the evidence", red.len() - MAX));
    }
    let level = if findings.is_green() { "notice" } else { "error" };
    line(&mut text, level, "verdict", &findings.verdict());
    text
}

fn line(text: &mut String, level: &str, title: &str, message: &str) {
    let _ = writeln!(text, "::{level} title={}::{}", property(title), data(message));
}

/// The text of an annotation, on one line.
fn data(text: &str) -> String {
    escape::line(text).replace('%', "%25")
}

/// A property of one, which also ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, PAYLOADS, is_clean};
    use super::*;

    #[test]
    fn each_red_row_is_one_line() {
        let text = annotations(&Fixture::mixed().findings());
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("annotations", text));
    }

    #[test]
    fn a_green_run_is_a_notice_and_one_that_lost_records_is_not() {
        let fixture = Fixture::green();
        let mut findings = fixture.findings();
        assert!(annotations(&findings).starts_with("::notice title=verdict::CORROBORATED"));
        findings.lost = Some("holds 1 record, and run.json says 2");
        let text = annotations(&findings);
        assert!(text.starts_with("::error title=the evidence is incomplete::") && !text.contains("::notice"), "{text}");
    }

    #[test]
    fn no_payload_begins_a_line_or_ends_a_title() {
        let text = annotations(&Fixture::hostile().findings());
        assert!(is_clean(&text));
        assert_eq!(text.lines().count(), 2 * PAYLOADS.len().min(MAX) + usize::from(PAYLOADS.len() > MAX) + 1);
        for line in text.lines() {
            let title = line
                .strip_prefix("::error title=")
                .or_else(|| line.strip_prefix("::warning title="))
                .and_then(|rest| rest.split_once("::"))
                .expect(line)
                .0;
            assert!(!title.contains(',') && !title.contains(':'), "{title}");
        }
    }
}
