//! Claims, checks, verdicts.
