//! The answering side: any runtime of this crate behind the protocol.

use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Batch, Chat, Drawn, Generated, Hello, Ids, Loaded, Stages, Stored, Tensors, Text};
use super::array::{Array, Bytes};
use super::{Request, VERSION};
use crate::runtime::{self, Artifact, Capabilities, Failure, Format, Logits, Op, Runtime, Sampled, Session};

/// The longest request that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// Answers requests until the input ends.
///
/// # Errors
/// What reading or writing says; a request longer than 64 MiB is one such.
pub fn serve(runtime: &dyn Runtime, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut session = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = input.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if n == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a request of {LONGEST} bytes or more")));
        }
        let (id, request) = Request::read(&line);
        let refused = |message: String| Failure::Refused { kind: "request".to_owned(), message };
        let answer = request.map_err(refused).and_then(|request| answer(runtime, &mut session, request));
        let mut answer = answer.unwrap_or_else(|failure| error(&failure));
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("id".to_owned(), json!(id));
        }
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
}

fn error(failure: &Failure) -> Value {
    let (kind, message) = match failure {
        Failure::Refused { kind, message } => (kind.as_str(), message.clone()),
        Failure::Unsupported { op } => ("unsupported", op.to_string()),
        other => ("failed", other.to_string()),
    };
    json!({"error": {"kind": kind, "message": message}})
}

fn written<A: Serialize>(answer: A) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| Failure::Refused { kind: "answer".to_owned(), message: error.to_string() })
}

fn answer(runtime: &dyn Runtime, session: &mut Option<Box<dyn Session>>, request: Request) -> Result<Value, Failure> {
    match &request {
        Request::Hello { protocol } if *protocol != VERSION => {
            let message = format!("version {protocol} of the protocol; this side speaks {VERSION}");
            return Err(Failure::Refused { kind: "protocol".to_owned(), message });
        }
        Request::Hello { .. } => return written(hello(runtime.capabilities())),
        Request::Load { path, threads } => {
            let (loaded, opened) = load(runtime, path, *threads)?;
            *session = Some(opened);
            return written(loaded);
        }
        _ => {}
    }
    let unloaded = || Failure::Refused { kind: "request".to_owned(), message: "nothing is loaded".to_owned() };
    ask(session.as_mut().ok_or_else(unloaded)?.as_mut(), request)
}

fn hello(capabilities: Capabilities) -> Hello {
    Hello {
        runtime: capabilities.name,
        version: capabilities.version,
        formats: capabilities.formats.iter().map(ToString::to_string).collect(),
        quantizations: capabilities.quantizations,
        architectures: capabilities.architectures,
        ops: capabilities.ops.iter().map(ToString::to_string).collect(),
        arithmetic: Some(capabilities.arithmetic.name().to_owned()),
    }
}

fn load(runtime: &dyn Runtime, path: &str, threads: usize) -> Result<(Loaded, Box<dyn Session>), Failure> {
    let path = PathBuf::from(path);
    let refused = |error: ground_truth::Error| Failure::Refused { kind: error.kind().to_owned(), message: error.to_string() };
    let artifact = Artifact {
        model: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
        format: Format::of(&path).map_err(refused)?,
        quantization: "unknown".to_owned(),
        path,
    };
    let mut session = runtime.load(&artifact, threads)?;
    let metadata = match session.metadata() {
        Ok(metadata) => Some(metadata.into()),
        Err(Failure::Unsupported { op: Op::Metadata }) => None,
        Err(failure) => return Err(failure),
    };
    Ok((Loaded { ok: true, metadata, warnings: session.warnings() }, session))
}

fn array(logits: Logits) -> Array {
    Array { shape: vec![logits.n, logits.vocab], values: logits.values }
}

