//! The operating table: what an artifact defect may do to a loaded checkpoint.
//!
//! Tensors are found by what they are for, so that one function serves every architecture that has the part. A defect that does not
//! find what it wants to break is an error: a defect that silently changes nothing would look like a check that sees nothing.

use ground_truth::{Architecture, Checkpoint, Config, Dtype, Tensor};
use serde_json::{Map, Value};

/// Why a defect could not be put into an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurgeryError {
    /// The artifact is refused before anything is changed.
    #[error("the artifact cannot be read before the defect is put in: {0}")]
    Artifact(#[from] ground_truth::Error),
    /// No tensor, or several, of that name.
    #[error("{found} tensors are called `{name}`, 1 is due")]
    Tensor {
        /// The name, or the end of it.
        name: String,
        /// How many there are.
        found: usize,
    },
    /// The tensor has another shape than the defect needs.
    #[error("tensor `{name}` has shape {shape:?}, {needs} is due")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What the defect needs.
        needs: &'static str,
    },
    /// `tokenizer.json` is absent or lacks what the defect breaks.
    #[error("tokenizer.json: {0}")]
    Tokenizer(String),
    /// The model has no such part, so the record should not name its architecture.
    #[error("the model has no {0}: the record of this defect should not name its architecture")]
    NotApplicable(&'static str),
}

type Result<T, E = SurgeryError> = std::result::Result<T, E>;

/// The parts of a block that every architecture has, whatever it calls them.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// The norm before attention.
    AttentionNorm,
    /// The projection out of attention.
    AttentionOut,
    /// The projection out of the MLP.
    MlpOut,
}

/// A checkpoint under the knife.
#[derive(Debug)]
pub struct Surgery<'a> {
    checkpoint: &'a mut Checkpoint,
    config: Config,
}

