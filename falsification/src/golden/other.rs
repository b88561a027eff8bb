//! Goldens of other oracles, bound to the values of one column: transformers on the weights that gguf-py dequantized, and llama.cpp.
//!
//! | file | type | says |
//! |---|---|---|
//! | `dequantized/<column>/index.json` | [`Dequantized`] | which values were judged, and which prompts |
//! | `dequantized/<column>/<prompt>.json` | [`PromptGolden`](super::PromptGolden) | as for the model itself, without full logits |
//! | `llama.cpp/<column>.json` | [`LlamaCpp`] | greedy tokens and the most likely ones at each step |
//!
//! The first says what a right kernel answers for these values, whatever the quantizer made of the model; the second is another program
//! reading the same file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{FileEntry, GoldenError, Hex32, Oracle, PromptEntry, parse};
use crate::observation::Stop;

/// The schema word of `dequantized/<column>/index.json`.
pub const DEQUANTIZED_SCHEMA: &str = "ground-truth/dequantized/1";

/// The schema word of the files under `llama.cpp/`.
pub const LLAMA_CPP_SCHEMA: &str = "ground-truth/llama.cpp/1";

/// `dequantized/<column>/index.json`. The column is the quantization's name; APR's own have `apr-` before it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dequantized {
    /// [`DEQUANTIZED_SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// `q4_k_m`, `apr-q8`, `bf16`, ...
    pub quantization: String,
    /// Digest of the values that gguf-py dequantized, by the rule of [`Container`](crate::observation::Container).
    pub values_digest: String,
    /// Who wrote this.
    pub oracle: Oracle,
    /// Every prompt.
    pub prompts: Vec<PromptEntry>,
    /// Every file of this golden but this one.
    pub files: Vec<FileEntry>,
}

/// How llama.cpp was set up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCppOracle {
    /// `llama.cpp`.
    pub runtime: String,
    /// Version of each package that took part.
    pub versions: BTreeMap<String, String>,
    /// Type of the KV cache, `f32`.
    pub kv_cache: String,
    /// Whether flash attention was on; it is off.
    pub flash_attention: bool,
    /// Threads that it computed with.
    pub threads: u32,
    /// The processor.
    pub cpu: String,
    /// SHA-256 of the script that wrote the file.
    pub generator: String,
}

/// What llama.cpp generated.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCppGreedy {
    /// The new ids.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
}

/// The most likely tokens at one step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCppStep {
    /// Their ids, most likely first.
    pub ids: Vec<u32>,
    /// Their log-probabilities in nats.
    pub logprobs: Vec<Hex32>,
}

impl LlamaCppStep {
    /// What llama.cpp loses, in nats, by taking `id` in place of its own; none where it does not list it.
    pub fn regret(&self, id: u32) -> Option<f64> {
        let at = self.ids.iter().position(|&listed| listed == id)?;
        Some(self.logprobs.first()?.get() - self.logprobs.get(at)?.get())
    }

    /// What llama.cpp loses, in nats, by taking the last one that it lists.
    pub fn spread(&self) -> Option<f64> {
        Some(self.logprobs.first()?.get() - self.logprobs.last()?.get())
    }
}

/// One prompt as llama.cpp answered it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCppPrompt {
    /// Name of the prompt.
    pub name: String,
    /// The ids that were fed.
    pub ids: Vec<u32>,
    /// What it generated.
    pub greedy: LlamaCppGreedy,
    /// The most likely tokens at each step.
    pub steps: Vec<LlamaCppStep>,
}

/// One text that llama.cpp tokenizes otherwise than transformers does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCppText {
    /// The text.
    pub text: String,
    /// Whether special tokens were added.
    pub add_special_tokens: bool,
    /// The ids of transformers.
    pub expected: Vec<u32>,
    /// The ids of llama.cpp.
    pub ids: Vec<u32>,
}

/// How the tokenizer that llama.cpp built from the file fared on the texts of the tokenizer golden.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCppTokenizer {
    /// How many texts were asked.
    pub asked: usize,
    /// How many have the ids of transformers.
    pub same: usize,
    /// The others.
    pub different: Vec<LlamaCppText>,
}

/// `llama.cpp/<column>.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlamaCpp {
    /// [`LLAMA_CPP_SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// `q4_k_m`, `f32`, ...
    pub quantization: String,
    /// Digest of the values in the file that it loaded.
    pub values_digest: String,
    /// Who wrote this.
    pub oracle: LlamaCppOracle,
    /// Its tokenizer.
    pub tokenizer: LlamaCppTokenizer,
    /// Every prompt.
    pub prompts: Vec<LlamaCppPrompt>,
}

