//! F-E2 at the lengths where blocks, windows and caches end: what is right at 32 ids may be wrong at 33.
//!
//! Each length is computed in every way that the ops of a check allow, and the ways are held against each other: bit for bit where the
//! arithmetic is exact, within the bound of all invariances elsewhere. One id more than the context holds is a typed refusal in each way.
//! The last row of the longest text has no longer text to be held against: there the decode step is the witness, and F-G4.
//! The ids are those of the model's own golden, repeated.

use super::distribution::tie_floor;
use super::invariance::{Held, Rule};
use super::{Breadth, Case, Check, Judged, Per, Scope, ask};
use crate::arithmetic::Arithmetic;
use crate::golden::{PromptEntry, PromptGolden};
use crate::metric::{argmax, outdoes, widen};
use crate::observation::{Answers, Logits, Mode, Op, Positions, Question, Stop};
use crate::verdict::{Measure, Owner, Place, Verdict};

/// Prompts whose ids and floor stand for the model: those with full logits, the context limit among them. An exact runtime is asked where the
/// model is as published: in every column the same code sees the same lengths, and F-P3-stepwise is there. Others have kernels of their own
/// for blocks, and for so many ids at once.
const FULL: fn(&Scope, &PromptEntry) -> bool = |scope, prompt| prompt.full && (scope.form.primary || scope.arithmetic != Arithmetic::Exact);

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "F-E2-lengths",
        claim: "F-E2",
        sentence: "at 1, 2, 31 to 33, 255 to 257 ids, around every window and up to the context limit, the logits are those of the \
                   same ids in a longer text, and the last row is the same alone; one id more is refused",
        refuted_by: "a length whose logits differ, a refusal before the limit, or an answer past it",
        per: Per::Sources(FULL),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits],
        bounds: &[],
        judge: lengths,
    },
    Check {
        id: "F-E2-lengths-decode",
        claim: "F-E2",
        sentence: "at those lengths, a decode step after a prefill of all ids but the last gives the last row of one prefill; \
                   the step past the context limit is refused",
        refuted_by: "a length at which decoding differs from prefill, a refusal before the limit, or an answer past it",
        per: Per::Sources(FULL),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits, Op::Chunks],
        bounds: &[],
        judge: decode,
    },
    Check {
        id: "F-E2-lengths-generate",
        claim: "F-E2",
        sentence: "after those lengths, two greedy tokens are the largest logits of fresh prefills, and the text ends at the context limit",
        refuted_by: "another token, a text past the limit or short of it, or an answer to a prompt past it",
        per: Per::Sources(FULL),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits, Op::Generate],
        bounds: &[],
        judge: generate,
    },
];

/// The longest text that is tried: what comes after 4096 is a multiple of a block that was seen.
const LONGEST: usize = 4097;

/// The lengths of a model with this context: around 32, 256 and every power of two above, which is where blocks and windows end, and the
/// limit. In a column that was rounded the short ones stand for all.
fn tried(n_ctx: usize, lossless: bool) -> Vec<usize> {
    let mut lengths = vec![1, 2, 31, 32, 33];
    if lossless {
        let powers = (8..13).map(|power| 1usize << power);
        lengths.extend(powers.flat_map(|end| [end - 1, end, end + 1]));
        lengths.extend([n_ctx.saturating_sub(1), n_ctx]);
    }
    lengths.retain(|&length| length > 0 && length <= n_ctx && length <= LONGEST);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// The ids, one more than the context holds, and the prompt whose floor is the largest.
struct Text<'a> {
    ids: Vec<u32>,
    n_ctx: usize,
    lengths: Vec<usize>,
    golden: &'a PromptGolden,
}

fn text<'a>(case: &Case<'a>) -> Judged<Text<'a>> {
    let n_ctx = case.model.index.config.n_ctx;
    let all: Vec<u32> = case.sources.iter().flat_map(|golden| golden.forced_ids()).collect();
    let loosest = |a: &'a PromptGolden, b: &'a PromptGolden| if outdoes(b.floor.get(), a.floor.get()) { b } else { a };
    let golden = case.sources.iter().copied().reduce(loosest).filter(|_| !all.is_empty());
    let golden = golden.ok_or_else(|| ask::missing("a golden with ids", "none"))?;
    let ids = all.into_iter().cycle().take(n_ctx + 1).collect();
    Ok(Text { ids, n_ctx, lengths: tried(n_ctx, case.form.lossless), golden })
}

impl Text<'_> {
    fn hold(&self, case: &Case, what: &str) -> Judged<Held> {
        let expected = format!("{what}, at lengths {:?}; {} ids refused", self.lengths, self.n_ctx + 1);
        Ok(Held::new(Rule::of(case, self.golden)?, expected))
    }

    /// All rows of one prefill over the first `n` ids.
    fn prefill(&self, case: &Case, answers: &dyn Answers, n: usize) -> Judged<ask::Held<Logits>> {
        ask::logits(case, answers, &Question::logits(&self.ids[..n]), n)
    }

    /// The last row over the first `n` ids.
    fn last(&self, case: &Case, answers: &dyn Answers, n: usize, mode: Mode) -> Judged<ask::Held<Logits>> {
        let question = Question::Logits { ids: self.ids[..n].to_vec(), positions: Positions::Last, mode };
        ask::logits(case, answers, &question, 1)
    }

    fn past_limit(&self, mode: Mode) -> Question {
        Question::Logits { ids: self.ids.clone(), positions: Positions::Last, mode }
    }
}

