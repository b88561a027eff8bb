//! What each trial must come to.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use ground_truth_falsification::baseline::RULES;
use ground_truth_falsification::check::Check;
use ground_truth_falsification::defect::{ARCHITECTURES, Defect};
use ground_truth_falsification::observation::Failure;
use ground_truth_falsification::verdict::{Measure, Owner, Verdict};

use super::bench::{Bench, Judged};
use super::measured::{self, RuleMeasured, rounded};
use super::table::{Effect, Found, Key};
use super::{BLESS_VARIABLE, Bureau, Finding, TABLE, generated, plan, rivals};
use crate::defect::artifact::Surgery;
use crate::observe::{Memory, Observer, Sessions};
use crate::roster::{Roster, Settings};
use crate::runtime::native::NativeRuntime;
use crate::runtime::supervise::Deadlines;

/// Zeroing a tensor moves the logits by more than this many floors.
const ALIVE: f64 = 100.0;

/// The weakest defect that a numeric check must kill is this many times past its bound, or more.
const SEPARATION: f64 = 3.0;

type Result<T = Finding> = std::result::Result<T, String>;

/// What a check sees of a defect, in a sentence.
fn sentence(check: &Check, bench: &Bench) -> String {
    let what = bench.record.map_or("the unbroken model", |record| record.what.as_str());
    format!("{} does on `{what}` what the table says", check.id)
}

impl Bureau {
    fn judged(bench: &Bench, check: usize) -> Result<&Judged> {
        bench.judged(check).as_ref().map_err(Clone::clone)
    }

    /// The outcome of a check on a defect against the table.
    pub(super) fn outcome(&self, bench: usize, check: usize) -> Result {
        let bench = &self.plan.benches[bench];
        let judged = Self::judged(bench, check)?;
        let id = bench.checks[check].0.id;
        let due = if self.blessing { Some(&judged.found) } else { self.table()?.found(&bench.key, id) };
        let told = format!("{}: {}", judged.found, judged.verdict.observed);
        let mut finding = match due {
            Some(due) if *due == judged.found => Finding::green(due.to_string(), told),
            Some(due) => Finding::red(due.to_string(), told),
            None => Finding::red(format!("an entry of `{id}` in {TABLE}; {BLESS_VARIABLE}=1 writes it"), told),
        };
        finding.verdict.place = judged.verdict.place.clone();
        finding.asked.clone_from(&judged.asked);
        Ok(finding.claiming(sentence(bench.checks[check].0, bench)))
    }

    /// The unbroken model is spared.
    pub(super) fn control(&self, bench: usize, check: usize) -> Result {
        let bench = &self.plan.benches[bench];
        let judged = Self::judged(bench, check)?;
        let told = format!("{}: {}", judged.found, judged.verdict.observed);
        let finding = if judged.found == Found::Spared { Finding::green("spared", told) } else { Finding::red("spared", told) };
        Ok(finding.claiming(sentence(bench.checks[check].0, bench)))
    }

    /// The engine refuses to load, with the kind that the record names.
    pub(super) fn refusal(&self, bench: usize) -> Result {
        let bench = &self.plan.benches[bench];
        let kind = bench.record.and_then(|record| record.refused.as_deref()).unwrap_or_default();
        let expected = format!("a refusal of the kind `{kind}`");
        let finding = match bench.load()? {
            Err(Failure::Refused { kind: found, message }) if found == kind => Finding::green(expected, message),
            Err(failure) => Finding::red(expected, failure.to_string()),
            Ok(_) => Finding::red(expected, "it loads"),
        };
        Ok(finding.claiming("an artifact that contradicts itself is refused by name"))
    }

    /// What the defect does to the logits, against the table.
    pub(super) fn effect(&self, bench: usize) -> Result {
        let bench = &self.plan.benches[bench];
        let found = bench.effect()?;
        let word = |effect| match effect {
            Effect::Moved => "the logits move",
            Effect::Still => "the logits stay, and something beside them changes",
            Effect::Equivalent => "nothing changes: equivalent",
        };
        let due = if self.blessing { Some(found) } else { self.table()?.entries.get(&bench.key).and_then(|entry| entry.effect) };
        let observed = format!("{}: {:.3e} floors", word(found), bench.floors()?);
        let finding = match due {
            Some(due) if due == found => Finding::green(word(due), observed),
            Some(due) => Finding::red(word(due), observed),
            None => Finding::red(format!("an entry in {TABLE}; {BLESS_VARIABLE}=1 writes it"), observed),
        };
        Ok(finding.claiming("the defect does to the logits what the table says"))
    }

