use super::*;
use crate::fixture::Fixture;
use crate::roster::{Roster, Settings};
use crate::runtime::Runtime;
use crate::runtime::native::NativeRuntime;
use crate::runtime::process::Registry;
use ground_truth_falsification::verdict::{Measure, Verdict};

/// One cell of a runtime `mine`, and what its file holds.
struct Bench {
    fixture: Fixture,
    today: Day,
}

const CELL: &str = "a-tiny::safetensors::f32::mine";

/// An entry that is right, about one row.
const SOUND: &str = r#"
[[expect]]
test = "a-tiny::safetensors::f32::mine::F-G4-logits::code"
status = "falsified"
bug = "https://example.org/mine/issues/1"
since = 2026-11-01
expires = 2026-12-01
why = "a bias is left out"
"#;

impl Bench {
    fn new(text: &str) -> Self {
        let fixture = Fixture::carrying(&["a-tiny"]);
        fixture.write("expectations/mine.toml", text);
        Self { fixture, today: Day::of(2026, 11, 21) }
    }

    fn here() -> Here<'static> {
        Here { os: "linux", arch: "x86_64", version: "0.9.1", is_set: |_| false }
    }

    fn read(&self, beside: &[PathBuf]) -> (Expectations, Vec<Problem>) {
        let capabilities = Capabilities { name: "mine".into(), ..NativeRuntime::new().capabilities() };
        let workspace = self.fixture.workspace();
        let mut matrix = Matrix::new(&Roster::read(&workspace, &Settings::default()), &capabilities);
        let expectations = Expectations::on(self.today, &Self::here(), &workspace, beside, "mine", &mut matrix, Extent::Whole);
        let problems = matrix.rows.iter().filter_map(|row| match &row.task {
            Task::Problem(problem) => Some(problem.clone()),
            _ => None,
        });
        (expectations, problems.collect())
    }

    /// What a row of the cell becomes.
    fn judged(&self, row: &str, verdict: &Verdict) -> Record {
        let (expectations, problems) = self.read(&[]);
        assert!(problems.is_empty(), "{problems:?}");
        let mut record = Record::of("run", &format!("{CELL}::{row}"), verdict);
        let gate = Gate::of(CELL, ErrorKind::Refused);
        expectations.apply(record.behind_gate.then_some(&gate), &mut record);
        record
    }
}

/// The only problem of a file, with the subject that is due.
#[track_caller]
fn only_problem(text: &str, subject: &str) -> String {
    let (expectations, problems) = Bench::new(text).read(&[]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].subject, subject);
    assert!(expectations.rows.is_empty(), "an entry that is wrong excuses nothing");
    problems[0].observed.clone()
}

fn wrong() -> Verdict {
    let mut verdict = Verdict::falsified("the golden's logits", "they differ at position 3");
    verdict.measures = vec![Measure::gated("relative RMS", 0.01, 5e-7, ""), Measure::printed("largest difference", 3.0, "logits")];
    verdict
}

