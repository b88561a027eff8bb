//! The audit of our own tests: a suite whose tests assert nothing is green, covers every line, and proves nothing.
//!
//! Every Rust file of the workspace is read as text, comments and strings blanked. What is looked for are the findings of the audit that
//! `hf-ground-truth-corpus` reports of itself: decimals compared for equality (F-001), promises in the place of code (F-004), tests that ask no
//! more than whether something is there (F-005), and values that are compared with themselves. Each rule is tried on a planted case.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Files in which decimals are compared for equality, and why that is no drift there.
const EXACT: [(&str, &str); 5] = [
    ("falsification/src/golden/hex.rs", "bits are read and handed on: nothing is computed"),
    ("falsification/src/tolerance.rs", "products of two literals, each rounded once, as IEEE 754 has it everywhere"),
    ("harness/src/observe.rs", "a deadline is handed on"),
    ("src/kernel/rope.rs", "a factor times the cosine of no angle, which is one"),
    ("src/format/safetensors/tests.rs", "bits are read and handed on: nothing is computed"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the harness lies in the workspace").to_path_buf()
}

/// Every Rust file of the workspace, by its path from the root, with its text.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "falsification", "harness", "runtimes/candle"].iter().map(|folder| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace is readable") {
            let path = entry.expect("an entry is readable").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it lies under the root").to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).expect("a source file is text")));
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "{} source files: the lint looks in the wrong place", found.len());
    found
}

/// The text with every comment and the inside of every string blanked, byte for byte.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut blank = |from: usize, to: usize| out[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    let mut i = 0;
    while i < bytes.len() {
        let rest = &bytes[i..];
        let starts = |word: &[u8]| rest.starts_with(word);
        let end = if starts(b"//") {
            let end = i + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            blank(i, end);
            end
        } else if let Some(hashes) = raw_string(rest) {
            let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
            let open = i + hashes + 2;
            let end = (open..bytes.len()).find(|at| bytes[*at..].starts_with(&close)).unwrap_or(bytes.len());
            blank(open, end);
            (end + close.len()).min(bytes.len())
        } else if starts(b"\"") {
            let mut end = i + 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            blank(i + 1, end.min(bytes.len()));
            (end + 1).min(bytes.len())
        } else if starts(b"'\\") || rest.len() > 2 && rest[0] == b'\'' && rest[2] == b'\'' {
            let end = i + 2 + rest[2..].iter().position(|byte| *byte == b'\'').unwrap_or(0);
            blank(i + 1, end);
            end + 1
        } else {
            i + 1
        };
        i = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The number of hashes of a raw string that begins here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let rest = rest.strip_prefix(b"r")?;
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// What stands between the bracket at `open` and the one that closes it.
fn within(code: &str, open: usize) -> &str {
    let bytes = code.as_bytes();
    let (mut depth, mut end) = (0usize, open);
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        end = at;
        if depth == 0 {
            break;
        }
    }
    &code[(open + 1).min(end)..end]
}

/// The arguments of a macro: what its commas part, brackets kept whole.
fn arguments(inside: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0i32, 0, Vec::new());
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(inside[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(inside[from..].trim());
    parts
}

/// Every call of `assert!`, `assert_eq!` and `assert_ne!`, with its arguments.
fn assertions(code: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found = Vec::new();
    for name in ["assert!", "assert_eq!", "assert_ne!"] {
        for (at, _) in code.match_indices(name) {
            let before = code[..at].bytes().next_back();
            if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                continue;
            }
            if let Some(open) = code[at..].find('(') {
                found.push((name, arguments(within(code, at + open))));
            }
        }
    }
    found
}

/// The functions of a text: attributes before them, name, body.
fn functions(code: &str) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    let mut last = 0;
    for (at, _) in code.match_indices("fn ") {
        let starts_word = at == 0 || !code.as_bytes()[at - 1].is_ascii_alphanumeric();
        let name: &str = code[at + 3..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        let Some(open) = code[at..].find('{').filter(|_| starts_word && !name.is_empty()) else { continue };
        if code[at..at + open].contains(';') && !code[at..at + open].contains('[') {
            continue;
        }
        let attributes = code[last.min(at)..at].rsplit(['}', ';']).next().unwrap_or_default();
        found.push((attributes, name, within(code, at + open)));
        last = at + open;
    }
    found
}

