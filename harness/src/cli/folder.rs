//! `inspect` and `tensors`: what a model, a folder or a file, says it is and holds.

use std::fmt::Write as _;
use std::path::Path;

use ground_truth::{Checkpoint, Config, RopeScaling};
use serde::Serialize;

use super::container::{self, Container, Entry, Place};
use super::{Exit, Refusal, no_model, print, print_json};
use crate::escape;
use crate::list::most_common_dtype;
use crate::report::short;
use crate::runtime::native::tensor_rows;

/// Every field is present; what a model does not have is null.
#[derive(Serialize)]
struct Inspected {
    schema: &'static str,
    path: String,
    container: Container,
    dtype: Option<String>,
    parameters: u64,
    tensors: usize,
    tokenizer: bool,
    #[serde(flatten)]
    config: Facts,
    notes: Vec<String>,
}

/// What the configuration comes to.
#[derive(Serialize)]
struct Facts {
    architecture: &'static str,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    hidden_size: usize,
    intermediate_size: usize,
    vocab_size: usize,
    n_ctx: usize,
    norm_eps: f64,
    activation: String,
    tie_word_embeddings: bool,
    attention_bias: bool,
    mlp_bias: bool,
    rope_theta: Option<f64>,
    rope_scaling: Option<&'static str>,
    windows: Vec<Option<usize>>,
    bos: Option<u32>,
    eos: Vec<u32>,
}

fn facts_of(config: &Config) -> Facts {
    Facts {
        architecture: config.architecture.name(),
        n_layers: config.n_layers,
        n_heads: config.n_heads,
        n_kv_heads: config.n_kv_heads,
        head_dim: config.head_dim,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        vocab_size: config.vocab_size,
        n_ctx: config.n_ctx,
        norm_eps: config.norm_eps,
        activation: format!("{:?}", config.activation),
        tie_word_embeddings: config.tie_word_embeddings,
        attention_bias: config.attention_bias,
        mlp_bias: config.mlp_bias,
        rope_theta: config.rope.map(|rope| rope.theta),
        rope_scaling: config.rope.map(|rope| scaling(rope.scaling)),
        windows: config.windows.clone(),
        bos: config.bos,
        eos: config.eos.clone(),
    }
}

/// The same as JSON, field by field.
pub(super) fn facts(config: &Config) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(facts_of(config)) {
        Ok(serde_json::Value::Object(facts)) => facts,
        _ => serde_json::Map::new(),
    }
}

pub(super) fn inspect(folder: &Path, json: bool) -> Result<Exit, Refusal> {
    let checkpoint = Checkpoint::open(folder).map_err(|error| no_model(folder, &error))?;
    let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file())
        .map_err(|error| no_model(folder, &error))?;
    let inspected = Inspected {
        schema: "ground-truth/inspect/1",
        path: folder.to_string_lossy().into_owned(),
        container: container::read(folder, &checkpoint)?,
        dtype: most_common_dtype(&checkpoint),
        parameters: checkpoint.tensors.iter().map(|(_, tensor)| tensor.n_elements() as u64).sum(),
        tensors: checkpoint.tensors.len(),
        tokenizer: checkpoint.tokenizer.is_some(),
        config: facts_of(&config),
        notes: config.notes,
    };
    if json {
        return print_json(&inspected);
    }
    print(&as_lines(&inspected)?);
    Ok(Exit::Green)
}

fn scaling(scaling: RopeScaling) -> &'static str {
    match scaling {
        RopeScaling::Default => "default",
        RopeScaling::Linear { .. } => "linear",
        RopeScaling::Llama3 { .. } => "llama3",
        RopeScaling::Yarn { .. } => "yarn",
    }
}

