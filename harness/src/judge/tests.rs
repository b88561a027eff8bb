//! A carried model, and a file that is not what it claims to be, judged in this process: what every row says is pinned, but for its
//! fractions, which another processor rounds otherwise.

use super::*;
use crate::runtime::native::NativeRuntime;

const MODEL: &str = "testdata/models/llama-tiny";

/// A workspace of this repository whose runs go elsewhere.
fn workspace(out: &tempfile::TempDir) -> Workspace {
    Workspace::at(Workspace::from_env().root(), out.path())
}

fn request<'a>(model: &'a Path, files: &'a [PathBuf], only: &str) -> Request<'a> {
    Request {
        model,
        files,
        golden: None,
        only: Some(only.to_owned()),
        quick: false,
        runtime: Arc::new(NativeRuntime::new()),
        runtime_name: None,
        expectations: Vec::new(),
        deadlines: None,
    }
}

/// The text without what differs from run to run and from machine to machine: numbers with a fraction or an exponent, folders.
fn lasting(text: &str, folders: &[&Path]) -> String {
    let mut text = text.to_owned();
    for folder in folders {
        text = text.replace(&*folder.to_string_lossy(), "FOLDER");
    }
    let part = |c: char| c.is_ascii_digit() || ".e-".contains(c);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..start]);
        let end = rest[start..].find(|c| !part(c)).map_or(rest.len(), |end| start + end);
        let number = rest[start..end].trim_end_matches(['.', 'e', '-']);
        out.push_str(if number.parse::<f64>().is_ok() && number.contains(['.', 'e']) { "#" } else { number });
        rest = &rest[start + number.len()..];
    }
    out.push_str(rest);
    out
}

/// What a record says.
fn line(record: &Record) -> String {
    let mut parts = vec![format!("{}: {}", record.name, record.verdict)];
    parts.extend(record.error.clone());
    parts.push(format!("{} / {}", record.expected, record.observed));
    let measure = |number: &crate::evidence::Number| format!("{} {}", number.name, if report::holds(number) { "holds" } else { "RED" });
    parts.extend(record.measures.iter().map(measure));
    parts.push(format!("{} compared by {:?}, {} asked, owner {}", record.compared, record.bounds, record.asked.len(), record.owner));
    let place = report::place(&record.place);
    parts.extend((!place.is_empty()).then_some(place));
    parts.extend(record.minimal.as_ref().map(|minimal| format!("minimal {} tokens, position {}", minimal.tokens, minimal.position)));
    parts.push(record.claim.id.clone());
    parts.push(format!("{} {} {}", record.versions.runtime, record.reproduce, record.axes.as_ref().map_or("", |axes| &axes.quantization)));
    parts.join("\n    ")
}

fn told(judged: &Judged, folders: &[&Path]) -> String {
    let lines: Vec<String> = judged.records.iter().map(line).collect();
    let text = judged.text();
    let steady = |line: &&str| !["cost ", "evidence "].iter().any(|head| line.starts_with(head));
    let text: Vec<&str> = text.lines().filter(steady).collect();
    lasting(&format!("{}\n\n{}\n", lines.join("\n"), text.join("\n")), folders)
}

/// A copy of the model in which one matrix has another sign.
fn broken(folder: &Path) -> PathBuf {
    let model = Workspace::from_env().root().join(MODEL);
    let mut bytes = std::fs::read(model.join("model.safetensors")).unwrap();
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let offsets = &index["model.layers.1.mlp.down_proj.weight"]["data_offsets"];
    let at = |i: usize| 8 + header + usize::try_from(offsets[i].as_u64().unwrap()).unwrap();
    for value in bytes[at(0)..at(1)].chunks_exact_mut(4) {
        value[3] ^= 0x80;
    }
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        if model.join(name).is_file() {
            std::fs::copy(model.join(name), folder.join(name)).unwrap();
        }
    }
    let path = folder.join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_sound_model_is_corroborated_row_by_row() {
    let out = tempfile::tempdir().unwrap();
    let model = Workspace::from_env().root().join(MODEL);
    let judged = judge(&workspace(&out), &request(&model, &[], "::arithmetic")).unwrap();
    assert!(judged.tally().corroborated > 10 && judged.tally().corroborated == judged.records.len(), "{:?}", judged.tally());
    crate::fixture::pinned().bind(|| insta::assert_snapshot!("judge_sound", told(&judged, &[out.path(), Workspace::from_env().root()])));
}

