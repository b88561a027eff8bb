//! F-G1, F-H1, F-H4 and the file side of F-E4: every documented error of the engine, raised by a folder or a request that earns it.

mod apr;
mod chat;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ground_truth::error::{Error, ModelError};
use ground_truth::format::gguf::{Array, Metadata, Value as GgufValue};
use ground_truth::sample::{self, History, Params};
use ground_truth::tokenizer::gguf::{export, tokenizer_json};
use ground_truth::{Checkpoint, Dtype, Model, Positions, Result, Tensor, Tokenizer, evaluate, generate};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A valid folder, the smallest llama there is, for each row to spoil.
struct Folder(TempDir);

/// The shapes of its tensors.
const SHAPES: [(&str, &[usize]); 11] = [
    ("model.embed_tokens.weight", &[6, 4]),
    ("model.layers.0.input_layernorm.weight", &[4]),
    ("model.layers.0.self_attn.q_proj.weight", &[4, 4]),
    ("model.layers.0.self_attn.k_proj.weight", &[4, 4]),
    ("model.layers.0.self_attn.v_proj.weight", &[4, 4]),
    ("model.layers.0.self_attn.o_proj.weight", &[4, 4]),
    ("model.layers.0.post_attention_layernorm.weight", &[4]),
    ("model.layers.0.mlp.gate_proj.weight", &[4, 4]),
    ("model.layers.0.mlp.up_proj.weight", &[4, 4]),
    ("model.layers.0.mlp.down_proj.weight", &[4, 4]),
    ("model.norm.weight", &[4]),
];

fn config() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 6, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 8, "tie_word_embeddings": true,
    })
}

fn tokenizer() -> Value {
    json!({
        "added_tokens": [added(5, "<s>")],
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE", "unk_token": "?", "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3, " ": 4}, "merges": [["a", "b"]],
        },
    })
}

fn added(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
}

impl Folder {
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().expect("a temporary folder"));
        folder.write("config.json", config().to_string());
        folder.write("tokenizer.json", tokenizer().to_string());
        folder.write("model.safetensors", weights(&SHAPES, |_| 0.5));
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).expect(name);
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).expect(name);
    }

    /// The valid configuration with one field replaced.
    fn config(&self, field: &str, value: Value) {
        let mut config = config();
        config[field] = value;
        self.write("config.json", config.to_string());
    }

    /// The valid tokenizer with the value at a JSON pointer replaced.
    fn tokenizer(&self, pointer: &str, value: Value) {
        let mut file = tokenizer();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        file.pointer_mut(parent).expect(pointer)[name] = value;
        self.write("tokenizer.json", file.to_string());
    }

    /// The valid tensors in two shards, under the given index.
    fn shards(&self, index: Value) {
        let (one, two) = SHAPES.split_at(5);
        self.remove("model.safetensors");
        self.write("one.safetensors", weights(one, |_| 0.5));
        self.write("two.safetensors", weights(two, |_| 0.5));
        self.write("model.safetensors.index.json", index.to_string());
    }

    /// A safetensors file with the given header and as many bytes of data.
    fn header(&self, header: &str, data: usize) {
        let length = (header.len() as u64).to_le_bytes();
        self.write("model.safetensors", [&length, header.as_bytes(), &vec![0; data]].concat());
    }

    /// A tokenizer from the keys of a GGUF file, after `spoil`.
    fn rebuild(&self, spoil: impl FnOnce(&mut Keys)) -> Result<()> {
        let tokens = ["<unk>", "<s>", "</s>", "a", "b", "ab"].map(str::to_owned).to_vec();
        let mut keys = Keys(vec![
            ("tokenizer.ggml.model".to_owned(), GgufValue::String("llama".to_owned())),
            ("tokenizer.ggml.tokens".to_owned(), GgufValue::Array(Array::String(tokens))),
            ("tokenizer.ggml.token_type".to_owned(), GgufValue::Array(Array::I32(vec![2, 3, 3, 1, 1, 1]))),
            ("tokenizer.ggml.scores".to_owned(), GgufValue::Array(Array::F32(vec![0.0, 0.0, 0.0, -1.0, -2.0, -3.0]))),
            ("tokenizer.ggml.bos_token_id".to_owned(), GgufValue::U32(1)),
        ]);
        let file = self.path().join("model.gguf");
        let rebuilt = |keys: &Keys| tokenizer_json(&Metadata::from(keys.0.clone()));
        Tokenizer::from_bytes(&rebuilt(&keys).expect("valid keys"), &file)?;
        spoil(&mut keys);
        rebuilt(&keys).map(drop).map_err(|source| Error::Tokenizer { file, source })
    }

    /// Reads all three files and holds them against each other.
    fn open(&self) -> Result<(Model, Tokenizer)> {
        let checkpoint = Checkpoint::open(self.path())?;
        let model = Model::from_checkpoint(&checkpoint)?;
        let tokenizer = Tokenizer::from_bytes(checkpoint.tokenizer.as_deref().unwrap_or_default(), &checkpoint.tokenizer_file())?;
        tokenizer.check_fits(model.config().vocab_size)?;
        Ok((model, tokenizer))
    }
}

