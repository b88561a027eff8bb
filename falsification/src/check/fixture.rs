//! A model that is a hash function, its golden, and a runtime that answers for it: what the tests of the checks run on.
//!
//! The logits after a sequence are pseudo-random numbers drawn from the sequence, so they depend on every token before them and on
//! nothing after. The tokenizer maps bytes to ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::shelf::{self, Shelf};
use super::{Case, Scope};
use crate::arithmetic::Arithmetic;
use crate::form::Form;
use crate::golden::{
    CHAT_SCHEMA, ChatCase, ChatConversation, ChatConversations, ChatGolden, ChatIndex, ChatOracle, ChatStyle, ChatTokenizer,
    DEQUANTIZED_SCHEMA, Dequantized, FileEntry, Forced, Full, Greedy, Hex32, Hex64, HexBytes, Index, KNIFE_MARGIN, LLAMA_CPP_SCHEMA,
    LlamaCpp, LlamaCppGreedy, LlamaCppOracle, LlamaCppPrompt, LlamaCppStep, LlamaCppTokenizer, MarginClass, ModelConfig, ModelGolden,
    Oracle, PerplexityGolden, Prompt, PromptEntry, PromptGolden, Published, SCHEMA, SamplingGolden, SketchPair, StyleEntry, TOP_K,
    TOP_POSITIONS, TensorEntry, TextEntry, TokenizerCase, TokenizerGolden, Top, WIDE_MARGIN,
};
use crate::metric::{argmax, logsumexp, relative_rms, rms, widen};
use crate::observation::{
    Answer, Answers, Chat, Failure, Logits, Metadata, Mode, Positions, Question, SampleRequest, Sampled, StageSketch, Stop,
};
use crate::tolerance::{NATIVE, Tolerances};

pub(super) const VOCAB: usize = 260;
pub(super) const N_CTX: usize = 24;
const BOS: u32 = 256;
const EOS: u32 = 257;
const N_LAYERS: usize = 2;

/// Pseudo-random numbers in [-1, 1), by splitmix64.
fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn seed_of(ids: &[u32]) -> u64 {
    ids.iter().fold(0x51ED_270B, |hash: u64, &id| (hash ^ u64::from(id)).wrapping_mul(0x0100_0000_01B3).rotate_left(23))
}

/// The exact logits after a sequence.
fn row(ids: &[u32]) -> Vec<f64> {
    let seed = seed_of(ids);
    (0..VOCAB as u64).map(|token| 6.0 * noise(seed ^ (token << 40))).collect()
}

/// A float32 run: each value off by a relative error that depends on `run`.
fn rounded(exact: &[f64], run: u64) -> Vec<f32> {
    exact.iter().enumerate().map(|(i, x)| (x + 6.0 * 2e-7 * noise(run ^ (i as u64) << 20)) as f32).collect()
}

/// What the engine computes after a sequence, in every mode.
fn engine_row(ids: &[u32]) -> Vec<f32> {
    rounded(&row(ids), seed_of(ids) ^ 0xE)
}

fn oracle_row(ids: &[u32]) -> Vec<f32> {
    rounded(&row(ids), seed_of(ids))
}

fn encode(text: &str, special: bool) -> Vec<u32> {
    special.then_some(BOS).into_iter().chain(text.bytes().map(u32::from)).collect()
}

/// A text that no two sequences of ids share.
fn decode(ids: &[u32]) -> Vec<u8> {
    let text = |&id: &u32| match id {
        BOS => "<s>".to_owned(),
        EOS => "</s>".to_owned(),
        0..128 => char::from_u32(id).into_iter().collect(),
        _ => char::from_u32(0x4E00 + id).into_iter().collect(),
    };
    ids.iter().map(text).collect::<String>().into_bytes()
}

fn greedy(prompt: &[u32], max_new_tokens: usize, stop_at_eos: bool, row: fn(&[u32]) -> Vec<f32>) -> (Vec<u32>, Stop) {
    let mut ids = prompt.to_vec();
    while ids.len() < N_CTX && ids.len() - prompt.len() < max_new_tokens {
        let next = argmax(&widen(&row(&ids))).unwrap() as u32;
        ids.push(next);
        if stop_at_eos && next == EOS {
            return (ids.split_off(prompt.len()), Stop::Eos);
        }
    }
    (ids.split_off(prompt.len()), Stop::Length)
}

