//! Ways between artifacts: F-P1, F-P2, F-P5, INV-convert, ROUNDTRIP, and F-RS5. Digests of bytes and of values; nothing is computed with the
//! model but its tokens.

use super::stored::{elements, find, parameters, place};
use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::golden::MarginClass;
use crate::metric::{outdoes, relative_rms, widen};
use crate::observation::{Answers, Container, MetadataEntry, Op, Peer};
use crate::verdict::{Measure, Owner, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-P1",
        claim: "F-P1",
        sentence: "values that were quantized and are quantized again keep their bytes, or in k-quants lose at most half as much again",
        refuted_by: "another byte in a type whose grid is regular, or a second error above half the first",
        per: Per::Cell(|scope| scope.form.is_quantized() && !scope.form.given),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container, Op::Weights],
        bounds: &["f-p1"],
        judge: idempotent,
    },
    Check {
        id: "F-P2",
        claim: "F-P2",
        sentence: "an artifact that can hold every value of the model holds the values of the model, bit for bit",
        refuted_by: "another digest of names, shapes and values",
        per: Per::Cell(|scope| scope.form.lossless && !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: commutes,
    },
    Check {
        id: "F-P5",
        claim: "F-P5",
        sentence: "read and written again in its own format, it has the same tensors, bytes and metadata",
        refuted_by: "a byte of a tensor, a name, a type, a shape, an order or a metadata field that differs",
        per: Per::Cell(|scope| !scope.form.given && !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: |case, answers| same_file(case, answers, &Peer::Rewritten),
    },
    Check {
        id: "INV-convert",
        claim: "INV",
        sentence: "converted again from the same source, it has the same bytes",
        refuted_by: "a byte of a tensor or a metadata field that differs",
        per: Per::Cell(|scope| {
            !scope.form.primary && !scope.form.given && ["f32", "q8_0", "q4_k_m", "q4"].contains(&scope.form.quantization.as_str())
        }),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: |case, answers| same_file(case, answers, &Peer::Again),
    },
    Check {
        id: "ROUNDTRIP",
        claim: "ROUNDTRIP",
        sentence: "after the way to the other of GGUF and APR and back, tensors have the same bits and the text the same tokens, and both are the golden's",
        refuted_by: "one bit or token that differs",
        per: Per::Prompt(travels),
        breadth: Breadth::Short,
        needs: &[Op::Container, Op::Generate],
        bounds: &[],
        judge: round_trip,
    },
    Check {
        id: "F-RS5",
        claim: "F-RS5",
        sentence: "every value that the engine reads from the artifact is the one that gguf-py reads, to the bit",
        refuted_by: "another digest of names, shapes and values than that of the dequantized golden",
        per: Per::Cell(|scope| scope.dequantized.is_some()),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container],
        bounds: &[],
        judge: dequantized,
    },
];

/// Columns most of whose tensors have types that APR does not have, and whose values, as F32, do not lead back to the same bytes.
const STAYS: [&str; 4] = ["q2_k", "q3_k_m", "q4_k_s", "q5_k_m"];

/// Whether a tensor makes the logits: the head, or the embedding where that is the head.
fn is_head(case: &Case, name: &str) -> bool {
    let embedding = ["model.embed_tokens.weight", "transformer.wte.weight"].contains(&name);
    name == "lm_head.weight" || embedding && case.model.index.config.tie_word_embeddings
}

/// Columns of k-quants all of whose types both formats have, so that bytes are copied.
const COPIED: [&str; 3] = ["q4_k", "q4_k_m", "q6_k"];

/// Whether a column can go to the other format and come back: from prompts that are no knife edge, which rounding alone may turn.
fn travels(scope: &Scope, prompt: &crate::golden::PromptEntry) -> bool {
    let form = scope.form;
    let way = !form.is("safetensors") && !form.given && !STAYS.contains(&form.quantization.as_str());
    way && scope.sayable && prompt.margin_class != MarginClass::Knife
}

/// Whether the grid of a type is regular, so that its values have no other nearest codes than their own.
fn is_regular(dtype: &str) -> bool {
    matches!(dtype, "F32" | "F16" | "BF16" | "Q8_0" | "Q4_0" | "Q4_1" | "Q5_0" | "Q5_1" | "AprQ8" | "AprQ4")
}

