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

/// The epsilon of another model's norms.
pub(super) fn eps_of_another(surgery: &mut Surgery) -> Result {
    set(surgery, "llama.attention.layer_norm_rms_epsilon", 1e-6_f32.to_le_bytes())
}

/// Two tokens of one length, which no text of the golden has, stand in each other's place.
pub(super) fn rare_tokens_exchanged(surgery: &mut Surgery) -> Result {
    let string = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let (a, b) = (string("\u{2581}bear"), string("\u{2581}blue"));
    let (at, other) = (surgery.find(&a)?, surgery.find(&b)?);
    for (at, bytes) in [(at, b), (other, a)] {
        surgery.bytes.get_mut(at..at + bytes.len()).ok_or("the file ends in a token")?.copy_from_slice(&bytes);
    }
    Ok(())
}

/// A chat template that the model does not have: ChatML. Its entry is a multiple of the alignment, so that the tensors lie as they lay.
pub(super) fn template_added(surgery: &mut Surgery) -> Result {
    const COUNT: std::ops::Range<usize> = 16..24;
    const TEXT: u32 = 8;
    const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}";
    let key = "tokenizer.chat_template";
    let head = 8 + key.len() + 4 + 8;
    let alignment = usize::try_from(surgery.container.alignment).map_err(|error| error.to_string())?;
    let padding = (head + CHATML.len() + 4).next_multiple_of(alignment) - head - CHATML.len() - 4;
    let text = format!("{CHATML}{{#{}#}}", " ".repeat(padding));
    let mut entry = [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &TEXT.to_le_bytes()].concat();
    entry.extend((text.len() as u64).to_le_bytes());
    entry.extend(text.as_bytes());
    let count = surgery.bytes.get(COUNT).and_then(|bytes| bytes.first_chunk::<8>()).map(|bytes| u64::from_le_bytes(*bytes));
    let count = count.ok_or("a short file")? + 1;
    surgery.bytes.get_mut(COUNT).ok_or("a short file")?.copy_from_slice(&count.to_le_bytes());
    surgery.bytes.splice(COUNT.end..COUNT.end, entry);
    Ok(())
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
