//! What tests by process share: a workspace that carries one model, a command that no variable of this process reaches, and what was printed.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The model that is copied.
pub const MODEL: &str = "llama-tiny";

/// A copy of one carried model, its golden and the texts, in a folder of its own.
pub fn copy_of_model() -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("harness lies in the workspace");
    for part in [format!("testdata/models/{MODEL}"), "testdata/texts".to_owned(), format!("golden/{MODEL}")] {
        copy_folder(&root.join(&part), &copy.path().join(&part));
    }
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the folder is readable") {
        let entry = entry.expect("the entry is readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file is copied");
        }
    }
}

/// `program`, in whose environment the workspace is `root` and no other variable speaks to the suite or of nextest.
pub fn on_workspace(program: impl AsRef<OsStr>, root: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("NEXTEST") || text.starts_with("GROUND_TRUTH_") {
            command.env_remove(&name);
        }
    }
    command.env("GROUND_TRUTH_ROOT", root);
    command
}

/// Everything that was printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
