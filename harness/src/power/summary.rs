//! The last lines of a run: what was tried, what the table comes to, what is red.

use std::fmt::Write as _;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ground_truth_falsification::check;
use ground_truth_falsification::defect::Kind;

use super::Bureau;
use super::table::Found;
use crate::report;

/// Red lines that are shown.
const MAX_RED: usize = 8;

/// The closing lines, each with its line end.
pub(super) fn text(bureau: &Bureau, elapsed: Duration) -> String {
    let plan = &bureau.plan;
    let mut text = String::new();
    let kind = |kind| plan.defects.iter().filter(|defect| defect.kind == kind).count();
    let tried = plan.benches.iter().filter(|bench| bench.record.is_some()).count();
    let _ = writeln!(
        text,
        "defects       {} ({} artifact, {} runtime, {} file); {tried} in all, at each strength and in each of {} models",
        plan.defects.len(),
        kind(Kind::Artifact),
        kind(Kind::Runtime),
        kind(Kind::File),
        plan.beds.len()
    );
    if let Ok(table) = &bureau.table {
        let all = || table.entries.values().flat_map(|entry| entry.found.values());
        let count = |keep: fn(&Found) -> bool| all().filter(|found| keep(found)).count();
        let _ = writeln!(
            text,
            "outcomes      {} = {} killed + {} errors + {} spared",
            all().count(),
            count(|found| *found == Found::Killed),
            count(|found| matches!(found, Found::Error(_))),
            count(|found| *found == Found::Spared)
        );
    }
    let _ = writeln!(text, "killed        {}", fates(bureau));
    let _ = writeln!(text, "checks        {}", checks(bureau));
    let reds = bureau.reds.lock().unwrap_or_else(PoisonError::into_inner);
    for record in reds.iter().take(MAX_RED) {
        let _ = writeln!(text, "{}", report::red_line(record));
    }
    if reds.len() > MAX_RED {
        let _ = writeln!(text, "and {} more", reds.len() - MAX_RED);
    }
    let word = match (reds.is_empty(), bureau.judged.load(Ordering::Relaxed)) {
        (_, 0) => "NOTHING TRIED",
        (true, _) => "PROVEN",
        (false, _) => "RED",
    };
    let judged = bureau.judged.load(Ordering::Relaxed);
    let filtered = plan.tasks.len() - judged;
    let filtered = if filtered > 0 { format!(", {filtered} filtered out") } else { String::new() };
    let _ = writeln!(text, "power         {word}: {judged} tests, {} red{filtered}, {:.1} s", reds.len(), elapsed.as_secs_f64());
    text
}

/// What becomes of the defects, by the table.
fn fates(bureau: &Bureau) -> String {
    let (mut killed, mut refused, mut unkilled) = (0, 0, Vec::new());
    let mut equivalent = Vec::new();
    for bench in &bureau.plan.benches {
        let Some(record) = bench.record else { continue };
        let name = || format!("{} in {}", bench.key.0, bench.key.1);
        if record.refused.is_some() {
            refused += 1;
        } else if bureau.is_equivalent(bench) {
            equivalent.push(name());
        } else if bureau.is_killed(record, &bench.key) {
            killed += 1;
        } else {
            unkilled.push(name());
        }
    }
    let told = |names: &[String]| if names.is_empty() { "0".to_owned() } else { format!("{} ({})", names.len(), names.join(", ")) };
    format!("{killed}, refused {refused}, equivalent {}, unkilled {}", told(&equivalent), told(&unkilled))
}

/// How many checks are proven, and the weakest separation of those that hold numbers.
fn checks(bureau: &Bureau) -> String {
    let catalogue = &bureau.plan.catalogue;
    let idle: Vec<&str> = catalogue.iter().map(|check| check.id).filter(|id| bureau.provers(id).is_empty()).collect();
    let numeric = catalogue.iter().filter(|check| !check.is_exact()).count();
    let without = if idle.is_empty() { "all proven".to_owned() } else { format!("not proven: {}", idle.join(", ")) };
    let applies = |id: &str| catalogue.iter().any(|check| check.id == id);
    let untried: Vec<&str> = check::all().iter().map(|check| check.id).filter(|id| !applies(id)).collect();
    let untried = if untried.is_empty() { String::new() } else { format!("; on no carried model: {}", untried.join(", ")) };
    let mut weakest: Option<(f64, String)> = None;
    for (check, judged) in bureau.separations() {
        if weakest.as_ref().is_none_or(|(least, _)| !(judged >= *least)) {
            weakest = Some((judged, check));
        }
    }
    let weakest = weakest.map_or_else(String::new, |(ratio, check)| format!("; weakest separation {ratio:.2} ({check})"));
    format!("{} ({} exact, {numeric} with bounds), {without}{untried}{weakest}", catalogue.len(), catalogue.len() - numeric)
}
