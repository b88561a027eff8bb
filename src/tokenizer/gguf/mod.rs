//! Tokenizers from the keys of a GGUF file, and back.
//!
//! A GGUF file holds the tokens, their scores or merges, and two names; what the names mean is known to llama.cpp's source alone. Here
//! they become a `tokenizer.json`, which [`Tokenizer`](crate::Tokenizer) reads as it reads any other, and which other tools read too.
//!
//! | `tokenizer.ggml.model` | `tokenizer.ggml.pre` | becomes |
//! |---|---|---|
//! | `llama` | absent, `default` | BPE with byte fallback: the merges of every token whose parts are tokens, the best score first |
//! | `gpt2` | one of [`gpt2::PRES`] | byte-level BPE: the splits that the name stands for, the file's merges |
//! | `bert` | absent, one of [`bert::PRES`] | WordPiece |
//!
//! Any other pair is refused, and so is `gpt2` without `pre`: llama.cpp warns and guesses. What is not in the file is what llama.cpp takes
//! where the format says so (`add_bos_token` true for `llama`, `add_space_prefix` true for `llama`, ids of `llama`'s BOS and unknown).
//!
//! | type of a token | becomes |
//! |---|---|
//! | control, unknown | added token, special |
//! | user-defined | added token |
//! | normal, unused, byte, undefined | a token of the vocabulary; an added, special one if llama.cpp makes it a control token for its name |
//!
//! An added token takes the spaces before or after it where llama.cpp has it so, by the model's name (`phi-3`) or `pre` (`jina-v2-*`).
//!
//! Where the two libraries differ, this is on the side of tokenizers, because there the token ids of the model's training came from:
//!
//! | text | llama.cpp | here |
//! |---|---|---|
//! | special tokens that are spelled out | `parse_special` decides | are special tokens |
//! | added tokens that overlap | the longest in the whole text first | leftmost first, then the longest |
//! | `llama`, equal scores | the leftmost pair | the longest left part, the longest right part, the smaller id |
//! | qwen2, text that is not composed (NFD) | as it is | composed first (NFC), as the tokenizer of the model does |
//! | `'ſ` (U+017F) after an apostrophe, qwen2 and llama-bpe | two words | one: the patterns are the originals, and ignore case |
//! | bert, words of more than 100 characters | tokens | `[UNK]`, as in BERT |
//! | bytes that are no UTF-8, when decoding | the bytes | U+FFFD |
//!
//! Source: llama.cpp `src/llama-vocab.cpp`, `src/unicode.cpp` (00ad355); tokenizers 0.23.

pub mod bert;
mod export;
pub mod gpt2;
mod json;
mod llama;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use self::export::export;
use self::vocabulary::Vocabulary;
use crate::error::TokenizerError;
use crate::format::gguf::Metadata;

/// A `tokenizer.json` that encodes and decodes as the keys `tokenizer.ggml.*` of a GGUF file say.
///
/// # Errors
///
/// What is missing, malformed or unknown, naming the key and the numbers. The caller knows the file.
pub fn tokenizer_json(metadata: &Metadata) -> Result<Vec<u8>, TokenizerError> {
    let vocabulary = Vocabulary::read(metadata)?;
    match vocabulary.model {
        "llama" if matches!(vocabulary.pre, None | Some("default")) => llama::tokenizer_json(&vocabulary),
        "gpt2" => match vocabulary.pre.and_then(gpt2::Pre::named) {
            Some(pre) => gpt2::tokenizer_json(&vocabulary, &pre),
            None => Err(unknown(&vocabulary)),
        },
        "bert" if vocabulary.pre.is_none_or(|pre| bert::PRES.contains(&pre)) => bert::tokenizer_json(&vocabulary),
        _ => Err(unknown(&vocabulary)),
    }
}

fn unknown(vocabulary: &Vocabulary<'_>) -> TokenizerError {
    let known = format!("llama with default, gpt2 with {}, bert with {}", gpt2::PRES.join(", "), bert::PRES.join(", "));
    let pre = vocabulary.pre.map(str::to_owned);
    TokenizerError::UnknownPair { model: vocabulary.model.to_owned(), pre, known }
}
