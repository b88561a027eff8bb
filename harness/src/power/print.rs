//! The published table on paper: Markdown, HTML, and the short form that stands in the README.
//!
//! Both papers are made of the same blocks, so that neither says what the other does not.

use std::fmt::Write as _;

use super::published::{Baseline, Drawn, PowerTable};
use crate::{escape, report};

/// Where the short form begins and ends in a Markdown file.
pub const MARKS: [&str; 2] = ["<!-- power: what follows is written by `ground-truth power --readme` -->", "<!-- power: end -->"];

/// A heading, a paragraph or a table.
enum Block {
    Heading(&'static str),
    Text(String),
    Table(&'static [&'static str], Vec<Vec<String>>),
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn number(number: Option<f64>) -> String {
    match number {
        None => String::new(),
        Some(number) if (0.01..10_000.0).contains(&number) => format!("{number}"),
        Some(number) => format!("{number:.0e}"),
    }
}

fn names(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn counts(table: &PowerTable) -> String {
    let defects = &table.defects;
    let own: Vec<String> = defects.own.iter().map(|(name, n)| format!("{name} {n}")).collect();
    format!(
        "{} named defects: {} of artifacts, {} of runtimes, {} of files; those of artifacts that only one architecture can have: {}. {} must be refused by \
         name. The others, at each of their strengths and in each of their models, are {}: {} killed, {} unkilled, and {} that change nothing. \
         {} pairs of a check and a defect are tests. {} checks are proven able to fail; {} of them kill something that nothing else kills.",
        defects.artifact + defects.runtime + defects.file,
        defects.artifact,
        defects.runtime,
        defects.file,
        own.join(", "),
        defects.refused,
        defects.tried,
        defects.killed,
        defects.unkilled,
        defects.equivalent,
        defects.outcomes,
        table.checks.len(),
        table.checks.len() - table.redundant.len()
    )
}

fn drawn(drawn: &Drawn) -> String {
    let generated = &drawn.generated;
    let (caught, all) = generated.caught();
    let mut text = format!(
        "Of {} defects that nobody wrote down (operator, tensor, strength and model drawn from seed {}), {} change nothing. Of the other {all}, \
         {caught} were caught: {} refuted by a check, {} refused by name",
        generated.drawn, generated.seed, generated.equivalent, generated.falsified, generated.refused
    );
    if let (Some(share), Some((low, high))) = (drawn.share, drawn.interval) {
        let _ = write!(text, "; {}, with an interval (Wilson, 95 %) of {} to {}", percent(share), percent(low), percent(high));
    }
    let _ = write!(
        text,
        ". {} survived.",
        if generated.survivors.is_empty() { "None".to_owned() } else { generated.survivors.len().to_string() }
    );
    text
}

fn survivors(drawn: &Drawn) -> Option<Block> {
    let row = |survivor: &super::generated::Survivor| vec![format!("`{}`", survivor.what), survivor.floors.clone(), survivor.needs.clone()];
    let rows: Vec<_> = drawn.generated.survivors.iter().map(row).collect();
    (!rows.is_empty()).then_some(Block::Table(&["survivor", "logits move by, in floors", "what it would take"], rows))
}

const RULES_HEAD: &[&str] =
    &["rule", "what passes", "defects that move the logits", "let through", "all defects", "let through", "correct", "accused"];

fn rules(table: &PowerTable) -> Block {
    let row = |rule: &Baseline| {
        let measured = &rule.measured;
        let share =
            |part: usize, of: usize| if of == 0 { "0".to_owned() } else { format!("{part} ({:.0} %)", 100.0 * part as f64 / of as f64) };
        vec![
            rule.tool.clone(),
            rule.passes.clone(),
            measured.moving.to_string(),
            share(measured.moving_let_through, measured.moving),
            measured.defects.to_string(),
            share(measured.let_through, measured.defects),
            measured.correct.to_string(),
            share(measured.accused, measured.correct),
        ]
    };
    Block::Table(RULES_HEAD, table.baselines.iter().map(row).collect())
}

fn implementations(table: &PowerTable) -> Block {
    let row = |one: &super::measured::Implementation| {
        vec![one.name.clone(), format!("`{}`", one.command), one.rows.to_string(), one.red.to_string(), one.expected.to_string()]
    };
    Block::Table(&["implementation", "judged by", "rows", "red", "expected"], table.implementations.iter().map(row).collect())
}

const RULES_TEXT: &str = "Rules of other tools, tried on the same defects of artifacts and runtimes (those that change something, and load), and on correct \
     implementations: the engine on an unbroken file in every column of the matrix, where this suite has no red row, and llama.cpp as its \
     goldens recorded it. This suite lets none of the defects through. Each rule is given the text as the runtime on trial tokenizes it. \
     What moves the logits is what a rule about answers is there for; all defects hold, beside these, faults of tokenizers, limits, chat templates, \
     samplers and protocols, most of which such a rule never looks at.";

const IMPLEMENTATIONS_TEXT: &str = "Correct implementations under the checks of this suite. Expected rows are those that the file of expectations of that runtime names, \
     each with a report.";

/// What stands in the README.
fn short(table: &PowerTable) -> Vec<Block> {
    let mut blocks = vec![Block::Text(counts(table))];
    blocks.extend(table.generated.iter().map(|one| Block::Text(drawn(one))));
    if !table.baselines.is_empty() {
        blocks.extend([Block::Text(RULES_TEXT.to_owned()), rules(table)]);
    }
    if !table.implementations.is_empty() {
        blocks.extend([Block::Text(IMPLEMENTATIONS_TEXT.to_owned()), implementations(table)]);
    }
    blocks
}

/// Everything.
#[expect(clippy::too_many_lines, reason = "one document, from its first heading to its last")]
fn whole(table: &PowerTable) -> Vec<Block> {
    let mut blocks = vec![Block::Heading("Power"), Block::Text(counts(table)), Block::Heading("Checks")];
    blocks.push(Block::Text(
        "Killed, spared, errors and equivalent count defects at each strength in each model. Separation is the effect of the weakest defect in \
         the check's kills over its bound. Sensitivity is the smallest strength that it kills in some model. Milliseconds are those of one run \
         over all defects, for each defect that only this check kills; who asks first pays for what is shared."
            .to_owned(),
    ));
    let row = |check: &super::published::CheckPower| {
        vec![
            check.id.clone(),
            check.killed.to_string(),
            check.spared.to_string(),
            check.errors.to_string(),
            check.equivalent.to_string(),
            number(check.separation),
            names(&check.sensitivity),
            number(check.ms_per_unique_kill),
            names(&check.only),
        ]
    };
    const HEAD: &[&str] = &[
        "check",
        "killed",
        "spared",
        "errors",
        "equivalent",
        "separation",
        "sensitivity",
        "ms per unique kill",
        "defects that only it kills",
    ];
    blocks.push(Block::Table(HEAD, table.checks.iter().map(row).collect()));
    blocks.push(Block::Heading("Checks that no defect needs"));
    let redundant = if table.redundant.is_empty() { "None.".to_owned() } else { names(&table.redundant) + "." };
    blocks.push(Block::Text(format!(
        "Whatever these kill, another check kills too, so that each alone could go; not all together. They stay where they say more about a \
         fault than what kills it, or stand for a claim of their own: {redundant}"
    )));
    if !table.generated.is_empty() {
        blocks.push(Block::Heading("Drawn defects"));
        for one in &table.generated {
            blocks.push(Block::Text(drawn(one)));
            blocks.extend(survivors(one));
        }
    }
    if !table.baselines.is_empty() {
        blocks.extend([Block::Heading("Rules of other tools"), Block::Text(RULES_TEXT.to_owned()), rules(table)]);
        for rule in &table.baselines {
            let blind = &rule.measured.blind_to;
            let told = if blind.is_empty() { "nothing".to_owned() } else { format!("{} defects: {}", blind.len(), names(blind)) };
            blocks.push(Block::Text(format!("`{}` catches at no strength and in no model {told}.", rule.id)));
            if !rule.measured.accuses.is_empty() {
                blocks.push(Block::Text(format!("`{}` accuses {}.", rule.id, names(&rule.measured.accuses))));
            }
        }
    }
    if !table.implementations.is_empty() {
        blocks.extend([Block::Heading("Correct implementations"), Block::Text(IMPLEMENTATIONS_TEXT.to_owned()), implementations(table)]);
    }
    blocks
}

fn is_count(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit()) && !cell.contains('`')
}

fn to_markdown(blocks: &[Block]) -> String {
    let cell = |text: &String| escape::line(text).replace('|', "\\|");
    let mut text = String::new();
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        match block {
            Block::Heading(title) => {
                let _ = writeln!(text, "{} {title}", if i == 0 { "#" } else { "##" });
            }
            Block::Text(paragraph) => text += &wrapped(&escape::line(paragraph)),
            Block::Table(head, rows) => {
                let counts = |column: usize| rows.iter().any(|row| is_count(&row[column]));
                let rule: Vec<&str> = (0..head.len()).map(|column| if counts(column) { "---:" } else { "---" }).collect();
                let _ = writeln!(text, "| {} |\n| {} |", head.join(" | "), rule.join(" | "));
                for row in rows {
                    let _ = writeln!(text, "| {} |", row.iter().map(cell).collect::<Vec<_>>().join(" | "));
                }
            }
        }
    }
    text
}

