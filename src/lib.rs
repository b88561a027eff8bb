//! A small engine for language-model files: a Hugging Face folder in, logits out, every bit accounted for.
//!
//! It is what Ground Truth falsifies, and it knows nothing of checks. A folder is read and validated as a
//! [`Checkpoint`], its `config.json` becomes a [`Config`] that lists every field it does not know, and nothing in a
//! file is believed before it is checked: see [`Error`] for each way in which a folder can be refused.

pub mod chat;
pub mod checkpoint;
pub mod convert;
pub mod dtype;
pub mod error;
pub mod escape;
pub mod evaluate;
pub mod format;
pub mod generate;
pub mod kernel;
pub mod model;
pub mod quant;
pub mod sample;
pub mod sketch;
pub mod tokenizer;

pub use chat::{ChatTemplate, Conversation};
pub use checkpoint::{Checkpoint, Order, Tensor, Tensors};
pub use dtype::Dtype;
pub use error::{Error, Result};
pub use escape::Escaped;
pub use model::config::{Activation, Architecture, Config, RopeConfig, RopeScaling};
pub use model::{KvCache, Logits, Model, Positions, Sequence, Stage};
pub use tokenizer::Tokenizer;
