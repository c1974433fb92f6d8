//! The translation of a provider's error.
//!
//! Rule: the provider's own wording stays in the message, because clients act on it; type, code and status follow the
//! client's dialect. A quota never becomes something to be tried again.

use bytes::Bytes;

use crate::dialect::{Family, gemini};
use crate::json::{Node, object};
use crate::response::{ProviderError, cut_short};

/// An error in the client's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslatedError {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// What an error says of itself beyond its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatedError {
    /// The HTTP status that says what it is.
    pub status: u16,
    /// After how many seconds to come back, where only the body says so.
    pub retry_after_s: Option<u64>,
}

/// Reads what the status and the headers of a provider's error hide: Google says in the body that a key is wrong, and
/// when to come back.
pub fn stated_error(provider: Family, status: u16, body: &[u8]) -> StatedError {
    if provider != Family::Gemini {
        return StatedError { status, retry_after_s: None };
    }
    let node = Node::parse(body).unwrap_or_default();
    let status = if status == 400 && gemini::is_key_invalid(&node) { 401 } else { status };
    StatedError { status, retry_after_s: gemini::retry_after_s(&node) }
}

/// Returns the HTTP status of an error that was said inside a stream: its own where its code is one, else by its words.
pub fn stream_error_status(error: &ProviderError) -> u16 {
    let stated = error.code.as_deref().and_then(|code| code.parse().ok()).filter(|code| (400..600).contains(code));
    stated.unwrap_or_else(|| Failure::new(Family::OpenAi, Family::OpenAi, None, error.clone()).shape(Family::OpenAi).0)
}

/// Returns the family whose form an error has: Google answers in its own also where it was asked for a model of
/// Anthropic's.
pub fn error_family(asked: Family, body: &[u8]) -> Family {
    if asked != Family::Anthropic {
        return asked;
    }
    let node = Node::parse(body).unwrap_or_default();
    let node = node.items().first().unwrap_or(&node);
    let is_googles = node.get("type").is_none() && node.get("error").is_some_and(|error| error.get("code").is_some());
    if is_googles { Family::Gemini } else { Family::Anthropic }
}

/// What went wrong, neutrally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Invalid,
    ContextLength,
    Credential,
    Billing,
    Permission,
    NotFound,
    Conflict,
    TooLarge,
    RateLimit,
    Quota,
    Overloaded,
    Timeout,
    Server,
}

/// An error of a provider, classed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    class: Class,
    pub(crate) message: String,
    /// The provider's own code, where it is one of the client's family.
    code: Option<String>,
}

/// Translates the body and the status of a provider's error into the client's dialect.
pub fn translate_error(
    provider: Family,
    client: Family,
    status: u16,
    body: &[u8],
    request_id: &str,
) -> TranslatedError {
    let error = read_error(body);
    let failure = Failure::new(provider, client, Some(stated_error(provider, status, body).status), error);
    TranslatedError {
        status: failure.shape(client).0,
        body: Bytes::from(failure.render(client, request_id).to_bytes()),
    }
}

/// Reads the error of a body; text that is not JSON is the message, HTML says nothing.
fn read_error(body: &[u8]) -> ProviderError {
    let node = Node::parse(body).unwrap_or_default();
    // Google puts some errors into an array.
    let node = node.items().first().unwrap_or(&node);
    let error = node.get("error").unwrap_or(node);
    let short = |node: &Node| match node {
        Node::String(text) => Some(cut_short(text.clone())),
        Node::Number(number) => Some(cut_short(number.clone())),
        _ => None,
    };
    let field = |name: &str| error.get(name).and_then(short);
    let message = field("message").or_else(|| short(error)).or_else(|| field("detail"));
    let message = message.unwrap_or_else(|| plain_text(body));
    ProviderError { kind: field("type").or_else(|| field("status")), code: field("code"), message }
}

fn plain_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(4096)).unwrap_or_default());
    let text = text.trim();
    if text.is_empty() || text.starts_with(['<', '{', '[']) {
        return "The provider answered with an error.".to_owned();
    }
    cut_short(text.to_owned())
}

impl Failure {
    pub(crate) fn new(provider: Family, client: Family, status: Option<u16>, error: ProviderError) -> Self {
        let class = classify(status, &error);
        let code = error.code.filter(|code| provider == client && !code.is_empty());
        let message =
            if error.message.is_empty() { "The provider answered with an error.".to_owned() } else { error.message };
        Self { class, message, code }
    }

