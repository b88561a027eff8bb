//! `<prompt>.safetensors`: all logits in float32 and float64, and the stage sketches of both runs.

use std::collections::BTreeSet;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{GoldenError, MAX_FULL_BYTES};

/// Numbers in the sketch of one stage: rms, mean, four projections.
pub const SKETCH_WIDTH: usize = 6;

/// The sketches of one run of the forward pass, in float32 and in float64; one row for each stage.
#[derive(Debug, Clone, PartialEq)]
pub struct SketchPair {
    /// The oracle in float32.
    pub f32: Vec<[f64; SKETCH_WIDTH]>,
    /// The oracle in float64: what an engine is measured against.
    pub f64: Vec<[f64; SKETCH_WIDTH]>,
}

/// A full golden.
#[derive(Debug, Clone, PartialEq)]
pub struct Full {
    /// The positions whose logits are stored, ascending.
    pub positions: Vec<usize>,
    /// Number of columns.
    pub vocab: usize,
    /// Logits of the float32 run, `(positions, vocab)`.
    pub logits_f32: Vec<f32>,
    /// Logits of the float64 run, `(positions, vocab)`.
    pub logits_f64: Vec<f64>,
    /// Names of the stages, one for each row of a sketch.
    pub stages: Vec<String>,
    /// At the last prompt position, one prefill.
    pub prefill: SketchPair,
    /// At the first greedy token, fed as one decode step after the prompt.
    pub decode: SketchPair,
}

impl Full {
    /// The tensors that the file has, no more and no fewer.
    pub const TENSORS: [&'static str; 7] =
        ["positions", "logits.f32", "logits.f64", "sketch.prefill.f32", "sketch.prefill.f64", "sketch.decode.f32", "sketch.decode.f64"];

    /// Reads `<prompt>.safetensors`. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where a tensor is missing, is one too many, has the wrong type or shape, or holds a value that is not finite.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        if bytes.len() > MAX_FULL_BYTES {
            return Err(GoldenError::TooLarge { file: file.to_owned(), bytes: bytes.len(), cap: MAX_FULL_BYTES });
        }
        let reader = Reader::open(bytes, file)?;
        let positions = reader.positions()?;
        let (_, vocab) = reader.matrix("logits.f64", Dtype::F64)?.1;
        let logits = (positions.len(), vocab);
        let stages = reader.stages()?;
        let pair = |run: &str| -> Result<SketchPair, GoldenError> {
            Ok(SketchPair {
                f32: reader.sketch(&format!("sketch.{run}.f32"), stages.len())?,
                f64: reader.sketch(&format!("sketch.{run}.f64"), stages.len())?,
            })
        };
        Ok(Full {
            vocab,
            logits_f32: reader.f32("logits.f32", logits)?,
            logits_f64: reader.f64("logits.f64", logits)?,
            prefill: pair("prefill")?,
            decode: pair("decode")?,
            positions,
            stages,
        })
    }
}

struct Reader<'a> {
    file: &'a str,
    bytes: &'a [u8],
    tensors: SafeTensors<'a>,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8], file: &'a str) -> Result<Self, GoldenError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| GoldenError::Tensor {
            file: file.to_owned(),
            tensor: "$".to_owned(),
            reason: error.to_string(),
        })?;
        let reader = Reader { file, bytes, tensors };
        let found: BTreeSet<&str> = reader.tensors.names().into_iter().collect();
        let due: BTreeSet<&str> = Full::TENSORS.into_iter().collect();
        if let Some(name) = due.difference(&found).next() {
            return Err(reader.wrong(name, "is missing"));
        }
        if let Some(name) = found.difference(&due).next() {
            return Err(reader.wrong(&name.escape_debug().to_string(), "is unknown"));
        }
        Ok(reader)
    }

    fn wrong(&self, tensor: &str, reason: impl Into<String>) -> GoldenError {
        GoldenError::Tensor { file: self.file.to_owned(), tensor: tensor.to_owned(), reason: reason.into() }
    }

    fn view(&self, name: &str, dtype: Dtype) -> Result<TensorView<'a>, GoldenError> {
        let view = self.tensors.tensor(name).map_err(|error| self.wrong(name, error.to_string()))?;
        if view.dtype() != dtype {
            return Err(self.wrong(name, format!("has dtype {:?}, must be {dtype:?}", view.dtype())));
        }
        Ok(view)
    }

    /// The bytes of a matrix and its shape; neither side is zero.
    fn matrix(&self, name: &str, dtype: Dtype) -> Result<(&'a [u8], (usize, usize)), GoldenError> {
        let view = self.view(name, dtype)?;
        match *view.shape() {
            [rows, columns] if rows > 0 && columns > 0 => Ok((view.data(), (rows, columns))),
            _ => Err(self.wrong(name, format!("has shape {:?}, must be a matrix with rows and columns", view.shape()))),
        }
    }

    fn shaped(&self, name: &str, dtype: Dtype, shape: (usize, usize)) -> Result<&'a [u8], GoldenError> {
        let (bytes, found) = self.matrix(name, dtype)?;
        if found != shape {
            return Err(self.wrong(name, format!("has shape {found:?}, must be {shape:?}")));
        }
        Ok(bytes)
    }

    fn f32(&self, name: &str, shape: (usize, usize)) -> Result<Vec<f32>, GoldenError> {
        let bytes = self.shaped(name, Dtype::F32, shape)?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.not_finite(name, at, f64::from(values[at]), shape.1)),
            None => Ok(values),
        }
    }

    fn f64(&self, name: &str, shape: (usize, usize)) -> Result<Vec<f64>, GoldenError> {
        let bytes = self.shaped(name, Dtype::F64, shape)?;
        let values: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.not_finite(name, at, values[at], shape.1)),
            None => Ok(values),
        }
    }

    fn not_finite(&self, name: &str, at: usize, value: f64, columns: usize) -> GoldenError {
        self.wrong(name, format!("is {value} at row {}, column {}; the oracle writes finite numbers only", at / columns, at % columns))
    }

    fn positions(&self) -> Result<Vec<usize>, GoldenError> {
        let view = self.view("positions", Dtype::I64)?;
        let chunks = view.data().as_chunks::<8>().0;
        let mut positions = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let value = i64::from_le_bytes(*chunk);
            let position =
                usize::try_from(value).map_err(|_| self.wrong("positions", format!("holds {value}, a position is not negative")))?;
            if positions.last().is_some_and(|&last| position <= last) {
                return Err(self.wrong("positions", format!("holds {position} after {}, must ascend", positions[positions.len() - 1])));
            }
            positions.push(position);
        }
        if positions.is_empty() {
            return Err(self.wrong("positions", "is empty: there is nothing to compare"));
        }
        Ok(positions)
    }

    /// The stage names, a JSON list under `stages` in the file's metadata.
    fn stages(&self) -> Result<Vec<String>, GoldenError> {
        let (_, metadata) = SafeTensors::read_metadata(self.bytes).map_err(|error| self.wrong("__metadata__", error.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get("stages"));
        let text = text.ok_or_else(|| self.wrong("__metadata__", "has no `stages`"))?;
        serde_json::from_str(text).map_err(|error| self.wrong("__metadata__", format!("`stages` is not a list of names: {error}")))
    }

    fn sketch(&self, name: &str, stages: usize) -> Result<Vec<[f64; SKETCH_WIDTH]>, GoldenError> {
        let values = self.f64(name, (stages, SKETCH_WIDTH))?;
        Ok(values.as_chunks::<SKETCH_WIDTH>().0.to_vec())
    }
}
