//! Diagnosis as a publisher meets it: one tensor of a file is wrong, and `ground-truth judge` says where, whose, and what shows it soonest.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use ground_truth::Checkpoint;
use serde_json::Value;

use crate::process::{self, MODEL, text};

/// The stage that the queries of the second block feed.
const STAGE: &str = "blk.1.attn.q";

fn command(root: &Path, arguments: &[&str]) -> Output {
    process::on_workspace(env!("CARGO_BIN_EXE_ground-truth"), root).args(arguments).output().expect("the binary starts")
}

fn word(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

/// A GGUF file of the model, and the file with the first queries of the second block twice as large.
fn file_with_wrong_queries(root: &Path) -> PathBuf {
    let (model, file) = (root.join("testdata/models").join(MODEL), root.join("changed.gguf"));
    let output = command(root, &["convert", word(&model), word(&file), "--format", "gguf", "--quant", "f32"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let checkpoint = Checkpoint::open(&file).expect("the file opens");
    let (_, tensor) =
        checkpoint.tensors.iter().find(|(name, _)| name.contains("layers.1.") && name.contains("q_proj")).expect("it has queries");
    let (_, place) = tensor.place().expect("the tensor lies in the file");
    drop(checkpoint);
    let handle = File::options().read(true).write(true).open(&file).expect("the file is ours");
    let mut bytes = [0; 64];
    handle.read_exact_at(&mut bytes, place).expect("sixteen floats");
    for chunk in bytes.as_chunks_mut::<4>().0 {
        *chunk = (f32::from_le_bytes(*chunk) * 2.0).to_le_bytes();
    }
    handle.write_all_at(&bytes, place).expect("they are written");
    file
}

fn judged(root: &Path, arguments: &[&str]) -> Output {
    let model = root.join("testdata/models").join(MODEL);
    let output = command(root, &[&["judge", word(&model)], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    output
}

#[test]
fn a_wrong_tensor_is_named_by_its_stage_in_every_red_row_about_logits() {
    let copy = process::copy_of_model();
    let file = file_with_wrong_queries(copy.path());
    let output = judged(copy.path(), &[word(&file), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = answer["rows"].as_array().expect("rows");
    let red: Vec<&Value> = rows.iter().filter(|row| row["verdict"] == "falsified" && row["claim"]["id"] == "F-G4").collect();
    assert!(red.len() >= 3, "{} rows are red", red.len());
    for row in &red {
        assert_eq!(row["place"]["stage"], STAGE, "{row:#}");
    }
    let logits = red.iter().filter(|row| row["axes"]["check"] == "F-G4-logits");
    let minimal: Vec<&Value> = logits.map(|row| &row["minimal"]).collect();
    for minimal in &minimal {
        let (tokens, position, questions) = (minimal["tokens"].as_u64(), minimal["position"].as_u64(), minimal["questions"].as_u64());
        // What is wrong at a position is wrong without what follows it: one question is enough.
        assert_eq!((tokens, questions), (position.map(|position| position + 1), Some(1)), "{minimal}");
        assert_eq!(minimal["ids"].as_array().map(|ids| ids.len() as u64), tokens);
    }
    let diagnosis = &answer["diagnoses"][0];
    assert_eq!((diagnosis["stage"].as_str(), diagnosis["owner"].as_str()), (Some(STAGE), Some("file")), "{diagnosis:#}");
    assert!(diagnosis["alike"][0]["distance"].as_f64().is_some_and(|distance| (0.0..=0.5).contains(&distance)), "{diagnosis:#}");
}

#[test]
fn the_summary_says_it_in_a_line() {
    let copy = process::copy_of_model();
    let file = file_with_wrong_queries(copy.path());
    let output = text(&judged(copy.path(), &[word(&file)]));
    let line = output.lines().find(|line| line.starts_with("diagnosis")).expect("a line of diagnosis");
    assert!(
        line.contains(&format!("first wrong stage {STAGE} (queries, after RoPE where there is RoPE)")) && line.contains("owner file"),
        "{line}"
    );
    // An altered file that the golden lists stands behind its gate, which names it.
    let config = copy.path().join("testdata/models").join(MODEL).join("config.json");
    let changed = fs::read_to_string(&config).expect("the configuration").replace("\"rope_theta\"", "\"rope_theta_\"");
    fs::write(&config, changed + "\n").expect("it is written");
    let output = text(&judged(copy.path(), &[]));
    let line = output.lines().find(|line| line.starts_with("diagnosis")).expect("a line of diagnosis");
    assert!(line.contains("owner config (the gate is closed over the configuration)"), "{line}");
}
