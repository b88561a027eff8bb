//! Text to ids and back, through Hugging Face's `tokenizers`.
//!
//! That library reads what its own Python side wrote; on other files it panics, or gives a token another id than the file says. So a
//! `tokenizer.json` is validated first ([`TokenizerError`] has one variant a reason), the library runs under `catch_unwind`, and
//! what it built is held against the file.
//!
//! Truncation and padding that the file asks for are switched off, as transformers does: a prompt is never cut in silence.

pub mod gguf;
#[cfg(test)]
mod tests;
mod validate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::validate::Checked;
use crate::error::{InFile, Result, TokenizerError};
use crate::format::json;

/// The longest text that is encoded. At four bytes a token it fills a context of 200,000 tokens; what is longer is a file, and
/// the regular expressions of tokenizers (limited to a million steps back) do not split it reliably.
pub const MAX_TEXT_BYTES: usize = 900_000;

/// A tokenizer that was read from `tokenizer.json`. A clone shares it.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    n_ids: u32,
    file: PathBuf,
}

impl Tokenizer {
    /// Reads the bytes of a `tokenizer.json`; `file` is named in messages.
    ///
    /// # Errors
    ///
    /// [`Error::Json`](crate::Error::Json) or [`Error::Tokenizer`](crate::Error::Tokenizer).
    pub fn from_bytes(bytes: &[u8], file: &Path) -> Result<Self> {
        let fields = json::parse_object(bytes).in_file(file)?;
        let ids = validate::validate(&fields).in_file(file)?;
        let inner = build(bytes, &ids).in_file(file)?;
        Ok(Tokenizer { inner: Arc::new(inner), n_ids: ids.n_ids, file: file.to_owned() })
    }

    /// The ids of a text, with what the tokenizer puts around it (BOS, EOS) if `add_special`. Special tokens that are spelled out
    /// in the text become their ids either way.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if the text is longer than [`MAX_TEXT_BYTES`] or the library fails on it.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        self.try_encode(text, add_special).in_file(&self.file)
    }

    fn try_encode(&self, text: &str, add_special: bool) -> Checked<Vec<u32>> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenizerError::TextTooLong { bytes: text.len(), limit: MAX_TEXT_BYTES });
        }
        let encoded = unpanicked(|| self.inner.encode_fast(text, add_special));
        let encoding = encoded.map_err(|message| TokenizerError::Encode { message })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The bytes that ids stand for, special tokens kept. Bytes that are no UTF-8 come out as U+FFFD, as the library decides.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) if an id is no token, or the library fails.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        self.try_decode(ids).in_file(&self.file)
    }

    fn try_decode(&self, ids: &[u32]) -> Checked<Vec<u8>> {
        if let Some(position) = ids.iter().position(|id| *id >= self.n_ids) {
            let largest = self.n_ids.saturating_sub(1);
            return Err(TokenizerError::UnknownId { id: ids[position], position, largest });
        }
        let decoded = unpanicked(|| self.inner.decode(ids, false));
        decoded.map(String::into_bytes).map_err(|message| TokenizerError::Decode { message })
    }

    /// The token of an id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// How many ids there are, added tokens included: one past the largest.
    pub fn vocab_size(&self) -> usize {
        self.n_ids as usize
    }

    /// Whether every id has a row in an embedding of `vocab_size` rows. More rows than ids are common, they are padding.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`](crate::Error::Tokenizer), naming the token with the largest id.
    pub fn check_fits(&self, vocab_size: usize) -> Result<()> {
        if self.vocab_size() <= vocab_size {
            return Ok(());
        }
        let id = self.n_ids - 1;
        let token = self.inner.id_to_token(id).unwrap_or_default();
        Err(TokenizerError::DoesNotFit { token, id, vocab_size }).in_file(&self.file)
    }
}

/// Has the library read what was validated, and holds the ids it gives against those of the file: it numbers added tokens itself.
fn build(bytes: &[u8], ids: &validate::Ids) -> Checked<tokenizers::Tokenizer> {
    let built = unpanicked(|| {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None)?;
        Ok(tokenizer)
    });
    let tokenizer = built.map_err(|message| TokenizerError::Reference { message })?;
    for (token, id) in &ids.added {
        let given = tokenizer.token_to_id(token);
        if given != Some(*id) {
            return Err(TokenizerError::Renumbered { token: token.clone(), stated: *id, given });
        }
    }
    Ok(tokenizer)
}

/// What the library answers, or says, or panics with.
fn unpanicked<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> std::result::Result<T, String> {
    // The library's only shared state is its cache of words, which holds whole entries or none.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(format!("panicked: {said}"))
        }
    }
}
