//! The committed goldens parse and pass the lint, and each way to spoil one is refused with its file and field.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ground_truth_falsification::golden::{
    Full, GoldenError, Index, MAX_JSON_BYTES, ModelGolden, PerplexityGolden, PromptEntry, PromptGolden, TokenizerGolden, Top,
};
use ground_truth_falsification::observation::Stop;
use rstest::rstest;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join("golden"))
        .expect("the golden folder is committed")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.join("index.json").is_file())
        .collect();
    folders.sort();
    folders
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn model(folder: &Path) -> ModelGolden {
    let index = Index::parse(&read(&folder.join("index.json")), "index.json").unwrap();
    let tokenizer = TokenizerGolden::parse(&read(&folder.join(&index.tokenizer)), &index.tokenizer).unwrap();
    let perplexity: Vec<PerplexityGolden> =
        index.perplexity.iter().map(|name| PerplexityGolden::parse(&read(&folder.join(name)), name).unwrap()).collect();
    let text = |name: &String| (name.clone(), String::from_utf8(read(&root().join(format!("testdata/texts/{name}.txt")))).unwrap());
    let texts: BTreeMap<String, String> = perplexity.iter().map(|golden| text(&golden.text.name)).collect();
    let published = index.published.as_ref().map(|_| String::new());
    ModelGolden { index, tokenizer, perplexity, texts, published, chat: None }
}

#[test]
fn committed_goldens_pass_the_lint() {
    let folders = folders();
    assert!(!folders.is_empty());
    for folder in folders {
        let model = model(&folder);
        model.lint(&folder.display().to_string()).unwrap();
        for entry in &model.index.prompts {
            let file = format!("{}.json", entry.name);
            let mut golden = PromptGolden::parse(&read(&folder.join(&file)), &file).unwrap();
            if entry.full {
                let name = format!("{}.safetensors", entry.name);
                golden.full = Some(Full::parse(&read(&folder.join(&name)), &name).unwrap());
            }
            golden.lint(entry, &model.index, &folder.join(&file).display().to_string()).unwrap();
        }
    }
}

const FILE: &str = "greeting.json";

fn folder() -> PathBuf {
    root().join("golden/llama-tiny")
}

fn prompt_text() -> String {
    String::from_utf8(read(&folder().join(FILE))).unwrap()
}

/// Parses and lints the text of a prompt golden.
fn judged(text: &str) -> Result<(), GoldenError> {
    let index = Index::parse(&read(&folder().join("index.json")), "index.json")?;
    let golden = PromptGolden::parse(text.as_bytes(), FILE)?;
    let entry = index.prompts.iter().find(|entry| entry.name == "greeting").expect("the index lists it");
    golden.lint(entry, &index, FILE)
}

fn field_of(error: &GoldenError) -> &str {
    match error {
        GoldenError::Json { file, field, .. } | GoldenError::Field { file, field, .. } => {
            assert_eq!(file, FILE);
            field
        }
        other => panic!("an error without a field: {other}"),
    }
}

/// What JSON cannot say, or this schema does not: the GJ rows of the catalogue of malformed inputs.
#[rstest]
#[case::gj1_nan("\"max_new_tokens\": 32", "\"max_new_tokens\": NaN", "greedy.max_new_tokens")]
#[case::gj1_infinity("\"max_new_tokens\": 32", "\"max_new_tokens\": Infinity", "greedy.max_new_tokens")]
#[case::gj2_out_of_range("\"max_new_tokens\": 32", "\"max_new_tokens\": 1e400", "greedy.max_new_tokens")]
#[case::gj3_id_as_a_float("\"position\": ", "\"position\": 9007199254740993.0, \"was\": ", "forced.top[0].position")]
#[case::negative("\"max_new_tokens\": 32", "\"max_new_tokens\": -1", "greedy.max_new_tokens")]
#[case::a_string_for_a_number("\"max_new_tokens\": 32", "\"max_new_tokens\": \"32\"", "greedy.max_new_tokens")]
#[case::an_unknown_field("\"stop_at_eos\": ", "\"stop_at_EOS\": ", "greedy.stop_at_EOS")]
#[case::a_repeated_field("\"stop_at_eos\": ", "\"stop_at_eos\": false, \"stop_at_eos\": ", "greedy.stop_at_eos")]
#[case::another_schema("ground-truth/golden/1", "ground-truth/golden/2", "schema")]
#[case::a_decimal_float("\"floor\": \"", "\"floor\": \"1e-7", "floor")]
fn what_the_schema_cannot_say_is_refused(#[case] from: &str, #[case] to: &str, #[case] field: &str) {
    let text = prompt_text();
    let spoiled = text.replacen(from, to, 1);
    assert_ne!(spoiled, text, "nothing was spoiled");
    let error = judged(&spoiled).expect_err("it must be refused");
    assert_eq!(field_of(&error), field, "{error}");
}

