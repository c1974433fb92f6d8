//! Which models a caller may use, and which ones come close to a wrong name.
//!
//! Rule: only what the caller's lists allow is listed or suggested.

use super::refusal::Refusal;
use crate::config::Pinned;
use bytes::Bytes;
use helix_llm::{Family, ListedModel, model_body, model_list_body};
use helix_shared::catalog::Catalog;
use helix_shared::error_code::ErrorCode;
use helix_shared::snapshot::Caller;
use std::collections::BTreeSet;

/// How many names a wrong one is answered with.
const MOST_SUGGESTIONS: usize = 3;

/// Renders the list, or one model.
///
/// # Errors
/// `model_not_found`, `model_access_denied`.
pub fn respond(pinned: &Pinned, caller: &Caller, family: Family, one: Option<&str>) -> Result<Bytes, Refusal> {
    let listed = |id| ListedModel { id, created: 0 };
    match one {
        None => Ok(model_list_body(family, allowed(pinned, caller).iter().map(|id| listed(id.as_str())))),
        Some(model) if pinned.resolve(model).is_none() => Err(not_found(pinned, caller, model)),
        Some(model) => {
            super::authorize::authorize_model(caller, model)?;
            Ok(model_body(family, listed(model)))
        }
    }
}

/// Says that there is no such model, with the closest names that the caller may use.
pub fn not_found(pinned: &Pinned, caller: &Caller, model: &str) -> Refusal {
    let mut close: Vec<(usize, String)> =
        allowed(pinned, caller).into_iter().map(|name| (strsim::damerau_levenshtein(model, &name), name)).collect();
    close.sort();
    let names: Vec<String> = close.into_iter().take(MOST_SUGGESTIONS).map(|(_, name)| format!("`{name}`")).collect();
    let message = if names.is_empty() {
        "There is no such model here. Ask your administrator which models you may use.".to_owned()
    } else {
        format!("There is no such model here. Close to it: {}. GET /v1/models lists all.", names.join(", "))
    };
    Refusal::new("route", ErrorCode::ModelNotFound, message).with_param(Some("model"))
}

fn allowed(pinned: &Pinned, caller: &Caller) -> BTreeSet<String> {
    let routes = &pinned.snapshot.routes;
    let mut names: BTreeSet<String> = routes.exact_names().map(str::to_owned).collect();
    let patterns: Vec<_> = routes.wildcard_patterns().collect();
    for upstream in &pinned.upstreams {
        for model in Catalog::bundled().models(upstream.backend.kind.as_str()) {
            let is_offered = if routes.has_written_rules() {
                patterns.iter().any(|pattern| pattern.matches(&model.id))
            } else {
                true
            };
            if is_offered {
                names.insert(model.id.to_string());
            }
        }
    }
    names.retain(|name| caller.access.check(name).is_allowed());
    names
}
