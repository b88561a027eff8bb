//! `serve`: the engine behind the runtime protocol, on standard input and output.

use std::io;

use super::{Exit, Refusal};
use crate::protocol::serve;
use crate::runtime::native::NativeRuntime;

pub(super) fn serve() -> Result<Exit, Refusal> {
    match serve::serve(&NativeRuntime::new(), io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Ok(Exit::Green),
        // Whoever asked is gone, and waits for nothing.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Green),
        Err(error) => Err(Refusal::new(format!("failed to serve: {error}"), "docs/adapter.md describes the requests")),
    }
}
