use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::Dtype;
use crate::format::layout::TensorSpec;

/// A file of these metadata and tensors; every byte of the data is its place in its tensor, times seven.
fn written(metadata: &Value, tensors: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let spec = |(name, dtype, shape): &(&str, Dtype, &[usize])| TensorSpec { name: (*name).into(), dtype: *dtype, shape: shape.to_vec() };
    let specs: Vec<TensorSpec> = tensors.iter().map(spec).collect();
    let layout = layout(metadata.as_object().unwrap(), &specs).unwrap();
    let mut file = layout.header;
    file.resize(layout.padded as usize, 0);
    for (offset, bytes) in layout.tensors {
        (0..bytes as usize).for_each(|i| file[offset as usize + i] = (i as u8).wrapping_mul(7));
    }
    restamp(file)
}

/// A small file: three tensors, one of them quantized.
fn small() -> Vec<u8> {
    written(
        &json!({"model_type": "llama", "hidden_size": 4}),
        &[("b", Dtype::F32, &[2, 3]), ("a", Dtype::AprQ4, &[40]), ("c", Dtype::BF16, &[])],
    )
}

/// The file with a right footer.
fn restamp(mut body: Vec<u8>) -> Vec<u8> {
    body.extend(crc32fast::hash(&body).to_le_bytes());
    body
}

/// The file with one change, both CRC-32 made right again, so that only the change itself can be seen.
fn with(mut file: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    file.truncate(file.len() - FOOTER_BYTES);
    change(&mut file);
    if file.len() >= HEADER_BYTES {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&file[..40]);
        crc.update(&file[44..64]);
        file[40..44].copy_from_slice(&crc.finalize().to_le_bytes());
    }
    restamp(file)
}

fn put(at: usize, bytes: impl AsRef<[u8]>) -> impl FnOnce(&mut Vec<u8>) {
    move |file| file[at..at + bytes.as_ref().len()].copy_from_slice(bytes.as_ref())
}

/// Where the index begins, and where the data do.
fn sections(file: &[u8]) -> (usize, usize) {
    let header = Header::parse(file).unwrap();
    (header.index_offset as usize, header.data_offset as usize)
}

/// A change to the index of the small file, at a place counted from its first byte.
fn index(at: usize, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let file = small();
    let (index, _) = sections(&file);
    with(file, put(index + at, bytes))
}

/// Where the fields of the first entry (`a`, one dimension) lie in the index.
const NAME: usize = 2;
const DTYPE: usize = 3;
const RANK: usize = 4;
const DIM: usize = 5;
const OFFSET: usize = 13;
const SIZE: usize = 21;
/// Bytes of the first entry.
const FIRST: usize = 29;

fn open(bytes: &[u8]) -> Result<Apr> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.apr");
    std::fs::write(&path, bytes).unwrap();
    Apr::open(&path)
}

fn refusal(bytes: &[u8]) -> AprError {
    parse(bytes).map(|_| ()).expect_err("a file that is to be refused")
}

#[test]
fn a_file_is_read_as_it_was_laid_out() {
    let apr = open(&small()).unwrap();
    let found: Vec<_> = apr.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice(), t.bytes)).collect();
    assert_eq!(found, [("a", Dtype::AprQ4, [40].as_slice(), 36), ("b", Dtype::F32, &[2, 3], 24), ("c", Dtype::BF16, &[], 2)]);
    assert_eq!(apr.metadata, *json!({"model_type": "llama", "hidden_size": 4}).as_object().unwrap());
    assert_eq!(apr.flags.names().collect::<Vec<_>>(), ["QUANTIZED", "ROW_MAJOR"]);
    assert_eq!((apr.n_bytes, apr.tensors[2].offset % ALIGNMENT), (small().len() as u64, 0));
    for info in &apr.tensors {
        let tensor = apr.tensor(info);
        assert!(tensor.bytes().iter().enumerate().all(|(i, byte)| *byte == (i as u8).wrapping_mul(7)), "{}", info.name);
        assert_eq!((tensor.dtype(), tensor.shape(), tensor.file()), (info.dtype, info.shape.as_slice(), Some(apr.path.as_path())));
    }
}

