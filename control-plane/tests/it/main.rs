//! The control plane through its public door: a real database, the real services over a pipe or a socket, a node written
//! by hand.
//!
//! Rule: one file a promise. What a node must do with what it is sent is not here; the data plane's own tests have that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise; clippy knows #[test] functions as tests, but not the helpers they call"
)]

mod budgets;
mod config_stream;
mod databases;
mod escrow;
mod file_sync;
mod join;
mod keys;
mod pages;
mod records;
mod secrets;
mod support;
