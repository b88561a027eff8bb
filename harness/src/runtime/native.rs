//! The engine of this repository as a runtime.
//!
//! Sessions of one artifact share one loaded model while any of them lives: weights are read once, and the claims about concurrent
//! use are put to the same memory that users share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ground_truth::chat::{ChatTemplate, Clock, Conversation};
use ground_truth::kernel::Isa;
use ground_truth::sample::{self, History, Params};
use ground_truth::{Architecture, Checkpoint, Error, KvCache, Model, Sequence, Tokenizer, generate, sketch};
use ground_truth_falsification::observation::Exact;

use super::{
    Arithmetic, Artifact, Capabilities, Chat, Container, Failure, Format, Logits, Metadata, Op, Positions, Runtime, SampleParams,
    SampleRequest, Sampled, Session, StageSketch, Stop, TensorRow, container,
};

/// The engine, reading artifacts from disk or answering from one checkpoint in memory.
pub struct NativeRuntime {
    checkpoint: Option<Checkpoint>,
    isa: Isa,
    /// With how many threads it computes where it is asked to with one.
    threads: usize,
    loaded: Mutex<HashMap<(PathBuf, usize), Weak<Loaded>>>,
}

/// One artifact, ready to answer.
struct Loaded {
    path: PathBuf,
    /// Whether the checkpoint was handed over and not read from the path.
    in_memory: bool,
    checkpoint: Arc<Checkpoint>,
    model: Model,
    tokenizer: Option<Tokenizer>,
}

impl NativeRuntime {
    /// The engine, reading each artifact from its path.
    pub fn new() -> Self {
        Self { checkpoint: None, isa: Isa::best(), threads: 1, loaded: Mutex::default() }
    }

    /// The engine, answering from `checkpoint` whatever the artifact's path is.
    pub fn with_checkpoint(checkpoint: Checkpoint) -> Self {
        Self { checkpoint: Some(checkpoint), ..Self::new() }
    }

    /// The engine, computing by these instructions, and with so many threads where it is asked to with one: answers as correct as its
    /// own, for checks to be tried on.
    #[must_use]
    pub fn computing_by(self, isa: Isa, threads: usize) -> Self {
        Self { isa, threads, ..self }
    }

    /// The engine, answering from the values of `artifact` under the configuration of `published`.
    ///
    /// # Errors
    ///
    /// That one of the two is refused.
    pub fn with_settings_of(artifact: &Path, published: &Path) -> Result<Self, Failure> {
        let values = Checkpoint::open(artifact).map_err(refused)?;
        let settings = Checkpoint::open(published).map_err(refused)?;
        Ok(Self::with_checkpoint(Checkpoint { tensors: values.tensors, ..settings }))
    }

    fn loaded(&self, path: &Path, threads: usize) -> Result<Arc<Loaded>, Error> {
        let key = (path.to_path_buf(), threads);
        let find = |loaded: &HashMap<_, Weak<Loaded>>| loaded.get(&key).and_then(Weak::upgrade);
        if let Some(model) = find(&self.loaded.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(model);
        }
        let sibling = {
            let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            loaded.iter().filter(|((at, _), _)| at == path).find_map(|(_, model)| model.upgrade())
        };
        // Two sessions that load at once both read the file; the second to finish takes the first one's model.
        let model = Arc::new(match sibling {
            Some(sibling) => sibling.with_threads(threads),
            None => self.load_model(path, threads)?,
        });
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, model| model.strong_count() > 0);
        Ok(find(&loaded).unwrap_or_else(|| {
            loaded.insert(key, Arc::downgrade(&model));
            model
        }))
    }

    fn load_model(&self, path: &Path, threads: usize) -> Result<Loaded, Error> {
        let checkpoint = match &self.checkpoint {
            Some(checkpoint) => checkpoint.clone(),
            None => Checkpoint::open(path)?,
        };
        let model = Model::from_checkpoint(&checkpoint)?.computed_by(self.isa).with_threads(threads);
        let tokenizer = match &checkpoint.tokenizer {
            Some(bytes) => Some(Tokenizer::from_bytes(bytes, &checkpoint.tokenizer_file())?),
            None => None,
        };
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check_fits(model.config().vocab_size)?;
        }
        Ok(Loaded { path: path.to_owned(), in_memory: self.checkpoint.is_some(), checkpoint: Arc::new(checkpoint), model, tokenizer })
    }
}