/// The byte table, spelled out once.
#[test]
fn a_file_has_the_bytes_of_the_table() {
    let file = written(&json!({}), &[("w", Dtype::F16, &[2])]);
    let header = [
        b"APR\0\x02\0".as_slice(),
        &0x0400u16.to_le_bytes(),
        &1u32.to_le_bytes(),
        &64u64.to_le_bytes(),
        &2u32.to_le_bytes(),
        &128u64.to_le_bytes(),
        &192u64.to_le_bytes(),
    ];
    let header = header.concat();
    let crc = crc32fast::hash(&[header.as_slice(), &[0; 20]].concat()).to_le_bytes();
    let entry = [b"\x01\0w\x01\x01".as_slice(), &2u64.to_le_bytes(), &0u64.to_le_bytes(), &4u64.to_le_bytes()].concat();
    let body = [header.as_slice(), &crc, &[0; 20], b"{}", &[0; 62], &entry, &[0; 35], &[0, 7, 14, 21], &[0; 60]];
    assert_eq!(file, restamp(body.concat()));
    assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926, "the check value of this CRC");
}

/// AP1.
#[test]
fn every_flip_of_a_bit_of_the_header_is_detected() {
    let file = small();
    for bit in 0..HEADER_BYTES * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The footer would tell too; here the header must.
        let flipped = restamp(flipped[..flipped.len() - FOOTER_BYTES].to_vec());
        let refusal = refusal(&flipped);
        let is_seen = matches!(refusal, AprError::HeaderChecksum { .. } | AprError::Magic { .. } | AprError::OtherVersion { .. });
        assert!(is_seen, "bit {bit}: {refusal}");
    }
}

/// AP14, and what lies before the data.
#[test]
fn every_flip_of_a_bit_anywhere_is_detected() {
    let file = small();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refusal = refusal(&flipped);
        let in_data = (sections(&file).1..sections(&file).1 + 24).contains(&(bit / 8));
        assert!(!in_data || matches!(refusal, AprError::FooterChecksum { .. }), "bit {bit}: {refusal}");
    }
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    let file = small();
    for end in 0..file.len() {
        refusal(&file[..end]);
    }
    for end in 0..file.len() - FOOTER_BYTES {
        let (stamped, padding) = (restamp(file[..end].to_vec()), file.len() - FOOTER_BYTES - end);
        assert_eq!(parse(&stamped).is_ok(), padding == 62, "{end} bytes and a footer"); // the zeros after the last tensor may be missing
    }
}

#[test]
fn the_zeros_after_the_last_tensor_may_be_missing_as_a_whole() {
    let mut file = small();
    file.truncate(file.len() - FOOTER_BYTES - 62);
    assert_eq!(open(&restamp(file)).unwrap().tensors, open(&small()).unwrap().tensors);
}

#[test]
fn a_file_without_a_footer_is_refused_with_the_bytes_that_stamp_it() {
    // A tensor that ends four bytes before a multiple of 64: the zeros that follow it look like a footer.
    for n in [16, 15, 3] {
        let mut file = written(&json!({}), &[("w", Dtype::F32, &[n])]);
        file.truncate(file.len() - FOOTER_BYTES);
        let AprError::NoFooter { data, stamp } = refusal(&file) else { panic!("{}", refusal(&file)) };
        assert_eq!(data, 4 * n as u64);
        file.extend(stamp);
        assert!(parse(&file).is_ok());
    }
    let message = AprError::NoFooter { data: 4, stamp: [0, 8, 255, 64] }.to_string();
    assert!(message.ends_with(r"printf '\000\010\377\100' >> FILE"), "{message}");
}

