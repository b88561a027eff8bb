//! A model's folder or file, read and validated, not yet a network.
//!
//! A GGUF or APR file is read as what a folder would hold: see [`gguf`](crate::format::gguf) and [`apr`](crate::format::apr). Of a folder:
//!
//! | file | needed | what is checked here |
//! |---|---|---|
//! | `config.json` | yes | strict JSON object; what it means is [`Config`](crate::Config)'s business |
//! | `generation_config.json` | no | the same |
//! | `chat_template.jinja`, `chat_templates/`, `tokenizer_config.json` | no | see [`chat`](crate::chat); of the last, the templates alone are read |
//! | `tokenizer.json` | no | its size; what it means is [`Tokenizer`](crate::Tokenizer)'s business |
//! | `model.safetensors`, or `model.safetensors.index.json` and its shards | yes | see [`mod@format`] |
//!
//! Weights are memory-mapped: a file that another process truncates or rewrites while it is mapped is outside the
//! contract (the operating system ends the process that touches the lost pages, and no reader can prevent it).

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::chat::Templates;
use crate::error::{FileError, ModelError, Result};
use crate::{Dtype, format, format::Format, quant};

/// The largest `tokenizer.json` that is read. The largest published ones have about 35 MB (262,144 tokens).
pub const MAX_TOKENIZER_BYTES: u64 = 128 << 20;

/// A Hugging Face folder, read and validated, not yet a model.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The fields of `config.json`, in the file's order.
    pub config: Map<String, Value>,
    /// The fields of `generation_config.json`, if there is one.
    pub generation_config: Option<Map<String, Value>>,
    /// The bytes of `tokenizer.json`, if there is one.
    pub tokenizer: Option<Vec<u8>>,
    /// The chat templates; what they mean is [`ChatTemplate`](crate::ChatTemplate)'s business.
    pub chat_templates: Templates,
    /// The weights.
    pub tensors: Tensors,
    /// The folder; of a model that is one GGUF or APR file, the file.
    pub path: PathBuf,
}

impl Checkpoint {
    /// Reads a model: a Hugging Face folder, a GGUF or APR file, or a single safetensors file beside its `config.json`. What a file is, its
    /// content decides; an extension that promises something else is refused. Everything structural is checked, no weight is looked at.
    ///
    /// # Errors
    ///
    /// Any [`Error`](crate::Error) but those about a loaded model: the first file that is missing, malformed, not a regular file or
    /// larger than its kind may be is named.
    pub fn open(path: &Path) -> Result<Self> {
        match format::Format::of(path)? {
            Format::Gguf => format::gguf::checkpoint(&format::gguf::Gguf::open(path)?),
            Format::Apr => format::apr::checkpoint(&format::apr::Apr::open(path)?),
            Format::Safetensors if path.is_dir() => Self::folder(path, format::read_weights),
            Format::Safetensors => {
                let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
                Self::folder(dir, |_| format::read_single(path))
            }
        }
    }

    /// The files of a folder, with the weights that `weights` reads.
    fn folder(dir: &Path, weights: impl Fn(&Path) -> Result<Tensors>) -> Result<Self> {
        let config = format::json::read_object(&dir.join("config.json"))?;
        let generation_config = optional(format::json::read_object(&dir.join("generation_config.json")))?;
        let tokenizer = optional(format::file::read(&dir.join("tokenizer.json"), MAX_TOKENIZER_BYTES))?;
        let chat_templates = Templates::of_folder(dir)?;
        let tensors = weights(dir)?;
        Ok(Checkpoint { config, generation_config, tokenizer, chat_templates, tensors, path: dir.to_owned() })
    }

    /// The path of `config.json`, for messages about it; of a model that is one file, the file.
    pub fn config_file(&self) -> PathBuf {
        self.file("config.json")
    }

    /// The path of `tokenizer.json`, for messages about it; of a model that is one file, the file.
    pub fn tokenizer_file(&self) -> PathBuf {
        self.file("tokenizer.json")
    }

    fn file(&self, name: &str) -> PathBuf {
        if self.path.is_file() { self.path.clone() } else { self.path.join(name) }
    }

