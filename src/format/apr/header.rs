//! The first 64 bytes.

use super::{Checked, MAGIC, check_zeros};
use crate::error::AprError;
use crate::format::sniff;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

/// Where the header's CRC-32 stands.
const CHECKSUM_AT: usize = 40;

/// The flags of a header: bits 5 to 10 say something about the file and are understood, or read past; the others are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// Some tensors are quantized.
    pub const QUANTIZED: u16 = 1 << 5;
    /// The metadata hold a vocabulary.
    pub const HAS_VOCAB: u16 = 1 << 9;
    /// Matrices lie row by row. Files from before this flag do so too.
    pub const ROW_MAJOR: u16 = 1 << 10;

    /// The name of every bit that has one.
    const NAMES: [(u32, &str); 12] = [
        (0, "LZ4"),
        (1, "ZSTD"),
        (2, "ENCRYPTED"),
        (3, "SIGNED"),
        (4, "SHARDED"),
        (5, "QUANTIZED"),
        (6, "HAS_FILTERBANK"),
        (7, "HAS_MODEL_CARD"),
        (8, "STREAMING"),
        (9, "HAS_VOCAB"),
        (10, "ROW_MAJOR"),
        (11, "COLUMN_MAJOR"),
    ];

    /// The bits under which the data are what the index says they are.
    const UNDERSTOOD: std::ops::RangeInclusive<u32> = 5..=10;

    /// Whether all of `bits` are set.
    pub fn contains(self, bits: u16) -> bool {
        self.0 & bits == bits
    }

    /// The names of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(bit, _)| self.contains(1 << bit)).map(|(_, name)| name)
    }

    fn check(self) -> Checked<()> {
        let refused = (0..u16::BITS).find(|bit| self.contains(1 << bit) && !Self::UNDERSTOOD.contains(bit));
        let Some(bit) = refused else { return Ok(()) };
        let name = Self::NAMES.into_iter().find(|(known, _)| *known == bit).map_or("which no version defines", |(_, name)| name);
        Err(AprError::Flag { bit, name })
    }
}

/// A header.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub flags: Flags,
    pub n_tensors: u32,
    pub metadata_offset: u64,
    pub metadata_bytes: u32,
    pub index_offset: u64,
    pub data_offset: u64,
}

impl Header {
    /// Reads the header of a file. Its offsets were checked against nothing.
    pub fn parse(file: &[u8]) -> Checked<Header> {
        check_magic(file)?;
        let Some(bytes) = file.first_chunk::<HEADER_BYTES>() else { return Err(AprError::TooShort { bytes: file.len() }) };
        let number = |at: usize, width: usize| {
            let mut le = [0; 8];
            le[..width].copy_from_slice(&bytes[at..at + width]);
            u64::from_le_bytes(le)
        };
        let (stated, computed) = (number(CHECKSUM_AT, 4) as u32, checksum(bytes));
        if stated != computed {
            return Err(AprError::HeaderChecksum { stated, computed });
        }
        let [major, minor] = [bytes[4], bytes[5]];
        if (major, minor) != (2, 0) {
            return Err(AprError::Version { major, minor });
        }
        let flags = Flags(number(6, 2) as u16);
        flags.check()?;
        check_zeros(&bytes[CHECKSUM_AT + 4..], CHECKSUM_AT + 4, "44 to 63")?;
        Ok(Header {
            flags,
            n_tensors: number(8, 4) as u32,
            metadata_offset: number(12, 8),
            metadata_bytes: number(20, 4) as u32,
            index_offset: number(24, 8),
            data_offset: number(32, 8),
        })
    }

    /// The bytes of a header, its CRC-32 included.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(4, &[2, 0]);
        put(6, &self.flags.0.to_le_bytes());
        put(8, &self.n_tensors.to_le_bytes());
        put(12, &self.metadata_offset.to_le_bytes());
        put(20, &self.metadata_bytes.to_le_bytes());
        put(24, &self.index_offset.to_le_bytes());
        put(32, &self.data_offset.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// The CRC-32 of a header, its own place left out.
fn checksum(header: &[u8; HEADER_BYTES]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..CHECKSUM_AT]);
    crc.update(&header[CHECKSUM_AT + 4..]);
    crc.finalize()
}

fn check_magic(file: &[u8]) -> Checked<()> {
    let Some(found) = file.first_chunk::<4>().copied() else { return Err(AprError::TooShort { bytes: file.len() }) };
    let other = match &found {
        found if *found == MAGIC => return Ok(()),
        b"APRN" => "an APR file of version 1 (`APRN`), which holds classical models in MessagePack and bincode",
        b"APR1" | b"APR2" => "an APR file of a draft (`APR1`, `APR2`), which no released tool writes",
        b"APR!" => "an `APR!` file, which documents describe and no released tool writes",
        b"APR\x02" => "an `APR\\x02` file, which documents describe and no released tool writes",
        _ => match sniff::sniff(file) {
            Some(found) => return Err(AprError::OtherContent { found }),
            None => return Err(AprError::Magic { found }),
        },
    };
    Err(AprError::OtherVersion { found: other })
}
