//! Questions that a check asks and answers that a runtime gives.
//!
//! A [`Question`] is a value: two checks that need the same observation ask the same question, and whoever answers may compute it once
//! and hand out the same [`Answer`] again. The one exception is [`Mode::Again`], which asks for a fresh run.
//!
//! An answer is untrusted. A runtime may return logits of the wrong shape, ids past the vocabulary, or nothing: the types here hold
//! whatever was said, and the checks judge it.

use std::fmt;
use std::sync::Arc;

/// Which positions' logits are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Positions {
    /// One row for each id of the question.
    All,
    /// The last row alone.
    Last,
}

/// How the runtime is to compute the logits. By the invariance claims the answer is the same, bit for bit, in every mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Mode {
    /// One prefill over all ids, with the thread count that the session was opened with.
    Whole,
    /// The ids are fed in pieces of these lengths, one after the other, through one cache. The lengths sum to the number of ids.
    Chunks(Vec<usize>),
    /// The ids are fed one by one through one cache, as decoding does.
    Stepwise,
    /// As [`Mode::Whole`], with this many threads.
    Threads(usize),
    /// The ids sit in the middle of a batch of these neighbours; the answer is for the ids alone.
    Batch(Vec<Vec<u32>>),
    /// A fresh run, never served from memory; the number tells several of them apart.
    Again(u32),
    /// This many askers at the same time; the answer is [`Answer::Many`], one entry for each.
    Concurrent(usize),
}

/// What a check asks a runtime about one artifact.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// The architecture and its sizes, as the runtime understood them. Answer: [`Answer::Metadata`].
    Metadata,
    /// Every tensor that the runtime loaded. Answer: [`Answer::Tensors`].
    Tensors,
    /// The token ids of a text. Answer: [`Answer::Ids`].
    Tokenize {
        /// The text.
        text: String,
        /// Whether the tokenizer's own special tokens (BOS, EOS) are added.
        add_special: bool,
    },
    /// The bytes that ids stand for, special tokens kept. Answer: [`Answer::Bytes`].
    Detokenize {
        /// The token ids.
        ids: Vec<u32>,
    },
    /// The logits after each id. Answer: [`Answer::Logits`], or [`Answer::Many`] under [`Mode::Concurrent`].
    Logits {
        /// The token ids.
        ids: Vec<u32>,
        /// Which rows are asked for.
        positions: Positions,
        /// How they are to be computed.
        mode: Mode,
    },
    /// Greedy continuation. Answer: [`Answer::Generated`].
    Generate {
        /// The token ids to continue.
        ids: Vec<u32>,
        /// How many tokens at most.
        max_new_tokens: usize,
        /// Whether an EOS token ends the text (it is included) or is a token like any other.
        stop_at_eos: bool,
    },
    /// Stage sketches at the last id. Answer: [`Answer::Sketch`].
    Sketch {
        /// The token ids.
        ids: Vec<u32>,
        /// `false`: one prefill over all ids. `true`: all but the last are prefilled, and the last is fed as one decode step.
        decode: bool,
    },
    /// The file as it is stored: container, metadata, tensors, digests. Answer: [`Answer::Container`].
    Container,
    /// The values of one tensor, dequantized, in row-major order of its logical shape. Answer: [`Answer::Weights`].
    Weights {
        /// Its name in the Hugging Face folder, whatever the container calls it.
        tensor: String,
    },
    /// Greedy continuation to the full length, timed by whoever asks the runtime. Answer: [`Answer::Timed`].
    Timed {
        /// The token ids to continue.
        ids: Vec<u32>,
        /// How many tokens; EOS ends nothing.
        max_new_tokens: usize,
    },
}

/// One capability of a runtime. A check that needs an op which the runtime does not declare is not listed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// [`Question::Metadata`].
    Metadata,
    /// [`Question::Tensors`].
    Tensors,
    /// [`Question::Tokenize`].
    Tokenize,
    /// [`Question::Detokenize`].
    Detokenize,
    /// [`Question::Logits`] under [`Mode::Whole`] or [`Mode::Again`].
    Logits,
    /// [`Mode::Chunks`].
    Chunks,
    /// [`Mode::Stepwise`].
    Stepwise,
    /// [`Mode::Threads`].
    Threads,
    /// [`Mode::Batch`].
    Batch,
    /// [`Mode::Concurrent`].
    Concurrent,
    /// [`Question::Generate`].
    Generate,
    /// [`Question::Sketch`].
    Sketch,
    /// [`Question::Container`].
    Container,
    /// [`Question::Weights`].
    Weights,
    /// [`Question::Timed`].
    Timed,
}

