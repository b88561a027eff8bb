//! Diagnosis, held against the faults of the catalogue: each left out of the table in its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ground_truth_falsification::defect::{Defect, Kind, OUTCOMES_TOML, SIGNATURES_TOML};
use ground_truth_falsification::verdict::Verdict;

use super::signature::{BY_HOW_MUCH, Known, Shown, Signature, catalogue, nearest, parse_shown};
use super::*;
use crate::evidence::{Axes, Minimal, Number, Where};
use crate::power::BLESS_VARIABLE;
use crate::power::bench::Bench;
use crate::power::plan::Plan;
use crate::power::spread::spread;
use crate::power::table::{Found, Table};
use crate::workspace::Workspace;

/// A row of a cell.
fn row(cell: &str, check: &str, found: &Found) -> Record {
    let verdict = match found {
        Found::Spared => Verdict::corroborated(1, "", ""),
        Found::Killed | Found::Error(_) => Verdict::falsified("", ""),
    };
    let mut record = Record::of("run", &format!("{cell}::{check}"), &verdict);
    if let Found::Error(kind) = found {
        (record.verdict, record.error) = ("error".to_owned(), Some(kind.clone()));
    }
    let parts: Vec<&str> = cell.split("::").collect();
    let [model, format, quantization, runtime] = parts[..].try_into().map(|parts: [&str; 4]| parts.map(str::to_owned)).unwrap();
    record.axes = Some(Axes { model, format, quantization, runtime, check: check.to_owned(), prompt: None });
    record.owner.clear();
    record
}

const PUBLISHED: &str = "m::safetensors::f32::native";
const GIVEN: &str = "m::gguf::f32@changed::native";
const COLUMN: &str = "m::gguf::q4_0::native";

fn rows(cell: &str, red: &[&str], green: &[&str]) -> Vec<Record> {
    let red = red.iter().map(|check| row(cell, check, &Found::Killed));
    red.chain(green.iter().map(|check| row(cell, check, &Found::Spared))).collect()
}

fn diagnosis_of(records: &[Record], siblings: &[Record]) -> Diagnosis {
    of_cell(&records.iter().collect::<Vec<_>>(), &siblings.iter().collect::<Vec<_>>())
}

#[test]
fn a_green_cell_has_no_diagnosis() {
    assert_eq!(diagnosis_of(&rows(PUBLISHED, &[], &["F-T1"]), &[]), Diagnosis::default());
    assert!(of_run(&rows(PUBLISHED, &[], &["F-T1"])).is_empty());
}

#[test]
fn the_other_cells_tell_the_file_from_the_kernel() {
    let numbers = ["F-G4-logits", "F-G4-kl"];
    let owner = |cell: &str, siblings: &[Record]| diagnosis_of(&rows(cell, &numbers, &["F-T1", "INSPECT"]), siblings).owner;
    let published = |red: bool| if red { rows(PUBLISHED, &numbers, &[]) } else { rows(PUBLISHED, &[], &numbers) };
    assert_eq!(owner(PUBLISHED, &[]), "kernel");
    assert_eq!(owner(PUBLISHED, &rows(COLUMN, &numbers, &[])), "kernel");
    assert_eq!(owner(COLUMN, &published(true)), "kernel");
    assert_eq!(owner(GIVEN, &published(false)), "file");
    // Another runtime reads the same file and is right.
    let other = rows("m::gguf::f32@changed::other", &[], &numbers);
    assert_eq!(owner(GIVEN, &other), "kernel");
    // The files as published cannot be at fault where no cell is right, and where another one is they are not the only ones.
    let why = |siblings: &[Record]| diagnosis_of(&rows(PUBLISHED, &numbers, &["F-T1", "INSPECT"]), siblings).why.join("; ");
    assert!(why(&[]).contains("so they are not at fault") && !why(&[]).contains("it is wrong in"), "{}", why(&[]));
    let wrong_too = why(&rows(COLUMN, &numbers, &[]));
    assert!(wrong_too.contains("it is wrong in gguf q4_0 too"), "{wrong_too}");
    let right_there = why(&rows(COLUMN, &[], &numbers));
    assert!(right_there.contains("right in gguf q4_0 and wrong here"), "{right_there}");
    let why = diagnosis_of(&rows(COLUMN, &numbers, &[]), &published(false)).why;
    assert!(why[0].contains("right in safetensors f32 and wrong here: the kernel or the quantizer of q4_0"), "{why:?}");
}

