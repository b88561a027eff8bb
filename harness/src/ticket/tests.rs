//! What a ticket says of hand-made evidence, and that nothing in evidence is more than text in it.

use super::*;
use crate::evidence::manifest::{Counts, Environment, Manifest, Part};
use crate::evidence::{Axes, Kind, Minimal, Run, Where};
use crate::fixture::pinned;
use crate::payload::{PAYLOADS, first_active};
use ground_truth_falsification::verdict::{ErrorKind, Measure, Owner, Place, Verdict};

fn record(name: &str, claim: &str, verdict: Verdict) -> Record {
    let parts: Vec<&str> = name.split("::").collect();
    let mut record = Record::of("20261121T101112Z-7", name, &verdict);
    record.claim.id = claim.into();
    record.claim.sentence = "logits equal the golden within the bound".into();
    record.claim.refuted_by = "a distance above the bound".into();
    record.reproduce = format!("cargo test --test falsify -- --exact '{name}'");
    record.versions.runtime = "0.1.0".into();
    record.versions.oracle.insert("torch".into(), "2.9".into());
    record.axes = Some(Axes {
        model: parts[0].into(),
        format: parts[1].into(),
        quantization: parts[2].into(),
        runtime: parts[3].into(),
        check: parts[4].into(),
        prompt: parts.get(5).map(ToString::to_string),
    });
    record
}

fn wrong(times: f64, stage: Option<&str>) -> Verdict {
    let ids = |from: usize| format!("ids {:?}", (from..from + 40).collect::<Vec<_>>());
    Verdict {
        measures: vec![Measure::gated("relative RMS", times * 5e-7, 5e-7, ""), Measure::printed("largest difference", 3.5, "logits")],
        place: Place { stage: stage.map(str::to_owned), position: Some(5), ..Place::default() },
        ..Verdict::falsified(ids(0), ids(0).replace("20, 21", "9, 9"))
    }
    .owned_by(Owner::Kernel)
}

/// A kernel that is wrong in one container, a gate that is closed in another model, and one problem of the lists.
fn evidence() -> Evidence {
    let green = || Verdict::corroborated(3, "", "");
    let closed = Verdict::error(ErrorKind::Golden, "no complaint", "model.safetensors: altered").owned_by(Owner::File);
    let behind = || Verdict::error(ErrorKind::Gate, "an open gate", "gate F-G1 failed: altered").owned_by(Owner::File);
    let mut problem = Record::of("20261121T101112Z-7", "matrix::model::far", &Verdict::error(ErrorKind::Golden, "a golden", "none"));
    problem.claim.id = "matrix".into();
    problem.reproduce = "cargo test --test falsify -- --exact 'matrix::model::far'".into();
    let mut records = vec![
        record("a-tiny::gguf::q4_0::native::F-G4-logits::code", "F-G4", wrong(300.0, None)),
        record("a-tiny::gguf::q4_0::native::F-G4-logits::text", "F-G4", wrong(7.0, None)),
        record("a-tiny::gguf::q4_0::native::F-G4-sketch-prefill::code", "F-G4", wrong(2.0, Some("blk.1.attn.q"))),
        record("a-tiny::gguf::q4_0::native::CANARY::code", "CANARY", wrong(1.5, None)),
        record("a-tiny::safetensors::f32::native::F-G4-logits::code", "F-G4", green()),
        record("b-tiny::safetensors::f32::native::F-G1", "F-G1", closed),
        record("b-tiny::safetensors::f32::native::F-G4-logits::code", "F-G4", behind()),
        problem,
    ];
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Evidence { records, manifest: None }
}

fn manifest(evidence: &Evidence) -> Manifest {
    let run = Run::named(std::path::Path::new("/nowhere"), "20261121T101112Z-7");
    let counts = Counts { applicable: evidence.records.len(), ..Counts::default() };
    let environment = Environment {
        os: "linux".into(),
        arch: "x86_64".into(),
        cpu: "A CPU".into(),
        cores: 4,
        threads: 2,
        suite: "0.1.0".into(),
        rustc: "rustc 1.90.0".into(),
        variables: [("GROUND_TRUTH_MODELS".to_owned(), "more/models".to_owned())].into(),
    };
    let mut manifest = Manifest::new(&run, environment, Part { counts, ..Part::default() });
    manifest.records = evidence.records.len();
    manifest.counts.corroborated = evidence.records.len();
    manifest.prompts_sha256 = "ab".repeat(32);
    manifest.files = vec![ModelFile { model: "a-tiny".into(), path: "testdata/models/a-tiny/config.json".into(), sha256: "cd".repeat(32) }];
    assert_eq!(Kind::Unknown, run.kind());
    manifest
}

