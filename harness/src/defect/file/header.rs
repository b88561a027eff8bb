//! Faults in what a header says.

use super::Surgery;

type Result = std::result::Result<(), String>;

/// Where the value of a GGUF key begins: behind its name and the number of its type.
fn value_of(surgery: &Surgery, key: &str) -> std::result::Result<usize, String> {
    let name = [&(key.len() as u64).to_le_bytes()[..], key.as_bytes()].concat();
    Ok(surgery.find(&name)? + name.len() + 4)
}

/// The context of another model.
pub(super) fn foreign_metadata(surgery: &mut Surgery) -> Result {
    set(surgery, "llama.context_length", 4096_u32.to_le_bytes())
}

/// Writes four bytes where the value of a key of four bytes stands.
fn set(surgery: &mut Surgery, key: &str, bytes: [u8; 4]) -> Result {
    let at = value_of(surgery, key)?;
    surgery.bytes.get_mut(at..at + 4).ok_or("the file ends in the key")?.copy_from_slice(&bytes);
    Ok(())
}

/// The base of the rotary embeddings of another model.
pub(super) fn foreign_freq_base(surgery: &mut Surgery) -> Result {
    set(surgery, "llama.rope.freq_base", 500_000.0_f32.to_le_bytes())
}

/// The token that begins a text is the one that ends it.
pub(super) fn foreign_eos(surgery: &mut Surgery) -> Result {
    set(surgery, "tokenizer.ggml.eos_token_id", 1_u32.to_le_bytes())
}

/// The epsilon of the norms stands under a key that nobody reads.
pub(super) fn foreign_eps(surgery: &mut Surgery) -> Result {
    surgery.replace(b"llama.attention.layer_norm_rms_epsilon", b"llama.attention.layer_norm_rms_epsylon")
}

/// The hash of the weights that it was made from is another's.
pub(super) fn source_altered(surgery: &mut Surgery) -> Result {
    let source = surgery.container.source.iter().find(|(name, _)| name.contains("safetensors")).cloned();
    let (_, hash) = source.ok_or("it names no weights")?;
    let other: String = hash.chars().rev().collect();
    surgery.replace(hash.as_bytes(), other.as_bytes())
}

/// The scores of the tokens are all zero.
pub(super) fn scores_lost(surgery: &mut Surgery) -> Result {
    // An array: the type of its elements (u32), how many (u64), the elements.
    let at = value_of(surgery, "tokenizer.ggml.scores")?;
    let n = surgery.bytes.get(at + 4..at + 12).and_then(|bytes| bytes.first_chunk::<8>()).map(|bytes| u64::from_le_bytes(*bytes));
    let n = n.and_then(|n| usize::try_from(n).ok()).ok_or("the file ends in the key")?;
    surgery.bytes.get_mut(at + 12..at + 12 + 4 * n).ok_or("the file ends in the scores")?.fill(0);
    Ok(())
}

/// Where the entry of a tensor goes on behind its name.
fn entry_of(surgery: &Surgery, end: &str) -> std::result::Result<usize, String> {
    let name = surgery.stored(end)?.name;
    let entry = [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
    Ok(surgery.find(&entry)? + entry.len())
}

/// The dimensions of a matrix that is not square stand the other way round.
pub(super) fn dimensions_reversed(surgery: &mut Surgery) -> Result {
    let at = entry_of(surgery, "layers.0.mlp.up_proj.weight")? + 4;
    surgery.bytes.get_mut(at..at + 16).ok_or("the file ends in the entry")?.rotate_left(8);
    Ok(())
}

/// The file ends within its last tensor.
pub(super) fn truncated(surgery: &mut Surgery) -> Result {
    let end = surgery.container.tensors.iter().map(|stored| stored.offset + stored.bytes).max().ok_or("no tensors")?;
    surgery.bytes.truncate(usize::try_from(end).map_err(|error| error.to_string())? - 100);
    Ok(())
}

/// One tensor begins where it ends in fact, not where the alignment says.
pub(super) fn misaligned(surgery: &mut Surgery) -> Result {
    let at = entry_of(surgery, "layers.0.mlp.up_proj.weight")? + 4 + 16 + 4;
    surgery.bytes.get_mut(at..).and_then(|bytes| bytes.first_mut()).map(|byte| *byte ^= 4).ok_or("the file ends in the entry".to_owned())
}

/// The head of a model that has its own is not there.
pub(super) fn head_dropped(surgery: &mut Surgery) -> Result {
    let name = [&13u64.to_le_bytes()[..], b"output.weight"].concat();
    let other = [&13u64.to_le_bytes()[..], b"outlet.weight"].concat();
    surgery.replace(&name, &other)
}

/// A version that does not exist.
pub(super) fn version_unknown(surgery: &mut Surgery) -> Result {
    surgery.bytes.get_mut(4..8).ok_or("a short file")?.copy_from_slice(&9u32.to_le_bytes());
    Ok(())
}

/// The magic of a seed document, which no tool writes.
pub(super) fn magic_of_nobody(surgery: &mut Surgery) -> Result {
    surgery.bytes.get_mut(..4).ok_or("a short file")?.copy_from_slice(b"APR!");
    Ok(())
}

/// A byte of a tensor has changed since the checksum was taken.
pub(super) fn checksum_stale(surgery: &mut Surgery) -> Result {
    let middle = surgery.bytes.len() / 2;
    surgery.bytes[middle] ^= 1;
    surgery.container.format.clear();
    Ok(())
}