#[test]
fn values_that_are_right_leave_the_settings() {
    let numbers = ["F-G4-logits", "F-G4-kl", "F-G4-greedy"];
    let others = ["F-T1", "INSPECT", "F-RS6-ids", "F-RS6-special", "F-P4-decode", "C1", "C2", "C5", "C6", "TREE", "HEX", "TENSORS", "V1"];
    let right = diagnosis_of(&rows(GIVEN, &numbers, &[&others[..], &["F-P2"]].concat()), &[]);
    assert_eq!(right.owner, "config");
    assert!(right.why[0].contains("bit for bit (F-P2)"), "{right:?}");
    let wrong = diagnosis_of(&rows(GIVEN, &[&numbers[..], &["F-P2"]].concat(), &others), &[]);
    assert_eq!(wrong.owner, "file");
    let touches = |diagnosis: &Diagnosis, what: &str| {
        let known = catalogue().unwrap();
        let of = |alike: &Likeness| {
            known.iter().filter(|known| known.defect.id == alike.defect).any(|known| known.shown.touches.as_deref() == Some(what))
        };
        diagnosis.alike.iter().any(of)
    };
    assert!(!right.alike.is_empty() && !touches(&right, "file"), "{right:?}");
    assert!(!wrong.alike.is_empty() && !touches(&wrong, "config"), "{wrong:?}");
}

#[test]
fn kinds_of_rows_tell_the_rest() {
    let owner = |red: &[&str], green: &[&str]| diagnosis_of(&rows(PUBLISHED, red, green), &[]).owner;
    assert_eq!(owner(&["F-RS6-ids", "PPL"], &["F-G4-logits"]), "tokenizer");
    assert_eq!(owner(&["F-T1", "F-G4-logits"], &["INSPECT"]), "runtime", "the gate has verified the files");
    assert_eq!(diagnosis_of(&rows(GIVEN, &["F-T1", "F-G4-logits"], &["INSPECT"]), &[]).owner, "file");
    assert_eq!(owner(&["INSPECT", "F-G4-greedy", "INV-generate"], &["F-G4-logits"]), "config");
    assert_eq!(owner(&["INV-threads"], &["F-G4-logits"]), "runtime");
    assert_eq!(diagnosis_of(&rows(COLUMN, &["INV-convert"], &["F-G4-logits"]), &[]).owner, "file");
    assert_eq!(owner(&["CHAT-ids"], &["F-G4-logits"]), "tokenizer");
    let mut hangs = rows(PUBLISHED, &["F-G4-logits"], &[]);
    hangs.push(row(PUBLISHED, "F-T1", &Found::Error("timeout".to_owned())));
    assert_eq!(diagnosis_of(&hangs, &[]).owner, "runtime");
}

#[test]
fn a_gate_names_its_file() {
    let owner = |observed: &str, owner: &str| {
        let mut gate = row(PUBLISHED, "F-G1", &Found::Killed);
        (gate.observed, gate.owner) = (observed.to_owned(), owner.to_owned());
        let mut behind = row(PUBLISHED, "F-G4-logits", &Found::Error("gate".to_owned()));
        behind.behind_gate = true;
        diagnosis_of(&[gate, behind], &[]).owner
    };
    assert_eq!(owner("testdata/models/m/config.json: altered", "file"), "config");
    assert_eq!(owner("testdata/models/m/tokenizer_config.json: altered", "file"), "tokenizer");
    assert_eq!(owner("testdata/models/m/vocab.json: altered", "file"), "tokenizer");
    assert_eq!(owner("testdata/models/m/merges.txt: altered", "file"), "tokenizer");
    assert_eq!(owner("testdata/models/m/generation_config.json: altered", "file"), "config");
    assert_eq!(owner("testdata/models/m/model.safetensors: altered", "file"), "file");
    assert_eq!(owner("golden/m/index.json: altered", "golden"), "golden");
    let refused = |key: &str| owner(&format!("loading failed: refused (gguf): m.gguf: key `{key}` is u32 4"), "file");
    assert_eq!(refused("llama.rope.dimension_count"), "config");
    assert_eq!(refused("tokenizer.ggml.token_type"), "tokenizer");
}

