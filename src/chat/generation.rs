//! `{% generation %}`: what is in it was written by the assistant, and it is shown as it is.
//!
//! The block is written as `{% with %}`, which shows what is in it too, and keeps to itself what is set in it, as the other one does.

/// The source with these blocks under their other name. What stands in comments, strings, expressions and raw text is left alone, and no
/// line moves.
pub(super) fn as_known_blocks(source: &str) -> String {
    let mut written = String::with_capacity(source.len());
    let mut at = 0;
    while let Some((begin, kind)) = next_tag(source, at) {
        let inside = begin + 2;
        let end = match kind {
            b'#' => source[inside..].find("#}").map_or(source.len(), |end| inside + end + 2),
            _ => end_of_code(source, inside),
        };
        let word = word(source, inside).filter(|_| kind == b'%');
        written.push_str(&source[at..begin]);
        match word.map(|(from, to)| (from, to, &source[from..to])) {
            Some((from, to, "generation")) => replace(&mut written, source, (begin, end), (from, to), "with"),
            Some((from, to, "endgeneration")) => replace(&mut written, source, (begin, end), (from, to), "endwith"),
            Some((_, _, "raw")) => {
                let after = end_of_raw(source, end);
                written.push_str(&source[begin..after]);
                at = after;
                continue;
            }
            _ => written.push_str(&source[begin..end]),
        }
        at = end;
    }
    written.push_str(&source[at..]);
    written
}

fn replace(written: &mut String, source: &str, tag: (usize, usize), word: (usize, usize), other: &str) {
    written.push_str(&source[tag.0..word.0]);
    written.push_str(other);
    written.push_str(&source[word.1..tag.1]);
}

/// Where the next `{{`, `{%` or `{#` begins, and which it is.
fn next_tag(source: &str, from: usize) -> Option<(usize, u8)> {
    let bytes = source.as_bytes();
    (from..bytes.len().saturating_sub(1))
        .find(|i| bytes[*i] == b'{' && matches!(bytes[i + 1], b'{' | b'%' | b'#'))
        .map(|i| (i, bytes[i + 1]))
}

/// The first word of a tag: where it begins and ends.
fn word(source: &str, inside: usize) -> Option<(usize, usize)> {
    let bytes = source.as_bytes();
    let sign = inside + usize::from(bytes.get(inside).is_some_and(|byte| matches!(byte, b'-' | b'+')));
    let begin = (sign..bytes.len()).find(|i| !bytes[*i].is_ascii_whitespace())?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let end = (begin..bytes.len()).find(|i| !is_word(bytes[*i])).unwrap_or(bytes.len());
    Some((begin, end))
}

/// One past the end of an expression or a statement: the `}}` or `%}` that is in no string and closes no brace.
fn end_of_code(source: &str, inside: usize) -> usize {
    let bytes = source.as_bytes();
    let is_expression = bytes[inside - 1] == b'{';
    let (mut at, mut depth, mut quote) = (inside, 0usize, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if is_expression && bytes.get(at + 1) == Some(&b'}') => return at + 2,
            (None, b'%') if !is_expression && depth == 0 && bytes.get(at + 1) == Some(&b'}') => return at + 2,
            (None, _) => {}
        }
        at += 1;
    }
    bytes.len()
}

/// One past the tag that ends raw text.
fn end_of_raw(source: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(found) = source[at..].find("{%") {
        let inside = at + found + 2;
        if word(source, inside).is_some_and(|(from, to)| &source[from..to] == "endraw") {
            return end_of_code(source, inside);
        }
        at = inside;
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_are_renamed_and_nothing_else() {
        for (source, due) in [
            ("{% generation %}a{% endgeneration %}", "{% with %}a{% endwith %}"),
            ("{%- generation -%}\n{%+endgeneration+%}\n", "{%- with -%}\n{%+endwith+%}\n"),
            ("{# {% generation %} #}{% generation %}", "{# {% generation %} #}{% with %}"),
            ("{{ '{% generation %}' }}", "{{ '{% generation %}' }}"),
            ("{{ {'a': {'b': 1}} }}{% generation %}", "{{ {'a': {'b': 1}} }}{% with %}"),
            ("{% set a = '%}{% generation %}' %}{% generation %}", "{% set a = '%}{% generation %}' %}{% with %}"),
            ("{% raw %}{% generation %}{%- endraw %}{% generation %}", "{% raw %}{% generation %}{%- endraw %}{% with %}"),
            ("{% generations %}{% set generation = 1 %}", "{% generations %}{% set generation = 1 %}"),
            ("generation {% generation", "generation {% with"),
        ] {
            assert_eq!(as_known_blocks(source), due);
        }
    }

    #[test]
    fn what_does_not_end_is_no_reason_to_panic() {
        for source in [
            "{",
            "{%",
            "{{",
            "{#",
            "{%-",
            "{% '",
            "{% '\\",
            "{% raw",
            "{% raw %}{%",
            "{%é",
            "{{ {",
            "{% generation",
            "{%\u{a0}generation%}",
        ] {
            assert_eq!(as_known_blocks(source), source.replace("{% generation", "{% with"));
        }
    }
}
