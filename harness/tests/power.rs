//! Every check tried on every defect: one named test for each pair, see `ground_truth_harness::power`.

fn main() -> std::process::ExitCode {
    ground_truth_harness::power::main()
}
