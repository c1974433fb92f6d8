//! Google's Vertex AI: whom it lets in, and Claude as it hosts it.
//!
//! Rule: as strict as the real one: a token that was issued here, a project that exists, a model in the path and its version
//! in the body. Its own refusals are in Google's form, whatever the dialect of the model.

use http::request::Parts;
use serde_json::Value;

use crate::ask::{Dialect, Endpoint, key_of};
use crate::fault::Fault;
use crate::issuers::Issuers;
use crate::price::Price;

const VERSION: &str = "vertex-2023-10-16";
/// The only project.
pub(crate) const PROJECT: &str = "fake-project";

/// The location that an address names; `None`: it is none of Vertex AI's.
pub(crate) fn location(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/locations/")?;
    let (location, rest) = rest.split_once('/')?;
    rest.starts_with("publishers/").then_some(location)
}

/// The endpoint of a model of Anthropic's.
pub(crate) fn endpoint(path: &str) -> Option<Endpoint> {
    match path.rsplit('/').next()? {
        "count-tokens:rawPredict" => Some(Endpoint::CountTokens),
        name if name.ends_with(":rawPredict") || name.ends_with(":streamRawPredict") => Some(Endpoint::Messages),
        _ => None,
    }
}

/// Refuses who may not ask, in Google's form.
pub(crate) fn admit(parts: &Parts, issuers: &Issuers) -> Result<(), Fault> {
    let Some(location) = location(parts.uri.path()) else { return Ok(()) };
    let googles = |fault: Fault| Fault { form: Some(Dialect::Gemini), ..fault };
    let token = key_of(&parts.headers).unwrap_or_default();
    let has_other = ["x-api-key", "x-goog-api-key"].iter().any(|name| parts.headers.contains_key(*name));
    if has_other || !issuers.knows_token(token) {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access token.";
        return Err(googles(Fault::new(401, message)));
    }
    if !parts.uri.path().contains(&format!("/v1/projects/{PROJECT}/")) {
        return Err(googles(Fault::new(404, "The project does not exist.")));
    }
    if location == "quota" {
        let fault = Fault { retry_after: Some(34), ..Fault::new(429, "Quota exceeded for aiplatform.googleapis.com.") };
        return Err(googles(fault));
    }
    Ok(())
}

/// Puts the model of the path into the body of a request to Claude, where the dialect has it.
///
/// # Errors
/// 400 where the body is not as the host wants it.
pub(crate) fn completed(parts: &Parts, endpoint: Endpoint, mut body: Value) -> Result<Value, Fault> {
    let path = parts.uri.path();
    if location(path).is_none() || endpoint.dialect() != Dialect::Anthropic {
        return Ok(body);
    }
    let Some(fields) = body.as_object_mut() else { return Ok(body) };
    if fields.get("anthropic_version").and_then(Value::as_str) != Some(VERSION) {
        return Err(Fault::invalid("anthropic_version: Field required"));
    }
    if endpoint == Endpoint::CountTokens {
        return Ok(body);
    }
    if fields.contains_key("model") {
        return Err(Fault::invalid("model: Extra inputs are not permitted"));
    }
    let is_stream = fields.get("stream") == Some(&Value::Bool(true));
    if is_stream != path.ends_with(":streamRawPredict") {
        return Err(Fault::invalid("stream: does not agree with the method"));
    }
    let name = path.rsplit('/').next().and_then(|name| name.split(':').next()).unwrap_or_default();
    fields.insert("model".to_owned(), Value::from(name));
    Ok(body)
}

/// Whether a header asks to be served first, at the double price.
pub(crate) fn is_priority(parts: &Parts) -> bool {
    let asked = parts.headers.get("x-vertex-ai-llm-shared-request-type");
    location(parts.uri.path()).is_some() && asked.is_some_and(|kind| kind == "priority")
}

/// The price of being served first.
pub(crate) fn priority(price: Price) -> Price {
    Price { input: 2 * price.input, output: 2 * price.output, ..price }
}

/// A tenth more for Claude at a regional endpoint.
pub(crate) fn regional(price: Price) -> Price {
    let more = |price: u64| price + price / 10;
    Price {
        input: more(price.input),
        output: more(price.output),
        cache_read: price.cache_read.map(more),
        cache_write: price.cache_write.map(more),
        cache_write_1h: price.cache_write_1h.map(more),
        ..price
    }
}