    /// A SHA-256 of what the weights are worth, whatever container and order they lie in: for each tensor in the order of its name's bytes,
    /// the name, a zero byte, the number of dimensions (u32), the dimensions (u64), and every value as f32 in row-major order, all
    /// little-endian.
    ///
    /// Names are those of the whole model, also where the files leave out the base model's prefix. What is no weight is left out: rotary
    /// frequencies, causal masks, and a head that holds the embedding's values or that the configuration says is the embedding.
    pub fn values_digest(&self) -> [u8; 32] {
        let prefix = if self.config.get("model_type").and_then(Value::as_str) == Some("gpt2") { "transformer." } else { "model." };
        let whole = |name: &str| if name.starts_with(prefix) || name == HEAD { name.to_owned() } else { format!("{prefix}{name}") };
        let named: BTreeMap<String, &Tensor> = self.tensors.iter().map(|(name, tensor)| (whole(name), tensor)).collect();
        let embedding = ["transformer.wte.weight", "model.embed_tokens.weight"].iter().find_map(|name| named.get(*name));
        let is_tied = self.config.get("tie_word_embeddings").map_or(prefix == "transformer.", |tied| tied == &Value::Bool(true));
        let mut digest = Sha256::new();
        for (name, tensor) in &named {
            let is_head = name == HEAD && embedding.is_some_and(|embedding| is_tied || tensor.holds_the_values_of(embedding));
            if is_head || is_buffer(name) {
                continue;
            }
            digest.update(name);
            digest.update([0]);
            digest.update((tensor.shape().len() as u32).to_le_bytes());
            tensor.shape().iter().for_each(|dim| digest.update((*dim as u64).to_le_bytes()));
            for values in tensor.to_f32().chunks(1 << 14) {
                digest.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            }
        }
        digest.finalize().into()
    }
}

/// The head's name in every architecture.
const HEAD: &str = "lm_head.weight";

/// Whether a tensor of that name follows from the configuration: rotary frequencies of old llama files, causal masks of old gpt2 ones.
fn is_buffer(name: &str) -> bool {
    [".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"].iter().any(|end| name.ends_with(end))
}

/// A file that may be absent, but not broken.
fn optional<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(crate::Error::File { source: FileError::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tensors, ordered by name.
#[derive(Debug, Clone, Default)]
pub struct Tensors(BTreeMap<String, Tensor>);

impl Tensors {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Puts a tensor under a name; what stood there is handed back.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.0.insert(name.into(), tensor)
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.0.remove(name)
    }

    /// Gives the tensor `from` the name `to`. False, and nothing is changed, if there is no `from` or already a `to`.
    pub fn rename(&mut self, from: &str, to: impl Into<String>) -> bool {
        let to = to.into();
        if self.0.contains_key(&to) {
            return false;
        }
        match self.0.remove(from) {
            Some(tensor) => self.0.insert(to, tensor).is_none(),
            None => false,
        }
    }

    /// Names and tensors, in the order of the names' bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Tensors {
    type Item = (&'a String, &'a Tensor);
    type IntoIter = btree_map::Iter<'a, String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// How the elements of a tensor lie in its bytes, where that is not row-major order of its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Row-major order of the shape.
    #[default]
    RowMajor,
    /// The rows of each of that many heads are laid out for a rotary embedding that turns neighbours (GGUF's llama): in a head of `d` rows,
    /// row `i` of the first half lies at `2 i`, row `i` of the second at `2 i + 1`.
    InterleavedHeads(usize),
    /// A matrix of shape `(n, m)` lies as `(m, n)`.
    Transposed,
}

/// A tensor: a dtype, a shape, and its elements, little-endian, in row-major order unless it says otherwise. A clone shares the elements.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    order: Order,
    bytes: Bytes,
}

/// A file in memory, and what it is called in messages.
#[derive(Debug)]
pub(crate) struct MappedFile {
    pub(crate) path: PathBuf,
    pub(crate) map: Mmap,
}

#[derive(Debug, Clone)]
enum Bytes {
    /// A part of a mapped file. The range lies within the map.
    Mapped {
        file: Arc<MappedFile>,
        range: Range<usize>,
    },
    Owned(Arc<[u8]>),
}

