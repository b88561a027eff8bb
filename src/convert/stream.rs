//! A tensor on its way from one file to another: read in pieces, put into the order and the type that are due, written.
//!
//! | the type | the order | what is done |
//! |---|---|---|
//! | stays | stays | bytes are copied |
//! | stays | rows move | rows of bytes are copied: a row is whole blocks |
//! | Q4_0 and AprQ4, rows of whole blocks | stays or rows move | nibbles change places, scales stay: both hold the same numbers |
//! | otherwise | any | widened to f32 (exact), put in order, quantized |
//!
//! A piece is [`PIECE`] numbers however many threads there are, and each block depends on its own numbers alone: so the bytes are the same
//! everywhere, and the memory is that of some pieces whatever the tensor's size.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;

use super::source::Reader;
use crate::checkpoint::interleaved;
use crate::error::{ConvertError, Error, InFile, ModelError, Result};
use crate::quant::{Q8Scale, dequantize, quantize};
use crate::{Dtype, Escaped, Order, Tensor};
use std::path::Path;

/// Numbers that are widened at once: a whole number of blocks of every type, 4 MiB.
const PIECE: usize = 1 << 20;

/// Numbers that one thread quantizes at once.
const SHARE: usize = 1 << 14;

/// A tensor to write.
pub(super) struct Job<'a> {
    /// Its name in the source, for messages.
    pub(super) name: &'a str,
    /// What is read.
    pub(super) reader: Reader<'a>,
    /// The tensor in the source.
    pub(super) tensor: &'a Tensor,
    /// The type that is due.
    pub(super) dtype: Dtype,
    /// The order that is due.
    pub(super) order: Order,
    /// Whether no value may change.
    pub(super) exact: bool,
    /// The source, for messages.
    pub(super) file: &'a Path,
}

/// What became of the values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Losses {
    /// Numbers that were not 0 and are now, of a scalar type or where a scale was too small for AprQ4.
    pub(super) zeroed: u64,
}

type Emit<'e> = dyn FnMut(&[u8]) -> Result<()> + 'e;

/// What is done with a tensor's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Bytes, or rows of them, are copied.
    Copy,
    /// Blocks of Q4_0 and AprQ4 are turned into each other.
    Repack,
    /// Values are widened and quantized.
    Values,
}

/// What would be done with a tensor.
pub(super) fn way(tensor: &Tensor, dtype: Dtype, order: Order) -> Way {
    let turned = |order| order == Order::Transposed;
    let moves_rows = tensor.order() != order;
    let is_turned = turned(tensor.order()) != turned(order);
    if is_turned {
        return Way::Values;
    }
    // A matrix of one row, or a vector whose elements move, may have rows that are no whole blocks.
    let is_whole = Rows::of(tensor, order).width.is_multiple_of(tensor.dtype().block().0);
    let rows_are_whole = stored_shape(tensor).last().is_some_and(|row| row.is_multiple_of(32));
    match (tensor.dtype(), dtype) {
        (from, to) if from == to && (is_whole || !moves_rows) => Way::Copy,
        (Dtype::Q4_0, Dtype::AprQ4) | (Dtype::AprQ4, Dtype::Q4_0) if is_whole && rows_are_whole => Way::Repack,
        _ => Way::Values,
    }
}

/// The shape as the bytes lie, slowest first.
fn stored_shape(tensor: &Tensor) -> Vec<usize> {
    let mut shape = tensor.shape().to_vec();
    if tensor.order() == Order::Transposed {
        shape.reverse();
    }
    shape
}

/// Where the rows of the destination lie in the source.
struct Rows {
    n: usize,
    width: usize,
    from: Order,
    to: Order,
}

impl Rows {
    fn of(tensor: &Tensor, to: Order) -> Rows {
        let shape = stored_shape(tensor);
        let n = if shape.len() < 2 && matches!((tensor.order(), to), (Order::RowMajor, Order::RowMajor)) {
            1
        } else {
            shape.first().copied().unwrap_or(1)
        };
        let elements: usize = shape.iter().product();
        Rows { n, width: elements.checked_div(n).unwrap_or(0), from: tensor.order(), to }
    }

    /// The row of the source that becomes row `row` of the destination.
    fn source(&self, row: usize) -> usize {
        let logical = match self.to {
            Order::InterleavedHeads(heads) => straight(row, self.n / heads),
            _ => row,
        };
        match self.from {
            Order::InterleavedHeads(heads) => interleaved(logical, self.n / heads),
            _ => logical,
        }
    }
}

/// The row that [`interleaved`] puts at `row`.
fn straight(row: usize, head_dim: usize) -> usize {
    let (head, i) = (row / head_dim, row % head_dim);
    head * head_dim + if i.is_multiple_of(2) { i / 2 } else { i / 2 + head_dim / 2 }
}

