//! A sample of mutants, stratified by how complex their functions are.
//!
//! Most mutants sit in simple functions, and are the easy ones: a sample that follows their numbers measures those. Each stratum gives the same
//! share of the sample, as far as it has that many. Which mutants, the seed decides.

use std::collections::BTreeMap;

use super::{Fate, Mutant};

/// The least complexity of each stratum: one path, a few, many, too many to see at once.
const STRATA: [usize; 4] = [1, 5, 10, 15];

/// Words and signs after which a function goes one way or the other.
const BRANCHES: [&str; 10] = ["if ", "while ", "for ", "loop ", "=> ", "&& ", "|| ", "?;", "?.", "else if "];

/// How many ways lead through the lines of a function: one, and one more for each branch. Lines of comments do not count.
pub fn complexity(lines: &[&str]) -> usize {
    let code = lines.iter().map(|line| line.trim()).filter(|line| !line.starts_with("//"));
    1 + code.map(|line| BRANCHES.iter().map(|word| line.matches(word).count()).sum::<usize>()).sum::<usize>()
        - lines.iter().map(|line| line.matches("else if ").count()).sum::<usize>()
}

/// The stratum of a mutant; `source` gives the text of a file. What stands in no function has one path.
///
/// # Errors
///
/// Where there is no such file, or it ends before the function does.
pub fn stratum(mutant: &Mutant, source: &mut impl FnMut(&str) -> Result<String, String>) -> Result<usize, String> {
    let Some(function) = &mutant.function else { return Ok(0) };
    let text = source(&mutant.file)?;
    let lines: Vec<&str> = text.lines().collect();
    let span = function.span;
    let body = span.start.line.checked_sub(1).and_then(|first| lines.get(first..span.end.line));
    let body =
        body.ok_or_else(|| format!("{}: `{}` ends in line {}, the file has {}", mutant.file, mutant.name, span.end.line, lines.len()))?;
    let complexity = complexity(body);
    Ok(STRATA.iter().rposition(|least| complexity >= *least).unwrap_or(0))
}

/// What a stratum is called.
pub fn stratum_name(stratum: usize) -> String {
    let least = STRATA[stratum];
    STRATA.get(stratum + 1).map_or_else(|| format!("complexity {least} and more"), |next| format!("complexity {least} to {}", next - 1))
}

/// `n` mutants, or all where there are no more, in the order of the list. `strata` holds the stratum of each.
///
/// # Errors
///
/// Where nothing is asked for, or there is nothing to choose from.
pub fn choose<'a>(mutants: &'a [Mutant], strata: &[usize], n: usize, seed: u64) -> Result<Vec<&'a Mutant>, String> {
    if n == 0 || mutants.is_empty() || strata.len() != mutants.len() {
        return Err(format!("{n} of {} mutants with {} strata: nothing to choose", mutants.len(), strata.len()));
    }
    let mut by_stratum: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
    for (i, stratum) in strata.iter().enumerate() {
        by_stratum.entry(*stratum).or_default().push((draw(seed, &mutants[i].name), i));
    }
    for drawn in by_stratum.values_mut() {
        drawn.sort_unstable();
    }
    let mut chosen: Vec<usize> = Vec::with_capacity(n);
    // One from each stratum in its turn: the small ones give all they have, and the others share the rest.
    let longest = by_stratum.values().map(Vec::len).max().unwrap_or(0);
    for turn in 0..longest {
        chosen.extend(by_stratum.values().filter_map(|drawn| drawn.get(turn)).map(|(_, i)| *i).take(n - chosen.len()));
    }
    chosen.sort_unstable();
    Ok(chosen.into_iter().map(|i| &mutants[i]).collect())
}

/// A number that a name and a seed have in common: splitmix64 over the bytes.
fn draw(seed: u64, name: &str) -> u64 {
    let mut state = seed;
    for byte in name.bytes() {
        state = mixed(state ^ u64::from(byte));
    }
    state
}

fn mixed(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A regular expression for this mutant and no other.
pub fn expression(mutant: &Mutant) -> String {
    let mut expression = String::from("^");
    for character in mutant.name.chars() {
        if character.is_ascii_punctuation()
            && !matches!(character, '_' | ':' | '/' | ',' | '"' | '\'' | '<' | '>' | '=' | '!' | '%' | '@' | ';' | '`')
        {
            expression.push('\\');
        }
        expression.push(character);
    }
    expression + "$"
}

/// Fates by stratum.
pub fn by_stratum(fates: &[(usize, Fate)]) -> BTreeMap<usize, super::Counts> {
    let mut strata: BTreeMap<usize, Vec<Fate>> = BTreeMap::new();
    for (stratum, fate) in fates {
        strata.entry(*stratum).or_default().push(*fate);
    }
    strata.into_iter().map(|(stratum, fates)| (stratum, super::Counts::of(fates))).collect()
}
