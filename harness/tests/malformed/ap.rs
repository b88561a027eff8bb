//! AP: APR files.

use super::case::{Case, Expect, accepted, refused};

const ALIGNMENT: usize = 64;
/// Little endian and row-major: the one flag that every writer sets.
const ROW_MAJOR: u16 = 1 << 10;

/// CRC-32 of IEEE 802.3, bit by bit: another one than the reader's.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

/// An APR file in pieces, each of which can be made wrong before the checksums are made right.
#[derive(Clone)]
struct Apr {
    magic: [u8; 4],
    flags: u16,
    metadata: Vec<u8>,
    tensors: Vec<Entry>,
    data: Vec<u8>,
}

/// An entry of the index.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    dtype: u8,
    dims: Vec<u64>,
    offset: u64,
    size: u64,
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

impl Apr {
    fn valid() -> Apr {
        let tensors = vec![
            Entry { name: b"a".to_vec(), dtype: 0, dims: vec![2, 3], offset: 0, size: 24 },
            Entry { name: b"b".to_vec(), dtype: 1, dims: vec![5], offset: 64, size: 10 },
        ];
        Apr { magic: *b"APR\0", flags: ROW_MAJOR, metadata: br#"{"name":"x"}"#.to_vec(), tensors, data: vec![0; 128] }
    }

    fn changed(change: impl FnOnce(&mut Apr)) -> Vec<u8> {
        let mut file = Apr::valid();
        change(&mut file);
        file.bytes(|_| ())
    }

    /// The file; `header` may change the first 64 bytes before their checksum is written.
    fn bytes(&self, header: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut index = Vec::new();
        for Entry { name, dtype, dims, offset, size } in &self.tensors {
            index.extend((name.len() as u16).to_le_bytes());
            index.extend(name);
            index.extend([*dtype, dims.len() as u8]);
            dims.iter().for_each(|dim| index.extend(dim.to_le_bytes()));
            index.extend(offset.to_le_bytes());
            index.extend(size.to_le_bytes());
        }
        let (metadata, index) = (padded(self.metadata.clone()), padded(index));
        let mut out = self.magic.to_vec();
        out.extend([2, 0]);
        out.extend(self.flags.to_le_bytes());
        out.extend((self.tensors.len() as u32).to_le_bytes());
        out.extend(64u64.to_le_bytes());
        out.extend((self.metadata.len() as u32).to_le_bytes());
        out.extend((64 + metadata.len() as u64).to_le_bytes());
        out.extend((64 + metadata.len() as u64 + index.len() as u64).to_le_bytes());
        out.resize(64, 0);
        header(&mut out);
        let sum = crc(&[&out[..40], &out[44..]].concat());
        out[40..44].copy_from_slice(&sum.to_le_bytes());
        let mut out = [out, metadata, index, self.data.clone()].concat();
        out.extend(crc(&out).to_le_bytes());
        out
    }
}

/// A valid file, small.
pub fn valid() -> Vec<u8> {
    Apr::valid().bytes(|_| ())
}

/// Writes a number into the header.
fn put<const N: usize>(at: usize, bytes: [u8; N]) -> Vec<u8> {
    Apr::valid().bytes(|header| header[at..at + N].copy_from_slice(&bytes))
}

/// Every case, in the order of the catalogue.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |id: &str, what: &str, bytes: Vec<u8>, expect: Expect| cases.push(Case::file(id, what, "model.apr", bytes, expect));
    let no = |reason: &'static str| refused("apr", reason, &[]);
    let says = |reason: &'static str, words: &[&str]| refused("apr", reason, words);

    add("AP0", "a valid file", valid(), accepted(2));
    let mut flipped = valid();
    flipped[9] ^= 0x10;
    add("AP1", "one flipped bit of the header (all 512 are tried elsewhere)", flipped, no("header-checksum"));
    let mut zeroed = valid();
    zeroed[40..44].fill(0);
    add("AP2", "a checksum of the header that is zero", zeroed, no("header-checksum"));
    add("AP3", "2^32-1 tensors", put(8, u32::MAX.to_le_bytes()), no("wrong-size"));
    add("AP4", "a metadata offset that wraps around with its size", put(12, (u64::MAX - 7).to_le_bytes()), no("section"));
    add("AP5", "an index behind the data", put(24, (1u64 << 20).to_le_bytes()), no("section"));
    add("AP6", "metadata that is no JSON", Apr::changed(|f| f.metadata = br#"{"name":"x""#.to_vec()), no("metadata"));
    add("AP6b", "metadata that is a list", Apr::changed(|f| f.metadata = b"[]".to_vec()), no("metadata"));
    add("AP7", "one index entry fewer than the header says", put(8, 9u32.to_le_bytes()), no("wrong-size"));
    add("AP8", "a dtype of 200", Apr::changed(|f| f.tensors[0].dtype = 200), says("unknown-dtype", &["`a`", "200"]));
    add("AP9", "a tensor whose end wraps around", Apr::changed(|f| f.tensors[0].offset = u64::MAX - 63), no("offset"));
    add("AP10", "a size that is not that of the shape", Apr::changed(|f| f.tensors[0].size = 20), says("wrong-size", &["`a`", "20", "24"]));
    add("AP11", "two tensors of one name", Apr::changed(|f| f.tensors[1].name = b"a".to_vec()), says("duplicate-name", &["`a`"]));
    for (suffix, bit, word) in [("", 2, "ENCRYPTED"), ("b", 3, "SIGNED"), ("c", 4, "SHARDED"), ("d", 15, "15"), ("e", 11, "COLUMN_MAJOR")] {
        add(
            &format!("AP12{suffix}"),
            &format!("a flag that is not understood: bit {bit}"),
            Apr::changed(|f| f.flags |= 1 << bit),
            says("flag", &[word]),
        );
    }
    add("AP13", "compressed data", Apr::changed(|f| f.flags |= 2), says("flag", &["ZSTD"]));
    let mut data = valid();
    let at = data.len() - 4 - 128;
    data[at] ^= 1;
    add("AP14", "one flipped bit of the data", data, no("footer-checksum"));
    for (suffix, magic) in [("", b"APR1"), ("b", b"APRZ"), ("c", b"APR!"), ("d", b"APRN"), ("e", b"APR2")] {
        add(
            &format!("AP15{suffix}"),
            &format!("the magic {}", String::from_utf8_lossy(magic)),
            Apr::changed(|f| f.magic = *magic),
            no(if magic == b"APRZ" { "magic" } else { "other-version" }),
        );
    }
    add("AP16", "a GGUF file by another name", super::gg::valid(), refused("file", "extension", &[".apr"]));
    let mut bare = valid();
    bare.truncate(bare.len() - 4);
    add("AP17", "a file without its last four bytes, the checksum of all", bare, no("no-footer"));
    add("AP18", "two tensors on the same bytes", Apr::changed(|f| f.tensors[1].offset = 0), says("offset", &["`a`", "64"]));
    cases
}