impl Op {
    /// Every op, in the order of declaration.
    pub const ALL: [Op; 15] = [
        Op::Metadata,
        Op::Tensors,
        Op::Tokenize,
        Op::Detokenize,
        Op::Logits,
        Op::Chunks,
        Op::Stepwise,
        Op::Threads,
        Op::Batch,
        Op::Concurrent,
        Op::Generate,
        Op::Sketch,
        Op::Container,
        Op::Weights,
        Op::Timed,
    ];

    /// The word for this op in messages and in the runtime protocol.
    pub fn name(self) -> &'static str {
        match self {
            Op::Metadata => "metadata",
            Op::Tensors => "tensors",
            Op::Tokenize => "tokenize",
            Op::Detokenize => "detokenize",
            Op::Logits => "logits",
            Op::Chunks => "chunks",
            Op::Stepwise => "stepwise",
            Op::Threads => "threads",
            Op::Batch => "batch",
            Op::Concurrent => "concurrent",
            Op::Generate => "generate",
            Op::Sketch => "sketch",
            Op::Container => "container",
            Op::Weights => "weights",
            Op::Timed => "timed",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Question {
    /// The op that a runtime must declare to be asked this.
    pub fn op(&self) -> Op {
        match self {
            Question::Metadata => Op::Metadata,
            Question::Tensors => Op::Tensors,
            Question::Tokenize { .. } => Op::Tokenize,
            Question::Detokenize { .. } => Op::Detokenize,
            Question::Logits { mode, .. } => match mode {
                Mode::Whole | Mode::Again(_) => Op::Logits,
                Mode::Chunks(_) => Op::Chunks,
                Mode::Stepwise => Op::Stepwise,
                Mode::Threads(_) => Op::Threads,
                Mode::Batch(_) => Op::Batch,
                Mode::Concurrent(_) => Op::Concurrent,
            },
            Question::Generate { .. } => Op::Generate,
            Question::Sketch { .. } => Op::Sketch,
            Question::Container => Op::Container,
            Question::Weights { .. } => Op::Weights,
            Question::Timed { .. } => Op::Timed,
        }
    }

    /// The logits at every one of `ids`, computed in one prefill: the observation that most checks share.
    pub fn logits(ids: &[u32]) -> Question {
        Question::Logits { ids: ids.to_vec(), positions: Positions::All, mode: Mode::Whole }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Whole => f.write_str("in one piece"),
            Mode::Chunks(lengths) => write!(f, "in pieces of {lengths:?}"),
            Mode::Stepwise => f.write_str("one by one"),
            Mode::Threads(1) => f.write_str("on 1 thread"),
            Mode::Threads(n) => write!(f, "on {n} threads"),
            Mode::Batch(neighbours) => write!(f, "in a batch with {} neighbours", neighbours.len()),
            Mode::Again(n) => write!(f, "in one piece, run {n} again"),
            Mode::Concurrent(n) => write!(f, "for {n} askers at the same time"),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Metadata => f.write_str("the model's metadata"),
            Question::Tensors => f.write_str("the list of tensors"),
            Question::Tokenize { text, add_special } => {
                let brief: String = text.chars().take(40).collect();
                write!(f, "ids of {brief:?} {} special tokens", if *add_special { "with" } else { "without" })
            }
            Question::Detokenize { ids } => write!(f, "bytes of {} ids", ids.len()),
            Question::Logits { ids, positions: Positions::All, mode } => write!(f, "logits at all of {} ids, {mode}", ids.len()),
            Question::Logits { ids, positions: Positions::Last, mode } => write!(f, "logits at the last of {} ids, {mode}", ids.len()),
            Question::Generate { ids, max_new_tokens, .. } => write!(f, "{max_new_tokens} greedy tokens after {} ids", ids.len()),
            Question::Sketch { ids, decode: false } => write!(f, "stage sketches at the last of {} ids", ids.len()),
            Question::Sketch { ids, decode: true } => {
                write!(f, "stage sketches of one decode step after {} ids", ids.len().saturating_sub(1))
            }
            Question::Container => f.write_str("the file as it is stored"),
            Question::Weights { tensor } => write!(f, "the values of {tensor:?}"),
            Question::Timed { ids, max_new_tokens } => write!(f, "{max_new_tokens} greedy tokens after {} ids, timed", ids.len()),
        }
    }
}

/// What a runtime understood of the model. A field that it does not report is `None`, which INSPECT finds red.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `llama`, `qwen2`, `gpt2`, ...
    pub architecture: Option<String>,
    /// Number of blocks.
    pub n_layers: Option<usize>,
    /// Number of query heads.
    pub n_heads: Option<usize>,
    /// Number of key and value heads.
    pub n_kv_heads: Option<usize>,
    /// Width of one head.
    pub head_dim: Option<usize>,
    /// Width of the residual stream.
    pub hidden_size: Option<usize>,
    /// Width of the MLP.
    pub intermediate_size: Option<usize>,
    /// Number of rows of the embedding.
    pub vocab_size: Option<usize>,
    /// Longest sequence, in tokens.
    pub n_ctx: Option<usize>,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: Option<bool>,
    /// The id that begins a text, where the model has one.
    pub bos: Option<u32>,
    /// The ids at which generation stops; an empty list says that there are none.
    pub eos: Option<Vec<u32>>,
}

