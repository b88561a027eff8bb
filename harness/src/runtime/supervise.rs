//! Sessions that cannot take the run down with them.
//!
//! Every session lives on a thread of its own, is asked through a channel, and has a deadline for each request. A panic is
//! [`Failure::Crash`] with its place, a late answer [`Failure::Timeout`]. After either the session is dead: it is never asked
//! again, because nobody knows what it would be answering. A thread that hangs is left behind and ends with the process.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::{
    Artifact, Chat, Container, Failure, Logits, Metadata, Positions, Runtime, SampleRequest, Sampled, Session, StageSketch, Stop, TensorRow,
};
use crate::guard;
use crate::roster::Settings;

/// Overrides the seconds that one request may take, for slow machines and large models.
pub const DEADLINE_VARIABLE: &str = "GROUND_TRUTH_DEADLINE";

/// How long a session may take. A hang is red after this long; it never hangs the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For loading an artifact.
    pub load: Duration,
    /// For answering one request.
    pub request: Duration,
}

impl Default for Deadlines {
    /// 60 s for each: a request on a carried model takes milliseconds, on a model of a hundred million parameters seconds.
    fn default() -> Self {
        Self::of(Duration::from_secs(60))
    }
}

impl Deadlines {
    /// The same deadline for loading and for every request.
    pub const fn of(limit: Duration) -> Self {
        Self { load: limit, request: limit }
    }

    /// The seconds that `GROUND_TRUTH_DEADLINE` names, else those of the file of settings, else the default.
    ///
    /// # Errors
    /// A message where the variable holds anything but a number of seconds from 1 to 86,400.
    pub fn from_env() -> Result<Self, String> {
        match std::env::var(DEADLINE_VARIABLE) {
            Err(std::env::VarError::NotPresent) => Settings::from_env().deadline.map_or(Ok(Self::default()), |value| Self::parse(&value)),
            Err(std::env::VarError::NotUnicode(_)) => Err(format!("{DEADLINE_VARIABLE} is not text; give a number of seconds")),
            Ok(value) => Self::parse(&value),
        }
    }

    fn parse(value: &str) -> Result<Self, String> {
        match value.trim().parse::<u64>() {
            Ok(seconds @ 1..=86_400) => Ok(Self::of(Duration::from_secs(seconds))),
            _ => Err(format!("{DEADLINE_VARIABLE} is `{}`; give a whole number of seconds from 1 to 86400", crate::escape::line(value))),
        }
    }
}

type Job = Box<dyn FnOnce(&mut dyn Session) + Send>;

/// A session on its own thread, with a deadline for each request.
pub struct Supervised {
    jobs: Option<Sender<Job>>,
    deadline: Duration,
}

/// Loads an artifact into a session on a new thread.
///
/// # Errors
/// The runtime's refusal, or the crash or timeout of its loading.
pub fn load(runtime: &Arc<dyn Runtime>, artifact: &Artifact, threads: usize, deadlines: Deadlines) -> Result<Supervised, Failure> {
    // A runtime that keeps its own deadlines answers, late or not.
    let deadlines = if runtime.own_deadlines().is_some() { Deadlines::of(Duration::MAX) } else { deadlines };
    let (jobs, inbox) = mpsc::channel::<Job>();
    let (ready, loaded) = mpsc::channel();
    let (runtime, artifact) = (Arc::clone(runtime), artifact.clone());
    let body = move || {
        let session = match guard::catch(|| runtime.load(&artifact, threads)) {
            Ok(Ok(session)) => session,
            Ok(Err(failure)) => return drop(ready.send(Err(failure))),
            Err(panic) => return drop(ready.send(Err(crash(&panic, "load")))),
        };
        if ready.send(Ok(())).is_ok() {
            serve(session, &inbox);
        }
    };
    thread::Builder::new()
        .name("session".to_owned())
        .spawn(body)
        .map_err(|error| Failure::Crash { message: format!("no thread for the session: {error}") })?;
    await_answer(&loaded, deadlines.load)?;
    Ok(Supervised { jobs: Some(jobs), deadline: deadlines.request })
}

