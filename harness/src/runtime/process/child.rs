//! One adapter process: a line in, a line out, each within its time and its size.
//!
//! Three threads serve its pipes, so that no full buffer stops anybody: one writes requests, one cuts its output into lines, one keeps the
//! end of its standard error. The deadline is for the whole answer, whatever trickles in. A line that outgrows what is due is not read to
//! its end. The process leads a group of its own, which is killed as a whole.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::escape;
use crate::protocol::{self, Request};
use crate::runtime::Failure;

/// How much of the end of standard error is kept, in bytes.
const KEPT_STDERR: usize = 8 << 10;

/// How much of it a failure shows, in characters.
const SHOWN_STDERR: usize = 600;

/// The longest line that is read while nothing is due.
const UNASKED: usize = 4 << 10;

/// How long a process may take to end by itself after the end of its input, and its last words after its end.
const GRACE: Duration = Duration::from_secs(1);

/// How often a process that says nothing is looked after.
const PULSE: Duration = Duration::from_millis(50);

/// What is read from a process.
enum Output {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line that outgrew this many bytes.
    TooLong(usize),
    /// The end, so many bytes into a line.
    End(usize),
}

/// One adapter process.
pub(super) struct Child {
    process: std::process::Child,
    group: Option<Pid>,
    requests: Option<SyncSender<Vec<u8>>>,
    output: Receiver<Output>,
    limit: Arc<AtomicUsize>,
    stderr: Arc<Stderr>,
    last_id: u64,
    alive: Arc<Living>,
}

