//! Every block type against what gguf-py reads and writes: `golden/vectors/quant.json`.

use std::path::Path;

use ground_truth::kernel::Isa;
use ground_truth::{Dtype, quant};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn vectors() -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/vectors");
    let file = folder.join("quant.json");
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let sums = std::fs::read_to_string(folder.join("quant.sha256")).unwrap();
    assert!(
        sums.contains(&format!("{}  quant.json\n", hex(&Sha256::digest(&bytes)))),
        "quant.json is not the file that quant.sha256 vouches for"
    );
    serde_json::from_slice(&bytes).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("hex digits");
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex digits")).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    bytes(value).as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn dtype(name: &str) -> Dtype {
    Dtype::ALL.into_iter().find(|dtype| dtype.name() == name).unwrap_or_else(|| panic!("no dtype {name}"))
}

/// Bits, where every NaN has the same.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| if v.is_nan() { 0x7FC0_0000 } else { v.to_bits() }).collect()
}

fn sha256(values: &[u32]) -> String {
    hex(&Sha256::digest(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()))
}

fn dequantized(isa: Isa, dtype: Dtype, blocks: &[u8]) -> Vec<f32> {
    let (n, size) = dtype.block();
    let mut out = vec![0.0; blocks.len() / size * n];
    quant::dequantize_with(isa, dtype, blocks, &mut out);
    out
}

/// Multiples of 2^-23 in [-1, 1), the second half of them cubed: the rule of `golden/quant_vectors.py`.
fn bulk(seed: u64, n: usize) -> Vec<f32> {
    let number = |i: usize| {
        let mut z = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let v = (((z ^ (z >> 31)) >> 40) as i64 - (1 << 23)) as f32 * 2f32.powi(-23);
        if i < n / 2 { v } else { v * (v * v) }
    };
    (0..n).map(number).collect()
}

#[test]
fn random_blocks_are_read_as_gguf_py_reads_them() {
    let vectors = vectors();
    let cases = vectors["dequantize"].as_object().unwrap();
    assert_eq!(cases.len(), 13);
    for (name, case) in cases {
        for isa in Isa::all() {
            let (ours, expected) = (dequantized(isa, dtype(name), &bytes(&case["blocks"])), floats(&case["values"]));
            assert_eq!(ours.len(), expected.len(), "{name}");
            let (our_bits, expected_bits) = (bits(&ours), bits(&expected));
            let wrong = (0..ours.len()).find(|&i| our_bits[i] != expected_bits[i]).map(|i| (i, ours[i], expected[i]));
            assert_eq!(wrong, None, "{name}, {isa:?}: index, ours, theirs");
        }
    }
}

/// All 65,536 scales, subnormal, infinite and NaN among them, and every pattern of every other byte of a header.
#[test]
fn every_pattern_of_a_header_is_read_as_gguf_py_reads_it() {
    let vectors = vectors();
    for (name, case) in vectors["dequantize"].as_object().unwrap() {
        let (dtype, base) = (dtype(name), bytes(&case["base"]));
        for sweep in list(&case["sweeps"]) {
            let (at, width) = (sweep["at"].as_u64().unwrap() as usize, sweep["width"].as_u64().unwrap() as usize);
            let mut blocks = base.repeat(1 << (8 * width));
            for (pattern, block) in blocks.chunks_mut(base.len()).enumerate() {
                block[at..at + width].copy_from_slice(&pattern.to_le_bytes()[..width]);
            }
            let mut values = bits(&dequantized(Isa::best(), dtype, &blocks));
            if width == 2 {
                let per_block = dtype.block().0 / 32;
                let (all, _) = values.as_chunks::<32>();
                values = all.chunks(per_block).enumerate().flat_map(|(i, block)| block[i % per_block]).collect();
            }
            assert_eq!(sha256(&values), sweep["sha256"].as_str().unwrap(), "{name}, byte {at}, {width} bytes wide");
        }
    }
}

