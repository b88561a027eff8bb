//! A runtime in another process, asked over its standard input and output: the asking side of [`crate::protocol`].
//!
//! A process loads one artifact and answers about it until the last session of the artifact is gone. Sessions are handles: they borrow a
//! process for each request from the artifact's `Pool`, which starts at most so many as its entry allows, and waiting for a free one counts
//! against no deadline. A process that broke off, came too late or said something else than the protocol is killed with its group; the
//! next request starts another, until [`MAX_DEATHS`] in a row have ended without an answer.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::supervise::Deadlines;
use super::{Arithmetic, Artifact, Capabilities, Failure, Format, Op, Runtime, Session};
use crate::escape;
use crate::protocol::answer::{Hello, Loaded};
use crate::protocol::{self, Request};
use child::{Child, Living, Unspawned};
pub use entry::{Entry, Registry, When};
use session::ProcessSession;

mod child;
mod entry;
mod session;

/// After so many processes of an artifact in a row ended without an answer, none is started again.
pub const MAX_DEATHS: usize = 5;

/// Room for everything in an answer that is not an array.
const SLACK: usize = 1 << 20;

/// The longest answer that is ever read.
const LONGEST: usize = 1 << 30;

/// The longest name or version that is taken for one, in bytes.
const MAX_WORD: usize = 128;

/// Where `GROUND_TRUTH_` variables would tell an adapter what it is not to know.
const OUR_VARIABLES: &str = "GROUND_TRUTH_";

/// A runtime behind the protocol.
pub struct ProcessRuntime {
    shared: Arc<Shared>,
    pools: Mutex<HashMap<Key, Weak<Pool>>>,
}

/// What all processes of a runtime have in common.
struct Shared {
    entry: Entry,
    deadlines: Deadlines,
    hello: Hello,
    capabilities: Capabilities,
    /// The process that answered the first hello, until an artifact needs one.
    spare: Mutex<Option<Child>>,
    /// How many processes of an artifact ended without an answer since the last answer.
    deaths: Mutex<HashMap<Key, usize>>,
    living: Arc<Living>,
}

/// An artifact, and with how many threads.
type Key = (PathBuf, usize);

/// Why a runtime cannot be put on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unstarted {
    /// It is not installed: what is missing, and how to install it.
    NotInstalled(String),
    /// It is, and does not say what it can do.
    Broken(String),
}

impl ProcessRuntime {
    /// Starts the runtime of `entry` and asks what it can do.
    ///
    /// # Errors
    /// [`Unstarted`]: it is not there, or does not answer `hello` as the protocol asks.
    pub fn start(entry: Entry, deadlines: Deadlines) -> Result<Self, Unstarted> {
        let living = Arc::new(Living::default());
        let install = entry.install.as_deref().map(|install| format!("; install it: {}", escape::line(install))).unwrap_or_default();
        let mut child = Child::spawn(&mut command(&entry), &living).map_err(|unspawned| match unspawned {
            Unspawned::Absent(reason) => Unstarted::NotInstalled(format!("{reason}{install}")),
            Unspawned::Broken(reason) => Unstarted::Broken(reason),
        })?;
        let said = hello(&mut child, deadlines.load).and_then(|hello| Ok((capabilities(&entry, &hello)?, hello)));
        let (capabilities, hello) = said.map_err(|failure| match failure {
            Failure::Refused { kind, message } if kind == "not-installed" => {
                Unstarted::NotInstalled(format!("{}{install}", escape::line(&message)))
            }
            // A crash or a broken line brings its last words along.
            Failure::Refused { .. } | Failure::Timeout { .. } | Failure::Unsupported { .. } => {
                Unstarted::Broken(format!("`hello`: {failure}{}", child.last_words()))
            }
            failure => Unstarted::Broken(format!("`hello`: {failure}")),
        })?;
        let shared = Shared { entry, deadlines, hello, capabilities, spare: Mutex::new(Some(child)), deaths: Mutex::default(), living };
        Ok(Self { shared: Arc::new(shared), pools: Mutex::default() })
    }

    fn pool(&self, key: &Key) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(key).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = Arc::new(Pool { shared: Arc::clone(&self.shared), key: key.clone(), state: Mutex::default(), freed: Condvar::new() });
        pools.insert(key.clone(), Arc::downgrade(&pool));
        pool
    }
}

impl Runtime for ProcessRuntime {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities.clone()
    }

    fn load(&self, artifact: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure> {
        let pool = self.pool(&(artifact.path.clone(), threads));
        // Whether it loads is known from the first process on; later ones load again when they are needed.
        let process = pool.borrow()?;
        let loaded = process.loaded.clone();
        pool.give_back(process);
        Ok(Box::new(ProcessSession::new(pool, loaded)))
    }

    fn own_deadlines(&self) -> Option<Deadlines> {
        Some(self.shared.deadlines)
    }

    fn end(&self) {
        drop(self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner).take());
        let pools: Vec<Arc<Pool>> = self.pools.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect();
        for pool in pools {
            pool.state.lock().unwrap_or_else(PoisonError::into_inner).idle.clear();
        }
        // Sessions that are gone may still be ending theirs.
        self.shared.living.wait(Duration::from_secs(3));
    }
}