/// How many processes live.
#[derive(Default)]
pub(super) struct Living {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Living {
    /// Waits until none lives, at most so long.
    pub(super) fn wait(&self, limit: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.fewer.wait_timeout_while(count, limit, |count| *count > 0);
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = change(*count);
        self.fewer.notify_all();
    }
}

/// Why there is no process.
#[derive(Debug)]
pub(super) enum Unspawned {
    /// The program is not there.
    Absent(String),
    /// It is, and does not start.
    Broken(String),
}

impl Child {
    /// Starts `command` in a process group of its own.
    pub(super) fn spawn(command: &mut Command, alive: &Arc<Living>) -> Result<Self, Unspawned> {
        let program = escape::line(&command.get_program().to_string_lossy());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut process = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => Unspawned::Absent(format!("`{program}` is not installed: {error}")),
            _ => Unspawned::Broken(format!("`{program}` does not start: {error}")),
        })?;
        let (Some(stdin), Some(stdout), Some(errors)) = (process.stdin.take(), process.stdout.take(), process.stderr.take()) else {
            return Err(Unspawned::Broken(format!("`{program}` has no pipes")));
        };
        alive.change(|count| count + 1);
        let limit = Arc::new(AtomicUsize::new(UNASKED));
        let stderr = Arc::new(Stderr::default());
        // One request and one answer are under way at most: what is more waits in the pipe, and in the process.
        let (requests, to_write) = mpsc::sync_channel(1);
        let (lines, output) = mpsc::sync_channel(1);
        let child = Self {
            group: i32::try_from(process.id()).ok().and_then(Pid::from_raw),
            process,
            requests: Some(requests),
            output,
            limit: Arc::clone(&limit),
            stderr: Arc::clone(&stderr),
            last_id: 0,
            alive: Arc::clone(alive),
        };
        let threads: [Box<dyn FnOnce() + Send>; 3] = [
            Box::new(move || write_requests(stdin, &to_write)),
            Box::new(move || read_lines(stdout, &limit, &lines)),
            Box::new(move || stderr.keep(errors)),
        ];
        for body in threads {
            let thread = thread::Builder::new().name("adapter".to_owned()).spawn(body);
            thread.map_err(|error| Unspawned::Broken(format!("no thread for `{program}`: {error}")))?;
        }
        Ok(child)
    }

    /// Asks, and returns the id of the request and the line that answers it, of at most `due` bytes.
    ///
    /// # Errors
    /// [`Failure::Timeout`], [`Failure::Crash`] or [`Failure::Protocol`]. After any of them the process has to go.
    pub(super) fn ask(&mut self, request: &Request, due: usize, deadline: Duration) -> Result<(u64, Vec<u8>), Failure> {
        let op = name(request);
        match self.output.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(Output::Line(line)) => return Err(self.broken(format!("a line that nobody asked for: {}", protocol::shown(&line)))),
            Ok(Output::TooLong(_)) => return Err(self.broken("a long line that nobody asked for".to_owned())),
            Ok(Output::End(_)) | Err(TryRecvError::Disconnected) => return Err(self.crash(&format!("before `{op}` was asked"))),
        }
        self.last_id += 1;
        let id = self.last_id;
        let line = request.line(id).map_err(|error| Failure::Refused { kind: "request".to_owned(), message: error.to_string() })?;
        self.limit.store(due, Ordering::SeqCst);
        let sent = self.requests.as_ref().is_some_and(|requests| requests.try_send(line).is_ok());
        if !sent {
            return Err(self.crash(&format!("`{op}` cannot be written, its input is closed or not read")));
        }
        let answer = self.wait(op, deadline);
        self.limit.store(UNASKED, Ordering::SeqCst);
        answer.map(|line| (id, line))
    }

    fn wait(&mut self, op: &str, deadline: Duration) -> Result<Vec<u8>, Failure> {
        let end = Instant::now() + deadline;
        let mut gone: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let left = end.saturating_duration_since(now);
            if left.is_zero() {
                return Err(Failure::Timeout { seconds: deadline.as_secs_f64() });
            }
            match self.output.recv_timeout(left.min(PULSE)) {
                Ok(Output::Line(line)) => return Ok(line),
                Ok(Output::TooLong(limit)) => {
                    return Err(self.broken(format!("a line of more than {limit} bytes, the most that an answer to `{op}` can have")));
                }
                Ok(Output::End(0)) | Err(RecvTimeoutError::Disconnected) => return Err(self.crash(&format!("asked for `{op}`"))),
                Ok(Output::End(n)) => return Err(self.crash(&format!("{n} bytes into its answer to `{op}`"))),
                // Its end is seen where its output ends, unless somebody it started holds that open.
                Err(RecvTimeoutError::Timeout) => match gone {
                    Some(since) if now.duration_since(since) > GRACE => {
                        return Err(self.crash(&format!("asked for `{op}`, its output held open by another process")));
                    }
                    Some(_) => {}
                    None => gone = self.has_ended().then_some(now),
                },
            }
        }
    }

    /// Whether the process has ended; it stays a zombie, so that its group's number remains its own.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.group.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    fn await_end(&self, limit: Duration) {
        let begin = Instant::now();
        while !self.has_ended() && begin.elapsed() < limit {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills the whole group. What has left the group is beyond reach.
    pub(super) fn kill(&mut self) -> Option<ExitStatus> {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.kill();
        self.process.wait().ok()
    }

    /// The failure of a process that is no more, or as good as gone.
    fn crash(&mut self, when: &str) -> Failure {
        self.await_end(GRACE);
        let ended = self.has_ended();
        let status = self.kill();
        let how = match status {
            Some(status) if ended => how(status),
            _ => "closed its output and went on".to_owned(),
        };
        Failure::Crash { message: format!("{how}, {when}{}", self.stderr.shown()) }
    }

    fn broken(&mut self, what: String) -> Failure {
        self.kill();
        Failure::Protocol { message: format!("{what}{}", self.stderr.shown()) }
    }

    /// What it printed on standard error, as the end of a message.
    pub(super) fn last_words(&mut self) -> String {
        self.kill();
        self.stderr.shown()
    }
}

