//! Rows of APR files: one small file, spoiled in one place, both of its CRC-32 made right again unless they are the row's business.

use ground_truth::format::apr::{self, Apr};
use ground_truth::format::layout::TensorSpec;
use ground_truth::{Dtype, Result};
use serde_json::{Value, json};

use super::{Folder, Row};

/// Where the index of the file begins, its metadata being at most 64 bytes.
const INDEX: usize = 128;
/// Where the fields of its first entry (`a`, one dimension) lie.
const NAME: usize = INDEX + 2;
const DTYPE: usize = INDEX + 3;
const RANK: usize = INDEX + 4;
const DIM: usize = INDEX + 5;
const SIZE: usize = INDEX + 21;
/// Where those of its second do.
const SECOND_NAME: usize = INDEX + 31;
const SECOND_OFFSET: usize = INDEX + 42;

fn spec(name: &str, dtype: Dtype, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

/// A file of these metadata and tensors, without its footer; the data are zeros.
fn body(metadata: Value, tensors: &[TensorSpec]) -> Vec<u8> {
    let layout = apr::layout(metadata.as_object().expect("an object"), tensors).expect("a layout");
    let mut file = layout.header;
    file.resize(layout.padded as usize, 0);
    file
}

/// The small file, changed, the header's CRC-32 made right.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = body(json!({}), &[spec("a", Dtype::F32, &[2]), spec("b", Dtype::F32, &[1])]);
    change(&mut file);
    let crc = crc32fast::hash(&[&file[..40], &file[44..64]].concat());
    put(40, crc.to_le_bytes())(&mut file);
    file
}

fn put(at: usize, bytes: impl AsRef<[u8]>) -> impl FnOnce(&mut Vec<u8>) {
    move |file| file[at..at + bytes.as_ref().len()].copy_from_slice(bytes.as_ref())
}

fn stamped(mut body: Vec<u8>) -> Vec<u8> {
    body.extend(crc32fast::hash(&body).to_le_bytes());
    body
}

fn open(folder: &Folder, bytes: &[u8]) -> Result<Apr> {
    folder.write("model.apr", bytes);
    Apr::open(&folder.path().join("model.apr"))
}

fn spoiled(folder: &Folder, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    open(folder, &stamped(changed(change))).map(drop)
}

/// A file whose metadata are these and five more that make a model, as far as that goes.
fn model(folder: &Folder, field: &str, value: Value, tensors: &[TensorSpec]) -> Result<()> {
    let mut metadata = json!({
        "architecture": "llama", "hidden_size": 4, "num_layers": 1, "num_heads": 2, "vocab_size": 6, "intermediate_size": 4,
        "max_position_embeddings": 8, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
    });
    metadata[field] = value;
    apr::checkpoint(&open(folder, &stamped(body(metadata, tensors)))?).map(drop)
}

#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    ("apr", "other-content", |f| open(f, b"GGUF\x03\0\0\0").map(drop)),
    ("apr", "other-version", |f| open(f, b"APRN\x01\0\0\0").map(drop)),
    ("apr", "magic", |f| open(f, b"APRZ\x01\0\0\0").map(drop)),
    ("apr", "too-short", |f| open(f, b"APR\0\x02\0").map(drop)),
    ("apr", "header-checksum", |f| { let mut file = changed(|_| {}); file[8] ^= 1; open(f, &stamped(file)).map(drop) }),
    ("apr", "version", |f| spoiled(f, put(4, [3]))),
    ("apr", "flag", |f| spoiled(f, put(6, [4]))),
    ("apr", "not-zero", |f| spoiled(f, put(63, [1]))),
    ("apr", "section", |f| spoiled(f, put(24, 192u64.to_le_bytes()))),
    ("apr", "past-end", |f| spoiled(f, put(20, 4096u32.to_le_bytes()))),
    ("apr", "metadata-too-large", |f| spoiled(f, put(20, u32::MAX.to_le_bytes()))),
    ("apr", "metadata", |f| spoiled(f, put(64, "[]"))),
    ("apr", "aliases", |f| open(f, &stamped(body(json!({"hidden_size": 4, "n_embd": 4}), &[]))).map(drop)),
    ("apr", "entry", |f| spoiled(f, put(8, 4u32.to_le_bytes()))),
    ("apr", "name-too-long", |f| {
        let mut file = body(json!({}), &[spec(&"n".repeat(256), Dtype::F32, &[1])]);
        put(INDEX, 257u16.to_le_bytes())(&mut file);
        file.insert(NAME, b'n');
        file.remove(INDEX + 290);
        open(f, &stamped(file)).map(drop)
    }),
    ("apr", "name-not-utf8", |f| spoiled(f, put(NAME, [0xff]))),
    ("apr", "duplicate-name", |f| spoiled(f, put(SECOND_NAME, "a"))),
    ("apr", "unsorted", |f| spoiled(f, put(NAME, "c"))),
    ("apr", "unknown-dtype", |f| spoiled(f, put(DTYPE, [200]))),
    ("apr", "ambiguous-dtype", |f| spoiled(f, put(DTYPE, [6]))),
    ("apr", "unsupported-dtype", |f| spoiled(f, put(DTYPE, [5]))),
    ("apr", "rank-too-large", |f| spoiled(f, put(RANK, [9]))),
    ("apr", "shape", |f| spoiled(f, put(DIM, u64::MAX.to_le_bytes()))),
    ("apr", "wrong-size", |f| spoiled(f, put(SIZE, [9]))),
    ("apr", "offset", |f| spoiled(f, put(SECOND_OFFSET, [0]))),
    ("apr", "trailing", |f| spoiled(f, |file| file.extend([0; 64]))),
    ("apr", "no-footer", |f| open(f, &changed(|_| {})).map(drop)),
    ("apr", "footer-checksum", |f| { let mut file = stamped(changed(|_| {})); file[192] ^= 1; open(f, &file).map(drop) }),
    ("apr", "field", |f| model(f, "rope_theta", json!(null), &[])),
    ("apr", "architecture", |f| model(f, "architecture", json!("mamba"), &[])),
    ("apr", "order", |f| model(f, "rope_type", json!(0), &[spec("model.layers.0.self_attn.q_proj.weight", Dtype::F32, &[3, 4])])),
    ("apr", "contradiction", |f| model(f, "hf_config", json!({
        "model_type": "llama", "vocab_size": 6, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2,
    }), &[])),
];
