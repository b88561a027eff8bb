//! What is asked: the questions, how logits are to be computed, and the ops that a runtime declares.

use std::fmt;

use super::SampleRequest;

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
    /// This many askers at the same time; the answer is [`Answer::Many`](super::Answer::Many), one entry for each.
    Concurrent(usize),
}

/// A conversation, and the chat template that it is rendered with.
///
/// JSON travels as text: the order of its keys is part of the question, because `tojson` and `items` show it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chat {
    /// The Jinja source of the template; none asks for the one that the artifact carries.
    pub template: Option<String>,
    /// The messages: a JSON array of objects.
    pub messages: String,
    /// The tools that the model may call: a JSON array of objects; none is not the same as an empty one.
    pub tools: Option<String>,
    /// Further variables of the template, a JSON object: `bos_token`, `eos_token` and whatever else the template asks for.
    pub variables: String,
    /// Whether the text ends where the assistant is to begin.
    pub add_generation_prompt: bool,
    /// What `strftime_now` takes for the local time, `2026-07-05T09:08:07`; none is the machine's clock.
    pub now: Option<String>,
}

/// What a check asks a runtime about one artifact.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// The architecture and its sizes, as the runtime understood them. Answer: [`Answer::Metadata`](super::Answer::Metadata).
    Metadata,
    /// Every tensor that the runtime loaded. Answer: [`Answer::Tensors`](super::Answer::Tensors).
    Tensors,
    /// The token ids of a text. Answer: [`Answer::Ids`](super::Answer::Ids).
    Tokenize {
        /// The text.
        text: String,
        /// Whether the tokenizer's own special tokens (BOS, EOS) are added.
        add_special: bool,
    },
    /// The bytes that ids stand for, special tokens kept. Answer: [`Answer::Bytes`](super::Answer::Bytes).
    Detokenize {
        /// The token ids.
        ids: Vec<u32>,
    },
    /// The logits after each id. Answer: [`Answer::Logits`](super::Answer::Logits), or [`Answer::Many`](super::Answer::Many) under [`Mode::Concurrent`].
    Logits {
        /// The token ids.
        ids: Vec<u32>,
        /// Which rows are asked for.
        positions: Positions,
        /// How they are to be computed.
        mode: Mode,
    },
    /// Greedy continuation. Answer: [`Answer::Generated`](super::Answer::Generated).
    Generate {
        /// The token ids to continue.
        ids: Vec<u32>,
        /// How many tokens at most.
        max_new_tokens: usize,
        /// Whether an EOS token ends the text (it is included) or is a token like any other.
        stop_at_eos: bool,
    },
    /// Stage sketches at the last id. Answer: [`Answer::Sketch`](super::Answer::Sketch).
    Sketch {
        /// The token ids.
        ids: Vec<u32>,
        /// `false`: one prefill over all ids. `true`: all but the last are prefilled, and the last is fed as one decode step.
        decode: bool,
    },
    /// The file as it is stored: container, metadata, tensors, digests. Answer: [`Answer::Container`](super::Answer::Container).
    Container,
    /// The values of one tensor, dequantized, in row-major order of its logical shape. Answer: [`Answer::Weights`](super::Answer::Weights).
    Weights {
        /// Its name in the Hugging Face folder, whatever the container calls it.
        tensor: String,
    },
    /// Greedy continuation to the full length, timed by whoever asks the runtime. Answer: [`Answer::Timed`](super::Answer::Timed).
    Timed {
        /// The token ids to continue.
        ids: Vec<u32>,
        /// How many tokens; EOS ends nothing.
        max_new_tokens: usize,
    },
    /// The text of a conversation under a chat template, and its ids with no special tokens added to those that the template writes.
    /// Answer: [`Answer::Chat`](super::Answer::Chat).
    Chat(Chat),
    /// A token drawn from these logits; no model takes part. Answer: [`Answer::Sampled`](super::Answer::Sampled).
    Sample(Box<SampleRequest>),
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
    /// [`Question::Chat`].
    Chat,
    /// [`Question::Sample`].
    Sample,
}

impl Op {
    /// Every op, in the order of declaration.
    pub const ALL: [Op; 17] = [
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
        Op::Chat,
        Op::Sample,
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
            Op::Chat => "chat",
            Op::Sample => "sample",
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
            Question::Chat(_) => Op::Chat,
            Question::Sample(_) => Op::Sample,
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

/// The beginning of a text, quoted and escaped.
fn brief(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Metadata => f.write_str("the model's metadata"),
            Question::Tensors => f.write_str("the list of tensors"),
            Question::Tokenize { text, add_special } => {
                write!(f, "ids of {} {} special tokens", brief(text), if *add_special { "with" } else { "without" })
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
            Question::Chat(chat) => {
                let ending = if chat.add_generation_prompt { "with" } else { "without" };
                write!(f, "the text of {} under a chat template, {ending} generation prompt", brief(&chat.messages))
            }
            Question::Sample(request) => {
                let (logits, before) = (request.logit_bits.len(), request.prompt.len() + request.generated.len());
                let params = serde_json::to_string(&request.params).map_err(|_| fmt::Error)?;
                write!(f, "a token drawn from {logits} logits after {before} ids, u = {:?}, by {params}", request.u)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_op_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<String> = Op::ALL.iter().map(Op::to_string).collect();
        assert_eq!(words.len(), Op::ALL.len());
        assert!(words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())), "{words:?}");
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
