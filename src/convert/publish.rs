//! A file, or a folder of files, that is there whole or not at all.
//!
//! The order is: sweep what an earlier run of the same destination left, make a temporary file beside the destination (or a temporary
//! folder, and the files in it), write, give each its permissions, fsync it, read it back against its hash, parse it, rename, fsync the
//! folder that holds it. Whatever fails, the destination is what it was, and the error names it; a run that is ended from outside leaves at
//! most its one temporary name, which the next run removes. A lock tells a leftover from the work of a run that is still going on.
//!
//! What may be there already: for a file, a regular file, which is replaced in one step and hands on its permissions; for a folder, an empty
//! one, or one that holds exactly the same bytes, which then stays (folders that hold something cannot be replaced in one step). Links are
//! refused: following one would write where nobody asked to, replacing one would surprise whoever made it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::fs::{Filesystem, Kind, Lock, Output, umask};
use crate::error::{ConvertError, InFile, Result};

/// Bytes that are written or read at once.
const PIECE: usize = 1 << 20;

/// A file that was published, or the file of a folder that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name in the folder; the destination's own name if it is the file.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The lowercase hexadecimal digits of its SHA-256.
    pub sha256: String,
}

/// A destination on its way: files are written under a temporary name until [`commit`](Self::commit).
pub(super) struct Publication<'a> {
    fs: &'a dyn Filesystem,
    target: &'a Path,
    /// The folder that holds the destination.
    parent: PathBuf,
    temporary: PathBuf,
    mode: u32,
    kind: Temporary,
    written: Vec<Published>,
}

enum Temporary {
    /// The destination is a file; the handle holds its lock until it is published.
    File(Option<Box<dyn Output>>),
    /// It is a folder.
    Folder(#[expect(dead_code, reason = "held for its lock")] Lock),
    /// There is nothing left to remove.
    Done,
}

fn io<T>(result: io::Result<T>, doing: &'static str, target: &Path) -> Result<T> {
    result.map_err(|source| ConvertError::Io { doing, source }).in_file(target)
}

impl<'a> Publication<'a> {
    /// Looks at the destination, sweeps, and makes the temporary name. `names` are the files that a folder will hold.
    pub(super) fn begin(fs: &'a dyn Filesystem, target: &'a Path, names: Option<&[String]>) -> Result<Self> {
        let name = target.file_name().ok_or(ConvertError::NoName).in_file(target)?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let found = match fs.look(&parent.join(".")) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Some("no folder"),
            looked => match io(looked, "look at the folder that holds it", target)? {
                Some(Kind::Folder) => None,
                Some(_) => Some("no folder"),
                None => Some("missing"),
            },
        };
        if let Some(found) = found {
            return Err(ConvertError::NoFolder { found }).in_file(target);
        }
        let mode = may_take(fs, target, names)?;
        let prefix = prefix(name);
        sweep(fs, &parent, &prefix);
        let (temporary, kind) = make(fs, &parent, &prefix, names.is_some(), target)?;
        Ok(Publication { fs, target, parent, temporary, mode, kind, written: Vec::new() })
    }

    /// A file to write: the destination itself, or the file `name` of the folder.
    pub(super) fn file(&mut self, name: &str) -> Result<Sink> {
        let output = match &mut self.kind {
            Temporary::File(output) => output.take(),
            _ => Some(io(self.fs.create(&self.temporary.join(name)), "make a file in the folder that becomes it", self.target)?),
        };
        match output {
            Some(output) => Ok(Sink::new(output, self.target.to_owned())),
            None => Err(ConvertError::Disagrees { what: "two files for one name".to_owned() }).in_file(self.target),
        }
    }

    /// Gives the file `name` its permissions and has it on the disk.
    pub(super) fn close(&mut self, name: &str, sink: Sink) -> Result<()> {
        let mode = if matches!(self.kind, Temporary::File(_)) { self.mode } else { 0o666 & !umask() };
        let (output, bytes, sha256) = sink.close(mode)?;
        self.written.push(Published { name: name.to_owned(), bytes, sha256 });
        if let Temporary::File(slot) = &mut self.kind {
            *slot = Some(output); // holds the lock
        }
        Ok(())
    }

