//! What is answered, and why there may be no answer.

use std::fmt;

use super::{Container, Op, Sampled};

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
    /// To [`Question::Metadata`](super::Question::Metadata).
    Metadata(Metadata),
    /// To [`Question::Tensors`](super::Question::Tensors).
    Tensors(Vec<TensorRow>),
    /// To [`Question::Tokenize`](super::Question::Tokenize).
    Ids(Vec<u32>),
    /// To [`Question::Detokenize`](super::Question::Detokenize).
    Bytes(Vec<u8>),
    /// To [`Question::Logits`](super::Question::Logits).
    Logits(Logits),
    /// To [`Question::Logits`](super::Question::Logits) under [`Mode::Concurrent`](super::Mode::Concurrent), one for each asker.
    Many(Vec<Logits>),
    /// To [`Question::Generate`](super::Question::Generate).
    Generated {
        /// The new ids, without the prompt; the EOS id is included where it ended the text.
        ids: Vec<u32>,
        /// Why it ended.
        stop: Stop,
    },
    /// To [`Question::Sketch`](super::Question::Sketch).
    Sketch(Vec<StageSketch>),
    /// To [`Question::Container`](super::Question::Container).
    Container(Container),
    /// To [`Question::Weights`](super::Question::Weights): as many values as the logical shape has elements.
    Weights(Vec<f32>),
    /// To [`Question::Timed`](super::Question::Timed).
    Timed {
        /// The new ids, without the prompt.
        ids: Vec<u32>,
        /// Wall-clock seconds from the request to the answer, measured outside the runtime.
        seconds: f64,
    },
    /// To [`Question::Chat`](super::Question::Chat).
    Chat {
        /// The rendered text.
        text: String,
        /// Its ids: special tokens that are spelled out in it are one id each, and none is added.
        ids: Vec<u32>,
    },
    /// To [`Question::Sample`](super::Question::Sample).
    Sampled(Sampled),
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
            Answer::Chat { .. } => "a rendered conversation",
            Answer::Sampled(_) => "a drawn token",
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
    fn answers_are_called_by_their_kind() {
        let logits = || Logits { n: 0, vocab: 0, values: Vec::new() };
        let due = [
            (Answer::Metadata(Metadata::default()), "metadata"),
            (Answer::Tensors(Vec::new()), "tensors"),
            (Answer::Ids(Vec::new()), "ids"),
            (Answer::Bytes(Vec::new()), "bytes"),
            (Answer::Logits(logits()), "logits"),
            (Answer::Many(vec![logits()]), "logits of several askers"),
            (Answer::Generated { ids: Vec::new(), stop: Stop::Eos }, "generated ids"),
            (Answer::Sketch(Vec::new()), "stage sketches"),
            (Answer::Weights(Vec::new()), "values of a tensor"),
            (Answer::Timed { ids: Vec::new(), seconds: 1.0 }, "timed ids"),
            (Answer::Chat { text: String::new(), ids: Vec::new() }, "a rendered conversation"),
        ];
        for (answer, kind) in due {
            assert_eq!(answer.kind(), kind);
        }
        assert_eq!([Stop::Length, Stop::Eos].map(|stop| stop.to_string()), ["length", "eos"]);
    }
}