/// One tensor as the runtime loaded it.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorRow {
    /// Its name in the file.
    pub name: String,
    /// Its element type as stored, in safetensors' spelling (`F32`, `BF16`, ...).
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Root mean square of its finite elements.
    pub rms: f64,
    /// Mean of its finite elements.
    pub mean: f64,
    /// Smallest finite element.
    pub min: f64,
    /// Largest finite element.
    pub max: f64,
    /// How many elements are NaN or infinite.
    pub n_nonfinite: u64,
}

/// Logits, row-major, shape `(n, vocab)`. The three fields may contradict each other: F-T4 judges that.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// Number of rows (positions).
    pub n: usize,
    /// Number of columns (token ids).
    pub vocab: usize,
    /// `n * vocab` values.
    pub values: Vec<f32>,
}

impl Logits {
    /// Row `i`, or `None` where the values end before it does.
    pub fn row(&self, i: usize) -> Option<&[f32]> {
        let start = i.checked_mul(self.vocab)?;
        let end = start.checked_add(self.vocab)?;
        if i >= self.n {
            return None;
        }
        self.values.get(start..end)
    }
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The asked number of tokens, or the context, is used up.
    Length,
    /// An EOS token was generated.
    Eos,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stop::Length => "length",
            Stop::Eos => "eos",
        })
    }
}

/// A few numbers that stand for one stage's activation vector at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSketch {
    /// `embedding`, `blk.0.attn_norm`, ..., `logits`.
    pub stage: String,
    /// Root mean square of the vector.
    pub rms: f64,
    /// Its mean.
    pub mean: f64,
    /// Four projections on fixed random signs, each divided by the square root of the length.
    pub projections: [f64; 4],
}

impl StageSketch {
    /// The six numbers in the order of the golden: rms, mean, projections.
    pub fn numbers(&self) -> [f64; 6] {
        let [a, b, c, d] = self.projections;
        [self.rms, self.mean, a, b, c, d]
    }
}

/// One of the files that an artifact consists of: one for GGUF and APR, one or more for safetensors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFile {
    /// Its name, without folder.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its first [`MAGIC_BYTES`] bytes, or all of them where it is shorter.
    pub magic: Vec<u8>,
    /// Where the data of the tensors begin, in bytes.
    pub data: u64,
}

/// How many bytes from its beginning a file shows.
pub const MAGIC_BYTES: usize = 16;

/// How many bytes from its beginning a stored tensor shows: one block of the largest type.
pub const HEAD_BYTES: usize = 256;