#[rstest]
#[case::empty(vec![], "has 0 bytes")]
#[case::ap15_v1(b"APRN\x01\0\0\0".to_vec(), "is an APR file of version 1 (`APRN`)")]
#[case::ap15_draft(b"APR1....".to_vec(), "is an APR file of a draft")]
#[case::ap15_documents(b"APR!....".to_vec(), "is an `APR!` file")]
#[case::ap15_documents_2(b"APR\x02....".to_vec(), r"is an `APR\x02` file")]
#[case::ap15_unknown(b"APRZ....".to_vec(), "begins with bytes [41, 50, 52, 5a]")]
#[case::ap16(b"GGUF\x03\0\0\0".to_vec(), "is a GGUF file")]
#[case::lfs(b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "is a Git LFS pointer")]
#[case::short(b"APR\0\x02\0".to_vec(), "has 6 bytes, the header of an APR file has 64")]
#[case::ap2(with(small(), |_| ()).tap(|f| f[40..44].fill(0)), "its header states CRC-32 00000000")]
#[case::version(with(small(), put(4, [3])), "is APR version 3.0")]
#[case::minor_version(with(small(), put(5, [1])), "is APR version 2.1")]
#[case::lz4(with(small(), put(6, [0x01, 0x04])), "its header sets flag bit 0 (LZ4)")]
#[case::ap13_zstd(with(small(), put(6, [0x02, 0x04])), "its header sets flag bit 1 (ZSTD)")]
#[case::ap12_encrypted(with(small(), put(6, [0x04, 0x04])), "its header sets flag bit 2 (ENCRYPTED)")]
#[case::ap12_signed(with(small(), put(6, [0x08, 0x04])), "its header sets flag bit 3 (SIGNED)")]
#[case::ap12_sharded(with(small(), put(6, [0x10, 0x04])), "its header sets flag bit 4 (SHARDED)")]
#[case::column_major(with(small(), put(6, [0x00, 0x0c])), "its header sets flag bit 11 (COLUMN_MAJOR)")]
#[case::ap12_unknown(with(small(), put(6, [0x00, 0x84])), "its header sets flag bit 15 (which no version defines)")]
#[case::reserved(with(small(), put(63, [1])), "byte 63 is 0x01, bytes 44 to 63 are zero")]
#[case::metadata_offset(with(small(), put(12, [65])), "its metadata is said to begin at byte 65, the sections before it end at 64")]
#[case::ap4(with(small(), put(12, u64::MAX.to_le_bytes())), "its metadata is said to begin at byte 18446744073709551615")]
#[case::metadata_size(with(small(), put(20, u32::MAX.to_le_bytes())), "its metadata has 4294967295 bytes, the limit is 16777216")]
#[case::metadata_past_end(with(small(), put(20, 4096u32.to_le_bytes())), "its metadata ends at byte 4160, the file has")]
#[case::ap5(with(small(), put(24, 4096u64.to_le_bytes())), "its tensor index is said to begin at byte 4096, the sections before it end at 128")]
#[case::data_before_index(with(small(), put(32, 64u64.to_le_bytes())), "its tensor data is said to begin at byte 64, the sections before it end at 128")]
#[case::data_past_end(with(small(), put(32, u64::MAX.to_le_bytes())), "its tensor index ends at byte 18446744073709551615, the file has")]
#[case::data_late(with(small(), put(32, 320u64.to_le_bytes())), "its tensor data is said to begin at byte 320, the sections before it end at 256")]
#[case::ap3(with(small(), put(8, u32::MAX.to_le_bytes())), "tensor ``: ")]
#[case::ap7(with(written(&json!({}), &[]), put(8, 9u32.to_le_bytes())), "entry 0 of 9 of its tensor index is cut off after 0 bytes")]
#[case::count_short(with(small(), put(8, 2u32.to_le_bytes())), "byte")]
#[case::metadata_padding(with(small(), put(127, [1])), "byte 127 is 0x01, bytes between the metadata and the tensor index are zero")]
#[case::index_padding(with(small(), put(255, [1])), "byte 255 is 0x01, bytes between the tensor index and the data are zero")]
#[case::tensor_padding(with(small(), put(256 + 36, [1])), "byte 292 is 0x01, bytes between tensors are zero")]
#[case::last_padding(with(small(), put(384 + 2, [1])), "byte 386 is 0x01, bytes after the last tensor are zero")]
#[case::ap6(with(small(), put(64, "[")), "its metadata: is not JSON")]
#[case::no_metadata(with(small(), |f| { f[20..24].fill(0); f[64..128].fill(0); f[24] = 64; }), "its metadata: is empty")]
#[case::long_name(index(0, 300u16.to_le_bytes()), "entry 0 of 3 of its tensor index is cut off")]
#[case::name_not_utf8(index(NAME, [0xff]), "the name of entry 0 of its tensor index is not UTF-8")]
#[case::unsorted(index(NAME, "x"), "tensor `b` stands after `x` in its index")]
#[case::ap11(index(NAME, "b"), "tensor `b` is there twice")]
#[case::ap8(index(DTYPE, [200]), "tensor `a`: no version of APR defines dtype 200")]
#[case::ap8_realizar(index(DTYPE, [255]), "tensor `a`: no version of APR defines dtype 255")]
#[case::dtype_2(index(DTYPE, [2]), "tensor `a`: dtype 2 is BF16 in old files and Q4_0 to some readers")]
#[case::dtype_3(index(DTYPE, [3]), "tensor `a`: dtype 3 is F64")]
#[case::dtype_6(index(DTYPE, [6]), "tensor `a`: dtype 6 is I8")]
#[case::dtype_7(index(DTYPE, [7]), "tensor `a`: dtype 7 is U8")]
#[case::dtype_4(index(DTYPE, [4]), "tensor `a`: dtype I32 is not supported")]
#[case::dtype_5(index(DTYPE, [5]), "tensor `a`: dtype I64 is not supported")]
#[case::dtype_13(index(DTYPE, [13]), "tensor `a`: dtype Q5_K is not supported")]
#[case::labelled_q8(index(DTYPE, [9]), "tensor `a`: shape [40] of AprQ8 needs 44 bytes, its index entry states 36")]
#[case::rank(index(RANK, [9]), "tensor `a`: has 9 dimensions, the limit is 8")]
#[case::shape(index(DIM, u64::MAX.to_le_bytes()), "tensor `a`: shape [18446744073709551615] is none that AprQ4 can have")]
#[case::ap10(index(DIM, 65u64.to_le_bytes()), "tensor `a`: shape [65] of AprQ4 needs 54 bytes, its index entry states 36")]
#[case::ap10_size(index(SIZE, 35u64.to_le_bytes()), "tensor `a`: shape [40] of AprQ4 needs 36 bytes, its index entry states 35")]
#[case::ap9(index(OFFSET, u64::MAX.to_le_bytes()), "tensor `b`: lies at 64 of the data, its first byte must be 0")]
#[case::misaligned(index(OFFSET, 1u64.to_le_bytes()), "tensor `a`: lies at 1 of the data, its first byte must be 0")]
#[case::overlap(index(OFFSET, 64u64.to_le_bytes()), "tensor `b`: lies at 64 of the data, its first byte must be 0")]
#[case::trailing(with(small(), |f| f.extend([0; 64])), "has 64 bytes after its footer")]
#[case::truncated(with(small(), |f| f.truncate(256 + 64)), "its tensor data ends at byte 344, the file has 324: it is truncated")]
fn what_is_not_a_file_of_this_format_is_refused(#[case] bytes: Vec<u8>, #[case] message: &str) {
    let refusal = open(&bytes).unwrap_err().to_string();
    let (_, said) = refusal.split_once("x.apr: ").expect(&refusal);
    assert!(said.starts_with(message), "{said}");
}

