//! Why the journal refuses.
//!
//! Rule: what an admitted request has to say is never refused; only its beginning is.

use std::io;
use std::path::PathBuf;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The journal holds as much as it may, because records cannot be shipped.
    #[error("the journal is full ({max_bytes} bytes); records wait for the control plane")]
    Full {
        /// The limit.
        max_bytes: u64,
    },
    /// The disk refused.
    #[error("the journal cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An earlier write or sync failed; what is on disk is no longer certain.
    #[error("the journal's disk failed earlier; restart on a healthy disk")]
    Failed,
}
