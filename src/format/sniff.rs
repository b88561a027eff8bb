//! What a file is, by its first bytes, so that a refusal can say what was found instead.

/// What `bytes` (the beginning of a file) look like, if it is something well known that is neither safetensors nor JSON. The
/// answer reads after "is".
#[expect(clippy::cognitive_complexity, reason = "one signature after another")]
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
        () if starts(b"\x04\x22\x4d\x18") => "an LZ4 archive",
        () if bytes.get(257..262) == Some(b"ustar") || is_old_tar(bytes) => "a tar archive",
        () if is_hdf5(bytes) => "an HDF5 file",
        () if starts(b"\x93NUMPY") => "a NumPy file",
        () if bytes.get(4..8) == Some(b"TFL3") => "a TFLite file",
        () if starts(b"\x7fELF") => "an ELF program",
        () if starts(b"MZ") => "a Windows program",
        () if starts(b"#!") => "a script",
        () if is_text_pickle(bytes) => "a pickle, which can run code and is never unpacked",
        () => return None,
    })
}

/// HDF5 may begin after a block of the user's: at 0, 512, and every doubling of that.
fn is_hdf5(bytes: &[u8]) -> bool {
    let doublings = std::iter::successors(Some(512usize), |at| at.checked_mul(2)).take_while(|at| *at < bytes.len());
    std::iter::once(0).chain(doublings).any(|at| bytes[at.min(bytes.len())..].starts_with(b"\x89HDF\r\n\x1a\n"))
}

/// Tar before `ustar`: a header of 512 bytes whose octal checksum is the sum of its bytes, its own field counted as spaces.
fn is_old_tar(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..512) else { return false };
    let digits = header[148..156].trim_ascii().split(|byte| matches!(byte, 0 | b' ')).next().unwrap_or_default();
    let stated = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 8).ok());
    let sum: u32 = header[..148].iter().chain(&header[156..]).map(|byte| u32::from(*byte)).sum();
    header[0] != 0 && stated == Some(sum + 8 * u32::from(b' '))
}

/// A pickle of protocol 0 or 1: opcodes and their arguments in lines of text, `.` at the end. At most the first and last 512 bytes are
/// looked at.
fn is_text_pickle(bytes: &[u8]) -> bool {
    let (Some(first), Some(b'.')) = (bytes.first(), bytes.last()) else { return false };
    let beginning = &bytes[..bytes.len().min(512)];
    let is_text = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    b"(c]}dlISVNKJGX".contains(first) && beginning.contains(&b'\n') && beginning.iter().all(is_text)
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
    #[case(b"\x04\x22\x4d\x18\x64", "an LZ4 archive")]
    #[case(b"cos\nsystem\n(S'true'\ntR.", "a pickle")]
    #[case(b"(lp0\nI1\na.", "a pickle")]
    #[case(b"lmgg\x01", "an old GGML file")]
    #[case(b"\x1c\0\0\0TFL3", "a TFLite file")]
    #[case(b"APR2\0", "an APR file")]
    #[case(b"PK\x05\x06\0\0", "a ZIP archive")]
    fn content_is_named(#[case] bytes: &[u8], #[case] name: &str) {
        assert!(sniff(bytes).is_some_and(|found| found.starts_with(name)), "{:?}", sniff(bytes));
    }

    #[test]
    fn content_is_named_where_it_begins_later() {
        let mut tar = vec![0; 1024];
        tar[..4].copy_from_slice(b"file");
        tar[148..156].copy_from_slice(b"000640\0 ");
        let sum: u32 = b"file".iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        tar[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        assert_eq!(sniff(&tar), Some("a tar archive"));
        tar[0] ^= 1;
        assert_eq!(sniff(&tar), None);
        for at in [512, 2048] {
            let mut file = vec![0; 4096];
            file[at..at + 8].copy_from_slice(b"\x89HDF\r\n\x1a\n");
            assert_eq!(sniff(&file), Some("an HDF5 file"));
            assert_eq!(sniff(&file[..at + 7]), None);
        }
    }

    #[rstest]
    #[case(b"")]
    #[case(b"Nothing here ends a pickle.\nnor this")]
    #[case(b"].")]
    #[case(b"{\"a\": 1}")]
    #[case(b"\x40\0\0\0\0\0\0\0{\"a\"")]
    fn json_and_safetensors_are_not(#[case] bytes: &[u8]) {
        assert_eq!(sniff(bytes), None);
    }
}
