//! `convert`: a model from one form to another.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use ground_truth::convert::fs::RealFilesystem;
use ground_truth::convert::{Converted, Request, convert as run};
use ground_truth::format::Format;
use ground_truth::quant::Quantization;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{Exit, Refusal, print, print_json};
use crate::escape;

/// How often a bar is drawn at most.
const DRAW_EVERY: Duration = Duration::from_millis(50);

/// What is wanted, as it was typed.
pub(super) struct Asked<'a> {
    pub(super) source: &'a Path,
    pub(super) destination: &'a Path,
    pub(super) format: Option<&'a str>,
    pub(super) quantization: Option<&'a str>,
    pub(super) shard_size: Option<&'a str>,
}

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    source: String,
    destination: String,
    format: &'static str,
    quantization: &'static str,
    bytes: u64,
    seconds: f64,
    files: Vec<FileLine>,
    tensors: Vec<TensorLine>,
    provenance: std::collections::BTreeMap<String, String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct FileLine {
    name: String,
    bytes: u64,
    sha256: String,
}

#[derive(Serialize)]
struct TensorLine {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
}

pub(super) fn convert(asked: &Asked, json: bool) -> Result<Exit, Refusal> {
    let format = format(asked)?;
    let quantization = asked.quantization.map(|name| quantization(format, name)).transpose()?.flatten();
    let shard_bytes = asked.shard_size.map(size).transpose()?;
    let request = Request { source: asked.source, destination: asked.destination, format, quantization, shard_bytes };
    let begun = Instant::now();
    let bar = bar(json);
    let converted = run(
        &request,
        &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        },
        &RealFilesystem,
    );
    bar.finish_and_clear();
    let converted = converted.map_err(|error| refusal(asked, &error))?;
    let seconds = begun.elapsed().as_secs_f64();
    if json {
        return print_json(&answer(asked, format, converted, seconds));
    }
    let mut text = format!(
        "{}  {} {}  {} tensors, {} bytes in {seconds:.1} s\n",
        escape::line(&asked.destination.to_string_lossy()),
        format.name(),
        converted.quantization.name(),
        converted.tensors.len(),
        converted.bytes,
    );
    for file in &converted.files {
        text += &format!("{}  {} ({} bytes)\n", file.sha256, escape::line(&file.name), file.bytes);
    }
    for note in &converted.notes {
        text += &format!("note: {}\n", escape::line(note));
    }
    print(&text);
    Ok(Exit::Green)
}

fn answer(asked: &Asked, format: Format, converted: Converted, seconds: f64) -> Answer {
    Answer {
        schema: "ground-truth/convert/1",
        source: asked.source.to_string_lossy().into_owned(),
        destination: asked.destination.to_string_lossy().into_owned(),
        format: format.name(),
        quantization: converted.quantization.name(),
        bytes: converted.bytes,
        seconds,
        files: converted.files.into_iter().map(|file| FileLine { name: file.name, bytes: file.bytes, sha256: file.sha256 }).collect(),
        tensors: converted
            .tensors
            .into_iter()
            .map(|tensor| TensorLine { name: tensor.name, dtype: tensor.dtype.name(), shape: tensor.shape })
            .collect(),
        provenance: converted.provenance.into_iter().collect(),
        notes: converted.notes,
    }
}

fn refusal(asked: &Asked, error: &ground_truth::Error) -> Refusal {
    let next = match (error.kind(), error.reason()) {
        ("convert", "cannot-travel") => "add `--quant f32`, which holds every value, or another quantization of the format",
        ("convert", "overflow") => "use `--quant bf16` or `--quant f32`, whose range is that of the values",
        ("convert", "no-such-quantization") => "choose one of the quantizations that are listed",
        ("convert", "io") => "make room or give another destination; what was there is untouched",
        ("convert", _) => "mend what is named and convert again; what was at the destination is untouched",
        _ if asked.source.exists() => "mend the file that is named; a source is a model folder, or a GGUF, APR or safetensors file",
        _ => "give the path of a model folder, or of a GGUF, APR or safetensors file",
    };
    Refusal::new(format!("failed to convert: {error}"), next)
}

/// The format that was named, or that the destination's name ends in.
fn format(asked: &Asked) -> Result<Format, Refusal> {
    let known = Format::ALL.map(Format::name).join(", ");
    let named = match asked.format {
        Some(name) => Format::ALL.into_iter().find(|format| format.name() == name),
        None => {
            let extension = asked.destination.extension().and_then(|extension| extension.to_str());
            [("gguf", Format::Gguf), ("apr", Format::Apr)].into_iter().find(|(end, _)| extension == Some(end)).map(|(_, format)| format)
        }
    };
    named.ok_or_else(|| {
        let message = match asked.format {
            Some(name) => format!("there is no format `{}`", escape::line(name)),
            None => "no format is named, and the destination ends in neither .gguf nor .apr".to_owned(),
        };
        Refusal { message, next: format!("give `--format` one of {known}"), exit: Exit::Usage }
    })
}

/// The quantization of that name; `None` where types are kept.
fn quantization(format: Format, name: &str) -> Result<Option<Quantization>, Refusal> {
    if name == "keep" {
        return Ok(None);
    }
    let known = || Quantization::of(format.name()).iter().map(|quantization| quantization.name()).collect::<Vec<_>>().join(", ");
    match Quantization::parse(format.name(), name) {
        Some(quantization) => Ok(Some(quantization)),
        None => Err(Refusal {
            message: format!("a {} file has no quantization `{}`", format.name(), escape::line(name)),
            next: format!("give `--quant` one of {}, or keep", known()),
            exit: Exit::Usage,
        }),
    }
}

/// A number of bytes: digits, or digits and KB, MB, GB (thousands, as transformers has them) or KiB, MiB, GiB.
fn size(text: &str) -> Result<u64, Refusal> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("", 1)];
    let parse = || {
        let (digits, unit) = units.into_iter().find_map(|(unit, n)| text.strip_suffix(unit).map(|digits| (digits, n)))?;
        digits.parse::<u64>().ok().filter(|n| *n > 0)?.checked_mul(unit)
    };
    parse().ok_or_else(|| Refusal {
        message: format!("`{}` is no size of a shard", escape::line(text)),
        next: "give bytes, or a number with KB, MB, GB, KiB, MiB or GiB, such as `5GB`".to_owned(),
        exit: Exit::Usage,
    })
}

/// A bar on a terminal; nothing where nobody watches.
fn bar(json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        let read = |text: &str| size(text).ok();
        assert_eq!(read("1024"), Some(1024));
        assert_eq!(read("5GB"), Some(5_000_000_000));
        assert_eq!(read("2MiB"), Some(2 << 20));
        for wrong in ["", "0", "GB", "-1", "5 GB", "5TB", "1e9", "99999999999GB"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
