//! Defects that nobody wrote down: operator, tensor, strength and model are drawn from a seed.
//!
//! Whoever writes a check and the defect that it is to find proves less than it seems. Here the same checks meet faults that were not
//! chosen by anybody: so many are drawn, those that change nothing are set aside, and of the others the share that some check finds is
//! published with its interval. Each survivor is listed by name, with what it would take to find it.

use ground_truth::{Checkpoint, Tokenizer};
use ground_truth_falsification::check::Check;
use ground_truth_falsification::observation::Failure;
use serde::{Deserialize, Serialize};

use super::bed::Bed;
use super::bench::{Bench, Plant};
use super::operators::{OPERATORS, Operator, Random, Site};
use super::plan::Plan;
use super::spread::spread;
use super::table::{Effect, Found};
use crate::defect::artifact::{Surgery, SurgeryError};

/// The seed that is published.
pub const SEED: u64 = 1;

/// How many defects are drawn from it.
pub const COUNT: usize = 200;

/// Seeds are spread so that neighbours share nothing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// How often a place is drawn again before the operator is given up: not every tensor is square, not every model has what it breaks.
const ATTEMPTS: u64 = 64;

/// One drawn defect.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    operator: &'static Operator,
    strength: f64,
    seed: u64,
}

impl Draw {
    /// Puts it into a checkpoint.
    pub fn operate(self, surgery: &mut Surgery<'_>) -> Result<(), SurgeryError> {
        let mut random = Random::new(self.seed);
        match self.operator.site {
            Site::Tensor(change) => {
                let names = surgery.all();
                let name = names.get(random.below(names.len())).ok_or(SurgeryError::NotApplicable("tensor"))?;
                change(surgery, name, self.strength, &mut random)
            }
            Site::Model(change) => change(surgery, self.strength, &mut random),
        }
    }

    /// The tensor that it changes, where it changes one.
    fn tensor(self, checkpoint: &mut Checkpoint) -> Option<String> {
        let names = Surgery::new(checkpoint).ok()?.all();
        let chosen = names.get(Random::new(self.seed).below(names.len())).cloned();
        chosen.filter(|_| matches!(self.operator.site, Site::Tensor(_)))
    }
}

/// What became of a draw.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Survivor {
    /// Operator, strength, tensor and model.
    pub what: String,
    /// How far the logits moved, in floors of the golden, to one digit.
    pub floors: String,
    /// What it would take to find it. Written by hand.
    #[serde(default)]
    pub needs: String,
}

/// The outcome of one seed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// The seed.
    pub seed: u64,
    /// How many were drawn.
    pub drawn: usize,
    /// Those that change nothing.
    pub equivalent: usize,
    /// Those that the engine refuses to load, by name.
    pub refused: usize,
    /// Those whose answers some check refutes.
    pub falsified: usize,
    /// Those that nothing saw.
    pub survivors: Vec<Survivor>,
}

impl Generated {
    /// Those that count, and those of them that were caught.
    pub fn caught(&self) -> (usize, usize) {
        let caught = self.refused + self.falsified;
        (caught, caught + self.survivors.len())
    }

    /// The same run with the reasons that were written beside the survivors of an older one.
    #[must_use]
    pub fn with_reasons_of(mut self, older: Option<&Generated>) -> Self {
        for survivor in &mut self.survivors {
            let known = older.and_then(|older| older.survivors.iter().find(|other| other.what == survivor.what));
            survivor.needs = known.map(|known| known.needs.clone()).unwrap_or_default();
        }
        self
    }
}

/// Interval of Wilson for `caught` of `all`, at 95 %. None of nothing.
pub fn wilson(caught: usize, all: usize) -> Option<(f64, f64)> {
    const Z: f64 = 1.959_964;
    if all == 0 || caught > all {
        return None;
    }
    let (n, p) = (all as f64, caught as f64 / all as f64);
    let scale = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// Whether two checkpoints turn some text into other ids, or some id into another text.
pub fn reads_otherwise<'a>(sound: &Checkpoint, broken: &Checkpoint, texts: impl Iterator<Item = &'a String>) -> bool {
    let open = |checkpoint: &Checkpoint| {
        let bytes = checkpoint.tokenizer.as_ref()?;
        Tokenizer::from_bytes(bytes, &checkpoint.tokenizer_file()).ok()
    };
    let (Some(sound), Some(broken)) = (open(sound), open(broken)) else { return true };
    let ids = |of: &Tokenizer, text: &str| of.encode(text, true).ok();
    let text = |of: &Tokenizer, id| of.decode(&[id]).ok();
    let vocabulary = sound.vocab_size().max(broken.vocab_size());
    let mut all = (0..u32::try_from(vocabulary).unwrap_or(u32::MAX)).map(|id| (text(&sound, id), text(&broken, id)));
    all.any(|(sound, broken)| sound != broken) || texts.into_iter().any(|text| ids(&sound, text) != ids(&broken, text))
}

/// Draws one defect of a model, with its name. None where the operator finds nothing to break.
fn draw(bed: &Bed, operator: &'static Operator, seed: u64) -> Result<Option<(Draw, String)>, String> {
    let opened = bed.open()?;
    let mut random = Random::new(seed);
    let strength = operator.strengths[random.below(operator.strengths.len())];
    for _ in 0..ATTEMPTS {
        let drawn = Draw { operator, strength, seed: random.bits() };
        let mut checkpoint = opened.checkpoint.clone();
        let mut surgery = Surgery::new(&mut checkpoint).map_err(|error| error.to_string())?;
        if drawn.operate(&mut surgery).is_ok() {
            let whose = drawn.tensor(&mut opened.checkpoint.clone()).map_or_else(String::new, |name| format!(" {name}"));
            let strength = if operator.strengths.len() > 1 { format!("@{strength}") } else { String::new() };
            return Ok(Some((drawn, format!("{}{strength}{whose} in {}", operator.id, bed.name))));
        }
    }
    Ok(None)
}

