//! Six numbers a stage: enough to say where two runs of one network part, too few to hide in.
//!
//! Of a stage's values at one position `x (n)`: their root mean square, their mean, and four projections,
//! `projection[j] = sum over i of x[i] * sign(i, j) / sqrt(n)`, all in `f64`. The sign is drawn by splitmix64 from
//! stage, `j` and `i`, so that two permutations of the same values, or two values swapped between heads, differ.

use crate::model::{KvCache, Observer, Sequence};
use crate::{Model, Positions, Result, Stage};

/// What is kept of a stage at one position.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSketch {
    /// The stage's name, as `blk.0.attn_norm`.
    pub stage: String,
    /// Root mean square of its values.
    pub rms: f64,
    /// Their mean.
    pub mean: f64,
    /// Their four projections.
    pub projections: [f64; 4],
}

/// Sketches every stage at the last position of `ids`. With `decode`, all ids but the last are a prefill of their own and
/// the last one is a step from the cache; the numbers are the same bits either way.
///
/// ```
/// # fn main() -> ground_truth::Result<()> {
/// use ground_truth::{Model, sketch};
///
/// let model = Model::open("testdata/models/llama-tiny".as_ref())?;
/// let whole = sketch::sketch(&model, &[1, 2, 3], false)?;
/// assert_eq!(whole[1].stage, "blk.0.attn_norm");
/// assert_eq!(whole, sketch::sketch(&model, &[1, 2, 3], true)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Model::forward`].
pub fn sketch(model: &Model, ids: &[u32], decode: bool) -> Result<Vec<StageSketch>> {
    let mut cache = model.new_cache();
    let mut rest = ids;
    if decode
        && let [prefill @ .., last] = ids
        && !prefill.is_empty()
    {
        model.forward(prefill, &mut cache, Positions::Last)?;
        rest = std::slice::from_ref(last);
    }
    let mut sketcher = Sketcher { order: Stage::list(model.config().n_layers).collect(), seen: Vec::new() };
    observe(model, rest, &mut cache, &mut sketcher)?;
    Ok(sketcher.seen)
}

fn observe(model: &Model, ids: &[u32], cache: &mut KvCache, sketcher: &mut Sketcher) -> Result<()> {
    model.observed(&mut [Sequence { ids, cache }], Positions::Last, Some(sketcher)).map(drop)
}

struct Sketcher {
    order: Vec<Stage>,
    /// Of the last pass that came by: a request longer than a pass comes by several times.
    seen: Vec<StageSketch>,
}

impl Observer for Sketcher {
    fn observe(&mut self, stage: Stage, values: &[f32], n_rows: usize) {
        if stage == Stage::Embedding {
            self.seen.clear();
        }
        let index = self.seen.len();
        debug_assert_eq!(self.order.get(index), Some(&stage), "stages come by in their order");
        self.seen.push(summarise(index as u64, stage, &values[values.len() - values.len() / n_rows..]));
    }
}

fn summarise(index: u64, stage: Stage, x: &[f32]) -> StageSketch {
    let n = x.len() as f64;
    let sum = |term: &dyn Fn(usize, f64) -> f64| x.iter().enumerate().map(|(i, &v)| term(i, f64::from(v))).sum::<f64>();
    let projection = |j: u64| sum(&|i, v| if negative(index, j, i as u64) { -v } else { v }) / n.sqrt();
    StageSketch {
        stage: stage.to_string(),
        rms: (sum(&|_, v| v * v) / n).sqrt(),
        mean: sum(&|_, v| v) / n,
        projections: [0, 1, 2, 3].map(projection),
    }
}

/// Whether value `i` counts negative in projection `j`.
fn negative(stage: u64, j: u64, i: u64) -> bool {
    splitmix64(stage << 40 | j << 32 | i) >> 63 == 1
}

/// One step of the generator of Steele, Lea and Flood 2014 ("Fast splittable pseudorandom number generators").
fn splitmix64(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_its_published_first_value() {
        assert_eq!(splitmix64(0), 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn a_sketch_of_ones_is_rms_one_and_mean_one() {
        let sketch = summarise(0, Stage::Embedding, &[1.0; 64]);
        assert_eq!((sketch.rms, sketch.mean), (1.0, 1.0));
        let signs = (0..64).map(|i| if negative(0, 2, i) { -1.0 } else { 1.0 }).sum::<f64>();
        assert_eq!(sketch.projections[2], signs / 8.0);
    }

    #[test]
    fn two_swapped_values_change_a_projection() {
        let mut x = [0.0; 32];
        (x[3], x[4]) = (1.0, 2.0);
        let one = summarise(5, Stage::AttnQ(0), &x);
        x.swap(3, 4);
        let other = summarise(5, Stage::AttnQ(0), &x);
        assert_eq!((one.rms, one.mean), (other.rms, other.mean));
        assert_ne!(one.projections, other.projections);
    }
}
