//! Asking a question and holding the answer to the least that every check needs: the right kind, the right shape, finite numbers.

use std::ops::Deref;
use std::sync::Arc;

use super::{Case, Judged};
use crate::golden::PromptGolden;
use crate::metric::MetricError;
use crate::observation::{Answer, Answers, Container, Failure, Logits, Metadata, Peer, Question, Sampled, StageSketch, Stop, TensorRow};
use crate::tolerance::ToleranceError;
use crate::verdict::{ErrorKind, Owner, Place, Verdict};

/// A shared answer of a known kind.
pub(super) struct Held<T: 'static> {
    answer: Arc<Answer>,
    pick: fn(&Answer) -> Option<&T>,
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        (self.pick)(&self.answer).expect("`held` looked at the same answer with the same function")
    }
}

/// Asks, and refuses an answer of another kind.
fn held<T>(answers: &dyn Answers, question: &Question, pick: fn(&Answer) -> Option<&T>) -> Judged<Held<T>> {
    let answer = answers.ask(question).map_err(|failure| Box::new(Verdict::failure(&failure, question.to_string())))?;
    if pick(&answer).is_none() {
        let observed = format!("an answer of another kind: {}", answer.kind());
        return Err(Verdict::error(ErrorKind::Protocol, question.to_string(), observed).into());
    }
    Ok(Held { answer, pick })
}

pub(super) fn metadata(answers: &dyn Answers) -> Judged<Held<Metadata>> {
    held(answers, &Question::Metadata, |answer| if let Answer::Metadata(x) = answer { Some(x) } else { None })
}

pub(super) fn tensors(answers: &dyn Answers) -> Judged<Held<Vec<TensorRow>>> {
    held(answers, &Question::Tensors, |answer| if let Answer::Tensors(x) = answer { Some(x) } else { None })
}

pub(super) fn tokenize(answers: &dyn Answers, text: &str, add_special: bool) -> Judged<Held<Vec<u32>>> {
    let question = Question::Tokenize { text: text.to_owned(), add_special };
    held(answers, &question, |answer| if let Answer::Ids(x) = answer { Some(x) } else { None })
}

pub(super) fn detokenize(answers: &dyn Answers, ids: &[u32]) -> Judged<Held<Vec<u8>>> {
    let question = Question::Detokenize { ids: ids.to_vec() };
    held(answers, &question, |answer| if let Answer::Bytes(x) = answer { Some(x) } else { None })
}

pub(super) fn sketch(answers: &dyn Answers, ids: &[u32], decode: bool) -> Judged<Held<Vec<StageSketch>>> {
    let question = Question::Sketch { ids: ids.to_vec(), decode };
    held(answers, &question, |answer| if let Answer::Sketch(x) = answer { Some(x) } else { None })
}

/// The token that was drawn, and from what.
pub(super) fn sampled(answers: &dyn Answers, question: &Question) -> Judged<Held<Sampled>> {
    held(answers, question, |answer| if let Answer::Sampled(x) = answer { Some(x) } else { None })
}

/// The file as it is stored, with one tensor at least.
pub(super) fn container(answers: &dyn Answers) -> Judged<Held<Container>> {
    let container = held(answers, &Question::Container, |answer| if let Answer::Container(x) = answer { Some(x) } else { None })?;
    if container.tensors.is_empty() {
        return Err(Verdict::falsified("a container with tensors", "it has none").owned_by(Owner::File).into());
    }
    Ok(container)
}

/// The values of a tensor, as many as `elements`.
pub(super) fn weights(answers: &dyn Answers, tensor: &str, elements: usize) -> Judged<Held<Vec<f32>>> {
    let question = Question::Weights { tensor: tensor.to_owned() };
    let values = held(answers, &question, |answer| if let Answer::Weights(x) = answer { Some(x) } else { None })?;
    if values.len() != elements {
        let place = Place { tensor: Some(tensor.to_owned()), ..Place::default() };
        let verdict = Verdict::falsified(format!("{elements} values of {tensor:?}"), format!("{} values", values.len()));
        return Err(verdict.at(place).owned_by(Owner::File).into());
    }
    Ok(values)
}

