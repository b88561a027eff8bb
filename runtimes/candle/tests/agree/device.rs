//! F-RS4: the device that is asked for is the device that computes, or a typed refusal.

use candle_core::Device;
use ground_truth_candle::Candle;
use ground_truth_candle::device::Choice;
use ground_truth_harness::runtime::{Artifact, Failure, Format, Runtime};

fn refusal(choice: &Choice) -> (String, String) {
    match choice.open() {
        Err(Failure::Refused { kind, message }) => (kind, message),
        other => panic!("{choice}: no refusal: {}", if other.is_ok() { "a device" } else { "another failure" }),
    }
}

#[test]
fn f_rs4_words_name_devices() {
    for (word, choice) in [
        ("cpu", Choice::Cpu),
        ("auto", Choice::Auto),
        ("cuda", Choice::Cuda(0)),
        ("cuda:3", Choice::Cuda(3)),
        ("metal", Choice::Metal(0)),
        ("metal:1", Choice::Metal(1)),
    ] {
        assert_eq!(Choice::parse(word), choice);
    }
    for word in ["", "CPU", "cpu:0", "auto:1", "cuda:", "cuda:-1", "cuda:x", "gpu", "tpu:0"] {
        assert_eq!(Choice::parse(word), Choice::Unknown(word.to_owned()), "{word}");
        let (kind, message) = refusal(&Choice::parse(word));
        assert!(kind == "device" && message.contains("name cpu, cuda"), "{word}: {message}");
    }
}

#[test]
fn f_rs4_the_cpu_is_the_cpu() {
    assert!(matches!(Choice::Cpu.open(), Ok(Device::Cpu)));
}

#[test]
#[cfg(not(feature = "cuda"))]
fn f_rs4_cuda_that_is_not_compiled_in_is_refused() {
    let (kind, message) = refusal(&Choice::Cuda(0));
    assert_eq!(kind, "device");
    assert!(message.contains("--features cuda"), "{message}");
}

#[test]
#[cfg(not(feature = "metal"))]
fn f_rs4_metal_that_is_not_compiled_in_is_refused() {
    let (kind, message) = refusal(&Choice::Metal(0));
    assert_eq!(kind, "device");
    assert!(message.contains("--features metal"), "{message}");
}

/// As candle's examples choose: CUDA before Metal before the CPU.
#[test]
fn f_rs4_auto_takes_what_is_there() {
    let device = Choice::Auto.open();
    let (cuda, metal) = (candle_core::utils::cuda_is_available(), candle_core::utils::metal_is_available());
    match device {
        Ok(device) => assert_eq!((device.is_cuda(), device.is_metal()), (cuda, metal && !cuda)),
        Err(failure) => assert!(cuda || metal, "the CPU is always there: {failure}"),
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn f_rs4_nothing_is_loaded_on_another_device_than_was_asked_for() {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/llama-tiny");
    let artifact = Artifact { model: "llama-tiny".to_owned(), format: Format::Safetensors, quantization: "f32".to_owned(), path };
    assert!(Candle::on(Choice::Cpu).load(&artifact, 1).is_ok());
    let refused = Candle::on(Choice::Cuda(0)).load(&artifact, 1);
    assert!(matches!(refused, Err(Failure::Refused { ref kind, .. }) if kind == "device"));
    assert!(Candle::on(Choice::Cuda(0)).capabilities().version.ends_with("on cuda:0"));
}
