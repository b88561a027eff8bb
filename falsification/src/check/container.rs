//! The container as such: C1, C2, C4, C5, VALIDATE, LINT and V2. Nothing is computed with the model here.

use std::collections::BTreeSet;

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::block;
use crate::observation::{Answers, Container, Op, Stored};
use crate::verdict::{Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "C1",
        claim: "C1",
        sentence: "the format that the content shows is the format of the column",
        refuted_by: "another format, or none",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: detected,
    },
    Check {
        id: "C2",
        claim: "C2",
        sentence: "the file parses as a version of its format that is in use, each tensor once and of a known type",
        refuted_by: "an error, another version, a tensor or a metadata key twice, a type that no reader knows",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: parsed,
    },
    Check {
        id: "C4",
        claim: "C4",
        sentence: "the artifact is written to its last byte: its files end where their last tensor and its padding end",
        refuted_by: "a file without data, one that is short, or one that goes on",
        per: Per::Cell(|scope| !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: complete,
    },
    Check {
        id: "C5",
        claim: "C5",
        sentence: "each file begins with the magic of its format",
        refuted_by: "other bytes",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: magic,
    },
    Check {
        id: "VALIDATE",
        claim: "VALIDATE",
        sentence: "each tensor lies aligned and alone within its file, as long as its type and shape need, and the checksum is right",
        refuted_by: "an offset that is not aligned, two tensors that overlap, one past the end, a wrong length, a checksum that is wrong or missing",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: validate,
    },
    Check {
        id: "LINT",
        claim: "LINT",
        sentence: "nothing warns about the artifact, it brings its tokenizer, and its names are those that other readers know",
        refuted_by: "a warning, no tokenizer, a name that is foreign to the format, too long, or no plain text",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: lint,
    },
    Check {
        id: "V2",
        claim: "V2",
        sentence: "the metadata have every field that the format asks for, of the right type and with the model's value",
        refuted_by: "a field that is missing, of another type, or of another value",
        per: Per::Cell(|scope| !scope.form.is("safetensors")),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: schema,
    },
];

fn detected(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let (due, found) = (&case.form.format, &container.format);
    if due == found {
        return Ok(Verdict::corroborated(1, format!("content of the format {due}"), "so"));
    }
    Ok(Verdict::falsified(format!("content of the format {due}"), format!("{found:?}")).owned_by(Owner::File))
}

/// The versions of a format that are in use, as files say them.
fn versions(format: &str) -> &'static [&'static str] {
    match format {
        "gguf" => &["2", "3"],
        "apr" => &["2", "2.0"],
        _ => &[""],
    }
}

fn parsed(_: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let expected = "a version in use, each tensor and key once, types that are known";
    let red = |observed: String, tensor: Option<&str>| {
        let place = Place { tensor: tensor.map(str::to_owned), ..Place::default() };
        Ok(Verdict::falsified(expected, observed).at(place).owned_by(Owner::File))
    };
    if !versions(&container.format).contains(&container.version.as_str()) {
        return red(format!("version {:?} of {:?}", container.version, container.format), None);
    }
    let mut seen = BTreeSet::new();
    for stored in &container.tensors {
        if !seen.insert(stored.name.as_str()) {
            return red(format!("tensor {:?} twice", stored.name), Some(&stored.name));
        }
        if block::size(&stored.dtype).is_none() {
            return red(format!("type {:?}", stored.dtype), Some(&stored.name));
        }
    }
    let mut keys = BTreeSet::new();
    if let Some(entry) = container.metadata.iter().find(|entry| !keys.insert(entry.key.as_str())) {
        return red(format!("metadata key {:?} twice", entry.key), None);
    }
    let compared = container.tensors.len() + container.metadata.len();
    let observed = format!("version {:?}, {} tensors, {} keys", container.version, container.tensors.len(), container.metadata.len());
    Ok(Verdict::corroborated(compared, expected, observed))
}

