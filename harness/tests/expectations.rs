//! Expectation files as a whole run meets them, by process: a runtime that is wrong in a known way, on a copy of one model. A file that
//! tells the truth turns the run green; every other file must leave it red, and say why.
//!
//! This executable is both sides: with `MINE` set it is the test target that somebody's runtime has, else it is the test.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use ground_truth_harness::expectation::Day;
use ground_truth_harness::runtime::native::NativeRuntime;
use ground_truth_harness::runtime::{Artifact, Capabilities, Failure, Format, Logits, Op, Positions, Runtime, Session};
use libtest_mimic::{Arguments, Failed, Trial};
use process::text;

mod process;

/// Which fault the runtime has: `sound`, `wrong`, `crash`, `refuse`.
const FAULT: &str = "MINE";
/// The rows that are judged.
const FILTER: &str = "llama-tiny::safetensors::f32::mine::F-G4-logits";
/// One of them, with all logits in its golden.
const ROW: &str = "llama-tiny::safetensors::f32::mine::F-G4-logits::code";

/// A test, on a copy of its own.
type Test = fn(&Copy) -> Result<(), Failed>;

fn main() -> ExitCode {
    if let Ok(fault) = std::env::var(FAULT) {
        return ground_truth_harness::falsify(Mine { engine: NativeRuntime::new(), fault });
    }
    let tests: [(&str, Test); 19] = [
        ("without_a_file_a_wrong_runtime_is_red", without_a_file),
        ("a_file_that_tells_the_truth_is_green_and_counted_apart", truth),
        ("an_unexpected_pass_is_red", unexpected_pass),
        ("another_outcome_than_expected_is_red", another_outcome),
        ("an_expected_number_that_grew_is_red", grown),
        ("an_expired_entry_is_red", |copy| refused(copy, &falsified_from(-40, -10), "expired")),
        ("an_entry_of_more_than_a_year_is_red", |copy| refused(copy, &falsified_from(0, 367), "more than 366 days")),
        ("an_entry_of_tomorrow_is_red", |copy| refused(copy, &falsified_from(1, 20), "and today is")),
        ("a_missing_link_is_red", |copy| refused(copy, &edited("bug = \"https://example.org/mine/1\"\n", ""), "`bug` is missing")),
        ("an_empty_link_is_red", |copy| refused(copy, &edited("https://example.org/mine/1", ""), "`bug` is missing")),
        ("an_http_link_is_red", |copy| refused(copy, &edited("https", "http"), "not an https address")),
        ("an_unknown_field_is_red", |copy| refused(copy, &edited("why", "owner = 'x'\nwhy"), "unknown field `owner`")),
        ("status_passed_is_red", |copy| refused(copy, &edited("falsified", "passed"), "needs no entry")),
        ("an_entry_that_matches_no_row_is_red", |copy| refused(copy, &edited("llama-tiny", "no-such"), "no row of the matrix")),
        ("two_entries_for_one_row_are_red", two_entries),
        ("rows_that_were_filtered_out_are_no_unmatched_entries", filtered),
        ("a_baseline_is_red_until_every_bug_is_named", baseline),
        ("the_command_writes_the_baseline_of_a_process", baseline_of_a_process),
        ("the_entry_of_a_gate_excuses_what_is_behind_it", gate),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, move || test(&Copy::new())));
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// The engine under another name, with a fault.
struct Mine {
    engine: NativeRuntime,
    fault: String,
}

impl Runtime for Mine {
    fn capabilities(&self) -> Capabilities {
        let ops = vec![Op::Metadata, Op::Tokenize, Op::Logits];
        Capabilities { name: "mine".to_owned(), formats: vec![Format::Safetensors], ops, ..self.engine.capabilities() }
    }

    fn load(&self, artifact: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure> {
        if self.fault == "refuse" {
            return Err(Failure::Refused { kind: "mine".to_owned(), message: "this runtime loads nothing".to_owned() });
        }
        Ok(Box::new(MySession { engine: self.engine.load(artifact, threads)?, fault: self.fault.clone() }))
    }
}

struct MySession {
    engine: Box<dyn Session>,
    fault: String,
}

impl Session for MySession {
    fn metadata(&mut self) -> Result<ground_truth_harness::runtime::Metadata, Failure> {
        self.engine.metadata()
    }

    fn tokenize(&mut self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        self.engine.tokenize(text, add_special)
    }

    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        assert_ne!(self.fault, "crash", "a fault");
        let mut logits = self.engine.logits(ids, positions)?;
        if self.fault == "wrong" {
            logits.values.iter_mut().for_each(|value| *value *= 1.01);
        }
        Ok(logits)
    }
}

