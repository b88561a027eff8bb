//! Runtimes on trial by name: `runtimes/runtimes.toml`, `GROUND_TRUTH_RUNTIMES`, and what is wrong with either.

use std::fs;

use ground_truth_harness::roster::Settings;
use ground_truth_harness::runtime::process::{Registry, When};
use ground_truth_harness::runtime::{Arithmetic, Op};
use ground_truth_harness::workspace::Workspace;

use super::{BINARY, ground_truth, path};
use crate::process::{self, text};

/// A workspace that carries one model.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        Self(process::copy_of_model())
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("the file is written");
    }

    fn matrix(&self, runtimes: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let arguments = [&["matrix", "--runtimes"], arguments].concat();
        let output = ground_truth(self.0.path(), runtimes, &arguments).output().expect("the binary starts");
        (output.status.code(), text(&output))
    }
}

fn served() -> String {
    format!("[served]\ncommand = [\"{BINARY}\", \"serve\"]\n")
}

#[test]
fn two_runtimes_in_a_run_have_their_rows_and_their_summaries() {
    let copy = Copy::new();
    copy.write("mine.toml", &format!("{}[also]\ncommand = [\"{BINARY}\", \"serve\"]\n", served()));
    let (code, text) = copy.matrix("mine.toml", &["safetensors::f32::"]);
    assert_eq!(code, Some(0), "{text}");
    for told in ["runtime       also native ", "runtime       served native ", "all runtimes  CORROBORATED: "] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let (_, list) = copy.matrix("mine.toml", &["--list"]);
    let of = |name: &str| list.lines().filter(|line| line.contains(&format!("::{name}::"))).count();
    assert!(of("served") > 500 && of("served") == of("also"), "{} and {}", of("served"), of("also"));
}

