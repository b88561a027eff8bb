//! The users' bounds on quantized text: TOKEN, DRIFT and LOGIT-CONSISTENCY; and CROSS-RUNTIME against llama.cpp on the same file.
//!
//! A positional count measures the cascade after the first flip, so TOKEN and DRIFT are judged where every margin of the golden is wide.
//! LOGIT-CONSISTENCY asks a rounded model for the ten tokens of the model as published, which only a model that has decided something can
//! keep: without training the tenth and the eleventh token lie within what int8 loses. What is not judged is listed with the reason
//! ([`undecided`]); the kernel is judged there by F-G4 all the same, on the golden of the very values that the column holds.

use super::logits::row;
use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::form::Class;
use crate::golden::{LlamaCppPrompt, LlamaCppStep, MarginClass, PromptEntry, PromptGolden, TOP_K};
use crate::metric::{log_softmax, widen};
use crate::observation::{Answers, Op, Peer, Question};
use crate::verdict::{Measure, Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "TOKEN",
        claim: "TOKEN",
        sentence: "of 32 greedy tokens of a decided text at most 3 differ in int8 and 5 in int4",
        refuted_by: "more of them",
        per: Per::Source(|scope, prompt| {
            scope.form.is_lossy() && scope.is_robust() && is_canary(prompt) && scope.form.class() != Class::Low
        }),
        breadth: Breadth::Everywhere,
        needs: &[Op::Generate],
        bounds: &["token.int4", "token.int8"],
        judge: tokens,
    },
    Check {
        id: "DRIFT",
        claim: "DRIFT",
        sentence: "int8 differs from the golden in at most one token more than int4 of the same format does, and both are within their bounds",
        refuted_by: "a larger distance, or one of the two out of its bound",
        per: Per::Source(|scope, prompt| {
            let int8 = ["q8_0", "q8"].contains(&scope.form.quantization.as_str()) && !scope.form.given;
            int8 && scope.is_robust() && is_canary(prompt)
        }),
        breadth: Breadth::Everywhere,
        needs: &[Op::Generate],
        bounds: &["drift", "token.int4", "token.int8"],
        judge: ladder,
    },
    Check {
        id: "LOGIT-CONSISTENCY",
        claim: "LOGIT-CONSISTENCY",
        sentence: "after nine of ten prompts at least nine tenths of the ten most likely tokens are the model's, as published",
        refuted_by: "more prompts with less agreement",
        per: Per::Sources(|scope, prompt| {
            let precise = matches!(scope.form.class(), Class::Int8 | Class::Exact);
            !scope.form.primary && scope.is_robust() && precise && is_short(prompt)
        }),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &["logit-consistency"],
        judge: consistency,
    },
    Check {
        id: "CROSS-RUNTIME",
        claim: "CROSS-RUNTIME",
        sentence: "llama.cpp, reading the same values, generates the same tokens; after a tie it does so from its own token",
        refuted_by: "another token where llama.cpp's own margin is above its tie floor for this type, or one that it does not list",
        per: Per::Source(|scope, prompt| scope.llama_cpp && scope.is_robust() && ASKED.contains(&prompt.name.as_str())),
        breadth: Breadth::Everywhere,
        needs: &[Op::Generate, Op::Container],
        bounds: CROSS_KEYS,
        judge: cross_runtime,
    },
];

/// What llama.cpp was asked of every model: a text with wide margins and one on a knife edge.
const ASKED: [&str; 2] = ["arithmetic", "unicode-emoji"];

fn is_canary(prompt: &PromptEntry) -> bool {
    prompt.category == "canary"
}

fn is_wide(prompt: &PromptEntry) -> bool {
    prompt.margin_class == MarginClass::Wide
}

/// Whether the list of the most likely tokens reaches back to the end of the prompt, and the prompt costs little.
fn is_short(prompt: &PromptEntry) -> bool {
    const LISTED: usize = 48;
    const SHORT: usize = 80;
    prompt.n_greedy < LISTED && prompt.n_prompt <= SHORT
}

/// Why a check of this file is not judged on a prompt, or on the cell as a whole, that it applies to.
pub(super) fn undecided(id: &str, scope: &Scope, prompt: Option<&PromptEntry>) -> Option<&'static str> {
    match (id, prompt) {
        ("TOKEN" | "DRIFT", Some(prompt)) if !is_wide(prompt) => {
            Some("a text with narrow margins: the count of tokens that differ measures what follows the first flip")
        }
        ("LOGIT-CONSISTENCY", None) if scope.form.is_lossy() && !scope.index.prompts.iter().any(is_wide) => {
            Some("a model with no decided text: rounding alone reorders its ten likeliest tokens")
        }
        _ => None,
    }
}

