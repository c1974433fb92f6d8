//! Shared types to wire messages and back, one file per resource group.
//!
//! Rule: the only place that knows both sides. Converting to the wire never fails; converting back fails with a reason.

pub mod escrow;
pub mod record;
pub mod resource;
