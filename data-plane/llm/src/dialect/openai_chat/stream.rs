//! Chunks of a chat completion: read from a provider, written to a client.
//!
//! Rule: a chunk says one thing to the client; whatever order a server puts things in, the reader makes one order of it.

mod read;
mod write;

pub(crate) use read::StreamReader;
pub(crate) use write::{StreamWriter, write_data};