#[test]
fn gj8_a_golden_above_the_cap_is_refused_before_it_is_parsed() {
    let text = vec![b' '; MAX_JSON_BYTES + 1];
    let error = PromptGolden::parse(&text, FILE).expect_err("it must be refused");
    assert!(matches!(error, GoldenError::TooLarge { cap: MAX_JSON_BYTES, .. }), "{error}");
}

#[test]
fn gj9_every_beginning_of_a_golden_is_refused() {
    let text = prompt_text();
    let text = text.trim_end();
    assert!(judged(text).is_ok());
    for end in (0..text.len()).step_by(97).chain([text.len() - 1]) {
        assert!(judged(&text[..end]).is_err(), "the first {end} bytes");
    }
}

/// Sets one value of the golden.
fn set(pointer: &str, value: Value) -> String {
    let mut golden: Value = serde_json::from_str(&prompt_text()).unwrap();
    *golden.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    golden.to_string()
}

/// Removes the last entry of a list of the golden.
fn shortened(pointer: &str) -> String {
    let mut golden: Value = serde_json::from_str(&prompt_text()).unwrap();
    golden.pointer_mut(pointer).and_then(Value::as_array_mut).unwrap_or_else(|| panic!("no {pointer}")).pop();
    golden.to_string()
}

/// What contradicts another field, or the index.
#[rstest]
#[case("/model", json!("gpt2-tiny"), "model")]
#[case("/oracle/threads", json!(2), "oracle")]
#[case("/prompt/name", json!("arithmetic"), "prompt.name")]
#[case("/prompt/category", json!("edge"), "prompt.category")]
#[case("/prompt/ids/0", json!(99_999), "prompt.ids[0]")]
#[case("/greedy/ids/3", json!(99_999), "greedy.ids[3]")]
#[case("/greedy/stop", json!("eos"), "greedy.stop")]
#[case("/greedy/max_new_tokens", json!(31), "greedy.ids")]
#[case("/greedy/margin_class", json!("knife"), "greedy.margin_class")]
#[case("/greedy/margins/0", json!("7fc00000"), "greedy.margins[0]")]
#[case("/greedy/margins/0", json!("c0000000"), "greedy.margins[0]")]
#[case("/greedy/margins/0", json!("3dcccccd"), "greedy.margin_class")]
#[case("/forced/logsumexp/2", json!("7f800000"), "forced.logsumexp[2]")]
#[case("/forced/nll/5", json!("ff800000"), "forced.nll[5]")]
#[case("/forced/nll/5", json!("41a00000"), "forced.nll[5]")]
#[case("/forced/top/1/position", json!(0), "forced.top[1].position")]
#[case("/forced/top/1/ids/0", json!(99_999), "forced.top[1].ids[0]")]
#[case("/forced/top/1/logprobs/0", json!("c1a00000"), "forced.top[1].logprobs")]
#[case("/forced/top/1/logprobs/0", json!("3f800000"), "forced.top[1].logprobs")]
#[case("/floor", json!("00000000"), "floor")]
#[case("/floor", json!("3f800000"), "floor")]
#[case("/logit_rms", json!("00000000"), "logit_rms")]
#[case("/logit_rms", json!("7f800000"), "logit_rms")]
#[case("/floor", json!("7fc00000"), "floor")]
#[case("/greedy/ids/3", json!(2), "greedy.ids[3]")]
#[case("/greedy/max_new_tokens", json!(33), "greedy.ids")]
fn a_golden_that_contradicts_itself_is_refused(#[case] pointer: &str, #[case] value: Value, #[case] field: &str) {
    let error = judged(&set(pointer, value)).expect_err("it must be refused");
    assert_eq!(field_of(&error), field, "{error}");
}

