//! The answers, as they travel. Fields that are not named here are allowed and not read.

use ground_truth_falsification::observation as seen;
use serde::{Deserialize, Serialize};

use super::array::{Array, Bytes, Statistic};

/// To [`Hello`](super::Request::Hello).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What computes.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// The containers it loads.
    pub formats: Vec<String>,
    /// The weight types it loads; empty: any.
    #[serde(default)]
    pub quantizations: Vec<String>,
    /// The architectures it computes; empty: any.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// The requests it answers, as words of [`Op::name`](seen::Op::name).
    pub ops: Vec<String>,
    /// What it computes with; without it, `f32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<String>,
}

/// To [`Load`](super::Request::Load).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// Always true; a failure is an error.
    pub ok: bool,
    /// What the runtime understood of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What a user should not miss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The model's dimensions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each is the field of its name in `observation::Metadata`")]
pub struct Metadata {
    pub architecture: Option<String>,
    pub n_layers: Option<usize>,
    pub n_heads: Option<usize>,
    pub n_kv_heads: Option<usize>,
    pub head_dim: Option<usize>,
    pub hidden_size: Option<usize>,
    pub intermediate_size: Option<usize>,
    pub vocab_size: Option<usize>,
    pub n_ctx: Option<usize>,
    pub tie_word_embeddings: Option<bool>,
    pub bos: Option<u32>,
    pub eos: Option<Vec<u32>>,
}

/// Writes a type of the wire and its twin among the observations as each other.
macro_rules! twins {
    ($wire:ident, $seen:ident, { $($field:ident),* $(,)? } $(, { $($changed:ident: $to:expr, $from:expr);* $(;)? })?) => {
        impl From<seen::$seen> for $wire {
            fn from(value: seen::$seen) -> Self {
                Self { $($field: value.$field,)* $($($changed: $to(value.$changed),)*)? }
            }
        }

        impl From<$wire> for seen::$seen {
            fn from(value: $wire) -> Self {
                Self { $($field: value.$field,)* $($($changed: $from(value.$changed),)*)? }
            }
        }
    };
}

fn each<A: Into<B>, B>(values: Vec<A>) -> Vec<B> {
    values.into_iter().map(Into::into).collect()
}

twins!(Metadata, Metadata, {
    architecture, n_layers, n_heads, n_kv_heads, head_dim, hidden_size, intermediate_size, vocab_size, n_ctx, tie_word_embeddings, bos, eos,
});

/// To [`Tokenize`](super::Request::Tokenize).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The ids.
    pub ids: Vec<u32>,
}

/// To [`Detokenize`](super::Request::Detokenize).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The bytes that the ids stand for.
    pub bytes: Bytes,
}

/// To [`LogitsBatch`](super::Request::LogitsBatch).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// One entry for each sequence.
    pub logits: Vec<Array>,
}

/// To [`Generate`](super::Request::Generate).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The new ids.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The asked number of tokens, or the context, is used up.
    Length,
    /// An EOS token was generated.
    Eos,
}

impl From<seen::Stop> for Stop {
    fn from(stop: seen::Stop) -> Self {
        match stop {
            seen::Stop::Length => Stop::Length,
            seen::Stop::Eos => Stop::Eos,
        }
    }
}

impl From<Stop> for seen::Stop {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Length => seen::Stop::Length,
            Stop::Eos => seen::Stop::Eos,
        }
    }
}

/// To [`Sketch`](super::Request::Sketch).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// Every stage in the order of the forward pass.
    pub stages: Vec<Stage>,
}

/// Six numbers of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// Root mean square.
    pub rms: Statistic,
    /// Mean.
    pub mean: Statistic,
    /// Four projections.
    pub projections: [Statistic; 4],
}

twins!(Stage, StageSketch, { stage }, {
    rms: Statistic, |s: Statistic| s.0;
    mean: Statistic, |s: Statistic| s.0;
    projections: |p: [f64; 4]| p.map(Statistic), |p: [Statistic; 4]| p.map(|s| s.0);
});

/// To [`Tensors`](super::Request::Tensors).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tensors {
    /// Every tensor.
    pub tensors: Vec<Tensor>,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `observation::TensorRow`")]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    pub rms: Statistic,
    pub mean: Statistic,
    pub min: Statistic,
    pub max: Statistic,
    pub n_nonfinite: u64,
}

twins!(Tensor, TensorRow, { name, dtype, shape, n_nonfinite }, {
    rms: Statistic, |s: Statistic| s.0;
    mean: Statistic, |s: Statistic| s.0;
    min: Statistic, |s: Statistic| s.0;
    max: Statistic, |s: Statistic| s.0;
});

/// To [`Chat`](super::Request::Chat).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chat {
    /// The text of the conversation.
    pub text: String,
    /// Its ids.
    pub ids: Vec<u32>,
}

/// To [`Sample`](super::Request::Sample).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    /// The logits after every change, of one dimension.
    #[serde(flatten)]
    pub logits: Array,
    /// The id that was drawn; `id` is the request's number.
    pub token: u32,
}

/// To [`Container`](super::Request::Container).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The file as stored.
    pub container: Container,
}

/// An artifact as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `observation::Container`")]
pub struct Container {
    pub format: String,
    pub version: String,
    pub n_bytes: u64,
    pub alignment: u64,
    pub files: Vec<StoredFile>,
    pub metadata: Vec<MetadataEntry>,
    pub tensors: Vec<StoredTensor>,
    pub checksum: Option<bool>,
    pub has_tokenizer: bool,
    pub values_digest: String,
    pub source: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// One of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `observation::StoredFile`")]
pub struct StoredFile {
    pub name: String,
    pub bytes: u64,
    pub magic: Bytes,
    pub data: u64,
}

/// One entry of its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `observation::MetadataEntry`")]
pub struct MetadataEntry {
    pub key: String,
    pub kind: String,
    pub value: String,
}

/// One of its tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in `observation::Stored`")]
pub struct StoredTensor {
    pub name: String,
    pub hf_name: Option<String>,
    pub dtype: String,
    pub shape: Vec<usize>,
    pub file: usize,
    pub offset: u64,
    pub bytes: u64,
    pub sha256: String,
    pub head: Bytes,
}

twins!(StoredFile, StoredFile, { name, bytes, data }, { magic: Bytes, |b: Bytes| b.0; });
twins!(MetadataEntry, MetadataEntry, { key, kind, value });
twins!(StoredTensor, Stored, { name, hf_name, dtype, shape, file, offset, bytes, sha256 }, { head: Bytes, |b: Bytes| b.0; });
twins!(Container, Container, { format, version, n_bytes, alignment, checksum, has_tokenizer, values_digest, source, warnings }, {
    files: each, each;
    metadata: each, each;
    tensors: each, each;
});