#[test]
fn a_file_with_one_wrong_matrix_is_red_by_name_and_place() {
    let (out, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = [broken(folder.path())];
    let model = Workspace::from_env().root().join(MODEL);
    let root = Workspace::from_env().root().to_path_buf();
    let folders = [out.path(), folder.path(), root.as_path()];
    let judged = judge(&workspace(&out), &request(&model, &files, "::arithmetic")).unwrap();
    assert!(judged.tally().falsified > 5, "{:?}", judged.tally());
    crate::fixture::pinned().bind(|| insta::assert_snapshot!("judge_broken", told(&judged, &folders)));
}

#[test]
fn an_altered_model_is_stopped_at_its_gate() {
    let (out, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    broken(folder.path());
    let golden = Workspace::from_env().golden().join("llama-tiny");
    let judged = judge(&workspace(&out), &Request { golden: Some(&golden), ..request(folder.path(), &[], "F-G") }).unwrap();
    assert!(judged.records.len() > 10 && judged.records.iter().all(Record::is_red));
    assert_eq!(judged.records.iter().filter(|record| !record.behind_gate).count(), 1);
    let gate = &judged.records[0];
    assert!(gate.name.ends_with("::F-G1") && gate.observed.contains("model.safetensors"), "{}", gate.observed);
    assert!(judged.text().contains("verdict       RED: 0 corroborated, "), "{}", judged.text());
}

#[test]
fn without_a_golden_the_checks_that_need_none_are_judged_and_the_others_are_named() {
    let (out, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    broken(folder.path());
    let judged = judge(&workspace(&out), &request(folder.path(), &[], "::F-")).unwrap();
    let left_out: Vec<&str> = judged.not_tested.iter().filter_map(|line| line.split(':').next()).collect();
    assert!(left_out.contains(&"F-G4-logits") && left_out.contains(&"CANARY"), "{left_out:?}");
    assert!(judged.records.len() > 10, "{:?}", judged.tally());
    assert!(judged.records.iter().all(|record| record.is_green() && !left_out.contains(&record.axes.as_ref().unwrap().check.as_str())));
    assert!(judged.oracle.as_ref().is_some_and(|command| command.contains("golden/oracle.py")));
    let text = judged.text();
    assert!(text.contains(&format!("not tested    {} checks that compare with a golden", left_out.len())), "{text}");
}

#[test]
fn the_essentials_are_a_part_and_say_what_they_left_out() {
    let out = tempfile::tempdir().unwrap();
    let model = Workspace::from_env().root().join(MODEL);
    let judged = judge(&workspace(&out), &Request { quick: true, ..request(&model, &[], "::F-G4-") }).unwrap();
    let of = |check: &str| judged.records.iter().filter(|record| record.axes.as_ref().is_some_and(|axes| axes.check == check)).count();
    assert_eq!((of("F-G4-logits"), of("F-G4-kl"), of("F-G4-sketch-decode")), (ESSENTIAL_PROMPTS, 0, 0), "{:?}", judged.tally());
    assert!(judged.left_out > judged.records.len());
    let text = judged.text();
    assert!(text.contains(&format!("quick         {} rows judged, {} left out", judged.records.len(), judged.left_out)), "{text}");
}

#[test]
fn what_cannot_be_judged_is_refused_with_what_to_do() {
    let out = tempfile::tempdir().unwrap();
    let model = Workspace::from_env().root().join(MODEL);
    let refused = |request: Request<'_>| judge(&workspace(&out), &request).unwrap_err();
    let gone = refused(request(Path::new("no/such/folder"), &[], ""));
    assert!(gone.message.starts_with("failed to open the model: no/such/folder: ") && gone.next.contains("config.json"), "{gone:?}");
    let empty = refused(request(out.path(), &[], ""));
    assert!(empty.message.ends_with(" holds no config.json"), "{empty:?}");
    let golden = refused(Request { golden: Some(out.path()), ..request(&model, &[], "") });
    assert!(golden.message.ends_with(" holds no index.json") && golden.next.contains("oracle.py"), "{golden:?}");
    let file = refused(request(&model, &[out.path().join("none.gguf")], ""));
    assert!(file.message.starts_with("failed to open the file: "), "{file:?}");
}

/// Columns of the matrix are made and judged as `cargo test` does, here on one prompt: the conversion, what lies beside the artifact, its
/// peers, and what each row says.
#[test]
fn a_column_is_made_and_judged_row_by_row() {
    let out = tempfile::tempdir().unwrap();
    let root = Workspace::from_env().root().to_path_buf();
    let workspace = workspace(&out);
    let roster = Roster::read(&workspace, &Settings::default());
    let runtime: Arc<dyn Runtime> = Arc::new(NativeRuntime::new());
    let checks: Vec<_> = check::all().iter().collect();
    let matrix = Matrix::of(&roster, &runtime.capabilities(), &checks, Forms::All);
    let is_short = |row: &&Row| match &row.task {
        Task::Check { check, subject: Subject::Cell, .. } => check.id != "INV-convert",
        Task::Check { subject: Subject::Prompt(0), .. } | Task::Gate { .. } | Task::Conversion { .. } | Task::List { .. } => true,
        Task::Check { .. } | Task::Problem(_) => false,
    };
    let is_mine = |row: &&Row| ["gguf::q4_0", "apr::q8"].iter().any(|form| row.name.starts_with(&format!("llama-tiny::{form}::")));
    let is_listed = |row: &&Row| row.name == "llama-tiny::safetensors::f32::native::LIST";
    let rows: Vec<&Row> = matrix.rows.iter().filter(|row| is_mine(row) && is_short(row) || is_listed(row)).collect();
    let setup = Setup {
        run: Run::of_this_process(workspace.out(), Kind::Matrix),
        workspace,
        runtime,
        deadlines: Deadlines::default(),
        models: roster.models,
        reproduce: Box::new(|name| format!("again {name}")),
    };
    let laboratory = Laboratory::new(setup, &matrix);
    let (records, _) = judge_rows(&laboratory, &rows, None);
    assert_eq!(records.len(), rows.len());
    let lines: Vec<String> = records.iter().map(line).collect();
    let text = lasting(&lines.join("\n"), &[out.path(), &root]);
    crate::fixture::pinned().bind(|| insta::assert_snapshot!("judge_column", text));
}
