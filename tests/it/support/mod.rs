//! What the integration tests share. Upholds: helpers give real parts (a database, a process, a file), never a pretended
//! one. Not here: assertions about the product.

pub(crate) mod client;
pub(crate) mod databases;
pub(crate) mod gateway;
pub(crate) mod rust_source;
