//! Names from files, made fit to be shown to a person.

use std::fmt::{self, Display, Formatter, Write};
use std::path::Path;

/// The most characters of a name that a message shows.
pub const MAX_SHOWN: usize = 120;

/// A name that came from a file, as text that cannot act on the terminal that shows it.
///
/// Control characters, characters that reorder or hide text, and backticks (the quotes of our messages) are written as
/// `\u{..}`; what is left past [`MAX_SHOWN`] characters is counted, not shown.
///
/// ```
/// use ground_truth::Escaped;
///
/// assert_eq!(Escaped("blk\u{1b}[31m\u{202e}").to_string(), "blk\\u{1b}[31m\\u{202e}");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.chars();
        for c in shown.by_ref().take(MAX_SHOWN) {
            if acts_on_its_surroundings(c) { write!(f, "\\u{{{:x}}}", c as u32)? } else { f.write_char(c)? }
        }
        match shown.count() {
            0 => Ok(()),
            more => write!(f, "... ({more} more characters)"),
        }
    }
}

/// A path from the outside, shown under the rule of [`Escaped`], whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EscapedPath<'a>(pub &'a Path);

impl Display for EscapedPath<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string_lossy().chars() {
            if acts_on_its_surroundings(c) { write!(f, "\\u{{{:x}}}", c as u32)? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

/// Whether showing `c` does something else than draw one visible character.
fn acts_on_its_surroundings(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '`'
            | '\u{ad}' // soft hyphen
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // bidirectional
            | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{180e}' // invisible
            | '\u{2028}' | '\u{2029}' // line and paragraph separators
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' // annotations and tags
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_shown_as_they_are() {
        assert_eq!(Escaped("model.layers.0.q_proj.weight é 漢").to_string(), "model.layers.0.q_proj.weight é 漢");
    }

    #[test]
    fn nothing_that_moves_or_hides_text_gets_through() {
        for c in ('\0'..=char::MAX).filter(|&c| acts_on_its_surroundings(c)) {
            let shown = Escaped(&c.to_string()).to_string();
            assert!(shown.starts_with("\\u{") && shown.is_ascii(), "{shown}");
        }
        assert_eq!(Escaped("\u{9b}31m").to_string(), "\\u{9b}31m");
    }

    #[test]
    fn a_long_name_is_cut_and_counted() {
        let shown = Escaped(&"x".repeat(MAX_SHOWN + 7)).to_string();
        assert!(shown.ends_with("x... (7 more characters)"), "{shown}");
    }
}
