//! The carried models, loaded once for a test program.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ground_truth::{Checkpoint, Config, Logits, Model, Positions, Tokenizer};

/// A carried model with everything that its folder says.
pub struct Carried {
    /// The folder's name.
    pub name: String,
    pub checkpoint: Checkpoint,
    pub model: Model,
    pub tokenizer: Tokenizer,
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Carried {
    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// The logits at every position of `ids`.
    pub fn all(&self, ids: &[u32]) -> Logits {
        self.model.forward(ids, &mut self.model.new_cache(), Positions::All).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Ids that are all in the vocabulary, from any numbers.
    pub fn ids(&self, numbers: &[u32]) -> Vec<u32> {
        numbers.iter().map(|n| n % self.config().vocab_size as u32).collect()
    }
}

/// Every model under `testdata/models`, by name.
pub fn models() -> &'static [Carried] {
    static MODELS: OnceLock<Vec<Carried>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/models");
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
        folders.sort();
        assert!(!folders.is_empty(), "{} has no model", folder.display());
        folders.iter().map(|folder| open(folder)).collect()
    })
}

fn open(folder: &Path) -> Carried {
    let loaded = || {
        let checkpoint = Checkpoint::open(folder)?;
        let model = Model::from_checkpoint(&checkpoint)?;
        let tokenizer = Tokenizer::from_bytes(checkpoint.tokenizer.as_deref().unwrap_or_default(), &checkpoint.tokenizer_file())?;
        Ok::<_, ground_truth::Error>((checkpoint, model, tokenizer))
    };
    let (checkpoint, model, tokenizer) = loaded().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
    Carried { name, checkpoint, model, tokenizer }
}

/// The bits of each number: equality of these is equality of answers.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
