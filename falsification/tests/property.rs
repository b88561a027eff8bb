//! What holds for every input, on inputs that nobody chose: how a prompt is cut, what stands beside it, what a text holds.

use crate::carried::{Carried, bits, models};
use ground_truth::{KvCache, Positions, Sequence, evaluate, sketch};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

/// The same cases on every run; what ever failed is kept beside this file and is run first.
fn config(cases: u32) -> ProptestConfig {
    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/property.regressions");
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(20_260_711),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(KEPT))),
        ..ProptestConfig::default()
    }
}

fn model() -> impl Strategy<Value = &'static Carried> {
    (0..models().len()).prop_map(|i| &models()[i])
}

/// Any numbers, short more often than long; a model takes them modulo its vocabulary.
fn numbers() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![4 => vec(any::<u32>(), 1..24), 2 => vec(any::<u32>(), 24..96), 1 => vec(any::<u32>(), 96..=256)]
}

/// A text of anything: letters, white space, controls, scripts that run the other way, characters that have no width, emoji.
fn text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        8 => prop::char::range(' ', '~'),
        1 => prop::char::range('\0', '\u{1f}'),
        1 => select(&['\u{202e}', '\u{200d}', '\u{200b}', '\u{feff}', '\u{a0}', '\u{301}', '\u{1161}'][..]),
        1 => select(&['é', 'ß', 'İ', 'Ω', 'ж', 'ש', 'م', 'ก', '漢', '가', '👩', '🏽', '🇩', '𝔊'][..]),
        1 => any::<char>(),
    ];
    vec(character, 0..40).prop_map(|characters| characters.into_iter().collect())
}

/// A text of printable ASCII and line ends, where no normal form has anything to change.
fn plain_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![8 => prop::char::range(' ', '~'), 1 => select(&['\n', '\t', '\r'][..])];
    vec(character, 0..60).prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn f_p3_however_a_prompt_is_cut_its_logits_are_the_same_bits(
        model in model(), numbers in numbers(), cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let ids = model.ids(&numbers);
        let whole = model.all(&ids);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(ids.len())).chain([0, ids.len()]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut cache = model.model.new_cache();
        let mut pieces = Vec::new();
        for cut in cuts.windows(2) {
            pieces.extend(model.model.forward(&ids[cut[0]..cut[1]], &mut cache, Positions::All)?.values);
        }
        prop_assert_eq!(cache.len(), ids.len());
        prop_assert_eq!(bits(&pieces), bits(&whole.values), "{} cut at {:?}", &model.name, cuts);
    }

    #[test]
    fn f_p3_what_comes_after_a_position_does_not_change_it(model in model(), numbers in numbers(), at in any::<prop::sample::Index>()) {
        let ids = model.ids(&numbers);
        let n = at.index(ids.len()) + 1;
        let (whole, front) = (model.all(&ids), model.all(&ids[..n]));
        prop_assert_eq!(bits(&whole.values[..front.values.len()]), bits(&front.values), "{} at {}", &model.name, n);
    }

    #[test]
    fn f_p3_neighbours_in_a_batch_do_not_change_a_bit(model in model(), batch in vec(vec(any::<u32>(), 1..40), 1..5)) {
        let batch: Vec<Vec<u32>> = batch.iter().map(|numbers| model.ids(numbers)).collect();
        let mut caches: Vec<KvCache> = batch.iter().map(|_| model.model.new_cache()).collect();
        let mut sequences: Vec<Sequence<'_>> =
            caches.iter_mut().enumerate().map(|(i, cache)| Sequence { ids: &batch[i], cache }).collect();
        let together = model.model.forward_batch(&mut sequences, Positions::All)?;
        prop_assert_eq!(together.len(), batch.len());
        for (i, together) in together.iter().enumerate() {
            prop_assert_eq!(bits(&together.values), bits(&model.all(&batch[i]).values), "{}", &model.name);
        }
    }

    #[test]
    fn f_p3_a_step_from_the_cache_comes_by_the_same_stages(model in model(), numbers in vec(any::<u32>(), 2..40)) {
        let ids = model.ids(&numbers);
        prop_assert_eq!(sketch::sketch(&model.model, &ids, false)?, sketch::sketch(&model.model, &ids, true)?, "{}", &model.name);
    }

    #[test]
    fn f_p3_every_stride_scores_every_token_once(model in model(), numbers in vec(any::<u32>(), 2..80), window in 2..40usize, stride in 1..40usize) {
        prop_assume!(stride < window);
        let ids = model.ids(&numbers);
        let nll = evaluate::summed_nll(&model.model, &ids, window, stride)?;
        prop_assert_eq!(nll.tokens, ids.len() - 1, "{}", &model.name);
        prop_assert!(nll.sum.is_finite() && nll.sum > 0.0, "{}: {}", &model.name, nll.sum);
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn f_p4_decoding_inverts_encoding_on_plain_text(model in model(), text in plain_text()) {
        let ids = model.tokenizer.encode(&text, false)?;
        prop_assert!(ids.iter().all(|&id| (id as usize) < model.config().vocab_size), "{}: {:?}", &model.name, ids);
        prop_assert_eq!(String::from_utf8(model.tokenizer.decode(&ids)?)?, text, "{}: {:?}", &model.name, ids);
    }

    /// A tokenizer may bring a text into its normal form, once; after that it keeps it.
    #[test]
    fn f_p4_decoding_inverts_encoding_on_the_normal_form_of_any_text(model in model(), text in text()) {
        let once = model.tokenizer.decode(&model.tokenizer.encode(&text, false)?)?;
        let normal = String::from_utf8(once)?;
        let again = model.tokenizer.decode(&model.tokenizer.encode(&normal, false)?)?;
        prop_assert_eq!(String::from_utf8(again)?, normal.clone(), "{}: {:?}", &model.name, text);
        prop_assert_eq!(normal.is_empty(), text.is_empty(), "{}: {:?}", &model.name, text);
    }

    /// Byte-level BPE without a normalizer has nothing to change: it is the identity on every text.
    #[test]
    fn f_p4_byte_level_decoding_inverts_encoding_on_any_text(model in model(), text in text()) {
        let fields: serde_json::Value = serde_json::from_slice(model.checkpoint.tokenizer.as_deref().unwrap_or_default())?;
        prop_assume!(fields["normalizer"].is_null() && fields["pre_tokenizer"]["type"] == "ByteLevel");
        let ids = model.tokenizer.encode(&text, false)?;
        prop_assert_eq!(String::from_utf8(model.tokenizer.decode(&ids)?)?, text, "{}: {:?}", &model.name, ids);
    }

    #[test]
    fn f_p4_any_ids_of_the_vocabulary_decode(model in model(), numbers in vec(any::<u32>(), 0..60)) {
        let ids: Vec<u32> = numbers.iter().map(|n| n % model.tokenizer.vocab_size() as u32).collect();
        let text = model.tokenizer.decode(&ids)?;
        prop_assert!(std::str::from_utf8(&text).is_ok(), "{}: {:?}", &model.name, ids);
    }
}