/// One tensor as it lies in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its name in the container.
    pub name: String,
    /// Its name in the Hugging Face folder; none for a tensor that has no counterpart there (rope frequencies).
    pub hf_name: Option<String>,
    /// Its element type, spelled as safetensors and ggml do (`F32`, `Q4_K`), and APR's own as `AprQ8` and `AprQ4`.
    pub dtype: String,
    /// Its shape as stored, slowest dimension first.
    pub shape: Vec<usize>,
    /// The file it lies in, as a place in [`Container::files`].
    pub file: usize,
    /// Where its bytes begin, from the beginning of the file.
    pub offset: u64,
    /// How many bytes it has, without padding.
    pub bytes: u64,
    /// SHA-256 of those bytes, read from the file by position, 64 lowercase hex digits.
    pub sha256: String,
    /// The first [`HEAD_BYTES`] of them, read likewise.
    pub head: Vec<u8>,
}

/// One entry of a container's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataEntry {
    /// Its key.
    pub key: String,
    /// Its type in the container's own words: GGUF's `u32`, `str`, `arr[str]`; JSON's `number`, `string`, `bool`, `array`, `object`.
    pub kind: String,
    /// Its value as text; of an array its length in brackets, `[768]`.
    pub value: String,
}

/// An artifact as it is stored, before anything is computed with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// `safetensors`, `gguf` or `apr`, from the content.
    pub format: String,
    /// The version of the format that the file says it has; empty where the format has none.
    pub version: String,
    /// Bytes of all files together.
    pub n_bytes: u64,
    /// What the offsets of tensors are multiples of, in bytes; 1 where the format asks for nothing.
    pub alignment: u64,
    /// The files.
    pub files: Vec<StoredFile>,
    /// The metadata, in file order.
    pub metadata: Vec<MetadataEntry>,
    /// The tensors, in file order.
    pub tensors: Vec<Stored>,
    /// Whether the checksum that the container carries is right; none where it carries none.
    pub checksum: Option<bool>,
    /// Whether a tokenizer lies in the container or, for safetensors, beside it.
    pub has_tokenizer: bool,
    /// SHA-256 over all values, whatever the container: for each tensor by Hugging Face name in byte order the name, a zero byte, the number
    /// of dimensions (u32), each dimension (u64) and the values in row-major order (f32), all little endian. A head that is a copy of the
    /// embedding, and what is computed at loading, is left out.
    pub values_digest: String,
    /// What the artifact says that it was made from: names of files and SHA-256 of their bytes. Where a name stands in a key, what is
    /// neither a letter nor a digit is written `_`.
    pub source: Vec<(String, String)>,
    /// What reading or converting warned about.
    pub warnings: Vec<String>,
}

impl Container {
    /// The metadata entry with this key.
    pub fn entry(&self, key: &str) -> Option<&MetadataEntry> {
        self.metadata.iter().find(|entry| entry.key == key)
    }

    /// The tensor with this Hugging Face name.
    pub fn stored(&self, hf_name: &str) -> Option<&Stored> {
        self.tensors.iter().find(|stored| stored.hf_name.as_deref() == Some(hf_name))
    }
}

/// What a runtime answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Question::Metadata`].
    Metadata(Metadata),
    /// To [`Question::Tensors`].
    Tensors(Vec<TensorRow>),
    /// To [`Question::Tokenize`].
    Ids(Vec<u32>),
    /// To [`Question::Detokenize`].
    Bytes(Vec<u8>),
    /// To [`Question::Logits`].
    Logits(Logits),
    /// To [`Question::Logits`] under [`Mode::Concurrent`], one for each asker.
    Many(Vec<Logits>),
    /// To [`Question::Generate`].
    Generated {
        /// The new ids, without the prompt; the EOS id is included where it ended the text.
        ids: Vec<u32>,
        /// Why it ended.
        stop: Stop,
    },
    /// To [`Question::Sketch`].
    Sketch(Vec<StageSketch>),
    /// To [`Question::Container`].
    Container(Container),
    /// To [`Question::Weights`]: as many values as the logical shape has elements.
    Weights(Vec<f32>),
    /// To [`Question::Timed`].
    Timed {
        /// The new ids, without the prompt.
        ids: Vec<u32>,
        /// Wall-clock seconds from the request to the answer, measured outside the runtime.
        seconds: f64,
    },
}