/// Where the tensors of a file end.
fn end_of(container: &Container, file: usize) -> Option<u64> {
    let ends = container.tensors.iter().filter(|stored| stored.file == file).map(|stored| stored.offset.checked_add(stored.bytes));
    ends.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

fn complete(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let mut compared = 0;
    let mut total = 0u64;
    for (i, file) in container.files.iter().enumerate() {
        let expected = format!("{:?} to end with its last tensor, padded to {} bytes", file.name, container.alignment);
        let end = end_of(&container, i).ok_or_else(|| ask::missing("tensors in every file", &format!("none in {:?}", file.name)))?;
        let padded = end.checked_next_multiple_of(container.alignment.max(1)).unwrap_or(end);
        // APR ends in four bytes of checksum.
        let footer = if container.format == "apr" { 4 } else { 0 };
        // Other people's writers may leave out the last padding, which readers allow.
        let ends = [padded.saturating_add(footer), if case.form.given { end } else { padded.saturating_add(footer) }];
        if !ends.contains(&file.bytes) {
            let observed = format!("{} bytes, its last tensor ends at {end}", file.bytes);
            return Ok(Verdict::falsified(expected, observed).owned_by(Owner::File));
        }
        total = total.saturating_add(file.bytes);
        compared += 1;
    }
    let expected = format!("{compared} files, each to its last byte");
    if total != container.n_bytes {
        return Ok(Verdict::falsified(expected, format!("{} bytes in all, {total} in the files", container.n_bytes)).owned_by(Owner::File));
    }
    Ok(Verdict::corroborated(compared, expected, format!("{total} bytes")))
}

/// Whether a file begins as its format asks. Safetensors has no magic: eight bytes of a plausible header length, then an opening brace.
fn has_magic(format: &str, magic: &[u8]) -> bool {
    match format {
        "gguf" => magic.starts_with(b"GGUF"),
        "apr" => magic.starts_with(b"APR\0"),
        "safetensors" => {
            let length = magic.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
            length.is_some_and(|length| (2..=100_000_000).contains(&length)) && magic.get(8) == Some(&b'{')
        }
        _ => false,
    }
}

fn magic(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let format = &case.form.format;
    let expected = format!("every file to begin as {format} does");
    for file in &container.files {
        if !has_magic(format, &file.magic) {
            let shown: Vec<String> = file.magic.iter().take(9).map(|byte| format!("{byte:02x}")).collect();
            let observed = format!("{:?} begins with {}", file.name, shown.join(" "));
            return Ok(Verdict::falsified(expected, observed).owned_by(Owner::File));
        }
    }
    Ok(Verdict::corroborated(container.files.len(), expected, "so"))
}

/// What is wrong with the place of one tensor.
fn misplaced(container: &Container, stored: &Stored) -> Option<String> {
    let due = block::bytes_of(&stored.dtype, &stored.shape);
    if due != Some(stored.bytes) {
        let due = due.map_or_else(|| "no whole number of blocks".to_owned(), |due| format!("{due} bytes"));
        return Some(format!("{} bytes, {} {:?} needs {due}", stored.bytes, stored.dtype, stored.shape));
    }
    let Some(file) = container.files.get(stored.file) else {
        return Some(format!("file {} of {}", stored.file, container.files.len()));
    };
    let align = container.alignment;
    let relative = stored.offset.checked_sub(file.data);
    if relative.is_none_or(|relative| align == 0 || !relative.is_multiple_of(align)) {
        return Some(format!("offset {}, the data begin at {} and are aligned to {align}", stored.offset, file.data));
    }
    if stored.offset.checked_add(stored.bytes).is_none_or(|end| end > file.bytes) {
        return Some(format!("{} bytes at offset {}, the file has {}", stored.bytes, stored.offset, file.bytes));
    }
    None
}

fn validate(_: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let expected =
        format!("{} tensors aligned to {}, apart, in their files; a right checksum", container.tensors.len(), container.alignment);
    let red = |observed: String, tensor: &str| {
        let place = Place { tensor: Some(tensor.to_owned()), ..Place::default() };
        Ok(Verdict::falsified(expected.clone(), observed).at(place).owned_by(Owner::File))
    };
    for stored in &container.tensors {
        if let Some(observed) = misplaced(&container, stored) {
            return red(observed, &stored.name);
        }
    }
    let mut order: Vec<&Stored> = container.tensors.iter().collect();
    order.sort_by_key(|stored| (stored.file, stored.offset, stored.bytes));
    for pair in order.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if before.file == after.file && before.offset.saturating_add(before.bytes) > after.offset {
            return red(format!("it begins at {}, {:?} ends after that", after.offset, before.name), &after.name);
        }
    }
    match (container.format.as_str(), container.checksum) {
        (_, Some(false)) => return red("a checksum that is wrong".to_owned(), ""),
        ("apr", None) => return red("no checksum".to_owned(), ""),
        _ => {}
    }
    Ok(Verdict::corroborated(container.tensors.len(), expected, "so"))
}

/// Longest name of a tensor that every reader of GGUF takes, in bytes: llama.cpp keeps one of 64 for the end.
const MAX_GGUF_NAME: usize = 63;

/// What is wrong with the name of a stored tensor.
fn misnamed(format: &str, stored: &Stored) -> Option<String> {
    let name = &stored.name;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(format!("name {name:?}"));
    }
    if format == "gguf" {
        const ROOTS: [&str; 6] = ["token_embd.", "position_embd.", "blk.", "output_norm.", "output.", "rope_freqs."];
        if name.len() > MAX_GGUF_NAME || !ROOTS.iter().any(|root| name.starts_with(root)) {
            return Some(format!("name {name:?}, which no reader of GGUF looks for"));
        }
    } else if stored.hf_name.as_ref() != Some(name) {
        return Some(format!("name {name:?} where {} is known", ask::quoted(stored.hf_name.as_deref())));
    }
    None
}

