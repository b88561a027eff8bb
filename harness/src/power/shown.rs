//! What a defect shows besides red checks: what it touches, where the arithmetic first differs, by how much.

use ground_truth::{Checkpoint, Tensor};
use ground_truth_falsification::observation::{Answer, Answers, Question};
use ground_truth_falsification::tolerance::NATIVE;
use ground_truth_falsification::verdict::Verdict;
use serde_json::{Map, Value};

use super::bench::{Bench, Plant};
use super::table::Found;
use crate::defect::Make;
use crate::defect::artifact::Surgery;
use crate::diagnosis::signature::Shown;
use crate::diagnosis::stage;
use crate::observe::Observer;
use crate::runtime::Arithmetic;
use crate::trial::minimal::Ruler;

/// Parts of the names of settings, and the stage of the first block that each feeds.
const SETTINGS: [(&str, &str); 10] = [
    ("rope", "blk.0.attn.q"),
    ("head", "blk.0.attn.q"),
    ("eps", "blk.0.attn_norm"),
    ("act", "blk.0.mlp_out"),
    ("scale", "blk.0.attn_out"),
    ("sliding", "blk.0.attn_out"),
    ("window", "blk.0.attn_out"),
    ("layer_types", "blk.0.attn_out"),
    ("tie_word", "logits"),
    ("multiplier", "embedding"),
];

/// Parts of the names of tensors, and the stage that each feeds. A fused projection is three: see [`fed`].
const TENSORS: [(&str, &str); 17] = [
    ("embed_tokens", "embedding"),
    ("wte", "embedding"),
    ("wpe", "embedding"),
    ("input_layernorm", "attn_norm"),
    ("ln_1", "attn_norm"),
    ("q_proj", "attn.q"),
    ("k_proj", "attn.k"),
    ("v_proj", "attn_out"),
    ("o_proj", "attn_out"),
    ("attn.c_proj", "attn_out"),
    ("post_attention_layernorm", "mlp_out"),
    ("ln_2", "mlp_out"),
    ("mlp.", "mlp_out"),
    ("ln_f", "final_norm"),
    ("lm_head", "logits"),
    ("model.norm", "final_norm"),
    ("norm.weight", "final_norm"),
];

impl Bench {
    /// What is seen of the defect.
    pub(crate) fn shown(&self) -> Result<Shown, String> {
        let opened = self.bed.open()?;
        let mut shown = Shown::default();
        if let Plant::Defect(Make::Artifact(edit), strength) = self.plant {
            let mut after = opened.checkpoint.clone();
            let mut surgery = Surgery::new(&mut after).map_err(|error| error.to_string())?;
            edit(&mut surgery, strength).map_err(|error| error.to_string())?;
            touched(&opened.checkpoint, &after, &mut shown);
        }
        let of = |id: &str| self.checks.iter().position(|(check, _)| check.id == id);
        for id in ["F-G4-sketch-prefill", "F-G4-sketch-decode", "F-G4-logits"] {
            let Some(Ok(judged)) = of(id).map(|place| self.judged(place).clone()) else { continue };
            if judged.found != Found::Killed {
                continue;
            }
            let Verdict { place, .. } = judged.verdict;
            shown.stage = shown.stage.or(place.stage);
            if id == "F-G4-logits" {
                let ratio = judged.ratio.filter(|ratio| *ratio > 0.0 && ratio.is_finite());
                shown.size = ratio.map(|ratio| (ratio.log10() * 10.0).round() / 10.0);
                shown.position = self.first_wrong_position()?;
            }
        }
        Ok(shown)
    }