impl Job<'_> {
    /// Writes the tensor: `emit` takes its bytes in file order.
    ///
    /// # Errors
    /// A value that is not finite or overflows, by tensor and element; a source that cannot be read; whatever `emit` says.
    pub(super) fn run(&self, emit: &mut Emit) -> Result<Losses> {
        let mut losses = Losses::default();
        match way(self.tensor, self.dtype, self.order) {
            Way::Copy if self.tensor.order() == self.order => self.copy(emit)?,
            Way::Copy => {
                let header = if self.dtype == Dtype::AprQ8 { 4 } else { 0 };
                emit(&self.reader.bytes(0..header)?)?;
                self.rows(header, &mut |bytes| emit(bytes))?;
            }
            Way::Repack => self.rows(0, &mut |bytes| {
                losses.zeroed += repack(self.reader.dtype(), bytes);
                if self.exact && losses.zeroed > 0 {
                    let (tensor, shape) = (self.name.to_owned(), self.tensor.shape().to_vec());
                    return Err(ConvertError::CannotTravel { tensor, dtype: Dtype::Q4_0, shape, format: "apr" }).in_file(self.file);
                }
                emit(bytes)
            })?,
            Way::Values => losses = self.quantized(emit)?,
        }
        Ok(losses)
    }

    fn copy(&self, emit: &mut Emit) -> Result<()> {
        let end = self.tensor.n_bytes();
        (0..end).step_by(4 * PIECE).try_for_each(|begin| emit(&self.reader.bytes(begin..end.min(begin + 4 * PIECE))?))
    }

    /// Rows of bytes, which begin at `header`, in the order that is due.
    fn rows(&self, header: usize, emit: &mut dyn FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        let rows = Rows::of(self.tensor, self.order);
        let (block, block_bytes) = self.dtype.block();
        let width = rows.width / block * block_bytes;
        for row in 0..rows.n {
            let begin = header + rows.source(row) * width;
            for begin in (begin..begin + width).step_by(4 * PIECE) {
                let end = (header + (rows.source(row) + 1) * width).min(begin + 4 * PIECE);
                emit(&mut self.reader.bytes(begin..end)?)?;
            }
        }
        Ok(())
    }

    fn quantized(&self, emit: &mut Emit) -> Result<Losses> {
        if self.dtype == Dtype::AprQ8 {
            return self.apr_q8(emit);
        }
        let mut losses = Losses::default();
        self.values(&mut |first, values| {
            self.are_finite(first, values)?;
            let shares = values.par_chunks(SHARE).enumerate().map(|(i, share)| self.share(first + i * SHARE, share));
            for share in shares.collect::<Vec<_>>() {
                let (bytes, zeroed) = share?;
                losses.zeroed += zeroed;
                emit(&bytes)?;
            }
            Ok(())
        })?;
        Ok(losses)
    }

    /// One scale for the whole tensor: it is read once for the largest magnitude, once for the scale, once for the codes.
    fn apr_q8(&self, emit: &mut Emit) -> Result<Losses> {
        let mut largest = 0f32;
        self.values(&mut |first, values| {
            self.are_finite(first, values)?;
            largest = values.iter().fold(largest, |m, v| if v.abs() > m { v.abs() } else { m });
            Ok(())
        })?;
        let mut scale = Q8Scale::new(largest);
        self.values(&mut |_, values| {
            scale.look(values);
            Ok(())
        })?;
        emit(&scale.scale().to_le_bytes())?;
        self.values(&mut |_, values| {
            values.par_chunks(SHARE).map(|share| scale.codes(share)).collect::<Vec<_>>().iter().try_for_each(|codes| emit(codes))
        })?;
        Ok(Losses::default())
    }

    /// The bytes of some values, and how many of them became 0.
    fn share(&self, first: usize, values: &[f32]) -> Result<(Vec<u8>, u64)> {
        let bytes = self.quantize(values)?;
        let zeroed = self.still_finite(first, values, &bytes)?;
        Ok((bytes, zeroed))
    }

    fn quantize(&self, values: &[f32]) -> Result<Vec<u8>> {
        let odd = || {
            let what = format!("tensor `{}`: {} numbers are no whole blocks of {}", Escaped(self.name), values.len(), self.dtype);
            ConvertError::Disagrees { what }
        };
        quantize(self.dtype, values, values.len()).ok_or_else(odd).in_file(self.file)
    }

    fn are_finite(&self, first: usize, values: &[f32]) -> Result<()> {
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(()),
            Some(i) => {
                let (tensor, index, n_elements) = (self.name.to_owned(), first + i, self.tensor.n_elements());
                let source = ModelError::NotFinite { tensor, index, n_elements, value: values[i] };
                Err(Error::Model { file: Some(self.file.to_owned()), source })
            }
        }
    }

    /// Decodes what was quantized: every value is still finite. Answers how many of a scalar type became 0.
    fn still_finite(&self, first: usize, values: &[f32], bytes: &[u8]) -> Result<u64> {
        if self.dtype == Dtype::F32 {
            return Ok(0);
        }
        let mut decoded = vec![0f32; values.len()];
        dequantize(self.dtype, bytes, &mut decoded);
        if let Some(i) = decoded.iter().position(|v| !v.is_finite()) {
            // In a block it is the scale that overflows, so the largest value of the block is to blame.
            let block = self.dtype.block().0;
            let blamed = i / block * block..values.len().min((i / block + 1) * block);
            let index = blamed.fold(i, |m, i| if values[i].abs() > values[m].abs() { i } else { m });
            let (tensor, dtype) = (self.name.to_owned(), self.dtype);
            return Err(ConvertError::Overflow { tensor, index: first + index, value: values[index], dtype }).in_file(self.file);
        }
        let became_zero = (0..values.len()).filter(|i| values[*i] != 0.0 && decoded[*i] == 0.0).count() as u64;
        Ok(if self.dtype.is_scalar() { became_zero } else { 0 })
    }

    /// The values in the order that is due, in pieces of whole blocks: `take` is told the first element's place.
    #[expect(clippy::too_many_lines, reason = "an arm for each way in which values come, all of them here")]
    fn values(&self, take: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let mut pending: Vec<f32> = Vec::new();
        let mut first = 0;
        let mut push = |pending: &mut Vec<f32>, is_last: bool| -> Result<()> {
            let n = if is_last { pending.len() } else { pending.len() / PIECE * PIECE };
            for piece in pending[..n].chunks(PIECE) {
                take(first, piece)?;
                first += piece.len();
            }
            pending.drain(..n);
            Ok(())
        };
        let shape = stored_shape(self.tensor);
        let is_turned = (self.tensor.order() == Order::Transposed) != (self.order == Order::Transposed);
        let moves_heads = |order| matches!(order, Order::InterleavedHeads(_));
        if is_turned && (moves_heads(self.tensor.order()) || moves_heads(self.order)) {
            // No container does both to one matrix, so it is done whole.
            let logical = self.tensor.to_f32();
            let (n, m) = (self.tensor.shape()[0], self.tensor.shape()[1]);
            pending.extend((0..n * m).map(|i| match self.order {
                Order::Transposed => logical[i % n * m + i / n],
                Order::InterleavedHeads(heads) => logical[straight(i / m, n / heads) * m + i % m],
                Order::RowMajor => logical[i],
            }));
        } else if is_turned {
            let (n, m) = (shape[0], shape[1]);
            let columns = (4 * PIECE / n.max(1) / 256).max(1) * 256;
            for begin in (0..m).step_by(columns) {
                let end = m.min(begin + columns);
                let mut band = Vec::with_capacity(n * (end - begin));
                (0..n).try_for_each(|row| self.reader.values(row * m + begin..row * m + end, &mut band))?;
                for column in 0..end - begin {
                    pending.extend((0..n).map(|row| band[row * (end - begin) + column]));
                    push(&mut pending, false)?;
                }
            }
        } else if self.tensor.order() == self.order {
            let n = self.tensor.n_elements();
            for begin in (0..n).step_by(PIECE) {
                self.reader.values(begin..n.min(begin + PIECE), &mut pending)?;
                push(&mut pending, false)?;
            }
        } else {
            let rows = Rows::of(self.tensor, self.order);
            for row in 0..rows.n {
                let source = rows.source(row) * rows.width;
                for begin in (source..source + rows.width).step_by(PIECE) {
                    self.reader.values(begin..(source + rows.width).min(begin + PIECE), &mut pending)?;
                    push(&mut pending, false)?;
                }
            }
        }
        push(&mut pending, true)
    }
}

