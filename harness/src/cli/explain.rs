//! `explain`: a claim or a check, what would refute it, its bounds and where they come from, what it is proven to find, how to read a red row.

use std::fmt::Write as _;

use ground_truth_falsification::check::{self, Breadth, Check, Per};
use ground_truth_falsification::claim::{self, Claim, Tested};
use ground_truth_falsification::defect::{self, Defect};
use ground_truth_falsification::tolerance::{Bound, Floor, Tolerances};

use super::{Exit, Refusal, print};
use crate::matrix::{CONVERSION, GATE, LIST};
use crate::report;
use crate::workspace::Workspace;

/// Records of defects, from the workspace root.
const DEFECTS: &str = "falsification/defects.toml";

/// Defects that are named; the others are counted.
const MAX_NAMED: usize = 6;

/// Prints what there is to know of a claim or a check.
pub(super) fn explain(id: &str) -> Result<Exit, Refusal> {
    print(&explanation(id)?);
    Ok(Exit::Green)
}

fn explanation(id: &str) -> Result<String, Refusal> {
    let is = |name: &str| name.eq_ignore_ascii_case(id);
    let found_claim = claim::REGISTER.iter().find(|claim| is(claim.id));
    let checks: Vec<&Check> =
        check::all().iter().filter(|check| is(check.id) || found_claim.is_some_and(|claim| check.claim == claim.id)).collect();
    if found_claim.is_none() && checks.is_empty() && !is(LIST) {
        return Err(Refusal::new(format!("no claim and no check `{id}`"), format!("did you mean {}?", nearest(id).join(", "))));
    }
    let workspace = Workspace::from_env();
    let defects = std::fs::read_to_string(workspace.root().join(DEFECTS)).map_err(|error| format!("{DEFECTS}: {error}"));
    let defects = defects.and_then(|text| defect::parse(&text).map_err(|error| error.to_string()));
    let mut text = String::new();
    let claim = found_claim.or_else(|| checks.first().and_then(|check| claim::find(check.claim)));
    if let Some(claim) = claim {
        of_claim(&mut text, claim);
    }
    for check in &checks {
        of_check(&mut text, check, &defects);
    }
    reading(&mut text, claim.map_or(id, |claim| claim.id), &checks);
    Ok(text)
}

fn of_claim(text: &mut String, claim: &Claim) {
    let _ = writeln!(text, "claim {}\n  {}", claim.id, claim.sentence);
    let _ = writeln!(text, "  refuted by    {}", claim.refuted_by);
    let _ = writeln!(text, "  asked for by  {}", claim.from);
    for tested in claim.tested {
        let _ = match tested {
            Tested::Matrix => writeln!(text, "  tested        by rows of the matrix"),
            Tested::Harness(file) => writeln!(text, "  tested        by the gate, conversion or listing row of each cell ({file})"),
            Tested::Suite { file, prefix } => writeln!(text, "  tested        by the tests `{prefix}*` in {file}"),
            Tested::Issue(issue) => writeln!(text, "  not tested    yet; it comes with what is planned about: {issue:?}"),
        };
    }
}

fn of_check(text: &mut String, check: &Check, defects: &Result<Vec<Defect>, String>) {
    let per = match check.per {
        Per::Cell(_) => "cell",
        Per::Prompt(_) | Per::Source(_) => "prompt",
        Per::Sources(_) => "cell, over its prompts",
        Per::Chat(_) => "chat template",
        Per::Perplexity(_) => "text",
    };
    let breadth = match check.breadth {
        Breadth::Published => ", in the published form alone",
        Breadth::Once => ", once in the matrix",
        _ => "",
    };
    let _ = writeln!(text, "\ncheck {}\n  {}", check.id, check.sentence);
    let _ = writeln!(text, "  refuted by    {}", check.refuted_by);
    let _ = writeln!(text, "  judged        per {per}{breadth}");
    bounds(text, check);
    match defects {
        Err(reason) => {
            let _ = writeln!(text, "  kills         not known here: {reason}");
        }
        Ok(defects) => {
            let killers: Vec<&Defect> = defects.iter().filter(|defect| defect.kills.iter().any(|id| id == check.id)).collect();
            let sparers = defects.iter().filter(|defect| defect.spares.iter().any(|id| id == check.id)).count();
            let _ =
                writeln!(text, "  kills         {} of {} defects on record; it must stay green on {sparers}", killers.len(), defects.len());
            for defect in killers.iter().take(MAX_NAMED) {
                let _ = writeln!(text, "                {}: {} ({})", defect.id, defect.what, defect.seen_in);
            }
            if killers.len() > MAX_NAMED {
                let _ = writeln!(text, "                and {} more, in {DEFECTS}", killers.len() - MAX_NAMED);
            }
        }
    }
}

