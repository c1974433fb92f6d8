//! Who may do what: roles, actions, and one function that decides.
//!
//! Rule: code asks [`fn@decide`]; nothing else compares roles.

pub mod decide;
pub mod role;

pub use decide::{Decision, Grant, Scope, decide};
pub use role::{Action, ResourceType, Role};
