//! candle on trial, over every model and format that it and the roster share.

use std::process::ExitCode;

/// How many threads candle computes a product with, its own pool's and rayon's: one, as rows run side by side already. Workers of its pool
/// spin while they wait for each other, and on a busy machine one token of a tiny model then takes seconds.
const THREADS: [&str; 2] = ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"];

fn main() -> ExitCode {
    for variable in THREADS {
        if std::env::var_os(variable).is_none() {
            // SAFETY: the first thing that this process does, while it has one thread.
            unsafe { std::env::set_var(variable, "1") };
        }
    }
    ground_truth_harness::falsify(ground_truth_candle::Candle::new())
}
