//! What quantization did to the values: SPC, C8, DEBUG, ROSETTA-DIFF and HEX. Each tensor against the source's, element by element.
//!
//! The divergence of absolute, normalised weights that the seed document asks for is printed and gates nothing: it is blind to signs, rejects
//! correct 4-bit weights, and is set by its epsilon (`seed::abs-kl`).

use super::stored::{elements, find, in_stored_order, is_transposed, parameters, place};
use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::block;
use crate::golden::TensorEntry;
use crate::metric::{norm_ratio, outdoes, relative_rms, widen};
use crate::observation::{Answers, Op, Peer, Stored};
use crate::verdict::{Measure, Owner, Verdict};

/// Cells whose values may differ from the source's.
const LOSSY: fn(&Scope) -> bool = |scope| scope.form.is_lossy();

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "SPC-rms",
        claim: "SPC",
        sentence: "the relative RMS difference of each tensor to the source's is within the bound of its type",
        refuted_by: "a larger difference in one tensor",
        per: Per::Cell(LOSSY),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container, Op::Weights],
        bounds: RMS_KEYS,
        judge: relative,
    },
    Check {
        id: "SPC-signs",
        claim: "SPC",
        sentence: "no element turns its sign, or where a type has a minimum beside its scale only elements that are next to nothing",
        refuted_by: "a turned sign, or turned elements with a larger share of the tensor's magnitude than the bound",
        per: Per::Cell(LOSSY),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container, Op::Weights],
        bounds: &["spc.signs"],
        judge: signs,
    },
    Check {
        id: "SPC-elements",
        claim: "SPC",
        sentence: "each element is as close to the source's as its type allows within its block",
        refuted_by: "one element farther off than half a step of its grid and the rounding of its scale",
        per: Per::Cell(LOSSY),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container, Op::Weights],
        bounds: ELEMENT_KEYS,
        judge: each,
    },
    Check {
        id: "C8",
        claim: "C8",
        sentence: "no tensor has grown or shrunk: its norm is the source's, up to what uncorrelated rounding does to it",
        refuted_by: "a norm that differs by more than the bound of the tensor's type",
        per: Per::Cell(LOSSY),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container, Op::Weights],
        bounds: &["c8"],
        judge: size,
    },
    Check {
        id: "DEBUG",
        claim: "DEBUG",
        sentence: "every tensor is healthy: finite throughout, and each row alive that is alive in the source",
        refuted_by: "a NaN, an infinity, or a row of zeros that the source does not have",
        per: Per::Cell(|scope| !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Weights],
        bounds: &[],
        judge: health,
    },
    Check {
        id: "ROSETTA-DIFF",
        claim: "ROSETTA-DIFF",
        sentence: "every matrix lies as the model's does: no transposed, interleaved or otherwise ordered copy of the source is closer to it",
        refuted_by: "another order of the source's values that is closer than theirs",
        per: Per::Cell(|scope| !scope.form.primary),
        breadth: Breadth::Everywhere,
        needs: &[Op::Weights],
        bounds: &[],
        judge: layout,
    },
    Check {
        id: "HEX",
        claim: "HEX",
        sentence: "the first bytes of each stored tensor, read a second time by the published layout, are the values that the runtime reads",
        refuted_by: "another value, or a tensor that is all zero bytes",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Container, Op::Weights],
        bounds: &[],
        judge: bytes,
    },
];

/// One tensor and its source, in the order in which the artifact stores them.
struct Pair<'a> {
    entry: &'a TensorEntry,
    dtype: String,
    source: Vec<f64>,
    values: Vec<f64>,
    /// Elements of a stored row.
    row: usize,
}

/// Visits every tensor of the artifact with its source. A value that is not finite is found by DEBUG; here it refutes too.
fn visit<'a>(case: &Case<'a>, answers: &dyn Answers, mut look: impl FnMut(Pair<'a>) -> Judged<()>) -> Judged<usize> {
    let container = ask::container(answers)?;
    let source = ask::peer(case, &Peer::Source)?;
    let mut compared = 0;
    for entry in parameters(case) {
        let n = elements(entry)?;
        let stored = find(&container, &entry.name)?;
        let before = ask::weights(source.as_ref(), &entry.name, n)?;
        let after = ask::weights(answers, &entry.name, n)?;
        if let Some(bad) = after.iter().find(|value| !value.is_finite()) {
            let verdict = Verdict::falsified(format!("finite values in {:?}", entry.name), format!("{bad}"));
            return Err(verdict.at(place(&entry.name)).owned_by(Owner::File).into());
        }
        let transposed = is_transposed(case, &entry.name);
        look(Pair {
            entry,
            dtype: stored.dtype.clone(),
            source: in_stored_order(&before, &entry.shape, transposed),
            values: in_stored_order(&after, &entry.shape, transposed),
            row: stored.shape.last().copied().unwrap_or(1).max(1),
        })?;
        compared += n;
    }
    Ok(compared)
}