/// To the bit: no product here is contracted with a sum, in numpy as in this engine.
#[test]
fn numbers_become_the_blocks_that_gguf_py_writes() {
    let vectors = vectors();
    let cases = &vectors["quantize"];
    let values: Vec<Vec<f32>> = list(&cases["values"]).iter().map(floats).collect();
    let (seed, n) = (cases["bulk"]["seed"].as_u64().unwrap(), cases["bulk"]["n"].as_u64().unwrap() as usize);
    let bulk = bulk(seed, n);
    let types = cases["types"].as_object().unwrap();
    assert_eq!(types.len(), 7);
    for (name, case) in types {
        let (dtype, blocks) = (dtype(name), list(&case["blocks"]));
        assert_eq!(blocks.len(), values.len());
        let mut n_compared = 0;
        for (values, block) in values.iter().zip(blocks).filter(|(_, block)| !block.is_null()) {
            let ours = quant::quantize(dtype, values, 32).unwrap();
            assert_eq!(hex(&ours), block.as_str().unwrap(), "{name} of {values:?}");
            n_compared += 1;
        }
        assert!(n_compared * 10 >= blocks.len() * 9, "{name}: {n_compared} of {} groups are defined", blocks.len());
        let ours = quant::quantize(dtype, &bulk, 32).unwrap();
        assert_eq!(hex(&Sha256::digest(&ours)), case["bulk"].as_str().unwrap(), "{name}: {n} numbers by rule");
    }
}

/// What the search of the k-quants finds is ours to choose, and then to keep: a file converted again has the same bytes, on any machine.
#[test]
fn the_bytes_that_a_search_finds_stay() {
    let any = bulk(11, 2048);
    let shifted = |by: f32| any[..1024].iter().map(move |v| v + by);
    // One large number in a block of small ones, one number alone, all the same, and nothing.
    let lone = (0..256).map(|i| if i == 77 { 3.5 } else { any[i] * 1e-3 });
    let single = (0..256).map(|i| if i == 200 { -0.25 } else { 0.0 });
    let values: Vec<f32> = any.iter().copied().chain(shifted(1.5)).chain(shifted(-1.5)).chain(lone).chain(single).collect();
    let values: Vec<f32> = values.into_iter().chain([0.625; 256]).chain([-0.625; 256]).chain([0.0; 256]).collect();
    let found: Vec<(&str, u32)> = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "AprQ8", "AprQ4"]
        .map(|name| (name, crc32fast::hash(&quant::quantize(dtype(name), &values, values.len()).unwrap())))
        .to_vec();
    assert_eq!(found, SEARCHED);
}

const SEARCHED: [(&str, u32); 7] = [
    ("Q2_K", 0x47f6dcc4),
    ("Q3_K", 0x155dd187),
    ("Q4_K", 0xb98765f5),
    ("Q5_K", 0x62f5909c),
    ("Q6_K", 0x30fe95a8),
    ("AprQ8", 0x0d17b675),
    ("AprQ4", 0x8a6b3acf),
];

/// Where a block of 256 holds a number that is none, the whole block reads as none: a search over it would end anywhere. Its neighbours stay.
#[test]
fn a_block_with_a_number_that_is_none_is_none() {
    let values = bulk(7, 512);
    for name in ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"] {
        let dtype = dtype(name);
        let sound = dequantized(Isa::best(), dtype, &quant::quantize(dtype, &values, 512).unwrap());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = values.clone();
            values[300] = bad;
            let found = dequantized(Isa::best(), dtype, &quant::quantize(dtype, &values, 512).unwrap());
            assert_eq!(found[..256], sound[..256], "{name}, {bad}");
            assert!(found[256..].iter().all(|value| value.is_nan()), "{name}, {bad}");
        }
    }
}

#[test]
fn types_that_are_read_alone_are_not_written() {
    for name in ["IQ4_NL", "IQ4_XS", "MXFP4"] {
        assert_eq!(quant::quantize(dtype(name), &bulk(7, 256), 256), None, "{name}");
    }
}
