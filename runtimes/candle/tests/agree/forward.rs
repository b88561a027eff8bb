//! F-RS3: the forward pass, directly: a whole model by both, on the same ids, with no golden between them.

use std::path::PathBuf;

use ground_truth::{Checkpoint, Model};
use ground_truth_candle::Candle;
use ground_truth_candle::device::Choice;
use ground_truth_harness::runtime::{Artifact, Format, Positions, Runtime};

use crate::{Case, agrees};

fn path(model: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(model)
}

/// The logits of `ids` by both; broken is the engine that was fed another first id.
fn case(model: &str, ids: &[u32]) -> Case {
    let artifact = Artifact { model: model.to_owned(), format: Format::Safetensors, quantization: "f32".to_owned(), path: path(model) };
    let candle = Candle::on(Choice::Cpu).load(&artifact, 1).unwrap().logits(ids, Positions::All).unwrap();
    let engine = Model::from_checkpoint(&Checkpoint::open(&path(model)).unwrap()).unwrap();
    let run = |ids: &[u32]| engine.forward(ids, &mut engine.new_cache(), ground_truth::Positions::All).unwrap();
    let first = run(ids);
    assert_eq!((candle.n, candle.vocab), (first.n, first.vocab), "{model}");
    let other = [&[ids[0] ^ 1], &ids[1..]].concat();
    Case { candle: candle.values, engine: first.values, broken: run(&other).values }
}

#[test]
fn f_rs3_llama() {
    agrees("forward", [case("llama-tiny", &(1..80).map(|i| i * 7 % 768).collect::<Vec<_>>())].into_iter());
}

#[test]
fn f_rs3_qwen2() {
    agrees("forward", [case("qwen2-tiny", &(1..80).map(|i| i * 11 % 700).collect::<Vec<_>>())].into_iter());
}
