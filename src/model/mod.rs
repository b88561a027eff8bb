//! What a checkpoint says its network is, and the network itself.

mod cache;
pub mod config;
mod gpt2;
mod inventory;
mod layers;
mod llama;
mod network;
mod qwen2;
mod stage;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use cache::KvCache;
pub use stage::Stage;

use crate::error::{Error, RequestError};
use crate::kernel::Isa;
use crate::{Checkpoint, Config, Result, Tensor, Tensors};
use cache::Owner;
use layers::{Compute, Pass, Segment};
use network::Network;
pub(crate) use stage::Observer;

/// Rows that go through the network together. Longer requests are cut, which changes no bit and bounds the memory.
const PASS_ROWS: usize = 256;

/// A model that is ready to answer: a network, its weights as the files have them, and nothing that changes.
///
/// Every answer is a function of the ids alone: how they are cut into calls, what shares a batch with them, how many
/// threads there are and what was asked before does not change a bit of it.
///
/// ```
/// # fn main() -> ground_truth::Result<()> {
/// use ground_truth::{Model, Positions};
///
/// let model = Model::open("testdata/models/llama-tiny".as_ref())?;
/// let whole = model.forward(&[1, 2, 3], &mut model.new_cache(), Positions::All)?;
///
/// let mut cache = model.new_cache();
/// model.forward(&[1, 2], &mut cache, Positions::Last)?;
/// let step = model.forward(&[3], &mut cache, Positions::Last)?;
/// assert_eq!(whole.row(2), step.row(0));
/// # Ok(())
/// # }
/// ```
pub struct Model {
    config: Config,
    network: Arc<dyn Network>,
    owner: Owner,
    pool: Option<Arc<rayon::ThreadPool>>,
    isa: Isa,
}

/// The positions that logits are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Positions {
    /// Every position of the request.
    All,
    /// Its last position.
    Last,
}

/// The ids of a request, and what came before them.
#[derive(Debug)]
pub struct Sequence<'a> {
    /// Ids to append.
    pub ids: &'a [u32],
    /// What the sequence has so far.
    pub cache: &'a mut KvCache,
}

/// Scores of every token at some positions, before softmax.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// Positions.
    pub n: usize,
    /// Scores of a position.
    pub vocab: usize,
    /// `(n, vocab)`, row by row.
    pub values: Vec<f32>,
}

impl Logits {
    /// The scores of the `i`-th position that was asked for.
    ///
    /// # Panics
    /// If `i` is not below `n`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.vocab..(i + 1) * self.vocab]
    }

    /// The scores of each position.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.vocab)
    }
}

impl Model {
    /// Reads a Hugging Face folder.
    ///
    /// # Errors
    /// Whatever [`Checkpoint::open`] and [`Model::from_checkpoint`] refuse.
    pub fn open(dir: &Path) -> Result<Model> {
        Model::from_checkpoint(&Checkpoint::open(dir)?)
    }

