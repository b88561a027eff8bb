//! Where the time went, and what was not tested and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{count, esc};
use crate::export::Findings;

/// The most lines of a table of times.
const MAX_TIMES: usize = 12;

/// The most reasons, and the most names of one reason.
const MAX_REASONS: usize = 60;
const MAX_NAMES: usize = 40;

pub(super) fn timing(out: &mut String, findings: &Findings) {
    out.push_str("<section id=\"timing\" aria-labelledby=\"timing-title\"><h2 id=\"timing-title\">Time</h2>\n<p class=\"note\">Wall time of rows, waiting for shared observations included; rows run side by side, so that the sum is more than the run took.</p>\n");
    let mut checks: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    let mut models: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    let mut rows: Vec<(&str, (f64, usize))> = Vec::new();
    for record in findings.records {
        let time = if record.duration_ms.is_finite() { record.duration_ms } else { 0.0 };
        let (check, model) = record.axes.as_ref().map_or(("lists", "lists"), |axes| (axes.check.as_str(), axes.model.as_str()));
        for (times, key) in [(&mut checks, check), (&mut models, model)] {
            let entry = times.entry(key).or_default();
            entry.0 += time;
            entry.1 += 1;
        }
        rows.push((&record.name, (time, 1)));
    }
    table(out, "by check", checks.into_iter().collect());
    table(out, "by model", models.into_iter().collect());
    table(out, "slowest rows", rows);
    out.push_str("</section>\n");
}

fn table(out: &mut String, title: &str, mut times: Vec<(&str, (f64, usize))>) {
    times.sort_by(|(a, a_time), (b, b_time)| b_time.0.total_cmp(&a_time.0).then_with(|| a.cmp(b)));
    let most = times.first().map_or(0.0, |(_, (time, _))| *time);
    let all = times.len();
    let _ = writeln!(
        out,
        "<h3>{title}</h3><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"time {title}\"><table><thead><tr><th scope=\"col\">what</th><th scope=\"col\" class=\"n\">rows</th><th scope=\"col\" class=\"n\">seconds</th><th scope=\"col\"><span class=\"skip\">share</span></th></tr></thead><tbody>"
    );
    for (name, (time, rows)) in times.iter().take(MAX_TIMES) {
        let share = if most > 0.0 { 100.0 * time / most } else { 0.0 };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\" class=\"mono\">{}</th><td class=\"n\">{rows}</td><td class=\"n\">{:.2}</td><td class=\"barcell\"><svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"b\" width=\"{share:.1}\" height=\"8\"/></svg></td></tr>",
            esc(name),
            time / 1e3
        );
    }
    out.push_str("</tbody></table></div>\n");
    if all > MAX_TIMES {
        let _ = writeln!(out, "<p class=\"note\">and {} more.</p>", all - MAX_TIMES);
    }
}

pub(super) fn not_tested(out: &mut String, findings: &Findings) {
    out.push_str("<section id=\"not-tested\" aria-labelledby=\"not-tested-title\"><h2 id=\"not-tested-title\">Not tested</h2>\n");
    if findings.manifest.is_none() {
        out.push_str("<p>Unknown: the run left no <code>run.json</code> (it was one of nextest, or was cut short).</p></section>\n");
        return;
    }
    let reasons = findings.reasons();
    if reasons.is_empty() {
        out.push_str("<p>Every row that was listed was judged.</p></section>\n");
        return;
    }
    let _ = writeln!(
        out,
        "<p>{}, each for a reason that was known before the run. None of them is a pass.</p>\n<ul class=\"reds\">",
        count(findings.not_tested().len(), "row")
    );
    for (reason, names) in reasons.iter().take(MAX_REASONS) {
        let _ = write!(
            out,
            "<li class=\"v4\"><details><summary><span class=\"mark\">– {}</span> {}</summary><div class=\"body mono\">",
            names.len(),
            esc(reason)
        );
        let shown: Vec<String> = names.iter().take(MAX_NAMES).map(|name| esc(name)).collect();
        out.push_str(&shown.join("<br>"));
        if names.len() > MAX_NAMES {
            let _ = write!(out, "<br>and {} more", names.len() - MAX_NAMES);
        }
        out.push_str("</div></details></li>\n");
    }
    out.push_str("</ul>\n");
    if reasons.len() > MAX_REASONS {
        let _ = writeln!(out, "<p>And {} more reasons.</p>", reasons.len() - MAX_REASONS);
    }
    out.push_str("</section>\n");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::export::fixture::Fixture;

    #[test]
    fn bars_are_shares_of_the_longest_time() {
        let (mut text, mut many) = (String::new(), String::new());
        table(&mut text, "by check", vec![("a", (500.0, 2)), ("b", (2000.0, 3)), ("c", (0.0, 1))]);
        let widths: Vec<&str> = text.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(widths, ["100.0", "25.0", "0.0"]);
        assert!(text.contains(">b</th><td class=\"n\">3</td><td class=\"n\">2.00</td>") && !text.contains(" more."), "{text}");
        let names: Vec<String> = (0..=MAX_TIMES).map(|i| i.to_string()).collect();
        table(&mut many, "", names.iter().map(|name| (name.as_str(), (0.0, 1))).collect());
        assert!(many.contains("and 1 more.") && many.matches("width=\"0.0\"").count() == MAX_TIMES, "{many}");
    }

    /// Names and reasons are cut behind the last that fits, and what is cut is counted.
    #[test]
    fn what_was_not_tested_is_cut_and_says_so() {
        let told = |names: usize, reasons: usize| {
            let mut fixture = Fixture::green();
            let row =
                |i: usize, reason: usize| serde_json::from_value(json!({"name": format!("row{i}"), "reason": format!("why{reason}")}));
            fixture.manifest.not_tested = (0..names).map(|i| row(i, 0).unwrap()).collect();
            fixture.manifest.not_tested.extend((1..reasons).map(|reason| row(reason, reason).unwrap()));
            let mut text = String::new();
            not_tested(&mut text, &fixture.findings());
            (text.contains("<br>and 1 more</div>"), text.contains("<p>And 1 more reasons.</p>"), text.matches("row").count())
        };
        assert_eq!(told(MAX_NAMES, 1), (false, false, MAX_NAMES + 1), "with the word `rows` of the heading");
        assert_eq!(told(MAX_NAMES + 1, 1), (true, false, MAX_NAMES + 1));
        assert_eq!(told(1, MAX_REASONS), (false, false, MAX_REASONS + 1));
        assert_eq!(told(1, MAX_REASONS + 1), (false, true, MAX_REASONS + 1));
    }
}
