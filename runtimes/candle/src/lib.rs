//! candle as a runtime of the matrix.
//!
//! The models are candle-transformers' own, fed as its examples feed them: `llama` and `qwen2` from safetensors, `quantized_llama` and
//! `quantized_qwen2` from GGUF. It has no gpt2 and reads no APR. What is asked of a model that candle would compute otherwise than its
//! `config.json` or its metadata say is refused here by the name of the field ([`config`], [`metadata`]); where candle itself refuses, its
//! own words are passed on. candle has no tokenizer, so that nothing about text is declared: its examples call the `tokenizers` crate, which
//! the engine's own rows put to the test already.
//!
//! candle's models answer with the last row alone. How all rows are had from that is said in [`model`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ground_truth_harness::runtime::{Arithmetic, Artifact, Capabilities, Failure, Format, Op, Runtime, Session};

pub mod config;
pub mod device;
pub mod metadata;
pub mod model;
mod session;

use device::Choice;
use model::Loaded;
use session::CandleSession;

/// The version of candle that is on trial.
pub const VERSION: &str = "0.11.1";

/// Types that candle 0.11 reads from GGUF, and the float types of safetensors. The IQ types are unknown to it.
const QUANTIZATIONS: [&str; 14] =
    ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k"];

/// candle, on one device.
pub struct Candle {
    device: Choice,
    loaded: Mutex<HashMap<PathBuf, Weak<Loaded>>>,
}

impl Candle {
    /// On the device that [`device::VARIABLE`] names, the CPU where it names none.
    pub fn new() -> Self {
        Self::on(Choice::from_env())
    }

    /// On this device.
    pub fn on(device: Choice) -> Self {
        Self { device, loaded: Mutex::default() }
    }

    /// The weights of an artifact, read once for all sessions that live at the same time.
    fn loaded(&self, artifact: &Artifact) -> Result<Arc<Loaded>, Failure> {
        let find = |loaded: &HashMap<_, Weak<Loaded>>| loaded.get(&artifact.path).and_then(Weak::upgrade);
        if let Some(found) = find(&self.loaded.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(found);
        }
        // Two sessions that load at once both read the file; the second to finish takes the first one's weights.
        let fresh = Arc::new(Loaded::open(artifact, &self.device.open()?)?);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, loaded| loaded.strong_count() > 0);
        Ok(find(&loaded).unwrap_or_else(|| {
            loaded.insert(artifact.path.clone(), Arc::downgrade(&fresh));
            fresh
        }))
    }
}

impl Default for Candle {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for Candle {
    fn capabilities(&self) -> Capabilities {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Capabilities {
            name: "candle".to_owned(),
            version: format!("{VERSION} on {}", self.device),
            formats: vec![Format::Safetensors, Format::Gguf],
            architectures: words(&["llama", "qwen2"]),
            quantizations: words(&QUANTIZATIONS),
            ops: vec![Op::Logits, Op::Concurrent, Op::Generate, Op::Timed],
            arithmetic: Arithmetic::Blocks,
        }
    }

    /// candle has one pool of threads for the whole process, so that `threads` changes nothing and no claim about threads is declared.
    fn load(&self, artifact: &Artifact, _threads: usize) -> Result<Box<dyn Session>, Failure> {
        let loaded = self.loaded(artifact)?;
        Ok(Box::new(CandleSession::new(loaded)?))
    }
}

/// candle's own refusal, in its own words.
pub(crate) fn refused(error: candle_core::Error) -> Failure {
    Failure::Refused { kind: "candle".to_owned(), message: error.to_string() }
}