impl Loaded {
    /// The same weights, computed with by another number of threads.
    fn with_threads(&self, threads: usize) -> Loaded {
        Loaded {
            path: self.path.clone(),
            in_memory: self.in_memory,
            checkpoint: Arc::clone(&self.checkpoint),
            model: self.model.sharing_weights(threads),
            tokenizer: self.tokenizer.clone(),
        }
    }
}

impl Default for NativeRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for NativeRuntime {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "native".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            formats: Format::ALL.to_vec(),
            architectures: Architecture::ALL.iter().map(|a| a.name().to_owned()).collect(),
            // It refuses a type that it does not know when it loads.
            quantizations: Vec::new(),
            ops: Op::ALL.to_vec(),
            arithmetic: Arithmetic::Exact,
        }
    }

    fn load(&self, artifact: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure> {
        let threads = if threads == 1 { self.threads } else { threads };
        let loaded = self.loaded(&artifact.path, threads).map_err(refused)?;
        Ok(Box::new(NativeSession(loaded)))
    }
}

struct NativeSession(Arc<Loaded>);

/// A refusal of the engine, with its stable word.
fn refused(error: Error) -> Failure {
    Failure::Refused { kind: error.kind().to_owned(), message: error.to_string() }
}

impl NativeSession {
    fn tokenizer(&self) -> Result<&Tokenizer, Failure> {
        self.0.tokenizer.as_ref().ok_or_else(|| Failure::Refused {
            kind: "tokenizer".to_owned(),
            message: format!("{}: absent", self.0.checkpoint.tokenizer_file().display()),
        })
    }

    /// The tokens that begin and end a text, by the names that templates have for them.
    fn special_tokens(&self) -> Vec<(String, String)> {
        let config = self.0.model.config();
        let named = [("bos_token", config.bos), ("eos_token", config.eos.first().copied())];
        let token = |id: Option<u32>| self.0.tokenizer.as_ref()?.token(id?);
        named.into_iter().filter_map(|(name, id)| Some((name.to_owned(), token(id)?))).collect()
    }

    /// Feeds `ids` through `cache` and returns the rows asked for.
    fn forward(&self, ids: &[u32], cache: &mut KvCache, positions: Positions) -> Result<Logits, Failure> {
        self.0.model.forward(ids, cache, engine_positions(positions)).map(logits).map_err(refused)
    }
}

fn engine_positions(positions: Positions) -> ground_truth::Positions {
    match positions {
        Positions::All => ground_truth::Positions::All,
        Positions::Last => ground_truth::Positions::Last,
    }
}

fn logits(logits: ground_truth::Logits) -> Logits {
    Logits { n: logits.n, vocab: logits.vocab, values: logits.values }
}

impl Session for NativeSession {
    fn metadata(&mut self) -> Result<Metadata, Failure> {
        let config = self.0.model.config();
        Ok(Metadata {
            architecture: Some(config.architecture.name().to_owned()),
            n_layers: Some(config.n_layers),
            n_heads: Some(config.n_heads),
            n_kv_heads: Some(config.n_kv_heads),
            head_dim: Some(config.head_dim),
            hidden_size: Some(config.hidden_size),
            intermediate_size: Some(config.intermediate_size),
            vocab_size: Some(config.vocab_size),
            n_ctx: Some(config.n_ctx),
            tie_word_embeddings: Some(config.tie_word_embeddings),
            bos: config.bos,
            eos: Some(config.eos.clone()),
        })
    }

    fn tensors(&mut self) -> Result<Vec<TensorRow>, Failure> {
        Ok(tensor_rows(&self.0.checkpoint))
    }

    fn tokenize(&mut self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        self.tokenizer()?.encode(text, add_special).map_err(refused)
    }