fn idempotent(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let (source, again) = (ask::peer(case, &Peer::Source)?, ask::peer(case, &Peer::Requantized)?);
    let twice = ask::container(again.as_ref())?;
    let bound = case.tolerances.limit("f-p1", f64::NAN)?;
    let expected = format!("the same bytes, or in k-quants a second error at most {bound} of the first");
    let (mut bytes, mut worst) = (0, None::<(f64, &str)>);
    for entry in parameters(case) {
        let (once, twice) = (find(&container, &entry.name)?, find(&twice, &entry.name)?);
        let same = is_same(&once.sha256, &twice.sha256);
        if once.dtype != twice.dtype || is_regular(&once.dtype) && !same {
            let observed = format!("{} with SHA-256 {}, then {} with {}", once.dtype, once.sha256, twice.dtype, twice.sha256);
            return Ok(Verdict::falsified(expected, observed).at(place(&entry.name)).owned_by(Owner::File));
        }
        bytes += 1;
        if same {
            continue;
        }
        let n = elements(entry)?;
        let first = widen(&ask::weights(source.as_ref(), &entry.name, n)?);
        let second = widen(&ask::weights(answers, &entry.name, n)?);
        let third = widen(&ask::weights(again.as_ref(), &entry.name, n)?);
        let (lost, more) = (relative_rms(&first, &second)?, relative_rms(&second, &third)?);
        let share = more / lost;
        if worst.is_none_or(|(most, _)| outdoes(share, most)) {
            worst = Some((share, &entry.name));
        }
    }
    let Some((share, tensor)) = worst else {
        return Ok(Verdict::corroborated(bytes, expected, format!("{bytes} tensors with the same bytes")));
    };
    let measures = vec![Measure::gated("second error / first", share, bound, "")];
    let observed = format!("second error {share:.3} of the first at most");
    Ok(Verdict::measured(bytes, measures, expected, observed).at(place(tensor)).owned_by(Owner::File))
}

fn commutes(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let source = ask::peer(case, &Peer::Source)?;
    let source = ask::container(source.as_ref())?;
    Ok(same_digest("the model's values", &source.values_digest, &container.values_digest, container.tensors.len()))
}

/// A digest is 64 hexadecimal digits; an empty one on both sides is no agreement.
fn is_same(due: &str, found: &str) -> bool {
    due.len() == 64 && due == found
}

fn same_digest(what: &str, due: &str, found: &str, compared: usize) -> Verdict {
    let expected = format!("{what}, digest {due}");
    if is_same(due, found) {
        return Verdict::corroborated(compared, expected, "the same digest");
    }
    Verdict::falsified(expected, format!("digest {found}")).owned_by(Owner::File)
}

fn dequantized(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = case.dequantized.ok_or_else(|| ask::missing("a dequantized golden of this column", "this cell has none"))?;
    let container = ask::container(answers)?;
    let what = format!("the values that gguf-py read in {}", golden.quantization);
    Ok(same_digest(&what, &golden.values_digest, &container.values_digest, container.tensors.len()))
}

/// Beginning of the keys under which a converter says what it made an artifact from.
const MAKING: &str = "ground_truth.";

/// What a converter calls an artifact is the name of the file that it read, and which recipe chose the types cannot be told from them.
const BY_CHANCE: [&str; 2] = ["general.name", "general.file_type"];

