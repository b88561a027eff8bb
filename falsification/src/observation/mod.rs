//! Questions that a check asks and answers that a runtime gives.
//!
//! A [`Question`] is a value: two checks that need the same observation ask the same question, and whoever answers may compute it once
//! and hand out the same [`Answer`] again. The one exception is [`Mode::Again`], which asks for a fresh run.
//!
//! An answer is untrusted. A runtime may return logits of the wrong shape, ids past the vocabulary, or nothing: the types here hold
//! whatever was said, and the checks judge it.

use std::sync::Arc;

mod answer;
mod container;
mod peer;
mod question;
mod sample;

pub use answer::{Answer, Failure, Logits, Metadata, StageSketch, Stop, TensorRow};
pub use container::{Container, HEAD_BYTES, MAGIC_BYTES, MetadataEntry, Stored, StoredFile};
pub use peer::{NoPeers, Peer, Peers};
pub use question::{Chat, Mode, Op, Positions, Question};
pub use sample::{Exact, SampleParams, SampleRequest, Sampled};

/// Whoever answers questions about one artifact: a runtime, or a test's fake.
pub trait Answers {
    /// Answers one question.
    ///
    /// # Errors
    ///
    /// Returns the [`Failure`] where the runtime refused, crashed, ran out of time, broke the protocol or lacks the op.
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure>;
}
