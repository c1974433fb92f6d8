//! A plain HTTP client for tests: sends what it is told, returns everything that came.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Sends requests; cloning shares the connections.
#[derive(Clone)]
pub(crate) struct Client(HyperClient<HttpConnector, Full<Bytes>>);

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body as far as it came.
    pub(crate) body: Bytes,
    /// Whether the body ended as HTTP says it should.
    pub(crate) is_whole: bool,
}

impl Answer {
    /// A header's text; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are text"))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client with its own connections.
    pub(crate) fn new() -> Self {
        Self(HyperClient::builder(TokioExecutor::new()).build_http())
    }

    /// Posts a body with headers.
    pub(crate) async fn post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, url, headers, body.into()).await
    }

    /// Posts JSON with a bearer key.
    pub(crate) async fn ask(&self, url: &str, key: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.post(url, &headers, body.to_string()).await
    }

    /// Gets a page.
    pub(crate) async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    /// Posts a body with headers to somebody who may not be there; `None` when no head of an answer came.
    pub(crate) async fn try_post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Option<Answer> {
        self.try_send(Method::POST, url, headers, body.into()).await.ok()
    }

    /// Sends anything and reads the answer to its end, broken or not.
    pub(crate) async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        self.try_send(method, url, headers, body).await.expect("somebody answers")
    }

    async fn try_send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).expect("the request is well formed");
        let (parts, mut body) = self.0.request(request).await?.into_parts();
        let (mut bytes, mut is_whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    is_whole = false;
                    break;
                }
            }
        }
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes.into(), is_whole })
    }
}
