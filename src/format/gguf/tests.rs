use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::Error;

/// A file, written number by number.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Bytes {
    /// Magic, version, and how many tensors and keys follow.
    fn new(version: u32, n_tensors: u64, n_keys: u64) -> Self {
        Bytes(MAGIC.to_vec()).u32(version).u64(n_tensors).u64(n_keys)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u32(self, number: u32) -> Self {
        self.raw(&number.to_le_bytes())
    }

    fn u64(self, number: u64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    fn string(self, text: &[u8]) -> Self {
        self.u64(text.len() as u64).raw(text)
    }

    /// The name of a key and the type of its value.
    fn key(self, name: &str, id: u32) -> Self {
        self.string(name.as_bytes()).u32(id)
    }

    /// An array's head.
    fn array(self, name: &str, id: u32, n: u64) -> Self {
        self.key(name, 9).u32(id).u64(n)
    }

    fn tensor(self, name: &str, dims: &[u64], id: u32, offset: u64) -> Self {
        let this = self.string(name.as_bytes()).u32(dims.len() as u32);
        dims.iter().fold(this, |this, dim| this.u64(*dim)).u32(id).u64(offset)
    }

    /// Zeros up to a multiple.
    fn pad(mut self, alignment: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
        self
    }
}

/// Two keys, three tensors of two types, aligned to 32.
fn valid(version: u32) -> Vec<u8> {
    let file = Bytes::new(version, 3, 2).key("general.architecture", 8).string(b"llama").array("a", 8, 2).string(b"x").string(b"");
    let file = file.tensor("first", &[3, 2], 0, 0).tensor("second", &[32], 8, 32).tensor("third", &[2], 1, 96).pad(32);
    let file = (0..6).fold(file, |file, i| file.raw(&(i as f32).to_le_bytes())).pad(32);
    file.raw(&[1; 34]).pad(32).raw(&[0, 0x3c, 0, 0xc0]).pad(32).0
}

fn reason(bytes: &[u8]) -> &'static str {
    parse(bytes).map_or_else(|error| error.reason(), |_| "accepted")
}

/// GG51.
#[test]
fn both_versions_are_read() {
    for version in [2, 3] {
        let contents = parse(&valid(version)).unwrap();
        assert_eq!((contents.version, contents.alignment, contents.metadata.len()), (version, 32, 2));
        assert_eq!(contents.metadata.string("general.architecture"), Ok(Some("llama")));
        assert_eq!(contents.metadata.strings("a").unwrap().unwrap(), ["x", ""]);
        let shapes: Vec<_> = contents.tensors.iter().map(|info| (info.shape.as_slice(), info.bytes)).collect();
        assert_eq!(shapes, [(&[2, 3][..], 24), (&[32][..], 34), (&[2][..], 4)]);
    }
}

#[test]
fn tensors_are_borrowed_from_the_map() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    std::fs::write(&path, valid(3)).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    let tensor = gguf.tensor(gguf.info("first").unwrap()).unwrap();
    assert_eq!((tensor.shape(), tensor.to_f32()), (&[2, 3][..], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    assert_eq!(tensor.file(), Some(path.as_path()));
    assert!(gguf.bytes().as_ptr_range().contains(&tensor.bytes().as_ptr()));
    assert_eq!(gguf.tensor(gguf.info("third").unwrap()).unwrap().to_f32(), [1.0, -2.0]);
    let foreign = TensorInfo { bytes: 1 << 40, ..gguf.tensors[0].clone() };
    assert_eq!(gguf.tensor(&foreign).unwrap_err().reason(), "tensor");
}

#[test]
fn a_refusal_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    for bytes in [&b""[..], b"GGUF", b"version https://git-lfs.github.com/spec/v1\n"] {
        std::fs::write(&path, bytes).unwrap();
        let error = Gguf::open(&path).unwrap_err();
        assert!(matches!(error, Error::Gguf { .. }) && error.to_string().contains("m.gguf: "), "{error}");
        assert_eq!((error.kind(), error.file()), ("gguf", Some(path.as_path())));
    }
    assert_eq!(Gguf::open(dir.path()).unwrap_err().reason(), "not-regular");
}

/// Every prefix is refused, but for the padding after the last tensor; so is everything longer.
#[test]
fn every_prefix_is_refused() {
    let file = valid(3);
    let end = file.len() - 28;
    for n in 0..file.len() {
        assert_eq!(parse(&file[..n]).is_ok(), n >= end, "{n} of {} bytes: {}", file.len(), reason(&file[..n]));
    }
    assert_eq!(reason(&[&file[..], &[0]].concat()), "trailing");
}