/// The first thing in which two files of one format differ.
fn odds(due: &Container, found: &Container) -> Option<String> {
    if due.tensors.len() != found.tensors.len() {
        return Some(format!("{} tensors, then {}", due.tensors.len(), found.tensors.len()));
    }
    for (i, stored) in due.tensors.iter().enumerate() {
        let other = &found.tensors[i];
        let is = (&stored.name, &stored.dtype, &stored.shape, stored.bytes);
        if is != (&other.name, &other.dtype, &other.shape, other.bytes) || !is_same(&stored.sha256, &other.sha256) {
            return Some(format!(
                "tensor {:?}, {} {:?}, SHA-256 {}; then {:?}, {} {:?}, SHA-256 {}",
                stored.name, stored.dtype, stored.shape, stored.sha256, other.name, other.dtype, other.shape, other.sha256
            ));
        }
    }
    // What an artifact says of its own making differs by who made it from what.
    let plain = |container: &Container| -> Vec<MetadataEntry> {
        container
            .metadata
            .iter()
            .filter(|entry| !entry.key.starts_with(MAKING) && !BY_CHANCE.contains(&entry.key.as_str()))
            .cloned()
            .collect()
    };
    let (due, found) = (plain(due), plain(found));
    if due.len() != found.len() {
        return Some(format!("{} metadata fields, then {}", due.len(), found.len()));
    }
    let at = (0..due.len()).find(|&i| due[i] != found[i])?;
    let (a, b) = (&due[at], &found[at]);
    Some(format!("{} {:?}, then {} {:?}", a.key, a.value, b.key, b.value))
}

fn same_file(case: &Case, answers: &dyn Answers, peer: &Peer) -> Judged {
    let container = ask::container(answers)?;
    let other = ask::peer(case, peer)?;
    let other = ask::container(other.as_ref())?;
    let expected = format!("{peer}: the same tensors, bytes and metadata");
    match odds(&container, &other) {
        Some(observed) => Ok(Verdict::falsified(expected, observed).owned_by(Owner::File)),
        None => Ok(Verdict::corroborated(container.tensors.len() + container.metadata.len(), expected, "so")),
    }
}

fn round_trip(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let back = ask::peer(case, &Peer::RoundTrip)?;
    let (mine, other) = (ask::container(answers)?, ask::container(back.as_ref())?);
    let expected = format!("after the way there and back {} tensors with the same bits, and the golden's tokens", mine.tensors.len());
    let (mut compared, mut left_out) = (0, 0);
    for entry in parameters(case) {
        let (before, after) = (find(&mine, &entry.name)?, find(&other, &entry.name)?);
        // The head that llama.cpp's legacy recipes keep in Q6_K travels as F32 with the rest. It alone may come back as other bytes.
        if before.dtype == after.dtype
            && before.dtype == "Q6_K"
            && is_head(case, &entry.name)
            && !COPIED.contains(&case.form.quantization.as_str())
        {
            left_out += 1;
            continue;
        }
        if (&before.dtype, &before.shape) != (&after.dtype, &after.shape) || !is_same(&before.sha256, &after.sha256) {
            let observed = format!("{} {:?} SHA-256 {}", after.dtype, after.shape, after.sha256);
            let expected = format!("{expected}; {:?} is {} {:?} SHA-256 {}", entry.name, before.dtype, before.shape, before.sha256);
            return Ok(Verdict::falsified(expected, observed).at(place(&entry.name)).owned_by(Owner::File));
        }
        compared += 1;
    }
    if left_out == 0 && !is_same(&mine.values_digest, &other.values_digest) {
        return Ok(Verdict::falsified(expected, "the same bytes are read as other values").owned_by(Owner::File));
    }
    let greedy = &golden.greedy;
    for (who, asked) in [("before", answers), ("after", back.as_ref() as &dyn Answers)] {
        let (ids, _) = ask::generate(asked, &golden.prompt.ids, greedy.max_new_tokens, greedy.stop_at_eos)?;
        if ids != greedy.ids {
            let observed = format!("{who} it: {}", ask::list(&ids));
            return Ok(Verdict::falsified(format!("{expected}: {}", ask::list(&greedy.ids)), observed).owned_by(Owner::File));
        }
        compared += ids.len();
    }
    Ok(Verdict::corroborated(compared, expected, "so"))
}

#[cfg(test)]
mod tests {
    use super::is_same;

    /// A runtime that leaves its digests empty says so of both files.
    #[test]
    fn no_digest_is_the_same_as_no_other() {
        let digest = "0".repeat(64);
        assert!(is_same(&digest, &digest));
        assert!(!is_same("", "") && !is_same("ab", "ab") && !is_same(&digest, &"1".repeat(64)));
    }
}