/// Bounds of the relative RMS by type. F32 has none: it holds every value.
const RMS_KEYS: &[&str] = &[
    "spc.rms.aprq4",
    "spc.rms.aprq8",
    "spc.rms.bf16",
    "spc.rms.f16",
    "spc.rms.iq4_nl",
    "spc.rms.iq4_xs",
    "spc.rms.q2_k",
    "spc.rms.q3_k",
    "spc.rms.q4_0",
    "spc.rms.q4_1",
    "spc.rms.q4_k",
    "spc.rms.q5_0",
    "spc.rms.q5_1",
    "spc.rms.q5_k",
    "spc.rms.q6_k",
    "spc.rms.q8_0",
];

/// Largest relative RMS of a type. An F32 tensor has its source's values, so that any difference is too much.
fn rms_limit(case: &Case, dtype: &str) -> Judged<f64> {
    if dtype == "F32" {
        return Ok(f64::MIN_POSITIVE);
    }
    Ok(case.tolerances.limit(&format!("spc.rms.{}", dtype.to_ascii_lowercase()), f64::NAN)?)
}

/// Relative RMS; of a tensor that is zero in the source it is zero where all values are, and infinite elsewhere.
fn drift(pair: &Pair) -> Judged<f64> {
    if pair.source.iter().all(|value| *value == 0.0) {
        return Ok(if pair.values.iter().all(|value| *value == 0.0) { 0.0 } else { f64::INFINITY });
    }
    Ok(relative_rms(&pair.source, &pair.values)?)
}

/// The number that comes closest to its bound, over the tensors.
#[derive(Default)]
struct Worst {
    found: Option<(f64, f64, String, String)>,
}

impl Worst {
    fn take(&mut self, observed: f64, bound: f64, pair: &Pair) {
        let share = observed / bound;
        if self.found.as_ref().is_none_or(|(most, limit, ..)| outdoes(share, most / limit)) {
            self.found = Some((observed, bound, pair.dtype.clone(), pair.entry.name.clone()));
        }
    }

    fn verdict(self, compared: usize, name: &'static str, expected: &str) -> Verdict {
        let Some((observed, bound, dtype, tensor)) = self.found else {
            return Verdict::corroborated(0, expected, "");
        };
        let found = format!("closest to its bound is {tensor:?} in {dtype}: {observed:.4e}, at most {bound:.4e}");
        let measures = vec![Measure::gated(name, observed, bound, "")];
        Verdict::measured(compared, measures, expected, found).at(place(&tensor)).owned_by(Owner::File)
    }
}

fn relative(case: &Case, answers: &dyn Answers) -> Judged {
    let mut worst = Worst::default();
    let mut blind = 0.0;
    let compared = visit(case, answers, |pair| {
        worst.take(drift(&pair)?, rms_limit(case, &pair.dtype)?, &pair);
        let divergence = absolute_divergence(&pair.source, &pair.values);
        if outdoes(divergence, blind) {
            blind = divergence;
        }
        Ok(())
    })?;
    let mut verdict = worst.verdict(compared, "relative RMS", "the relative RMS of each tensor within the bound of its type");
    verdict.measures.push(Measure::printed("divergence of absolute values, blind to signs", blind, "nats"));
    Ok(verdict)
}

/// The formula of the seed document, section 6.3: printed, never gated.
fn absolute_divergence(source: &[f64], values: &[f64]) -> f64 {
    const EPSILON: f64 = 1e-10;
    let total = |values: &[f64]| values.iter().map(|x| x.abs()).sum::<f64>();
    let (p, q) = (total(source), total(values));
    let shares = (0..source.len()).map(|i| (source[i].abs() / p + EPSILON, values[i].abs() / q + EPSILON));
    shares.map(|(p, q)| p * (p / q).ln()).sum()
}

/// Whether a type has no minimum beside its scale, so that zero is on its grid and no sign can turn.
fn is_symmetric(dtype: &str) -> bool {
    !matches!(dtype, "Q4_1" | "Q5_1" | "Q2_K" | "Q4_K" | "Q5_K")
        // Their tables have no zero: the smallest codes are -10 and 1.
        && !matches!(dtype, "IQ4_NL" | "IQ4_XS")
}

