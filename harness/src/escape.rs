//! Untrusted text on its way to a terminal, a shell line or a file name.
//!
//! Names come from files, generated text from models, messages from runtimes that other people wrote. None of it may move a
//! cursor, reverse a line, end one early, or leave the quotes of a command that a person is told to copy.

use std::fmt::Write as _;

use ground_truth::escape::is_deceptive;
use sha2::{Digest, Sha256};

fn push_escaped(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        other => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(other));
        }
    }
}

/// `text` on one line: every deceptive character is written as an escape.
pub fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// `text` with its line ends and tabs kept, every other deceptive character written as an escape: for generated text.
pub fn lines(text: &str) -> String {
    escaped(text, |character| matches!(character, '\n' | '\t'))
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_deceptive(character) && !keep(character) {
            push_escaped(&mut out, character);
        } else {
            out.push(character);
        }
    }
    out
}

/// A JSON document in which every deceptive character is a `\u` escape. Such characters stand only inside strings, apart from
/// the line ends of pretty printing, which stay.
pub fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for character in document.chars() {
        if is_deceptive(character) && character != '\n' {
            let mut units = [0u16; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// `text` as one word of a POSIX shell. Deceptive characters are escaped before quoting, so such a word is for reading only.
pub fn shell(text: &str) -> String {
    let text = line(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// `text` always in single quotes, as a shell word: test names, whose `::` and brackets a reader wants to see quoted.
pub fn quoted(text: &str) -> String {
    format!("'{}'", line(text).replace('\'', "'\\''"))
}

/// Whether `name` can be a part of a test name: 1 to 128 of `[A-Za-z0-9._-]`, not starting with a dot or a dash.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// `name` as a part of a test name or file name. A name that had to be changed carries eight digits of its hash, so that two
/// names stay two.
pub fn plain_name(name: &str) -> String {
    if is_plain_name(name) {
        return name.to_owned();
    }
    let kept: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' }).take(100).collect();
    let kept = kept.trim_start_matches(['.', '-']);
    let kept = if kept.is_empty() { "_" } else { kept };
    format!("{kept}-{}", &hex(&Sha256::digest(name.as_bytes()))[..8])
}

/// Lowercase hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_obeys_nothing() {
        assert_eq!(line("a\nb\u{1b}[2Jc\u{202e}d\u{0}"), "a\\nb\\u{1b}[2Jc\\u{202e}d\\u{0}");
        assert_eq!(line("naïve café 日本 😀"), "naïve café 日本 😀");
        assert_eq!(line("\u{85}\u{2028}\u{2066}\u{e0041}"), "\\u{85}\\u{2028}\\u{2066}\\u{e0041}");
    }

    #[test]
    fn generated_text_keeps_its_line_ends_only() {
        assert_eq!(lines("a\n\tb\r\u{7}"), "a\n\tb\\r\\u{7}");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"text": "a\u{202e}b\u{9b}c\u{e0041}\n"});
        let written = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!written.chars().any(|c| is_deceptive(c) && c != '\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
    }

    #[test]
    fn shell_words_cannot_leave_their_quotes() {
        assert_eq!(shell("golden/a"), "golden/a");
        assert_eq!(shell("a'; rm -rf ~"), "'a'\\''; rm -rf ~'");
        assert_eq!(shell(""), "''");
        assert_eq!(quoted("a::b"), "'a::b'");
    }

    #[test]
    fn changed_names_stay_distinct() {
        assert_eq!(plain_name("llama-tiny"), "llama-tiny");
        assert_ne!(plain_name("a b"), plain_name("a_b"));
        assert_ne!(plain_name("a b"), plain_name("a\tb"));
        assert!(is_plain_name(&plain_name("../../etc/passwd")));
        assert!(is_plain_name(&plain_name("-::-")));
        assert!(is_plain_name(&plain_name("")));
    }
}
