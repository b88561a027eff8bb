//! The trials of power, tried themselves: each must be red where the committed table, or what it is about, is not what it says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use ground_truth::{Checkpoint, Tensor};
use ground_truth_falsification::observation::{Answer, Failure, Peer, Peers as _, Question};
use ground_truth_falsification::verdict::Outcome;
use sha2::{Digest as _, Sha256};

use super::table::{Effect, Found};
use super::*;
use crate::defect::Make;

/// What a run starts from; its records go to a folder of its own.
fn bureau(change: impl FnOnce(&mut Table)) -> (Bureau, tempfile::TempDir) {
    let workspace = Workspace::from_env();
    let text = std::fs::read_to_string(workspace.root().join(TABLE)).unwrap();
    let mut table = Table::parse(&text).unwrap();
    change(&mut table);
    let out = tempfile::tempdir().unwrap();
    let bureau = Bureau {
        judged: AtomicUsize::new(0),
        plan: Plan::carried(),
        table: Ok(table),
        blessing: false,
        run: Run::of_this_process(out.path(), Kind::Power),
        reds: Mutex::default(),
        separations: Mutex::default(),
        measured: Measured::read(workspace.root()),
        newer: Mutex::default(),
        workspace,
    };
    (bureau, out)
}

fn found<'t>(table: &'t mut Table, (defect, model): (&str, &str), check: &str) -> &'t mut Found {
    let entry = table.entries.get_mut(&(defect.to_owned(), model.to_owned())).unwrap();
    entry.found.get_mut(check).unwrap()
}

/// The trial of this name.
fn task(bureau: &Bureau, name: &str) -> Task {
    let found = bureau.plan.tasks.iter().find(|(other, _)| other == name);
    found.unwrap_or_else(|| panic!("no trial is called {name}")).1
}

/// What the trial of this name observes, if it is green, and what it says if it is not.
fn told(bureau: &Bureau, name: &str) -> Result<String, String> {
    let verdict = bureau.finding(task(bureau, name)).verdict;
    if verdict.outcome == Outcome::Corroborated {
        Ok(verdict.observed)
    } else {
        Err(format!("{} / {}", verdict.expected, verdict.observed))
    }
}

#[test]
fn what_the_committed_table_says_of_each_record_and_of_each_check_holds() {
    let (bureau, _out) = bureau(|_| {});
    let about = |task: &Task| matches!(task, Task::Record { .. } | Task::Proof { .. } | Task::Complete);
    let mut tried = 0;
    for (name, _) in bureau.plan.tasks.iter().filter(|(_, task)| about(task)) {
        assert_eq!(told(&bureau, name).err(), None, "{name}");
        tried += 1;
    }
    assert_eq!(tried, bureau.plan.defects.len() + bureau.plan.catalogue.len() + 1);
}

#[test]
fn a_table_that_lacks_an_entry_or_has_one_too_many_is_not_complete() {
    let key = |defect: &str| (defect.to_owned(), "llama-tiny".to_owned());
    let (bureau, _out) = bureau(|table| {
        let moved = table.entries.remove(&key("kv-swapped")).unwrap();
        table.entries.insert(key("no-such-defect"), moved);
        table.entries.get_mut(&key("rope-direction")).unwrap().found.insert("NO-SUCH-CHECK".to_owned(), Found::Spared);
    });
    let said = told(&bureau, "table::complete").unwrap_err();
    assert!(said.contains("missing: kv-swapped.llama-tiny; not tried any more: "), "{said}");
    assert!(said.contains("no-such-defect.llama-tiny, rope-direction.llama-tiny: NO-SUCH-CHECK"), "{said}");
}

