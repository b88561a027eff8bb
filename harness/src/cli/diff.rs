//! `diff`: two artifacts of one model.
//!
//! | what | counts as a difference |
//! |---|---|
//! | a field of the configuration | yes |
//! | a tensor that one of them lacks, another shape | yes |
//! | a value of a tensor, both widened to f32 | yes |
//! | the container, the type of a tensor, the order of its bytes, the text of the tokenizer | no, it is shown: it is the form that differs |
//!
//! Tensors are paired by their Hugging Face names and compared in the order of their shape, whatever lies where in the files. Where the values
//! do not agree, they are held against those of the transposed matrix too: a layout that was mistaken shows itself there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use ground_truth::{Architecture, Checkpoint, Config, Tensor};
use serde::Serialize;

use super::container::order;
use super::folder::facts;
use super::{Exit, Refusal, no_model, print, print_json};
use crate::escape;
use crate::report::short;

#[derive(Serialize)]
struct Diff {
    schema: &'static str,
    a: String,
    b: String,
    /// Whether nothing counts as a difference.
    equal: bool,
    config: Vec<Field>,
    tokenizer: &'static str,
    tensors: Vec<Pair>,
}

#[derive(Serialize)]
struct Field {
    name: String,
    a: serde_json::Value,
    b: serde_json::Value,
}

/// Every field is present; what cannot be said is null.
#[derive(Serialize)]
struct Pair {
    name: String,
    /// `equal`, `values`, `transposed`, `shape`, `only-a` or `only-b`.
    verdict: &'static str,
    dtype: [Option<String>; 2],
    shape: [Option<Vec<usize>>; 2],
    order: [Option<String>; 2],
    statistics: Option<Statistics>,
}

/// How the values differ; the first file's are the reference.
#[derive(Serialize)]
struct Statistics {
    n: usize,
    /// Values whose bits differ.
    n_different: usize,
    /// sqrt(sum (b - a)^2 / sum a^2); null if all of a is 0 and not all of b, or if a value is not finite.
    relative_rms: Option<f64>,
    max_abs: Option<f64>,
    /// The part of the values, neither of them 0, that have the same sign.
    sign_agreement: Option<f64>,
    /// The bytes are equal too.
    same_bytes: bool,
}

pub(super) fn diff(a: &Path, b: &Path, json: bool) -> Result<Exit, Refusal> {
    let read = |path: &Path| -> Result<(Checkpoint, Config), Refusal> {
        let checkpoint = Checkpoint::open(path).map_err(|error| no_model(path, &error))?;
        let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file());
        Ok((checkpoint, config.map_err(|error| no_model(path, &error))?))
    };
    let (of_a, of_b) = (read(a)?, read(b)?);
    let config = fields(facts(&of_a.1), facts(&of_b.1));
    let tokenizer = match (&of_a.0.tokenizer, &of_b.0.tokenizer) {
        (None, None) => "none",
        (Some(a), Some(b)) if a == b => "same",
        (Some(_), Some(_)) => "other-text",
        (Some(_), None) => "only-a",
        (None, Some(_)) => "only-b",
    };
    let tensors = pairs(&of_a, &of_b);
    let equal = config.is_empty() && tensors.iter().all(|pair| pair.verdict == "equal");
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let diff = Diff { schema: "ground-truth/diff/1", a: shown(a), b: shown(b), equal, config, tokenizer, tensors };
    if json {
        print_json(&diff)?;
    } else {
        print(&text(&diff));
    }
    Ok(if equal { Exit::Green } else { Exit::Red })
}

/// The fields that are not equal.
fn fields(a: serde_json::Map<String, serde_json::Value>, b: serde_json::Map<String, serde_json::Value>) -> Vec<Field> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let of = |map: &serde_json::Map<String, serde_json::Value>, name: &str| map.get(name).cloned().unwrap_or_default();
    let field = |name: &String| Field { name: name.clone(), a: of(&a, name), b: of(&b, name) };
    names.into_iter().map(field).filter(|field| field.a != field.b).collect()
}