fn expect(found: &str, due: &str, file: &str) -> Result<(), GoldenError> {
    if found == due {
        return Ok(());
    }
    let reason = format!("is `{}`, this program reads `{due}`", found.escape_debug());
    Err(GoldenError::Field { file: file.to_owned(), field: "schema".to_owned(), reason })
}

impl Dequantized {
    /// Reads the index of a dequantized golden. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are not one of this schema.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        let golden: Dequantized = parse(bytes, file)?;
        expect(&golden.schema, DEQUANTIZED_SCHEMA, file)?;
        Ok(golden)
    }
}

impl LlamaCpp {
    /// Reads a llama.cpp golden. `file` names it in errors.
    ///
    /// # Errors
    ///
    /// [`GoldenError`] where the bytes are not one of this schema, or a prompt has not as many steps as tokens.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, GoldenError> {
        let golden: LlamaCpp = parse(bytes, file)?;
        expect(&golden.schema, LLAMA_CPP_SCHEMA, file)?;
        for (i, prompt) in golden.prompts.iter().enumerate() {
            let (steps, ids) = (prompt.steps.len(), prompt.greedy.ids.len());
            let even = prompt.steps.iter().all(|step| !step.ids.is_empty() && step.ids.len() == step.logprobs.len());
            if steps != ids || !even {
                let reason = format!("{steps} steps for {ids} generated tokens, or a step whose lists differ in length");
                return Err(GoldenError::Field { file: file.to_owned(), field: format!("prompts[{i}].steps"), reason });
            }
        }
        Ok(golden)
    }

    /// What it answered to the prompt of that name.
    pub fn prompt(&self, name: &str) -> Option<&LlamaCppPrompt> {
        self.prompts.iter().find(|prompt| prompt.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA_CPP: &str = include_str!("../../../golden/llama-tiny/llama.cpp/q4_0.json");
    const DEQUANTIZED: &str = include_str!("../../../golden/llama-tiny/dequantized/q4_0/index.json");

    #[test]
    fn another_schema_is_refused_and_both_are_named() {
        let error = LlamaCpp::parse(DEQUANTIZED.as_bytes(), "f").unwrap_err().to_string();
        assert!(!error.is_empty());
        let older = LLAMA_CPP.replacen(LLAMA_CPP_SCHEMA, "ground-truth/llama.cpp/0\\u0007", 1);
        let error = LlamaCpp::parse(older.as_bytes(), "f").unwrap_err().to_string();
        assert!(error.contains("`ground-truth/llama.cpp/0\\u{7}`") && error.contains(LLAMA_CPP_SCHEMA), "{error}");
        let older = DEQUANTIZED.replacen(DEQUANTIZED_SCHEMA, "ground-truth/0", 1);
        assert!(Dequantized::parse(older.as_bytes(), "f").unwrap_err().to_string().contains(DEQUANTIZED_SCHEMA));
        assert!(Dequantized::parse(DEQUANTIZED.as_bytes(), "f").is_ok());
    }

    #[test]
    fn a_step_is_due_for_each_token_and_a_number_for_each_id() {
        let golden = LlamaCpp::parse(LLAMA_CPP.as_bytes(), "f").unwrap();
        let name = golden.prompts[0].name.clone();
        assert_eq!(golden.prompt(&name), Some(&golden.prompts[0]));
        assert_eq!(golden.prompt("no such prompt"), None);
        let refused = |change: fn(&mut serde_json::Value)| {
            let mut value: serde_json::Value = serde_json::from_str(LLAMA_CPP).unwrap();
            change(&mut value["prompts"][0]["steps"]);
            LlamaCpp::parse(value.to_string().as_bytes(), "f").unwrap_err().to_string()
        };
        let changes: [fn(&mut serde_json::Value); 3] = [
            |steps| drop(steps.as_array_mut().unwrap().pop()),
            |steps| drop(steps[0]["ids"].as_array_mut().unwrap().pop()),
            |steps| (steps[0]["ids"], steps[0]["logprobs"]) = (serde_json::json!([]), serde_json::json!([])),
        ];
        for change in changes {
            let error = refused(change);
            assert!(error.contains("prompts[0].steps"), "{error}");
        }
    }

    #[test]
    fn what_llama_cpp_loses_is_a_difference_of_its_logarithms() {
        let step = LlamaCppStep { ids: vec![7, 3, 9], logprobs: vec![Hex32(-0.5), Hex32(-1.5), Hex32(-4.0)] };
        assert_eq!([7, 3, 9, 1].map(|id| step.regret(id)), [Some(0.0), Some(1.0), Some(3.5), None]);
        assert_eq!(step.spread(), Some(3.5));
        assert_eq!(LlamaCppStep { ids: Vec::new(), logprobs: Vec::new() }.spread(), None);
    }
}
