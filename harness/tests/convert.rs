//! `ground-truth convert`, `diff`, `inspect`, `tensors`, `run` and `eval` as processes: what they print, how they end, what is left when they
//! are killed, when the disk is full, and how much memory they take.
//!
//! Trials that take long are ignored by default: `cargo test --test convert -- --ignored` (`make crash`). One that needs a disk of its own
//! is ignored where none can be mounted, and says so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use tempfile::TempDir;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let plain: [(&str, fn()); 9] = [
        ("convert::every_format_opens_and_runs", every_format_opens_and_runs),
        ("convert::a_pipe_gets_no_bar_and_nothing_obeys_a_terminal", a_pipe_gets_no_bar),
        ("convert::what_cannot_be_is_refused_with_what_to_do", refusals_say_what_to_do),
        ("convert::the_same_source_gives_the_same_bytes", the_same_bytes),
        ("convert::types_that_stay_travel_through_apr_and_back", types_travel),
        ("diff::tells_equal_from_different", diff_tells),
        ("crash::killed_five_times", || kill(5, 40 << 20)),
        ("crash::the_limit_of_file_sizes", size_limit),
        ("memory::does_not_grow_with_the_model", || memory(180 << 20)),
    ];
    let slow: [(&str, fn()); 2] =
        [("crash::killed_twenty_times_over_200_mb", || kill(20, 200 << 20)), ("memory::of_two_gigabytes", || memory(2 << 30))];
    let mut trials: Vec<Trial> = plain.into_iter().map(|(name, run)| trial(name, run)).collect();
    trials.extend(slow.into_iter().map(|(name, run)| trial(name, run).with_ignored_flag(true)));
    let full_disk = trial("crash::a_disk_that_is_full", full_disk);
    trials.push(match Tmpfs::mount(1 << 20) {
        Some(_) => full_disk,
        None => full_disk.with_kind("needs the right to mount a tmpfs").with_ignored_flag(true),
    });
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || std::panic::catch_unwind(run).map_err(|_| Failed::from("see above")))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("harness lies in the workspace").to_owned()
}

fn carried(name: &str) -> PathBuf {
    root().join("testdata/models").join(name)
}

fn command(arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ground-truth"));
    command.args(arguments).env("GROUND_TRUTH_ROOT", root()).stdin(Stdio::null());
    command
}

/// Runs the command with words and paths.
fn run(words: &[&dyn AsRef<Path>]) -> Output {
    let words: Vec<&Path> = words.iter().map(|word| (*word).as_ref()).collect();
    command(&words).output().expect("the binary starts")
}

#[track_caller]
fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", String::from_utf8_lossy(&output.stderr)))
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