/// Greedy ids, and the seconds that they took.
pub(super) fn timed(answers: &dyn Answers, ids: &[u32], max_new_tokens: usize) -> Judged<(Vec<u32>, f64)> {
    let question = Question::Timed { ids: ids.to_vec(), max_new_tokens };
    let answer = answers.ask(&question).map_err(|failure| Box::new(Verdict::failure(&failure, question.to_string())))?;
    match &*answer {
        Answer::Timed { ids, seconds } => Ok((ids.clone(), *seconds)),
        other => {
            let observed = format!("an answer of another kind: {}", other.kind());
            Err(Verdict::error(ErrorKind::Protocol, question.to_string(), observed).into())
        }
    }
}

/// The text of a conversation, and its ids.
pub(super) fn chat(answers: &dyn Answers, question: &Question) -> Judged<(String, Vec<u32>)> {
    let answer = answers.ask(question).map_err(|failure| Box::new(Verdict::failure(&failure, question.to_string())))?;
    match &*answer {
        Answer::Chat { text, ids } => Ok((text.clone(), ids.clone())),
        other => {
            let observed = format!("an answer of another kind: {}", other.kind());
            Err(Verdict::error(ErrorKind::Protocol, question.to_string(), observed).into())
        }
    }
}

/// Whoever answers for another artifact of the model.
pub(super) fn peer(case: &Case, peer: &Peer) -> Judged<Arc<dyn Answers + Send + Sync>> {
    case.peers.peer(peer).map_err(|failure| Verdict::failure(&failure, peer.to_string()).into())
}

/// Greedy ids and the stop reason.
pub(super) fn generate(answers: &dyn Answers, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Judged<(Vec<u32>, Stop)> {
    let question = Question::Generate { ids: ids.to_vec(), max_new_tokens, stop_at_eos };
    let answer = answers.ask(&question).map_err(|failure| Box::new(Verdict::failure(&failure, question.to_string())))?;
    match &*answer {
        Answer::Generated { ids, stop } => Ok((ids.clone(), *stop)),
        other => {
            let observed = format!("an answer of another kind: {}", other.kind());
            Err(Verdict::error(ErrorKind::Protocol, question.to_string(), observed).into())
        }
    }
}

/// Logits of `n` rows over the model's vocabulary, every value finite. Anything else refutes F-T4, and whatever else is being judged.
pub(super) fn logits(case: &Case, answers: &dyn Answers, question: &Question, n: usize) -> Judged<Held<Logits>> {
    let logits = held(answers, question, |answer| if let Answer::Logits(x) = answer { Some(x) } else { None })?;
    well_formed(case, question, &logits, n)?;
    Ok(logits)
}

/// The logits of every asker.
pub(super) fn many(case: &Case, answers: &dyn Answers, question: &Question, n: usize) -> Judged<Held<Vec<Logits>>> {
    let many = held(answers, question, |answer| if let Answer::Many(x) = answer { Some(x) } else { None })?;
    for logits in many.iter() {
        well_formed(case, question, logits, n)?;
    }
    Ok(many)
}

/// Prefill logits of prompt and greedy ids together: what the teacher-forced checks share.
pub(super) fn forced(case: &Case, answers: &dyn Answers, golden: &PromptGolden) -> Judged<Held<Logits>> {
    let ids = golden.forced_ids();
    logits(case, answers, &Question::logits(&ids), ids.len())
}

fn well_formed(case: &Case, question: &Question, logits: &Logits, n: usize) -> Judged<()> {
    let vocab = case.model.index.config.vocab_size;
    let due = n.checked_mul(vocab);
    if (logits.n, logits.vocab, Some(logits.values.len())) != (n, vocab, due) {
        let expected = format!("shape ({n}, {vocab}): {question}");
        let observed = format!("shape ({}, {}) with {} values", logits.n, logits.vocab, logits.values.len());
        return Err(Verdict::falsified(expected, observed).owned_by(Owner::Runtime).into());
    }
    if let Some(at) = logits.values.iter().position(|value| !value.is_finite()) {
        let bad = logits.values.iter().filter(|value| !value.is_finite()).count();
        let observed = format!("{bad} of {} logits are not finite, the first is {}", logits.values.len(), logits.values[at]);
        let token = u32::try_from(at % vocab).ok().map(|id| token(case, id));
        let place = Place { position: Some(at / vocab), token, ..Place::default() };
        let verdict = Verdict::falsified(format!("finite logits: {question}"), observed);
        return Err(verdict.at(place).owned_by(Owner::Kernel).into());
    }
    Ok(())
}

/// Asks what has to be refused. The refusal, in words, where it is a typed one.
pub(super) fn refusal(answers: &dyn Answers, question: &Question) -> Judged<String> {
    let expected = || format!("a typed refusal: {question}");
    match answers.ask(question) {
        Ok(answer) => Err(Verdict::falsified(expected(), format!("an answer: {}", outline(&answer))).owned_by(Owner::Runtime).into()),
        Err(Failure::Refused { kind, message }) if kind.trim().is_empty() || message.trim().is_empty() => {
            let observed = format!("a refusal without a kind or without a message: kind {kind:?}, message {message:?}");
            Err(Verdict::falsified(expected(), observed).owned_by(Owner::Runtime).into())
        }
        Err(Failure::Refused { kind, message }) => Ok(format!("{kind}: {message}")),
        Err(failure) => Err(Verdict::failure(&failure, expected()).into()),
    }
}

/// An answer in a few words.
fn outline(answer: &Answer) -> String {
    match answer {
        Answer::Logits(logits) => format!("logits of shape ({}, {})", logits.n, logits.vocab),
        Answer::Generated { ids, stop } => format!("{} generated ids, stop {stop}", ids.len()),
        Answer::Ids(ids) => format!("{} ids", ids.len()),
        Answer::Sampled(sampled) => format!("token {}", sampled.id),
        other => other.kind().to_owned(),
    }
}

/// A text in quotes, or the word for its absence.
pub(super) fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), |text| format!("{text:?}"))
}

