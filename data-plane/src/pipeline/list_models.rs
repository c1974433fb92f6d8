//! Which models a caller may use, and which ones come close to a wrong name.
//!
//! Rule: only what the caller's lists allow is listed or suggested.

use super::authorize::authorize_model;
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
/// What is less like the wrong name (Jaro-Winkler) is no suggestion.
const LEAST_LIKENESS: f64 = 0.75;

/// Renders the list, or one model.
///
/// # Errors
/// `model_not_found`, `model_access_denied`.
pub fn respond(pinned: &Pinned, caller: &Caller, family: Family, one: Option<&str>) -> Result<Bytes, Refusal> {
    let listed = |id| ListedModel { id, created: 0 };
    match one {
        None => Ok(model_list_body(family, allowed(pinned, caller).iter().map(|id| listed(id.as_str())))),
        Some(model) => {
            let Some(resolved) = pinned.resolve(model) else { return Err(not_found(pinned, caller, model)) };
            authorize_model(caller, model, &resolved.places)?;
            Ok(model_body(family, listed(model)))
        }
    }
}

/// Says that there is no such model, with the closest names that the caller may use.
pub fn not_found(pinned: &Pinned, caller: &Caller, model: &str) -> Refusal {
    let allowed = allowed(pinned, caller);
    let message = match close_to(model, &allowed) {
        _ if allowed.is_empty() => {
            "There is no such model here. Ask your administrator which models you may use.".to_owned()
        }
        names if names.is_empty() => "There is no such model here. GET /v1/models lists all.".to_owned(),
        names => format!("There is no such model here. Close to it: {}. GET /v1/models lists all.", names.join(", ")),
    };
    Refusal::new("route", ErrorCode::ModelNotFound, message).with_param(Some("model"))
}

/// The names that begin alike or differ by a few letters, the closest first.
fn close_to(model: &str, allowed: &BTreeSet<String>) -> Vec<String> {
    let likeness = |name: &str| strsim::jaro_winkler(model, name);
    let mut close: Vec<(f64, &String)> = allowed.iter().map(|name| (likeness(name), name)).collect();
    close.retain(|(likeness, _)| *likeness >= LEAST_LIKENESS);
    close.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    close.into_iter().take(MOST_SUGGESTIONS).map(|(_, name)| format!("`{name}`")).collect()
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
    let is_allowed = |name: &str| match pinned.resolve(name) {
        Some(resolved) => authorize_model(caller, name, &resolved.places).is_ok(),
        None => false,
    };
    names.retain(|name| caller.access.check(name).is_allowed() && is_allowed(name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_close_names_are_suggested_the_closest_first() {
        let known = ["claude-haiku-4-5", "claude-sonnet-4-6", "gpt-4o", "gpt-5", "gpt-5-mini", "o3", "tts-1"];
        let allowed: BTreeSet<String> = known.map(str::to_owned).into();
        let check = |asked: &str, expected: &[&str]| {
            let names = close_to(asked, &allowed);
            let expected: Vec<String> = expected.iter().map(|name| format!("`{name}`")).collect();
            assert!(names.starts_with(&expected), "{asked}: {names:?}");
            assert_eq!(names.is_empty(), expected.is_empty(), "{asked}: {names:?}");
        };
        check("gpt5", &["gpt-5"]);
        check("gpt-5-mni", &["gpt-5-mini"]);
        check("claude-sonnet", &["claude-sonnet-4-6"]);
        check("nope", &[]);
        check("llama3", &[]);
    }
}
