//! Connections to providers.
//!
//! Rule: a request is rebuilt from parsed parts and goes to the host of its backend, nowhere else; redirects are never
//! followed; a credential is set here and leaves the process in no other way.

pub mod address;
pub mod answer;
pub mod bedrock;
pub mod body;
pub mod client;
pub mod identity;
mod line;
pub mod pool;
pub mod sigv4;

pub use client::{Upstream, Upstreams};
