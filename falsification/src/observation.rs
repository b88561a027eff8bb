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
}

impl Op {
    /// Every op, in the order of declaration.
    pub const ALL: [Op; 12] = [
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
