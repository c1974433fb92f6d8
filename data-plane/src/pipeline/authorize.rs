//! May this caller use this model, now.
//!
//! Rule: a role with `proxy` on models first, then the team's lists; deny by default. What may not be used under one of its
//! names may not be used under another, whichever of its places would serve it.

use super::refusal::Refusal;
use crate::config::current::Place;
use helix_llm::RequestFacts;
use helix_shared::access::Access;
use helix_shared::error_code::ErrorCode;
use helix_shared::rbac::{Action, Decision, ResourceType, Role, Scope, decide};
use helix_shared::snapshot::Caller;
use helix_shared::time::UnixMicros;

const STAGE: &str = "rbac";

/// Refuses a request that lets its provider run another model than the one that is authorised.
///
/// # Errors
/// `invalid_request`.
pub fn refuse_other_models(facts: &RequestFacts) -> Result<(), Refusal> {
    let Some(field) = facts.other_models else { return Ok(()) };
    let message = format!(
        "Name one model, in `model`: what `{field}` names besides would be served without having been authorised."
    );
    Err(Refusal::new("request", ErrorCode::InvalidRequest, message).with_param(Some(field)))
}

/// Checks the role; returns the one that allows.
///
/// # Errors
/// `permission_denied`.
pub fn authorize(caller: &Caller, now: UnixMicros) -> Result<Role, Refusal> {
    let scope = caller.team_id.clone().map_or(Scope::Instance, Scope::Team);
    match decide(&caller.grants, Action::Proxy, ResourceType::Model, &scope, now) {
        Decision::Allowed(role) => Ok(role),
        Decision::Expired(role) => {
            let message = format!("Your role {} has expired. Ask your administrator to renew it.", role.as_str());
            Err(Refusal::new(STAGE, ErrorCode::PermissionDenied, message))
        }
        Decision::NotGranted => Err(Refusal::new(
            STAGE,
            ErrorCode::PermissionDenied,
            "No role of yours may use models here. Ask your administrator for the role `member`.",
        )),
    }
}

/// Checks the model and what it may be served as against the lists; returns the pattern that allows it, if one does.
///
/// # Errors
/// `model_access_denied`.
pub fn authorize_model<'a>(caller: &'a Caller, model: &str, places: &[Place]) -> Result<Option<&'a str>, Refusal> {
    let team = caller.team_id.as_ref().map_or("your account", |team| team.as_str());
    let message = match caller.access.check(model) {
        Access::Allowed(pattern) => match denied_elsewhere(caller, model, places) {
            None => return Ok(pattern),
            Some(denied) => format!(
                "The model is denied for {team} by the pattern `{denied}`, which another name of it matches. Ask your administrator."
            ),
        },
        Access::DeniedBy(pattern) => {
            format!("The model is denied for {team} by the pattern `{pattern}`. Ask your administrator.")
        }
        Access::NotListed => format!("The model is not on the list of {team}. Ask your administrator to allow it."),
    };
    Err(Refusal::new(STAGE, ErrorCode::ModelAccessDenied, message).with_param(Some("model")))
}

/// The pattern that denies a model under a name that one of its places has for it.
fn denied_elsewhere<'a>(caller: &'a Caller, model: &str, places: &[Place]) -> Option<&'a str> {
    let known = |place: &Place| place.known.map(|known| known.id.as_str());
    places.iter().find_map(|place| caller.access.denied_under(model, &place.upstream_model, known(place)))
}
