//! A runtime that somebody else wrote: here a few lines over the public API of an engine. `MINE_FAULT=1` scales its logits by one percent,
//! so that it can be seen to fail.

use ground_truth::{Checkpoint, Error, Model, Tokenizer};
use ground_truth_harness::runtime::{Artifact, Capabilities, Failure, Format, Logits, Op, Positions, Runtime, Session};

/// The runtime. It loads a model anew for every session.
#[derive(Default)]
pub struct MyRuntime;

impl MyRuntime {
    pub fn new() -> Self {
        Self
    }
}

impl Runtime for MyRuntime {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            formats: vec![Format::Safetensors, Format::Gguf],
            ops: vec![Op::Tokenize, Op::Logits],
            ..Capabilities::new("mine", env!("CARGO_PKG_VERSION"))
        }
    }

    fn load(&self, artifact: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure> {
        let checkpoint = Checkpoint::open(&artifact.path).map_err(refused)?;
        let bytes = checkpoint.tokenizer.as_deref().unwrap_or_default();
        let tokenizer = Tokenizer::from_bytes(bytes, &checkpoint.tokenizer_file()).map_err(refused)?;
        let model = Model::from_checkpoint(&checkpoint).map_err(refused)?.with_threads(threads);
        Ok(Box::new(MySession { model, tokenizer }))
    }
}

struct MySession {
    model: Model,
    tokenizer: Tokenizer,
}

impl Session for MySession {
    fn tokenize(&mut self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        self.tokenizer.encode(text, add_special).map_err(refused)
    }

    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        let rows = match positions {
            Positions::All => ground_truth::Positions::All,
            Positions::Last => ground_truth::Positions::Last,
        };
        let logits = self.model.forward(ids, &mut self.model.new_cache(), rows).map_err(refused)?;
        let factor = if std::env::var_os("MINE_FAULT").is_some() { 1.01 } else { 1.0 };
        let values = logits.values.iter().map(|value| value * factor).collect();
        Ok(Logits { n: logits.n, vocab: logits.vocab, values })
    }
}

fn refused(error: Error) -> Failure {
    Failure::Refused { kind: error.kind().to_owned(), message: error.to_string() }
}