#[test]
fn a_ticket_for_each_thing_to_mend() {
    let mut evidence = evidence();
    evidence.manifest = Some(manifest(&evidence));
    let shortest = evidence.records.iter_mut().find(|record| record.name.ends_with("F-G4-logits::text")).unwrap();
    shortest.minimal = Some(Minimal { tokens: 2, position: 1, ids: vec![1, 457], questions: 4 });
    let mut power = Record::of("p", "separation::F-G4-logits", &Verdict::corroborated(1, "", ""));
    power.measures = vec![Number { name: "inverse".into(), observed: 0.02, bound: Some(1.0 / 3.0), unit: String::new() }];
    let tickets = Tickets::of("20261121T101112Z-7", &evidence, &[power]);
    assert_eq!(tickets.tickets.iter().map(|ticket| ticket.claim.as_str()).collect::<Vec<_>>(), ["matrix", "F-G1", "F-G4", "CANARY"]);
    assert_eq!(tickets.tickets.iter().map(|ticket| (ticket.rows, ticket.behind)).collect::<Vec<_>>(), [(1, 0), (1, 1), (3, 0), (1, 0)]);
    let text = markdown(&tickets);
    pinned().bind(|| insta::assert_snapshot!("ticket", text));
}

#[test]
fn a_cell_without_rows_about_stages_takes_the_stage_of_its_siblings() {
    let mut evidence = evidence();
    evidence.records.push(record("a-tiny::gguf::q8_0::native::F-G4-kl::code", "F-G4", wrong(9.0, None)));
    let tickets = Tickets::of("r", &evidence, &[]);
    let ticket = tickets.tickets.iter().find(|ticket| ticket.claim == "F-G4").unwrap();
    assert_eq!((ticket.rows, ticket.stage.as_deref()), (4, Some("blk.1.attn.q")));
    // Another model's stage says nothing here.
    evidence.records.push(record("b-tiny::gguf::q8_0::native::F-G4-kl::code", "F-G4", wrong(9.0, None)));
    assert!(Tickets::of("r", &evidence, &[]).tickets.iter().any(|ticket| ticket.claim == "F-G4" && ticket.stage.is_none()));
}

#[test]
fn a_broken_model_is_the_file_in_every_column() {
    let refused = |owner| Verdict::error(ErrorKind::Refused, "no complaint", "model.safetensors: too short").owned_by(owner);
    let records = [
        ("a-tiny::gguf::q4_0::native::F-G1", Owner::Runtime),
        ("a-tiny::gguf::q4_0::native::F-G3", Owner::Runtime),
        ("a-tiny::safetensors::f32::native::F-G1", Owner::File),
    ];
    let records = records.map(|(name, owner)| record(name, &name[name.len() - 4..], refused(owner))).to_vec();
    let tickets = Tickets::of("r", &Evidence { records, manifest: None }, &[]);
    let owners: Vec<(&str, &str, usize)> = tickets.tickets.iter().map(|t| (t.claim.as_str(), t.owner.as_str(), t.rows)).collect();
    assert_eq!(owners, [("F-G1", "file", 2), ("F-G3", "file", 1)]);
}

#[test]
fn what_a_halt_left_out_is_a_note_and_no_ticket() {
    let mut evidence = evidence();
    let halted = Verdict::error(ErrorKind::Gate, "a run that goes on", "halted by a-tiny::gguf::q4_0::native::CANARY::code");
    evidence.records.push(record("a-tiny::gguf::q8_0::native::F-G4-kl::code", "F-G4", halted));
    let tickets = Tickets::of("r", &evidence, &[]);
    assert_eq!(tickets.tickets.len(), 4);
    assert!(tickets.notes.iter().any(|note| note.starts_with("1 row not judged: halted by ")), "{:?}", tickets.notes);
    evidence.records.retain(Record::is_halted);
    assert_eq!(Tickets::of("r", &evidence, &[]).tickets.len(), 1, "nothing red is ever without a ticket");
}

#[test]
fn each_mutant_that_survived_is_a_ticket() {
    let survivor = |name: &str| {
        let mut record =
            Record::of("m", &format!("mutant::a-crate::{name}"), &Verdict::falsified("a test that fails", "every test passes"));
        record.claim.id = "MUTANT".into();
        record.owner = "suite".into();
        record.reproduce = format!("cargo mutants -p a-crate --re '{name}'");
        record
    };
    let records = ["src/a.rs:1:2: replace < with <=", "src/b.rs:3:4: replace f -> usize with 0"].map(survivor).to_vec();
    let tickets = Tickets::of("m", &Evidence { records, manifest: None }, &[]);
    let titles: Vec<&str> = tickets.tickets.iter().map(|ticket| ticket.title.as_str()).collect();
    assert_eq!(titles.len(), 2);
    assert!(titles.contains(&"MUTANT falsified by mutant::a-crate::src/a.rs:1:2: replace < with <=: owner suite"), "{titles:?}");
    assert!(markdown(&tickets).contains("cargo mutants -p a-crate --re"));
}

