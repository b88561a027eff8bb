//! `serve`: the engine behind the runtime protocol, on standard input and output.

use std::io;

use ground_truth::kernel::Isa;

use super::{Exit, Refusal};
use crate::protocol::serve;
use crate::runtime::native::NativeRuntime;

/// How the engine computes sums of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sums {
    /// By the fastest instructions of this machine
    Best,
    /// By what every machine has: the same bits
    Portable,
    /// Each product and its sum in one rounding
    Fused,
    /// From the last product to the first
    Reversed,
    /// One product after the other, in one accumulator
    Sequential,
}

impl Sums {
    fn isa(self) -> Isa {
        match self {
            Sums::Best => Isa::best(),
            Sums::Portable => Isa::PORTABLE,
            Sums::Fused => Isa::FUSED,
            Sums::Reversed => Isa::REVERSED,
            Sums::Sequential => Isa::SEQUENTIAL,
        }
    }
}

pub(super) fn serve(sums: Sums, threads: usize) -> Result<Exit, Refusal> {
    let engine = NativeRuntime::new().computing_by(sums.isa(), threads);
    match serve::serve(&engine, io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Ok(Exit::Green),
        // Whoever asked is gone, and waits for nothing.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Green),
        Err(error) => Err(Refusal::new(format!("failed to serve: {error}"), "docs/adapter.md describes the requests")),
    }
}