/// The keys of a GGUF file.
struct Keys(Vec<(String, GgufValue)>);

impl Keys {
    /// Gives `tokenizer.ggml.<name>` a value.
    fn set(&mut self, name: &str, value: GgufValue) {
        let name = format!("tokenizer.ggml.{name}");
        self.0.retain(|(key, _)| *key != name);
        self.0.push((name, value));
    }

    fn tokens(&mut self, tokens: &[&str]) {
        self.set("tokens", GgufValue::Array(Array::String(tokens.iter().map(|token| (*token).to_owned()).collect())));
    }
}

/// A safetensors file of F32 tensors, each filled with what `value` gives for its name.
fn weights(shapes: &[(&str, &[usize])], value: impl Fn(&str) -> f32) -> Vec<u8> {
    let filled = |name, shape: &[usize]| value(name).to_le_bytes().repeat(shape.iter().product());
    let data: Vec<_> = shapes.iter().map(|(name, shape)| (name.to_string(), shape.to_vec(), filled(name, shape))).collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).expect("as many bytes as the shape needs"))
    });
    safetensors::serialize(views, None).expect("a file")
}

/// A header of empty tensors.
fn many(n: usize) -> String {
    let entries: Vec<String> = (0..n).map(|i| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    format!("{{{}}}", entries.join(","))
}

/// The index that maps every tensor to the shard that holds it.
fn index() -> Value {
    let (one, two) = SHAPES.split_at(5);
    let entries = one.iter().map(|(name, _)| (name, "one.safetensors")).chain(two.iter().map(|(name, _)| (name, "two.safetensors")));
    json!({"weight_map": entries.map(|(name, shard)| (name.to_string(), json!(shard))).collect::<serde_json::Map<_, _>>()})
}

fn index_with(tensor: &str, shard: Value) -> Value {
    let mut index = index();
    index["weight_map"][tensor] = shard;
    index
}

/// Spoils a valid folder, or asks it for something, and is told why not.
type Row = (&'static str, &'static str, fn(&Folder) -> Result<()>);

/// Opens what is left of the folder.
fn opened(folder: &Folder) -> Result<()> {
    folder.open().map(|_| ())
}

macro_rules! spoil {
    ($kind:literal, $reason:literal, |$folder:ident| $how:expr) => {
        ($kind, $reason, |$folder| {
            $how;
            opened($folder)
        })
    };
}

const FIRST: &str = "model.embed_tokens.weight";
const NORM: &str = r#""dtype":"F32","shape":[1]"#;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("file", "not-found", |f| Model::open(&f.path().join("nowhere")).map(drop)),
    ("file", "not-a-model", |f| Model::open(&f.path().join("config.json")).map(drop)),
    ("file", "extension", |f| {
        fs::rename(f.path().join("model.safetensors"), f.path().join("model.gguf")).expect("a new name");
        Model::open(&f.path().join("model.gguf")).map(drop)
    }),
    ("file", "io", |f| Model::open(&f.path().join("config.json/x")).map(drop)),
    spoil!("file", "not-found", |f| f.remove("config.json")),
    spoil!("file", "not-regular", |f| { f.remove("tokenizer.json"); fs::create_dir(f.path().join("tokenizer.json")).expect("a folder") }),
    spoil!("file", "too-large", |f| f.write("config.json", vec![b' '; (1 << 20) + 1])),
    spoil!("file", "no-weights", |f| f.remove("model.safetensors")),
    spoil!("json", "empty", |f| f.write("config.json", "")),
    spoil!("json", "other-content", |f| f.write("config.json", "version https://git-lfs.github.com/spec/v1\n")),
    spoil!("json", "encoding", |f| f.write("config.json", b"\xff\xfe{\0}\0")),
    spoil!("json", "not-utf8", |f| f.write("generation_config.json", b"{\"\xff\":1}")),
    spoil!("json", "duplicate-key", |f| f.write("config.json", r#"{"hidden_size":4,"hidden_\u0073ize":8}"#)),
    spoil!("json", "too-deep", |f| f.write("config.json", r#"{"a":"#.repeat(10_000))),
    spoil!("json", "not-an-object", |f| f.write("tokenizer.json", "[]")),
    spoil!("json", "syntax", |f| f.write("config.json", r#"{"rope_theta":1e999}"#)),
    spoil!("safetensors", "other-content", |f| f.write("model.safetensors", "<!DOCTYPE html><html></html>")),
    spoil!("safetensors", "too-short", |f| f.write("model.safetensors", [0; 7])),
    spoil!("safetensors", "header-too-large", |f| f.write("model.safetensors", [u64::MAX.to_le_bytes(), *b"{}      "].concat())),
    spoil!("safetensors", "header-past-end", |f| f.write("model.safetensors", [9u64.to_le_bytes(), *b"{}      "].concat())),
    spoil!("safetensors", "header-start", |f| f.header(" {}", 0)),
    spoil!("safetensors", "header-padding", |f| f.header("{}\n", 0)),
    spoil!("safetensors", "header", |f| f.header(r#"{"a":{}}"#, 0)),
    spoil!("safetensors", "duplicate-name", |f| f.header(&format!(r#"{{"a":{{{NORM},"data_offsets":[0,4]}},"\u0061":{{{NORM},"data_offsets":[4,8]}}}}"#), 8)),
    spoil!("safetensors", "too-many-tensors", |f| f.header(&many(131_073), 0)),
    spoil!("safetensors", "unsupported-dtype", |f| f.header(r#"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#, 1)),
    spoil!("safetensors", "rank-too-large", |f| f.header(r#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#, 4)),
    spoil!("safetensors", "shape-overflow", |f| f.header(r#"{"a":{"dtype":"F32","shape":[0,9223372036854775808,2],"data_offsets":[0,0]}}"#, 0)),
    spoil!("safetensors", "wrong-size", |f| f.header(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4)),
    spoil!("safetensors", "offsets", |f| f.header(&format!(r#"{{"a":{{{NORM},"data_offsets":[4,8]}}}}"#), 8)),
    spoil!("safetensors", "data-length", |f| f.header(&format!(r#"{{"a":{{{NORM},"data_offsets":[0,4]}}}}"#), 5)),
    spoil!("safetensors", "reference", |f| f.header(r#"{"__metadata__":{"a":1}}"#, 0)),
    spoil!("index", "no-weight-map", |f| f.shards(json!({}))),
    spoil!("index", "not-a-name", |f| f.shards(index_with(FIRST, json!(1)))),
    spoil!("index", "shard-name", |f| f.shards(index_with(FIRST, json!("../../x.safetensors")))),
    spoil!("index", "outside-folder", |f| { f.shards(index_with(FIRST, json!("link.safetensors"))); link("/proc/self/exe", &f.path().join("link.safetensors")) }),
    spoil!("index", "missing-shard", |f| f.shards(index_with(FIRST, json!("six.safetensors")))),
    spoil!("index", "not-in-shard", |f| f.shards(index_with(FIRST, json!("two.safetensors")))),
    spoil!("index", "in-two-shards", |f| { f.shards(index()); f.write("two.safetensors", weights(&SHAPES, |_| 0.5)) }),
    spoil!("index", "not-in-map", |f| { let mut index = index(); index["weight_map"].as_object_mut().expect("a map").remove(FIRST); f.shards(index) }),
    spoil!("index", "total-size", |f| { let mut index = index(); index["metadata"] = json!({"total_size": 1}); f.shards(index) }),
    spoil!("config", "missing", |f| f.config("hidden_size", Value::Null)),
    spoil!("config", "wrong-type", |f| f.config("hidden_size", json!("4"))),
    spoil!("config", "out-of-range", |f| f.config("num_hidden_layers", json!(1_000_000_000))),
    spoil!("config", "unknown-value", |f| f.config("hidden_act", json!("gelu_sometimes"))),
    spoil!("config", "unsupported", |f| f.config("rope_scaling", json!({"type": "dynamic", "factor": 2.0}))),
    spoil!("config", "unknown-field", |f| f.config("attention_temperature", json!(0.5))),
    spoil!("config", "not-a-multiple", |f| f.config("num_attention_heads", json!(3))),
    spoil!("config", "conflict", |f| f.write("config.json", json!({
        "model_type": "gpt2", "vocab_size": 6, "n_embd": 4, "hidden_size": 8, "n_layer": 1, "n_head": 2,
    }).to_string())),
    spoil!("tokenizer", "missing", |f| f.write("tokenizer.json", "{}")),
    spoil!("tokenizer", "wrong-type", |f| f.tokenizer("/model/vocab", json!(1))),
    spoil!("tokenizer", "model-type", |f| f.tokenizer("/model/type", json!("Magic"))),
    spoil!("tokenizer", "id-out-of-range", |f| f.tokenizer("/model/vocab/a", json!(-1))),
    spoil!("tokenizer", "duplicate-id", |f| f.tokenizer("/model/vocab/a", json!(2))),
    spoil!("tokenizer", "two-ids", |f| f.tokenizer("/added_tokens", json!([added(5, "a")]))),
    spoil!("tokenizer", "renumbered", |f| f.tokenizer("/added_tokens", json!([added(6, "<s>"), added(5, "</s>")]))),
    spoil!("tokenizer", "template-id", |f| f.tokenizer("/post_processor", json!({
        "type": "RobertaProcessing", "sep": ["<s>", 9], "cls": ["<s>", 5], "trim_offsets": true, "add_prefix_space": false,
    }))),
    spoil!("tokenizer", "id-gap", |f| f.tokenizer("/added_tokens", json!([added(7, "<s>")]))),
    spoil!("tokenizer", "too-long", |f| f.tokenizer("/model/unk_token", json!("u".repeat(1 << 20)))),
    spoil!("tokenizer", "empty-added-token", |f| f.tokenizer("/added_tokens", json!([added(5, "")]))),
    spoil!("tokenizer", "merge-outside-vocabulary", |f| f.tokenizer("/model/merges", json!([["ab", "ab"]]))),
    spoil!("tokenizer", "malformed-merge", |f| f.tokenizer("/model/merges", json!(["a b a"]))),
    spoil!("tokenizer", "unsupported", |f| f.tokenizer("/model/dropout", json!(0.5))),
    spoil!("tokenizer", "reference", |f| f.tokenizer("/version", json!("2.0"))),
    spoil!("tokenizer", "does-not-fit", |f| f.tokenizer("/added_tokens", json!([added(5, "<s>"), added(6, "</s>")]))),
    ("tokenizer", "text-too-long", |f| f.open()?.1.encode(&"a".repeat(10 << 20), false).map(drop)),
    ("tokenizer", "encode", |f| { f.tokenizer("/model/unk_token", json!("none")); f.open()?.1.encode("c", false).map(drop) }),
    ("tokenizer", "unknown-id", |f| f.open()?.1.decode(&[6]).map(drop)),
    // The library's Strip counts past the beginning of a token that is shorter than what is to be stripped.
    ("tokenizer", "decode", |f| { f.tokenizer("/decoder", json!({"type": "Strip", "content": " ", "start": 0, "stop": 5})); f.open()?.1.decode(&[4]).map(drop) }),
    ("tokenizer", "unknown-pair", |f| f.rebuild(|keys| keys.set("pre", GgufValue::String("gpt-2".to_owned())))),
    ("tokenizer", "length-mismatch", |f| f.rebuild(|keys| keys.set("scores", GgufValue::Array(Array::F32(vec![0.0; 5]))))),
    ("tokenizer", "too-many-tokens", |f| f.rebuild(|keys| keys.tokens(&vec!["a"; (1 << 20) + 1]))),
    ("tokenizer", "duplicate-token", |f| f.rebuild(|keys| keys.tokens(&["<unk>", "<s>", "</s>", "a", "b", "a"]))),
    ("tokenizer", "token-type", |f| f.rebuild(|keys| keys.set("token_type", GgufValue::Array(Array::I32(vec![2, 3, 3, 1, 1, 7]))))),
    ("tokenizer", "not-a-score", |f| f.rebuild(|keys| keys.set("scores", GgufValue::Array(Array::F32(vec![f32::NAN; 6]))))),
    ("tokenizer", "not-a-byte", |f| f.rebuild(|keys| {
        keys.tokens(&["<unk>", "<s>", "</s>", "<0x-1>", "a", "b"]);
        keys.set("token_type", GgufValue::Array(Array::I32(vec![2, 3, 3, 6, 1, 1])));
    })),
    ("tokenizer", "not-byte-level", |f| f.rebuild(|keys| {
        keys.set("model", GgufValue::String("gpt2".to_owned()));
        keys.set("pre", GgufValue::String("gpt-2".to_owned()));
        keys.tokens(&["<unk>", "<s>", "</s>", "a", "a b", "b"]);
    })),
    ("tokenizer", "special-id", |f| f.rebuild(|keys| keys.set("mask_token_id", GgufValue::U32(6)))),
    ("tokenizer", "too-many-splits", |f| f.rebuild(|keys| keys.tokens(&["<unk>", "<s>", "</s>", "a", "b", &"a".repeat(1 << 16)]))),
    ("tokenizer", "no-fallback", |f| f.rebuild(|keys| keys.set("token_type", GgufValue::Array(Array::I32(vec![1, 3, 3, 1, 1, 1]))))),
    ("tokenizer", "not-in-gguf", |f| {
        let checkpoint = Checkpoint::open(f.path())?;
        let config = ground_truth::Config::parse(&checkpoint.config, None, &checkpoint.config_file())?;
        export(checkpoint.tokenizer.as_deref().unwrap_or_default(), &checkpoint.tokenizer_file(), 6, &config).map(drop)
    }),
    spoil!("model", "missing-tensor", |f| f.write("model.safetensors", weights(&SHAPES[1..], |_| 0.5))),
    spoil!("model", "extra-tensor", |f| f.write("model.safetensors", weights(&[SHAPES.as_slice(), &[("model.extra", &[1])]].concat(), |_| 0.5))),
    spoil!("model", "wrong-shape", |f| f.config("intermediate_size", json!(5))),
    spoil!("model", "untied-head", |f| f.write("model.safetensors", weights(&[SHAPES.as_slice(), &[("lm_head.weight", &[6, 4])]].concat(), |name| name.len() as f32))),
    spoil!("model", "not-finite", |f| f.write("model.safetensors", weights(&SHAPES, |_| f32::NAN))),
    ("model", "wrong-dtype", |f| {
        let mut checkpoint = Checkpoint::open(f.path())?;
        checkpoint.tensors.insert("model.norm.weight", Tensor::from_f32(Dtype::U8, vec![4], &[1.0; 4])?);
        Model::from_checkpoint(&checkpoint).map(drop)
    }),
    ("model", "wrong-bytes", |_| Tensor::owned(Dtype::F32, vec![2], vec![0; 7]).map(drop)),
    ("request", "no-ids", |f| ask(&f.open()?.0, &[])),
    ("request", "id-out-of-range", |f| ask(&f.open()?.0, &[0, 6])),
    ("request", "context-exceeded", |f| ask(&f.open()?.0, &[1; 9])),
    ("request", "foreign-cache", |f| f.open()?.0.forward(&[1], &mut f.open()?.0.new_cache(), Positions::Last).map(drop)),
    ("request", "nan-logit", |_| generate::argmax(&[0.0, f32::NAN]).map(drop)),
    ("request", "infinite-logit", |_| generate::argmax(&[0.0, f32::INFINITY]).map(drop)),
    ("request", "no-logits", |_| generate::argmax(&[]).map(drop)),
    ("request", "parameter", |_| sampled(&[0.0], Params { temperature: -1.0, ..Params::default() })),
    ("request", "bad-word", |_| sampled(&[0.0], Params { bad_words_ids: vec![vec![1]], ..Params::default() })),
    ("request", "nothing-left", |_| sampled(&[0.0], Params { bad_words_ids: vec![vec![0]], ..Params::default() })),
    ("request", "too-short", |f| evaluate::summed_nll(&f.open()?.0, &[1], 4, 2).map(drop)),
    ("request", "window", |f| evaluate::summed_nll(&f.open()?.0, &[1, 2, 3], 4, 0).map(drop)),
];

fn ask(model: &Model, ids: &[u32]) -> Result<()> {
    model.forward(ids, &mut model.new_cache(), Positions::All).map(drop)
}

fn sampled(logits: &[f32], params: Params) -> Result<()> {
    sample::process(logits, History::default(), &params).map(drop)
}

#[cfg(unix)]
fn link(target: &str, path: &Path) {
    std::os::unix::fs::symlink(target, path).expect("a link");
}

/// Every row.
fn table() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().chain(apr::TABLE).chain(chat::TABLE)
}

/// What a row's folder was, and what it was told.
fn raise((kind, reason, spoil): &Row) -> (PathBuf, Error) {
    let folder = Folder::new();
    match spoil(&folder) {
        Err(error) => (folder.path().to_owned(), error),
        Ok(()) => panic!("{kind}/{reason} was not raised"),
    }
}

#[test]
fn f_g1_a_valid_folder_opens_and_answers() {
    let (model, tokenizer) = Folder::new().open().expect("a valid folder");
    let ids = tokenizer.encode("ab b", true).expect("ids");
    ask(&model, &ids).expect("logits");

    let folder = Folder::new();
    folder.shards(index());
    folder.open().expect("a valid folder in two shards");
}

#[test]
fn f_g1_every_prefix_of_a_file_is_refused() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = Folder::new();
        let whole = fs::read(folder.path().join(name)).expect(name);
        for end in 0..whole.len() {
            folder.write(name, &whole[..end]);
            let refusal = folder.open().expect_err(name);
            assert_eq!(refusal.file(), Some(folder.path().join(name).as_path()), "{name}, {end} bytes: {refusal}");
        }
    }
}

#[test]
fn f_h1_every_row_raises_the_error_that_it_names() {
    for row in table() {
        let (_, error) = raise(row);
        assert_eq!((error.kind(), error.reason()), (row.0, row.1), "{error}");
    }
}

#[test]
fn f_h1_no_documented_error_is_missing_from_the_table() {
    let raised: BTreeSet<(&str, &str)> = table().map(|(kind, reason, _)| (*kind, *reason)).collect();
    let documented: BTreeSet<(&str, &str)> = Error::reasons().filter(|(kind, _)| !["gguf", "convert"].contains(kind)).collect();
    assert_eq!(documented.difference(&raised).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
    assert_eq!(raised.difference(&documented).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
}

/// A message is one lowercase fragment on one line, and names the file if the error is a file's.
#[test]
fn f_h1_every_message_is_one_fragment_that_names_its_file() {
    for row in table() {
        let (folder, error) = raise(row);
        let message = error.to_string();
        assert!(!message.chars().any(char::is_control) && !message.ends_with('.'), "{message}");
        match error.file() {
            Some(file) => assert!(file.starts_with(&folder) && message.starts_with(&file.display().to_string()), "{message}"),
            None => assert!(matches!(error.kind(), "model" | "request"), "{message}"),
        }
    }
}

/// Weights that are no numbers are read as they are; which tensor holds them is said when a network is made of them.
#[test]
fn f_e4_weights_that_are_no_numbers_are_read_and_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let folder = Folder::new();
        folder.write("model.safetensors", weights(&SHAPES, |name| if name == "model.norm.weight" { value } else { 0.5 }));
        let checkpoint = Checkpoint::open(folder.path()).expect("a checkpoint");
        let read = checkpoint.tensors.get("model.norm.weight").expect("the tensor").to_f32();
        assert!(read.iter().all(|read| read.to_bits() == value.to_bits()));
        match Model::from_checkpoint(&checkpoint) {
            Err(Error::Model { file, source: ModelError::NotFinite { tensor, index: 0, .. } }) => {
                assert_eq!(tensor, "model.norm.weight");
                assert_eq!(file, Some(folder.path().join("model.safetensors")));
            }
            other => panic!("{value}: {other:?}"),
        }
    }
}

/// After a hundred refusals of each kind of file, no descriptor and no mapped region of them is left.
#[test]
#[cfg(target_os = "linux")]
fn f_h4_no_descriptor_and_no_mapping_outlives_a_refusal() {
    let mut folders = Vec::new();
    while folders.len() < 100 {
        for (kind, reason, spoil) in table() {
            let folder = Folder::new();
            assert!(spoil(&folder).is_err(), "{kind}/{reason}");
            folders.push(folder);
        }
    }
    let is_ours = |path: &Path| folders.iter().any(|folder| path.starts_with(folder.path()));
    let descriptors = fs::read_dir("/proc/self/fd").expect("a list").flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    assert_eq!(descriptors.filter(|target| is_ours(target)).collect::<Vec<_>>(), Vec::<PathBuf>::new());
    let maps = fs::read_to_string("/proc/self/maps").expect("a list");
    let mapped = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    assert_eq!(mapped.filter(|path| is_ours(path)).collect::<Vec<_>>(), Vec::<&Path>::new());

    let valid = Folder::new();
    let opened = Checkpoint::open(valid.path()).expect("a checkpoint");
    let maps = fs::read_to_string("/proc/self/maps").expect("a list");
    assert!(maps.contains(&valid.path().display().to_string()), "an open checkpoint is mapped, so the test above can see one");
    drop(opened);
}
