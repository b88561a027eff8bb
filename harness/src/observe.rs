//! What a runtime was seen to answer, asked once and shared.
//!
//! A question is asked once per memory, however many checks need it: whoever comes first asks, the others wait for that answer.
//! [`Mode::Again`] is the exception; it exists to ask the same thing twice. Sessions are kept for the next question, and one that
//! crashed or hung is thrown away. After [`MAX_HANGS`] timeouts nothing more is asked: a runtime that hangs on everything would
//! otherwise cost a deadline for each question.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

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

/// Answers that have been given, by question. Dropping it forgets them.
#[derive(Default)]
pub struct Memory {
    answers: Mutex<HashMap<Question, Arc<OnceLock<Observed>>>>,
}

impl Memory {
    fn slot(&self, question: &Question) -> Arc<OnceLock<Observed>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.entry(question.clone()).or_default())
    }
}

/// Answers the questions of one check from a memory, asking where it holds nothing yet.
pub struct Observer<'a> {
    sessions: &'a Sessions,
    memory: &'a Memory,
    asked: Mutex<BTreeSet<String>>,
}

impl<'a> Observer<'a> {
    /// An observer of `sessions` that shares `memory` with others.
    pub fn new(sessions: &'a Sessions, memory: &'a Memory) -> Self {
        Self { sessions, memory, asked: Mutex::default() }
    }

    /// A short name of every question asked so far: its op and a digest.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().cloned().collect()
    }
}

impl Answers for Observer<'_> {
    fn ask(&self, question: &Question) -> Observed {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(short_name(question));
        let observe = || self.sessions.ask(question).map(Arc::new);
        match question {
            Question::Logits { mode: Mode::Again(_), .. } => observe(),
            _ => self.memory.slot(question).get_or_init(observe).clone(),
        }
    }
}

fn short_name(question: &Question) -> String {
    let digest = Sha256::digest(format!("{question:?}").as_bytes());
    format!("{}-{}", question.op(), &escape::hex(&digest)[..16])
}
