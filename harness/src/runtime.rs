//! What answers questions about an artifact.
//!
//! A [`Runtime`] is a factory: it says what it can do and loads artifacts. A [`Session`] is one loaded artifact that answers one
//! request at a time. Neither ever sees a golden, the name of a check, or which answer is hoped for.
//!
//! A third party implements both, adds one test target with `harness = false`, and has the whole matrix:
//!
//! ```text
//! fn main() -> std::process::ExitCode {
//!     ground_truth_harness::falsify(MyRuntime::new())
//! }
//! ```

use std::path::PathBuf;

use supervise::Deadlines;

pub use ground_truth::format::Format;
pub use ground_truth_falsification::arithmetic::Arithmetic;
pub use ground_truth_falsification::observation::{
    Chat, Container, Failure, Logits, Metadata, Op, Positions, SampleParams, SampleRequest, Sampled, StageSketch, Stop, TensorRow,
};

pub mod container;
pub mod native;
pub mod process;
pub mod supervise;

/// One file form of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The model's name in the roster.
    pub model: String,
    /// Its container.
    pub format: Format,
    /// The type of its weights: `f32`, `bf16`, `q8_0`, `q4_k_m`, ...
    pub quantization: String,
    /// The file, or the folder of a safetensors artifact.
    pub path: PathBuf,
}

/// What a runtime declares. Rows it does not declare are never listed; they are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Its name in test names: `[A-Za-z0-9._-]`.
    pub name: String,
    /// Its version, for the evidence.
    pub version: String,
    /// The containers it loads.
    pub formats: Vec<Format>,
    /// The architectures it computes (`llama`, `qwen2`, `gpt2`). Empty: any, it refuses what it does not know.
    pub architectures: Vec<String>,
    /// The weight types it loads. Empty: any.
    pub quantizations: Vec<String>,
    /// The requests it answers.
    pub ops: Vec<Op>,
    /// What it computes with, by which its bounds are chosen.
    pub arithmetic: Arithmetic,
}

impl Capabilities {
    /// A runtime of this name and version that declares nothing yet: add formats and ops. Its arithmetic is taken for float32.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            formats: Vec::new(),
            architectures: Vec::new(),
            quantizations: Vec::new(),
            ops: Vec::new(),
            arithmetic: Arithmetic::default(),
        }
    }

    /// Whether an artifact of this shape is declared.
    pub fn declares(&self, format: Format, architecture: &str, quantization: &str) -> bool {
        let any_or = |list: &[String], word: &str| list.is_empty() || list.iter().any(|l| l == word);
        self.formats.contains(&format) && any_or(&self.architectures, architecture) && any_or(&self.quantizations, quantization)
    }

    /// Whether every one of `ops` is declared.
    pub fn declares_ops(&self, ops: &[Op]) -> bool {
        ops.iter().all(|op| self.ops.contains(op))
    }
}

/// A factory of sessions. Loading is asked for from several threads.
pub trait Runtime: Send + Sync + 'static {
    /// What it can do. Asked once per run, before anything is loaded.
    fn capabilities(&self) -> Capabilities;

    /// Loads an artifact, to be computed with `threads` threads.
    ///
    /// # Errors
    /// The typed refusal of the runtime.
    fn load(&self, artifact: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure>;

    /// Deadlines that it keeps by itself, so that waiting for a free session counts against none; without them, whoever asks keeps his own.
    fn own_deadlines(&self) -> Option<Deadlines> {
        None
    }

    /// Called once, when the last row is judged. What it started outside of this process has to end here: sessions may be dropped later,
    /// or not at all where one of them hangs.
    fn end(&self) {}
}

/// One loaded artifact. Every request may be refused; one that is not implemented is [`Failure::Unsupported`].
pub trait Session: Send {
    /// What loading warned about. Anything here fails the gate of the cell.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// The model's dimensions, as the runtime understood them.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn metadata(&mut self) -> Result<Metadata, Failure> {
        Err(Failure::Unsupported { op: Op::Metadata })
    }

    /// Every tensor: name, dtype, shape, statistics.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn tensors(&mut self) -> Result<Vec<TensorRow>, Failure> {
        Err(Failure::Unsupported { op: Op::Tensors })
    }

    /// The ids of `text`, with or without the special tokens that the tokenizer adds.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn tokenize(&mut self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        let _ = (text, add_special);
        Err(Failure::Unsupported { op: Op::Tokenize })
    }

    /// The bytes that `ids` stand for, special tokens kept.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn detokenize(&mut self, ids: &[u32]) -> Result<Vec<u8>, Failure> {
        let _ = ids;
        Err(Failure::Unsupported { op: Op::Detokenize })
    }

    /// The logits of a fresh sequence: a row per id, or the last row alone.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        let _ = (ids, positions);
        Err(Failure::Unsupported { op: Op::Logits })
    }

    /// The same, fed to the cache in pieces of the lengths `chunks`, whose sum is the number of ids.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn logits_chunked(&mut self, ids: &[u32], positions: Positions, chunks: &[usize]) -> Result<Logits, Failure> {
        let _ = (ids, positions, chunks);
        Err(Failure::Unsupported { op: Op::Chunks })
    }

    /// The logits of several independent sequences, computed together.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn logits_batch(&mut self, batch: &[Vec<u32>], positions: Positions) -> Result<Vec<Logits>, Failure> {
        let _ = (batch, positions);
        Err(Failure::Unsupported { op: Op::Batch })
    }

    /// Greedy continuation. The id that ends the text is part of the answer.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn generate(&mut self, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Result<(Vec<u32>, Stop), Failure> {
        let _ = (ids, max_new_tokens, stop_at_eos);
        Err(Failure::Unsupported { op: Op::Generate })
    }

    /// Sketches of every stage at the last position; with `decode`, the last id is fed as one cached step.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn sketch(&mut self, ids: &[u32], decode: bool) -> Result<Vec<StageSketch>, Failure> {
        let _ = (ids, decode);
        Err(Failure::Unsupported { op: Op::Sketch })
    }

    /// The file as it is stored.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn container(&mut self) -> Result<Container, Failure> {
        Err(Failure::Unsupported { op: Op::Container })
    }

    /// The values of the tensor with this Hugging Face name, dequantized, in row-major order of its logical shape.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn weights(&mut self, tensor: &str) -> Result<Vec<f32>, Failure> {
        let _ = tensor;
        Err(Failure::Unsupported { op: Op::Weights })
    }
    /// The text of a conversation under a chat template, and its ids: special tokens that the text spells out are one id each, and none is
    /// added to them.
    ///
    /// # Errors
    /// The refusal of the runtime: a template that does not parse, or one that raises.
    fn chat(&mut self, chat: &Chat) -> Result<(String, Vec<u32>), Failure> {
        let _ = chat;
        Err(Failure::Unsupported { op: Op::Chat })
    }

    /// A token drawn from the logits of the request, and those logits after every change. The model takes no part.
    ///
    /// # Errors
    /// The refusal of the runtime.
    fn sample(&mut self, request: &SampleRequest) -> Result<Sampled, Failure> {
        let _ = request;
        Err(Failure::Unsupported { op: Op::Sample })
    }
}