#[test]
fn a_file_without_tensors_may_leave_out_its_padding() {
    let file = Bytes::new(3, 0, 1).key("k", 0).raw(&[1]);
    assert_eq!(reason(&file.0), "accepted");
    assert_eq!(reason(&file.clone().pad(32).0), "accepted");
    assert_eq!(reason(&file.pad(32).raw(&[0]).0), "trailing");
}

/// Padding that is not zero is a place where anything could stand.
#[test]
fn padding_is_zeros() {
    let file = valid(3);
    let contents = parse(&file).unwrap();
    let ends = contents.tensors.iter().map(|info| (info.offset + info.bytes) as usize);
    for at in ends.chain([contents.tensors[0].offset as usize - 1]) {
        let mut file = file.clone();
        file[at] = 7;
        assert_eq!(parse(&file), Err(GgufError::Padding { at: at as u64, byte: 7 }));
    }
}

#[rstest]
#[case::gg1_fugg(b"FUGG\x03\0\0\0", "big-endian")]
#[case::gg5_big_endian(b"GGUF\0\0\0\x03", "big-endian")]
#[case::gg2_version_0(b"GGUF\0\0\0\0", "version")]
#[case::gg3_version_1(b"GGUF\x01\0\0\0", "version-1")]
#[case::gg4_version_4(b"GGUF\x04\0\0\0", "version")]
#[case::nothing(b"", "magic")]
#[case::half_a_magic(b"GG", "magic")]
#[case::another_file(b"PK\x03\x04 and more", "other-content")]
#[case::no_version(b"GGUF", "past-end")]
fn beginnings_that_are_refused(#[case] bytes: &[u8], #[case] expected: &str) {
    assert_eq!(reason(bytes), expected);
}

#[rstest]
#[case::gg6_n_tensors(Bytes::new(3, u64::MAX, 0), "too-many")]
#[case::gg7_n_keys(Bytes::new(3, 0, 1 << 63), "too-many")]
#[case::gg8_n_keys(Bytes::new(3, 0, 1 << 32), "too-many")]
#[case::more_tensors_than_bytes(Bytes::new(3, 1000, 0), "past-end")]
#[case::more_keys_than_bytes(Bytes::new(3, 0, 1000), "past-end")]
#[case::gg9_key_length(Bytes::new(3, 0, 1).u64(u64::MAX).raw(&[b'k'; 32]), "too-long")]
#[case::gg10_key_length(Bytes::new(3, 0, 1).u64(33).raw(&[b'k'; 32]), "past-end")]
#[case::gg11_empty_key(Bytes::new(3, 0, 1).key("", 0).raw(&[0; 8]), "empty-name")]
#[case::gg12_duplicate_key(Bytes::new(3, 0, 2).key("k", 0).raw(&[1]).key("k", 0).raw(&[2]), "duplicate")]
#[case::gg13_nul_in_key(Bytes::new(3, 0, 1).key("general.alignment\0", 4).u32(64), "name-character")]
#[case::gg14_value_type(Bytes::new(3, 0, 1).key("k", 13).u64(0), "value-type")]
#[case::gg14_array_type(Bytes::new(3, 0, 1).array("k", 13, 1).u64(0), "value-type")]
#[case::gg15_bool(Bytes::new(3, 0, 1).key("k", 7).raw(&[2]), "bool")]
#[case::gg15_bools(Bytes::new(3, 0, 1).array("k", 7, 2).raw(&[1, 255]), "bool")]
#[case::gg16_string(Bytes::new(3, 0, 1).key("k", 8).u64((1 << 30) + 1), "too-long")]
#[case::gg17_bytes(Bytes::new(3, 0, 1).array("k", 0, 1 << 60).raw(&[0; 64]), "past-end")]
#[case::gg18_product_wraps(Bytes::new(3, 0, 1).array("k", 10, (1 << 61) + 1).raw(&[0; 64]), "past-end")]
#[case::gg19_nested(Bytes::new(3, 0, 1).array("k", 9, 1).u32(9).u64(1), "nested-array")]
#[case::gg20_last_string(Bytes::new(3, 0, 1).array("k", 8, 2).string(b"abc").u64(4).raw(b"abc"), "past-end")]
#[case::gg21_not_utf8(Bytes::new(3, 0, 1).key("k", 8).string(&[b'a', 0xff]), "not-utf8")]
#[case::gg21_key_not_utf8(Bytes::new(3, 0, 1).string(&[b'a', 0xff]).u32(0).raw(&[0]), "not-utf8")]
#[case::too_many_strings(Bytes::new(3, 0, 1).array("k", 8, MAX_STRINGS + 1).raw(&[0; 64]), "too-many")]
#[case::strings_without_bytes(Bytes::new(3, 0, 1).array("k", 8, MAX_STRINGS).raw(&[0; 64]), "past-end")]
#[case::gg22_alignment_0(Bytes::new(3, 0, 1).key(ALIGNMENT_KEY, 4).u32(0), "alignment")]
#[case::gg23_alignment_13(Bytes::new(3, 0, 1).key(ALIGNMENT_KEY, 4).u32(13), "alignment")]
#[case::alignment_4(Bytes::new(3, 0, 1).key(ALIGNMENT_KEY, 4).u32(4), "alignment")]
#[case::gg24_alignment_huge(Bytes::new(3, 0, 1).key(ALIGNMENT_KEY, 4).u32(0x8000_0000), "alignment")]
#[case::gg25_alignment_i32(Bytes::new(3, 0, 1).key(ALIGNMENT_KEY, 5).u32(u32::MAX), "alignment")]
#[case::gg26_alignment_u64(Bytes::new(3, 0, 1).key(ALIGNMENT_KEY, 10).u64(64), "alignment")]
#[case::gg48_split(Bytes::new(3, 0, 1).key("split.count", 2).raw(&[255, 255]), "split")]
#[case::gg48_split_of_another_type(Bytes::new(3, 0, 1).key("split.count", 8).string(b"1"), "split")]
fn keys_that_are_refused(#[case] file: Bytes, #[case] expected: &str) {
    assert_eq!(reason(&file.0), expected);
}

