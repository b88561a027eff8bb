//! A file system that counts every call and fails where it is told to.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ground_truth::convert::fs::{Filesystem, Kind, Lock, Output, RealFilesystem};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every call after so many: the process has ended, the power is gone. Nothing is cleaned up.
    AbortAfter(usize),
    /// That call alone, counted from 0, with that error number; a write leaves half of its bytes.
    Fail(usize, i32),
    /// The bit of that number is turned in the bytes of that write, counted from 0.
    Flip(usize, usize),
    /// That write, counted from 0, writes to the disk with a bit turned, and reading back answers what was meant: a disk that lies once.
    Lie(usize),
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    n_writes: usize,
    /// What the last file was meant to hold, for [`Fault::Lie`].
    meant: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Faults {
    fault: Fault,
    state: Arc<Mutex<State>>,
}

impl Faults {
    pub fn new(fault: Fault) -> Self {
        Faults { fault, state: Arc::default() }
    }

    /// The calls so far: `write`, `rename`, ...
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Counts a call, and refuses it if it is to fail. `Err(None)`: half of it should be done first.
    fn call(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let n = state.calls.len();
        state.calls.push(name.to_owned());
        match self.fault {
            Fault::AbortAfter(k) if n >= k => Err(io::Error::other("the process has ended")),
            Fault::Fail(k, number) if n == k => Err(io::Error::from_raw_os_error(number)),
            _ => Ok(()),
        }
    }
}

impl Filesystem for Faults {
    fn look(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.call("look")?;
        RealFilesystem.look(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.call("list")?;
        RealFilesystem.list(folder)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        self.call("create")?;
        self.state.lock().unwrap().meant.clear();
        Ok(Box::new(Writer { file: RealFilesystem.create(path)?, faults: self.clone() }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<Lock> {
        self.call("create_folder")?;
        RealFilesystem.create_folder(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.call("open")?;
        if let Fault::Lie(_) = self.fault {
            return Ok(Box::new(io::Cursor::new(self.state.lock().unwrap().meant.clone())));
        }
        Ok(Box::new(Reader { file: RealFilesystem.open(path)?, faults: self.clone() }))
    }

    fn set_mode(&self, folder: &Path, mode: u32) -> io::Result<()> {
        self.call("set_mode")?;
        RealFilesystem.set_mode(folder, mode)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.call("sync_folder")?;
        RealFilesystem.sync_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename")?;
        RealFilesystem.rename(from, to)
    }

    fn is_abandoned(&self, path: &Path) -> io::Result<bool> {
        self.call("is_abandoned")?;
        RealFilesystem.is_abandoned(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove")?;
        RealFilesystem.remove(path)
    }
}

struct Writer {
    file: Box<dyn Output>,
    faults: Faults,
}

impl Output for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let done = self.faults.call("write");
        let n = {
            let mut state = self.faults.state.lock().unwrap();
            state.meant.extend_from_slice(bytes);
            state.n_writes += 1;
            state.n_writes - 1
        };
        match (done, self.faults.fault) {
            (Err(error), Fault::AbortAfter(k)) if self.faults.calls().len() == k + 1 => {
                self.file.write(&bytes[..bytes.len() / 2])?;
                Err(error)
            }
            (Err(error), Fault::Fail(..)) => {
                self.file.write(&bytes[..bytes.len() / 2])?;
                Err(error)
            }
            (Err(error), _) => Err(error),
            (Ok(()), Fault::Flip(write, bit)) if n == write => {
                let mut bytes = bytes.to_vec();
                let len = bytes.len();
                bytes[bit / 8 % len] ^= 1 << (bit % 8);
                self.file.write(&bytes)
            }
            (Ok(()), Fault::Lie(write)) if n == write => {
                let mut bytes = bytes.to_vec();
                bytes[1] ^= 0x20; // in the magic, or in the length of the header
                self.file.write(&bytes)
            }
            (Ok(()), _) => self.file.write(bytes),
        }
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.faults.call("file_mode")?;
        self.file.set_mode(mode)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faults.call("sync")?;
        self.file.sync()
    }
}

struct Reader {
    file: Box<dyn Read>,
    faults: Faults,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.faults.call("read")?;
        self.file.read(out)
    }
}
