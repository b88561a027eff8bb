//! Artifacts that were made from a model, kept by what they were made of.
//!
//! An entry is a folder `artifacts/<key>/` under the output folder; the key is the digest of everything that decides its bytes: the
//! source files' hashes, the converter's source, the column. It holds the artifact and `entry.json`, which vouches for every byte:
//!
//! `{"schema": "ground-truth/artifact/1", "key", "artifact", "files": [{name, bytes, sha256}], "values_digest", "notes"}`
//!
//! An entry is used only after its files were held against those hashes. One that is torn, altered or incomplete is made again, never used.
//! It is made once: threads wait for each other by a lock in memory, processes (nextest runs each row in one) by a lock on a file, and it
//! appears under its key by renaming a finished folder. What was not used for longest makes room when the store grows past
//! [`MAX_STORE_BYTES`].

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::escape::{self, hex};
use crate::golden_store::read_capped;
use crate::hashes::{self, FolderHashes};

const SCHEMA: &str = "ground-truth/artifact/1";

/// The file that vouches for an entry.
const ENTRY: &str = "entry.json";

/// How large `entry.json` may be; one of a thousand shards has 150 kB.
const MAX_ENTRY_BYTES: u64 = 16 << 20;

/// The store is kept below this by forgetting what was not used for longest.
pub const MAX_STORE_BYTES: u64 = 4 << 30;

/// What was used this recently is never forgotten: another process may be about to open it.
const IN_USE: Duration = Duration::from_secs(600);

/// Everything that decides an artifact's bytes, as one digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The key of what is made from these files (name and SHA-256) by this converter in this way.
    pub fn of(files: &BTreeMap<String, String>, converter: &str, way: &str) -> Self {
        let mut hasher = Sha256::new();
        let mut field = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        field(SCHEMA);
        field(converter);
        field(way);
        for (name, sha256) in files {
            field(name);
            field(sha256);
        }
        Self(hex(&hasher.finalize()))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a maker put into the folder it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The artifact, relative to that folder: a file, or a folder of safetensors.
    pub artifact: String,
    /// The digest of its values.
    pub values_digest: String,
    /// What conversion remarked.
    pub notes: Vec<String>,
}

/// An entry whose bytes are as they were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The artifact.
    pub path: PathBuf,
    /// The digest of its values.
    pub values_digest: String,
    /// The bytes of all its files.
    pub bytes: u64,
    /// The number of its files.
    pub n_files: usize,
    /// What conversion remarked.
    pub notes: Vec<String>,
    /// Whether it was made just now.
    pub fresh: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    bytes: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    schema: String,
    key: String,
    artifact: String,
    files: Vec<Written>,
    values_digest: String,
    notes: Vec<String>,
}

/// Why there is no artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError<E> {
    /// The maker refused.
    #[error("{0}")]
    Maker(E),
    /// The file system refused.
    #[error("{file}: {message}")]
    Io {
        /// The file or folder.
        file: String,
        /// What it said.
        message: String,
    },
}

/// The store of one output folder.
#[derive(Debug)]
pub struct ArtifactStore {
    folder: PathBuf,
    out: PathBuf,
    locks: Mutex<HashMap<Key, Arc<Mutex<()>>>>,
    pruned: AtomicBool,
}

impl ArtifactStore {
    /// The store under the output folder `out`. Nothing is created yet.
    pub fn new(out: &Path) -> Self {
        Self { folder: out.join("artifacts"), out: out.to_path_buf(), locks: Mutex::default(), pruned: AtomicBool::new(false) }
    }

    /// The artifact of that key, made by `make` if the store does not hold it unharmed.
    ///
    /// # Errors
    /// [`StoreError`]: what the maker or the file system says.
    pub fn get<E>(&self, key: &Key, make: impl FnOnce(&Path) -> Result<Product, E>) -> Result<Stored, StoreError<E>> {
        let lock = Arc::clone(self.locks.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default());
        let _in_this_process = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = self.unharmed(key) {
            return Ok(stored);
        }
        fs::create_dir_all(&self.folder).map_err(|error| io_error(&self.folder, &error))?;
        let lock_file = self.folder.join(format!("{}.lock", key.0));
        let locked = File::create(&lock_file).and_then(|file| file.lock().map(|()| file));
        let _in_every_process = locked.map_err(|error| io_error(&lock_file, &error))?;
        // Whoever held the lock before may have made it meanwhile.
        if let Some(stored) = self.unharmed(key) {
            return Ok(stored);
        }
        if !self.pruned.swap(true, Ordering::SeqCst) {
            self.prune(MAX_STORE_BYTES, IN_USE);
        }
        let stored = self.made(key, make)?;
        let _ = fs::remove_file(&lock_file);
        Ok(stored)
    }

    /// Makes the artifact again beside the store, for claims about making it twice. The folder is removed with the guard.
    ///
    /// # Errors
    /// [`StoreError`]: what the maker or the file system says.
    pub fn scratch<E>(&self, make: impl FnOnce(&Path) -> Result<Product, E>) -> Result<(tempfile::TempDir, Product), StoreError<E>> {
        let folder = self.new_folder()?;
        let product = make(folder.path()).map_err(StoreError::Maker)?;
        Ok((folder, product))
    }