/// Lines of at most 140 characters, as the rest of the README has them.
fn wrapped(paragraph: &str) -> String {
    report::wrapped(paragraph, 140)
}

/// Text in HTML. What Markdown marks as code is marked as code.
fn to_html(blocks: &[Block]) -> String {
    let plain = |text: &str| escape::line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let inline = |text: &str| {
        let parts = plain(text);
        let parts: Vec<&str> = parts.split('`').collect();
        let mark = |(i, part): (usize, &&str)| if i % 2 == 1 { format!("<code>{part}</code>") } else { (*part).to_owned() };
        parts.iter().enumerate().map(mark).collect::<String>()
    };
    let mut text = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Power</title>\n<style>\n\
        body { font: 16px/1.5 sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }\n\
        table { border-collapse: collapse; } th, td { border: 1px solid #999; padding: .2rem .5rem; text-align: left; vertical-align: top; }\n\
        td.count { text-align: right; }\n</style>\n</head>\n<body>\n"
        .to_owned();
    for (i, block) in blocks.iter().enumerate() {
        match block {
            Block::Heading(title) => {
                let level = if i == 0 { 1 } else { 2 };
                let _ = writeln!(text, "<h{level}>{title}</h{level}>");
            }
            Block::Text(paragraph) => {
                let _ = writeln!(text, "<p>{}</p>", inline(paragraph));
            }
            Block::Table(head, rows) => {
                let heads: String = head.iter().map(|title| format!("<th scope=\"col\">{title}</th>")).collect();
                let _ = writeln!(text, "<table>\n<tr>{heads}</tr>");
                for row in rows {
                    let cell = |cell: &String| {
                        let class = if is_count(cell) { " class=\"count\"" } else { "" };
                        format!("<td{class}>{}</td>", inline(cell))
                    };
                    let _ = writeln!(text, "<tr>{}</tr>", row.iter().map(cell).collect::<String>());
                }
                text += "</table>\n";
            }
        }
    }
    text + "</body>\n</html>\n"
}

/// The whole table as Markdown.
pub fn markdown(table: &PowerTable) -> String {
    to_markdown(&whole(table))
}

/// The whole table as one page that needs nothing else.
pub fn html(table: &PowerTable) -> String {
    to_html(&whole(table))
}

/// The section of the README, without its marks.
pub fn readme(table: &PowerTable) -> String {
    to_markdown(&short(table))
}

/// `file` with what stands between the marks replaced. None where it lacks them, or has them in another order.
pub fn between_marks(file: &str, section: &str) -> Option<String> {
    let (before, rest) = file.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}\n\n{section}\n{}{after}", MARKS[0], MARKS[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let file = format!("a\n{}\nold\n{}\nb\n", MARKS[0], MARKS[1]);
        let new = between_marks(&file, "new\n").expect("marks");
        assert_eq!(new, format!("a\n{}\n\nnew\n\n{}\nb\n", MARKS[0], MARKS[1]));
        assert_eq!(between_marks(&new, "new\n"), Some(new.clone()));
        assert_eq!(between_marks("no marks", "new\n"), None);
    }

    /// The papers of a small table, whole.
    #[test]
    fn a_paper_tells_everything_there_is() {
        let table = super::super::published::tests::small();
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("power_paper", markdown(&table)));
        let html = html(&table).replace("<tr", "\n<tr").replace("<p", "\n<p");
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("power_page", html));
    }

    #[test]
    fn papers_escape_what_they_are_given() {
        let blocks =
            [Block::Text("`<b>` & \u{202e}".to_owned()), Block::Table(&["x", "n"], vec![vec!["a|b".to_owned(), "3 (1 %)".to_owned()]])];
        assert_eq!(to_markdown(&blocks), "`<b>` & \\u{202e}\n\n| x | n |\n| --- | ---: |\n| a\\|b | 3 (1 %) |\n");
        let page = to_html(&blocks);
        assert!(
            page.contains("<p><code>&lt;b&gt;</code> &amp; \\u{202e}</p>") && page.contains("<td class=\"count\">3 (1 %)</td>"),
            "{page}"
        );
    }
}
