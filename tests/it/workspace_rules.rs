//! The shape of the repository, held by a test while many hands write: which crate may know which, how long a file may
//! get, where SQL lives. Upholds: a rule here is written in docs/ARCHITECTURE.md or docs/STYLE.md, and a finding names
//! the file, the line and what to do. Not here: what clippy, rustdoc or cargo-deny already refuse.

mod crates;
mod files;
mod wire_cases;
mod workspace;
