//! F-G1: hostile files, one test a case, each read by a process of its own with an address-space limit and a deadline.
//!
//! The cases are data: `testdata/malformed/<id>.toml` says what is wrong with the files in `testdata/malformed/<id>/` and what has to
//! become of them. What would be too large to commit is built here, by the generator that wrote the others.

mod ap;
#[expect(dead_code, reason = "tests/hostile.rs writes cases, this file tries them")]
mod case;
mod gg;
mod ix;
mod st;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use case::Case;

/// How long one file may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Address space beyond the files' own bytes.
const SPARE_BYTES: u64 = 256 << 20;
/// Resident memory beyond the files' own bytes.
const SPARE_RESIDENT_BYTES: u64 = 64 << 20;

/// A committed case.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[expect(dead_code, reason = "for people")]
    what: String,
    probe: String,
    built: bool,
    verdict: String,
    kind: Option<String>,
    reason: Option<String>,
    says: Option<Vec<String>>,
    tensors: Option<u64>,
}

/// What `ground-truth probe --json` says.
#[derive(serde::Deserialize, Debug)]
struct Probed {
    schema: String,
    verdict: String,
    kind: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    tensors: Option<u64>,
    peak_resident_bytes: Option<u64>,
}

datatest_stable::harness! {
    { test = judged, root = "../testdata/malformed", pattern = r"[.]toml$" },
}

fn judged(record: &Path) -> datatest_stable::Result<()> {
    let text = std::fs::read_to_string(record)?;
    let expected: Record = toml::from_str(&text)?;
    let id = record.file_stem().and_then(|stem| stem.to_str()).ok_or("a case has a name")?;
    let temporary = tempfile::tempdir()?;
    let folder = if expected.built {
        let case = all().into_iter().find(|case| case.id == id).ok_or("the generator does not know this case")?;
        case.write(temporary.path())?;
        temporary.path().to_owned()
    } else {
        record.with_extension("")
    };
    let before = listing(&folder)?;
    let probed = probe(&folder, &expected.probe)?;
    if listing(&folder)? != before {
        return Err("reading changed the folder".into());
    }
    compare(&expected, &probed).map_err(|complaint| format!("{complaint}\n{probed:#?}").into())
}

/// Every case of the generator.
fn all() -> Vec<Case> {
    [st::cases(), ix::cases(), gg::cases(), ap::cases()].into_iter().flatten().collect()
}

/// Runs the command, and holds it to the limits that every file has.
fn probe(folder: &Path, file: &str) -> datatest_stable::Result<Probed> {
    let bytes: u64 = listing(folder)?.iter().map(|(_, bytes)| bytes).sum();
    let limit = (bytes + SPARE_BYTES) >> 10;
    let path = if file.is_empty() { folder.to_owned() } else { folder.join(file) };
    let begin = Instant::now();
    let child = Command::new("sh")
        .args(["-c", r#"ulimit -v "$0" && exec "$@""#, &limit.to_string(), env!("CARGO_BIN_EXE_ground-truth"), "probe", "--json", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = finished(child)?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    let code = output.status.code().ok_or_else(|| format!("ended by {}: {stderr}", output.status))?;
    if let Some(control) = [&stdout, &stderr].iter().flat_map(|text| text.chars()).find(|c| c.is_control() && *c != '\n') {
        return Err(format!("the answer holds the control character {control:?}").into());
    }
    let probed: Probed = serde_json::from_str(&stdout).map_err(|error| format!("{error}; exit {code}; {stdout:?}; {stderr}"))?;
    let due = match probed.verdict.as_str() {
        "accepted" => 0,
        _ => 1,
    };
    if code != due || probed.schema != "ground-truth/probe/1" {
        return Err(format!("exit code {code}, schema {}", probed.schema).into());
    }
    match probed.peak_resident_bytes {
        Some(peak) if peak <= bytes + SPARE_RESIDENT_BYTES => {}
        peak => return Err(format!("resident memory {peak:?} for files of {bytes} bytes after {:?}", begin.elapsed()).into()),
    }
    Ok(probed)
}

/// The output of a child that ends in time.
fn finished(mut child: std::process::Child) -> datatest_stable::Result<Output> {
    let begin = Instant::now();
    while child.try_wait()?.is_none() {
        if begin.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            return Err(format!("not done within {DEADLINE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(child.wait_with_output()?)
}

/// Every file of a case with its length, links not followed.
fn listing(folder: &Path) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        found.push((entry.path(), entry.metadata()?.len()));
    }
    found.sort();
    Ok(found)
}

fn compare(expected: &Record, probed: &Probed) -> Result<(), String> {
    let seen = (Some(probed.verdict.as_str()), probed.kind.as_deref(), probed.reason.as_deref());
    let due = (Some(expected.verdict.as_str()), expected.kind.as_deref(), expected.reason.as_deref());
    if seen != due {
        return Err(format!("due: {due:?}"));
    }
    if expected.verdict == "accepted" {
        return if expected.tensors.is_some() && expected.tensors == probed.tensors {
            Ok(())
        } else {
            Err(format!("{:?} tensors are due", expected.tensors))
        };
    }
    let message = probed.message.as_deref().unwrap_or_default();
    let words = expected.says.as_deref().unwrap_or_default();
    match words.iter().find(|word| !message.contains(word.as_str())) {
        Some(word) => Err(format!("the message does not say {word:?}")),
        None if message.is_empty() => Err("no message".to_owned()),
        None => Ok(()),
    }
}
