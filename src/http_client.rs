//! The few plain requests that commands make: to the running gateway, and to providers' free listings.

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(120);
const MOST_BYTES: usize = 16 << 20;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: Bytes,
    headers: HeaderMap,
}

impl Answer {
    /// A header's text; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Posts JSON with a bearer key, over plain HTTP.
///
/// # Errors
/// When nobody answers.
pub(crate) async fn post_json(url: &str, key: &str, body: String) -> anyhow::Result<Answer> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"))
        .body(Full::from(body))?;
    send(request).await
}

/// Gets a page over plain HTTP, with a bearer key if one is given.
///
/// # Errors
/// When nobody answers.
pub(crate) async fn get(url: &str, key: Option<&str>) -> anyhow::Result<Answer> {
    let mut request = Request::builder().uri(url);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    send(request.body(Full::default())?).await
}

async fn send(request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answered = tokio::time::timeout(TIMEOUT, client.request(request)).await.context("no answer in two minutes")?;
    let (parts, body) = answered.context("the connection failed")?.into_parts();
    let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| anyhow::anyhow!(error))?;
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
}