/// The vector at one stage, after a sequence.
fn stage(ids: &[u32], index: usize, run: Option<u64>) -> Vec<f64> {
    let logits = 2 + 6 * N_LAYERS;
    let exact = if index == logits { row(ids) } else { (0..64).map(|i| noise(seed_of(ids) ^ (index as u64) << 50 ^ i << 30)).collect() };
    match run {
        Some(run) => widen(&rounded(&exact, run ^ index as u64)),
        None => exact,
    }
}

fn numbers(vector: &[f64]) -> [f64; 6] {
    let mean = vector.iter().sum::<f64>() / vector.len() as f64;
    let projection = |j: u64| {
        let sum: f64 = vector.iter().enumerate().map(|(i, x)| if noise(j << 32 | i as u64) < 0.0 { -x } else { *x }).sum();
        sum / (vector.len() as f64).sqrt()
    };
    [rms(vector).unwrap(), mean, projection(0), projection(1), projection(2), projection(3)]
}

fn sketches(ids: &[u32], run: Option<u64>) -> Vec<[f64; 6]> {
    (0..3 + 6 * N_LAYERS).map(|index| numbers(&stage(ids, index, run))).collect()
}

fn oracle() -> Oracle {
    Oracle {
        runtime: "transformers".to_owned(),
        versions: BTreeMap::from([("torch".to_owned(), "2".to_owned())]),
        dtype: "float32".to_owned(),
        attention: "eager".to_owned(),
        threads: 1,
        cpu: "test".to_owned(),
        generator: "0".repeat(64),
    }
}

#[expect(clippy::too_many_lines, reason = "every field of a golden, once")]
fn prompt_golden(name: &str, category: &str, text: &str, ids: Vec<u32>, max_new_tokens: usize, full: bool) -> PromptGolden {
    let stop_at_eos = category != "edge";
    let (new, stop) = greedy(&ids, max_new_tokens, stop_at_eos, oracle_row);
    let all = [ids.as_slice(), &new].concat();
    let exact: Vec<Vec<f64>> = (1..=all.len()).map(|end| row(&all[..end])).collect();
    let float: Vec<Vec<f32>> = (1..=all.len()).map(|end| oracle_row(&all[..end])).collect();
    let (flat_exact, flat_float) = (exact.concat(), widen(&float.concat()));
    let totals: Vec<f64> = float.iter().map(|row| logsumexp(&widen(row)).unwrap()).collect();
    let hex = |x: f64| Hex32(x as f32);
    let top = |position: usize| {
        let row = widen(&float[position]);
        let mut order: Vec<u32> = (0..VOCAB as u32).collect();
        order.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]).then(a.cmp(&b)));
        order.truncate(TOP_K);
        let logprobs = order.iter().map(|&id| hex(row[id as usize] - totals[position])).collect();
        Top { position, ids: order, logprobs }
    };
    let margins: Vec<f64> = (0..new.len())
        .map(|step| {
            let row = widen(&float[ids.len() - 1 + step]);
            let others = (0..VOCAB).filter(|&id| id != new[step] as usize).map(|id| row[id]);
            row[new[step] as usize] - others.fold(f64::NEG_INFINITY, |most, x| if x > most { x } else { most })
        })
        .collect();
    let smallest = margins.iter().fold(f64::INFINITY, |least, &x| if x < least { x } else { least });
    let margin_class = match smallest {
        x if x >= WIDE_MARGIN => MarginClass::Wide,
        x if x < KNIFE_MARGIN => MarginClass::Knife,
        _ => MarginClass::Median,
    };
    let decoded = [ids.as_slice(), &new[..1]].concat();
    let pair = |ids: &[u32]| SketchPair { f32: sketches(ids, Some(7)), f64: sketches(ids, None) };
    PromptGolden {
        schema: SCHEMA.to_owned(),
        model: "hash".to_owned(),
        oracle: oracle(),
        prompt: Prompt {
            name: name.to_owned(),
            category: category.to_owned(),
            text: text.to_owned(),
            add_special_tokens: true,
            ids: ids.clone(),
        },
        greedy: Greedy {
            max_new_tokens,
            stop_at_eos,
            text: String::from_utf8_lossy(&decode(&new)).into_owned(),
            stop,
            margins: margins.iter().map(|&x| hex(x)).collect(),
            margin_class,
            ids: new.clone(),
        },
        forced: Forced {
            logsumexp: totals.iter().map(|&x| hex(x)).collect(),
            nll: (1..all.len()).map(|i| hex(totals[i - 1] - f64::from(float[i - 1][all[i] as usize]))).collect(),
            top: (all.len().saturating_sub(TOP_POSITIONS)..all.len()).map(top).collect(),
        },
        logit_rms: hex(rms(&flat_float).unwrap()),
        floor: hex(relative_rms(&flat_exact, &flat_float).unwrap()),
        full: full.then(|| Full {
            positions: (0..all.len()).collect(),
            vocab: VOCAB,
            logits_f32: float.concat(),
            logits_f64: flat_exact,
            stages: crate::golden::stages(N_LAYERS),
            prefill: pair(&ids),
            decode: pair(&decoded),
        }),
    }
}

