//! Where the suite's data lie, and where it may write.
//!
//! | what | where |
//! |---|---|
//! | root | `GROUND_TRUTH_ROOT`, else the repository this crate was compiled in; where that is none, the folder of the package under test |
//! | models, goldens, texts | `testdata/models`, `golden`, `testdata/texts` under the root; where it was compiled in no repository, the crate `ground-truth-data` |
//! | everything written | `ground-truth/` under the target folder of the running executable, or of the root that was named |
//!
//! A test binary runs in its package's folder, a command wherever the user stands: nothing in the repository depends on the working
//! directory. A harness from a registry has no repository: relative values are the package's then, and what the data crates hold is
//! laid out, by links, in a folder of the output as it lies in the repository.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::escape;

/// Overrides the workspace root, for suites that keep their own roster and goldens.
pub const ROOT_VARIABLE: &str = "GROUND_TRUTH_ROOT";

/// Files that cargo puts into a target folder: the first into one that it makes, the second into every one that it builds in, as where a tool
/// was installed below it before anything was built.
const TARGET_MARKS: [&str; 2] = ["CACHEDIR.TAG", ".rustc_info.json"];

/// The folders of one run.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    data: PathBuf,
    out: PathBuf,
    problem: Option<String>,
}

impl Workspace {
    /// The workspace of this process: `GROUND_TRUTH_ROOT`, else the repository this crate was compiled in, else the data crates.
    pub fn from_env() -> Self {
        let named = std::env::var_os(ROOT_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|folder| is_repository(folder));
        match (named, compiled) {
            (Some(root), _) => Self::at(&root, root.join("target").join("ground-truth")),
            (None, Some(root)) => Self::at(root, target_folder().unwrap_or_else(|| root.join("target")).join("ground-truth")),
            (None, None) => {
                let root = package_folder().unwrap_or_default();
                let out = target_folder().unwrap_or_else(|| root.join("target")).join("ground-truth");
                Self::of_crates(root, out)
            }
        }
    }

    /// A workspace whose data lie under `root` and whose output goes to `out`.
    pub fn at(root: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { data: root.clone(), root, out: out.into(), problem: None }
    }

    /// A workspace whose data are those of the data crates.
    pub fn of_crates(root: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        let (root, out) = (root.into(), out.into());
        let (data, problem) = match lay_out(&out, &of_crates()) {
            Ok(data) => (data, None),
            Err((data, error)) => (data, Some(error)),
        };
        Self { root, data, out, problem }
    }

    /// The folder against which relative values are resolved, and that holds `expectations/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Why the data are not where they should be, if they are not.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The folder that everything is written under.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The folder of carried models.
    pub fn models(&self) -> PathBuf {
        self.data.join("testdata").join("models")
    }

    /// The folder of carried goldens.
    pub fn golden(&self) -> PathBuf {
        self.data.join("golden")
    }

    /// The folder of the texts whose perplexity is measured.
    pub fn texts(&self) -> PathBuf {
        self.data.join("testdata").join("texts")
    }

    /// `value` as given if absolute, else under the root.
    pub fn resolve(&self, value: impl Into<OsString>) -> PathBuf {
        self.root.join(PathBuf::from(value.into()))
    }

    /// `path` for a message: relative to the root or the data where it lies inside them, with nothing in it that a terminal would obey.
    pub fn show(&self, path: &Path) -> String {
        let shown = path.strip_prefix(&self.root).or_else(|_| path.strip_prefix(&self.data)).unwrap_or(path);
        escape::line(&shown.to_string_lossy())
    }
}

/// Whether a folder is the repository: any of its data is enough, so that one that lost some is not taken for a registry.
fn is_repository(folder: &Path) -> bool {
    ["golden", "testdata"].iter().any(|part| folder.join(part).is_dir())
}

/// The folder of the package whose test or command this is, as cargo says, else the working directory.
fn package_folder() -> Option<PathBuf> {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).or_else(|| std::env::current_dir().ok())
}

/// What the data crates hold: where each folder lies under a root, and where it is.
fn of_crates() -> Vec<(String, PathBuf)> {
    let models = ground_truth_data::MODELS.iter().flat_map(|(name, folder)| {
        let folder = Path::new(folder);
        [(format!("testdata/models/{name}"), folder.join("model")), (format!("golden/{name}"), folder.join("golden"))]
    });
    let shared = ground_truth_data::DATA.iter().map(|(place, folder)| ((*place).to_owned(), PathBuf::from(folder)));
    models.chain(shared).collect()
}