    fn new_folder<E>(&self) -> Result<tempfile::TempDir, StoreError<E>> {
        fs::create_dir_all(&self.folder)
            .and_then(|()| tempfile::Builder::new().prefix(".making-").tempdir_in(&self.folder))
            .map_err(|error| io_error(&self.folder, &error))
    }

    fn made<E>(&self, key: &Key, make: impl FnOnce(&Path) -> Result<Product, E>) -> Result<Stored, StoreError<E>> {
        let folder = self.new_folder()?;
        let product = make(folder.path()).map_err(StoreError::Maker)?;
        let target = self.folder.join(&key.0);
        self.publish(key, folder, &product, &target).map_err(|error| io_error(&target, &error))?;
        match self.unharmed(key) {
            Some(stored) => Ok(Stored { fresh: true, ..stored }),
            None => {
                Err(io_error(&target, &io::Error::other("was written and is not what was written: the disk lies or somebody interferes")))
            }
        }
    }

    fn publish(&self, key: &Key, folder: tempfile::TempDir, product: &Product, target: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for name in files_under(folder.path())? {
            let (bytes, sha256) = FolderHashes::open(folder.path(), &self.out).of(&name)?;
            files.push(Written { name, bytes, sha256 });
        }
        let entry = Entry {
            schema: SCHEMA.to_owned(),
            key: key.0.clone(),
            artifact: product.artifact.clone(),
            files,
            values_digest: product.values_digest.clone(),
            notes: product.notes.clone(),
        };
        hashes::publish(&folder.path().join(ENTRY), &serde_json::to_vec_pretty(&entry)?)?;
        if target.exists() {
            // Damaged, or the caller would not be here. It leaves its name before it goes, so that no half of it is ever found there.
            let aside = tempfile::Builder::new().prefix(".damaged-").tempdir_in(&self.folder)?;
            fs::rename(target, aside.path().join("entry"))?;
        }
        fs::rename(folder.keep(), target)?;
        File::open(&self.folder)?.sync_all()
    }

    /// The entry, if every byte is as it was made.
    fn unharmed(&self, key: &Key) -> Option<Stored> {
        let folder = self.folder.join(&key.0);
        let entry_file = folder.join(ENTRY);
        let entry: Entry = serde_json::from_slice(&read_capped(&entry_file, MAX_ENTRY_BYTES).ok()?).ok()?;
        let mut names: Vec<String> = files_under(&folder).ok()?;
        names.retain(|name| name != ENTRY);
        let listed: Vec<&str> = entry.files.iter().map(|file| file.name.as_str()).collect();
        if entry.schema != SCHEMA || entry.key != key.0 || names != listed || listed.is_empty() {
            return None;
        }
        let mut hashes = FolderHashes::open(&folder, &self.out);
        let as_made = entry.files.iter().all(|file| hashes.of(&file.name).is_ok_and(|found| found == (file.bytes, file.sha256.clone())));
        hashes.remember();
        if !as_made || !folder.join(&entry.artifact).exists() {
            return None;
        }
        let _ = File::options().append(true).open(&entry_file).and_then(|file| file.set_modified(SystemTime::now()));
        Some(Stored {
            path: folder.join(&entry.artifact),
            values_digest: entry.values_digest,
            bytes: entry.files.iter().map(|file| file.bytes).sum(),
            n_files: entry.files.len(),
            notes: entry.notes,
            fresh: false,
        })
    }

    /// Forgets what was not used for longest, until at most `cap` bytes are left. That something cannot be removed is no reason to fail.
    fn prune(&self, cap: u64, in_use: Duration) {
        let Ok(folders) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for folder in folders.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let used = fs::metadata(folder.join(ENTRY)).or_else(|_| fs::metadata(&folder)).and_then(|metadata| metadata.modified());
            let bytes = files_under(&folder).unwrap_or_default();
            let bytes = bytes.iter().filter_map(|name| fs::metadata(folder.join(name)).ok()).map(|metadata| metadata.len()).sum();
            entries.extend(used.ok().map(|used| (used, bytes, folder)));
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        let now = SystemTime::now();
        for (used, bytes, folder) in entries {
            if total <= cap || now.duration_since(used).is_ok_and(|age| age < in_use) {
                return;
            }
            if fs::remove_dir_all(&folder).is_ok() {
                total -= bytes;
            }
        }
    }
}

fn io_error<E>(file: &Path, error: &io::Error) -> StoreError<E> {
    StoreError::Io { file: escape::line(&file.to_string_lossy()), message: error.to_string() }
}