fn serve(mut session: Box<dyn Session>, inbox: &Receiver<Job>) {
    while let Ok(job) = inbox.recv() {
        job(session.as_mut());
    }
    // A destructor of somebody else's session may panic too; nobody is left to be told.
    let _ = guard::catch(move || drop(session));
}

fn crash(panic: &guard::Panic, op: &str) -> Failure {
    Failure::Crash { message: format!("{op} {panic}") }
}

fn await_answer<T>(answers: &Receiver<Result<T, Failure>>, deadline: Duration) -> Result<T, Failure> {
    match answers.recv_timeout(deadline) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(Failure::Timeout { seconds: deadline.as_secs_f64() }),
        Err(RecvTimeoutError::Disconnected) => Err(Failure::Crash { message: "the session's thread ended without an answer".to_owned() }),
    }
}

impl Supervised {
    /// Whether the session has crashed or hung: it will not be asked again.
    pub fn is_dead(&self) -> bool {
        self.jobs.is_none()
    }

    /// Runs one request on the session's thread.
    fn call<T, F>(&mut self, op: &'static str, request: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Session) -> Result<T, Failure> + Send + 'static,
    {
        let Some(jobs) = &self.jobs else {
            return Err(Failure::Crash { message: "the session had ended before this request".to_owned() });
        };
        let (reply, answers) = mpsc::channel();
        let job: Job = Box::new(move |session| {
            let answer = match guard::catch(|| request(session)) {
                Ok(answer) => answer,
                Err(panic) => Err(crash(&panic, op)),
            };
            // The asker may have given up already.
            let _ = reply.send(answer);
        });
        let sent = jobs.send(job).map_err(|_| Failure::Crash { message: "the session's thread has ended".to_owned() });
        let answer = sent.and_then(|()| await_answer(&answers, self.deadline));
        if let Err(Failure::Crash { .. } | Failure::Timeout { .. }) = &answer {
            self.jobs = None;
        }
        answer
    }
}

impl Session for Supervised {
    fn warnings(&mut self) -> Vec<String> {
        self.call("warnings", |session| Ok(session.warnings())).unwrap_or_else(|failure| vec![failure.to_string()])
    }

    fn metadata(&mut self) -> Result<Metadata, Failure> {
        self.call("metadata", |session| session.metadata())
    }

    fn tensors(&mut self) -> Result<Vec<TensorRow>, Failure> {
        self.call("tensors", |session| session.tensors())
    }

    fn tokenize(&mut self, text: &str, add_special: bool) -> Result<Vec<u32>, Failure> {
        let text = text.to_owned();
        self.call("tokenize", move |session| session.tokenize(&text, add_special))
    }

    fn detokenize(&mut self, ids: &[u32]) -> Result<Vec<u8>, Failure> {
        let ids = ids.to_vec();
        self.call("detokenize", move |session| session.detokenize(&ids))
    }

    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        let ids = ids.to_vec();
        self.call("logits", move |session| session.logits(&ids, positions))
    }

    fn logits_chunked(&mut self, ids: &[u32], positions: Positions, chunks: &[usize]) -> Result<Logits, Failure> {
        let (ids, chunks) = (ids.to_vec(), chunks.to_vec());
        self.call("logits in chunks", move |session| session.logits_chunked(&ids, positions, &chunks))
    }

    fn logits_batch(&mut self, batch: &[Vec<u32>], positions: Positions) -> Result<Vec<Logits>, Failure> {
        let batch = batch.to_vec();
        self.call("logits of a batch", move |session| session.logits_batch(&batch, positions))
    }

    fn generate(&mut self, ids: &[u32], max_new_tokens: usize, stop_at_eos: bool) -> Result<(Vec<u32>, Stop), Failure> {
        let ids = ids.to_vec();
        self.call("generate", move |session| session.generate(&ids, max_new_tokens, stop_at_eos))
    }

    fn sketch(&mut self, ids: &[u32], decode: bool) -> Result<Vec<StageSketch>, Failure> {
        let ids = ids.to_vec();
        self.call("sketch", move |session| session.sketch(&ids, decode))
    }

