//! candle's models, and how every row is had from models that answer with the last one.
//!
//! | model | all rows | the last row alone |
//! |---|---|---|
//! | `qwen2` | one prefill: its base model gives every hidden state, to which the head is applied here as candle applies it | one prefill |
//! | `llama`, `quantized_llama`, `quantized_qwen2` | one id after another, through the cache | one prefill |
//!
//! So F-P3-last holds prefill against decoding, and no claim about pieces is declared: most models would answer it with the same steps.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, IndexOp, Module, Result, Tensor};
use candle_nn::{Linear, VarBuilder};
use candle_transformers::models::{llama, quantized_llama, quantized_qwen2, qwen2};
use ground_truth_harness::runtime::{Artifact, Failure, Format};

use crate::config::{self, Config};
use crate::metadata::Metadata;
use crate::refused;

/// An artifact that was read.
pub struct Loaded {
    weights: Weights,
    device: Device,
    /// The most ids that a sequence may have.
    pub n_ctx: usize,
    /// The ids that end a text.
    pub eos: Vec<u32>,
}

/// Weights, shared by every session.
enum Weights {
    Llama(llama::Llama, llama::Config),
    Qwen2(qwen2::Model, Linear),
    QuantizedLlama(quantized_llama::ModelWeights),
    /// Weights and cache in one that cannot be copied: every session reads the file.
    QuantizedQwen2(std::path::PathBuf),
}

/// A model with a cache.
pub enum Model {
    /// From safetensors.
    Llama(llama::Llama, llama::Cache),
    /// From safetensors, with its head apart.
    Qwen2(qwen2::Model, Linear),
    /// From GGUF.
    QuantizedLlama(Box<quantized_llama::ModelWeights>),
    /// From GGUF.
    QuantizedQwen2(Box<quantized_qwen2::ModelWeights>),
}

fn io(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::Refused { kind: "file".to_owned(), message: format!("{}: {error}", path.display()) }
}

impl Loaded {
    /// Reads a folder of safetensors or a GGUF file. Weights of sixteen bits become float32, which holds each exactly.
    ///
    /// # Errors
    /// [`Failure::Refused`] by the file, the configuration, or candle.
    pub fn open(artifact: &Artifact, device: &Device) -> std::result::Result<Self, Failure> {
        let path = &artifact.path;
        if artifact.format == Format::Gguf {
            let mut file = BufReader::new(File::open(path).map_err(|error| io(path, error))?);
            let content = Content::read(&mut file).map_err(refused)?;
            let metadata = Metadata::read(&content)?;
            let weights = match metadata.architecture.as_str() {
                "llama" => Weights::QuantizedLlama(quantized_llama::ModelWeights::from_gguf(content, &mut file, device).map_err(refused)?),
                _ => Weights::QuantizedQwen2(path.clone()),
            };
            return Ok(Self { weights, device: device.clone(), n_ctx: metadata.n_ctx, eos: metadata.eos });
        }
        let read = |name: &str| std::fs::read(path.join(name)).map_err(|error| io(&path.join(name), error));
        let text = read("config.json")?;
        let config = Config::read(&text)?;
        let generation = path.join("generation_config.json").is_file().then(|| read("generation_config.json")).transpose()?;
        let mut tensors = std::collections::HashMap::new();
        for file in shards(path)? {
            let shard = candle_core::safetensors::load(&file, device).map_err(refused)?;
            for (name, tensor) in shard {
                tensors.insert(name, tensor.to_dtype(DType::F32).map_err(refused)?);
            }
        }
        let builder = VarBuilder::from_tensors(tensors, DType::F32, device);
        let weights = match &config {
            Config::Llama(config) => Weights::Llama(llama::Llama::load(builder, config).map_err(refused)?, config.clone()),
            Config::Qwen2(config) => {
                let (model, head) = qwen2_with_head(config, &builder).map_err(refused)?;
                Weights::Qwen2(model, head)
            }
        };
        let eos = config::eos(&text, generation.as_deref());
        Ok(Self { weights, device: device.clone(), n_ctx: config.n_ctx(), eos })
    }

    /// The model with an empty cache.
    ///
    /// # Errors
    /// [`Failure::Refused`] by candle.
    pub fn model(&self) -> std::result::Result<Model, Failure> {
        match &self.weights {
            Weights::Llama(model, config) => {
                let cache = llama::Cache::new(true, DType::F32, config, &self.device).map_err(refused)?;
                Ok(Model::Llama(model.clone(), cache))
            }
            Weights::Qwen2(model, head) => Ok(Model::Qwen2(model.clone(), head.clone())),
            Weights::QuantizedLlama(model) => Ok(Model::QuantizedLlama(Box::new(model.clone()))),
            Weights::QuantizedQwen2(path) => {
                let mut file = BufReader::new(File::open(path).map_err(|error| io(path, error))?);
                let content = Content::read(&mut file).map_err(refused)?;
                let model = quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &self.device).map_err(refused)?;
                Ok(Model::QuantizedQwen2(Box::new(model)))
            }
        }
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }
}

/// As candle's `ModelForCausalLM` chooses the head: by whether the file has one.
fn qwen2_with_head(config: &qwen2::Config, builder: &VarBuilder) -> Result<(qwen2::Model, Linear)> {
    let name = if builder.contains_tensor("lm_head.weight") { "lm_head" } else { "model.embed_tokens" };
    let head = builder.pp(name).get((config.vocab_size, config.hidden_size), "weight")?;
    Ok((qwen2::Model::new(config, builder.clone())?, Linear::new(head, None)))
}

/// The weight files of a folder, by name.
fn shards(folder: &Path) -> std::result::Result<Vec<std::path::PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| io(folder, error))? {
        let path = entry.map_err(|error| io(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(io(folder, "no safetensors file"));
    }
    Ok(files)
}

impl Model {
    /// Feeds `ids` behind the `at` that the cache holds, and returns the last row, of the width of the vocabulary.
    ///
    /// # Errors
    /// candle's.
    pub fn feed(&mut self, ids: &[u32], at: usize, device: &Device) -> Result<Vec<f32>> {
        let input = Tensor::new(ids, device)?.unsqueeze(0)?;
        let logits = match self {
            Model::Llama(model, cache) => model.forward(&input, at, cache)?,
            Model::Qwen2(model, head) => {
                let hidden = model.forward(&input, at, None)?;
                let n = hidden.dim(1)?;
                head.forward(&hidden.narrow(1, n - 1, 1)?)?
            }
            Model::QuantizedLlama(model) => model.forward(&input, at)?,
            Model::QuantizedQwen2(model) => model.forward(&input, at)?,
        };
        logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
    }

    /// Every row of `ids`, fed behind the `at` that the cache holds.
    ///
    /// # Errors
    /// candle's.
    pub fn rows(&mut self, ids: &[u32], at: usize, device: &Device) -> Result<Vec<f32>> {
        match self {
            Model::Qwen2(model, head) => {
                let input = Tensor::new(ids, device)?.unsqueeze(0)?;
                let hidden = model.forward(&input, at, None)?.i(0)?;
                head.forward(&hidden)?.flatten_all()?.to_vec1()
            }
            _ => {
                let mut rows = Vec::new();
                for (i, id) in ids.iter().enumerate() {
                    rows.extend(self.feed(&[*id], at + i, device)?);
                }
                Ok(rows)
            }
        }
    }
}
