//! The harness: which models there are, what is asked of which runtime, and what came of it.
//!
//! | module | one sentence |
//! |---|---|
//! | [`workspace`] | where the data lie and where output goes |
//! | [`roster`] | models and goldens, from folders and variables; what is wrong with them is a red row |
//! | [`golden_store`], [`hashes`] | golden and model files, held against their hashes, which are remembered |
//! | [`mod@column`], [`given`], [`cell`] | the forms in which a model is judged, ours and other people's; one of them in one runtime |
//! | [`matrix`] | cells x checks x prompts: the rows and their names |
//! | [`store`] | what was converted, kept by what it was made of |
//! | [`runtime`] | what answers questions about an artifact: the trait, the engine, runtimes in other processes, and the supervision of all |
//! | [`protocol`] | what is said to a runtime in another process, and what it answers |
//! | [`observe`] | answers, asked once and shared |
//! | [`trial`], [`guard`] | one row, judged; panics as values |
//! | [`evidence`], [`report`], [`summary`] | a record for each row, and what people read of it |
//! | [`diagnosis`] | what is probably wrong with a cell: stage, owner, the fault of the catalogue that it looks like |
//! | [`ticket`], [`markdown`] | what is red in a run, one issue for each thing to mend; untrusted text in Markdown |
//! | [`export`], [`page`], [`score`] | a run in the words of other programs, as a page, and as a number that decides nothing |
//! | [`history`] | one line for each run, and how they go on |
//! | [`expectation`] | what a runtime is known to get wrong, who was told, and until when that is believed |
//! | `defect`, [`power`] | named faults, and the tests that every check finds those it should |
//! | [`mutation`] | what the suite's own tests do to mutants of the suite's own code |
//! | [`list`] | what a folder says it is |
//! | [`suite`] | the matrix as a test binary |
//! | [`judge`], [`self_reference`] | one model folder without cargo; without a golden, the claims that need none |
//! | [`cli`] | the command `ground-truth` |
//!
//! A datum walks one way: roster, matrix, artifact, runtime, observation, check, verdict, evidence, reporters.

pub mod andon;
pub mod cell;
pub mod cli;
pub mod column;
mod defect;
pub mod diagnosis;
pub mod escape;
pub mod evidence;
pub mod expectation;
pub mod export;
#[cfg(test)]
mod fixture;
pub mod gate;
pub mod given;
pub mod golden_store;
pub mod guard;
pub mod hashes;
pub mod history;
pub mod judge;
pub mod list;
mod make;
pub mod markdown;
pub mod matrix;
pub mod mutation;
pub mod observe;
pub mod page;
#[cfg(test)]
#[path = "../tests/payload/mod.rs"]
mod payload;
pub mod power;
pub mod protocol;
pub mod report;
pub mod roster;
pub mod runtime;
pub mod score;
pub mod self_reference;
pub mod store;
pub mod suite;
pub mod summary;
pub mod ticket;
pub mod trial;
pub mod workspace;

pub use suite::falsify;
