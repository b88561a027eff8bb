//! Opening files: regular ones only, without blocking, within a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{FileError, InFile, Result};

/// Opens `path` for reading if it is a regular file, following links.
///
/// What it is gets looked up before it is opened, because opening a pipe waits for a writer; and again on the open file, because
/// the name may have been given to something else in between.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let open = || -> std::result::Result<_, FileError> {
        regular(&std::fs::metadata(path)?)?;
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        regular(&metadata)?;
        Ok((file, metadata.len()))
    };
    open().in_file(path)
}

fn regular(metadata: &std::fs::Metadata) -> std::result::Result<(), FileError> {
    if metadata.is_file() { Ok(()) } else { Err(FileError::NotRegular { found: kind(metadata) }) }
}

#[cfg(unix)]
fn kind(metadata: &std::fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () if kind.is_socket() => "a socket",
        () => "something else",
    }
}

#[cfg(not(unix))]
fn kind(metadata: &std::fs::Metadata) -> &'static str {
    if metadata.is_dir() { "a folder" } else { "something else" }
}

/// The bytes of a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, bytes) = open_regular(path)?;
    let read = || {
        if bytes > limit {
            return Err(FileError::TooLarge { bytes, limit });
        }
        let mut content = Vec::with_capacity(bytes as usize);
        // One byte past the limit is enough to see that a file has grown past it since.
        file.take(limit + 1).read_to_end(&mut content)?;
        match content.len() as u64 {
            bytes if bytes > limit => Err(FileError::TooLarge { bytes, limit }),
            _ => Ok(content),
        }
    };
    read().in_file(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refusal(path: &Path, limit: u64) -> String {
        read(path, limit).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(refusal(&path, 4).ends_with("f: has 5 bytes, the limit for this file is 4"));
        assert!(refusal(&dir.path().join("g"), 4).ends_with("g: not found"));
        assert!(refusal(dir.path(), 4).ends_with("is a folder, not a regular file"));
    }

    /// Each of these would block for ever, or never end, if it were read.
    #[test]
    #[cfg(unix)]
    fn pipes_devices_and_sockets_are_refused_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, device, socket) = (dir.path().join("pipe"), dir.path().join("device"), dir.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, found) in [(pipe, "a pipe"), (device, "a device"), (socket, "a socket")] {
            assert!(refusal(&path, 1 << 20).ends_with(&format!("is {found}, not a regular file")));
        }
    }
}
