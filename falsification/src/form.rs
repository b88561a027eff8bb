//! A column of the matrix: the container and the quantization of an artifact, and what may be asked of it.

use std::fmt;

/// A column, as it applies to one model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Form {
    /// `safetensors`, `gguf` or `apr`.
    pub format: String,
    /// `f32`, `bf16`, `q8_0`, `q4_k_m`, ...; in APR `q8`, `q4`, `q4_k`, `q6_k`.
    pub quantization: String,
    /// Whether it holds every value of the model as published exactly, so that the golden of the model judges it.
    pub lossless: bool,
    /// Whether the file was made by somebody else.
    pub given: bool,
    /// Whether it is the model as published.
    pub primary: bool,
}

/// How many bits a recipe spends on the values of a matrix, as the token bounds of the users divide them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Three bits or fewer: no token bound was ever written down for these.
    Low,
    /// Four, five and six bits: held to the bound of int4.
    Int4,
    /// Eight bits, and the floats of sixteen: held to the bound of int8.
    Int8,
    /// Every value of a float32.
    Exact,
}

impl Form {
    /// The model as published, whose weights are mostly of this type (`F32`, `BF16`, ...).
    pub fn published(dtype: &str) -> Self {
        Form { format: "safetensors".to_owned(), quantization: dtype.to_ascii_lowercase(), lossless: true, given: false, primary: true }
    }

    /// A column made by conversion, for a model whose weights are mostly of the type `source`.
    pub fn converted(format: &str, quantization: &str, source: &str) -> Self {
        Form {
            format: format.to_owned(),
            quantization: quantization.to_owned(),
            lossless: holds(quantization, source),
            given: false,
            primary: format == "safetensors" && quantization.eq_ignore_ascii_case(source),
        }
    }

    /// The class of its recipe.
    pub fn class(&self) -> Class {
        match self.quantization.as_str() {
            "f32" => Class::Exact,
            "f16" | "bf16" | "q8_0" | "q8" => Class::Int8,
            name if name.starts_with("q2") || name.starts_with("q3") => Class::Low,
            _ => Class::Int4,
        }
    }

    /// Whether values lost something on the way to it.
    pub fn is_lossy(&self) -> bool {
        !self.lossless
    }

    /// Whether its matrices are quantized in blocks, so that a quantizer made them.
    pub fn is_quantized(&self) -> bool {
        !matches!(self.quantization.as_str(), "f32" | "f16" | "bf16")
    }

    /// Whether it is in this format.
    pub fn is(&self, format: &str) -> bool {
        self.format == format
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.format, self.quantization)
    }
}

/// Whether a column of that quantization holds every value of a model whose weights are of the type `source`.
pub fn holds(quantization: &str, source: &str) -> bool {
    let source = source.to_ascii_lowercase();
    quantization == "f32" || quantization == source && matches!(quantization, "f16" | "bf16")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wider_float_loses_nothing() {
        for (quantization, source, lossless) in [
            ("f32", "F32", true),
            ("f32", "F16", true),
            ("f32", "BF16", true),
            ("f16", "F16", true),
            ("bf16", "BF16", true),
            ("f16", "F32", false),
            ("bf16", "F32", false),
            ("bf16", "F16", false),
            ("f16", "BF16", false),
            ("q8_0", "F32", false),
            ("q8", "F16", false),
        ] {
            assert_eq!(holds(quantization, source), lossless, "{source} in {quantization}");
        }
        assert!(Form::converted("safetensors", "bf16", "BF16").primary && Form::published("BF16").primary);
        assert!(!Form::converted("gguf", "bf16", "BF16").primary);
    }

    #[test]
    fn every_column_has_its_class() {
        let class = |name: &str| Form::converted("gguf", name, "F32").class();
        for name in ["q4_0", "q4_1", "q5_0", "q5_1", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q4", "q4_k"] {
            assert_eq!(class(name), Class::Int4, "{name}");
        }
        for name in ["q8_0", "q8", "f16", "bf16"] {
            assert_eq!(class(name), Class::Int8, "{name}");
        }
        assert_eq!((class("q2_k"), class("q3_k_m"), class("f32")), (Class::Low, Class::Low, Class::Exact));
    }
}
