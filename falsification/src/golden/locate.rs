//! Which field of a JSON document stands at a line and column.
//!
//! serde_json names the line and the column of what it refused, and a golden is one long line. This walks the text up to that byte and
//! keeps the path. It believes nothing: on text that is not JSON it returns the path as far as it got.

/// One step of the path: an object with the key that is being read, or an array with the index.
enum Step {
    Object(Option<String>),
    Array(usize),
}

/// The path of the field at a 1-based line and column, `greedy.margins[3]`; `$` for the whole document.
pub(super) fn field(json: &[u8], line: usize, column: usize) -> String {
    let end = offset(json, line, column);
    let mut path: Vec<Step> = Vec::new();
    let mut is_key = false;
    let mut at = 0;
    while at < end {
        match json[at] {
            b'{' => {
                path.push(Step::Object(None));
                is_key = true;
            }
            b'[' => path.push(Step::Array(0)),
            b'}' | b']' => {
                path.pop();
                is_key = false;
            }
            b',' => match path.last_mut() {
                Some(Step::Array(index)) => *index += 1,
                _ => is_key = true,
            },
            b':' => is_key = false,
            b'"' => {
                let close = string_end(json, at);
                // An unknown key is refused at its closing quote.
                if is_key && close <= end + 1 {
                    let key = json.get(at + 1..close.saturating_sub(1)).unwrap_or_default();
                    if let Some(Step::Object(name)) = path.last_mut() {
                        *name = Some(String::from_utf8_lossy(key).escape_debug().take(64).collect());
                    }
                }
                at = close;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    render(&path)
}

/// The byte offset of a 1-based line and column; serde_json counts columns in bytes.
fn offset(json: &[u8], line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match json[start..].iter().position(|&byte| byte == b'\n') {
            Some(newline) => start += newline + 1,
            None => break,
        }
    }
    start.saturating_add(column.saturating_sub(1)).min(json.len())
}

/// One past the closing quote of the string that opens at `open`, or the end of the text.
fn string_end(json: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    json.len()
}

fn render(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Object(None) => {}
            Step::Object(Some(key)) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Array(index) => text.push_str(&format!("[{index}]")),
        }
    }
    if text.is_empty() { "$".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(json: &str, mark: &str) -> String {
        let column = json.find(mark).expect("the mark is in the text") + 1;
        field(json.as_bytes(), 1, column)
    }

    #[test]
    fn path_of_a_nested_value() {
        let json = r#"{"a":1,"greedy":{"ids":[1,2,X],"b":{"c":Y}},"d":Z}"#;
        assert_eq!(at(json, "X"), "greedy.ids[2]");
        assert_eq!(at(json, "Y"), "greedy.b.c");
        assert_eq!(at(json, "Z"), "d");
        assert_eq!(at(json, "{"), "$");
    }

    #[test]
    fn strings_with_quotes_and_brackets_do_not_confuse_it() {
        let json = r#"{"a":"\"}]{[,:","b":[{"k":"["},X]}"#;
        assert_eq!(at(json, "X"), "b[1]");
    }

    #[test]
    fn lines_are_counted() {
        assert_eq!(field(b"{\n  \"a\": [\n    1,\n    NaN\n", 4, 5), "a[1]");
    }

    #[test]
    fn hostile_text_does_not_panic() {
        for json in [&b""[..], b"]]]]}}", b"\"\\", b"{\"", b"{\"a\":\"\\", b"[[[[,,,,"] {
            for column in 0..12 {
                for line in [1, 9] {
                    let path = field(json, line, column);
                    assert!(!path.chars().any(char::is_control), "{path:?}");
                }
            }
        }
    }
}