#[test]
fn a_model_that_is_refused_before_its_rows_are_listed_has_an_owner() {
    let refused = |observed: &str| {
        let mut record = row(PUBLISHED, "F-G1", &Found::Killed);
        (record.axes, record.owner) = (None, "file".to_owned());
        (record.name, record.observed) = ("matrix::model::m".to_owned(), observed.to_owned());
        of_run(&[record])
    };
    let found = refused("refused (model): m/model.safetensors: tensor `model.norm.weight`: shape [32], the configuration asks for [64]");
    assert_eq!((found.len(), found[0].cell.as_str(), found[0].diagnosis.owner.as_str()), (1, "m", "file"));
    assert_eq!(refused("refused (config): m/config.json: field `attn_factor` is not known")[0].diagnosis.owner, "config");
}

#[test]
fn settings_are_told_from_values_and_texts_from_logits() {
    let file = "m::gguf::q8_0@mine.gguf::native";
    let others = ["F-T1", "INSPECT", "F-RS6-ids", "F-P4-decode", "C1", "C2"];
    assert_eq!(diagnosis_of(&rows(file, &["V2-settings", "F-G3-types", "PPL-quantized"], &others), &[]).owner, "config");
    let mut records = rows(file, &["PPL"], &others);
    let own = |records: &mut Vec<Record>, owner: &str| {
        records.iter_mut().filter(|record| !record.is_green()).for_each(|record| record.owner = owner.to_owned());
    };
    own(&mut records, "tokenizer");
    assert_eq!(diagnosis_of(&records, &[]).owner, "tokenizer");
    own(&mut records, "kernel");
    assert_ne!(diagnosis_of(&records, &[]).owner, "tokenizer");
}

#[test]
fn cells_are_diagnosed_apart_and_siblings_are_those_of_the_same_model() {
    let mut records = rows(PUBLISHED, &[], &["F-G4-logits"]);
    records.extend(rows(COLUMN, &["F-G4-logits"], &["F-T1"]));
    records.extend(rows("n::safetensors::f32::native", &["F-G4-logits"], &[]));
    let findings = of_run(&records);
    assert_eq!(findings.iter().map(|finding| finding.cell.as_str()).collect::<Vec<_>>(), [COLUMN, "n::safetensors::f32::native"]);
    assert!(findings[0].diagnosis.why[0].contains("right in safetensors f32"), "{findings:?}");
    assert!(!findings[1].diagnosis.why[0].contains("right in"), "{findings:?}");
}

#[test]
fn distance_is_zero_for_the_same_and_nothing_is_like_what_shares_no_red_check() {
    let of = |red: &[&str], green: &[&str], stage: Option<&str>| Signature {
        judged: red.iter().map(|id| ((*id).to_owned(), true)).chain(green.iter().map(|id| ((*id).to_owned(), false))).collect(),
        stage: stage.map(str::to_owned),
        ..Signature::default()
    };
    let rest = ["C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M"];
    let own = of(&["A", "B"], &rest, Some("blk.0.attn.q"));
    let distance = |other: &Signature| own.distance(other).unwrap();
    assert!(distance(&own).abs() < 1e-12);
    assert_eq!(own.distance(&of(&rest, &["A", "B"], None)), None);
    assert_eq!(own.distance(&of(&[], &[&["A", "B"][..], &rest].concat(), None)), None);
    assert_eq!(own.distance(&of(&["A", "B"], &["C", "D"], Some("blk.0.attn.q"))), None, "four checks say nothing");
    // A stage that differs counts more than a block, and a check that was never tried less than one that was spared.
    let (stage, block) = (of(&["A", "B"], &rest, Some("blk.0.mlp_out")), of(&["A", "B"], &rest, Some("blk.1.attn.q")));
    assert!(distance(&stage) > distance(&block) && distance(&block) > 0.0);
    assert!(distance(&of(&["A"], &rest, None)) < distance(&of(&["A"], &[&["B"][..], &rest].concat(), None)));
}

