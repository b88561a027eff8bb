//! Judging without a golden.
//!
//! Some claims compare a runtime with itself: any chunking, any number of threads, any batch gives the same bits; a token never
//! changes what stands before it; what does not exist is refused. They need ids of this model and its sizes, and no oracle. Both
//! are taken from the runtime under test here, so a claim that compares with an oracle is never listed: it would compare the
//! runtime with its own words.

use std::collections::BTreeMap;

use ground_truth_falsification::check::{self, Check};
use ground_truth_falsification::golden::{
    Forced, Greedy, Index, MarginClass, ModelConfig, ModelGolden, Oracle, Prompt, PromptEntry, PromptGolden, SCHEMA, TensorEntry,
    TokenizerCase, TokenizerGolden,
};
use ground_truth_falsification::golden::{Hex32, HexBytes};
use ground_truth_falsification::observation::{Answer, Failure, Question, Stop, TensorRow};

use crate::observe::Sessions;

/// The checks that need no oracle.
const CHECKS: [&str; 15] = [
    "F-T4-shape",
    "INV-generate",
    "F-P3-stepwise",
    "F-P3-chunks",
    "F-P3-last",
    "F-P3-prefix",
    "INV-threads",
    "INV-rerun",
    "INV-batch",
    "INV-causal",
    "F-E1-empty",
    "F-E2-past-context",
    "F-E4-ids",
    "F-E5-concurrent",
    "TENSORS",
];

/// Checks that hold a file against the folder that it was made of, or against itself. Where a file is on trial the folder's own answers
/// stand in for an oracle's, and these are no comparison of a runtime with its own words: two files are compared.
const OF_FILES: [&str; 29] = [
    "F-T1",
    "INSPECT",
    "F-RS6-ids",
    "F-RS6-special",
    "F-P4-decode",
    "F-E3-encode",
    "F-E3-decode",
    "F-RS6-vocabulary",
    "F-P4-vocabulary",
    "CHAT-own",
    "C1",
    "C2",
    "C3",
    "C5",
    "C6",
    "C7",
    "C8",
    "V1",
    "V2",
    "VALIDATE",
    "LINT",
    "TREE",
    "HEX",
    "DEBUG",
    "ORACLE-ID",
    "SPC-rms",
    "SPC-signs",
    "SPC-elements",
    "ROSETTA-DIFF",
];

/// Texts whose tokens are compared between a folder and a file made of it: what tokenizers are known to differ in.
const TOKENIZED: [&str; 24] = [
    "",
    " ",
    "  two  spaces   three",
    " leading and trailing ",
    "\ttab\nnewline\r\n",
    "don't can't we'll I'm they've",
    "DON'T CAN'T",
    "1 12 123 1234 12345 123456",
    "3.14159e-10, 1,000,000",
    "hello, world! (really?) [yes] {no}",
    "a-b_c/d\\e|f~g`h^i",
    "naïve café Ünïcödé",
    "e\u{301}a\u{300}",
    "日本語のテキスト",
    "Привет, мир",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "😀👩\u{200d}👩\u{200d}👧🇫🇷",
    "\u{200b}\u{feff}\u{202e}zero width",
    "fn main() { println!(\"{}\", x); }",
    "<s></s><|endoftext|><unk>",
    "▁under Ġbpe",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u{1}\u{7f}\u{85}",
];

/// Texts of several kinds; their ids, not their meaning, are what is needed.
const TEXTS: [(&str, &str); 3] = [
    ("prose", "Once upon a time, a small machine tried to prove itself wrong, and it could not. It tried again the next day."),
    ("code", "fn main() {\n    let total: u32 = (1..=10).sum();\n    println!(\"{total}\");\n}\n"),
    ("mixed", "naïve café, 3.14159 and 日本語 in one line; 2+2=4, x < y, 100% sure?"),
];

/// How many tokens each text is continued by.
const CONTINUED_BY: usize = 16;

/// What a runtime says of one model, in the shape of a golden.
#[derive(Debug, Clone)]
pub struct SelfReference {
    /// The cell's part.
    pub model: ModelGolden,
    /// The prompts, in the order of the index.
    pub prompts: Vec<PromptGolden>,
}

/// The checks that need no oracle, and those that do.
pub fn checks() -> (Vec<&'static Check>, Vec<&'static Check>) {
    check::all().iter().partition(|check| CHECKS.contains(&check.id))
}

/// The checks of a file on trial that need no oracle, and those that do.
pub fn checks_of_files() -> (Vec<&'static Check>, Vec<&'static Check>) {
    check::all().iter().partition(|check| CHECKS.contains(&check.id) || OF_FILES.contains(&check.id))
}