/// One field a line, in the order of the JSON, so that the two cannot tell different stories.
fn as_lines(inspected: &Inspected) -> Result<String, Refusal> {
    let bug = |error| Refusal::new(format!("failed to list the fields: {error}"), "report this as a bug of ground-truth");
    let value = serde_json::to_value(inspected).map_err(bug)?;
    let mut text = String::new();
    for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| !matches!(name.as_str(), "schema" | "container")) {
        let shown = match value {
            serde_json::Value::Null => "none".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let _ = writeln!(text, "{name:<20} {}", escape::line(&shown));
    }
    let Container { format, version, alignment, bytes, crc32, metadata } = &inspected.container;
    let version = version.as_ref().map_or(String::new(), |version| format!(" {version}"));
    let crc32 = crc32.as_ref().map_or(String::new(), |crc32| format!(", crc32 {crc32}"));
    let _ = writeln!(text, "{:<20} {format}{}, {bytes} bytes, alignment {alignment}{}", "container", escape::line(&version), crc32);
    for Entry { key, kind, value } in metadata {
        let _ = writeln!(text, "  {}  {}  {}", escape::line(key), escape::line(kind), escape::line(value));
    }
    Ok(text)
}

#[derive(Serialize)]
struct TensorLine {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    rms: Option<f64>,
    mean: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    n_nonfinite: u64,
    #[serde(flatten)]
    place: Option<Place>,
}

#[derive(Serialize)]
struct TensorList {
    schema: &'static str,
    path: String,
    tensors: Vec<TensorLine>,
}

pub(super) fn tensors(folder: &Path, json: bool) -> Result<Exit, Refusal> {
    let checkpoint = Checkpoint::open(folder).map_err(|error| no_model(folder, &error))?;
    let rows = tensor_rows(&checkpoint);
    let mut places = container::places(folder, &checkpoint)?;
    if json {
        // A tensor without a finite element has no statistics: null, where NaN would be no JSON.
        let finite = |value: f64| value.is_finite().then_some(value);
        let mut line = |row: crate::runtime::TensorRow| TensorLine {
            place: places.remove(&row.name),
            name: row.name,
            dtype: row.dtype,
            shape: row.shape,
            rms: finite(row.rms),
            mean: finite(row.mean),
            min: finite(row.min),
            max: finite(row.max),
            n_nonfinite: row.n_nonfinite,
        };
        return print_json(&TensorList {
            schema: "ground-truth/tensors/1",
            path: folder.to_string_lossy().into_owned(),
            tensors: rows.into_iter().map(&mut line).collect(),
        });
    }
    let width = rows.iter().map(|row| escape::line(&row.name).chars().count()).max().unwrap_or(0);
    let mut text = format!(
        "{:<width$}  dtype  {:<16} {:>10} {:>10} {:>10} {:>10}  non-finite  stored as\n",
        "tensor", "shape", "rms", "mean", "min", "max"
    );
    for row in &rows {
        let shape = format!("{:?}", row.shape);
        let [rms, mean, min, max] = [row.rms, row.mean, row.min, row.max].map(short);
        let (name, dtype) = (escape::line(&row.name), escape::line(&row.dtype));
        let _ = writeln!(text, "{name:<width$}  {dtype:<5}  {shape:<16} {rms:>10} {mean:>10} {min:>10} {max:>10}  {:>10}", row.n_nonfinite);
        text.pop();
        text.push_str(&places.get(&row.name).map_or_else(String::new, |place| stored(place, &row.name)));
        text.push('\n');
    }
    print(&text);
    Ok(Exit::Green)
}

/// Where a tensor lies: its own name there where that is another one, its order, its place.
fn stored(place: &Place, name: &str) -> String {
    let stored_name = if place.stored_name == name { String::new() } else { format!("{} ", escape::line(&place.stored_name)) };
    let file = place.file.as_deref().map_or_else(|| "memory".to_owned(), escape::line);
    let offset = place.offset.map_or_else(String::new, |offset| format!(" at {offset}"));
    format!("  {stored_name}{} {:?}, {} bytes of {file}{offset}", place.order, place.stored_shape, place.bytes)
}
