//! From rows to what nodes are sent: compile, follow the change log, merge per node, cut into chunks.
//!
//! Rule: the database's change number is the revision, so every control plane derives the same stream. Nothing here
//! decides who may change what.

pub mod compiler;
pub(crate) mod fanout;
pub mod follower;
pub(crate) mod published;
pub(crate) mod push;

pub use follower::Feed;
pub use published::Published;
