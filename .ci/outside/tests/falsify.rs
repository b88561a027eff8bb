fn main() -> std::process::ExitCode {
    ground_truth_harness::falsify(mine::MyRuntime::new())
}