fn command(entry: &Entry) -> Command {
    let mut words = entry.command.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    command.args(words).current_dir(&entry.folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(OUR_VARIABLES)) {
        command.env_remove(name);
    }
    command
}

fn hello(child: &mut Child, deadline: Duration) -> Result<Hello, Failure> {
    let (id, line) = child.ask(&Request::Hello { protocol: protocol::VERSION }, SLACK, deadline)?;
    protocol::read(&line, id, Op::Metadata)
}

/// What `hello` says, if every word of it is one.
fn capabilities(entry: &Entry, hello: &Hello) -> Result<Capabilities, Failure> {
    let broken = |message: String| Failure::Protocol { message };
    let known = |field: &str, words: &[String]| match words.iter().find(|word| !escape::is_plain_name(word)) {
        Some(word) => Err(broken(format!("`{field}` holds `{}`, no plain word", escape::line(word)))),
        None => Ok(words.to_vec()),
    };
    for (field, word) in [("runtime", &hello.runtime), ("version", &hello.version)] {
        if word.trim().is_empty() || word.len() > MAX_WORD {
            return Err(broken(format!("`{field}` has {} bytes, 1 to {MAX_WORD} are due", word.len())));
        }
    }
    let format = |word: &String| Format::named(word).ok_or_else(|| broken(unknown("formats", word, &Format::ALL.map(Format::name))));
    let op = |word: &String| {
        let found = Op::ALL.into_iter().find(|op| op.name() == word);
        found.ok_or_else(|| broken(unknown("ops", word, &Op::ALL.map(Op::name))))
    };
    let formats = hello.formats.iter().map(format).collect::<Result<Vec<_>, _>>()?;
    let mut ops = hello.ops.iter().map(op).collect::<Result<Vec<_>, _>>()?;
    if formats.is_empty() || ops.is_empty() {
        return Err(broken(format!("{} formats and {} ops: one of each is the least", formats.len(), ops.len())));
    }
    // One process that answers one asker after the other says nothing about several at once.
    ops.retain(|op| *op != Op::Concurrent || entry.sessions > 1);
    let arithmetic = match &hello.arithmetic {
        None => Arithmetic::default(),
        Some(word) => {
            Arithmetic::from_name(word).ok_or_else(|| broken(unknown("arithmetic", word, &Arithmetic::ALL.map(Arithmetic::name))))?
        }
    };
    let version = if hello.runtime == entry.name { hello.version.clone() } else { format!("{} {}", hello.runtime, hello.version) };
    Ok(Capabilities {
        name: entry.name.clone(),
        version,
        formats,
        architectures: known("architectures", &hello.architectures)?,
        quantizations: known("quantizations", &hello.quantizations)?,
        ops,
        arithmetic,
    })
}

fn unknown(field: &str, word: &str, words: &[&str]) -> String {
    format!("`{field}` holds `{}`, which is none of {}", escape::line(word), words.join(", "))
}

/// The processes of one artifact.
struct Pool {
    shared: Arc<Shared>,
    key: Key,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Process>,
    /// Processes there are, lent ones included.
    started: usize,
}

/// A process that has loaded its artifact.
struct Process {
    child: Child,
    loaded: Loaded,
}

impl Pool {
    /// A process that nobody else asks, started if there is none. Waits for one where all that may be are busy.
    fn borrow(&self) -> Result<Process, Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(process) = state.idle.pop() {
                return Ok(process);
            }
            if state.started < self.shared.entry.sessions {
                state.started += 1;
                break;
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let process = self.start();
        if let Err(failure) = &process {
            self.count(failure);
            self.lost();
        }
        process
    }

