//! The engine as its users meet it: files in, numbers out, held to what other programs made of the same bytes.
//!
//! One executable, because each costs a link and a test run that waits for the one before. What needs data that is not carried stands in
//! executables of its own, whose tests are listed as ignored where it is absent.
#![allow(missing_docs, reason = "a test crate has no public items")]

mod apr;
mod chat;
mod faults;
mod gguf;
mod golden;
mod publish;
mod quant;
mod quant_properties;
mod quant_recipes;
mod sampling;
mod tokenizers;
mod vectors;