/// The golden of the prompt that this trial is about.
pub(super) fn prompt<'a>(case: &Case<'a>) -> Judged<&'a PromptGolden> {
    case.prompt.ok_or_else(|| missing("a golden of the prompt", "this trial has none"))
}

/// The golden lacks what is to be compared.
pub(super) fn missing(expected: &str, observed: &str) -> Box<Verdict> {
    Verdict::error(ErrorKind::Golden, expected, observed).owned_by(Owner::Golden).into()
}

impl From<MetricError> for Box<Verdict> {
    /// Answers are checked for shape and finite values before they are measured, so what cannot be measured is the golden's side.
    fn from(error: MetricError) -> Self {
        Verdict::error(ErrorKind::Golden, "values that can be measured", error.to_string()).owned_by(Owner::Golden).into()
    }
}

impl From<ToleranceError> for Box<Verdict> {
    fn from(error: ToleranceError) -> Self {
        Verdict::error(ErrorKind::Tolerance, "a bound in tolerances.toml", error.to_string()).owned_by(Owner::Golden).into()
    }
}

/// A token id, with its text where the tokenizer golden knows it.
pub(super) fn token(case: &Case, id: u32) -> String {
    let known = case.model.tokenizer.cases.iter().find(|entry| entry.ids == [id]);
    match known {
        Some(entry) => format!("{id} {:?}", String::from_utf8_lossy(&entry.decoded.0)),
        None => id.to_string(),
    }
}

/// Ids in a line, cut where they are many.
pub(super) fn list(ids: &[u32]) -> String {
    const SHOWN: usize = 16;
    if ids.len() <= SHOWN {
        return format!("{ids:?}");
    }
    let head: Vec<String> = ids[..SHOWN].iter().map(u32::to_string).collect();
    format!("[{}, ... {} in all]", head.join(", "), ids.len())
}

/// The golden of the prompt of the model as published.
pub(super) fn source<'a>(case: &Case<'a>) -> Judged<&'a PromptGolden> {
    case.source.ok_or_else(|| missing("a golden of the prompt, of the model as published", "this trial has none"))
}
