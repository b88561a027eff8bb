//! The ten controls as adapters, and what else can go wrong between two processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ground_truth_harness::runtime::process::{Entry, MAX_DEATHS, ProcessRuntime, Unstarted};
use ground_truth_harness::runtime::supervise::Deadlines;
use ground_truth_harness::runtime::{Artifact, Failure, Format, Op, Positions, Runtime};

use super::{BINARY, PATIENT, control, judged, model, path};

fn artifact(name: &str) -> Artifact {
    Artifact { model: name.into(), format: Format::Safetensors, quantization: "f32".into(), path: model(name) }
}

/// The script, the error of the rows (none: the claim is refuted), what they say, and how many of three are red.
const CONTROLS: [(&str, Option<&str>, &str, usize); 12] = [
    ("hang.sh", Some("timeout"), "no answer within 1 s", 3),
    ("crash.sh", Some("crash"), " bytes into its answer to `logits`; its standard error ends in: cannot go on", 3),
    ("garbage.sh", Some("protocol"), "a line that is not JSON: expected value at line 1 column 1: `loading tensors: 100%`", 3),
    ("huge.sh", Some("protocol"), "bytes, the most that an answer to `logits` can have", 3),
    ("shape.sh", None, ", 3) with", 3),
    ("nan.sh", None, "not finite, the first is NaN", 3),
    ("echo.sh", Some("protocol"), "a request came back instead of an answer", 3),
    ("cached.sh", None, "", 2),
    ("short.sh", None, "values", 3),
    ("drip.sh", Some("timeout"), "no answer within 1 s", 3),
    // Beyond the ten: answers that belong to no request, or to the one before.
    ("twice.sh", Some("protocol"), "", 3),
    ("stale.sh", Some("protocol"), "an answer to request", 0),
];

#[test]
#[expect(clippy::cognitive_complexity, reason = "every assertion counts as a branch")]
fn each_of_ten_controls_as_an_adapter_is_red_for_its_reason() {
    for (name, error, says, red) in CONTROLS {
        let begin = Instant::now();
        // What wraps the engine waits for the engine; the others answer at once or never.
        let request = Duration::from_secs(if matches!(error, Some("timeout")) { 1 } else { 60 });
        let deadlines = Deadlines { load: Duration::from_secs(60), request };
        let only = "::F-G4-norm::";
        // An answer that comes twice is noticed with the next request, which is the first one at loading.
        if name == "twice.sh" {
            let script = super::script(name);
            let entry = Entry::of("control", &["sh", path(&script), BINARY], Path::new("/"));
            let runtime = ProcessRuntime::start(entry, deadlines).expect("it says hello");
            let failure = runtime.load(&artifact("llama-tiny"), 1).err().expect("no session");
            let Failure::Protocol { message } = failure else { panic!("{failure}") };
            assert!(message.contains("a line that nobody asked for") || message.contains("an answer to request 1"), "{message}");
            continue;
        }
        let records = judged("llama-tiny", only, control(name, Path::new("/dev/null"), deadlines), deadlines);
        let wrong: Vec<_> = records.iter().filter(|record| !record.is_green()).collect();
        assert_eq!(records.len(), 3, "{name}");
        if red > 0 {
            assert_eq!(wrong.len(), red, "{name}: {:?}", wrong.iter().map(|record| &record.observed).collect::<Vec<_>>());
        } else {
            assert!(!wrong.is_empty(), "{name}");
        }
        for record in wrong {
            assert_eq!(record.error.as_deref(), error, "{name}: {}", record.observed);
            assert!(record.observed.contains(says), "{name}: {}", record.observed);
            assert!(!record.behind_gate, "{name}");
            assert!(record.versions.runtime.starts_with("control "), "{name}: {}", record.versions.runtime);
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{name}: {:?}", begin.elapsed());
    }
}

#[test]
fn a_killed_adapter_costs_the_row_it_was_answering_and_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = control("killed.sh", &folder.path().join("mark"), PATIENT);
    let other = Arc::clone(&runtime);
    let rows = thread::scope(|scope| {
        let gpt2 = scope.spawn(move || judged("gpt2-tiny", "::F-T4-shape::", other, PATIENT));
        let llama = judged("llama-tiny", "::F-T4-shape::", runtime, PATIENT);
        (llama, gpt2.join().expect("rows of gpt2-tiny"))
    });
    assert!(folder.path().join("mark").exists(), "nobody was killed");
    let red: Vec<_> = rows.0.iter().filter(|record| !record.is_green()).collect();
    assert_eq!(red.len(), 1, "{red:?}");
    assert_eq!(red[0].error.as_deref(), Some("crash"));
    assert!(red[0].observed.contains("signal 9, "), "{}", red[0].observed);
    assert!(rows.0.len() > 5 && rows.1.len() > 5 && rows.1.iter().all(|record| record.is_green()));
}