impl Drop for Child {
    /// The end of its input tells the process to end; after [`GRACE`] its group is killed, and whoever is left in it.
    fn drop(&mut self) {
        self.requests = None;
        if self.group.is_some() {
            self.await_end(GRACE);
            self.kill();
        }
        self.alive.change(|count| count.saturating_sub(1));
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The word of a request in messages.
fn name(request: &Request) -> &'static str {
    match request {
        Request::Hello { .. } => "hello",
        Request::Load { .. } => "load",
        Request::Tokenize { .. } => "tokenize",
        Request::Detokenize { .. } => "detokenize",
        Request::Logits { .. } => "logits",
        Request::LogitsBatch { .. } => "logits_batch",
        Request::Generate { .. } => "generate",
        Request::Sketch { .. } => "sketch",
        Request::Tensors => "tensors",
        Request::Weights { .. } => "weights",
        Request::Container => "container",
        Request::Chat(_) => "chat",
        Request::Sample(_) => "sample",
    }
}

/// A pipe that nobody reads ends the thread; the process's end is seen on its output.
fn write_requests(mut stdin: impl Write, requests: &Receiver<Vec<u8>>) {
    while let Ok(line) = requests.recv() {
        if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(mut stdout: impl Read, limit: &AtomicUsize, lines: &SyncSender<Output>) {
    let mut piece = vec![0; 64 << 10];
    let mut line = Vec::new();
    loop {
        let mut rest = match stdout.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Ok(n) if n > 0 => &piece[..n],
            Ok(_) | Err(_) => return drop(lines.send(Output::End(line.len()))),
        };
        while !rest.is_empty() {
            let limit = limit.load(Ordering::SeqCst);
            let end = rest.iter().position(|byte| *byte == b'\n');
            let part = &rest[..end.unwrap_or(rest.len())];
            if line.len() + part.len() > limit {
                return drop(lines.send(Output::TooLong(limit)));
            }
            line.extend_from_slice(part);
            rest = end.map_or(&[][..], |end| &rest[end + 1..]);
            if end.is_some() && lines.send(Output::Line(std::mem::take(&mut line))).is_err() {
                return;
            }
        }
    }
}

/// The end of what a process prints on standard error.
#[derive(Default)]
struct Stderr {
    tail: Mutex<(Vec<u8>, bool)>,
    ended: Condvar,
}

impl Stderr {
    fn locked(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, mut errors: impl Read) {
        let mut piece = vec![0; 4 << 10];
        loop {
            match errors.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(n) if n > 0 => {
                    let mut tail = self.locked();
                    tail.0.extend_from_slice(&piece[..n]);
                    let surplus = tail.0.len().saturating_sub(KEPT_STDERR);
                    tail.0.drain(..surplus);
                }
                Ok(_) | Err(_) => break,
            }
        }
        self.locked().1 = true;
        self.ended.notify_all();
    }

    /// The last of it, on one line, as the end of a message; nothing where nothing was printed.
    fn shown(&self) -> String {
        let waited = self.ended.wait_timeout_while(self.locked(), Duration::from_millis(200), |tail| !tail.1);
        let tail = waited.unwrap_or_else(PoisonError::into_inner).0;
        let text = String::from_utf8_lossy(&tail.0);
        let text = text.trim();
        let begin = text.char_indices().rev().nth(SHOWN_STDERR - 1).map_or(0, |(at, _)| at);
        if text.is_empty() {
            return String::new();
        }
        format!("; its standard error ends in: {}{}", if begin > 0 { "..." } else { "" }, escape::line(&text[begin..]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Gives its pieces one by one, and is interrupted before each. An empty piece is a failure.
    struct Pieces(Vec<&'static [u8]>, bool);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            if piece.is_empty() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn read(pieces: &[&'static [u8]], limit: usize) -> Vec<String> {
        let (lines, read) = mpsc::sync_channel(16);
        read_lines(Pieces(pieces.to_vec(), false), &AtomicUsize::new(limit), &lines);
        drop(lines);
        let said = |output| match output {
            Output::Line(line) => String::from_utf8_lossy(&line).into_owned(),
            Output::TooLong(limit) => format!("over {limit}"),
            Output::End(left) => format!("end, {left} left"),
        };
        read.iter().map(said).collect()
    }

    #[test]
    fn lines_are_put_together_and_cut_apart() {
        assert_eq!(read(&[b"one\ntw", b"o\n\nthree"], 5), ["one", "two", "", "end, 5 left"]);
        assert_eq!(read(&[b"fives\nsixers\n"], 5), ["fives", "over 5"]);
        assert_eq!(read(&[], 5), ["end, 0 left"]);
        assert_eq!(read(&[b"one\n", b"", b"two\n"], 5), ["one", "end, 0 left"]);
    }

    #[test]
    fn requests_are_called_by_their_ops() {
        let requests = [
            Request::Hello { protocol: protocol::VERSION },
            Request::Load { path: "m".to_owned(), threads: 1 },
            Request::Tokenize { text: String::new(), add_special: true },
            Request::Detokenize { ids: Vec::new() },
            Request::Tensors,
            Request::Container,
        ];
        for request in requests {
            assert_eq!(serde_json::to_value(&request).unwrap()["op"], name(&request));
        }
    }

    #[test]
    fn one_waits_for_processes_that_live_and_for_no_others() {
        let took = |living: &Living, limit: Duration| {
            let begin = Instant::now();
            living.wait(limit);
            begin.elapsed()
        };
        let (short, long) = (Duration::from_millis(30), Duration::from_secs(60));
        let living = Living::default();
        assert!(took(&living, long) < long, "nobody lives");
        living.change(|count| count + 1);
        assert!(took(&living, short) >= short, "somebody lives");
        let ended = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| took(&living, long));
            std::thread::sleep(short);
            living.change(|count| count - 1);
            waiting.join().unwrap()
        });
        assert!(ended < long, "the last one has ended");
    }
}
