//! Faults in what tensors hold.

use super::Surgery;

type Result = std::result::Result<(), String>;

/// The matrix that faults go into, where any will do.
const MATRIX: &str = "layers.1.mlp.down_proj.weight";

/// High and low halves of each byte have changed places.
pub(super) fn nibbles_swapped(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    for block in surgery.blocks(&stored, "Q4_0", 18)? {
        block[2..].iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
    }
    Ok(())
}

/// Neighbours share a byte, as in APR's own type, where the halves of a block should.
pub(super) fn nibbles_interleaved(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    for block in surgery.blocks(&stored, "Q4_0", 18)? {
        let code = |i: usize| block[2 + i % 16] >> (4 * (i / 16)) & 15;
        let packed: Vec<u8> = (0..16).map(|i| code(2 * i) | code(2 * i + 1) << 4).collect();
        block[2..].copy_from_slice(&packed);
    }
    Ok(())
}

/// Codes are stored without the offset of the type, as one with a minimum has them.
pub(super) fn nibbles_shifted(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    for block in surgery.blocks(&stored, "Q4_0", 18)? {
        block[2..].iter_mut().for_each(|byte| *byte ^= 0x88);
    }
    Ok(())
}

/// One block has the scale zero.
pub(super) fn scale_zeroed(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    let bytes = if stored.dtype == "Q8_0" { 34 } else { 18 };
    let dtype = stored.dtype.clone();
    let last = surgery.blocks(&stored, &dtype, bytes)?.next_back();
    last.ok_or("no block")?[..2].fill(0);
    Ok(())
}

/// One block is that of another tensor.
pub(super) fn foreign_block(surgery: &mut Surgery) -> Result {
    let (stored, other) = (surgery.stored(MATRIX)?, surgery.stored("layers.0.mlp.gate_proj.weight")?);
    let bytes = if stored.dtype == "Q8_0" { 34 } else { 18 };
    let foreign = surgery.data(&other)?.chunks_exact(bytes).next().ok_or("no block")?.to_vec();
    let dtype = stored.dtype.clone();
    surgery.blocks(&stored, &dtype, bytes)?.next_back().ok_or("no block")?.copy_from_slice(&foreign);
    Ok(())
}

/// The scales of one row are zero.
pub(super) fn rows_dead(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    let row = stored.shape.last().copied().unwrap_or(0);
    let bytes = if stored.dtype == "Q8_0" { 34 } else { 18 };
    let dtype = stored.dtype.clone();
    surgery.blocks(&stored, &dtype, bytes)?.rev().take(row / 32).for_each(|block| block[..2].fill(0));
    Ok(())
}

/// The scales of one matrix are a tenth too large, all else is right.
pub(super) fn scales_grown(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    let bytes = if stored.dtype == "Q8_0" { 34 } else { 18 };
    let dtype = stored.dtype.clone();
    for block in surgery.blocks(&stored, &dtype, bytes)? {
        let scale = u16::from_le_bytes([block[0], block[1]]);
        // A tenth of the significand of a normal number; one that overflows goes to the next power of two.
        let grown = scale + (1024 + (scale & 1023)) / 10;
        block[..2].copy_from_slice(&grown.to_le_bytes());
    }
    Ok(())
}

/// The bytes are those of APR's 8-bit type, one scale and then the codes, and the label says Q8_0.
pub(super) fn apr_q8_labelled(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    let codes: Vec<u8> = surgery.blocks(&stored, "Q8_0", 34)?.flat_map(|block| block[2..].to_vec()).collect();
    let data = surgery.data(&stored)?;
    data[..4].copy_from_slice(&0.001f32.to_le_bytes());
    let end = (4 + codes.len()).min(data.len());
    data[4..end].copy_from_slice(&codes[..end - 4]);
    Ok(())
}

/// The scale of each block is read as its minimum's, and the other way round.
pub(super) fn scale_minimum_swapped(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored("layers.0.mlp.gate_proj.weight")?;
    for block in surgery.blocks(&stored, "Q4_K", 144)? {
        block[..4].rotate_left(2);
    }
    Ok(())
}