#[test]
fn the_same_evidence_gives_the_same_bytes() {
    let (mut one, mut other) = (evidence(), evidence());
    one.manifest = Some(manifest(&one));
    other.manifest = Some(manifest(&other));
    let (one, other) = (Tickets::of("r", &one, &[]), Tickets::of("r", &other, &[]));
    assert_eq!(markdown(&one), markdown(&other));
    assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
}

#[test]
fn a_green_run_has_one_line_and_no_ticket() {
    let mut evidence = evidence();
    evidence.records.retain(Record::is_green);
    evidence.manifest = Some(manifest(&evidence));
    let text = markdown(&Tickets::of("r", &evidence, &[]));
    assert_eq!(text, "No failure: 1 row of run `r`, none red.\n");
}

#[test]
fn what_the_evidence_lacks_is_said() {
    let mut evidence = evidence();
    assert!(markdown(&Tickets::of("r", &evidence, &[])).contains("Note: the run has no manifest"));
    let mut short = manifest(&evidence);
    short.records -= 1;
    short.counts.applicable += 5;
    evidence.manifest = Some(short);
    let text = markdown(&Tickets::of("r", &evidence, &[]));
    assert!(text.contains("1 records came after the manifest") && text.contains("the run was filtered"), "{text}");
    assert!(text.contains("Separation: not measured in this run"), "{text}");
}

#[test]
fn the_fingerprint_is_the_same_from_run_to_run() {
    let fingerprints = |evidence: &Evidence| -> Vec<String> {
        Tickets::of("r", evidence, &[]).tickets.into_iter().map(|ticket| ticket.fingerprint).collect()
    };
    let (one, mut other) = (evidence(), evidence());
    other.records.iter_mut().for_each(|record| record.measures.iter_mut().for_each(|number| number.observed *= 1.5));
    assert_eq!(fingerprints(&one), fingerprints(&other));
    let unique: std::collections::BTreeSet<_> = fingerprints(&one).into_iter().collect();
    assert_eq!(unique.len(), 4);
}

/// Evidence in which every text that can come from outside is one of these.
fn hostile(payload: &str) -> Evidence {
    let mut evidence = evidence();
    for record in evidence.records.iter_mut().filter(|record| record.is_red()) {
        record.expected = format!("{payload} expected");
        record.observed = payload.to_owned();
        record.claim.sentence = payload.to_owned();
        record.claim.refuted_by = payload.to_owned();
        record.reproduce = crate::escape::quoted(payload);
        record.bounds = vec![payload.to_owned()];
        record.measures.iter_mut().for_each(|number| (number.name, number.unit) = (payload.to_owned(), payload.to_owned()));
        record.versions.runtime = payload.to_owned();
        record.versions.oracle.insert(payload.to_owned(), payload.to_owned());
        record.place = Where { tensor: Some(payload.to_owned()), token: Some(payload.to_owned()), ..Where::default() };
        let name = record.name.replace("-tiny", &format!("-{}", payload.replace("::", ":")));
        if let Some(axes) = record.axes.as_mut() {
            axes.model = name.split("::").next().unwrap_or_default().to_owned();
        }
        record.name = name;
    }
    evidence
}

/// What Markdown means by a text: the lines outside of code blocks, without their code spans. The fences are read as GitHub reads them.
fn outside_of_code(text: &str) -> String {
    let mut out = String::new();
    let mut fence: Option<usize> = None;
    for line in text.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match fence {
            Some(open) if ticks >= open && line.trim_end() == "`".repeat(ticks) => fence = None,
            Some(_) => {}
            None if ticks >= 3 => fence = Some(ticks),
            None => out.push_str(&(without_spans(line) + "\n")),
        }
    }
    assert!(fence.is_none(), "a code block that nothing ends");
    out
}

fn without_spans(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        let ticks = rest[at..].len() - rest[at..].trim_start_matches('`').len();
        let after = &rest[at + ticks..];
        let mut end = None;
        let mut from = 0;
        while let Some(next) = after[from..].find('`').map(|i| from + i) {
            let run = after[next..].len() - after[next..].trim_start_matches('`').len();
            if run == ticks {
                end = Some(next + run);
                break;
            }
            from = next + run;
        }
        out.push_str(&rest[..at]);
        rest = &after[end.unwrap_or_else(|| panic!("a code span that nothing ends: {line}"))..];
    }
    out + rest
}