/// A margin a hundredth larger is of the same class, and not what the list at its position says.
#[test]
fn a_margin_that_the_listed_tokens_do_not_have_is_refused() {
    let golden: Value = serde_json::from_str(&prompt_text()).unwrap();
    let bits = golden["greedy"]["margins"][2].as_str().and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap();
    let larger = format!("{:08x}", (f32::from_bits(bits) * 1.01).to_bits());
    let error = judged(&set("/greedy/margins/2", json!(larger))).expect_err("it must be refused");
    assert_eq!(field_of(&error), "greedy.margins[2]", "{error}");
}

#[rstest]
#[case("/prompt/ids", "prompt.ids")]
#[case("/greedy/ids", "greedy.ids")]
#[case("/greedy/margins", "greedy.margins")]
#[case("/forced/logsumexp", "forced.logsumexp")]
#[case("/forced/nll", "forced.nll")]
#[case("/forced/top", "forced.top")]
#[case("/forced/top/0/ids", "forced.top[0].ids")]
#[case("/forced/top/0/logprobs", "forced.top[0].logprobs")]
fn gj4_a_list_of_the_wrong_length_is_refused(#[case] pointer: &str, #[case] field: &str) {
    let error = judged(&shortened(pointer)).expect_err("it must be refused");
    assert_eq!(field_of(&error), field, "{error}");
}

/// Parses and lints a changed index.
fn index_with(change: impl FnOnce(&mut Value)) -> Result<(), GoldenError> {
    let mut index: Value = serde_json::from_slice(&read(&folder().join("index.json"))).unwrap();
    change(&mut index);
    Index::parse(index.to_string().as_bytes(), FILE)?.lint(FILE)
}

/// Appends the first entry of a list once more.
fn doubled(index: &mut Value, list: &str) {
    let entries = index[list].as_array_mut().expect("it is a list");
    entries.push(entries[0].clone());
}

#[rstest]
#[case("tensors")]
#[case("model_files")]
#[case("golden_files")]
#[case("prompts")]
fn gj6_gj7_an_empty_list_and_a_repeated_name_are_refused(#[case] list: &str) {
    assert!(index_with(|_| ()).is_ok());
    let error = index_with(|index| index[list] = json!([])).expect_err("it must be refused");
    assert_eq!(field_of(&error), list, "{error}");
    let error = index_with(|index| doubled(index, list)).expect_err("it must be refused");
    assert_eq!(field_of(&error), list, "{error}");
}

#[rstest]
#[case("/parameters", json!(7), "parameters")]
#[case("/dtype", json!("BF16"), "dtype")]
#[case("/config/n_layers", json!(0), "config.n_layers")]
#[case("/config/n_kv_heads", json!(3), "config.n_kv_heads")]
#[case("/config/eos", json!([99_999]), "config.eos[0]")]
#[case("/config/bos", json!(99_999), "config.bos[0]")]
#[case("/oracle/dtype", json!("bfloat16"), "oracle.dtype")]
#[case("/oracle/attention", json!("sdpa"), "oracle.attention")]
#[case("/oracle/generator", json!("abc"), "oracle.generator")]
#[case("/oracle/threads", json!(2), "oracle.threads")]
#[case("/oracle/versions", json!({}), "oracle.versions")]
#[case("/tensors/0/name", json!(""), "tensors")]
#[case("/tensors/0/shape", json!([4_294_967_296_u64, 4_294_967_296_u64]), "tensors")]
#[case("/prompts/0/n_prompt", json!(0), "prompts[0].n_prompt")]
#[case("/prompts/0/n_greedy", json!(0), "prompts[0].n_greedy")]
#[case("/prompts/0/n_greedy", json!(9999), "prompts[0].n_greedy")]
fn an_index_that_contradicts_itself_is_refused(#[case] pointer: &str, #[case] value: Value, #[case] field: &str) {
    let error = index_with(|index| *index.pointer_mut(pointer).expect("it exists") = value).expect_err("it must be refused");
    assert_eq!(field_of(&error), field, "{error}");
}

