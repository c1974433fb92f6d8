//! The fixed upstream: the same cheap OpenAI-shaped provider behind every contestant.
//!
//! Rule: every answer is made once at start and only written afterwards, so that what differs between two contestants is
//! the contestants. It deliberately understands nothing but `"stream":true` and `"include_usage":true`, and takes its
//! pace from `PUT /__set?chunks=&pace_ms=&delay_ms=` between two phases, since a gateway passes no test header on.

use crate::wire::{self, Chunked};
use anyhow::{Context, Result};
use memchr::memmem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// The model name that the upstream answers with.
pub(crate) const MODEL: &str = "bench-model";
const BODY_LIMIT: usize = 1 << 20;

/// How the upstream answers until it is told otherwise, and what it has done so far.
#[derive(Debug)]
struct Upstream {
    chunks: AtomicU64,
    pace_ms: AtomicU64,
    delay_ms: AtomicU64,
    requests: AtomicU64,
    in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
    plain: Vec<u8>,
    stream_head: Vec<u8>,
    chunk: Vec<u8>,
    usage: Vec<u8>,
    done: Vec<u8>,
}

/// Returns the JSON body of a non-streaming answer, about one kilobyte with exact usage.
pub(crate) fn plain_body() -> String {
    let content = "The gateway forwards this sentence without looking at it more than it must. ".repeat(8);
    format!(
        r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1760000000,"model":"{MODEL}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":113,"completion_tokens":97,"total_tokens":210,"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0}}}},"service_tier":"default"}}"#
    )
}

fn event(choices: &str, rest: &str) -> Vec<u8> {
    let data = format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"{MODEL}\",\"service_tier\":\"default\",\"choices\":[{choices}]{rest}}}\n\n"
    );
    framed(&data)
}