fn signs(case: &Case, answers: &dyn Answers) -> Judged {
    let bound = case.tolerances.limit("spc.signs", f64::NAN)?;
    let mut worst = Worst::default();
    let compared = visit(case, answers, |pair| {
        let total: f64 = pair.source.iter().map(|x| x.abs()).sum();
        let is_turned = |i: &usize| pair.source[*i] * pair.values[*i] < 0.0;
        let turned: f64 = (0..pair.source.len()).filter(is_turned).map(|i| pair.source[i].abs()).sum();
        let share = if turned == 0.0 { 0.0 } else { turned / total };
        worst.take(share, if is_symmetric(&pair.dtype) { f64::MIN_POSITIVE } else { bound }, &pair);
        Ok(())
    })?;
    Ok(worst.verdict(compared, "share of magnitude whose sign turned", "every sign kept, or only of elements that are next to nothing"))
}

/// Bounds of one element in types whose scales are quantized themselves, in units of the block's largest magnitude.
const ELEMENT_KEYS: &[&str] = &[
    "spc.element.iq4_nl",
    "spc.element.iq4_xs",
    "spc.element.q2_k",
    "spc.element.q3_k",
    "spc.element.q4_k",
    "spc.element.q5_k",
    "spc.element.q6_k",
];

/// How far an element of a block may be off.
enum Reach {
    /// Half a unit in the last place of the element itself, and of the smallest number.
    Float { relative: f64, smallest: f64 },
    /// This share of the block's largest magnitude.
    Largest(f64),
    /// This share of the distance from the block's smallest to its largest element, and this share of both for the rounding of two scales.
    Range { step: f64, rounding: f64 },
}

/// Rounding a scale to float16 moves the farthest element by the largest magnitude over this.
const HALF: f64 = 2048.0;

/// The reach of a type, and how many elements share a scale: zero for the whole tensor.
///
/// Half a step of a grid from -m to m with codes -127..127 is m/254 (Q8_0); where the code -8 stands for the largest magnitude the other end
/// is a whole step off, m/8 (Q4_0; Q5_0 m/16); a scale of m/7 makes half a step m/14 (AprQ4); 15 and 31 steps over a range make halves of
/// 1/30 and 1/62 of it (Q4_1, Q5_1).
fn reach(case: &Case, dtype: &str) -> Judged<(Reach, usize)> {
    Ok(match dtype {
        "F32" => (Reach::Largest(0.0), 1),
        "F16" => (Reach::Float { relative: 1.0 / 2048.0, smallest: 2f64.powi(-25) }, 1),
        "BF16" => (Reach::Float { relative: 1.0 / 256.0, smallest: 2f64.powi(-134) }, 1),
        "Q8_0" => (Reach::Largest(1.0 / 254.0 + 1.0 / HALF), 32),
        "AprQ8" => (Reach::Largest(1.0 / 254.0 + 1e-6), 0),
        "Q4_0" => (Reach::Largest(1.0 / 8.0 + 1.0 / HALF), 32),
        "Q5_0" => (Reach::Largest(1.0 / 16.0 + 1.0 / HALF), 32),
        "AprQ4" => (Reach::Largest(1.0 / 14.0 + 1.0 / HALF), 32),
        "Q4_1" => (Reach::Range { step: 1.0 / 30.0, rounding: 1.0 / HALF }, 32),
        "Q5_1" => (Reach::Range { step: 1.0 / 62.0, rounding: 1.0 / HALF }, 32),
        _ => {
            let block = block::size(dtype).map_or(256, |(elements, _)| elements);
            (Reach::Largest(case.tolerances.limit(&format!("spc.element.{}", dtype.to_ascii_lowercase()), f64::NAN)?), block)
        }
    })
}

/// The element that comes closest to what its block allows: its error over that, its error, and its place.
fn farthest(pair: &Pair, reach: &Reach, block: usize) -> (f64, f64, usize) {
    let length = match block {
        0 => pair.source.len().max(1),
        // Blocks of APR's own type run over the whole tensor, all others end with a row.
        n if pair.dtype == "AprQ4" => n,
        n => n.min(pair.row),
    };
    let mut worst = (0.0, 0.0, 0);
    let mut begin = 0;
    while begin < pair.source.len() {
        let end = (begin + length).min(pair.source.len());
        let block = &pair.source[begin..end];
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for &x in block {
            low = if x < low { x } else { low };
            high = if x > high { x } else { high };
        }
        let largest = if high.abs() > low.abs() { high.abs() } else { low.abs() };
        for at in begin..end {
            let allowed = match reach {
                Reach::Float { relative, smallest } => pair.source[at].abs() * relative + smallest,
                Reach::Largest(share) => largest * share,
                Reach::Range { step, rounding } => (high - low) * step + (high - low + low.abs()) * rounding,
            };
            let error = (pair.values[at] - pair.source[at]).abs();
            // What is computed in float32 rounds on the way.
            let allowed = allowed + largest * 1e-6;
            let share = if error == 0.0 { 0.0 } else { error / allowed };
            if outdoes(share, worst.0) {
                worst = (share, error, at);
            }
        }
        begin = end;
    }
    worst
}