    fn detokenize(&mut self, ids: &[u32]) -> Result<Vec<u8>, Failure> {
        self.tokenizer()?.decode(ids).map_err(refused)
    }

    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        self.forward(ids, &mut self.0.model.new_cache(), positions)
    }

    fn logits_chunked(&mut self, ids: &[u32], positions: Positions, chunks: &[usize]) -> Result<Logits, Failure> {
        if chunks.iter().try_fold(0usize, |sum, n| sum.checked_add(*n)) != Some(ids.len()) || chunks.is_empty() {
            return Err(Failure::Refused {
                kind: "request".to_owned(),
                message: format!("chunks of {chunks:?} do not make up {} ids", ids.len()),
            });
        }
        let mut cache = self.0.model.new_cache();
        let mut answer: Option<Logits> = None;
        let mut rest = ids;
        for chunk in chunks {
            let (now, later) = rest.split_at(*chunk);
            rest = later;
            let next = self.forward(now, &mut cache, positions)?;
            match (&mut answer, positions) {
                (Some(sum), Positions::All) => {
                    sum.n += next.n;
                    sum.values.extend_from_slice(&next.values);
                }
                (slot, _) => *slot = Some(next),
            }
        }
        answer.ok_or_else(|| Failure::Protocol { message: "no chunk, no logits".to_owned() })
    }

    fn logits_batch(&mut self, batch: &[Vec<u32>], positions: Positions) -> Result<Vec<Logits>, Failure> {
        let mut caches: Vec<KvCache> = batch.iter().map(|_| self.0.model.new_cache()).collect();
        let mut sequences: Vec<Sequence<'_>> = batch.iter().zip(&mut caches).map(|(ids, cache)| Sequence { ids, cache }).collect();
        let answers = self.0.model.forward_batch(&mut sequences, engine_positions(positions)).map_err(refused)?;
        Ok(answers.into_iter().map(logits).collect())
    }

    fn generate(&mut self, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Result<(Vec<u32>, Stop), Failure> {
        let generated = generate::generate(&self.0.model, ids, max_new_tokens, stop_at_eos).map_err(refused)?;
        let stop = match generated.stop {
            generate::Stop::Length => Stop::Length,
            generate::Stop::Eos => Stop::Eos,
        };
        Ok((generated.ids, stop))
    }

    fn sketch(&mut self, ids: &[u32], decode: bool) -> Result<Vec<StageSketch>, Failure> {
        let stages = sketch::sketch(&self.0.model, ids, decode).map_err(refused)?;
        let stage = |stage: sketch::StageSketch| StageSketch {
            stage: stage.stage,
            rms: stage.rms,
            mean: stage.mean,
            projections: stage.projections,
        };
        Ok(stages.into_iter().map(stage).collect())
    }

    fn container(&mut self) -> Result<Container, Failure> {
        let loaded = &self.0;
        let read = container::read(&loaded.path, &loaded.checkpoint, loaded.in_memory);
        read.map_err(|message| Failure::Refused { kind: "file".to_owned(), message })
    }

    fn chat(&mut self, chat: &Chat) -> Result<(String, Vec<u32>), Failure> {
        let file = Path::new("chat template");
        let refuse = |source| refused(Error::Chat { file: file.to_owned(), source });
        let mut conversation = Conversation::parse(&chat.messages, chat.tools.as_deref(), &chat.variables).map_err(refuse)?;
        conversation.add_generation_prompt = chat.add_generation_prompt;
        conversation.now = chat.now.as_deref().map(Clock::parse).transpose().map_err(refuse)?;
        let template = match &chat.template {
            Some(source) => ChatTemplate::new(source, file),
            None => {
                conversation.fill_in(self.special_tokens());
                self.0.checkpoint.chat_templates.template(None, chat.tools.is_some(), &self.0.path)
            }
        };
        let text = template.and_then(|template| template.render(&conversation)).map_err(refused)?;
        let ids = self.tokenizer()?.encode(&text, false).map_err(refused)?;
        Ok((text, ids))
    }

    fn weights(&mut self, tensor: &str) -> Result<Vec<f32>, Failure> {
        let found = self.0.checkpoint.tensors.get(tensor).map(ground_truth::Tensor::to_f32);
        found.ok_or_else(|| Failure::Refused { kind: "request".to_owned(), message: format!("no tensor {tensor:?}") })
    }

    fn sample(&mut self, request: &SampleRequest) -> Result<Sampled, Failure> {
        let history = History { prompt: &request.prompt, generated: &request.generated };
        let logits = sample::process(&request.logits(), history, &params(&request.params)).map_err(refused)?;
        let id = sample::draw(&logits, request.u.get()).map_err(refused)?;
        Ok(Sampled { logits, id })
    }
}