/// Each part of the distance alone, in thousandths, by the weights that stand in its file: checks 0.3, stage 0.3, position 0.2, size 0.2.
#[test]
fn the_distance_is_the_weighted_mean_of_its_parts() {
    let judged = |red: usize| (0..12).map(|i| (format!("C{i:02}"), i < red)).collect::<BTreeMap<_, _>>();
    let own = Signature { judged: judged(2), stage: Some("blk.0.attn.q".to_owned()), first_position: Some(true), size: Some(3.0) };
    let apart = |change: fn(&mut Signature)| {
        let mut other = own.clone();
        change(&mut other);
        let distance = own.distance(&other).unwrap();
        assert!((other.distance(&own).unwrap() - distance).abs() < 1e-12, "the same both ways");
        (distance * 1e3).round() as i64
    };
    assert_eq!(apart(|_| {}), 0);
    // One red check of two in common, then one of three.
    assert_eq!(apart(|other| other.judged.extend([("C01".to_owned(), false)])), 150);
    let exchanged = |other: &mut Signature| other.judged.extend([("C01".to_owned(), false), ("C05".to_owned(), true)]);
    assert_eq!(apart(exchanged), 200);
    assert_eq!(apart(|other| other.stage = Some("blk.0.mlp_out".to_owned())), 300);
    assert_eq!(apart(|other| other.stage = Some("blk.3.attn.q".to_owned())), 90);
    assert_eq!(apart(|other| other.first_position = Some(false)), 200);
    assert_eq!(apart(|other| other.size = Some(1.0)), 100);
    assert_eq!(apart(|other| other.size = Some(-1.0)), 200);
    assert_eq!(apart(|other| other.size = Some(-9.0)), 200);
    // What one of them does not show is no part of it: the size is two tenths of eight.
    assert_eq!(apart(|other| (other.first_position, other.size) = (None, Some(1.0))), 125);
    assert_eq!(apart(|other| (other.stage, other.first_position, other.size) = (None, None, None)), 0);
    // A check that was never tried there is half a difference: one of one and a half in common.
    let mut known = own.clone();
    known.judged.remove("C01");
    known.judged.insert("C12".to_owned(), false);
    let mut more = own.clone();
    more.judged.insert("C12".to_owned(), false);
    assert!((more.distance(&known).unwrap() - 0.3 * (1.0 - 1.0 / 1.5)).abs() < 1e-12, "{:?}", more.distance(&known));
    let mut fewer = own.clone();
    fewer.judged.remove("C11");
    assert_eq!(own.distance(&fewer), None, "eleven in common");
}

/// The cell that a defect would leave behind: of an artifact or a file, that of a file on trial beside the published model, which is right; of a
/// runtime, that of the published model. `blind`: the runtime shows no stages.
fn cell_of_defect(known: &Known, found: &BTreeMap<String, Found>, blind: bool) -> (Vec<Record>, Vec<Record>) {
    let given = known.defect.kind != Kind::Runtime;
    let cell = if given { GIVEN } else { PUBLISHED };
    let sees = |check: &str| !blind || !check.starts_with("F-G4-sketch");
    let mut records: Vec<Record> = found.iter().filter(|(check, _)| sees(check)).map(|(check, found)| row(cell, check, found)).collect();
    if let Some(record) = records.iter_mut().find(|record| record.name.ends_with(BY_HOW_MUCH) && !record.is_green()) {
        let Shown { stage, position, size, .. } = known.shown.clone();
        record.place = Where { stage: stage.filter(|_| !blind), ..Where::default() };
        record.minimal = position.map(|position| Minimal { tokens: position + 1, position, ids: Vec::new(), questions: 0 });
        let number = |size: f64| Number { name: "x".into(), observed: 10f64.powf(size), bound: Some(1.0), unit: String::new() };
        record.measures = size.map(number).into_iter().collect();
    }
    let siblings = if given { rows(PUBLISHED, &[], &["F-G4-logits"]) } else { Vec::new() };
    (records, siblings)
}

