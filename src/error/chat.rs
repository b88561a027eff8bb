//! Chat templates, and conversations that cannot be rendered under them.

use super::{JsonError, reasons};
use crate::Escaped;

/// Why there is no text for a conversation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The model carries no template.
    #[error(
        "no chat template: neither chat_template.jinja, chat_templates/, `chat_template` in tokenizer_config.json nor `tokenizer.chat_template`"
    )]
    NoTemplate,
    /// The model carries templates, none of them of that name.
    #[error("no chat template is called `{}`; there are {}", Escaped(.name), Escaped(.names))]
    NoSuchTemplate {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        names: String,
    },
    /// A field that should hold a template holds something else.
    #[error("`{}` is {found}, {due} is due", Escaped(.field))]
    Field {
        /// The field.
        field: String,
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        due: &'static str,
    },
    /// The template is longer than any is.
    #[error("the template has {bytes} bytes, the limit is {limit}")]
    TemplateTooLong {
        /// Its size in bytes.
        bytes: usize,
        /// The most that are read.
        limit: usize,
    },
    /// The template is no Jinja.
    #[error("line {line} of the template: {}", Escaped(.message))]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The messages, the tools or the variables are no JSON.
    #[error("{what}: {source}")]
    Json {
        /// `messages`, `tools` or `variables`.
        what: &'static str,
        /// Why.
        source: JsonError,
    },
    /// The messages, the tools or the variables are JSON of another shape.
    #[error("{what}: {found}, {due} is due")]
    Shape {
        /// `messages`, `messages[2]`, `tools`, ...
        what: String,
        /// What is there.
        found: &'static str,
        /// What should be there.
        due: &'static str,
    },
    /// The time that `strftime_now` is to tell is none.
    #[error("the time `{}` is not of the form 2026-07-05T09:08:07", Escaped(.text))]
    Clock {
        /// What was given.
        text: String,
    },
    /// The template called `raise_exception`.
    #[error("line {line} of the template raises: {}", Escaped(.message))]
    Raised {
        /// The line, from 1; 0 where it is not known.
        line: usize,
        /// What it says.
        message: String,
    },
    /// The template does what cannot be done: a value that is not there, a type that does not fit, a method that nothing has.
    #[error("line {line} of the template: {}", Escaped(.message))]
    Render {
        /// The line, from 1; 0 where it is not known.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template does not come to an end within the steps that any template needs.
    #[error("the template takes more than {limit} steps")]
    Endless {
        /// The most steps that are taken.
        limit: u64,
    },
    /// The text is longer than any that can be encoded.
    #[error("the text is longer than {limit} bytes")]
    TextTooLong {
        /// The most bytes that are written.
        limit: usize,
    },
}

reasons! {
    ChatError {
        NoTemplate => "no-template",
        NoSuchTemplate => "no-such-template",
        Field => "field",
        TemplateTooLong => "template-too-long",
        Syntax => "syntax",
        Json => "json",
        Shape => "shape",
        Clock => "clock",
        Raised => "raised",
        Render => "render",
        Endless => "endless",
        TextTooLong => "text-too-long",
    }
}