    /// The network of a checkpoint. Weights are not copied: they stay in their dtype, in the mapped file.
    ///
    /// # Errors
    /// [`Error::Config`] if the configuration is not computed here; [`Error::Model`]
    /// naming the first tensor that is missing, left over, of another shape or dtype than is due, or that holds a value
    /// which is not finite.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Model> {
        let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file())?;
        Model::assemble(config, &checkpoint.tensors).map_err(|error| match error {
            Error::Model { file: None, source } => {
                let tensor = source.tensor().and_then(|name| checkpoint.tensors.get(name));
                let file = tensor.and_then(Tensor::file).unwrap_or(&checkpoint.path);
                Error::Model { file: Some(file.to_owned()), source }
            }
            other => other,
        })
    }

    fn assemble(config: Config, tensors: &Tensors) -> Result<Model> {
        let network: Arc<dyn Network> = network::load(&config, tensors)?.into();
        let owner = Owner { instance: new_instance(), n_layers: config.n_layers, width: config.n_kv_heads * config.head_dim };
        Ok(Model { config, network, owner, pool: None, isa: Isa::best() })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Splits the work over `n` threads of its own; 0 and 1 are the calling thread alone, and so is a machine that
    /// refuses threads. The answers are the same bits.
    #[must_use]
    pub fn with_threads(mut self, n: usize) -> Model {
        let pool = || rayon::ThreadPoolBuilder::new().num_threads(n).build().ok();
        self.pool = if n > 1 { pool().map(Arc::new) } else { None };
        self
    }

    /// Computes by these instructions, where it would take the fastest of the machine.
    #[must_use]
    pub fn computed_by(mut self, isa: Isa) -> Model {
        self.isa = isa;
        self
    }

    /// The same weights, read and checked once, and another number of threads. A cache of the one is none of the other's.
    #[must_use]
    pub fn sharing_weights(&self, n: usize) -> Model {
        let owner = Owner { instance: new_instance(), ..self.owner };
        Model { config: self.config.clone(), network: Arc::clone(&self.network), owner, pool: None, isa: self.isa }.with_threads(n)
    }

    /// A cache with nothing in it, for this model alone.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(self.owner)
    }

    /// Appends `ids` to the cache and answers with logits at the positions of `ids`.
    ///
    /// # Errors
    /// [`Error::Request`]: no ids, an id at or past the vocabulary, more positions than the model has,
    /// or a cache of another model. The cache is then as it was.
    pub fn forward(&self, ids: &[u32], cache: &mut KvCache, positions: Positions) -> Result<Logits> {
        self.observed(&mut [Sequence { ids, cache }], positions, None).map(|mut one| one.remove(0))
    }

    /// The same for several sequences at once, in their order. Each gets the bits that it would get alone.
    ///
    /// # Errors
    /// As [`Model::forward`], for the first sequence that is wrong; every cache is then as it was.
    pub fn forward_batch(&self, batch: &mut [Sequence<'_>], positions: Positions) -> Result<Vec<Logits>> {
        self.observed(batch, positions, None)
    }

    /// The same, with somebody watching.
    pub(crate) fn observed(
        &self,
        batch: &mut [Sequence<'_>],
        positions: Positions,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Vec<Logits>> {
        for sequence in batch.iter() {
            self.check(sequence)?;
        }
        Ok(match &self.pool {
            None => self.compute(batch, positions, observer, false),
            Some(pool) => pool.install(|| self.compute(batch, positions, observer, true)),
        })
    }

    fn check(&self, Sequence { ids, cache }: &Sequence<'_>) -> std::result::Result<(), RequestError> {
        let Config { vocab_size, n_ctx, .. } = self.config;
        cache.check_owner(self.owner)?;
        if ids.is_empty() {
            return Err(RequestError::NoIds);
        }
        if ids.len() > n_ctx.saturating_sub(cache.len()) {
            return Err(RequestError::ContextExceeded { given: ids.len(), cached: cache.len(), n_ctx });
        }
        match ids.iter().position(|&id| id as usize >= vocab_size) {
            Some(position) => Err(RequestError::IdOutOfRange { id: ids[position], position, vocab_size }),
            None => Ok(()),
        }
    }

    /// Fills passes with the rows of one sequence after the other, until all are through.
    fn compute(
        &self,
        batch: &mut [Sequence<'_>],
        positions: Positions,
        mut observer: Option<&mut dyn Observer>,
        parallel: bool,
    ) -> Vec<Logits> {
        let compute = Compute { isa: self.isa, parallel };
        let vocab = self.config.vocab_size;
        let mut answers: Vec<Logits> = batch.iter().map(|_| Logits { n: 0, vocab, values: Vec::new() }).collect();
        let mut done = vec![0; batch.len()];
        while done.iter().zip(&*batch).any(|(done, sequence)| *done < sequence.ids.len()) {
            let observer = observer.as_mut().map(|observer| &mut **observer as &mut dyn Observer);
            let mut pass = Pass { compute, ids: vec![], positions: vec![], segments: vec![], observer };
            let mut wanted: Vec<(usize, usize)> = Vec::new(); // (row, sequence)
            for (i, (Sequence { ids, cache }, done)) in batch.iter_mut().zip(&mut done).enumerate() {
                let first = pass.ids.len();
                let n = (ids.len() - *done).min(PASS_ROWS - first);
                if n == 0 {
                    continue;
                }
                pass.ids.extend(ids[*done..*done + n].iter().map(|&id| id as usize));
                pass.positions.extend(cache.len()..cache.len() + n);
                *done += n;
                match positions {
                    Positions::All => wanted.extend((first..first + n).map(|row| (row, i))),
                    Positions::Last if *done == ids.len() => wanted.push((first + n - 1, i)),
                    Positions::Last => {}
                }
                pass.segments.push(Segment { rows: first..first + n, cache });
            }
            let x = self.network.blocks(&mut pass);
            pass.segments.iter_mut().for_each(|segment| segment.cache.advance(segment.rows.len()));
            self.answer(&mut pass, &x, &wanted, &mut answers);
        }
        answers
    }

    /// Final norm and head, for the rows that are wanted.
    fn answer(&self, pass: &mut Pass<'_>, x: &[f32], wanted: &[(usize, usize)], answers: &mut [Logits]) {
        let width = self.config.hidden_size;
        let rows: Vec<f32> = wanted.iter().flat_map(|(row, _)| &x[row * width..(row + 1) * width]).copied().collect();
        if rows.is_empty() {
            return;
        }
        let normed = self.network.norm(&rows);
        pass.observe_rows(Stage::FinalNorm, &normed, wanted.len());
        let logits = self.network.head(pass.compute, &normed);
        pass.observe_rows(Stage::Logits, &logits, wanted.len());
        for ((_, sequence), row) in wanted.iter().zip(logits.chunks_exact(self.config.vocab_size)) {
            answers[*sequence].values.extend_from_slice(row);
            answers[*sequence].n += 1;
        }
    }
}

/// A number that no other model of this process has.
fn new_instance() -> u64 {
    static INSTANCES: AtomicU64 = AtomicU64::new(1);
    INSTANCES.fetch_add(1, Ordering::Relaxed)
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let threads = self.pool.as_ref().map_or(1, |pool| pool.current_num_threads());
        f.debug_struct("Model").field("config", &self.config).field("threads", &threads).finish_non_exhaustive()
    }
}
