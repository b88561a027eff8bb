//! Chat templates: the text of a conversation, as transformers' `apply_chat_template` writes it.
//!
//! A template is Jinja from a stranger, rendered by minijinja with what transformers adds to Jinja2:
//!
//! | addition | is |
//! |---|---|
//! | whitespace | `trim_blocks`, `lstrip_blocks`, the last line end of the template dropped |
//! | `raise_exception(message)` | ends the rendering: [`ChatError::Raised`] |
//! | `strftime_now(format)` | the time, of the machine (UTC) or of the [`Conversation`] |
//! | `tojson` | as `json.dumps`: nothing escaped for HTML, `indent`, `separators`, `sort_keys`, `ensure_ascii` |
//! | `{% generation %}` | a block that shows what is in it |
//! | `{% break %}`, `{% continue %}` | in loops |
//! | methods of strings, lists and dictionaries | see [`python`] |
//!
//! Messages lose their fields that are `null`, and `reasoning` is there under its three names, as in transformers.
//!
//! Bounded: [`MAX_TEMPLATE_BYTES`], [`MAX_STEPS`], [`MAX_TEXT_BYTES`] written (also into macros and blocks that are kept), [`MAX_RECURSION`].
//! There are no files, no includes, no imports. Not bounded but by the steps is the memory of a template that doubles a string step by step.
//!
//! What Jinja2 takes and this refuses: `%` between a string and values (the filter `format` is there), `{% import %}` and `{% include %}`
//! (which have nothing to load in transformers either), `{% do %}` (which is off there too).

mod clock;
mod conversation;
mod generation;
mod json;
pub mod python;
mod source;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, Value};

pub use clock::Clock;
pub use conversation::Conversation;
pub use source::Templates;

use crate::error::{ChatError, InFile, Result};
pub use crate::tokenizer::MAX_TEXT_BYTES;

/// The longest template that is read. The longest published ones have some tens of KB.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// The most steps that a template takes. A thousand messages under a published template take under a hundred thousand.
pub const MAX_STEPS: u64 = 5_000_000;

/// The deepest that macros call each other.
pub const MAX_RECURSION: usize = 64;

type Checked<T> = std::result::Result<T, ChatError>;

/// A template that parses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    /// As it is given to the reader: line ends are `\n`, and the blocks of `generation` are blocks that it knows.
    source: String,
    file: PathBuf,
}

impl ChatTemplate {
    /// Reads the source of a template; `file` is named in messages.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ground_truth::chat::{ChatTemplate, Conversation};
    ///
    /// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}";
    /// let template = ChatTemplate::new(source, "chat_template.jinja".as_ref())?;
    /// let conversation = Conversation::parse(r#"[{"role": "user", "content": " hi "}]"#, None, "{}")?;
    /// assert_eq!(template.render(&conversation)?, "<user>hi\n");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Chat`](crate::Error::Chat) if it is too long or no Jinja, naming the line.
    pub fn new(source: &str, file: &Path) -> Result<Self> {
        Self::check(source, file).in_file(file)
    }

    fn check(source: &str, file: &Path) -> Checked<Self> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::TemplateTooLong { bytes: source.len(), limit: MAX_TEMPLATE_BYTES });
        }
        let source = generation::as_known_blocks(&source.replace("\r\n", "\n").replace('\r', "\n"));
        environment(Clock::default()).template_from_str(&source).map_err(|error| syntax(&error))?;
        Ok(ChatTemplate { source, file: file.to_owned() })
    }

    /// The text of a conversation.
    ///
    /// # Errors
    ///
    /// [`Error::Chat`](crate::Error::Chat) if the template raises, cannot be carried out, does not end or writes too much; where it has one, with the line.
    pub fn render(&self, conversation: &Conversation) -> Result<String> {
        self.rendered(conversation).in_file(&self.file)
    }

    fn rendered(&self, conversation: &Conversation) -> Checked<String> {
        let environment = environment(conversation.now.unwrap_or_else(Clock::now));
        let template = environment.template_from_str(&self.source).map_err(|error| syntax(&error))?;
        let mut text = Bounded(Vec::new());
        match template.render_captured_to(conversation.context(), &mut text) {
            Ok(_) => {}
            Err(error) => return Err(refusal(&error)),
        }
        String::from_utf8(text.0).map_err(|error| ChatError::Render { line: 0, message: error.to_string() })
    }
}

/// The text, as long as it may be.
struct Bounded(Vec<u8>);

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT_BYTES {
            return Err(io::Error::other(Full));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text is as long as it may be.
#[derive(Debug, thiserror::Error)]
#[error("the text is too long")]
struct Full;

/// The template raised.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn environment<'a>(clock: Clock) -> Environment<'a> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are Jinja's own"));
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(python::method);
    let written = AtomicUsize::new(0);
    environment.set_formatter(move |out, _, value| {
        let text = shown(value);
        if written.fetch_add(text.len(), Ordering::Relaxed).saturating_add(text.len()) > MAX_TEXT_BYTES {
            return Err(minijinja::Error::new(ErrorKind::WriteFailure, "the text is too long").with_source(Full));
        }
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    environment.add_function("raise_exception", |message: &Value| -> std::result::Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(shown(message))))
    });
    environment.add_function("strftime_now", move |format: &str| {
        clock.format(format).map_err(|message| minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_filter("tojson", json::tojson);
    python::add_filters(&mut environment);
    environment
}

/// A value as Python prints it.
fn shown(value: &Value) -> String {
    if value.kind() == ValueKind::Number
        && !value.is_integer()
        && let Ok(float) = f64::try_from(value.clone())
    {
        return json::float(float);
    }
    value.to_string()
}

fn syntax(error: &minijinja::Error) -> ChatError {
    ChatError::Syntax { line: error.line().unwrap_or(0), message: words(error) }
}

/// What ended a rendering.
fn refusal(error: &minijinja::Error) -> ChatError {
    let line = error.line().unwrap_or(0);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<Full>() || io.is_some_and(|error| error.is::<Full>()) {
            return ChatError::TextTooLong { limit: MAX_TEXT_BYTES };
        }
        if let Some(Raised(message)) = error.downcast_ref() {
            return ChatError::Raised { line, message: message.clone() };
        }
        if error.downcast_ref::<minijinja::Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
            return ChatError::Endless { limit: MAX_STEPS };
        }
        cause = error.source();
    }
    ChatError::Render { line, message: words(error) }
}

fn words(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
