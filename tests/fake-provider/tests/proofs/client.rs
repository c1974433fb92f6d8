//! A bare HTTP client: one connection per request, and the raw frames of the body.
//!
//! Rule: it hides nothing; a cut body is reported as such with the bytes that came before.

use bytes::Bytes;
use helix_fake_provider::{FakeProvider, Running};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// An answer as it came over the wire.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Vec<Bytes>,
    /// Whether the body ended before its end.
    pub(crate) is_cut: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.concat()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    /// The JSON data of every event; `[DONE]` as a string.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into())).collect()
    }
}

pub(crate) fn start() -> Running {
    FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A connection and the answer's head on it; dropping it hangs up.
pub(crate) async fn open(running: &Running, request: Request<Full<Bytes>>) -> hyper::Result<http::Response<Incoming>> {
    let stream = TcpStream::connect(running.addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio_util::task::TaskTracker::new().spawn(connection);
    sender.send_request(request).await
}

pub(crate) async fn send(running: &Running, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
    let answer = open(running, request).await?;
    let (parts, mut body) = answer.into_parts();
    let (mut frames, mut is_cut) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.push(frame.into_data().unwrap()),
            Err(_) => {
                is_cut = true;
                break;
            }
        }
    }
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, frames, is_cut })
}

pub(crate) fn request(method: Method, path: &str, body: &[u8]) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "fake")
        .header("authorization", "Bearer sk-test-1234")
        .header("anthropic-version", "2023-06-01")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap()
}

/// A chat completion request with a script in its text and more fields.
pub(crate) fn chat(script: &Value, more: &Value) -> Request<Full<Bytes>> {
    post("/v1/chat/completions", "gpt-5-mini", script, more)
}

/// A message request with a script in its text and more fields.
pub(crate) fn message(script: &Value, more: &Value) -> Request<Full<Bytes>> {
    let mut fields = json!({"max_tokens": 1000});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post("/v1/messages", "claude-haiku-4-5", script, &fields)
}

pub(crate) fn post(path: &str, model: &str, script: &Value, more: &Value) -> Request<Full<Bytes>> {
    let text = format!("hello [[fake:{script}]]");
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": text}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request(Method::POST, path, body.to_string().as_bytes())
}

pub(crate) async fn control(running: &Running, method: Method, path: &str, body: &str) -> (u16, Value) {
    let answer = send(running, request(method, path, body.as_bytes())).await.unwrap();
    (answer.status, answer.json())
}
