//! The model `qwen2-tiny` and its golden, as files: nothing to call.

/// The folder that holds `model/` and `golden/`.
pub const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
