//! What a template is rendered with.

use minijinja::Value;
use serde_json::{Map, Value as Json};

use super::{Checked, Clock};
use crate::error::ChatError;
use crate::format::json;

/// The names of a message's reasoning, in the order in which one stands for the others.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Messages, tools, and what else a template asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    messages: Vec<Map<String, Json>>,
    tools: Option<Vec<Json>>,
    variables: Map<String, Json>,
    /// Whether the text ends where the assistant is to begin.
    pub add_generation_prompt: bool,
    /// What `strftime_now` tells; none is the machine's time.
    pub now: Option<Clock>,
}

impl Conversation {
    /// Reads the messages (a JSON array of objects, at least one), the tools (likewise, if there are any) and the variables (a JSON object),
    /// with a generation prompt. The order of keys is kept: templates show it.
    ///
    /// # Errors
    ///
    /// [`ChatError::Json`] or [`ChatError::Shape`].
    pub fn parse(messages: &str, tools: Option<&str>, variables: &str) -> std::result::Result<Self, ChatError> {
        let read = |what: &'static str, text: &str| json::parse(text.as_bytes()).map_err(|source| ChatError::Json { what, source });
        let messages = match read("messages", messages)? {
            Json::Array(messages) if !messages.is_empty() => messages,
            Json::Array(_) => return Err(shape("messages", "an empty array", "one message at least")),
            other => return Err(shape("messages", json::kind(&other), "an array")),
        };
        let object = |(i, message): (usize, Json)| match message {
            Json::Object(fields) => Ok(message_of(fields)),
            other => Err(shape(&format!("messages[{i}]"), json::kind(&other), "an object")),
        };
        let messages = messages.into_iter().enumerate().map(object).collect::<Checked<Vec<_>>>()?;
        let tools = match tools.map(|tools| read("tools", tools)).transpose()? {
            None => None,
            Some(Json::Array(tools)) => match tools.iter().position(|tool| !tool.is_object()) {
                None => Some(tools),
                Some(i) => return Err(shape(&format!("tools[{i}]"), json::kind(&tools[i]), "an object")),
            },
            Some(other) => return Err(shape("tools", json::kind(&other), "an array")),
        };
        let variables = match read("variables", variables)? {
            Json::Object(variables) => variables,
            other => return Err(shape("variables", json::kind(&other), "an object")),
        };
        Ok(Conversation { messages, tools, variables, add_generation_prompt: true, now: None })
    }

    /// Adds variables that have no value yet: the special tokens of a tokenizer.
    pub fn fill_in(&mut self, tokens: impl IntoIterator<Item = (String, String)>) {
        for (name, token) in tokens {
            self.variables.entry(name).or_insert(Json::String(token));
        }
    }

    /// What the template sees.
    pub(super) fn context(&self) -> Value {
        let own = [
            ("messages", self.messages.iter().map(object).collect::<Value>()),
            ("tools", self.tools.as_ref().map_or(Value::from(()), |tools| tools.iter().map(value).collect())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(self.add_generation_prompt)),
        ];
        // A variable of the same name does not stand in for what was asked.
        let others = self.variables.iter().filter(|(name, _)| own.iter().all(|(own, _)| own != name));
        let others: Vec<(&str, Value)> = others.map(|(name, variable)| (name.as_str(), value(variable))).collect();
        Value::from_pairs(own.into_iter().chain(others))
    }
}

fn shape(what: &str, found: &'static str, due: &'static str) -> ChatError {
    ChatError::Shape { what: what.to_owned(), found, due }
}

/// A message as templates are shown it: no field that is null, and the reasoning under all of its names but the last.
fn message_of(fields: Map<String, Json>) -> Map<String, Json> {
    let fields: Map<String, Json> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let Some(reasoning) = REASONING.into_iter().find_map(|name| fields.get(name)).cloned() else { return fields };
    let mut message = Map::from_iter([("thinking".to_owned(), reasoning.clone())]);
    message.extend(fields);
    message.insert("reasoning_content".to_owned(), reasoning);
    message
}

fn object(fields: &Map<String, Json>) -> Value {
    Value::from_pairs(fields.iter().map(|(name, field)| (name.as_str(), value(field))))
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::from(value),
            (_, Some(value)) => Value::from(value),
            _ => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(fields) => object(fields),
    }
}
