//! Sampling against what transformers' own processors made of the same logits: `golden/vectors/sampling.json`.

use ground_truth::sample::{History, Params, draw, process};
use serde_json::Value;

use crate::vectors::{hex, list, vectors};

/// Of a kept logit, relative: the bound `sample` of falsification/tolerances.toml.
const BOUND: f64 = 4.0 * 9.4e-8;

fn floats(digits: &Value) -> Vec<f32> {
    let digits = digits.as_str().expect("hex digits");
    let bits = |at: usize| u32::from_str_radix(&digits[at..at + 8], 16).expect("hex digits");
    (0..digits.len()).step_by(8).map(|at| f32::from_bits(bits(at))).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// Every parameter that a case says; one that nobody knows is a failure.
fn params(said: &Value) -> Params {
    let mut params = Params::default();
    for (name, value) in said.as_object().expect("parameters") {
        let number = || value.as_f64().unwrap_or_else(|| panic!("{name}: {value}"));
        let count = || usize::try_from(value.as_u64().unwrap_or_else(|| panic!("{name}: {value}"))).expect("a count");
        match name.as_str() {
            "repetition_penalty" => params.repetition_penalty = number(),
            "presence_penalty" => params.presence_penalty = number(),
            "frequency_penalty" => params.frequency_penalty = number(),
            "no_repeat_ngram_size" => params.no_repeat_ngram_size = count(),
            "bad_words_ids" => params.bad_words_ids = list(value).iter().map(ids).collect(),
            "min_length" => params.min_length = count(),
            "min_new_tokens" => params.min_new_tokens = count(),
            "eos_token_id" => params.eos_token_id = ids(value),
            "temperature" => params.temperature = number(),
            "top_k" => params.top_k = count(),
            "top_p" => params.top_p = number(),
            "min_p" => params.min_p = number(),
            "typical_p" => params.typical_p = number(),
            "min_tokens_to_keep" => params.min_tokens_to_keep = count(),
            _ => panic!("a parameter `{name}`"),
        }
    }
    params
}

#[test]
fn processed_logits_and_draws_are_those_of_transformers() {
    let golden = vectors("sampling.json");
    let cases = list(&golden["cases"]);
    let (mut kept, mut drawn, mut ties) = (0, 0, 0);
    for case in cases {
        let (name, row) = (&case["name"], floats(&golden["rows"][case["row"].as_str().expect("a row")]));
        let (prompt, generated) = (ids(&case["prompt"]), ids(&case["generated"]));
        let history = History { prompt: &prompt, generated: &generated };
        let found = process(&row, history, &params(&case["params"])).unwrap_or_else(|error| panic!("{name}: {error}"));
        let due = floats(&case["processed"]);
        assert_eq!(found.len(), due.len(), "{name}");
        // Where rounding decides which tokens stay, and of equals how many.
        let tie = case["tie"].as_object().map(|tie| (ids(&tie["ids"]), tie["kept"].as_u64().expect("a count")));
        let tied = tie.iter().flat_map(|(ids, _)| ids).copied();
        let loose: Vec<u32> = ids(&case["either"]).into_iter().chain(tied).collect();
        for (id, (&found, &due)) in (0u32..).zip(found.iter().zip(&due)) {
            let masked = f32::NEG_INFINITY;
            assert!(found < f32::INFINITY, "{name}: token {id} at {found}, {due} is due");
            assert!(loose.contains(&id) || (found == masked) == (due == masked), "{name}: token {id} at {found}, {due} is due");
            if found != masked && due != masked {
                let error = if found == due { 0.0 } else { f64::from((found - due).abs()) / f64::from(due.abs()) };
                assert!(error <= BOUND, "{name}: token {id} at {found}, {due} is due");
                kept += 1;
            }
        }
        if let Some((ids, most)) = &tie {
            let stay = ids.iter().filter(|id| found[**id as usize] != f32::NEG_INFINITY).count();
            assert_eq!(stay as u64, *most, "{name}: of the equal tokens {ids:?}");
            ties += 1;
        }
        for of in list(&case["draws"]).iter().filter(|of| of["clear"] == true) {
            let id = draw(&found, f64::from_bits(hex(&of["u"]))).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(u64::from(id), of["id"].as_u64().expect("an id"), "{name}: u = {}", of["u"]);
            drawn += 1;
        }
    }
    let said = format!("{} cases, {kept} logits, {ties} ties, {drawn} draws", cases.len());
    assert!(cases.len() >= 137 && kept > 1000 && ties > 0 && drawn > 100, "{said}");
}
