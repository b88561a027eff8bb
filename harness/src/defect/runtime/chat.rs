//! Runtimes that write conversations otherwise than their template says: what was seen in the field, one fault each.

use serde_json::{Map, Value};

use super::faults::stateless;
use super::{Factory, Reply, Request, Setting};
use crate::runtime::{Chat, Failure};

/// Tokens that some tokenizer of the roster has as special ones.
const SPECIAL: [&str; 5] = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"];

/// Changes what is asked.
fn on_request(change: impl Fn(&mut Chat) + Send + Sync + Clone + 'static) -> Factory {
    stateless(move |mut request, next| {
        if let Request::Chat(chat) = &mut request {
            change(chat);
        }
        next(request)
    })
}

/// Changes the text that comes back, and has it encoded again.
fn on_text(change: impl Fn(&Chat, &mut String) + Send + Sync + Clone + 'static) -> Factory {
    stateless(move |request, next| {
        let Request::Chat(chat) = request else { return next(request) };
        let Reply::Chat(mut text, _) = next(Request::Chat(chat.clone()))? else { return next(Request::Chat(chat)) };
        change(&chat, &mut text);
        match next(Request::Tokenize(text.clone(), false))? {
            Reply::Ids(ids) => Ok(Reply::Chat(text, ids)),
            other => Ok(other),
        }
    })
}

/// Changes the messages, each an object.
fn on_messages(change: impl Fn(&mut Vec<Value>) + Send + Sync + Clone + 'static) -> Factory {
    on_request(move |chat| {
        if let Ok(Value::Array(mut messages)) = serde_json::from_str(&chat.messages) {
            change(&mut messages);
            chat.messages = Value::Array(messages).to_string();
        }
    })
}

/// Changes the source of the template.
fn on_template(change: impl Fn(&str) -> String + Send + Sync + Clone + 'static) -> Factory {
    on_request(move |chat| chat.template = chat.template.as_deref().map(&change))
}

fn role(message: &Value) -> &str {
    message["role"].as_str().unwrap_or_default()
}

pub(super) fn prompt_dropped(_: &Setting) -> Factory {
    on_request(|chat| chat.add_generation_prompt = false)
}

pub(super) fn prompt_always(_: &Setting) -> Factory {
    on_request(|chat| chat.add_generation_prompt = true)
}

/// The tokenizer adds its BOS to the one that the template wrote.
pub(super) fn bos_doubled(_: &Setting) -> Factory {
    stateless(|request, next| {
        let is_chat = matches!(request, Request::Chat(_));
        match next(request)? {
            Reply::Chat(text, ids) if is_chat => match next(Request::Tokenize(text.clone(), true))? {
                Reply::Ids(more) => Ok(Reply::Chat(text, more)),
                _ => Ok(Reply::Chat(text, ids)),
            },
            other => Ok(other),
        }
    })
}

/// Special tokens that the template wrote are encoded as the letters that they are spelled with.
pub(super) fn special_as_text(_: &Setting) -> Factory {
    stateless(|request, next| {
        let Reply::Chat(text, mut ids) = (match request {
            Request::Chat(_) => next(request)?,
            _ => return next(request),
        }) else {
            return Err(Failure::Protocol { message: "no rendered conversation".to_owned() });
        };
        if SPECIAL.iter().any(|token| text.contains(token)) {
            ids.clear();
            // Cut after the first letter of each, no token is found whole.
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let found = SPECIAL.iter().filter_map(|token| rest.find(token)).min();
                let (piece, after) = rest.split_at(found.map_or(rest.len(), |at| at + 1));
                if let Reply::Ids(more) = next(Request::Tokenize(piece.to_owned(), false))? {
                    ids.extend(more);
                }
                rest = after;
            }
        }
        Ok(Reply::Chat(text, ids))
    })
}

pub(super) fn system_dropped(_: &Setting) -> Factory {
    on_messages(|messages| {
        // A conversation of nothing would be another fault.
        if messages.iter().any(|message| role(message) != "system") {
            messages.retain(|message| role(message) != "system");
        }
    })
}

pub(super) fn history_cut(_: &Setting) -> Factory {
    on_messages(|messages| {
        let first = messages.len().saturating_sub(1);
        messages.drain(..first);
    })
}

pub(super) fn content_stripped(_: &Setting) -> Factory {
    on_messages(|messages| {
        for message in messages {
            if let Some(Value::String(content)) = message.get_mut("content") {
                *content = content.trim().to_owned();
            }
        }
    })
}

pub(super) fn calls_dropped(_: &Setting) -> Factory {
    on_messages(|messages| messages.iter_mut().filter_map(Value::as_object_mut).for_each(|message| drop(message.remove("tool_calls"))))
}

