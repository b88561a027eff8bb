//! What a runtime was seen to answer, asked once and shared.
//!
//! A question is asked once per memory, however many checks need it: whoever comes first asks, the others wait for that answer.
//! [`Mode::Again`] is the exception; it exists to ask the same thing twice. Sessions are kept for the next question, and one that
//! crashed or hung is thrown away. After [`MAX_HANGS`] timeouts nothing more is asked: a runtime that hangs on everything would
//! otherwise cost a deadline for each question.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ground_truth_falsification::observation::{Answer, Answers, Failure, Logits, Mode, Positions, Question};
use sha2::{Digest, Sha256};

use crate::escape;
use crate::runtime::supervise::{self, Deadlines, Supervised};
use crate::runtime::{Artifact, Runtime, Session};

/// Threads of an ordinary session. Rows run in parallel already.
pub const SESSION_THREADS: usize = 1;

/// After this many timeouts an artifact's runtime is asked nothing more.
pub const MAX_HANGS: usize = 2;

/// The sessions of one artifact.
pub struct Sessions {
    runtime: Arc<dyn Runtime>,
    artifact: Artifact,
    deadlines: Deadlines,
    idle: Mutex<Vec<Supervised>>,
    hangs: AtomicUsize,
}

impl Sessions {
    /// Sessions of `artifact`; nothing is loaded until something is asked.
    pub fn new(runtime: Arc<dyn Runtime>, artifact: Artifact, deadlines: Deadlines) -> Self {
        let deadlines = runtime.own_deadlines().unwrap_or(deadlines);
        Self { runtime, artifact, deadlines, idle: Mutex::new(Vec::new()), hangs: AtomicUsize::new(0) }
    }

    /// Loads a session if none is idle, and returns what loading warned about.
    ///
    /// # Errors
    /// The failure of loading.
    pub fn warm_up(&self) -> Result<Vec<String>, Failure> {
        self.with(|session| Ok(session.warnings()))
    }

