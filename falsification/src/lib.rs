//! Claims, checks and verdicts: what has to hold for a model, and the code that tries to refute it.
//!
//! Pure: observations and golden in, verdicts out. No file is opened here, no process started, no test runner known.
//!
//! | module | holds |
//! |---|---|
//! | [`observation`] | questions a check asks, answers a runtime gives |
//! | [`arithmetic`] | what a runtime computes with |
//! | [`form`] | a column of the matrix: container and quantization |
//! | [`golden`] | what the oracle answered, parsed and linted |
//! | [`metric`] | distances in float64 that refuse NaN and empty input |
//! | [`tolerance`] | bounds, each a measured floor times a multiple |
//! | [`block`] | what the bytes of a stored tensor say, read a second time |
//! | [`check`] | the catalogue of checks |
//! | [`verdict`] | what a check found |
//! | [`claim`] | the register of claims and where each is tested |
//! | [`baseline`] | rules of other tools, judged on the same defects |
//! | [`defect`] | records of named defects: what must turn red, what must stay green |

#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "comparisons are written `!(x <= bound)`, so that NaN is red")]

pub mod arithmetic;
pub mod baseline;
pub mod block;
pub mod check;
pub mod claim;
pub mod defect;
pub mod form;
pub mod golden;
pub mod metric;
pub mod observation;
pub mod tolerance;
pub mod verdict;
