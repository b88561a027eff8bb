//! The variables that extend the roster, as they were found, and the file that stands in for those that are unset.
//!
//! `ground-truth.toml` in the workspace root holds the same by other names: `models`, `golden`, `artifacts`, `runtimes` (lists), `data`,
//! `require_all` (a Boolean), `deadline` (seconds). A variable wins over the file, even an empty one. An unknown key is red.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::escape;
use crate::golden_store::read_capped;
use crate::workspace::Workspace;

/// The file in the workspace root.
pub const FILE: &str = "ground-truth.toml";

/// The largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Names further models.
pub const MODELS_VARIABLE: &str = "GROUND_TRUTH_MODELS";
/// Names further goldens.
pub const GOLDEN_VARIABLE: &str = "GROUND_TRUTH_GOLDEN";
/// Names files that somebody else converted.
pub const ARTIFACTS_VARIABLE: &str = "GROUND_TRUTH_ARTIFACTS";
/// Names the folder of other test data.
pub const DATA_VARIABLE: &str = "GROUND_TRUTH_DATA";
/// Names further files of runtimes.
pub const RUNTIMES_VARIABLE: &str = "GROUND_TRUTH_RUNTIMES";
/// Makes red what would be listed as not tested.
pub const REQUIRE_ALL_VARIABLE: &str = "GROUND_TRUTH_REQUIRE_ALL";
/// Chooses how much of the matrix is judged.
pub const ROSTER_VARIABLE: &str = "GROUND_TRUTH_ROSTER";
/// The value of [`ROSTER_VARIABLE`] that keeps every check once.
pub const FAST: &str = "fast";

/// The variables as they were found; `None` is unset.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `GROUND_TRUTH_MODELS`.
    pub models: Option<OsString>,
    /// `GROUND_TRUTH_GOLDEN`.
    pub golden: Option<OsString>,
    /// `GROUND_TRUTH_ARTIFACTS`.
    pub artifacts: Option<OsString>,
    /// `GROUND_TRUTH_DATA`.
    pub data: Option<OsString>,
    /// `GROUND_TRUTH_RUNTIMES`.
    pub runtimes: Option<OsString>,
    /// `GROUND_TRUTH_REQUIRE_ALL`.
    pub require_all: Option<OsString>,
    /// `GROUND_TRUTH_ROSTER`; no file says it.
    pub roster: Option<OsString>,
    /// `deadline` of the file; [`Deadlines`](crate::runtime::supervise::Deadlines) reads the variable.
    pub deadline: Option<String>,
    /// What is wrong with the file.
    pub problem: Option<String>,
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    models: Option<Vec<String>>,
    golden: Option<Vec<String>>,
    artifacts: Option<Vec<String>>,
    runtimes: Option<Vec<String>>,
    data: Option<String>,
    require_all: Option<bool>,
    deadline: Option<u64>,
}

impl Settings {
    /// The variables of this process, else what the file in the workspace root says.
    pub fn from_env() -> Self {
        let file = Self::from_file(&Workspace::from_env().root().join(FILE));
        Self {
            models: std::env::var_os(MODELS_VARIABLE).or(file.models),
            golden: std::env::var_os(GOLDEN_VARIABLE).or(file.golden),
            artifacts: std::env::var_os(ARTIFACTS_VARIABLE).or(file.artifacts),
            data: std::env::var_os(DATA_VARIABLE).or(file.data),
            runtimes: std::env::var_os(RUNTIMES_VARIABLE).or(file.runtimes),
            require_all: std::env::var_os(REQUIRE_ALL_VARIABLE).or(file.require_all),
            roster: std::env::var_os(ROSTER_VARIABLE),
            ..file
        }
    }

    /// What a file says. One that is absent says nothing; one that cannot be read is a problem.
    pub fn from_file(path: &Path) -> Self {
        let text = match read_capped(path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            read => read.map_err(|error| error.to_string()).and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string())),
        };
        match text.and_then(|text| toml::from_str::<Written>(&text).map_err(|error| error.to_string())) {
            Err(reason) => Self { problem: Some(format!("{FILE}: {}", escape::line(reason.trim()))), ..Self::default() },
            Ok(file) => {
                let list = |values: Option<Vec<String>>| values.map(|values| OsString::from(values.join(":")));
                Self {
                    models: list(file.models),
                    golden: list(file.golden),
                    artifacts: list(file.artifacts),
                    runtimes: list(file.runtimes),
                    data: file.data.map(OsString::from),
                    require_all: file.require_all.map(|all| OsString::from(if all { "1" } else { "0" })),
                    deadline: file.deadline.map(|seconds| seconds.to_string()),
                    roster: None,
                    problem: None,
                }
            }
        }
    }

    /// The settings as a prefix of a shell command, empty or ending in a space.
    pub fn as_shell_prefix(&self) -> String {
        [
            (MODELS_VARIABLE, &self.models),
            (GOLDEN_VARIABLE, &self.golden),
            (ARTIFACTS_VARIABLE, &self.artifacts),
            (DATA_VARIABLE, &self.data),
            (RUNTIMES_VARIABLE, &self.runtimes),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| (name, value)))
        .map(|(name, value)| format!("{name}={} ", escape::shell(&value.to_string_lossy())))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        Settings::from_file(&folder.path().join(FILE))
    }

    #[test]
    fn the_file_says_what_the_variables_say() {
        let settings = of("models = ['a', '/b']\nartifacts = ['m=x.gguf']\ndata = 'd'\nrequire_all = true\ndeadline = 90\n");
        assert_eq!(settings.models.as_deref(), Some("a:/b".as_ref()));
        assert_eq!(settings.artifacts.as_deref(), Some("m=x.gguf".as_ref()));
        assert_eq!(settings.require_all.as_deref(), Some("1".as_ref()));
        assert_eq!((settings.deadline.as_deref(), settings.problem), (Some("90"), None));
    }

    #[test]
    fn an_unknown_key_or_another_type_is_a_problem() {
        for (text, said) in
            [("model = ['a']", "unknown field `model`"), ("models = 'a'", "invalid type"), ("models = [", "ground-truth.toml")]
        {
            let problem = of(text).problem.unwrap();
            assert!(problem.contains(said), "{problem}");
        }
        assert_eq!(Settings::from_file(Path::new("/no/such/file")).problem, None);
        assert!(Settings::from_file(Path::new("/")).problem.is_some());
    }
}
