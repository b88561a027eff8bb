//! Other artifacts of the same model, that a claim holds one against.

use std::fmt;
use std::sync::Arc;

use super::{Answers, Failure};

/// Another artifact or another making of the same one, that a claim holds this one against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The model as published.
    Source,
    /// The same model in another column of the matrix.
    Column {
        /// `safetensors`, `gguf` or `apr`.
        format: String,
        /// `f32`, `q8_0`, ...
        quantization: String,
    },
    /// The very same artifact, read by the engine of this repository.
    Engine,
    /// The artifact's values under the published model's configuration, computed by the engine of this repository.
    Values,
    /// The artifact converted again from the same source.
    Again,
    /// The artifact read, and written again in its own format, no tensor changing its type.
    Rewritten,
    /// The artifact's values as F32, quantized once more by the same recipe into the same format.
    Requantized,
    /// The artifact converted to the other of GGUF and APR, and back to its own format and quantization. A type that the other format
    /// does not have travels as F32.
    RoundTrip,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Source => f.write_str("the model as published"),
            Peer::Column { format, quantization } => write!(f, "the {format} {quantization} artifact"),
            Peer::Engine => f.write_str("the engine on the same artifact"),
            Peer::Values => f.write_str("the artifact's values under the published configuration"),
            Peer::Again => f.write_str("the artifact converted again"),
            Peer::Rewritten => f.write_str("the artifact written again"),
            Peer::Requantized => f.write_str("the artifact quantized again"),
            Peer::RoundTrip => f.write_str("the artifact after the way to the other format and back"),
        }
    }
}

/// Whoever makes the peers of an artifact and answers for them.
pub trait Peers: Sync {
    /// Whoever answers for that peer. What making it costs is paid by whoever asks first.
    ///
    /// # Errors
    ///
    /// Returns the [`Failure`] where it cannot be made or loaded.
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure>;
}

/// No peers: of a runtime that is judged on one artifact alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure> {
        Err(Failure::Refused { kind: "peer".to_owned(), message: format!("{peer} is not at hand") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_at_hand_is_named() {
        let column = Peer::Column { format: "apr".to_owned(), quantization: "q8".to_owned() };
        let due = [
            (Peer::Source, "the model as published"),
            (column, "the apr q8 artifact"),
            (Peer::Engine, "the engine on the same artifact"),
            (Peer::Values, "the artifact's values under the published configuration"),
            (Peer::Again, "the artifact converted again"),
            (Peer::Rewritten, "the artifact written again"),
            (Peer::Requantized, "the artifact quantized again"),
            (Peer::RoundTrip, "the artifact after the way to the other format and back"),
        ];
        for (peer, name) in due {
            let Err(Failure::Refused { kind, message }) = NoPeers.peer(&peer) else { panic!("{peer} answers") };
            assert_eq!((kind.as_str(), message), ("peer", format!("{name} is not at hand")));
        }
    }
}
