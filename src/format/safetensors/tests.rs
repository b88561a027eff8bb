use proptest::prelude::*;
use rstest::rstest;
use safetensors::tensor::TensorView;

use super::*;

/// A file: the header's length, the header, the data.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn entry(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn one(dtype: &str, shape: &str, bytes: usize) -> Vec<u8> {
    file(&format!("{{{}}}", entry("a", dtype, shape, 0, bytes as u64)), &vec![0; bytes])
}

fn two(a: (u64, u64), b: (u64, u64), data: usize) -> Vec<u8> {
    let entries = [("a", a), ("b", b)].map(|(name, (begin, end))| entry(name, "F32", "[1]", begin, end));
    file(&format!("{{{}}}", entries.join(",")), &vec![0; data])
}

fn read_bytes(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

#[test]
fn tensors_are_read_with_their_names_dtypes_shapes_and_bytes() {
    let header = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"s":{"shape":[],"data_offsets":[8,10],"dtype":"BF16"}}  "#;
    let data = [1.5f32.to_le_bytes().as_slice(), &(-2f32).to_le_bytes(), &[0x80, 0x3f]].concat();
    let mut tensors = read_bytes(&file(header, &data)).unwrap();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let found: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t.dtype(), t.shape(), t.to_f32())).collect();
    assert_eq!(found, [("s", Dtype::BF16, [].as_slice(), vec![1.0]), ("w", Dtype::F32, &[2], vec![1.5, -2.0])]);
}

/// Nothing aligns the data: here an F32 lies at an odd address.
#[test]
fn misaligned_values_are_read_right() {
    let header = format!("{{{},{}}}", entry("h.0.attn.bias", "U8", "[1]", 0, 1), entry("w", "F32", "[2]", 1, 9));
    let header = format!("{header}{}", " ".repeat((8 - header.len() % 8) % 8));
    let data = [&[7], 0.1f32.to_le_bytes().as_slice(), &f32::NEG_INFINITY.to_le_bytes()].concat();
    let tensors = read_bytes(&file(&header, &data)).unwrap();
    let (_, tensor) = tensors.iter().find(|(name, _)| name == "w").unwrap();
    assert_eq!(tensor.bytes().as_ptr() as usize % 4, 1);
    assert_eq!(tensor.to_f32(), [0.1, f32::NEG_INFINITY]);
}

#[test]
fn weights_that_are_no_numbers_are_read_as_they_are() {
    let values = [f32::NAN, f32::INFINITY, f32::from_bits(0x7f80_0001)];
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let header = format!("{{{}}}", entry("w", "F32", "[3]", 0, 12));
    let read = read_bytes(&file(&header, &data)).unwrap()[0].1.to_f32();
    assert_eq!(read.map_bits(), values.to_vec().map_bits());
}

trait Bits {
    fn map_bits(&self) -> Vec<u32>;
}

impl Bits for Vec<f32> {
    fn map_bits(&self) -> Vec<u32> {
        self.iter().map(|v| v.to_bits()).collect()
    }
}