fn lint(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let expected = "no warning, a tokenizer, names that readers know";
    if let Some(warning) = container.warnings.first() {
        return Ok(
            Verdict::falsified(expected, format!("{} warnings, the first: {warning}", container.warnings.len())).owned_by(Owner::File)
        );
    }
    if !container.has_tokenizer {
        return Ok(Verdict::falsified(expected, "no tokenizer").owned_by(Owner::Tokenizer));
    }
    for stored in &container.tensors {
        if let Some(observed) = misnamed(&case.form.format, stored) {
            return Ok(Verdict::falsified(expected, observed).at(super::stored::place(&stored.name)).owned_by(Owner::File));
        }
    }
    Ok(Verdict::corroborated(container.tensors.len() + 2, expected, "so"))
}

/// A field that the metadata must have.
struct Field {
    key: String,
    /// Beginnings of the words for its type.
    kinds: &'static [&'static str],
    /// Its value, where that follows from the model.
    value: Option<String>,
}

const WORD: &[&str] = &["str"];
const COUNT: &[&str] = &["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "number"];
const FLOAT: &[&str] = &["f32", "f64", "number"];
const LIST: &[&str] = &["arr"];

fn field(key: impl Into<String>, kinds: &'static [&'static str], value: Option<String>) -> Field {
    Field { key: key.into(), kinds, value }
}

/// What GGUF asks of an artifact of this model: the keys that llama.cpp refuses to load without, and those that say what it is.
fn gguf_fields(case: &Case) -> Vec<Field> {
    let (index, config) = (&case.model.index, &case.model.index.config);
    let arch = &index.architecture;
    let own = |name: &str| format!("{arch}.{name}");
    let size = |value: usize| Some(value.to_string());
    let eps = if arch == "gpt2" { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    let tokens = Some(format!("[{}]", config.vocab_size));
    let mut fields = vec![
        field("general.architecture", WORD, Some(arch.clone())),
        field(own("block_count"), COUNT, size(config.n_layers)),
        field(own("context_length"), COUNT, size(config.n_ctx)),
        field(own("embedding_length"), COUNT, size(config.hidden_size)),
        field(own("feed_forward_length"), COUNT, size(config.intermediate_size)),
        field(own("attention.head_count"), COUNT, size(config.n_heads)),
        field(own(eps), FLOAT, None),
        field("general.file_type", COUNT, None),
        field("tokenizer.ggml.model", WORD, None),
        field("tokenizer.ggml.tokens", LIST, tokens),
    ];
    if case.form.is_quantized() {
        fields.push(field("general.quantization_version", COUNT, Some("2".to_owned())));
    }
    fields
}

/// What APR asks: the canonical keys of its own loader.
fn apr_fields(case: &Case) -> Vec<Field> {
    let (index, config) = (&case.model.index, &case.model.index.config);
    let size = |value: usize| Some(value.to_string());
    vec![
        field("architecture", WORD, Some(index.architecture.clone())),
        field("hidden_size", COUNT, size(config.hidden_size)),
        field("num_layers", COUNT, size(config.n_layers)),
        field("num_heads", COUNT, size(config.n_heads)),
        field("num_kv_heads", COUNT, size(config.n_kv_heads)),
        field("vocab_size", COUNT, size(config.vocab_size)),
        field("intermediate_size", COUNT, size(config.intermediate_size)),
        field("max_position_embeddings", COUNT, size(config.n_ctx)),
        field("param_count", COUNT, None),
    ]
}

fn schema(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let fields = if case.form.is("gguf") { gguf_fields(case) } else { apr_fields(case) };
    let mut reds = Vec::new();
    for field in &fields {
        let due = field.value.as_deref().unwrap_or("a value");
        match container.entry(&field.key) {
            None => reds.push(format!("{} is missing, {due} is due", field.key)),
            Some(entry) if !field.kinds.iter().any(|kind| entry.kind.starts_with(kind)) => {
                reds.push(format!("{} is of the type {:?}", field.key, entry.kind));
            }
            Some(entry) if field.value.as_ref().is_some_and(|value| *value != entry.value) => {
                reds.push(format!("{} is {:?}, {due} is due", field.key, entry.value));
            }
            Some(entry) if entry.value.trim().is_empty() => reds.push(format!("{} is empty", field.key)),
            Some(_) => {}
        }
    }
    let expected = format!("{} fields, each with its type and value", fields.len());
    if reds.is_empty() {
        return Ok(Verdict::corroborated(fields.len(), expected, "so"));
    }
    Ok(Verdict::falsified(expected, reds.join("; ")).owned_by(Owner::Config))
}
