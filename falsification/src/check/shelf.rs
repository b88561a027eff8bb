//! The files of the model that is a hash function: its tensors, the types in which columns store them, and peers that hold others.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use sha2::{Digest, Sha256};

use super::fixture::{Fixture, right_answer};
use crate::form::Form;
use crate::golden::TensorEntry;
use crate::observation::{
    Answer, Answers, Container, Failure, HEAD_BYTES, MAGIC_BYTES, MetadataEntry, Peer, Peers, Question, Stored, StoredFile, TensorRow,
};

const HIDDEN: usize = 64;
const INTERMEDIATE: usize = 96;
const KV: usize = 32;

/// Every tensor of the model, in the order of their names.
pub(super) fn tensors(vocab: usize, n_layers: usize) -> Vec<TensorEntry> {
    let tensor = |name: String, shape: &[usize]| TensorEntry { name, dtype: "F32".to_owned(), shape: shape.to_vec() };
    let mut all = vec![tensor("model.embed_tokens.weight".into(), &[vocab, HIDDEN])];
    for i in 0..n_layers {
        let own = |name: &str, shape: &[usize]| tensor(format!("model.layers.{i}.{name}.weight"), shape);
        all.extend([
            own("input_layernorm", &[HIDDEN]),
            own("mlp.down_proj", &[HIDDEN, INTERMEDIATE]),
            own("mlp.gate_proj", &[INTERMEDIATE, HIDDEN]),
            own("mlp.up_proj", &[INTERMEDIATE, HIDDEN]),
            own("post_attention_layernorm", &[HIDDEN]),
            own("self_attn.k_proj", &[KV, HIDDEN]),
            own("self_attn.o_proj", &[HIDDEN, HIDDEN]),
            own("self_attn.q_proj", &[HIDDEN, HIDDEN]),
            own("self_attn.v_proj", &[KV, HIDDEN]),
        ]);
    }
    all.push(tensor("model.norm.weight".into(), &[HIDDEN]));
    all
}

/// The values of a tensor as published: a few hundredths in size, with no pattern.
fn published(entry: &TensorEntry) -> Vec<f32> {
    let mut state = entry.name.bytes().fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..entry.shape.iter().product()).map(|_| 0.05 * next()).collect()
}

/// The type of a tensor in a column.
fn dtype(form: &Form, entry: &TensorEntry) -> &'static str {
    match (entry.shape.len(), form.quantization.as_str()) {
        (1, _) => "F32",
        (_, "q8_0") => "Q8_0",
        (_, "q4_0") => "Q4_0",
        _ => "F32",
    }
}

/// Half-precision bits of a positive normal number that is one exactly.
fn half_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    (((bits >> 23) as u16 - 112) << 10) | (bits >> 13 & 1023) as u16
}

/// Bytes of the values, and the values that the bytes hold. Scales are cut to what a half can hold.
fn stored(dtype: &str, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut held) = (Vec::new(), Vec::new());
    if dtype == "F32" {
        return (values.iter().flat_map(|x| x.to_le_bytes()).collect(), values.to_vec());
    }
    for block in values.chunks(32) {
        let largest = block.iter().fold(0f32, |most, x| if x.abs() > most { x.abs() } else { most });
        let steps = if dtype == "Q8_0" { 127.0 } else { 7.0 };
        // The next larger half, so that no code is cut.
        let scale = f32::from_bits(((largest / steps).to_bits() & !0x1fff) + 0x2000);
        bytes.extend(half_bits(scale).to_le_bytes());
        let codes: Vec<i32> = block.iter().map(|x| (x / scale).round() as i32).collect();
        held.extend(codes.iter().map(|&q| scale * q as f32));
        match dtype {
            "Q8_0" => bytes.extend(codes.iter().map(|&q| q as i8 as u8)),
            _ => bytes.extend((0..16).map(|i| (codes[i] + 8) as u8 | ((codes[i + 16] + 8) as u8) << 4)),
        }
    }
    (bytes, held)
}

fn of(fixture: &Fixture, name: &str) -> Option<(Vec<u8>, Vec<f32>)> {
    let entry = fixture.model.index.tensors.iter().find(|entry| entry.name == name)?;
    Some(stored(dtype(&fixture.form, entry), &published(entry)))
}

/// What the runtime reads of a tensor.
pub(super) fn weights(fixture: &Fixture, name: &str) -> Result<Vec<f32>, Failure> {
    let refused = || Failure::Refused { kind: "request".into(), message: format!("no tensor {name:?}") };
    of(fixture, name).map(|(_, held)| held).ok_or_else(refused)
}

