//! Byte-level BPE: the merges are written as they are.

use serde_json::Value as Json;

use super::super::super::validate::Checked;
use super::super::gpt2::{Pre, Split, stands_for_byte};
use super::super::vocabulary::TokenType;
use super::{Keys, Source, cannot, parts, shown};
use crate::Escaped;
use crate::format::gguf::{Array, Value};

/// The name that is written for each split.
const NAMES: [&str; 7] = ["gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-r1-qwen", "falcon", "deepseek-coder"];

pub(super) fn write(source: &Source<'_>, keys: &mut Keys) -> Checked<()> {
    let (name, pre) = named(source)?;
    for field in ["continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"] {
        source.check_off(field)?;
    }
    let ignores = source.model.get("ignore_merges").is_some_and(|value| *value == true);
    if ignores != pre.ignore_merges {
        let why = format!("it is {ignores}, and `{name}`, which is how the text is split, stands for {}", pre.ignore_merges);
        return Err(cannot("model.ignore_merges", why));
    }
    let decoder = parts::steps(source.fields.get("decoder"), "decoders");
    if decoder.len() != 1 || decoder[0]["type"] != "ByteLevel" {
        let found = source.fields.get("decoder").unwrap_or(&Json::Null);
        return Err(cannot("decoder", format!("it is {}, ByteLevel is due", shown(found))));
    }
    check_bytes(source)?;

    keys.put_text("model", "gpt2");
    keys.put_text("pre", name);
    keys.put("tokens", Value::Array(Array::String(source.tokens.clone())));
    keys.put_types(&source.types);
    keys.put("merges", Value::Array(Array::String(merges(source)?)));
    if let Some(id) = source.unknown() {
        keys.put("unknown_token_id", Value::U32(id));
    }
    keys.put("add_space_prefix", Value::Bool(false));
    Ok(())
}

/// The name that stands for how the text is split.
fn named(source: &Source<'_>) -> Checked<(&'static str, Pre)> {
    let split = parts::essences(source.fields.get("pre_tokenizer"), "pretokenizers");
    let normalizer = parts::steps(source.fields.get("normalizer"), "normalizers");
    let compose = match normalizer.as_slice() {
        [] => false,
        [step] if step["type"] == "NFC" => true,
        _ => return Err(cannot("normalizer", format!("it is {}", shown(source.fields.get("normalizer").unwrap_or(&Json::Null))))),
    };
    let is = |known: Split| parts::essences(Some(&known.pre_tokenizer()), "pretokenizers") == split;
    let known = NAMES.into_iter().filter_map(|name| Some((name, Pre::named(name)?)));
    let split: Vec<_> = known.filter(|(_, pre)| is(pre.split)).collect();
    match split.iter().find(|(_, pre)| pre.compose == compose) {
        Some((name, pre)) => Ok((*name, *pre)),
        None if split.is_empty() => {
            Err(cannot("pre_tokenizer", format!("it is {}", shown(source.fields.get("pre_tokenizer").unwrap_or(&Json::Null)))))
        }
        None => Err(cannot("normalizer", format!("it is NFC, and `{}`, which is how the text is split, has none", split[0].0))),
    }
}

/// Normal tokens are read as bytes; and where a byte has no token, the unknown token would have to stand for it.
fn check_bytes(source: &Source<'_>) -> Checked<()> {
    for (id, token) in source.tokens.iter().enumerate() {
        if source.types[id] == TokenType::Normal
            && let Some(character) = token.chars().find(|character| !stands_for_byte(*character))
        {
            let why = format!("U+{:04X} stands for no byte", u32::from(character));
            return Err(cannot(&format!("model.vocab.{token}"), why));
        }
    }
    let alphabet = (0..0x180).filter_map(char::from_u32).filter(|character| stands_for_byte(*character));
    let missing = alphabet.filter(|character| !source.ids.contains_key(character.encode_utf8(&mut [0; 4]) as &str)).count();
    match source.unknown() {
        Some(_) if missing > 0 => Err(cannot("model.unk_token", format!("it stands for the {missing} bytes that have no token"))),
        _ => Ok(()),
    }
}

fn merges(source: &Source<'_>) -> Checked<Vec<String>> {
    let merge = |(rank, (left, right)): (usize, &(&str, &str))| {
        if left.contains(' ') || right.contains(' ') {
            let why = format!("there is a space in `{}` or `{}`", Escaped(left), Escaped(right));
            return Err(cannot(&format!("model.merges[{rank}]"), why));
        }
        Ok(format!("{left} {right}"))
    };
    source.merges.iter().enumerate().map(merge).collect()
}