#[test]
fn a_record_is_red_where_the_table_spares_what_it_kills_or_kills_what_it_spares() {
    let at = ("kv-swapped", "llama-tiny");
    let record = |bureau: &Bureau| bureau.plan.defects.iter().find(|record| record.id == at.0).unwrap().clone();
    let (sound, _out) = bureau(|_| {});
    let (kills, spares) = (record(&sound).kills[0].clone(), record(&sound).spares[0].clone());
    let (bureau, _out) = bureau(|table| {
        *found(table, at, &kills) = Found::Spared;
        *found(table, at, &spares) = Found::Killed;
    });
    let said = told(&bureau, "record::kv-swapped").unwrap_err();
    assert!(said.contains(&format!("`{kills}` is in its kills and does not kill `kv-swapped` in llama-tiny")), "{said}");
    assert!(said.contains(&format!("`{spares}` is in its spares and does not spare `kv-swapped` in llama-tiny")), "{said}");
}

#[test]
fn a_defect_that_nothing_kills_is_red_and_an_equivalent_one_is_not_counted() {
    let key = || ("kv-swapped".to_owned(), "llama-tiny".to_owned());
    let spare = |table: &mut Table| {
        let entry = table.entries.get_mut(&key()).unwrap();
        entry.found.values_mut().for_each(|found| *found = Found::Spared);
    };
    let (bureau_, _out) = bureau(spare);
    let said = told(&bureau_, "record::kv-swapped").unwrap_err();
    assert!(said.ends_with("nothing kills `kv-swapped` in llama-tiny: the catalogue lacks a check"), "{said}");
    let text = summary::text(&bureau_, Duration::from_secs(1));
    assert!(text.contains("unkilled 1 (kv-swapped in llama-tiny)"), "{text}");
    let (bureau_, _out) = bureau(|table| {
        spare(table);
        table.entries.get_mut(&key()).unwrap().effect = Some(Effect::Equivalent);
    });
    assert_eq!(told(&bureau_, "record::kv-swapped").err(), None);
    assert!(summary::text(&bureau_, Duration::from_secs(1)).contains("kv-swapped in llama-tiny"), "listed as equivalent");
}

#[test]
fn a_check_that_refutes_nothing_is_not_proven_and_errors_do_not_prove_it() {
    let (bureau, _out) = bureau(|table| {
        for entry in table.entries.values_mut() {
            entry.found.entry("CANARY".to_owned()).and_modify(|found| *found = Found::Error("crash".to_owned()));
        }
    });
    assert!(told(&bureau, "proof::CANARY").unwrap_err().ends_with(" / none"));
    assert!(summary::text(&bureau, Duration::from_secs(1)).contains("not proven: CANARY"));
}

#[test]
fn the_last_lines_say_what_was_tried_and_what_is_red() {
    let (bureau, _out) = bureau(|_| {});
    let word = |bureau: &Bureau| {
        let text = summary::text(bureau, Duration::from_millis(1500));
        text.lines().last().unwrap().to_owned()
    };
    assert!(word(&bureau).contains("NOTHING TRIED: 0 tests, 0 red, "), "{}", word(&bureau));
    let all = bureau.plan.tasks.len();
    bureau.judged.store(all - 2, Ordering::Relaxed);
    assert_eq!(word(&bureau), format!("power         PROVEN: {} tests, 0 red, 2 filtered out, 1.5 s", all - 2));
    bureau.judged.store(all, Ordering::Relaxed);
    let record = Record::of("run", "a::trial", &Verdict::falsified("this", "that"));
    *bureau.reds.lock().unwrap() = vec![record; 9];
    assert_eq!(word(&bureau), format!("power         RED: {all} tests, 9 red, 1.5 s"));
    bureau.separations.lock().unwrap().extend([("A".to_owned(), 5.0), ("B".to_owned(), 3.5), ("C".to_owned(), 4.0)]);
    let text = summary::text(&bureau, Duration::from_millis(1500));
    assert_eq!(text.matches("a::trial").count(), 8, "{text}");
    assert!(text.contains("\nand 1 more\n"), "{text}");
    assert!(text.contains("all proven") && text.contains("; weakest separation 3.50 (B)"), "{text}");
    assert!(text.contains("unkilled 0\n"), "{text}");
    let outcomes: usize = bureau.table.as_ref().unwrap().entries.values().map(|entry| entry.found.len()).sum();
    let line = text.lines().find(|line| line.starts_with("outcomes")).unwrap();
    let numbers: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], outcomes, "{line}");
    assert_eq!(numbers[0], numbers[1..].iter().sum::<usize>(), "{line}");
}

