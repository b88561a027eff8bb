//! What follows from other fields is derived again.
