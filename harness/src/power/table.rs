//! The committed table: what every check does to every defect.
//!
//! `falsification/outcomes.toml` holds one entry for each defect, strength and model, and in it one list of checks for each outcome:
//! a change of one check is a change of two lines, whatever else stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use ground_truth_falsification::defect::Defect;
use serde::Deserialize;

/// What became of one check on one defect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// The check refuted its claim.
    Killed,
    /// The check said nothing, for this kind of reason.
    Error(String),
    /// The check saw nothing.
    Spared,
}

impl Found {
    /// Whether it counts as a kill of this defect: a refuted claim, or an error of a kind that the record names.
    pub fn kills(&self, record: &Defect) -> bool {
        match self {
            Found::Killed => true,
            Found::Error(kind) => record.errors.contains(kind),
            Found::Spared => false,
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Found::Killed => f.write_str("killed"),
            Found::Error(kind) => write!(f, "error ({kind})"),
            Found::Spared => f.write_str("spared"),
        }
    }
}

/// What an artifact defect does to the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// They move by three times the golden's floor or more.
    Moved,
    /// They do not, and something beside them changes: the tokenizer, or a limit that the configuration sets.
    Still,
    /// They do not, and nothing beside them changes: listed, and not counted.
    Equivalent,
}

impl Effect {
    /// The word of the table.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Moved => "moved",
            Effect::Still => "still",
            Effect::Equivalent => "equivalent",
        }
    }
}

/// One defect at one strength in one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// What the defect does to the logits; none where that is not asked.
    pub effect: Option<Effect>,
    /// By check.
    pub found: BTreeMap<String, Found>,
}

/// `defect@strength`, model.
pub type Key = (String, String);

/// The whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// By defect and model.
    pub entries: BTreeMap<Key, Entry>,
}

const HEAD: &str = "\
# What every check does to every defect: [defect@strength.model], then the checks by outcome.
#
# killed: the check refuted its claim. error: it could not say, for the reason behind the colon. spared: it saw nothing.
# logits: moved by at least three times the golden's floor, or still; equivalent, where nothing beside them changes either.
# Written by `GROUND_TRUTH_BLESS=1 cargo test --test power`; every entry is a test, so a changed one is red until it was looked at.
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    logits: Option<Effect>,
    #[serde(default)]
    killed: Vec<String>,
    #[serde(default)]
    error: Vec<String>,
    #[serde(default)]
    spared: Vec<String>,
}

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// What is not TOML of this form, or a check that is listed twice in one entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: BTreeMap<String, BTreeMap<String, RawEntry>> = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut entries = BTreeMap::new();
        for (defect, models) in raw {
            for (model, raw) in models {
                let entry = entry(raw).map_err(|check| format!("[\"{defect}\".{model}] lists `{check}` twice"))?;
                entries.insert((defect.clone(), model), entry);
            }
        }
        Ok(Table { entries })
    }

    /// The text of the table: entries in the order of `keys`, checks in the order of `checks`.
    pub fn text(&self, keys: &[Key], checks: &[&str]) -> String {
        let mut text = HEAD.to_owned();
        for key in keys {
            let Some(entry) = self.entries.get(key) else { continue };
            let _ = write!(text, "\n[\"{}\".{}]\n", key.0, key.1);
            if let Some(effect) = entry.effect {
                let _ = writeln!(text, "logits = \"{}\"", effect.name());
            }
            let listed = |pick: &dyn Fn(&Found) -> Option<String>| -> Vec<String> {
                let word = |check: &&str| pick(entry.found.get(*check)?).map(|reason| format!("\"{check}{reason}\""));
                checks.iter().filter_map(word).collect()
            };
            let lists = [
                ("killed", listed(&|found| matches!(found, Found::Killed).then(String::new))),
                ("error", listed(&|found| if let Found::Error(kind) = found { Some(format!(": {kind}")) } else { None })),
                ("spared", listed(&|found| matches!(found, Found::Spared).then(String::new))),
            ];
            for (name, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
                let _ = writeln!(text, "{name} = [{}]", list.join(", "));
            }
        }
        text
    }

    /// What the table says of one check on one defect.
    pub fn found(&self, key: &Key, check: &str) -> Option<&Found> {
        self.entries.get(key)?.found.get(check)
    }

    /// Takes over what `newer` knows, and forgets what is not tried any more.
    pub fn update(&mut self, newer: Table, tried: &BTreeMap<Key, BTreeSet<&str>>) {
        for (key, entry) in newer.entries {
            let old = self.entries.entry(key).or_default();
            old.effect = entry.effect.or(old.effect);
            old.found.extend(entry.found);
        }
        self.entries.retain(|key, entry| {
            let checks = tried.get(key);
            entry.found.retain(|check, _| checks.is_some_and(|checks| checks.contains(check.as_str())));
            checks.is_some()
        });
    }
}

fn entry(raw: RawEntry) -> Result<Entry, String> {
    let mut found = BTreeMap::new();
    let killed = raw.killed.into_iter().map(|check| (check, Found::Killed));
    let spared = raw.spared.into_iter().map(|check| (check, Found::Spared));
    let errors = raw.error.into_iter().map(|text| match text.split_once(": ") {
        Some((check, kind)) => (check.to_owned(), Found::Error(kind.to_owned())),
        None => (text, Found::Error(String::new())),
    });
    for (check, outcome) in killed.chain(errors).chain(spared) {
        if found.insert(check.clone(), outcome).is_some() {
            return Err(check);
        }
    }
    Ok(Entry { effect: raw.logits, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[\"a@0.1\".m]\nlogits = \"moved\"\nkilled = [\"X\", \"Y\"]\nerror = [\"Z: refused\"]\nspared = [\"W\"]\n";

    #[test]
    fn the_table_survives_its_text() {
        let table = Table::parse(TEXT).expect("valid");
        let keys = [("a@0.1".to_owned(), "m".to_owned())];
        assert_eq!(table.found(&keys[0], "Z"), Some(&Found::Error("refused".to_owned())));
        assert_eq!(table.entries[&keys[0]].effect, Some(Effect::Moved));
        let text = table.text(&keys, &["W", "X", "Y", "Z"]);
        assert!(text.ends_with(TEXT), "{text}");
        assert_eq!(Table::parse(&text), Ok(table));
    }

    #[test]
    fn a_check_has_one_outcome() {
        assert!(Table::parse("[\"a\".m]\nkilled = [\"X\"]\nspared = [\"X\"]\n").is_err());
        assert!(Table::parse("[\"a\".m]\nother = [\"X\"]\n").is_err());
    }

    #[test]
    fn an_update_replaces_what_it_knows_and_forgets_what_is_gone() {
        let mut table = Table::parse(TEXT).expect("valid");
        let key = ("a@0.1".to_owned(), "m".to_owned());
        table.entries.insert(("gone".to_owned(), "m".to_owned()), Entry::default());
        let newer = Table::parse("[\"a@0.1\".m]\nkilled = [\"W\"]\n").expect("valid");
        table.update(newer, &BTreeMap::from([(key.clone(), BTreeSet::from(["W", "X"]))]));
        assert_eq!(table.entries.len(), 1);
        assert_eq!(table.found(&key, "W"), Some(&Found::Killed));
        assert_eq!(table.found(&key, "X"), Some(&Found::Killed));
        assert_eq!(table.found(&key, "Z"), None);
    }
}
