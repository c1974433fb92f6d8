//! The proxy's paths: which dialect a method and path mean.
//!
//! Rule: clients disagree on where `/v1` belongs, so it may be missing or doubled, and Anthropic's paths also live under
//! `/anthropic`; one base URL serves all. What is not a proxy path is not ours.

use helix_llm::{Dialect, Family};
use http::{HeaderMap, Method};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A request to a model.
    Proxy(Dialect),
    /// A response that a provider keeps.
    Stored(StoredPath),
    /// The list of models.
    Models,
    /// One model.
    Model(String),
    /// A client looks whether anybody is there.
    Hello,
    /// A WebSocket for responses: the client falls back at once on 426.
    WebSocket,
    /// A known path that this version does not serve.
    NotServed,
    /// A known path with the wrong method; the right one.
    WrongMethod(&'static str),
    /// Under our prefix, but unknown.
    Unknown,
}

/// What is asked of a response that a provider keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPath {
    /// The client's name of it.
    pub id: String,
    /// `/input_items`, or nothing.
    pub suffix: &'static str,
}

const NOT_SERVED: [&str; 5] =
    ["images/variations", "responses/input_tokens", "responses/compact", "messages/batches", "files"];

/// Finds the endpoint; `None`: not a proxy path.
pub fn endpoint(method: &Method, path: &str, headers: &HeaderMap) -> Option<Endpoint> {
    if method == Method::HEAD && matches!(path, "/" | "/api/hello" | "/anthropic" | "/anthropic/") {
        return Some(Endpoint::Hello);
    }
    let (under_anthropic, rest) = match path.strip_prefix("/anthropic/") {
        Some(rest) => (true, rest),
        None => (false, path.strip_prefix('/')?),
    };
    let mut name = rest;
    while let Some(rest) = name.strip_prefix("v1/") {
        name = rest;
    }
    let has_prefix = under_anthropic || name.len() != rest.len();
    let name = name.strip_suffix('/').unwrap_or(name);
    let dialect = match name {
        "chat/completions" => Some(Dialect::OpenAiChat),
        "embeddings" => Some(Dialect::OpenAiEmbeddings),
        "completions" => Some(Dialect::OpenAiCompletions),
        "moderations" => Some(Dialect::OpenAiModerations),
        "images/generations" => Some(Dialect::OpenAiImages),
        "images/edits" => Some(Dialect::OpenAiImageEdits),
        "audio/speech" => Some(Dialect::OpenAiSpeech),
        "audio/transcriptions" => Some(Dialect::OpenAiTranscriptions),
        "audio/translations" => Some(Dialect::OpenAiTranslations),
        "responses" if method == Method::POST => Some(Dialect::OpenAiResponses),
        "messages" => Some(Dialect::AnthropicMessages),
        "messages/count_tokens" => Some(Dialect::AnthropicCountTokens),
        _ => None,
    };
    if let Some(dialect) = dialect {
        return Some(if method == Method::POST { Endpoint::Proxy(dialect) } else { Endpoint::WrongMethod("POST") });
    }
    if name == "models" || name.starts_with("models/") {
        if method != Method::GET && method != Method::HEAD {
            return Some(Endpoint::WrongMethod("GET"));
        }
        return Some(match name.strip_prefix("models/") {
            Some(model) => Endpoint::Model(decode(model)),
            None => Endpoint::Models,
        });
    }
    if name == "responses" {
        let is_upgrade = method == Method::GET && headers.contains_key(http::header::UPGRADE);
        return Some(if is_upgrade { Endpoint::WebSocket } else { Endpoint::WrongMethod("POST") });
    }
    if NOT_SERVED.contains(&name) {
        return Some(Endpoint::NotServed);
    }
    if let Some(rest) = name.strip_prefix("responses/") {
        return Some(stored(method, rest));
    }
    has_prefix.then_some(Endpoint::Unknown)
}

