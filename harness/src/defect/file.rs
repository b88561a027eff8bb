//! Faults in a file: bytes of an artifact that was converted are changed, and the golden stays what it was.
//!
//! Most are put into the artifact itself. Some go into what is made from it: a claim that compares two artifacts is refuted by a fault in
//! either. APR's checksums are written anew, so that the fault stands behind them and not in front.

mod blocks;
mod header;

use ground_truth_falsification::observation::{Container, Peer, Stored};

/// A file that is operated on, and where everything lies in it.
#[derive(Debug)]
pub struct Surgery {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What the file was before.
    pub container: Container,
}

/// Puts one fault into a file.
pub type Edit = fn(&mut Surgery) -> Result<(), String>;

/// Which file is operated on.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// The artifact.
    Artifact,
    /// What is made from the artifact, or beside it.
    Peer(fn() -> Peer),
}

/// Every file defect by the id of its record.
pub const EDITS: &[(&str, Target, Edit)] = &[
    // What blocks hold.
    ("nibbles-swapped", Target::Artifact, blocks::nibbles_swapped),
    ("nibbles-interleaved", Target::Artifact, blocks::nibbles_interleaved),
    ("nibbles-shifted", Target::Artifact, blocks::nibbles_shifted),
    ("block-scale-zeroed", Target::Artifact, blocks::scale_zeroed),
    ("block-of-another-tensor", Target::Artifact, blocks::foreign_block),
    ("block-rows-dead", Target::Artifact, blocks::rows_dead),
    ("scales-grown", Target::Artifact, blocks::scales_grown),
    ("apr-q8-labelled-q8-0", Target::Artifact, blocks::apr_q8_labelled),
    ("scale-minimum-swapped", Target::Artifact, blocks::scale_minimum_swapped),
    ("six-bits-unpacked-wrong", Target::Artifact, blocks::six_bits_cut),
    ("bf16-read-as-f16", Target::Artifact, blocks::bf16_as_f16),
    // Where rows lie.
    ("qk-permutation-missing", Target::Artifact, blocks::permutation_missing),
    ("qk-permutation-doubled", Target::Artifact, blocks::permutation_doubled),
    ("data-transposed", Target::Artifact, blocks::data_transposed),
    // What the header says.
    ("metadata-of-another-model", Target::Artifact, header::foreign_metadata),
    ("eps-under-another-key", Target::Artifact, header::foreign_eps),
    ("freq-base-of-another-model", Target::Artifact, header::foreign_freq_base),
    ("eps-of-another-model", Target::Artifact, header::eps_of_another),
    ("rare-tokens-exchanged", Target::Artifact, header::rare_tokens_exchanged),
    ("chat-template-added", Target::Artifact, header::template_added),
    ("eos-of-another-token", Target::Artifact, header::foreign_eos),
    ("source-hash-altered", Target::Artifact, header::source_altered),
    ("tokenizer-scores-lost", Target::Artifact, header::scores_lost),
    ("dimensions-reversed", Target::Artifact, header::dimensions_reversed),
    ("last-tensor-truncated", Target::Artifact, header::truncated),
    ("alignment-ignored", Target::Artifact, header::misaligned),
    ("head-dropped", Target::Artifact, header::head_dropped),
    ("version-unknown", Target::Artifact, header::version_unknown),
    ("magic-of-nobody", Target::Artifact, header::magic_of_nobody),
    ("apr-checksum-stale", Target::Artifact, header::checksum_stale),
    // What is made from it.
    ("round-trip-loses-a-row", Target::Peer(|| Peer::RoundTrip), blocks::last_row_lost),
    ("second-quantization-differs", Target::Peer(|| Peer::Requantized), blocks::last_row_lost),
    ("rewriting-loses-a-row", Target::Peer(|| Peer::Rewritten), blocks::last_row_lost),
    ("converter-not-deterministic", Target::Peer(|| Peer::Again), blocks::last_row_lost),
];

impl Surgery {
    /// The tensor whose Hugging Face name ends so.
    pub fn stored(&self, end: &str) -> Result<Stored, String> {
        let found = self.container.tensors.iter().find(|stored| stored.hf_name.as_ref().is_some_and(|name| name.ends_with(end)));
        found.cloned().ok_or_else(|| format!("no tensor is called `...{end}`"))
    }

    /// The bytes of a tensor.
    pub fn data(&mut self, stored: &Stored) -> Result<&mut [u8], String> {
        let begin = usize::try_from(stored.offset).map_err(|error| error.to_string())?;
        let end = begin + usize::try_from(stored.bytes).map_err(|error| error.to_string())?;
        self.bytes.get_mut(begin..end).ok_or_else(|| format!("`{}` is not in the file", stored.name))
    }

    /// The bytes of a tensor in blocks of a type that it must have.
    pub fn blocks(&mut self, stored: &Stored, dtype: &str, bytes: usize) -> Result<std::slice::ChunksExactMut<'_, u8>, String> {
        if stored.dtype != dtype {
            return Err(format!("`{}` is {}, {dtype} is due", stored.name, stored.dtype));
        }
        Ok(self.data(stored)?.chunks_exact_mut(bytes))
    }

    /// Where these bytes stand first.
    pub fn find(&self, bytes: &[u8]) -> Result<usize, String> {
        let found = self.bytes.windows(bytes.len()).position(|window| window == bytes);
        found.ok_or_else(|| format!("{:?} is not in the file", String::from_utf8_lossy(bytes)))
    }

    /// Puts other bytes of the same length in the place of the first of these.
    pub fn replace(&mut self, from: &[u8], to: &[u8]) -> Result<(), String> {
        let at = self.find(from)?;
        self.bytes[at..at + to.len()].copy_from_slice(to);
        Ok(())
    }

    /// Writes the checksums of APR anew.
    pub fn seal(&mut self) {
        const FOOTER: usize = 4;
        if !self.bytes.starts_with(b"APR\0") || self.bytes.len() < 64 + FOOTER {
            return;
        }
        let header = crc32(self.bytes[..40].iter().chain(&self.bytes[44..64]).copied());
        self.bytes[40..44].copy_from_slice(&header.to_le_bytes());
        let end = self.bytes.len() - FOOTER;
        let footer = crc32(self.bytes[..end].iter().copied());
        self.bytes[end..].copy_from_slice(&footer.to_le_bytes());
    }
}

/// CRC-32 of zlib, a bit at a time.
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_zlibs() {
        assert_eq!(crc32(b"123456789".iter().copied()), 0xCBF4_3926);
    }
}
