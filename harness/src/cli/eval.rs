//! `eval`: how surprised a model is by a text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ground_truth::evaluate;
use serde::Serialize;

use super::open::{Opened, open};
use super::{Exit, Refusal, print, print_json};
use crate::escape;

/// The largest text that is read: a thousand times that of the usual benchmarks.
const MAX_TEXT_BYTES: u64 = 1 << 30;

/// The window where none is given, if the context is longer: what it costs grows with its square.
const USUAL_WINDOW: usize = 1024;

#[derive(Serialize)]
struct Evaluated {
    schema: &'static str,
    model: String,
    text: String,
    window: usize,
    stride: usize,
    tokens: usize,
    sum_nll: f64,
    mean_nll: f64,
    perplexity: f64,
}

/// What is scored, and how.
pub(super) struct Asked<'a> {
    pub(super) model: &'a Path,
    pub(super) text: &'a Path,
    pub(super) window: Option<usize>,
    pub(super) stride: Option<usize>,
    pub(super) max_tokens: Option<usize>,
}

pub(super) fn eval(asked: &Asked, json: bool) -> Result<Exit, Refusal> {
    let text = read(asked.text)?;
    let Opened { model, tokenizer } = open(asked.model)?;
    let window = asked.window.unwrap_or(model.config().n_ctx.min(USUAL_WINDOW));
    let stride = asked.stride.unwrap_or((window / 2).max(1));
    let refused = |error: ground_truth::Error| {
        let n_ctx = model.config().n_ctx;
        Refusal::new(
            format!("failed to evaluate: {error}"),
            format!("give a text of at least two tokens, a window of 2 to {n_ctx}, and a stride below it"),
        )
    };
    let mut ids = tokenizer.encode(&text, true).map_err(refused)?;
    if let Some(most) = asked.max_tokens {
        ids.truncate(most.saturating_add(1));
    }
    let nll = evaluate::summed_nll(&model, &ids, window, stride).map_err(refused)?;
    let evaluated = Evaluated {
        schema: "ground-truth/eval/1",
        model: asked.model.to_string_lossy().into_owned(),
        text: asked.text.to_string_lossy().into_owned(),
        window,
        stride,
        tokens: nll.tokens,
        sum_nll: nll.sum,
        mean_nll: nll.sum / nll.tokens as f64,
        perplexity: nll.perplexity(),
    };
    if json {
        return print_json(&evaluated);
    }
    let Evaluated { tokens, sum_nll, mean_nll, perplexity, .. } = evaluated;
    print(&format!(
        "perplexity {perplexity:.6}  ({mean_nll:.6} nats a token, {sum_nll:.3} over {tokens} tokens; window {window}, stride {stride})\n"
    ));
    Ok(Exit::Green)
}

fn read(path: &Path) -> Result<String, Refusal> {
    let refusal = |why: String| {
        let shown = escape::line(&path.to_string_lossy());
        Refusal::new(
            format!("failed to read the text: {shown}: {why}"),
            format!("give a UTF-8 text file of at most {MAX_TEXT_BYTES} bytes"),
        )
    };
    // Opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(|error| refusal(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refusal("is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| refusal(error.to_string()))?;
    file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| refusal(error.to_string()))?;
    if bytes.len() as u64 > MAX_TEXT_BYTES {
        return Err(refusal(format!("has more than {MAX_TEXT_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| refusal(format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to())))
}
