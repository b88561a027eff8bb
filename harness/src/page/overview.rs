//! The head of the page, and models against forms: the first thing that a person reads, and the whole matrix on a phone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{data, esc, fragment};
use crate::export::{Findings, cell};
use crate::summary::Tally;

/// The signs of the verdicts, in the order of [`data::VERDICTS`]. A colour never stands alone.
pub(super) const SIGNS: [&str; 5] = ["✓", "✕", "!", "~", "–"];

/// The sign and the word of a verdict.
pub(super) fn mark(verdict: usize) -> String {
    format!("<span class=\"mark v{verdict}\">{} {}</span>", SIGNS[verdict], data::VERDICTS[verdict])
}

/// Verdict, counts and circumstances.
#[expect(clippy::too_many_lines, reason = "one piece of HTML, from its top to its end")]
pub(super) fn head(out: &mut String, findings: &Findings) {
    let tally = findings.tally();
    let (sign, class, word) = match (findings.is_green(), tally.judged()) {
        (_, 0) => (SIGNS[2], 2, "Nothing judged"),
        (true, _) if tally.corroborated == 0 => (SIGNS[3], 3, "Failed as expected"),
        (true, _) => (SIGNS[0], 0, "Corroborated"),
        (false, _) if findings.lost.is_some() => (SIGNS[2], 2, "Incomplete"),
        (false, _) => (SIGNS[1], 1, "Red"),
    };
    let _ = writeln!(
        out,
        "<header class=\"top\">\n<h1>Ground Truth</h1>\n<div class=\"verdict\"><span class=\"mark v{class}\" aria-hidden=\"true\">{sign}</span> {word}</div>"
    );
    if let Some(lost) = findings.lost {
        let _ = writeln!(
            out,
            "<div class=\"banner\" role=\"alert\"><strong>! The evidence is incomplete.</strong> {}. What is green below is green of what is left; nothing is known of the rest.</div>",
            esc(lost)
        );
    }
    let not_tested = findings.manifest.map_or_else(|| "?".to_owned(), |manifest| manifest.not_tested.len().to_string());
    let counts = [tally.falsified, tally.errors, tally.expected, tally.corroborated].map(|n| n.to_string()).into_iter().chain([not_tested]);
    out.push_str("<ul class=\"counts\">");
    for (place, n) in [1, 2, 3, 0, 4].into_iter().zip(counts) {
        let _ = write!(out, "<li class=\"v{place}\"><b>{n}</b> {} {}</li>", SIGNS[place], data::VERDICTS[place]);
    }
    out.push_str("</ul>\n<dl class=\"facts wide\">");
    let mut fact = |label: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(out, "<dt>{label}</dt><dd>{}</dd>", esc(value));
        }
    };
    fact("run", findings.run);
    let mut runtimes: BTreeSet<&str> = findings.records.iter().map(|record| record.versions.runtime.as_str()).collect();
    runtimes.retain(|version| !version.is_empty());
    fact("runtimes", &runtimes.into_iter().collect::<Vec<_>>().join(", "));
    match findings.manifest {
        None => fact("manifest", "none: the run was one of nextest or was cut short, so that what was not tested is unknown"),
        Some(manifest) => {
            let (environment, counts) = (&manifest.environment, &manifest.counts);
            fact("began", &format!("{}, took {:.1} s", manifest.started, manifest.duration_s));
            fact(
                "coverage",
                &format!(
                    "applicable {} / declared {} / total {} (at hand / declared by the runtimes / in the catalogue)",
                    counts.applicable, counts.declared, counts.total
                ),
            );
            let machine = [environment.os.as_str(), &environment.arch, &environment.cpu].join(", ");
            fact("machine", &format!("{machine}, {} cores, {} threads", environment.cores, environment.threads));
            fact("suite", &format!("ground-truth {}, {}", environment.suite, environment.rustc));
            let variables: Vec<String> = environment.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
            fact("variables", &variables.join(" "));
            fact("questions", &manifest.prompts_sha256);
        }
    }
    out.push_str("</dl>\n</header>\n");
}

