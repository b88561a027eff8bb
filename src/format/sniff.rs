//! What a file is, by its first bytes, so that a refusal can say what was found instead.

/// What `bytes` (the beginning of a file) look like, if it is something well known that is neither safetensors nor JSON. The
/// answer reads after "is".
pub(crate) fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let tag = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    Some(match () {
        () if starts(b"version https://git-lfs") => "a Git LFS pointer, not the file that it points to (run `git lfs pull`)",
        () if tag("<!doctype html") || tag("<html") || tag("<head") => "an HTML page, which is what a failed download saves",
        () if tag("<?xml") => "an XML document",
        () if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") || starts(b"PK\x07\x08") => {
            "a ZIP archive (a PyTorch checkpoint, which holds pickle code and is never unpacked)"
        }
        () if starts(b"\x80") && matches!(bytes.get(1), Some(0..=5)) => "a pickle, which can run code and is never unpacked",
        () if starts(b"GGUF") || starts(b"FUGG") => "a GGUF file",
        () if starts(b"APR") && matches!(bytes.get(3), Some(0 | 2 | b'N' | b'!' | b'1' | b'2')) => "an APR file",
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::sniff;

    #[rstest]
    #[case(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer")]
    #[case(b"\n <HTML><head>", "an HTML page")]
    #[case(b"PK\x03\x04\x14\0", "a ZIP archive")]
    #[case(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "a pickle")]
    #[case(b"\x80\x04\x95\x00", "a pickle")]
    #[case(b"GGUF\x03\0\0\0", "a GGUF file")]
    #[case(b"APR\0\x02\0", "an APR file")]
    #[case(b"\x1f\x8b\x08", "a gzip archive")]
    #[case(b"\x93NUMPY\x01\0", "a NumPy file")]
    #[case(b"\x7fELF\x02", "an ELF program")]
    #[case(b"#!/bin/sh\n", "a script")]
    fn content_is_named(#[case] bytes: &[u8], #[case] name: &str) {
        assert!(sniff(bytes).is_some_and(|found| found.starts_with(name)), "{:?}", sniff(bytes));
    }

    #[rstest]
    #[case(b"")]
    #[case(b"{\"a\": 1}")]
    #[case(b"\x40\0\0\0\0\0\0\0{\"a\"")]
    fn json_and_safetensors_are_not(#[case] bytes: &[u8]) {
        assert_eq!(sniff(bytes), None);
    }
}
