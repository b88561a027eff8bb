//! The golden of sampling: logits, history, parameters and random numbers, and what transformers' own processors make of them.
//!
//! It is about no model, so it is part of this crate: `golden/vectors/sampling.json`, written by `golden/sample.py`, is compiled in.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::{GoldenError, Hex64, parse};
use crate::observation::{Exact, SampleParams, SampleRequest};

/// The schema word of this golden.
pub const SAMPLING_SCHEMA: &str = "ground-truth/sampling/1";

/// The committed golden, as it is compiled in.
pub const SAMPLING_JSON: &[u8] = include_bytes!("../../sampling.json");

/// The name by which errors call it.
const FILE: &str = "vectors/sampling.json";

/// A row of float32 values, 8 hex digits each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HexRow(pub Vec<f32>);

impl<'de> Deserialize<'de> for HexRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let super::HexBytes(bytes) = super::HexBytes::deserialize(deserializer)?;
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(D::Error::custom("8 hex digits for each value are due"));
        }
        Ok(HexRow(words.iter().map(|word| f32::from_bits(u32::from_be_bytes(*word))).collect()))
    }
}

/// Who wrote the golden.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingOracle {
    /// `transformers`.
    pub runtime: String,
    /// Version of each package that took part.
    pub versions: BTreeMap<String, String>,
    /// SHA-256 of the script.
    pub generator: String,
}

/// What one random number picks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draw {
    /// The random number, in [0, 1).
    pub u: Hex64,
    /// The id that it picks.
    pub id: u32,
    /// Whether it lies further from every step between two tokens than rounding reaches.
    pub clear: bool,
}

/// Equal logits at a limit: any of them may stay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tie {
    /// Their ids.
    pub ids: Vec<u32>,
    /// How many of them stay.
    pub kept: usize,
}

/// One row of logits under one set of parameters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingCase {
    /// Its name, `top-p/0.9`.
    pub name: String,
    /// The family of processors that it is about.
    pub family: String,
    /// The name of its logits among [`SamplingGolden::rows`].
    pub row: String,
    /// The ids of the prompt.
    pub prompt: Vec<u32>,
    /// The ids generated after it.
    pub generated: Vec<u32>,
    /// The parameters.
    pub params: SampleParams,
    /// The logits after every step, minus infinity where masked.
    pub processed: HexRow,
    /// Ids that rounding keeps or masks.
    pub either: Vec<u32>,
    /// Equal logits at a top-p limit.
    pub tie: Option<Tie>,
    /// What random numbers pick.
    pub draws: Vec<Draw>,
}

/// A request that has no answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedCase {
    /// Its name, `refused/nan`.
    pub name: String,
    /// The logits.
    pub logits: HexRow,
    /// The ids of the prompt.
    pub prompt: Vec<u32>,
    /// The parameters.
    pub params: SampleParams,
    /// The random number.
    pub u: Hex64,
    /// Where another convention has an answer: the only id that it keeps.
    #[serde(default)]
    pub greedy: Option<u32>,
}

/// The golden of sampling.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingGolden {
    /// [`SAMPLING_SCHEMA`].
    pub schema: String,
    /// Who wrote it.
    pub oracle: SamplingOracle,
    /// Rows of logits, by name.
    pub rows: BTreeMap<String, HexRow>,
    /// What has an answer.
    pub cases: Vec<SamplingCase>,
    /// What has none.
    pub refused: Vec<RefusedCase>,
}

impl SamplingGolden {
    /// The golden of this build, read and linted once.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the compiled file does not pass the lint; a test holds that it does.
    pub fn committed() -> Result<&'static SamplingGolden, &'static GoldenError> {
        static COMMITTED: LazyLock<Result<SamplingGolden, GoldenError>> = LazyLock::new(|| SamplingGolden::parse(SAMPLING_JSON));
        COMMITTED.as_ref()
    }

    /// Reads a golden of sampling, and derives again what follows: that cases are about their rows, that draws pick what their golden keeps,
    /// and that a clear one picks it by the golden's own logits.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] naming the case.
    pub fn parse(bytes: &[u8]) -> Result<Self, GoldenError> {
        let golden: SamplingGolden = parse(bytes, FILE)?;
        if golden.schema != SAMPLING_SCHEMA {
            return Err(wrong("schema", format!("is `{}`, this program reads `{SAMPLING_SCHEMA}`", golden.schema.escape_debug())));
        }
        let mut names = std::collections::BTreeSet::new();
        for name in golden.cases.iter().map(|case| &case.name).chain(golden.refused.iter().map(|case| &case.name)) {
            if !names.insert(name) {
                return Err(wrong(name, "is there twice".to_owned()));
            }
        }
        golden.cases.iter().try_for_each(|case| golden.lint(case).map_err(|reason| wrong(&case.name, reason)))?;
        match golden.refused.iter().find(|case| !refuses(case)) {
            Some(case) => Err(wrong(&case.name, "keeps a token that its logits do not have".to_owned())),
            None => Ok(golden),
        }
    }

    /// The cases of a family.
    pub fn family(&self, family: &str) -> impl Iterator<Item = &SamplingCase> {
        self.cases.iter().filter(move |case| case.family == family)
    }

    /// The logits of a case.
    pub fn logits(&self, case: &SamplingCase) -> &[f32] {
        self.rows.get(&case.row).map_or(&[], |row| &row.0)
    }

    /// The request of a case with one of its random numbers.
    pub fn request(&self, case: &SamplingCase, u: Hex64) -> SampleRequest {
        SampleRequest {
            logit_bits: bits(self.logits(case)),
            prompt: case.prompt.clone(),
            generated: case.generated.clone(),
            params: case.params.clone(),
            u: Exact::new(u.get()),
        }
    }

