//! `golden show`: a golden file as people read it: floats as decimals beside their bits, bytes as text.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::{Exit, Refusal, print};
use crate::escape;
use crate::golden_store::read_capped;

/// The largest golden that is shown. The longest committed one has a tenth of that.
const MAX_BYTES: u64 = 64 << 20;

/// Fields whose strings are text, whatever digits they are of.
const TEXT: [&str; 12] =
    ["text", "name", "model", "generator", "sha256", "cpu", "schema", "category", "tensors_digest", "values_digest", "reason", "file"];

/// Fields that hold bytes as hex digits.
const BYTES: [&str; 1] = ["decoded"];

/// How many entries of a long list are shown.
const MAX_LISTED: usize = 8;

/// Prints a file; `all` shows long lists whole.
pub(super) fn show(path: &Path, all: bool) -> Result<Exit, Refusal> {
    let refused = |why: String| {
        Refusal::new(
            format!("failed to read the golden: {}: {why}", path.display()),
            "give a JSON file of a golden folder, as golden/llama-tiny/code.json; `ground-truth tensors` shows a folder of safetensors",
        )
    };
    let bytes = read_capped(path, MAX_BYTES).map_err(|error| refused(error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    let mut text = String::new();
    write(&mut text, &value, "", 0, all);
    print(&text);
    Ok(Exit::Green)
}

fn write(out: &mut String, value: &Value, key: &str, depth: usize, all: bool) {
    let indent = "  ".repeat(depth);
    let label = if key.is_empty() { String::new() } else { format!("{}: ", escape::line(key)) };
    match value {
        Value::Object(fields) => {
            if !key.is_empty() {
                let _ = writeln!(out, "{indent}{}", label.trim_end());
            }
            let deeper = if key.is_empty() { depth } else { depth + 1 };
            fields.iter().for_each(|(name, value)| write(out, value, name, deeper, all));
        }
        Value::Array(values) if values.iter().any(|value| value.is_object() || value.is_array()) => {
            let _ = writeln!(out, "{indent}{label}{} entries", values.len());
            for (i, value) in values.iter().enumerate().take(if all { values.len() } else { MAX_LISTED }) {
                match value {
                    Value::Object(_) => write(out, value, &format!("[{i}]"), depth + 1, all),
                    other => {
                        let _ = writeln!(out, "{indent}  [{i}] {}", inline(other, key, all));
                    }
                }
            }
            if !all && values.len() > MAX_LISTED {
                let _ = writeln!(out, "{indent}  and {} more (--all shows them)", values.len() - MAX_LISTED);
            }
        }
        other => {
            let _ = writeln!(out, "{indent}{label}{}", inline(other, key, all));
        }
    }
}

fn inline(value: &Value, key: &str, all: bool) -> String {
    match value {
        Value::String(text) => read(text, key),
        Value::Array(values) => {
            let shown = values.iter().take(if all { values.len() } else { MAX_LISTED });
            let mut parts: Vec<String> = shown.map(|value| inline(value, key, all)).collect();
            if parts.len() < values.len() {
                parts.push(format!("... {} in all", values.len()));
            }
            format!("[{}]", parts.join(", "))
        }
        other => escape::line(&other.to_string()),
    }
}

/// A string: a float by its bits, bytes, or text.
fn read(text: &str, key: &str) -> String {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if BYTES.contains(&key) && is_hex && text.len().is_multiple_of(2) {
        let bytes: Vec<u8> = (0..text.len()).step_by(2).filter_map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect();
        return format!("b\"{}\"", bytes.escape_ascii());
    }
    if !TEXT.contains(&key) && is_hex {
        if let (8, Ok(bits)) = (text.len(), u32::from_str_radix(text, 16)) {
            return format!("{:?} (0x{text})", f32::from_bits(bits));
        }
        if let (16, Ok(bits)) = (text.len(), u64::from_str_radix(text, 16)) {
            return format!("{:?} (0x{text})", f64::from_bits(bits));
        }
    }
    format!("{:?}", escape::line(text)).replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_by_people() {
        assert_eq!(read("3f800000", "margins"), "1.0 (0x3f800000)");
        assert_eq!(read("7fc00000", "nll"), "NaN (0x7fc00000)");
        assert_eq!(read("3ff8000000000000", "sum_nll"), "1.5 (0x3ff8000000000000)");
        assert_eq!(read("61622c0a", "decoded"), "b\"ab,\\n\"");
        assert_eq!(read("deadbeef", "text"), "\"deadbeef\"");
        assert_eq!(read("a\u{1b}[2J", "text"), "\"a\\u{1b}[2J\"");
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let value = serde_json::json!({"margins": vec!["3f800000"; 20], "cases": vec![serde_json::json!({"ids": [1, 2]}); 10]});
        let (mut cut, mut whole) = (String::new(), String::new());
        write(&mut cut, &value, "", 0, false);
        write(&mut whole, &value, "", 0, true);
        assert!(cut.contains("... 20 in all]") && cut.contains("and 2 more"), "{cut}");
        assert_eq!(whole.matches("1.0 (0x3f800000)").count(), 20);
    }

    /// Names, nesting and lists of lists, line by line.
    #[test]
    fn what_is_nested_is_indented_under_its_name() {
        let value = serde_json::json!({"a": 1, "b": {"c": true, "d": {"e": null}}, "f": [[1, 2], {"g": 3}], "h": []});
        let mut text = String::new();
        write(&mut text, &value, "", 0, false);
        assert_eq!(text, "a: 1\nb:\n  c: true\n  d:\n    e: null\nf: 2 entries\n  [0] [1, 2]\n  [1]:\n    g: 3\nh: []\n");
    }
}