/// The first `n` rows.
fn first_rows(logits: &Logits, n: usize) -> Logits {
    let end = (n * logits.vocab).min(logits.values.len());
    Logits { n, vocab: logits.vocab, values: logits.values[..end].to_vec() }
}

fn last_row(logits: &Logits) -> Judged<Logits> {
    let row = logits.n.checked_sub(1).and_then(|last| logits.row(last)).ok_or_else(|| ask::missing("a row", "none"))?;
    Ok(Logits { n: 1, vocab: logits.vocab, values: row.to_vec() })
}

fn lengths(case: &Case, answers: &dyn Answers) -> Judged {
    let text = text(case)?;
    let longest = *text.lengths.last().ok_or_else(|| ask::missing("a context of one id or more", "none"))?;
    let whole = text.prefill(case, answers, longest)?;
    let mut held = text.hold(case, "the logits of a longer text, and the last row alone")?;
    for &n in &text.lengths {
        let all = text.prefill(case, answers, n)?;
        held.hold(case, &first_rows(&whole, n), &all, 0, &format!("{n} ids"))?;
        let alone = text.last(case, answers, n, Mode::Whole)?;
        held.hold(case, &last_row(&all)?, &alone, n - 1, &format!("the last row of {n} ids alone"))?;
    }
    ask::refusal(answers, &text.past_limit(Mode::Whole))?;
    Ok(held.verdict())
}

fn decode(case: &Case, answers: &dyn Answers) -> Judged {
    let text = text(case)?;
    let mut held = text.hold(case, "a decode step like the last row of a prefill")?;
    for &n in text.lengths.iter().filter(|&&n| n > 1) {
        let all = text.prefill(case, answers, n)?;
        let step = text.last(case, answers, n, Mode::Chunks(vec![n - 1, 1]))?;
        held.hold(case, &last_row(&all)?, &step, n - 1, &format!("{} ids and a decode step", n - 1))?;
    }
    ask::refusal(answers, &text.past_limit(Mode::Chunks(vec![text.n_ctx, 1])))?;
    Ok(held.verdict())
}