impl<'a> Surgery<'a> {
    /// Reads the configuration as it is before the defect.
    ///
    /// # Errors
    ///
    /// If the engine refuses the configuration.
    pub fn new(checkpoint: &'a mut Checkpoint) -> Result<Self> {
        let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file())?;
        Ok(Surgery { checkpoint, config })
    }

    /// The configuration before the defect.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The last block.
    pub fn last_layer(&self) -> usize {
        self.config.n_layers - 1
    }

    /// The file the configuration came from and everything else of the checkpoint.
    pub fn checkpoint(&mut self) -> &mut Checkpoint {
        self.checkpoint
    }

    fn names_where(&self, keep: impl Fn(&str) -> bool) -> Vec<String> {
        self.checkpoint.tensors.iter().map(|(name, _)| name).filter(|name| keep(name)).map(str::to_owned).collect()
    }

    /// The one tensor that is called `end`, or whose name ends in `.end`.
    pub fn tensor(&self, end: &str) -> Result<String> {
        let tail = format!(".{end}");
        let mut names = self.names_where(|name| name == end || name.ends_with(&tail));
        match (names.pop(), names.len()) {
            (Some(name), 0) => Ok(name),
            (name, others) => Err(SurgeryError::Tensor { name: end.to_owned(), found: others + usize::from(name.is_some()) }),
        }
    }

    /// The tensor `end` of one block.
    pub fn block(&self, layer: usize, end: &str) -> Result<String> {
        self.tensor(&format!("{layer}.{end}"))
    }

    /// The tensor of that part of one block.
    pub fn part(&self, layer: usize, part: Part) -> Result<String> {
        let gpt2 = self.config.architecture == Architecture::Gpt2;
        self.block(
            layer,
            match (part, gpt2) {
                (Part::AttentionNorm, false) => "input_layernorm.weight",
                (Part::AttentionNorm, true) => "ln_1.weight",
                (Part::AttentionOut, false) => "self_attn.o_proj.weight",
                (Part::AttentionOut, true) => "attn.c_proj.weight",
                (Part::MlpOut, false) => "mlp.down_proj.weight",
                (Part::MlpOut, true) => "mlp.c_proj.weight",
            },
        )
    }

    /// The token embedding, `(vocab_size, hidden_size)`.
    pub fn embedding(&self) -> Result<String> {
        self.tensor(if self.config.architecture == Architecture::Gpt2 { "wte.weight" } else { "embed_tokens.weight" })
    }

    /// The parameters of the norm before the head: a weight, and a bias where there is one.
    pub fn final_norm(&self) -> Result<Vec<String>> {
        Ok(match self.config.architecture {
            Architecture::Gpt2 => vec![self.tensor("ln_f.weight")?, self.tensor("ln_f.bias")?],
            _ => vec![self.tensor("model.norm.weight")?],
        })
    }

    /// The names of every tensor of one block.
    pub fn layer(&self, layer: usize) -> Vec<String> {
        let (inner, first) = (format!(".{layer}."), format!("h.{layer}."));
        self.names_where(|name| name.contains(&inner) || name.starts_with(&first))
    }

    /// The names of every tensor.
    pub fn all(&self) -> Vec<String> {
        self.names_where(|_| true)
    }

    fn held(&self, name: &str) -> Result<Tensor> {
        self.checkpoint.tensors.get(name).cloned().ok_or(SurgeryError::Tensor { name: name.to_owned(), found: 0 })
    }

    /// Changes the values of a tensor; dtype and shape stay, each value is rounded to the dtype again.
    pub fn edit(&mut self, name: &str, change: impl FnOnce(&mut [f32], &[usize])) -> Result<()> {
        let tensor = self.held(name)?;
        let mut values = tensor.to_f32();
        change(&mut values, tensor.shape());
        self.put(name, tensor.dtype(), tensor.shape().to_vec(), &values)
    }

    /// Changes every value of a tensor.
    pub fn map(&mut self, name: &str, change: impl Fn(f32) -> f32) -> Result<()> {
        self.edit(name, |values, _| values.iter_mut().for_each(|value| *value = change(*value)))
    }

    /// Puts a tensor in, replacing the one of that name.
    pub fn put(&mut self, name: &str, dtype: Dtype, shape: Vec<usize>, values: &[f32]) -> Result<()> {
        let tensor = Tensor::from_f32(dtype, shape, values)?;
        self.checkpoint.tensors.insert(name, tensor);
        Ok(())
    }

    /// Reads the same bytes as another dtype, or in another order: `change` gets them and answers with the new ones.
    pub fn edit_bytes(&mut self, name: &str, change: impl FnOnce(Dtype, Vec<u8>) -> (Dtype, Vec<u8>)) -> Result<()> {
        let tensor = self.held(name)?;
        let (dtype, bytes) = change(tensor.dtype(), tensor.bytes().to_vec());
        self.checkpoint.tensors.insert(name, Tensor::owned(dtype, tensor.shape().to_vec(), bytes)?);
        Ok(())
    }

    /// Exchanges two tensors.
    pub fn swap(&mut self, a: &str, b: &str) -> Result<()> {
        let (first, second) = (self.held(a)?, self.held(b)?);
        self.checkpoint.tensors.insert(a, second);
        self.checkpoint.tensors.insert(b, first);
        Ok(())
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.checkpoint.tensors.remove(name).map(drop).ok_or(SurgeryError::Tensor { name: name.to_owned(), found: 0 })
    }

    /// Reorders the rows of a matrix, or the elements of a vector: row `i` of the result is row `order[i]`.
    pub fn permute_rows(&mut self, name: &str, order: &[usize]) -> Result<()> {
        self.permute(name, 0, order)
    }

    /// Reorders the columns of a matrix: column `j` of the result is column `order[j]`.
    pub fn permute_columns(&mut self, name: &str, order: &[usize]) -> Result<()> {
        self.permute(name, 1, order)
    }

    fn permute(&mut self, name: &str, axis: usize, order: &[usize]) -> Result<()> {
        let tensor = self.held(name)?;
        let shape = tensor.shape().to_vec();
        if shape.get(axis) != Some(&order.len()) || shape.len() > 2 || order.iter().any(|from| *from >= order.len()) {
            return Err(SurgeryError::Shape { name: name.to_owned(), shape, needs: "one entry of the order for each row or column" });
        }
        let (old, columns) = (tensor.to_f32(), shape.get(1).copied().unwrap_or(1));
        let new: Vec<f32> = (0..old.len())
            .map(|at| {
                let (row, column) = (at / columns, at % columns);
                if axis == 0 { old[order[row] * columns + column] } else { old[row * columns + order[column]] }
            })
            .collect();
        self.put(name, tensor.dtype(), shape, &new)
    }

    /// Transposes a square matrix.
    pub fn transpose(&mut self, name: &str) -> Result<()> {
        let tensor = self.held(name)?;
        let &[n, m] = tensor.shape() else {
            return Err(SurgeryError::Shape { name: name.to_owned(), shape: tensor.shape().to_vec(), needs: "a matrix" });
        };
        if n != m {
            return Err(SurgeryError::Shape { name: name.to_owned(), shape: vec![n, m], needs: "a square matrix" });
        }
        let old = tensor.to_f32();
        let new: Vec<f32> = (0..old.len()).map(|at| old[at % n * n + at / n]).collect();
        self.put(name, tensor.dtype(), vec![n, n], &new)
    }

    /// Sets a field of `config.json`.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.checkpoint.config.insert(field.to_owned(), value.into());
    }

    /// Every object of the configuration files that has one of these fields, `config.json` first.
    pub fn files(&mut self) -> impl Iterator<Item = &mut Map<String, Value>> {
        std::iter::once(&mut self.checkpoint.config).chain(self.checkpoint.generation_config.as_mut())
    }

    /// Changes `tokenizer.json`.
    pub fn tokenizer(&mut self, change: impl FnOnce(&mut Map<String, Value>) -> Result<()>) -> Result<()> {
        let bytes = self.checkpoint.tokenizer.as_ref().ok_or_else(|| SurgeryError::Tokenizer("there is none".to_owned()))?;
        let mut json: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| SurgeryError::Tokenizer(e.to_string()))?;
        change(&mut json)?;
        self.checkpoint.tokenizer = Some(serde_json::to_vec(&json).map_err(|e| SurgeryError::Tokenizer(e.to_string()))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let config = serde_json::json!({
            "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 4, "n_positions": 4, "n_embd": 2, "n_layer": 1, "n_head": 1,
        });
        let mut tensors = ground_truth::Tensors::new();
        let values = [1.0, 2.0, 3.0, 4.0];
        tensors.insert("h.0.attn.c_proj.weight", Tensor::from_f32(Dtype::F16, vec![2, 2], &values).expect("four values"));
        let Value::Object(config) = config else { unreachable!("an object was written") };
        Checkpoint { config, generation_config: None, tokenizer: None, chat_templates: Default::default(), tensors, path: "nowhere".into() }
    }

    fn after(operate: impl FnOnce(&mut Surgery<'_>, &str) -> Result<()>) -> Vec<f32> {
        let mut checkpoint = checkpoint();
        let mut surgery = Surgery::new(&mut checkpoint).expect("a valid configuration");
        let name = surgery.part(0, Part::AttentionOut).expect("it is there");
        operate(&mut surgery, &name).expect("the operation fits");
        checkpoint.tensors.get(&name).expect("it stays").to_f32()
    }

    #[test]
    fn rows_columns_and_diagonals() {
        assert_eq!(after(|s, name| s.permute_rows(name, &[1, 0])), [3.0, 4.0, 1.0, 2.0]);
        assert_eq!(after(|s, name| s.permute_columns(name, &[1, 0])), [2.0, 1.0, 4.0, 3.0]);
        assert_eq!(after(|s, name| s.transpose(name)), [1.0, 3.0, 2.0, 4.0]);
    }

    #[test]
    fn what_is_not_there_cannot_be_broken() {
        let mut checkpoint = checkpoint();
        let mut surgery = Surgery::new(&mut checkpoint).expect("a valid configuration");
        assert!(surgery.block(1, "attn.c_proj.weight").is_err());
        assert!(surgery.permute_rows("h.0.attn.c_proj.weight", &[0, 1, 2]).is_err());
        assert!(surgery.tokenizer(|_| Ok(())).is_err());
    }
}