impl SelfReference {
    /// Asks a runtime for everything that the checks without oracle need to know.
    ///
    /// # Errors
    /// The first failure of the runtime, or a sentence about what its answer lacks.
    pub fn of(name: &str, sessions: &Sessions) -> Result<Self, String> {
        let said = |failure: Failure| failure.to_string();
        let Answer::Metadata(metadata) = sessions.ask(&Question::Metadata).map_err(said)? else {
            return Err("the runtime answers `metadata` with something else".to_owned());
        };
        let Answer::Tensors(tensors) = sessions.ask(&Question::Tensors).map_err(said)? else {
            return Err("the runtime answers `tensors` with something else".to_owned());
        };
        let lacks = |field: &str| format!("the runtime does not say the model's `{field}`");
        let config = ModelConfig {
            n_layers: metadata.n_layers.ok_or_else(|| lacks("n_layers"))?,
            n_heads: metadata.n_heads.ok_or_else(|| lacks("n_heads"))?,
            n_kv_heads: metadata.n_kv_heads.ok_or_else(|| lacks("n_kv_heads"))?,
            head_dim: metadata.head_dim.ok_or_else(|| lacks("head_dim"))?,
            hidden_size: metadata.hidden_size.ok_or_else(|| lacks("hidden_size"))?,
            intermediate_size: metadata.intermediate_size.ok_or_else(|| lacks("intermediate_size"))?,
            vocab_size: metadata.vocab_size.ok_or_else(|| lacks("vocab_size"))?,
            n_ctx: metadata.n_ctx.ok_or_else(|| lacks("n_ctx"))?,
            tie_word_embeddings: metadata.tie_word_embeddings.unwrap_or(false),
            bos: metadata.bos,
            eos: metadata.eos.unwrap_or_default(),
        };
        let architecture = metadata.architecture.ok_or_else(|| lacks("architecture"))?;
        let prompts = TEXTS.iter().map(|(prompt, text)| prompt_of(name, prompt, text, &config, sessions)).collect::<Result<Vec<_>, _>>()?;
        let cases = tokenized(sessions)?;
        Ok(Self {
            model: ModelGolden {
                index: index_of(name, architecture, config, &tensors, &prompts),
                tokenizer: TokenizerGolden { schema: SCHEMA.to_owned(), model: name.to_owned(), oracle: no_oracle(), cases },
                perplexity: Vec::new(),
                texts: BTreeMap::new(),
                published: None,
                chat: None,
            },
            prompts,
        })
    }
}

fn no_oracle() -> Oracle {
    Oracle {
        runtime: "none".to_owned(),
        versions: BTreeMap::new(),
        dtype: String::new(),
        attention: String::new(),
        threads: 0,
        cpu: String::new(),
        generator: String::new(),
    }
}

/// A text's ids and their continuation. Where the model has no tokenizer, ids that spread over its vocabulary.
fn prompt_of(model: &str, name: &str, text: &str, config: &ModelConfig, sessions: &Sessions) -> Result<PromptGolden, String> {
    let question = Question::Tokenize { text: text.to_owned(), add_special: true };
    let mut ids = match sessions.ask(&question) {
        Ok(Answer::Ids(ids)) => ids,
        Ok(_) => return Err("the runtime answers `tokenize` with something else".to_owned()),
        Err(Failure::Refused { kind, .. }) if kind == "tokenizer" => spread(text.len(), config.vocab_size),
        Err(failure) => return Err(failure.to_string()),
    };
    ids.truncate(config.n_ctx.saturating_sub(CONTINUED_BY).max(1));
    let max_new_tokens = CONTINUED_BY.min(config.n_ctx.saturating_sub(ids.len()));
    let question = Question::Generate { ids: ids.clone(), max_new_tokens, stop_at_eos: false };
    let continued = match sessions.ask(&question) {
        Ok(Answer::Generated { ids, .. }) => ids,
        Ok(_) => return Err("the runtime answers `generate` with something else".to_owned()),
        Err(failure) => return Err(failure.to_string()),
    };
    Ok(PromptGolden {
        schema: SCHEMA.to_owned(),
        model: model.to_owned(),
        oracle: no_oracle(),
        prompt: Prompt { name: name.to_owned(), category: "generic".to_owned(), text: text.to_owned(), add_special_tokens: true, ids },
        greedy: Greedy {
            max_new_tokens,
            stop_at_eos: false,
            ids: continued,
            text: String::new(),
            stop: Stop::Length,
            margins: Vec::new(),
            margin_class: MarginClass::Median,
        },
        forced: Forced { logsumexp: Vec::new(), nll: Vec::new(), top: Vec::new() },
        logit_rms: Hex32(f32::NAN),
        floor: Hex32(f32::NAN),
        full: None,
    })
}