/// How many of the golden's tokens an answer does not have at their places; a text that is too short or too long differs in what is missing.
fn mismatches(due: &[u32], found: &[u32]) -> usize {
    let longer = if due.len() > found.len() { due.len() } else { found.len() };
    (0..longer).filter(|&i| due.get(i) != found.get(i)).count()
}

fn limit(case: &Case, class: Class) -> Judged<f64> {
    let key = if class == Class::Int8 { "token.int8" } else { "token.int4" };
    Ok(case.tolerances.limit(key, f64::NAN)?)
}

fn greedy(golden: &PromptGolden, answers: &dyn Answers) -> Judged<Vec<u32>> {
    let asked = &golden.greedy;
    Ok(ask::generate(answers, &golden.prompt.ids, asked.max_new_tokens, asked.stop_at_eos)?.0)
}

/// Where two lists of tokens first differ.
fn first(golden: &PromptGolden, case: &Case, found: &[u32]) -> Place {
    let due = &golden.greedy.ids;
    let at = (0..due.len()).find(|&i| due.get(i) != found.get(i));
    let token = at.and_then(|at| found.get(at)).map(|&id| ask::token(case, id));
    Place { position: at.map(|at| golden.prompt.ids.len() + at), token, ..Place::default() }
}

fn tokens(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::source(case)?;
    let bound = limit(case, case.form.class())?;
    let found = greedy(golden, answers)?;
    let count = mismatches(&golden.greedy.ids, &found);
    let n = golden.greedy.ids.len();
    let measures = vec![Measure::gated("tokens that differ", count as f64, bound, "of 32")];
    let expected = format!("at most {bound} of {n} tokens to differ");
    let verdict = Verdict::measured(n, measures, expected, format!("{count} differ"));
    Ok(verdict.at(first(golden, case, &found)).owned_by(Owner::File))
}

fn ladder(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::source(case)?;
    let peer = Peer::Column { format: case.form.format.clone(), quantization: case.form.quantization.replace('8', "4") };
    let other = ask::peer(case, &peer)?;
    let (int8, int4) = (greedy(golden, answers)?, greedy(golden, other.as_ref())?);
    let (eight, four) = (mismatches(&golden.greedy.ids, &int8), mismatches(&golden.greedy.ids, &int4));
    let more = case.tolerances.limit("drift", f64::NAN)?;
    let measures = vec![
        Measure::gated("tokens by which int8 differs more than int4", eight.saturating_sub(four) as f64, more, ""),
        Measure::gated("tokens of int8 that differ", eight as f64, limit(case, Class::Int8)?, "of 32"),
        Measure::gated("tokens of int4 that differ", four as f64, limit(case, Class::Int4)?, "of 32"),
    ];
    let expected = format!("int8 within {more} of int4, both within their bounds");
    let verdict = Verdict::measured(golden.greedy.ids.len(), measures, expected, format!("int8 {eight}, int4 {four}"));
    Ok(verdict.at(first(golden, case, &int8)).owned_by(Owner::File))
}

/// Ids of the most likely tokens, the first ones on ties.
fn most_likely(values: &[f64], n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]).then(a.cmp(&b)));
    order.truncate(n);
    order
}

fn consistency(case: &Case, answers: &dyn Answers) -> Judged {
    /// Share of the ten most likely tokens that have to be the oracle's for a prompt to agree.
    const AGREEMENT: f64 = 0.9;
    let bound = case.tolerances.limit("logit-consistency", f64::NAN)?;
    let (mut reds, mut worst) = (Vec::new(), 1.0);
    for golden in case.sources {
        let ids = &golden.prompt.ids;
        let last = ids.len().saturating_sub(1);
        let due = golden.top_at(last).ok_or_else(|| ask::missing("the most likely tokens after the prompt", &golden.prompt.name))?;
        let logits = ask::logits(case, answers, &Question::logits(ids), ids.len())?;
        let found = most_likely(&log_softmax(&widen(row(&logits, last)?))?, TOP_K);
        let shared = due.ids.iter().filter(|id| found.contains(id)).count();
        let agreement = shared as f64 / due.ids.len() as f64;
        if !(agreement >= AGREEMENT) {
            reds.push(golden.prompt.name.as_str());
        }
        if !(agreement >= worst) {
            worst = agreement;
        }
    }
    let n = case.sources.len();
    let share = reds.len() as f64 / n as f64;
    let measures = vec![
        Measure::gated("share of prompts that agree less", share, bound, ""),
        Measure::printed("smallest agreement of the ten most likely tokens", worst, ""),
    ];
    let expected = format!("agreement of {AGREEMENT} after all but {bound} of {n} prompts");
    Ok(Verdict::measured(n, measures, expected, format!("{} agree less: {}", reds.len(), reds.join(", "))).owned_by(Owner::File))
}