impl Tensor {
    /// A tensor of bytes that are already in memory.
    ///
    /// # Errors
    ///
    /// [`ModelError::WrongBytes`] unless `bytes` is as long as the shape and the dtype need.
    pub fn owned(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self> {
        let needed = dtype.bytes_of(&shape);
        if needed != Some(bytes.len()) {
            return Err(ModelError::WrongBytes { shape, dtype, needed, held: bytes.len() }.into());
        }
        Ok(Tensor { dtype, shape, order: Order::RowMajor, bytes: Bytes::Owned(bytes.into()) })
    }

    /// A tensor of the given values, each rounded to `dtype` (to nearest, ties to even). For `U8` the value is rounded to a whole
    /// number and clamped to 0..=255, for `Bool` it is whether the value is not 0.
    ///
    /// # Errors
    ///
    /// [`ModelError::WrongBytes`] unless there are as many values as the shape has elements.
    pub fn from_f32(dtype: Dtype, shape: Vec<usize>, values: &[f32]) -> Result<Self> {
        let row = shape.last().copied().unwrap_or(1);
        let Some(bytes) = quant::quantize(dtype, values, row) else {
            return Err(ModelError::WrongBytes { needed: dtype.bytes_of(&shape), shape, dtype, held: 0 }.into());
        };
        Self::owned(dtype, shape, bytes)
    }

    /// A tensor that lies in a mapped file. `None` if the range is not in the map or not as long as the tensor.
    pub(crate) fn mapped(dtype: Dtype, shape: Vec<usize>, file: &Arc<MappedFile>, range: Range<usize>) -> Option<Self> {
        let held = file.map.get(range.clone())?.len();
        (dtype.bytes_of(&shape) == Some(held)).then(|| Tensor {
            dtype,
            shape,
            order: Order::RowMajor,
            bytes: Bytes::Mapped { file: Arc::clone(file), range },
        })
    }

    /// The file that the tensor lies in, unless it was made in memory.
    pub fn file(&self) -> Option<&Path> {
        match &self.bytes {
            Bytes::Mapped { file, .. } => Some(&file.path),
            Bytes::Owned(_) => None,
        }
    }

    /// The file that the tensor lies in, and where in it, for readers that read by position; `None` if it was made in memory.
    pub fn place(&self) -> Option<(&Path, u64)> {
        match &self.bytes {
            Bytes::Mapped { file, range } => Some((&file.path, range.start as u64)),
            Bytes::Owned(_) => None,
        }
    }

    /// How many bytes there are. Looks at none of them.
    pub(crate) fn n_bytes(&self) -> usize {
        match &self.bytes {
            Bytes::Mapped { range, .. } => range.len(),
            Bytes::Owned(bytes) => bytes.len(),
        }
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements as they stand in the file, at no particular alignment.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped { file, range } => &file.map[range.clone()],
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// How the elements lie in the bytes.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The same bytes of a tensor whose shape was that of its bytes, said to lie in that order. The shape stays what it is, except that of a
    /// transposed matrix, which is turned. `None` if such bytes cannot: heads that do not divide the rows or have an odd number of them, or
    /// no matrix.
    #[must_use]
    pub fn in_order(mut self, order: Order) -> Option<Tensor> {
        let fits = match order {
            Order::RowMajor => true,
            Order::InterleavedHeads(heads) => {
                let rows = self.shape.first().copied().unwrap_or(0);
                self.dtype != Dtype::AprQ4 && heads > 0 && rows.is_multiple_of(2 * heads)
            }
            Order::Transposed => self.shape.len() == 2,
        };
        self.order = order;
        if order == Order::Transposed {
            self.shape.reverse();
        }
        fits.then_some(self)
    }

    /// Whether both hold the same numbers in the same places, whatever they lie in.
    fn holds_the_values_of(&self, other: &Tensor) -> bool {
        let lies_alike = self.dtype == other.dtype && self.order == other.order && self.shape == other.shape;
        if lies_alike && self.bytes() == other.bytes() {
            return true;
        }
        let bits = |tensor: &Tensor| tensor.to_f32().into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        self.shape == other.shape && bits(self) == bits(other)
    }

    /// How many elements there are.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The first element, in the order in which they are stored, that is NaN or infinite, and its place.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, f32)> {
        // A whole number of blocks of every dtype. A block is tested without a branch, and only a bad one is looked through.
        const STRETCH: usize = 4096;
        let (block, block_bytes) = self.dtype.block();
        let mut numbers = vec![0f32; STRETCH];
        let mut look = |first: usize, bytes: &[u8], decode: &dyn Fn(&[u8], &mut [f32])| {
            let numbers = &mut numbers[..(self.n_elements() - first).min(STRETCH)];
            decode(bytes, numbers);
            if numbers.iter().fold(true, |fine, v| fine & v.is_finite()) {
                return None;
            }
            let bad = numbers.iter().position(|v| !v.is_finite())?;
            Some((first + bad, numbers[bad]))
        };
        let stretches = |bytes: usize| (0..).step_by(STRETCH).zip(self.bytes()[bytes..].chunks(STRETCH / block * block_bytes));
        match self.dtype {
            Dtype::AprQ8 => {
                let scale = quant::apr_q8_scale(self.bytes());
                stretches(4).find_map(|(first, bytes)| look(first, bytes, &|bytes, out| quant::dequantize_apr_q8(scale, bytes, out)))
            }
            Dtype::AprQ4 if !self.n_elements().is_multiple_of(block) => self.to_f32().into_iter().enumerate().find(|(_, v)| !v.is_finite()),
            dtype => stretches(0).find_map(|(first, bytes)| look(first, bytes, &|bytes, out| quant::dequantize(dtype, bytes, out))),
        }
    }

    /// The elements in row-major order of the shape, each widened exactly. Read byte by byte, so that the file's alignment does not matter.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut stored = vec![0f32; self.n_elements()];
        quant::dequantize(self.dtype, self.bytes(), &mut stored);
        match self.order {
            Order::RowMajor => stored,
            Order::InterleavedHeads(heads) => {
                let rows = self.shape[0];
                let width = stored.len() / rows.max(1);
                (0..rows).flat_map(|row| &stored[interleaved(row, rows / heads) * width..][..width]).copied().collect()
            }
            Order::Transposed => {
                let (n, m) = (self.shape[0], self.shape[1]);
                (0..n).flat_map(|i| (0..m).map(move |j| (i, j))).map(|(i, j)| stored[j * n + i]).collect()
            }
        }
    }
}