fn tokenizer_golden() -> TokenizerGolden {
    let plain = (0..200).map(|i| format!("text number {i}, plain"));
    let other = ["naïve café", "\u{1f469}\u{200d}\u{1f680}", "\u{202e}abc", "e\u{301}", "a\0b", "שלום"].map(str::to_owned);
    let cases = plain.chain(other).flat_map(|text| {
        [true, false].map(|special| {
            let ids = encode(&text, special);
            TokenizerCase { text: text.clone(), add_special_tokens: special, decoded: HexBytes(decode(&ids)), ids }
        })
    });
    TokenizerGolden { schema: SCHEMA.to_owned(), model: "hash".to_owned(), oracle: oracle(), cases: cases.collect() }
}

/// What the fake's templates write: everything that they are given. A critic is refused.
fn rendered(chat: &Chat) -> Result<(String, Vec<u32>), Failure> {
    if chat.messages.contains("critic") {
        return Err(Failure::Refused { kind: "chat".to_owned(), message: "nobody is called critic".to_owned() });
    }
    let text = format!("<s>{} {:?} {}", chat.messages, chat.tools, chat.add_generation_prompt);
    let ids = std::iter::once(BOS).chain(text.bytes().skip(3).map(u32::from)).collect();
    Ok((text, ids))
}

fn chat_golden() -> ChatGolden {
    let oracle = ChatOracle { runtime: "transformers".to_owned(), versions: BTreeMap::new(), generator: "0".repeat(64) };
    let conversation = |name: &str, role: &str| ChatConversation {
        name: name.to_owned(),
        messages: serde_json::json!([{"role": role, "content": name}]),
        tools: None,
        variables: Default::default(),
    };
    let conversations = vec![conversation("hello", "user"), conversation("judged", "critic")];
    let mut golden = ChatGolden {
        index: ChatIndex {
            schema: CHAT_SCHEMA.to_owned(),
            oracle: oracle.clone(),
            tokenizers: vec![ChatTokenizer { model: "hash".to_owned(), sha256: "0".repeat(64) }],
            styles: vec![StyleEntry { name: "plain".to_owned(), n_cases: 4, n_refused: 2 }],
            golden_files: Vec::new(),
        },
        conversations: conversations.iter().map(|conversation| (conversation.name.clone(), conversation.clone())).collect(),
        styles: Vec::new(),
    };
    let mut style = ChatStyle {
        schema: CHAT_SCHEMA.to_owned(),
        oracle: oracle.clone(),
        style: "plain".to_owned(),
        template: "{{ messages }}".to_owned(),
        now: "2026-07-05T09:08:07".to_owned(),
        variables: Default::default(),
        cases: Vec::new(),
    };
    for (name, add_generation_prompt) in [("hello", true), ("hello", false), ("judged", true), ("judged", false)] {
        let mut case = ChatCase { conversation: name.to_owned(), add_generation_prompt, text: None, refused: None, ids: BTreeMap::new() };
        let Some(Question::Chat(chat)) = golden.question(&style, &case) else { panic!("a conversation of the golden") };
        match rendered(&chat) {
            Ok((text, ids)) => (case.text, case.ids) = (Some(text), BTreeMap::from([("hash".to_owned(), ids)])),
            Err(failure) => case.refused = Some(failure.to_string()),
        }
        style.cases.push(case);
    }
    golden.styles.push(style);
    let list = ChatConversations { schema: CHAT_SCHEMA.to_owned(), oracle, conversations };
    ChatGolden::new(golden.index, list, golden.styles, "golden/chat").unwrap()
}

