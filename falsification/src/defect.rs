//! Records of defects: named faults with the checks that must turn red on each, and those that must stay green.
//!
//! A record is data; the function that makes the fault lives in the harness and is joined to it by id. This module reads the records and
//! refuses one that says nothing.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::check;
use crate::form::Form;

/// The records of this build, as committed in `falsification/defects.toml`.
pub const DEFECTS_TOML: &str = include_str!("../defects.toml");

/// What every check does to every defect, as committed in `falsification/outcomes.toml`.
pub const OUTCOMES_TOML: &str = include_str!("../outcomes.toml");

/// Where each defect shows and by how much, as committed in `falsification/signatures.toml`.
pub const SIGNATURES_TOML: &str = include_str!("../signatures.toml");

/// Architectures that a record may name.
pub const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "gpt2"];

/// Errors that may count as kills: what a runtime does that ends a session.
const FATAL: [&str; 3] = ["timeout", "crash", "protocol"];

/// Shortest description that says something, in bytes.
const MIN_WHAT: usize = 16;

/// What a defect changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Config, tensors or tokenizer of a loaded model, while the golden stays.
    Artifact,
    /// A runtime's behaviour.
    Runtime,
    /// Bytes of a file.
    File,
}

impl Kind {
    /// The word of the records.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Artifact => "artifact",
            Kind::Runtime => "runtime",
            Kind::File => "file",
        }
    }
}

/// One defect.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defect {
    /// Its id, `qk-rows-permuted`: lowercase words joined by hyphens.
    pub id: String,
    /// What it changes.
    pub kind: Kind,
    /// What is wrong, in a sentence.
    pub what: String,
    /// Where it was seen: a public issue, a CVE, or `invented`.
    pub seen_in: String,
    /// Strengths at which it is tried, weakest first; empty where it has none.
    #[serde(default)]
    pub strengths: Vec<f64>,
    /// Architectures to which it applies; empty means all.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// Columns in which it is tried, `gguf q4_0`; empty means the model as published.
    #[serde(default)]
    pub forms: Vec<String>,
    /// Ids of the checks that must turn red.
    #[serde(default)]
    pub kills: Vec<String>,
    /// Ids of the checks that must stay green.
    #[serde(default)]
    pub spares: Vec<String>,
    /// The kind of refusal with which the engine must refuse to load what this defect made. Nothing else is then tried.
    #[serde(default)]
    pub refused: Option<String>,
    /// The kinds of error that count as a kill of this defect: a runtime that hangs, crashes or breaks the protocol is found so.
    #[serde(default)]
    pub errors: Vec<String>,
}

impl Defect {
    /// Whether it can be put into a model of this architecture.
    pub fn applies_to(&self, architecture: &str) -> bool {
        self.architectures.is_empty() || self.architectures.iter().any(|name| name == architecture)
    }

    /// Whether it is tried in this column.
    pub fn is_for(&self, form: &Form) -> bool {
        if form.primary { self.forms.is_empty() } else { self.forms.contains(&form.to_string()) }
    }
}

/// Why the records cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DefectError {
    /// The file is not TOML of this form.
    #[error("`defects.toml`: {0}")]
    Toml(String),
    /// A field says nothing, or contradicts another.
    #[error("`defects.toml`, defect `{id}`, field `{field}`: {reason}")]
    Field {
        /// Id of the defect.
        id: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defect: Vec<Defect>,
}

/// Reads records, one `[[defect]]` table each, and lints them.
///
/// # Errors
///
/// [`DefectError`] naming the defect and the field: no defect at all, an id used twice, a check or an architecture that does not exist, a
/// check that is both killed and spared, a defect that nothing is meant to kill, strengths that do not ascend.
pub fn parse(text: &str) -> Result<Vec<Defect>, DefectError> {
    let file: File = toml::from_str(text).map_err(|error| DefectError::Toml(error.to_string()))?;
    if file.defect.is_empty() {
        return Err(DefectError::Toml("holds no defects".to_owned()));
    }
    let mut seen = BTreeSet::new();
    for defect in &file.defect {
        lint(defect)?;
        if !seen.insert(defect.id.as_str()) {
            return Err(wrong(defect, "id", "is used twice"));
        }
    }
    Ok(file.defect)
}

fn wrong(defect: &Defect, field: &'static str, reason: impl Into<String>) -> DefectError {
    DefectError::Field { id: defect.id.clone(), field, reason: reason.into() }
}

