//! F-RS1: every kernel of the engine against candle's.

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, IndexOp, Module, Tensor};
use ground_truth::kernel::Isa;
use ground_truth::kernel::activation::activate;
use ground_truth::kernel::attention::{Heads, Seen, attention};
use ground_truth::kernel::matmul::{Layout, Weights, matmul};
use ground_truth::kernel::norm::{layer_norm, rms_norm};
use ground_truth::kernel::rope::Rope;
use ground_truth::kernel::softmax::softmax;
use ground_truth::{Activation, Dtype, RopeConfig, RopeScaling};

use crate::random::Random;
use crate::{Case, agrees};

const SEEDS: u64 = 24;
const CPU: Device = Device::Cpu;

fn seeds() -> impl Iterator<Item = Random> {
    (0..SEEDS).map(Random::new)
}

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &CPU).unwrap()
}

fn flat(tensor: Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// `x (rows, n_in)` times the weight of `bytes`, by the engine.
fn product(bytes: &[u8], dtype: Dtype, layout: Layout, x: &[f32], [rows, n_out, n_in]: [usize; 3]) -> Vec<f32> {
    let mut y = vec![0.0; rows * n_out];
    matmul(Isa::best(), false, Weights::new(bytes, dtype, layout, n_out, n_in), x, &mut y, rows);
    y
}

#[test]
fn f_rs1_matmul() {
    agrees(
        "matmul",
        seeds().map(|mut random| {
            let [rows, n_out, n_in] = [random.within(1, 9), random.within(2, 70), random.within(2, 300)];
            let (x, w) = (random.values(rows * n_in, 1.0), random.values(n_out * n_in, 0.1));
            let candle = tensor(&x, &[rows, n_in]).matmul(&tensor(&w, &[n_out, n_in]).t().unwrap()).unwrap();
            let engine = product(&bytes(&w), Dtype::F32, Layout::OutIn, &x, [rows, n_out, n_in]);
            // The last number of every row of the weight is left out.
            let short: Vec<f32> = w.iter().enumerate().map(|(i, w)| if (i + 1) % n_in == 0 { 0.0 } else { *w }).collect();
            let broken = product(&bytes(&short), Dtype::F32, Layout::OutIn, &x, [rows, n_out, n_in]);
            Case { candle: flat(candle), engine, broken }
        }),
    );
}

#[test]
fn f_rs1_matmul_of_a_turned_weight() {
    agrees(
        "matmul",
        seeds().map(|mut random| {
            let [rows, n_out, n_in] = [random.within(1, 5), random.within(2, 70), random.within(2, 200)];
            let (x, w) = (random.values(rows * n_in, 1.0), random.values(n_out * n_in, 0.1));
            let candle = tensor(&x, &[rows, n_in]).matmul(&tensor(&w, &[n_in, n_out])).unwrap();
            let engine = product(&bytes(&w), Dtype::F32, Layout::InOut, &x, [rows, n_out, n_in]);
            let broken = product(&bytes(&w), Dtype::F32, Layout::OutIn, &x, [rows, n_out, n_in]);
            Case { candle: flat(candle), engine, broken }
        }),
    );
}

#[test]
fn f_rs1_matmul_of_sixteen_bits() {
    for (dtype, theirs) in [(Dtype::F16, DType::F16), (Dtype::BF16, DType::BF16)] {
        agrees(
            "matmul",
            seeds().map(|mut random| {
                let [rows, n_out, n_in] = [random.within(1, 5), random.within(2, 40), random.within(2, 200)];
                let (x, w) = (random.values(rows * n_in, 1.0), random.values(n_out * n_in, 0.1));
                let rounded = tensor(&w, &[n_out, n_in]).to_dtype(theirs).unwrap().to_dtype(DType::F32).unwrap();
                let candle = tensor(&x, &[rows, n_in]).matmul(&rounded.t().unwrap()).unwrap();
                let stored = ground_truth::quant::quantize(dtype, &w, n_in).unwrap();
                let engine = product(&stored, dtype, Layout::OutIn, &x, [rows, n_out, n_in]);
                let broken = product(&bytes(&w), Dtype::F32, Layout::OutIn, &x, [rows, n_out, n_in]);
                Case { candle: flat(candle), engine, broken }
            }),
        );
    }
}

#[test]
fn f_rs1_rms_norm() {
    agrees(
        "norm",
        seeds().map(|mut random| {
            let n = random.within(2, 400);
            let (x, weight) = (random.values(n, 0.02), random.values(n, 1.0));
            let eps = 1e-5;
            let candle = candle_nn::ops::rms_norm(&tensor(&x, &[1, n]), &tensor(&weight, &[n]), eps as f32).unwrap();
            let run = |eps| {
                let mut out = vec![0.0; n];
                rms_norm(&x, &weight, eps, &mut out);
                out
            };
            Case { candle: flat(candle), engine: run(eps), broken: run(1e-6) }
        }),
    );
}

#[test]
fn f_rs1_layer_norm() {
    agrees(
        "norm",
        seeds().map(|mut random| {
            let n = random.within(2, 400);
            let x: Vec<f32> = random.values(n, 0.02).iter().map(|x| x + 0.01).collect();
            let (weight, bias) = (random.values(n, 1.0), random.values(n, 0.1));
            let eps = 1e-5;
            let candle =
                candle_nn::ops::layer_norm(&tensor(&x, &[1, n]), &tensor(&weight, &[n]), &tensor(&bias, &[n]), eps as f32).unwrap();
            let run = |bias: &[f32]| {
                let mut out = vec![0.0; n];
                layer_norm(&x, &weight, bias, eps, &mut out);
                out
            };
            Case { candle: flat(candle), engine: run(&bias), broken: run(&vec![0.0; n]) }
        }),
    );
}

/// Cosines and sines at the positions from 0 on, as candle's llama makes them.
fn candle_angles(theta: f32, head_dim: usize, n: usize) -> (Tensor, Tensor) {
    let inv_freq: Vec<f32> = (0..head_dim).step_by(2).map(|i| 1.0 / theta.powf(i as f32 / head_dim as f32)).collect();
    let positions = Tensor::arange(0u32, n as u32, &CPU).unwrap().to_dtype(DType::F32).unwrap().reshape((n, 1)).unwrap();
    let angles = positions.matmul(&tensor(&inv_freq, &[1, head_dim / 2])).unwrap();
    (angles.cos().unwrap(), angles.sin().unwrap())
}

#[test]
fn f_rs1_rope() {
    agrees(
        "rope",
        seeds().map(|mut random| {
            let [n, heads, head_dim] = [random.within(2, 40), random.within(1, 5), 2 * random.within(2, 32)];
            let theta = [10_000.0, 500_000.0, 1_000_000.0][random.within(0, 2)];
            let x = random.values(n * heads * head_dim, 1.0);
            let (cos, sin) = candle_angles(theta as f32, head_dim, n);
            let turned = tensor(&x, &[1, n, heads, head_dim]).transpose(1, 2).unwrap().contiguous().unwrap();
            let candle = candle_nn::rotary_emb::rope(&turned, &cos, &sin).unwrap().transpose(1, 2).unwrap();
            let neighbours = candle_nn::rotary_emb::rope_i(&turned, &cos, &sin).unwrap().transpose(1, 2).unwrap();
            let mut engine = x.clone();
            let rope = Rope::new(&RopeConfig { theta, scaling: RopeScaling::Default }, head_dim);
            rope.angles(&(0..n).collect::<Vec<_>>()).rotate(&mut engine);
            Case { candle: flat(candle), engine, broken: flat(neighbours) }
        }),
    );
}

#[test]
fn f_rs1_softmax() {
    agrees(
        "softmax",
        seeds().map(|mut random| {
            let n = random.within(2, 300);
            let x = random.values(n, 4.0);
            let candle = candle_nn::ops::softmax_last_dim(&tensor(&x, &[1, n])).unwrap();
            let run = |temperature: f64| {
                let mut scores: Vec<f64> = x.iter().map(|x| f64::from(*x) * temperature).collect();
                softmax(&mut scores);
                scores.iter().map(|p| *p as f32).collect()
            };
            Case { candle: flat(candle), engine: run(1.0), broken: run(1.001) }
        }),
    );
}

#[test]
fn f_rs1_activations() {
    type Theirs = fn(&Tensor) -> candle_core::Result<Tensor>;
    let pairs: [(Activation, Theirs, Activation); 6] = [
        (Activation::Silu, candle_nn::ops::silu, Activation::QuickGelu),
        (Activation::Gelu, Tensor::gelu_erf, Activation::GeluTanh),
        (Activation::GeluTanh, Tensor::gelu, Activation::Gelu),
        (Activation::Relu, Tensor::relu, Activation::Relu2),
        (Activation::Relu2, |x| candle_nn::Activation::Relu2.forward(x), Activation::Relu),
        (Activation::Tanh, Tensor::tanh, Activation::Silu),
    ];
    for (ours, theirs, wrong) in pairs {
        agrees(
            "activation",
            seeds().map(|mut random| {
                let n = random.within(64, 300);
                let x = random.values(n, 2.0);
                let candle = theirs(&tensor(&x, &[1, x.len()])).unwrap();
                let run = |activation| {
                    let mut out = x.clone();
                    activate(false, activation, &mut out);
                    out
                };
                Case { candle: flat(candle), engine: run(ours), broken: run(wrong) }
            }),
        );
    }
}

/// Attention out of candle's operations, as its llama puts them together.
fn candle_attention(q: &[f32], k: &[f32], v: &[f32], n: usize, heads: Heads) -> Tensor {
    let split = |x: &[f32], h: usize| tensor(x, &[1, n, h, heads.head_dim]).transpose(1, 2).unwrap().contiguous().unwrap();
    let groups = heads.n_heads / heads.n_kv_heads;
    let repeat = |x: Tensor| candle_transformers::utils::repeat_kv(x, groups).unwrap();
    let (q, k, v) = (split(q, heads.n_heads), repeat(split(k, heads.n_kv_heads)), repeat(split(v, heads.n_kv_heads)));
    let scores = (q.matmul(&k.t().unwrap()).unwrap() * heads.scale).unwrap();
    let mask: Vec<f32> = (0..n).flat_map(|i| (0..n).map(move |j| if j > i { f32::NEG_INFINITY } else { 0.0 })).collect();
    let scores = scores.broadcast_add(&tensor(&mask, &[1, 1, n, n])).unwrap();
    let seen = candle_nn::ops::softmax_last_dim(&scores).unwrap().matmul(&v.contiguous().unwrap()).unwrap();
    seen.transpose(1, 2).unwrap().i(0).unwrap().contiguous().unwrap()
}

#[test]
fn f_rs1_attention() {
    agrees(
        "attention",
        seeds().map(|mut random| {
            let (n, n_kv_heads, head_dim) = (random.within(2, 40), random.within(1, 3), 2 * random.within(2, 32));
            let n_heads = n_kv_heads * random.within(1, 3);
            let heads = Heads { n_heads, n_kv_heads, head_dim, scale: 1.0 / (head_dim as f64).sqrt(), window: None };
            let q = random.values(n * n_heads * head_dim, 1.0);
            let (keys, values) = (random.values(n * n_kv_heads * head_dim, 1.0), random.values(n * n_kv_heads * head_dim, 1.0));
            let run = |heads: Heads| {
                let mut out = vec![0.0; q.len()];
                attention(Isa::best(), false, heads, Seen { keys: &keys, values: &values }, 0, &q, &mut out);
                out
            };
            let candle = flat(candle_attention(&q, &keys, &values, n, heads));
            Case { candle, engine: run(heads), broken: run(Heads { scale: heads.scale * 1.01, ..heads }) }
        }),
    );
}

/// The types that both sides know.
pub const BLOCKS: [(Dtype, GgmlDType); 10] = [
    (Dtype::Q8_0, GgmlDType::Q8_0),
    (Dtype::Q4_0, GgmlDType::Q4_0),
    (Dtype::Q4_1, GgmlDType::Q4_1),
    (Dtype::Q5_0, GgmlDType::Q5_0),
    (Dtype::Q5_1, GgmlDType::Q5_1),
    (Dtype::Q2K, GgmlDType::Q2K),
    (Dtype::Q3K, GgmlDType::Q3K),
    (Dtype::Q4K, GgmlDType::Q4K),
    (Dtype::Q5K, GgmlDType::Q5K),
    (Dtype::Q6K, GgmlDType::Q6K),
];

/// A weight of candle's over bytes that the engine wrote.
pub fn candle_weight(bytes: &[u8], dtype: GgmlDType, shape: (usize, usize)) -> QTensor {
    let storage = QStorage::from_data(bytes.to_vec().into(), &CPU, dtype).unwrap();
    QTensor::new(storage, shape).unwrap()
}

#[test]
fn f_rs1_products_with_dequantized_weights() {
    for (ours, theirs) in BLOCKS {
        agrees(
            "matmul",
            (0..6).map(Random::new).map(|mut random| {
                let [rows, n_out, n_in] = [random.within(1, 5), random.within(2, 20), 256 * random.within(1, 3)];
                let (x, w) = (random.values(rows * n_in, 1.0), random.values(n_out * n_in, 0.1));
                let stored = ground_truth::quant::quantize(ours, &w, n_in).unwrap();
                let weight = candle_weight(&stored, theirs, (n_out, n_in)).dequantize(&CPU).unwrap();
                let candle = tensor(&x, &[rows, n_in]).matmul(&weight.t().unwrap()).unwrap();
                let engine = product(&stored, ours, Layout::OutIn, &x, [rows, n_out, n_in]);
                let broken = product(&bytes(&w), Dtype::F32, Layout::OutIn, &x, [rows, n_out, n_in]);
                Case { candle: flat(candle), engine, broken }
            }),
        );
    }
}

/// candle quantizes the activations of these products, the engine does not: the distance is what that costs.
#[test]
fn f_rs1_products_with_quantized_activations() {
    for (ours, theirs) in BLOCKS {
        agrees(
            "product.blocks",
            (0..6).map(Random::new).map(|mut random| {
                let [rows, n_out, n_in] = [random.within(1, 5), random.within(8, 40), 256 * random.within(1, 3)];
                let (x, w) = (random.values(rows * n_in, 1.0), random.values(n_out * n_in, 0.1));
                let stored = ground_truth::quant::quantize(ours, &w, n_in).unwrap();
                let candle = QMatMul::from_qtensor(candle_weight(&stored, theirs, (n_out, n_in))).unwrap();
                let candle = candle.forward(&tensor(&x, &[rows, n_in])).unwrap();
                let engine = product(&stored, ours, Layout::OutIn, &x, [rows, n_out, n_in]);
                // Every second half block of the weight changes its sign.
                let mut values = vec![0.0; w.len()];
                ground_truth::quant::dequantize(ours, &stored, &mut values);
                values.iter_mut().enumerate().for_each(|(i, w)| *w = if i / 16 % 2 == 0 { *w } else { -*w });
                let broken = product(&bytes(&values), Dtype::F32, Layout::OutIn, &x, [rows, n_out, n_in]);
                Case { candle: flat(candle), engine, broken }
            }),
        );
    }
}
