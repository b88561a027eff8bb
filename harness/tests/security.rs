//! F-S1 to F-S4: nothing that comes from a file, a variable or a dependency does more than it should. The command is run as people run it,
//! and all that it prints and writes is looked at.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::payload::{PAYLOADS, first_active};
use crate::process::{MODEL, copy_of_model, on_workspace, text};
use ground_truth_harness::escape;
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_ground-truth");

/// Runs the command on a workspace. Nothing it prints may act on a terminal, and what claims to be JSON is.
fn run(root: &Path, arguments: &[&str]) -> Output {
    let output = on_workspace(BINARY, root).args(arguments).current_dir(root).output().expect("the command starts");
    let said = text(&output);
    assert!(output.status.code().is_some_and(|code| code <= 3), "{arguments:?}: {}: {said}", output.status);
    assert_eq!(first_active(&said), None, "{arguments:?}");
    assert!(std::str::from_utf8(&output.stdout).is_ok() && std::str::from_utf8(&output.stderr).is_ok(), "{arguments:?}");
    if arguments.contains(&"--json") || arguments.contains(&"json") {
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line}"));
        }
    }
    output
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path of plain characters")
}

/// A safetensors file's header and data.
fn split(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).expect("a header"), bytes[8 + length..].to_vec())
}

fn joined(header: &Value, data: &[u8]) -> Vec<u8> {
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [(header.len() as u64).to_le_bytes().to_vec(), header, data.to_vec()].concat()
}

/// Puts every payload into a model folder: names of tensors, metadata, configuration, tokens.
fn poison(folder: &Path) {
    let weights = folder.join("model.safetensors");
    let (mut header, mut data) = split(&fs::read(&weights).expect("weights"));
    let mut metadata = BTreeMap::new();
    for (i, (_, payload)) in PAYLOADS.iter().enumerate() {
        let begin = data.len();
        data.extend(1f32.to_le_bytes());
        header[format!("{payload}{i}")] = json!({"dtype": "F32", "shape": [1], "data_offsets": [begin, begin + 4]});
        metadata.insert(format!("{payload}{i}"), *payload);
    }
    header["__metadata__"] = json!(metadata);
    fs::write(&weights, joined(&header, &data)).expect("the weights are written");
    let texts: Vec<&str> = PAYLOADS.iter().map(|(_, payload)| *payload).collect();
    edit(&folder.join("config.json"), |config| {
        config["architectures"] = json!(texts);
        config["_name_or_path"] = json!(texts.concat());
        PAYLOADS.iter().for_each(|(_, payload)| config[*payload] = json!(payload));
    });
}

/// A change of a JSON file.
type Edit = fn(&mut Value);

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    change(&mut value);
    fs::write(path, value.to_string()).expect("the file is written");
}

fn model(root: &Path) -> PathBuf {
    root.join("testdata/models").join(MODEL)
}

#[test]
fn f_s1_the_list_holds_forty_payloads_and_the_test_sees_those_that_act() {
    let unique: std::collections::BTreeSet<&str> = PAYLOADS.iter().map(|(_, payload)| *payload).collect();
    assert_eq!(unique.len(), 40);
    // Twenty act on a terminal as they are; the others act in Markdown, HTML, XML, CSV or a shell.
    assert_eq!(PAYLOADS.iter().filter(|(_, payload)| first_active(payload).is_some()).count(), 19);
    assert!(first_active("a\tb\nc é 漢 😀").is_none());
}

