//! A ticket as Markdown, ready to be an issue. Every word that came from a file, a model or a runtime goes through [`markdown`](crate::markdown).

use std::fmt::Write as _;

use super::group::Failing;
use super::{Ticket, Tickets, count};
use crate::escape;
use crate::evidence::Number;
use crate::markdown::{block, cell, code, prose};
use crate::report;

/// The most cells or files that one list shows.
const MAX_LISTED: usize = 16;

/// All tickets on one page. Without a failure, one line.
pub fn markdown(tickets: &Tickets) -> String {
    let run = code(&tickets.run);
    if tickets.tickets.is_empty() {
        let mut text = format!("No failure: {} of run {run}, none red.\n", count(tickets.rows, "row"));
        tickets.notes.iter().for_each(|note| text.push_str(&format!("Note: {}.\n", prose(note))));
        return text;
    }
    let (n, red) = (count(tickets.tickets.len(), "ticket"), tickets.red);
    let mut text = format!("# {n} of run {run}\n\n{red} of {} red.\n", count(tickets.rows, "row"));
    for note in &tickets.notes {
        let _ = writeln!(text, "\nNote: {}.", prose(note));
    }
    for ticket in &tickets.tickets {
        text.push('\n');
        text.push_str(&ticket.markdown());
    }
    text
}

/// The file of a ticket among others: its claim and its fingerprint.
pub fn file_name(ticket: &Ticket) -> String {
    let claim = if ticket.claim.is_empty() { "lists" } else { &ticket.claim };
    format!("{}-{}.md", escape::plain_name(claim), ticket.fingerprint)
}

/// The command line that files a ticket whose text lies in `file`.
pub fn gh(ticket: &Ticket, file: &str) -> String {
    let file = if file.starts_with('-') { format!("./{file}") } else { file.to_owned() };
    format!("gh issue create --title {} --body-file {}", escape::quoted(&ticket.title), escape::shell(&file))
}

