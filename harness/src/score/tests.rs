use super::*;
use crate::evidence::EXPECTED;
use crate::export::fixture::{Fixture, record};
use ground_truth_falsification::claim;
use ground_truth_falsification::verdict::{ErrorKind, Verdict};

const CELL: &str = "a-tiny::gguf::q8_0::native";

/// A check for each gateway and each category.
const CHECKS: [&str; 10] = ["F-G1", "QA", "F-G3", "F-G4-logits", "PPL", "TENSORS", "F-E1", "BENCH", "INSPECT", "LINT"];

/// A fixture with these rows, all green.
fn green(checks: &[&str]) -> Fixture {
    let mut fixture = Fixture::green();
    fixture.records = checks.iter().map(|check| record(CELL, check, None, Verdict::corroborated(1, "", ""))).collect();
    fixture
}

fn scored(fixture: &Fixture) -> Score {
    let scores = scores(&fixture.findings());
    assert_eq!((scores.models.len(), scores.artifacts.len()), (1, 1), "{scores:?}");
    let (model, artifact) = (&scores.models[0], &scores.artifacts[0]);
    assert_eq!((&*model.subject, &*artifact.subject), ("a-tiny", CELL));
    assert_eq!((model.score, model.grade, model.qualified), (artifact.score, artifact.grade, artifact.qualified));
    artifact.clone()
}

#[test]
fn every_claim_of_the_register_has_its_part() {
    for claim in claim::REGISTER.iter().filter(|claim| !claim.id.starts_with("seed::")) {
        assert!(part(claim.id).is_some(), "{} stands for no part of the score", claim.id);
    }
    for (place, (name, _)) in GATEWAYS.iter().enumerate() {
        let stands = claim::REGISTER.iter().any(|claim| part(claim.id) == Some(Part::Gateway(place)));
        assert!(stands, "no claim stands for {name}");
    }
    assert_eq!(CATEGORIES.iter().map(|(_, points, _)| points).sum::<f64>(), 1000.0);
    for (place, (name, ..)) in CATEGORIES.iter().enumerate() {
        let stands = |claim: &&claim::Claim| matches!(part(claim.id), Some(Part::Category(category)) if category as usize == place);
        assert!(claim::REGISTER.iter().any(|claim| stands(&claim)), "no claim stands for {name}");
    }
}

#[test]
fn families_are_told_apart() {
    let of = |claim| part::family(claim).map(|place| FAMILIES[place].0);
    assert_eq!([of("F-R1"), of("F-RS6"), of("F-G4"), of("QA"), of("F-X1")], [Some("F-R"), Some("F-RS"), Some("F-G"), None, None]);
}

#[test]
fn all_green_is_a_hundred() {
    let score = scored(&green(&CHECKS));
    assert_eq!((score.points, score.score, score.grade, score.qualified), (1000.0, 100.0, "A+", true), "{score:?}");
    assert!(score.why.is_empty());
}

#[test]
fn no_evidence_scores_nothing() {
    let mut fixture = green(&CHECKS);
    let rows: Vec<_> = fixture.records.drain(..).map(|record| serde_json::json!({"name": record.name, "reason": "64-wide rows"})).collect();
    fixture.manifest.not_tested = serde_json::from_value(rows.into()).unwrap();
    let score = scored(&fixture);
    assert_eq!((score.points, score.score, score.grade, score.qualified), (0.0, 0.0, "F", false));
    assert!(scores(&Findings { manifest: None, ..fixture.findings() }).artifacts.is_empty(), "and no row no subject");
}

#[test]
fn a_gateway_that_fails_is_nothing_whatever_else_holds() {
    for place in 0..4 {
        let mut fixture = green(&CHECKS);
        fixture.records[place] = record(CELL, CHECKS[place], None, Verdict::falsified("", ""));
        let score = scored(&fixture);
        assert_eq!((score.score, score.grade, score.qualified), (0.0, "F", false), "{}", GATEWAYS[place].0);
        assert_eq!(score.points, 1000.0);
        let mut expected = green(&CHECKS);
        expected.records[place].verdict = EXPECTED.to_owned();
        assert_eq!(scored(&expected).score, 0.0, "an expected failure is no pass");
        let mut absent = green(&CHECKS);
        absent.records.remove(place);
        let score = scored(&absent);
        assert_eq!((score.score, score.qualified), (0.0, false), "and no evidence is none either");
        assert!(score.why[0].contains("has no evidence"), "{:?}", score.why);
    }
}

