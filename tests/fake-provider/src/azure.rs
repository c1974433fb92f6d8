//! Azure OpenAI's addresses, under the base path `/azure`: what it demands of a request, and what it adds to a stream.
//!
//! Rule: as strict as the real one: its own header for the key, one dated version on a deployment's path, a deployment
//! instead of a model; or a token that was issued here. Everything else is the OpenAI dialect.

use http::request::Parts;

use crate::ask::key_of;
use crate::fault::Fault;
use crate::issuers::Issuers;

const BASE: &str = "/azure/openai/";
/// Comes first: about the prompt, without an id or a model.
pub(crate) const PROMPT_FILTER: &str = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false}}}]}"#;
/// Comes after the finish: the filter that runs beside the model has read so far.
pub(crate) const LATE_FILTER: &str = r#"{"id":"","object":"","created":0,"model":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":198}}]}"#;

/// A request to Azure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Azure {
    /// The deployment that its path names; `None`: the body's `model` does.
    pub(crate) deployment: Option<String>,
}

/// Finds out whether a request is Azure's, and refuses what Azure refuses.
///
/// # Errors
/// 401 without its header or with another one, 404 for another path or version.
pub(crate) fn check(parts: &Parts, issuers: &Issuers) -> Result<Option<Azure>, Fault> {
    let Some(rest) = parts.uri.path().strip_prefix(BASE) else { return Ok(None) };
    let has = |name: &str| parts.headers.contains_key(name);
    let has_token = !has("api-key") && key_of(&parts.headers).is_some_and(|token| issuers.knows_token(token));
    let has_key = has("api-key") && !has("authorization");
    if has("x-api-key") || !(has_key || has_token) {
        let message = "Access denied due to invalid subscription key or wrong API endpoint.";
        return Err(Fault { code: Some("401".to_owned()), ..Fault::new(401, message) });
    }
    let no_resource = || Fault { code: Some("404".to_owned()), ..Fault::new(404, "Resource not found") };
    let query = parts.uri.query().unwrap_or_default();
    let versions: Vec<&str> = query.split('&').filter_map(|part| part.strip_prefix("api-version=")).collect();
    let is_dated = |version: &&str| version.starts_with(|first: char| first.is_ascii_digit());
    if let Some(rest) = rest.strip_prefix("deployments/") {
        let (deployment, operation) = rest.split_once('/').ok_or_else(no_resource)?;
        let is_known = matches!(
            operation,
            "chat/completions"
                | "completions"
                | "embeddings"
                | "images/generations"
                | "audio/speech"
                | "audio/transcriptions"
        );
        if !is_known || versions.len() != 1 || !versions.iter().all(is_dated) {
            return Err(no_resource());
        }
        return Ok(Some(Azure { deployment: Some(deployment.replace("%20", " ")) }));
    }
    if rest == "responses" {
        // The one of these that no deployment's path leads to.
        let is_dated = versions.len() == 1 && versions.iter().all(is_dated);
        return if is_dated { Ok(Some(Azure { deployment: None })) } else { Err(no_resource()) };
    }
    let is_known = matches!(rest, "v1/chat/completions" | "v1/completions" | "v1/embeddings" | "v1/responses");
    if !is_known || versions.len() > 1 || versions.iter().any(is_dated) {
        return Err(no_resource());
    }
    Ok(Some(Azure { deployment: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn its_addresses_and_its_header_are_demanded() {
        let is_known = Some(Azure { deployment: None });
        let named = Some(Azure { deployment: Some("prod fast".to_owned()) });
        for (uri, header, expected) in [
            ("/azure/openai/deployments/prod%20fast/chat/completions?api-version=2024-10-21", "api-key", Ok(named)),
            ("/azure/openai/v1/embeddings", "api-key", Ok(is_known)),
            ("/v1/chat/completions", "authorization", Ok(None)),
            ("/azure/openai/v1/chat/completions", "authorization", Err(401)),
            ("/azure/openai/v1/chat/completions", "x-api-key", Err(401)),
            ("/azure/openai/v1/chat/completions?api-version=2024-10-21", "api-key", Err(404)),
            ("/azure/openai/deployments/a/chat/completions", "api-key", Err(404)),
            ("/azure/openai/deployments/a/chat/completions?api-version=1&api-version=1", "api-key", Err(404)),
            ("/azure/openai/chat/completions?api-version=2024-10-21", "api-key", Err(404)),
        ] {
            let (parts, ()) = Request::builder().uri(uri).header(header, "k").body(()).unwrap().into_parts();
            assert_eq!(check(&parts, &Issuers::default()).map_err(|fault| fault.status), expected, "{uri}");
        }
    }
}
