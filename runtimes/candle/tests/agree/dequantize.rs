//! F-RS5: the numbers that blocks stand for, bit for bit as candle has them.

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device};
use ground_truth::Dtype;
use ground_truth::quant::{dequantize, quantize};

use crate::kernels::{BLOCKS, candle_weight};
use crate::random::Random;

/// What both sides read in the bytes.
fn both(ours: Dtype, theirs: GgmlDType, bytes: &[u8], shape: (usize, usize)) -> (Vec<u32>, Vec<u32>) {
    let mut engine = vec![0.0; shape.0 * shape.1];
    dequantize(ours, bytes, &mut engine);
    let candle = candle_weight(bytes, theirs, shape).dequantize(&Device::Cpu).unwrap();
    let candle: Vec<f32> = candle.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap();
    // Zeros of either sign are one number here: which one a product with a zero scale gives is nobody's claim.
    let bits = |values: &[f32]| values.iter().map(|value| if *value == 0.0 { 0 } else { value.to_bits() }).collect();
    (bits(&engine), bits(&candle))
}

fn first_difference(engine: &[u32], candle: &[u32]) -> Option<String> {
    assert_eq!(engine.len(), candle.len());
    let n = (0..engine.len()).filter(|&i| engine[i] != candle[i]).count();
    let at = (0..engine.len()).find(|&i| engine[i] != candle[i])?;
    let shown = |bits: u32| format!("{:e} (0x{bits:08x})", f32::from_bits(bits));
    Some(format!("{n} of {} differ, the first at {at}: {} where candle has {}", engine.len(), shown(engine[at]), shown(candle[at])))
}

#[test]
fn f_rs5_blocks_that_a_quantizer_wrote() {
    for (ours, theirs) in BLOCKS {
        for seed in 0..16 {
            let mut random = Random::new(seed);
            let shape = (random.within(1, 6), 256 * random.within(1, 3));
            let values = random.values(shape.0 * shape.1, 0.1);
            let bytes = quantize(ours, &values, shape.1).unwrap();
            let (engine, candle) = both(ours, theirs, &bytes, shape);
            assert_eq!(first_difference(&engine, &candle), None, "{ours}, seed {seed}");
            // A comparison that a changed byte does not move is none.
            let mut changed = bytes.clone();
            let last = changed.len() - 1;
            changed[last] ^= 0x11;
            let (broken, _) = both(ours, theirs, &changed, shape);
            assert!(first_difference(&broken, &candle).is_some(), "{ours}, seed {seed}: a changed byte changed nothing");
        }
    }
}

/// Every code, every scale: bytes that no quantizer would write are numbers too. Scales are kept finite, as NaN has many bits.
#[test]
fn f_rs5_random_blocks() {
    for (ours, theirs) in BLOCKS {
        let (elements, size) = ours.block();
        for seed in 0..64 {
            let mut random = Random::new(seed);
            let blocks = 256 / elements * random.within(4, 8);
            let bytes: Vec<u8> = (0..blocks * size).map(|_| random.within(0, 255) as u8).collect();
            let shape = (1, blocks * elements);
            let (engine, candle) = both(ours, theirs, &bytes, shape);
            let finite: Vec<usize> = (0..engine.len()).filter(|&i| f32::from_bits(candle[i]).is_finite()).collect();
            let of = |bits: &[u32]| finite.iter().map(|&i| bits[i]).collect::<Vec<_>>();
            assert!(!finite.is_empty(), "{ours}, seed {seed}");
            assert_eq!(first_difference(&of(&engine), &of(&candle)), None, "{ours}, seed {seed}");
            let stays = (0..engine.len()).all(|i| f32::from_bits(candle[i]).is_finite() || !f32::from_bits(engine[i]).is_finite());
            assert!(stays, "{ours}, seed {seed}: a number where candle has none");
        }
    }
}

#[test]
fn f_rs5_floats_of_sixteen_bits() {
    for (ours, theirs) in [(Dtype::F16, GgmlDType::F16), (Dtype::BF16, GgmlDType::BF16)] {
        // Every pattern that is a number.
        let all: Vec<u16> = (0..=u16::MAX)
            .filter(|bits| {
                let value = if ours == Dtype::F16 { half::f16::from_bits(*bits).to_f32() } else { half::bf16::from_bits(*bits).to_f32() };
                value.is_finite()
            })
            .collect();
        let bytes: Vec<u8> = all.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let (engine, candle) = both(ours, theirs, &bytes, (1, all.len()));
        assert_eq!(first_difference(&engine, &candle), None, "{ours}");
    }
}