impl Answer {
    /// The word for this kind of answer in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Answer::Metadata(_) => "metadata",
            Answer::Tensors(_) => "tensors",
            Answer::Ids(_) => "ids",
            Answer::Bytes(_) => "bytes",
            Answer::Logits(_) => "logits",
            Answer::Many(_) => "logits of several askers",
            Answer::Generated { .. } => "generated ids",
            Answer::Sketch(_) => "stage sketches",
            Answer::Container(_) => "a container",
            Answer::Weights(_) => "values of a tensor",
            Answer::Timed { .. } => "timed ids",
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The runtime refused the request with a typed error.
    #[error("refused ({kind}): {message}")]
    Refused {
        /// The runtime's own stable word for this class of refusal.
        kind: String,
        /// Its message.
        message: String,
    },
    /// The runtime panicked, was killed or vanished.
    #[error("crashed: {message}")]
    Crash {
        /// What is known of it: panic message, signal, exit status.
        message: String,
    },
    /// The deadline passed.
    #[error("no answer within {seconds} s")]
    Timeout {
        /// The deadline in seconds.
        seconds: f64,
    },
    /// The answer was not one of the protocol.
    #[error("broke the protocol: {message}")]
    Protocol {
        /// What was received, and what was due.
        message: String,
    },
    /// The runtime does not have this op.
    #[error("does not support `{op}`")]
    Unsupported {
        /// The op that was asked for.
        op: Op,
    },
}

/// Whoever answers questions about one artifact: a runtime, or a test's fake.
pub trait Answers {
    /// Answers one question.
    ///
    /// # Errors
    ///
    /// Returns the [`Failure`] where the runtime refused, crashed, ran out of time, broke the protocol or lacks the op.
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure>;
}

/// Another artifact or another making of the same one, that a claim holds this one against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The model as published.
    Source,
    /// The same model in another column of the matrix.
    Column {
        /// `safetensors`, `gguf` or `apr`.
        format: String,
        /// `f32`, `q8_0`, ...
        quantization: String,
    },
    /// The artifact converted again from the same source.
    Again,
    /// The artifact read, and written again in its own format, no tensor changing its type.
    Rewritten,
    /// The artifact's values as F32, quantized once more by the same recipe into the same format.
    Requantized,
    /// The artifact converted to the other of GGUF and APR, and back to its own format and quantization. A type that the other format
    /// does not have travels as F32.
    RoundTrip,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Source => f.write_str("the model as published"),
            Peer::Column { format, quantization } => write!(f, "the {format} {quantization} artifact"),
            Peer::Again => f.write_str("the artifact converted again"),
            Peer::Rewritten => f.write_str("the artifact written again"),
            Peer::Requantized => f.write_str("the artifact quantized again"),
            Peer::RoundTrip => f.write_str("the artifact after the way to the other format and back"),
        }
    }
}

/// Whoever makes the peers of an artifact and answers for them.
pub trait Peers: Sync {
    /// Whoever answers for that peer. What making it costs is paid by whoever asks first.
    ///
    /// # Errors
    ///
    /// Returns the [`Failure`] where it cannot be made or loaded.
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure>;
}

/// No peers: of a runtime that is judged on one artifact alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure> {
        Err(Failure::Refused { kind: "peer".to_owned(), message: format!("{peer} is not at hand") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_past_the_values_is_none() {
        let logits = Logits { n: 3, vocab: 2, values: vec![1.0, 2.0, 3.0, 4.0, 5.0] };
        assert_eq!(logits.row(1), Some(&[3.0, 4.0][..]));
        assert_eq!(logits.row(2), None);
        assert_eq!(logits.row(usize::MAX), None);
        assert_eq!(Logits { n: 1, vocab: 2, values: vec![0.0; 8] }.row(1), None);
    }

    #[test]
    fn every_mode_names_its_op() {
        let ask = |mode| Question::Logits { ids: vec![1], positions: Positions::All, mode }.op();
        assert_eq!(ask(Mode::Whole), Op::Logits);
        assert_eq!(ask(Mode::Again(1)), Op::Logits);
        assert_eq!(ask(Mode::Stepwise), Op::Stepwise);
        assert_eq!(ask(Mode::Concurrent(4)), Op::Concurrent);
    }
}
