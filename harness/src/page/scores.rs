//! The score beside its table, and, on paper, a qualification summary for each model (`hf-ground-truth-corpus`, section 11.10).

use std::fmt::Write as _;

use super::{count, esc};
use crate::export::{Findings, what};
use crate::report;
use crate::score::text::{counted, shown};
use crate::score::{CATEGORIES, Count, FAMILIES, GATEWAYS, Score, Scores, THRESHOLD, status};

/// The most failures that a summary notes.
const MAX_NOTES: usize = 20;

pub(super) fn section(out: &mut String, scores: &Scores) {
    out.push_str("<section id=\"score\" aria-labelledby=\"score-title\"><h2 id=\"score-title\">Qualification score</h2>\n<p class=\"note\">It decides nothing: every number beside it is counted from the rows above, passed of all. A gateway that is not passed is a score of 0; a category without tests caps the grade at B-; what was not tested is never a pass. Printed, this page ends with a qualification summary of each model.</p>\n");
    for doubt in &scores.doubts {
        let _ = writeln!(out, "<p class=\"banner\">! {}</p>", esc(doubt));
    }
    table(out, "models", &scores.models);
    let _ = write!(out, "<details><summary>Each artifact ({})</summary>", scores.artifacts.len());
    table(out, "artifacts", &scores.artifacts);
    out.push_str("</details>\n<details><summary>What the parts ask</summary><dl class=\"facts\">");
    for (gateway, asked) in GATEWAYS {
        let _ = write!(out, "<dt>{gateway}</dt><dd>gateway: {}</dd>", esc(asked));
    }
    for (category, points, asked) in CATEGORIES {
        let _ = write!(out, "<dt>{category}</dt><dd>{points} points: {}</dd>", esc(asked));
    }
    let _ = writeln!(
        out,
        "<dt>MQS</dt><dd>100 log10(1 + 9x) of the share x of 1000 points; qualified from {THRESHOLD} on</dd></dl></details></section>"
    );
}

fn table(out: &mut String, what: &str, scores: &[Score]) {
    let _ = write!(
        out,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"scores of {what}\"><table><thead><tr><th scope=\"col\">{what}</th><th scope=\"col\" class=\"n\">MQS</th><th scope=\"col\">grade</th><th scope=\"col\">verdict</th>"
    );
    for name in GATEWAYS.iter().map(|(name, _)| name).chain(CATEGORIES.iter().map(|(name, ..)| name)) {
        let _ = write!(out, "<th scope=\"col\" class=\"n\">{name}</th>");
    }
    out.push_str("<th scope=\"col\" class=\"n\">points</th></tr></thead><tbody>\n");
    for score in scores {
        let verdict =
            if score.qualified { "<span class=\"mark v0\">✓ qualified</span>" } else { "<span class=\"mark v1\">✕ rejected</span>" };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\"><strong>{}</strong></td><td>{}</td><td title=\"{}\">{verdict}</td>",
            esc(&score.subject),
            shown(score.score),
            score.grade,
            esc(&score.why.join("; "))
        );
        for count in score.gateways.iter().chain(&score.categories) {
            let class = if count.judged() == 0 { " out" } else { "" };
            let _ = write!(out, "<td class=\"n{class}\">{}</td>", counted(count));
        }
        let _ = writeln!(out, "<td class=\"n\">{}</td></tr>", shown(score.points));
    }
    out.push_str("</tbody></table></div>\n");
}

/// A sheet of paper for each model.
pub(super) fn qualification(out: &mut String, findings: &Findings, scores: &Scores) {
    for score in &scores.models {
        let date = findings.manifest.map_or("", |manifest| manifest.started.as_str());
        let _ = write!(
            out,
            "<section class=\"qualification\"><h2>Qualification summary</h2><dl class=\"facts\"><dt>model</dt><dd>{}</dd><dt>date</dt><dd>{}</dd><dt>run</dt><dd>{}</dd><dt>reviewer</dt><dd><span class=\"line\">&nbsp;</span></dd></dl>\n<table><thead><tr><th scope=\"col\">category</th><th scope=\"col\" class=\"n\">checks</th><th scope=\"col\" class=\"n\">passed</th><th scope=\"col\" class=\"n\">failed</th><th scope=\"col\" class=\"n\">not tested</th><th scope=\"col\">status</th></tr></thead><tbody>",
            esc(&score.subject),
            esc(date),
            esc(findings.run)
        );
        for ((family, name), count) in FAMILIES.iter().zip(&score.families) {
            line(out, &format!("{name} ({family})"), count);
        }
        line(out, "Other claims", &score.others);
        let verdict = if score.qualified {
            format!("QUALIFIED (MQS of {THRESHOLD} or more, every gateway passed, every category scored)")
        } else {
            "REJECTED".to_owned()
        };
        let _ = write!(
            out,
            "</tbody></table><p><strong>MQS score:</strong> {} / 100 ({} of 1000 points)<br><strong>Grade:</strong> {}, {}<br><strong>Final verdict:</strong> {verdict}</p><h3>Falsification notes</h3><ul>",
            shown(score.score),
            shown(score.points),
            score.grade,
            status(score.grade)
        );
        for why in &score.why {
            let _ = write!(out, "<li>{}</li>", esc(why));
        }
        let of_model = |record: &&crate::evidence::Record| record.axes.as_ref().is_some_and(|axes| axes.model == score.subject);
        let red: Vec<_> = findings.red().into_iter().map(|red| red.record).filter(of_model).collect();
        for record in red.iter().take(MAX_NOTES) {
            let _ = write!(
                out,
                "<li><span class=\"mono\">{}</span>: {}; owner: {}</li>",
                esc(&record.name),
                esc(&report::shorten(&what(record), 160)),
                esc(&record.owner)
            );
        }
        if red.len() > MAX_NOTES {
            let _ = write!(out, "<li>and {} in the evidence</li>", count(red.len() - MAX_NOTES, "red row"));
        }
        if score.why.is_empty() && red.is_empty() {
            out.push_str("<li>None.</li>");
        }
        out.push_str("</ul></section>\n");
    }
}

fn line(out: &mut String, name: &str, count: &Count) {
    let failed = count.failed + count.expected;
    let _ = write!(
        out,
        "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{failed}</td><td class=\"n\">{}</td><td>{}</td></tr>",
        esc(name),
        count.all(),
        count.passed,
        count.not_tested,
        count.status()
    );
}