    fn lint(&self, case: &SamplingCase) -> Result<(), String> {
        let (logits, processed) = (self.logits(case), &case.processed.0);
        if logits.is_empty() || logits.len() != processed.len() {
            return Err(format!("{} processed logits of {} in `{}`", processed.len(), logits.len(), case.row));
        }
        let out = f32::NEG_INFINITY;
        if let Some(id) = (0..logits.len()).find(|&id| processed[id] != out && (!processed[id].is_finite() || logits[id] == out)) {
            return Err(format!("token {id} is {} and was {}", processed[id], logits[id]));
        }
        if processed.iter().all(|x| *x == out) {
            return Err("keeps no token".to_owned());
        }
        let known = |id: &u32| (*id as usize) < logits.len();
        let ties = case.tie.iter().flat_map(|tie| &tie.ids);
        if !case.either.iter().chain(ties).all(known) {
            return Err("names a token past its logits".to_owned());
        }
        if let Some(tie) = &case.tie {
            let kept = tie.ids.iter().filter(|id| processed[**id as usize] != out).count();
            let equal = tie.ids.iter().all(|id| logits[*id as usize] == logits[tie.ids[0] as usize]);
            if kept != tie.kept || kept == 0 || kept == tie.ids.len() || !equal {
                return Err(format!("a tie that keeps {kept} of {}, {} by its own word", tie.ids.len(), tie.kept));
            }
        }
        if case.draws.is_empty() {
            return Err("draws nothing".to_owned());
        }
        for draw in &case.draws {
            if !(0.0..1.0).contains(&draw.u.get()) || !known(&draw.id) || processed[draw.id as usize] == out {
                return Err(format!("u = {:?} picks token {}", draw.u, draw.id));
            }
            if draw.clear && pick(processed, draw.u.get()) != draw.id as usize {
                return Err(format!("u = {:?} picks token {}, by its own logits {}", draw.u, draw.id, pick(processed, draw.u.get())));
            }
        }
        Ok(())
    }
}

fn wrong(field: &str, reason: String) -> GoldenError {
    GoldenError::Field { file: FILE.to_owned(), field: field.to_owned(), reason }
}

/// Whether a greedy answer, where another convention has one, is the first largest logit.
fn refuses(case: &RefusedCase) -> bool {
    let logits = &case.logits.0;
    case.greedy.is_none_or(|id| {
        let largest = logits.get(id as usize).copied().unwrap_or(f32::NAN);
        logits.iter().all(|x| *x <= largest) && logits.iter().position(|x| *x == largest) == Some(id as usize)
    })
}

impl RefusedCase {
    /// The request.
    pub fn request(&self) -> SampleRequest {
        SampleRequest {
            logit_bits: bits(&self.logits.0),
            prompt: self.prompt.clone(),
            generated: Vec::new(),
            params: self.params.clone(),
            u: Exact::new(self.u.get()),
        }
    }
}

fn bits(row: &[f32]) -> Vec<u32> {
    row.iter().map(|x| x.to_bits()).collect()
}

/// The first place at which the sum of probabilities exceeds `u`, in float64.
fn pick(processed: &[f32], u: f64) -> usize {
    let largest = processed.iter().fold(f32::NEG_INFINITY, |most, &x| if x > most { x } else { most });
    let weights: Vec<f64> = processed.iter().map(|x| (f64::from(*x) - f64::from(largest)).exp()).collect();
    let due = u * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let picked = weights.iter().position(|weight| {
        sum += weight;
        sum > due
    });
    picked.or_else(|| weights.iter().rposition(|weight| *weight > 0.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_committed_golden_passes_its_lint_and_is_the_one_that_its_sum_vouches_for() {
        let golden = SamplingGolden::committed().unwrap();
        assert!(golden.cases.len() >= 100 && golden.refused.len() >= 15);
        let clear = golden.cases.iter().flat_map(|case| &case.draws).filter(|draw| draw.clear).count();
        assert!(clear >= 500, "{clear}");
        let sizes: std::collections::BTreeSet<usize> = golden.rows.values().map(|row| row.0.len()).collect();
        assert!([1, 2, 32, 768].iter().all(|size| sizes.contains(size)), "{sizes:?}");
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/vectors");
        let sums = std::fs::read_to_string(root.join("sampling.sha256")).unwrap();
        let sum: String = Sha256::digest(SAMPLING_JSON).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sums, format!("{sum}  sampling.json\n"));
    }

    /// The committed text with one thing changed is refused for the reason.
    #[test]
    fn a_golden_that_contradicts_itself_is_refused() {
        let text = std::str::from_utf8(SAMPLING_JSON).unwrap();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            SamplingGolden::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        assert!(refused("ground-truth/sampling/1", "ground-truth/sampling/2").contains("schema"));
        assert!(refused("\"name\": \"top-k/off\"", "\"name\": \"top-k/masked\"").contains("twice"));
        assert!(refused("\"row\": \"natural-768\"", "\"row\": \"natural-32\"").contains("processed logits of 32"));
        assert!(refused("\"row\": \"natural-32\"", "\"row\": \"nobody\"").contains("processed logits of 0"));
        assert!(refused("\"kept\": 1", "\"kept\": 2").contains("tie"));
        assert!(refused("\"id\": 21, \"clear\": true", "\"id\": 22, \"clear\": true").contains("by its own logits 21"));
        assert!(refused("\"id\": 21, \"clear\": true", "\"id\": 99999, \"clear\": false").contains("picks token 99999"));
        assert!(refused("\"greedy\": 1", "\"greedy\": 2").contains("refused/temperature-zero"));
        assert!(refused("\"top_k\"", "\"topk\"").contains("topk"));
    }
}
