//! SARIF 2.1.0 for code scanning: rules are claims, results are the rows that are not green, locations are the files of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Findings, what};
use crate::escape;
use crate::evidence::manifest::ModelFile;
use crate::evidence::{Number, Record};
use crate::report;

/// Where the schema of the form stands.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The run as SARIF.
///
/// # Errors
/// What the JSON writer says.
pub fn sarif(findings: &Findings) -> serde_json::Result<String> {
    let shown: Vec<&Record> = findings.records.iter().filter(|record| !record.is_green()).collect();
    let claims: BTreeMap<&str, &Record> = shown.iter().rev().map(|record| (rule_of(record), *record)).collect();
    let places: BTreeMap<&str, usize> = claims.keys().enumerate().map(|(place, id)| (*id, place)).collect();
    let rules: Vec<Value> = claims.iter().map(|(id, record)| rule(id, record)).collect();
    let files = findings.manifest.map_or(&[][..], |manifest| &manifest.files);
    let results: Vec<Value> = shown.iter().map(|record| result(record, places.get(rule_of(record)).copied(), files)).collect();
    let models: BTreeSet<&str> = shown.iter().filter_map(|record| record.axes.as_ref()).map(|axes| axes.model.as_str()).collect();
    let artifacts: Vec<Value> = files.iter().filter(|file| models.contains(file.model.as_str())).map(artifact).collect();
    let mut notifications: Vec<Value> = findings
        .reasons()
        .iter()
        .map(|(reason, rows)| notification("note", &format!("not tested: {} rows: {reason}", rows.len())))
        .collect();
    if let Some(lost) = findings.lost {
        notifications.push(notification("error", lost));
    }
    let mut invocation = json!({"executionSuccessful": findings.lost.is_none(), "toolExecutionNotifications": notifications});
    if let Some(manifest) = findings.manifest {
        invocation["startTimeUtc"] = json!(text(&manifest.started));
    }
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "ground-truth", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "automationDetails": {"id": format!("ground-truth/{}", text(findings.run))},
            "invocations": [invocation],
            "artifacts": artifacts,
            "results": results,
            "columnKind": "unicodeCodePoints",
        }],
    });
    Ok(escape::json(&serde_json::to_string_pretty(&document)?) + "\n")
}

fn rule_of(record: &Record) -> &str {
    if record.claim.id.is_empty() { "LISTS" } else { &record.claim.id }
}

fn rule(id: &str, record: &Record) -> Value {
    let (sentence, refuted) = match ground_truth_falsification::claim::find(id) {
        Some(claim) => (claim.sentence, claim.refuted_by),
        None => (record.claim.sentence.as_str(), record.claim.refuted_by.as_str()),
    };
    let refuted = if refuted.is_empty() { "it is not so" } else { refuted };
    json!({
        "id": text(id),
        "shortDescription": {"text": message(sentence)},
        "fullDescription": {"text": message(&format!("{sentence}. Refuted by: {refuted}"))},
        "defaultConfiguration": {"level": "error"},
    })
}

fn result(record: &Record, rule: Option<usize>, files: &[ModelFile]) -> Value {
    let said = format!("{}: {}", record.name, report::shorten(&what(record), 1_000));
    let mut result = json!({
        "ruleId": text(rule_of(record)),
        "ruleIndex": rule,
        "kind": "fail",
        "level": if record.is_expected() { "note" } else { "error" },
        "message": {"text": message(&said)},
        "locations": [location(record, files)],
        "partialFingerprints": {"groundTruthRow/v1": escape::hex(&Sha256::digest(record.name.as_bytes()))},
        "properties": {
            "verdict": text(&record.verdict),
            "error": record.error.as_deref().map(text),
            "behindGate": record.behind_gate,
            "expected": text(&report::shorten(&record.expected, 2_000)),
            "observed": text(&report::shorten(&record.observed, 2_000)),
            "measures": record.measures.iter().map(measure).collect::<Vec<_>>(),
            "owner": text(&record.owner),
            "reproduce": text(&record.reproduce),
        },
    });
    if record.is_expected() {
        let why = record.expectation.as_ref().map_or_else(String::new, |entry| format!("{} ({})", entry.why, entry.bug));
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": message(&why)}]);
    }
    result
}

/// The file of the model, where the run says which there are; the row's own name always.
fn location(record: &Record, files: &[ModelFile]) -> Value {
    let mut location = json!({"logicalLocations": [{
        "fullyQualifiedName": text(&record.name),
        "name": text(record.axes.as_ref().map_or("lists", |axes| &axes.check)),
        "kind": "member",
    }]});
    let Some(axes) = &record.axes else { return location };
    let mut of_model = files.iter().filter(|file| file.model == axes.model);
    let weights = |file: &&ModelFile| [".safetensors", ".gguf", ".apr"].iter().any(|end| file.path.ends_with(end));
    if let Some(file) = of_model.clone().find(weights).or_else(|| of_model.next()) {
        location["physicalLocation"] = json!({"artifactLocation": {"uri": uri(&file.path)}});
    }
    location
}

fn artifact(file: &ModelFile) -> Value {
    let mut artifact = json!({"location": {"uri": uri(&file.path)}});
    if !file.sha256.is_empty() {
        artifact["hashes"] = json!({"sha-256": text(&file.sha256)});
    }
    artifact
}

fn measure(number: &Number) -> Value {
    // JSON has no NaN; a word keeps it apart from a number that was not measured.
    let any = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
    json!({"name": text(&number.name), "observed": any(number.observed), "bound": number.bound.map(any), "unit": text(&number.unit)})
}

fn notification(level: &str, said: &str) -> Value {
    json!({"level": level, "message": {"text": message(said)}})
}

fn text(text: &str) -> String {
    escape::line(text)
}

/// A message, in which brackets would make a link.
fn message(text: &str) -> String {
    let mut out = String::new();
    for character in escape::line(text).chars() {
        if matches!(character, '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    // A message without a text is no message to its readers.
    if out.is_empty() { "(nothing was said)".to_owned() } else { out }
}

/// A path as a URI reference: relative as it is, absolute as `file:`.
fn uri(path: &str) -> String {
    let mut out = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, PAYLOADS, is_clean};
    use super::*;

    #[test]
    fn rules_are_claims_and_locations_are_files() {
        let text = sarif(&Fixture::mixed().findings()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let run = &document["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 4);
        for result in results {
            let rule = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
        }
        assert_eq!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "testdata/models/a-tiny/model.safetensors");
        assert!(results.iter().any(|result| result["level"] == "note" && result["suppressions"][0]["kind"] == "external"));
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("sarif", text.replace(env!("CARGO_PKG_VERSION"), "0.1.0")));
    }

    #[test]
    fn a_path_is_a_uri() {
        assert_eq!(uri("a b/%c.gguf"), "a%20b/%25c.gguf");
        assert_eq!(uri("/x/é"), "file:///x/%C3%A9");
        assert_eq!(uri("javascript:x"), "javascript%3Ax");
    }

    #[test]
    fn no_payload_is_a_link_or_leaves_its_string() {
        let text = sarif(&Fixture::hostile().findings()).unwrap();
        assert!(is_clean(&text));
        let document: Value = serde_json::from_str(&text).unwrap();
        let results = document["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.len(), PAYLOADS.len());
        for result in results {
            let said = result["message"]["text"].as_str().unwrap();
            assert!(!said.replace("\\[", "").replace("\\]", "").contains(['[', ']']), "{said}");
        }
    }
}