#[track_caller]
fn converted(source: &Path, destination: &Path, format: &str, quant: &str) -> Value {
    let output = run(&[&"convert", &source, &destination, &"--format", &format, &"--quant", &quant, &"--json"]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    json_of(&output)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[expect(clippy::cognitive_complexity, reason = "every assertion counts as a branch")]
fn every_format_opens_and_runs() {
    let folder = TempDir::new().expect("a folder");
    let text = root().join("testdata/texts/held-out.txt");
    let text = if text.is_file() { text } else { first_text() };
    for (model, format, quant, exact) in [
        ("llama-tiny", "gguf", "f32", true),
        ("llama-tiny", "gguf", "q4_k_m", false),
        ("llama-tiny", "apr", "q4", false),
        ("qwen2-tiny", "apr", "q8", false),
        ("qwen2-tiny", "safetensors", "bf16", true),
        ("gpt2-tiny", "gguf", "q8_0", false),
        ("gpt2-tiny", "apr", "f32", true),
        ("gpt2-tiny", "safetensors", "f32", true),
    ] {
        let source = carried(model);
        let destination = folder.path().join(format!("{model}-{format}-{quant}"));
        let answer = converted(&source, &destination, format, quant);
        assert_eq!(answer["schema"], "ground-truth/convert/1");
        assert_eq!((&answer["format"], &answer["quantization"]), (&json!(format), &json!(quant)));
        let stated = answer["provenance"].as_object().expect("provenance");
        let sources = stated.keys().filter(|key| key.starts_with("ground_truth.source.sha256.")).count();
        assert!(sources >= 3 && stated["ground_truth.source.format"] == "safetensors", "{stated:?}");

        let inspected = json_of(&run(&[&"inspect", &destination, &"--json"]));
        assert_eq!((&inspected["container"]["format"], &inspected["tokenizer"]), (&json!(format), &json!(true)));
        let metadata = inspected["container"]["metadata"].as_array().expect("metadata");
        let told = metadata.iter().filter(|entry| entry["key"].as_str().is_some_and(|key| key.starts_with("ground_truth."))).count();
        assert_eq!(told, stated.len(), "{model} {format}: {metadata:?}");
        assert_eq!(code(&run(&[&"inspect", &destination])), 0);

        let tensors = json_of(&run(&[&"tensors", &destination, &"--json"]));
        let tensors = tensors["tensors"].as_array().expect("tensors");
        assert!(tensors.iter().all(|tensor| tensor["offset"].is_u64() && tensor["n_nonfinite"] == 0), "{model} {format}");
        assert_eq!(code(&run(&[&"tensors", &destination])), 0);

        let diff = run(&[&"diff", &source, &destination, &"--json"]);
        assert_eq!(code(&diff), i32::from(!exact), "{model} {format} {quant}: {}", String::from_utf8_lossy(&diff.stdout));
        let diff = json_of(&diff);
        assert_eq!((&diff["equal"], &diff["config"]), (&json!(exact), &json!([])), "{model} {format} {quant}");
        for pair in diff["tensors"].as_array().expect("tensors") {
            let expected: &[&str] = if exact { &["equal"] } else { &["equal", "values"] };
            assert!(expected.iter().any(|verdict| pair["verdict"] == *verdict), "{model} {format} {quant}: {pair}");
            assert!(pair["statistics"]["relative_rms"].as_f64().is_some_and(|rms| rms < 0.2), "{pair}");
        }

        let said = json_of(&run(&[&"run", &destination, &"--prompt", &"Once upon a time", &"--max-new-tokens", &"4", &"--json"]));
        assert_eq!(said["ids"].as_array().map(Vec::len), Some(4), "{model} {format} {quant}");
        if exact {
            let expected = json_of(&run(&[&"run", &source, &"--prompt", &"Once upon a time", &"--max-new-tokens", &"4", &"--json"]));
            assert_eq!(said["ids"], expected["ids"], "{model} {format} {quant}");
        }
        let arguments: [&dyn AsRef<Path>; 8] = [&"eval", &destination, &text, &"--window", &"32", &"--max-tokens", &"64", &"--json"];
        let scored = json_of(&run(&arguments));
        assert!(scored["perplexity"].as_f64().is_some_and(|perplexity| perplexity > 1.0 && perplexity < 1000.0), "{scored}");
    }
}

fn first_text() -> PathBuf {
    let texts = fs::read_dir(root().join("testdata/texts")).expect("texts").map(|entry| entry.expect("a text").path());
    texts.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).min().expect("a text")
}

fn a_pipe_gets_no_bar() {
    let folder = TempDir::new().expect("a folder");
    let destination = folder.path().join("m\u{1b}[31m.gguf");
    let output = run(&[&"convert", &carried("llama-tiny"), &destination, &"--quant", &"f16"]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "no bar, no control characters");
    assert!(output.stdout.iter().all(|byte| *byte == b'\n' || *byte >= b' '), "{}", String::from_utf8_lossy(&output.stdout));
}

#[track_caller]
fn refused(output: &Output, exit: i32, message: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(code(output), exit, "{said}");
    assert!(said.contains(message) && said.contains("\nnext:  ") && output.stdout.is_empty(), "`{message}` is due: {said}");
}

fn refusals_say_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let out = folder.path();
    let llama = carried("llama-tiny");
    refused(&run(&[&"convert", &llama, &out.join("m")]), 2, "no format is named");
    refused(&run(&[&"convert", &llama, &out.join("m"), &"--format", &"ggml"]), 2, "there is no format `ggml`");
    refused(&run(&[&"convert", &llama, &out.join("m.gguf"), &"--quant", &"q9"]), 2, "has no quantization `q9`");
    refused(&run(&[&"convert", &llama, &out.join("m.apr"), &"--quant", &"q8_0"]), 2, "has no quantization `q8_0`");
    refused(&run(&[&"convert", &llama, &out.join("m.gguf"), &"--shard-size", &"5 GB"]), 2, "is no size of a shard");
    refused(&run(&[&"convert", &llama, &out.join("m.gguf"), &"--shard-size", &"5GB"]), 1, "only safetensors is written in shards");
    refused(&run(&[&"convert", &llama, &out.join("no/m.gguf")]), 1, "make that folder first");
    refused(&run(&[&"convert", &llama, &out.join("m.apr"), &"--format", &"gguf"]), 1, "ends in .apr");
    refused(&run(&[&"convert", &llama, &llama, &"--format", &"safetensors"]), 1, "is the source itself");
    refused(&run(&[&"convert", &out.join("nothing"), &out.join("m.gguf")]), 1, "nothing: not found");
    refused(&run(&[&"eval", &llama, &out.join("nothing")]), 1, "failed to read the text");
    // What one container holds and another cannot: by the name of the tensor.
    converted(&llama, &out.join("q5.gguf"), "gguf", "q5_k_m");
    refused(&run(&[&"convert", &out.join("q5.gguf"), &out.join("m.apr")]), 1, "apr does not have its type");
    refused(&run(&[&"convert", &out.join("q5.gguf"), &out.join("m"), &"--format", &"safetensors"]), 1, "--quant f32");
    // gpt2's inner width is 4 n_embd in GGUF, whatever the configuration says: not even begun.
    let gpt2 = out.join("gpt2");
    fs::create_dir(&gpt2).expect("a folder");
    for name in names(&carried("gpt2-tiny")) {
        fs::copy(carried("gpt2-tiny").join(&name), gpt2.join(&name)).expect("a copy");
    }
    let mut config: Value = serde_json::from_slice(&fs::read(gpt2.join("config.json")).expect("a file")).expect("JSON");
    config["activation_function"] = json!("gelu");
    fs::write(gpt2.join("config.json"), config.to_string()).expect("written");
    refused(&run(&[&"convert", &gpt2, &out.join("m.gguf"), &"--quant", &"f32"]), 1, "activation_function");
    assert_eq!(names(out), ["gpt2", "q5.gguf"]);
}

