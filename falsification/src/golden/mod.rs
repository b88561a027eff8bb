//! Golden files, version 1: what an oracle answered, read without belief.
//!
//! A golden is data from outside, written by `golden/oracle.py` alone. It passes three gates before a check sees it: the parser of this
//! module (a cap on its size, no unknown field, floats as hex digits of their bits), the lint of [`lint`] (every field that follows from
//! others is derived again), and the hashes of the index (the harness does those, it owns the I/O).
//!
//! | file | type | holds |
//! |---|---|---|
//! | `index.json` | [`Index`] | model, oracle, tensors, the list of all other files with their hashes |
//! | `<prompt>.json` | [`PromptGolden`] | ids, greedy continuation, teacher-forced values |
//! | `<prompt>.safetensors` | [`Full`] | all logits in float32 and float64, stage sketches |
//! | `tokenizer.json` | [`TokenizerGolden`] | texts, ids, decoded bytes |
//! | `perplexity-<text>.json` | [`PerplexityGolden`] | summed negative log-likelihood of a text |
//! | `dequantized/<column>/...` | [`Dequantized`], [`PromptGolden`] | the same oracle on the values of a quantized artifact |
//! | `chat/...` of the folder of goldens | [`ChatGolden`] | conversations under chat templates, whatever the model |
//! | `llama.cpp/<column>.json` | [`LlamaCpp`] | another runtime on the same file |
//! | `vectors/sampling.json` | [`SamplingGolden`] | logits, parameters and random numbers, and the tokens that they give; of no model |

mod chat;
mod full;
mod hex;
mod index;
pub mod lint;
mod locate;
mod other;
mod sample;

pub use chat::{
    CHAT_SCHEMA, ChatCase, ChatConversation, ChatConversations, ChatGolden, ChatIndex, ChatOracle, ChatStyle, ChatTokenizer, StyleEntry,
};
pub use full::{Full, SketchPair};
pub use hex::{Hex32, Hex64, HexBytes};
pub use index::{FileEntry, Index, MarginClass, ModelConfig, NotAsked, PromptEntry, Published, TensorEntry, stages};
pub use other::{
    DEQUANTIZED_SCHEMA, Dequantized, LLAMA_CPP_SCHEMA, LlamaCpp, LlamaCppGreedy, LlamaCppOracle, LlamaCppPrompt, LlamaCppStep,
    LlamaCppText, LlamaCppTokenizer,
};
pub use sample::{Draw, HexRow, RefusedCase, SAMPLING_JSON, SAMPLING_SCHEMA, SamplingCase, SamplingGolden, SamplingOracle, Tie};

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::observation::Stop;

/// The schema word that every golden file of this version carries.
pub const SCHEMA: &str = "ground-truth/golden/1";

/// Largest golden JSON that is read, in bytes. The largest real one, a tokenizer golden of 500 texts, has under 1 MiB.
pub const MAX_JSON_BYTES: usize = 64 << 20;

/// Largest golden safetensors that is read, in bytes: 256 positions of a 150,000 token vocabulary in float32 and float64 are 461 MB.
pub const MAX_FULL_BYTES: usize = 1 << 30;

/// Smallest margin, in nats, of a step that counts as clearly decided: `margin.wide` of `tolerances.toml`, where it is explained.
pub const WIDE_MARGIN: f64 = 2.0;

/// Margin, in nats, below which a step is nearly a tie.
pub const KNIFE_MARGIN: f64 = 0.25;

/// The oracle decodes through its cache and takes margins from a whole forward pass: where the two round apart, a margin is negative, by
/// this many times the rounding of one logit at most.
pub const TIE_MARGIN: f64 = 16.0;

/// How many of the most likely tokens the oracle writes at a position, where the vocabulary has as many.
pub const TOP_K: usize = 10;

/// At how many of the last positions the oracle writes them.
pub const TOP_POSITIONS: usize = 48;

