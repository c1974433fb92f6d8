//! Configuration on this node: received, assembled, compiled, swapped, remembered.
//!
//! Rule: nothing is visible before a commit whose digest matches; a push that cannot be taken changes nothing.

pub mod assemble;
pub mod current;
pub mod last_good;
pub mod watch;

pub use current::{Current, Pinned};
