//! Wrong files: every one is seen by the checks that are about it, and by no other check that looks at files.

use super::{Answered, Tamper, columns, everywhere};
use crate::check::{Check, all};
use crate::observation::{Answer, Container, Op, Question};
use crate::verdict::Outcome;

pub(super) fn stored(answer: Answered, change: impl Fn(&mut Container)) -> Answered {
    answer.map(|answer| match answer {
        Answer::Container(mut container) => {
            change(&mut container);
            Answer::Container(container)
        }
        other => other,
    })
}

fn values(answer: Answered, change: impl Fn(&mut Vec<f32>)) -> Answered {
    answer.map(|answer| match answer {
        Answer::Weights(mut values) => {
            change(&mut values);
            Answer::Weights(values)
        }
        other => other,
    })
}

/// Matrices alone: a vector has too few values for some of the changes.
fn matrices(question: &Question, answer: Answered, change: impl Fn(&mut Vec<f32>)) -> Answered {
    match question {
        Question::Weights { tensor } if !tensor.contains("norm") => values(answer, change),
        _ => answer,
    }
}

/// Wrong files, and every check that sees each: those that look at files and values, and no other of them.
#[rustfmt::skip] // A table reads best with one row a line.
pub(super) const WRONG_FILES: &[(&str, Tamper, &[&str])] = &[
    ("another format", |_, a| stored(a, |c| c.format = "apr".into()), &["C1", "C2", "C4", "VALIDATE"]),
    ("another version", |_, a| stored(a, |c| c.version = "1".into()), &["C2"]),
    ("another magic", |_, a| stored(a, |c| c.files[0].magic[0] = b'X'), &["C5"]),
    ("a file cut short", |_, a| stored(a, |c| { c.files[0].bytes -= 64; c.n_bytes -= 64 }), &["C4", "VALIDATE"]),
    ("a file that goes on", |_, a| stored(a, |c| { c.files[0].bytes += 64; c.n_bytes += 64 }), &["C4"]),
    ("an offset off by one", |_, a| stored(a, |c| c.tensors[3].offset += 1), &["VALIDATE"]),
    ("a tensor over another", |_, a| stored(a, |c| c.tensors[3].offset = c.tensors[2].offset), &["VALIDATE"]),
    ("a tensor missing", |_, a| stored(a, |c| { c.tensors.remove(3); }), &["C3", "C6", "C7", "TREE", "F-G3-types", "DIFF", "SPC-rms", "SPC-signs", "SPC-elements", "C8", "HEX", "F-P1", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("a tensor twice", |_, a| stored(a, |c| { let t = c.tensors[3].clone(); c.tensors.insert(3, t) }), &["C2", "VALIDATE", "C3", "C6", "DIFF", "F-P5", "INV-convert"]),
    ("a tensor of nobody", |_, a| stored(a, |c| c.tensors[3].hf_name = None), &["LINT", "C3", "C7", "TREE", "F-G3-types", "SPC-rms", "SPC-signs", "SPC-elements", "C8", "HEX", "F-P1", "ROUNDTRIP"]),
    ("an unknown type", |_, a| stored(a, |c| c.tensors[0].dtype = "Q9_9".into()), &["C2", "VALIDATE", "F-G3-types", "HEX", "F-P1", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("another type", |_, a| stored(a, |c| c.tensors[0].dtype = if c.tensors[0].dtype == "F16" { "F32" } else { "F16" }.into()), &["VALIDATE", "F-G3-types", "SPC-rms", "SPC-elements", "C8", "HEX", "F-P1", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("dimensions reversed", |_, a| stored(a, |c| c.tensors[0].shape.reverse()), &["VALIDATE", "C7", "DIFF", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("a row lost", |_, a| stored(a, |c| { let t = &mut c.tensors[0]; t.shape[0] -= 1; t.bytes = crate::block::bytes_of(&t.dtype, &t.shape).unwrap() }), &["C6", "C7", "DIFF", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("every matrix in F32", |_, a| stored(a, |c| c.tensors.iter_mut().filter(|t| t.shape.len() > 1).for_each(|t| { t.dtype = "F32".into(); t.bytes = 4 * t.shape.iter().product::<usize>() as u64 })), &["C4", "VALIDATE", "F-G3-types", "SPC-rms", "SPC-elements", "C8", "HEX", "F-P1", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("a vector in Q8_0", |_, a| stored(a, |c| c.tensors.iter_mut().filter(|t| t.shape.len() == 1).for_each(|t| t.dtype = "Q8_0".into())), &["VALIDATE", "F-G3-types", "HEX", "F-P1", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("a block of another number", |_, a| stored(a, |c| c.tensors.iter_mut().for_each(|t| t.hf_name = t.hf_name.take().map(|n| n.replace("layers.1.", "layers.2.")))), &["LINT", "C3", "C7", "TREE", "F-G3-types", "SPC-rms", "SPC-signs", "SPC-elements", "C8", "HEX", "F-P1", "ROUNDTRIP"]),
    ("a leaf more in one block", |_, a| stored(a, |c| { let mut t = c.tensors[0].clone(); (t.name, t.hf_name, t.offset) = ("blk.1.more".into(), Some("model.layers.1.more.weight".into()), c.n_bytes); c.tensors.push(t) }), &["C4", "VALIDATE", "LINT", "C3", "C6", "TREE", "DIFF", "F-P5", "INV-convert"]),
    ("a byte of the head", |_, a| stored(a, |c| c.tensors[0].head[3] ^= 0x40), &["HEX"]),
    ("nibbles swapped in the head", |_, a| stored(a, |c| c.tensors[0].head[4..].iter_mut().for_each(|b| *b = b.rotate_left(4))), &["HEX"]),
    ("a head of zeros", |_, a| stored(a, |c| c.tensors[0].head.fill(0)), &["HEX"]),
    ("another digest of a tensor", |_, a| stored(a, |c| c.tensors[0].sha256 = "0".repeat(64)), &["F-P1", "F-P5", "INV-convert", "ROUNDTRIP"]),
    ("another digest of all values", |_, a| stored(a, |c| c.values_digest = "0".repeat(64)), &["F-P2", "ROUNDTRIP", "F-RS5", "CROSS-RUNTIME"]),
    ("no digest", |_, a| stored(a, |c| c.values_digest.clear()), &["F-P2", "ROUNDTRIP", "F-RS5", "CROSS-RUNTIME"]),
    ("a wrong checksum", |_, a| stored(a, |c| c.checksum = Some(false)), &["VALIDATE"]),
    ("no tokenizer", |_, a| stored(a, |c| c.has_tokenizer = false), &["LINT"]),
    ("a warning", |_, a| stored(a, |c| c.warnings.push("odd".into())), &["LINT", "V1"]),
    ("a foreign name", |_, a| stored(a, |c| c.tensors[0].name = "e mbd".into()), &["LINT", "DIFF", "F-P5", "INV-convert"]),
    ("no source", |_, a| stored(a, |c| c.source.clear()), &["ORACLE-ID"]),
    ("another source", |_, a| stored(a, |c| c.source[1].1 = "1".repeat(64)), &["ORACLE-ID"]),
    ("a metadata field missing", |_, a| stored(a, |c| c.metadata.retain(|e| !e.key.contains("epsilon"))), &["V2", "DIFF", "F-P5", "INV-convert"]),
    ("a metadata value wrong", |_, a| stored(a, |c| c.metadata.iter_mut().filter(|e| e.key.ends_with("block_count")).for_each(|e| e.value = "9".into())), &["V2", "DIFF", "F-P5", "INV-convert"]),
    ("a metadata type wrong", |_, a| stored(a, |c| c.metadata.iter_mut().filter(|e| e.key.ends_with("block_count")).for_each(|e| e.kind = "str".into())), &["V2", "DIFF", "F-P5", "INV-convert"]),
    ("a value short", |_, a| values(a, |v| { v.pop(); }), &["SPC-rms", "SPC-signs", "SPC-elements", "C8", "DEBUG", "ROSETTA-DIFF", "HEX"]),
    ("a nan", |_, a| values(a, |v| v[1] = f32::NAN), &["SPC-rms", "SPC-signs", "SPC-elements", "C8", "DEBUG", "ROSETTA-DIFF", "HEX"]),
    ("zeros", |q, a| matrices(q, a, |v| v.fill(0.0)), &["SPC-rms", "SPC-elements", "C8", "DEBUG", "ROSETTA-DIFF", "HEX"]),
    ("a row of zeros", |q, a| matrices(q, a, |v| { let n = v.len(); v[n - 64..].fill(0.0) }), &["SPC-rms", "SPC-elements", "C8", "DEBUG"]),
    ("scaled by 1.05", |q, a| matrices(q, a, |v| v.iter_mut().for_each(|x| *x *= 1.05)), &["SPC-rms", "SPC-elements", "C8", "HEX"]),
    ("negated", |q, a| matrices(q, a, |v| v.iter_mut().for_each(|x| *x = -*x)), &["SPC-rms", "SPC-signs", "SPC-elements", "ROSETTA-DIFF", "HEX"]),
    ("one sign turned", |q, a| matrices(q, a, |v| { let n = v.len(); v[n - 5] = -v[n - 5] }), &["SPC-rms", "SPC-signs", "SPC-elements"]),
    ("one element far off", |q, a| matrices(q, a, |v| { let n = v.len(); v[n - 5] += 0.1 }), &["SPC-rms", "SPC-signs", "SPC-elements", "C8"]),
    ("rows backwards", |q, a| matrices(q, a, |v| { let n = v.len(); let all: Vec<f32> = (0..n / 64).rev().flat_map(|r| v[r * 64..(r + 1) * 64].to_vec()).collect(); v[..all.len()].copy_from_slice(&all) }), &["SPC-rms", "SPC-signs", "SPC-elements", "ROSETTA-DIFF", "HEX"]),
    ("a block of another tensor", |q, a| matrices(q, a, |v| { let n = v.len(); v.copy_within(0..32, n - 32) }), &["SPC-rms", "SPC-signs", "SPC-elements", "C8"]),
];

#[test]
fn every_wrong_file_is_seen_by_the_checks_that_are_about_it() {
    let columns = columns();
    let mut surprises = Vec::new();
    for &(name, tamper, sees) in WRONG_FILES {
        let looks = |check: &&Check| check.needs.iter().any(|op| matches!(op, Op::Container | Op::Weights));
        let seen: Vec<&str> = all()
            .iter()
            .filter(looks)
            .filter(|check| everywhere(&columns, check, tamper).iter().any(|(_, verdict)| verdict.outcome == Outcome::Falsified))
            .map(|check| check.id)
            .collect();
        if seen != sees {
            surprises.push(format!("(\"{name}\", &{seen:?})"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}
