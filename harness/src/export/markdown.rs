//! Markdown for the summary of a CI step (`$GITHUB_STEP_SUMMARY`): the verdict, what is red and how to see it again, and what was not tested.
//!
//! Untrusted text stands in code spans and nowhere else: inside one no link, mention, image or tag is alive, whatever the renderer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Findings, cell, what};
use crate::escape;
use crate::markdown::code;
use crate::report;
use crate::summary::Tally;

/// The most red rows that are shown. A step summary may hold a megabyte.
const MAX_RED: usize = 50;

/// The most cells that are shown.
const MAX_CELLS: usize = 400;

/// The most reasons for not testing that are shown.
const MAX_REASONS: usize = 50;

/// The run as Markdown.
pub fn markdown(findings: &Findings) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "# Ground Truth: {}\n", if findings.is_green() { "corroborated" } else { "red" });
    if let Some(lost) = findings.lost {
        let _ = writeln!(text, "> **The evidence is incomplete.** {}\n", code(lost));
    }
    let _ = writeln!(text, "{}\n\nRun {}", findings.verdict(), code(findings.run));
    if let Some(manifest) = findings.manifest {
        let counts = &manifest.counts;
        let _ = writeln!(
            text,
            "of {}, {:.1} s; applicable {} / declared {} / total {}",
            code(&manifest.started),
            manifest.duration_s,
            counts.applicable,
            counts.declared,
            counts.total
        );
    }
    if let Some((why, rows)) = findings.halted() {
        let _ = writeln!(text, "\n**Halted:** {rows} rows were not judged, {}", code(why));
    }
    let flagged = findings.flagged().count();
    if let Some(first) = findings.flagged().next() {
        let _ = writeln!(text, "\nFlagged, no failure: {flagged} rows, first {}: {}", code(&first.name), code(&first.flags.join("; ")));
    }
    red(&mut text, findings);
    cells(&mut text, findings);
    not_tested(&mut text, findings);
    text
}

fn red(text: &mut String, findings: &Findings) {
    let red = findings.red();
    if red.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## Red\n\n| row | what | where | owner |\n|---|---|---|---|");
    for row in red.iter().take(MAX_RED) {
        let behind = if row.behind > 0 { format!(" (and {} behind this gate)", row.behind) } else { String::new() };
        let _ = writeln!(
            text,
            "| {}{behind} | {} | {} | {} |",
            in_table(&row.record.name),
            in_table(&report::shorten(&what(row.record), 300)),
            in_table(&report::place(&row.record.place)),
            in_table(&row.record.owner)
        );
    }
    if red.len() > MAX_RED {
        let _ = writeln!(text, "\nand {} more red, all in the evidence.", red.len() - MAX_RED);
    }
    if let Some(first) = red.first() {
        let _ = writeln!(text, "\nTo see the first again:\n\n    {}", escape::line(&first.record.reproduce));
    }
}

fn cells(text: &mut String, findings: &Findings) {
    let mut cells: BTreeMap<&str, Tally> = BTreeMap::new();
    for record in findings.records {
        cells.entry(cell(record)).or_default().add(&Tally::of(std::slice::from_ref(record)));
    }
    let _ = writeln!(
        text,
        "\n<details><summary>Cells ({})</summary>\n\n| cell | corroborated | falsified | errors | expected |\n|---|--:|--:|--:|--:|",
        cells.len()
    );
    for (cell, tally) in cells.iter().take(MAX_CELLS) {
        let Tally { corroborated, falsified, errors, expected } = tally;
        let _ = writeln!(text, "| {} | {corroborated} | {falsified} | {errors} | {expected} |", in_table(cell));
    }
    if cells.len() > MAX_CELLS {
        let _ = writeln!(text, "\nand {} more.", cells.len() - MAX_CELLS);
    }
    let _ = writeln!(text, "\n</details>");
}

fn not_tested(text: &mut String, findings: &Findings) {
    let reasons = findings.reasons();
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n<details><summary>Not tested ({})</summary>\n\n| rows | why |\n|--:|---|", findings.not_tested().len());
    for (reason, rows) in reasons.iter().take(MAX_REASONS) {
        let _ = writeln!(text, "| {} | {} |", rows.len(), in_table(reason));
    }
    if reasons.len() > MAX_REASONS {
        let _ = writeln!(text, "\nand {} more reasons.", reasons.len() - MAX_REASONS);
    }
    let _ = writeln!(text, "\n</details>");
}

/// Untrusted text in a field of a table, which stays blank where there is none.
pub fn in_table(text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { crate::markdown::cell(text) }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, PAYLOADS, is_clean};
    use super::*;

    #[test]
    fn a_step_summary_says_what_is_red_and_how_to_see_it_again() {
        let text = markdown(&Fixture::mixed().findings());
        assert!(text.starts_with("# Ground Truth: red\n"), "{text}");
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("step_summary", text));
    }

    #[test]
    fn no_payload_stands_outside_of_a_code_span() {
        let text = markdown(&Fixture::hostile().findings());
        assert!(is_clean(&text));
        // What is left when every code span and every indented block is taken away is ours alone.
        let mut ours = String::new();
        for line in text.lines().filter(|line| !line.starts_with("    ")) {
            let mut rest = line;
            while let Some(start) = rest.find('`') {
                ours.push_str(&rest[..start]);
                let fence = rest[start..].len() - rest[start..].trim_start_matches('`').len();
                let body = &rest[start + fence..];
                let mut at = 0;
                let end = loop {
                    let found = at + body[at..].find(&"`".repeat(fence)).expect("a closed span");
                    let run = body[found..].len() - body[found..].trim_start_matches('`').len();
                    if run == fence {
                        break found;
                    }
                    at = found + run;
                };
                rest = &body[end + fence..];
            }
            ours.push_str(rest);
            ours.push('\n');
        }
        for alive in ["<script", "![", "](", "@everyone", "javascript:", "onerror"] {
            assert!(!ours.contains(alive), "{alive} in {ours}");
        }
        assert!(PAYLOADS.len() >= 40);
        let table = text.lines().find(|line| line.contains("@everyone")).unwrap();
        let bars = table.replace("\\|", "").matches('|').count();
        assert_eq!(bars, 5, "{table}");
    }

    #[test]
    fn however_much_is_red_a_summary_stays_below_a_megabyte() {
        let fixture = Fixture::red(12_000);
        let text = markdown(&fixture.findings());
        assert!(text.len() < 1 << 20, "{}", text.len());
        assert!(text.contains("and 11950 more red"), "{}", &text[..2000]);
    }
}