/// The rows of the list of tensors.
pub(super) fn rows(fixture: &Fixture) -> Vec<TensorRow> {
    let row = |entry: &TensorEntry| TensorRow {
        name: entry.name.clone(),
        dtype: dtype(&fixture.form, entry).to_owned(),
        shape: entry.shape.clone(),
        rms: 0.03,
        mean: 0.001,
        min: -0.05,
        max: 0.05,
        n_nonfinite: 0,
    };
    fixture.model.index.tensors.iter().map(row).collect()
}

/// The name of a tensor in GGUF.
fn gguf_name(name: &str) -> String {
    let renamed = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.", "ffn_"),
        ("_proj", ""),
    ];
    renamed.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of the values of a column.
pub(super) fn digest(fixture: &Fixture) -> String {
    let all: Vec<u8> = fixture
        .model
        .index
        .tensors
        .iter()
        .flat_map(|entry| stored(dtype(&fixture.form, entry), &published(entry)).1)
        .flat_map(f32::to_le_bytes)
        .collect();
    hex(&all)
}

fn metadata(fixture: &Fixture) -> Vec<MetadataEntry> {
    let config = &fixture.model.index.config;
    let entry = |key: &str, kind: &str, value: String| MetadataEntry { key: key.into(), kind: kind.into(), value };
    let count = |key: &str, value: usize| entry(key, "u32", value.to_string());
    vec![
        entry("general.architecture", "str", "llama".into()),
        count("llama.block_count", config.n_layers),
        count("llama.context_length", config.n_ctx),
        count("llama.embedding_length", config.hidden_size),
        count("llama.feed_forward_length", config.intermediate_size),
        count("llama.attention.head_count", config.n_heads),
        entry("llama.attention.layer_norm_rms_epsilon", "f32", "0.00001".into()),
        count("general.file_type", if fixture.form.quantization == "f32" { 0 } else { 7 }),
        count("general.quantization_version", 2),
        entry("tokenizer.ggml.model", "str", "llama".into()),
        entry("tokenizer.ggml.tokens", "arr[str]", format!("[{}]", config.vocab_size)),
    ]
}

/// The file of the column, laid out once for all tests.
pub(super) fn container(fixture: &Fixture) -> Container {
    static FILES: LazyLock<Mutex<HashMap<Form, Container>>> = LazyLock::new(Mutex::default);
    FILES.lock().unwrap().entry(fixture.form.clone()).or_insert_with(|| file(fixture)).clone()
}

fn file(fixture: &Fixture) -> Container {
    let gguf = fixture.form.is("gguf");
    let (alignment, data) = if gguf { (32, 4096) } else { (1, 4096) };
    let mut end: u64 = data;
    let mut tensors = Vec::new();
    for entry in &fixture.model.index.tensors {
        let dtype = dtype(&fixture.form, entry);
        let (bytes, _) = stored(dtype, &published(entry));
        tensors.push(Stored {
            name: if gguf { gguf_name(&entry.name) } else { entry.name.clone() },
            hf_name: Some(entry.name.clone()),
            dtype: dtype.to_owned(),
            shape: entry.shape.clone(),
            file: 0,
            offset: end,
            bytes: bytes.len() as u64,
            sha256: hex(&bytes),
            head: bytes[..bytes.len().min(HEAD_BYTES)].to_vec(),
        });
        end = (end + bytes.len() as u64).next_multiple_of(alignment);
    }
    let mut magic = if gguf { b"GGUF\x03\0\0\0".to_vec() } else { [&4088u64.to_le_bytes()[..], b"{\"m\""].concat() };
    magic.resize(MAGIC_BYTES, b' ');
    Container {
        format: fixture.form.format.clone(),
        version: if gguf { "3".to_owned() } else { String::new() },
        n_bytes: end,
        alignment,
        files: vec![StoredFile { name: "model".into(), bytes: end, magic, data }],
        metadata: if gguf { metadata(fixture) } else { Vec::new() },
        tensors,
        checksum: None,
        has_tokenizer: true,
        values_digest: digest(fixture),
        source: fixture.model.index.model_files.iter().map(|file| (file.name.clone(), file.sha256.clone())).collect(),
        warnings: Vec::new(),
    }
}

/// Peers that are right, whatever they are.
pub(super) struct Shelf(pub(super) Form);

struct Right(Fixture);

impl Answers for Right {
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure> {
        right_answer(&self.0, question).map(Arc::new)
    }
}

impl Peers for Shelf {
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure> {
        let form = match peer {
            Peer::Source => Form::published("F32"),
            Peer::Column { format, quantization } => Form::converted(format, quantization, "F32"),
            _ => self.0.clone(),
        };
        static RIGHT: LazyLock<Mutex<HashMap<Form, Arc<Right>>>> = LazyLock::new(Mutex::default);
        let mut known = RIGHT.lock().unwrap();
        let right = known.entry(form.clone()).or_insert_with(|| Arc::new(Right(Fixture::of(form))));
        Ok(Arc::clone(right) as Arc<dyn Answers + Send + Sync>)
    }
}
