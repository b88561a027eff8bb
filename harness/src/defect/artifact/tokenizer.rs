//! Faults in how text becomes ids and ids become text.

use serde_json::{Map, Value, json};

use super::{Surgery, SurgeryError};

type Result<T = ()> = std::result::Result<T, SurgeryError>;

fn lacks(what: &str) -> SurgeryError {
    SurgeryError::Tokenizer(format!("it has no {what}"))
}

/// The pieces of the template that puts special tokens around a text.
fn template(json: &mut Map<String, Value>) -> Result<&mut Vec<Value>> {
    json.get_mut("post_processor")
        .and_then(|processor| processor.get_mut("single"))
        .and_then(Value::as_array_mut)
        .ok_or_else(|| lacks("template"))
}

fn is_special(piece: &Value) -> bool {
    piece.get("SpecialToken").is_some()
}

/// The token that begins a text is put there twice.
pub(super) fn bos_doubled(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        let pieces = template(json)?;
        let first = pieces.first().filter(|piece| is_special(piece)).cloned().ok_or_else(|| lacks("special token before the text"))?;
        pieces.insert(0, first);
        Ok(())
    })
}

/// The token that begins a text is not put there.
pub(super) fn bos_missing(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        let pieces = template(json)?;
        let before = pieces.len();
        pieces.retain(|piece| !is_special(piece));
        if pieces.len() == before { Err(lacks("special token around the text")) } else { Ok(()) }
    })
}

/// A token is put before the text by a tokenizer that puts none.
pub(super) fn bos_added(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        if template(json).is_ok() {
            return Err(SurgeryError::NotApplicable("tokenizer without a template"));
        }
        let first = json.get("added_tokens").and_then(|tokens| tokens.get(0)).ok_or_else(|| lacks("added token"))?;
        let (content, id) = (first["content"].clone(), first["id"].clone());
        let special = json!({"SpecialToken": {"id": content, "type_id": 0}});
        let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        let mut tokens = Map::new();
        tokens.insert(content.as_str().unwrap_or_default().to_owned(), json!({"id": content, "ids": [id], "tokens": [content]}));
        let processor = json!({
            "type": "TemplateProcessing", "single": [special, text("A")], "pair": [special, text("A"), text("B")], "special_tokens": tokens,
        });
        json.insert("post_processor".to_owned(), processor);
        Ok(())
    })
}

fn merges(json: &mut Map<String, Value>) -> Result<&mut Vec<Value>> {
    json.get_mut("model").and_then(|model| model.get_mut("merges")).and_then(Value::as_array_mut).ok_or_else(|| lacks("merges"))
}

/// The last quarter of the merges is not there.
pub(super) fn merges_truncated(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        let merges = merges(json)?;
        merges.truncate(merges.len() * 3 / 4);
        Ok(())
    })
}

/// The merge learned last is applied first.
pub(super) fn merges_reversed(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        merges(json)?.reverse();
        Ok(())
    })
}

/// Sets a member that must not already be `null`.
fn drop_member(surgery: &mut Surgery<'_>, member: &'static str) -> Result {
    surgery.tokenizer(|json| match json.insert(member.to_owned(), Value::Null) {
        None | Some(Value::Null) => Err(lacks(member)),
        Some(_) => Ok(()),
    })
}

pub(super) fn normalizer_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    drop_member(surgery, "normalizer")
}

pub(super) fn decoder_dropped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    drop_member(surgery, "decoder")
}

/// A character outside the vocabulary is unknown, not its bytes.
pub(super) fn byte_fallback_off(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| match json.get_mut("model").and_then(|model| model.get_mut("byte_fallback")) {
        Some(fallback) if *fallback == Value::Bool(true) => {
            *fallback = Value::Bool(false);
            Ok(())
        }
        _ => Err(lacks("byte fallback")),
    })
}

/// The split of another family: GPT-2's where there was Qwen2's, and digits one by one where there was GPT-2's.
pub(super) fn pre_tokenizer_foreign(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let foreign = match json.get("pre_tokenizer").and_then(|own| own.get("type")).and_then(Value::as_str) {
            Some("Sequence") => byte_level,
            Some("ByteLevel") => json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level]}),
            _ => return Err(lacks("pre-tokenizer of a known family")),
        };
        json.insert("pre_tokenizer".to_owned(), foreign);
        Ok(())
    })
}

/// A space is put before a text that begins without one.
pub(super) fn prefix_space_added(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| match json.get_mut("pre_tokenizer").and_then(|own| own.get_mut("add_prefix_space")) {
        Some(flag) if *flag == Value::Bool(false) => {
            *flag = Value::Bool(true);
            Ok(())
        }
        _ => Err(lacks("byte-level pre-tokenizer without a prefix space")),
    })
}

/// The last special token is not known as one.
pub(super) fn added_token_lost(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        let tokens = json.get_mut("added_tokens").and_then(Value::as_array_mut);
        tokens.and_then(Vec::pop).map(drop).ok_or_else(|| lacks("added token"))
    })
}

/// `e` and `a` have each other's id.
pub(super) fn vocab_ids_swapped(surgery: &mut Surgery<'_>, _: f64) -> Result {
    surgery.tokenizer(|json| {
        let vocab = json.get_mut("model").and_then(|model| model.get_mut("vocab")).and_then(Value::as_object_mut);
        let vocab = vocab.ok_or_else(|| lacks("vocabulary"))?;
        let (Some(e), Some(a)) = (vocab.get("e").cloned(), vocab.get("a").cloned()) else {
            return Err(lacks("tokens `e` and `a`"));
        };
        vocab.insert("e".to_owned(), a);
        vocab.insert("a".to_owned(), e);
        Ok(())
    })
}
