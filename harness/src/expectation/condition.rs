//! Where an expectation holds: `when = { os = "linux", arch = "x86_64", version = ">=0.9, <0.10", variable = "GROUND_TRUTH_DATA" }`.
//!
//! | part | holds where |
//! |---|---|
//! | `os`, `arch` | the suite runs on it: `linux`, `macos`; `x86_64`, `aarch64` (the words of `std::env::consts`) |
//! | `version` | the runtime's version is as said: comparisons, or one prefix |
//! | `variable` | this `GROUND_TRUTH_` variable is set, for rows of files that it names |
//!
//! Comparisons are `=`, `<`, `<=`, `>`, `>=` with numbers and dots, separated by commas, all of which must hold; numbers are compared part by
//! part, an absent part counts as 0, and what follows the numbers of a version (`0.9.1-rc2`, `0.3.2 (b6543)`) is not looked at. A prefix, `0.9`, stands
//! for `0.9` and every `0.9.x`, not for `0.91`. A version that does not begin with a number can be held to a prefix alone.

use serde::Deserialize;

/// The condition as it is written. No part: everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    os: Option<String>,
    arch: Option<String>,
    version: Option<String>,
    variable: Option<String>,
}

/// Where a run takes place.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// `linux`, `macos`.
    pub os: &'a str,
    /// `x86_64`, `aarch64`.
    pub arch: &'a str,
    /// What the runtime says of itself.
    pub version: &'a str,
    /// Whether a variable is set.
    pub is_set: fn(&str) -> bool,
}

impl<'a> Here<'a> {
    /// This process, with a runtime of this version.
    pub fn of_this_process(version: &'a str) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self { os: std::env::consts::OS, arch: std::env::consts::ARCH, version, is_set }
    }
}

impl Condition {
    /// Whether it holds.
    ///
    /// # Errors
    /// What about it cannot be understood, or cannot be decided.
    pub fn holds(&self, here: &Here<'_>) -> Result<bool, String> {
        let version = self.version.as_deref().map_or(Ok(true), |wanted| version_holds(wanted, here.version))?;
        let variable = match self.variable.as_deref() {
            Some(name) if !name.starts_with("GROUND_TRUTH_") => {
                return Err(format!("`when.variable` is `{name}`, and only variables of this suite, GROUND_TRUTH_..., may decide"));
            }
            name => name.is_none_or(here.is_set),
        };
        for (field, word) in [("os", &self.os), ("arch", &self.arch)] {
            let plain = |word: &String| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if let Some(word) = word.as_ref().filter(|word| !plain(word)) {
                return Err(format!("`when.{field}` is `{word}`, not a word like `linux` or `x86_64`"));
            }
        }
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        Ok(version && variable && is(&self.os, here.os) && is(&self.arch, here.arch))
    }
}

fn version_holds(wanted: &str, found: &str) -> Result<bool, String> {
    if !wanted.starts_with(['=', '<', '>']) {
        if wanted.is_empty() || wanted.contains([',', '*', '^', '~']) {
            return Err(format!("`when.version` is `{wanted}`: neither a prefix such as `0.9` nor comparisons such as `>=0.9, <0.10`"));
        }
        let rest = found.strip_prefix(wanted);
        return Ok(rest.is_some_and(|rest| {
            !rest.starts_with(|next: char| next.is_ascii_digit()) || !wanted.ends_with(|last: char| last.is_ascii_digit())
        }));
    }
    let numbers = leading_numbers(found).0;
    let mut holds = true;
    for comparison in wanted.split(',').map(str::trim) {
        let operators = ["<=", ">=", "=", "<", ">"];
        let split = operators.into_iter().find_map(|operator| comparison.strip_prefix(operator).map(|number| (operator, number.trim())));
        let (operator, bound) = split
            .map(|(operator, number)| (operator, leading_numbers(number)))
            .filter(|(_, (bound, rest))| !bound.is_empty() && rest.is_empty())
            .map(|(operator, (bound, _))| (operator, bound))
            .ok_or_else(|| format!("`when.version` holds `{comparison}`, not a comparison such as `>=0.9` with numbers and dots"))?;
        if numbers.is_empty() {
            return Err(format!("`when.version` compares, and the runtime's version `{found}` does not begin with a number"));
        }
        let part = |of: &[u64], i: usize| of.get(i).copied().unwrap_or(0);
        let longest = numbers.len().max(bound.len());
        let order = (0..longest).map(|i| part(&numbers, i).cmp(&part(&bound, i))).find(|order| order.is_ne());
        let order = order.unwrap_or(std::cmp::Ordering::Equal);
        holds &= match operator {
            "<=" => order.is_le(),
            ">=" => order.is_ge(),
            "<" => order.is_lt(),
            ">" => order.is_gt(),
            _ => order.is_eq(),
        };
    }
    Ok(holds)
}

/// The numbers, with dots between, that `text` begins with (after a `v`), and what follows them.
fn leading_numbers(text: &str) -> (Vec<u64>, &str) {
    let mut rest = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = Vec::new();
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..end].parse() else { return (numbers, rest) };
        numbers.push(number);
        rest = &rest[end..];
        match rest.strip_prefix('.') {
            Some(after) if after.starts_with(|c: char| c.is_ascii_digit()) => rest = after,
            _ => return (numbers, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(version: &str) -> Here<'_> {
        Here { os: "linux", arch: "x86_64", version, is_set: |name| name == "GROUND_TRUTH_DATA" }
    }

    fn holds(condition: &str, version: &str) -> Result<bool, String> {
        toml::from_str::<Condition>(condition).map_err(|error| error.to_string())?.holds(&here(version))
    }

    #[test]
    fn every_part_must_hold() {
        let yes = ["", "os = 'linux'", "arch = 'x86_64'\nos = 'linux'\nversion = '0.9'\nvariable = 'GROUND_TRUTH_DATA'"];
        let no = ["os = 'macos'", "arch = 'aarch64'\nos = 'linux'", "version = '1'", "variable = 'GROUND_TRUTH_MODELS'"];
        assert!(yes.iter().all(|text| holds(text, "0.9.1") == Ok(true)));
        assert!(no.iter().all(|text| holds(text, "0.9.1") == Ok(false)));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let table = [
            (">=0.9", "0.10.0", true),
            (">=0.9, <0.10", "0.9.1", true),
            (">=0.9, <0.10", "0.10.0", false),
            ("=0.9", "0.9.0", true),
            ("=0.9", "0.9.1", false),
            ("<=0.9.1", "0.9.1-rc2", true),
            (">0.3.1", "0.3.2 (b6543)", true),
            ("<2", "v1.9", true),
            ("0.9", "0.9", true),
            ("0.9", "0.9.7", true),
            ("0.9", "0.91", false),
            ("0.9", "10.9", false),
            ("b65", "b6543", false),
            ("b6543", "b6543", true),
        ];
        for (wanted, found, due) in table {
            assert_eq!(version_holds(wanted, found), Ok(due), "{wanted} {found}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_an_error() {
        for wrong in
            ["version = ''", "version = '^0.9'", "version = '>=0.9, 1'", "version = '>='", "version = '>=0.x'", "version = '>=0.9,'"]
        {
            assert!(holds(wrong, "0.9.1").is_err(), "{wrong}");
        }
        assert!(holds("version = '>=1'", "nightly").is_err());
        assert!(holds("variable = 'HOME'", "1").is_err() && holds("os = 'Linux'", "1").is_err() && holds("system = 'linux'", "1").is_err());
    }
}
