//! Tensors of the source, read by position: mapped pages would be charged to nobody, but a converter that touches all of them makes the
//! machine drop what others need, and on the way from disk to disk every byte is wanted once.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::publish::hash_of;
use crate::error::{ConvertError, FileError, InFile, Result};
use crate::format::file::open_regular;
use crate::quant::{apr_q8_scale, dequantize, dequantize_apr_q8};
use crate::{Dtype, Tensor};

/// The files of the source, open, each with what it was when it was opened.
#[derive(Default)]
pub(super) struct Files(HashMap<PathBuf, (File, Metadata)>);

impl Files {
    /// Opens a file that tensors lie in.
    pub(super) fn open(&mut self, path: &Path) -> Result<()> {
        if !self.0.contains_key(path) {
            let (file, _) = open_regular(path)?;
            let metadata = file.metadata().map_err(FileError::from).in_file(path)?;
            self.0.insert(path.to_owned(), (file, metadata));
        }
        Ok(())
    }

    /// The hash of a file that was opened.
    pub(super) fn sha256(&self, path: &Path, read: &mut dyn FnMut(u64)) -> Result<String> {
        let (file, _) = self.get(path)?;
        let mut at = 0;
        let mut reader = ReadAt { file, at: &mut at };
        hash_of(&mut reader, read).map(|(_, sha256)| sha256).map_err(FileError::from).in_file(path)
    }

    /// Refuses if a file is no longer what it was when it was opened.
    pub(super) fn are_unchanged(&self) -> Result<()> {
        for (path, (file, before)) in &self.0 {
            let now = file.metadata().map_err(FileError::from).in_file(path)?;
            if now.len() != before.len() || now.modified().ok() != before.modified().ok() {
                return Err(ConvertError::SourceChanged).in_file(path);
            }
        }
        Ok(())
    }

    fn get(&self, path: &Path) -> Result<&(File, Metadata)> {
        self.0.get(path).ok_or(FileError::NotFound).in_file(path)
    }
}

/// A file read from a position on, its own position left alone.
struct ReadAt<'a> {
    file: &'a File,
    at: &'a mut u64,
}

impl io::Read for ReadAt<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = read_at(self.file, out, *self.at)?;
        *self.at += n as u64;
        Ok(n)
    }
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, out, at)
}

#[cfg(windows)]
fn read_at(file: &File, out: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, out, at)
}

/// A tensor of the source, ready to be read in pieces. Its elements are counted as they are stored.
pub(super) struct Reader<'a> {
    tensor: &'a Tensor,
    /// The file and where in it the tensor begins; `None` for a tensor in memory.
    place: Option<(&'a Path, &'a File, u64)>,
    scale: f32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a Files, tensor: &'a Tensor) -> Result<Self> {
        let place = match tensor.place() {
            Some((path, at)) => Some((path, &files.get(path)?.0, at)),
            None => None,
        };
        let mut reader = Reader { tensor, place, scale: 0.0 };
        if tensor.dtype() == Dtype::AprQ8 {
            reader.scale = apr_q8_scale(&reader.bytes(0..4)?);
        }
        Ok(reader)
    }

    /// Its dtype.
    pub(super) fn dtype(&self) -> Dtype {
        self.tensor.dtype()
    }

    /// Some of its bytes.
    ///
    /// # Errors
    /// If the file cannot be read or has become shorter.
    pub(super) fn bytes(&self, range: Range<usize>) -> Result<Vec<u8>> {
        let mut out = vec![0; range.len()];
        let Some((path, file, begin)) = self.place else {
            out.copy_from_slice(&self.tensor.bytes()[range]);
            return Ok(out);
        };
        let mut filled = 0;
        while filled < out.len() {
            match read_at(file, &mut out[filled..], begin + (range.start + filled) as u64) {
                Ok(0) => return Err(ConvertError::SourceChanged).in_file(path),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::from(error)).in_file(path),
            }
        }
        Ok(out)
    }

    /// Some of its elements, appended to `out`. Blocks that the range cuts are decoded whole and cut then.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(super) fn values(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let start = out.len();
        if self.dtype() == Dtype::AprQ8 {
            let codes = self.bytes(range.start + 4..range.end + 4)?;
            out.resize(start + range.len(), 0.0);
            dequantize_apr_q8(self.scale, &codes, &mut out[start..]);
            return Ok(());
        }
        let (block, block_bytes) = self.dtype().block();
        let (first, last) = (range.start / block, range.end.div_ceil(block));
        let bytes = self.bytes(first * block_bytes..last * block_bytes)?;
        // The last block of a tensor of AprQ4 may stand for fewer numbers than it has places.
        let decoded = (last * block).min(self.tensor.n_elements()) - first * block;
        out.resize(start + decoded, 0.0);
        dequantize(self.dtype(), &bytes, &mut out[start..]);
        out.truncate(start + range.end - first * block);
        out.drain(start..start + range.start - first * block);
        Ok(())
    }
}