fn perplexity_golden(name: &str, text: &str) -> PerplexityGolden {
    let ids = encode(text, true);
    let (window, stride) = (16, 8);
    let (mut sum, mut exact, mut difference) = (0.0, 0.0, 0.0);
    for i in 1..ids.len() {
        // The first window that holds id i with an id before it.
        let begin = (0..).map(|k| k * stride).find(|begin| i < begin + window).unwrap();
        let context = &ids[begin..i];
        let nll = |row: Vec<f64>| logsumexp(&row).unwrap() - row[ids[i] as usize];
        let (float, wide) = (nll(widen(&oracle_row(context))), nll(row(context)));
        sum += float;
        exact += wide;
        difference += (float - wide).abs();
    }
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let sha = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    PerplexityGolden {
        schema: SCHEMA.to_owned(),
        model: "hash".to_owned(),
        oracle: oracle(),
        text: TextEntry { name: name.to_owned(), sha256: sha(text.as_bytes()) },
        window,
        stride,
        bos: true,
        tokens: ids.len() - 1,
        sum_nll: Hex64(sum),
        floor: Hex32((difference / exact) as f32),
        ids_sha256: sha(&bytes),
    }
}

/// A model golden and its prompts.
pub(super) struct Fixture {
    pub(super) model: ModelGolden,
    pub(super) prompts: Vec<PromptGolden>,
    pub(super) tolerances: Tolerances,
    /// What the runtime on trial computes with.
    pub(super) arithmetic: Arithmetic,
    pub(super) form: Form,
    pub(super) shelf: Shelf,
    pub(super) dequantized: Option<Dequantized>,
    pub(super) llama_cpp: Option<LlamaCpp>,
}

impl Fixture {
    /// The model as published.
    pub(super) fn new() -> Self {
        Self::of(Form::published("F32"))
    }

    /// A column of it.
    #[expect(clippy::too_many_lines, reason = "every field of a model and its golden, once")]
    pub(super) fn of(form: Form) -> Self {
        let prompts = vec![
            prompt_golden("canary", "canary", "Hi there", encode("Hi there", true), 8, false),
            prompt_golden("arithmetic", "canary", "2+2=", encode("2+2=", true), 8, true),
            prompt_golden("one-token", "edge", "M", vec![77], 8, false),
            prompt_golden("context-limit", "edge", "a text up to th", encode("a text up to the", true)[..16].to_vec(), 8, true),
        ];
        let texts = BTreeMap::from([
            ("training".to_owned(), "the quick brown fox jumps over the lazy dog".to_owned()),
            ("held-out".to_owned(), "a slow green turtle walks around a busy ant".to_owned()),
            ("unsure".to_owned(), "zq xv 7j kk w, gg ht 3 bd mn vv, qz 81 wx jj lp tt".to_owned()),
        ]);
        let file = |name: &str| FileEntry { name: name.to_owned(), bytes: 1, sha256: "0".repeat(64) };
        let tensors = shelf::tensors(VOCAB, N_LAYERS);
        let (published, _) = greedy(&[BOS], 12, false, engine_row);
        let index = Index {
            schema: SCHEMA.to_owned(),
            model: "hash".to_owned(),
            architecture: "llama".to_owned(),
            dtype: "F32".to_owned(),
            carried: true,
            trained_by_us: true,
            oracle: oracle(),
            config: ModelConfig {
                n_layers: N_LAYERS,
                n_heads: 4,
                n_kv_heads: 2,
                head_dim: 16,
                hidden_size: 64,
                intermediate_size: 96,
                vocab_size: VOCAB,
                n_ctx: N_CTX,
                tie_word_embeddings: true,
                bos: Some(BOS),
                eos: vec![EOS],
            },
            parameters: tensors.iter().filter_map(TensorEntry::elements).sum(),
            tensors,
            model_files: vec![file("config.json"), file("model.safetensors"), file("tokenizer.json")],
            golden_files: vec![file("tokenizer.json")],
            prompts: prompts
                .iter()
                .map(|golden| PromptEntry {
                    name: golden.prompt.name.clone(),
                    category: golden.prompt.category.clone(),
                    n_prompt: golden.prompt.ids.len(),
                    n_greedy: golden.greedy.ids.len(),
                    stop: golden.greedy.stop,
                    margin_class: golden.greedy.margin_class,
                    full: golden.full.is_some(),
                })
                .collect(),
            not_asked: Vec::new(),
            tokenizer: "tokenizer.json".to_owned(),
            perplexity: ["held-out", "training", "unsure"].map(|text| format!("perplexity-{text}.json")).to_vec(),
            published: Some(Published { file: "expected.txt".to_owned(), max_new_tokens: 12 }),
        };
        let model = ModelGolden {
            index,
            tokenizer: tokenizer_golden(),
            perplexity: ["held-out", "training", "unsure"].map(|name| perplexity_golden(name, &texts[name])).to_vec(),
            texts,
            published: Some(String::from_utf8_lossy(&decode(&published)).into_owned() + "\n"),
            chat: Some(Arc::new(chat_golden())),
        };
        let shelf = Shelf(form.clone());
        let mut fixture = Fixture {
            model,
            prompts,
            tolerances: Tolerances::committed().unwrap(),
            arithmetic: Arithmetic::Exact,
            form,
            shelf,
            dequantized: None,
            llama_cpp: None,
        };
        if !fixture.form.primary {
            fixture.add_other_oracles();
        }
        fixture
    }

