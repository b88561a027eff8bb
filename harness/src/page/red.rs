//! What is red, told in full and without a script.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::overview::mark;
use super::{count, data, diagnosed, esc, fragment};
use crate::diagnosis::Diagnosis;
use crate::evidence::Record;
use crate::export::{Findings, Red, cell, what};
use crate::report;

/// The most rows that are told in full. The script finds the others.
const MAX_RED: usize = 120;

/// The most characters of one text.
const MAX_TEXT: usize = 1_500;

/// The most entries of expectations that are listed.
const MAX_EXPECTED: usize = 50;

pub(super) fn section(out: &mut String, findings: &Findings, diagnoses: &HashMap<&str, Diagnosis>) {
    let mut red = findings.red();
    // A broken list may have taken rows away that nobody sees: it is told first, then the gates.
    red.sort_by_key(|red| (red.record.axes.is_some(), red.behind == 0));
    let tally = findings.tally();
    let _ = writeln!(
        out,
        "<section id=\"red\" aria-labelledby=\"red-title\"><h2 id=\"red-title\">Red: {}</h2>",
        count(tally.falsified + tally.errors, "row")
    );
    if let Some((why, rows)) = findings.halted() {
        let _ = writeln!(out, "<p class=\"banner\">! {} not judged: {}</p>", count(rows, "row"), esc(why));
    }
    if red.is_empty() && findings.halted().is_none() {
        out.push_str("<p>Nothing that was judged is red.</p>\n");
    } else {
        out.push_str("<p class=\"note\">Broken lists first, then gates with the rows behind them, then rows by name. Each ends with the command that shows it again.</p>\n<ul class=\"reds\" tabindex=\"0\" aria-label=\"red rows\">\n");
        for row in red.iter().take(MAX_RED) {
            told(out, row, diagnoses.get(cell(row.record)));
        }
        out.push_str("</ul>\n");
        if red.len() > MAX_RED {
            let _ = writeln!(out, "<p>And {} more, in the search and in the evidence.</p>", red.len() - MAX_RED);
        }
    }
    expected(out, findings);
    flagged(out, findings);
    out.push_str("</section>\n");
}

fn told(out: &mut String, red: &Red, diagnosis: Option<&Diagnosis>) {
    let record = red.record;
    let behind =
        if red.behind > 0 { format!(" <strong>and {} behind this gate</strong>", count(red.behind, "row")) } else { String::new() };
    let _ = write!(
        out,
        "<li><details><summary>{} <span class=\"mono\">{}</span>{behind}<span class=\"said\">{}</span></summary><div class=\"body\"><dl class=\"story\">",
        mark(data::verdict(record)),
        esc(&record.name),
        esc(&report::shorten(&what(record), 160))
    );
    story(out, record, diagnosis);
    let _ = writeln!(
        out,
        "</dl><div class=\"cmd\"><pre tabindex=\"0\">{}</pre></div><p class=\"scripting\" hidden><a href=\"#row={}\">Open on its own</a></p></div></details></li>",
        esc(&record.reproduce),
        fragment(&record.name)
    );
}

fn story(out: &mut String, record: &Record, diagnosis: Option<&Diagnosis>) {
    let mut entry = |label: &str, text: &str| {
        if !text.is_empty() {
            let _ = write!(out, "<dt>{label}</dt><dd>{}</dd>", esc(&report::shorten(text, MAX_TEXT)));
        }
    };
    entry("claim", format!("{}: {}", record.claim.id, record.claim.sentence).trim_start_matches(": "));
    entry("expected", &record.expected);
    let kind = record.error.as_deref().map(|kind| format!("{kind}: ")).unwrap_or_default();
    entry("observed", &format!("{kind}{}", record.observed));
    entry("measures", &report::bounds(record));
    entry("where", &report::place(&record.place));
    entry("owner", &record.owner);
    let lines = diagnosis.map(diagnosed).unwrap_or_default();
    if !lines.is_empty() && !record.behind_gate {
        out.push_str("<dt>diagnosis</dt><dd><ul>");
        for line in lines {
            let _ = write!(out, "<li>{}</li>", esc(&report::shorten(&line, MAX_TEXT)));
        }
        out.push_str("</ul></dd>");
    }
}

/// Failures that were expected: neither green nor red, and never silent.
fn expected(out: &mut String, findings: &Findings) {
    let rows: Vec<&Record> = findings.expected().collect();
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, "<h3>Failed as expected: {}</h3><ul class=\"list\">", count(rows.len(), "row"));
    for record in rows.iter().take(MAX_EXPECTED) {
        let why =
            record.expectation.as_ref().map_or_else(String::new, |entry| format!("{}, until {} ({})", entry.why, entry.expires, entry.bug));
        let _ = write!(out, "<li>{} <span class=\"mono\">{}</span>: {}</li>", mark(3), esc(&record.name), esc(&report::shorten(&why, 300)));
    }
    out.push_str("</ul>\n");
    if rows.len() > MAX_EXPECTED {
        let _ = writeln!(out, "<p>And {} more.</p>", rows.len() - MAX_EXPECTED);
    }
}

/// Warnings: worth a look, and no verdict.
fn flagged(out: &mut String, findings: &Findings) {
    let rows: Vec<&Record> = findings.flagged().collect();
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, "<h3>Flagged, no failure: {}</h3><ul class=\"list\">", count(rows.len(), "row"));
    for record in rows.iter().take(MAX_EXPECTED) {
        let said = report::shorten(&record.flags.join("; "), 300);
        let _ = write!(out, "<li><span class=\"mono\">{}</span>: {}</li>", esc(&record.name), esc(&said));
    }
    out.push_str("</ul>\n");
    if rows.len() > MAX_EXPECTED {
        let _ = writeln!(out, "<p>And {} more.</p>", rows.len() - MAX_EXPECTED);
    }
}
