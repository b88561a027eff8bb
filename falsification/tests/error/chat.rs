//! Rows of chat templates: a template or a conversation that is refused, each for its own reason.

use ground_truth::chat::{ChatTemplate, Clock, Conversation, Templates};
use ground_truth::error::ChatError;
use ground_truth::{Checkpoint, Error, Result};

use super::{Folder, Row};

const HELLO: &str = r#"[{"role": "user", "content": "hi"}]"#;

/// Renders one turn of a user under a template in the folder.
fn rendered(folder: &Folder, source: &str) -> Result<()> {
    folder.write("chat_template.jinja", source);
    let checkpoint = Checkpoint::open(folder.path())?;
    let template = checkpoint.chat_templates.template(None, false, &folder.path().join("chat_template.jinja"))?;
    asked(folder, HELLO, None, "{}").and_then(|conversation| template.render(&conversation)).map(drop)
}

fn in_folder<T>(folder: &Folder, result: std::result::Result<T, ChatError>) -> Result<T> {
    result.map_err(|source| Error::Chat { file: folder.path().join("chat_template.jinja"), source })
}

fn asked(folder: &Folder, messages: &str, tools: Option<&str>, variables: &str) -> Result<Conversation> {
    in_folder(folder, Conversation::parse(messages, tools, variables))
}

fn templates(folder: &Folder, config: &str, name: Option<&str>) -> Result<ChatTemplate> {
    folder.write("tokenizer_config.json", config);
    Templates::of_folder(folder.path())?.template(name, false, folder.path())
}

#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    ("chat", "no-template", |f| templates(f, "{}", None).map(drop)),
    ("chat", "no-such-template", |f| templates(f, r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#, None).map(drop)),
    ("chat", "no-such-template", |f| templates(f, r#"{"chat_template": "x"}"#, Some("rag\u{1b}[2J")).map(drop)),
    ("chat", "field", |f| templates(f, r#"{"chat_template": 1}"#, None).map(drop)),
    ("chat", "field", |f| templates(f, r#"{"chat_template": [{"template": "x"}]}"#, None).map(drop)),
    ("chat", "field", |f| templates(f, r#"{"chat_template": [{"name": "default"}]}"#, None).map(drop)),
    ("chat", "template-too-long", |f| ChatTemplate::new(&"x".repeat((1 << 20) + 1), &f.path().join("chat_template.jinja")).map(drop)),
    ("chat", "syntax", |f| rendered(f, "{% if x %}\n{{ 1 + }}")),
    ("chat", "syntax", |f| rendered(f, "{% generation %}x")),
    ("chat", "json", |f| asked(f, "[", None, "{}").map(drop)),
    ("chat", "json", |f| asked(f, r#"[{"role": "user", "role": "system"}]"#, None, "{}").map(drop)),
    ("chat", "shape", |f| asked(f, "[]", None, "{}").map(drop)),
    ("chat", "shape", |f| asked(f, "{}", None, "{}").map(drop)),
    ("chat", "shape", |f| asked(f, r#"["hi"]"#, None, "{}").map(drop)),
    ("chat", "shape", |f| asked(f, HELLO, Some("[1]"), "{}").map(drop)),
    ("chat", "shape", |f| asked(f, HELLO, Some("{}"), "{}").map(drop)),
    ("chat", "shape", |f| asked(f, HELLO, None, "[]").map(drop)),
    ("chat", "clock", |f| in_folder(f, Clock::parse("yesterday")).map(drop)),
    ("chat", "raised", |f| rendered(f, "\n{{ raise_exception('no \u{1b}[2J') }}")),
    ("chat", "render", |f| rendered(f, "{{ messages[0].content + 1 }}")),
    ("chat", "render", |f| rendered(f, "{{ x.y.z }}")),
    ("chat", "render", |f| rendered(f, "{{ 'a'.nope() }}")),
    ("chat", "render", |f| rendered(f, "{% include '/etc/passwd' %}")),
    ("chat", "render", |f| rendered(f, "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}")),
    ("chat", "render", |f| rendered(f, "{{ strftime_now('%Q') }}")),
    ("chat", "render", |f| rendered(f, "{{ 'x' * 200000000 }}")),
    ("chat", "endless", |f| rendered(f, "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")),
    ("chat", "text-too-long", |f| rendered(f, "{% for i in range(90000) %}0123456789abcdef{% endfor %}")),
    ("chat", "text-too-long", |f| rendered(f, "{% set t %}{% for i in range(90000) %}{{ '0123456789abcdef' }}{% endfor %}{% endset %}")),
];