    /// Reads everything back, has `parses` look at it, and gives it its name. `read` is told of each piece that was read back.
    pub(super) fn commit(mut self, read: &mut dyn FnMut(u64), parses: impl FnOnce(&Path) -> Result<()>) -> Result<Vec<Published>> {
        let (fs, target) = (self.fs, self.target);
        let is_folder = matches!(self.kind, Temporary::Folder(_));
        for file in &self.written {
            let path = if is_folder { self.temporary.join(&file.name) } else { self.temporary.clone() };
            let found = io(hash(fs, &path, read), "read back what was written", target)?;
            if found != (file.bytes, file.sha256.clone()) {
                return Err(ConvertError::ReadsBack { written: file.sha256.clone(), found: found.1 }).in_file(target);
            }
        }
        parses(&self.temporary)?;
        if is_folder {
            io(fs.set_mode(&self.temporary, self.mode), "set the permissions", target)?;
            io(fs.sync_folder(&self.temporary), "fsync the folder that becomes it", target)?;
            if self.is_there_already()? {
                return Ok(std::mem::take(&mut self.written));
            }
        }
        io(fs.rename(&self.temporary, target), "rename what was written", target)?;
        self.kind = Temporary::Done;
        io(fs.sync_folder(&self.parent), "fsync the folder that holds it", target)?;
        Ok(std::mem::take(&mut self.written))
    }

    /// Whether the destination is a folder that holds the same bytes already. One that holds others is refused.
    fn is_there_already(&self) -> Result<bool> {
        let names = match io(self.fs.look(self.target), "look at it", self.target)? {
            Some(Kind::Folder) => io(self.fs.list(self.target), "list it", self.target)?,
            _ => return Ok(false),
        };
        if names.is_empty() {
            return Ok(false);
        }
        for file in &self.written {
            let is_same = names.contains(&OsString::from(&file.name))
                && io(hash(self.fs, &self.target.join(&file.name), &mut |_| {}), "read what is there", self.target)?
                    == (file.bytes, file.sha256.clone());
            if !is_same {
                return Err(ConvertError::OtherContent { first: file.name.clone() }).in_file(self.target);
            }
        }
        Ok(true)
    }
}

impl Drop for Publication<'_> {
    /// What was not published is removed. That it could not be is for the next run's sweep.
    fn drop(&mut self) {
        if !matches!(self.kind, Temporary::Done) {
            let _ = self.fs.remove(&self.temporary);
        }
    }
}

/// Whether the destination may be taken, and with which permissions.
fn may_take(fs: &dyn Filesystem, target: &Path, names: Option<&[String]>) -> Result<u32> {
    let due = if names.is_some() { "a new name or an empty folder" } else { "a new name or a regular file" };
    let occupied = |found| Err(ConvertError::Occupied { found, due }).in_file(target);
    match (io(fs.look(target), "look at it", target)?, names) {
        (None, None) => Ok(0o666 & !umask()),
        (None, Some(_)) => Ok(0o777 & !umask()),
        (Some(Kind::File { mode }), None) => Ok(mode),
        (Some(Kind::Folder), Some(names)) => {
            let found = io(fs.list(target), "list it", target)?;
            match found.iter().find(|found| !names.iter().any(|name| *found == name.as_str())) {
                Some(first) => Err(ConvertError::OtherContent { first: first.to_string_lossy().into_owned() }).in_file(target),
                None => Ok(0o777 & !umask()),
            }
        }
        (Some(Kind::File { .. }), Some(_)) => occupied("a file"),
        (Some(Kind::Folder), None) => occupied("a folder"),
        (Some(Kind::Link), _) => occupied("a symbolic link"),
        (Some(Kind::Other), _) => occupied("a pipe, a device or a socket"),
    }
}

/// What the temporary names of a destination begin with. The name itself may be as long as a name can be, so it stands there as a hash.
fn prefix(name: &std::ffi::OsStr) -> String {
    format!(".ground-truth-{}-", &hex(&Sha256::digest(name.as_encoded_bytes()))[..16])
}

/// Removes what earlier runs left. Best effort: what cannot be removed hinders nobody.
fn sweep(fs: &dyn Filesystem, parent: &Path, prefix: &str) {
    for name in fs.list(parent).unwrap_or_default() {
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(".tmp"));
        let path = parent.join(name);
        if is_ours && fs.is_abandoned(&path).unwrap_or(false) {
            let _ = fs.remove(&path);
        }
    }
}

