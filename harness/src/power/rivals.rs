//! The rules of other tools, tried on every defect and on every correct implementation that there is.
//!
//! Each is given what its tool would have: the text, as the runtime on trial tokenizes it; the logits of the prompt; a greedy
//! continuation; the weights. A defect is let through where the rule passes on every prompt. A correct implementation is the engine on an
//! unbroken file, in every column that the matrix has (its rows there are green), or llama.cpp as its golden recorded it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ground_truth::Checkpoint;
use ground_truth_falsification::baseline::{self, Rule};
use ground_truth_falsification::defect::Kind;
use ground_truth_falsification::form::Form;
use ground_truth_falsification::golden::PromptGolden;
use ground_truth_falsification::metric::{logsumexp, widen};
use ground_truth_falsification::observation::{Answer, Answers, Logits, Question};

use super::bed::{Bed, Opened};
use super::bench::{Bench, Plant};
use super::measured::RuleMeasured;
use super::plan::Plan;
use super::spread::spread;
use super::table::{Effect, Table};

/// Whether each rule passes; a rule that has nothing to look at is not among them.
type Passes = BTreeMap<&'static str, bool>;

fn both(passes: &mut Passes, rule: Rule, more: bool) {
    *passes.entry(rule.id).or_insert(true) &= more;
}

fn ids(answers: &dyn Answers, text: &str, add_special: bool) -> Option<Vec<u32>> {
    match answers.ask(&Question::Tokenize { text: text.to_owned(), add_special }).ok()?.as_ref() {
        Answer::Ids(ids) if !ids.is_empty() => Some(ids.clone()),
        _ => None,
    }
}

fn logits(answers: &dyn Answers, ids: &[u32]) -> Option<Logits> {
    match answers.ask(&Question::logits(ids)).ok()?.as_ref() {
        Answer::Logits(logits) => Some(logits.clone()),
        _ => None,
    }
}

fn generated(answers: &dyn Answers, ids: &[u32], golden: &PromptGolden) -> Option<Vec<u32>> {
    let question =
        Question::Generate { ids: ids.to_vec(), max_new_tokens: golden.greedy.max_new_tokens, stop_at_eos: golden.greedy.stop_at_eos };
    match answers.ask(&question).ok()?.as_ref() {
        Answer::Generated { ids, .. } => Some(ids.clone()),
        _ => None,
    }
}

/// What the rules say of one prompt.
fn prompt(golden: &PromptGolden, form: &Form, answers: &dyn Answers, passes: &mut Passes) {
    let ids = ids(answers, &golden.prompt.text, golden.prompt.add_special_tokens);
    let n = golden.prompt.ids.len();
    let full = golden.full.as_ref().filter(|full| full.positions.iter().copied().take(n).eq(0..n));
    if let Some(full) = full {
        let reference = full.logits_f32.get(..n * full.vocab).unwrap_or_default();
        let observed = ids.as_ref().and_then(|ids| logits(answers, ids));
        let values = observed.as_ref().map(|logits| logits.values.as_slice()).unwrap_or_default();
        let last = observed.as_ref().and_then(|logits| logits.row(logits.n.checked_sub(1)?)).unwrap_or_default();
        let last_reference = reference.get((n - 1) * full.vocab..).unwrap_or_default();
        both(passes, baseline::NMSE, baseline::nmse(last_reference, last));
        both(passes, baseline::COSINE, baseline::cosine(last_reference, last));
        both(passes, baseline::ALLCLOSE, baseline::allclose(reference, values));
    }
    let text = ids.as_ref().and_then(|ids| generated(answers, ids, golden));
    let near = |step: usize| {
        let reference = golden.top_at(n - 1 + step)?.ids.iter().copied().take(baseline::NEAR).collect();
        let mut context = ids.clone()?;
        context.extend(golden.greedy.ids.get(..step)?);
        let row = logits(answers, &context)?;
        Some([reference, baseline::best(row.row(row.n.checked_sub(1)?)?)?])
    };
    // What crashes or hangs is seen by whoever waits for it.
    both(passes, baseline::TOP_K, text.as_ref().is_some_and(|text| baseline::top_k(&golden.greedy.ids, text, near)));
    let same = text.is_some_and(|text| baseline::positional(&golden.greedy.ids, &text, form.class()));
    both(passes, baseline::POSITIONAL, same);
}

