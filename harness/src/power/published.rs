//! The power table as it is published: what each check is worth, and what the rules of other tools are worth beside it.
//!
//! Nothing is judged here. The counts follow from the records and the committed table of outcomes, each entry of which is a test; what
//! has to be measured comes from the file of measurements, which the same tests hold against what they measure. So whoever asks, on
//! whatever machine, gets the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use ground_truth_falsification::baseline::RULES;
use ground_truth_falsification::check;
use ground_truth_falsification::defect::{self, Defect, Kind};
use serde::Serialize;

use super::generated::{Generated, wilson};
use super::measured::{Implementation, Measured, RuleMeasured};
use super::table::{Effect, Entry, Found, Key, Table};

const RECORDS: &str = "falsification/defects.toml";

/// How many defects there are, and what becomes of them. A defect counts once for each strength and each model that it is tried in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Defects {
    /// Records of faults in config, tensors or tokenizer.
    pub artifact: usize,
    /// Records of faults in a runtime.
    pub runtime: usize,
    /// Records of faults in the bytes of a file.
    pub file: usize,
    /// Records of which the engine must refuse to load the result, by name.
    pub refused: usize,
    /// Defects in models.
    pub tried: usize,
    /// Those of them that some check kills.
    pub killed: usize,
    /// Those that change nothing: listed, and not counted.
    pub equivalent: usize,
    /// Those that nothing sees.
    pub unkilled: usize,
    /// Pairs of a check and a defect, each of them a test.
    pub outcomes: usize,
    /// By architecture: records of faults in an artifact that it alone can have.
    pub own: BTreeMap<String, usize>,
}

/// What one check is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckPower {
    /// Its id.
    pub id: String,
    /// Its claim.
    pub claim: String,
    /// Defects that it kills.
    pub killed: usize,
    /// Defects that it spares.
    pub spared: usize,
    /// Defects on which it cannot say anything, where that is no kill.
    pub errors: usize,
    /// Defects that change nothing, among those that it was tried on.
    pub equivalent: usize,
    /// Effect of the weakest defect in its kills, over its bound. None: it holds no number against a bound.
    pub separation: Option<f64>,
    /// The smallest strength at which it kills, of each graded defect that it kills in some model.
    pub sensitivity: Vec<String>,
    /// Milliseconds over all defects, for each defect that it alone kills. None where there is no such defect.
    pub ms_per_unique_kill: Option<f64>,
    /// Defects that in some model nothing else kills.
    pub only: Vec<String>,
    /// Whether some defect needs it.
    pub needed: bool,
}

/// One rule of another tool.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Baseline {
    /// Its id.
    pub id: String,
    /// Who decides so.
    pub tool: String,
    /// What passes.
    pub passes: String,
    /// What was measured.
    #[serde(flatten)]
    pub measured: RuleMeasured,
}

/// One seed of drawn defects, with its interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drawn {
    /// What became of the draws.
    #[serde(flatten)]
    pub generated: Generated,
    /// Share that was caught, of those that change something.
    pub share: Option<f64>,
    /// Its interval of Wilson at 95 %.
    pub interval: Option<(f64, f64)>,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PowerTable {
    /// `ground-truth/power/1`.
    pub schema: &'static str,
    /// The defects.
    pub defects: Defects,
    /// The checks, in the order of the catalogue.
    pub checks: Vec<CheckPower>,
    /// Checks that no defect needs: whatever they kill, something else kills too.
    pub redundant: Vec<String>,
    /// Rules of other tools.
    pub baselines: Vec<Baseline>,
    /// Defects that nobody wrote down.
    pub generated: Vec<Drawn>,
    /// Correct implementations that were judged.
    pub implementations: Vec<Implementation>,
}

/// Reads the committed files and works the table out.
///
/// # Errors
///
/// A file that cannot be read or parsed, or a defect in the table that no record knows.
pub fn read(root: &Path) -> Result<PowerTable, String> {
    let text = |name: &str| std::fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"));
    let records = defect::parse(&text(RECORDS)?).map_err(|error| error.to_string())?;
    let table = Table::parse(&text(super::TABLE)?).map_err(|reason| format!("{}: {reason}", super::TABLE))?;
    table_of(&records, &table, &Measured::read(root)?)
}

/// One entry of the outcomes, with its record.
struct Tried<'a> {
    record: &'a Defect,
    key: &'a Key,
    entry: &'a Entry,
}

impl Tried<'_> {
    fn kills(&self, check: &str) -> bool {
        self.entry.found.get(check).is_some_and(|found| found.kills(self.record))
    }

    fn is_equivalent(&self) -> bool {
        self.entry.effect == Some(Effect::Equivalent)
    }

    /// The one check that kills it, where there is only one.
    fn only_killer(&self) -> Option<&str> {
        let mut killers = self.entry.found.keys().filter(|check| self.kills(check));
        let first = killers.next()?;
        killers.next().is_none().then_some(first)
    }
}

