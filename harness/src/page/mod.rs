//! A run as one page: no network, no font, no script but its own, which the page's policy names by hash. What is red, and why, stands in the
//! page itself and is read without a script; the script adds the heat map, the search and the evidence of every row.
//!
//! The same evidence gives the same bytes. Texts of files and models pass `esc` on their way into the page, or stand as JSON that the
//! script writes as text and never as markup.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::diagnosis::{self, Diagnosis};
use crate::escape;
use crate::evidence::Record;
use crate::export::{Findings, cell};
use crate::power::PowerTable;
use crate::score;

mod chart;
mod data;
mod overview;
mod power;
mod red;
mod scores;
mod tables;

#[cfg(test)]
mod tests;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the script fills. Without it these parts stay away.
const SEARCH: &str = r#"<section id="rows" class="scripting" hidden aria-labelledby="rows-title">
<h2 id="rows-title">Search</h2>
<div class="bar" role="search">
<input type="search" id="query" placeholder="part of a name: q4_0 F-G4 llama" aria-label="Search rows by parts of their names" autocomplete="off" spellcheck="false">
<select id="verdict" aria-label="Verdict">
<option value="all">every verdict</option><option value="red">red</option><option value="1">falsified</option><option value="2">error</option><option value="3">expected</option><option value="4">not tested</option><option value="0">corroborated</option>
</select>
</div>
<p class="note"><span id="count" role="status"></span> · <span class="keys"><kbd>/</kbd> goes to the search</span></p>
<ul id="found" class="list" hidden></ul>
</section>
<section id="matrix" class="scripting" hidden aria-labelledby="matrix-title">
<h2 id="matrix-title">Checks of a model</h2>
<p class="note">Checks down, forms across; a field is all rows of one check in one cell, and shows the worst. <span class="keys">Arrows move, <kbd>Enter</kbd> opens, <kbd>Esc</kbd> closes, <kbd>n</kbd> goes to the next red row.</span></p>
<div id="models" class="bar" role="tablist" aria-label="Model"></div>
<div id="heat" class="heat"></div>
</section>
"#;

const DIALOG: &str = r#"<dialog id="evidence" aria-labelledby="evidence-title">
<div class="head"><h2 id="evidence-title" class="mono"></h2><button type="button" id="next">Next red</button><button type="button" id="close" aria-label="Close">✕</button></div>
<div class="inside" id="evidence-inside" tabindex="-1"></div>
</dialog>
<p id="said" class="skip" role="status"></p>
"#;

/// The run as a page.
///
/// # Errors
/// What the JSON writer says.
pub fn html(findings: &Findings) -> serde_json::Result<String> {
    page(findings, None)
}

/// The same, with what each check is worth, or with why that is not known.
///
/// # Errors
/// What the JSON writer says.
pub fn html_with_power(findings: &Findings, table: &Result<PowerTable, String>) -> serde_json::Result<String> {
    page(findings, Some(table))
}

fn page(findings: &Findings, table: Option<&Result<PowerTable, String>>) -> serde_json::Result<String> {
    let diagnoses = diagnoses(findings);
    let rows = data::json_of(findings, &diagnoses)?;
    let scores = score::scores(findings);
    let hash = |text: &str| format!("sha256-{}", base64::encode(Sha256::digest(text.as_bytes())));
    let mut out = String::with_capacity(rows.len() + (256 << 10));
    let title = format!("Ground Truth: {}", if findings.is_green() { "corroborated" } else { "red" });
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<style>{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#red\">To what is red</a>\n",
        hash(STYLE),
        hash(SCRIPT)
    );
    overview::head(&mut out, findings);
    let power = if table.is_some() { "<li><a href=\"#power\">Power</a></li>" } else { "" };
    let _ = write!(
        out,
        "<nav class=\"toc\" aria-label=\"Sections\"><ul><li><a href=\"#cells\">Cells</a></li><li><a href=\"#red\">Red</a></li>\
         <li class=\"scripting\" hidden><a href=\"#rows\">Search</a></li><li class=\"scripting\" hidden><a href=\"#matrix\">Checks</a></li>\
         <li><a href=\"#drift\">Drift</a></li>{power}<li><a href=\"#score\">Score</a></li><li><a href=\"#timing\">Time</a></li>\
         <li><a href=\"#not-tested\">Not tested</a></li></ul></nav>\n<main>\n"
    );
    out.push_str("<div class=\"side\">\n");
    overview::cells(&mut out, findings);
    red::section(&mut out, findings, &diagnoses);
    out.push_str("</div>\n");
    out.push_str(SEARCH);
    chart::section(&mut out, findings);
    if let Some(table) = table {
        power::section(&mut out, table);
    }
    scores::section(&mut out, &scores);
    tables::timing(&mut out, findings);
    tables::not_tested(&mut out, findings);
    scores::qualification(&mut out, findings, &scores);
    out.push_str("</main>\n");
    out.push_str(DIALOG);
    let _ = write!(out, "<script type=\"application/json\" id=\"data\">{rows}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    Ok(out)
}

/// Text in a page: what deceives is made visible, what is markup is text.
fn esc(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for character in escape::line(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A text in the fragment of a link, as the script reads it.
fn fragment(text: &str) -> String {
    let mut out = String::new();
    for byte in escape::line(text).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `1 row`, `2 rows`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What the records of every red cell say together.
fn diagnoses<'a>(findings: &Findings<'a>) -> HashMap<&'a str, Diagnosis> {
    let mut models: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    let mut cells: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in findings.records {
        if let Some(axes) = &record.axes {
            models.entry(&axes.model).or_default().push(record);
            cells.entry(cell(record)).or_default().push(record);
        }
    }
    let red = cells.iter().filter(|(_, records)| records.iter().any(|record| record.is_red()));
    let of = |(label, records): (&&'a str, &Vec<&'a Record>)| {
        let model = records.first().and_then(|record| record.axes.as_ref()).map_or("", |axes| axes.model.as_str());
        let siblings: Vec<&Record> = models.get(model).into_iter().flatten().copied().filter(|record| cell(record) != *label).collect();
        (*label, diagnosis::of_cell(records, &siblings))
    };
    red.map(of).collect()
}

/// A diagnosis in lines.
fn diagnosed(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(stage) = &diagnosis.stage {
        lines.push(format!("first stage of this cell that differs: {stage}"));
    }
    if !diagnosis.owner.is_empty() {
        lines.push(format!("owner, by all rows of this cell: {}", diagnosis.owner));
    }
    lines.extend(diagnosis.why.iter().cloned());
    let alike = diagnosis.alike.iter().take(3);
    lines.extend(
        alike.map(|alike| format!("looks like {} ({}; {}), distance {:.2}", alike.defect, alike.what, alike.seen_in, alike.distance)),
    );
    lines
}