    /// A tensor that can be zeroed unnoticed is no part of a living model.
    pub(super) fn alive(&self, bed: usize, tensor: usize) -> Result {
        let bed = &self.plan.beds[bed];
        let opened = bed.open()?;
        let name = &bed.index.tensors[tensor].name;
        let mut checkpoint = opened.checkpoint.clone();
        let mut surgery = Surgery::new(&mut checkpoint).map_err(|error| error.to_string())?;
        surgery.map(name, |_| 0.0).map_err(|error| error.to_string())?;
        let runtime = std::sync::Arc::new(NativeRuntime::with_checkpoint(checkpoint));
        let sessions = Sessions::new(runtime, bed.artifact.clone(), Deadlines::default());
        let memory = Memory::default();
        let observer = Observer::new(&sessions, &memory);
        let mut most = 0.0;
        for prompt in &bed.prompts {
            most = opened.effect(&[*prompt], &observer)?;
            if most > ALIVE {
                break;
            }
        }
        let expected = format!("the logits of some prompt move by over {ALIVE} floors");
        let observed = format!("{most:.3e} floors");
        let finding = if most > ALIVE { Finding::green(expected, observed) } else { Finding::red(expected, observed) };
        Ok(finding.claiming("zeroing any one tensor moves the logits"))
    }

    /// The outcome in the table that counts as a kill.
    fn is_kill(record: &Defect, found: Option<&Found>) -> bool {
        found.is_some_and(|found| found.kills(record))
    }

    /// Whether anything kills the defect of this entry.
    pub(super) fn is_killed(&self, record: &Defect, key: &Key) -> bool {
        let entry = self.table().ok().and_then(|table| table.entries.get(key));
        entry.is_some_and(|entry| entry.found.values().any(|found| Self::is_kill(record, Some(found))))
    }

    /// Whether the table has the defect of this bench as equivalent: listed, and not counted, even where the sketch of an inner stage sees it.
    pub(super) fn is_equivalent(&self, bench: &Bench) -> bool {
        let effect = || self.table().ok().and_then(|table| table.entries.get(&bench.key)?.effect);
        effect() == Some(Effect::Equivalent)
    }

    /// The strength at which a record's kills are due: its strongest. Weaker ones measure sensitivity.
    fn is_due(record: &Defect, bench: &Bench) -> bool {
        record.strengths.last().is_none_or(|strongest| bench.key.0.ends_with(&format!("@{strongest}")))
    }

    /// A record's kills and spares against the table.
    pub(super) fn record(&self, defect: usize) -> Result {
        let record = &self.plan.defects[defect];
        let claim = "what a record says of its defect is what the table has";
        if self.blessing {
            return Ok(Finding::green("a table", "it is about to be written").claiming(claim));
        }
        let tried = |architecture: &&str| self.plan.benches_of(&record.id).any(|bench| bench.bed.index.architecture == **architecture);
        let untried: Vec<&str> = ARCHITECTURES.into_iter().filter(|name| record.applies_to(name)).filter(|name| !tried(name)).collect();
        if !untried.is_empty() {
            let observed = format!("no carried model with a golden is {}", untried.join(" or "));
            return Ok(Finding::red("a model of each architecture that it names", observed).claiming(claim));
        }
        if record.refused.is_some() {
            let tried = self.plan.benches_of(&record.id).count();
            return Ok(Finding::green("a refusal", format!("tried in {tried} models")).claiming(claim));
        }
        let table = self.table()?;
        let mut wrong = Vec::new();
        for bench in self.plan.benches_of(&record.id) {
            let (id, model) = &bench.key;
            let due = Self::is_due(record, bench);
            if self.is_equivalent(bench) {
                continue;
            }
            if !self.is_killed(record, &bench.key) {
                wrong.push(format!("nothing kills `{id}` in {model}: the catalogue lacks a check"));
                continue;
            }
            let has = |check: &str| bench.checks.iter().any(|(other, _)| other.id == check);
            for check in record.kills.iter().filter(|check| due && has(check)) {
                if !Self::is_kill(record, table.found(&bench.key, check)) {
                    wrong.push(format!("`{check}` is in its kills and does not kill `{id}` in {model}"));
                }
            }
            for check in record.spares.iter().filter(|check| has(check)) {
                if table.found(&bench.key, check) != Some(&Found::Spared) {
                    wrong.push(format!("`{check}` is in its spares and does not spare `{id}` in {model}"));
                }
            }
        }
        let expected = format!("{} kills and {} spares that the table has", record.kills.len(), record.spares.len());
        let finding = if wrong.is_empty() { Finding::green(expected, "the same") } else { Finding::red(expected, wrong.join("; ")) };
        Ok(finding.claiming(claim))
    }