/// What is not said changes nothing.
fn params(said: &SampleParams) -> Params {
    let off = Params::default();
    Params {
        repetition_penalty: said.repetition_penalty.map_or(off.repetition_penalty, Exact::get),
        presence_penalty: said.presence_penalty.map_or(off.presence_penalty, Exact::get),
        frequency_penalty: said.frequency_penalty.map_or(off.frequency_penalty, Exact::get),
        no_repeat_ngram_size: said.no_repeat_ngram_size.unwrap_or(off.no_repeat_ngram_size),
        bad_words_ids: said.bad_words_ids.clone(),
        min_length: said.min_length.unwrap_or(off.min_length),
        min_new_tokens: said.min_new_tokens.unwrap_or(off.min_new_tokens),
        eos_token_id: said.eos_token_id.clone(),
        temperature: said.temperature.map_or(off.temperature, Exact::get),
        top_k: said.top_k.unwrap_or(off.top_k),
        top_p: said.top_p.map_or(off.top_p, Exact::get),
        min_p: said.min_p.map_or(off.min_p, Exact::get),
        typical_p: said.typical_p.map_or(off.typical_p, Exact::get),
        min_tokens_to_keep: said.min_tokens_to_keep.unwrap_or(off.min_tokens_to_keep),
    }
}

/// Name, type, shape and statistics of every tensor, in f64 over the finite elements.
pub fn tensor_rows(checkpoint: &Checkpoint) -> Vec<TensorRow> {
    checkpoint
        .tensors
        .iter()
        .map(|(name, tensor)| {
            let values = tensor.to_f32();
            let (mut n, mut sum, mut squares) = (0u64, 0.0f64, 0.0f64);
            let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
            for value in values.iter().filter(|value| value.is_finite()).map(|value| f64::from(*value)) {
                n += 1;
                sum += value;
                squares += value * value;
                min = if value < min { value } else { min };
                max = if value > max { value } else { max };
            }
            let mean = |sum: f64| if n == 0 { f64::NAN } else { sum / n as f64 };
            TensorRow {
                name: name.to_owned(),
                dtype: tensor.dtype().to_string(),
                shape: tensor.shape().to_vec(),
                rms: mean(squares).sqrt(),
                mean: mean(sum),
                min,
                max,
                n_nonfinite: values.len() as u64 - n,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ground_truth::{Dtype, Tensor};

    use super::*;

    #[test]
    fn statistics_are_those_of_the_finite_elements() {
        let folder = crate::workspace::Workspace::from_env().root().join("testdata/models/llama-tiny");
        let mut checkpoint = Checkpoint::open(&folder).unwrap();
        checkpoint.tensors = ground_truth::Tensors::default();
        let tensor = |values: &[f32]| Tensor::from_f32(Dtype::F32, vec![values.len()], values).unwrap();
        checkpoint.tensors.insert("a", tensor(&[-3.0, 1.0, f32::NAN, 5.0, f32::INFINITY]));
        checkpoint.tensors.insert("b", tensor(&[f32::NAN]));
        let [a, b] = <[TensorRow; 2]>::try_from(tensor_rows(&checkpoint)).unwrap();
        assert_eq!((a.name.as_str(), a.dtype.as_str(), a.shape.as_slice(), a.n_nonfinite), ("a", "F32", &[5][..], 2));
        assert_eq!((a.min, a.max, a.mean, a.rms), (-3.0, 5.0, 1.0, (35f64 / 3.0).sqrt()));
        assert!(b.mean.is_nan() && b.rms.is_nan() && b.n_nonfinite == 1, "{b:?}");
    }
}