/// Whether every one of these processes goes, soon: a signal is sent at once and followed when the machine gets to it.
fn all_go(numbers: &str) -> bool {
    let begin = Instant::now();
    while numbers.lines().any(is_alive) && begin.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(10));
    }
    !numbers.lines().any(is_alive)
}

/// Whether a process of this number is there, dead ones that nobody has reaped aside.
fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn a_timeout_and_the_end_leave_nobody_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let children = folder.path().join("children");
    // Long enough for a busy machine to start the child.
    let deadlines = Deadlines { load: Duration::from_secs(60), request: Duration::from_secs(3) };
    let runtime = control("hang.sh", &children, deadlines);
    let mut session = runtime.load(&artifact("llama-tiny"), 1).expect("it loads");
    assert_eq!(session.logits(&[1, 2], Positions::All), Err(Failure::Timeout { seconds: 3.0 }));
    let numbers = fs::read_to_string(&children).expect("the number of a child");
    assert!(numbers.lines().count() == 1 && all_go(&numbers), "{numbers}");
    // The next process stands idle when the runtime ends, and does not outlive it.
    let script = folder.path().join("idle.sh");
    fs::write(&script, format!("echo $$ >> {}\nexec {BINARY} serve\n", path(&children))).expect("a script");
    let idle = ProcessRuntime::start(Entry::of("idle", &["sh", path(&script)], Path::new("/")), PATIENT).expect("it says hello");
    let mut session = idle.load(&artifact("llama-tiny"), 1).expect("it loads");
    assert!(session.logits(&[1, 2], Positions::Last).is_ok());
    let numbers = fs::read_to_string(&children).expect("the number of the process");
    assert!(numbers.lines().last().is_some_and(is_alive), "{numbers}");
    idle.end();
    assert!(all_go(&numbers), "{numbers}");
}

#[test]
fn full_pipes_stop_nobody() {
    let runtime = control("noisy.sh", Path::new("/dev/null"), PATIENT);
    let mut session = runtime.load(&artifact("llama-tiny"), 1).expect("it loads");
    assert_eq!(session.logits(&[1, 2], Positions::All).map(|logits| logits.n), Ok(2));
    // Requests that nobody reads fill the pipe, and the deadline holds all the same.
    let deadlines = Deadlines { load: Duration::from_secs(60), request: Duration::from_millis(500) };
    let runtime = control("deaf.sh", Path::new("/dev/null"), deadlines);
    let mut session = runtime.load(&artifact("llama-tiny"), 1).expect("it loads");
    assert_eq!(session.tokenize(&"a".repeat(1 << 22), true), Err(Failure::Timeout { seconds: 0.5 }));
}

#[test]
fn a_line_without_end_is_read_to_what_is_due_and_no_further() {
    let runtime = control("huge.sh", Path::new("/dev/null"), PATIENT);
    let mut session = runtime.load(&artifact("llama-tiny"), 1).expect("it loads");
    let Err(Failure::Protocol { message }) = session.logits(&[1, 2], Positions::All) else { panic!("no protocol failure") };
    // Two rows of 768 floats in base64, and a mebibyte.
    assert!(message.contains(&format!("more than {} bytes", 2 * 768 * 4 * 4 / 3 + (1 << 20))), "{message}");
}