/// Turns blocks of Q4_0 into those of AprQ4, or back: number `i` lies in nibble `i` of the one, in nibble `i / 16` of byte `i % 16` of the
/// other. A scale that AprQ4 counts as 0 is made 0 on the way to Q4_0; on the way from it, answers how many numbers become 0 by that.
fn repack(from: Dtype, bytes: &mut [u8]) -> u64 {
    let mut zeroed = 0;
    for block in bytes.as_chunks_mut::<18>().0 {
        let nibbles: [u8; 16] = std::array::from_fn(|i| block[2 + i]);
        let magnitude = u16::from_le_bytes([block[0], block[1]]) & 0x7fff;
        let counts_as_zero = !(0x0400..0x7c00).contains(&magnitude) && magnitude != 0;
        if from == Dtype::AprQ4 {
            let number = |i: usize| nibbles[i / 2] >> (4 * (i % 2)) & 15;
            (0..16).for_each(|i| block[2 + i] = number(i) | number(i + 16) << 4);
            if counts_as_zero {
                block[..2].fill(0);
            }
        } else {
            let number = |i: usize| nibbles[i % 16] >> (4 * (i / 16)) & 15;
            (0..16).for_each(|i| block[2 + i] = number(2 * i) | number(2 * i + 1) << 4);
            if counts_as_zero {
                zeroed += (0..32).filter(|i| number(*i) != 8).count() as u64;
            }
        }
    }
    zeroed
}

#[cfg(test)]
mod tests;
