//! The variables that extend the roster, as they were found.

use std::ffi::OsString;

use crate::escape;

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
}

impl Settings {
    /// The variables of this process.
    pub fn from_env() -> Self {
        Self {
            models: std::env::var_os(MODELS_VARIABLE),
            golden: std::env::var_os(GOLDEN_VARIABLE),
            artifacts: std::env::var_os(ARTIFACTS_VARIABLE),
            data: std::env::var_os(DATA_VARIABLE),
            runtimes: std::env::var_os(RUNTIMES_VARIABLE),
            require_all: std::env::var_os(REQUIRE_ALL_VARIABLE),
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