/// Whether a float literal is a decimal that no binary fraction of twenty places equals.
fn is_decimal(word: &str) -> bool {
    let digits = word.trim_end_matches("f32").trim_end_matches("f64").trim_end_matches('_').trim_start_matches('-').replace('_', "");
    let looks = digits.starts_with(|c: char| c.is_ascii_digit()) && (digits.contains('.') || digits.contains("e-"));
    let scaled = digits.parse::<f64>().ok().filter(|_| looks).map(|value| value * f64::from(1 << 20));
    scaled.is_some_and(|scaled| scaled.fract().abs() > 0.0)
}

/// F-001: decimals that are compared for equality.
fn decimals(code: &str) -> Vec<String> {
    let literal = |side: &str| side.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).any(is_decimal);
    let mut found = Vec::new();
    for (name, arguments) in assertions(code) {
        // Decimals inside of brackets are arguments of something else, unless the brackets are a tuple, a list or a wrapper like `Ok`.
        let compared = |side: &&str| {
            let bare = side.trim_start_matches("Ok").trim_start_matches("Some").trim_start_matches(['(', '[', '&']);
            literal(bare.split(['(', ')', ']']).next().unwrap_or_default())
        };
        let sides = match name {
            "assert!" => arguments
                .iter()
                .take(1)
                .flat_map(|condition| condition.split("&&"))
                .filter(|part| part.contains("=="))
                .flat_map(|part| part.split("=="))
                .collect(),
            _ => arguments.iter().take(2).copied().collect::<Vec<_>>(),
        };
        if sides.iter().any(|side| compared(&side.trim())) {
            found.push(format!("{name}({})", arguments.join(", ")));
        }
    }
    found
}

/// Values that are compared with themselves.
fn selves(code: &str) -> Vec<String> {
    // Strings are blanked, so two that differ look the same.
    let same = |(name, arguments): &(&str, Vec<&str>)| {
        *name != "assert!" && arguments.len() > 1 && arguments[0] == arguments[1] && !arguments[0].contains('"')
    };
    assertions(code).into_iter().filter(same).map(|(name, arguments)| format!("{name}({})", arguments.join(", "))).collect()
}

/// Whether a condition asks no more than whether something is there.
fn asks_existence(condition: &str) -> bool {
    let there = [".is_some()", ".is_ok()"].iter().any(|end| condition.ends_with(end)) && !condition.starts_with('!');
    let filled = condition.starts_with('!') && condition.ends_with(".is_empty()");
    (there || filled) && !condition.contains("&&") && !condition.contains("||")
}

/// F-005: tests that assert nothing, and that call nothing that does; and tests that ask no more than whether something is there.
fn weak_tests(code: &str, asserting: &BTreeSet<String>) -> Vec<String> {
    let mut weak = Vec::new();
    for (attributes, name, body) in functions(code) {
        if !["#[test]", "#[rstest]"].iter().any(|mark| attributes.contains(mark)) {
            continue;
        }
        let calls = |function: &String| body.contains(&format!("{function}(")) || body.contains(&format!("{function}!("));
        let ends = ["panic!", "unwrap(", "unwrap_err(", "expect(", "expect_err(", "prop_assert", "assert_snapshot", "?;"];
        let asserted = assertions(body);
        let strong = asserted.iter().any(|(name, arguments)| *name != "assert!" || !asks_existence(arguments[0]));
        let other = asserting.iter().any(calls) || ends.iter().any(|end| body.contains(end));
        if !strong && !other {
            weak.push(name.to_owned());
        }
    }
    weak
}

/// The names of functions in whose bodies something is asserted.
fn asserting(codes: &[(String, String)]) -> BTreeSet<String> {
    let marks = ["assert!", "assert_eq!", "assert_ne!", "panic!", "prop_assert"];
    let all = codes.iter().flat_map(|(_, code)| functions(code));
    all.filter(|(attributes, _, body)| !attributes.contains("#[test]") && marks.iter().any(|mark| body.contains(mark)))
        .map(|(_, name, _)| name.to_owned())
        .collect()
}