/// Tie floors of llama.cpp, by what its activations are quantized to for the weights of a column.
pub(super) const CROSS_KEYS: &[&str] = &[
    "cross.bf16",
    "cross.f16",
    "cross.f32",
    "cross.iq4_nl",
    "cross.iq4_xs",
    "cross.q2_k",
    "cross.q3_k_m",
    "cross.q4_0",
    "cross.q4_1",
    "cross.q4_k_m",
    "cross.q4_k_s",
    "cross.q5_0",
    "cross.q5_1",
    "cross.q5_k_m",
    "cross.q6_k",
    "cross.q8_0",
];

fn cross_runtime(case: &Case, answers: &dyn Answers) -> Judged {
    let (golden, other) = (ask::source(case)?, case.llama_cpp.ok_or_else(|| ask::missing("a golden of llama.cpp", "this cell has none"))?);
    let name = &golden.prompt.name;
    let due = other.prompt(name).ok_or_else(|| ask::missing(&format!("llama.cpp's answer to {name:?}"), "none"))?;
    let container = ask::container(answers)?;
    if container.values_digest != other.values_digest {
        let expected = format!("the values that llama.cpp was given, digest {}", other.values_digest);
        return Ok(Verdict::falsified(expected, format!("digest {}", container.values_digest)).owned_by(Owner::File));
    }
    let tie = case.tolerances.limit(&format!("cross.{}", case.form.quantization), f64::NAN)?;
    same_text(case, answers, due, golden.greedy.max_new_tokens, golden.greedy.stop_at_eos, tie)
}

/// Compares free-running text with llama.cpp's, going on from its token after a tie.
fn same_text(case: &Case, answers: &dyn Answers, due: &LlamaCppPrompt, most: usize, stop_at_eos: bool, tie: f64) -> Judged {
    let all = &due.greedy.ids;
    let expected = format!("{} tokens of llama.cpp, other ones only where it loses at most {tie} nats by them", all.len());
    let mut ties = Vec::new();
    let mut done = 0;
    loop {
        let asked = [due.ids.as_slice(), &all[..done]].concat();
        let (ids, stop) = ask::generate(answers, &asked, most.saturating_sub(done), stop_at_eos)?;
        let rest = &all[done..];
        let red = |observed: String, step: usize| {
            let place = Place { position: Some(due.ids.len() + step), ..Place::default() };
            Ok(Verdict::falsified(expected.clone(), observed).at(place).owned_by(Owner::Kernel))
        };
        let shared = rest.len().min(ids.len());
        let Some(step) = (0..shared).find(|&i| rest[i] != ids[i]) else {
            if rest.len() != ids.len() || stop != due.greedy.stop {
                return red(
                    format!("{} tokens, stop {stop}; llama.cpp has {}, stop {}", ids.len(), rest.len(), due.greedy.stop),
                    done + shared,
                );
            }
            break;
        };
        let (at, chosen) = (done + step, ids[step]);
        let regret = due.steps.get(at).and_then(|step| step.regret(chosen));
        if !regret.is_some_and(|regret| regret <= tie) {
            let lost = regret.map_or_else(|| "which it does not list".to_owned(), |regret| format!("by which it loses {regret:.3e} nats"));
            let told =
                format!("diverged({at}): token {} where llama.cpp has {}, {lost}", ask::token(case, chosen), ask::token(case, rest[step]));
            let verdict = red(told, at)?;
            // A token that it does not list loses more than the last one that it lists.
            let least = regret.or_else(|| due.steps.get(at).and_then(LlamaCppStep::spread));
            let measures = least
                .filter(|least| !(*least <= tie))
                .map(|least| Measure::gated("what llama.cpp loses by it, at least", least, tie, "nats"));
            return Ok(Verdict { measures: measures.into_iter().collect(), ..verdict });
        }
        ties.push(at);
        done = at + 1;
        if done == all.len() {
            break;
        }
    }
    let observed = if ties.is_empty() { "identical".to_owned() } else { format!("tie-break at steps {ties:?}") };
    let measures = vec![Measure::printed("ties broken", ties.len() as f64, "")];
    Ok(Verdict::measured(all.len(), measures, expected, observed))
}
