//! Goldens of chat templates: what transformers made of conversations, written by `golden/chat.py` alone.
//!
//! They belong to no model. The ids are those of the tokenizers that the index names, by the hash of `tokenizer.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{FileEntry, GoldenError, Index, parse};
use crate::observation::{Chat, Question};

/// The schema word of every file of these goldens.
pub const CHAT_SCHEMA: &str = "ground-truth/golden-chat/1";

/// Who rendered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatOracle {
    /// `transformers`.
    pub runtime: String,
    /// Versions by name.
    pub versions: BTreeMap<String, String>,
    /// SHA-256 of the scripts.
    pub generator: String,
}

/// A tokenizer that conversations were encoded with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatTokenizer {
    /// A model that has it: its name under `ids`.
    pub model: String,
    /// SHA-256 of its `tokenizer.json`.
    pub sha256: String,
}

/// One template, as the index lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleEntry {
    /// Its name, the last part of the test's name, and that of its file.
    pub name: String,
    /// How many cases there are.
    pub n_cases: usize,
    /// How many of them are refused.
    pub n_refused: usize,
}

/// `chat.json`: the styles, and every other file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatIndex {
    /// [`CHAT_SCHEMA`].
    pub schema: String,
    /// Who wrote this.
    pub oracle: ChatOracle,
    /// The tokenizers.
    pub tokenizers: Vec<ChatTokenizer>,
    /// The styles.
    pub styles: Vec<StyleEntry>,
    /// Every file but this one.
    pub golden_files: Vec<FileEntry>,
}

/// Messages, tools and variables.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatConversation {
    /// Its name.
    pub name: String,
    /// The messages.
    pub messages: Value,
    /// The tools, where there are any.
    pub tools: Option<Value>,
    /// Variables beside those of the style; they come before those.
    pub variables: Map<String, Value>,
}

/// `conversations.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatConversations {
    /// [`CHAT_SCHEMA`].
    pub schema: String,
    /// Who wrote this.
    pub oracle: ChatOracle,
    /// The conversations.
    pub conversations: Vec<ChatConversation>,
}

/// What became of one conversation under one template.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatCase {
    /// Name of the conversation.
    pub conversation: String,
    /// Whether the text ends where the assistant is to begin.
    pub add_generation_prompt: bool,
    /// The text, where there is one.
    pub text: Option<String>,
    /// What was raised instead.
    pub refused: Option<String>,
    /// The ids of the text, no special tokens added, by the model whose tokenizer it was.
    #[serde(default)]
    pub ids: BTreeMap<String, Vec<u32>>,
}

/// `<style>.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatStyle {
    /// [`CHAT_SCHEMA`].
    pub schema: String,
    /// Who wrote this.
    pub oracle: ChatOracle,
    /// Its name.
    pub style: String,
    /// The Jinja source.
    pub template: String,
    /// What `strftime_now` told.
    pub now: String,
    /// The special tokens that the template was given.
    pub variables: Map<String, Value>,
    /// The cases.
    pub cases: Vec<ChatCase>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatGolden {
    /// The index.
    pub index: ChatIndex,
    /// The conversations, by name.
    pub conversations: BTreeMap<String, ChatConversation>,
    /// The styles, in the order of the index.
    pub styles: Vec<ChatStyle>,
}

impl ChatIndex {
    /// Reads `chat.json`. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are not an index of this schema, or list a name twice or none.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        let index: ChatIndex = parse(bytes, file)?;
        schema(&index.schema, file)?;
        let names: BTreeSet<&str> = index.styles.iter().map(|style| style.name.as_str()).collect();
        if names.is_empty() || names.len() != index.styles.len() {
            return Err(wrong(file, "styles", format!("{} entries with {} names", index.styles.len(), names.len())));
        }
        Ok(index)
    }

    /// The name under which the ids of a model's tokenizer stand.
    pub fn tokenizer_of(&self, model: &Index) -> Option<&str> {
        let file = model.model_files.iter().find(|file| file.name == "tokenizer.json")?;
        self.tokenizers.iter().find(|tokenizer| tokenizer.sha256 == file.sha256).map(|tokenizer| tokenizer.model.as_str())
    }
}

impl ChatGolden {
    /// Joins the parts of a golden and holds them against each other. `folder` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] naming the first field that contradicts another.
    pub fn new(index: ChatIndex, conversations: ChatConversations, styles: Vec<ChatStyle>, folder: &str) -> Result<Self, GoldenError> {
        let of = |name: &str| format!("{folder}/{name}");
        schema(&conversations.schema, &of("conversations.json"))?;
        let n = conversations.conversations.len();
        let by_name: BTreeMap<String, ChatConversation> = conversations.conversations.into_iter().map(|c| (c.name.clone(), c)).collect();
        if by_name.is_empty() || by_name.len() != n {
            return Err(wrong(&of("conversations.json"), "conversations", format!("{n} entries with {} names", by_name.len())));
        }
        if styles.len() != index.styles.len() {
            return Err(wrong(&of("chat.json"), "styles", format!("{} entries, {} were read", index.styles.len(), styles.len())));
        }
        let golden = ChatGolden { index, conversations: by_name, styles };
        for (i, style) in golden.styles.iter().enumerate() {
            golden.lint(style, &golden.index.styles[i], &of(&format!("{}.json", style.style)))?;
        }
        Ok(golden)
    }

