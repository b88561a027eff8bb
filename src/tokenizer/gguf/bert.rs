//! `bert`: WordPiece.
//!
//! BERT marks the pieces that continue a word (`##ing`). A GGUF file marks those that begin one, with a space that is not in the text
//! (`▁play`), and leaves the others as they are (`ing`); control tokens and what stands in square brackets are left alone.

use serde_json::json;

use super::super::validate::Checked;
use super::json::{File, Model, Vocab, template};
use super::llama::SPACE;
use super::vocabulary::{TokenType, Vocabulary, missing};
use crate::error::TokenizerError;

/// The values of `tokenizer.ggml.pre` that converters write for this model; llama.cpp reads past them.
pub const PRES: [&str; 4] = ["bert-bge", "bert-bge-large", "jina-v2-en", "default"];

/// The longest word that is cut into pieces, as in BERT. The search is quadratic in it.
const MAX_WORD: usize = 100;

const CONTINUING: &str = "##";

/// The file, for a vocabulary of the model `bert`.
pub(super) fn tokenizer_json(vocabulary: &Vocabulary<'_>) -> Checked<Vec<u8>> {
    let unknown = vocabulary.needed_id("unknown")?;
    let before = match vocabulary.id("bos")? {
        Some(id) => id,
        None => vocabulary.id("cls")?.ok_or_else(|| missing("tokenizer.ggml.cls_token_id"))?,
    };
    // Spelled so by the format.
    let after = vocabulary.needed_id("seperator")?;

    let pieces: Vec<String> = vocabulary.tokens.iter().enumerate().map(|(id, token)| piece(token, vocabulary.types[id])).collect();
    check_unique(&pieces)?;
    let model = Model::WordPiece {
        unk_token: &pieces[unknown as usize],
        continuing_subword_prefix: CONTINUING,
        max_input_chars_per_word: MAX_WORD,
        vocab: Vocab(pieces.iter().map(String::as_str).collect()),
    };
    let mut file = File::new(Vec::new(), model);
    file.added_tokens = vocabulary.added_tokens();
    for added in &mut file.added_tokens {
        added.content = &pieces[added.id as usize];
    }
    let lowercase = vocabulary.flag("normalizer.lowercase")?.unwrap_or(true);
    file.normalizer = json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": true,
        "strip_accents": vocabulary.flag("normalizer.strip_accents")?,
        "lowercase": lowercase,
    });
    file.pre_tokenizer = json!({"type": "BertPreTokenizer"});
    file.decoder = json!({"type": "WordPiece", "prefix": CONTINUING, "cleanup": true});
    let named = |id: u32| Some((id, pieces[id as usize].as_str()));
    file.post_processor = template(named(before), named(after));
    Ok(file.to_bytes())
}

/// A token as BERT writes it.
fn piece(token: &str, kind: TokenType) -> String {
    if matches!(kind, TokenType::Control | TokenType::Unknown | TokenType::UserDefined) || (token.starts_with('[') && token.ends_with(']'))
    {
        return token.to_owned();
    }
    match token.strip_prefix(SPACE) {
        Some(word) => word.to_owned(),
        None => format!("{CONTINUING}{token}"),
    }
}

/// `▁##a` and `a` would be one piece.
fn check_unique(pieces: &[String]) -> Checked<()> {
    let mut ids = std::collections::HashMap::with_capacity(pieces.len());
    for (id, piece) in pieces.iter().enumerate() {
        if let Some(first) = ids.insert(piece.as_str(), id) {
            return Err(TokenizerError::DuplicateToken { token: piece.clone(), first, second: id });
        }
    }
    Ok(())
}
