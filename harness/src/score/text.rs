//! The scores as a person reads them on a terminal: each beside the table that it came from.

use std::fmt::Write as _;

use super::{CATEGORIES, Count, GATEWAYS, Score, Scores, THRESHOLD, status};
use crate::escape::line;

/// The most reasons of one score that are shown.
const MAX_WHY: usize = 4;

/// The scores of the models, and, beside them, those of the artifacts.
pub fn text(scores: &Scores) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "A score decides nothing. It is computed from the rows of run {}, counted beside it as passed/all.",
        line(&scores.run)
    );
    for doubt in &scores.doubts {
        let _ = writeln!(text, "doubt         {}", line(doubt));
    }
    table(&mut text, "model", &scores.models);
    for score in &scores.models {
        let verdict = if score.qualified { "QUALIFIED" } else { "REJECTED" };
        let _ =
            writeln!(text, "{verdict:<13} {}: MQS {}, {}, {}", line(&score.subject), shown(score.score), score.grade, status(score.grade));
        for why in score.why.iter().take(MAX_WHY) {
            let _ = writeln!(text, "              {}", line(why));
        }
        if score.why.len() > MAX_WHY {
            let _ = writeln!(text, "              and {} other reasons", score.why.len() - MAX_WHY);
        }
    }
    table(&mut text, "artifact", &scores.artifacts);
    let _ = writeln!(text, "\nQualified: every gateway is passed, every category is scored, and the score is {THRESHOLD} or more.");
    for (gateway, claimed) in GATEWAYS {
        let _ = writeln!(text, "{gateway:<6} a gateway: {claimed}");
    }
    for (category, points, claimed) in CATEGORIES {
        let _ = writeln!(text, "{category:<6} {points} points: {claimed}");
    }
    text
}

fn table(text: &mut String, what: &str, scores: &[Score]) {
    let width = scores.iter().map(|score| line(&score.subject).chars().count()).max().unwrap_or(0).max(what.len());
    let _ = write!(text, "\n{what:<width$}");
    for name in GATEWAYS.iter().map(|(name, _)| name).chain(CATEGORIES.iter().map(|(name, ..)| name)) {
        let _ = write!(text, " {name:>9}");
    }
    let _ = writeln!(text, " {:>7} {:>6} grade", "points", "MQS");
    for score in scores {
        let _ = write!(text, "{:<width$}", line(&score.subject));
        for count in score.gateways.iter().chain(&score.categories) {
            let _ = write!(text, " {:>9}", counted(count));
        }
        let _ = writeln!(text, " {:>7} {:>6} {}", shown(score.points), shown(score.score), score.grade);
    }
}

/// Passed of all; a dash where nothing was judged.
pub fn counted(count: &Count) -> String {
    if count.judged() == 0 { format!("-/{}", count.all()) } else { format!("{}/{}", count.passed, count.all()) }
}

/// With one digit, cut and not rounded: 84.96 is not 85.
pub fn shown(score: f64) -> String {
    format!("{:.1}", (score * 10.0).floor() / 10.0)
}