    fn give_back(&self, process: Process) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).idle.push(process);
        self.freed.notify_one();
    }

    /// A process is no more.
    fn lost(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.started = state.started.saturating_sub(1);
        self.freed.notify_one();
    }

    /// Remembers whether a process ended over this. A refusal is an answer.
    fn count(&self, failure: &Failure) {
        if is_fatal(failure) {
            *self.shared.deaths.lock().unwrap_or_else(PoisonError::into_inner).entry(self.key.clone()).or_default() += 1;
        }
    }

    fn start(&self) -> Result<Process, Failure> {
        let deaths = self.shared.deaths.lock().unwrap_or_else(PoisonError::into_inner).get(&self.key).copied().unwrap_or(0);
        if deaths >= MAX_DEATHS {
            let message = format!("{deaths} processes in a row ended without an answer about this artifact; no other is started");
            return Err(Failure::Crash { message });
        }
        let (path, threads) = &self.key;
        let path = std::path::absolute(path).ok().and_then(|path| path.to_str().map(str::to_owned)).ok_or_else(|| Failure::Refused {
            kind: "path".to_owned(),
            message: "a path that is no UTF-8 cannot be written in a request".to_owned(),
        })?;
        let mut child = self.fresh()?;
        let (id, line) = child.ask(&Request::Load { path, threads: *threads }, SLACK * 16, self.shared.deadlines.load)?;
        let loaded: Loaded = protocol::read(&line, id, Op::Metadata)?;
        if !loaded.ok {
            return Err(Failure::Protocol { message: format!("`load` was answered with `ok` false: {}", protocol::shown(&line)) });
        }
        Ok(Process { child, loaded })
    }

    /// A process that has said hello, as the first one did.
    fn fresh(&self) -> Result<Child, Failure> {
        if let Some(child) = self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(child);
        }
        let mut child = Child::spawn(&mut command(&self.shared.entry), &self.shared.living).map_err(|unspawned| match unspawned {
            Unspawned::Absent(message) | Unspawned::Broken(message) => Failure::Crash { message },
        })?;
        let said = hello(&mut child, self.shared.deadlines.load)?;
        if said != self.shared.hello {
            let message = "`hello` was answered otherwise than by the process before".to_owned();
            return Err(Failure::Protocol { message });
        }
        Ok(child)
    }

    /// Asks a process of the pool. One that fails to answer is killed, and the failure is that of this request alone.
    fn ask<A: DeserializeOwned>(&self, request: &Request, op: Op, due: usize) -> Result<A, Failure> {
        let mut process = self.borrow()?;
        let due = due.saturating_add(SLACK).min(LONGEST);
        let said = process.child.ask(request, due, self.shared.deadlines.request);
        let answer = said.and_then(|(id, line)| protocol::read(&line, id, op));
        match &answer {
            Err(failure) if is_fatal(failure) => {
                process.child.kill();
                drop(process);
                self.count(failure);
                self.lost();
            }
            _ => {
                self.shared.deaths.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
                self.give_back(process);
            }
        }
        answer
    }
}

/// Whether nobody knows what a process would say next.
fn is_fatal(failure: &Failure) -> bool {
    matches!(failure, Failure::Crash { .. } | Failure::Timeout { .. } | Failure::Protocol { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            runtime: "mine".to_owned(),
            version: "1".to_owned(),
            formats: vec!["gguf".to_owned()],
            quantizations: Vec::new(),
            architectures: vec!["llama".to_owned()],
            ops: vec!["logits".to_owned(), "concurrent".to_owned()],
            arithmetic: None,
        }
    }

    fn entry(sessions: usize) -> Entry {
        Entry { sessions, ..Entry::of("mine", &["mine"], std::path::Path::new("/")) }
    }

    #[test]
    fn a_greeting_is_taken_at_its_words() {
        let several = capabilities(&entry(2), &hello()).unwrap();
        assert_eq!((several.name.as_str(), several.version.as_str(), several.arithmetic), ("mine", "1", Arithmetic::default()));
        assert_eq!((several.formats, several.ops), (vec![Format::Gguf], vec![Op::Logits, Op::Concurrent]));
        let one = capabilities(&entry(1), &Hello { runtime: "other".to_owned(), ..hello() }).unwrap();
        assert_eq!((one.name.as_str(), one.version.as_str(), one.ops), ("mine", "other 1", vec![Op::Logits]));
        let exact = capabilities(&entry(1), &Hello { arithmetic: Some("blocks".to_owned()), ..hello() }).unwrap();
        assert_eq!(exact.arithmetic, Arithmetic::Blocks);
        let longest = Hello { version: "v".repeat(MAX_WORD), ..hello() };
        assert_eq!(capabilities(&entry(1), &longest).unwrap().version.len(), MAX_WORD);
    }

    #[test]
    fn a_greeting_that_says_nothing_or_what_nobody_knows_breaks_the_protocol() {
        let long = "v".repeat(MAX_WORD + 1);
        for (wrong, told) in [
            (Hello { version: long.clone(), ..hello() }, "`version` has 129 bytes, 1 to 128 are due"),
            (Hello { runtime: long, ..hello() }, "`runtime` has 129 bytes"),
            (Hello { version: " ".to_owned(), ..hello() }, "`version` has 1 bytes"),
            (Hello { formats: Vec::new(), ..hello() }, "0 formats and 2 ops"),
            (Hello { ops: Vec::new(), ..hello() }, "1 formats and 0 ops"),
            (Hello { formats: vec!["exe".to_owned()], ..hello() }, "`formats` holds `exe`, which is none of"),
            (Hello { ops: vec!["fly".to_owned()], ..hello() }, "`ops` holds `fly`, which is none of"),
            (Hello { arithmetic: Some("fuzzy".to_owned()), ..hello() }, "`arithmetic` holds `fuzzy`"),
            (Hello { architectures: vec!["a b".to_owned()], ..hello() }, "`architectures` holds `a b`, no plain word"),
            (Hello { quantizations: vec!["\u{1b}".to_owned()], ..hello() }, "`quantizations` holds `\\u{1b}`, no plain word"),
        ] {
            match capabilities(&entry(1), &wrong) {
                Err(Failure::Protocol { message }) => assert!(message.starts_with(told), "{message}"),
                other => panic!("{told}: {other:?}"),
            }
        }
    }
}
