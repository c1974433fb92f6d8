//! What the integration tests share. Upholds: helpers give real parts (a database, a process, a file), never a pretended
//! one. Not here: assertions about the product.

pub(crate) mod books;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod collector;
pub(crate) mod databases;
pub(crate) mod fleet;
pub(crate) mod gateway;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod patience;
pub(crate) mod purse;
pub(crate) mod raw;
pub(crate) mod resources;
pub(crate) mod rust_source;
pub(crate) mod scripted_control;
pub(crate) mod server;
pub(crate) mod storm;
pub(crate) mod world;