#[test]
fn a_failure_that_was_expected_is_neither_green_nor_red() {
    let record = Bench::new(SOUND).judged("F-G4-logits::code", &wrong());
    assert!(record.is_expected() && !record.is_red() && !record.is_green());
    assert_eq!(record.verdict, "expected");
    let entry = record.expectation.as_ref().expect("the evidence holds the entry");
    assert!(entry.met && entry.number == 1 && entry.file == "expectations/mine.toml" && entry.bug.ends_with("/issues/1"));
    let text = record.to_json().unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

#[test]
fn another_row_keeps_its_verdict() {
    let record = Bench::new(SOUND).judged("F-G4-logits::arithmetic", &wrong());
    assert!(record.is_falsified() && record.is_red() && record.expectation.is_none());
}

#[test]
fn a_pass_is_red() {
    let record = Bench::new(SOUND).judged("F-G4-logits::code", &Verdict::corroborated(3, "x", "y"));
    assert!(record.is_red() && !record.is_falsified());
    assert_eq!(record.error.as_deref(), Some(UNEXPECTED_PASS));
    assert!(record.expected.contains("expectations/mine.toml entry 1 (https://example.org/mine/issues/1)"), "{}", record.expected);
}

#[test]
fn another_failure_is_red_and_keeps_its_verdict() {
    for (verdict, kept) in
        [(Verdict::error(ErrorKind::Crash, "x", "signal 11"), "error"), (Verdict::error(ErrorKind::Gate, "x", "y"), "error")]
    {
        let record = Bench::new(SOUND).judged("F-G4-logits::code", &verdict);
        assert!(record.is_red() && record.verdict == kept && !record.expectation.as_ref().unwrap().met);
        assert!(record.observed.contains("expects another failure: this one is no `falsified`"), "{}", record.observed);
    }
    let crash = SOUND.replace(r#"status = "falsified""#, "status = \"error\"\nkind = \"crash\"");
    assert!(Bench::new(&crash).judged("F-G4-logits::code", &Verdict::error(ErrorKind::Crash, "x", "y")).is_expected());
    assert!(Bench::new(&crash).judged("F-G4-logits::code", &Verdict::error(ErrorKind::Timeout, "x", "y")).is_red());
    assert!(Bench::new(&crash).judged("F-G4-logits::code", &wrong()).is_falsified());
}

#[test]
fn a_failure_that_says_something_else_is_red() {
    let says = |text: &str| Bench::new(&SOUND.replace("why", &format!("contains = '{text}'\nwhy"))).judged("F-G4-logits::code", &wrong());
    assert!(says("at position 3").is_expected());
    assert!(says("at position 4").is_falsified());
}

#[test]
fn an_expected_number_that_grew_is_red() {
    let most =
        |text: &str| Bench::new(&SOUND.replace("why", &format!("at_most = {{ {text} }}\nwhy"))).judged("F-G4-logits::code", &wrong());
    assert!(most("'relative RMS' = 0.01").is_expected());
    assert!(most("'relative RMS' = 0.02, 'largest difference' = 3").is_expected());
    assert!(most("'relative RMS' = 0.009").is_falsified());
    assert!(most("'relative RMS' = 0.02, 'largest difference' = 2").is_falsified());
    assert!(most("'KL' = 1.0").is_falsified());
    let nan = Verdict { measures: vec![Measure::gated("relative RMS", f64::NAN, 1.0, "")], ..Verdict::falsified("x", "y") };
    let grown = SOUND.replace("why", "at_most = { 'relative RMS' = 1.0 }\nwhy");
    assert!(Bench::new(&grown).judged("F-G4-logits::code", &nan).is_falsified());
}

#[test]
fn the_entry_of_a_gate_excuses_the_rows_behind_it_and_no_others() {
    let gate = SOUND
        .replace("F-G4-logits::code", "F-G1")
        .replace(r#"status = "falsified""#, "status = \"error\"\nkind = \"refused\"\ncontains = 'no such'");
    let bench = Bench::new(&gate);
    let behind = |reason: &str| Verdict::error(ErrorKind::Gate, "an open gate", format!("gate F-G1 failed: {reason}"));
    assert!(bench.judged("F-G1", &Verdict::error(ErrorKind::Refused, "x", "no such model")).is_expected());
    assert!(bench.judged("F-T1", &behind("no such model")).is_expected());
    assert!(bench.judged("F-T1", &behind("model.safetensors: altered")).is_red(), "the gate is red for another reason");
    assert!(bench.judged("F-T1", &wrong()).is_red());
    assert!(bench.judged("F-G3", &Verdict::falsified("x", "no such model")).is_red());
    // The same words from a gate that crashed are another failure.
    let (expectations, _) = bench.read(&[]);
    let mut record = Record::of("run", &format!("{CELL}::F-T1"), &behind("no such model"));
    expectations.apply(Some(&Gate::of(CELL, ErrorKind::Crash)), &mut record);
    assert!(record.is_red());
}

#[test]
fn every_field_of_an_entry_is_held_to_its_form() {
    let table = [
        ("bug = \"https://example.org/mine/issues/1\"\n", "", "`bug` is missing"),
        ("https://example.org/mine/issues/1", "", "`bug` is missing"),
        ("https://", "http://", "not an https address"),
        ("https://example.org/mine/issues/1", "https://example.org", "not an https address"),
        ("https://example.org/mine/issues/1", "https://example.org/ x", "not an https address"),
        ("why = \"a bias is left out\"", "", "missing field `why`"),
        ("a bias is left out", " ", "`why` is empty"),
        ("since = 2026-11-01\n", "", "missing field `since`"),
        ("expires = 2026-12-01\n", "", "missing field `expires`"),
        ("expires = 2026-12-01", "expires = \"2026-12-01\"", "`expires` is \"2026-12-01\", not a date"),
        ("expires = 2026-12-01", "expires = 2026-12-01T00:00:00Z", "not a date"),
        ("expires = 2026-12-01", "expires = 2026-11-20", "expired: `expires` is 2026-11-20, and today is 2026-11-21"),
        ("expires = 2026-12-01", "expires = 2027-11-03", "more than 366 days"),
        ("since = 2026-11-01", "since = 2026-11-22", "`since` is 2026-11-22, and today is 2026-11-21"),
        ("expires = 2026-12-01", "expires = 2026-10-01", "before `since`"),
        ("status = \"falsified\"", "status = \"passed\"", "what passes needs no entry"),
        ("status = \"falsified\"", "status = \"corroborated\"", "what passes needs no entry"),
        ("status = \"falsified\"", "status = \"ignored\"", "neither `falsified` nor `error`"),
        ("status = \"falsified\"", "status = \"error\"", "`kind` is missing"),
        ("status = \"falsified\"", "status = \"error\"\nkind = \"oops\"", "none of refused, crash"),
        ("status = \"falsified\"", "status = \"falsified\"\nkind = \"crash\"", "`kind` is of errors"),
        ("why", "contains = ''\nwhy", "`contains` is empty"),
        ("why", "at_most = { x = inf }\nwhy", "which no number is above"),
        ("why", "at_most = { x = nan }\nwhy", "which no number is above"),
        ("why", "reason = 'x'\nwhy", "unknown field `reason`"),
        ("why", "when = { system = 'linux' }\nwhy", "unknown field `system`"),
        ("why", "when = { version = '~1' }\nwhy", "`when.version`"),
        ("::mine::", "::native::", "must name the runtime as `::mine::`"),
        ("a-tiny::safetensors::f32::mine::F-G4-logits::code", "*", "must name the runtime"),
        ("a-tiny::safetensors", "b-tiny::safetensors", "no row of the matrix"),
    ];
    assert!(Bench::new(SOUND).read(&[]).1.is_empty());
    for (from, to, due) in table {
        let text = SOUND.replace(from, to);
        assert_ne!(text, SOUND);
        let observed = only_problem(&text, "expectation::mine::1");
        assert!(observed.contains(due) && observed.starts_with("expectations/mine.toml entry 1 ("), "{due}: {observed}");
    }
}

#[test]
fn an_entry_holds_to_the_end_of_its_last_day() {
    let mut bench = Bench::new(SOUND);
    for (day, problems) in [(Day::of(2026, 12, 1), 0), (Day::of(2026, 12, 2), 1), (Day::of(2026, 10, 31), 1), (Day::of(2026, 11, 1), 0)] {
        bench.today = day;
        assert_eq!(bench.read(&[]).1.len(), problems, "{day}");
    }
}

#[test]
fn an_entry_of_another_version_excuses_nothing_and_needs_no_row() {
    let elsewhere = SOUND.replace("why", "when = { version = '>=1' }\nwhy").replace("a-tiny::", "b-tiny::");
    let (expectations, problems) = Bench::new(&elsewhere).read(&[]);
    assert!(problems.is_empty() && expectations.rows.is_empty(), "{problems:?}");
    let both = format!("{SOUND}{}", SOUND.replace("why", "when = { os = 'macos' }\nwhy"));
    assert!(Bench::new(&both).judged("F-G4-logits::code", &wrong()).is_expected());
    let expired = only_problem(&elsewhere.replace("2026-12-01", "2026-11-20"), "expectation::mine::1");
    assert!(expired.contains("expired"), "wherever it holds: {expired}");
}

#[test]
fn two_entries_for_one_row_are_red_and_excuse_nothing() {
    let both = format!("{SOUND}{}", SOUND.replace("F-G4-logits::code", "F-G4-*"));
    let (expectations, problems) = Bench::new(&both).read(&[]);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].subject, "expectation::mine::2");
    assert!(problems[0].observed.contains("1 of its rows are those of expectations/mine.toml entry 1"), "{}", problems[0].observed);
    assert!(!expectations.rows.contains_key(&format!("{CELL}::F-G4-logits::code")));
    assert!(expectations.rows.contains_key(&format!("{CELL}::F-G4-logits::arithmetic")));
}

#[test]
fn a_file_that_cannot_be_read_is_red() {
    assert!(only_problem("[[expect]\n", "expectation::mine").contains("expectations/mine.toml"));
    assert!(only_problem("skip = ['*']\n", "expectation::mine").contains("unknown field `skip`"));
    assert!(only_problem("expect = 'everything'\n", "expectation::mine").contains("no array"));
    assert!(only_problem("expect = ['everything']\n", "expectation::mine::1").contains("entry 1"));
    let bench = Bench::new("");
    bench.fixture.write("expectations/mine.toml", b"\xff");
    assert_eq!(bench.read(&[]).1.len(), 1);
    bench.fixture.write("expectations/mine.toml", vec![b'#'; (MAX_BYTES + 1) as usize]);
    assert_eq!(bench.read(&[]).1.len(), 1);
    bench.fixture.remove("expectations");
    assert!(bench.read(&[]).1.is_empty());
}

#[test]
fn a_file_beside_a_file_of_runtimes_counts_too() {
    let bench = Bench::new("");
    bench.fixture.write("theirs/expectations/mine.toml", SOUND);
    let beside = [bench.fixture.path("theirs/expectations"), bench.fixture.path("expectations")];
    let (expectations, problems) = bench.read(&beside);
    assert!(problems.is_empty() && expectations.rows.len() == 1, "{problems:?}");
    bench.fixture.write("theirs/expectations/mine.toml", SOUND.replace("https", "http"));
    let (_, problems) = bench.read(&beside);
    assert_eq!(problems[0].subject, "expectation::mine::file-2::1");
    bench.fixture.write("expectations/mine.toml", SOUND);
    bench.fixture.write("theirs/expectations/mine.toml", SOUND);
    assert!(bench.read(&beside).1[0].observed.contains("theirs/expectations/mine.toml entry 1"), "two files for one row");
}

#[test]
fn native_has_no_known_failures() {
    let fixture = Fixture::carrying(&["a-tiny"]);
    fixture.write("expectations/native.toml", SOUND.replace("::mine::", "::native::"));
    let capabilities = NativeRuntime::new().capabilities();
    let mut matrix = Matrix::new(&Roster::read(&fixture.workspace(), &Settings::default()), &capabilities);
    let expectations =
        Expectations::on(Day::of(2026, 11, 21), &Bench::here(), &fixture.workspace(), &[], NATIVE, &mut matrix, Extent::Whole);
    assert!(expectations.entries.is_empty() && expectations.rows.is_empty());
    let problem = matrix.rows.last().expect("a row");
    assert_eq!(problem.name, "matrix::expectation::native::1");
    assert_eq!(capabilities.name, NATIVE);
}

/// The prohibited acts of `spec/hf-ground-truth-corpus.md` 7.3: nothing that the engine fails is a known failure.
#[test]
fn the_committed_file_of_native_is_empty_and_no_other_speaks_of_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER);
    let table = |path: &Path| std::fs::read_to_string(path).expect("readable").parse::<toml::Table>().expect("TOML");
    assert!(table(&folder.join("native.toml")).is_empty());
    let rows = Matrix::new(&Roster::read(&Workspace::from_env(), &Settings::default()), &NativeRuntime::new().capabilities()).rows;
    let registry = Registry::read(&Workspace::from_env(), &Settings::default());
    for file in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        // A file of no runtime is read by no run.
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let crate_of_ours = folder.join("../runtimes").join(&name).join("Cargo.toml").is_file();
        let is_known = name == NATIVE || crate_of_ours || registry.find(&name).is_some();
        assert!(is_known && file.extension().is_some_and(|extension| extension == "toml"), "{}: no runtime is named so", file.display());
        let entries = table(&file).remove("expect").and_then(|entries| entries.as_array().cloned()).unwrap_or_default();
        for test in entries.iter().map(|entry| entry["test"].as_str().expect("a text").to_owned()) {
            let about = rows.iter().find(|row| glob::matches(&test, &row.name));
            assert!(about.is_none(), "{}: {test} is about {}", file.display(), about.unwrap().name);
        }
    }
}