/// A copy of one carried model, its golden and the texts.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        Self { folder: process::copy_of_model() }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes the file of the runtime.
    fn expect(&self, text: &str) {
        fs::create_dir_all(self.path("expectations")).expect("a folder");
        fs::write(self.path("expectations/mine.toml"), text).expect("a file");
    }

    /// Judges the rows of a runtime with this fault.
    fn judge(&self, fault: &str, filter: &str) -> (bool, String) {
        self.judge_but(fault, filter, &[])
    }

    /// The same, without the rows whose names contain one of these.
    fn judge_but(&self, fault: &str, filter: &str, without: &[&str]) -> (bool, String) {
        let mut command = self.command(fault, filter);
        let output = command.args(without.iter().flat_map(|part| ["--skip", part])).output().expect("the executable starts");
        (output.status.success(), text(&output))
    }

    fn command(&self, fault: &str, filter: &str) -> Command {
        let this = std::env::current_exe().expect("this executable");
        let mut command = process::on_workspace(this, self.folder.path());
        // The copy stands for the package of a runtime of somebody else's as well.
        command.arg(filter).env(FAULT, fault).env("CARGO_MANIFEST_DIR", self.folder.path());
        command
    }
}

/// An entry, expected for so many days from today on to so many days from today on.
fn entry(test: &str, status: &str, since: i64, expires: i64) -> String {
    let day = |days: i64| Day::today().after(days).to_string();
    let (since, expires) = (day(since), day(expires));
    format!(
        "[[expect]]\ntest = \"{test}\"\n{status}\nbug = \"https://example.org/mine/1\"\nsince = {since}\nexpires = {expires}\nwhy = \"a fault\"\n"
    )
}

/// About every row of logits, in every column.
fn logits(status: &str) -> String {
    entry("llama-tiny::*::mine::F-G4-logits::*", status, -1, 30)
}

fn falsified() -> String {
    logits("status = \"falsified\"")
}

fn falsified_from(since: i64, expires: i64) -> String {
    entry("llama-tiny::*::mine::F-G4-logits::*", "status = \"falsified\"", since, expires)
}

fn edited(from: &str, to: &str) -> String {
    falsified().replace(from, to)
}

/// The run is red, and says this.
fn red((green, text): (bool, String), due: &[&str]) -> Result<String, Failed> {
    if green || !text.contains("RED: ") {
        return Err(format!("the run is not red:\n{text}").into());
    }
    match due.iter().find(|due| !text.contains(**due)) {
        Some(due) => Err(format!("`{due}` is not said:\n{text}").into()),
        None => Ok(text),
    }
}

/// The run is green, and says this.
fn green((green, text): (bool, String), due: &[&str]) -> Result<String, Failed> {
    if !green || text.contains("RED: ") {
        return Err(format!("the run is red:\n{text}").into());
    }
    match due.iter().find(|due| !text.contains(**due)) {
        Some(due) => Err(format!("`{due}` is not said:\n{text}").into()),
        None => Ok(text),
    }
}

fn without_a_file(copy: &Copy) -> Result<(), Failed> {
    green(copy.judge("sound", FILTER), &["CORROBORATED: "])?;
    for fault in ["wrong", "crash", "refuse"] {
        red(copy.judge(fault, FILTER), &[])?;
    }
    Ok(())
}

fn truth(copy: &Copy) -> Result<(), Failed> {
    copy.expect(&falsified());
    let text = green(copy.judge("wrong", FILTER), &["FAILED AS EXPECTED: 0 corroborated, ", " failed as expected, 0 falsified, 0 errors"])?;
    if !text.contains("expectations/mine.toml entry 1, `falsified` until ") || !text.contains("(https://example.org/mine/1)") {
        return Err(format!("the entry is not listed:\n{text}").into());
    }
    // Beside rows that hold, those that fail as expected are neither.
    let beside = copy.judge_but("wrong", "llama-tiny::safetensors::f32::mine::F-", &["F-G4-norm", "F-G4-kl"]);
    let text = green(beside, &["CORROBORATED: ", " failed as expected, "])?;
    if text.contains("CORROBORATED: 0 corroborated") {
        return Err(format!("nothing was corroborated:\n{text}").into());
    }
    let record = record(copy, "F-G4-logits--code")?;
    let entry = &record["expectation"];
    if record["verdict"] != "expected"
        || entry["met"] != true
        || entry["bug"] != "https://example.org/mine/1"
        || record["measures"][0].is_null()
    {
        return Err(format!("the evidence does not hold the entry and the numbers: {record}").into());
    }
    Ok(())
}