    /// What gguf-py and llama.cpp said of the column: what is right.
    fn add_other_oracles(&mut self) {
        let values_digest = shelf::digest(self);
        self.dequantized = Some(Dequantized {
            schema: DEQUANTIZED_SCHEMA.to_owned(),
            model: "hash".to_owned(),
            quantization: self.form.quantization.clone(),
            values_digest: values_digest.clone(),
            oracle: oracle(),
            prompts: self.model.index.prompts.clone(),
            files: Vec::new(),
        });
        let prompt = |golden: &PromptGolden| LlamaCppPrompt {
            name: golden.prompt.name.clone(),
            ids: golden.prompt.ids.clone(),
            greedy: LlamaCppGreedy { ids: golden.greedy.ids.clone(), stop: golden.greedy.stop },
            steps: (0..golden.greedy.ids.len())
                .filter_map(|step| golden.top_at(golden.prompt.ids.len() + step - 1))
                .map(|top| LlamaCppStep { ids: top.ids.clone(), logprobs: top.logprobs.clone() })
                .collect(),
        };
        self.llama_cpp = Some(LlamaCpp {
            schema: LLAMA_CPP_SCHEMA.to_owned(),
            model: "hash".to_owned(),
            quantization: self.form.quantization.clone(),
            values_digest,
            oracle: LlamaCppOracle {
                runtime: "llama.cpp".to_owned(),
                versions: BTreeMap::new(),
                kv_cache: "f32".to_owned(),
                flash_attention: false,
                threads: 1,
                cpu: "test".to_owned(),
                generator: "0".repeat(64),
            },
            tokenizer: LlamaCppTokenizer { asked: 1, same: 1, different: Vec::new() },
            prompts: self.prompts.iter().map(prompt).collect(),
        });
    }

    /// The engine is exact; whoever is not is somebody else.
    fn runtime(&self) -> &'static str {
        if self.arithmetic == Arithmetic::Exact { NATIVE } else { "other" }
    }

    pub(super) fn case<'a>(&'a self, prompt: Option<&'a PromptGolden>, perplexity: Option<&'a PerplexityGolden>) -> Case<'a> {
        Case {
            model: &self.model,
            form: &self.form,
            peers: &self.shelf,
            prompt,
            source: prompt,
            sources: &[],
            style: None,
            perplexity,
            dequantized: self.dequantized.as_ref(),
            llama_cpp: self.llama_cpp.as_ref(),
            tolerances: self.tolerances.of(self.runtime(), self.arithmetic, &self.form),
        }
    }

    pub(super) fn scope(&self) -> Scope<'_> {
        Scope {
            index: &self.model.index,
            form: &self.form,
            dequantized: self.dequantized.as_ref(),
            llama_cpp: self.llama_cpp.is_some(),
            chat: self.model.chat.as_deref().map(|chat| &chat.index),
            sayable: true,
            runtime: self.runtime(),
            arithmetic: self.arithmetic,
        }
    }
}