#[test]
fn f_s1_payloads_in_files_are_text_on_the_terminal() {
    let (clean, copy) = (copy_of_model(), copy_of_model());
    let (root, folder) = (copy.path(), model(copy.path()));
    poison(&folder);
    let original = model(clean.path());
    let (folder, original) = (shown(&folder), shown(&original));
    for json in [&[][..], &["--json"]] {
        let with = |words: &[&str]| run(root, &[words, json].concat());
        with(&["inspect", folder]);
        with(&["probe", folder]);
        with(&["diff", original, folder]);
        with(&["judge", folder]);
        with(&["judge", folder, "--only", "F-G1"]);
        with(&["list"]);
        let tensors = String::from_utf8_lossy(&with(&["tensors", folder]).stdout).into_owned();
        for (what, payload) in PAYLOADS {
            let visible = if json.is_empty() { escape::line(payload) } else { escape::json(&json!(payload).to_string()) };
            assert!(tensors.contains(visible.trim_matches('"')), "{what}: `{visible}` is not in {tensors}");
        }
    }
    let gguf = root.join("out.gguf");
    run(root, &["convert", folder, shown(&gguf)]);
    run(root, &["matrix", "--list"]);
    let red = run(root, &["matrix", "llama-tiny::safetensors"]);
    assert_eq!(red.status.code(), Some(1), "an altered model is red");
    for format in ["md", "json"] {
        let tickets = run(root, &["ticket", "--format", format]);
        assert!(tickets.status.success() && tickets.stdout.len() > 500, "{}", text(&tickets));
    }
}

#[test]
fn f_s1_payloads_in_names_and_arguments_are_text_on_the_terminal() {
    let copy = copy_of_model();
    let root = copy.path();
    let more = root.join("more");
    for (i, (_, payload)) in PAYLOADS.iter().enumerate() {
        let name = format!("{i}{}", payload.replace(['/', '\0'], "_"));
        fs::create_dir_all(more.join(&name)).expect("a folder of any name");
        fs::write(more.join(&name).join("config.json"), json!({"model_type": payload}).to_string()).expect("a file");
    }
    for words in [&["list"][..], &["list", "--json"], &["matrix", "--list"], &["matrix", "no-such-row"]] {
        let output = on_workspace(BINARY, root).args(words).env("GROUND_TRUTH_MODELS", &more).output().expect("the command starts");
        assert_eq!(first_active(&text(&output)), None, "{words:?}");
    }
    let golden = root.join("a golden.json");
    let texts: Vec<&str> = PAYLOADS.iter().map(|(_, payload)| *payload).collect();
    fs::write(&golden, json!({"text": texts, "name": texts.concat()}).to_string()).expect("a file");
    run(root, &["golden", "show", "--all", shown(&golden)]);
    for (_, payload) in PAYLOADS.iter().filter(|(_, payload)| !payload.contains('\0') && !payload.starts_with('-')) {
        for words in [&["inspect", payload][..], &["explain", payload], &["ticket", "--run", payload], &["judge", payload]] {
            assert!(!run(root, words).status.success(), "{words:?}");
        }
    }
}

/// Every file under a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap_or_default());
            }
        }
    }
    found
}

/// A workspace in a folder that holds something else too, which nobody may read or change.
fn guarded() -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().expect("a temporary folder");
    let copy = copy_of_model();
    let root = outer.path().join("root");
    fs::rename(copy.path(), &root).or_else(|_| copy_tree(copy.path(), &root)).expect("the workspace moves");
    let weights = fs::read(model(&root).join("model.safetensors")).expect("weights");
    fs::write(outer.path().join("outside.safetensors"), weights).expect("a file");
    fs::write(outer.path().join("outside.json"), "OUTSIDE").expect("a file");
    (outer, root)
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    for (path, bytes) in files(from) {
        let target = to.join(path.strip_prefix(from).expect("it lies inside"));
        fs::create_dir_all(target.parent().expect("a file has a folder"))?;
        fs::write(target, bytes)?;
    }
    Ok(())
}

/// Nothing beside the root has changed.
fn assert_untouched(outer: &Path, root: &Path, before: &BTreeMap<PathBuf, Vec<u8>>, what: &str) {
    let mut after = files(outer);
    after.retain(|path, _| !path.starts_with(root));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{what}");
    assert_eq!(&after, before, "{what}");
}