/// The benches of a seed, in order, with their names.
fn benches(plan: &Plan, count: usize, seed: u64) -> Result<Vec<(String, Bench)>, String> {
    let beds: Vec<_> = plan.beds.iter().filter(|bed| bed.form.primary).collect();
    if beds.is_empty() {
        return Err("no carried model with a golden".to_owned());
    }
    let mut random = Random::new(seed.wrapping_mul(SPREAD));
    let mut benches = Vec::new();
    // Every operator finds something in some model, so that this ends.
    while benches.len() < count {
        let (bed, operator) = (beds[random.below(beds.len())], &OPERATORS[random.below(OPERATORS.len())]);
        if let Some((drawn, name)) = draw(bed, operator, random.bits())? {
            let checks: Vec<&'static Check> = plan.checks_for_a_stranger(bed);
            benches.push((name.clone(), Bench::new((name, bed.name.clone()), bed, Plant::Drawn(drawn), None, &checks)));
        }
    }
    Ok(benches)
}

/// What became of one.
enum Fate {
    Equivalent,
    Refused,
    Falsified,
    Survived(f64),
}

fn fate(bench: &Bench) -> Result<Fate, String> {
    match bench.load()? {
        Ok(_) => {}
        Err(Failure::Refused { .. }) => return Ok(Fate::Refused),
        Err(failure) => return Err(format!("loading it ends in another way than a refusal: {failure}")),
    }
    if bench.effect()? == Effect::Equivalent {
        return Ok(Fate::Equivalent);
    }
    for place in 0..bench.checks.len() {
        if bench.judged(place).as_ref().map_err(Clone::clone)?.found == Found::Killed {
            return Ok(Fate::Falsified);
        }
    }
    Ok(Fate::Survived(bench.floors()?))
}

/// Draws `count` defects and judges them on as many threads as there are cores, at most four.
pub fn run(plan: &Plan, count: usize, seed: u64) -> Result<Generated, String> {
    let benches = benches(plan, count, seed)?;
    let fates = spread(&benches, |(name, bench)| {
        let found = crate::guard::catch(|| fate(bench)).unwrap_or_else(|panic| Err(panic.to_string()));
        bench.forget();
        found.map_err(|reason| format!("{name}: {reason}"))
    });
    let mut generated = Generated { seed, drawn: benches.len(), ..Generated::default() };
    for (fate, (name, _)) in fates.into_iter().zip(&benches) {
        match fate? {
            Fate::Equivalent => generated.equivalent += 1,
            Fate::Refused => generated.refused += 1,
            Fate::Falsified => generated.falsified += 1,
            Fate::Survived(floors) => {
                generated.survivors.push(Survivor { what: name.clone(), floors: format!("{floors:.0e}"), needs: String::new() });
            }
        }
    }
    Ok(generated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // Newcombe (1998), table I: 81 of 263 is 0.2553 to 0.3662, 15 of 148 is 0.0624 to 0.1605.
        for (caught, all, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)] {
            let (least, most) = wilson(caught, all).expect("not empty");
            assert!((least - low).abs() < 1e-4 && (most - high).abs() < 1e-4, "{caught} of {all}: {least} to {most}");
        }
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(2, 1), None);
    }

    #[test]
    fn reasons_stay_with_their_survivors() {
        let survivor = |what: &str, needs: &str| Survivor { what: what.to_owned(), floors: String::new(), needs: needs.to_owned() };
        let older = Generated { survivors: vec![survivor("a", "more prompts"), survivor("b", "other")], ..Generated::default() };
        let newer = Generated { survivors: vec![survivor("a", ""), survivor("c", "")], refused: 3, falsified: 5, ..Generated::default() };
        let newer = newer.with_reasons_of(Some(&older));
        assert_eq!(newer.survivors, [survivor("a", "more prompts"), survivor("c", "")]);
        assert_eq!(newer.caught(), (8, 10));
    }

    /// Each draw has one fate, and most of them are seen.
    #[test]
    fn what_is_drawn_is_judged_and_counted() {
        let generated = run(&Plan::carried(), 6, SEED).unwrap();
        let (equivalent, survived) = (generated.equivalent, generated.survivors.len());
        assert_eq!((generated.seed, generated.drawn), (SEED, 6));
        assert_eq!(equivalent + generated.refused + generated.falsified + survived, 6, "{generated:?}");
        assert!(generated.falsified + generated.refused > 3 && survived == 0, "{generated:?}");
        assert_eq!(run(&Plan::carried(), 0, SEED).unwrap().drawn, 0);
    }

    /// A draw is the same wherever and whenever it is drawn, and breaks what its name says.
    #[test]
    fn what_each_operator_breaks_is_pinned() {
        let plan = Plan::carried();
        let mut text = String::new();
        for bed in plan.beds.iter().filter(|bed| bed.form.primary) {
            for operator in OPERATORS {
                let Some((drawn, name)) = draw(bed, operator, SEED).unwrap() else {
                    text += &format!("{} in {}: nothing to break\n", operator.id, bed.name);
                    continue;
                };
                let sound = bed.open().unwrap().checkpoint.clone();
                let mut broken = sound.clone();
                drawn.operate(&mut Surgery::new(&mut broken).unwrap()).unwrap();
                text += &format!("{name}: {}\n", super::super::tests::done_to(&sound, &broken));
            }
        }
        crate::fixture::pinned().bind(|| insta::assert_snapshot!("draws", text));
    }
}
