//! Bytes on sockets: an upstream that records what it is sent and answers bytes as they are, a client that writes bytes
//! as they are, and one that reads an answer piece by piece.
//!
//! Rule: no HTTP library stands between the test and the bytes where bytes are what is proven.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came off the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// Request line and headers, lines as they came.
    pub(crate) head: String,
    /// Body, as long as `Content-Length` says.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// An upstream that answers every request with the same bytes and closes the connection.
#[derive(Clone)]
pub(crate) struct RawUpstream {
    /// `http://…`, without a path.
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl RawUpstream {
    /// Answers with these pieces, each in a write of its own.
    pub(crate) async fn answering(pieces: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let log = Arc::clone(&received);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (log, pieces) = (Arc::clone(&log), pieces.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let Some(request) = read_request(&mut stream).await else { return };
                    log.lock().unwrap().push(request);
                    for piece in pieces {
                        if stream.write_all(&piece).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                    drop(stream.shutdown().await);
                });
            }
        });
        Self { url, received }
    }

    /// Answers with a status line, headers and a body.
    pub(crate) async fn with_body(status: &str, headers: &str, body: &[u8]) -> Self {
        Self::answering(vec![whole(status, headers, body)]).await
    }

    /// What came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// A whole answer of one piece.
pub(crate) fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let mut request = Received { head, body: Vec::new() };
    let length = request.header("content-length").first().map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).await.ok()?;
    Some(request)
}

/// Writes bytes to a server (`http://host:port`) while reading, and returns what came until the server closed.
pub(crate) async fn exchange(url: &str, parts: Vec<Bytes>) -> String {
    talk(url, parts, |_| false).await
}

/// The same until an answer with a `Content-Length` is whole, whatever is still being written then.
pub(crate) async fn first_answer(url: &str, parts: Vec<Bytes>) -> String {
    talk(url, parts, |answer| {
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        length.is_some_and(|length| body.len() >= length.parse().unwrap())
    })
    .await
}

async fn talk(url: &str, parts: Vec<Bytes>, is_whole: impl Fn(&str) -> bool) -> String {
    let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        for part in parts {
            // A server may answer and close before it was told everything.
            if writer.write_all(&part).await.is_err() {
                break;
            }
        }
        writer
    });
    let mut answer = Vec::new();
    while !is_whole(&String::from_utf8_lossy(&answer)) && reader.read_buf(&mut answer).await.is_ok_and(|read| read > 0)
    {
    }
    writing.abort();
    String::from_utf8_lossy(&answer).into_owned()
}

/// An answer whose body is still coming.
pub(crate) struct Live {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: BoxBody<Bytes, String>,
}

impl Live {
    /// Posts a body with a bearer key and waits for the head of the answer.
    pub(crate) async fn post(url: &str, key: &str, body: String) -> Self {
        let request = Request::post(url)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let (parts, body) = client.request(request).await.expect("somebody answers").into_parts();
        let body = body.map_err(|error| error.to_string()).boxed();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads on until what came so far contains a text.
    pub(crate) async fn until(&mut self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).contains(text) {
            bytes.extend_from_slice(&self.next().await.expect("more is coming").expect("the answer goes on"));
        }
        bytes
    }

    /// The rest of the body.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await {
            bytes.extend_from_slice(&piece.expect("the answer ends as it should"));
        }
        bytes
    }
}