fn the_same_bytes() {
    let folder = TempDir::new().expect("a folder");
    let mut hashes = Vec::new();
    for (name, threads) in [("a.gguf", "1"), ("b.gguf", "2"), ("c.gguf", "7")] {
        let destination = folder.path().join(name);
        let mut command = command(&["convert".as_ref(), &carried("llama-tiny"), &destination, "--quant".as_ref(), "q4_k_m".as_ref()]);
        assert!(command.env("RAYON_NUM_THREADS", threads).output().expect("the binary starts").status.success());
        hashes.push(fs::read(&destination).expect("the file"));
    }
    assert!(hashes.iter().all(|bytes| *bytes == hashes[0]));
}

/// GGUF -> APR -> GGUF, every type that both have: identical bytes of every tensor.
fn types_travel() {
    let folder = TempDir::new().expect("a folder");
    let llama = ["f32", "f16", "bf16", "q4_0", "q4_k_m", "q6_k"].map(|quant| ("llama-tiny", quant));
    for (model, quant) in llama.into_iter().chain([("qwen2-tiny", "f16"), ("gpt2-tiny", "f16")]) {
        let at = |name: &str| folder.path().join(format!("{model}-{quant}-{name}"));
        converted(&carried(model), &at("1.gguf"), "gguf", quant);
        assert_eq!(code(&run(&[&"convert", &at("1.gguf"), &at("2.apr")])), 0);
        assert_eq!(code(&run(&[&"convert", &at("2.apr"), &at("3.gguf")])), 0);
        let diff = json_of(&run(&[&"diff", &at("1.gguf"), &at("3.gguf"), &"--json"]));
        assert_eq!(diff["equal"], true, "{model} {quant}");
        for pair in diff["tensors"].as_array().expect("tensors") {
            assert_eq!(pair["statistics"]["same_bytes"], true, "{model} {quant}: {pair}");
        }
    }
}

fn diff_tells() {
    let folder = TempDir::new().expect("a folder");
    let llama = carried("llama-tiny");
    let same = run(&[&"diff", &llama, &llama]);
    assert_eq!(code(&same), 0);
    assert!(String::from_utf8_lossy(&same.stdout).contains("\nequal: 0 fields, 0 of "));
    let other = run(&[&"diff", &llama, &carried("qwen2-tiny"), &"--json"]);
    assert_eq!(code(&other), 1);
    let fields: Vec<Value> = json_of(&other)["config"].as_array().expect("fields").clone();
    assert!(fields.iter().any(|field| field["name"] == "architecture" && field["a"] == "llama" && field["b"] == "qwen2"));
    let quantized = folder.path().join("m.gguf");
    converted(&llama, &quantized, "gguf", "q8_0");
    let diff = run(&[&"diff", &llama, &quantized]);
    assert_eq!(code(&diff), 1);
    assert!(String::from_utf8_lossy(&diff.stdout).contains("F32 | Q8_0"));
}

