//! A request to draw one token: logits, what was said before, parameters and a random number, all of them by value.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A float64 by its bits, so that a question that holds it can be compared and looked up. In JSON it is a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exact(u64);

impl Exact {
    /// This value.
    pub fn new(value: f64) -> Self {
        Exact(value.to_bits())
    }

    /// The value.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl std::fmt::Debug for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.get())
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Exact::new)
    }
}

/// How logits are changed before a token is drawn: the fields of transformers' `GenerationConfig`, and the two penalties of the OpenAI API.
/// What is not said is not done. Applied in the order in which `generate` of transformers applies them, which is the order of the fields
/// here; presence and frequency penalty stand behind the repetition penalty, as in vLLM.
///
/// This is also its form in the runtime protocol: an object with the fields that are said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleParams {
    /// A token of prompt or text: a negative logit times this, any other divided by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<Exact>,
    /// Subtracted from the logit of each token of the text; the prompt does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<Exact>,
    /// Subtracted from the logit of each token of the text as often as it stands there; the prompt does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<Exact>,
    /// A token that would repeat so many tokens of prompt and text in a row is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_repeat_ngram_size: Option<usize>,
    /// A token that would complete one of these sequences is masked. A sequence that is an EOS token alone does nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad_words_ids: Vec<Vec<u32>>,
    /// EOS is masked as long as prompt and text together are shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// EOS is masked as long as the text alone is shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_new_tokens: Option<usize>,
    /// The tokens that end a text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub eos_token_id: Vec<u32>,
    /// By which every logit is divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Exact>,
    /// Logits below the so-manieth largest are masked, its equals are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// The fewest most likely tokens that reach this probability are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<Exact>,
    /// Tokens less likely than this part of the most likely one are masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<Exact>,
    /// The tokens whose surprise is nearest to the entropy are kept, until they reach this probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typical_p: Option<Exact>,
    /// How many tokens `top_k`, `top_p`, `min_p` and `typical_p` keep at least; 1 where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tokens_to_keep: Option<usize>,
}

/// Draw one token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SampleRequest {
    /// The bits of the float32 logits, (vocab).
    pub logit_bits: Vec<u32>,
    /// The ids of the prompt.
    pub prompt: Vec<u32>,
    /// The ids that were generated after it.
    pub generated: Vec<u32>,
    /// How the logits are changed.
    pub params: SampleParams,
    /// The random number, in [0, 1). It picks the first id, in the order of ids, at which the sum of probabilities exceeds it.
    pub u: Exact,
}

impl SampleRequest {
    /// The logits, (vocab).
    pub fn logits(&self) -> Vec<f32> {
        self.logit_bits.iter().map(|bits| f32::from_bits(*bits)).collect()
    }
}

/// The token that was drawn, and from what.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The logits after every change, (vocab), minus infinity where masked.
    pub logits: Vec<f32>,
    /// The id.
    pub id: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_json_and_what_is_not_said_is_not_written() {
        let params = SampleParams { temperature: Some(Exact::new(0.7)), top_k: Some(3), ..SampleParams::default() };
        let text = serde_json::to_string(&params).unwrap();
        assert_eq!(text, r#"{"temperature":0.7,"top_k":3}"#);
        assert_eq!(serde_json::from_str::<SampleParams>(&text).unwrap(), params);
        assert_eq!(serde_json::to_string(&SampleParams::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<SampleParams>(r#"{"topk":3}"#).is_err());
    }
}