/// What is wrong with a golden file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// The file is larger than any golden of this version can be.
    #[error("`{file}`: has {bytes} bytes, the cap is {cap}; a golden is never this large")]
    TooLarge {
        /// The golden file.
        file: String,
        /// Its size in bytes.
        bytes: usize,
        /// The cap in bytes.
        cap: usize,
    },
    /// The file is not JSON of this schema: truncated, `NaN`, a number out of range, a wrong type, an unknown, missing or repeated field.
    #[error("`{file}`, field `{field}`: {reason}; write it again with golden/oracle.py")]
    Json {
        /// The golden file.
        file: String,
        /// Path of the field, `greedy.ids[3]`; `$` for the whole document.
        field: String,
        /// What the JSON reader says, with line and column.
        reason: String,
    },
    /// A field contradicts itself, another field, or the index.
    #[error("`{file}`, field `{field}`: {reason}")]
    Field {
        /// The golden file.
        file: String,
        /// Path of the field.
        field: String,
        /// What is wrong, with the numbers.
        reason: String,
    },
    /// The tensors of a full golden are not as they must be.
    #[error("`{file}`, tensor `{tensor}`: {reason}")]
    Tensor {
        /// The golden file.
        file: String,
        /// The tensor, or `__metadata__`, or `$` for the whole file.
        tensor: String,
        /// What is wrong, with the numbers.
        reason: String,
    },
}

/// Reads one golden JSON: cap, syntax, schema word, no unknown field.
fn parse<T: DeserializeOwned>(bytes: &[u8], file: &str) -> Result<T, GoldenError> {
    if bytes.len() > MAX_JSON_BYTES {
        return Err(GoldenError::TooLarge { file: file.to_owned(), bytes: bytes.len(), cap: MAX_JSON_BYTES });
    }
    serde_json::from_slice(bytes).map_err(|error| GoldenError::Json {
        file: file.to_owned(),
        field: locate::field(bytes, error.line(), error.column()),
        reason: error.to_string(),
    })
}

fn expect_schema(found: &str, file: &str) -> Result<(), GoldenError> {
    if found == SCHEMA {
        return Ok(());
    }
    Err(GoldenError::Field {
        file: file.to_owned(),
        field: "schema".to_owned(),
        reason: format!("is `{}`, this program reads `{SCHEMA}`", found.escape_debug()),
    })
}

/// Which programs wrote the golden, and how they were set up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oracle {
    /// `transformers`.
    pub runtime: String,
    /// Version of each package that took part.
    pub versions: BTreeMap<String, String>,
    /// `float32`.
    pub dtype: String,
    /// `eager`.
    pub attention: String,
    /// Threads that the oracle computed with.
    pub threads: u32,
    /// The processor: another one rounds differently, within the floor.
    pub cpu: String,
    /// SHA-256 of the script that wrote the file.
    pub generator: String,
}

/// A prompt and its token ids.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Its name.
    pub name: String,
    /// Its category.
    pub category: String,
    /// Its text.
    pub text: String,
    /// Whether the tokenizer added its special tokens.
    pub add_special_tokens: bool,
    /// Its token ids.
    pub ids: Vec<u32>,
}

/// What the oracle generated: the most likely token at each step, the lowest id on a tie.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Greedy {
    /// How many tokens were asked for.
    pub max_new_tokens: usize,
    /// Whether an EOS token ends the text.
    pub stop_at_eos: bool,
    /// The new ids.
    pub ids: Vec<u32>,
    /// Their text.
    pub text: String,
    /// Why it ended.
    pub stop: Stop,
    /// At each step, the chosen logit less the best other one, both from one forward pass over prompt and text together.
    pub margins: Vec<Hex32>,
    /// The class of the smallest margin.
    pub margin_class: MarginClass,
}

/// The most likely tokens at one position.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// The position, from 0.
    pub position: usize,
    /// Their ids, most likely first, the lower id first on a tie.
    pub ids: Vec<u32>,
    /// Their log-probabilities in nats.
    pub logprobs: Vec<Hex32>,
}

/// Teacher-forced values over prompt and greedy ids together, T tokens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forced {
    /// Log of the sum of exponentials of the logits, at each of T positions.
    pub logsumexp: Vec<Hex32>,
    /// Negative log-probability of token i + 1 after tokens 0..=i, T - 1 of them, in nats.
    pub nll: Vec<Hex32>,
    /// The most likely tokens at the last positions.
    pub top: Vec<Top>,
}

