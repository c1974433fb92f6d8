//! Configuration as requests see it: resources in, one immutable, indexed snapshot out.
//!
//! Rule: compiling is total. What does not compile is quarantined: what it governs is refused, nothing is skipped.

pub mod compile;
pub mod resource;
pub mod set;
pub mod view;

pub use compile::{Quarantined, compile};
pub use resource::{Resource, ResourceKey, ResourceKind};
pub use set::{Digest, ResourceSet};
pub use view::{Caller, Snapshot};
