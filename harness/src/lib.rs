//! Roster, matrix, runtimes.
