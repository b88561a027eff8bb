//! Requests and replies as values, so that a fault is one function between an asker and a runtime that works.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::runtime::{
    Artifact, Capabilities, Chat, Container, Failure, Logits, Metadata, Positions, Runtime, SampleRequest, Sampled, Session, StageSketch,
    Stop, TensorRow,
};

/// One request to a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// [`Session::metadata`].
    Metadata,
    /// [`Session::tensors`].
    Tensors,
    /// [`Session::tokenize`]: the text, and whether specials are added.
    Tokenize(String, bool),
    /// [`Session::detokenize`].
    Detokenize(Vec<u32>),
    /// [`Session::logits`].
    Logits(Vec<u32>, Positions),
    /// [`Session::logits_chunked`].
    Chunked(Vec<u32>, Positions, Vec<usize>),
    /// [`Session::logits_batch`].
    Batch(Vec<Vec<u32>>, Positions),
    /// [`Session::generate`]: the ids, how many more, whether an EOS ends the text.
    Generate(Vec<u32>, usize, bool),
    /// [`Session::sketch`]: the ids, and whether the last one is a decode step.
    Sketch(Vec<u32>, bool),
    /// [`Session::container`].
    Container,
    /// [`Session::weights`]: the name of the tensor.
    Weights(String),
    /// [`Session::chat`].
    Chat(Chat),
    /// [`Session::sample`].
    Sample(Box<SampleRequest>),
}

/// What a session replied.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To [`Request::Metadata`].
    Metadata(Metadata),
    /// To [`Request::Tensors`].
    Tensors(Vec<TensorRow>),
    /// To [`Request::Tokenize`].
    Ids(Vec<u32>),
    /// To [`Request::Detokenize`].
    Bytes(Vec<u8>),
    /// To [`Request::Logits`] and [`Request::Chunked`] one, to [`Request::Batch`] one a sequence.
    Logits(Vec<Logits>),
    /// To [`Request::Generate`].
    Generated(Vec<u32>, Stop),
    /// To [`Request::Sketch`].
    Sketch(Vec<StageSketch>),
    /// To [`Request::Container`].
    Container(Box<Container>),
    /// To [`Request::Weights`].
    Weights(Vec<f32>),
    /// To [`Request::Chat`]: the text, and its ids.
    Chat(String, Vec<u32>),
    /// To [`Request::Sample`].
    Sampled(Sampled),
}

/// A reply, or why there is none.
pub type Outcome = Result<Reply, Failure>;

impl Request {
    /// Asks a session.
    pub fn ask(&self, session: &mut dyn Session) -> Outcome {
        match self {
            Request::Metadata => session.metadata().map(Reply::Metadata),
            Request::Tensors => session.tensors().map(Reply::Tensors),
            Request::Tokenize(text, add_special) => session.tokenize(text, *add_special).map(Reply::Ids),
            Request::Detokenize(ids) => session.detokenize(ids).map(Reply::Bytes),
            Request::Logits(ids, positions) => session.logits(ids, *positions).map(|logits| Reply::Logits(vec![logits])),
            Request::Chunked(ids, positions, chunks) => {
                session.logits_chunked(ids, *positions, chunks).map(|logits| Reply::Logits(vec![logits]))
            }
            Request::Batch(batch, positions) => session.logits_batch(batch, *positions).map(Reply::Logits),
            Request::Generate(ids, max_new_tokens, stop_at_eos) => {
                session.generate(ids, *max_new_tokens, *stop_at_eos).map(|(ids, stop)| Reply::Generated(ids, stop))
            }
            Request::Sketch(ids, decode) => session.sketch(ids, *decode).map(Reply::Sketch),
            Request::Container => session.container().map(|container| Reply::Container(Box::new(container))),
            Request::Weights(tensor) => session.weights(tensor).map(Reply::Weights),
            Request::Chat(chat) => session.chat(chat).map(|(text, ids)| Reply::Chat(text, ids)),
            Request::Sample(request) => session.sample(request).map(Reply::Sampled),
        }
    }

    /// The ids that logits, a continuation or sketches are asked for.
    pub fn sequences(&mut self) -> Vec<&mut Vec<u32>> {
        match self {
            Request::Logits(ids, _) | Request::Chunked(ids, _, _) | Request::Generate(ids, _, _) | Request::Sketch(ids, _) => vec![ids],
            Request::Batch(batch, _) => batch.iter_mut().collect(),
            Request::Metadata
            | Request::Tensors
            | Request::Tokenize(..)
            | Request::Detokenize(_)
            | Request::Container
            | Request::Weights(_)
            | Request::Chat(_)
            | Request::Sample(_) => Vec::new(),
        }
    }

    /// Whether logits are asked for.
    pub fn is_logits(&self) -> bool {
        matches!(self, Request::Logits(..) | Request::Chunked(..) | Request::Batch(..))
    }
}

/// What a fault stands in front of.
pub type Next<'a> = dyn FnMut(Request) -> Outcome + 'a;

