//! What a fault looks like from outside: which checks are red together, where the arithmetic first differs, how far it is off.
//!
//! The catalogue's faults have theirs in `falsification/outcomes.toml` (which checks are red) and `falsification/signatures.toml` (where, and by
//! how much). A cell has one from its records. A runtime that shows no stages is compared by what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ground_truth_falsification::defect::{self, DEFECTS_TOML, Defect, OUTCOMES_TOML, SIGNATURES_TOML};
use serde::{Deserialize, Serialize};

use super::{Likeness, stage};
use crate::evidence::Record;
use crate::power::table::{Found, Table};

/// The check whose largest number says by how much the logits are off.
pub(super) const BY_HOW_MUCH: &str = "F-G4-logits";

/// What each part of a signature counts.
const CHECKS: f64 = 0.3;
const STAGE: f64 = 0.3;
const POSITION: f64 = 0.2;
const SIZE: f64 = 0.2;

/// Numbers that are this many powers of ten apart have nothing in common.
const DECADES: f64 = 4.0;

/// Same part of a block, but once in the first block and once in a later one: what is wrong everywhere shows in the first.
const OTHER_BLOCK: f64 = 0.3;

/// A check that is red here and was never tried there counts as half a difference.
const NEVER_TRIED: f64 = 0.5;

/// Two signatures that fewer checks have in common say nothing of each other.
const FEW: usize = 12;

/// How one thing that is wrong shows itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signature {
    /// Whether each check that was judged is red.
    pub judged: BTreeMap<String, bool>,
    /// The first stage that differs.
    pub stage: Option<String>,
    /// Whether the very first position is wrong: rotation, masks and caches leave it right.
    pub first_position: Option<bool>,
    /// Power of ten of the largest number over its bound.
    pub size: Option<f64>,
}

/// What `signatures.toml` holds of one defect in one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// What an artifact defect changes: `file`, `config`, `tokenizer`, or several with a blank between them.
    #[serde(default)]
    pub touches: Option<String>,
    /// The stage that a pass comes by first, of those that the changed tensors and settings feed.
    #[serde(default)]
    pub feeds: Option<String>,
    /// The first stage that differs.
    #[serde(default)]
    pub stage: Option<String>,
    /// The first position that is wrong.
    #[serde(default)]
    pub position: Option<usize>,
    /// Power of ten of the largest number over its bound.
    #[serde(default)]
    pub size: Option<f64>,
}

/// One defect at one strength in one model, as the tables have it.
#[derive(Debug)]
pub struct Known {
    /// The record.
    pub defect: &'static Defect,
    /// `defect@strength`.
    pub name: String,
    /// The model, or a column of it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the table is read with all of its key; only tests tell models apart"))]
    pub model: String,
    /// What is seen of it.
    pub signature: Signature,
    /// What it touches, and where it shows.
    pub shown: Shown,
}

impl Signature {
    /// Of the records of one cell. Rows behind a gate say nothing.
    pub fn of(records: &[&Record]) -> Self {
        let mut signature = Signature::default();
        let mut stages = Vec::new();
        for record in records.iter().filter(|record| !record.behind_gate) {
            let Some(axes) = &record.axes else { continue };
            let red = !record.is_green();
            *signature.judged.entry(axes.check.clone()).or_default() |= red;
            if !red {
                continue;
            }
            stages.extend(record.place.stage.as_deref());
            if let Some(minimal) = &record.minimal {
                let first = minimal.position == 0;
                signature.first_position = Some(signature.first_position.unwrap_or(false) || first);
            }
            if axes.check == BY_HOW_MUCH {
                let ratios = record.measures.iter().filter_map(|number| Some(number.observed / number.bound?));
                let sizes = ratios.filter(|ratio| *ratio > 0.0 && ratio.is_finite()).map(f64::log10);
                signature.size = sizes.chain(signature.size).max_by(f64::total_cmp);
            }
        }
        signature.stage = stage::first(stages).map(str::to_owned);
        signature
    }

    fn red(&self) -> BTreeSet<&str> {
        self.judged.iter().filter(|(_, red)| **red).map(|(check, _)| check.as_str()).collect()
    }

