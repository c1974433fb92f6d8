//! From a model name to an ordered list of places that can serve it.
//!
//! Rule: pure functions over the snapshot; health and latency come in as plain views.

pub mod params;
pub mod route;
pub mod strategy;

pub use params::Params;
pub use route::{Route, RouteTable, Target};
pub use strategy::Strategy;