#[rstest]
#[case::gg27_five_dimensions(Bytes::new(3, 1, 0).tensor("t", &[1; 5], 0, 0), "rank")]
#[case::no_dimensions(Bytes::new(3, 1, 0).tensor("t", &[], 0, 0).pad(32), "rank")]
#[case::gg28_2_to_the_32_dimensions(Bytes::new(3, 1, 0).string(b"t").u32(u32::MAX).u64(1).u64(1).u64(1), "rank")]
#[case::gg29_zero(Bytes::new(3, 1, 0).tensor("t", &[4, 0], 0, 0), "zero-dimension")]
#[case::gg30_product_is_0(Bytes::new(3, 1, 0).tensor("t", &[1 << 32, 1 << 32], 0, 0), "shape-overflow")]
#[case::gg31_product_is_1(Bytes::new(3, 1, 0).tensor("t", &[3, 0xaaaa_aaaa_aaaa_aaab], 0, 0), "shape-overflow")]
#[case::gg32_padding_wraps(Bytes::new(3, 1, 0).tensor("t", &[u64::MAX / 4], 0, 0), "shape-overflow")]
#[case::gg33_negative(Bytes::new(3, 1, 0).tensor("t", &[1 << 63], 0, 0), "shape-overflow")]
#[case::gg34_row_of_255(Bytes::new(3, 1, 0).tensor("t", &[255], 12, 0), "partial-block")]
#[case::gg35_two_rows_of_128(Bytes::new(3, 1, 0).tensor("t", &[128, 2], 12, 0), "partial-block")]
#[case::gg36_type_4(Bytes::new(3, 1, 0).tensor("t", &[32], 4, 0), "unknown-type")]
#[case::gg36_type_31(Bytes::new(3, 1, 0).tensor("t", &[32], 31, 0), "unknown-type")]
#[case::gg36_type_40(Bytes::new(3, 1, 0).tensor("t", &[64], 40, 0), "unsupported-type")]
#[case::gg36_type_2_to_the_31(Bytes::new(3, 1, 0).tensor("t", &[32], 1 << 31, 0), "unknown-type")]
#[case::iq2_xxs(Bytes::new(3, 1, 0).tensor("t", &[256], 16, 0), "unsupported-type")]
#[case::gg37_misaligned(Bytes::new(3, 1, 0).tensor("t", &[1], 0, 4).pad(32).raw(&[0; 64]), "offset")]
#[case::gg38_same_offset(Bytes::new(3, 2, 0).tensor("t", &[8], 0, 0).tensor("u", &[8], 0, 0).pad(32).raw(&[0; 64]), "offset")]
#[case::gg39_far_offset(Bytes::new(3, 1, 0).tensor("t", &[8], 0, u64::MAX - 31).pad(32).raw(&[0; 64]), "offset")]
#[case::gg40_gap(Bytes::new(3, 2, 0).tensor("t", &[8], 0, 0).tensor("u", &[8], 0, 64).pad(32).raw(&[0; 96]), "offset")]
#[case::first_not_at_0(Bytes::new(3, 1, 0).tensor("t", &[8], 0, 32).pad(32).raw(&[0; 64]), "offset")]
#[case::gg41_one_byte_short(Bytes::new(3, 1, 0).tensor("t", &[8], 0, 0).pad(32).raw(&[0; 31]), "data-past-end")]
#[case::no_data(Bytes::new(3, 1, 0).tensor("t", &[8], 0, 0), "data-past-end")]
#[case::sum_of_sizes_wraps(
    Bytes::new(3, 3, 0).tensor("t", &[1 << 60], 0, 0).tensor("u", &[1 << 60], 0, 1 << 62).tensor("v", &[1 << 60], 0, 1 << 63).pad(32).raw(&[0; 96]),
    "data-past-end"
)]
#[case::gg42_trailing(Bytes::new(3, 1, 0).tensor("t", &[8], 0, 0).pad(32).raw(&[0; 32 + (1 << 20)]), "trailing")]
#[case::gg43_duplicate(Bytes::new(3, 2, 0).tensor("t", &[8], 0, 0).tensor("t", &[8], 0, 32).pad(32).raw(&[0; 64]), "duplicate")]
#[case::gg44_64_byte_name(Bytes::new(3, 1, 0).tensor(&"n".repeat(64), &[8], 0, 0).pad(32).raw(&[0; 32]), "too-long")]
#[case::empty_name(Bytes::new(3, 1, 0).tensor("", &[8], 0, 0).pad(32).raw(&[0; 32]), "empty-name")]
#[case::escape_in_name(Bytes::new(3, 1, 0).tensor("\u{1b}]0;x\u{7}", &[8], 0, 0).pad(32).raw(&[0; 32]), "name-character")]
#[case::longest_name(Bytes::new(3, 1, 0).tensor(&"n".repeat(63), &[8], 0, 0).pad(32).raw(&[0; 32]), "accepted")]
fn tensors_that_are_refused(#[case] file: Bytes, #[case] expected: &str) {
    assert_eq!(reason(&file.0), expected);
}