#[test]
fn f_s2_shards_stay_in_their_folder() {
    let (outer, root) = guarded();
    let folder = model(&root);
    let (header, _) = split(&fs::read(folder.join("model.safetensors")).expect("weights"));
    let names: Vec<String> = header.as_object().expect("tensors").keys().filter(|name| *name != "__metadata__").cloned().collect();
    fs::remove_file(folder.join("model.safetensors")).expect("the weights go");
    let far = outer.path().join("outside.safetensors");
    for shard in
        ["../../../../outside.safetensors", shown(&far), "./../../../../outside.safetensors", "x/../../../../../outside.safetensors"]
    {
        let map: BTreeMap<&str, &str> = names.iter().map(|name| (name.as_str(), shard)).collect();
        fs::write(folder.join("model.safetensors.index.json"), json!({"metadata": {}, "weight_map": map}).to_string()).expect("an index");
        for command in ["inspect", "tensors", "probe", "judge"] {
            let output = run(&root, &[command, shown(&folder)]);
            assert_ne!(output.status.code(), Some(0), "{command} read {shard}: {}", text(&output));
        }
    }
}

#[test]
fn f_s2_names_in_goldens_stay_in_their_folder() {
    let (outer, root) = guarded();
    let mut before = files(outer.path());
    before.retain(|path, _| !path.starts_with(&root));
    let index = root.join("golden").join(MODEL).join("index.json");
    let whole = fs::read(&index).expect("an index");
    let edits: [(&str, Edit); 6] = [
        ("the model", |index| index["model"] = json!("../../outside")),
        ("a prompt", |index| index["prompts"][0]["name"] = json!("../../../outside")),
        ("a model's file", |index| index["model_files"][0]["name"] = json!("../../../../outside.json")),
        ("a golden's file", |index| index["golden_files"][0]["name"] = json!("../../../outside.json")),
        ("the tokenizer", |index| index["tokenizer"] = json!("../../../outside.json")),
        ("a text", |index| index["perplexity"][0] = json!("../../../outside.json")),
    ];
    for (what, change) in edits {
        fs::write(&index, &whole).expect("the index is whole again");
        edit(&index, change);
        let bytes = fs::read(&index).expect("an index");
        let digest = escape::hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        fs::write(index.with_file_name("index.sha256"), format!("{digest}  index.json\n")).expect("its digest");
        let output = run(&root, &["matrix", "safetensors"]);
        assert_eq!(output.status.code(), Some(1), "{what}: {}", text(&output));
        assert!(!text(&output).contains("OUTSIDE"), "{what}");
        assert_untouched(outer.path(), &root, &before, what);
    }
}

#[test]
fn f_s2_output_goes_where_it_was_told() {
    let (outer, root) = guarded();
    let mut before = files(outer.path());
    before.retain(|path, _| !path.starts_with(&root));
    // A model whose folder has a name that would climb, were it taken as a path.
    edit(&model(&root).join("config.json"), |config| config["rope_theta"] = json!(99.0));
    let red = run(&root, &["matrix", "safetensors"]);
    assert_eq!(red.status.code(), Some(1));
    let run_folder = fs::read_dir(root.join("target/ground-truth")).expect("runs").flatten().map(|entry| entry.path());
    let run_folder = run_folder.into_iter().find(|path| path.join("run.json").is_file()).expect("a run");
    let record = fs::read_dir(&run_folder).expect("records").flatten().map(|entry| entry.path());
    let record =
        record.into_iter().find(|path| shown(path).ends_with("F-G1.json") || shown(path).contains("F-G1-")).expect("the gate's record");
    edit(&record, |record| record["claim"]["id"] = json!("../../../../outside"));
    let tickets = root.join("tickets");
    let output = run(&root, &["ticket", "--split", shown(&tickets)]);
    assert!(output.status.success() && fs::read_dir(&tickets).expect("tickets").count() > 0, "{}", text(&output));
    for id in ["../outside", "/", "..", ".", "", "a/../../.."] {
        assert_eq!(run(&root, &["ticket", "--run", id]).status.code(), Some(3), "{id}");
    }
    let gguf = root.join("a.gguf");
    run(&root, &["convert", shown(&model(&root)), shown(&gguf)]);
    assert!(gguf.is_file());
    assert_untouched(outer.path(), &root, &before, "tickets and conversion");
}