    fn container(&mut self) -> Result<Container, Failure> {
        self.call("container", |session| session.container())
    }

    fn weights(&mut self, tensor: &str) -> Result<Vec<f32>, Failure> {
        let tensor = tensor.to_owned();
        self.call("weights", move |session| session.weights(&tensor))
    }

    fn chat(&mut self, chat: &Chat) -> Result<(String, Vec<u32>), Failure> {
        let chat = chat.clone();
        self.call("chat", move |session| session.chat(&chat))
    }

    fn sample(&mut self, request: &SampleRequest) -> Result<Sampled, Failure> {
        let request = request.clone();
        self.call("sample", move |session| session.sample(&request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Arithmetic, Capabilities, Format, Op};

    /// Hangs on `metadata`, panics on `tensors`, answers `tokenize`; refuses to load with 2 threads, hangs with 3, panics with 4.
    struct Troubled;

    impl Runtime for Troubled {
        fn capabilities(&self) -> Capabilities {
            Capabilities {
                name: "troubled".into(),
                version: "1".into(),
                formats: vec![Format::Safetensors],
                architectures: vec![],
                quantizations: vec![],
                ops: Op::ALL.to_vec(),
                arithmetic: Arithmetic::Exact,
            }
        }

        fn load(&self, _: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure> {
            match threads {
                2 => Err(Failure::Refused { kind: "config".into(), message: "no".into() }),
                3 => hang(),
                4 => panic!("cannot load"),
                _ => Ok(Box::new(Troubled)),
            }
        }
    }

    impl Session for Troubled {
        fn metadata(&mut self) -> Result<Metadata, Failure> {
            hang()
        }

        fn tensors(&mut self) -> Result<Vec<TensorRow>, Failure> {
            panic!("no tensors today")
        }

        fn tokenize(&mut self, text: &str, _: bool) -> Result<Vec<u32>, Failure> {
            Ok(text.bytes().map(u32::from).collect())
        }
    }

    fn hang() -> ! {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }

    fn load_with(threads: usize) -> Result<Supervised, Failure> {
        let runtime: Arc<dyn Runtime> = Arc::new(Troubled);
        let artifact = Artifact { model: "m".into(), format: Format::Safetensors, quantization: "f32".into(), path: "/nowhere".into() };
        load(&runtime, &artifact, threads, Deadlines::of(Duration::from_millis(200)))
    }

    #[test]
    fn an_answer_passes_through() {
        let mut session = load_with(1).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(session.tokenize("ab", true), Ok(vec![97, 98]));
        assert_eq!(session.detokenize(&[1]), Err(Failure::Unsupported { op: Op::Detokenize }));
        assert!(!session.is_dead());
    }

    #[test]
    fn a_hang_is_a_timeout_and_ends_the_session() {
        let mut session = load_with(1).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(session.metadata(), Err(Failure::Timeout { seconds: 0.2 }));
        assert!(session.is_dead());
        assert!(matches!(session.tokenize("a", true), Err(Failure::Crash { .. })));
    }

    #[test]
    fn a_panic_is_a_crash_with_its_place() {
        let mut session = load_with(1).unwrap_or_else(|f| panic!("{f}"));
        let Err(Failure::Crash { message }) = session.tensors() else {
            panic!("no crash");
        };
        assert!(message.contains("no tensors today"), "{message}");
        assert!(message.contains("supervise.rs:"), "{message}");
        assert!(session.is_dead());
    }

    #[test]
    fn loading_that_refuses_hangs_or_panics_is_told_apart() {
        assert!(matches!(load_with(2), Err(Failure::Refused { .. })));
        assert!(matches!(load_with(3), Err(Failure::Timeout { .. })));
        assert!(matches!(load_with(4), Err(Failure::Crash { .. })));
    }

    #[test]
    fn a_deadline_is_a_whole_number_of_seconds() {
        assert_eq!(Deadlines::parse("300"), Ok(Deadlines::of(Duration::from_secs(300))));
        for wrong in ["", "0", "-1", "1.5", "86401", "soon"] {
            assert!(Deadlines::parse(wrong).is_err(), "{wrong}");
        }
    }
}