/// The newest record whose file name holds this.
fn record(copy: &Copy, name: &str) -> Result<serde_json::Value, Failed> {
    let runs = fs::read_dir(copy.path("target/ground-truth"))?.map(|run| run.map(|run| run.path())).collect::<Result<Vec<_>, _>>()?;
    let mut runs: Vec<PathBuf> = runs.into_iter().filter(|run| run.join(".run").is_file()).collect();
    runs.sort();
    for run in runs.iter().rev() {
        for file in fs::read_dir(run)? {
            let record: serde_json::Value = match file?.path() {
                path if path.extension().is_some_and(|extension| extension == "json") => serde_json::from_slice(&fs::read(path)?)?,
                _ => continue,
            };
            if record["name"].as_str().is_some_and(|row| row.replace("::", "--").contains(name)) {
                return Ok(record);
            }
        }
    }
    Err(format!("no record of {name}").into())
}

fn unexpected_pass(copy: &Copy) -> Result<(), Failed> {
    copy.expect(&falsified());
    red(copy.judge("sound", FILTER), &["unexpected pass", "remove the entry", "expectations/mine.toml entry 1"]).map(drop)
}

fn another_outcome(copy: &Copy) -> Result<(), Failed> {
    copy.expect(&falsified());
    red(copy.judge("crash", FILTER), &["expects another failure: this one is no `falsified`"])?;
    copy.expect(&logits("status = \"error\"\nkind = \"timeout\""));
    red(copy.judge("crash", FILTER), &["this one is no `error: timeout`"])?;
    red(copy.judge("wrong", FILTER), &["this one is no `error: timeout`"])?;
    copy.expect(&logits("status = \"error\"\nkind = \"crash\"\ncontains = \"a fault\""));
    green(copy.judge("crash", FILTER), &["failed as expected"])?;
    copy.expect(&logits("status = \"error\"\nkind = \"crash\"\ncontains = \"signal 11\""));
    red(copy.judge("crash", FILTER), &["does not say `signal 11`"]).map(drop)
}

fn grown(copy: &Copy) -> Result<(), Failed> {
    let most = |bound: &str| {
        let status = format!("status = \"falsified\"\nat_most = {{ \"relative RMS to float64\" = {bound} }}");
        copy.expect(&entry(ROW, &status, -1, 30));
    };
    most("0.011");
    green(copy.judge("wrong", ROW), &["failed as expected"])?;
    most("0.009");
    red(copy.judge("wrong", ROW), &["has a `relative RMS to float64` of ", "above 9e-3"]).map(drop)
}

/// A file that is wrong excuses nothing and is red by itself, whatever is filtered out.
fn refused(copy: &Copy, text: &str, due: &str) -> Result<(), Failed> {
    copy.expect(text);
    red(copy.judge("wrong", FILTER), &[due, "matrix::expectation::mine::1", "expectations/mine.toml entry 1 ("])?;
    red(copy.judge("sound", "F-G4-logits::code"), &[due, "matrix::expectation::mine::1"]).map(drop)
}

fn two_entries(copy: &Copy) -> Result<(), Failed> {
    copy.expect(&(falsified() + &entry("*::mine::F-G4-logits::code", "status = \"falsified\"", -1, 30)));
    red(copy.judge("wrong", FILTER), &["matrix::expectation::mine::2", "are those of expectations/mine.toml entry 1"]).map(drop)
}

fn filtered(copy: &Copy) -> Result<(), Failed> {
    copy.expect(&falsified());
    green(copy.judge("wrong", "llama-tiny::safetensors::f32::mine::F-G1"), &["CORROBORATED: 1 corroborated, 0 falsified"]).map(drop)
}

fn gate(copy: &Copy) -> Result<(), Failed> {
    let both = |contains: &str| {
        let status = format!("status = \"error\"\nkind = \"refused\"\ncontains = \"{contains}\"");
        copy.expect(&entry("llama-tiny::*::mine::F-G1", &status, -1, 30));
    };
    both("loads nothing");
    green(copy.judge("refuse", "llama-tiny::safetensors::f32::mine::"), &["FAILED AS EXPECTED: 0 corroborated, "])?;
    red(copy.judge("sound", "llama-tiny::safetensors::f32::mine::"), &["unexpected pass"])?;
    both("another reason");
    red(copy.judge("refuse", "llama-tiny::safetensors::f32::mine::F-G4"), &["does not say `another reason`"]).map(drop)
}

