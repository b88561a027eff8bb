//! candle on trial, over every model and format that it and the roster share.

fn main() -> std::process::ExitCode {
    ground_truth_harness::falsify(ground_truth_candle::Candle::new())
}