fn generate(case: &Case, answers: &dyn Answers) -> Judged {
    let text = text(case)?;
    let vocab = case.model.index.config.vocab_size;
    let tie = if case.tolerances.arithmetic() == Arithmetic::Exact { None } else { Some(tie_floor(case, text.golden)?) };
    let expected = format!("largest logits after {:?} ids, no token past {}; {} ids refused", text.lengths, text.n_ctx, text.n_ctx + 1);
    let red = |observed: String, position: usize| {
        let place = Place { position: Some(position), ..Place::default() };
        Ok(Verdict::falsified(expected.clone(), observed).at(place).owned_by(Owner::Runtime))
    };
    let (mut compared, mut most) = (0, 0.0);
    for &n in &text.lengths {
        let due = 2.min(text.n_ctx - n);
        let mut ids = text.ids[..n].to_vec();
        let (new, stop) = ask::generate(answers, &ids, 2, false)?;
        if new.len() != due || stop != Stop::Length {
            return red(format!("{n} ids: {} tokens, stop {stop}, where {due} and length are due", new.len()), n);
        }
        for (step, &id) in new.iter().enumerate() {
            let question = Question::Logits { ids: ids.clone(), positions: Positions::Last, mode: Mode::Whole };
            let values = widen(&ask::logits(case, answers, &question, 1)?.values);
            let largest = argmax(&values)?;
            if id as usize >= vocab {
                return red(format!("{n} ids, step {step}: token {id}, the vocabulary has {vocab}"), n + step);
            }
            let lost = values[largest] - values[id as usize];
            if largest != id as usize && !tie.is_some_and(|tie| lost <= tie) {
                let observed = format!("{n} ids, step {step}: token {id} where the logits say {largest}");
                return red(observed, n + step);
            }
            most = if outdoes(lost, most) { lost } else { most };
            ids.push(id);
            compared += 1;
        }
    }
    let question = Question::Generate { ids: text.ids.clone(), max_new_tokens: 2, stop_at_eos: false };
    ask::refusal(answers, &question)?;
    let mut verdict = Verdict::corroborated(compared, expected, format!("{compared} tokens, so"));
    verdict.measures.extend(tie.map(|tie| Measure::gated("largest loss by a chosen token", most, tie, "nats")));
    Ok(verdict)
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::super::fixture::{Fake, Fixture, N_CTX};
    use super::*;
    use crate::observation::{Answer, Failure};
    use crate::verdict::Outcome;

    type Answered = Result<Answer, Failure>;

    #[test]
    fn lengths_are_those_where_blocks_windows_and_contexts_end() {
        assert_eq!(tried(512, true), [1, 2, 31, 32, 33, 255, 256, 257, 511, 512]);
        assert_eq!(tried(256, true), [1, 2, 31, 32, 33, 255, 256]);
        assert_eq!(tried(16, true), [1, 2, 15, 16]);
        assert_eq!(tried(256, false), [1, 2, 31, 32, 33]);
        assert!(tried(1 << 20, true).ends_with(&[4095, 4096, 4097]));
        assert_eq!(tried(1, true), [1]);
    }

    #[test]
    fn a_token_is_named_by_the_place_that_it_takes() {
        let verdict = judge("F-E2-lengths-generate", 2, Arithmetic::Exact, |answer| {
            answer.map(|mut answer| {
                if let Answer::Generated { ids, .. } = &mut answer {
                    ids[1] = (ids[1] + 1) % 256;
                }
                answer
            })
        });
        assert_eq!((verdict.outcome, verdict.place.position), (Outcome::Falsified, Some(3)), "{verdict:#?}");
    }

    /// The verdict on a runtime whose answer to one kind of question, at one length, passes through `change`.
    fn judge(id: &str, at: usize, arithmetic: Arithmetic, change: impl Fn(Answered) -> Answered) -> Verdict {
        let fixture = Fixture { arithmetic, ..Fixture::new() };
        let meant = |question: &Question| match (id, question) {
            ("F-E2-lengths", Question::Logits { ids, mode: Mode::Whole, .. }) => ids.len() == at,
            ("F-E2-lengths-decode", Question::Logits { ids, mode: Mode::Chunks(_), .. }) => ids.len() == at,
            ("F-E2-lengths-generate", Question::Generate { ids, .. }) => ids.len() == at,
            _ => false,
        };
        let fake = Fake { fixture: &fixture, tamper: |question: &Question, answer| if meant(question) { change(answer) } else { answer } };
        let sources: Vec<&PromptGolden> = fixture.prompts.iter().filter(|golden| golden.full.is_some()).collect();
        find(id).unwrap().judge(&Case { sources: &sources, ..fixture.case(None, None) }, &fake)
    }

    const IDS: [&str; 3] = ["F-E2-lengths", "F-E2-lengths-decode", "F-E2-lengths-generate"];

    /// The last row stands one place on, and so does the first token.
    fn wrong(answer: Answered) -> Answered {
        answer.map(|answer| match answer {
            Answer::Logits(mut logits) => {
                let first = logits.values.len() - logits.vocab;
                logits.values[first..].rotate_right(1);
                Answer::Logits(logits)
            }
            Answer::Generated { mut ids, stop } => {
                ids.iter_mut().for_each(|id| *id = (*id + 1) % 256);
                Answer::Generated { ids, stop }
            }
            other => other,
        })
    }

    #[test]
    fn what_is_wrong_at_one_length_is_red_and_the_length_is_named() {
        for arithmetic in [Arithmetic::Exact, Arithmetic::F32] {
            for id in IDS {
                // The last row of the longest text has the decode step for a witness, and no longer text.
                let last = if id.ends_with("decode") { N_CTX } else { N_CTX - 1 };
                for at in tried(N_CTX, true).into_iter().filter(|at| (2..=last).contains(at)) {
                    let verdict = judge(id, at, arithmetic, wrong);
                    assert_eq!(verdict.outcome, Outcome::Falsified, "{id} at {at}: {verdict:#?}");
                    assert!(verdict.place.position.is_some(), "{id} at {at}");
                }
                assert!(judge(id, 3, arithmetic, wrong).is_green(), "{id}: 3 ids are not among the lengths");
            }
        }
    }

    #[test]
    fn an_answer_past_the_limit_is_red_and_so_is_a_refusal_at_it() {
        let accepts = |_: Answered| Ok(Answer::Logits(Logits { n: 1, vocab: 1, values: vec![0.0] }));
        let refuses = |_: Answered| Err(Failure::Refused { kind: "request".into(), message: "too long".into() });
        for id in IDS {
            assert_eq!(judge(id, N_CTX + 1, Arithmetic::Exact, accepts).outcome, Outcome::Falsified, "{id}");
            assert_eq!(judge(id, N_CTX, Arithmetic::Exact, refuses).outcome, Outcome::Error, "{id}");
        }
    }

    #[test]
    fn a_text_that_goes_past_the_limit_or_stops_short_of_it_is_red() {
        let change = |by: i64| {
            move |answer: Answered| {
                answer.map(|answer| match answer {
                    Answer::Generated { mut ids, stop } => {
                        ids.resize((ids.len() as i64 + by) as usize, 7);
                        Answer::Generated { ids, stop }
                    }
                    other => other,
                })
            }
        };
        for by in [1, -1] {
            let verdict = judge("F-E2-lengths-generate", N_CTX - 1, Arithmetic::Exact, change(by));
            assert_eq!(verdict.outcome, Outcome::Falsified, "{verdict:#?}");
        }
    }
}