#[test]
fn what_is_not_installed_is_listed_and_red_where_all_is_required() {
    let copy = Copy::new();
    copy.write("mine.toml", &format!("{}[ghost]\ncommand = [\"no-such-program\"]\ninstall = \"make ghost\"\n", served()));
    let (code, text) = copy.matrix("mine.toml", &["::F-T1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("not tested    1 row: `no-such-program` is not installed") && text.contains("install it: make ghost"), "{text}");
    let (_, list) = copy.matrix("mine.toml", &["--list"]);
    assert!(list.lines().any(|line| line == "ghost::hello: test"), "{list}");
    let mut command = ground_truth(copy.0.path(), "mine.toml", &["matrix", "--runtimes", "::F-T1"]);
    let output = command.env("GROUND_TRUTH_REQUIRE_ALL", "1").output().expect("the binary starts");
    let text = process::text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("matrix::runtime::ghost") && text.contains("install it: make ghost"), "{text}");
}

#[test]
fn who_waits_to_be_asked_is_not_even_started() {
    let copy = Copy::new();
    let mark = copy.0.path().join("started");
    copy.write("slow.sh", &format!(": > {}\nexec {BINARY} serve\n", path(&mark)));
    copy.write("mine.toml", "[slow]\ncommand = [\"sh\", \"slow.sh\"]\nrun = \"asked\"\n");
    let (code, text) = copy.matrix("mine.toml", &[]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("--ignored slow") && !mark.exists(), "{text}");
    assert!(copy.matrix("mine.toml", &["--list"]).1.contains("slow::hello: test") && !mark.exists());
    let (_, list) = copy.matrix("mine.toml", &["--list", "--ignored"]);
    assert!(mark.exists() && list.contains("llama-tiny::safetensors::f32::slow::F-G1: test") && !list.contains("slow::hello"), "{list}");
    let (code, text) = copy.matrix("mine.toml", &["--ignored", "--exact", "llama-tiny::safetensors::f32::slow::F-T1"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 corroborated"), "{text}");
}

#[test]
fn a_red_row_names_the_command_that_shows_it_again() {
    let copy = Copy::new();
    let script = super::script("nan.sh");
    copy.write("my runtimes.toml", &format!("[broken]\ncommand = [\"sh\", \"{}\"]\n", path(&script)));
    let row = "llama-tiny::safetensors::f32::broken::F-G4-norm::arithmetic";
    let (code, text) = copy.matrix("my runtimes.toml", &["--exact", row]);
    assert_eq!(code, Some(1), "{text}");
    let command = format!("GROUND_TRUTH_RUNTIMES='my runtimes.toml' GROUND_TRUTH_ROOT={}", path(copy.0.path()));
    assert!(text.contains(&command) && text.contains(&format!("cargo test --test runtimes -- --exact '{row}'")), "{text}");
}

#[test]
fn whatever_is_wrong_with_an_entry_is_red_and_named() {
    let copy = Copy::new();
    let good = served();
    for (entry, row, told) in [
        ("[a]\ncomand = [\"sh\"]\n", "runtime::a", "unknown field `comand`"),
        ("[a]\ninstall = \"x\"\n", "runtime::a", "missing field `command`"),
        ("[a]\ncommand = []\n", "runtime::a", "`command` names no program"),
        ("[a]\ncommand = \"sh\"\n", "runtime::a", "invalid type: string"),
        ("[a]\ncommand = [\"sh\"]\nrun = \"never\"\n", "runtime::a", "unknown variant `never`"),
        ("[a]\ncommand = [\"sh\"]\nsessions = 0\n", "runtime::a", "`sessions` is 0, 1 to 64 is due"),
        ("[a]\ncommand = [\"sh\"]\ndeadline = 0\n", "runtime::a", "`deadline` is 0"),
        ("[a]\ncommand = [\"sh\"]\nstart = 90000\n", "runtime::a", "`start` is 90000"),
        ("[native]\ncommand = [\"sh\"]\n", "runtime::native", "the name is taken"),
        ("[\"a::b\"]\ncommand = [\"sh\"]\n", "runtime::a", "[A-Za-z0-9._-] is due"),
        ("x = 1\n", "runtime::x", "invalid type"),
        ("[a\n", "variable::GROUND_TRUTH_RUNTIMES::1", "TOML parse error"),
    ] {
        // What stands beside it stays on trial, where the file can be read at all.
        copy.write("mine.toml", &if entry.starts_with("x =") { format!("{entry}{good}") } else { format!("{good}{entry}") });
        let settings = Settings { runtimes: Some("mine.toml".into()), ..Settings::default() };
        let registry = Registry::read(&Workspace::at(copy.0.path(), copy.0.path().join("out")), &settings);
        assert_eq!(registry.problems.len(), 1, "{entry}: {:?}", registry.problems);
        let problem = &registry.problems[0];
        assert!(problem.subject.starts_with(row), "{entry}: {}", problem.subject);
        assert!(problem.observed.contains(told) && problem.observed.starts_with("mine.toml: "), "{entry}: {}", problem.observed);
        assert_eq!(registry.entries.len(), usize::from(entry != "[a\n"), "{entry}");
    }
    copy.write("mine.toml", &format!("{good}[a]\ncomand = [\"sh\"]\n"));
    let (code, text) = copy.matrix("mine.toml", &["::F-T1"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("matrix::runtime::a") && text.contains("mine.toml: [a]: unknown field `comand`"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_red_and_so_is_nothing_at_all() {
    let copy = Copy::new();
    for (value, told) in [("no/such.toml", "no/such.toml"), ("", "part 1 of GROUND_TRUTH_RUNTIMES is empty")] {
        let (code, text) = copy.matrix(value, &[]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("matrix::variable::GROUND_TRUTH_RUNTIMES::1") && text.contains(told), "{text}");
    }
    let registry = Registry::read(&Workspace::at(copy.0.path(), copy.0.path().join("out")), &Settings::default());
    assert_eq!(registry.problems[0].subject, "runtimes");
}

#[test]
fn the_committed_registry_holds_together_and_the_documentation_shows_the_example() {
    let workspace = Workspace::from_env();
    let registry = Registry::read(&workspace, &Settings::default());
    assert_eq!(registry.problems, []);
    let example = registry.find("example").expect("the example is on trial");
    assert_eq!(example.run, When::Asked);
    let read = |file: &str| fs::read_to_string(workspace.root().join(file)).expect("the file is there");
    let example = read("runtimes/example.py");
    assert!(read("docs/adapter.md").contains(&format!("```python\n{example}```")), "docs/adapter.md shows another example.py");
    assert!(example.lines().count() <= 80);
    // Every op is a word of the documentation, and so is every arithmetic.
    let documentation = read("docs/adapter.md");
    for word in Op::ALL.map(Op::name).into_iter().chain(Arithmetic::ALL.map(Arithmetic::name)) {
        assert!(documentation.contains(&format!("`{word}`")), "docs/adapter.md does not say `{word}`");
    }
}