#[test]
fn an_outcome_and_an_effect_are_red_where_the_table_has_another_or_none() {
    let key = || ("kv-swapped".to_owned(), "llama-tiny".to_owned());
    let (sound, _out) = bureau(|_| {});
    let (outcome, effect) = ("kv-swapped::F-G4-logits::llama-tiny", "effect::kv-swapped::llama-tiny");
    assert!(told(&sound, outcome).unwrap().starts_with("killed: "));
    assert!(told(&sound, effect).unwrap().starts_with("the logits move: "));
    let (other, _out) = bureau(|table| {
        *found(table, ("kv-swapped", "llama-tiny"), "F-G4-logits") = Found::Spared;
        table.entries.get_mut(&key()).unwrap().effect = Some(Effect::Still);
    });
    assert!(told(&other, outcome).unwrap_err().starts_with("spared / killed: "));
    assert!(told(&other, effect).unwrap_err().starts_with("the logits stay, and something beside them changes / the logits move: "));
    let (none, _out) = bureau(|table| drop(table.entries.remove(&key())));
    assert!(told(&none, outcome).unwrap_err().starts_with("an entry of `F-G4-logits` in falsification/outcomes.toml"));
    assert!(told(&none, effect).unwrap_err().starts_with("an entry in falsification/outcomes.toml"));
}

#[test]
fn a_trial_that_is_red_is_written_down_and_counted() {
    let (bureau, _out) = bureau(|table| {
        *found(table, ("kv-swapped", "llama-tiny"), "F-G4-logits") = Found::Spared;
    });
    let judge = |name: &str| bureau.judge(name, task(&bureau, name));
    assert!(judge("kv-swapped::F-G4-norm::llama-tiny").is_ok());
    assert!(judge("kv-swapped::F-G4-logits::llama-tiny").is_err());
    assert_eq!(bureau.judged.load(Ordering::Relaxed), 2);
    let reds = bureau.reds.lock().unwrap();
    assert_eq!(reds.len(), 1);
    assert_eq!(reds[0].reproduce, "cargo test --test power -- --exact 'kv-swapped::F-G4-logits::llama-tiny'");
    let axes = reds[0].axes.as_ref().unwrap();
    assert_eq!((axes.model.as_str(), axes.check.as_str(), axes.quantization.as_str()), ("llama-tiny", "F-G4-logits", "f32"));
    assert!(bureau.newer.lock().unwrap().checks["F-G4-logits"].milliseconds.is_some_and(|spent| spent > 0.0));
}

#[test]
fn a_living_tensor_is_green_and_a_refusal_is_by_its_kind() {
    let (bureau, _out) = bureau(|_| {});
    assert!(told(&bureau, "alive::model.norm.weight::llama-tiny").unwrap().ends_with(" floors"));
    let refusals: Vec<&str> =
        bureau.plan.tasks.iter().filter(|(_, task)| matches!(task, Task::Refusal { .. })).map(|(name, _)| name.as_str()).collect();
    assert!(refusals.len() > 3, "{refusals:?}");
    for name in refusals {
        assert!(told(&bureau, name).is_ok(), "{name}: {:?}", told(&bureau, name));
    }
    assert!(told(&bureau, "control::F-G4-logits::llama-tiny").unwrap().starts_with("spared: "));
}