/// A llama of about `bytes` bytes in F32. `filled` with numbers that differ; else a file of holes, which reads as zeros.
fn synthetic(folder: &Path, bytes: u64, filled: bool) {
    fs::create_dir(folder).expect("a folder");
    let (width, vocab) = (1024usize, 768usize);
    let n_layers = (bytes as usize / (7 * 4 * width * width)).max(1);
    let config = json!({
        "model_type": "llama", "vocab_size": vocab, "hidden_size": width, "intermediate_size": width, "num_hidden_layers": n_layers,
        "num_attention_heads": 8, "max_position_embeddings": 64, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
    });
    fs::write(folder.join("config.json"), config.to_string()).expect("written");
    fs::copy(carried("llama-tiny").join("tokenizer.json"), folder.join("tokenizer.json")).expect("copied");
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![vocab, width]), ("model.norm.weight".to_owned(), vec![width])];
    for i in 0..n_layers {
        for name in [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        ] {
            shapes.push((format!("model.layers.{i}.{name}.weight"), vec![width, width]));
        }
        for name in ["input_layernorm", "post_attention_layernorm"] {
            shapes.push((format!("model.layers.{i}.{name}.weight"), vec![width]));
        }
    }
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes {
        let begin = end;
        end += shape.iter().product::<usize>() * 4;
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}));
    }
    let header = Value::Object(header).to_string();
    let mut file = BufWriter::new(File::create(folder.join("model.safetensors")).expect("a file"));
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("written");
    file.write_all(header.as_bytes()).expect("written");
    if filled {
        for i in 0..end as u32 / 4 {
            // Finite, of both signs, all different.
            let bits = i.wrapping_mul(0x9e37_79b9) & 0x807f_ffff | 0x3d00_0000;
            file.write_all(&bits.to_le_bytes()).expect("written");
        }
    }
    let file = file.into_inner().expect("flushed");
    file.set_len(8 + header.len() as u64 + end as u64).expect("a length");
}

/// Kills the process at that many moments, spread over its run: the destination is absent or complete, and the next run sweeps.
fn kill(times: u32, bytes: u64) {
    let folder = TempDir::new().expect("a folder");
    let (source, out) = (folder.path().join("source"), folder.path().join("out"));
    synthetic(&source, bytes, true);
    fs::create_dir(&out).expect("a folder");
    let target = out.join("model.gguf");
    let start = || {
        let arguments: [&Path; 7] =
            ["convert".as_ref(), &source, &target, "--quant".as_ref(), "f32".as_ref(), "--format".as_ref(), "gguf".as_ref()];
        command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    };
    let begun = Instant::now();
    assert!(start().wait().expect("it ends").success());
    let whole = begun.elapsed();
    let complete = fs::read(&target).expect("the file");
    let (mut tally, mut state) = (BTreeMap::<&str, u32>::new(), 0x2545_f491_4f6c_dd1du64);
    for i in 0..times {
        fs::remove_file(&target)
            .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .expect("removed");
        let before = names(&out);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // One in each part of the run, somewhere in it; the last part lies past its end.
        let part = (f64::from(i) + (state >> 11) as f64 / (1u64 << 53) as f64) / f64::from(times) * 1.1;
        let mut process = start();
        std::thread::sleep(whole.mul_f64(part));
        let _ = process.kill();
        let ended = process.wait().expect("it ends");
        let found = names(&out);
        let temporary = found.iter().filter(|name| *name != "model.gguf").count();
        assert!(temporary <= 1, "before {before:?}, after {found:?}");
        let outcome = match fs::read(&target) {
            Ok(bytes) if bytes == complete => "complete",
            Ok(bytes) => panic!("{} bytes of {}: neither absent nor complete", bytes.len(), complete.len()),
            Err(_) if ended.success() => panic!("success, and no file"),
            Err(_) if temporary == 1 => "absent, one temporary file",
            Err(_) => "absent",
        };
        *tally.entry(outcome).or_default() += 1;
    }
    assert!(start().wait().expect("it ends").success());
    assert!(fs::read(&target).expect("the file") == complete);
    assert_eq!(names(&out), ["model.gguf"]);
    println!(
        "crash: {} bytes, {times} SIGKILLs within {:.2} s: {tally:?}; the next run succeeded and swept",
        complete.len(),
        whole.as_secs_f64()
    );
}