/// Links folders to their places under a folder of `out` that is named by them, and returns it; on failure too, with what went wrong.
fn lay_out(out: &Path, parts: &[(String, PathBuf)]) -> Result<PathBuf, (PathBuf, String)> {
    let mut hasher = Sha256::new();
    for (place, folder) in parts {
        hasher.update(format!("{place} {}\n", folder.display()));
    }
    let data = out.join(format!("data-{}", &escape::hex(&hasher.finalize())[..16]));
    let is_laid_out = || parts.iter().all(|(place, folder)| std::fs::read_link(data.join(place)).is_ok_and(|target| &target == folder));
    let lay = || -> io::Result<()> {
        if let Some((_, folder)) = parts.iter().find(|(_, folder)| !folder.is_dir()) {
            return Err(io::Error::other(format!("{} is no folder", folder.display())));
        }
        if is_laid_out() {
            return Ok(());
        }
        std::fs::create_dir_all(out)?;
        let made = tempfile::Builder::new().prefix("data-").tempdir_in(out)?;
        for (place, folder) in parts {
            let link = made.path().join(place);
            std::fs::create_dir_all(link.parent().unwrap_or(made.path()))?;
            symlink(folder, link)?;
        }
        // Another process may have been first, or what stands there is only a part.
        if std::fs::rename(made.path(), &data).is_err() && !is_laid_out() {
            std::fs::remove_dir_all(&data)?;
            std::fs::rename(made.path(), &data)?;
        }
        Ok(())
    };
    match lay() {
        Ok(()) => Ok(data),
        Err(error) => Err((data, error.to_string())),
    }
}

/// The target folder of the running executable: the nearest folder above it that cargo marked as its own.
fn target_folder() -> Option<PathBuf> {
    let executable = std::env::current_exe().ok()?;
    executable.ancestors().skip(1).find(|folder| is_target(folder)).map(Path::to_path_buf)
}

fn is_target(folder: &Path) -> bool {
    TARGET_MARKS.iter().any(|mark| folder.join(mark).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
    fn the_data_crates_hold_what_the_repository_carries() {
        let out = tempfile::tempdir().unwrap();
        let here = Workspace::from_env();
        assert!(here.problem().is_none() && is_repository(here.root()));
        let packaged = Workspace::of_crates("/nowhere", out.path());
        assert_eq!(packaged.problem(), None);
        let names = |folder: PathBuf| -> BTreeSet<String> {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
            entries.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        let models = names(here.models());
        assert_eq!(names(packaged.models()), models, "a carried model has a data crate of its own");
        let mut goldens = names(here.golden());
        goldens.retain(|name| !NOT_PACKAGED.contains(&name.as_str()));
        assert_eq!(names(packaged.golden()), goldens, "what the harness reads of golden/ is in a data crate");
        for name in models {
            assert_eq!(packaged.models().join(&name).canonicalize().unwrap(), here.models().join(&name).canonicalize().unwrap());
            assert_eq!(packaged.golden().join(&name).canonicalize().unwrap(), here.golden().join(&name).canonicalize().unwrap());
        }
        assert_eq!(packaged.texts().canonicalize().unwrap(), here.texts().canonicalize().unwrap());
        assert_eq!(packaged.show(&packaged.golden().join("a/index.json")), "golden/a/index.json");
    }

    /// Schemas, vectors of the engine's own tests, and the goldens of models that are not carried.
    const NOT_PACKAGED: [&str; 4] = ["schema", "vectors", "ref256", "stories260K"];

    #[test]
    fn folders_are_laid_out_once_and_again_when_a_part_is_gone() {
        let out = tempfile::tempdir().unwrap();
        let parts = |names: &[&str]| -> Vec<(String, PathBuf)> {
            names.iter().map(|name| (format!("golden/{name}"), out.path().join("crates").join(name))).collect()
        };
        let whole = parts(&["a", "b"]);
        let (_, error) = lay_out(out.path(), &whole).unwrap_err();
        assert!(error.ends_with("crates/a is no folder"), "{error}");
        whole.iter().for_each(|(_, folder)| std::fs::create_dir_all(folder).unwrap());
        let data = lay_out(out.path(), &whole).unwrap();
        assert_eq!(lay_out(out.path(), &whole).unwrap(), data);
        std::fs::remove_file(data.join("golden/b")).unwrap();
        assert_eq!(lay_out(out.path(), &whole).unwrap(), data);
        assert!(data.join("golden/b").is_dir());
        // A link to elsewhere is not the folder that is meant.
        let one = parts(&["b"]);
        let data_of_one = lay_out(out.path(), &one).unwrap();
        std::fs::remove_file(data_of_one.join("golden/b")).unwrap();
        std::os::unix::fs::symlink(out.path().join("crates/a"), data_of_one.join("golden/b")).unwrap();
        assert_eq!(lay_out(out.path(), &one).unwrap(), data_of_one);
        assert_eq!(std::fs::read_link(data_of_one.join("golden/b")).unwrap(), one[0].1);
        assert_ne!(lay_out(out.path(), &parts(&["a"])).unwrap(), data);
        let left = std::fs::read_dir(out.path()).unwrap().count();
        assert_eq!(left, 4, "three layouts and the crates: nothing temporary is left");
    }

    #[test]
    fn the_target_folder_is_found_above_the_test_executable() {
        let executable = std::env::current_exe().unwrap();
        assert!(target_folder().is_some_and(|folder| executable.starts_with(&folder) && is_target(&folder)));
    }

    /// A folder that was there before cargo built in it has the second mark alone.
    #[test]
    fn either_mark_makes_a_target_folder() {
        for mark in TARGET_MARKS {
            let folder = tempfile::tempdir().unwrap();
            assert!(!is_target(folder.path()));
            std::fs::write(folder.path().join(mark), "").unwrap();
            assert!(is_target(folder.path()), "{mark}");
        }
    }
}