/// A temporary name that nobody has.
fn make(fs: &dyn Filesystem, parent: &Path, prefix: &str, folder: bool, target: &Path) -> Result<(PathBuf, Temporary)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{prefix}{}-{n}.tmp", std::process::id()));
        let made = match folder {
            true => fs.create_folder(&path).map(Temporary::Folder),
            false => fs.create(&path).map(|output| Temporary::File(Some(output))),
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok((path, io(made, "make a temporary name beside it", target)?)),
        }
    }
}

/// Length and hash of a file.
fn hash(fs: &dyn Filesystem, path: &Path, read: &mut dyn FnMut(u64)) -> io::Result<(u64, String)> {
    let mut file = fs.open(path)?;
    hash_of(&mut *file, read)
}

/// Length and hash of what is left to read.
pub(super) fn hash_of(file: &mut dyn Read, read: &mut dyn FnMut(u64)) -> io::Result<(u64, String)> {
    let (mut sum, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE], 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((bytes, hex(&sum.finalize()))),
            Ok(n) => {
                sum.update(&piece[..n]);
                bytes += n as u64;
                read(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file that is being written in one go: its bytes are counted and hashed on their way.
pub(super) struct Sink {
    output: Box<dyn Output>,
    /// For messages.
    target: PathBuf,
    piece: Vec<u8>,
    position: u64,
    sha256: Sha256,
    crc32: crc32fast::Hasher,
}

impl Sink {
    fn new(output: Box<dyn Output>, target: PathBuf) -> Self {
        Sink { output, target, piece: Vec::with_capacity(PIECE), position: 0, sha256: Sha256::new(), crc32: crc32fast::Hasher::new() }
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.position += bytes.len() as u64;
        self.crc32.update(bytes);
        self.sha256.update(bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to a position. False, and nothing is written, if it is passed already.
    pub(super) fn pad_to(&mut self, position: u64) -> Result<bool> {
        let Some(mut missing) = position.checked_sub(self.position) else { return Ok(false) };
        while missing > 0 {
            let n = missing.min(4096);
            self.write(&[0; 4096][..n as usize])?;
            missing -= n;
        }
        Ok(true)
    }

    /// The CRC-32 of everything so far.
    pub(super) fn crc32(&self) -> u32 {
        self.crc32.clone().finalize()
    }

    fn flush(&mut self) -> Result<()> {
        io(self.output.write(&self.piece), "write", &self.target)?;
        self.piece.clear();
        Ok(())
    }

    fn close(mut self, mode: u32) -> Result<(Box<dyn Output>, u64, String)> {
        if !self.piece.is_empty() {
            self.flush()?;
        }
        io(self.output.set_mode(mode), "set the permissions", &self.target)?;
        io(self.output.sync(), "fsync what was written", &self.target)?;
        Ok((self.output, self.position, hex(&self.sha256.finalize())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fs::RealFilesystem;
    use super::*;

    /// A folder that holds anything else than what would be written is refused by the name of that, whatever it is.
    #[test]
    fn only_what_is_our_own_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let names = ["config.json", "model.safetensors"].map(str::to_owned);
        let taken = |names: Option<&[String]>| may_take(&RealFilesystem, &folder, names).map_err(|error| error.to_string());
        let refused = |names: Option<&[String]>| taken(names).unwrap_err();
        assert!(taken(Some(&names)).is_ok(), "an empty folder");
        for name in &names {
            std::fs::write(folder.join(name), "").unwrap();
            assert!(taken(Some(&names)).is_ok(), "{name}");
        }
        assert!(refused(Some(&names[..1])).contains("model.safetensors"));
        std::fs::write(folder.join("letters.txt"), "").unwrap();
        assert!(refused(Some(&names)).contains("letters.txt"));
        assert!(refused(None).contains("a folder"));

        let file = root.path().join("file");
        assert_eq!(may_take(&RealFilesystem, &file, None).unwrap(), 0o666 & !umask());
        std::fs::write(&file, "").unwrap();
        assert!(may_take(&RealFilesystem, &file, None).is_ok());
        assert!(may_take(&RealFilesystem, &file, Some(&names)).is_err());
    }
}