/// A process whose files may not grow past some blocks: it is ended by a signal or refuses; the next run sweeps.
fn size_limit() {
    let folder = TempDir::new().expect("a folder");
    let target = folder.path().join("model.gguf");
    let arguments = "ulimit -f 100; exec \"$0\" convert \"$1\" \"$2\" --quant f32";
    let output = Command::new("sh")
        .args(["-c", arguments, env!("CARGO_BIN_EXE_ground-truth")])
        .args([&carried("llama-tiny"), &target])
        .env("GROUND_TRUTH_ROOT", root())
        .output()
        .expect("a shell");
    assert!(!output.status.success() && !target.exists());
    assert!(names(folder.path()).len() <= 1);
    converted(&carried("llama-tiny"), &target, "gguf", "f32");
    assert_eq!(names(folder.path()), ["model.gguf"]);
}

/// A file system of its own, as small as wanted; unmounted when dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(bytes: u64) -> Option<Self> {
        let folder = TempDir::new().ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        mount.status().ok()?.success().then(|| Tmpfs(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).stderr(Stdio::null()).status();
    }
}

fn full_disk() {
    // llama-tiny in F32 needs six times as much.
    let disk = Tmpfs::mount(1 << 20).expect("it was mounted when the trials were listed");
    let (out, llama) = (disk.0.path(), carried("llama-tiny"));
    fs::write(out.join("old.gguf"), "old").expect("written");
    for (name, format) in [("new.gguf", "gguf"), ("old.gguf", "gguf"), ("new.apr", "apr"), ("new", "safetensors")] {
        let output = run(&[&"convert", &llama, &out.join(name), &"--format", &format, &"--quant", &"f32"]);
        refused(&output, 1, "No space left on device");
        refused(&output, 1, name);
        assert_eq!(names(out), ["old.gguf"], "{name}");
    }
    assert_eq!(fs::read(out.join("old.gguf")).expect("the old file"), b"old");
    // Something smaller fits.
    let small = out.join("new.gguf");
    converted(&llama, &small, "gguf", "q2_k");
    println!(
        "full disk: 4 conversions of 6 MB onto 1 MiB were refused, nothing was left; one of {} bytes succeeded",
        fs::metadata(&small).expect("the file").len()
    );
}

/// The most anonymous memory of a conversion, against the bound: three times the largest tensor and 64 MB.
fn memory(bytes: u64) {
    let folder = TempDir::new().expect("a folder");
    let source = folder.path().join("source");
    synthetic(&source, bytes, false);
    let size = fs::metadata(source.join("model.safetensors")).expect("the file").len();
    let bound = 3 * 4 * 1024 * 1024 + (64 << 20);
    for (name, quant) in [("m.gguf", "q8_0"), ("m.apr", "q8")] {
        let target = folder.path().join(name);
        let arguments: [&Path; 5] = ["convert".as_ref(), &source, &target, "--quant".as_ref(), quant.as_ref()];
        let begun = Instant::now();
        let mut process = command(&arguments).stdout(Stdio::null()).spawn().expect("the binary starts");
        let status = PathBuf::from(format!("/proc/{}/status", process.id()));
        let (mut most, mut looks) = (0, 0);
        let ended = loop {
            if let Some(ended) = process.try_wait().expect("it is ours") {
                break ended;
            }
            let text = fs::read_to_string(&status).unwrap_or_default();
            let kib = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).and_then(|line| line.trim().strip_suffix(" kB"));
            most = kib.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(most, |kib| u64::max(most, kib * 1024));
            looks += 1;
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(ended.success() && looks > 20 && most > 0, "{ended:?}, {looks} looks");
        println!(
            "memory: {quant}, {size} bytes in, {} out, {:.1} s: at most {most} bytes anonymous ({looks} looks), the bound is {bound}",
            fs::metadata(&target).expect("the file").len(),
            begun.elapsed().as_secs_f64()
        );
        assert!(most <= bound, "{most} bytes anonymous, the bound is {bound}");
        fs::remove_file(&target).expect("removed");
    }
}
