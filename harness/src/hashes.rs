//! SHA-256 of files, remembered.
//!
//! Under `cargo nextest` every row is a process, and hashing a model for each of them would cost more than judging it. What was
//! hashed is remembered by folder in `hashes/<digest of the folder's path>.json` under the output folder:
//!
//! `{"schema": "ground-truth/hashes/1", "folder", "files": {name: {dev, ino, mtime_ns, ctime_ns, size, sha256}}}`
//!
//! A remembered hash counts only while device, inode, both times and the size are what they were, and it is remembered only for
//! a file that had been still for [`SETTLED`] when it was hashed: a file written twice within one tick of the clock would
//! otherwise look unchanged. The store is published by temporary file, fsync and rename. One that is torn, foreign or of another
//! version is as good as none.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::escape::hex;

const SCHEMA: &str = "ground-truth/hashes/1";

/// How long a file must have been left alone before its hash is remembered.
pub const SETTLED: Duration = Duration::from_secs(2);

/// A store larger than this was not written by us.
const MAX_STORE_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    dev: u64,
    ino: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    size: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    schema: String,
    folder: String,
    files: BTreeMap<String, Remembered>,
}

/// The hashes of the files of one folder.
pub struct FolderHashes {
    folder: PathBuf,
    store_path: PathBuf,
    files: BTreeMap<String, Remembered>,
    changed: bool,
    computed: usize,
}

impl FolderHashes {
    /// What is remembered of `folder` under the output folder `out`.
    pub fn open(folder: &Path, out: &Path) -> Self {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let digest = hex(&Sha256::digest(folder.as_os_str().as_bytes()));
        let store_path = out.join("hashes").join(format!("{digest}.json"));
        let files = read_store(&store_path, &folder).unwrap_or_default();
        Self { folder, store_path, files, changed: false, computed: 0 }
    }

    /// Size and SHA-256 of a file of the folder, remembered or computed.
    ///
    /// # Errors
    /// Whatever reading it says, also that it is not a regular file.
    pub fn of(&mut self, name: &str) -> io::Result<(u64, String)> {
        let mut file = File::open(self.folder.join(name))?;
        let before = file.metadata()?;
        if !before.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let identity = identity(&before);
        if let Some(known) = self.files.get(name) {
            let same = Remembered { sha256: known.sha256.clone(), ..identity.clone() };
            if *known == same {
                return Ok((known.size, known.sha256.clone()));
            }
        }
        let (size, sha256) = digest(&mut file)?;
        self.computed += 1;
        let remembered = Remembered { sha256: sha256.clone(), ..identity.clone() };
        let unchanged = file.metadata().is_ok_and(|after| self::identity(&after) == identity);
        if unchanged && size == before.len() && is_settled(&before, SystemTime::now()) {
            self.files.insert(name.to_owned(), remembered);
        } else {
            self.files.remove(name);
        }
        self.changed = true;
        Ok((size, sha256))
    }

    /// How many files had to be read since the store was opened.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// Publishes what was learnt. That it could not be is no reason to fail: the next process hashes again.
    pub fn remember(&self) {
        if !self.changed {
            return;
        }
        let store = Store { schema: SCHEMA.to_owned(), folder: self.folder.to_string_lossy().into_owned(), files: self.files.clone() };
        if let Ok(text) = serde_json::to_vec(&store) {
            let _ = publish(&self.store_path, &text);
        }
    }
}

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never half of either, even if the machine stops.
///
/// # Errors
/// Whatever the file system says.
pub fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, |file| file.sync_all())
}

/// The same, if the machine does not stop: for what the next run writes again anyway.
///
/// # Errors
/// Whatever the file system says.
pub fn publish_for_now(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, |_| Ok(()))
}

fn replace(path: &Path, bytes: &[u8], settle: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a path without a folder"))?;
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    settle(file.as_file())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn read_store(path: &Path, folder: &Path) -> Option<BTreeMap<String, Remembered>> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() > MAX_STORE_BYTES {
        return None;
    }
    let mut text = Vec::new();
    file.take(MAX_STORE_BYTES).read_to_end(&mut text).ok()?;
    let store: Store = serde_json::from_slice(&text).ok()?;
    (store.schema == SCHEMA && store.folder == folder.to_string_lossy()).then_some(store.files)
}

fn identity(metadata: &Metadata) -> Remembered {
    let ns = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    Remembered {
        dev: metadata.dev(),
        ino: metadata.ino(),
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        size: metadata.len(),
        sha256: String::new(),
    }
}

/// Whether both times of the file lie at least [`SETTLED`] before `now`.
fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let Some(limit) = now.duration_since(UNIX_EPOCH).ok().and_then(|since| since.checked_sub(SETTLED)) else {
        return false;
    };
    let limit = i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX);
    let identity = identity(metadata);
    identity.mtime_ns < limit && identity.ctime_ns < limit
}

fn digest(file: &mut File) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((size, hex(&hasher.finalize()))),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// Backdates a file's mtime. Its ctime is the kernel's, so tests of remembering wait for the clock.
    fn settle() {
        std::thread::sleep(SETTLED + Duration::from_millis(100));
    }

    #[test]
    fn a_settled_file_is_hashed_once_and_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let out = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "abc").unwrap();
        settle();
        let mut hashes = FolderHashes::open(folder.path(), out.path());
        assert_eq!(hashes.of("a").unwrap(), (3, ABC.to_owned()));
        hashes.remember();
        let mut again = FolderHashes::open(folder.path(), out.path());
        assert_eq!(again.of("a").unwrap(), (3, ABC.to_owned()));
        assert_eq!(again.computed(), 0);
        fs::write(folder.path().join("a"), "abd").unwrap();
        let mut third = FolderHashes::open(folder.path(), out.path());
        assert_ne!(third.of("a").unwrap().1, ABC);
        assert_eq!(third.computed(), 1);
    }

    #[test]
    fn a_file_just_written_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let out = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "abc").unwrap();
        let mut hashes = FolderHashes::open(folder.path(), out.path());
        hashes.of("a").unwrap();
        hashes.remember();
        let mut again = FolderHashes::open(folder.path(), out.path());
        again.of("a").unwrap();
        assert_eq!(again.computed(), 1);
    }

    #[test]
    fn a_torn_or_foreign_store_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let out = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "abc").unwrap();
        let store = FolderHashes::open(folder.path(), out.path()).store_path;
        fs::create_dir_all(store.parent().unwrap()).unwrap();
        for content in ["", "{", r#"{"schema":"other","folder":"x","files":{}}"#, "\0\0"] {
            fs::write(&store, content).unwrap();
            let mut hashes = FolderHashes::open(folder.path(), out.path());
            assert_eq!(hashes.of("a").unwrap().1, ABC, "{content}");
            assert_eq!(hashes.computed(), 1);
        }
    }

    #[test]
    fn a_folder_in_place_of_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        let mut hashes = FolderHashes::open(folder.path(), folder.path());
        assert!(hashes.of("a").is_err());
        assert!(hashes.of("absent").is_err());
    }
}
