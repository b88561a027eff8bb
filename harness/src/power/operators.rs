//! What a drawn defect does: operators on a tensor, on the configuration and on the tokenizer, each with the strengths it is drawn at.

use ground_truth::Dtype;
use serde_json::{Map, Value};

use crate::defect::artifact::{EDITS, Surgery, SurgeryError};

type Result<T = ()> = std::result::Result<T, SurgeryError>;

/// Numbers from a seed: splitmix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// A number in [-1, 1).
    fn signed(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// Where an operator works.
#[derive(Debug, Clone, Copy)]
pub enum Site {
    /// On one tensor.
    Tensor(fn(&mut Surgery<'_>, &str, f64, &mut Random) -> Result),
    /// On configuration or tokenizer.
    Model(fn(&mut Surgery<'_>, f64, &mut Random) -> Result),
}

/// One operator.
#[derive(Debug)]
pub struct Operator {
    /// Its id.
    pub id: &'static str,
    /// The strengths that are drawn from; one where it has none.
    pub strengths: &'static [f64],
    /// What it does.
    pub site: Site,
}

const fn on_tensor(
    id: &'static str,
    strengths: &'static [f64],
    change: fn(&mut Surgery<'_>, &str, f64, &mut Random) -> Result,
) -> Operator {
    Operator { id, strengths, site: Site::Tensor(change) }
}

const fn on_model(id: &'static str, strengths: &'static [f64], change: fn(&mut Surgery<'_>, f64, &mut Random) -> Result) -> Operator {
    Operator { id, strengths, site: Site::Model(change) }
}

/// Every operator that is drawn from, each as often as another.
pub const OPERATORS: &[Operator] = &[
    on_tensor("scale", &[0.5, 0.9, 0.99, 0.999, 1.001, 1.01, 1.1, 2.0], |s, name, by, _| s.map(name, |x| x * by as f32)),
    on_tensor("noise", &[1e-4, 1e-3, 1e-2, 0.1], |s, name, by, random| {
        s.edit(name, |values, _| {
            let size = by as f32 * rms(values);
            values.iter_mut().for_each(|x| *x += size * random.signed());
        })
    }),
    on_tensor("offset", &[1e-3, 1e-2, 0.1], |s, name, by, _| {
        s.edit(name, |values, _| {
            let by = by as f32 * rms(values);
            values.iter_mut().for_each(|x| *x += by);
        })
    }),
    on_tensor("clip", &[0.5, 1.0, 2.0], |s, name, at, _| {
        s.edit(name, |values, _| {
            let most = at as f32 * rms(values);
            values.iter_mut().for_each(|x| *x = x.clamp(-most, most));
        })
    }),
    on_tensor("mantissa-bits", &[2.0, 4.0, 7.0, 10.0], |s, name, bits, _| {
        s.map(name, |x| f32::from_bits(x.to_bits() & (u32::MAX << (23 - bits as u32))))
    }),
    on_tensor("negate", &[1.0], |s, name, _, _| s.map(name, |x| -x)),
    on_tensor("zero-row", &[1.0], |s, name, _, random| on_row(s, name, random, |_| 0.0)),
    on_tensor("negate-row", &[1.0], |s, name, _, random| on_row(s, name, random, |x| -x)),
    on_tensor("scale-row", &[0.9, 1.01, 1.1, 2.0], |s, name, by, random| {
        let by = by as f32;
        on_row(s, name, random, move |x| x * by)
    }),
    on_tensor("zero-column", &[1.0], |s, name, _, random| {
        s.edit(name, |values, shape| {
            let columns = columns(shape);
            let at = random.below(columns);
            values.iter_mut().skip(at).step_by(columns).for_each(|x| *x = 0.0);
        })
    }),
    on_tensor("swap-rows", &[1.0], |s, name, _, random| {
        let order = exchanged(rows(s, name)?, random)?;
        s.permute_rows(name, &order)
    }),
    on_tensor("swap-columns", &[1.0], |s, name, _, random| {
        let order = exchanged(matrix(s, name)?.1, random)?;
        s.permute_columns(name, &order)
    }),
    on_tensor("reverse-rows", &[1.0], |s, name, _, _| {
        let order: Vec<usize> = (0..rows(s, name)?).rev().collect();
        s.permute_rows(name, &order)
    }),
    on_tensor("interleave-rows", &[1.0], |s, name, _, _| {
        let rows = rows(s, name)?;
        let order: Vec<usize> = (0..rows).map(|row| row % 2 * (rows / 2) + row / 2).collect();
        s.permute_rows(name, &order)
    }),
    on_tensor("shift-rows", &[1.0], |s, name, _, _| s.edit(name, |values, shape| values.rotate_right(columns(shape)))),
    on_tensor("shift-elements", &[1.0], |s, name, _, _| s.edit(name, |values, _| values.rotate_right(1))),
    on_tensor("repeat-half", &[1.0], |s, name, _, _| {
        s.edit(name, |values, _| {
            let half = values.len() / 2;
            values.copy_within(..half, half);
        })
    }),
    on_tensor("transpose", &[1.0], |s, name, _, _| s.transpose(name)),
    on_tensor("element", &[-1.0, 0.0, 10.0, 1e4], |s, name, by, random| {
        s.edit(name, |values, _| {
            let at = random.below(values.len());
            values[at] *= by as f32;
        })
    }),
    on_tensor("flip-bit", &[14.0, 12.0, 10.0, 7.0], |s, name, bit, random| {
        // Bits are counted in the upper half of a float32, which is a BF16: 7 to 14 are the exponent.
        s.edit(name, |values, _| {
            let at = random.below(values.len());
            values[at] = f32::from_bits(values[at].to_bits() ^ 1 << (16 + bit as u32));
        })
    }),
    on_tensor("bytes-reversed", &[1.0], |s, name, _, _| {
        s.edit_bytes(name, |dtype, mut bytes| {
            bytes.chunks_exact_mut(dtype.block().1).for_each(<[u8]>::reverse);
            (dtype, bytes)
        })
    }),
    on_tensor("as-f16", &[1.0], |s, name, _, _| recast(s, name, Dtype::F16)),
    on_tensor("as-bf16", &[1.0], |s, name, _, _| recast(s, name, Dtype::BF16)),
    on_tensor("exchange", &[1.0], |s, name, _, random| {
        let mine = held(s, name)?.shape().to_vec();
        let mut twins: Vec<String> = s.all();
        twins.retain(|other| other != name && held(s, other).is_ok_and(|tensor| tensor.shape() == mine));
        let twin = twins.get(random.below(twins.len())).ok_or(SurgeryError::NotApplicable("other tensor of this shape"))?;
        s.swap(name, twin)
    }),
    on_tensor("lost", &[1.0], |s, name, _, _| s.remove(name)),
    on_model("eps", &[0.1, 3.0, 10.0, 100.0], |s, by, _| recorded(s, "norm-eps", by)),
    on_model("theta", &[0.5, 0.99, 1.01, 2.0, 100.0], |s, by, _| recorded(s, "rope-theta", by)),
    on_model("rope-linear", &[1.01, 2.0, 8.0], |s, by, _| recorded(s, "rope-linear-added", by)),
    on_model("activation", &[1.0], |s, _, random| {
        let field = if s.checkpoint().config.contains_key("hidden_act") { "hidden_act" } else { "activation_function" };
        let others = ["relu", "gelu", "gelu_new", "quick_gelu", "silu", "tanh"];
        let other = others[random.below(others.len())];
        let is = s.checkpoint().config.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        if is == other || is.starts_with("gelu_") && other == "gelu_new" {
            return Err(SurgeryError::NotApplicable("other activation of this name"));
        }
        s.set(field, other);
        Ok(())
    }),
    on_model("integer", &[-1.0, 1.0], |s, by, random| {
        let is_size = |(_, value): &(&String, &Value)| value.as_u64().is_some_and(|n| n > 1);
        let fields: Vec<String> = s.checkpoint().config.iter().filter(is_size).map(|(name, _)| name.clone()).collect();
        let field = fields.get(random.below(fields.len())).ok_or(SurgeryError::NotApplicable("number"))?.clone();
        let old = s.checkpoint().config.get(&field).and_then(Value::as_i64).unwrap_or_default();
        s.set(&field, old + by as i64);
        Ok(())
    }),
    on_model("merge-lost", &[1.0], |s, _, random| {
        s.tokenizer(|json| {
            let merges = merges(json)?;
            let at = random.below(merges.len());
            merges.remove(at);
            Ok(())
        })
    }),
    on_model("merges-exchanged", &[1.0], |s, _, random| {
        s.tokenizer(|json| {
            let merges = merges(json)?;
            let (a, b) = (random.below(merges.len()), random.below(merges.len()));
            merges.swap(a, b);
            if a == b { Err(SurgeryError::NotApplicable("second merge")) } else { Ok(()) }
        })
    }),
    on_model("ids-exchanged", &[1.0], |s, _, random| {
        s.tokenizer(|json| {
            let vocabulary = json.get_mut("model").and_then(|model| model.get_mut("vocab")).and_then(Value::as_object_mut);
            let vocabulary = vocabulary.ok_or_else(|| SurgeryError::Tokenizer("it has no vocabulary".to_owned()))?;
            let order = exchanged(vocabulary.len(), random)?;
            let ids: Vec<Value> = vocabulary.values().cloned().collect();
            vocabulary.values_mut().enumerate().for_each(|(i, id)| *id = ids[order[i]].clone());
            Ok(())
        })
    }),
    on_model("part-lost", &[1.0], |s, _, random| {
        let parts = ["normalizer", "pre_tokenizer", "post_processor", "decoder"];
        let part = parts[random.below(parts.len())];
        s.tokenizer(|json| match json.insert(part.to_owned(), Value::Null) {
            None | Some(Value::Null) => Err(SurgeryError::NotApplicable("part of this name")),
            Some(_) => Ok(()),
        })
    }),
];

fn rms(values: &[f32]) -> f32 {
    (values.iter().map(|x| x * x).sum::<f32>() / values.len().max(1) as f32).sqrt()
}

fn columns(shape: &[usize]) -> usize {
    shape.get(1).copied().unwrap_or(1)
}

fn held(surgery: &mut Surgery<'_>, name: &str) -> Result<ground_truth::Tensor> {
    let tensor = surgery.checkpoint().tensors.get(name).cloned();
    tensor.ok_or(SurgeryError::Tensor { name: name.to_owned(), found: 0 })
}

fn rows(surgery: &mut Surgery<'_>, name: &str) -> Result<usize> {
    held(surgery, name)?.shape().first().copied().filter(|rows| *rows > 1).ok_or(SurgeryError::NotApplicable("second row"))
}

fn matrix(surgery: &mut Surgery<'_>, name: &str) -> Result<(usize, usize)> {
    match *held(surgery, name)?.shape() {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(SurgeryError::NotApplicable("matrix of this name")),
    }
}

/// The order in which two places have changed places.
fn exchanged(n: usize, random: &mut Random) -> Result<Vec<usize>> {
    let (a, b) = (random.below(n), random.below(n));
    let mut order: Vec<usize> = (0..n).collect();
    order.swap(a, b);
    if a == b { Err(SurgeryError::NotApplicable("second place")) } else { Ok(order) }
}

fn on_row(surgery: &mut Surgery<'_>, name: &str, random: &mut Random, change: impl Fn(f32) -> f32) -> Result {
    surgery.edit(name, |values, shape| {
        let width = columns(shape);
        let row = random.below(shape.first().copied().unwrap_or(1));
        values.iter_mut().skip(row * width).take(width).for_each(|x| *x = change(*x));
    })
}

/// The values as another type holds them, in the type that they had.
fn recast(surgery: &mut Surgery<'_>, name: &str, through: Dtype) -> Result {
    let tensor = held(surgery, name)?;
    if tensor.dtype() == through {
        return Err(SurgeryError::NotApplicable("tensor of another type"));
    }
    surgery.put(name, through, tensor.shape().to_vec(), &tensor.to_f32())?;
    let rounded = held(surgery, name)?.to_f32();
    surgery.put(name, tensor.dtype(), tensor.shape().to_vec(), &rounded)
}

/// A fault of the catalogue, at a strength that is not in it.
fn recorded(surgery: &mut Surgery<'_>, id: &str, strength: f64) -> Result {
    let edit = EDITS.iter().find(|(name, _)| *name == id).ok_or(SurgeryError::NotApplicable("recorded fault of this name"))?;
    edit.1(surgery, strength)
}

fn merges(json: &mut Map<String, Value>) -> Result<&mut Vec<Value>> {
    let merges = json.get_mut("model").and_then(|model| model.get_mut("merges")).and_then(Value::as_array_mut);
    merges.filter(|merges| !merges.is_empty()).ok_or_else(|| SurgeryError::Tokenizer("it has no merges".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        assert_eq!(Random::new(1).below(0), 0);
    }

    #[test]
    fn operators_have_names_of_their_own_and_strengths() {
        let mut ids: Vec<&str> = OPERATORS.iter().map(|operator| operator.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), OPERATORS.len());
        assert!(OPERATORS.iter().all(|operator| !operator.strengths.is_empty()));
    }
}
