//! SAMPLE: once logits and a random number are given, one token is right. Held against transformers' own processors, a family a check.
//!
//! No model takes part, so the checks are listed once for a runtime. Masks are compared exactly, kept logits within rounding, and the token
//! where the golden says that its random number is clear of every step. What rounding decides the golden lists, and nothing gates it.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::{SamplingCase, SamplingGolden};
use crate::metric::outdoes;
use crate::observation::{Answer, Answers, Failure, Op, Question, Sampled};
use crate::verdict::{Measure, Owner, Place, Verdict};

/// A check of one family of cases.
macro_rules! family {
    ($id:literal, $family:literal, $sentence:literal, $refuted_by:literal) => {
        Check {
            id: $id,
            claim: "SAMPLE",
            sentence: $sentence,
            refuted_by: $refuted_by,
            per: Per::Cell(|_| true),
            breadth: Breadth::Once,
            needs: &[Op::Sample],
            bounds: &[BOUND],
            judge: |case, answers| family(case, answers, $family),
        }
    };
}

/// The bound on a processed logit.
const BOUND: &str = "sample";

pub(super) const CHECKS: &[Check] = &[
    family!(
        "SAMPLE-temperature",
        "temperature",
        "every logit is divided by the temperature, however small or large it is",
        "another value, or a masked token that comes back"
    ),
    family!(
        "SAMPLE-top-k",
        "top-k",
        "the k largest logits are kept, with all that equal the last of them",
        "a token too many or too few, at a tie above all"
    ),
    family!(
        "SAMPLE-top-p",
        "top-p",
        "the fewest most likely tokens that reach the probability are kept, and no other",
        "a token too many or too few at the limit, or none at all"
    ),
    family!(
        "SAMPLE-min-p",
        "min-p",
        "tokens less likely than a part of the most likely one are masked",
        "a limit that is relative to anything else"
    ),
    family!(
        "SAMPLE-typical",
        "typical",
        "the tokens whose surprise is nearest to the entropy are kept, until they reach the probability",
        "another set of tokens, such as the most likely ones"
    ),
    family!(
        "SAMPLE-repetition",
        "repetition",
        "tokens of prompt and text are made less likely, once each, whether their logit is positive or negative",
        "a negative logit that is divided, or a token that is penalized as often as it stands there"
    ),
    family!(
        "SAMPLE-presence-frequency",
        "presence-frequency",
        "tokens of the text lose the presence penalty once and the frequency penalty as often as they stand there",
        "another count, or one that takes in the prompt"
    ),
    family!(
        "SAMPLE-ngram",
        "ngram",
        "a token that would repeat n tokens in a row of prompt and text is masked",
        "a repetition that may be completed, or a token masked for a shorter one"
    ),
    family!(
        "SAMPLE-min-length",
        "min-length",
        "EOS is masked until prompt and text, or the text alone, have their least length, and no longer",
        "an EOS too early or too late, or a prompt that counts as text"
    ),
    family!(
        "SAMPLE-bad-words",
        "bad-words",
        "a token that would complete a forbidden sequence is masked, and no other",
        "a sequence that may be completed, or its last token masked where it had not begun"
    ),
    family!(
        "SAMPLE-combined",
        "combined",
        "several processors together act in the order in which transformers applies them",
        "the answer of another order"
    ),
    family!(
        "SAMPLE-draw",
        "draw",
        "a random number picks the first token, in the order of ids, at which the sum of probabilities exceeds it",
        "another token, a masked one above all, or no number where logits are large"
    ),
    Check {
        id: "SAMPLE-refusals",
        claim: "SAMPLE",
        sentence: "logits and parameters that no token can be drawn from are refused with a typed error, and a right request is answered",
        refuted_by: "a token drawn from nothing, from NaN, or by a parameter out of its range",
        per: Per::Cell(|_| true),
        breadth: Breadth::Once,
        needs: &[Op::Sample],
        bounds: &[],
        judge: refusals,
    },
];

fn golden() -> Judged<&'static SamplingGolden> {
    SamplingGolden::committed().map_err(|error| ask::missing("the golden of sampling", &error.to_string()))
}

fn red(expected: String, observed: String, id: usize) -> Box<Verdict> {
    let place = Place { token: Some(id.to_string()), ..Place::default() };
    Verdict::falsified(expected, observed).at(place).owned_by(Owner::Runtime).into()
}

