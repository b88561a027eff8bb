//! The ends of every range: no input, the context limit, the ends of the vocabulary, weights that are no numbers, eight callers at once.

use crate::carried::{Carried, bits, models};
use ground_truth::generate::{Stop, generate};
use ground_truth::{Checkpoint, Dtype, Error, Model, Positions, Sequence, Tensor, evaluate, sketch};
use rstest::rstest;

/// Kind and reason of a refusal.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> (&'static str, &'static str) {
    let error = answer.expect_err("an answer where a refusal was due");
    (error.kind(), error.reason())
}

/// `n` ids that differ from each other as far as the vocabulary goes.
fn some_ids(model: &Carried, n: usize) -> Vec<u32> {
    model.ids(&(0..n as u32).map(|i| i * 37 + 5).collect::<Vec<u32>>())
}

#[test]
fn f_e1_nothing_is_no_prompt() {
    for carried in models() {
        let model = &carried.model;
        let due = ("request", "no-ids");
        for positions in [Positions::All, Positions::Last] {
            let mut cache = model.new_cache();
            assert_eq!(refusal(model.forward(&[], &mut cache, positions)), due, "{}", carried.name);
            assert!(cache.is_empty());
        }
        assert_eq!(refusal(generate(model, &[], 4, true)), due);
        assert_eq!(refusal(generate(model, &[], 0, true)), due);
        assert_eq!(refusal(sketch::sketch(model, &[], false)), due);
        assert_eq!(refusal(sketch::sketch(model, &[], true)), due);
        assert_eq!(refusal(evaluate::summed_nll(model, &[], 8, 4)), ("request", "too-short"));
        assert_eq!(model.forward_batch(&mut [], Positions::All).unwrap(), []);
        let (mut a, mut b) = (model.new_cache(), model.new_cache());
        let mut batch = [Sequence { ids: &[1], cache: &mut a }, Sequence { ids: &[], cache: &mut b }];
        assert_eq!(refusal(model.forward_batch(&mut batch, Positions::All)), due);
    }
}

#[test]
fn f_e1_an_empty_text_is_only_what_the_tokenizer_adds() {
    for carried in models() {
        assert_eq!(carried.tokenizer.encode("", false).unwrap(), [0; 0], "{}", carried.name);
        assert_eq!(carried.tokenizer.decode(&[]).unwrap(), [0; 0], "{}", carried.name);
        let added = carried.tokenizer.encode("", true).unwrap();
        assert!(added.len() <= 1 && added.iter().all(|&id| Some(id) == carried.config().bos), "{}: {added:?}", carried.name);
    }
}

/// Lengths around the blocks of the kernels, and the whole context.
#[rstest]
fn f_e2_a_prompt_of_any_length_up_to_the_limit_has_its_logits(#[values(1, 2, 15, 16, 17, 255, 256)] n: usize) {
    for carried in models() {
        let ids = some_ids(carried, n);
        let all = carried.all(&ids);
        assert_eq!((all.n, all.vocab, all.values.len()), (n, carried.config().vocab_size, n * carried.config().vocab_size));
        assert!(all.values.iter().all(|v| v.is_finite()), "{} at length {n}", carried.name);
        let mut cache = carried.model.new_cache();
        for (i, id) in ids.iter().enumerate() {
            let step = carried.model.forward(&[*id], &mut cache, Positions::Last).unwrap();
            assert_eq!(bits(step.row(0)), bits(all.row(i)), "{} of length {n} at {i}", carried.name);
        }
        let threaded = Model::from_checkpoint(&carried.checkpoint).unwrap().with_threads(2);
        let split = threaded.forward(&ids, &mut threaded.new_cache(), Positions::All).unwrap();
        assert_eq!(bits(&split.values), bits(&all.values), "{} of length {n} on two threads", carried.name);
    }
}

#[test]
fn f_e2_one_token_past_the_limit_is_refused_however_it_comes() {
    for carried in models() {
        let (model, n_ctx) = (&carried.model, carried.config().n_ctx);
        let due = ("request", "context-exceeded");
        let ids = some_ids(carried, n_ctx + 1);
        assert_eq!(refusal(model.forward(&ids, &mut model.new_cache(), Positions::Last)), due, "{}", carried.name);
        assert_eq!(refusal(generate(model, &ids, 1, false)), due);
        assert_eq!(refusal(sketch::sketch(model, &ids, false)), due);
        assert_eq!(refusal(sketch::sketch(model, &ids, true)), due);
        assert_eq!(refusal(evaluate::summed_nll(model, &ids, n_ctx + 1, 8)), ("request", "window"));
        let mut cache = model.new_cache();
        model.forward(&ids[..n_ctx], &mut cache, Positions::Last).unwrap();
        assert_eq!(refusal(model.forward(&ids[n_ctx..], &mut cache, Positions::Last)), due);
        assert_eq!(cache.len(), n_ctx, "a refusal leaves the cache as it was");
    }
}

#[test]
fn f_e2_generation_fills_the_context_and_stops() {
    for carried in models() {
        let n_ctx = carried.config().n_ctx;
        for (n_prompt, due) in [(n_ctx - 2, 2), (n_ctx - 1, 1), (n_ctx, 0)] {
            let answer = generate(&carried.model, &some_ids(carried, n_prompt), usize::MAX, false).unwrap();
            assert_eq!((answer.ids.len(), answer.stop), (due, Stop::Length), "{} after {n_prompt}", carried.name);
        }
        let none = generate(&carried.model, &some_ids(carried, 3), 0, true).unwrap();
        assert_eq!((none.ids.len(), none.stop), (0, Stop::Length));
    }
}

