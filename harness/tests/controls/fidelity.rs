//! The engine behind the protocol answers what the engine answers, bit for bit.

use std::path::Path;

use ground_truth_falsification::observation::Exact;
use ground_truth_harness::runtime::native::NativeRuntime;
use ground_truth_harness::runtime::process::{Entry, ProcessRuntime};
use ground_truth_harness::runtime::{Artifact, Chat, Failure, Format, Logits, Positions, Runtime, SampleParams, SampleRequest, Session};

use super::{BINARY, PATIENT, model};

/// JSON carries float64 in decimal digits; what is read from them differs by a unit in the last place at most.
const LAST_PLACE: f64 = f64::EPSILON;

fn same(ours: f64, theirs: f64) -> bool {
    ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()) || (ours - theirs).abs() <= LAST_PLACE * ours.abs()
}

fn bits(logits: Result<Logits, Failure>) -> Result<(usize, usize, Vec<u32>), Failure> {
    logits.map(|logits| (logits.n, logits.vocab, logits.values.iter().map(|value| value.to_bits()).collect()))
}

#[test]
fn the_engine_over_the_protocol_is_the_engine_in_process() {
    let engine = NativeRuntime::new();
    let mut entry = Entry::of("served", &[BINARY, "serve"], Path::new("/"));
    entry.sessions = 2;
    let served = ProcessRuntime::start(entry, PATIENT).expect("it says hello");
    let (ours, theirs) = (engine.capabilities(), served.capabilities());
    assert_eq!(
        (ours.formats, ours.architectures, ours.ops, ours.arithmetic),
        (theirs.formats, theirs.architectures, theirs.ops, theirs.arithmetic)
    );
    assert_eq!(theirs.version, format!("native {}", ours.version));
    for name in ["llama-tiny", "qwen2-tiny", "gpt2-tiny", "llama-outlier"] {
        let artifact = Artifact { model: name.into(), format: Format::Safetensors, quantization: "any".into(), path: model(name) };
        for threads in [1, 2] {
            let mut pair = [
                engine.load(&artifact, threads).expect("the engine loads"),
                served.load(&artifact, threads).expect("the served engine loads"),
            ];
            answer_alike(name, &mut pair);
        }
    }
    served.end();
}

/// Asks both the same, and compares.
#[expect(clippy::too_many_lines, clippy::cognitive_complexity, reason = "one question after another, each with its assertions")]
fn answer_alike(name: &str, pair: &mut [Box<dyn Session>; 2]) {
    fn both<T>(pair: &mut [Box<dyn Session>; 2], ask: impl Fn(&mut dyn Session) -> T) -> (T, T) {
        let [ours, theirs] = pair;
        (ask(ours.as_mut()), ask(theirs.as_mut()))
    }
    macro_rules! alike {
        ($ask:expr) => {{
            let (ours, theirs) = both(pair, $ask);
            assert_eq!(ours, theirs, "{name}");
            ours
        }};
    }
    alike!(|session| session.warnings());
    let metadata = alike!(|session| session.metadata()).expect("metadata");
    let n_ctx = metadata.n_ctx.expect("a context");
    for text in ["Once upon a time", "", "\u{1f600}\u{202e}\u{0}\n\"\\"] {
        for add_special in [true, false] {
            let ids = alike!(|session| session.tokenize(text, add_special)).expect("ids");
            alike!(|session| session.detokenize(&ids)).expect("bytes");
            // A part of a character is a legal answer.
            alike!(|session| session.detokenize(&ids[..ids.len() / 2])).expect("bytes");
        }
    }
    let ids = alike!(|session| session.tokenize("The lamp in the window was lit.", true)).expect("ids");
    for positions in [Positions::All, Positions::Last] {
        alike!(|session| bits(session.logits(&ids, positions))).expect("logits");
        alike!(|session| bits(session.logits_chunked(&ids, positions, &[2, ids.len() - 2]))).expect("logits");
        let batch = alike!(|session| {
            let many = session.logits_batch(&[ids.clone(), ids[..3].to_vec()], positions);
            many.map(|many| many.into_iter().map(|logits| bits(Ok(logits))).collect::<Vec<_>>())
        });
        assert_eq!(batch.map(|many| many.len()), Ok(2));
    }
    // Refusals travel with their kind and message.
    for wrong in [&[][..], &[u32::MAX], &vec![1; n_ctx + 1]] {
        let refused = alike!(|session| bits(session.logits(wrong, Positions::Last)));
        assert!(matches!(refused, Err(Failure::Refused { .. })), "{refused:?}");
    }
    assert!(alike!(|session| session.logits_chunked(&ids, Positions::All, &[1]).is_err()));
    for stop_at_eos in [true, false] {
        alike!(|session| session.generate(&ids, 12, stop_at_eos)).expect("ids");
    }
    for decode in [true, false] {
        let (ours, theirs) = both(pair, |session| session.sketch(&ids, decode).expect("stages"));
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.stage, theirs.stage);
            let numbers = ours.numbers();
            assert!((0..6).all(|i| same(numbers[i], theirs.numbers()[i])), "{name}: {ours:?}, {theirs:?}");
        }
    }
    let (ours, theirs) = both(pair, |session| session.tensors().expect("tensors"));
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(
            (&ours.name, &ours.dtype, &ours.shape, ours.n_nonfinite),
            (&theirs.name, &theirs.dtype, &theirs.shape, theirs.n_nonfinite)
        );
        let numbers = |row: &ground_truth_harness::runtime::TensorRow| [row.rms, row.mean, row.min, row.max];
        assert!((0..4).all(|i| same(numbers(ours)[i], numbers(theirs)[i])), "{name}: {ours:?}, {theirs:?}");
    }
    for tensor in [ours[0].name.as_str(), "no.such.tensor"] {
        let values =
            |session: &mut dyn Session| session.weights(tensor).map(|values| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        alike!(values).ok();
    }
    assert!(!alike!(|session| session.container()).expect("a container").tensors.is_empty());
    let chat = Chat {
        template: Some("{{ bos_token }}{% for m in messages %}{{ m | tojson }}{% endfor %}{{ tools | tojson }}".into()),
        messages: r#"[{"role":"user","content":"Hi \u202e <there>"},{"content":"b","role":"assistant"}]"#.into(),
        tools: Some(r#"[{"z":1,"a":{"y":2.5,"b":null}}]"#.into()),
        variables: r#"{"bos_token":"<s>"}"#.into(),
        add_generation_prompt: true,
        now: Some("2026-07-05T09:08:07".into()),
    };
    alike!(|session| session.chat(&chat)).ok();
    alike!(|session| session.chat(&Chat { template: Some("{% for".into()), ..chat.clone() })).expect_err("a template that does not parse");
    let params = SampleParams { temperature: Some(Exact::new(0.7)), top_k: Some(3), eos_token_id: vec![1], ..SampleParams::default() };
    let logits = [0.5f32, -1.0, 3.25, f32::NEG_INFINITY, 2.0];
    let logit_bits = logits.iter().map(|value| value.to_bits()).collect();
    let request = SampleRequest { logit_bits, prompt: vec![1], generated: vec![2, 4], params, u: Exact::new(0.3) };
    let drawn = alike!(|session| {
        let drawn = session.sample(&request);
        drawn.map(|drawn| (drawn.id, drawn.logits.iter().map(|value| value.to_bits()).collect::<Vec<_>>()))
    });
    assert!(matches!(drawn, Ok(_) | Err(Failure::Unsupported { .. })), "{drawn:?}");
}