/// What the model's own tokenizer makes of the texts, with special tokens and without. None where there is no tokenizer.
fn tokenized(sessions: &Sessions) -> Result<Vec<TokenizerCase>, String> {
    let mut cases = Vec::new();
    for text in TOKENIZED.iter().copied().chain(TEXTS.iter().map(|(_, text)| *text)) {
        for add_special in [false, true] {
            let ids = match sessions.ask(&Question::Tokenize { text: text.to_owned(), add_special }) {
                Ok(Answer::Ids(ids)) => ids,
                Ok(_) => return Err("the runtime answers `tokenize` with something else".to_owned()),
                Err(Failure::Refused { kind, .. }) if kind == "tokenizer" => return Ok(Vec::new()),
                Err(failure) => return Err(failure.to_string()),
            };
            let decoded = match sessions.ask(&Question::Detokenize { ids: ids.clone() }) {
                Ok(Answer::Bytes(bytes)) => HexBytes(bytes),
                Ok(_) => return Err("the runtime answers `detokenize` with something else".to_owned()),
                Err(failure) => return Err(failure.to_string()),
            };
            cases.push(TokenizerCase { text: text.to_owned(), add_special_tokens: add_special, ids, decoded });
        }
    }
    Ok(cases)
}

fn spread(n: usize, vocab_size: usize) -> Vec<u32> {
    let vocab = u64::try_from(vocab_size.max(1)).unwrap_or(u64::MAX);
    (0..n as u64).map(|i| u32::try_from(i * 7919 % vocab).unwrap_or(0)).collect()
}

fn index_of(name: &str, architecture: String, config: ModelConfig, tensors: &[TensorRow], prompts: &[PromptGolden]) -> Index {
    let elements = |row: &TensorRow| row.shape.iter().map(|side| *side as u64).fold(1, u64::saturating_mul);
    let mut by_dtype: BTreeMap<&str, u64> = BTreeMap::new();
    for row in tensors {
        *by_dtype.entry(&row.dtype).or_default() += elements(row);
    }
    let most = by_dtype.values().copied().max();
    let dtype = by_dtype.iter().find(|(_, n)| Some(**n) == most).map_or("none", |(dtype, _)| dtype);
    let entry = |golden: &PromptGolden| PromptEntry {
        name: golden.prompt.name.clone(),
        category: golden.prompt.category.clone(),
        n_prompt: golden.prompt.ids.len(),
        n_greedy: golden.greedy.ids.len(),
        stop: golden.greedy.stop,
        margin_class: golden.greedy.margin_class,
        full: true,
    };
    Index {
        schema: SCHEMA.to_owned(),
        model: name.to_owned(),
        architecture,
        dtype: dtype.to_owned(),
        carried: false,
        trained_by_us: false,
        oracle: no_oracle(),
        config,
        parameters: tensors.iter().map(elements).fold(0, u64::saturating_add),
        tensors: tensors
            .iter()
            .map(|row| TensorEntry { name: row.name.clone(), dtype: row.dtype.clone(), shape: row.shape.clone() })
            .collect(),
        model_files: Vec::new(),
        golden_files: Vec::new(),
        prompts: prompts.iter().map(entry).collect(),
        not_asked: Vec::new(),
        tokenizer: String::new(),
        perplexity: Vec::new(),
        published: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_without_oracle_is_in_the_catalogue() {
        let (without, with) = checks();
        let known: Vec<_> = without.iter().map(|check| check.id).collect();
        for id in CHECKS {
            assert!(known.contains(&id), "no check `{id}` in the catalogue");
        }
        assert!(!with.is_empty());
        let of_files: Vec<_> = checks_of_files().0.iter().map(|check| check.id).collect();
        for id in OF_FILES {
            assert!(of_files.contains(&id), "no check `{id}` in the catalogue");
        }
    }

    #[test]
    fn checks_with_a_bound_need_an_oracle() {
        assert!(checks().0.iter().all(|check| check.is_exact()));
    }

    #[test]
    fn spread_ids_exist() {
        assert!(spread(100, 10).iter().all(|id| *id < 10));
        assert_eq!(spread(3, 0), [0, 0, 0]);
    }
}