/// What a runtime that is right answers.
#[expect(clippy::too_many_lines, reason = "an arm for each question")]
pub(super) fn right_answer(fixture: &Fixture, question: &Question) -> Result<Answer, Failure> {
    let refuse = |message: String| Err(Failure::Refused { kind: "request".to_owned(), message });
    let ids: &[u32] = match question {
        Question::Logits { ids, .. } | Question::Generate { ids, .. } | Question::Sketch { ids, .. } => ids,
        _ => &[0],
    };
    if ids.is_empty() {
        return refuse("no ids; give one at least".to_owned());
    }
    if ids.len() > N_CTX {
        return refuse(format!("{} ids, the context holds {N_CTX}", ids.len()));
    }
    if let Some(id) = ids.iter().find(|&&id| id as usize >= VOCAB) {
        return refuse(format!("id {id}, the vocabulary has {VOCAB}"));
    }
    let index = &fixture.model.index;
    Ok(match question {
        Question::Metadata => {
            let config = &index.config;
            Answer::Metadata(Metadata {
                architecture: Some(index.architecture.clone()),
                n_layers: Some(config.n_layers),
                n_heads: Some(config.n_heads),
                n_kv_heads: Some(config.n_kv_heads),
                head_dim: Some(config.head_dim),
                hidden_size: Some(config.hidden_size),
                intermediate_size: Some(config.intermediate_size),
                vocab_size: Some(config.vocab_size),
                n_ctx: Some(config.n_ctx),
                tie_word_embeddings: Some(config.tie_word_embeddings),
                bos: config.bos,
                eos: Some(config.eos.clone()),
            })
        }
        Question::Tensors => Answer::Tensors(shelf::rows(fixture)),
        Question::Tokenize { text, add_special } => Answer::Ids(encode(text, *add_special)),
        Question::Detokenize { ids } => Answer::Bytes(decode(ids)),
        Question::Logits { ids, positions, mode } => {
            let first = if *positions == Positions::Last { ids.len() } else { 1 };
            let values: Vec<f32> = (first..=ids.len()).flat_map(|end| engine_row(&ids[..end])).collect();
            let logits = Logits { n: ids.len() + 1 - first, vocab: VOCAB, values };
            match mode {
                Mode::Concurrent(n) => Answer::Many(vec![logits; *n]),
                _ => Answer::Logits(logits),
            }
        }
        Question::Generate { ids, max_new_tokens, stop_at_eos } => {
            let (ids, stop) = greedy(ids, *max_new_tokens, *stop_at_eos, engine_row);
            Answer::Generated { ids, stop }
        }
        Question::Sketch { ids, .. } => {
            let numbers = sketches(ids, Some(11));
            let names = crate::golden::stages(N_LAYERS);
            let sketch = |i: usize| {
                let [rms, mean, a, b, c, d] = numbers[i];
                StageSketch { stage: names[i].clone(), rms, mean, projections: [a, b, c, d] }
            };
            Answer::Sketch((0..names.len()).map(sketch).collect())
        }
        Question::Container => Answer::Container(shelf::container(fixture)),
        Question::Weights { tensor } => Answer::Weights(shelf::weights(fixture, tensor)?),
        Question::Timed { ids, max_new_tokens } => Answer::Timed { ids: greedy(ids, *max_new_tokens, false, engine_row).0, seconds: 0.1 },
        Question::Chat(chat) => {
            let (text, ids) = rendered(chat)?;
            Answer::Chat { text, ids }
        }
        Question::Sample(request) => return sampled(request),
    })
}

/// The golden's own answer.
fn sampled(request: &SampleRequest) -> Result<Answer, Failure> {
    let golden = SamplingGolden::committed().unwrap();
    for of in golden.cases.iter().filter(|of| of.params == request.params && of.generated == request.generated) {
        if let Some(draw) = of.draws.iter().find(|draw| golden.request(of, draw.u) == *request) {
            return Ok(Answer::Sampled(Sampled { logits: of.processed.0.clone(), id: draw.id }));
        }
    }
    Err(Failure::Refused { kind: "request".to_owned(), message: "nothing can be drawn from that".to_owned() })
}

/// A runtime whose answers pass through a function.
pub(super) struct Fake<'a, F> {
    pub(super) fixture: &'a Fixture,
    pub(super) tamper: F,
}

impl<F: Fn(&Question, Result<Answer, Failure>) -> Result<Answer, Failure>> Answers for Fake<'_, F> {
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure> {
        (self.tamper)(question, right_answer(self.fixture, question)).map(Arc::new)
    }
}