/// Where row `row` lies among rows of heads of `head_dim`, each laid out for neighbours.
pub(crate) fn interleaved(row: usize, head_dim: usize) -> usize {
    let (head, i, half) = (row / head_dim, row % head_dim, head_dim / 2);
    head * head_dim + if i < half { 2 * i } else { 2 * (i - half) + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Tokenizer};

    #[test]
    fn every_dtype_is_widened_exactly() {
        let cases = [
            (Dtype::F32, vec![0, 0, 0x20, 0xc0], vec![-2.5]),
            (Dtype::F16, vec![0, 0xc1, 1, 0], vec![-2.5, 2f32.powi(-24)]),
            (Dtype::BF16, vec![0x20, 0xc0, 1, 0], vec![-2.5, f32::from_bits(1 << 16)]),
            (Dtype::U8, vec![0, 255], vec![0.0, 255.0]),
            (Dtype::Bool, vec![0, 1], vec![0.0, 1.0]),
        ];
        for (dtype, bytes, values) in cases {
            let shape = vec![values.len()];
            let tensor = Tensor::owned(dtype, shape.clone(), bytes).unwrap();
            assert_eq!(tensor.to_f32(), values, "{dtype}");
            assert_eq!(Tensor::from_f32(dtype, shape, &values).unwrap().bytes(), tensor.bytes(), "{dtype}");
            assert_eq!(tensor.n_elements(), values.len());
        }
    }

    /// 1 + 2^-9 lies between two BF16 values and exactly between none; 1 + 2^-8 exactly between two.
    #[test]
    fn values_are_rounded_to_the_nearest_with_ties_to_even() {
        let round = |dtype, value| Tensor::from_f32(dtype, vec![1], &[value]).unwrap().to_f32()[0];
        assert_eq!(round(Dtype::BF16, 1.0 + 2f32.powi(-9)), 1.0);
        assert_eq!(round(Dtype::BF16, 1.0 + 2f32.powi(-8)), 1.0);
        assert_eq!(round(Dtype::BF16, 1.0 + 3.0 * 2f32.powi(-8)), 1.0 + 2f32.powi(-6));
        assert_eq!(round(Dtype::F16, 1e9), f32::INFINITY);
        assert!(round(Dtype::F16, f32::NAN).is_nan());
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_found_wherever_it_is() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            for n in [1, 4095, 4096, 4097, 9000] {
                for (bad, shown) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
                    let mut values = vec![1.0; n];
                    let found = |values: &[f32]| Tensor::from_f32(dtype, vec![n], values).unwrap().first_not_finite();
                    assert_eq!(found(&values), None);
                    values[n - 1] = bad;
                    let (index, value) = found(&values).unwrap();
                    assert_eq!((index, value.to_string().as_str()), (n - 1, shown), "{dtype} of {n}");
                }
            }
        }
    }

    /// The same matrix of three heads of four rows, stored for neighbours, and one stored the other way round.
    #[test]
    fn a_stored_order_changes_no_element() {
        let logical: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let stored: Vec<f32> =
            [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11].iter().flat_map(|row| [2.0 * *row as f32, 2.0 * *row as f32 + 1.0]).collect();
        let tensor = Tensor::from_f32(Dtype::F32, vec![12, 2], &stored).unwrap().in_order(Order::InterleavedHeads(3)).unwrap();
        assert_eq!(tensor.to_f32(), logical);
        let turned: Vec<f32> = (0..24).map(|i| (i % 12 * 2 + i / 12) as f32).collect();
        let tensor = Tensor::from_f32(Dtype::F32, vec![2, 12], &turned).unwrap().in_order(Order::Transposed).unwrap();
        assert_eq!((tensor.shape(), tensor.to_f32()), ([12, 2].as_slice(), logical));
        let odd = |order| Tensor::from_f32(Dtype::F32, vec![6], &[0.0; 6]).unwrap().in_order(order).is_none();
        assert!(odd(Order::InterleavedHeads(2)) && odd(Order::InterleavedHeads(0)) && odd(Order::Transposed));
    }

    #[test]
    fn a_tensor_has_as_many_bytes_as_its_shape() {
        let refusal = Tensor::owned(Dtype::F16, vec![2, 3], vec![0; 11]).unwrap_err().to_string();
        assert_eq!(refusal, "a tensor of shape [2, 3] and dtype F16 needs 12 bytes, 11 were given");
        let refusal = Tensor::owned(Dtype::F32, vec![usize::MAX, 2], vec![]).unwrap_err().to_string();
        assert!(refusal.ends_with("needs more than 2^63 bytes, 0 were given"), "{refusal}");
    }

    #[test]
    fn tensors_are_renamed_only_onto_free_names() {
        let tensor = Tensor::from_f32(Dtype::F32, vec![1], &[1.0]).unwrap();
        let mut tensors = Tensors::new();
        tensors.insert("b", tensor.clone());
        tensors.insert("a", tensor);
        assert!(!tensors.rename("a", "b") && !tensors.rename("c", "d") && tensors.len() == 2);
        assert!(tensors.rename("b", "0"));
        assert_eq!(tensors.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["0", "a"]);
    }

    #[test]
    fn a_path_that_is_no_model_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refusal = |path: &Path| Checkpoint::open(path).unwrap_err().reason();
        assert_eq!(refusal(file.path()), "not-a-model");
        assert_eq!(refusal(&file.path().join("x")), "io");
        assert_eq!(refusal(Path::new("/there/is/no/such/folder")), "not-found");
    }

    /// Every model of the roster opens, and its three files agree.
    #[test]
    fn the_roster_opens() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let others = std::env::var_os("GROUND_TRUTH_MODELS").unwrap_or_default();
        let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
        let folders = others.map(|path| root.join(path)).chain([root.join("testdata/models")]);
        let models = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
        let mut n_opened = 0;
        for model in models.filter(|path| path.is_dir()) {
            let checkpoint = Checkpoint::open(&model).unwrap();
            let config = checkpoint.config_file();
            let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &config).unwrap();
            let bytes = checkpoint.tokenizer.as_ref().unwrap();
            let tokenizer = Tokenizer::from_bytes(bytes, &checkpoint.tokenizer_file()).unwrap();
            tokenizer.check_fits(config.vocab_size).unwrap();
            n_opened += 1;
        }
        assert!(n_opened > 0);
    }
}