fn lint(defect: &Defect) -> Result<(), DefectError> {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !defect.id.split('-').all(word) {
        return Err(wrong(defect, "id", "must be lowercase words and digits, joined by hyphens"));
    }
    if defect.what.len() < MIN_WHAT {
        return Err(wrong(defect, "what", format!("has {} bytes, a description has at least {MIN_WHAT}", defect.what.len())));
    }
    if defect.seen_in.trim().is_empty() {
        return Err(wrong(defect, "seen_in", "is empty; name the issue, or say `invented`"));
    }
    if let Some(name) = defect.architectures.iter().find(|name| !ARCHITECTURES.contains(&name.as_str())) {
        return Err(wrong(defect, "architectures", format!("`{name}` is none of {}", ARCHITECTURES.join(", "))));
    }
    if defect.kind == Kind::File && defect.forms.is_empty() {
        return Err(wrong(defect, "forms", "is empty: a defect of a file is tried in the columns that it names"));
    }
    if let Some(form) = defect.forms.iter().find(|form| form.split_once(' ').is_none()) {
        return Err(wrong(defect, "forms", format!("`{form}` is no column, as `gguf q4_0` is one")));
    }
    if !defect.strengths.iter().all(|strength| strength.is_finite()) || !defect.strengths.is_sorted_by(|a, b| a < b) {
        return Err(wrong(defect, "strengths", "must be finite and ascend, weakest first"));
    }
    match (&defect.refused, defect.kills.is_empty() && defect.spares.is_empty()) {
        (Some(kind), true) if !kind.trim().is_empty() => {}
        (Some(_), _) => {
            return Err(wrong(defect, "refused", "needs a kind, and neither kills nor spares: nothing is loaded that a check could see"));
        }
        (None, _) if defect.kills.is_empty() => {
            return Err(wrong(defect, "kills", "is empty: a defect that nothing kills shows a missing check"));
        }
        (None, _) => {}
    }
    if let Some(kind) = defect.errors.iter().find(|kind| !FATAL.contains(&kind.as_str())) {
        return Err(wrong(defect, "errors", format!("`{kind}` is none of {}", FATAL.join(", "))));
    }
    let mut named = BTreeSet::new();
    for (field, ids) in [("kills", &defect.kills), ("spares", &defect.spares)] {
        for id in ids {
            if check::find(id).is_none() {
                return Err(wrong(defect, field, format!("`{id}` is no check of the catalogue")));
            }
            if !named.insert(id.as_str()) {
                return Err(wrong(defect, field, format!("`{id}` is named twice over kills and spares")));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "[[defect]]\nid = \"scale-1\"\nkind = \"file\"\nwhat = \"a scale is wrong\"\nseen_in = \"invented\"\n\
        architectures = [\"llama\", \"gpt2\"]\nforms = [\"gguf q4_0\"]\nstrengths = [1.0, 1.5]\nkills = [\"C1\"]\nspares = [\"C2\"]\nerrors = [\"timeout\"]\n";

    #[test]
    fn a_sound_record_is_read() {
        let records = parse(SOUND).unwrap();
        let Some(record) = records.first() else { panic!("one is due") };
        assert!(record.applies_to("llama") && !record.applies_to("qwen2"));
        assert!(record.is_for(&Form::converted("gguf", "q4_0", "F32")) && !record.is_for(&Form::converted("gguf", "q8_0", "F32")));
        let refused = SOUND.replace("kills = [\"C1\"]\nspares = [\"C2\"]\n", "refused = \"gguf\"\n");
        assert_eq!(parse(&refused).unwrap()[0].refused.as_deref(), Some("gguf"));
    }

    /// Each changes one field of the sound record, and that field is named.
    #[test]
    fn a_record_that_says_nothing_or_contradicts_itself_is_refused_by_field() {
        let wrong = [
            ("scale-1", "Scale-1", "id"),
            ("scale-1", "scale--1", "id"),
            ("scale-1", "scale_1", "id"),
            ("a scale is wrong", "a scale is off", "what"),
            ("invented", " ", "seen_in"),
            ("\"gpt2\"", "\"bert\"", "architectures"),
            ("forms = [\"gguf q4_0\"]\n", "", "forms"),
            ("gguf q4_0", "q4_0", "forms"),
            ("[1.0, 1.5]", "[1.5, 1.0]", "strengths"),
            ("[1.0, 1.5]", "[1.0, 1.0]", "strengths"),
            ("[1.0, 1.5]", "[1.0, inf]", "strengths"),
            ("[1.0, 1.5]", "[nan]", "strengths"),
            ("kills = [\"C1\"]", "kills = []", "kills"),
            ("kills = [\"C1\"]", "kills = [\"C99\"]", "kills"),
            ("kills = [\"C1\"]", "kills = [\"C1\", \"C1\"]", "kills"),
            ("spares = [\"C2\"]", "spares = [\"C1\"]", "spares"),
            ("spares = [\"C2\"]", "refused = \"gguf\"", "refused"),
            ("kills = [\"C1\"]", "refused = \"gguf\"", "refused"),
            ("kills = [\"C1\"]\nspares = [\"C2\"]", "refused = \" \"", "refused"),
            ("\"timeout\"", "\"refused\"", "errors"),
        ];
        for (from, to, due) in wrong {
            assert!(SOUND.contains(from), "{from}");
            match parse(&SOUND.replace(from, to)) {
                Err(DefectError::Field { field, .. }) => assert_eq!(field, due, "{to}"),
                other => panic!("{to}: {other:?}"),
            }
        }
        assert!(matches!(parse(&format!("{SOUND}{SOUND}")), Err(DefectError::Field { field: "id", .. })));
        assert!(matches!(parse(""), Err(DefectError::Toml(_))) && matches!(parse("[[defect]]\n"), Err(DefectError::Toml(_))));
    }
}