/// What `with` does not do, because it makes the CRC-32 right again.
trait Tap: Sized {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
impl Tap for Vec<u8> {}

#[test]
fn a_hole_and_an_overlap_are_refused_wherever_they_are() {
    let (file, second) = (small(), FIRST + OFFSET + 8);
    let (index, _) = sections(&file);
    for (at, offset, due) in [(second, 128u64, 64), (second, 32, 64), (second, 0, 64)] {
        let spoiled = with(file.clone(), put(index + at, offset.to_le_bytes()));
        let AprError::Offset { due: found, .. } = refusal(&spoiled) else { panic!("{offset}: {}", refusal(&spoiled)) };
        assert_eq!(found, due, "{offset}");
    }
}

#[test]
fn a_name_of_256_bytes_is_read_and_one_more_is_not() {
    let longest = "n".repeat(256);
    let file = written(&json!({}), &[(&longest, Dtype::F32, &[1])]);
    assert_eq!(open(&file).unwrap().tensors[0].name, longest);
    let longer = with(file, |file| {
        file[128..130].copy_from_slice(&257u16.to_le_bytes());
        file.insert(130, b'n');
        file.remove(128 + 2 + 257 + 26); // a zero of the padding
    });
    assert!(matches!(refusal(&longer), AprError::NameTooLong { bytes: 257, limit: 256, .. }), "{}", refusal(&longer));
    let spec = TensorSpec { name: "n".repeat(257), dtype: Dtype::F32, shape: vec![1] };
    assert!(matches!(layout(&Map::new(), &[spec]), Err(AprError::NameTooLong { bytes: 257, .. })));
}

#[test]
fn what_the_format_cannot_hold_is_not_laid_out() {
    let spec = |name: &str, dtype, shape: &[usize]| TensorSpec { name: name.into(), dtype, shape: shape.to_vec() };
    let refusal = |specs: &[TensorSpec]| layout(&Map::new(), specs).unwrap_err().to_string();
    assert!(refusal(&[spec("w", Dtype::Q8_0, &[32])]).starts_with("tensor `w`: dtype Q8_0 is not supported in APR files"));
    assert!(refusal(&[spec("w", Dtype::Q4K, &[128, 2])]).starts_with("tensor `w`: shape [128, 2] is none that Q4_K can have"));
    assert!(refusal(&[spec("w", Dtype::F32, &[1; 9])]).starts_with("tensor `w`: has 9 dimensions"));
    assert_eq!(refusal(&[spec("w", Dtype::F32, &[1]), spec("w", Dtype::F16, &[2])]), "tensor `w` is there twice");
    let metadata = Map::from_iter([("description".to_owned(), "x".repeat(MAX_METADATA_BYTES).into())]);
    assert!(matches!(layout(&metadata, &[]), Err(AprError::MetadataTooLarge { limit: 16_777_216, .. })));
}

#[rstest]
#[case(json!({"hidden_size": 4, "hidden_dim": 4}), "its metadata state `hidden_size` and `hidden_dim`")]
#[case(json!({"num_heads": null, "n_head": 4}), "its metadata state `num_heads` and `n_head`")]
#[case(json!({"layer_norm_eps": 1e-5, "norm_eps": 1e-5}), "its metadata state `layer_norm_eps` and `norm_eps`")]
fn two_names_of_one_field_are_refused(#[case] metadata: Value, #[case] message: &str) {
    let said = refusal(&written(&metadata, &[])).to_string();
    assert!(said.starts_with(message), "{said}");
}

#[test]
fn a_name_that_would_act_on_the_terminal_is_shown_escaped() {
    let file = written(&json!({}), &[("a\u{1b}]0;x\u{7}", Dtype::F32, &[1])]);
    let (index, _) = sections(&file);
    let said = refusal(&with(file, put(index + 2 + 7, [200]))).to_string();
    assert!(said.contains(r"tensor `a\u{1b}]0;x\u{7}`") && !said.contains('\u{1b}'), "{said}");
}

/// Tensors in another order than their names': what a writer does that streams.
#[test]
fn data_in_another_order_is_read() {
    let file = small();
    let (index, data) = sections(&file);
    let swapped = with(file.clone(), |swapped| {
        put(index + OFFSET, 64u64.to_le_bytes())(swapped);
        put(index + FIRST + OFFSET + 8, 0u64.to_le_bytes())(swapped);
        let (a, b) = (file[data..data + 64].to_vec(), file[data + 64..data + 128].to_vec());
        put(data, [b, a].concat())(swapped);
    });
    let (apr, swapped) = (open(&file).unwrap(), open(&swapped).unwrap());
    for (one, other) in apr.tensors.iter().zip(&swapped.tensors) {
        assert_eq!(apr.tensor(one).bytes(), swapped.tensor(other).bytes(), "{}", one.name);
    }
    assert_ne!(apr.tensors[0].offset, swapped.tensors[0].offset);
}

#[test]
fn old_numbers_of_the_two_types_of_apr_are_read() {
    for (dtype, old) in [(Dtype::AprQ4, 8), (Dtype::AprQ8, 9)] {
        let file = written(&json!({}), &[("a", dtype, &[40])]);
        let (index, _) = sections(&file);
        assert_eq!(open(&with(file, put(index + DTYPE, [old]))).unwrap().tensors[0].dtype, dtype);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is laid out is read back, and the same input gives the same bytes.
    #[test]
    fn what_is_laid_out_is_read_back(tensors in proptest::collection::btree_map(".{0,9}", (0usize..7, 0usize..4, 1usize..4), 0..6)) {
        const DTYPES: [Dtype; 7] =
            [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::Q4K, Dtype::Q6K, Dtype::AprQ4, Dtype::AprQ8];
        let shapes: Vec<_> = tensors.iter().map(|(name, (dtype, n, m))| (name.as_str(), DTYPES[*dtype], [*n, 256 * m])).collect();
        let specs: Vec<_> = shapes.iter().map(|(name, dtype, shape)| (*name, *dtype, shape.as_slice())).collect();
        let file = written(&json!({"name": "x"}), &specs);
        let read = parse(&file).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let found: Vec<_> = read.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice())).collect();
        prop_assert_eq!(found, specs.clone());
        prop_assert_eq!(&file, &written(&json!({"name": "x"}), &specs));
    }

    /// A byte anywhere, both CRC-32 made right: an answer, not a panic.
    #[test]
    fn no_byte_makes_the_reader_panic(at in 0usize..512, byte: u8) {
        let file = small();
        let at = at % (file.len() - FOOTER_BYTES);
        let _ = parse(&with(file, put(at, [byte])));
    }
}
