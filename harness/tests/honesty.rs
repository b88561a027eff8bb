//! The suite as a process, on workspaces that somebody damaged: one flipped bit, one missing file, one emptied folder. Each must end
//! with a red exit code and name the file. A suite that stays green here proves nothing anywhere.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::process::{self, MODEL, text};

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

    fn model(&self, file: &str) -> String {
        format!("testdata/models/{MODEL}/{file}")
    }

    fn golden(&self, file: &str) -> String {
        format!("golden/{MODEL}/{file}")
    }

    /// Flips one bit in the middle of a file.
    fn flip(&self, relative: &str) {
        let mut bytes = fs::read(self.path(relative)).expect("the file is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(self.path(relative), bytes).expect("the file is written");
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = process::on_workspace(env!("CARGO_BIN_EXE_ground-truth"), self.folder.path());
        command.args(arguments).output().expect("the binary starts")
    }

    fn matrix(&self, arguments: &[&str]) -> Output {
        self.command(&[&["matrix"], arguments].concat())
    }

    fn judge(&self, arguments: &[&str]) -> Output {
        let model = self.path(&self.model(""));
        let mut all = vec!["judge", model.to_str().expect("a temporary folder has a plain name")];
        all.extend(arguments);
        self.command(&all)
    }
}

/// The run is red and says so about `named`.
fn assert_red(output: &Output, named: &str) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{named}:\n{text}");
    assert!(text.contains(named), "`{named}` is not named:\n{text}");
    assert!(text.contains("RED: "), "{text}");
    assert!(text.lines().rev().take(20).any(|line| line.contains("| owner: ") && line.contains("| next: ")), "{text}");
}

