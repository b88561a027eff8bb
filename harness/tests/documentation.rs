//! F-G2 and F-D1 to F-D4: the documentation is true. Commands shown in the README are executed here with the built binary, examples in
//! the code run as doctests, and the lints that make an undocumented item or error a build failure are proven to be switched on.
//!
//! Every rule is a function from text to complaints, so that each test also shows the text that turns it red.

use ground_truth_harness::roster::{FAST, ROSTER_VARIABLE};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("harness lies in the workspace").to_path_buf()
}

fn read(relative: &str) -> String {
    let path = workspace().join(relative);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()))
}

/// Lines of the fenced `sh` blocks of a Markdown text, without comments and blank lines.
fn shell_lines(markdown: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.trim().is_empty() && !line.starts_with('#') {
            lines.push(line);
        }
    }
    lines
}

/// What is wrong with one command line of the README; `None` if it holds.
fn complaint(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().skip_while(|word| is_assignment(word)).collect();
    match words.as_slice() {
        ["cargo", "run", "--", ..] => run_with_the_built_binary(line),
        // This test is a part of `cargo test`; what has to hold is that the landing script runs the same command.
        ["cargo", "test"] => (!read(".ci/run").lines().any(|l| l == "cargo test")).then(|| "`.ci/run` does not run it".to_owned()),
        ["cargo", "test", "--test", target, ..] | ["cargo", "nextest", "run", "--test", target, ..] => {
            let known = workspace().join(format!("harness/tests/{target}.rs")).is_file();
            (!known).then(|| format!("no test target `{target}` in harness/tests"))
        }
        ["make", target, ..] => {
            let makefile = read("Makefile");
            let rule = format!("{target}:");
            (!makefile.lines().any(|l| l.starts_with(&rule))).then(|| format!("Makefile has no target `{target}`"))
        }
        ["uv", "run", script, ..] => (!workspace().join(script).is_file()).then(|| format!("no script `{script}`")),
        _ => Some("a command that this test cannot place; teach it, or take the command out".to_owned()),
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

fn run_with_the_built_binary(line: &str) -> Option<String> {
    let command = line.replacen("cargo run --", "\"$GROUND_TRUTH_BINARY\"", 1);
    let output = Command::new("sh")
        .args(["-c", &command])
        .env("GROUND_TRUTH_BINARY", env!("CARGO_BIN_EXE_ground-truth"))
        .current_dir(workspace())
        .output()
        .expect("sh starts");
    if !output.status.success() {
        return Some(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    output.stdout.is_empty().then(|| "printed nothing".to_owned())
}

#[test]
fn f_g2_every_command_of_the_readme_runs() {
    let readme = read("README.md");
    let lines = shell_lines(&readme);
    assert!(lines.len() >= 2, "README.md shows {} commands, needs its two at least", lines.len());
    let red: Vec<String> = lines.iter().filter_map(|line| complaint(line).map(|why| format!("$ {line}\n{why}"))).collect();
    assert!(red.is_empty(), "README.md shows commands that fail:\n{}", red.join("\n"));
}

#[test]
fn f_g2_every_command_of_the_way_from_other_tokens_to_their_cause_runs() {
    let page = read("docs/other-tokens.md");
    let lines = shell_lines(&page);
    assert!(lines.len() >= 4, "docs/other-tokens.md shows {} commands that run here", lines.len());
    let red: Vec<String> = lines.iter().filter_map(|line| complaint(line).map(|why| format!("$ {line}\n{why}"))).collect();
    assert!(red.is_empty(), "docs/other-tokens.md shows commands that fail:\n{}", red.join("\n"));
    // What needs a runtime or a file of the reader's own is indented, and its command and options are there all the same.
    let own: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(own.len(), 2);
    for line in own {
        let words: Vec<&str> = line.split_whitespace().skip_while(|word| is_assignment(word)).collect();
        let words = words.strip_prefix(&["cargo", "run", "--", "judge", "testdata/models/llama-tiny"]).expect("a command that judges");
        let help = Command::new(env!("CARGO_BIN_EXE_ground-truth")).args(["judge", "--help"]).output().expect("the command starts");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(words.iter().filter(|word| word.starts_with("--")).all(|option| help.contains(option)), "{line}");
    }
}

#[test]
fn f_g2_a_false_command_is_red() {
    for line in [
        "cargo run -- judge testdata/models/no-such-model",
        "cargo run -- no-such-subcommand",
        "cargo test --test no-such-target",
        "make no-such-target",
        "uv run golden/no_such_script.py",
        "curl example.org",
    ] {
        assert!(complaint(line).is_some(), "`{line}` was taken for true");
    }
}

/// Fenced blocks of a Markdown text in this language.
fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    markdown.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn f_g2_the_crate_of_the_readme_is_the_one_that_is_built_from_the_packages() {
    let readme = read("README.md");
    let (rust, toml) = (blocks(&readme, "rust"), blocks(&readme, "toml"));
    assert_eq!(rust, [read(".ci/outside/tests/falsify.rs")]);
    let shown: toml::Table = toml[0].parse().expect("TOML");
    let built: toml::Table = read(".ci/outside/Cargo.toml").parse().expect("TOML");
    assert_eq!(shown["test"], built["test"]);
    assert_eq!(shown["dependencies"]["ground-truth-harness"], built["dependencies"]["ground-truth-harness"]);
    assert!(read(".ci/run").lines().any(|line| line == ".ci/package"), "`.ci/run` does not build it");
    // The entry that is shown has every field that there is.
    let shown: toml::Table = toml[1].parse().expect("TOML");
    let fields = ["test", "when", "status", "kind", "contains", "at_most", "bug", "since", "expires", "why"];
    assert_eq!(shown["expect"][0].as_table().expect("an entry").keys().cloned().collect::<BTreeSet<_>>(), fields.map(str::to_owned).into());
}

/// Fences that rustdoc would not run, as `line number: fence`.
fn examples_that_do_not_run(source: &str) -> Vec<String> {
    let idle = |line: &str| {
        let line = line.trim_start();
        ["/// ```", "//! ```"].iter().any(|fence| {
            line.strip_prefix(fence)
                .is_some_and(|attributes| attributes.split(',').any(|word| matches!(word.trim(), "ignore" | "no_run" | "compile_fail")))
        })
    };
    source.lines().enumerate().filter(|(_, line)| idle(line)).map(|(i, line)| format!("{}: {}", i + 1, line.trim())).collect()
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder is readable") {
        let path = entry.expect("entry is readable").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn f_d1_every_example_in_the_code_is_run() {
    let mut files = Vec::new();
    for room in ["src", "falsification/src", "harness/src"] {
        rust_files(&workspace().join(room), &mut files);
    }
    assert!(files.len() >= 30, "found {} source files", files.len());
    let mut examples = 0;
    for file in files {
        let source = std::fs::read_to_string(&file).expect("source is readable");
        let idle = examples_that_do_not_run(&source);
        assert!(idle.is_empty(), "{} holds examples that are never run: {idle:?}", file.display());
        examples += source.lines().filter(|line| line.trim() == "/// ```" || line.trim() == "//! ```").count() / 2;
    }
    assert!(examples >= 3, "only {examples} examples in the documentation of three crates");
    assert_eq!(examples_that_do_not_run("/// ```no_run\n/// ```").len(), 1);
}

/// Which of the lints that keep documentation true are not `deny` in a workspace manifest.
fn lints_not_denied(manifest: &str) -> Vec<&'static str> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let level = |tool: &str, lint: &str| manifest["workspace"]["lints"].get(tool)?.get(lint)?.as_str().map(str::to_owned);
    [("rust", "missing_docs"), ("clippy", "missing_errors_doc"), ("clippy", "missing_panics_doc")]
        .into_iter()
        .filter(|(tool, lint)| level(tool, lint).as_deref() != Some("deny"))
        .map(|(_, lint)| lint)
        .collect()
}

#[test]
fn f_d2_f_d3_f_d4_undocumented_items_and_errors_do_not_build() {
    let root = read("Cargo.toml");
    assert_eq!(lints_not_denied(&root), [""; 0]);
    for manifest in ["Cargo.toml", "falsification/Cargo.toml", "harness/Cargo.toml"] {
        let table: toml::Table = read(manifest).parse().expect("manifest is TOML");
        let inherits = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(inherits, Some(true), "{manifest} does not inherit the lints of the workspace");
    }
    let landing = read(".ci/run");
    for command in ["cargo clippy --workspace --all-targets -- -D warnings", "RUSTDOCFLAGS=\"-D warnings\" cargo doc"] {
        assert!(landing.contains(command), "`.ci/run` does not run `{command}`");
    }
    assert_eq!(lints_not_denied(&root.replace("missing_errors_doc = \"deny\"", "missing_errors_doc = \"allow\"")), ["missing_errors_doc"]);
}

#[test]
fn cargo_mutants_reads_our_settings() {
    let link = workspace().join(".cargo/mutants.toml");
    let resolved = link.canonicalize().expect(".cargo/mutants.toml resolves");
    assert_eq!(resolved, workspace().join("mutants.toml").canonicalize().expect("mutants.toml exists"));
    let settings: toml::Table = read("mutants.toml").parse().expect("mutants.toml is TOML");
    let packages: Vec<&str> = settings["test_package"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    assert!(
        read("Makefile").contains(&format!("\nPACKAGES := {}\n", packages.join(" "))),
        "the Makefile names other packages than {packages:?}"
    );
    let fast = toml::Value::from(format!("env.{ROSTER_VARIABLE}='{FAST}'"));
    assert!(settings["additional_cargo_args"].as_array().is_some_and(|list| list.contains(&fast)), "{settings:?}");
    assert!(read("Cargo.toml").contains("[profile.mutants]") && settings["profile"].as_str() == Some("mutants"));
    // An exclusion stands under the sentence that says why.
    let lines: Vec<String> =
        read("mutants.toml").lines().skip_while(|line| !line.starts_with("exclude_re")).map(|line| line.trim().to_owned()).collect();
    assert!(lines.get(1).is_some_and(|line| line.starts_with("# ")), "the first exclusion has no reason");
}

#[test]
fn f_g2_the_power_section_of_the_readme_is_what_the_command_writes() {
    let readme = read("README.md");
    let output = Command::new(env!("CARGO_BIN_EXE_ground-truth"))
        .args(["power", "--format", "readme"])
        .current_dir(workspace())
        .output()
        .expect("the command starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let section = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(section.contains("defects") && section.lines().count() > 10, "{section}");
    let differs = |file: &str| ground_truth_harness::power::between_marks(file, &section).as_deref() != Some(file);
    assert!(!differs(&readme), "README.md is not what `cargo run -- power --readme README.md` writes");
    let digit = section.find(|c: char| c.is_ascii_digit()).expect("a number");
    let altered = readme.replacen(&section[digit..digit + 12], "no such text", 1);
    assert!(differs(&altered), "a changed number was not noticed");
    assert!(differs(""), "a README without the section was not noticed");
}
