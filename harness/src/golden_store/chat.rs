//! The golden of chat templates: `golden/chat`, which belongs to no model.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ground_truth_falsification::golden::{ChatConversations, ChatGolden, ChatIndex, ChatStyle, GoldenError, MAX_JSON_BYTES};
use sha2::{Digest, Sha256};

use super::{complaints_about, few, names_in, read_capped};
use crate::escape;
use crate::hashes::FolderHashes;
use crate::workspace::Workspace;

/// The folder under that of the goldens.
pub const CHAT: &str = "chat";

/// What lists its files, and what vouches for that list.
const INDEX: &str = "chat.json";
const DIGEST: &str = "chat.sha256";

/// Expressions of the template language, which are the engine's own tests' business.
const LANGUAGE: &str = "language.json";

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.golden().join(CHAT)
}

/// The index, where there is a golden.
///
/// # Errors
/// What is wrong with it, naming the file.
pub fn index(workspace: &Workspace) -> Result<Option<Arc<ChatIndex>>, String> {
    let folder = folder(workspace);
    if !folder.is_dir() {
        return Ok(None);
    }
    let shown = workspace.show(&folder.join(INDEX));
    let bytes = read(&folder.join(INDEX), &shown)?;
    let digest = escape::hex(&Sha256::digest(&bytes));
    let told = read(&folder.join(DIGEST), &workspace.show(&folder.join(DIGEST)))?;
    if told != format!("{digest}  {INDEX}\n").as_bytes() {
        let beside = workspace.show(&folder.join(DIGEST));
        return Err(format!("{shown} has the sha256 {digest}, which is not what {beside} says: restore the one that was changed"));
    }
    ChatIndex::parse(&bytes, &shown).map(|index| Some(Arc::new(index))).map_err(|error| error.to_string())
}

/// All of it, every file held against the index.
///
/// # Errors
/// What is missing, altered, not listed, or contradicts itself, naming its file.
pub fn golden(workspace: &Workspace, index: &ChatIndex) -> Result<ChatGolden, String> {
    let folder = folder(workspace);
    verify(workspace, &folder, index)?;
    let conversations = parsed(workspace, &folder.join("conversations.json"), ChatConversations::parse)?;
    let mut styles = Vec::new();
    for style in &index.styles {
        styles.push(parsed(workspace, &folder.join(format!("{}.json", style.name)), ChatStyle::parse)?);
    }
    ChatGolden::new(index.clone(), conversations, styles, &workspace.show(&folder)).map_err(|error| error.to_string())
}

fn verify(workspace: &Workspace, folder: &Path, index: &ChatIndex) -> Result<(), String> {
    let shown = workspace.show(&folder.join(INDEX));
    let mut complaints = Vec::new();
    let listed: BTreeSet<&str> = index.golden_files.iter().map(|file| file.name.as_str()).collect();
    let due: BTreeSet<String> =
        index.styles.iter().map(|style| format!("{}.json", style.name)).chain(["conversations.json".to_owned()]).collect();
    for name in due.iter().filter(|name| !listed.contains(name.as_str()) || !escape::is_plain_name(name)) {
        complaints.push(format!("{shown}: `golden_files` lacks `{}`", escape::line(name)));
    }
    for name in listed.iter().filter(|name| **name != LANGUAGE && !due.contains(**name)) {
        complaints.push(format!("{shown}: lists `{}`, which no style uses", escape::line(name)));
    }
    let mut hashes = FolderHashes::open(folder, workspace.out());
    complaints_about(workspace, folder, &index.golden_files, &shown, &mut hashes, &mut complaints);
    hashes.remember();
    let is_known = |name: &str| [INDEX, DIGEST].contains(&name) || listed.contains(name);
    match names_in(folder) {
        Ok(names) => {
            for name in names.iter().filter(|name| !is_known(name)) {
                complaints.push(format!("{}: not listed in {INDEX}", workspace.show(&folder.join(name))));
            }
        }
        Err(error) => complaints.push(format!("{}: {error}", workspace.show(folder))),
    }
    match complaints.as_slice() {
        [] => Ok(()),
        _ => Err(format!(
            "{}. Restore what was changed; if the change is meant, write the golden again: uv run golden/chat.py",
            few(&complaints)
        )),
    }
}

fn parsed<T>(workspace: &Workspace, path: &Path, parse: fn(&[u8], &str) -> Result<T, GoldenError>) -> Result<T, String> {
    let shown = workspace.show(path);
    parse(&read(path, &shown)?, &shown).map_err(|error| error.to_string())
}

fn read(path: &Path, shown: &str) -> Result<Vec<u8>, String> {
    read_capped(path, MAX_JSON_BYTES as u64).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{shown} is absent: restore it, or write the golden again: uv run golden/chat.py"),
        _ => format!("{shown}: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A copy of the committed golden that can be spoiled.
    fn copy() -> (tempfile::TempDir, Workspace) {
        let here = Workspace::from_env();
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().join("golden").join(CHAT);
        fs::create_dir_all(&to).expect("a folder");
        for name in names_in(&super::folder(&here)).expect("the golden") {
            fs::copy(super::folder(&here).join(&name), to.join(&name)).expect("a copy");
        }
        let workspace = Workspace::at(folder.path(), folder.path().join("out"));
        (folder, workspace)
    }

    fn complaint(workspace: &Workspace) -> String {
        let index = match index(workspace) {
            Ok(index) => index.expect("a golden"),
            Err(complaint) => return complaint,
        };
        golden(workspace, &index).expect_err("it was spoiled")
    }

    #[test]
    fn the_committed_golden_is_whole() {
        let workspace = Workspace::from_env();
        let index = index(&workspace).expect("readable").expect("there");
        let golden = golden(&workspace, &index).expect("whole");
        assert_eq!(golden.styles.len(), 8);
        let cases: usize = golden.styles.iter().map(|style| style.cases.len()).sum();
        assert_eq!(cases, 800);
        for style in &golden.styles {
            let source = fs::read_to_string(workspace.root().join(format!("testdata/chat/{}.jinja", style.style))).expect("a template");
            assert_eq!(style.template, source, "{}", style.style);
        }
    }

    #[test]
    fn what_is_altered_absent_or_not_listed_is_named() {
        type Spoil = fn(&Path);
        let spoil: [(&str, Spoil); 5] = [
            ("qwen.json: altered", |folder| {
                let bytes = fs::read_to_string(folder.join("qwen.json")).expect("a style");
                fs::write(folder.join("qwen.json"), bytes.replacen("Hello", "Hallo", 1)).expect("written");
            }),
            ("phi.json: absent", |folder| fs::remove_file(folder.join("phi.json")).expect("removed")),
            ("more.json: not listed", |folder| fs::write(folder.join("more.json"), "{}").expect("written")),
            ("chat.json has the sha256", |folder| fs::write(folder.join("chat.json"), "{}").expect("written")),
            ("chat.sha256 is absent", |folder| fs::remove_file(folder.join("chat.sha256")).expect("removed")),
        ];
        for (due, spoil) in spoil {
            let (folder, workspace) = copy();
            spoil(&folder.path().join("golden").join(CHAT));
            let complaint = complaint(&workspace);
            assert!(complaint.contains(due), "{due}: {complaint}");
        }
    }

    #[test]
    fn a_workspace_without_one_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(index(&Workspace::at(folder.path(), folder.path().join("out"))), Ok(None));
    }
}