    fn lint(&self, style: &ChatStyle, entry: &StyleEntry, file: &str) -> Result<(), GoldenError> {
        schema(&style.schema, file)?;
        let refused = style.cases.iter().filter(|case| case.refused.is_some()).count();
        let found = (style.style.as_str(), style.cases.len(), refused);
        let due = (entry.name.as_str(), entry.n_cases, entry.n_refused);
        if found != due || style.oracle != self.index.oracle {
            return Err(wrong(file, "cases", format!("{found:?} are there (name, cases, refused), the index says {due:?}")));
        }
        let asked: BTreeSet<(&str, bool)> =
            style.cases.iter().map(|case| (case.conversation.as_str(), case.add_generation_prompt)).collect();
        if asked.len() != style.cases.len() || asked.len() != 2 * self.conversations.len() {
            return Err(wrong(file, "cases", format!("{} conversations, each with and without prompt, are due", self.conversations.len())));
        }
        let tokenizers: BTreeSet<&str> = self.index.tokenizers.iter().map(|tokenizer| tokenizer.model.as_str()).collect();
        for (i, case) in style.cases.iter().enumerate() {
            let field = format!("cases[{i}]");
            if !self.conversations.contains_key(&case.conversation) {
                return Err(wrong(file, &field, format!("no conversation is called {:?}", case.conversation)));
            }
            if case.text.is_some() == case.refused.is_some() || case.text.is_none() && !case.ids.is_empty() {
                return Err(wrong(file, &field, "a text or a refusal is due, and ids of a text alone".to_owned()));
            }
            if !case.ids.is_empty() && case.ids.keys().map(String::as_str).collect::<BTreeSet<_>>() != tokenizers {
                return Err(wrong(file, &field, "ids of each tokenizer of the index, or of none, are due".to_owned()));
            }
        }
        Ok(())
    }

    /// What is asked in a case. `None` only for a case that is none of this golden.
    pub fn question(&self, style: &ChatStyle, case: &ChatCase) -> Option<Question> {
        let conversation = self.conversations.get(&case.conversation)?;
        let mut variables = style.variables.clone();
        variables.extend(conversation.variables.clone());
        Some(Question::Chat(Chat {
            template: Some(style.template.clone()),
            messages: conversation.messages.to_string(),
            tools: conversation.tools.as_ref().map(Value::to_string),
            variables: Value::Object(variables).to_string(),
            add_generation_prompt: case.add_generation_prompt,
            now: Some(style.now.clone()),
        }))
    }
}

impl ChatConversations {
    /// Reads `conversations.json`. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are none.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        parse(bytes, file)
    }
}

impl ChatStyle {
    /// Reads `<style>.json`. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are none.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        parse(bytes, file)
    }
}

fn schema(found: &str, file: &str) -> Result<(), GoldenError> {
    if found == CHAT_SCHEMA { Ok(()) } else { Err(wrong(file, "schema", format!("is {found:?}, {CHAT_SCHEMA:?} is due"))) }
}

