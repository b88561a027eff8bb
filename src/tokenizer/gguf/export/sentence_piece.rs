//! SentencePiece's BPE: instead of merges each token has a score.
//!
//! With merges, two neighbours become a token if there is a merge of them; with scores, if their texts together are a token. So a score
//! says more than the merges do. The two give the same ids for every text if
//!
//! 1. no token ends as just two tokens when the merges are applied to its own text: wherever two neighbours stand whose texts are that token,
//!    the merges would have done the same within them as they do here, so they would end here as those two;
//! 2. the merges of a token that has several have no merge of another token between them: its score is one number. Or the tokens whose merges
//!    lie among each other have one score, and their merges lie in the order that equal scores are read in;
//! 3. no token has a character that is no token: merges begin with tokens, scores with characters.
//!
//! What fails this is refused. Then a score is minus the rank of the first merge, of the token or of those that share its score. Of several merges of one token the leftmost place comes first
//! with scores, the first merge in the list with merges; that differs only where a text overlaps itself (`aaa` from `a`, `aa`, `a`), and is
//! not refused, because the published conversions of SentencePiece models have it so.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::super::super::validate::Checked;
use super::super::llama::{SPACE, byte_of, byte_token, check_steps};
use super::super::vocabulary::TokenType;
use super::{Keys, Source, cannot, parts, shown};
use crate::Escaped;
use crate::format::gguf::{Array, Value};

pub(super) fn write(source: &Source<'_>, keys: &mut Keys) -> Checked<()> {
    let add_space_prefix = prefix(source)?;
    for field in ["continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"] {
        source.check_off(field)?;
    }
    let missing = (0..=u8::MAX).filter(|byte| !source.ids.contains_key(byte_token(*byte).as_str())).count();
    if source.model.get("byte_fallback") != Some(&Json::Bool(true)) || missing > 0 {
        let why = format!("characters that are no token become bytes there, and {missing} of `<0x00>` to `<0xFF>` are no token");
        return Err(cannot("model.byte_fallback", why));
    }
    let scores = scores(source)?;
    let mut types = source.types.clone();
    for (id, token) in source.tokens.iter().enumerate() {
        if types[id] == TokenType::Normal && byte_of(token).is_some() {
            types[id] = TokenType::Byte;
        }
    }
    if let Some(id) = source.unknown() {
        types[id as usize] = TokenType::Unknown;
    }

    keys.put_text("model", "llama");
    keys.put_text("pre", "default");
    keys.put("tokens", Value::Array(Array::String(source.tokens.clone())));
    keys.put("scores", Value::Array(Array::F32(scores)));
    keys.put_types(&types);
    if let Some(id) = source.unknown() {
        keys.put("unknown_token_id", Value::U32(id));
    }
    keys.put("add_space_prefix", Value::Bool(add_space_prefix));
    Ok(())
}

/// Whether a space is put before a text. Normalizer and decoder have to agree on it.
fn prefix(source: &Source<'_>) -> Checked<bool> {
    let part = |name: &'static str| source.fields.get(name);
    let differs = |name: &'static str| cannot(name, format!("it is {}", shown(part(name).unwrap_or(&Json::Null))));
    if !parts::is_none(part("pre_tokenizer")) {
        return Err(differs("pre_tokenizer"));
    }
    let prepend = json!({"type": "Prepend", "prepend": SPACE});
    let escape = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let prefix = match parts::essences(part("normalizer"), "normalizers").as_slice() {
        [first, second] if *first == prepend && *second == escape => true,
        [only] if *only == escape => false,
        _ => return Err(differs("normalizer")),
    };
    let unescape = json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "});
    let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
    let mut due = vec![unescape, json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    due.extend(prefix.then_some(strip));
    if parts::essences(part("decoder"), "decoders") == due { Ok(prefix) } else { Err(differs("decoder")) }
}

/// The merges by what they make.
struct Merges<'a> {
    /// Rank of each pair.
    ranks: HashMap<(&'a str, &'a str), usize>,
    /// First and last rank of what makes a token.
    of: HashMap<String, (usize, usize)>,
}