/// What is tried where: a check that is dropped from a bench takes its outcomes with it, and the table only follows.
#[test]
fn each_kind_of_check_is_tried_where_it_should_be() {
    let plan = Plan::carried();
    let is_tried = |bench: &&bench::Bench, id: &str| bench.record.is_some() && bench.checks.iter().any(|(check, _)| check.id == id);
    let tried = |id: &str| plan.benches.iter().filter(|bench| is_tried(bench, id)).collect::<Vec<_>>();
    let models = |id: &str| tried(id).iter().map(|bench| bench.key.1.as_str()).collect::<BTreeSet<_>>();
    assert_eq!(models("F-G4-logits").iter().filter(|name| !name.contains("-gguf-") && !name.contains("-apr-")).count(), 3);
    for id in ["PPL", "ROUNDTRIP", "F-P5", "INV-convert"] {
        let named = |record: &ground_truth_falsification::defect::Defect| record.kills.iter().chain(&record.spares).any(|c| c == id);
        assert!(!tried(id).is_empty(), "{id}");
        assert!(tried(id).iter().all(|bench| bench.record.is_some_and(named)), "{id} is tried on a defect that does not name it");
    }
    for bench in plan.benches.iter().filter(|bench| bench.record.is_some_and(|record| record.refused.is_some())) {
        assert!(bench.checks.is_empty(), "{:?} must be refused, there is nothing to judge", bench.key);
    }
    assert_eq!(plan.checks(), plan.catalogue.iter().map(|check| check.id).collect::<Vec<_>>());
    let controls = plan.benches.iter().filter(|bench| bench.record.is_none()).count();
    let primary = plan.beds.iter().filter(|bed| bed.form.primary).count();
    assert_eq!(controls, plan.beds.len() + primary, "each bed unbroken, and each published one behind a layer too");
}

