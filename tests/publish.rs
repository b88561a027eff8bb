//! Conversions on a file system that fails: at every call, in every way, the destination is absent, what it was, or complete, and the next
//! run succeeds and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::faults::{Fault, Faults};
use ground_truth::convert::fs::{Filesystem, RealFilesystem};
use ground_truth::convert::{Converted, Request, convert};
use ground_truth::format::Format;
use ground_truth::quant::Quantization;
use ground_truth::{Dtype, Result, Tensor};
use tempfile::TempDir;

const FORMATS: [Format; 3] = Format::ALL;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The smallest llama that the carried tokenizer fits, in two types, and a folder to convert it into.
struct Bench {
    folder: TempDir,
    format: Format,
}

impl Bench {
    fn new(format: Format) -> Self {
        let bench = Bench { folder: tempfile::tempdir().unwrap(), format };
        fs::create_dir(bench.source()).unwrap();
        fs::create_dir(bench.out()).unwrap();
        let config = serde_json::json!({
            "model_type": "llama", "vocab_size": 768, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
        });
        fs::write(bench.source().join("config.json"), config.to_string()).unwrap();
        let carried = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models/llama-tiny");
        fs::copy(carried.join("tokenizer.json"), bench.source().join("tokenizer.json")).unwrap();
        fs::write(bench.source().join("model.safetensors"), weights()).unwrap();
        bench
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// The folder that holds the destination and nothing else.
    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn target(&self) -> PathBuf {
        self.out().join(if self.format == Format::Safetensors { "model".to_owned() } else { format!("model.{}", self.format) })
    }

    fn convert(&self, fs: &dyn Filesystem) -> Result<Converted> {
        self.convert_to(&self.target(), fs)
    }

    fn convert_to(&self, destination: &Path, fs: &dyn Filesystem) -> Result<Converted> {
        let source = self.source();
        // Safetensors in shards, so that there is more than one file with tensors.
        let shard_bytes = (self.format == Format::Safetensors).then_some(40_000);
        let quantization = Some(Quantization::F16);
        let request = Request { source: &source, destination, format: self.format, quantization, shard_bytes };
        convert(&request, &mut |done, total| assert!(done <= total), fs)
    }

    /// What is at the destination: files and their bytes.
    fn content(&self) -> Option<BTreeMap<String, Vec<u8>>> {
        read(&self.target())
    }

    /// Names in the folder other than the destination's.
    fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.out()).unwrap().map(|entry| entry.unwrap());
        names.filter(|entry| entry.path() != self.target()).map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// Puts the folder back to how it was before any run, with `old` at the destination.
    fn reset(&self, old: Option<&[u8]>) {
        fs::remove_dir_all(self.out()).unwrap();
        fs::create_dir(self.out()).unwrap();
        if let Some(old) = old {
            fs::write(self.target(), old).unwrap();
        }
    }
}

fn read(path: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if metadata.is_file() {
        return Some(BTreeMap::from([(String::new(), fs::read(path).unwrap())]));
    }
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    Some(files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect())
}

fn weights() -> Vec<u8> {
    weights_with("", &Tensor::from_f32(Dtype::F32, vec![0], &[]).unwrap())
}

/// The weights, that of one name replaced.
fn weights_with(replaced: &str, by: &Tensor) -> Vec<u8> {
    let block = "model.layers.0.";
    let mut tensors: Vec<(String, Vec<usize>)> =
        vec![("model.embed_tokens.weight".to_owned(), vec![768, 32]), ("model.norm.weight".to_owned(), vec![32])];
    for name in
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    {
        tensors.push((format!("{block}{name}.weight"), vec![32, 32]));
    }
    for name in ["input_layernorm", "post_attention_layernorm"] {
        tensors.push((format!("{block}{name}.weight"), vec![32]));
    }
    let tensors: Vec<(String, Tensor)> = tensors
        .into_iter()
        .enumerate()
        .map(|(i, (name, shape))| {
            let n = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..n).map(|j| ((i * 7919 + j * 104_729) % 1999) as f32 / 1000.0 - 1.0).collect();
            let tensor = if name == replaced { by.clone() } else { Tensor::from_f32(Dtype::F32, shape, &values).unwrap() };
            (name, tensor)
        })
        .collect();
    let views = tensors.iter().map(|(name, tensor)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, tensor.shape().to_vec(), tensor.bytes()).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// The call order is the protocol: everything is written, then made durable, then read back, then named, then the name made durable.
