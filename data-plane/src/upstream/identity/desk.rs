//! The way to issuers: one small HTTP client, apart from the pools of backends.
//!
//! Rule: every exchange has a limit of time and of size; redirects are not followed; an issuer that is reached without TLS
//! is this machine or one of its own link, as the metadata services are.

use super::trouble::Trouble;
use bytes::Bytes;
use helix_shared::cloud::encode;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::net::IpAddr;
use std::time::Duration;

/// The most bytes of an answer.
const MOST_BYTES: usize = 256 << 10;
const CONNECT: Duration = Duration::from_secs(3);
/// How long an issuer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a service of this machine may take: where there is none, nobody answers.
pub(super) const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// The client.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What an issuer answered. Prints nothing of it: there may be a token in it.
pub(super) struct Reply {
    /// Who.
    pub(super) place: String,
    /// The HTTP status.
    pub(super) status: u16,
    /// The whole body.
    pub(super) body: Bytes,
}

/// A request to an issuer. Prints only where it goes: there is a secret in it.
pub(super) struct Question {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    patience: Duration,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({} answered {})", self.place, self.status)
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.uri().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        write!(f, "Question({} to {host})", self.method)
    }
}

impl Question {
    /// A `GET`.
    pub(super) fn get(url: impl Into<String>) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method: Method::GET, url: url.into(), headers, body, patience: PATIENCE }
    }

    /// A `PUT` without a body.
    pub(super) fn put(url: impl Into<String>) -> Self {
        Self { method: Method::PUT, ..Self::get(url) }
    }

    /// A `POST` of a form.
    pub(super) fn form(url: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (name, value) in fields {
            if !text.is_empty() {
                text.push('&');
            }
            text.push_str(name);
            text.push('=');
            encode(value, &mut text);
        }
        let mut question = Self { method: Method::POST, body: Bytes::from(text), ..Self::get(url) };
        question.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        question.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        question
    }

    /// Adds a header; one that no header can carry is left out, and the issuer says no.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Waits no longer than this.
    pub(super) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The body, for a signature.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The address, for a signature.
    pub(super) fn uri(&self) -> Option<Uri> {
        self.url.parse().ok()
    }

    /// The headers, for a signature.
    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
}

impl Desk {
    /// A client with this TLS configuration.
    pub(super) fn new(tls: rustls::ClientConfig) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .build(https);
        Self { client }
    }

    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// [`Trouble`]; an error status is an answer.
    pub(super) async fn ask(&self, question: Question) -> Result<Reply, Trouble> {
        let uri: Uri = question.uri().ok_or_else(|| Trouble::content("the issuer's address", "is no URL"))?;
        let place = uri.host().unwrap_or_default().to_owned();
        if !may_ask(&uri) {
            return Err(Trouble::content(format!("the issuer's address at `{place}`"), "must begin with https://"));
        }
        let unreachable = |reason: &str| Trouble::Unreachable { place: place.clone(), reason: reason.to_owned() };
        let mut request = Request::new(Full::new(question.body));
        *request.method_mut() = question.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = question.headers;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable(reason(&error)))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            let body = body.map_err(|_| unreachable("its answer broke off or is too large"))?.to_bytes();
            Ok(Reply { place: place.clone(), status, body })
        };
        tokio::time::timeout(question.patience, exchange).await.map_err(|_| unreachable("no answer in time"))?
    }
}

fn reason(error: &hyper_util::client::legacy::Error) -> &'static str {
    if error.is_connect() { "no connection" } else { "the connection broke off" }
}

/// TLS, or a place where nobody else listens.
fn may_ask(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_near = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_link_local(),
        // Amazon's metadata and containers' credentials also stand at a unique local address.
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Err(_) => matches!(host, "localhost" | "metadata.google.internal"),
    };
    uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && is_near)
}

impl Reply {
    /// Reads the JSON of a good answer.
    ///
    /// # Errors
    /// [`Trouble::Refused`] for an error status, with the short code that the body gives.
    pub(super) fn json(&self) -> Result<serde_json::Value, Trouble> {
        let value = serde_json::from_slice(&self.body).unwrap_or(serde_json::Value::Null);
        if self.status != 200 {
            let code = ["error", "Code", "code", "__type"].iter().find_map(|name| value.get(*name)?.as_str());
            return Err(self.refused(code.unwrap_or("no code")));
        }
        if !value.is_object() {
            return Err(Trouble::content(format!("the answer of {}", self.place), "is no JSON object"));
        }
        Ok(value)
    }

    /// The issuer said no; of its code only what a code can be is kept.
    pub(super) fn refused(&self, code: &str) -> Trouble {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
        let code = code.chars().take_while(is_plain).take(64).collect();
        Trouble::Refused { place: self.place.clone(), status: self.status, code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_this_machine_is_asked() {
        for (url, expected) in [
            ("https://oauth2.googleapis.com/token", true),
            ("http://oauth2.googleapis.com/token", false),
            ("http://127.0.0.1:9/x", true),
            ("http://169.254.169.254/latest/api/token", true),
            ("http://[fd00:ec2::254]/latest/api/token", true),
            ("http://metadata.google.internal/computeMetadata/v1/", true),
            ("http://10.0.0.1/x", false),
            ("ftp://127.0.0.1/x", false),
        ] {
            assert_eq!(may_ask(&url.parse().unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn what_is_asked_and_answered_prints_no_secret() {
        let url = "https://sts.example/canary-path?key=canary-query";
        let question = Question::form(url, &[("client_secret", "canary-form")]).with("x-key", "canary-header");
        assert_eq!(format!("{question:?}"), "Question(POST to sts.example)");
        let body = Bytes::from_static(b"canary-token");
        let reply = Reply { place: "sts.example".to_owned(), status: 200, body };
        assert_eq!(format!("{reply:?}"), "Reply(sts.example answered 200)");
    }

    #[test]
    fn a_refusal_keeps_a_code_and_no_text() {
        let reply = |body: &'static str| Reply { place: "sts.example".into(), status: 400, body: Bytes::from(body) };
        let trouble = reply(r#"{"error":"invalid_grant","error_description":"canary"}"#).json().unwrap_err();
        assert_eq!(trouble.to_string(), "sts.example answered 400 (invalid_grant)");
        assert!(!reply(r#"{"error":"bad: canary"}"#).json().unwrap_err().to_string().contains("canary"));
    }
}