fn ask(session: &mut dyn Session, request: Request) -> Result<Value, Failure> {
    match request {
        Request::Hello { .. } | Request::Load { .. } => {
            Err(Failure::Refused { kind: "request".to_owned(), message: "an artifact is loaded already".to_owned() })
        }
        Request::Tokenize { text, add_special } => written(Ids { ids: session.tokenize(&text, add_special)? }),
        Request::Detokenize { ids } => written(Text { bytes: Bytes(session.detokenize(&ids)?) }),
        Request::Logits { ids, positions, chunks: None } => written(array(session.logits(&ids, positions.into())?)),
        Request::Logits { ids, positions, chunks: Some(chunks) } => {
            written(array(session.logits_chunked(&ids, positions.into(), &chunks)?))
        }
        Request::LogitsBatch { batch, positions } => {
            let logits = session.logits_batch(&batch, positions.into())?;
            written(Batch { logits: logits.into_iter().map(array).collect() })
        }
        Request::Generate { ids, max_new_tokens, stop_at_eos } => {
            let (ids, stop) = session.generate(&ids, max_new_tokens, stop_at_eos)?;
            written(Generated { ids, stop: stop.into() })
        }
        Request::Sketch { ids, decode } => written(Stages { stages: session.sketch(&ids, decode)?.into_iter().map(Into::into).collect() }),
        Request::Tensors => written(Tensors { tensors: session.tensors()?.into_iter().map(Into::into).collect() }),
        Request::Weights { tensor } => {
            // A session says the values alone; of one dimension they are whatever their shape is.
            let values = session.weights(&tensor)?;
            written(Array { shape: vec![values.len()], values })
        }
        Request::Container => written(Stored { container: session.container()?.into() }),
        Request::Chat(asked) => {
            let chat = runtime::Chat {
                template: asked.template,
                messages: asked.messages.to_string(),
                tools: asked.tools.map(|tools| tools.to_string()),
                variables: asked.variables.to_string(),
                add_generation_prompt: asked.add_generation_prompt,
                now: asked.now,
            };
            let (text, ids) = session.chat(&chat)?;
            written(Chat { text, ids })
        }
        Request::Sample(draw) => {
            let request = runtime::SampleRequest {
                logit_bits: draw.logits.values.iter().map(|value| value.to_bits()).collect(),
                prompt: draw.prompt,
                generated: draw.generated,
                params: draw.params,
                u: draw.u,
            };
            let Sampled { logits, id } = session.sample(&request)?;
            written(Drawn { logits: Array { shape: vec![logits.len()], values: logits }, token: id })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::native::NativeRuntime;

    fn answers(input: &str) -> Vec<Value> {
        let mut output = Vec::new();
        serve(&NativeRuntime::new(), input.as_bytes(), &mut output).unwrap();
        let lines = std::str::from_utf8(&output).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Each line has its answer, with its id; so has a last one without an end, and what is no request, which has none.
    #[test]
    fn every_line_is_answered() {
        let hello = format!(r#"{{"id":7,"op":"hello","protocol":{VERSION}}}"#);
        let found = answers(&format!("{hello}\nno request\n{{\"id\":8,\"op\":\"tensors\"}}\n{hello}"));
        let ids: Vec<&Value> = found.iter().map(|answer| &answer["id"]).collect();
        assert_eq!(ids, [&json!(7), &Value::Null, &json!(8), &json!(7)]);
        assert_eq!((found[0]["runtime"].as_str(), &found[3]), (Some("native"), &found[0]));
        for refused in &found[1..3] {
            assert!(refused["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{refused}");
        }
        assert!(answers("").is_empty());
    }

    fn model() -> PathBuf {
        crate::workspace::Workspace::from_env().root().join("testdata/models/llama-tiny")
    }

    /// The engine without the protocol, and what it answers behind it: to loading, then to these.
    fn both(requests: &[Request]) -> (Box<dyn Session>, Vec<Vec<u8>>) {
        let engine = NativeRuntime::new();
        let artifact = Artifact { model: "m".to_owned(), format: Format::Safetensors, quantization: "f32".to_owned(), path: model() };
        let load = Request::Load { path: model().to_string_lossy().into_owned(), threads: 1 };
        let all = std::iter::once(&load).chain(requests);
        let input: Vec<u8> = all.zip(10..).flat_map(|(request, id)| request.line(id).unwrap()).collect();
        let mut output = Vec::new();
        serve(&engine, input.as_slice(), &mut output).unwrap();
        let lines: Vec<Vec<u8>> = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        assert_eq!(lines.len(), requests.len() + 1);
        (engine.load(&artifact, 1).unwrap(), lines)
    }

    /// The answer to the request at this place; loading is the first.
    fn read<A: serde::de::DeserializeOwned>(lines: &[Vec<u8>], place: usize) -> A {
        super::super::read(&lines[place], 10 + place as u64, Op::Metadata).unwrap()
    }

    const IDS: [u32; 5] = [1, 300, 301, 302, 303];
    const ALL: super::super::Positions = super::super::Positions::All;
    const LAST: super::super::Positions = super::super::Positions::Last;

    /// What the engine answers behind the protocol is what it answers without, to the bit: here what is a text or an id.
    #[test]
    fn texts_and_ids_are_those_of_the_runtime() {
        let chat = runtime::Chat {
            template: Some(
                "{{ bos }}{% for m in messages %}{{ m.content }}{% endfor %}{{ tools | length }}{{ strftime_now('%Y') }}".to_owned(),
            ),
            messages: r#"[{"role":"user","content":"hi"}]"#.to_owned(),
            tools: Some("[{}]".to_owned()),
            variables: r#"{"bos":"<s>"}"#.to_owned(),
            add_generation_prompt: true,
            now: Some("2026-07-05T09:08:07".to_owned()),
        };
        let (mut session, lines) = both(&[
            Request::Tokenize { text: "Two plus two".to_owned(), add_special: false },
            Request::Detokenize { ids: IDS.to_vec() },
            Request::Generate { ids: IDS.to_vec(), max_new_tokens: 4, stop_at_eos: false },
            Request::chat(&chat).unwrap(),
        ]);
        assert_eq!(read::<Ids>(&lines, 1).ids, session.tokenize("Two plus two", false).unwrap());
        assert_eq!(read::<Text>(&lines, 2).bytes.0, session.detokenize(&IDS).unwrap());
        let generated: Generated = read(&lines, 3);
        assert_eq!((generated.ids, runtime::Stop::from(generated.stop)), session.generate(&IDS, 4, false).unwrap());
        let told: Chat = read(&lines, 4);
        assert_eq!(told.text, "<s>hi12026");
        assert_eq!((told.text, told.ids), session.chat(&chat).unwrap());
    }

    #[test]
    fn numbers_are_those_of_the_runtime_to_the_bit() {
        let batch = vec![IDS.to_vec(), IDS[1..].to_vec()];
        let (mut session, lines) = both(&[
            Request::Logits { ids: IDS.to_vec(), positions: LAST, chunks: None },
            Request::Logits { ids: IDS.to_vec(), positions: ALL, chunks: Some(vec![1, 4]) },
            Request::LogitsBatch { batch: batch.clone(), positions: LAST },
            Request::Sketch { ids: IDS.to_vec(), decode: true },
        ]);
        assert_eq!(read::<Array>(&lines, 1), array(session.logits(&IDS, runtime::Positions::Last).unwrap()));
        assert_eq!(read::<Array>(&lines, 2), array(session.logits_chunked(&IDS, runtime::Positions::All, &[1, 4]).unwrap()));
        let together = session.logits_batch(&batch, runtime::Positions::Last).unwrap();
        assert_eq!(read::<Batch>(&lines, 3).logits, together.into_iter().map(array).collect::<Vec<_>>());
        let stages: Vec<runtime::StageSketch> = read::<Stages>(&lines, 4).stages.into_iter().map(Into::into).collect();
        assert_eq!(stages, session.sketch(&IDS, true).unwrap());
    }

    #[test]
    fn files_are_those_of_the_runtime() {
        let name = "model.norm.weight".to_owned();
        let (mut session, lines) = both(&[Request::Tensors, Request::Weights { tensor: name.clone() }, Request::Container]);
        let loaded: Loaded = read(&lines, 0);
        let due = (true, session.metadata().ok(), session.warnings());
        assert_eq!((loaded.ok, loaded.metadata.map(runtime::Metadata::from), loaded.warnings), due);
        let tensors: Vec<runtime::TensorRow> = read::<Tensors>(&lines, 1).tensors.into_iter().map(Into::into).collect();
        assert_eq!(tensors, session.tensors().unwrap());
        let weights: Array = read(&lines, 2);
        assert_eq!((weights.shape, weights.values), (vec![256], session.weights(&name).unwrap()));
        assert_eq!(runtime::Container::from(read::<Stored>(&lines, 3).container), session.container().unwrap());
    }

    #[test]
    fn a_token_is_drawn_as_the_runtime_draws_it() {
        let draw = runtime::SampleRequest {
            logit_bits: [0.5f32, -1.0, 2.0, 1.5, 0.0].map(f32::to_bits).to_vec(),
            prompt: IDS.to_vec(),
            generated: vec![2],
            params: serde_json::from_value(json!({"top_k": 3})).unwrap(),
            u: serde_json::from_value(json!(0.5)).unwrap(),
        };
        let (mut session, lines) = both(&[Request::sample(&draw)]);
        let (drawn, due) = (read::<Drawn>(&lines, 1), session.sample(&draw).unwrap());
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!((drawn.token, bits(&drawn.logits.values), drawn.logits.shape), (due.id, bits(&due.logits), vec![5]));
    }

    #[test]
    fn another_version_a_second_artifact_and_what_cannot_be_done_are_refused_by_kind() {
        let load = |path: &str| String::from_utf8(Request::Load { path: path.to_owned(), threads: 1 }.line(1).unwrap()).unwrap();
        let weights = String::from_utf8(Request::Weights { tensor: "none".to_owned() }.line(2).unwrap()).unwrap();
        let input = format!(
            "{{\"id\":0,\"op\":\"hello\",\"protocol\":{}}}\n{}{}{weights}",
            VERSION + 1,
            load("no/such"),
            load(&model().to_string_lossy())
        );
        let found = answers(&input);
        let kind = |place: usize| found[place]["error"]["kind"].as_str();
        assert_eq!((kind(0), kind(2)), (Some("protocol"), None), "{found:?}");
        let told = found[0]["error"]["message"].as_str().unwrap();
        assert!(told.contains(&format!("version {}", VERSION + 1)) && told.ends_with(&format!("speaks {VERSION}")), "{told}");
        assert!(kind(1).is_some_and(|kind| kind != "failed") && kind(3).is_some(), "{found:?}");
        let error = |failure: &Failure| error(failure)["error"]["kind"].as_str().unwrap().to_owned();
        assert_eq!(error(&Failure::Unsupported { op: Op::Chat }), "unsupported");
        assert_eq!(error(&Failure::Crash { message: "gone".to_owned() }), "failed");
    }
}