#[test]
fn an_artifact_that_kills_every_process_is_given_up() {
    let runtime = control("crash.sh", Path::new("/dev/null"), PATIENT);
    let failures: Vec<Failure> = (0..MAX_DEATHS + 2)
        .map(|_| match runtime.load(&artifact("llama-tiny"), 1) {
            Ok(mut session) => session.logits(&[1, 2], Positions::All).expect_err("it crashes"),
            Err(failure) => failure,
        })
        .collect();
    let given_up = |failure: &Failure| matches!(failure, Failure::Crash { message } if message.contains("no other is started"));
    assert_eq!(failures.iter().position(given_up), Some(MAX_DEATHS), "{failures:?}");
    // It says nothing of another artifact.
    assert!(runtime.load(&artifact("gpt2-tiny"), 1).is_ok());
}

/// A runtime that answers hello with this, `install` at hand.
fn saying(hello: &str) -> Result<ProcessRuntime, Unstarted> {
    let mut entry = Entry::of("mine", &["sh", "-c", "read -r request; printf '%s\\n' \"$0\"; read -r more", hello], Path::new("/"));
    entry.install = Some("make mine".into());
    ProcessRuntime::start(entry, PATIENT)
}

#[test]
fn hello_is_believed_word_by_word() {
    let whole = r#"{"id":1,"runtime":"r","version":"2","formats":["gguf"],"ops":["logits","concurrent"]}"#;
    let capabilities = saying(whole).map(|runtime| runtime.capabilities()).expect("it says hello");
    assert_eq!((capabilities.name.as_str(), capabilities.version.as_str()), ("mine", "r 2"));
    // One process at a time cannot be asked by several at once.
    assert_eq!((capabilities.formats, capabilities.ops), (vec![Format::Gguf], vec![Op::Logits]));
    for (from, to, told) in [
        (r#""logits""#, r#""sing""#, "`ops` holds `sing`, which is none of metadata, "),
        (r#""gguf""#, r#""GGUF""#, "`formats` holds `GGUF`"),
        (r#"["gguf"]"#, "[]", "0 formats"),
        (r#""version":"2","#, "", "missing field `version`"),
        (r#""version":"2""#, r#""version":"""#, "`version` has 0 bytes"),
        (r#""ops""#, r#""arithmetic":"exakt","ops""#, "`arithmetic` holds `exakt`"),
        (r#""ops""#, r#""architectures":["a b"],"ops""#, "`architectures` holds `a b`"),
        (r#""id":1"#, r#""id":2"#, "an answer to request 2"),
    ] {
        let Err(Unstarted::Broken(reason)) = saying(&whole.replace(from, to)) else { panic!("{to} is believed") };
        assert!(reason.contains(told), "{to}: {reason}");
    }
}

#[test]
fn what_is_not_installed_says_how_to_install_it() {
    let mut entry = Entry::of("ghost", &["no-such-program-anywhere"], Path::new("/"));
    entry.install = Some("make ghost".into());
    let Err(Unstarted::NotInstalled(reason)) = ProcessRuntime::start(entry, PATIENT) else { panic!("it is there") };
    assert!(reason.contains("`no-such-program-anywhere` is not installed") && reason.ends_with("install it: make ghost"), "{reason}");
    let answer = r#"{"id":1,"error":{"kind":"not-installed","message":"no module named torch"}}"#;
    let Err(Unstarted::NotInstalled(reason)) = saying(answer) else { panic!("it is there") };
    assert_eq!(reason, "no module named torch; install it: make mine");
    let silent = ProcessRuntime::start(Entry::of("silent", &["sh", "-c", "echo why >&2; exit 4"], Path::new("/")), PATIENT);
    let Err(Unstarted::Broken(reason)) = silent else { panic!("it says hello") };
    assert!(reason.contains("exit status 4") && reason.contains("why"), "{reason}");
}