/// The regular files under a folder and its subfolders, relative to it, sorted.
fn files_under(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let name = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(name);
            } else {
                files.push(name.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    fn key(way: &str) -> Key {
        Key::of(&BTreeMap::from([("model.safetensors".to_owned(), "ab".to_owned())]), "1", way)
    }

    /// A maker that writes two files and counts how often it was asked.
    fn maker(asked: &AtomicUsize) -> impl Fn(&Path) -> Result<Product, Infallible> + '_ {
        |folder| {
            asked.fetch_add(1, Ordering::SeqCst);
            fs::create_dir(folder.join("model")).unwrap();
            fs::write(folder.join("model/a"), [7; 100]).unwrap();
            fs::write(folder.join("model/b"), "b").unwrap();
            Ok(Product { artifact: "model".into(), values_digest: "d".into(), notes: vec!["n".into()] })
        }
    }

    #[test]
    fn an_artifact_is_made_once_and_kept() {
        let out = tempfile::tempdir().unwrap();
        let asked = AtomicUsize::new(0);
        let first = ArtifactStore::new(out.path()).get(&key("a"), maker(&asked)).unwrap();
        assert!(first.fresh && first.path.join("a").is_file());
        assert_eq!((first.bytes, first.n_files), (101, 2));
        let again = ArtifactStore::new(out.path()).get(&key("a"), maker(&asked)).unwrap();
        assert_eq!(again, Stored { fresh: false, ..first });
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn everything_that_decides_the_bytes_is_in_the_key() {
        let files = |name: &str, hash: &str| BTreeMap::from([(name.to_owned(), hash.to_owned())]);
        let keys = [
            Key::of(&files("a", "b"), "1", "w"),
            Key::of(&files("ab", ""), "1", "w"),
            Key::of(&files("a", "c"), "1", "w"),
            Key::of(&files("a", "b"), "2", "w"),
            Key::of(&files("a", "b"), "1", "v"),
            Key::of(&BTreeMap::new(), "1", "w"),
        ];
        let unique: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len());
    }

    #[test]
    fn one_maker_while_others_wait() {
        let out = tempfile::tempdir().unwrap();
        let asked = AtomicUsize::new(0);
        let one = ArtifactStore::new(out.path());
        // Two stores on one folder stand for two processes; the lock on the file is between open files, not processes.
        let other = ArtifactStore::new(out.path());
        thread::scope(|scope| {
            for i in 0..8 {
                let store = if i % 2 == 0 { &one } else { &other };
                let slow = |folder: &Path| {
                    thread::sleep(Duration::from_millis(50));
                    maker(&asked)(folder)
                };
                scope.spawn(move || store.get(&key("a"), slow).unwrap());
            }
        });
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let left: Vec<_> = fs::read_dir(out.path().join("artifacts")).unwrap().collect();
        assert_eq!(left.len(), 1, "no lock and no unfinished folder stays behind");
    }

    #[test]
    fn a_damaged_entry_is_made_again() {
        let out = tempfile::tempdir().unwrap();
        let asked = AtomicUsize::new(0);
        let store = ArtifactStore::new(out.path());
        let path = store.get(&key("a"), maker(&asked)).unwrap().path;
        let folder = path.parent().unwrap().to_path_buf();
        let entry = fs::read(folder.join(ENTRY)).unwrap();
        let damages: [&dyn Fn(); 6] = [
            &|| fs::write(path.join("a"), [8; 100]).unwrap(),
            &|| fs::write(path.join("a"), [7; 99]).unwrap(),
            &|| fs::remove_file(path.join("b")).unwrap(),
            &|| fs::write(path.join("c"), "more").unwrap(),
            &|| fs::write(folder.join(ENTRY), &entry[..entry.len() / 2]).unwrap(),
            &|| fs::remove_file(folder.join(ENTRY)).unwrap(),
        ];
        for (i, damage) in damages.iter().enumerate() {
            damage();
            let stored = store.get(&key("a"), maker(&asked)).unwrap();
            assert!(stored.fresh, "damage {i} was used");
            assert_eq!(fs::read(path.join("a")).unwrap(), [7; 100]);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1 + damages.len());
    }

    #[test]
    fn what_a_maker_refuses_leaves_nothing_behind() {
        let out = tempfile::tempdir().unwrap();
        let store = ArtifactStore::new(out.path());
        let refused = store.get(&key("a"), |folder| {
            fs::write(folder.join("half"), "h").unwrap();
            Err("no such type")
        });
        assert_eq!(refused, Err(StoreError::Maker("no such type")));
        let left: Vec<_> = fs::read_dir(out.path().join("artifacts")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.iter().all(|path| path.is_file()), "{left:?}");
        assert!(store.get(&key("a"), maker(&AtomicUsize::new(0))).is_ok());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let out = tempfile::tempdir().unwrap();
        let asked = AtomicUsize::new(0);
        let store = ArtifactStore::new(out.path());
        for way in ["a", "b", "c"] {
            store.get(&key(way), maker(&asked)).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        store.get(&key("a"), maker(&asked)).unwrap();
        let size: u64 = files_under(&out.path().join("artifacts")).unwrap().len() as u64;
        assert_eq!(size, 9);
        store.prune(1200, IN_USE);
        assert_eq!(fs::read_dir(out.path().join("artifacts")).unwrap().count(), 3, "all of them are in use");
        store.prune(1200, Duration::ZERO);
        assert!(store.unharmed(&key("b")).is_none() && store.unharmed(&key("a")).is_some());
    }
}
