//! Any form of a model to any other.
#![allow(dead_code)]

pub mod fs;
mod publish;
mod source;
mod stream;
