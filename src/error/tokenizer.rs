//! Tokenizers that are malformed, and texts that they cannot take.

use super::reasons;
use crate::Escaped;

/// Why a tokenizer is refused, or does not answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A field that the tokenizer cannot do without.
    #[error("`{}` is missing", Escaped(.field))]
    Missing {
        /// The field, keys joined by dots.
        field: String,
    },
    /// A field of another JSON type than it must have.
    #[error("`{}` is {found}, {expected} is due", Escaped(.field))]
    WrongType {
        /// The field, keys joined by dots.
        field: String,
        /// What must be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A model type that is not one of the known ones.
    #[error("`model.type` is `{}`, one of BPE, Unigram, WordPiece, WordLevel is due", Escaped(.found))]
    ModelType {
        /// The type.
        found: String,
    },
    /// A token whose id is negative, or larger than any vocabulary.
    #[error("token `{}` has id {id}, the ids are 0 to {limit}", Escaped(.token))]
    IdOutOfRange {
        /// The token.
        token: String,
        /// Its id.
        id: String,
        /// The largest id there may be.
        limit: u32,
    },
    /// Two tokens of one id.
    #[error("tokens `{}` and `{}` both have id {id}", Escaped(.first), Escaped(.second))]
    DuplicateId {
        /// One token.
        first: String,
        /// The other.
        second: String,
        /// The id.
        id: u32,
    },
    /// One token with two ids.
    #[error("token `{}` has id {first} in the vocabulary and id {second} as an added token", Escaped(.token))]
    TwoIds {
        /// The token.
        token: String,
        /// The id in the vocabulary.
        first: u32,
        /// The id among the added tokens.
        second: u32,
    },
    /// An added token that the library numbers otherwise than the file: it counts on from the vocabulary, in the file's order.
    #[error("added token `{}` has id {stated}, the tokenizers library gives it {}", Escaped(.token), or_none(.given))]
    Renumbered {
        /// The token.
        token: String,
        /// The id in the file.
        stated: u32,
        /// The id that the library gives it.
        given: Option<u32>,
    },
    /// A post-processor that puts in an id that no token has.
    #[error("`post_processor`: `{}` stands for id {}, the ids are 0 to {}", Escaped(.token), Escaped(.id), .n_ids.saturating_sub(1))]
    TemplateId {
        /// The name that the post-processor gives it.
        token: String,
        /// The id.
        id: String,
        /// How many ids there are.
        n_ids: u32,
    },
    /// An id that no token has, below one that a token has.
    #[error("no token has id {missing}, although the largest id is {largest}: the ids must not leave a gap")]
    IdGap {
        /// The first id without a token.
        missing: u32,
        /// The largest id.
        largest: u32,
    },
    /// A token that is longer than any token is.
    #[error("`{}` has {bytes} bytes, the limit is {limit}", Escaped(.field))]
    TooLong {
        /// The field.
        field: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// An added token without text: it would match everywhere.
    #[error("`added_tokens[{index}].content` is empty, an added token needs text")]
    EmptyAddedToken {
        /// Its index.
        index: usize,
    },
    /// A merge that names a token outside the vocabulary.
    #[error("`{list}[{index}]`: `{}` is not in the vocabulary", Escaped(.token))]
    MergeOutsideVocabulary {
        /// The list: `model.merges`, of a GGUF file `tokenizer.ggml.merges`.
        list: &'static str,
        /// The merge's index.
        index: usize,
        /// What the vocabulary lacks.
        token: String,
    },
    /// A merge that is not two tokens.
    #[error("`{list}[{index}]` is not a pair of tokens")]
    MalformedMerge {
        /// The list: `model.merges`, of a GGUF file `tokenizer.ggml.merges`.
        list: &'static str,
        /// The merge's index.
        index: usize,
    },
    /// A field that would change the ids in a way that is not implemented.
    #[error("`{field}` is `{}`: {why}", Escaped(.found))]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        found: String,
        /// Why it is refused.
        why: &'static str,
    },
    /// A GGUF file whose tokenizer is none of those that are known. What splits a text into words is known by name alone there, and a
    /// wrong guess gives other ids without a sign of it.
    #[error(
        "`tokenizer.ggml.model` is `{}` and `tokenizer.ggml.pre` is {}; known are {known}",
        Escaped(.model), quoted_or_missing(.pre)
    )]
    UnknownPair {
        /// The value of `tokenizer.ggml.model`.
        model: String,
        /// The value of `tokenizer.ggml.pre`.
        pre: Option<String>,
        /// The pairs that are known.
        known: String,
    },
    /// A list beside the tokens that is not as long.
    #[error("`{field}` has {found} entries, `tokenizer.ggml.tokens` has {tokens}")]
    LengthMismatch {
        /// The key.
        field: &'static str,
        /// Its length.
        found: usize,
        /// How many tokens there are.
        tokens: usize,
    },
    /// More tokens than any vocabulary has.
    #[error("`tokenizer.ggml.tokens` has {found} entries, the limit is {limit}")]
    TooManyTokens {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A token that is in a list twice.
    #[error("`tokenizer.ggml.tokens`: ids {first} and {second} are both `{}`", Escaped(.token))]
    DuplicateToken {
        /// The token.
        token: String,
        /// One id.
        first: usize,
        /// The other.
        second: usize,
    },
    /// A type of token that there is not.
    #[error("`tokenizer.ggml.token_type[{id}]` is {found}, the types are 0 to 6")]
    TokenType {
        /// The token.
        id: usize,
        /// Its type.
        found: i32,
    },
    /// A score that has no place in an order.
    #[error("`tokenizer.ggml.scores[{id}]` is not a number")]
    NotAScore {
        /// The token.
        id: usize,
    },
    /// A token that says it is a byte, and does not say which.
    #[error("`tokenizer.ggml.tokens[{id}]` is typed as a byte and is `{}`, `<0x00>` to `<0xFF>` are due", Escaped(.token))]
    NotAByte {
        /// The token.
        id: usize,
        /// Its text.
        token: String,
    },
    /// A token of a byte-level vocabulary with a character that stands for no byte.
    #[error("`tokenizer.ggml.tokens[{id}]` is `{}`: U+{:04X} stands for no byte", Escaped(.token), u32::from(*.character))]
    NotByteLevel {
        /// The token.
        id: usize,
        /// Its text.
        token: String,
        /// The character.
        character: char,
    },
    /// A key that names a token which there is not.
    #[error("`{}` is {found}, the ids are 0 to {}", Escaped(.field), .n_ids.saturating_sub(1))]
    SpecialId {
        /// The key.
        field: String,
        /// The id that it names.
        found: String,
        /// How many ids there are.
        n_ids: usize,
    },
    /// A vocabulary whose tokens can be put together in more ways than any real one's.
    #[error("to look for the parts of every token takes {found} steps, the limit is {limit}: the tokens are too long")]
    TooManySplits {
        /// How many.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A vocabulary that has nothing for a character outside it, which would vanish from the text without a sign.
    #[error("`tokenizer.ggml.tokens` lacks {missing} of the 256 byte tokens `<0x00>` to `<0xFF>`, and there is no unknown token")]
    NoFallback {
        /// How many bytes have no token.
        missing: usize,
    },
    /// A tokenizer that a GGUF file has no words for.
    #[error("`{}` cannot be said in a GGUF file: {why}", Escaped(.field))]
    NotInGguf {
        /// The field of `tokenizer.json`, or of `config.json` where it says so.
        field: String,
        /// What is in the way; names in it are escaped.
        why: String,
    },
    /// The reference library refuses the file.
    #[error("the tokenizers library refuses it: {}", Escaped(.message))]
    Reference {
        /// What it says.
        message: String,
    },
    /// A token whose id has no row in the embedding.
    #[error("token `{}` has id {id}, the model has {vocab_size} embedding rows", Escaped(.token))]
    DoesNotFit {
        /// The token.
        token: String,
        /// Its id.
        id: u32,
        /// The embedding rows.
        vocab_size: usize,
    },
    /// A text that is longer than any prompt.
    #[error("the text has {bytes} bytes, the limit is {limit}")]
    TextTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The library failed on a text, or panicked.
    #[error("the text cannot be encoded: {}", Escaped(.message))]
    Encode {
        /// What it says.
        message: String,
    },
    /// An id that no token has.
    #[error("id {id} at position {position} is no token, the ids are 0 to {largest}")]
    UnknownId {
        /// The id.
        id: u32,
        /// Where it stands.
        position: usize,
        /// The largest id.
        largest: u32,
    },
    /// The library failed on ids, or panicked.
    #[error("the ids cannot be decoded: {}", Escaped(.message))]
    Decode {
        /// What it says.
        message: String,
    },
}

fn quoted_or_missing(pre: &Option<String>) -> String {
    pre.as_ref().map_or("missing".to_owned(), |pre| format!("`{}`", Escaped(pre)))
}

fn or_none(id: &Option<u32>) -> String {
    id.map_or("none".to_owned(), |id| id.to_string())
}

reasons!(TokenizerError {
    Missing => "missing",
    WrongType => "wrong-type",
    ModelType => "model-type",
    IdOutOfRange => "id-out-of-range",
    DuplicateId => "duplicate-id",
    TwoIds => "two-ids",
    Renumbered => "renumbered",
    TemplateId => "template-id",
    IdGap => "id-gap",
    TooLong => "too-long",
    EmptyAddedToken => "empty-added-token",
    MergeOutsideVocabulary => "merge-outside-vocabulary",
    MalformedMerge => "malformed-merge",
    Unsupported => "unsupported",
    UnknownPair => "unknown-pair",
    LengthMismatch => "length-mismatch",
    TooManyTokens => "too-many-tokens",
    DuplicateToken => "duplicate-token",
    TokenType => "token-type",
    NotAScore => "not-a-score",
    NotAByte => "not-a-byte",
    NotByteLevel => "not-byte-level",
    SpecialId => "special-id",
    TooManySplits => "too-many-splits",
    NoFallback => "no-fallback",
    NotInGguf => "not-in-gguf",
    Reference => "reference",
    DoesNotFit => "does-not-fit",
    TextTooLong => "text-too-long",
    Encode => "encode",
    UnknownId => "unknown-id",
    Decode => "decode",
});
