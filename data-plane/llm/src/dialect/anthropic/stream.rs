//! Events of a message: read from a provider, written to a client.
//!
//! Rule: blocks come one after the other, each started, filled and stopped.

mod read;
mod write;

pub(crate) use read::StreamReader;
pub(crate) use write::StreamWriter;
