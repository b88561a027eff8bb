//! The matrix: one named test for each model x format x quantization x runtime x check, judged from golden files.

fn main() -> std::process::ExitCode {
    ground_truth_harness::falsify(ground_truth_harness::runtime::native::NativeRuntime::new())
}