fn codes() -> Vec<(String, String)> {
    sources().into_iter().map(|(name, text)| (name, code(&text))).collect()
}

/// The findings of a rule over the workspace, each with its file.
fn findings(rule: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    codes().iter().flat_map(|(name, code)| rule(code).into_iter().map(|what| format!("{name}: {what}")).collect::<Vec<_>>()).collect()
}

#[test]
fn f_001_no_test_compares_a_decimal_for_equality() {
    let found = findings(decimals);
    let excused = |what: &&String| !EXACT.iter().any(|(file, _)| what.starts_with(&format!("{file}: ")));
    let red: Vec<&String> = found.iter().filter(excused).collect();
    assert!(red.is_empty(), "compare within a bound that has a reason, or the bits: {red:#?}");
    let idle: Vec<&str> =
        EXACT.iter().filter(|(file, _)| !found.iter().any(|what| what.starts_with(file))).map(|(file, _)| *file).collect();
    assert_eq!(idle, [""; 0], "these are excused for nothing");
}

#[test]
fn f_001_sees_a_planted_decimal() {
    for planted in ["assert_eq!(x, 0.1);", "assert!(mean(&a) == 0.3);", "assert_eq!(f(2), Ok(1e-7));", "assert_ne!((0.7, 1), y);"] {
        assert_eq!(decimals(&code(planted)).len(), 1, "{planted}");
    }
    for sound in [
        "assert_eq!(x, 0.5);",
        "assert!((x - 0.1).abs() < 1e-9);",
        "assert_eq!(f(0.1), 3);",
        "assert_eq!(x, \"0.1\");",
        "// assert_eq!(x, 0.1);",
    ] {
        assert_eq!(decimals(&code(sound)), [""; 0], "{sound}");
    }
}

#[test]
fn f_004_no_source_holds_a_promise() {
    let marks: Vec<String> =
        ["TO", "FIX", "HA", "XX"].iter().enumerate().map(|(i, word)| format!("{word}{}", ["DO", "ME", "CK", "X"][i])).collect();
    let holds = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| marks.iter().any(|mark| mark == word));
    assert!(holds(&format!("// {}: later", marks[0])) && !holds("HACKED"));
    let found: Vec<String> = sources().into_iter().filter(|(_, text)| holds(text)).map(|(name, _)| name).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn f_005_every_test_asserts_more_than_that_something_is_there() {
    let codes = codes();
    let asserting = asserting(&codes);
    let weak: Vec<String> = codes
        .iter()
        .flat_map(|(name, code)| weak_tests(code, &asserting).into_iter().map(|test| format!("{name}: {test}")).collect::<Vec<_>>())
        .collect();
    assert_eq!(weak, [""; 0]);
    let tests = codes.iter().flat_map(|(_, code)| functions(code)).filter(|(attributes, ..)| attributes.contains("#[test]")).count();
    assert!(tests > 300, "{tests} tests: the lint does not see them");
}

#[test]
fn f_005_sees_planted_tests_that_prove_nothing() {
    let helpers = BTreeSet::from(["check_all".to_owned()]);
    let weak = |body: &str| weak_tests(&code(&format!("#[test]\nfn planted() {{ {body} }}")), &helpers);
    for planted in [
        "",
        "let x = f();",
        "assert!(f().is_some());",
        "assert!(f().is_ok(), \"{x}\");",
        "assert!(!f().is_empty());",
        "// assert_eq!(1, 2);",
    ] {
        assert_eq!(weak(planted), ["planted"], "{planted}");
    }
    for sound in
        ["assert_eq!(f(), 3);", "assert!(f().is_none());", "check_all(3);", "assert!(f().is_some_and(|x| x > 1));", "f().unwrap_err();"]
    {
        assert_eq!(weak(sound), [""; 0], "{sound}");
    }
}

#[test]
fn no_value_is_compared_with_itself() {
    assert_eq!(selves(&code("assert_eq!(a.b(c, d), a.b(c, d), \"x\");")).len(), 1);
    assert_eq!(selves(&code("assert_eq!(a, b); assert_ne!(\"x\", \"yy\");")), [""; 0]);
    assert_eq!(findings(selves), [""; 0]);
}