/// The tensors by their full names. A head that is tied to the embedding is the embedding.
fn tensors((checkpoint, config): &(Checkpoint, Config)) -> std::collections::BTreeMap<String, &Tensor> {
    let prefix = if config.architecture == Architecture::Gpt2 { "transformer." } else { "model." };
    let full = |name: &str| if name.starts_with(prefix) || name == "lm_head.weight" { name.to_owned() } else { format!("{prefix}{name}") };
    let mut tensors: std::collections::BTreeMap<_, _> = checkpoint.tensors.iter().map(|(name, tensor)| (full(name), tensor)).collect();
    if config.tie_word_embeddings && tensors.len() > 1 {
        tensors.remove("lm_head.weight");
    }
    let is_buffer =
        |name: &str| name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") || name.ends_with(".rotary_emb.inv_freq");
    tensors.retain(|name, _| !is_buffer(name));
    tensors
}

fn pairs(a: &(Checkpoint, Config), b: &(Checkpoint, Config)) -> Vec<Pair> {
    let (a, b) = (tensors(a), tensors(b));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().map(|name| pair(name, a.get(name).copied(), b.get(name).copied())).collect()
}

fn pair(name: &str, a: Option<&Tensor>, b: Option<&Tensor>) -> Pair {
    let (verdict, statistics) = match (a, b) {
        (Some(a), Some(b)) if a.shape() == b.shape() => compare(a, b),
        (Some(_), Some(_)) => ("shape", None),
        (Some(_), None) => ("only-a", None),
        (None, _) => ("only-b", None),
    };
    Pair {
        name: name.to_owned(),
        verdict,
        dtype: [a, b].map(|tensor| tensor.map(|tensor| tensor.dtype().to_string())),
        shape: [a, b].map(|tensor| tensor.map(|tensor| tensor.shape().to_vec())),
        order: [a, b].map(|tensor| tensor.map(order)),
        statistics,
    }
}

/// The statistics of two tensors of one shape.
fn compare(a: &Tensor, b: &Tensor) -> (&'static str, Option<Statistics>) {
    let same_bytes = a.dtype() == b.dtype() && a.order() == b.order() && a.bytes() == b.bytes();
    let (x, y) = (a.to_f32(), b.to_f32());
    let n = x.len().min(y.len());
    let relative_rms = relative_rms(&x, &y, |i| i);
    let n_different = (0..n).filter(|i| x[*i].to_bits() != y[*i].to_bits()).count();
    let max = (0..n)
        .map(|i| (f64::from(x[i]) - f64::from(y[i])).abs())
        .try_fold(0f64, |max, v| v.is_finite().then_some(if v > max { v } else { max }));
    let signed: Vec<usize> = (0..n).filter(|i| x[*i] != 0.0 && y[*i] != 0.0).collect();
    let agreeing = signed.iter().filter(|i| x[**i].is_sign_negative() == y[**i].is_sign_negative()).count();
    let sign_agreement = (!signed.is_empty()).then(|| agreeing as f64 / signed.len() as f64);
    let statistics = Statistics { n, n_different, relative_rms, max_abs: max, sign_agreement, same_bytes };
    if n_different == 0 {
        return ("equal", Some(statistics));
    }
    // Far from equal, and much nearer to the other layout of the same bytes.
    let is_transposed = matches!(a.shape(), [_, _])
        && relative_rms.is_some_and(|distance| {
            let (rows, columns) = (a.shape()[0], a.shape()[1]);
            let turned = self::relative_rms(&x, &y, |i| i % columns * rows + i / columns);
            distance > 0.5 && turned.is_some_and(|turned| turned < distance / 4.0)
        });
    (if is_transposed { "transposed" } else { "values" }, Some(statistics))
}

