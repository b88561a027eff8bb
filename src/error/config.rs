//! Configurations that the engine does not compute.

use super::reasons;
use crate::Escaped;

/// Why a configuration is refused. `field` is the path in the file, keys joined by dots.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field that has no default.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: String,
    },
    /// A field of another JSON type than it must have.
    #[error("`{}` is {found}, {expected} is due", Escaped(.field))]
    WrongType {
        /// The field.
        field: String,
        /// What must be there.
        expected: &'static str,
        /// What is there, with its value where it is short.
        found: String,
    },
    /// A number outside its bounds.
    #[error("`{}` is {value}, {bounds} is due", Escaped(.field))]
    OutOfRange {
        /// The field.
        field: String,
        /// The value.
        value: String,
        /// What would be accepted.
        bounds: String,
    },
    /// A word that is none of those a field may have.
    #[error("`{}` is `{}`, one of {known} is due", Escaped(.field), Escaped(.found))]
    UnknownValue {
        /// The field.
        field: String,
        /// The word.
        found: String,
        /// The words that are known.
        known: &'static str,
    },
    /// A field that changes the arithmetic in a way that is not implemented.
    #[error("`{}` is {}: {why}; only {neutral} is computed", Escaped(.field), Escaped(.found))]
    Unsupported {
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// The value at which it changes nothing.
        neutral: &'static str,
        /// What it would change.
        why: &'static str,
    },
    /// A field that is in none of the lists of its architecture: it may change the arithmetic, so it is not ignored.
    #[error("`{}` is {}: the field is not known for {architecture}, and what is not known is not ignored", Escaped(.field), Escaped(.found))]
    UnknownField {
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// The architecture.
        architecture: &'static str,
    },
    /// Two numbers of which one must divide the other.
    #[error("`{field}` is {value}, which is not a multiple of `{divisor_field}` ({divisor})")]
    NotAMultiple {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The field that must divide it.
        divisor_field: &'static str,
        /// Its value.
        divisor: usize,
    },
    /// Two fields that contradict each other.
    #[error("`{}` and `{}` contradict each other: {why}", Escaped(.field), Escaped(.other))]
    Conflict {
        /// One field.
        field: String,
        /// The other.
        other: String,
        /// How.
        why: String,
    },
}

reasons!(ConfigError {
    Missing => "missing",
    WrongType => "wrong-type",
    OutOfRange => "out-of-range",
    UnknownValue => "unknown-value",
    Unsupported => "unsupported",
    UnknownField => "unknown-field",
    NotAMultiple => "not-a-multiple",
    Conflict => "conflict",
});