pub(super) fn tools_ignored(_: &Setting) -> Factory {
    on_request(|chat| chat.tools = None)
}

/// Objects come back with their keys in the order of the alphabet.
pub(super) fn keys_sorted(_: &Setting) -> Factory {
    let sorted = |text: &str| serde_json::from_str(text).map_or_else(|_| text.to_owned(), |value| in_order(value).to_string());
    on_request(move |chat| {
        chat.messages = sorted(&chat.messages);
        chat.tools = chat.tools.as_deref().map(sorted);
    })
}

fn in_order(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(in_order).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().map(|(name, value)| (name, in_order(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(Map::from_iter(fields))
        }
        other => other,
    }
}

/// Every string of the tools and messages that a template may have written as JSON.
fn strings(chat: &Chat) -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(fields) => fields.values().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for text in [Some(&chat.messages), chat.tools.as_ref()].into_iter().flatten() {
        if let Ok(value) = serde_json::from_str(text) {
            collect(&value, &mut found);
        }
    }
    found
}

/// Writes the letters of JSON strings that `is_escaped` takes as `\uXXXX`.
fn escaped(is_escaped: fn(char) -> bool) -> Factory {
    on_text(move |chat, text| {
        for string in strings(chat).iter().filter(|string| string.contains(is_escaped)) {
            let quoted = Value::from(string.as_str()).to_string();
            let mut otherwise = String::new();
            for letter in quoted.chars() {
                if is_escaped(letter) {
                    letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| otherwise.push_str(&format!("\\u{unit:04x}")));
                } else {
                    otherwise.push(letter);
                }
            }
            *text = text.replace(&quoted, &otherwise);
        }
    })
}

pub(super) fn json_escaped_for_html(_: &Setting) -> Factory {
    escaped(|letter| matches!(letter, '<' | '>' | '&' | '\''))
}

pub(super) fn json_escaped_to_ascii(_: &Setting) -> Factory {
    escaped(|letter| !letter.is_ascii())
}

pub(super) fn json_not_indented(_: &Setting) -> Factory {
    on_template(|source| source.replace("tojson(indent=4)", "tojson"))
}

/// The line end after a block stays, as Jinja leaves it where nothing is said.
pub(super) fn trim_blocks_off(_: &Setting) -> Factory {
    on_template(|source| source.replace("%}\n", "%}\n\n").replace("-%}\n\n", "-%}\n"))
}

/// The spaces before a block stay, as Jinja leaves them where nothing is said.
pub(super) fn lstrip_blocks_off(_: &Setting) -> Factory {
    on_template(|source| {
        let kept = |line: &str| {
            let spaces = line.len() - line.trim_start_matches([' ', '\t']).len();
            match line[spaces..].strip_prefix("{%") {
                Some(rest) if !rest.starts_with(['-', '+']) => format!("{}{{%+{rest}", &line[..spaces]),
                _ => line.to_owned(),
            }
        };
        source.split('\n').map(kept).collect::<Vec<_>>().join("\n")
    })
}

/// The text ends with its last letter: the line end of the generation prompt goes.
pub(super) fn end_stripped(_: &Setting) -> Factory {
    on_text(|_, text| text.truncate(text.trim_end().len()))
}

/// The text ends at its first NUL.
pub(super) fn cut_at_nul(_: &Setting) -> Factory {
    on_text(|_, text| {
        if let Some(at) = text.find('\0') {
            text.truncate(at);
        }
    })
}

/// Every model is given ChatML.
pub(super) fn always_chatml(_: &Setting) -> Factory {
    const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\n{% endfor %}\
                          {% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}";
    on_template(|_| CHATML.to_owned())
}

/// `raise_exception` says nothing and goes on.
pub(super) fn raise_ignored(_: &Setting) -> Factory {
    on_template(|source| source.replace("raise_exception(", "'' and namespace("))
}

/// A conversation that cannot be rendered is an empty text.
pub(super) fn refusal_swallowed(_: &Setting) -> Factory {
    stateless(|request, next| {
        let is_chat = matches!(request, Request::Chat(_));
        match next(request) {
            Err(Failure::Refused { .. }) if is_chat => Ok(Reply::Chat(String::new(), Vec::new())),
            outcome => outcome,
        }
    })
}

/// `strftime_now` tells the machine's time.
pub(super) fn clock_of_the_machine(_: &Setting) -> Factory {
    on_request(|chat| chat.now = None)
}

/// The special tokens of the tokenizer are no variables.
pub(super) fn tokens_not_given(_: &Setting) -> Factory {
    on_request(|chat| chat.variables = "{}".to_owned())
}