fn table_of(records: &[Defect], table: &Table, measured: &Measured) -> Result<PowerTable, String> {
    let mut tried = Vec::new();
    for (key, entry) in &table.entries {
        let id = key.0.split_once('@').map_or(key.0.as_str(), |(id, _)| id);
        let record = records.iter().find(|record| record.id == id);
        tried.push(Tried { record: record.ok_or_else(|| format!("`{id}` has outcomes and no record"))?, key, entry });
    }
    if tried.is_empty() {
        return Err(format!("{}: holds no outcome", super::TABLE));
    }
    let (equivalent, counted): (Vec<Tried>, Vec<Tried>) = tried.into_iter().partition(Tried::is_equivalent);
    let known = |check: &&check::Check| counted.iter().any(|one| one.entry.found.contains_key(check.id));
    let checks: Vec<CheckPower> =
        check::all().iter().filter(known).map(|check| check_power(check, records, &counted, &equivalent, measured)).collect();
    let of = |kind| records.iter().filter(|record| record.kind == kind).count();
    let own = |name: &&str| records.iter().filter(|record| record.kind == Kind::Artifact && record.architectures == [*name]).count();
    let is_killed = |one: &&Tried| one.entry.found.values().any(|found| found.kills(one.record));
    let killed = counted.iter().filter(is_killed).count();
    let defects = Defects {
        artifact: of(Kind::Artifact),
        runtime: of(Kind::Runtime),
        file: of(Kind::File),
        refused: records.iter().filter(|record| record.refused.is_some()).count(),
        tried: table.entries.len(),
        killed,
        equivalent: equivalent.len(),
        unkilled: counted.len() - killed,
        outcomes: table.entries.values().map(|entry| entry.found.len()).sum(),
        own: defect::ARCHITECTURES.iter().map(|name| ((*name).to_owned(), own(name))).collect(),
    };
    let baseline = |rule: &ground_truth_falsification::baseline::Rule| {
        let measured = measured.rules.get(rule.id).cloned()?;
        Some(Baseline { id: rule.id.to_owned(), tool: rule.tool.to_owned(), passes: rule.passes.to_owned(), measured })
    };
    let drawn = |generated: &Generated| {
        let (caught, all) = generated.caught();
        let share = (all > 0).then(|| caught as f64 / all as f64);
        Drawn { generated: generated.clone(), share, interval: wilson(caught, all) }
    };
    Ok(PowerTable {
        schema: "ground-truth/power/1",
        defects,
        redundant: checks.iter().filter(|check| !check.needed).map(|check| check.id.clone()).collect(),
        checks,
        baselines: RULES.iter().filter_map(baseline).collect(),
        generated: measured.generated.iter().map(drawn).collect(),
        implementations: measured.implementations.clone(),
    })
}