#[rstest]
// the length
#[case(b"".to_vec(), "has 0 bytes, a safetensors file has at least 10")]
#[case(vec![0; 7], "has 7 bytes")]
#[case(vec![0; 8], "has 8 bytes")]
#[case(u64::MAX.to_le_bytes().to_vec(), "its header has 18446744073709551615 bytes, the limit is 100000000")]
#[case([100_000_001u64.to_le_bytes().as_slice(), b"{"].concat(), "its header has 100000001 bytes, the limit is 100000000")]
#[case([3u64.to_le_bytes().as_slice(), b"{}"].concat(), "its header has 3 bytes, but only 2 follow the length")]
// the header
#[case(file(" {}", &[]), "its header begins with byte 0x20, not with `{`")]
#[case(file("\n{}", &[]), "its header begins with byte 0x0a")]
#[case(file("\u{feff}{}", &[]), "its header begins with byte 0xef")]
#[case(file("[]", &[]), "its header begins with byte 0x5b")]
#[case(file("null", &[]), "its header begins with byte 0x6e")]
#[case(file("{}\0\0", &[]), "its header is padded with byte 0x00")]
#[case(file("{}\n\t", &[]), "its header is padded with byte 0x09")]
#[case([10u64.to_le_bytes().as_slice(), b"{\"\xff\":{}}  "].concat()[..18].to_vec(), "its header is not valid: not UTF-8 at byte 2")]
#[case(file("{} {}", &[]), "its header is not valid: trailing characters")]
#[case(file(r#"{"a":"#, &[]), "its header is padded with byte 0x3a")]
#[case(file(r#"{"a":}"#, &[]), "its header is not valid: expected value at line 1 column 6 (tensor `a`)")]
#[case(file(r#"{"a":{"dtype":"F32","shape":[1]}}"#, &[]), "its header is not valid: missing field \u{5c}u{60}data_offsets\u{5c}u{60}")]
#[case(file(r#"{"a":["F32",[1],[0,4]]}"#, &[0; 4]), "its header is not valid: invalid type: sequence")]
#[case(file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, &[0; 4]), "its header is not valid: unknown field")]
#[case(file(r#"{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]), "its header is not valid: field")]
#[case(one("F32", "[-4]", 4), "its header is not valid: invalid value: integer")]
#[case(one("F32", "[1.0]", 4), "its header is not valid: invalid type: floating point")]
#[case(file(r#"{"__metadata__":null}"#, &[]), "its header is not valid: invalid type: null")]
#[case(file(r#"{"__metadata__":{"a":"1","\u0061":"2"}}"#, &[]), "its header is not valid: a key is there twice")]
#[case(file(r#"{"__metadata__":{"a":1}}"#, &[]), "the reference reader refuses it: invalid JSON in header: invalid type: integer")]
#[case(file(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]), "tensor `__metadata__` is there twice")]
#[case(file(&format!("{{{},{}}}", entry("a", "F32", "[1]", 0, 4), entry("a", "F16", "[2]", 0, 4)), &[0; 4]), "tensor `a` is there twice")]
#[case(file(&format!("{{{},{}}}", entry("a", "F32", "[1]", 0, 4), entry(r"\u0061", "F16", "[2]", 4, 8)), &[0; 8]), "tensor `a` is there twice")]
// the entries
#[case(one("F128", "[1]", 16), "tensor `a`: dtype F128 is not supported")]
#[case(one("f32", "[1]", 4), "tensor `a`: dtype f32 is not supported")]
#[case(one("F4", "[3]", 2), "tensor `a`: dtype F4 is not supported")]
#[case(one("F8_E8M0", "[4]", 4), "tensor `a`: dtype F8_E8M0 is not supported, weights are F32, F16 or BF16")]
#[case(one("U8", "[4]", 4), "tensor `a`: dtype U8 is not supported")]
#[case(one("F32", "[1,1,1,1,1,1,1,1,1]", 4), "tensor `a`: has 9 dimensions, the limit is 8")]
#[case(one("F32", &format!("[1{}]", ",1".repeat(99_999)), 4), "tensor `a`: has 100000 dimensions")]
#[case(one("F32", "[4294967296,4294967296]", 0), "tensor `a`: shape [4294967296, 4294967296] holds more than 2^63 bytes")]
#[case(one("F32", "[0,9223372036854775808,2]", 0), "tensor `a`: shape [0, 9223372036854775808, 2] holds more")]
#[case(one("F32", "[9223372036854775808,2,0]", 0), "tensor `a`: shape [9223372036854775808, 2, 0] holds more")]
#[case(one("F32", "[4611686018427387904]", 0), "tensor `a`: shape [4611686018427387904] holds more")]
#[case(one("F32", "[2]", 4), "tensor `a`: shape [2] of F32 needs 8 bytes, its offsets hold 4")]
#[case(file(&format!("{{{}}}", entry("a", "F32", "[1]", 0, u64::MAX)), &[0; 4]), "tensor `a`: shape [1] of F32 needs 4 bytes, its offsets hold 18446744073709551615")]
#[case(two((4, 8), (8, 12), 12), "tensor `a`: lies at 4..8 of the data, its first byte must be 0")]
#[case(two((0, 4), (8, 12), 12), "tensor `b`: lies at 8..12 of the data, its first byte must be 4")]
#[case(two((0, 4), (2, 6), 6), "tensor `b`: lies at 2..6 of the data, its first byte must be 4")]
#[case(two((0, 4), (0, 4), 4), "tensor `b`: lies at 0..4 of the data, its first byte must be 4")]
#[case(two((0, 4), (4, 2), 4), "tensor `b`: lies at 4..2 of the data")]
// the data
#[case(two((0, 4), (4, 8), 7), "its tensors need 8 bytes of data, the file holds 7")]
#[case(two((0, 4), (4, 8), 9), "its tensors need 8 bytes of data, the file holds 9")]
#[case(file("{}", &[0; 65536]), "its tensors need 0 bytes of data, the file holds 65536")]
// other content
#[case(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n".to_vec(), "is a Git LFS pointer")]
#[case(b"<!doctype html>\n<html><body>404".to_vec(), "is an HTML page")]
#[case(b"PK\x03\x04\x00\x00\x08\x08\0\0".to_vec(), "is a ZIP archive")]
#[case(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec(), "is a pickle")]
#[case(b"GGUF\x03\0\0\0\x7b\0\0\0\0\0\0\0".to_vec(), "is a GGUF file")]
fn what_is_not_a_file_of_this_format_is_refused(#[case] bytes: Vec<u8>, #[case] message: &str) {
    let refusal = read_bytes(&bytes).unwrap_err().to_string();
    let (_, said) = refusal.split_once("x.safetensors: ").expect(&refusal);
    assert!(said.starts_with(message), "{said}");
}