/// Mean negative log-likelihood of the shortest text of the golden, under its window and stride, and the golden's own.
fn losses(opened: &Opened, answers: &dyn Answers) -> Option<[f64; 2]> {
    let golden = opened.golden.perplexity.iter().min_by_key(|text| text.tokens)?;
    let mut ids = ids(answers, opened.golden.texts.get(&golden.text.name)?, true)?;
    ids.truncate(golden.tokens + 1);
    let (mut sum, mut tokens, mut next) = (0.0, 0_usize, 1);
    for begin in (0..ids.len()).step_by(golden.stride.max(1)) {
        let end = ids.len().min(begin + golden.window);
        let logits = logits(answers, &ids[begin..end])?;
        for (at, id) in ids.iter().enumerate().take(end).skip(next.max(begin + 1)) {
            let values = widen(logits.row(at - 1 - begin)?);
            sum += logsumexp(&values).ok()? - values.get(*id as usize)?;
            tokens += 1;
        }
        next = end;
        if end == ids.len() {
            break;
        }
    }
    Some([golden.sum_nll.get() / golden.tokens as f64, sum / tokens as f64])
}

/// Whether no tensor of the source diverges, each against the one of its name. A tensor that is gone, or has another size, is noticed.
fn weights_pass(source: &Checkpoint, converted: &Checkpoint, quantization: &str) -> bool {
    source.tensors.iter().all(|(name, tensor)| {
        let other = converted.tensors.get(name).filter(|other| other.n_elements() == tensor.n_elements());
        other.is_some_and(|other| baseline::abs_kl(&tensor.to_f32(), &other.to_f32(), quantization))
    })
}

/// What the rules say of one answerer.
fn tried(bed: &Bed, opened: &Opened, answers: &dyn Answers) -> Result<Passes, String> {
    let mut passes = Passes::new();
    for place in &bed.prompts {
        prompt(opened.prompt(*place)?, &bed.form, answers, &mut passes);
    }
    let losses = losses(opened, answers);
    both(&mut passes, baseline::PERPLEXITY, losses.is_some_and(|[golden, observed]| baseline::perplexity(golden, observed)));
    Ok(passes)
}

/// What the rules say of one defect.
fn of_defect(bench: &Bench) -> Result<Passes, String> {
    let mut passes = bench.ask(|opened, answers| tried(&bench.bed, opened, answers))?;
    if let Some([sound, broken]) = bench.checkpoints()? {
        both(&mut passes, baseline::ABS_KL, weights_pass(&sound, &broken, &bench.bed.form.quantization));
    }
    Ok(passes)
}

/// What the rules say of the engine on an unbroken column, and of llama.cpp where it was asked about it.
fn of_column(bed: &Arc<Bed>) -> Result<Vec<(String, Passes)>, String> {
    let bench = Bench::new(("control".to_owned(), bed.name.clone()), bed, Plant::Control, None, &[]);
    let opened = bed.open()?;
    let mut passes = bench.ask(|opened, answers| tried(bed, opened, answers))?;
    let source = Checkpoint::open(bed.model_folder()).map_err(|error| error.to_string())?;
    both(&mut passes, baseline::ABS_KL, weights_pass(&source, &opened.checkpoint, &bed.form.quantization));
    let mut all = vec![(format!("native on {} {}", bed.index.model, bed.form), passes)];
    if let Some(other) = &opened.llama_cpp {
        let mut passes = Passes::new();
        for place in &bed.prompts {
            let golden = opened.prompt(*place)?;
            let Some(theirs) = other.prompt(&golden.prompt.name) else { continue };
            let n = golden.prompt.ids.len();
            let near = |step: usize| {
                let first = |ids: &[u32]| ids.iter().copied().take(baseline::NEAR).collect::<Vec<u32>>();
                Some([first(&golden.top_at(n - 1 + step)?.ids), first(&theirs.steps.get(step)?.ids)])
            };
            both(&mut passes, baseline::TOP_K, baseline::top_k(&golden.greedy.ids, &theirs.greedy.ids, near));
            both(&mut passes, baseline::POSITIONAL, baseline::positional(&golden.greedy.ids, &theirs.greedy.ids, bed.form.class()));
        }
        all.push((format!("llama.cpp on {} {}", bed.index.model, bed.form), passes));
    }
    Ok(all)
}