/// `<prompt>.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptGolden {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// Who wrote this.
    pub oracle: Oracle,
    /// The prompt.
    pub prompt: Prompt,
    /// Its greedy continuation.
    pub greedy: Greedy,
    /// Teacher-forced values over both.
    pub forced: Forced,
    /// Root mean square of the float32 logits over all positions.
    pub logit_rms: Hex32,
    /// Relative RMS of the float32 logits to the float64 logits over all positions: the oracle's own rounding.
    pub floor: Hex32,
    /// The full golden, where the index lists one. Not in the JSON: whoever reads the files puts it here.
    #[serde(skip)]
    pub full: Option<Full>,
}

impl PromptGolden {
    /// Reads `<prompt>.json`. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are not a prompt golden of this schema.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        let golden: PromptGolden = parse(bytes, file)?;
        expect_schema(&golden.schema, file)?;
        Ok(golden)
    }

    /// Prompt and greedy ids in one sequence: what teacher-forced questions ask about.
    pub fn forced_ids(&self) -> Vec<u32> {
        [self.prompt.ids.as_slice(), self.greedy.ids.as_slice()].concat()
    }

    /// The entry of `forced.top` for a position.
    pub fn top_at(&self, position: usize) -> Option<&Top> {
        self.forced.top.iter().find(|top| top.position == position)
    }
}

/// One text of the tokenizer golden.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerCase {
    /// The text.
    pub text: String,
    /// Whether special tokens were added.
    pub add_special_tokens: bool,
    /// Its token ids.
    pub ids: Vec<u32>,
    /// The bytes of the decoded ids, special tokens kept.
    pub decoded: HexBytes,
}

/// `tokenizer.json` of the golden.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerGolden {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// Who wrote this.
    pub oracle: Oracle,
    /// The texts.
    pub cases: Vec<TokenizerCase>,
}

impl TokenizerGolden {
    /// Reads the tokenizer golden. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are not a tokenizer golden of this schema.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        let golden: TokenizerGolden = parse(bytes, file)?;
        expect_schema(&golden.schema, file)?;
        Ok(golden)
    }
}

/// A text and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextEntry {
    /// File name under `testdata/texts`.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// `perplexity-<text>.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerplexityGolden {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// Who wrote this.
    pub oracle: Oracle,
    /// The text.
    pub text: TextEntry,
    /// Tokens in one window.
    pub window: usize,
    /// Tokens by which the window moves.
    pub stride: usize,
    /// Whether the ids begin with the token that begins every text of this model.
    pub bos: bool,
    /// How many tokens were predicted: the first of the text's ids, special tokens added, is given, and as many follow.
    pub tokens: usize,
    /// Sum of their negative log-probabilities, in nats.
    pub sum_nll: Hex64,
    /// Sum of the absolute differences of each token's value to the float64 run, relative to its sum: no two errors cancel.
    pub floor: Hex32,
    /// SHA-256 of those `tokens + 1` ids, each as four little-endian bytes.
    pub ids_sha256: String,
}

impl PerplexityGolden {
    /// Reads a perplexity golden. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are not a perplexity golden of this schema.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        let golden: PerplexityGolden = parse(bytes, file)?;
        expect_schema(&golden.schema, file)?;
        Ok(golden)
    }
}

/// Everything a cell check may compare against, read and linted.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelGolden {
    /// `index.json`.
    pub index: Index,
    /// The tokenizer golden.
    pub tokenizer: TokenizerGolden,
    /// The perplexity goldens, in the order of the index.
    pub perplexity: Vec<PerplexityGolden>,
    /// The texts that the perplexity goldens name, by file name.
    pub texts: BTreeMap<String, String>,
    /// The content of the published text, where the index names one.
    pub published: Option<String>,
    /// The golden of chat templates, which all models share, where there is one.
    pub chat: Option<Arc<ChatGolden>>,
}