#[test]
fn a_category_without_tests_caps_the_grade() {
    for place in 4..10 {
        let mut fixture = green(&CHECKS);
        fixture.records.remove(place);
        let score = scored(&fixture);
        let (name, points, _) = CATEGORIES[place - 4];
        assert_eq!(score.points, 1000.0 - points, "{name}");
        assert!(score.score >= THRESHOLD, "the number alone would have qualified it without {name}");
        assert_eq!((score.grade, score.qualified), ("B-", false), "{name}");
    }
    // Where the rest is worse than the cap, its own grade stands.
    let mut fixture = green(&CHECKS);
    fixture.records.remove(9);
    for place in [4, 5, 6] {
        fixture.records[place] = record(CELL, CHECKS[place], None, Verdict::falsified("", ""));
    }
    assert_eq!(scored(&fixture).grade, "F");
}

#[test]
fn what_was_not_tested_is_no_pass() {
    let mut fixture = green(&CHECKS);
    let row = serde_json::json!([{"name": format!("{CELL}::PPL-quantized::x"), "reason": "a text is missing"}]);
    fixture.manifest.not_tested = serde_json::from_value(row).unwrap();
    let score = scored(&fixture);
    assert_eq!(score.categories[0], Count { passed: 1, not_tested: 1, ..Count::default() });
    assert_eq!(score.points, 900.0);
    let gate = serde_json::json!([{"name": format!("{CELL}::F-G4-kl::x"), "reason": "a text is missing"}]);
    fixture.manifest.not_tested = serde_json::from_value(gate).unwrap();
    assert_eq!(scored(&fixture).score, 0.0, "a gateway that was not tested in full is not passed");
}

#[test]
fn an_error_is_no_pass() {
    let mut fixture = green(&CHECKS);
    fixture.records[4] = record(CELL, "PPL", None, Verdict::error(ErrorKind::Timeout, "", ""));
    let score = scored(&fixture);
    assert_eq!((score.categories[0].failed, score.points), (1, 800.0));
}

#[test]
fn lost_records_and_broken_lists_qualify_nothing() {
    let fixture = green(&CHECKS);
    let lost = Findings { lost: Some("holds 9 records, and run.json says 10"), ..fixture.findings() };
    assert!(!scores(&lost).artifacts[0].qualified);
    let mut broken = green(&CHECKS);
    broken.records.push(Record::of("run", "matrix::golden::a-tiny", &Verdict::falsified("a golden", "none")));
    assert!(!scored(&broken).qualified);
    assert_eq!(scores(&broken.findings()).doubts.len(), 1);
}

#[test]
fn every_score_has_a_grade_and_none_two() {
    for points in 0..=10_000 {
        let score = normalised(f64::from(points) / 10_000.0);
        assert!((0.0..=100.0).contains(&score), "{score}");
        let due = GRADES.iter().find(|(_, least)| *least <= score).unwrap().0;
        assert_eq!(grade(score), due);
    }
    assert_eq!([grade(96.5), grade(83.0), grade(72.999), grade(f64::NAN)], ["A", "B", "F", "F"]);
    assert_eq!([normalised(f64::NAN), normalised(-0.1), normalised(1.1)], [0.0; 3]);
    assert_eq!([normalised(0.0), normalised(1.0)], [0.0, 100.0]);
}

#[test]
fn a_b_begins_below_the_threshold_and_is_not_qualified_there() {
    assert_eq!(grade(84.9), "B");
    assert_eq!(text::shown(84.99), "84.9", "cut, not rounded up to the threshold");
    // Two thirds of the points of every category: above the least B, below the threshold.
    let all = CHECKS[4..].iter().flat_map(|check| [*check; 100]).collect::<Vec<_>>();
    let mut fixture = green(&[&CHECKS[..4], &all].concat());
    for (place, record) in fixture.records[4..].iter_mut().enumerate() {
        if place % 100 >= 67 {
            record.verdict = "falsified".to_owned();
        }
    }
    let score = scored(&fixture);
    assert!((83.0..THRESHOLD).contains(&score.score), "{}", score.score);
    assert_eq!((score.grade, score.qualified), ("B", false));
}

#[test]
fn the_table_stands_beside_the_score() {
    let mut fixture = green(&CHECKS);
    fixture.records[9] = record(CELL, "LINT", None, Verdict::falsified("", ""));
    let text = text::text(&scores(&fixture.findings()));
    crate::fixture::pinned().bind(|| insta::assert_snapshot!("score", text));
}