fn family(case: &Case, answers: &dyn Answers, family: &str) -> Judged {
    let golden = golden()?;
    let bound = case.tolerances.limit(BOUND, f64::NAN)?;
    let (mut compared, mut cases, mut drawn, mut clear, mut most) = (0, 0, 0, 0, 0.0);
    for of in golden.family(family) {
        cases += 1;
        for draw in &of.draws {
            let sampled = ask::sampled(answers, &Question::Sample(Box::new(golden.request(of, draw.u))))?;
            let error = processed(of, golden.logits(of), &sampled, bound)?;
            if outdoes(error, most) {
                most = error;
            }
            let id = sampled.id as usize;
            let expected = format!("{}, u = {}: token {}", of.name, draw.u.get(), draw.id);
            match sampled.logits.get(id) {
                None => return Err(red(expected, format!("token {id} of {}", sampled.logits.len()), id)),
                Some(x) if *x == f32::NEG_INFINITY => return Err(red(expected, format!("token {id}, which it masked itself"), id)),
                Some(_) if draw.clear && sampled.id != draw.id => return Err(red(expected, format!("token {id}"), id)),
                Some(_) => {}
            }
            (compared, drawn, clear) = (compared + sampled.logits.len() + 1, drawn + 1, clear + usize::from(draw.clear));
        }
    }
    let expected = format!("masks and tokens of {cases} cases, {drawn} draws, {clear} of them clear; kept logits at most {bound:.3e} away");
    let measures = vec![Measure::gated("relative difference of the worst kept logit", most, bound, "")];
    Ok(Verdict::measured(compared, measures, expected, format!("at most {most:.3e} away")).owned_by(Owner::Runtime))
}

/// Holds the processed logits against the golden's. The largest relative difference of one that both keep.
fn processed(of: &SamplingCase, logits: &[f32], sampled: &Sampled, bound: f64) -> Judged<f64> {
    let due = &of.processed.0;
    if sampled.logits.len() != due.len() {
        let expected = format!("{}: {} processed logits", of.name, due.len());
        return Err(Verdict::falsified(expected, sampled.logits.len().to_string()).owned_by(Owner::Runtime).into());
    }
    let out = f32::NEG_INFINITY;
    let tied = |id: usize| of.tie.as_ref().is_some_and(|tie| tie.ids.iter().any(|tied| *tied as usize == id));
    let mut most = 0.0;
    // Any of the tied tokens may stay, with the value that those have that the oracle kept.
    let tie_value = of.tie.as_ref().and_then(|tie| tie.ids.iter().map(|id| due[*id as usize]).find(|x| *x != out));
    for (id, &found) in sampled.logits.iter().enumerate() {
        let loose = tied(id) || of.either.iter().any(|either| *either as usize == id);
        let (before, due) = (logits.get(id).copied().unwrap_or(f32::NAN), due[id]);
        let expected = || format!("{}: token {id} {}, its logit was {before}", of.name, said(due));
        if found.is_nan() || found == f32::INFINITY || ((found == out) != (due == out) && !loose) {
            return Err(red(expected(), said(found), id));
        }
        let value = if due == out { tie_value } else { Some(due) };
        let (Some(value), true) = (value, found != out) else { continue };
        let (value, found) = (f64::from(value), f64::from(found));
        let error = if found == value { 0.0 } else { (found - value).abs() / value.abs() };
        if !(error <= bound) {
            let measures = vec![Measure::gated("relative difference of a kept logit", error, bound, "")];
            let place = Place { token: Some(id.to_string()), ..Place::default() };
            let verdict = Verdict::measured(id + 1, measures, expected(), format!("at {found}")).at(place);
            return Err(verdict.owned_by(Owner::Runtime).into());
        }
        if outdoes(error, most) {
            most = error;
        }
    }
    if let Some(tie) = &of.tie {
        let kept = tie.ids.iter().filter(|id| sampled.logits[**id as usize] != out).count();
        if kept != tie.kept {
            let expected = format!("{}: {} kept of the equal tokens {:?}", of.name, tie.kept, tie.ids);
            return Err(red(expected, format!("{kept} kept"), tie.ids[0] as usize));
        }
    }
    Ok(most)
}

fn said(logit: f32) -> String {
    if logit == f32::NEG_INFINITY { "masked".to_owned() } else { format!("at {logit}") }
}

fn refusals(_: &Case, answers: &dyn Answers) -> Judged {
    let golden = golden()?;
    let mut last = String::new();
    for of in &golden.refused {
        let question = Question::Sample(Box::new(of.request()));
        let Some(greedy) = of.greedy else {
            last = ask::refusal(answers, &question)?;
            continue;
        };
        // Two conventions: a refusal, and the most likely token alone.
        match answers.ask(&question) {
            Err(Failure::Refused { kind, message }) if !kind.trim().is_empty() && !message.trim().is_empty() => {}
            Ok(answer) if is_greedy(&answer, of.logits.0.len(), greedy) => {}
            Ok(answer) => {
                let expected = format!("{}: a typed refusal, or token {greedy} with every other masked", of.name);
                return Err(red(expected, format!("{answer:?}"), greedy as usize));
            }
            Err(_) => last = ask::refusal(answers, &question)?,
        }
    }
    let mut draws = golden.family("draw").flat_map(|of| of.draws.iter().map(move |draw| (of, draw)));
    let (right, draw) = draws
        .find(|(_, draw)| draw.clear && draw.id != 0)
        .ok_or_else(|| ask::missing("a clear draw of another token than the first", "none"))?;
    let sampled = ask::sampled(answers, &Question::Sample(Box::new(golden.request(right, draw.u))))?;
    let expected = format!("{} typed refusals, and token {} for `{}`", golden.refused.len(), draw.id, right.name);
    if sampled.id != draw.id || sampled.logits.len() != right.processed.0.len() {
        return Err(red(expected, format!("token {} of {}", sampled.id, sampled.logits.len()), sampled.id as usize));
    }
    Ok(Verdict::corroborated(golden.refused.len() + 1, expected, format!("so; the last one refused, {last}")))
}

