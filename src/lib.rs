//! A small engine for language-model files.