/// A number of the list of ggml (`ggml.h`) that is not read here is told by its name, and one that stands for nothing by itself.
#[test]
fn a_type_that_is_not_read_is_named() {
    let names = [
        (9, "Q8_1"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (40, "NVFP4"),
        (41, "Q1_0"),
        (42, "Q2_0"),
    ];
    for (id, name) in names {
        let refusal = parse(&Bytes::new(3, 1, 0).tensor("t", &[256], id, 0).0).unwrap_err();
        assert!(matches!(&refusal, GgufError::UnsupportedType { name: found, .. } if *found == name), "{id}: {refusal}");
    }
    for id in [4, 5, 31, 36, 43] {
        let refusal = parse(&Bytes::new(3, 1, 0).tensor("t", &[256], id, 0).0).unwrap_err();
        assert!(matches!(refusal, GgufError::UnknownType { id: found, .. } if found == id), "{id}: {refusal}");
    }
}

/// The padding is that of the file, not 32.
#[rstest]
#[case(8)]
#[case(64)]
#[case(4096)]
#[case(MAX_ALIGNMENT)]
fn the_alignment_is_honoured(#[case] alignment: u64) {
    let file = Bytes::new(3, 2, 1).key(ALIGNMENT_KEY, 4).u32(alignment as u32).tensor("t", &[1], 0, 0).tensor("u", &[1], 0, alignment);
    let file = file.pad(alignment as usize).u32(1).pad(alignment as usize).u32(2);
    let contents = parse(&file.0).unwrap();
    assert_eq!(contents.tensors[1].offset - contents.tensors[0].offset, alignment);
    assert!(contents.tensors[0].offset.is_multiple_of(alignment));
    assert_eq!(parse(&file.pad(alignment as usize).0), Ok(contents));
}

#[test]
fn names_from_a_file_cannot_act_on_a_terminal() {
    let file = Bytes::new(3, 0, 1).key("k\u{202e}", 8).u64(9);
    let message = parse(&file.0).unwrap_err().to_string();
    assert_eq!(message, "the value of key `k\\u{202e}` at byte 48 needs 9 bytes, the file has 0 left");
}

proptest! {
    /// No byte makes the reader panic, and nothing is read past the end.
    #[test]
    fn a_changed_byte_is_read_or_refused(at in 0..valid(3).len(), byte: u8, cut in 0..64usize) {
        let mut file = valid(3);
        file[at] = byte;
        file.truncate(file.len() - cut);
        if let Ok(contents) = parse(&file) {
            prop_assert!(contents.tensors.iter().all(|info| info.offset + info.bytes <= file.len() as u64));
        }
    }
}