/// Tries every rule on every defect that is not equivalent and loads, and on every correct implementation.
///
/// # Errors
///
/// Where something cannot be opened.
pub fn run(plan: &Plan, columns: &[Arc<Bed>], table: &Table) -> Result<BTreeMap<String, RuleMeasured>, String> {
    let counts = |bench: &&Bench| {
        let equivalent = table.entries.get(&bench.key).and_then(|entry| entry.effect) == Some(Effect::Equivalent);
        bench.record.is_some_and(|record| record.refused.is_none() && record.kind != Kind::File) && !equivalent
    };
    let benches: Vec<&Bench> = plan.benches.iter().filter(counts).collect();
    let found = spread(&benches, |bench| {
        let passes = of_defect(bench).map_err(|reason| format!("{} in {}: {reason}", bench.key.0, bench.key.1));
        bench.forget();
        passes
    });
    let mut rules: BTreeMap<String, RuleMeasured> = BTreeMap::new();
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut missed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (at, passes) in found.into_iter().enumerate() {
        let id = benches[at].record.map_or("", |record| record.id.as_str());
        for (rule, passes) in passes? {
            let counted = rules.entry(rule.to_owned()).or_default();
            counted.defects += 1;
            counted.let_through += usize::from(passes);
            let moves = table.entries.get(&benches[at].key).and_then(|entry| entry.effect) == Some(Effect::Moved);
            counted.moving += usize::from(moves);
            counted.moving_let_through += usize::from(moves && passes);
            if passes { &mut missed } else { &mut seen }.entry(rule).or_default().insert(id);
        }
    }
    let correct = spread(columns, |bed| of_column(bed).map_err(|reason| format!("{}: {reason}", bed.name)));
    for implementations in correct {
        for (name, passes) in implementations? {
            for (rule, passes) in passes {
                let counted = rules.entry(rule.to_owned()).or_default();
                counted.correct += 1;
                counted.accused += usize::from(!passes);
                counted.accuses.extend((!passes).then(|| name.clone()));
            }
        }
    }
    for (rule, counted) in &mut rules {
        let seen = seen.get(rule.as_str());
        let never = missed.get(rule.as_str()).into_iter().flatten().filter(|id| !seen.is_some_and(|seen| seen.contains(*id)));
        counted.blind_to = never.map(|id| (*id).to_owned()).collect();
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use ground_truth_falsification::observation::Failure;

    use super::*;

    /// The engine on the file as published is let through by every rule, and its loss is the golden's.
    #[test]
    fn a_correct_implementation_is_not_accused() {
        let plan = Plan::carried();
        let bed = plan.beds.iter().find(|bed| bed.form.primary && bed.index.model == "llama-tiny").expect("a carried model");
        let found = of_column(bed).unwrap();
        assert!(found[0].0.starts_with("native on llama-tiny"), "{}", found[0].0);
        assert_eq!(found[0].1.len(), 7, "{:?}", found[0].1);
        for (who, passes) in found {
            assert!(passes.values().all(|passes| *passes), "{who}: {passes:?}");
        }
        let bench = Bench::new(("control".to_owned(), bed.name.clone()), bed, Plant::Control, None, &[]);
        let [golden, observed] = bench.ask(|opened, answers| losses(opened, answers).ok_or_else(|| "no loss".to_owned())).unwrap();
        assert!((golden - observed).abs() < 1e-5 * golden, "{golden} and {observed}");
    }

    /// Answers every question in the same way.
    struct Same(Result<Answer, Failure>);

    impl Answers for Same {
        fn ask(&self, _: &Question) -> Result<Arc<Answer>, Failure> {
            self.0.clone().map(Arc::new)
        }
    }

    #[test]
    fn what_is_not_answered_is_nothing_to_look_at() {
        assert_eq!(ids(&Same(Ok(Answer::Ids(vec![3]))), "x", true), Some(vec![3]));
        assert_eq!(ids(&Same(Ok(Answer::Ids(Vec::new()))), "x", true), None);
        let crash = Same(Err(Failure::Crash { message: "signal 11".to_owned() }));
        assert!(ids(&crash, "x", true).is_none() && logits(&crash, &[1]).is_none());
        assert!(logits(&Same(Ok(Answer::Ids(vec![3]))), &[1]).is_none());
    }

    #[test]
    fn one_prompt_that_fails_is_enough() {
        let mut passes = Passes::new();
        for more in [true, false, true] {
            both(&mut passes, baseline::COSINE, more);
        }
        assert_eq!(passes, Passes::from([(baseline::COSINE.id, false)]));
    }
}
