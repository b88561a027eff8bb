//! Tensors that do not make the network, and requests that a network cannot answer.

use super::reasons;
use crate::{Dtype, Escaped};

/// Why the tensors of a checkpoint are not those of its configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A tensor that the architecture needs is not there.
    #[error("tensor `{}` is missing, {shape:?} is due", Escaped(.tensor))]
    MissingTensor {
        /// Its name.
        tensor: String,
        /// The shape it must have.
        shape: Vec<usize>,
    },
    /// A tensor that the architecture has no place for.
    #[error("tensor `{}` has no place in this architecture", Escaped(.tensor))]
    ExtraTensor {
        /// Its name.
        tensor: String,
    },
    /// A tensor of another shape than the configuration asks for.
    #[error("tensor `{}`: shape {found:?}, the configuration asks for {expected:?}", Escaped(.tensor))]
    WrongShape {
        /// Its name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that is due.
        expected: Vec<usize>,
    },
    /// A weight of a dtype that no weight has.
    #[error("tensor `{}`: dtype {found}, F32, F16 or BF16 is due", Escaped(.tensor))]
    WrongDtype {
        /// Its name.
        tensor: String,
        /// The dtype in the file.
        found: Dtype,
    },
    /// A weight that is no finite number: whatever it is multiplied with would be none either.
    #[error("tensor `{}`: element {index} of {n_elements} is {value}, a finite number is due", Escaped(.tensor))]
    NotFinite {
        /// Its name.
        tensor: String,
        /// The element, in row-major order.
        index: usize,
        /// How many elements there are.
        n_elements: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A head of its own beside a configuration that says there is none.
    #[error(
        "tensor `{}` differs from `{}` although `tie_word_embeddings` is true: set it to false if the head is its own, or drop the tensor",
        Escaped(.head), Escaped(.embedding)
    )]
    UntiedHead {
        /// The name of the head.
        head: String,
        /// The name of the embedding.
        embedding: String,
    },
    /// A tensor made in memory whose bytes are not those of its shape.
    #[error("a tensor of shape {shape:?} and dtype {dtype} needs {} bytes, {held} were given", bytes(.needed))]
    WrongBytes {
        /// Its shape.
        shape: Vec<usize>,
        /// Its dtype.
        dtype: Dtype,
        /// The bytes that it needs; `None` when that is more than a machine can hold.
        needed: Option<usize>,
        /// The bytes that were given.
        held: usize,
    },
}

impl ModelError {
    /// The tensor that is refused, or missed.
    pub(crate) fn tensor(&self) -> Option<&str> {
        match self {
            ModelError::MissingTensor { tensor, .. }
            | ModelError::ExtraTensor { tensor }
            | ModelError::WrongShape { tensor, .. }
            | ModelError::WrongDtype { tensor, .. }
            | ModelError::NotFinite { tensor, .. } => Some(tensor),
            ModelError::UntiedHead { head, .. } => Some(head),
            ModelError::WrongBytes { .. } => None,
        }
    }
}

fn bytes(needed: &Option<usize>) -> String {
    needed.map_or("more than 2^63".to_owned(), |bytes| bytes.to_string())
}

reasons!(ModelError {
    MissingTensor => "missing-tensor",
    ExtraTensor => "extra-tensor",
    WrongShape => "wrong-shape",
    WrongDtype => "wrong-dtype",
    NotFinite => "not-finite",
    UntiedHead => "untied-head",
    WrongBytes => "wrong-bytes",
});

/// Why a loaded model does not answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No ids, so there is no position to answer for.
    #[error("no token ids were given, at least one is due")]
    NoIds,
    /// A token id at or past the embedding rows.
    #[error("token id {id} at position {position}: the vocabulary has {vocab_size} ids (0 to {})", .vocab_size.saturating_sub(1))]
    IdOutOfRange {
        /// The id.
        id: u32,
        /// Where in the request it stands.
        position: usize,
        /// How many ids there are.
        vocab_size: usize,
    },
    /// More positions than the model has.
    #[error("{given} tokens after {cached} cached ones: the context holds {n_ctx}")]
    ContextExceeded {
        /// The ids of this request.
        given: usize,
        /// The ids in the cache before it.
        cached: usize,
        /// The context limit.
        n_ctx: usize,
    },
    /// A cache that another model made.
    #[error("the cache was made for another model ({cache}, this model has {model})")]
    ForeignCache {
        /// The cache's dimensions.
        cache: String,
        /// The model's.
        model: String,
    },
    /// A logit that is no number: there is no largest one.
    #[error("logit {index} is NaN, so no token is the most likely one")]
    NanLogit {
        /// Its index.
        index: usize,
    },
    /// Logits that overflowed, or that are all minus infinity.
    #[error("logit {index}, the largest, is {value}, so no token is the most likely one")]
    InfiniteLogit {
        /// Its index.
        index: usize,
        /// An infinity.
        value: f32,
    },
    /// No logits to choose from.
    #[error("no logits were given, at least one is due")]
    NoLogits,
    /// A sampling parameter out of its range.
    #[error("`{name}` is {value}: {due} is due")]
    Parameter {
        /// The parameter, as `generation_config.json` spells it.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The range that it must lie in.
        due: &'static str,
    },
    /// A forbidden sequence with an id that the vocabulary has not.
    #[error("`bad_words_ids[{index}]`: id {id}, the vocabulary has {vocab_size}")]
    BadWord {
        /// Its place in the list.
        index: usize,
        /// The id.
        id: u32,
        /// How many ids there are.
        vocab_size: usize,
    },
    /// Every token is masked.
    #[error("every one of {vocab_size} tokens is masked, so none can be drawn")]
    NothingLeft {
        /// How many tokens there are.
        vocab_size: usize,
    },
    /// A text with nothing to score.
    #[error("{given} token ids were given, at least two are due: the first is not scored")]
    TooShort {
        /// The ids that were given.
        given: usize,
    },
    /// A window or a stride that no position fits.
    #[error("window {window} with stride {stride}: {why}")]
    Window {
        /// The window, in tokens.
        window: usize,
        /// The stride, in tokens.
        stride: usize,
        /// What is wrong with them.
        why: &'static str,
    },
}

reasons!(RequestError {
    NoIds => "no-ids",
    IdOutOfRange => "id-out-of-range",
    ContextExceeded => "context-exceeded",
    ForeignCache => "foreign-cache",
    NanLogit => "nan-logit",
    InfiniteLogit => "infinite-logit",
    NoLogits => "no-logits",
    Parameter => "parameter",
    BadWord => "bad-word",
    NothingLeft => "nothing-left",
    TooShort => "too-short",
    Window => "window",
});