fn baseline(copy: &Copy) -> Result<(), Failed> {
    let mut command = copy.command("wrong", "llama-tiny::safetensors::f32::mine::F-");
    let text = text(&command.env("GROUND_TRUTH_BASELINE", "1").output()?);
    let file = copy.path("expectations/mine.toml");
    let written = fs::read_to_string(&file).map_err(|error| format!("{error}:\n{text}"))?;
    if !text.contains("each of them red until its `bug` holds") || !text.contains("RED: ") {
        return Err(format!("the run does not say what it wrote:\n{text}").into());
    }
    red(copy.judge("wrong", "llama-tiny::safetensors::f32::mine::F-"), &["`bug` is missing", "matrix::expectation::mine::1"])?;
    fs::write(&file, written.replace("bug = \"\"", "bug = \"https://example.org/mine/1\""))?;
    green(
        copy.judge("wrong", "llama-tiny::safetensors::f32::mine::F-"),
        &["CORROBORATED: ", " failed as expected, 0 falsified, 0 errors"],
    )?;
    red(copy.judge("sound", "llama-tiny::safetensors::f32::mine::F-"), &["unexpected pass"])?;
    // What somebody wrote is never overwritten.
    let text = self::text(&copy.command("wrong", FILTER).env("GROUND_TRUTH_BASELINE", "1").output()?);
    if text.contains("not written: ") && text.contains("is there already") { Ok(()) } else { Err(text.into()) }
}

/// A runtime of somebody's own list of runtimes has its file beside that list.
fn baseline_of_a_process(copy: &Copy) -> Result<(), Failed> {
    let list = |wrong: bool| {
        // The engine, answering by the protocol; every text that begins with BOS then begins with another token. A loop of the shell, because
        // some awks wait for more input than one line.
        let wrong = if wrong { r#"'"ids":[1,'"# } else { "nothing" };
        let edit = format!(r#"case "$line" in *{wrong}*) line="${{line%%{wrong}*}}\"ids\":[2,${{line#*{wrong}}}" ;; esac"#);
        let program = env!("CARGO_BIN_EXE_ground-truth");
        let script = format!("'{program}' serve | while IFS= read -r line; do {edit}; printf '%s\\n' \"$line\"; done\n");
        fs::create_dir_all(copy.path("theirs"))?;
        fs::write(copy.path("theirs/adapter.sh"), script)?;
        fs::write(copy.path("theirs/runtimes.toml"), "[other]\ncommand = [\"sh\", \"theirs/adapter.sh\"]\n")
    };
    let run = |words: &[&str]| -> Result<(Option<i32>, String), Failed> {
        let mut command = process::on_workspace(env!("CARGO_BIN_EXE_ground-truth"), copy.folder.path());
        command.env("GROUND_TRUTH_RUNTIMES", "theirs/runtimes.toml");
        let output = command.args(words).output()?;
        Ok((output.status.code(), text(&output)))
    };
    let only = "safetensors::f32::other::F-RS6";
    let expect = |(code, text): (Option<i32>, String), due: i32, says: &str| match code == Some(due) && text.contains(says) {
        true => Ok(()),
        false => Err(Failed::from(format!("`{says}` and exit code {due} were due, not {code:?}:\n{text}"))),
    };
    list(false)?;
    expect(run(&["baseline", "other", "--only", only])?, 0, "nothing is red: no file is needed")?;
    expect(run(&["baseline", "native"])?, 3, "are mended, not expected")?;
    expect(run(&["baseline", "nobody"])?, 3, "no runtime `nobody`")?;
    list(true)?;
    expect(run(&["baseline", "other", "--only", only])?, 0, "each of them red until its `bug`")?;
    let file = copy.path("theirs/expectations/other.toml");
    let written = fs::read_to_string(&file)?;
    if !written.contains("bug = \"\"") || !written.contains("::other::F-RS6") {
        return Err(written.into());
    }
    expect(run(&["baseline", "other", "--only", only])?, 3, "is there already")?;
    // `judge` knows the file: red until somebody has been told, then as expected, and an entry about another model is no fault of this one.
    let model = copy.path("testdata/models/llama-tiny").to_string_lossy().into_owned();
    let judge = ["judge", &model, "--runtime", "other", "--only", only];
    expect(run(&judge)?, 1, "`bug` is missing")?;
    let elsewhere = "[[expect]]\ntest = \"gpt2-tiny::*::other::F-G1\"\nstatus = \"falsified\"\nbug = \"https://example.org/2\"\n";
    let days =
        written.lines().filter(|line| line.starts_with("since") || line.starts_with("expires")).take(2).collect::<Vec<_>>().join("\n");
    let told = format!("{}\n{elsewhere}{days}\nwhy = \"elsewhere\"\n", written.replace("bug = \"\"", "bug = \"https://example.org/1\""));
    fs::write(&file, told)?;
    expect(run(&judge)?, 0, " failed as expected, 0 falsified, 0 errors")
}
