//! What a file is, by its first bytes, so that a refusal can say what was found instead.

/// What `bytes` (the beginning of a file) look like, if it is something well known that is neither safetensors nor JSON. The
/// answer reads after "is".
pub(crate) fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let tag = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    Some(match () {
        () if starts(b"version https://git-lfs") => {
            "a Git LFS pointer, not the file that it points to (run `git lfs pull`)"
        }
        () if tag("<!doctype html") || tag("<html") || tag("<head") => "an HTML page, which is what a failed download saves",
        () if tag("<?xml") => "an XML document",
        () if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") || starts(b"PK\x07\x08") => {
            "a ZIP archive (a PyTorch checkpoint, which holds pickle code and is never unpacked)"
        }
        () if starts(b"\x80") && matches!(bytes.get(1), Some(0..=5)) => "a pickle, which can run code and is never unpacked",
        () if starts(b"GGUF") || starts(b"FUGG") => "a GGUF file",
        () if starts(b"APR\0") || starts(b"APRN") || starts(b"APR!") => "an APR file",
        () if starts(b"lmgg") || starts(b"fmgg") || starts(b"tjgg") || starts(b"algg") => "an old GGML file",
        () if starts(b"\x1f\x8b") => "a gzip archive",
        () if starts(b"\xfd7zXZ\0") => "an xz archive",
        () if starts(b"\x28\xb5\x2f\xfd") => "a zstd archive",
        () if starts(b"BZh") => "a bzip2 archive",
        () if starts(b"7z\xbc\xaf\x27\x1c") => "a 7z archive",
        () if starts(b"Rar!") => "a RAR archive",
        () if bytes.get(257..262) == Some(b"ustar") => "a tar archive",
        () if starts(b"\x89HDF\r\n\x1a\n") => "an HDF5 file",
        () if starts(b"\x93NUMPY") => "a NumPy file",
        () if bytes.get(4..8) == Some(b"TFL3") => "a TFLite file",
        () if starts(b"\x7fELF") => "an ELF program",
        () if starts(b"MZ") => "a Windows program",
        () if starts(b"#!") => "a script",
        () => return None,
    })
}