    /// Returns status, type and code.
    pub(crate) fn shape(&self, family: Family) -> (u16, &'static str, &'static str) {
        match family {
            Family::OpenAi | Family::Gemini => match self.class {
                Class::Invalid => (400, "invalid_request_error", "invalid_request"),
                Class::ContextLength => (400, "invalid_request_error", "context_length_exceeded"),
                Class::Credential => (401, "invalid_request_error", "invalid_api_key"),
                Class::Billing => (402, "insufficient_quota", "insufficient_quota"),
                Class::Permission => (403, "permission_error", "permission_denied"),
                Class::NotFound => (404, "invalid_request_error", "model_not_found"),
                Class::Conflict => (409, "invalid_request_error", "conflict"),
                Class::TooLarge => (413, "invalid_request_error", "request_too_large"),
                Class::RateLimit => (429, "rate_limit_error", "rate_limit_exceeded"),
                Class::Quota => (429, "insufficient_quota", "insufficient_quota"),
                Class::Overloaded => (503, "server_error", "overloaded"),
                Class::Timeout => (504, "server_error", "upstream_timeout"),
                Class::Server => (500, "server_error", "server_error"),
            },
            Family::Anthropic => match self.class {
                Class::Invalid | Class::ContextLength => (400, "invalid_request_error", ""),
                Class::Credential => (401, "authentication_error", ""),
                Class::Billing => (402, "billing_error", ""),
                Class::Permission => (403, "permission_error", ""),
                Class::NotFound => (404, "not_found_error", ""),
                Class::Conflict => (409, "conflict_error", ""),
                Class::TooLarge => (413, "request_too_large", ""),
                Class::RateLimit | Class::Quota => (429, "rate_limit_error", ""),
                Class::Overloaded => (529, "overloaded_error", ""),
                Class::Timeout => (504, "timeout_error", ""),
                Class::Server => (500, "api_error", ""),
            },
        }
    }

    /// Renders the body, which is also the data of the event that ends a stream.
    pub(crate) fn render(&self, family: Family, request_id: &str) -> Node {
        let (_, kind, code) = self.shape(family);
        match family {
            Family::OpenAi | Family::Gemini => {
                let code = self.code.as_deref().unwrap_or(code);
                let error = object! { "message": &self.message, "type": kind, "param": Node::Null, "code": code };
                object! { "error": error }
            }
            Family::Anthropic => {
                let mut error = object! { "type": kind, "message": &self.message };
                if self.class == Class::Quota {
                    error.set("details", object! { "error_code": "insufficient_quota" });
                }
                object! { "type": "error", "error": error, "request_id": request_id }
            }
        }
    }
}

fn classify(status: Option<u16>, error: &ProviderError) -> Class {
    let is = |word: &str| error.kind.as_deref() == Some(word) || error.code.as_deref() == Some(word);
    let is_too_long = error.message.starts_with("prompt is too long")
        || error.message.contains("exceeds the maximum number of tokens allowed");
    if is("context_length_exceeded") || is_too_long {
        return Class::ContextLength;
    }
    if is("insufficient_quota") {
        return Class::Quota;
    }
    match status {
        Some(401) => Class::Credential,
        Some(402) => Class::Billing,
        Some(403) => Class::Permission,
        Some(404) => Class::NotFound,
        Some(409) => Class::Conflict,
        Some(413) => Class::TooLarge,
        Some(429) => Class::RateLimit,
        Some(408 | 504) => Class::Timeout,
        Some(502 | 503 | 529) => Class::Overloaded,
        Some(400..=499) => Class::Invalid,
        Some(500..) => Class::Server,
        _ => classify_words(is),
    }
}

/// Without a status, as in a stream, the words are all there is. A number may be the status.
fn classify_words(is: impl Fn(&str) -> bool) -> Class {
    let any = |words: &[&str]| words.iter().any(|word| is(word));
    if any(&["overloaded_error", "overloaded", "engine_overloaded", "server_overloaded", "503", "529"]) {
        Class::Overloaded
    } else if any(&["rate_limit_error", "rate_limit_exceeded", "requests", "tokens", "429"]) {
        Class::RateLimit
    } else if any(&["timeout_error", "timeout", "504"]) {
        Class::Timeout
    } else if any(&["authentication_error", "invalid_api_key", "401"]) {
        Class::Credential
    } else if any(&["permission_error", "permission_denied", "403"]) {
        Class::Permission
    } else if any(&["not_found_error", "model_not_found", "404"]) {
        Class::NotFound
    } else if any(&["billing_error"]) {
        Class::Billing
    } else if any(&["request_too_large", "413"]) {
        Class::TooLarge
    } else if any(&["invalid_request_error", "400"]) {
        Class::Invalid
    } else {
        Class::Server
    }
}
