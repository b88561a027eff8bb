//! A model that a command was given, ready to answer.

use std::path::Path;

use ground_truth::{Checkpoint, Model, Tokenizer};

use super::{Refusal, no_model};

/// A model and its tokenizer.
pub(super) struct Opened {
    pub(super) model: Model,
    pub(super) tokenizer: Tokenizer,
}

/// Opens a folder or a file, on every core of the machine.
pub(super) fn open(path: &Path) -> Result<Opened, Refusal> {
    let checkpoint = Checkpoint::open(path).map_err(|error| no_model(path, &error))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = Model::from_checkpoint(&checkpoint).map_err(|error| no_model(path, &error))?.with_threads(threads);
    let Some(bytes) = &checkpoint.tokenizer else {
        let file = checkpoint.tokenizer_file();
        return Err(Refusal::new(
            format!("failed to open the tokenizer: {}: absent", file.display()),
            "convert the tokenizer to tokenizer.json (transformers: `AutoTokenizer.from_pretrained(..).save_pretrained(..)`)",
        ));
    };
    let tokenizer = Tokenizer::from_bytes(bytes, &checkpoint.tokenizer_file()).map_err(|error| no_model(path, &error))?;
    tokenizer.check_fits(model.config().vocab_size).map_err(|error| no_model(path, &error))?;
    Ok(Opened { model, tokenizer })
}
