//! The command `ground-truth`: see [`ground_truth_harness::cli`].

fn main() -> std::process::ExitCode {
    ground_truth_harness::cli::main()
}