#[test]
fn the_calls_are_in_the_order_of_the_protocol() {
    for format in FORMATS {
        let bench = Bench::new(format);
        let faults = Faults::new(Fault::None);
        bench.convert(&faults).unwrap();
        let mut calls = faults.calls();
        calls.dedup();
        let per_file = ["write", "file_mode", "sync"];
        let expected: Vec<&str> = if format == Format::Safetensors {
            let n = bench.content().unwrap().len();
            let written = (0..n).flat_map(|_| ["create"].into_iter().chain(per_file));
            let read = (0..n).flat_map(|_| ["open", "read"]);
            let before = ["look", "list", "create_folder"];
            let after = ["set_mode", "sync_folder", "look", "rename", "sync_folder"];
            before.into_iter().chain(written).chain(read).chain(after).collect()
        } else {
            let before = ["look", "list", "create"];
            before.into_iter().chain(per_file).chain(["open", "read", "rename", "sync_folder"]).collect()
        };
        assert_eq!(calls, expected, "{format}");
    }
}

/// Ends the run after every number of calls, and fails every call with EIO and ENOSPC, with and without an old file at the destination.
#[test]
#[expect(clippy::cognitive_complexity, reason = "every assertion counts as a branch")]
fn a_run_that_fails_at_any_call_leaves_the_destination_absent_old_or_complete() {
    for format in FORMATS {
        let bench = Bench::new(format);
        let faults = Faults::new(Fault::None);
        bench.convert(&faults).unwrap();
        let (complete, n_calls) = (bench.content(), faults.calls().len());
        let olds: &[Option<&[u8]>] = if format == Format::Safetensors { &[None] } else { &[None, Some(b"old")] };
        let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
        for old in olds.iter().copied() {
            for k in 0..n_calls {
                for fault in [Fault::AbortAfter(k), Fault::Fail(k, EIO), Fault::Fail(k, ENOSPC)] {
                    bench.reset(old);
                    let before = bench.content();
                    let faults = Faults::new(fault);
                    let run = bench.convert(&faults);
                    let call = &faults.calls()[k];
                    let after = bench.content();
                    let outcome = if after == before {
                        if after.is_some() { "old" } else { "absent" }
                    } else {
                        assert_eq!(after, complete, "{format}, {fault:?} ({call}): neither what it was nor complete");
                        "complete"
                    };
                    *outcomes.entry(outcome).or_default() += 1;
                    // What is only a sweep may fail without harm; everything else is an error that names the destination.
                    match run {
                        Ok(_) => assert!(outcome == "complete" && call == "list", "{format}, {fault:?} ({call})"),
                        Err(error) => {
                            assert_eq!((error.kind(), error.reason()), ("convert", "io"), "{error}");
                            assert!(error.to_string().starts_with(&bench.target().display().to_string()), "{error}");
                            if let (Fault::Fail(_, ENOSPC), true) = (fault, call == "write") {
                                assert!(error.to_string().contains("No space left on device"), "{error}");
                            }
                        }
                    }
                    let leftovers = bench.leftovers();
                    assert!(leftovers.len() <= 1, "{leftovers:?}");
                    assert!(leftovers.is_empty() || matches!(fault, Fault::AbortAfter(_)), "{format}, {fault:?} ({call}): {leftovers:?}");
                    bench.convert(&RealFilesystem).unwrap();
                    assert_eq!(bench.content(), complete, "{format}, {fault:?} ({call}): the next run");
                    assert_eq!(bench.leftovers(), Vec::<String>::new(), "{format}, {fault:?} ({call}): the next run sweeps");
                }
            }
        }
        println!("{format}: {n_calls} calls, each the last one, failing with EIO, failing with ENOSPC: {outcomes:?}");
        assert!(outcomes.len() > 1);
    }
}