fn check_power(check: &check::Check, records: &[Defect], counted: &[Tried], equivalent: &[Tried], measured: &Measured) -> CheckPower {
    let id = check.id;
    let count = |keep: &dyn Fn(&Tried, &Found) -> bool| {
        counted.iter().filter(|one| one.entry.found.get(id).is_some_and(|found| keep(one, found))).count()
    };
    let killed = count(&|one, found| found.kills(one.record));
    let spared = count(&|_, found| *found == Found::Spared);
    let mut only: Vec<(usize, String)> = Vec::new();
    for one in counted.iter().filter(|one| one.only_killer() == Some(id)) {
        let place = records.iter().position(|record| record.id == one.record.id).unwrap_or(records.len());
        only.push((place, one.key.0.clone()));
    }
    let unique = only.len();
    only.sort();
    only.dedup();
    let smallest = |record: &&Defect| {
        let kills = |strength: &f64| {
            let name = format!("{}@{strength}", record.id);
            counted.iter().any(|one| one.key.0 == name && one.kills(id))
        };
        // Strengths ascend, and the weakest of a scale lies nearest to 1.
        record.strengths.iter().find(|strength| kills(strength)).map(|strength| format!("{}@{strength}", record.id))
    };
    let numbers = measured.checks.get(id).cloned().unwrap_or_default();
    CheckPower {
        id: id.to_owned(),
        claim: check.claim.to_owned(),
        killed,
        spared,
        errors: count(&|one, found| matches!(found, Found::Error(_)) && !found.kills(one.record)),
        equivalent: equivalent.iter().filter(|one| one.entry.found.contains_key(id)).count(),
        separation: numbers.separation,
        sensitivity: records.iter().filter_map(|record| smallest(&record)).collect(),
        ms_per_unique_kill: numbers.milliseconds.filter(|_| unique > 0).map(|ms| super::measured::rounded(ms / unique as f64)),
        only: only.into_iter().map(|(_, name)| name).collect(),
        needed: unique > 0,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ground_truth_falsification::baseline::RULES;
    use serde_json::{Value, json};

    use super::*;

    const RECORD: &str = "what = \"something is wrong with it\"\nseen_in = \"invented\"\n";

    /// Two defects, and what is said to come of them.
    fn table(outcomes: &str) -> Result<PowerTable, String> {
        table_with(outcomes, &Measured::default())
    }

    fn table_with(outcomes: &str, measured: &Measured) -> Result<PowerTable, String> {
        let records = format!(
            "[[defect]]\nid = \"a\"\nkind = \"artifact\"\n{RECORD}strengths = [1.1, 2.0]\narchitectures = [\"gpt2\"]\nkills = [\"C1\"]\n\
             [[defect]]\nid = \"b\"\nkind = \"runtime\"\n{RECORD}kills = [\"C1\"]\nerrors = [\"timeout\"]\n"
        );
        let records = defect::parse(&records).expect("sound records");
        table_of(&records, &Table::parse(outcomes).expect("sound outcomes"), measured)
    }

    /// A small table with one of everything that is told, for who prints it.
    pub(in super::super) fn small() -> PowerTable {
        let rule = |let_through: usize| {
            json!({"defects": 9, "let_through": let_through, "moving": 5, "moving_let_through": let_through / 2, "correct": 4,
                "accused": let_through % 2, "blind_to": ["a"], "accuses": if let_through % 2 == 1 { vec!["gguf q4_0"] } else { vec![] }})
        };
        let rules: serde_json::Map<String, Value> = RULES.iter().enumerate().map(|(i, of)| (of.id.to_owned(), rule(i))).collect();
        let measured = json!({
            "schema": "ground-truth/power-measured/1",
            "checks": {"C1": {"separation": 12.0, "milliseconds": 340.0}, "C2": {"milliseconds": 0.5}},
            "rules": rules,
            "generated": [{"seed": 1, "drawn": 20, "equivalent": 2, "refused": 3, "falsified": 14,
                "survivors": [{"what": "merge-lost in a-tiny", "floors": "0e0", "needs": "a text that uses it"}]}],
            "implementations": [
                {"name": "the engine", "command": "cargo run -- matrix", "rows": 7390, "red": 0, "expected": 0},
                {"name": "another", "command": "cargo test --test runtimes", "rows": 100, "red": 2, "expected": 11},
            ],
        });
        table_with(OUTCOMES, &serde_json::from_value(measured).expect("sound measurements")).expect("sound")
    }

    const OUTCOMES: &str = "[\"a@1.1\".m]\nlogits = \"equivalent\"\nkilled = [\"C1\"]\nspared = [\"C2\"]\n\
        [\"a@2\".m]\nlogits = \"moved\"\nkilled = [\"C1\", \"C2\"]\n\
        [\"b\".m]\nerror = [\"C1: timeout\", \"C2: refused\"]\n[\"b\".n]\nkilled = [\"C1\", \"C2\"]\n[\"b\".o]\nspared = [\"C1\"]\n";

    fn of<'a>(table: &'a PowerTable, id: &str) -> &'a CheckPower {
        table.checks.iter().find(|check| check.id == id).expect("it is there")
    }

    #[test]
    fn counts_sensitivity_and_sole_killers_follow_from_the_outcomes() {
        let table = table(OUTCOMES).expect("sound");
        let (first, second) = (of(&table, "C1"), of(&table, "C2"));
        assert_eq!((first.killed, first.spared, first.errors, first.equivalent), (3, 1, 0, 1));
        assert_eq!((second.killed, second.spared, second.errors, second.equivalent), (2, 0, 1, 1));
        assert_eq!((first.only.clone(), first.needed), (vec!["b".to_owned()], true));
        assert_eq!(first.sensitivity, ["a@2"]);
        assert_eq!(table.redundant, ["C2"]);
        assert_eq!((table.defects.tried, table.defects.killed, table.defects.equivalent, table.defects.unkilled), (5, 3, 1, 1));
        assert_eq!((table.defects.artifact, table.defects.runtime, table.defects.own["gpt2"]), (1, 1, 1));
    }

    /// Of nothing there is no share, and no interval.
    #[test]
    fn a_share_is_of_the_draws_that_change_something() {
        let drawn = |equivalent: usize, falsified: usize| {
            let generated =
                json!([{"seed": 1, "drawn": 8, "equivalent": equivalent, "refused": 0, "falsified": falsified, "survivors": []}]);
            let measured = json!({"schema": "ground-truth/power-measured/1", "checks": {}, "generated": generated});
            let table = table_with(OUTCOMES, &serde_json::from_value(measured).unwrap()).unwrap();
            (table.generated[0].share, table.generated[0].interval.is_some())
        };
        assert_eq!(drawn(8, 0), (None, false));
        assert_eq!(drawn(4, 4), (Some(1.0), true));
        assert_eq!(small().generated[0].share.map(|share| (share * 1e3).round() as u32), Some(944));
    }

    #[test]
    fn nothing_and_strangers_are_refused() {
        assert!(table("").is_err());
        assert!(table("[\"c\".m]\nkilled = [\"C1\"]\n").is_err());
    }
}