/// The two high bits of the last four scales and minima are not put in their place.
pub(super) fn six_bits_cut(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored("layers.0.mlp.gate_proj.weight")?;
    for block in surgery.blocks(&stored, "Q4_K", 144)? {
        block[4..12].iter_mut().for_each(|byte| *byte &= 63);
    }
    Ok(())
}

/// The 16 bits of one matrix are those of the other 16-bit float.
pub(super) fn bf16_as_f16(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    for half in surgery.blocks(&stored, "F16", 2)? {
        // A half's value, cut to bf16's significand, in bf16's bits.
        let bits = u16::from_le_bytes([half[0], half[1]]);
        let (sign, exponent, fraction) = (bits & 0x8000, bits >> 10 & 31, bits & 1023);
        let wide = if exponent == 0 { sign } else { sign | (exponent + 112) << 7 | fraction >> 3 };
        half.copy_from_slice(&wide.to_le_bytes());
    }
    Ok(())
}

/// Puts the rows of a matrix into another order: row `i` comes from `from(i)`.
fn reorder(surgery: &mut Surgery, name: &str, from: impl Fn(usize) -> usize) -> Result {
    let stored = surgery.stored(name)?;
    let rows = stored.shape.first().copied().filter(|rows| *rows > 0).ok_or("no rows")?;
    let data = surgery.data(&stored)?;
    let width = data.len() / rows;
    let before = data.to_vec();
    for row in 0..rows {
        let source = from(row);
        data[row * width..][..width].copy_from_slice(&before[source * width..][..width]);
    }
    Ok(())
}

const HEAD: usize = 64;

/// Rows of queries and keys lie as Hugging Face has them, not paired.
pub(super) fn permutation_missing(surgery: &mut Surgery) -> Result {
    for layer in 0..2 {
        for name in ["q_proj", "k_proj"] {
            // Row i of the first half lies at 2 i, row i of the second at 2 i + 1: taken back to i.
            let paired = |row: usize| {
                let (head, i) = (row / HEAD * HEAD, row % HEAD);
                head + if i < HEAD / 2 { 2 * i } else { 2 * (i - HEAD / 2) + 1 }
            };
            reorder(surgery, &format!("layers.{layer}.self_attn.{name}.weight"), paired)?;
        }
    }
    Ok(())
}

/// Rows of queries and keys are paired twice.
pub(super) fn permutation_doubled(surgery: &mut Surgery) -> Result {
    for layer in 0..2 {
        for name in ["q_proj", "k_proj"] {
            let unpaired = |row: usize| {
                let (head, i) = (row / HEAD * HEAD, row % HEAD);
                head + i / 2 + if i % 2 == 1 { HEAD / 2 } else { 0 }
            };
            reorder(surgery, &format!("layers.{layer}.self_attn.{name}.weight"), unpaired)?;
        }
    }
    Ok(())
}

/// A square matrix lies transposed, which no shape tells.
pub(super) fn data_transposed(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored("layers.1.self_attn.o_proj.weight")?;
    let n = stored.shape.first().copied().unwrap_or(0);
    if stored.dtype != "F32" || stored.shape != [n, n] {
        return Err(format!("{} {:?}, a square F32 matrix is due", stored.dtype, stored.shape));
    }
    let data = surgery.data(&stored)?;
    let before = data.to_vec();
    for (k, value) in data.chunks_exact_mut(4).enumerate() {
        value.copy_from_slice(&before[4 * (k % n * n + k / n)..][..4]);
    }
    Ok(())
}

/// The last row of a matrix is zero bytes.
pub(super) fn last_row_lost(surgery: &mut Surgery) -> Result {
    let stored = surgery.stored(MATRIX)?;
    let rows = stored.shape.first().copied().unwrap_or(1).max(1);
    let data = surgery.data(&stored)?;
    let row = data.len() / rows;
    let begin = data.len() - row;
    data[begin..].fill(0);
    Ok(())
}
