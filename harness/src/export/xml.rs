//! XML, as little of it as JUnit needs: elements, attributes, text.

use std::fmt::Write as _;

use crate::escape;

/// A document that is being written. What is open is closed by [`Xml::close`], in its order.
pub(super) struct Xml {
    out: String,
    open: Vec<&'static str>,
}

impl Xml {
    pub(super) fn new() -> Self {
        Self { out: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), open: Vec::new() }
    }

    /// An element that holds others.
    pub(super) fn open(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.out.push_str(">\n");
        self.open.push(name);
    }

    /// An element that holds nothing.
    pub(super) fn empty(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.out.push_str("/>\n");
    }

    /// An element that holds a text of several lines.
    pub(super) fn text(&mut self, name: &'static str, attributes: &[(&str, &str)], text: &str) {
        self.tag(name, attributes);
        let _ = writeln!(self.out, ">{}</{name}>", escaped(&escape::lines(text)));
    }

    /// Closes what was opened last.
    pub(super) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            let _ = writeln!(self.out, "{:indent$}</{name}>", "", indent = 2 * self.open.len());
        }
    }

    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn tag(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        let _ = write!(self.out, "{:indent$}<{name}", "", indent = 2 * self.open.len());
        for (key, value) in attributes {
            let _ = write!(self.out, " {key}=\"{}\"", escaped(&escape::line(value)));
        }
    }
}

/// `text` without what XML would read as markup, and without the two characters that it cannot hold at all and no escape makes it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_text_is_text() {
        let mut xml = Xml::new();
        xml.open("a", &[("k", "\"'<&>\n\u{0}")]);
        xml.text("b", &[], "]]></b><c/>\n\u{1b}[2J\u{ffff}");
        xml.empty("d", &[]);
        let text = xml.finish();
        let body = text.split_once("?>\n").unwrap().1;
        let due = "<a k=\"&quot;&apos;&lt;&amp;&gt;\\n\\u{0}\">\n  <b>]]&gt;&lt;/b&gt;&lt;c/&gt;\n\\u{1b}[2J\\u{ffff}</b>\n  <d/>\n</a>\n";
        assert_eq!(body, due);
    }
}