/// A bit that turns on its way to the disk is seen when the file is read back; one that the disk hides is seen by our own readers.
#[test]
fn what_does_not_read_back_is_not_published() {
    for format in FORMATS {
        let bench = Bench::new(format);
        for (fault, reason) in [(Fault::Flip(0, 12_345), "reads-back"), (Fault::Flip(0, 3), "reads-back")] {
            let refusal = bench.convert(&Faults::new(fault)).unwrap_err();
            assert_eq!(refusal.reason(), reason, "{refusal}");
            assert_eq!((bench.content(), bench.leftovers()), (None, vec![]), "{format}");
        }
        if format != Format::Safetensors {
            let refusal = bench.convert(&Faults::new(Fault::Lie(0))).unwrap_err();
            assert_eq!(refusal.reason(), "disagrees", "{refusal}");
            assert_eq!((bench.content(), bench.leftovers()), (None, vec![]), "{format}");
        }
    }
}

/// The leftovers of this destination go; those of another one, of a run that is still going on, and foreign files stay.
#[test]
fn only_what_is_abandoned_of_the_same_destination_is_swept() {
    for format in FORMATS {
        let bench = Bench::new(format);
        let abort = |target: &Path| {
            let faults = Faults::new(Fault::None);
            bench.convert_to(target, &faults).unwrap();
            let k = faults.calls().iter().position(|call| call == "rename").unwrap();
            if target.is_dir() {
                fs::remove_dir_all(target).unwrap()
            } else {
                fs::remove_file(target).unwrap()
            };
            bench.convert_to(target, &Faults::new(Fault::AbortAfter(k))).unwrap_err();
        };
        abort(&bench.target());
        let mine = bench.leftovers();
        abort(&bench.out().join("another"));
        fs::write(bench.out().join(".ground-truth-notes"), "mine").unwrap();
        assert_eq!((mine.len(), bench.leftovers().len()), (1, 3));
        // The same run, still going on: it holds the lock of its temporary name.
        let held = fs::File::open(bench.out().join(&mine[0])).unwrap();
        held.try_lock().unwrap();
        bench.convert(&RealFilesystem).unwrap();
        assert_eq!(bench.leftovers().len(), 3, "{format}");
        drop(held);
        bench.convert(&RealFilesystem).unwrap();
        let left = bench.leftovers();
        assert!(left.len() == 2 && !left.contains(&mine[0]), "{format}: {left:?}");
    }
}

#[test]
#[cfg(unix)]
#[expect(clippy::cognitive_complexity, reason = "every assertion counts as a branch")]
fn what_is_in_the_way_is_refused_and_stays() {
    use std::os::unix::fs::symlink;
    for format in FORMATS {
        let bench = Bench::new(format);
        let refusal = |destination: &Path| {
            let error = bench.convert_to(destination, &RealFilesystem).unwrap_err();
            assert!(error.to_string().starts_with(&destination.display().to_string()), "{error}");
            (error.kind(), error.reason())
        };
        let out = bench.out();
        // A link, to something or to nothing: neither it nor what it leads to is touched.
        fs::write(out.join("canary"), "canary").unwrap();
        for (name, leads_to) in [("link", out.join("canary")), ("dangling", out.join("nothing"))] {
            symlink(&leads_to, out.join(name)).unwrap();
            assert_eq!(refusal(&out.join(name)), ("convert", "occupied"), "{format}, {name}");
            assert_eq!(fs::read_link(out.join(name)).unwrap(), leads_to);
        }
        assert_eq!(fs::read(out.join("canary")).unwrap(), b"canary");
        assert!(!out.join("nothing").exists());
        assert_eq!(refusal(&out.join("missing/model")), ("convert", "no-folder"), "{format}");
        assert!(!out.join("missing").exists());
        assert_eq!(refusal(&out.join("canary/model")), ("convert", "no-folder"), "{format}");
        assert_eq!(refusal(&bench.source()), ("convert", "same-file"), "{format}");
        assert_eq!(refusal(Path::new("/")).0, "convert");
        assert!(std::process::Command::new("mkfifo").arg(out.join("pipe")).status().unwrap().success());
        assert_eq!(refusal(&out.join("pipe")), ("convert", "occupied"), "{format}");
        // A file where a folder is due, and the other way round; a folder with something in it.
        fs::create_dir(out.join("folder")).unwrap();
        fs::write(out.join("folder/notes"), "mine").unwrap();
        let (in_the_way, reason) = if format == Format::Safetensors { ("canary", "occupied") } else { ("folder", "occupied") };
        assert_eq!(refusal(&out.join(in_the_way)), ("convert", reason), "{format}");
        if format == Format::Safetensors {
            assert_eq!(refusal(&out.join("folder")), ("convert", "other-content"));
        }
        assert_eq!(fs::read(out.join("folder/notes")).unwrap(), b"mine");
        for other in Format::ALL.into_iter().filter(|other| *other != format || format == Format::Safetensors) {
            assert_eq!(refusal(&out.join(format!("model.{other}"))), ("convert", "extension"), "{format}");
        }
    }
}

