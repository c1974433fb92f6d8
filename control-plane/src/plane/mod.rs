//! The gRPC server that data planes speak to: four services, one trust check, one registry of nodes.
//!
//! Rule: no business rule inside; a service turns messages into calls of the store and the feed, and back. The same
//! services run over TCP and over a pipe in memory.

pub(crate) mod alerts;
pub(crate) mod auth;
pub(crate) mod budget_service;
pub(crate) mod config_service;
pub(crate) mod escrow_jobs;
pub(crate) mod holders;
pub(crate) mod identity;
pub(crate) mod limit_changes;
pub(crate) mod nodes;
pub(crate) mod server;
pub(crate) mod telemetry_service;
pub(crate) mod usage_service;

pub use identity::PROTOCOL;
pub use nodes::ConnectedNode;
pub use server::{PlaneServer, ServeError};
