//! What a person reads about one row.
//!
//! A red row is told in a fixed order: claim, expected, observed, bound, where; then who most likely acts, and the command that
//! shows it again. Everything that came from a file or a runtime is escaped here, on its way to the terminal.

use std::fmt::Write as _;

use crate::diagnosis::stage;
use crate::escape::line;
use crate::evidence::{Minimal, Number, Record, Where};

/// Longest text of one field. A diff of two token lists can be long; the evidence has it whole.
const MAX_FIELD: usize = 2_000;

/// The most ids of a minimal sequence that are shown. The evidence has them all.
const SHOWN_IDS: usize = 24;

/// The whole story of a red row.
pub fn failure(record: &Record) -> String {
    let mut text = String::new();
    let mut field = |label: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{label:<9} {value}");
        }
    };
    let kind = record.error.as_deref().map(|kind| format!("{}: ", line(kind))).unwrap_or_default();
    let sentence = cut(&line(&record.claim.sentence));
    field("claim", format!("{}: {sentence}", record.claim.id).trim_start_matches(": "));
    field("expected", &cut(&line(&record.expected)));
    field("observed", &cut(&format!("{kind}{}", line(&record.observed))));
    field("bound", &bounds(record));
    let meaning = record.place.stage.as_deref().and_then(|stage| stage::meaning(stage));
    field("where", &(place(&record.place) + &meaning.map(|what| format!(" ({what})")).unwrap_or_default()));
    field("minimal", &record.minimal.as_ref().map(minimal).unwrap_or_default());
    field("owner", &line(&record.owner));
    field("next", &record.reproduce);
    text.truncate(text.trim_end().len());
    text
}

/// The smallest question that still shows it.
fn minimal(minimal: &Minimal) -> String {
    let shown: Vec<String> = minimal.ids.iter().take(SHOWN_IDS).map(u32::to_string).collect();
    let more = if minimal.ids.len() > SHOWN_IDS { ", ..." } else { "" };
    let asked = if minimal.questions == 1 { "1 question".to_owned() } else { format!("{} questions", minimal.questions) };
    let (tokens, position) = (minimal.tokens, minimal.position);
    format!("wrong from position {position} on; {tokens} tokens show it: [{}{more}] (found with {asked})", shown.join(", "))
}

/// A red row on one line, ending with the owner and the next command.
pub fn red_line(record: &Record) -> String {
    red_gate_line(record, 0)
}

/// The same, for a gate: `behind` rows were not judged because this one is red.
pub fn red_gate_line(record: &Record, behind: usize) -> String {
    let behind = match behind {
        0 => String::new(),
        1 => " (and 1 row behind this gate)".to_owned(),
        n => format!(" (and {n} rows behind this gate)"),
    };
    let word = record.verdict.to_uppercase();
    let mut what = record.measures.iter().find(|number| !holds(number)).map_or_else(|| shorten(&line(&record.observed), 160), measure);
    if let Some(where_) = Some(place(&record.place)).filter(|place| !place.is_empty()) {
        let _ = write!(what, ", {where_}");
    }
    format!("{word} {}{behind}: {what} | owner: {} | next: {}", line(&record.name), line(&record.owner), record.reproduce)
}

/// Every number with its bound.
pub fn bounds(record: &Record) -> String {
    if record.measures.is_empty() {
        return if record.bounds.is_empty() && record.error.is_none() && record.axes.is_some() {
            "exact".to_owned()
        } else {
            String::new()
        };
    }
    record.measures.iter().map(measure).collect::<Vec<_>>().join("; ")
}

/// One number with its bound.
pub fn measure(number: &Number) -> String {
    let unit = if number.unit.is_empty() { String::new() } else { format!(" {}", line(&number.unit)) };
    let (name, observed) = (line(&number.name), short(number.observed));
    match number.bound {
        None => format!("{name} {observed}{unit} (printed)"),
        Some(bound) if holds(number) => format!("{name} {observed}{unit} <= {}", short(bound)),
        Some(bound) => format!("{name} {observed}{unit} is not <= {}", short(bound)),
    }
}

/// Whether a number keeps its bound; one that is only printed does.
pub fn holds(number: &Number) -> bool {
    number.bound.is_none_or(|bound| number.observed <= bound)
}

