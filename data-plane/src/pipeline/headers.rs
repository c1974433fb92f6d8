//! Which headers cross the gateway, in either direction.
//!
//! Rule: hop-by-hop headers and those that `Connection` names go first; credentials, cookies, addresses and account names
//! never cross; everything else does, because clients and providers speak of things we do not know yet.

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

/// Copies what may go to a provider. To one of another dialect goes nothing that speaks of the client's own API.
pub fn to_upstream(from: &HeaderMap, to: &mut HeaderMap, is_translated: bool) {
    copy(from, to, |name| {
        if is_translated && (name.starts_with("anthropic-") || name.starts_with("openai-")) {
            return true;
        }
        NOT_UPSTREAM.contains(&name)
            || name.starts_with("x-helix-")
            || name.starts_with("x-forwarded-")
            || name.starts_with("x-goog-")
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
}