impl Ticket {
    /// One ticket, beginning with its title.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.heading(&mut text);
        self.cells(&mut text);
        self.difference(&mut text);
        self.reasons(&mut text);
        self.surroundings(&mut text);
        let _ = write!(text, "\n### Reproduce\n\n{}", block(&self.reproduce, "sh"));
        text
    }

    fn heading(&self, text: &mut String) {
        let _ = writeln!(text, "## Ticket {}: {}", self.fingerprint, prose(&self.title));
        let _ = writeln!(text, "\n| | |\n|---|---|");
        let mut line = |label: &str, value: String| {
            let _ = writeln!(text, "| {label} | {value} |");
        };
        line("claimed", format!("{}: {}", cell(&self.claim), in_cell(&self.sentence)));
        line("refuted by", in_cell(&self.refuted_by));
        line("outcome", in_cell(&self.outcome));
        line("owner", in_cell(&self.owner));
        let stage = match (&self.stage, &self.stage_is) {
            (Some(stage), Some(what)) => format!("{}: {}", cell(stage), in_cell(what)),
            (Some(stage), None) => cell(stage),
            (None, _) => "not known".to_owned(),
        };
        line("first stage that differs", stage);
        let behind = if self.behind > 0 { format!(", {} not judged behind it", self.behind) } else { String::new() };
        line("red", format!("{} in {}{behind}", count(self.rows, "row"), count(self.failing.len(), "place")));
    }

    fn cells(&self, text: &mut String) {
        let _ = writeln!(text, "\n### Where it fails, and where it passes\n");
        if !self.failing.is_empty() {
            let _ = writeln!(text, "| cell | these checks | found |\n|---|---|---|");
        }
        let more = |text: &mut String, all: usize, word: &str| {
            if all > MAX_LISTED {
                let _ = writeln!(text, "| and {} more | {word} | |", all - MAX_LISTED);
            }
        };
        for Failing { cell: name, red, rows, found } in self.failing.iter().take(MAX_LISTED) {
            let _ = writeln!(text, "| {} | {red} of {rows} red | {} |", cell(name), in_cell(found));
        }
        more(text, self.failing.len(), "red");
        for (name, all) in self.passing.iter().take(MAX_LISTED) {
            let _ = writeln!(text, "| {} | {all} green | |", cell(name));
        }
        more(text, self.passing.len(), "green");
        if !self.apart.is_empty() {
            text.push('\n');
        }
        for sentence in &self.apart {
            let _ = writeln!(text, "- Contrast: {}.", prose(sentence));
        }
    }

    fn difference(&self, text: &mut String) {
        let example = &self.example;
        let _ = writeln!(text, "\n### Expected against observed\n\nRow {}", code(&example.name));
        if !example.place.is_empty() {
            let _ = writeln!(text, "at {}", prose(&example.place));
        }
        let _ = write!(text, "\n{}", block(&example.diff, "diff"));
        if let Some(minimal) = &example.minimal {
            let ids = minimal.ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let (tokens, position) = (count(minimal.tokens, "token"), minimal.position);
            let _ = writeln!(
                text,
                "\nMinimised prompt: {tokens} are enough, wrong at position {position}: {}",
                code(&report::shorten(&ids, 400))
            );
        }
        if !example.measures.is_empty() {
            let _ = writeln!(text, "\n| measured | observed | bound | times the bound |\n|---|---|---|---|");
        }
        for number in &example.measures {
            let _ = writeln!(text, "{}", measure(number));
        }
        if !example.bounds.is_empty() {
            let bounds: Vec<String> = example.bounds.iter().map(|bound| code(bound)).collect();
            let _ = writeln!(text, "\nBounds of falsification/tolerances.toml: {}.", bounds.join(", "));
        }
        let separation = match (example.separation, example.measures.iter().any(|number| number.bound.is_some())) {
            (Some(ratio), _) => format!("the weakest defect that this check must find lies {} times past the bound", report::short(ratio)),
            (None, true) => "not measured in this run; the power tests measure it".to_owned(),
            (None, false) => "exact: any difference is one".to_owned(),
        };
        let _ = writeln!(text, "\nSeparation: {separation}.");
    }

    fn reasons(&self, text: &mut String) {
        let _ = writeln!(text, "\n### Five whys\n");
        for (i, (question, answer)) in self.whys.iter().enumerate() {
            let answer = answer.as_ref().map_or_else(|| "*open*".to_owned(), |answer| prose(answer));
            let _ = writeln!(text, "{}. {question} {answer}", i + 1);
        }
        if !self.alike.is_empty() {
            let _ = writeln!(text, "\n| known fault | what | seen in | distance |\n|---|---|---|---|");
        }
        for like in &self.alike {
            let (what, seen) = (in_cell(&like.what), in_cell(&like.seen_in));
            let _ = writeln!(text, "| {} | {what} | {seen} | {} |", cell(&like.defect), report::short(like.distance));
        }
        if !self.see_also.is_empty() {
            text.push('\n');
        }
        for other in self.see_also.iter().take(MAX_LISTED) {
            let _ = writeln!(text, "- Same owner and stage: {}", prose(other));
        }
    }

    fn surroundings(&self, text: &mut String) {
        let _ = writeln!(text, "\n### Environment\n\n| | |\n|---|---|");
        for (name, value) in &self.environment {
            let _ = writeln!(text, "| {} | {} |", in_cell(name), in_cell(value));
        }
        for file in self.files.iter().take(MAX_LISTED) {
            let sha256 = if file.sha256.is_empty() { "cannot be read".to_owned() } else { format!("sha256 {}", file.sha256) };
            let _ = writeln!(text, "| {} | {} |", cell(&file.path), in_cell(&sha256));
        }
        if self.files.len() > MAX_LISTED {
            let _ = writeln!(text, "| and {} more files | in run.json |", self.files.len() - MAX_LISTED);
        }
    }
}

/// Prose in a table's cell: it holds no bar, which is not harmless.
fn in_cell(text: &str) -> String {
    prose(text).replace('|', "\\|")
}

fn measure(number: &Number) -> String {
    let unit = if number.unit.is_empty() { String::new() } else { format!(" {}", number.unit) };
    let (bound, times) = match number.bound {
        None => ("printed".to_owned(), String::new()),
        Some(bound) if report::holds(number) => (report::short(bound), "within".to_owned()),
        Some(bound) if bound > 0.0 && number.observed.is_finite() => (report::short(bound), report::short(number.observed / bound)),
        Some(bound) => (report::short(bound), "past it".to_owned()),
    };
    format!("| {} | {} | {} | {times} |", in_cell(&number.name), in_cell(&format!("{}{unit}", report::short(number.observed))), bound)
}
