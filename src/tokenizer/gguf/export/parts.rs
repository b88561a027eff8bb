//! What stands around the model in a `tokenizer.json`, brought to one form: a sequence is the list of its steps, and what does not bear
//! on ids is left out.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::super::super::validate::Checked;
use super::{cannot, shown};

/// Steps of a part: the members of a `Sequence` (under `list`), also of one within another, or the part itself.
pub(super) fn steps<'a>(part: Option<&'a Json>, list: &str) -> Vec<&'a Json> {
    match part {
        None | Some(Json::Null) => Vec::new(),
        Some(part) if part["type"] == "Sequence" => {
            part[list].as_array().into_iter().flatten().flat_map(|member| steps(Some(member), list)).collect()
        }
        Some(part) => vec![part],
    }
}

/// Whether a normalizer does nothing.
pub(super) fn is_none(normalizer: Option<&Json>) -> bool {
    steps(normalizer, "normalizers").is_empty()
}

/// Whether words are bytes.
pub(super) fn is_byte_level(fields: &Map<String, Json>) -> bool {
    steps(fields.get("pre_tokenizer"), "pretokenizers").iter().any(|step| step["type"] == "ByteLevel")
}

/// A step without the fields that do not bear on ids, and with those that may be left out.
pub(super) fn essence(step: &Json) -> Json {
    let mut step = step.clone();
    if let Some(fields) = step.as_object_mut() {
        fields.remove("trim_offsets");
        match fields.get("type").and_then(Json::as_str) {
            Some("ByteLevel") => _ = fields.entry("use_regex").or_insert(json!(true)),
            Some("Split") => _ = fields.entry("invert").or_insert(json!(false)),
            _ => {}
        }
    }
    step
}

/// The steps of a part in that form.
pub(super) fn essences(part: Option<&Json>, list: &str) -> Vec<Json> {
    steps(part, list).into_iter().map(essence).collect()
}

/// The merges, each pair once: the library takes the last of two.
pub(super) fn merges(model: &Map<String, Json>) -> Vec<(&str, &str)> {
    let stored = model.get("merges").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let pairs: Vec<(&str, &str)> = stored.iter().filter_map(pair).collect();
    let last: HashMap<(&str, &str), usize> = pairs.iter().enumerate().map(|(rank, pair)| (*pair, rank)).collect();
    pairs.iter().enumerate().filter(|(rank, pair)| last[*pair] == *rank).map(|(_, pair)| *pair).collect()
}

fn pair(merge: &Json) -> Option<(&str, &str)> {
    match merge {
        Json::String(merge) if merge.starts_with("#version") => None,
        Json::String(merge) => merge.split_once(' '),
        merge => Some((merge.get(0)?.as_str()?, merge.get(1)?.as_str()?)),
    }
}

/// The ids that are put around a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    pub before: Option<u32>,
    pub after: Option<u32>,
}

/// What the post-processor does to a single text.
pub(super) fn around(fields: &Map<String, Json>) -> Checked<Around> {
    let mut around = Around::default();
    for step in steps(fields.get("post_processor"), "processors") {
        match step["type"].as_str() {
            Some("ByteLevel") => {} // it moves offsets
            Some("TemplateProcessing") if around == Around::default() => {
                let read = template(step);
                around = read.ok_or_else(|| cannot("post_processor.single", format!("it is {}", shown(&step["single"]))))?;
            }
            _ => return Err(cannot("post_processor", format!("it is {}", shown(step)))),
        }
    }
    Ok(around)
}

/// At most one id before the text and one after it.
fn template(step: &Json) -> Option<Around> {
    let mut around = Around::default();
    let mut text = false;
    for piece in step["single"].as_array()? {
        if piece.get("Sequence").is_some() {
            if std::mem::replace(&mut text, true) {
                return None;
            }
            continue;
        }
        let name = piece["SpecialToken"]["id"].as_str()?;
        let [id] = step["special_tokens"][name]["ids"].as_array()?.as_slice() else { return None };
        let id = u32::try_from(id.as_u64()?).ok()?;
        let place = if text { &mut around.after } else { &mut around.before };
        if place.replace(id).is_some() {
            return None;
        }
    }
    text.then_some(around)
}
