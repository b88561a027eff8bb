//! The templates that a model carries.
//!
//! | where | is |
//! |---|---|
//! | `chat_template.jinja` | the default, before any other |
//! | `chat_templates/<name>.jinja` | one that is asked for by name |
//! | `tokenizer_config.json`, `chat_template` | a string, or a list of `{"name", "template"}` |
//! | GGUF `tokenizer.chat_template`, `tokenizer.chat_template.<name>` | the same in a file |
//! | APR `hf_chat_templates` | names and sources |
//!
//! Where tools are given and one is called `tool_use`, it is taken.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::{ChatTemplate, MAX_TEMPLATE_BYTES};
use crate::error::{ChatError, FileError, GgufError, InFile, Result};
use crate::format::gguf::{Array, Metadata, Value};
use crate::format::{file, json};

/// The name of the one that is taken where none is asked for.
const DEFAULT: &str = "default";

/// The name of the one that is taken where tools are given.
const TOOL_USE: &str = "tool_use";

/// The most templates that a model has.
const MAX_TEMPLATES: usize = 64;

/// The key of GGUF.
const GGUF_KEY: &str = "tokenizer.chat_template";

/// The templates of a model: names and sources, each name once; `default` is the one that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Templates(Vec<(String, String)>);

impl Templates {
    /// Those of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::File`](crate::Error::File) or [`Error::Json`](crate::Error::Json) for a file that cannot be read,
    /// [`Error::Chat`](crate::Error::Chat) for a `chat_template` of another type.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let mut templates = Templates::default();
        let config = folder.join("tokenizer_config.json");
        if let Some(fields) = optional(json::read_object(&config))? {
            templates.add_config(&fields).in_file(&config)?;
        }
        let named = folder.join("chat_templates");
        if named.is_dir() {
            let mut paths = Vec::new();
            for entry in std::fs::read_dir(&named).map_err(FileError::from).in_file(&named)? {
                paths.push(entry.map_err(FileError::from).in_file(&named)?.path());
            }
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "jinja"));
            paths.sort();
            for path in paths.into_iter().take(MAX_TEMPLATES) {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                templates.put(&name, text(&path)?);
            }
        }
        let single = folder.join("chat_template.jinja");
        if let Some(source) = optional(text(&single))? {
            templates.put(DEFAULT, source);
        }
        Ok(templates)
    }

    fn add_config(&mut self, fields: &Map<String, Json>) -> std::result::Result<(), ChatError> {
        let wrong = |field: String, found: &Json, due| ChatError::Field { field, found: json::kind(found), due };
        match fields.get("chat_template") {
            None | Some(Json::Null) => {}
            Some(Json::String(source)) => self.put(DEFAULT, source.clone()),
            Some(Json::Array(list)) => {
                for (i, entry) in list.iter().take(MAX_TEMPLATES).enumerate() {
                    match (&entry["name"], &entry["template"]) {
                        (Json::String(name), Json::String(source)) => self.put(name, source.clone()),
                        (Json::String(_), found) => return Err(wrong(format!("chat_template[{i}].template"), found, "a string")),
                        (found, _) => return Err(wrong(format!("chat_template[{i}].name"), found, "a string")),
                    }
                }
            }
            Some(found) => return Err(wrong("chat_template".to_owned(), found, "a string or an array")),
        }
        Ok(())
    }

    /// Those of a GGUF file.
    pub fn of_gguf(metadata: &Metadata) -> Self {
        let mut templates = Templates::default();
        for (key, value) in metadata.iter() {
            let name = key.strip_prefix(GGUF_KEY).and_then(|rest| if rest.is_empty() { Some(DEFAULT) } else { rest.strip_prefix('.') });
            if let (Some(name), Value::String(source)) = (name, value) {
                templates.put(name, source.clone());
            }
        }
        templates
    }

    /// Those of an object of names and sources.
    ///
    /// # Errors
    ///
    /// [`ChatError::Field`] for a source that is none.
    pub(crate) fn of_fields(fields: &Map<String, Json>) -> std::result::Result<Self, ChatError> {
        let mut templates = Templates::default();
        for (name, source) in fields.iter().take(MAX_TEMPLATES) {
            match source {
                Json::String(source) => templates.put(name, source.clone()),
                found => return Err(ChatError::Field { field: name.clone(), found: json::kind(found), due: "a string" }),
            }
        }
        Ok(templates)
    }

    /// What a GGUF file says of them.
    ///
    /// # Errors
    ///
    /// [`GgufError::CannotSay`] for a name that is no part of a key.
    pub(crate) fn gguf_keys(&self) -> std::result::Result<Vec<(String, Value)>, GgufError> {
        let mut keys = Vec::new();
        let mut names = Vec::new();
        for (name, source) in self.iter() {
            let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            if name == DEFAULT {
                keys.push((GGUF_KEY.to_owned(), Value::String(source.to_owned())));
            } else if is_plain {
                names.push(name.to_owned());
                keys.push((format!("{GGUF_KEY}.{name}"), Value::String(source.to_owned())));
            } else {
                let why = "a key has lowercase letters, digits and underscores";
                return Err(GgufError::CannotSay { field: "chat_template".to_owned(), found: name.to_owned(), why });
            }
        }
        if !names.is_empty() {
            keys.push((format!("{GGUF_KEY}s"), Value::Array(Array::String(names))));
        }
        Ok(keys)
    }

    /// The file of a folder that holds them: the default alone as it is, several as `tokenizer_config.json` has them.
    pub(crate) fn file(&self) -> Option<(String, Vec<u8>)> {
        match self.0.as_slice() {
            [] => None,
            [(name, source)] if name == DEFAULT => Some(("chat_template.jinja".to_owned(), source.clone().into_bytes())),
            several => {
                let list: Vec<Json> = several.iter().map(|(name, source)| serde_json::json!({"name": name, "template": source})).collect();
                let fields = serde_json::json!({ "chat_template": list });
                Some(("tokenizer_config.json".to_owned(), format!("{fields:#}\n").into_bytes()))
            }
        }
    }

    fn put(&mut self, name: &str, source: String) {
        self.0.retain(|(other, _)| other != name);
        self.0.push((name.to_owned(), source));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and sources.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, source)| (name.as_str(), source.as_str()))
    }

    /// The template of that name; where none is asked for, the one that is meant. `file` is the model's.
    ///
    /// # Errors
    ///
    /// [`Error::Chat`](crate::Error::Chat) if there is none, or it is no Jinja.
    pub fn template(&self, name: Option<&str>, with_tools: bool, file: &Path) -> Result<ChatTemplate> {
        let find = |name: &str| self.0.iter().find(|(other, _)| other == name);
        let found = match name {
            Some(name) => find(name),
            None => find(TOOL_USE).filter(|_| with_tools).or_else(|| find(DEFAULT)),
        };
        match (found, name) {
            (Some((_, source)), _) => ChatTemplate::new(source, file),
            (None, None) if self.0.is_empty() => Err(ChatError::NoTemplate).in_file(file),
            (None, name) => {
                let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
                Err(ChatError::NoSuchTemplate { name: name.unwrap_or(DEFAULT).to_owned(), names: names.join(", ") }).in_file(file)
            }
        }
    }
}

/// A template's file.
fn text(path: &Path) -> Result<String> {
    let bytes = file::read(path, MAX_TEMPLATE_BYTES as u64)?;
    String::from_utf8(bytes).map_err(|error| ChatError::Syntax { line: 1, message: error.to_string() }).in_file(path)
}

/// A file that may be absent, but not broken.
fn optional<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(crate::Error::File { source: FileError::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