/// A folder stays where it holds the same bytes already, is refused where it does not, and an empty one is taken.
#[test]
fn a_folder_is_never_replaced_by_another_one() {
    let bench = Bench::new(Format::Safetensors);
    fs::create_dir(bench.target()).unwrap();
    bench.convert(&RealFilesystem).unwrap();
    let complete = bench.content();
    bench.convert(&RealFilesystem).unwrap();
    assert_eq!(bench.content(), complete);
    fs::write(bench.target().join("config.json"), "{}").unwrap();
    let refusal = bench.convert(&RealFilesystem).unwrap_err();
    assert_eq!(refusal.reason(), "other-content", "{refusal}");
    assert_eq!(fs::read(bench.target().join("config.json")).unwrap(), b"{}");
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

/// New files get the permissions that the mask leaves; a file that is replaced keeps its own.
#[test]
#[cfg(unix)]
fn permissions_are_those_of_the_mask_or_of_the_old_file() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for format in FORMATS {
        let bench = Bench::new(format);
        let probe = bench.folder.path().join("probe");
        fs::write(&probe, "").unwrap();
        bench.convert(&RealFilesystem).unwrap();
        if format == Format::Safetensors {
            fs::create_dir(bench.folder.path().join("folder")).unwrap();
            assert_eq!(mode(&bench.target()), mode(&bench.folder.path().join("folder")));
            assert_eq!(mode(&bench.target().join("config.json")), mode(&probe));
        } else {
            assert_eq!(mode(&bench.target()), mode(&probe));
            fs::set_permissions(bench.target(), fs::Permissions::from_mode(0o640)).unwrap();
            bench.convert(&RealFilesystem).unwrap();
            assert_eq!(mode(&bench.target()), 0o640);
        }
    }
}