#[test]
fn a_full_golden_that_contradicts_its_json_is_refused() {
    let index = Index::parse(&read(&folder().join("index.json")), "index.json").unwrap();
    let entry = index.prompts.iter().find(|entry| entry.name == "arithmetic").unwrap();
    let golden = || {
        let mut golden = PromptGolden::parse(&read(&folder().join("arithmetic.json")), FILE).unwrap();
        golden.full = Some(Full::parse(&read(&folder().join("arithmetic.safetensors")), FILE).unwrap());
        golden
    };
    assert!(golden().lint(entry, &index, FILE).is_ok());
    let spoil: [fn(&mut Full); 7] = [
        |full| full.logits_f32[9] += 1.0,
        |full| full.logits_f64.iter_mut().for_each(|x| *x *= 1.0001),
        |full| full.stages[3] = "blk.0.attn.v".to_owned(),
        |full| full.prefill.f64.last_mut().unwrap()[0] *= 1.001,
        |full| full.decode.f64.last_mut().unwrap()[1] += 0.1,
        |full| full.vocab -= 1,
        |full| *full.positions.last_mut().unwrap() += 1,
    ];
    for (i, spoil) in spoil.into_iter().enumerate() {
        let mut golden = golden();
        golden.full.as_mut().map(spoil);
        assert!(golden.lint(entry, &index, FILE).is_err(), "{i}");
    }
    let mut without = golden();
    without.full = None;
    assert_eq!(field_of(&without.lint(entry, &index, FILE).unwrap_err()), "full", "listed, and not read");
    let unlisted = PromptEntry { full: false, ..entry.clone() };
    assert_eq!(field_of(&golden().lint(&unlisted, &index, FILE).unwrap_err()), "full", "read, and not listed");
    assert!(without.lint(&unlisted, &index, FILE).is_ok());
}

/// A text that ends by EOS may be as long as was asked for, and no longer.
#[test]
fn a_text_longer_than_was_asked_for_is_refused() {
    let index = Index::parse(&read(&folder().join("index.json")), "index.json").unwrap();
    let entry = index.prompts.iter().find(|entry| entry.stop == Stop::Eos).expect("one ends so");
    let mut golden = PromptGolden::parse(&read(&folder().join(format!("{}.json", entry.name))), FILE).unwrap();
    golden.greedy.max_new_tokens = golden.greedy.ids.len();
    assert!(golden.lint(entry, &index, FILE).is_ok());
    golden.greedy.max_new_tokens -= 1;
    assert_eq!(field_of(&golden.lint(entry, &index, FILE).unwrap_err()), "greedy.ids");
}

/// A token that is not listed is less likely than the last that is.
#[test]
fn a_token_that_is_likelier_than_those_listed_must_be_listed() {
    let index = Index::parse(&read(&folder().join("index.json")), "index.json").unwrap();
    let unlisted = |golden: &PromptGolden| -> Option<(usize, f64)> {
        let ids = golden.forced_ids();
        let is_unlisted = |top: &&Top| ids.get(top.position + 1).is_some_and(|next| !top.ids.contains(next));
        golden.forced.top.iter().find(is_unlisted).and_then(|top| Some((top.position, -top.logprobs.last()?.get())))
    };
    let goldens = index.prompts.iter().filter(|entry| !entry.full).map(|entry| {
        let text = read(&folder().join(format!("{}.json", entry.name)));
        (entry, PromptGolden::parse(&text, FILE).unwrap())
    });
    let found = goldens.filter_map(|(entry, golden)| unlisted(&golden).map(|at| (entry, golden, at))).next();
    let (entry, golden, (at, last)) = found.expect("prompts are not greedy");
    for (nll, is_sound) in [(last * 1.001, true), (last * 0.999, false)] {
        let mut golden = golden.clone();
        golden.forced.nll[at].0 = nll as f32;
        let field = golden.lint(entry, &index, FILE).map_err(|error| field_of(&error).to_owned());
        assert_eq!(field, if is_sound { Ok(()) } else { Err(format!("forced.nll[{at}]")) });
    }
}