impl<'a> Merges<'a> {
    fn of(source: &Source<'a>) -> Self {
        let mut merges = Merges { ranks: HashMap::new(), of: HashMap::new() };
        for (rank, (left, right)) in source.merges.iter().enumerate() {
            merges.ranks.insert((left, right), rank);
            merges.of.entry([*left, *right].concat()).or_insert((rank, rank)).1 = rank;
        }
        merges
    }

    /// What the merges make of a text whose characters are tokens; by trying all neighbours again after every merge.
    fn apply<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces: Vec<&str> = text.char_indices().map(|(at, character)| &text[at..at + character.len_utf8()]).collect();
        loop {
            let rank = |at: usize| self.ranks.get(&(pieces[at], pieces[at + 1])).map(|rank| (*rank, at));
            let Some((_, at)) = (0..pieces.len().saturating_sub(1)).filter_map(rank).min() else { return pieces };
            let start: usize = pieces[..at].iter().map(|piece| piece.len()).sum();
            let both = pieces[at].len() + pieces.remove(at + 1).len();
            pieces[at] = &text[start..start + both];
        }
    }
}

/// A score for each token.
fn scores(source: &Source<'_>) -> Checked<Vec<f32>> {
    check_steps(source.tokens.iter().map(String::as_str))?;
    let merges = Merges::of(source);
    let ranks = ranks(source, &merges)?;
    let mut scores = Vec::with_capacity(source.tokens.len());
    for (id, token) in source.tokens.iter().enumerate() {
        if source.types[id] == TokenType::Normal && byte_of(token).is_none() {
            check_token(source, &merges, token)?;
        }
        // What no merge makes has the worst score: nothing is put together for it.
        let rank = ranks.get(token.as_str()).copied().unwrap_or(source.merges.len());
        scores.push(0.0 - rank as f32);
    }
    Ok(scores)
}

/// The rank that each token's score stands for; condition 2.
fn ranks<'m>(source: &Source<'_>, merges: &'m Merges<'_>) -> Checked<HashMap<&'m str, usize>> {
    let mut spans: Vec<(usize, usize, &str)> = merges.of.iter().map(|(token, (first, last))| (*first, *last, token.as_str())).collect();
    spans.sort_unstable();
    let mut ranks = HashMap::with_capacity(spans.len());
    let mut spans = spans.into_iter().peekable();
    while let Some((first, mut last, token)) = spans.next() {
        ranks.insert(token, first);
        let mut shared = false;
        while let Some((_, end, token)) = spans.next_if(|(start, ..)| *start < last) {
            ranks.insert(token, first);
            last = last.max(end);
            shared = true;
        }
        // As `tokenizer_json` orders the merges of equal scores.
        let order = |(left, right): &(&str, &str)| {
            let id = source.ids.get([*left, *right].concat().as_str()).copied();
            (Reverse(left.chars().count()), Reverse(right.chars().count()), id)
        };
        if shared && !source.merges[first..=last].is_sorted_by_key(order) {
            let why = format!("merges {first} to {last} make `{}` and others in turn, and a token has one score", Escaped(token));
            return Err(cannot("model.merges", why));
        }
    }
    Ok(ranks)
}

/// Conditions 1 and 3, and that a token which no merge makes is not made of its parts.
fn check_token(source: &Source<'_>, merges: &Merges<'_>, token: &str) -> Checked<()> {
    let is_piece = |part: &str| part.chars().nth(1).is_none() || source.ids.contains_key(part);
    let can_be_made =
        || token.char_indices().skip(1).map(|(at, _)| token.split_at(at)).any(|(left, right)| is_piece(left) && is_piece(right));
    let stranger = token.chars().find(|character| !source.ids.contains_key(character.encode_utf8(&mut [0; 4]) as &str));
    let made = merges.of.contains_key(token);
    let why = match stranger {
        _ if token.chars().nth(1).is_none() => return Ok(()),
        Some(character) if can_be_made() => format!("U+{:04X} is no token, so no merge makes it, but a score would", u32::from(character)),
        Some(_) => return Ok(()),
        None if !made && can_be_made() => "no merge makes it, but a score would".to_owned(),
        None => match merges.apply(token).as_slice() {
            [left, right] => format!("the merges leave it as `{}` and `{}`, a score would join them", Escaped(left), Escaped(right)),
            _ => return Ok(()),
        },
    };
    Err(cannot(&format!("model.vocab.{token}"), why))
}