/// Every reason that a conversion can be refused for, raised by a request, a source or a disk that earns it.
#[test]
#[cfg(unix)]
#[expect(clippy::too_many_lines, reason = "a request for each reason")]
fn every_reason_is_raised() {
    let mut raised: Vec<&str> = Vec::new();
    let mut raise = |error: ground_truth::Error| {
        assert_eq!(error.kind(), "convert", "{error}");
        let message = error.to_string();
        assert!(!message.chars().any(char::is_control) && !message.ends_with('.'), "{message}");
        assert!(error.file().is_some_and(|file| message.starts_with(&file.display().to_string())), "{message}");
        raised.push(error.reason());
    };
    let bench = Bench::new(Format::Gguf);
    let (source, target) = (bench.source(), bench.target());
    let request =
        Request { source: &source, destination: &target, format: Format::Gguf, quantization: Some(Quantization::F16), shard_bytes: None };
    let real = |request: &Request| convert(request, &mut |_, _| {}, &RealFilesystem).unwrap_err();
    raise(real(&Request { destination: &source, ..request }));
    raise(real(&Request { destination: &target.join("m"), ..request }));
    raise(real(&Request { destination: &bench.out(), ..request }));
    raise(real(&Request { destination: bench.folder.path(), format: Format::Safetensors, ..request }));
    raise(real(&Request { destination: &bench.out().join(".."), ..request }));
    raise(real(&Request { destination: &bench.out().join("m.apr"), ..request }));
    raise(real(&Request { quantization: Some(Quantization::AprQ4), ..request }));
    raise(real(&Request { shard_bytes: Some(1 << 20), ..request }));
    raise(convert(&request, &mut |_, _| {}, &Faults::new(Fault::Fail(0, EIO))).unwrap_err());
    raise(convert(&request, &mut |_, _| {}, &Faults::new(Fault::Flip(0, 9))).unwrap_err());
    raise(convert(&request, &mut |_, _| {}, &Faults::new(Fault::Lie(0))).unwrap_err());
    // Somebody writes to the source while it is read.
    let mut touched = false;
    let touch = |_, _| {
        if !std::mem::replace(&mut touched, true) {
            let config = source.join("config.json");
            fs::write(&config, fs::read_to_string(&config).unwrap() + "\n").unwrap();
        }
    };
    let mut touch = touch;
    raise(convert(&request, &mut touch, &RealFilesystem).unwrap_err());
    assert_eq!((bench.content(), bench.leftovers()), (None, vec![]));
    // Types that another container does not have, kept.
    let request = Request { quantization: Some(Quantization::Q5_0), ..request };
    convert(&request, &mut |_, _| {}, &RealFilesystem).unwrap();
    let folder = bench.out().join("folder");
    raise(real(&Request { source: &target, destination: &folder, format: Format::Safetensors, quantization: None, shard_bytes: None }));
    // Frequencies that only GGUF and we can say.
    let config = fs::read_to_string(source.join("config.json")).unwrap();
    let mut with_factors: serde_json::Value = serde_json::from_str(&config).unwrap();
    with_factors["rope_freq_factors"] = serde_json::json!([1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 8.0]);
    fs::write(source.join("config.json"), with_factors.to_string()).unwrap();
    raise(real(&Request { quantization: Some(Quantization::F32), destination: &folder, format: Format::Safetensors, ..request }));
    fs::write(source.join("config.json"), config).unwrap();
    // A value that f16 does not hold.
    let large = Tensor::from_f32(Dtype::F32, vec![32], &[1e6; 32]).unwrap();
    fs::write(source.join("model.safetensors"), weights_with("model.norm.weight", &large)).unwrap();
    raise(real(&Request { quantization: Some(Quantization::F16), destination: &folder, format: Format::Safetensors, ..request }));
    assert!(!folder.exists());

    let raised: std::collections::BTreeSet<&str> = raised.into_iter().collect();
    let documented = ground_truth::Error::reasons().filter(|(kind, _)| *kind == "convert").map(|(_, reason)| reason).collect();
    assert_eq!(raised, documented);
}

/// Values go a million at a time, and a place is told within the tensor: one of the first million, and one behind it.
#[test]
fn a_number_that_cannot_travel_is_named_by_its_place_in_the_tensor() {
    const ROWS: usize = 40_000;
    let bench = Bench::new(Format::Gguf);
    let path = bench.source().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["vocab_size"] = ROWS.into();
    fs::write(&path, config.to_string()).unwrap();
    let refusal = |at: usize, bad: f32| {
        let mut values = vec![0.5f32; 32 * ROWS];
        values[at] = bad;
        let embedding = Tensor::from_f32(Dtype::F32, vec![ROWS, 32], &values).unwrap();
        fs::write(bench.source().join("model.safetensors"), weights_with("model.embed_tokens.weight", &embedding)).unwrap();
        let refusal = bench.convert(&RealFilesystem).unwrap_err().to_string();
        assert!(bench.content().is_none() && bench.leftovers().is_empty());
        refusal
    };
    for at in [70_000, 32 * ROWS - 1] {
        for bad in [1e6, f32::NAN] {
            let refusal = refusal(at, bad);
            assert!(refusal.contains("embed_tokens") && refusal.contains(&at.to_string()), "{refusal}");
        }
    }
}
