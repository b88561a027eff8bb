//! Where the suite's data lie, and where it may write.
//!
//! | what | where |
//! |---|---|
//! | root | `GROUND_TRUTH_ROOT`, else the workspace this crate was compiled in |
//! | models, goldens, texts | `testdata/models`, `golden`, `testdata/texts` under the root |
//! | everything written | `ground-truth/` under the target folder of the running executable, or of the root that was named |
//!
//! A test binary runs in its package's folder, a command wherever the user stands: nothing here depends on the working directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::escape;

/// Overrides the workspace root, for suites that keep their own roster and goldens.
pub const ROOT_VARIABLE: &str = "GROUND_TRUTH_ROOT";

/// The file that cargo puts into every target folder it makes.
const TARGET_MARK: &str = "CACHEDIR.TAG";

/// The folders of one run.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    out: PathBuf,
}

impl Workspace {
    /// The workspace of this process: `GROUND_TRUTH_ROOT`, else the one this crate was compiled in.
    pub fn from_env() -> Self {
        let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")));
        let named = std::env::var_os(ROOT_VARIABLE).filter(|value| !value.is_empty());
        let target = if named.is_some() { None } else { target_folder() };
        let root = named.map_or_else(|| compiled.to_path_buf(), PathBuf::from);
        let out = target.unwrap_or_else(|| root.join("target")).join("ground-truth");
        Self { root, out }
    }

    /// A workspace whose data lie under `root` and whose output goes to `out`.
    pub fn at(root: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), out: out.into() }
    }

    /// The folder against which relative values are resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that everything is written under.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The folder of carried models.
    pub fn models(&self) -> PathBuf {
        self.root.join("testdata").join("models")
    }

    /// The folder of carried goldens.
    pub fn golden(&self) -> PathBuf {
        self.root.join("golden")
    }

    /// The folder of the texts whose perplexity is measured.
    pub fn texts(&self) -> PathBuf {
        self.root.join("testdata").join("texts")
    }

    /// `value` as given if absolute, else under the root.
    pub fn resolve(&self, value: impl Into<OsString>) -> PathBuf {
        self.root.join(PathBuf::from(value.into()))
    }

    /// `path` for a message: relative to the root where it lies inside it, with nothing in it that a terminal would obey.
    pub fn show(&self, path: &Path) -> String {
        let shown = path.strip_prefix(&self.root).unwrap_or(path);
        escape::line(&shown.to_string_lossy())
    }
}

/// The target folder of the running executable: the nearest folder above it that cargo marked as its own.
fn target_folder() -> Option<PathBuf> {
    let executable = std::env::current_exe().ok()?;
    executable.ancestors().skip(1).find(|folder| folder.join(TARGET_MARK).is_file()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_values_resolve_against_the_root() {
        let workspace = Workspace::at("/data/suite", "/tmp/out");
        assert_eq!(workspace.resolve("extra/models"), Path::new("/data/suite/extra/models"));
        assert_eq!(workspace.resolve("/abs"), Path::new("/abs"));
    }

    #[test]
    fn paths_inside_the_root_are_shown_relative_to_it() {
        let workspace = Workspace::at("/data/suite", "/tmp/out");
        assert_eq!(workspace.show(Path::new("/data/suite/golden/a/index.json")), "golden/a/index.json");
        assert_eq!(workspace.show(Path::new("/else\u{202e}where")), "/else\\u{202e}where");
    }

    #[test]
    fn the_target_folder_is_found_above_the_test_executable() {
        assert!(target_folder().is_some());
    }
}
