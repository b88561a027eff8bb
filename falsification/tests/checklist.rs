//! The checklist on the engine, and the lints of claims and goldens: one executable, as each costs a link and a test run that waits for the
//! one before.
#![allow(missing_docs, reason = "a test crate has no public items")]

mod asked;
mod carried;
mod config;
mod edge;
mod error;
mod golden;
mod property;
mod register;
mod seed;