/// What a model's golden lists has been read.
#[test]
fn a_text_that_is_listed_and_was_not_read_is_refused() {
    let sound = model(&folder());
    let refusal = |model: &ModelGolden| match model.lint("golden") {
        Err(GoldenError::Field { file, field, .. }) => format!("{file} {field}"),
        other => panic!("{other:?}"),
    };
    assert!(sound.lint("golden").is_ok());
    let mut texts = sound.clone();
    texts.texts.clear();
    assert_eq!(refusal(&texts), format!("golden/{} text.name", sound.index.perplexity[0]));
    let mut published = sound.clone();
    published.published = None;
    assert_eq!(refusal(&published), "golden/index.json published");
    let mut perplexity = sound.clone();
    perplexity.perplexity.pop();
    assert_eq!(refusal(&perplexity), "golden/index.json perplexity");
    let mut tokenizer = sound.clone();
    let case = tokenizer.tokenizer.cases.iter().position(|case| !case.decoded.0.is_empty()).unwrap();
    tokenizer.tokenizer.cases[case].ids.clear();
    assert_eq!(refusal(&tokenizer), format!("golden/{} cases[{case}].decoded", sound.index.tokenizer));
}

#[test]
fn a_full_golden_with_a_flipped_header_or_cut_short_is_refused() {
    let bytes = read(&folder().join("arithmetic.safetensors"));
    for end in (0..bytes.len()).step_by(4001).chain([bytes.len() - 1]) {
        assert!(Full::parse(&bytes[..end], FILE).is_err(), "the first {end} bytes");
    }
    let mut nan = bytes.clone();
    let end = nan.len();
    nan[end - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
    let error = Full::parse(&nan, FILE).expect_err("NaN must be refused").to_string();
    assert!(error.contains("NaN at row"), "{error}");
}

#[test]
fn a_tokenizer_golden_of_few_or_repeated_texts_is_refused() {
    let model = model(&folder());
    let spoil: [fn(&mut TokenizerGolden); 4] = [
        |golden| golden.cases.truncate(399),
        |golden| golden.cases.truncate(100),
        |golden| golden.cases.clear(),
        |golden| golden.cases.push(golden.cases[0].clone()),
    ];
    for (i, spoil) in spoil.into_iter().enumerate() {
        let mut golden = model.tokenizer.clone();
        spoil(&mut golden);
        assert!(golden.lint(&model.index, FILE).is_err(), "{i}");
    }
}

#[test]
fn a_perplexity_golden_that_predicts_nothing_is_refused() {
    let model = model(&folder());
    let n_ctx = model.index.config.n_ctx;
    for (spoil, field) in [
        ((|golden, _| golden.tokens = 0) as fn(&mut PerplexityGolden, usize), Some("tokens")),
        (|golden, n_ctx| golden.window = n_ctx + 1, Some("window")),
        (|golden, n_ctx| golden.window = n_ctx, None),
        (|golden, _| golden.window = 1, Some("window")),
        (|golden, _| (golden.window, golden.stride) = (2, 2), None),
        (|golden, _| golden.stride = 0, Some("stride")),
        (|golden, _| golden.stride = golden.window + 1, Some("stride")),
        (|golden, _| golden.sum_nll.0 = f64::NAN, Some("sum_nll")),
        (|golden, _| golden.sum_nll.0 = f64::INFINITY, Some("sum_nll")),
        (|golden, _| golden.sum_nll.0 = 0.0, Some("sum_nll")),
        (|golden, _| golden.floor.0 = f32::NAN, Some("floor")),
        (|golden, _| golden.floor.0 = 0.0, Some("floor")),
        (|golden, _| golden.ids_sha256.clear(), Some("ids_sha256")),
        (|golden, _| golden.text.sha256.make_ascii_uppercase(), Some("text.sha256")),
    ] {
        let mut golden = model.perplexity[0].clone();
        spoil(&mut golden, n_ctx);
        let found = golden.lint(&model.index, FILE).map_err(|error| field_of(&error).to_owned());
        assert_eq!(found.err().as_deref(), field);
    }
}