/// The distance of `y`, its elements taken in another order, from `x`, relative to `x`.
fn relative_rms(x: &[f32], y: &[f32], place: impl Fn(usize) -> usize) -> Option<f64> {
    let (mut error, mut energy) = (0f64, 0f64);
    for (i, v) in x.iter().enumerate() {
        let v = f64::from(*v);
        let d = f64::from(*y.get(place(i))?) - v;
        error += d * d;
        energy += v * v;
    }
    let distance = if error == 0.0 { 0.0 } else { (error / energy).sqrt() };
    distance.is_finite().then_some(distance)
}

fn text(diff: &Diff) -> String {
    let mut text = String::new();
    for field in &diff.config {
        let shown = |value: &serde_json::Value| escape::line(&value.to_string());
        let _ = writeln!(text, "config {:<22} {} | {}", escape::line(&field.name), shown(&field.a), shown(&field.b));
    }
    if !matches!(diff.tokenizer, "same" | "none") {
        let _ = writeln!(text, "tokenizer {}", diff.tokenizer);
    }
    let width = diff.tensors.iter().map(|pair| escape::line(&pair.name).chars().count()).max().unwrap_or(0);
    for pair in &diff.tensors {
        let [a, b] = &pair.dtype;
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
        let _ = write!(text, "{:<width$}  {:<10} {:>7} | {:<7}", escape::line(&pair.name), pair.verdict, word(a), word(b));
        if let Some(statistics) = &pair.statistics {
            let number = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), short);
            let _ = write!(
                text,
                " rms {}  max {}  signs {}  different {} of {}",
                number(statistics.relative_rms),
                number(statistics.max_abs),
                number(statistics.sign_agreement),
                statistics.n_different,
                statistics.n
            );
        }
        if let [Some(a), Some(b)] = &pair.shape
            && a != b
        {
            let _ = write!(text, " shape {a:?} | {b:?}");
        }
        text.push('\n');
    }
    let n = diff.tensors.iter().filter(|pair| pair.verdict != "equal").count();
    let verdict = if diff.equal { "equal" } else { "different" };
    let _ = writeln!(text, "{verdict}: {} fields, {n} of {} tensors differ", diff.config.len(), diff.tensors.len());
    text
}

#[cfg(test)]
mod tests {
    use ground_truth::Dtype;

    use super::*;

    fn matrix(values: &[f32]) -> Tensor {
        Tensor::from_f32(Dtype::F32, vec![2, values.len() / 2], values).expect("a tensor")
    }

    fn compared(a: &[f32], b: &[f32]) -> (&'static str, Statistics) {
        let (verdict, statistics) = compare(&matrix(a), &matrix(b));
        (verdict, statistics.expect("statistics of tensors of one shape"))
    }

    /// The names of another tool: no prefix, a copy of the tied head, and what is no weight.
    #[test]
    fn tensors_go_by_their_full_names() {
        let model = |name: &str| {
            let folder = crate::workspace::Workspace::from_env().root().join("testdata/models").join(name);
            let checkpoint = Checkpoint::open(&folder).expect("a carried model");
            let config = Config::parse(&checkpoint.config, None, &checkpoint.config_file()).expect("its configuration");
            (checkpoint, config)
        };
        for (name, prefix) in [("qwen2-tiny", "model."), ("gpt2-tiny", "transformer.")] {
            let ((published, _), mut bare, mut full) = (model(name), model(name), model(name));
            assert!(bare.1.tie_word_embeddings, "{name}");
            bare.0.tensors = ground_truth::Tensors::default();
            full.0.tensors = ground_truth::Tensors::default();
            for (stored, tensor) in &published.tensors {
                let short = stored.strip_prefix(prefix).unwrap_or(stored).to_owned();
                if short == "wte.weight" || short == "embed_tokens.weight" {
                    full.0.tensors.insert("lm_head.weight", tensor.clone());
                }
                for buffer in ["h.0.attn.bias", "h.0.attn.masked_bias", "layers.0.self_attn.rotary_emb.inv_freq"] {
                    bare.0.tensors.insert(buffer, tensor.clone());
                }
                full.0.tensors.insert(format!("{prefix}{short}"), tensor.clone());
                bare.0.tensors.insert(short, tensor.clone());
            }
            let names = |of: &(Checkpoint, Config)| tensors(of).into_keys().collect::<Vec<_>>();
            assert!(names(&full).iter().all(|name| name.starts_with(prefix)), "{:?}", names(&full));
            assert_eq!(names(&bare), names(&full), "{name}");
        }
    }

