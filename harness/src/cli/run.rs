//! `run`: a text, continued greedily.
//!
//! Nothing is printed before all of it is known. Generated text is somebody else's: its control characters are shown as escapes,
//! line ends and tabs apart, into a pipe as on a terminal.

use std::path::Path;

use ground_truth::{Tokenizer, generate};
use serde::Serialize;

use super::open::{Opened, open};
use super::{Exit, Refusal, print, print_json};
use crate::escape;

#[derive(Serialize)]
struct Answer<'a> {
    schema: &'static str,
    model: String,
    prompt: &'a str,
    prompt_ids: &'a [u32],
    ids: &'a [u32],
    text: String,
    stop: &'static str,
}

pub(super) fn run(folder: &Path, prompt: &str, max_new_tokens: usize, json: bool) -> Result<Exit, Refusal> {
    let Opened { model, tokenizer } = open(folder)?;
    let asked = |error: ground_truth::Error| {
        let n_ctx = model.config().n_ctx;
        Refusal::new(format!("failed to generate: {error}"), format!("give a prompt of 1 to {} tokens", n_ctx.saturating_sub(1)))
    };
    let prompt_ids = tokenizer.encode(prompt, true).map_err(asked)?;
    let generated = generate::generate(&model, &prompt_ids, max_new_tokens, true).map_err(asked)?;
    let text = continuation(&tokenizer, &prompt_ids, &generated.ids).map_err(asked)?;
    if json {
        return print_json(&Answer {
            schema: "ground-truth/run/1",
            model: folder.to_string_lossy().into_owned(),
            prompt,
            prompt_ids: &prompt_ids,
            ids: &generated.ids,
            text,
            stop: match generated.stop {
                generate::Stop::Length => "length",
                generate::Stop::Eos => "eos",
            },
        });
    }
    print(&format!("{}{}\n", escape::lines(prompt), escape::lines(&text)));
    Ok(Exit::Green)
}

/// The text of `ids` where they stand: some tokenizers drop the space before a word that begins a text, and none begins here.
fn continuation(tokenizer: &Tokenizer, prompt_ids: &[u32], ids: &[u32]) -> ground_truth::Result<String> {
    let before = tokenizer.decode(prompt_ids)?;
    let whole = tokenizer.decode(&[prompt_ids, ids].concat())?;
    let bytes = match whole.strip_prefix(before.as_slice()) {
        Some(rest) => rest.to_vec(),
        None => tokenizer.decode(ids)?,
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
