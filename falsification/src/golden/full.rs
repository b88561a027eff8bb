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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;

    type Parts = BTreeMap<&'static str, (Dtype, Vec<usize>, Vec<u8>)>;

    /// Three positions, two words, one stage.
    fn parts() -> Parts {
        let f32s = |n: usize| (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<u8>>();
        let f64s = |n: usize| (0..n).flat_map(|i| (i as f64).to_le_bytes()).collect::<Vec<u8>>();
        let positions = [1i64, 2, 5].iter().flat_map(|position| position.to_le_bytes()).collect();
        let mut parts = Parts::from([
            ("positions", (Dtype::I64, vec![3], positions)),
            ("logits.f32", (Dtype::F32, vec![3, 2], f32s(6))),
            ("logits.f64", (Dtype::F64, vec![3, 2], f64s(6))),
        ]);
        for name in ["sketch.prefill.f32", "sketch.prefill.f64", "sketch.decode.f32", "sketch.decode.f64"] {
            parts.insert(name, (Dtype::F64, vec![1, SKETCH_WIDTH], f64s(SKETCH_WIDTH)));
        }
        parts
    }

    fn parsed(parts: &Parts, stages: Option<&str>) -> Result<Full, GoldenError> {
        let views = parts.iter().map(|(name, (dtype, shape, bytes))| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        let metadata = stages.map(|stages| HashMap::from([("stages".to_owned(), stages.to_owned())]));
        Full::parse(&safetensors::serialize(views, metadata).unwrap(), "code.safetensors")
    }

    fn refused(change: impl FnOnce(&mut Parts)) -> (String, String) {
        let mut parts = parts();
        change(&mut parts);
        match parsed(&parts, Some("[\"embedding\"]")) {
            Err(GoldenError::Tensor { tensor, reason, .. }) => (tensor, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sound_file_is_read_whole() {
        let full = parsed(&parts(), Some("[\"embedding\"]")).unwrap();
        assert_eq!((full.vocab, full.positions, full.stages), (2, vec![1, 2, 5], vec!["embedding".to_owned()]));
        assert_eq!((full.logits_f32[5], full.logits_f64[5], full.logits_f64.len()), (5.0, 5.0, 6));
        assert_eq!((full.prefill.f32.len(), full.decode.f64[0][SKETCH_WIDTH - 1]), (1, (SKETCH_WIDTH - 1) as f64));
    }

    #[test]
    fn a_tensor_that_is_missing_unknown_or_of_another_form_is_named() {
        for (name, change, due) in [
            ("logits.f32", (|parts| drop(parts.remove("logits.f32"))) as fn(&mut Parts), "is missing"),
            ("extra", |parts| drop(parts.insert("extra", parts["positions"].clone())), "is unknown"),
            ("logits.f32", |parts| drop(parts.insert("logits.f32", parts["logits.f64"].clone())), "has dtype F64, must be F32"),
            ("logits.f64", |parts| parts.get_mut("logits.f64").unwrap().1 = vec![6], "has shape [6], must be a matrix"),
            (
                "logits.f64",
                |parts| drop(parts.insert("logits.f64", (Dtype::F64, vec![3, 0], Vec::new()))),
                "has shape [3, 0], must be a matrix",
            ),
            (
                "logits.f64",
                |parts| drop(parts.insert("logits.f64", (Dtype::F64, vec![0, 2], Vec::new()))),
                "has shape [0, 2], must be a matrix",
            ),
            ("logits.f32", |parts| parts.get_mut("logits.f32").unwrap().1 = vec![2, 3], "has shape (2, 3), must be (3, 2)"),
            ("positions", |parts| parts.get_mut("positions").unwrap().2[8..16].fill(0), "holds 0 after 1, must ascend"),
            ("positions", |parts| parts.get_mut("positions").unwrap().2.copy_within(8..16, 16), "holds 2 after 2, must ascend"),
            ("positions", |parts| parts.get_mut("positions").unwrap().2[..8].fill(255), "holds -1, a position is not negative"),
            (
                "positions",
                |parts| drop(parts.insert("positions", (Dtype::I64, vec![0], Vec::new()))),
                "is empty: there is nothing to compare",
            ),
            (
                "logits.f32",
                |parts| parts.get_mut("logits.f32").unwrap().2[12..16].copy_from_slice(&f32::NAN.to_le_bytes()),
                "is NaN at row 1, column 1",
            ),
            (
                "logits.f64",
                |parts| parts.get_mut("logits.f64").unwrap().2[..8].copy_from_slice(&f64::INFINITY.to_le_bytes()),
                "is inf at row 0, column 0",
            ),
            (
                "sketch.decode.f64",
                |parts| parts.get_mut("sketch.decode.f64").unwrap().2[..8].copy_from_slice(&f64::NAN.to_le_bytes()),
                "is NaN at row 0",
            ),
        ] {
            let (tensor, reason) = refused(change);
            assert!(tensor == name && reason.starts_with(due), "{tensor} {reason}");
        }
    }

    #[test]
    fn stages_are_a_list_of_names_for_each_row_of_the_sketches() {
        for (stages, due) in
            [(None, "has no `stages`"), (Some("embedding"), "`stages` is not a list of names"), (Some("[1]"), "`stages` is not a list")]
        {
            match parsed(&parts(), stages) {
                Err(GoldenError::Tensor { tensor, reason, .. }) => {
                    assert!(tensor == "__metadata__" && reason.starts_with(due), "{tensor} {reason}")
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(parsed(&parts(), Some("[\"embedding\", \"logits\"]")).is_err(), "two names for one row");
        assert!(Full::parse(b"no header", "code.safetensors").is_err());
    }
}