    /// The first position whose logits are wrong on some prompt.
    fn first_wrong_position(&self) -> Result<Option<usize>, String> {
        let opened = self.bed.open()?;
        let live = self.live(&opened)?;
        let observer = Observer::new(&live.sessions, &live.memory);
        let bounds = opened.tolerances.of(NATIVE, Arithmetic::Exact, &self.bed.form);
        let mut first: Option<usize> = None;
        for place in &self.bed.prompts {
            let golden = opened.prompt(*place)?;
            let answer = observer.ask(&Question::logits(&golden.forced_ids()));
            let Ok(Answer::Logits(logits)) = answer.as_deref() else { continue };
            let own = Ruler::new(golden, bounds).and_then(|ruler| ruler.earliest(logits)).map(|(position, _)| position);
            first = [first, own].into_iter().flatten().min();
        }
        Ok(first)
    }
}

/// What differs between two checkpoints, and which stage it feeds first.
fn touched(before: &Checkpoint, after: &Checkpoint, shown: &mut Shown) {
    let mut touches = Vec::new();
    let mut feeds: Vec<String> = Vec::new();
    let names: std::collections::BTreeSet<&str> = before.tensors.iter().chain(after.tensors.iter()).map(|(name, _)| name).collect();
    for name in names {
        let pair = (before.tensors.get(name), after.tensors.get(name));
        let same = |(a, b): (&Tensor, &Tensor)| {
            a.dtype() == b.dtype() && a.shape() == b.shape() && a.order() == b.order() && a.bytes() == b.bytes()
        };
        if pair.0.zip(pair.1).is_some_and(same) {
            continue;
        }
        touches.push("file");
        feeds.extend(fed(name, pair));
    }
    let mut settings: Vec<String> = Vec::new();
    changed(&before.config, &after.config, &mut settings);
    let none = Map::new();
    let (old, new) = (before.generation_config.as_ref().unwrap_or(&none), after.generation_config.as_ref().unwrap_or(&none));
    changed(old, new, &mut settings);
    if !settings.is_empty() {
        touches.push("config");
    }
    for key in &settings {
        feeds.extend(SETTINGS.iter().find(|(part, _)| key.contains(part)).map(|(_, stage)| (*stage).to_owned()));
    }
    if before.tokenizer != after.tokenizer {
        touches.push("tokenizer");
    }
    touches.dedup();
    shown.touches = Some(touches.join(" ")).filter(|touches| !touches.is_empty());
    shown.feeds = stage::first(feeds.iter().map(String::as_str)).map(str::to_owned);
}

/// The names of settings that differ.
fn changed(before: &Map<String, Value>, after: &Map<String, Value>, names: &mut Vec<String>) {
    for key in before.keys().chain(after.keys()) {
        if before.get(key) != after.get(key) && !names.contains(key) {
            names.push(key.clone());
        }
    }
}

/// The stages that a tensor feeds.
fn fed(name: &str, pair: (Option<&Tensor>, Option<&Tensor>)) -> Vec<String> {
    let block = name.split('.').find_map(|word| word.parse::<usize>().ok());
    let within = |part: &str| block.map_or_else(|| part.to_owned(), |block| format!("blk.{block}.{part}"));
    if !name.contains("c_attn") {
        let outside = |stage: &str| ["embedding", "final_norm", "logits"].contains(&stage);
        let found = TENSORS.iter().find(|(part, _)| name.contains(part)).map(|(_, stage)| *stage);
        return found.map(|stage| if outside(stage) { stage.to_owned() } else { within(stage) }).into_iter().collect();
    }
    // Query, key and value lie beside each other: the thirds that changed are the ones that are fed.
    let (Some(a), Some(b)) = pair else { return vec![within("attn.q")] };
    let (old, new, width) = (a.to_f32(), b.to_f32(), a.shape().last().copied().unwrap_or(3));
    let thirds = ["attn.q", "attn.k", "attn_out"].into_iter().enumerate();
    let moved =
        |third: usize| (0..old.len().min(new.len())).any(|i| i % width / (width / 3) == third && old[i].to_bits() != new[i].to_bits());
    thirds.filter(|(third, _)| moved(*third)).map(|(_, stage)| within(stage)).collect()
}