/// A fault as it runs: it sees every request and may change it, the reply, or both.
pub type Handler = Box<dyn FnMut(Request, &mut Next<'_>) -> Outcome + Send>;

/// Makes the handler of one session: the artifact's threads are what a handler may depend on.
pub type Factory = Box<dyn Fn(usize) -> Handler + Send + Sync>;

/// A runtime with a fault in front of it.
pub struct Layered {
    inner: Arc<dyn Runtime>,
    factory: Factory,
}

impl Layered {
    /// Puts what `factory` makes in front of every session of `inner`.
    pub fn new(inner: Arc<dyn Runtime>, factory: Factory) -> Self {
        Layered { inner, factory }
    }
}

impl Runtime for Layered {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn load(&self, artifact: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(LayeredSession { inner: self.inner.load(artifact, threads)?, handler: (self.factory)(threads) }))
    }
}

struct LayeredSession {
    inner: Box<dyn Session>,
    handler: Handler,
}

/// Takes the reply that is due out of whatever came back.
macro_rules! due {
    ($outcome:expr, $pattern:pat => $value:expr) => {
        match $outcome? {
            $pattern => Ok($value),
            other => Err(Failure::Protocol { message: format!("an answer to another request came back: {}", kind(&other)) }),
        }
    };
}

fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Metadata(_) => "metadata",
        Reply::Tensors(_) => "tensors",
        Reply::Ids(_) => "ids",
        Reply::Bytes(_) => "bytes",
        Reply::Logits(_) => "logits",
        Reply::Generated(..) => "generated ids",
        Reply::Sketch(_) => "sketches",
        Reply::Container(_) => "a container",
        Reply::Weights(_) => "weights",
        Reply::Chat(..) => "a rendered conversation",
        Reply::Sampled(_) => "a drawn token",
    }
}

impl LayeredSession {
    fn ask(&mut self, request: Request) -> Outcome {
        let inner = self.inner.as_mut();
        (self.handler)(request, &mut |request| request.ask(inner))
    }

    fn one(&mut self, request: Request) -> Result<Logits, Failure> {
        let mut all = due!(self.ask(request), Reply::Logits(all) => all)?;
        match (all.pop(), all.len()) {
            (Some(logits), 0) => Ok(logits),
            (_, others) => Err(Failure::Protocol { message: format!("{} sequences came back for one", others + 1) }),
        }
    }
}

impl Session for LayeredSession {
    fn warnings(&mut self) -> Vec<String> {
        self.inner.warnings()
    }

    fn metadata(&mut self) -> Result<Metadata, Failure> {
        due!(self.ask(Request::Metadata), Reply::Metadata(metadata) => metadata)
    }

    fn tensors(&mut self) -> Result<Vec<TensorRow>, Failure> {
        due!(self.ask(Request::Tensors), Reply::Tensors(rows) => rows)
    }

    fn tokenize(&mut self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        due!(self.ask(Request::Tokenize(text.to_owned(), add_special)), Reply::Ids(ids) => ids)
    }

    fn detokenize(&mut self, ids: &[u32]) -> Result<Vec<u8>, Failure> {
        due!(self.ask(Request::Detokenize(ids.to_vec())), Reply::Bytes(bytes) => bytes)
    }

    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        self.one(Request::Logits(ids.to_vec(), positions))
    }

    fn logits_chunked(&mut self, ids: &[u32], positions: Positions, chunks: &[usize]) -> Result<Logits, Failure> {
        self.one(Request::Chunked(ids.to_vec(), positions, chunks.to_vec()))
    }

    fn logits_batch(&mut self, batch: &[Vec<u32>], positions: Positions) -> Result<Vec<Logits>, Failure> {
        due!(self.ask(Request::Batch(batch.to_vec(), positions)), Reply::Logits(all) => all)
    }

    fn generate(&mut self, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Result<(Vec<u32>, Stop), Failure> {
        due!(self.ask(Request::Generate(ids.to_vec(), max_new_tokens, stop_at_eos)), Reply::Generated(ids, stop) => (ids, stop))
    }

    fn sketch(&mut self, ids: &[u32], decode: bool) -> Result<Vec<StageSketch>, Failure> {
        due!(self.ask(Request::Sketch(ids.to_vec(), decode)), Reply::Sketch(stages) => stages)
    }

    fn container(&mut self) -> Result<Container, Failure> {
        due!(self.ask(Request::Container), Reply::Container(container) => *container)
    }

    fn weights(&mut self, tensor: &str) -> Result<Vec<f32>, Failure> {
        due!(self.ask(Request::Weights(tensor.to_owned())), Reply::Weights(values) => values)
    }

    fn chat(&mut self, chat: &Chat) -> Result<(String, Vec<u32>), Failure> {
        due!(self.ask(Request::Chat(chat.clone())), Reply::Chat(text, ids) => (text, ids))
    }

    fn sample(&mut self, request: &SampleRequest) -> Result<Sampled, Failure> {
        due!(self.ask(Request::Sample(Box::new(request.clone()))), Reply::Sampled(sampled) => sampled)
    }
}

/// Remembers what `inner` answered to each request, so that many faults in front of one runtime cost one computation.
///
/// This is sound in front of a runtime that answers the same request alike, which the invariance checks hold `inner` to without it.
pub fn remembered(inner: Arc<dyn Runtime>) -> Layered {
    let known: Arc<Mutex<HashMap<(usize, Request), Outcome>>> = Arc::default();
    Layered::new(
        inner,
        Box::new(move |threads| {
            let known = Arc::clone(&known);
            Box::new(move |request, next| {
                let key = (threads, request);
                if let Some(outcome) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
                    return outcome.clone();
                }
                let outcome = next(key.1.clone());
                known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, outcome.clone());
                outcome
            })
        }),
    )
}