/// Whom a diagnosis may name. Of an artifact, what it touches. A runtime that tells lies about a file alone, or about ids alone, cannot be told
/// from a file or a tokenizer that is wrong.
fn owners(known: &Known) -> BTreeSet<&str> {
    match known.defect.kind {
        Kind::Artifact => known.shown.touches.as_deref().unwrap_or_default().split(' ').collect(),
        Kind::File => BTreeSet::from(["file", "config", "tokenizer"]),
        Kind::Runtime => {
            let all = |begins: &[&str]| known.defect.kills.iter().all(|check| begins.iter().any(|begin| check.starts_with(begin)));
            let mut owners = BTreeSet::from(["runtime", "kernel"]);
            if all(&["F-RS6", "F-E3", "F-P4", "CHAT"]) {
                owners.insert("tokenizer");
            }
            if known.defect.id.starts_with("container-")
                || known.defect.id.starts_with("weights-")
                || known.defect.id.ends_with("-misreported")
            {
                owners.extend(["file", "config"]);
            }
            // `config` is the configuration, or how it was read.
            if known.defect.id.starts_with("metadata-") {
                owners.insert("config");
            }
            owners
        }
    }
}

/// Right ones of all.
#[derive(Default)]
struct Share {
    right: usize,
    all: usize,
    wrong: String,
}

impl Share {
    fn count(&mut self, right: bool, known: &Known, told: &str) {
        self.all += 1;
        self.right += usize::from(right);
        if !right {
            let _ = writeln!(self.wrong, "  {} in {}: {told}", known.name, known.model);
        }
    }

    fn value(&self) -> f64 {
        self.right as f64 / self.all as f64
    }
}

/// Every artifact and runtime defect at every strength in every model, diagnosed with its record left out of the table.
///
/// Stage: of the artifact defects that move a stage, whether the stage that was found is the first that the changed tensors and settings feed;
/// without sketches, whether the nearest other defect's is the same part of the network. Owner: whether it is what the defect touches.
#[test]
fn what_the_catalogue_would_be_taken_for_without_each_record() {
    let table = Table::parse(OUTCOMES_TOML).unwrap();
    let (mut owner, mut blind, mut stage, mut part) = (Share::default(), Share::default(), Share::default(), Share::default());
    for known in catalogue().unwrap().iter().filter(|known| known.defect.kind != Kind::File) {
        let found = &table.entries[&(known.name.clone(), known.model.clone())].found;
        if found.values().all(|found| *found == Found::Spared) {
            continue;
        }
        if known.defect.kind == Kind::Artifact && known.shown.touches.is_none() {
            // Its record is newer than the table of signatures.
            continue;
        }
        for (blindly, share) in [(false, &mut owner), (true, &mut blind)] {
            let (records, siblings) = cell_of_defect(known, found, blindly);
            let (records, siblings): (Vec<&Record>, Vec<&Record>) = (records.iter().collect(), siblings.iter().collect());
            // What only sketches see, nobody sees without them.
            if records.iter().all(|record| record.is_green()) {
                continue;
            }
            let diagnosis = diagnosed(&records, &siblings, Some(&known.defect.id));
            share.count(owners(known).contains(diagnosis.owner.as_str()), known, &format!("{} for {:?}", diagnosis.owner, owners(known)));
        }
        let (Some(found_stage), Some(feeds)) = (&known.shown.stage, &known.shown.feeds) else { continue };
        stage.count(found_stage == feeds, known, &format!("{found_stage} for {feeds}"));
        let (records, _) = cell_of_defect(known, found, true);
        let near = nearest(&Signature::of(&records.iter().collect::<Vec<_>>()), catalogue().unwrap().iter(), Some(&known.defect.id));
        let guess = near.iter().find_map(|(_, other)| other.shown.stage.as_deref()).unwrap_or_default();
        part.count(stage::part(guess) == stage::part(found_stage), known, &format!("{guess} for {found_stage}"));
    }
    for (what, share, least) in [
        ("owner", &owner, 0.88),
        ("owner, without sketches", &blind, 0.86),
        ("stage", &stage, 0.88),
        ("part of the network, without sketches", &part, 0.15),
    ] {
        println!("{what}: {} of {} = {:.3}\n{}", share.right, share.all, share.value(), share.wrong);
        assert!(share.value() >= least, "{what}: {} of {}, {least} is due\n{}", share.right, share.all, share.wrong);
    }
}

