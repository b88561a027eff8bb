//! F-RS4: which device candle computes on.
//!
//! What is asked for is what is used: a device that this build or this machine does not have is a typed refusal and never the CPU in its
//! place, because a row that says CUDA and was computed elsewhere would be a lie.

use std::fmt;

use candle_core::Device;
use ground_truth_harness::runtime::Failure;

/// Names the device: `cpu`, `cuda`, `cuda:1`, `metal`, or `auto`, which takes the first of CUDA, Metal and the CPU that is there.
pub const VARIABLE: &str = "GROUND_TRUTH_CANDLE_DEVICE";

/// A device that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The CPU.
    Cpu,
    /// The CUDA device with this number.
    Cuda(usize),
    /// The Metal device with this number.
    Metal(usize),
    /// The first of CUDA, Metal and the CPU that is there, as candle's examples choose.
    Auto,
    /// A word that names none; refused when something is loaded.
    Unknown(String),
}

impl Choice {
    /// What [`VARIABLE`] says; the CPU where it is not set.
    pub fn from_env() -> Self {
        match std::env::var(VARIABLE) {
            Ok(word) => Self::parse(&word),
            Err(std::env::VarError::NotPresent) => Choice::Cpu,
            Err(std::env::VarError::NotUnicode(word)) => Choice::Unknown(word.to_string_lossy().into_owned()),
        }
    }

    /// The device with this word.
    pub fn parse(word: &str) -> Self {
        let (kind, number) = word.split_once(':').unwrap_or((word, "0"));
        match (kind, number.parse()) {
            ("cpu", _) if word == "cpu" => Choice::Cpu,
            ("auto", _) if word == "auto" => Choice::Auto,
            ("cuda", Ok(number)) => Choice::Cuda(number),
            ("metal", Ok(number)) => Choice::Metal(number),
            _ => Choice::Unknown(word.to_owned()),
        }
    }

    /// The device itself.
    ///
    /// # Errors
    /// [`Failure::Refused`] of kind `device`, where it was not compiled in, is not there, or has no such name.
    pub fn open(&self) -> Result<Device, Failure> {
        let refused = |reason: String| Failure::Refused { kind: "device".to_owned(), message: format!("{self}: {reason}") };
        let feature = |compiled: bool, name: &str| {
            if compiled { Ok(()) } else { Err(refused(format!("not compiled in; build with --features {name}"))) }
        };
        let device = match self {
            Choice::Cpu => Ok(Device::Cpu),
            Choice::Auto if candle_core::utils::cuda_is_available() => Device::new_cuda(0),
            Choice::Auto if candle_core::utils::metal_is_available() => Device::new_metal(0),
            Choice::Auto => Ok(Device::Cpu),
            Choice::Cuda(number) => {
                feature(cfg!(feature = "cuda"), "cuda")?;
                Device::new_cuda(*number)
            }
            Choice::Metal(number) => {
                feature(cfg!(feature = "metal"), "metal")?;
                Device::new_metal(*number)
            }
            Choice::Unknown(_) => return Err(refused("no such device; name cpu, cuda, cuda:N, metal, metal:N or auto".to_owned())),
        };
        device.map_err(|error| refused(error.to_string()))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Cpu => f.write_str("cpu"),
            Choice::Cuda(number) => write!(f, "cuda:{number}"),
            Choice::Metal(number) => write!(f, "metal:{number}"),
            Choice::Auto => f.write_str("auto"),
            Choice::Unknown(word) => write!(f, "{word:?}"),
        }
    }
}
