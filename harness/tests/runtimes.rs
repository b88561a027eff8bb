//! The matrix for the runtimes of `runtimes/runtimes.toml` and of each file that `GROUND_TRUTH_RUNTIMES` names.

fn main() -> std::process::ExitCode {
    ground_truth_harness::suite::falsify_registered()
}
