//! The lint of the register: every claim is tested where it says, every check belongs to a claim, no id twice.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ground_truth_falsification::check;
use ground_truth_falsification::claim::{self, REGISTER, Tested};

fn source(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn no_id_is_used_twice() {
    let mut seen = BTreeSet::new();
    for claim in REGISTER {
        assert!(seen.insert(claim.id), "claim {} stands twice in the register", claim.id);
    }
    let mut seen = BTreeSet::new();
    for check in check::all() {
        assert!(seen.insert(check.id), "check {} stands twice in the catalogue", check.id);
    }
}

#[test]
fn every_claim_says_what_would_refute_it_and_where_it_is_tested() {
    for claim in REGISTER {
        for text in [claim.sentence, claim.refuted_by, claim.from] {
            assert!(!text.is_empty() && !text.ends_with('.'), "claim {}: {text:?}", claim.id);
        }
        assert!(!claim.tested.is_empty(), "claim {} is tested nowhere, and no issue brings it", claim.id);
    }
}

#[test]
fn every_check_belongs_to_a_claim_that_says_so() {
    for check in check::all() {
        let claim = claim::find(check.claim);
        let claim = claim.unwrap_or_else(|| panic!("check {} names the claim {}, which the register does not have", check.id, check.claim));
        assert!(claim.tested.contains(&Tested::Matrix), "claim {} has the check {}, and does not say so", claim.id, check.id);
        for text in [check.sentence, check.refuted_by] {
            assert!(!text.is_empty() && !text.ends_with('.'), "check {}: {text:?}", check.id);
        }
        assert!(!check.needs.is_empty(), "check {} needs no op", check.id);
    }
}

#[test]
fn every_claim_of_the_matrix_has_a_check() {
    for claim in REGISTER.iter().filter(|claim| claim.tested.contains(&Tested::Matrix)) {
        assert!(check::all().iter().any(|check| check.claim == claim.id), "claim {} has no check in the catalogue", claim.id);
    }
}

#[test]
fn every_row_of_the_harness_stands_in_its_source() {
    for claim in REGISTER {
        for tested in claim.tested {
            if let Tested::Harness(file) = tested {
                let quoted = format!("\"{}\"", claim.id);
                assert!(source(file).contains(&quoted), "claim {}: {file} does not hold {quoted}", claim.id);
            }
        }
    }
}

/// Whether a test function whose name begins so stands in the text: the attribute in one of the lines above it.
fn has_test(text: &str, prefix: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = format!("fn {prefix}");
    let is_test = |at: usize| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with('#') || line.starts_with("//"));
        above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[rstest]"))
    };
    // proptest functions have their attribute inside the macro, which is no different here.
    (0..lines.len()).any(|at| lines[at].starts_with(&begins) && is_test(at))
}

#[test]
fn every_test_that_a_claim_names_stands_in_its_file() {
    for claim in REGISTER {
        for tested in claim.tested {
            if let Tested::Suite { file, prefix } = tested {
                assert!(has_test(&source(file), prefix), "claim {}: {file} has no test `{prefix}...`", claim.id);
            }
        }
    }
}

#[test]
fn a_function_without_the_attribute_is_no_test() {
    assert!(has_test("#[test]\n#[ignore]\nfn f_x1_holds() {}", "f_x1_"));
    assert!(!has_test("fn f_x1_holds() {}", "f_x1_"));
    assert!(!has_test("#[test]\nfn other() {}\nfn f_x1_holds() {}", "f_x1_"));
    assert!(!has_test("// fn f_x1_holds() {}", "f_x1_"));
}

/// The ids that the design's register names.
#[rustfmt::skip]
const DESIGN: &[&str] = &[
    "F-G1", "F-G2", "F-G3", "F-G4", "F-T1", "F-T2", "F-T3", "F-T4", "F-E1", "F-E2", "F-E3", "F-E4", "F-E5", "F-H1", "F-H2", "F-H3", "F-H4",
    "F-P1", "F-P2", "F-P3", "F-P4", "F-P5", "F-R1", "F-R2", "F-R3", "F-R4", "F-D1", "F-D2", "F-D3", "F-D4", "F-S1", "F-S2", "F-S3", "F-S4",
    "F-RS1", "F-RS2", "F-RS3", "F-RS4", "F-RS5", "F-RS6", "CANARY", "TOKEN", "DRIFT", "ROUNDTRIP", "PPL", "PPL-DRIFT", "LIST", "INSPECT",
    "VALIDATE", "TENSORS", "LINT", "SELFTEST", "DIFF", "TREE", "ORACLE-ID", "HEX", "DEBUG", "BENCH", "QA", "ROSETTA-DIFF", "PARITY-GPU",
    "PRECISION-LADDER", "CROSS-RUNTIME", "D1", "D2", "D3", "D4", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "V1", "V2", "T1", "T2",
    "T3", "T4", "T5", "DOWNLOAD-G1-G6", "SPC", "LOGIT-CONSISTENCY", "seed::apr-magic", "seed::lora-4.2M", "seed::abs-kl",
    "seed::precision-ladder", "seed::mqs-bands",
];

#[test]
fn the_register_is_complete() {
    for id in DESIGN {
        assert_eq!(claim::find(id).map(|claim| claim.id), Some(*id), "the register has no claim {id}");
    }
}