/// The first eight digits of a digest.
fn digest<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> String {
    let mut sha = Sha256::new();
    parts.into_iter().for_each(|part| sha.update(part));
    sha.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was done to a checkpoint: each tensor that is another one, with its first value that is, and a digest of them all; each setting
/// with its value; the tokenizer. Past the fourth they are told together.
pub(super) fn done_to(before: &Checkpoint, after: &Checkpoint) -> String {
    let mut done = Vec::new();
    let names: BTreeSet<&str> = before.tensors.iter().chain(after.tensors.iter()).map(|(name, _)| name).collect();
    for name in names {
        let parts = |tensor: &Tensor| (tensor.dtype(), tensor.shape().to_vec(), tensor.order());
        match (before.tensors.get(name), after.tensors.get(name)) {
            (Some(old), Some(new)) if parts(old) == parts(new) => {
                if old.bytes() != new.bytes() {
                    let (was, is) = (old.to_f32(), new.to_f32());
                    let at = was.iter().zip(&is).position(|(was, is)| was.to_bits() != is.to_bits()).unwrap();
                    done.push(format!("{name} from {at}: {:.3e} is {:.3e}, {}", was[at], is[at], digest([new.bytes()])));
                }
            }
            (_, Some(new)) => {
                let (dtype, shape, order) = parts(new);
                done.push(format!("{name} is {dtype} {shape:?} {order:?}, {}", digest([new.bytes()])));
            }
            (_, None) => done.push(format!("{name} is gone")),
        }
    }
    let settings = |of: &Checkpoint| {
        let maps = [Some(&of.config), of.generation_config.as_ref()].into_iter().flatten();
        maps.flat_map(|map| map.iter().map(|(key, value)| format!("{key} is {value}"))).collect::<BTreeSet<_>>()
    };
    let (old, new) = (settings(before), settings(after));
    done.extend(old.difference(&new).map(|line| format!("no longer {line}")));
    done.extend(new.difference(&old).cloned());
    if before.tokenizer != after.tokenizer {
        done.push(format!("another tokenizer, {}", digest([format!("{:?}", after.tokenizer).as_bytes()])));
    }
    if done.len() > 4 {
        let rest = done.split_off(4);
        done.push(format!("and {} more, {}", rest.len(), digest(rest.iter().map(String::as_bytes))));
    }
    done.join("; ")
}

/// A defect that does something else than it says would still be killed, and the table would prove something else: what each does to the
/// bytes is pinned.
#[test]
fn each_defect_of_an_artifact_changes_what_it_is_meant_to_change() {
    let plan = Plan::carried();
    let mut text = String::new();
    for bench in &plan.benches {
        let Some([before, after]) = bench.checkpoints().unwrap() else { continue };
        let _ = writeln!(text, "{} in {}: {}", bench.key.0, bench.key.1, done_to(&before, &after));
    }
    assert!(text.lines().count() > 150, "{text}");
    crate::fixture::pinned().bind(|| insta::assert_snapshot!("artifact_defects", text));
}

/// The places of bytes that are others, found a page at a time.
fn others(before: &[u8], after: &[u8]) -> Vec<usize> {
    const PAGE: usize = 4096;
    let pages = (0..after.len()).step_by(PAGE).filter(|begin| {
        let end = after.len().min(begin + PAGE);
        before.get(*begin..end) != Some(&after[*begin..end])
    });
    pages.flat_map(|begin| begin..after.len().min(begin + PAGE)).filter(|i| before.get(*i) != Some(&after[*i])).collect()
}

/// The same of defects of files: how many bytes are others, where the first one is, and what the first of them are now.
#[test]
fn each_defect_of_a_file_changes_the_bytes_that_it_is_meant_to_change() {
    let plan = Plan::carried();
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for bench in &plan.benches {
        let bench::Plant::Defect(Make::File(_, edit), _) = bench.plant else { continue };
        let opened = bench.bed.open().unwrap();
        let path = folder.path().join(opened.artifact.path.file_name().unwrap());
        std::fs::copy(&opened.artifact.path, &path).unwrap();
        neighbours::operate(&path, edit).unwrap();
        let (before, after) = (std::fs::read(&opened.artifact.path).unwrap(), std::fs::read(&path).unwrap());
        let others = others(&before, &after);
        // Where everything moves, what says which version wrote the file is among it.
        let now: Vec<u8> = others.iter().take(4096).map(|i| after[*i]).collect();
        let first = others.first().map_or_else(String::new, |first| format!(" from {first}"));
        let (key, length) = (&bench.key, after.len() as i64 - before.len() as i64);
        let _ = writeln!(text, "{} in {}: {length:+} bytes, {} others{first}: {}", key.0, key.1, others.len(), digest([now.as_slice()]));
    }
    assert!(text.lines().count() > 30, "{text}");
    crate::fixture::pinned().bind(|| insta::assert_snapshot!("file_defects", text));
}

/// What a claim about two artifacts is tried against.
#[test]
fn each_neighbour_is_what_its_name_says() {
    let plan = Plan::carried();
    let bed = plan.beds.iter().find(|bed| bed.name == "llama-tiny-gguf-q8_0").unwrap();
    let opened = bed.open().unwrap();
    let (street, artifact) = (Arc::clone(&opened.street), opened.artifact.clone());
    let neighbours = neighbours::Neighbours { street, artifact, fault: None, made: Mutex::default() };
    let told = |peer: &Peer| {
        let answer = neighbours.peer(peer)?.ask(&Question::Container)?;
        let Answer::Container(container) = answer.as_ref() else { panic!("{answer:?}") };
        let matrix = container.tensors.iter().find(|t| t.hf_name.as_deref() == Some("model.layers.1.mlp.down_proj.weight")).unwrap();
        Ok::<_, Failure>(format!("{} {}", container.format, matrix.dtype))
    };
    let column = |format: &str, quantization: &str| Peer::Column { format: format.to_owned(), quantization: quantization.to_owned() };
    for (peer, due) in [
        (Peer::Source, "safetensors F32"),
        (Peer::Again, "gguf Q8_0"),
        (Peer::Rewritten, "gguf Q8_0"),
        (Peer::Requantized, "gguf Q8_0"),
        (Peer::RoundTrip, "gguf Q8_0"),
        (Peer::Engine, "gguf Q8_0"),
        (Peer::Values, "gguf Q8_0"),
        (column("gguf", "f32"), "gguf F32"),
        (column("gguf", "q4_0"), "gguf Q4_0"),
        (column("apr", "q4"), "apr AprQ4"),
    ] {
        assert_eq!(told(&peer), Ok(due.to_owned()), "{peer}");
    }
    for (format, quantization) in [("gguf", "q4"), ("apr", "q4_0"), ("gguf", "none")] {
        let refused = told(&column(format, quantization)).unwrap_err().to_string();
        assert!(refused.contains(&format!("no column {format} {quantization}")), "{refused}");
    }
}
