//! Which claim stands for which part of the score: the document's parts are those of a recipe, ours those of a model file.

/// The gateways, and what each asks of an artifact. The document's words are: parses, doctests pass, transpiles, equivalent.
pub const GATEWAYS: [(&str, &str); 4] = [
    ("G1", "it parses and loads as what it says it is"),
    ("G2", "its recorded examples are answered as the reference answered them"),
    ("G3", "it converts to its form and loads there"),
    ("G4", "its logits are the reference's"),
];

/// A category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// How well it predicts, and that it does so every time.
    Quality,
    /// Types, shapes, files and what other readers make of them.
    Compatibility,
    /// Borders and bad input.
    Edge,
    /// Speed and memory.
    Performance,
    /// What it says about itself.
    Documentation,
    /// That it can be converted and mended without loss.
    Maintenance,
}

/// The categories, their points, and what each asks of an artifact.
pub const CATEGORIES: [(&str, f64, &str); 6] = [
    ("QUAL", 200.0, "perplexity, tokens and drift, the same every time"),
    ("COMP", 200.0, "types, shapes and bytes, and what other readers make of them"),
    ("EDGE", 200.0, "empty, longest, strange and invalid input, and errors"),
    ("PERF", 150.0, "speed and memory"),
    ("DOCS", 150.0, "what the artifact says about itself"),
    ("MAINT", 100.0, "conversion there and back without loss, a clean lint"),
];

/// The families of the qualification summary (section 11.10). `F-RS` stands before `F-R`, which it begins with.
pub const FAMILIES: [(&str, &str); 9] = [
    ("F-G", "Gateway"),
    ("F-T", "Type System"),
    ("F-E", "Edge Cases"),
    ("F-H", "Error Handling"),
    ("F-P", "Property-Based"),
    ("F-RS", "Rust Ground Truth"),
    ("F-R", "Performance"),
    ("F-D", "Documentation"),
    ("F-S", "Security"),
];

/// A part of the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The gateway with this place.
    Gateway(usize),
    /// A category.
    Category(Category),
}

/// The part that a claim stands for. A claim of another suite stands for none and earns nothing.
pub fn part(claim: &str) -> Option<Part> {
    use Category::{Compatibility, Documentation, Edge, Maintenance, Performance, Quality};
    let gateway = |place| Some(Part::Gateway(place));
    let category = match claim {
        "F-G1" => return gateway(0),
        "CANARY" | "CHAT" | "QA" => return gateway(1),
        "F-G3" | "V1" => return gateway(2),
        "F-G4" => return gateway(3),
        "DRIFT" | "INV" | "LEARNED" | "LOGIT-CONSISTENCY" | "PPL" | "PPL-DRIFT" | "PRECISION-LADDER" | "SAMPLE" | "SPC" | "T1" | "T4"
        | "T5" | "TOKEN" => Quality,
        "C1" | "C2" | "C3" | "C4" | "C5" | "C6" | "C7" | "C8" | "CROSS-RUNTIME" | "D1" | "D2" | "D3" | "D4" | "DIFF" | "DOWNLOAD-G1-G6"
        | "HEX" | "LIST" | "PARITY-GPU" | "ROSETTA-DIFF" | "SELFTEST" | "TENSORS" | "TREE" | "VALIDATE" => Compatibility,
        "BENCH" | "T2" | "T3" => Performance,
        "DEBUG" | "F-G2" | "INSPECT" | "ORACLE-ID" | "V2" => Documentation,
        "F-P1" | "F-P2" | "F-P5" | "F-S4" | "LINT" | "ROUNDTRIP" => Maintenance,
        other => match family(other).and_then(|place| FAMILIES.get(place)) {
            Some(("F-T" | "F-RS", _)) => Compatibility,
            Some(("F-E" | "F-H" | "F-S", _)) => Edge,
            Some(("F-P", _)) => Quality,
            Some(("F-R", _)) => Performance,
            Some(("F-D", _)) => Documentation,
            _ => return None,
        },
    };
    Some(Part::Category(category))
}

/// The place of a claim's family: its letters and then digits, so that `F-R1` and `F-RS1` are of two.
pub fn family(claim: &str) -> Option<usize> {
    let letters = claim.trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.len() == claim.len() {
        return None;
    }
    FAMILIES.iter().position(|(family, _)| *family == letters)
}