    /// From 0, all that both show is the same, to 1, none of it; none where no check that both judged is red,
    /// or where too few were judged in both.
    ///
    /// It weighs the share of red checks that the two do not have in common, over the checks that both judged, and of the rest what both have:
    /// stage, whether the first position is wrong, size.
    pub fn distance(&self, known: &Signature) -> Option<f64> {
        let (own, theirs) = (self.red(), known.red());
        let both = own.intersection(&theirs).count() as f64;
        let mut either = both;
        for check in own.difference(&theirs) {
            either += if known.judged.contains_key(*check) { 1.0 } else { NEVER_TRIED };
        }
        either += theirs.difference(&own).filter(|check| self.judged.contains_key(**check)).count() as f64;
        let common = self.judged.keys().filter(|check| known.judged.contains_key(*check)).count();
        if both == 0.0 || common < FEW {
            return None;
        }
        let mut parts = vec![(CHECKS, 1.0 - both / either)];
        if let (Some(a), Some(b)) = (&self.stage, &known.stage) {
            parts.push((STAGE, stages_apart(a, b)));
        }
        if let (Some(a), Some(b)) = (self.first_position, known.first_position) {
            parts.push((POSITION, if a == b { 0.0 } else { 1.0 }));
        }
        if let (Some(a), Some(b)) = (self.size, known.size) {
            let apart = (a - b).abs() / DECADES;
            parts.push((SIZE, if apart < 1.0 { apart } else { 1.0 }));
        }
        let weight: f64 = parts.iter().map(|(weight, _)| weight).sum();
        Some(parts.iter().map(|(weight, distance)| weight * distance).sum::<f64>() / weight)
    }
}

fn stages_apart(a: &str, b: &str) -> f64 {
    let first = |stage: &str| !stage.starts_with("blk.") || stage.starts_with("blk.0.");
    match (stage::part(a) == stage::part(b), first(a) == first(b)) {
        (true, true) => 0.0,
        (true, false) => OTHER_BLOCK,
        (false, _) => 1.0,
    }
}

/// Every defect that the committed tables know, at each strength, in each model.
///
/// # Errors
///
/// What cannot be read of them.
pub fn catalogue() -> Result<&'static [Known], &'static str> {
    static CATALOGUE: LazyLock<Result<Vec<Known>, String>> = LazyLock::new(|| read(DEFECTS_TOML, OUTCOMES_TOML, SIGNATURES_TOML));
    CATALOGUE.as_deref().map_err(String::as_str)
}

/// `defect@strength.model` to what is shown.
pub(super) fn parse_shown(text: &str) -> Result<BTreeMap<String, Shown>, String> {
    toml::from_str(text).map_err(|error| format!("`signatures.toml`: {error}"))
}

fn read(defects: &str, outcomes: &str, signatures: &str) -> Result<Vec<Known>, String> {
    let defects: &'static [Defect] = Vec::leak(defect::parse(defects).map_err(|error| error.to_string())?);
    let shown = parse_shown(signatures)?;
    let mut catalogue = Vec::new();
    for ((name, model), entry) in Table::parse(outcomes)?.entries {
        let id = name.split_once('@').map_or(name.as_str(), |(id, _)| id);
        let defect =
            defects.iter().find(|defect| defect.id == id).ok_or_else(|| format!("`outcomes.toml` has `{id}`, which has no record"))?;
        let shown = shown.get(&format!("{name}.{model}")).cloned().unwrap_or_default();
        let signature = Signature {
            judged: entry.found.iter().map(|(check, found)| (check.clone(), *found != Found::Spared)).collect(),
            stage: shown.stage.clone(),
            first_position: shown.position.map(|position| position == 0),
            size: shown.size,
        };
        catalogue.push(Known { defect, name, model, signature, shown });
    }
    Ok(catalogue)
}

/// The defects that look most like `signature`, nearest first, each once at its nearest; `but` is left out.
pub fn nearest<'a>(signature: &Signature, catalogue: impl Iterator<Item = &'a Known>, but: Option<&str>) -> Vec<(f64, &'a Known)> {
    let mut best: BTreeMap<&str, (f64, &Known)> = BTreeMap::new();
    for known in catalogue.filter(|known| but != Some(known.defect.id.as_str())) {
        let Some(distance) = signature.distance(&known.signature) else { continue };
        let entry = best.entry(&known.defect.id).or_insert((distance, known));
        if distance < entry.0 {
            *entry = (distance, known);
        }
    }
    let mut all: Vec<(f64, &Known)> = best.into_values().collect();
    all.sort_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| x.name.cmp(&y.name)));
    all
}

impl Likeness {
    /// A known defect at its distance.
    pub(super) fn of(distance: f64, known: &Known) -> Self {
        let Defect { what, seen_in, .. } = known.defect;
        Likeness { defect: known.defect.id.clone(), what: what.clone(), seen_in: seen_in.clone(), distance }
    }
}