    /// The defects that name a check in their kills.
    pub(super) fn killers(&self, check: &str) -> impl Iterator<Item = &'static Defect> {
        self.plan.defects.iter().filter(move |defect| defect.kills.iter().any(|id| id == check))
    }

    /// The defects on record as killed by a check, whose claim the table has as refuted: that a check ends in an error when nothing comes
    /// back does not prove it.
    pub(super) fn provers(&self, check: &str) -> Vec<&'static str> {
        let Ok(table) = self.table() else { return Vec::new() };
        let refutes =
            |defect: &&Defect| self.plan.benches_of(&defect.id).any(|bench| table.found(&bench.key, check) == Some(&Found::Killed));
        self.killers(check).filter(refutes).map(|defect| defect.id.as_str()).collect()
    }

    /// Some defect is on record as killed by this check.
    pub(super) fn proof(&self, check: usize) -> Result {
        let provers = self.provers(self.plan.catalogue[check].id);
        let expected = "a defect that names this check in its kills, and whose claim it refutes";
        let finding = if provers.is_empty() { Finding::red(expected, "none") } else { Finding::green(expected, provers.join(", ")) };
        Ok(finding.claiming("every check is proven able to fail"))
    }

    /// The smallest ratio of effect to bound over the defects that a check must kill, and whose it is. None where no red verdict has a number.
    pub(super) fn weakest(&self, check: &str) -> Result<Option<(f64, String)>> {
        let mut weakest: Option<(f64, String)> = None;
        for record in self.killers(check) {
            for bench in self.plan.benches_of(&record.id).filter(|bench| Self::is_due(record, bench) && !self.is_equivalent(bench)) {
                let Some(place) = bench.checks.iter().position(|(other, _)| other.id == check) else { continue };
                let Some(ratio) = Self::judged(bench, place)?.ratio else { continue };
                if weakest.as_ref().is_none_or(|(least, _)| !(ratio >= *least)) {
                    weakest = Some((ratio, format!("`{}` in {}", bench.key.0, bench.key.1)));
                }
            }
        }
        Ok(weakest)
    }

    /// The weakest separations that this process has measured, by check.
    pub(super) fn separations(&self) -> Vec<(String, f64)> {
        self.separations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The smallest strength at which a check kills each defect that has strengths, in some model.
    fn sensitivity(&self, check: &str) -> Vec<String> {
        let Ok(table) = self.table() else { return Vec::new() };
        let smallest = |defect: &&'static Defect| {
            let killed = |strength: &f64| {
                let name = format!("{}@{strength}", defect.id);
                self.plan.benches_of(&defect.id).any(|b| b.key.0 == name && Self::is_kill(defect, table.found(&b.key, check)))
            };
            defect.strengths.iter().find(|strength| killed(strength)).map(|strength| format!("{}@{strength}", defect.id))
        };
        self.plan.defects.iter().filter_map(|defect| smallest(&defect)).collect()
    }

    /// The bound of a check lies well below the weakest defect that it must kill.
    pub(super) fn separation(&self, check: usize) -> Result {
        let id = self.plan.catalogue[check].id;
        let expected = format!("the weakest defect in its kills is {SEPARATION} times past the bound, or more");
        let smallest = self.sensitivity(id).join(", ");
        let smallest = if smallest.is_empty() { String::new() } else { format!("; smallest strengths seen: {smallest}") };
        let verdict = match self.weakest(id)? {
            Some((ratio, whose)) => {
                self.separations.lock().unwrap_or_else(PoisonError::into_inner).push((format!("{id} on {whose}"), ratio));
                let mut newer = self.newer.lock().unwrap_or_else(PoisonError::into_inner);
                newer.checks.entry(id.to_owned()).or_default().separation = Some(rounded(ratio));
                drop(newer);
                let committed =
                    if self.blessing { Some(ratio) } else { self.measured()?.checks.get(id).and_then(|check| check.separation) };
                if !committed.is_some_and(|committed| measured::agree(committed, ratio)) {
                    let expected = format!("{committed:?}, as {} has it, within a factor of {}", measured::FILE, measured::AGREES);
                    return Ok(Finding::red(expected, format!("{ratio:.3} by {whose}")).claiming("a separation is what is published"));
                }
                // The smaller the inverse the better, and a bound is what a number may not exceed.
                let measure = Measure::gated("bound / effect of the weakest defect", 1.0 / ratio, 1.0 / SEPARATION, "");
                Verdict::measured(1, vec![measure], expected, format!("{ratio:.3} by {whose}{smallest}"))
            }
            None => Verdict::corroborated(1, expected, format!("exact: no red verdict of it holds a number{smallest}")),
        };
        Ok(Finding::of(verdict.owned_by(Owner::Golden)).claiming("a numeric check separates defects from rounding"))
    }

    /// What the rules of other tools let through and accuse, against what is published.
    pub(super) fn rules(&self) -> Result {
        let roster = Roster::read(&self.workspace, &Settings::from_env());
        let found = rivals::run(&self.plan, &plan::columns(&self.workspace, &roster), self.table()?)?;
        let told = |rules: &BTreeMap<String, RuleMeasured>| {
            let one = |(id, rule): (&String, &RuleMeasured)| {
                format!("{id}: {} of {} let through, {} of {} accused", rule.let_through, rule.defects, rule.accused, rule.correct)
            };
            rules.iter().map(one).collect::<Vec<_>>().join("; ")
        };
        let due = if self.blessing { found.clone() } else { self.measured()?.rules.clone() };
        let all = RULES.iter().all(|rule| found.contains_key(rule.id));
        let (expected, observed) = (told(&due), told(&found));
        let green = found == due && all;
        self.newer.lock().unwrap_or_else(PoisonError::into_inner).rules = found;
        Ok(if green { Finding::green(expected, observed) } else { Finding::red(expected, observed) }
            .claiming("rules of other tools do what is published"))
    }

    /// What becomes of drawn defects, against what is published.
    pub(super) fn generated(&self) -> Result {
        let found = generated::run(&self.plan, generated::COUNT, generated::SEED)?;
        let due = if self.blessing { None } else { self.measured()?.generated.iter().find(|one| one.seed == generated::SEED) };
        let found = found.with_reasons_of(due);
        let told = |one: &generated::Generated| {
            let silent = one.survivors.iter().filter(|survivor| survivor.needs.trim().is_empty()).count();
            let names: Vec<&str> = one.survivors.iter().map(|survivor| survivor.what.as_str()).collect();
            let (falsified, refused, equivalent) = (one.falsified, one.refused, one.equivalent);
            format!(
                "{falsified} falsified, {refused} refused, {equivalent} equivalent, survivors: {} ({silent} unexplained)",
                listed_all(&names)
            )
        };
        let observed = told(&found);
        let green = self.blessing
            || due.is_some_and(|due| *due == found && found.survivors.iter().all(|survivor| !survivor.needs.trim().is_empty()));
        let expected = due.map_or_else(|| format!("a draw of seed {} in {}", generated::SEED, measured::FILE), told);
        self.newer.lock().unwrap_or_else(PoisonError::into_inner).generated = vec![found];
        Ok(if green { Finding::green(expected, observed) } else { Finding::red(expected, observed) }
            .claiming("drawn defects are caught as published, and each survivor is explained"))
    }

    /// The table has an entry for each trial, and no other.
    pub(super) fn complete(&self) -> Result {
        let claim = "the committed table is about the defects, models and checks that there are";
        if self.blessing {
            return Ok(Finding::green("a table", "it is about to be written").claiming(claim));
        }
        let table = self.table()?;
        let keys = self.plan.keys();
        let name = |key: &Key| format!("{}.{}", key.0, key.1);
        let missing: Vec<String> = keys.iter().filter(|key| !table.entries.contains_key(*key)).map(name).collect();
        let stale: Vec<String> = table.entries.keys().filter(|key| !keys.contains(key)).map(name).collect();
        let mut idle = Vec::new();
        for bench in &self.plan.benches {
            let Some(entry) = table.entries.get(&bench.key) else { continue };
            let asked = |id: &String| bench.checks.iter().any(|(check, _)| check.id == id);
            idle.extend(entry.found.keys().filter(|id| !asked(id)).map(|id| format!("{}: {id}", name(&bench.key))));
        }
        let expected = format!("{} entries, each with the checks that are tried", keys.len());
        let observed = format!("missing: {}; not tried any more: {}", listed(&missing), listed(&[stale, idle].concat()));
        let complete = missing.is_empty() && observed.ends_with("not tried any more: none");
        Ok(if complete { Finding::green(expected, observed) } else { Finding::red(expected, observed) }.claiming(claim))
    }
}

fn listed_all(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names {
        [] => "none".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{}, and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}