fn wrong(file: &str, field: &str, reason: String) -> GoldenError {
    GoldenError::Field { file: file.to_owned(), field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn oracle() -> Value {
        let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/chat/chat.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["oracle"].clone()
    }

    /// An index with one style, its two conversations, and the style with its four cases; the third is refused.
    fn parts() -> [Value; 3] {
        let case = |conversation: &str, prompt: bool| json!({"conversation": conversation, "add_generation_prompt": prompt, "text": "hi", "refused": null, "ids": {"m": [1]}});
        let mut cases = vec![case("a", false), case("a", true), case("b", false), case("b", true)];
        cases[2] = json!({"conversation": "b", "add_generation_prompt": false, "text": null, "refused": "no"});
        let conversation = |name: &str| json!({"name": name, "messages": [], "tools": null, "variables": {"bos_token": name}});
        [
            json!({"schema": CHAT_SCHEMA, "oracle": oracle(), "tokenizers": [{"model": "m", "sha256": "00"}],
                "styles": [{"name": "s", "n_cases": 4, "n_refused": 1}], "golden_files": []}),
            json!({"schema": CHAT_SCHEMA, "oracle": oracle(), "conversations": [conversation("a"), conversation("b")]}),
            json!({"schema": CHAT_SCHEMA, "oracle": oracle(), "style": "s", "template": "{{ bos_token }}", "now": "2026-07-05T09:08:07",
                "variables": {"bos_token": "<s>", "eos_token": "</s>"}, "cases": cases}),
        ]
    }

    fn joined(parts: &[Value; 3]) -> Result<ChatGolden, GoldenError> {
        let bytes = |i: usize| parts[i].to_string().into_bytes();
        let index = ChatIndex::parse(&bytes(0), "chat/chat.json")?;
        let conversations = ChatConversations::parse(&bytes(1), "chat/conversations.json")?;
        ChatGolden::new(index, conversations, vec![ChatStyle::parse(&bytes(2), "chat/s.json")?], "chat")
    }

    fn set(parts: &mut [Value; 3], part: usize, pointer: &str, value: Value) {
        *parts[part].pointer_mut(pointer).unwrap() = value;
    }

    #[test]
    fn a_sound_golden_asks_with_the_variables_of_the_conversation_over_those_of_the_style() {
        let golden = joined(&parts()).unwrap();
        let style = &golden.styles[0];
        let Some(Question::Chat(chat)) = golden.question(style, &style.cases[1]) else { panic!("no question") };
        assert_eq!((chat.add_generation_prompt, chat.tools, chat.now.as_deref()), (true, None, Some("2026-07-05T09:08:07")));
        assert_eq!(serde_json::from_str::<Value>(&chat.variables).unwrap(), json!({"bos_token": "a", "eos_token": "</s>"}));
        let stranger = ChatCase { conversation: "z".to_owned(), ..style.cases[0].clone() };
        assert_eq!(golden.question(style, &stranger), None);
    }

    /// Each is one thing wrong: the part, what is changed, the file and the field that are named.
    #[test]
    fn what_contradicts_itself_is_named_by_file_and_field() {
        let again = json!({"name": "s", "n_cases": 4, "n_refused": 1});
        let conversation = json!({"name": "a", "messages": [], "tools": null, "variables": {}});
        for (part, pointer, value, file, field) in [
            (0, "/schema", json!("other"), "chat/chat.json", "schema"),
            (0, "/styles", json!([]), "chat/chat.json", "styles"),
            (0, "/styles", json!([again, again]), "chat/chat.json", "styles"),
            (0, "/styles", json!([again, {"name": "t", "n_cases": 4, "n_refused": 1}]), "chat/chat.json", "styles"),
            (0, "/styles/0/n_cases", json!(5), "chat/s.json", "cases"),
            (0, "/styles/0/n_refused", json!(0), "chat/s.json", "cases"),
            (0, "/styles/0/name", json!("t"), "chat/s.json", "cases"),
            (1, "/schema", json!("other"), "chat/conversations.json", "schema"),
            (1, "/conversations", json!([]), "chat/conversations.json", "conversations"),
            (1, "/conversations/1", conversation, "chat/conversations.json", "conversations"),
            (1, "/conversations/1/name", json!("c"), "chat/s.json", "cases[2]"),
            (2, "/schema", json!("other"), "chat/s.json", "schema"),
            (2, "/cases/1/add_generation_prompt", json!(false), "chat/s.json", "cases"),
            (2, "/cases/0/conversation", json!("z"), "chat/s.json", "cases[0]"),
            (2, "/cases/0/text", Value::Null, "chat/s.json", "cases[0]"),
            (2, "/cases/2/text", json!("hi"), "chat/s.json", "cases[2]"),
            (2, "/cases/0/ids", json!({"m": [1], "n": [2]}), "chat/s.json", "cases[0]"),
            (2, "/cases/0/ids", json!({"n": [2]}), "chat/s.json", "cases[0]"),
        ] {
            let mut parts = parts();
            set(&mut parts, part, pointer, value);
            match joined(&parts) {
                Err(GoldenError::Field { file: named, field: at, .. }) => {
                    assert_eq!((named.as_str(), at.as_str()), (file, field), "{pointer}")
                }
                other => panic!("{pointer}: {other:?}"),
            }
        }
        let mut with_ids = parts();
        with_ids[2]["cases"][2]["ids"] = json!({"m": [1]});
        assert!(joined(&with_ids).is_err(), "ids of a text that is refused");
        let mut another = parts();
        another[2]["oracle"] = json!({});
        assert!(joined(&another).is_err(), "another oracle");
        let mut without = parts();
        for case in without[2]["cases"].as_array_mut().unwrap() {
            case["ids"] = json!({});
        }
        assert!(joined(&without).is_ok(), "ids of none");
        let mut fewer = parts();
        fewer[2]["cases"].as_array_mut().unwrap().pop();
        fewer[0]["styles"][0]["n_cases"] = json!(3);
        assert!(joined(&fewer).is_err(), "a conversation without its prompt");
    }

    #[test]
    fn the_tokenizer_of_a_model_is_found_by_its_bytes() {
        let index: Value =
            serde_json::from_slice(&std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/llama-tiny/index.json")).unwrap())
                .unwrap();
        let model = Index::parse(index.to_string().as_bytes(), "index.json").unwrap();
        let file = model.model_files.iter().find(|file| file.name == "tokenizer.json").unwrap();
        let mut parts = parts();
        set(&mut parts, 0, "/tokenizers/0/sha256", json!(file.sha256));
        let chat = |parts: &[Value; 3]| ChatIndex::parse(parts[0].to_string().as_bytes(), "chat.json").unwrap();
        assert_eq!(chat(&parts).tokenizer_of(&model), Some("m"));
        set(&mut parts, 0, "/tokenizers/0/sha256", json!("00"));
        assert_eq!(chat(&parts).tokenizer_of(&model), None);
    }
}
