//! What each check is worth, beside the run that it judged: a green row of a check that finds nothing says nothing.

use std::fmt::Write as _;

use super::{count, esc};
use crate::power::{CheckPower, PowerTable};
use crate::report::short;

pub(super) fn section(out: &mut String, table: &Result<PowerTable, String>) {
    out.push_str("<section id=\"power\" aria-labelledby=\"power-title\"><h2 id=\"power-title\">Power of the checks</h2>\n");
    let table = match table {
        Ok(table) => table,
        Err(reason) => {
            let _ = writeln!(out, "<p>Unknown: {}.</p></section>", esc(reason));
            return;
        }
    };
    let defects = &table.defects;
    let _ = writeln!(
        out,
        "<p class=\"note\">Not of this run: the committed outcomes of every check on named faults, each held by a test. {} of {} are found by some check; {} change nothing and are not counted; {} that nothing sees.</p>",
        defects.killed,
        count(defects.tried, "fault"),
        defects.equivalent,
        defects.unkilled
    );
    checks(out, &table.checks);
    rules(out, table);
    out.push_str("</section>\n");
}

fn checks(out: &mut String, checks: &[CheckPower]) {
    let _ = write!(out, "<details><summary>Each check ({})</summary>", checks.len());
    head(
        out,
        "power by check",
        &[
            ("check", ""),
            ("claim", ""),
            ("finds", "n"),
            ("leaves green", "n"),
            ("cannot say", "n"),
            ("separation", "n"),
            ("finds alone", ""),
        ],
    );
    for check in checks {
        let separation = check.separation.map_or_else(|| "exact".to_owned(), short);
        // A long list is cut: the table of `ground-truth power` has it whole.
        let alone = crate::report::shorten(&check.only.join(", "), 120);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{separation}</td><td>{}</td></tr>",
            esc(&check.id),
            esc(&check.claim),
            check.killed,
            check.spared,
            check.errors,
            esc(&alone)
        );
    }
    out.push_str("</tbody></table></div></details>\n");
}

fn rules(out: &mut String, table: &PowerTable) {
    let _ = write!(out, "<details><summary>Rules of other tools on the same faults ({})</summary>", table.baselines.len());
    head(
        out,
        "rules of other tools",
        &[("tool", ""), ("passes", ""), ("lets through", "n"), ("of faults", "n"), ("accuses", "n"), ("of correct", "n")],
    );
    for rule in &table.baselines {
        let measured = &rule.measured;
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            esc(&rule.tool),
            esc(&rule.passes),
            measured.let_through,
            measured.defects,
            measured.accused,
            measured.correct
        );
    }
    out.push_str("</tbody></table></div></details>\n");
}

fn head(out: &mut String, label: &str, columns: &[(&str, &str)]) {
    let _ = write!(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table><thead><tr>");
    for (column, class) in columns {
        let _ = write!(out, "<th scope=\"col\" class=\"{class}\">{column}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::export::fixture::Fixture;
    use crate::page;
    use crate::power::published;

    #[test]
    fn the_committed_table_stands_in_the_page() {
        let table = published(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
        let fixture = Fixture::mixed();
        let with = page::html_with_power(&fixture.findings(), &Ok(table.clone())).unwrap();
        let said = format!("{} of {} faults are found", table.defects.killed, table.defects.tried);
        assert!(with.contains(&said) && with.contains("href=\"#power\""), "{said}");
        for check in &table.checks {
            assert!(with.contains(&format!("<th scope=\"row\">{}</th><td>{}</td>", check.id, check.claim)), "{}", check.id);
        }
        assert!(!page::html(&fixture.findings()).unwrap().contains("id=\"power\""));
    }

    #[test]
    fn a_table_that_cannot_be_read_is_not_silent() {
        let page = page::html_with_power(&Fixture::mixed().findings(), &Err("defects.toml: <absent>".to_owned())).unwrap();
        assert!(page.contains("<p>Unknown: defects.toml: &lt;absent&gt;.</p>"), "the reason is told");
    }
}