    #[test]
    fn two_tensors_differ_by_what_their_elements_say() {
        let a = [1.0, -2.0, 3.0, 0.0, 5.0, -6.0];
        let (verdict, same) = compared(&a, &a);
        assert_eq!((verdict, same.n, same.n_different, same.max_abs, same.sign_agreement), ("equal", 6, 0, Some(0.0), Some(1.0)));
        assert!(same.same_bytes);
        let (verdict, other) = compared(&a, &[1.0, -2.5, 3.0, 4.0, -5.0, -6.0]);
        assert_eq!((verdict, other.n_different, other.max_abs, other.sign_agreement), ("values", 3, Some(10.0), Some(0.8)));
        assert!(!other.same_bytes);
        // The other layout of the same numbers, and zeros of both signs, which are other bits and no other sign.
        assert_eq!(compared(&a, &[1.0, 0.0, -2.0, 5.0, 3.0, -6.0]).0, "transposed");
        let (verdict, zero) = compared(&[0.0; 4], &[-0.0, 0.0, 0.0, 0.0]);
        assert_eq!((verdict, zero.n_different, zero.max_abs, zero.sign_agreement), ("values", 1, Some(0.0), None));
        assert_eq!(compared(&a, &[f32::NAN; 6]).1.max_abs, None);
    }

    #[test]
    fn what_one_file_lacks_or_has_in_another_shape_has_no_statistics() {
        let (a, wide) = (matrix(&[1.0, 2.0, 3.0, 4.0]), matrix(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let told = |pair: Pair| (pair.verdict, pair.statistics.is_some(), pair.dtype.map(|word| word.is_some()));
        assert_eq!(told(pair("x", Some(&a), Some(&a))), ("equal", true, [true, true]));
        assert_eq!(told(pair("x", Some(&a), Some(&wide))), ("shape", false, [true, true]));
        assert_eq!(told(pair("x", Some(&a), None)), ("only-a", false, [true, false]));
        assert_eq!(told(pair("x", None, Some(&a))), ("only-b", false, [false, true]));
    }

    #[test]
    fn a_difference_is_told_line_by_line() {
        let (a, b) = (matrix(&[1.0, 2.0, 3.0, 4.0]), matrix(&[1.0, 2.0, 3.0, -4.0]));
        let wide = matrix(&[0.0; 6]);
        let tensors = vec![
            pair("same", Some(&a), Some(&a)),
            pair("other.weight", Some(&a), Some(&b)),
            pair("wide", Some(&a), Some(&wide)),
            pair("gone", Some(&a), None),
        ];
        let config = vec![Field { name: "n_layers".to_owned(), a: 2.into(), b: serde_json::Value::Null }];
        let diff =
            |equal, tokenizer, config, tensors| Diff { schema: "s", a: "a".into(), b: "b".into(), equal, config, tokenizer, tensors };
        let due = "config n_layers               2 | null\n\
            tokenizer other-text\n\
            same          equal          F32 | F32     rms 0  max 0  signs 1  different 0 of 4\n\
            other.weight  values         F32 | F32     rms 1.4606  max 8  signs 0.7500  different 1 of 4\n\
            wide          shape          F32 | F32     shape [2, 2] | [2, 3]\n\
            gone          only-a         F32 | -      \n\
            different: 1 fields, 3 of 4 tensors differ\n";
        assert_eq!(text(&diff(false, "other-text", config, tensors)), due);
        let same = text(&diff(true, "same", Vec::new(), vec![pair("same", Some(&a), Some(&a))]));
        assert!(same.ends_with("equal: 0 fields, 0 of 1 tensors differ\n") && !same.contains("tokenizer"), "{same}");
    }
}
