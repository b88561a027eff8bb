//! What a checkpoint says its network is, and the network itself.

pub mod config;
