//! Who asks for a change, and whether they may make it.
//!
//! Rule: every operation that reads or changes the organisation's data asks here first. An operator is whoever may run
//! commands with the database and the master key at hand: nothing can be kept from them.

use super::error::AppError;
use helix_shared::ids::UserId;
use helix_shared::rbac::{Action, Decision, Grant, ResourceType, Scope, decide};
use helix_shared::time::UnixMicros;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The command line, the configuration file, the gateway itself.
    Operator,
    /// A person who proved who they are.
    Person {
        /// Who.
        user_id: UserId,
        /// What they were given.
        grants: Vec<Grant>,
    },
}

/// Answers whether the actor may do this there.
pub(super) fn authorize(
    actor: &Actor,
    action: Action,
    resource: ResourceType,
    place: &Scope,
    now: UnixMicros,
) -> Result<(), AppError> {
    let Actor::Person { grants, .. } = actor else { return Ok(()) };
    match decide(grants, action, resource, place, now) {
        Decision::Allowed(_) => Ok(()),
        Decision::NotGranted => Err(AppError::Forbidden("no role of yours allows it".to_owned())),
        Decision::Expired(role) => Err(AppError::Forbidden(format!("your role {} has expired", role.as_str()))),
    }
}
