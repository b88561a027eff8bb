//! The runtime protocol, version 1, as both sides write and read it: one JSON object a line.
//!
//! `docs/adapter.md` is its description for people who write adapters. Here are the requests ([`Request`]), the answers ([`answer`]) and the
//! arrays in them. Whoever asks is [`crate::runtime::process`], who answers for the engine is `ground-truth serve`.

use std::borrow::Cow;

use ground_truth_falsification::observation::{Chat, Exact, Failure, Op, SampleParams, SampleRequest};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::escape;
use crate::report::shorten;

pub mod answer;
pub mod array;
pub mod serve;

/// The version that [`Request::Hello`] names.
pub const VERSION: u32 = 1;

/// How much of a line that is not understood is shown, in characters.
const SHOWN: usize = 120;

/// The most characters of the kind of a refusal.
const MAX_KIND: usize = 64;

/// Which rows of logits are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// A row for each id.
    All,
    /// The last one.
    Last,
}

impl From<crate::runtime::Positions> for Positions {
    fn from(positions: crate::runtime::Positions) -> Self {
        match positions {
            crate::runtime::Positions::All => Positions::All,
            crate::runtime::Positions::Last => Positions::Last,
        }
    }
}

impl From<Positions> for crate::runtime::Positions {
    fn from(positions: Positions) -> Self {
        match positions {
            Positions::All => crate::runtime::Positions::All,
            Positions::Last => crate::runtime::Positions::Last,
        }
    }
}

/// What is asked. A field that is `None` is not written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What the runtime can do.
    Hello {
        /// [`VERSION`].
        protocol: u32,
    },
    /// Loads the artifact that all later requests are about.
    Load {
        /// Its absolute path.
        path: String,
        /// How many threads are to compute.
        threads: usize,
    },
    /// Ids of a text.
    Tokenize {
        /// The text.
        text: String,
        /// Whether the tokenizer adds its special tokens.
        add_special: bool,
    },
    /// Bytes of ids.
    Detokenize {
        /// The ids.
        ids: Vec<u32>,
    },
    /// Logits of one sequence.
    Logits {
        /// Its ids.
        ids: Vec<u32>,
        /// Which rows.
        positions: Positions,
        /// The lengths of the pieces in which the ids are fed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chunks: Option<Vec<usize>>,
    },
    /// Logits of several sequences, computed together.
    LogitsBatch {
        /// The sequences.
        batch: Vec<Vec<u32>>,
        /// Which rows of each.
        positions: Positions,
    },
    /// Greedy continuation.
    Generate {
        /// The ids to continue.
        ids: Vec<u32>,
        /// How many tokens at most.
        max_new_tokens: usize,
        /// Whether EOS ends it.
        stop_at_eos: bool,
    },
    /// Stage sketches at the last id.
    Sketch {
        /// The ids.
        ids: Vec<u32>,
        /// Whether the last id is a step of its own.
        decode: bool,
    },
    /// Every tensor.
    Tensors,
    /// The values of one tensor.
    Weights {
        /// Its name in the Hugging Face folder.
        tensor: String,
    },
    /// The file as stored.
    Container,
    /// The text and ids of a conversation.
    Chat(Box<Conversation>),
    /// One token, drawn.
    Sample(Box<Draw>),
}

/// A conversation to be rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// The messages.
    pub messages: Value,
    /// The tools, where there are any to name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Value>,
    /// Further variables of the template.
    pub variables: Value,
    /// Whether the text ends where the assistant begins.
    pub add_generation_prompt: bool,
    /// The Jinja source; without it, the artifact's own template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The local time that `strftime_now` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

/// A token to be drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// The logits, of one dimension.
    #[serde(flatten)]
    pub logits: array::Array,
    /// The ids of the prompt.
    pub prompt: Vec<u32>,
    /// The ids that were generated after it.
    pub generated: Vec<u32>,
    /// How the logits are changed.
    pub params: SampleParams,
    /// The random number.
    pub u: Exact,
}