fn bounds(text: &mut String, check: &Check) {
    if check.is_exact() {
        let _ = writeln!(text, "  bound         exact: any difference is one");
        return;
    }
    let tolerances = match Tolerances::committed() {
        Ok(tolerances) => tolerances,
        Err(error) => {
            let _ = writeln!(text, "  bound         {error}");
            return;
        }
    };
    for key in check.bounds {
        match tolerances.bound(key) {
            Ok(bound) => {
                let _ = writeln!(text, "  bound         {key}: {}\n                {}", in_words(bound), bound.why);
            }
            Err(error) => {
                let _ = writeln!(text, "  bound         {error}");
            }
        }
        let narrower =
            tolerances.keys().filter(|other| other.split_once(':').is_some_and(|(_, rest)| rest.split('@').next() == Some(key))).count();
        if narrower > 0 {
            let _ = writeln!(text, "                and {narrower} entries of its own for other runtimes or arithmetics");
        }
    }
}

fn in_words(bound: &Bound) -> String {
    let unit = if bound.unit.is_empty() { String::new() } else { format!(" {}", bound.unit) };
    let (times, n, date) = (report::short(bound.multiple), bound.n, &bound.date);
    match bound.floor {
        Floor::Golden => {
            format!("{times} x the golden's own rounding{unit}; largest seen {} over {n} cases, {date}", report::short(bound.seen))
        }
        Floor::Measured(floor) => {
            let limit = report::short(floor * bound.multiple);
            format!("{limit}{unit} = {times} x the {}{unit} measured over {n} cases, {date}", report::short(floor))
        }
    }
}

fn reading(text: &mut String, claim: &str, checks: &[&Check]) {
    let _ = writeln!(text, "\nhow to read a red row");
    if claim == GATE || claim == CONVERSION {
        let _ = writeln!(
            text,
            "  The observation names the file and what is wrong with it. Mend it first: rows behind the gate were not judged."
        );
    }
    if checks.iter().any(|check| !check.is_exact()) {
        let _ = writeln!(
            text,
            "  `relative RMS 0.02 is not <= 5e-7`: what was measured, then its bound. A little past the bound is arithmetic in another"
        );
        let _ = writeln!(text, "  order; thousands of times past it is a wrong formula, weight or file.");
    }
    if claim == "F-G4" {
        let _ = writeln!(text, "  Look for F-G4-sketch-prefill of the same cell: it names the first stage of the network that differs.");
    }
    let name = checks.first().map_or(claim, |check| check.id);
    let _ = writeln!(
        text,
        "  Then compare cells: `ground-truth ticket` says where the same check passes. Rows: cargo test --test falsify -- ::{name}"
    );
}

/// The names nearest to one that nobody knows.
fn nearest(id: &str) -> Vec<&'static str> {
    let claims = claim::REGISTER.iter().map(|claim| claim.id);
    let mut names: Vec<&str> = claims.chain(check::all().iter().map(|check| check.id)).collect();
    names.sort_unstable();
    names.dedup();
    let id = id.to_ascii_uppercase();
    names.sort_by_cached_key(|name| (distance(&id, &name.to_ascii_uppercase()), *name));
    names.truncate(3);
    names
}

/// How many letters have to be put in, taken out or exchanged (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_knows_have_near_ones() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(nearest("F-G4-logit")[0], "F-G4-logits");
        assert_eq!(nearest("f-g9"), ["F-G1", "F-G2", "F-G3"]);
        assert!(explanation("no-such-claim").is_err_and(|refusal| refusal.exit == Exit::Red));
    }

    #[test]
    fn every_claim_and_every_check_is_explained() {
        for id in claim::REGISTER.iter().map(|claim| claim.id).chain(check::all().iter().map(|check| check.id)) {
            let text = explanation(id).unwrap_or_else(|refusal| panic!("{}", refusal.message));
            assert!(text.contains("refuted by") && text.contains("how to read a red row"), "{text}");
        }
        let text = explanation("f-g4-logits").unwrap_or_default();
        assert!(text.contains("2 x the golden's own rounding") && text.contains("q-rows-interleaved"), "{text}");
    }

    #[test]
    fn the_defects_of_a_check_are_counted() {
        let records = std::fs::read_to_string(Workspace::from_env().root().join(DEFECTS)).expect("the records");
        let records = defect::parse(&records).expect("sound records");
        for id in ["F-G4-logits", "F-RS6-vocabulary", "SPC-signs"] {
            let named =
                |list: fn(&Defect) -> &Vec<String>| records.iter().filter(|record| list(record).iter().any(|name| name == id)).count();
            let (kills, spares) = (named(|record| &record.kills), named(|record| &record.spares));
            let due = format!("kills         {kills} of {} defects on record; it must stay green on {spares}\n", records.len());
            let text = explanation(id).unwrap_or_else(|refusal| panic!("{}", refusal.message));
            assert!(kills > 0 && text.contains(&due), "{due}{text}");
        }
    }
}
