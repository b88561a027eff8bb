//! ST: safetensors files.

use super::case::{Case, Content, accepted, refused};

/// A file with this header, exactly, and this data.
pub fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// An entry of the header.
fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

/// A file of these entries and that many zero bytes of data, its header padded to a multiple of eight.
fn of(entries: &[String], data: usize) -> Vec<u8> {
    let mut header = format!("{{{}}}", entries.join(","));
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    file(header.as_bytes(), &vec![0; data])
}

/// A valid file: two F32 tensors.
pub fn valid() -> Vec<u8> {
    let data: Vec<u8> = [1.5f32, -2.0, 0.25, 8.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut header = format!("{{{},{}}}", entry("a", "F32", "[2,2]", 0, 16), entry("b", "F32", "[2]", 16, 24));
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    file(header.as_bytes(), &data)
}

/// Every case, in the order of the catalogue.
#[expect(clippy::too_many_lines, reason = "the catalogue, case by case")]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |id: &str, what: &str, bytes: Vec<u8>, expect| cases.push(Case::file(id, what, "model.safetensors", bytes, expect));
    // What is not even a header long has no kind of its own.
    let unknown = |says: &[&str]| refused("file", "not-a-model", says);
    let length = |n: u64, rest: &[u8]| [&n.to_le_bytes(), rest].concat();
    let json = |says: &[&str]| refused("safetensors", "header", says);

    add("ST1", "an empty file", vec![], unknown(&["empty"]));
    add("ST2", "seven bytes", vec![1; 7], unknown(&[]));
    add("ST3", "a header of no bytes", length(0, b""), unknown(&[]));
    add("ST4", "a header of 2^64-1 bytes", length(u64::MAX, b"{"), unknown(&[]));
    add("ST5", "a header of one byte more than the limit, in nine bytes", length(100_000_001, b"{"), unknown(&[]));
    let whole = valid();
    let past = whole.len() as u64;
    add("ST6", "a header as long as the file", length(past, &whole[8..]), refused("safetensors", "header-past-end", &[&past.to_string()]));
    let header = &whole[..whole.len() - 24];
    add("ST7", "a header without its data", header.to_vec(), refused("safetensors", "data-length", &["24"]));
    add("ST8", "a header that begins with a space", file(b" {}", b""), refused("safetensors", "header-start", &["0x20"]));
    add("ST8b", "a header that begins with a line end", file(b"\n{}", b""), refused("safetensors", "header-start", &["0x0a"]));
    add("ST9", "a byte order mark before the header", file(b"\xef\xbb\xbf{}", b""), refused("safetensors", "header-start", &["0xef"]));
    add("ST10", "a header padded with NUL", file(b"{}\0\0", b""), refused("safetensors", "header-padding", &["0x00"]));
    let mut bytes = of(&[entry("x", "F32", "[1]", 0, 4)], 4);
    let x = bytes.iter().position(|b| *b == b'x').expect("the name");
    bytes[x] = 0xff;
    add("ST11", "a name that is not UTF-8", bytes, json(&[]));
    let twice = |second: &str| of(&[entry("w", "F32", "[1]", 0, 4), entry(second, "F16", "[2]", 4, 8)], 8);
    add("ST12", "one name twice, with two dtypes", twice("w"), refused("safetensors", "duplicate-name", &["`w`"]));
    add("ST13", "one name twice, once spelled with an escape", twice("\\u0077"), refused("safetensors", "duplicate-name", &["`w`"]));
    let offsets = |says: &[&str]| refused("safetensors", "offsets", says);
    add(
        "ST14",
        "a hole between two tensors",
        of(&[entry("a", "U8", "[4]", 0, 4), entry("b", "F32", "[1]", 8, 12)], 12),
        refused("safetensors", "unsupported-dtype", &["`a`"]),
    );
    add(
        "ST14b",
        "a hole between two tensors of floats",
        of(&[entry("a", "F32", "[1]", 0, 4), entry("b", "F32", "[1]", 8, 12)], 12),
        offsets(&["`b`"]),
    );
    add(
        "ST15",
        "two tensors that share half their bytes",
        of(&[entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12)], 12),
        offsets(&["`b`"]),
    );
    add(
        "ST16",
        "two tensors on the same bytes",
        of(&[entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 0, 8)], 8),
        offsets(&["`b`"]),
    );
    add("ST17", "offsets the wrong way round", of(&[entry("a", "F32", "[1]", 4, 0)], 4), offsets(&["`a`"]));
    let end = 1u64 << 61;
    add(
        "ST18",
        "a tensor that ends at 2^61",
        of(&[entry("a", "F32", &format!("[{}]", end / 4), 0, end)], 4),
        refused("safetensors", "data-length", &["2305843009213693952"]),
    );
    add(
        "ST19",
        "2^32 x 2^32 elements",
        of(&[entry("a", "F32", "[4294967296,4294967296]", 0, 4)], 4),
        refused("safetensors", "shape-overflow", &["`a`"]),
    );
    add(
        "ST20",
        "a shape whose product overflows behind a zero",
        of(&[entry("a", "F32", "[0,9223372036854775808,2]", 0, 0)], 0),
        refused("safetensors", "shape-overflow", &["`a`"]),
    );
    add("ST21", "one byte after the data", [valid(), vec![0]].concat(), refused("safetensors", "data-length", &["24", "25"]));
    add(
        "ST22",
        "a ZIP archive with a pickle after the data",
        [valid(), b"PK\x03\x04\x14\0\0\0\0\0data.pkl".to_vec()].concat(),
        refused("safetensors", "data-length", &["24"]),
    );
    add(
        "ST23",
        "an empty header with 64 KiB behind it",
        file(b"{}      ", &vec![0; 64 << 10]),
        refused("safetensors", "data-length", &["65536"]),
    );
    let dtype = |name: &str| refused("safetensors", "unsupported-dtype", &["`a`", name]);
    add("ST24", "a dtype that there is not", of(&[entry("a", "F128", "[1]", 0, 16)], 16), dtype("F128"));
    add("ST25", "an odd number of four-bit elements", of(&[entry("a", "F4", "[3]", 0, 2)], 2), dtype("F4"));
    for (suffix, name, shape, bytes) in
        [("", "F4", "[4]", 2), ("b", "F6_E2M3", "[4]", 3), ("c", "F8_E8M0", "[4]", 4), ("d", "F8_E4M3", "[4]", 4)]
    {
        add(
            &format!("ST26{suffix}"),
            &format!("a valid tensor of {name}, which is never read as bytes"),
            of(&[entry("a", name, shape, 0, bytes)], bytes as usize),
            dtype(name),
        );
    }
    let ones = vec!["1"; 100_000].join(",");
    add(
        "ST27",
        "a tensor of 100,000 dimensions",
        of(&[entry("a", "F32", &format!("[{ones}]"), 0, 4)], 4),
        refused("safetensors", "rank-too-large", &["100000", "8"]),
    );
    let deep = format!(r#"{{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":{}{}}}}}"#, "[".repeat(200), "]".repeat(200));
    add("ST29", "an unknown field that is nested 200 deep", file(deep.as_bytes(), &[0; 4]), json(&[]));
    add("ST30", "a name that a terminal would obey", of(&[entry("a\\u001b]0;x\\u0007\\n", "F32", "[1]", 0, 4)], 4), accepted(1));
    let hostile: Vec<u8> = [f32::NAN, f32::INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
    add(
        "ST31",
        "NaN and infinity, which a reader of files lets pass and the check of weights does not",
        file(format!("{{{}}}", entry("a", "F32", "[2]", 0, 8)).as_bytes(), &hostile),
        accepted(1),
    );
    let other = |word: &str| refused("file", "not-a-model", &[word]);
    add("ST32", "a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0000000000000000000000000000000000000000000000000000000000000000\nsize 1\n".to_vec(), other("LFS"));
    add("ST33", "a page of HTML", b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n".to_vec(), other("HTML"));
    add("ST34", "a ZIP archive", b"PK\x03\x04\x14\0\0\0\0\0archive/data.pkl".to_vec(), other("ZIP"));
    add("ST34b", "a pickle", b"\x80\x02}q\0(X\x05\0\0\0state.".to_vec(), other("pickle"));
    let odd = format!("{{{},{}}}   ", entry("h", "F16", "[1]", 0, 2), entry("w", "F32", "[1]", 2, 6));
    let mut odd = odd.into_bytes();
    while odd.len() % 2 == 0 {
        odd.push(b' ');
    }
    add("ST35", "an F32 at an odd address", file(&odd, &[0, 0x3c, 0, 0, 0xc0, 0x3f]), accepted(2));
    let many = Content::Made(|| many_tensors(1_200_000));
    let refusal = refused("safetensors", "too-many-tensors", &["131072"]);
    cases.push(Case::file("ST28", "a header of 1.2 million tensors", "model.safetensors", many, refusal));
    cases
}

/// A header with that many empty tensors.
fn many_tensors(n: usize) -> Vec<u8> {
    let mut header = String::with_capacity(n * 64);
    header.push('{');
    for i in 0..n {
        if i > 0 {
            header.push(',');
        }
        header.push_str(&entry(&format!("t{i}"), "F32", "[0]", 0, 0));
    }
    header.push('}');
    file(header.as_bytes(), b"")
}