/// Models against forms.
pub(super) fn cells(out: &mut String, findings: &Findings) {
    // By format, quantization and runtime; the file name of a given file is a part of its quantization in the name.
    let mut forms: BTreeMap<Vec<&str>, BTreeMap<&str, (Tally, &str)>> = BTreeMap::new();
    let mut models: BTreeSet<&str> = BTreeSet::new();
    let mut untested: BTreeMap<Vec<&str>, BTreeMap<&str, usize>> = BTreeMap::new();
    for record in findings.records {
        let Some(axes) = &record.axes else { continue };
        let label = cell(record);
        models.insert(&axes.model);
        let form = form_of(label, &axes.model);
        let entry = forms.entry(form).or_default().entry(&axes.model).or_insert((Tally::default(), label));
        entry.0.add(&Tally::of(std::slice::from_ref(record)));
    }
    for row in findings.not_tested() {
        let parts: Vec<&str> = row.name.split("::").collect();
        if let [model, format, quantization, runtime, _, ..] = parts.as_slice() {
            models.insert(model);
            *untested.entry(vec![format, quantization, runtime]).or_default().entry(model).or_default() += 1;
        }
    }
    // Files that somebody gave come last: each is a form of its own, of one model.
    let given = |form: &Vec<&str>| form.get(1).is_some_and(|quantization| quantization.contains('@'));
    let all: BTreeSet<(bool, &Vec<&str>)> = forms.keys().chain(untested.keys()).map(|form| (given(form), form)).collect();
    out.push_str("<section id=\"cells\" aria-labelledby=\"cells-title\"><h2 id=\"cells-title\">Models and forms</h2>\n");
    out.push_str("<p class=\"note\">A field is one cell: its worst verdict, and how many rows came to it.</p>\n<ul class=\"legend\">");
    for verdict in [1, 2, 3, 4, 0] {
        let _ = write!(out, "<li>{}</li>", mark(verdict));
    }
    out.push_str("</ul>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"cells-title\"><table class=\"over\"><thead><tr><th scope=\"col\">form</th>");
    for model in &models {
        let _ = write!(out, "<th scope=\"col\">{}</th>", esc(model));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let runtimes: BTreeSet<&str> = all.iter().filter_map(|(_, form)| form.last().copied()).collect();
    for (_, form) in all {
        let shown = if runtimes.len() > 1 { form.join(" ") } else { form[..form.len().saturating_sub(1)].join(" ") };
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", esc(&shown));
        for model in &models {
            let judged = forms.get(form).and_then(|cells| cells.get(model));
            let skipped = untested.get(form).and_then(|cells| cells.get(model)).copied().unwrap_or(0);
            field(out, model, form, judged, skipped);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn field(out: &mut String, model: &str, form: &[&str], judged: Option<&(Tally, &str)>, skipped: usize) {
    let Some((tally, label)) = judged else {
        let (class, text, said) = if skipped > 0 {
            (" class=\"v4\"", SIGNS[4], format!("{skipped} rows not tested"))
        } else {
            ("", "", "no such cell".to_owned())
        };
        let _ = write!(out, "<td{class} title=\"{}\">{text}</td>", esc(&format!("{model} {}: {said}", form.join(" "))));
        return;
    };
    let counts = [tally.corroborated, tally.falsified, tally.errors, tally.expected];
    let verdict = [1, 2, 3].into_iter().find(|verdict| counts[*verdict] > 0).unwrap_or(0);
    let said: Vec<String> = [1, 2, 3, 0]
        .into_iter()
        .filter(|verdict| counts[*verdict] > 0)
        .map(|verdict| format!("{} {}", counts[verdict], data::VERDICTS[verdict]))
        .collect();
    let skipped = if skipped > 0 { format!(", {skipped} not tested") } else { String::new() };
    let title = format!("{model} {}: {}{skipped}", form.join(" "), said.join(", "));
    let red = counts[verdict];
    let shown = if verdict == 0 { SIGNS[0].to_owned() } else { format!("{} {red}", SIGNS[verdict]) };
    let _ = write!(
        out,
        "<td class=\"v{verdict}\"><a href=\"#cell={}\" title=\"{}\" aria-label=\"{}\">{shown}</a></td>",
        fragment(label),
        esc(&title),
        esc(&title)
    );
}

/// Format, quantization and runtime, as the name has them.
fn form_of<'a>(label: &'a str, model: &str) -> Vec<&'a str> {
    label.strip_prefix(model).and_then(|rest| rest.strip_prefix("::")).unwrap_or(label).split("::").collect()
}