/// Whether the answer keeps this token alone, and draws it.
fn is_greedy(answer: &Answer, vocab: usize, id: u32) -> bool {
    let Answer::Sampled(sampled) = answer else { return false };
    let place = id as usize;
    let alone = |(at, x): (usize, &f32)| if at == place { x.is_finite() } else { *x == f32::NEG_INFINITY };
    sampled.id == id && sampled.logits.len() == vocab && sampled.logits.iter().enumerate().all(alone)
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::super::fixture::{Fake, Fixture};
    use super::*;
    use crate::golden::Tie;
    use crate::observation::SampleRequest;
    use crate::verdict::Outcome;

    type Answered = Result<Answer, Failure>;

    fn judge(id: &str, tamper: impl Fn(&SampleRequest, Answered) -> Answered) -> Verdict {
        let fixture = Fixture::new();
        let tamper = |question: &Question, answer: Answered| match question {
            Question::Sample(request) => tamper(request, answer),
            _ => answer,
        };
        find(id).unwrap().judge(&fixture.case(None, None), &Fake { fixture: &fixture, tamper })
    }

    /// The answer with its first `keep` of the tied tokens kept, which are others than the oracle kept.
    fn keeping(of: &SamplingCase, tie: &Tie, keep: usize) -> Sampled {
        let mut logits = of.processed.0.clone();
        let value = tie.ids.iter().map(|id| logits[*id as usize]).find(|x| x.is_finite()).unwrap();
        for (place, id) in tie.ids.iter().enumerate() {
            logits[*id as usize] = if place < keep { value } else { f32::NEG_INFINITY };
        }
        Sampled { logits, id: tie.ids[0] }
    }

    #[test]
    fn of_tied_tokens_any_may_stay_but_no_more_and_no_fewer() {
        for (more, outcome) in [(0i64, Outcome::Corroborated), (1, Outcome::Falsified), (-1, Outcome::Falsified)] {
            let verdict = judge("SAMPLE-top-p", |request, answer| {
                let golden = SamplingGolden::committed().unwrap();
                let mine = |of: &&SamplingCase| of.draws.iter().any(|draw| golden.request(of, draw.u) == *request);
                let of = golden.family("top-p").filter(|of| of.params == request.params).find(mine).unwrap();
                match &of.tie {
                    Some(tie) if tie.kept as i64 + more > 0 => Ok(Answer::Sampled(keeping(of, tie, (tie.kept as i64 + more) as usize))),
                    _ => answer,
                }
            });
            assert_eq!(verdict.outcome, outcome, "{more}: {verdict:#?}");
        }
    }

    #[test]
    fn a_temperature_of_zero_is_refused_or_greedy_and_nothing_else() {
        let zero = |sampled: Sampled| {
            judge("SAMPLE-refusals", move |request, answer| {
                if request.params.temperature.is_some_and(|t| t.get() == 0.0) { Ok(Answer::Sampled(sampled.clone())) } else { answer }
            })
        };
        let out = f32::NEG_INFINITY;
        assert!(zero(Sampled { logits: vec![out, 3.0, out], id: 1 }).is_green());
        for (logits, id) in [(vec![out, 3.0, 2.0], 1), (vec![out, 3.0, out], 2), (vec![out, f32::NAN, out], 1), (vec![out, 3.0], 1)] {
            assert_eq!(zero(Sampled { logits, id }).outcome, Outcome::Falsified);
        }
    }

    #[test]
    fn who_refuses_everything_or_answers_everything_is_red() {
        let refused = Failure::Refused { kind: "request".into(), message: "no".into() };
        assert!(!judge("SAMPLE-refusals", |_, _| Err(refused.clone())).is_green());
        let answered = |_: &SampleRequest, answer: Answered| answer.or(Ok(Answer::Sampled(Sampled { logits: vec![0.0], id: 0 })));
        assert_eq!(judge("SAMPLE-refusals", answered).outcome, Outcome::Falsified);
    }

    #[test]
    fn the_place_of_a_wrong_logit_is_named() {
        let verdict = judge("SAMPLE-top-k", |_, answer| {
            answer.map(|answer| match answer {
                Answer::Sampled(mut sampled) if sampled.logits.len() == 32 => {
                    sampled.logits[28] = f32::NEG_INFINITY;
                    Answer::Sampled(sampled)
                }
                other => other,
            })
        });
        assert_eq!(verdict.place.token.as_deref(), Some("28"));
        assert!(verdict.expected.starts_with("top-k/1-of-32: token 28 at 6"), "{}", verdict.expected);
        assert_eq!(verdict.observed, "masked");
    }
}
