//! The suite as a whole: what it says of files, models and runtimes that are broken on purpose, by process where people would run one, and
//! what its own tests and documents hold. One executable, as each costs a link and a test run that waits for the one before.

mod assertions;
mod controls;
mod diagnosis;
mod documentation;
mod honesty;
mod hostile;
mod payload;
mod process;
mod security;