    /// Asks, without memory.
    ///
    /// # Errors
    /// The failure of the runtime.
    pub fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        if let Question::Logits { ids, positions, mode } = question {
            return self.logits(ids, *positions, mode);
        }
        self.with(|session| match question {
            Question::Metadata => session.metadata().map(Answer::Metadata),
            Question::Tensors => session.tensors().map(Answer::Tensors),
            Question::Tokenize { text, add_special } => session.tokenize(text, *add_special).map(Answer::Ids),
            Question::Detokenize { ids } => session.detokenize(ids).map(Answer::Bytes),
            Question::Logits { ids, positions, .. } => session.logits(ids, *positions).map(Answer::Logits),
            Question::Generate { ids, max_new_tokens, stop_at_eos } => {
                session.generate(ids, *max_new_tokens, *stop_at_eos).map(|(ids, stop)| Answer::Generated { ids, stop })
            }
            Question::Sketch { ids, decode } => session.sketch(ids, *decode).map(Answer::Sketch),
            Question::Container => session.container().map(Answer::Container),
            Question::Weights { tensor } => session.weights(tensor).map(Answer::Weights),
            Question::Chat(chat) => session.chat(chat).map(|(text, ids)| Answer::Chat { text, ids }),
            Question::Timed { ids, max_new_tokens } => {
                let begin = Instant::now();
                session.generate(ids, *max_new_tokens, false).map(|(ids, _)| Answer::Timed { ids, seconds: begin.elapsed().as_secs_f64() })
            }
            Question::Sample(request) => session.sample(request).map(Answer::Sampled),
        })
    }

    fn logits(&self, ids: &[u32], positions: Positions, mode: &Mode) -> Result<Answer, Failure> {
        match mode {
            Mode::Whole | Mode::Again(_) => self.with(|session| session.logits(ids, positions)),
            Mode::Chunks(chunks) => self.with(|session| session.logits_chunked(ids, positions, chunks)),
            Mode::Stepwise => {
                let steps = vec![1; ids.len()];
                self.with(|session| session.logits_chunked(ids, positions, &steps))
            }
            Mode::Threads(threads) => self.fresh(*threads)?.logits(ids, positions),
            Mode::Batch(neighbours) => self.with(|session| in_batch(session, ids, neighbours, positions)),
            Mode::Concurrent(askers) => return self.concurrent(ids, positions, *askers),
        }
        .map(Answer::Logits)
    }

    /// Every asker has a session of its own and they all ask at once.
    fn concurrent(&self, ids: &[u32], positions: Positions, askers: usize) -> Result<Answer, Failure> {
        let sessions = (0..askers).map(|_| self.fresh(SESSION_THREADS)).collect::<Result<Vec<_>, _>>()?;
        let answers: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> = sessions.into_iter().map(|mut session| scope.spawn(move || session.logits(ids, positions))).collect();
            asking.into_iter().map(|asker| asker.join()).collect()
        });
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|_| Err(Failure::Crash { message: "an asker panicked".into() })))
            .inspect(|answer| self.count_hang(answer.as_ref().err()))
            .collect::<Result<Vec<_>, _>>()
            .map(Answer::Many)
    }

    fn fresh(&self, threads: usize) -> Result<Supervised, Failure> {
        if self.hangs.load(Ordering::SeqCst) >= MAX_HANGS {
            return Err(Failure::Timeout { seconds: self.deadlines.request.as_secs_f64() });
        }
        let session = supervise::load(&self.runtime, &self.artifact, threads, self.deadlines);
        self.count_hang(session.as_ref().err());
        session
    }

    fn count_hang(&self, failure: Option<&Failure>) {
        if let Some(Failure::Timeout { .. }) = failure {
            self.hangs.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Lends an idle session, or a new one, to `request`.
    fn with<T>(&self, request: impl FnOnce(&mut Supervised) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut session = match idle {
            Some(session) => session,
            None => self.fresh(SESSION_THREADS)?,
        };
        let answer = request(&mut session);
        self.count_hang(answer.as_ref().err());
        if !session.is_dead() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
        answer
    }
}

/// The ids sit in the middle of their neighbours; the answer is theirs alone.
fn in_batch(session: &mut Supervised, ids: &[u32], neighbours: &[Vec<u32>], positions: Positions) -> Result<Logits, Failure> {
    let middle = neighbours.len() / 2;
    let mut batch = neighbours.to_vec();
    batch.insert(middle, ids.to_vec());
    let mut answers = session.logits_batch(&batch, positions)?;
    if answers.len() != batch.len() {
        return Err(Failure::Protocol { message: format!("a batch of {} sequences was answered with {}", batch.len(), answers.len()) });
    }
    Ok(answers.swap_remove(middle))
}

type Observed = Result<Arc<Answer>, Failure>;

/// The most bytes of answers that one memory keeps. What comes after is asked again by whoever needs it: slower, never different.
const MEMORY_BYTES: usize = 64 << 20;

/// Answers that have been given, by question. Dropping it forgets them.
#[derive(Default)]
pub struct Memory {
    answers: Mutex<HashMap<Question, Arc<OnceLock<Observed>>>>,
    bytes: AtomicUsize,
}

impl Memory {
    /// The answer that is remembered, or that `observe` gives. Whoever asks meanwhile waits for that one.
    fn recall(&self, question: &Question, observe: impl FnOnce() -> Observed) -> Observed {
        let slot = Arc::clone(self.locked().entry(question.clone()).or_default());
        let mut bytes = 0;
        let observed = slot
            .get_or_init(|| {
                let observed = observe();
                bytes = observed.as_ref().map_or(0, |answer| size(answer));
                observed
            })
            .clone();
        if bytes > 0 && self.bytes.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes) > MEMORY_BYTES {
            self.locked().remove(question);
            self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        }
        observed
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Question, Arc<OnceLock<Observed>>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of an answer's logits or weights; everything else is small.
fn size(answer: &Answer) -> usize {
    let of = |logits: &Logits| logits.values.len().saturating_mul(size_of::<f32>());
    match answer {
        Answer::Logits(logits) => of(logits),
        Answer::Many(many) => many.iter().map(of).fold(0, usize::saturating_add),
        Answer::Weights(values) => values.len().saturating_mul(size_of::<f32>()),
        _ => 0,
    }
}

/// Answers the questions of one check from a memory, asking where it holds nothing yet.
pub struct Observer<'a> {
    sessions: &'a Sessions,
    memory: &'a Memory,
    /// Where answers about the artifact as a whole are remembered, if that is another memory.
    of_artifact: &'a Memory,
    asked: Mutex<BTreeSet<String>>,
    longest: Mutex<Duration>,
}

impl<'a> Observer<'a> {
    /// An observer of `sessions` that shares `memory` with others.
    pub fn new(sessions: &'a Sessions, memory: &'a Memory) -> Self {
        Self { sessions, memory, of_artifact: memory, asked: Mutex::default(), longest: Mutex::default() }
    }

    /// The same, with what is asked of the artifact as a whole remembered where all prompts of a cell find it.
    #[must_use]
    pub fn with_artifact(self, of_artifact: &'a Memory) -> Self {
        Self { of_artifact, ..self }
    }

    /// A short name of every question asked so far: its op and a digest.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().cloned().collect()
    }

    /// The longest time that the runtime took for an answer to a question which nobody had asked before.
    pub fn longest(&self) -> Duration {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers for Observer<'_> {
    fn ask(&self, question: &Question) -> Observed {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(short_name(question));
        let observe = || {
            let begin = Instant::now();
            let answer = self.sessions.ask(question).map(Arc::new);
            let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
            *longest = (*longest).max(begin.elapsed());
            answer
        };
        match question {
            Question::Logits { mode: Mode::Again(_), .. } => observe(),
            Question::Metadata | Question::Tensors | Question::Container => self.of_artifact.recall(question, observe),
            _ => self.memory.recall(question, observe),
        }
    }
}

fn short_name(question: &Question) -> String {
    let digest = Sha256::digest(format!("{question:?}").as_bytes());
    format!("{}-{}", question.op(), &escape::hex(&digest)[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Capabilities, Format, Metadata};

    /// Counts what it is asked. Logits are as many zeros as `ids` says in megabytes; `metadata` hangs, `tensors` panics.
    #[derive(Default, Clone)]
    struct Counting(Arc<AtomicUsize>);

    impl Runtime for Counting {
        fn capabilities(&self) -> Capabilities {
            unreachable!("sessions ask nothing of the kind")
        }

        fn load(&self, _: &Artifact, _: usize) -> Result<Box<dyn Session>, Failure> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Session for Counting {
        fn logits(&mut self, ids: &[u32], _: Positions) -> Result<Logits, Failure> {
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            let values = vec![n as f32; (ids[0] as usize) << 18];
            Ok(Logits { n: 1, vocab: values.len(), values })
        }

        fn logits_batch(&mut self, batch: &[Vec<u32>], _: Positions) -> Result<Vec<Logits>, Failure> {
            let one = |ids: &Vec<u32>| Logits { n: ids.len(), vocab: 1, values: ids.iter().map(|id| *id as f32).collect() };
            // A batch of four is answered with one too few.
            Ok(batch.iter().skip(usize::from(batch.len() == 4)).map(one).collect())
        }

        fn metadata(&mut self) -> Result<Metadata, Failure> {
            self.0.fetch_add(1, Ordering::SeqCst);
            loop {
                thread::sleep(Duration::from_secs(3600));
            }
        }

        fn tensors(&mut self) -> Result<Vec<crate::runtime::TensorRow>, Failure> {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("no tensors")
        }
    }

    fn sessions(counting: &Counting) -> Sessions {
        let artifact = Artifact { model: "m".into(), format: Format::Safetensors, quantization: "f32".into(), path: "/".into() };
        Sessions::new(Arc::new(counting.clone()), artifact, Deadlines::of(Duration::from_millis(200)))
    }

    fn asked(counting: &Counting) -> usize {
        counting.0.load(Ordering::SeqCst)
    }

    fn logits(megabytes: u32, mode: Mode) -> Question {
        Question::Logits { ids: vec![megabytes], positions: Positions::Last, mode }
    }

    #[test]
    fn a_question_is_asked_once_however_many_ask() {
        let counting = Counting::default();
        let (sessions, memory) = (sessions(&counting), Memory::default());
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| Observer::new(&sessions, &memory).ask(&logits(1, Mode::Whole)).unwrap());
            }
        });
        assert_eq!(asked(&counting), 1);
        let observer = Observer::new(&sessions, &memory);
        observer.ask(&logits(1, Mode::Whole)).unwrap();
        assert_eq!((asked(&counting), observer.asked().len()), (1, 1));
    }

    #[test]
    fn a_fresh_run_is_never_served_from_memory() {
        let counting = Counting::default();
        let (sessions, memory) = (sessions(&counting), Memory::default());
        let observer = Observer::new(&sessions, &memory);
        for _ in 0..3 {
            observer.ask(&logits(1, Mode::Again(1))).unwrap();
        }
        assert_eq!(asked(&counting), 3);
    }

    #[test]
    fn a_full_memory_asks_again_instead_of_growing() {
        let counting = Counting::default();
        let (sessions, memory) = (sessions(&counting), Memory::default());
        let observer = Observer::new(&sessions, &memory);
        for megabytes in [40, 30, 40, 30] {
            observer.ask(&logits(megabytes, Mode::Whole)).unwrap();
        }
        // 40 is kept, 30 would be too much and is asked again.
        assert_eq!(asked(&counting), 3);
        assert_eq!(memory.bytes.load(Ordering::SeqCst), 40 << 20);
    }

    #[test]
    fn a_hanging_runtime_costs_no_more_than_its_limit() {
        let counting = Counting::default();
        let sessions = sessions(&counting);
        for _ in 0..5 {
            let failure = sessions.ask(&Question::Metadata).unwrap_err();
            assert_eq!(failure, Failure::Timeout { seconds: 0.2 });
        }
        assert_eq!(asked(&counting), MAX_HANGS);
    }

    #[test]
    fn a_crashed_session_is_replaced() {
        let counting = Counting::default();
        let sessions = sessions(&counting);
        for _ in 0..3 {
            assert!(matches!(sessions.ask(&Question::Tensors), Err(Failure::Crash { .. })));
        }
        assert!(sessions.ask(&logits(1, Mode::Whole)).is_ok());
        assert_eq!(asked(&counting), 4);
    }

    #[test]
    fn a_batch_is_answered_for_the_middle_or_not_at_all() {
        let counting = Counting::default();
        let sessions = sessions(&counting);
        let ask = |neighbours: Vec<Vec<u32>>| {
            sessions.ask(&Question::Logits { ids: vec![7, 8], positions: Positions::All, mode: Mode::Batch(neighbours) })
        };
        let Ok(Answer::Logits(answer)) = ask(vec![vec![1], vec![2]]) else { panic!("no logits") };
        assert_eq!(answer.values, [7.0, 8.0]);
        assert!(matches!(ask(vec![vec![1], vec![2], vec![3]]), Err(Failure::Protocol { .. })));
    }

    #[test]
    fn askers_at_once_get_an_answer_each() {
        let counting = Counting::default();
        let Ok(Answer::Many(many)) = sessions(&counting).ask(&logits(1, Mode::Concurrent(3))) else { panic!("no answers") };
        assert_eq!((many.len(), asked(&counting)), (3, 3));
    }
}