fn each(case: &Case, answers: &dyn Answers) -> Judged {
    let mut worst = Worst::default();
    let compared = visit(case, answers, |pair| {
        let (reach, block) = reach(case, &pair.dtype)?;
        let (share, _, _) = farthest(&pair, &reach, block);
        worst.take(share, 1.0, &pair);
        Ok(())
    })?;
    Ok(worst.verdict(compared, "error of an element / what its block allows", "each element as close as its block allows"))
}

fn size(case: &Case, answers: &dyn Answers) -> Judged {
    let mut worst = Worst::default();
    let compared = visit(case, answers, |pair| {
        let drift = rms_limit(case, &pair.dtype)?;
        // An error that has nothing to do with the values adds its square to theirs, half of that in the norm; and of few values it is never
        // quite independent.
        let floor = drift * drift / 2.0 + drift / (pair.source.len() as f64).sqrt();
        let bound = match pair.dtype.as_str() {
            "F32" => f64::MIN_POSITIVE,
            // Elements that are equal are rounded alike: a norm's weights may all be.
            "F16" | "BF16" => drift,
            _ => case.tolerances.limit("c8", floor)?,
        };
        let alive = pair.source.iter().any(|value| *value != 0.0);
        let grown = if alive { (norm_ratio(&pair.source, &pair.values)? - 1.0).abs() } else { drift_of_nothing(&pair) };
        worst.take(grown, bound, &pair);
        Ok(())
    })?;
    Ok(worst.verdict(compared, "|norm ratio - 1|", "the norm of each tensor"))
}

fn drift_of_nothing(pair: &Pair) -> f64 {
    if pair.values.iter().all(|value| *value == 0.0) { 0.0 } else { f64::INFINITY }
}

fn health(case: &Case, answers: &dyn Answers) -> Judged {
    let source = ask::peer(case, &Peer::Source)?;
    let mut compared = 0;
    for entry in parameters(case) {
        let n = elements(entry)?;
        let (before, after) = (ask::weights(source.as_ref(), &entry.name, n)?, ask::weights(answers, &entry.name, n)?);
        let width = entry.shape.last().copied().unwrap_or(1).max(1);
        let expected = format!("{} rows of {:?}, finite and alive", n / width, entry.name);
        let red = |observed: String| Ok(Verdict::falsified(expected.clone(), observed).at(place(&entry.name)).owned_by(Owner::File));
        if let Some(at) = after.iter().position(|value| !value.is_finite()) {
            return red(format!("row {}: {}", at / width, after[at]));
        }
        let dead = |values: &[f32], row: usize| values[row * width..(row + 1) * width].iter().all(|value| *value == 0.0);
        if let Some(row) = (0..n / width).find(|&row| dead(&after, row) && !dead(&before, row)) {
            return red(format!("row {row} is zero, the source's is not"));
        }
        compared += n / width;
    }
    Ok(Verdict::corroborated(compared, "every row finite, and alive where the source's is", "so"))
}

/// Where element `k` of a matrix comes from, if it lies otherwise than the source's: index into the source.
type Order = fn(k: usize, rows: usize, columns: usize, head: usize) -> usize;

/// Other orders that a matrix was seen in.
const ORDERS: [(&str, Order); 4] = [
    ("transposed", |k, rows, columns, _| k % rows * columns + k / rows),
    ("with neighbouring rows of each head paired", |k, _, columns, head| {
        let (row, half) = (k / columns, head / 2);
        let (at, in_head) = (row / head * head, row % head);
        (at + in_head % 2 * half + in_head / 2) * columns + k % columns
    }),
    ("with paired rows of each head set apart", |k, _, columns, head| {
        let (row, half) = (k / columns, head / 2);
        let (at, in_head) = (row / head * head, row % head);
        (at + in_head % half * 2 + in_head / half) * columns + k % columns
    }),
    ("with its rows backwards", |k, rows, columns, _| (rows - 1 - k / columns) * columns + k % columns),
];

