//! Which headers cross the gateway, in either direction.
//!
//! Rule: hop-by-hop headers and those that `Connection` names go first; credentials, cookies, addresses and account names
//! never cross. What a client says to a provider of its own dialect crosses, because both speak of things we do not know
//! yet, but for the words by which a host of models bills otherwise. A provider of another dialect hears of the client
//! itself only.

use http::header::{CONNECTION, HeaderMap, HeaderName};

const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "content-length",
];

const NOT_UPSTREAM: [&str; 18] = [
    "accept-encoding",
    "anthropic-workspace-id",
    "api-key",
    "authorization",
    "content-encoding",
    "cookie",
    "forwarded",
    "host",
    "ocp-apim-subscription-key",
    "openai-organization",
    "openai-project",
    "request-id",
    "traceparent",
    "tracestate",
    "via",
    "x-api-key",
    "x-real-ip",
    "x-request-id",
];

/// Families of headers that are ours, or by which a host of models takes another price, another account or another
/// deployment than those that were reserved for.
const NOT_UPSTREAM_FAMILIES: [&str; 9] =
    ["x-helix-", "x-forwarded-", "x-goog-", "x-vertex-", "x-amz-", "x-amzn-", "x-ms-", "x-hf-", "x-litellm-"];

/// What a provider of another dialect hears: who the client is, and nothing of what it wants there.
const TRANSLATED: [&str; 3] = ["accept", "accept-language", "user-agent"];

/// What speaks of the provider's account, or to a browser about the site that it came from: ours.
const NOT_DOWNSTREAM: [&str; 24] = [
    "alt-svc",
    "clear-site-data",
    "content-encoding",
    "content-security-policy",
    "content-security-policy-report-only",
    "nel",
    "openai-organization",
    "openai-project",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "request-id",
    "server",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "sourcemap",
    "strict-transport-security",
    "via",
    "www-authenticate",
    "x-ms-deployment-name",
    "x-request-id",
    "x-sourcemap",
];

/// Copies what may go to a provider.
pub fn to_upstream(from: &HeaderMap, to: &mut HeaderMap, is_translated: bool) {
    copy(from, to, |name| {
        if is_translated {
            return !TRANSLATED.contains(&name);
        }
        NOT_UPSTREAM.contains(&name)
            || (name.starts_with("x-") && NOT_UPSTREAM_FAMILIES.iter().any(|family| name.starts_with(family)))
    });
}

/// Copies what may go to a client.
pub fn to_client(from: &HeaderMap, to: &mut HeaderMap) {
    copy(from, to, |name| {
        NOT_DOWNSTREAM.contains(&name)
            || name.starts_with("x-helix-")
            || name.starts_with("cf-")
            || name.starts_with("access-control-")
            || name.starts_with("anthropic-organization")
    });
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, is_kept_back: impl Fn(&str) -> bool) {
    let named: Vec<&str> = from.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect();
    let is_named = |name: &HeaderName| {
        named.iter().any(|list| list.split(',').any(|entry| entry.trim().eq_ignore_ascii_case(name.as_str())))
    };
    for (name, value) in from {
        let text = name.as_str();
        if HOP_BY_HOP.contains(&text) || is_kept_back(text) || (!named.is_empty() && is_named(name)) {
            continue;
        }
        to.append(name.clone(), value.clone());
    }
}

/// The caller's own request id, when it is one: up to 128 visible ASCII characters.
pub fn inbound_request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_valid = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_valid.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn credentials_and_hop_by_hop_headers_stay_and_the_rest_crosses() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer hx"),
            ("x-api-key", "hx"),
            ("cookie", "a=b"),
            ("connection", "close, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("x-helix-team", "eng"),
            ("x-forwarded-for", "10.0.0.1"),
            ("anthropic-beta", "a,b"),
            ("x-stainless-lang", "python"),
            ("content-type", "application/json"),
        ] {
            from.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut to = HeaderMap::new();
        to_upstream(&from, &mut to, false);
        let mut names: Vec<&str> = to.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["anthropic-beta", "content-type", "x-stainless-lang"]);
    }

    #[test]
    fn what_changes_the_bill_never_crosses_and_a_translated_request_says_only_who_asks() {
        let mut from = HeaderMap::new();
        for name in [
            "x-vertex-ai-llm-shared-request-type",
            "x-vertex-ai-llm-request-type",
            "x-goog-user-project",
            "x-hf-bill-to",
            "x-ms-spillover-deployment",
            "x-amzn-bedrock-service-tier",
            "x-amz-security-token",
            "openai-organization",
            "openai-project",
            "anthropic-workspace-id",
            "x-litellm-tags",
        ] {
            from.insert(HeaderName::from_static(name), HeaderValue::from_static("dear"));
        }
        let mut to = HeaderMap::new();
        to_upstream(&from, &mut to, false);
        assert!(to.is_empty(), "{to:?}");
        for name in ["anthropic-beta", "x-new-service-tier", "user-agent", "accept-language", "x-stainless-lang"] {
            from.insert(HeaderName::from_static(name), HeaderValue::from_static("any"));
        }
        to_upstream(&from, &mut to, true);
        let mut names: Vec<&str> = to.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept-language", "user-agent"]);
    }
}
