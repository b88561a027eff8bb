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
            write_escaped(f, c)?;
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
        self.0.to_string_lossy().chars().try_for_each(|c| write_escaped(f, c))
    }
}

/// Whether a character does something else to its surroundings than stand there visibly: controls (C0, DEL, C1), bidirectional and
/// other invisible format characters, line and paragraph separators, tags.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes a character as it is, or as `\u{..}` if it is deceptive, or a backtick, the quote of our messages.
fn write_escaped(f: &mut Formatter<'_>, c: char) -> fmt::Result {
    if c == '`' || is_deceptive(c) { write!(f, "\\u{{{:x}}}", c as u32) } else { f.write_char(c) }
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
        for c in ('\0'..=char::MAX).filter(|&c| is_deceptive(c)) {
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