#[test]
fn an_undamaged_copy_is_green() {
    let copy = Copy::new();
    let output = copy.matrix(&["safetensors::f32::native::F-"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("verdict       CORROBORATED: "));
}

/// The one artifact that a run with this filter made.
fn made(copy: &Copy, name: &str) -> PathBuf {
    let store = copy.path("target/ground-truth/artifacts");
    let entries = fs::read_dir(store).expect("the store is there").map(|entry| entry.expect("the entry is readable").path().join(name));
    let mut found: Vec<PathBuf> = entries.filter(|path| path.exists()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_damaged_artifact_is_made_again_and_never_used() {
    let copy = Copy::new();
    let filter = "gguf::q8_0::native::F-G";
    assert_eq!(copy.matrix(&[filter]).status.code(), Some(0));
    let artifact = made(&copy, "llama-tiny.gguf");
    let sound = fs::read(&artifact).expect("the artifact is there");
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for damaged in [&bytes[..], &sound[..middle]] {
        fs::write(&artifact, damaged).expect("the artifact is written");
        let output = copy.matrix(&[filter]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        assert_eq!(fs::read(&artifact).expect("the artifact is there again"), sound);
    }
}

#[test]
fn a_model_that_changed_is_never_judged_by_its_old_artifacts() {
    let copy = Copy::new();
    let filter = "gguf::q8_0::native::F-G";
    assert_eq!(copy.matrix(&[filter]).status.code(), Some(0));
    copy.flip(&copy.model("model.safetensors"));
    assert_red(&copy.matrix(&[filter]), "model.safetensors");
}

/// Converts the copied model.
fn convert(copy: &Copy, name: &str, format: &str, quant: &str) -> PathBuf {
    let (model, file) = (copy.path(&copy.model("")), copy.path(name));
    let words = [model.to_str(), file.to_str()].map(|word| word.expect("a temporary folder has a plain name"));
    let output = copy.command(&["convert", words[0], words[1], "--format", format, "--quant", quant]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    file
}

#[test]
fn judge_says_of_a_file_whether_it_may_be_published() {
    let copy = Copy::new();
    let file = convert(&copy, "x y.gguf", "gguf", "q4_k_m");
    let shown = file.to_str().expect("a plain name");
    let output = copy.judge(&[shown]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("SOUND: gguf q4_k_m, said to be llama-tiny"), "{}", text(&output));
    // No golden of the model: the folder itself is what the file is held against.
    fs::remove_dir_all(copy.path("golden")).expect("the goldens go");
    let output = copy.judge(&[shown]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("SOUND: ") && text(&output).contains("uv run golden/oracle.py"), "{}", text(&output));
    let sound = fs::read(&file).expect("the file is there");
    let middle = sound.len() / 2;
    fs::write(&file, &sound[..middle]).expect("the file is truncated");
    assert_red(&copy.judge(&[shown]), "needs");
    let mut bytes = sound;
    for byte in &mut bytes[middle..middle + 4096] {
        *byte = byte.rotate_left(4);
    }
    fs::write(&file, bytes).expect("the nibbles are swapped");
    assert_red(&copy.judge(&[shown]), "SPC");
}

#[test]
fn one_flipped_bit_is_red_and_the_file_is_named() {
    let copy = Copy::new();
    let files = [
        copy.model("model.safetensors"),
        copy.model("tokenizer.json"),
        copy.model("config.json"),
        copy.golden("arithmetic.json"),
        copy.golden("code.safetensors"),
        copy.golden("tokenizer.json"),
        copy.golden("perplexity-held-out.json"),
        copy.golden("index.json"),
        copy.golden("index.sha256"),
        "testdata/texts/held-out.txt".to_owned(),
    ];
    for file in files {
        copy.flip(&file);
        assert_red(&copy.matrix(&[]), &file);
        copy.flip(&file);
    }
    assert_eq!(copy.matrix(&["::F-G1"]).status.code(), Some(0), "the same bits flipped back");
}

#[test]
fn a_bit_flipped_after_a_green_run_is_red() {
    let copy = Copy::new();
    assert_eq!(copy.matrix(&["::F-G1"]).status.code(), Some(0));
    copy.flip(&copy.model("model.safetensors"));
    assert_red(&copy.matrix(&["::F-G1"]), "model.safetensors");
}

#[test]
fn every_row_behind_a_red_gate_is_red() {
    let copy = Copy::new();
    copy.flip(&copy.model("model.safetensors"));
    let output = copy.matrix(&[]);
    let text = text(&output);
    assert!(text.contains(" 0 corroborated, 0 falsified, "), "{text}");
    assert!(text.contains("behind this gate"), "{text}");
}

#[test]
fn a_deleted_file_is_red_and_named() {
    let copy = Copy::new();
    for file in [
        copy.golden("arithmetic.json"),
        copy.golden("index.json"),
        copy.golden("index.sha256"),
        copy.model("tokenizer.json"),
        copy.model("config.json"),
    ] {
        let bytes = fs::read(copy.path(&file)).expect("the file is there");
        fs::remove_file(copy.path(&file)).expect("the file goes");
        assert_red(&copy.matrix(&[]), &file.replace("/config.json", ""));
        fs::write(copy.path(&file), bytes).expect("the file comes back");
    }
}

#[test]
fn a_deleted_golden_is_red_with_the_command_that_writes_it() {
    let copy = Copy::new();
    fs::remove_dir_all(copy.path(&copy.golden(""))).expect("the golden goes");
    let output = copy.matrix(&[]);
    assert_red(&output, &copy.golden("index.json"));
    assert!(text(&output).contains(&format!("uv run golden/oracle.py testdata/models/{MODEL} --carried")));
}

/// What gguf-py and llama.cpp said of a column is a golden like any other.
#[test]
fn a_changed_or_lost_golden_of_a_column_is_red_there() {
    let copy = Copy::new();
    let column = &["gguf::q4_0::native::F-G"];
    assert_eq!(copy.matrix(column).status.code(), Some(0));
    let files = ["dequantized/q4_0/arithmetic.json", "dequantized/q4_0/index.json", "dequantized/q4_0/index.sha256", "llama.cpp/q4_0.json"];
    for file in files.map(|file| copy.golden(file)) {
        copy.flip(&file);
        assert_red(&copy.matrix(column), &file);
        copy.flip(&file);
    }
    for file in ["dequantized/q4_0/median-door.json", "dequantized/q4_0/index.json"].map(|file| copy.golden(file)) {
        let bytes = fs::read(copy.path(&file)).expect("the file is there");
        fs::remove_file(copy.path(&file)).expect("the file goes");
        assert_red(&copy.matrix(column), &file);
        fs::write(copy.path(&file), bytes).expect("the file comes back");
    }
    fs::remove_dir_all(copy.path(&copy.golden("dequantized/q4_0"))).expect("the golden goes");
    let output = copy.matrix(column);
    assert_red(&output, &copy.golden("dequantized/q4_0/index.json is absent"));
    assert!(text(&output).contains("golden/dequantized.py"), "{}", text(&output));
}

#[test]
fn a_deleted_carried_model_is_red() {
    let copy = Copy::new();
    fs::remove_dir_all(copy.path(&copy.model(""))).expect("the model goes");
    assert_red(&copy.matrix(&[]), &format!("testdata/models/{MODEL} is absent"));
}

#[test]
fn an_emptied_golden_folder_is_red() {
    let copy = Copy::new();
    fs::remove_dir_all(copy.path("golden")).expect("the goldens go");
    fs::create_dir(copy.path("golden")).expect("an empty folder");
    assert_red(&copy.matrix(&[]), "golden/llama-tiny/index.json");
    fs::remove_dir_all(copy.path("testdata/models")).expect("the models go");
    assert_red(&copy.matrix(&[]), "matrix::empty");
}

#[test]
fn no_filter_hides_a_model_that_the_lists_lost() {
    let copy = Copy::new();
    fs::write(copy.path(&copy.golden("index.json")), "{").expect("the index is torn");
    for arguments in [&["::CANARY"][..], &["no such row"], &["--skip", "matrix"], &["--ignored"]] {
        assert_red(&copy.matrix(arguments), &copy.golden("index.json"));
    }
}

#[test]
fn a_variable_that_names_nothing_is_red() {
    let copy = Copy::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ground-truth"));
    command.args(["matrix", "matrix::"]).env("GROUND_TRUTH_ROOT", copy.folder.path()).env_remove("NEXTEST");
    let output = command.env("GROUND_TRUTH_MODELS", "no/such/folder").output().expect("the binary starts");
    assert_red(&output, "no/such/folder");
}

/// Puts a NaN into the first weight of the file, and tells the index, so that no hash stands in the way.
fn poison(copy: &Copy, tell_the_index: bool) {
    let file = copy.path(&copy.model("model.safetensors"));
    let before = fs::read(&file).expect("the weights are there");
    let mut bytes = before.clone();
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    bytes[8 + header..12 + header].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(file, &bytes).expect("the weights are written");
    if tell_the_index {
        use sha2::{Digest, Sha256};
        let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let index = copy.path(&copy.golden("index.json"));
        let text = fs::read_to_string(&index).expect("the index is there").replace(&hex(&before), &hex(&bytes));
        fs::write(copy.path(&copy.golden("index.sha256")), format!("{}  index.json\n", hex(text.as_bytes())))
            .expect("the digest is written");
        fs::write(index, text).expect("the index is written");
    }
}

#[test]
fn nan_weights_are_red_even_where_the_hashes_agree() {
    let copy = Copy::new();
    poison(&copy, true);
    let output = copy.matrix(&["::F-G1"]);
    assert_red(&output, "is NaN, a finite");
    let output = copy.judge(&["--only", "::F-G1"]);
    assert_red(&output, "is NaN, a finite");
}

#[test]
fn judge_without_golden_says_what_was_not_tested() {
    let copy = Copy::new();
    fs::remove_dir_all(copy.path("golden")).expect("the goldens go");
    let output = copy.judge(&[]);
    let text_ = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text_}");
    assert!(text_.contains("not tested") && text_.contains("F-G4-logits"), "{text_}");
    assert!(text_.contains("uv run golden/oracle.py"), "{text_}");
    assert!(text_.contains("INV-rerun"), "{text_}");
    poison(&copy, false);
    assert_red(&copy.judge(&[]), "is NaN, a finite");
}

#[test]
fn judge_of_no_model_is_no_pass() {
    let copy = Copy::new();
    for wrong in ["no/such/folder", "golden"] {
        let output = copy.command(&["judge", copy.path(wrong).to_str().expect("a plain name")]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).starts_with("error: ") && text(&output).contains("next:  "), "{}", text(&output));
        assert!(output.stdout.is_empty());
    }
    let output = copy.judge(&["--golden", copy.path("testdata").to_str().expect("a plain name")]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
}

#[test]
fn listing_prints_names_and_nothing_else() {
    let copy = Copy::new();
    let output = copy.matrix(&["--list", "--format", "terse"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.lines().count() > 200 && stdout.lines().all(|line| line.starts_with("llama-tiny::") && line.ends_with(": test")),
        "{stdout}"
    );
    assert!(output.stderr.is_empty());
    let output = copy.matrix(&["--list", "--format", "terse", "--ignored"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn no_two_rows_share_an_observation_and_a_bound() {
    let copy = Copy::new();
    let output = copy.judge(&["--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let rows = answer["rows"].as_array().expect("rows");
    assert!(rows.len() > 200);
    let mut seen = std::collections::BTreeMap::new();
    for row in rows.iter().filter(|row| row["asked"].as_array().is_some_and(|asked| !asked.is_empty())) {
        // Rows without a bound compare exactly, each with something else: the check is what they are held to.
        let bound = if row["bounds"].as_array().is_some_and(Vec::is_empty) { &row["axes"]["check"] } else { &row["bounds"] };
        let key = format!("{} {bound}", row["asked"]);
        if let Some(first) = seen.insert(key, row["name"].clone()) {
            panic!("{first} and {} ask the same and are held to the same", row["name"]);
        }
    }
}

#[test]
fn a_raised_gate_halts_what_comes_after_and_keeps_what_ran() {
    let copy = Copy::new();
    let rows = ["--test-threads=1", "::native::F-G1"];
    let halting = |names: &str| {
        let mut command = process::on_workspace(env!("CARGO_BIN_EXE_ground-truth"), copy.folder.path());
        command.arg("matrix").args(rows).env("GROUND_TRUTH_HALT", names).output().expect("the binary starts")
    };
    let sound = halting("F-G1,CANARY");
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound));
    assert!(text(&sound).contains("llama-tiny in native: conversion none       validation green"), "{}", text(&sound));
    copy.flip(&copy.model("model.safetensors"));
    let gate = "llama-tiny::safetensors::f32::native::F-G1";
    let halted = halting("F-G1");
    assert_red(&halted, gate);
    assert!(text(&halted).contains(&format!("rows not judged: halted by {gate}")), "{}", text(&halted));
    assert!(text(&halted).contains(&format!("a run that goes on\nobserved  gate: halted by {gate}")), "{}", text(&halted));
    assert!(text(&halted).contains("validation RED"), "{}", text(&halted));
    // Without the variable rows stand behind the gate of their own cell, and say so.
    let failed = copy.matrix(&["::f32::native::F-T"]);
    assert_red(&failed, "gate F-G1 failed");
    assert!(!text(&failed).contains("halted"), "{}", text(&failed));
    assert_red(&halting("F-G1,canary"), "variable::GROUND_TRUTH_HALT");
}
