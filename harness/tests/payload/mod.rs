//! Forty texts that try to be more than text: in a terminal, in Markdown, in HTML, in XML, in CSV, in a shell. Every output shows them as
//! text. Tests of outputs share this list.

/// The texts, each with what it tries.
pub const PAYLOADS: [(&str, &str); 40] = [
    ("clear the screen", "a\u{1b}[2Jb"),
    ("move the cursor up and overwrite", "a\u{1b}[1A\u{1b}[2KPASSED"),
    ("colour what follows", "\u{1b}[32mgreen"),
    ("set the title of the window", "\u{1b}]0;owned\u{7}"),
    ("a hyperlink of the terminal", "\u{1b}]8;;http://evil.example\u{1b}\\click\u{1b}]8;;\u{1b}\\"),
    ("write to the clipboard", "\u{1b}]52;c;cm0gLXJmIH4=\u{7}"),
    ("a device control string", "\u{1b}P1$r0m\u{1b}\\"),
    ("control sequences of one byte", "\u{9b}2J\u{9d}0;owned\u{9c}"),
    ("ring the bell", "\u{7}\u{7}\u{7}"),
    ("overwrite the line", "FAILED\rPASSED"),
    ("rub out", "FAILED\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}PASSED"),
    ("another line", "a\n\nverdict       CORROBORATED: 999 corroborated, 0 falsified, 0 errors"),
    ("another line of Unicode", "a\u{2028}b\u{2029}c\u{85}d"),
    ("a page", "a\u{c}b\u{b}c"),
    ("nothing, in the middle", "a\0b"),
    ("delete", "a\u{7f}b"),
    ("read from right to left", "a\u{202e}txt.exe"),
    ("isolate and reverse", "a\u{2066}b\u{2067}c\u{2069}d"),
    ("letters that join or hide", "a\u{200d}b\u{200b}c\u{feff}d\u{ad}e"),
    ("tags that nobody sees", "a\u{e0041}\u{e0042}b"),
    ("end a cell", "a | b || c |"),
    ("end a code span", "a` b `` c ``` d"),
    ("end a code block", "a\n```\n# heading\n```sh\nrm -rf ~\n```"),
    ("end a longer code block", "a\n``````````\n# heading"),
    ("a script", "<script>alert(1)</script>"),
    ("an image that runs", "<img src=x onerror=alert(1)>"),
    ("end an attribute", "\" onmouseover=\"alert(1)\" x=\"' onfocus='alert(1)"),
    ("end a details block", "</details></summary></table></body></html>"),
    ("a comment", "<!-- a --!> b -->"),
    ("an image that tells who reads", "![a](http://evil.example/a.png)"),
    ("a link that runs", "[x](javascript:alert(1))"),
    ("a link by itself", "https://evil.example www.evil.example evil@example.org"),
    ("call everybody", "@everyone @github/security #1"),
    ("end a CDATA section", "]]><testcase name=\"fake\"/><![CDATA["),
    ("an entity", "&lt;b&gt; &#x3c;script&#x3e; &xxe;"),
    ("front matter", "---\ntitle: owned\n---"),
    ("a formula", "=cmd|' /C calc'!A0"),
    ("a command", "'; rm -rf ~; echo '$(touch /tmp/owned)`touch /tmp/owned`"),
    ("a command of a workflow", "::error file=a,line=1::owned\n::set-output name=a::b\n%0A::stop-commands::x"),
    ("emphasis and headings", "# a\n**b** __c__ ~~d~~ $e$ \\f > g\n===\n- [x] done"),
];

/// Whether a character acts on a terminal or hides, other than the line ends and tabs that a text is laid out with.
pub fn is_active(character: char) -> bool {
    let laid_out = matches!(character, '\n' | '\t');
    let hides = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !laid_out && (character.is_control() || hides)
}

/// The first place at which `text` holds a character that acts, with what stands around it, escaped.
pub fn first_active(text: &str) -> Option<String> {
    let at = text.chars().position(is_active)?;
    Some(text.chars().skip(at.saturating_sub(30)).take(60).collect::<String>().escape_debug().to_string())
}