#[test]
fn f_e4_the_vocabulary_ends_where_it_says() {
    for carried in models() {
        let (model, vocab) = (&carried.model, carried.config().vocab_size as u32);
        for id in [0, vocab - 1] {
            assert!(carried.all(&[id]).values.iter().all(|v| v.is_finite()), "{}: id {id}", carried.name);
        }
        for id in [vocab, u32::MAX] {
            for ids in [vec![id], vec![0, id], vec![id, 0]] {
                let mut cache = model.new_cache();
                let error = model.forward(&ids, &mut cache, Positions::All).unwrap_err();
                assert_eq!((error.kind(), error.reason()), ("request", "id-out-of-range"), "{}", carried.name);
                assert!(error.to_string().contains(&id.to_string()) && error.to_string().contains(&vocab.to_string()), "{error}");
                assert!(cache.is_empty());
                assert_eq!(refusal(generate(model, &ids, 1, true)), ("request", "id-out-of-range"));
            }
            // The last id is scored and never fed.
            assert_eq!(refusal(evaluate::summed_nll(model, &[0, id], 8, 4)), ("request", "id-out-of-range"));
        }
    }
}

/// The checkpoint with element `index` of tensor `name` set to `value`, in F32.
fn with_weight(checkpoint: &Checkpoint, name: &str, index: usize, value: f32) -> Checkpoint {
    let mut checkpoint = checkpoint.clone();
    let tensor = checkpoint.tensors.get(name).expect("the tensor is there");
    let (shape, mut values) = (tensor.shape().to_vec(), tensor.to_f32());
    values[index] = value;
    checkpoint.tensors.insert(name, Tensor::from_f32(Dtype::F32, shape, &values).unwrap());
    checkpoint
}

#[rstest]
fn f_e4_a_weight_that_is_no_number_is_refused_by_name(#[values(f32::NAN, f32::INFINITY, f32::NEG_INFINITY)] value: f32) {
    for carried in models() {
        for (name, tensor) in carried.checkpoint.tensors.iter() {
            for index in [0, tensor.n_elements() - 1] {
                let error = Model::from_checkpoint(&with_weight(&carried.checkpoint, name, index, value)).unwrap_err();
                assert_eq!((error.kind(), error.reason()), ("model", "not-finite"), "{}: {error}", carried.name);
                let message = error.to_string();
                assert!(message.contains(name) && message.contains(&format!("element {index} ")), "{}: {message}", carried.name);
            }
        }
    }
}

/// Finite weights whose products are not: a token never comes of them.
#[test]
fn f_e4_logits_that_overflow_are_reported_and_never_become_a_token() {
    for carried in models() {
        let mut reported = 0;
        for (name, _) in carried.checkpoint.tensors.iter() {
            let mut checkpoint = carried.checkpoint.clone();
            let tensor = checkpoint.tensors.get(name).expect("the tensor is there");
            let (shape, n) = (tensor.shape().to_vec(), tensor.n_elements());
            checkpoint.tensors.insert(name, Tensor::from_f32(Dtype::F32, shape, &vec![f32::MAX; n]).unwrap());
            let Ok(model) = Model::from_checkpoint(&checkpoint) else { continue };
            let ids = some_ids(carried, 3);
            let logits = model.forward(&ids, &mut model.new_cache(), Positions::Last).unwrap();
            let finite = logits.values.iter().all(|v| v.is_finite());
            match generate(&model, &ids, 1, false) {
                Ok(answer) => assert!(finite, "{}: {answer:?} from logits that are no numbers, `{name}`", carried.name),
                Err(error) => {
                    assert_eq!(error.kind(), "request", "{}: {error}", carried.name);
                    assert!(["nan-logit", "infinite-logit"].contains(&error.reason()), "{}: {error}", carried.name);
                    reported += 1;
                }
            }
        }
        assert!(reported > 0, "{}: no tensor of the largest numbers made a logit overflow", carried.name);
    }
}

/// Eight callers, each with a prompt of its own and in its own order, some on threads that the model splits further.
#[rstest]
fn f_e5_eight_callers_at_once_get_the_bits_that_each_gets_alone(#[values(1, 2)] threads: usize) {
    for carried in models() {
        let prompts: Vec<Vec<u32>> = (0..8).map(|i| some_ids(carried, 5 + 9 * i)).collect();
        let alone: Vec<Vec<u32>> = prompts.iter().map(|ids| bits(&carried.all(ids).values)).collect();
        let model = Model::from_checkpoint(&carried.checkpoint).unwrap().with_threads(threads);
        std::thread::scope(|scope| {
            for caller in 0..8 {
                let (model, prompts, alone) = (&model, &prompts, &alone);
                scope.spawn(move || {
                    for turn in 0..3 {
                        let i = (caller * 3 + turn) % 8;
                        let logits = model.forward(&prompts[i], &mut model.new_cache(), Positions::All).unwrap();
                        assert_eq!(bits(&logits.values), alone[i], "{}: caller {caller}, prompt {i}", carried.name);
                    }
                });
            }
        });
    }
}