/// A length of 640 begins like a pickle of protocol 2.
#[test]
fn a_length_that_begins_like_a_pickle_is_a_length() {
    let bytes = file(&format!("{{{}}}", " ".repeat(638)), &[]);
    assert_eq!(bytes[..2], [0x80, 0x02]);
    assert_eq!(read_bytes(&bytes).unwrap().len(), 0);
}

#[test]
fn a_name_that_would_act_on_the_terminal_is_shown_escaped() {
    let header = format!("{{{}}}", entry(r"a\u001b]0;x\u0007\n", "F64", "[1]", 0, 8));
    let refusal = read_bytes(&file(&header, &[0; 8])).unwrap_err().to_string();
    assert!(refusal.contains(r"tensor `a\u{1b}]0;x\u{7}\u{a}`") && !refusal.contains('\u{1b}'), "{refusal}");
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    let bytes = two((0, 4), (4, 8), 8);
    assert!(read_bytes(&bytes).is_ok());
    for end in 0..bytes.len() {
        assert!(check(&bytes[..end]).is_err(), "{end} bytes");
    }
}

type Generated = (String, usize, Vec<usize>);

fn generated() -> impl Strategy<Value = Vec<Generated>> {
    let shape = proptest::collection::vec(0usize..5, 0..5);
    proptest::collection::vec((".{0,12}", 0usize..3, shape), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What the reference writes is read back: names, dtypes, shapes and bytes.
    #[test]
    fn f_rs2_what_the_reference_writes_is_read_back(tensors in generated(), seed: u8) {
        const DTYPES: [(safetensors::Dtype, Dtype); 3] = [
            (safetensors::Dtype::F32, Dtype::F32),
            (safetensors::Dtype::F16, Dtype::F16),
            (safetensors::Dtype::BF16, Dtype::BF16),
        ];
        let mut written = std::collections::BTreeMap::new();
        for (name, dtype, shape) in tensors {
            let bytes = DTYPES[dtype].1.bytes_of(&shape).unwrap();
            let data: Vec<u8> = (0..bytes).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            if name != "__metadata__" {
                written.insert(name, (dtype, shape, data));
            }
        }
        let views = written.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(DTYPES[*dtype].0, shape.clone(), data).unwrap())
        });
        let read = read_bytes(&safetensors::serialize(views, None).unwrap()).unwrap();
        prop_assert_eq!(read.len(), written.len());
        for (name, tensor) in read {
            let (dtype, shape, data) = &written[&name];
            prop_assert_eq!(tensor.dtype(), DTYPES[*dtype].1);
            prop_assert_eq!(tensor.shape(), shape.as_slice());
            prop_assert_eq!(tensor.bytes(), data.as_slice());
        }
    }

    /// Nothing is taken here that the reference refuses; what it refuses alone (metadata that is not strings) it refuses in `read`.
    #[test]
    fn nothing_is_wider_than_the_reference(at in 8usize..110, byte: u8) {
        let mut bytes = two((0, 4), (4, 8), 8);
        let at = at.min(bytes.len() - 1);
        bytes[at] = byte;
        if let Ok(tensors) = read_bytes(&bytes) {
            prop_assert_eq!(SafeTensors::deserialize(&bytes).map(|read| read.len()).ok(), Some(tensors.len()));
        }
    }
}
