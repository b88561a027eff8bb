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
