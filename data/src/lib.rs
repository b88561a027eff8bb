//! The carried models, their goldens and the texts, as files: for a harness that was not built in the repository where they lie.
//!
//! A registry takes no package above 10 MB, so every model is a package of its own. Nothing is copied here: the folders are links to
//! `testdata/` and `golden/` of the repository, and become files when they are packaged.

/// Every file or folder of the data: where it lies under the root of a workspace, and where it is.
pub const DATA: &[(&str, &str)] = &[
    ("testdata/texts", concat!(env!("CARGO_MANIFEST_DIR"), "/texts")),
    ("golden/chat", concat!(env!("CARGO_MANIFEST_DIR"), "/golden/chat")),
];

/// Every carried model: its name, and the folder that holds its `model/` and its `golden/`.
pub const MODELS: [(&str, &str); 4] = [
    ("gpt2-tiny", ground_truth_data_gpt2_tiny::FOLDER),
    ("llama-outlier", ground_truth_data_llama_outlier::FOLDER),
    ("llama-tiny", ground_truth_data_llama_tiny::FOLDER),
    ("qwen2-tiny", ground_truth_data_qwen2_tiny::FOLDER),
];