#[test]
fn f_s3_no_secret_of_the_environment_is_in_any_output() {
    const CANARY: &str = "hf_CANARYnobodyMaySeeThis0123456789";
    let copy = copy_of_model();
    let root = copy.path();
    edit(&model(root).join("config.json"), |config| config["rope_theta"] = json!(99.0));
    let folder = model(root);
    let folder = shown(&folder);
    let mut said = Vec::new();
    for words in [
        &["judge", folder][..],
        &["judge", folder, "--json"],
        &["matrix", "safetensors", "--nocapture"],
        &["ticket"],
        &["ticket", "--format", "json"],
        &["doctor"],
        &["list", "--json"],
        &["list", "--not-tested"],
        &["explain", "F-S3"],
        &["inspect", "no-such-folder"],
        &["judge", folder, "--runtime", "echo"],
    ] {
        let runtimes = root.join("mine.toml");
        fs::write(&runtimes, "[echo]\ncommand = [\"sh\", \"-c\", \"echo not the protocol; exit 3\"]\n").expect("a file");
        let output = on_workspace(BINARY, root)
            .args(words)
            .current_dir(root)
            .envs([("HF_TOKEN", CANARY), ("GITHUB_TOKEN", CANARY), ("AWS_SECRET_ACCESS_KEY", CANARY), ("GROUND_TRUTH_TOKEN", CANARY)])
            .envs([("RUST_BACKTRACE", "full"), ("RUST_LOG", "trace"), ("GROUND_TRUTH_RUNTIMES", shown(&runtimes))])
            .output()
            .expect("the command starts");
        assert!(!text(&output).is_empty(), "{words:?}");
        said.push((format!("{words:?}"), [output.stdout, output.stderr].concat()));
    }
    let written: Vec<_> = files(root).into_iter().map(|(path, bytes)| (shown(&path).to_owned(), bytes)).collect();
    assert!(written.iter().any(|(path, bytes)| path.ends_with("run.json") && holds(bytes, b"GROUND_TRUTH_TOKEN")), "the name is recorded");
    for (what, bytes) in said.iter().chain(&written) {
        assert!(!holds(bytes, CANARY.as_bytes()), "the secret is in {what}");
    }
    assert!(holds(b"a canary", b"canary"));
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What a rule of deny.toml refuses about the packages that are built here, by name.
fn refused(metadata: &Value, rules: &toml::Table) -> Vec<String> {
    let list = |table: &str, key: &str| -> Vec<String> {
        let values = rules.get(table).and_then(|table| table.get(key)).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let (allowed, registries) = (list("licenses", "allow"), list("sources", "allow-registry"));
    let mut refused = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("?");
        let licence = package["license"].as_str().unwrap_or("");
        // `A OR B` needs one of them, `A AND B` both; the old way to write OR is a slash.
        let text = licence.replace('/', " OR ").replace(['(', ')'], " ");
        let any = |part: &str| part.split(" OR ").any(|one| allowed.iter().any(|allowed| allowed == one.trim()));
        if licence.is_empty() || !text.split(" AND ").all(any) {
            refused.push(format!("{name}: licence `{licence}`"));
        }
        let source = package["source"].as_str();
        let known = |source: &str| registries.iter().any(|registry| source.strip_prefix("registry+") == Some(registry));
        if source.is_some_and(|source| !known(source)) {
            refused.push(format!("{name}: source {}", source.unwrap_or_default()));
        }
    }
    refused
}

#[test]
fn f_s4_every_dependency_has_an_allowed_licence_and_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("harness lies in the workspace");
    let rules = fs::read_to_string(root.join("deny.toml")).expect("deny.toml");
    let rules: toml::Table = toml::from_str(&rules).expect("TOML");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(metadata["packages"].as_array().is_some_and(|packages| packages.len() > 50));
    assert_eq!(refused(&metadata, &rules), Vec::<String>::new());
    for (licence, source) in [
        ("", "registry+https://github.com/rust-lang/crates.io-index"),
        ("GPL-3.0", "registry+https://github.com/rust-lang/crates.io-index"),
        ("MIT AND GPL-3.0", "registry+https://github.com/rust-lang/crates.io-index"),
        ("MIT", "git+https://github.com/a/b"),
    ] {
        let bad = json!({"packages": [{"name": "bad", "license": licence, "source": source}]});
        assert_eq!(refused(&bad, &rules).len(), 1, "{licence} {source}");
    }
}