fn stored(method: &Method, rest: &str) -> Endpoint {
    let (id, suffix, right) = match rest.split_once('/') {
        None => (rest, "", "GET, DELETE"),
        Some((id, "input_items")) => (id, "/input_items", "GET"),
        // Nothing runs without its client here, so there is nothing to be cancelled.
        Some((_, "cancel")) => return Endpoint::NotServed,
        Some(_) => return Endpoint::Unknown,
    };
    let is_right = method == Method::GET || (method == Method::DELETE && suffix.is_empty());
    if is_right { Endpoint::Stored(StoredPath { id: decode(id), suffix }) } else { Endpoint::WrongMethod(right) }
}

/// Whose conventions an answer follows where the path does not say.
pub fn family(endpoint: &Endpoint, path: &str, headers: &HeaderMap) -> Family {
    match endpoint {
        Endpoint::Proxy(dialect) => dialect.family(),
        Endpoint::Stored(_)
        | Endpoint::Models
        | Endpoint::Model(_)
        | Endpoint::Hello
        | Endpoint::WebSocket
        | Endpoint::NotServed
        | Endpoint::WrongMethod(_)
        | Endpoint::Unknown => {
            let is_anthropic = headers.contains_key("anthropic-version")
                || path.starts_with("/anthropic")
                || path.contains("/messages");
            if is_anthropic { Family::Anthropic } else { Family::OpenAi }
        }
    }
}

/// Decodes `%XX`; a malformed escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| tail.first_chunk::<2>()).flatten();
        let value = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_base_url_serves_every_client() {
        let chat = Some(Endpoint::Proxy(Dialect::OpenAiChat));
        let messages = Some(Endpoint::Proxy(Dialect::AnthropicMessages));
        let cases = [
            ("POST", "/v1/chat/completions", chat.clone()),
            ("POST", "/chat/completions", chat.clone()),
            ("POST", "/v1/v1/chat/completions", chat),
            ("POST", "/v1/messages", messages.clone()),
            ("POST", "/messages", messages.clone()),
            ("POST", "/anthropic/v1/messages", messages.clone()),
            ("POST", "/anthropic/messages", messages),
            ("POST", "/v1/messages/count_tokens", Some(Endpoint::Proxy(Dialect::AnthropicCountTokens))),
            ("GET", "/v1/models", Some(Endpoint::Models)),
            ("GET", "/models/org%2Fmodel", Some(Endpoint::Model("org/model".into()))),
            ("GET", "/v1/messages", Some(Endpoint::WrongMethod("POST"))),
            ("HEAD", "/", Some(Endpoint::Hello)),
            ("HEAD", "/api/hello", Some(Endpoint::Hello)),
            ("POST", "/v1/responses", Some(Endpoint::Proxy(Dialect::OpenAiResponses))),
            ("GET", "/v1/responses", Some(Endpoint::WrongMethod("POST"))),
            ("POST", "/v1/moderations", Some(Endpoint::Proxy(Dialect::OpenAiModerations))),
            ("POST", "/v1/files", Some(Endpoint::NotServed)),
            ("POST", "/audio/transcriptions", Some(Endpoint::Proxy(Dialect::OpenAiTranscriptions))),
            ("POST", "/v1/images/edits", Some(Endpoint::Proxy(Dialect::OpenAiImageEdits))),
            ("GET", "/v1/responses/resp_a", Some(Endpoint::Stored(StoredPath { id: "resp_a".into(), suffix: "" }))),
            (
                "GET",
                "/responses/resp_a/input_items",
                Some(Endpoint::Stored(StoredPath { id: "resp_a".into(), suffix: "/input_items" })),
            ),
            ("DELETE", "/v1/responses/a/input_items", Some(Endpoint::WrongMethod("GET"))),
            ("POST", "/v1/responses/resp_a/cancel", Some(Endpoint::NotServed)),
            ("GET", "/v1/nothing", Some(Endpoint::Unknown)),
            ("GET", "/", None),
            ("GET", "/setup", None),
            ("GET", "/admin/models", None),
        ];
        for (method, path, expected) in cases {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(endpoint(&method, path, &HeaderMap::new()), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_websocket_for_responses_is_told_to_fall_back() {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::UPGRADE, http::HeaderValue::from_static("websocket"));
        assert_eq!(endpoint(&Method::GET, "/v1/responses", &headers), Some(Endpoint::WebSocket));
    }
}