/// Where a defect shows is measured on the engine; `GROUND_TRUTH_BLESS=1` writes it.
#[test]
fn the_committed_signatures_are_those_that_the_engine_shows() {
    let workspace = Workspace::from_env();
    let plan = Plan::carried();
    let is_shown = |bench: &&Bench| {
        // One that hangs shows nothing, and takes its time over that.
        let hangs = |record: &Defect| record.errors.iter().any(|kind| kind == "timeout");
        let record = bench.record.filter(|record| record.kind != Kind::File && record.refused.is_none() && !hangs(record));
        bench.bed.form.primary && record.is_some()
    };
    let benches: Vec<&Bench> = plan.benches.iter().filter(is_shown).collect();
    let shown = spread(&benches, |bench| {
        bench.expect();
        let shown = bench.shown().unwrap();
        bench.done();
        (format!("{}.{}", bench.key.0, bench.key.1), shown)
    });
    let found: BTreeMap<String, Shown> = shown.into_iter().filter(|(_, shown)| *shown != Shown::default()).collect();
    if std::env::var_os(BLESS_VARIABLE).is_some_and(|value| value == "1") && std::env::var_os("CI").is_none() {
        let path = workspace.root().join("falsification/signatures.toml");
        let head: String = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .take_while(|line| line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(path, head + "\n" + &text(&found)).unwrap();
        return;
    }
    let committed = parse_shown(SIGNATURES_TOML).unwrap();
    let coarse = |shown: Option<&Shown>| {
        let shown = shown.cloned().unwrap_or_default();
        (shown.touches, shown.feeds, shown.stage, shown.position.map(|position| position == 0))
    };
    let sizes_agree = |name: &String| match (committed.get(name).and_then(|shown| shown.size), found.get(name).and_then(|shown| shown.size))
    {
        (Some(a), Some(b)) => (a - b).abs() < 0.5,
        (a, b) => a.is_none() && b.is_none(),
    };
    let names: BTreeSet<&String> = committed.keys().chain(found.keys()).collect();
    let other: Vec<&String> =
        names.into_iter().filter(|name| coarse(committed.get(*name)) != coarse(found.get(*name)) || !sizes_agree(name)).collect();
    assert!(other.is_empty(), "{other:?} show themselves otherwise than signatures.toml says; {BLESS_VARIABLE}=1 writes it");
}

fn text(found: &BTreeMap<String, Shown>) -> String {
    let mut text = String::new();
    for (name, shown) in found {
        let word = |key: &str, value: &Option<String>| value.as_ref().map(|value| format!("{key} = \"{value}\""));
        let parts = [
            word("touches", &shown.touches),
            word("feeds", &shown.feeds),
            word("stage", &shown.stage),
            shown.position.map(|position| format!("position = {position}")),
            shown.size.map(|size| format!("size = {size:.1}")),
        ];
        let _ = writeln!(text, "\"{name}\" = {{ {} }}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
    }
    text
}
