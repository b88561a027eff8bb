//! What the converter asks of a file system, so that tests can stand in for one that fails.
//!
//! | call | on the real one |
//! |---|---|
//! | [`look`](Filesystem::look) | lstat: links are not followed |
//! | [`list`](Filesystem::list) | readdir |
//! | [`create`](Filesystem::create) | open, `O_CREAT O_EXCL`, mode 0600, then an exclusive flock |
//! | [`create_folder`](Filesystem::create_folder) | mkdir, mode 0700, then an exclusive flock |
//! | [`Output::write`], [`Output::set_mode`], [`Output::sync`] | write until all is written, fchmod, fsync |
//! | [`open`](Filesystem::open) | open for reading |
//! | [`set_mode`](Filesystem::set_mode), [`sync_folder`](Filesystem::sync_folder) | chmod, fsync of a folder |
//! | [`rename`](Filesystem::rename) | rename |
//! | [`is_abandoned`](Filesystem::is_abandoned) | a flock that can be had: whoever held it has ended |
//! | [`remove`](Filesystem::remove) | unlink, or the files of a folder and the folder |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::OnceLock;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its permission bits.
        mode: u32,
    },
    /// A folder.
    Folder,
    /// A symbolic link, wherever it leads.
    Link,
    /// A pipe, a device, a socket.
    Other,
}

/// The calls that publishing needs. Every one of them may fail, also half-way.
pub trait Filesystem: Sync {
    /// What `path` stands for; `None` if for nothing.
    ///
    /// # Errors
    /// Whatever the system says.
    fn look(&self, path: &Path) -> io::Result<Option<Kind>>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<std::ffi::OsString>>;

    /// A new file that only its owner may read, locked as long as the answer lives.
    ///
    /// # Errors
    /// Whatever the system says; `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;

    /// A new folder that only its owner may enter, locked as long as the answer lives.
    ///
    /// # Errors
    /// Whatever the system says; `AlreadyExists` if there is one.
    fn create_folder(&self, path: &Path) -> io::Result<Lock>;

    /// A file to read from its beginning.
    ///
    /// # Errors
    /// Whatever the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;

    /// Gives a folder its permission bits.
    ///
    /// # Errors
    /// Whatever the system says.
    fn set_mode(&self, folder: &Path, mode: u32) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Gives a file or folder another name; a file that has it is replaced in one step, an empty folder too.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Whether nobody holds the lock of that file or folder.
    ///
    /// # Errors
    /// Whatever the system says.
    fn is_abandoned(&self, path: &Path) -> io::Result<bool>;

    /// Removes a file, or a folder of files.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub trait Output: Send {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// Whatever the system says; some of the bytes may have been written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Gives the file its permission bits.
    ///
    /// # Errors
    /// Whatever the system says.
    fn set_mode(&mut self, mode: u32) -> io::Result<()>;

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync(&mut self) -> io::Result<()>;
}

/// Says, as long as it lives, that somebody is still writing.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] Option<File>);

impl Lock {
    /// A lock that locks nothing, for file systems that have none.
    pub fn none() -> Self {
        Lock(None)
    }

    /// Best effort: a file system without locks only never gets its leftovers swept.
    fn of(file: File) -> Self {
        Lock(file.try_lock().is_ok().then_some(file))
    }
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFilesystem;

impl Filesystem for RealFilesystem {
    fn look(&self, path: &Path) -> io::Result<Option<Kind>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => Ok(Some(Kind::Link)),
            Ok(metadata) if metadata.is_dir() => Ok(Some(Kind::Folder)),
            Ok(metadata) if metadata.is_file() => Ok(Some(Kind::File { mode: mode_of(&metadata) })),
            Ok(_) => Ok(Some(Kind::Other)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        // Best effort, as for a folder. The lock goes with the file.
        let _ = file.try_lock();
        Ok(Box::new(file))
    }

    fn create_folder(&self, path: &Path) -> io::Result<Lock> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        Ok(Lock::of(File::open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(path)?))
    }

    fn set_mode(&self, folder: &Path, mode: u32) -> io::Result<()> {
        set_mode(&File::open(folder)?, mode)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn is_abandoned(&self, path: &Path) -> io::Result<bool> {
        match File::open(path)?.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(path)?.is_dir() {
            return fs::remove_file(path);
        }
        for entry in fs::read_dir(path)? {
            fs::remove_file(entry?.path())?;
        }
        fs::remove_dir(path)
    }
}

impl Output for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        set_mode(self, mode)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn mode_of(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
}

#[cfg(not(unix))]
fn mode_of(_: &fs::Metadata) -> u32 {
    0o644
}

/// The permissions that the mask of this process takes away from new files. Linux says it in a file; where it is not said, the usual one.
pub(super) fn umask() -> u32 {
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022) & 0o777
    })
}