/// A number with four digits, whole numbers as they are.
pub fn short(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e6 {
        format!("{value}")
    } else if value.is_finite() && (value.abs() < 1e-3 || value.abs() >= 1e6) {
        format!("{value:.3e}")
    } else {
        format!("{value:.4}")
    }
}

/// The parts of a place that are known.
pub fn place(place: &Where) -> String {
    let position = place.position.map(|position| position.to_string());
    [
        ("stage", place.stage.as_deref()),
        ("tensor", place.tensor.as_deref()),
        ("position", position.as_deref()),
        ("token", place.token.as_deref()),
    ]
    .into_iter()
    .filter_map(|(label, value)| value.map(|value| format!("{label} {}", line(value))))
    .collect::<Vec<_>>()
    .join(", ")
}

fn cut(text: &str) -> String {
    shorten(text, MAX_FIELD)
}

/// At most `limit` characters of `text`, with the number of those left out.
pub fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => {
            let more = text[end..].chars().count();
            format!("{}... ({more} more characters)", &text[..end])
        }
    }
}

/// `text` with its lines broken between words, so that each has at most `width` characters where its words allow that; each with its line end.
pub fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.split('\n') {
        let mut used = 0;
        for (i, word) in line.split(' ').enumerate() {
            let length = word.chars().count();
            if i > 0 && used + 1 + length > width {
                out.push('\n');
                used = 0;
            } else if i > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Axes;
    use ground_truth_falsification::verdict::{ErrorKind, Measure, Outcome, Owner, Place, Verdict};

    fn red() -> Record {
        let verdict = Verdict {
            outcome: Outcome::Falsified,
            measures: vec![Measure::gated("relative RMS", 0.021_37, 5.4e-7, ""), Measure::printed("largest difference", 3.5, "logits")],
            compared: 12,
            claim: "f32 logits equal the golden within the bound",
            expected: "the golden's logits".into(),
            observed: "they differ\u{1b}[2J".into(),
            place: Place { stage: Some("blk.0.attn.q".into()), position: Some(5), ..Place::default() },
            owner: Owner::Kernel,
            error: None,
        };
        let mut record = Record::of("run", "llama-tiny::safetensors::f32::native::F-G4-logits::code", &verdict);
        record.claim.id = "F-G4".into();
        record.reproduce = "cargo test --test falsify -- --exact 'x'".into();
        record.minimal = Some(Minimal { tokens: 6, position: 5, ids: vec![1, 20, 3, 4, 5, 6], questions: 1 });
        record.axes = Some(Axes {
            model: "llama-tiny".into(),
            format: "safetensors".into(),
            quantization: "f32".into(),
            runtime: "native".into(),
            check: "F-G4-logits".into(),
            prompt: Some("code".into()),
        });
        record
    }

    #[test]
    fn a_failure_is_told_in_the_fixed_order() {
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("failure", failure(&red())));
    }

    #[test]
    fn a_red_line_ends_with_owner_and_command() {
        let text = red_line(&red());
        assert!(text.ends_with("| owner: kernel | next: cargo test --test falsify -- --exact 'x'"), "{text}");
        assert!(text.contains("relative RMS 0.0214 is not <= 5.400e-7, stage blk.0.attn.q, position 5"), "{text}");
    }

    #[test]
    fn nothing_untrusted_reaches_the_terminal() {
        let mut record = red();
        record.observed = "a\nowner     nobody\u{202e}".into();
        record.place.tensor = Some("t\u{7}".into());
        let text = failure(&record);
        assert_eq!(text.lines().count(), 8, "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n') && !text.contains('\u{202e}'), "{text}");
    }

    #[test]
    fn an_error_names_its_kind() {
        let verdict = Verdict::error(ErrorKind::Timeout, "an answer", "no answer within 60 s");
        let text = failure(&Record::of("run", "a", &verdict));
        assert!(text.contains("observed  timeout: no answer within 60 s"), "{text}");
        assert!(!text.contains("bound"), "{text}");
    }

    #[test]
    fn numbers_are_short_and_nan_is_no_pass() {
        assert_eq!(short(32.0), "32");
        assert_eq!(short(2.4567e-7), "2.457e-7");
        assert_eq!(short(f64::NAN), "NaN");
        let nan = Number { name: "x".into(), observed: f64::NAN, bound: Some(1.0), unit: String::new() };
        assert_eq!(measure(&nan), "x NaN is not <= 1");
    }
}