fn framed(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

impl Upstream {
    fn new() -> Self {
        let body = plain_body();
        let plain = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n";
        let delta = r#"{"index":0,"delta":{"content":" gateway"},"logprobs":null,"finish_reason":null}"#;
        let usage = r#","usage":{"prompt_tokens":113,"completion_tokens":200,"total_tokens":313}"#;
        let mut done = framed("data: [DONE]\n\n");
        done.extend_from_slice(b"0\r\n\r\n");
        Self {
            chunks: AtomicU64::new(200),
            pace_ms: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            peak_in_flight: AtomicU64::new(0),
            plain: plain.into_bytes(),
            stream_head: head.as_bytes().to_vec(),
            chunk: event(delta, ""),
            usage: event("", usage),
            done,
        }
    }

    /// Applies `name=number` pairs and starts a new count.
    fn set(&self, query: &str) {
        for pair in query.split('&') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let Ok(value) = value.parse() else { continue };
            match name {
                "chunks" => self.chunks.store(value, Relaxed),
                "pace_ms" => self.pace_ms.store(value, Relaxed),
                "delay_ms" => self.delay_ms.store(value, Relaxed),
                _ => {}
            }
        }
        self.requests.store(0, Relaxed);
        self.peak_in_flight.store(self.in_flight.load(Relaxed), Relaxed);
    }

    fn counts(&self) -> Vec<u8> {
        let body = format!(
            r#"{{"requests":{},"in_flight":{},"peak_in_flight":{}}}"#,
            self.requests.load(Relaxed),
            self.in_flight.load(Relaxed),
            self.peak_in_flight.load(Relaxed)
        );
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    async fn answer(&self, socket: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
        self.requests.fetch_add(1, Relaxed);
        let peak = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.peak_in_flight.fetch_max(peak, Relaxed);
        let result = if is_set(body, "\"stream\"") {
            self.stream(socket, is_set(body, "\"include_usage\"")).await
        } else {
            let delay_ms = self.delay_ms.load(Relaxed);
            if delay_ms > 0 {
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            }
            socket.write_all(&self.plain).await
        };
        self.in_flight.fetch_sub(1, Relaxed);
        result
    }

    /// Writes the head and each event on its own, so that every chunk is one segment.
    async fn stream(&self, socket: &mut TcpStream, with_usage: bool) -> std::io::Result<()> {
        socket.write_all(&self.stream_head).await?;
        let pace_ms = self.pace_ms.load(Relaxed);
        let mut pace = (pace_ms > 0).then(|| tokio::time::interval(Duration::from_millis(pace_ms)));
        if let Some(pace) = &mut pace {
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        for _ in 0..self.chunks.load(Relaxed) {
            match &mut pace {
                Some(pace) => drop(pace.tick().await),
                None => tokio::task::yield_now().await,
            }
            socket.write_all(&self.chunk).await?;
        }
        if with_usage {
            socket.write_all(&self.usage).await?;
        }
        socket.write_all(&self.done).await
    }
}

/// Finds `name: true` in a JSON body, with or without a space.
fn is_set(body: &[u8], name: &str) -> bool {
    memmem::find_iter(body, name).any(|at| {
        let rest = body[at + name.len()..].trim_ascii_start();
        rest.first() == Some(&b':') && rest[1..].trim_ascii_start().starts_with(b"true")
    })
}

/// One request that lies whole at the start of a buffer.
struct Request {
    target: String,
    body: Vec<u8>,
    length: usize,
}

/// Returns the first request of the buffer, `None` while it is incomplete.
fn whole_request(buffer: &[u8]) -> Result<Option<Request>> {
    let Some(end) = memmem::find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let head = &buffer[..end];
    let line_end = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let framing = wire::framing(&head[line_end..])?;
    let rest = &buffer[end + 4..];
    let (body, used) = if framing.chunked {
        let (mut chunked, mut body) = (Chunked::default(), Vec::new());
        let used = chunked.feed(rest, |payload| body.extend_from_slice(payload))?;
        if !chunked.is_done() {
            return Ok(None);
        }
        (body, used)
    } else {
        let length = framing.length.unwrap_or(0);
        let Some(body) = rest.get(..length) else { return Ok(None) };
        (body.to_vec(), length)
    };
    let mut words = head[..line_end].split(|byte| *byte == b' ').skip(1);
    let target = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    Ok(Some(Request { target, body, length: end + 4 + used }))
}

async fn converse(upstream: Arc<Upstream>, mut socket: TcpStream) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let request = loop {
            if let Some(request) = whole_request(&buffer)? {
                break request;
            }
            anyhow::ensure!(buffer.len() < BODY_LIMIT, "a request is larger than a benchmark needs");
            if socket.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        drop(buffer.drain(..request.length));
        if let Some((_, query)) = request.target.split_once("/__set?") {
            upstream.set(query);
            socket.write_all(&upstream.counts()).await?;
        } else if request.target == "/__count" {
            socket.write_all(&upstream.counts()).await?;
        } else {
            upstream.answer(&mut socket, &request.body).await?;
        }
    }
}

/// Serves until the process ends; a connection that breaks is dropped.
pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let upstream = Arc::new(Upstream::new());
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.context("accept on the upstream")?;
        let upstream = Arc::clone(&upstream);
        connections.spawn(async move { drop(converse(upstream, socket).await) });
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_only_with_its_last_byte() {
        let plain = b"POST /v1/x HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET";
        assert!(whole_request(&plain[..plain.len() - 4]).unwrap().is_none());
        let request = whole_request(plain).unwrap().unwrap();
        assert_eq!(
            (request.target.as_str(), request.body.as_slice(), plain.len() - request.length),
            ("/v1/x", &b"abc"[..], 3)
        );
        let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
        assert!(whole_request(&chunked[..chunked.len() - 1]).unwrap().is_none());
        assert_eq!(whole_request(chunked).unwrap().unwrap().body, b"ab");
    }

    #[test]
    fn flags_are_found_with_and_without_a_space() {
        assert!(is_set(br#"{"stream":true}"#, "\"stream\""));
        assert!(is_set(br#"{"stream" : true}"#, "\"stream\""));
        assert!(!is_set(br#"{"stream":false,"x":"stream"}"#, "\"stream\""));
        assert!(!is_set(br#"{"stream_options":{"include_usage":true}}"#, "\"stream\""));
    }

    #[test]
    fn the_answer_carries_its_usage() {
        let body: serde_json::Value = serde_json::from_str(&plain_body()).unwrap();
        assert_eq!(body["usage"]["total_tokens"], 210);
    }
}