impl Request {
    /// The request of a conversation.
    ///
    /// # Errors
    /// [`Failure::Refused`] where the parts that travel as JSON are none.
    pub fn chat(chat: &Chat) -> Result<Self, Failure> {
        let json = |what: &str, text: &str| {
            serde_json::from_str(text)
                .map_err(|error| Failure::Refused { kind: "request".to_owned(), message: format!("{what} of a conversation: {error}") })
        };
        Ok(Request::Chat(Box::new(Conversation {
            messages: json("messages", &chat.messages)?,
            tools: chat.tools.as_deref().map(|tools| json("tools", tools)).transpose()?,
            variables: json("variables", &chat.variables)?,
            add_generation_prompt: chat.add_generation_prompt,
            template: chat.template.clone(),
            now: chat.now.clone(),
        })))
    }

    /// The request of a draw.
    pub fn sample(request: &SampleRequest) -> Self {
        let values = request.logits();
        Request::Sample(Box::new(Draw {
            logits: array::Array { shape: vec![values.len()], values },
            prompt: request.prompt.clone(),
            generated: request.generated.clone(),
            params: request.params.clone(),
            u: request.u,
        }))
    }

    /// The line that asks this under `id`, with its line end.
    ///
    /// # Errors
    /// What the JSON writer says.
    pub fn line(&self, id: u64) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Numbered<'a> {
            id: u64,
            #[serde(flatten)]
            request: &'a Request,
        }
        let mut line = serde_json::to_vec(&Numbered { id, request: self })?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a line: its id, where it has one, and the request or what is wrong with it.
    pub fn read(line: &[u8]) -> (Option<u64>, Result<Self, String>) {
        let value: Value = match serde_json::from_slice(line) {
            Ok(value) => value,
            Err(error) => return (None, Err(format!("not JSON: {error}"))),
        };
        let Value::Object(mut fields) = value else {
            return (None, Err("not a JSON object".to_owned()));
        };
        let id = fields.shift_remove("id").and_then(|id| id.as_u64());
        if id.is_none() {
            return (None, Err("`id` is not there, or no whole number".to_owned()));
        }
        (id, serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string()))
    }
}

/// The parts of an answer that say what kind of line it is.
#[derive(Deserialize)]
struct Head<'a> {
    id: Option<u64>,
    op: Option<IgnoredAny>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
}

/// A refusal as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal<'a> {
    /// A stable word.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// For people.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
}

/// Reads the answer that is due to request `id`, of the capability `op`.
///
/// # Errors
/// The refusal that it is, or [`Failure::Protocol`] where it is no such answer.
pub fn read<A: DeserializeOwned>(line: &[u8], id: u64, op: Op) -> Result<A, Failure> {
    let broken = |message: String| Failure::Protocol { message };
    let misread = |error: &serde_json::Error| {
        let what = if error.is_data() { "an answer that lacks something" } else { "a line that is not JSON" };
        broken(format!("{what}: {error}: {}", shown(line)))
    };
    // JSON is text, the parts of it that nobody reads too.
    let text = std::str::from_utf8(line).map_err(|error| broken(format!("a line that is no UTF-8: {error}: {}", shown(line))))?;
    let head: Head<'_> = serde_json::from_str(text).map_err(|error| misread(&error))?;
    if head.op.is_some() {
        return Err(broken(format!("a request came back instead of an answer: {}", shown(line))));
    }
    match head.id {
        Some(found) if found == id => {}
        Some(found) => return Err(broken(format!("an answer to request {found} where request {id} was to be answered: {}", shown(line)))),
        None => return Err(broken(format!("an answer without the `id` {id} of its request: {}", shown(line)))),
    }
    if let Some(Refusal { kind, message }) = head.error {
        return Err(match kind.as_ref() {
            "unsupported" => Failure::Unsupported { op },
            kind if kind.len() > MAX_KIND || !escape::is_plain_name(kind) || message.trim().is_empty() => {
                broken(format!("an error without a plain kind and a message: {}", shown(line)))
            }
            kind => Failure::Refused { kind: kind.to_owned(), message: message.into_owned() },
        });
    }
    serde_json::from_str(text).map_err(|error| misread(&error))
}

/// The beginning of a line, fit to be shown.
pub fn shown(line: &[u8]) -> String {
    // A character has at most four bytes.
    let beginning = String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN)]);
    let text = shorten(&beginning, SHOWN);
    format!("`{}`, {} bytes", escape::line(&text), line.len())
}

#[cfg(test)]
mod tests;
