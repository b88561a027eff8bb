//! Stages of the forward pass: their order in the network, and what people call them.

/// Where a stage stands in a pass: block, then place in the block. The embedding is before every block, the last norm and the logits are after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(usize, usize);

/// The stages of a block in the order in which a pass comes by them, with what they are called.
const BLOCK: [(&str, &str); 6] = [
    ("attn_norm", "the norm before attention"),
    ("attn.q", "queries, after RoPE where there is RoPE"),
    ("attn.k", "keys, after RoPE where there is RoPE"),
    ("attn_out", "what attention adds, after its output projection"),
    ("mlp_out", "what the MLP adds, its norm included"),
    ("out", "the residual stream after the block"),
];

/// The stages outside of blocks: name, whether it comes after them, what it is called.
const OUTSIDE: [(&str, bool, &str); 3] =
    [("embedding", false, "the embedding"), ("final_norm", true, "the norm before the head"), ("logits", true, "the head")];

fn parse(stage: &str) -> Option<(Place, &'static str)> {
    if let Some(i) = OUTSIDE.iter().position(|(name, _, _)| *name == stage) {
        let (_, after, what) = OUTSIDE[i];
        return Some((Place(if after { usize::MAX } else { 0 }, i), what));
    }
    let (block, part) = stage.strip_prefix("blk.")?.split_once('.')?;
    let place = BLOCK.iter().position(|(name, _)| *name == part)?;
    Some((Place(block.parse::<usize>().ok()?.checked_add(1)?, place), BLOCK[place].1))
}

/// The first of these in the order of a pass. A name that is no stage comes after all that are.
pub fn first<'a>(stages: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    stages.into_iter().min_by_key(|stage| (parse(stage).is_none(), parse(stage).map(|(place, _)| place), *stage))
}

/// What a stage is, in words; none for a name that is no stage.
pub fn meaning(stage: &str) -> Option<&'static str> {
    parse(stage).map(|(_, what)| what)
}

/// A stage as people read it: its name, and what it is where the name is known.
pub fn described(stage: &str) -> String {
    let name = crate::escape::line(stage);
    meaning(stage).map_or_else(|| name.clone(), |what| format!("{name} ({what})"))
}

/// A stage without the number of its block: `attn.q` of `blk.3.attn.q`.
pub fn part(stage: &str) -> &str {
    let within = stage.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    within.map_or(stage, |(_, part)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stage_is_the_first_of_a_pass_and_not_of_the_alphabet() {
        let all = ["logits", "blk.10.attn_norm", "blk.2.out", "blk.2.attn.q", "final_norm", "x"];
        assert_eq!(first(all), Some("blk.2.attn.q"));
        assert_eq!(first([all[0], all[4], all[5]]), Some("final_norm"));
        assert_eq!(first(["blk.0.attn.q", "embedding"]), Some("embedding"));
        assert_eq!(first(["b", "a"]), Some("a"));
        assert_eq!(first([]), None);
    }

    #[test]
    fn the_engine_has_no_stage_that_has_no_place_here() {
        let names: Vec<String> = ground_truth::Stage::list(2).map(|stage| stage.to_string()).collect();
        assert!(names.iter().all(|name| meaning(name).is_some()), "{names:?}");
        assert!(names.is_sorted_by_key(|name| parse(name).map(|(place, _)| place)), "{names:?}");
        assert!(meaning("blk.x.attn.q").is_none() && meaning("blk.0.attn").is_none());
        assert_eq!((part("blk.12.attn_out"), part("logits")), ("attn_out", "logits"));
    }
}