fn layout(case: &Case, answers: &dyn Answers) -> Judged {
    let source = ask::peer(case, &Peer::Source)?;
    let head = case.model.index.config.head_dim;
    let mut compared = 0;
    for entry in parameters(case) {
        let [rows, columns] = *entry.shape.as_slice() else { continue };
        let n = elements(entry)?;
        let (before, after) = (widen(&ask::weights(source.as_ref(), &entry.name, n)?), widen(&ask::weights(answers, &entry.name, n)?));
        let expected = format!("{:?} in the order of the source", entry.name);
        let red = |observed: String| Ok(Verdict::falsified(expected.clone(), observed).at(place(&entry.name)).owned_by(Owner::File));
        if let Some(k) = (0..n).find(|&k| !(after[k] - before[k]).is_finite()) {
            return red(format!("element {k} is {}, the source's is {}", after[k], before[k]));
        }
        let own = distance(n, f64::INFINITY, |k| after[k] - before[k]);
        // The closest of the other orders: one that moves few rows can be a little closer by chance.
        let mut closest: Option<(f64, &str)> = None;
        for (name, order) in ORDERS {
            let in_heads = head > 1 && head.is_multiple_of(2) && rows.is_multiple_of(head);
            if rows < 2 || columns < 2 || name.contains("head") && !in_heads {
                continue;
            }
            let least = closest.map_or(own, |(other, _)| other);
            let other = distance(n, least, |k| after[k] - before[order(k, rows, columns, head)]);
            if !(least <= other) {
                closest = Some((other, name));
            }
        }
        if let Some((other, name)) = closest {
            return red(format!("it is closer to the source {name}: {:.3e} of the distance", (other / own).sqrt()));
        }
        compared += n;
    }
    Ok(Verdict::corroborated(compared, "every matrix in the order of the source", "so"))
}

/// The sum of the squares of `n` differences, or of as many of them as exceed `most`: the rest can only add to it.
fn distance(n: usize, most: f64, difference: impl Fn(usize) -> f64) -> f64 {
    let mut sum = 0.0;
    for k in 0..n {
        sum += difference(k).powi(2);
        if sum > most {
            break;
        }
    }
    sum
}

/// The logical place of element `k` of a stored tensor.
fn logical(k: usize, entry: &TensorEntry, transposed: bool) -> usize {
    match *entry.shape.as_slice() {
        [rows, columns] if transposed => k % rows * columns + k / rows,
        _ => k,
    }
}

/// How many elements of a beginning can be held against the runtime's: a row, where heads are interleaved the first row alone stays in place.
fn shown(case: &Case, stored: &Stored, beginning: usize) -> usize {
    let row = stored.shape.last().copied().unwrap_or(1);
    let interleaved = case.form.is("gguf") && case.model.index.architecture == "llama";
    // Of a vector, a bias of interleaved heads, the first element alone stays in place.
    match (interleaved, stored.shape.len()) {
        (true, 1) if stored.name.contains("attn_q") || stored.name.contains("attn_k") => 1,
        (true, 2..) => beginning.min(row),
        _ => beginning,
    }
}

fn bytes(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    let mut compared = 0;
    for entry in parameters(case) {
        let (stored, n) = (find(&container, &entry.name)?, elements(entry)?);
        let values = ask::weights(answers, &entry.name, n)?;
        let expected = format!("the first {} bytes of {:?} to be its first values", stored.head.len(), entry.name);
        let red = |observed: String| Ok(Verdict::falsified(expected.clone(), observed).at(place(&entry.name)).owned_by(Owner::File));
        let beginning = match block::beginning(&stored.dtype, &stored.head, n) {
            Ok(beginning) => beginning,
            Err(_) => return red(format!("{} bytes of {}, not one block", stored.head.len(), stored.dtype)),
        };
        let is_alive = values.iter().any(|value| *value != 0.0);
        if is_alive && entry.shape.len() > 1 && stored.head.iter().all(|byte| *byte == 0) {
            return red("zero bytes alone".to_owned());
        }
        let transposed = is_transposed(case, &entry.name);
        let largest = beginning.iter().fold(0.0, |most: f32, x| if x.abs() <= most { most } else { x.abs() });
        for k in 0..shown(case, stored, beginning.len()).min(n) {
            let (due, found) = (beginning[k], values[logical(k, entry, transposed)]);
            // The order of three multiplications rounds differently: a few units of the block's largest value.
            if !((due - found).abs() <= 1e-6 * largest) {
                return red(format!("element {k} is {due:e} by its bytes, the runtime reads {found:e}"));
            }
            compared += 1;
        }
    }
    Ok(Verdict::corroborated(compared, "the first values of each tensor as its bytes have them", "so"))
}

#[cfg(test)]
mod tests;
