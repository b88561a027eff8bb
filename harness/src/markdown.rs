//! Untrusted text in Markdown, as GitHub renders it.
//!
//! Names come from files, generated text from models, messages from runtimes. In prose, such a text could be a link, an image, a mention of
//! everybody, a heading or HTML; in a table it could end its cell; in a code block it could end the block. So it stands in a code span or a
//! code block that is longer than any run of backticks in it, and only text that can do nothing is written as it is.

use crate::escape;

/// Characters of a text that can stand in the middle of a paragraph as it is, besides letters and digits: signs that begin nothing there.
const HARMLESS: &str = ",.;:()'\"+=%/-?";

/// `text` as a part of a sentence: its words as they are where they can do nothing; from the first that could do something to the last, a
/// [`code`] span. Never at the beginning of a line.
pub fn prose(text: &str) -> String {
    let text = escape::line(text);
    let words: Vec<&str> = text.split(' ').collect();
    if text.trim().is_empty() {
        return code_of_line(&text);
    }
    let Some(first) = words.iter().position(|word| !is_harmless(word)) else { return text };
    let last = words.iter().rposition(|word| !is_harmless(word)).unwrap_or(first);
    let parts = [words[..first].join(" "), code_of_line(&words[first..=last].join(" ")), words[last + 1..].join(" ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether a word is nothing but a word in Markdown. An underscore between letters is: it emphasises only at a word's end.
fn is_harmless(word: &str) -> bool {
    let is_link = ["www.", "://"].iter().any(|sign| word.to_ascii_lowercase().contains(sign));
    let joins = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.ends_with(|c: char| c.is_ascii_alphanumeric());
    let plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || HARMLESS.contains(c));
    let parts: Vec<&str> = word.split('_').collect();
    !is_link && parts.iter().all(|part| plain(part)) && (parts.len() == 1 || parts.iter().all(|part| joins(part)))
}

/// `text` as a code span, on one line.
pub fn code(text: &str) -> String {
    code_of_line(&escape::line(text))
}

/// A code span for a table's cell, where a bar would end the cell even inside of a span, and a backslash before it would free it again.
pub fn cell(text: &str) -> String {
    let mut out = String::new();
    let mut slashes = 0;
    for character in code(text).chars() {
        match character {
            '\\' => slashes += 1,
            '|' => {
                // Tables take one backslash away from each bar; an even number before it would leave the bar bare.
                out.push_str(if slashes % 2 == 1 { "\\\\" } else { "\\" });
                slashes = 0;
            }
            _ => slashes = 0,
        }
        out.push(character);
    }
    out
}

fn code_of_line(line: &str) -> String {
    if line.trim().is_empty() {
        return "(empty)".to_owned();
    }
    let ticks = "`".repeat(longest_run(line, '`') + 1);
    // A span that begins or ends with a backtick, or has a space at both ends, is read without one space on each side.
    let pad = if line.starts_with(['`', ' ']) || line.ends_with(['`', ' ']) { " " } else { "" };
    format!("{ticks}{pad}{line}{pad}{ticks}")
}

/// `text` as a code block in `language`, with its line end; line ends in it stay, everything else that a terminal would obey is shown.
pub fn block(text: &str, language: &str) -> String {
    let text = escape::lines(text);
    let fence = "`".repeat(longest_run(&text, '`').max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

fn longest_run(text: &str, of: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for character in text.chars() {
        run = if character == of { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_can_do_nothing_stays_as_it_is() {
        assert_eq!(prose("logits equal the golden's, within 2 x the floor"), "logits equal the golden's, within 2 x the floor");
        for text in
            ["a <b>", "@everyone", "[x](y)", "**a**", "www.example.org", "http://e", "a|b", "_a_", "a\u{202e}b", "~~a~~", "$a$", "a\\b"]
        {
            let shown = prose(text);
            assert!(shown.contains('`') && shown.ends_with('`'), "{shown}");
        }
        assert_eq!(prose("the stage attn_norm differs: a <b> c | d e"), "the stage attn_norm differs: a `<b> c |` d e");
        assert_eq!(prose("_a b_ c"), "`_a b_` c");
        assert_eq!(prose(""), "(empty)");
    }

    #[test]
    fn a_span_is_longer_than_what_is_in_it() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a``b"), "```a``b```");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code(" \n"), "` \\n`".replace("` ", "`  ").replace("n`", "n `"));
        assert_eq!(code(""), "(empty)");
        assert_eq!(cell("a|b"), "`a\\|b`");
        // Backslashes before a bar, as the text has them and as the table needs them: odd in all, so that the bar stays in its cell.
        for slashes in 0..5 {
            let shown = cell(&format!("a{}|b", "\\".repeat(slashes)));
            let before = shown.split('|').next().unwrap();
            assert_eq!((before.len() - before.trim_end_matches('\\').len()) % 2, 1, "{shown}");
        }
    }

    #[test]
    fn a_block_is_longer_than_what_is_in_it() {
        let text = "a\n````\n</details>\u{1b}[2J";
        assert_eq!(block(text, "diff"), "`````diff\na\n````\n</details>\\u{1b}[2J\n`````\n");
    }
}