#[test]
fn forty_payloads_are_text_in_markdown_and_json() {
    let mut shown = String::new();
    for (what, payload) in PAYLOADS {
        let tickets = Tickets::of("r", &hostile(payload), &[]);
        let text = markdown(&tickets);
        assert_eq!(first_active(&text), None, "{what}");
        let outside = outside_of_code(&text);
        // What is left is ours: no tag, link, image, mention, emphasis or escape.
        for sign in ['<', '>', '@', '!', '[', ']', '`', '~', '$', '\\', '&'] {
            assert!(!outside.contains(sign), "{what}: `{sign}` in\n{outside}");
        }
        let emphasis = outside
            .split(|c: char| c.is_whitespace() || c.is_ascii_punctuation() && c != '_')
            .find(|word| word.starts_with('_') || word.ends_with('_'));
        assert_eq!(emphasis, None, "{what}");
        assert!(!outside.contains("://") && !outside.contains("www."), "{what}");
        for line in outside.lines().filter(|line| line.starts_with('|')) {
            let columns = line.matches('|').count();
            assert!((3..=5).contains(&columns), "{what}: {line}");
        }
        let json = crate::escape::json(&serde_json::to_string(&tickets).unwrap());
        assert_eq!(first_active(&json), None, "{what}");
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(back["tickets"].as_array().unwrap().iter().any(|ticket| ticket["example"]["observed"] == payload), "{what}");
        let ticket = tickets.tickets.last().unwrap();
        let line = gh(ticket, &file_name(ticket));
        assert_eq!(first_active(&line), None);
        assert!(!line.contains('\n') && crate::escape::is_plain_name(file_name(ticket).trim_end_matches(".md")), "{line}");
        let page = ticket.markdown();
        let (above, _) = page.split_once("### Five whys").unwrap();
        shown.push_str(&format!("== {what}\n{above}{line}\n\n"));
    }
    pinned().bind(|| insta::assert_snapshot!("ticket_payloads", shown));
}

#[test]
fn how_far_past_its_bound_a_row_is() {
    let of = |measures: &[(f64, Option<f64>)]| {
        let mut record = record("m::f::q::r::c", "F-G4", wrong(300.0, None));
        let number = record.measures[0].clone();
        record.measures = measures.iter().map(|&(observed, bound)| Number { observed, bound, ..number.clone() }).collect();
        group::excess(&record)
    };
    assert_eq!(of(&[]), 0.0);
    assert_eq!(of(&[(3.0, None)]), 0.0);
    assert_eq!(of(&[(2.0, Some(2.0))]), 0.0);
    assert_eq!(of(&[(2.0, Some(2.0)), (9.0, Some(2.0)), (7.0, Some(2.0))]), 4.5);
    for beyond in [(f64::NAN, Some(1.0)), (1.0, Some(f64::NAN)), (1.0, Some(0.0)), (1.0, Some(-1.0))] {
        assert_eq!(of(&[(3.0, Some(2.0)), beyond]), f64::INFINITY, "{beyond:?}");
    }
}

/// What fails and what passes in the same check of the same cell, eight names of each at most.
#[test]
fn prompts_that_fail_are_told_from_those_that_pass() {
    let row = |prompt: &str, red: bool| {
        let verdict = if red { wrong(9.0, None) } else { Verdict::corroborated(1, "", "") };
        record(&format!("m::gguf::q4_0::native::F-G4-logits::{prompt}"), "F-G4", verdict)
    };
    let said = |red: usize, green: usize| {
        let red = (0..red).map(|i| row(&format!("r{i}"), true));
        let records: Vec<Record> = red.chain((0..green).map(|i| row(&format!("g{i}"), false))).collect();
        let tickets = Tickets::of("r", &Evidence { records, manifest: None }, &[]).tickets;
        tickets[0].apart.iter().find(|line| line.starts_with("in the failing cells")).cloned()
    };
    assert_eq!(said(2, 0), None);
    assert_eq!(said(2, 1).as_deref(), Some("in the failing cells 2 prompts fail (r0, r1) and 1 pass (g0)"));
    let said = said(8, 9).unwrap();
    assert!(said.contains("8 prompts fail (r0, r1, r2, r3, r4, r5, r6, r7) and 9 pass (g0, ") && said.ends_with(" and 1 more)"), "{said}");
}
