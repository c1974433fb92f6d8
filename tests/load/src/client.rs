//! One keep-alive connection of the load generator, in an asynchronous and a blocking form.
//!
//! Rule: request bytes are made before, responses are read by [`ResponseReader`] and checked to their last byte. It
//! deliberately does not pipeline, redirect or retry: a failure is a figure, and the phase that sees it counts it.

use crate::wire::{ResponseReader, Tally};
use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest that a blocking exchange waits for bytes.
const PATIENCE: Duration = Duration::from_secs(10);

/// An asynchronous connection.
pub(crate) struct Client {
    socket: tokio::net::TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects without Nagle's delay; `buffer_bytes` is the most that one read takes.
    pub(crate) async fn connect(address: SocketAddr, buffer_bytes: usize) -> Result<Self> {
        let socket = tokio::net::TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: vec![0; buffer_bytes] })
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Tally> {
        self.exchange_with(request, |_| {}).await
    }

    /// Sends one request and shows `on_progress` the tally after each read.
    pub(crate) async fn exchange_with(&mut self, request: &[u8], mut on_progress: impl FnMut(Tally)) -> Result<Tally> {
        self.socket.write_all(request).await?;
        let mut reader = ResponseReader::new();
        while !reader.is_done() {
            let count = self.socket.read(&mut self.buffer).await?;
            if count == 0 {
                ensure!(reader.end(), "the connection closed in the middle of an answer");
                break;
            }
            reader.feed(&self.buffer[..count])?;
            on_progress(reader.tally());
        }
        Ok(reader.tally())
    }
}

/// A blocking connection, for phases where a microsecond counts.
pub(crate) struct BlockingClient {
    socket: std::net::TcpStream,
    buffer: Vec<u8>,
}

/// When the parts of one blocking exchange arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) tally: Tally,
    pub(crate) first_body_byte: Instant,
    pub(crate) end: Instant,
}

impl BlockingClient {
    /// Connects without Nagle's delay.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let socket = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, buffer: vec![0; 16 * 1024] })
    }

    /// Sends one request, reads its whole answer and says when its first body byte and its last byte came.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.socket.write_all(request)?;
        let mut reader = ResponseReader::new();
        let mut first_body_byte = None;
        while !reader.is_done() {
            let count = self.socket.read(&mut self.buffer)?;
            if count == 0 {
                ensure!(reader.end(), "the connection closed in the middle of an answer");
                break;
            }
            reader.feed(&self.buffer[..count])?;
            if first_body_byte.is_none() && reader.tally().body_bytes > 0 {
                first_body_byte = Some(Instant::now());
            }
        }
        let end = Instant::now();
        Ok(Answer { tally: reader.tally(), first_body_byte: first_body_byte.unwrap_or(end), end })
    }
}

/// Sends a bodyless request on a connection of its own and returns the body of the answer.
pub(crate) fn fetch(address: SocketAddr, method: &str, target: &str) -> Result<Vec<u8>> {
    let mut socket = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    write!(socket, "{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n")?;
    let (mut reader, mut whole, mut part) = (ResponseReader::new(), Vec::new(), [0; 4096]);
    while !reader.is_done() {
        let count = socket.read(&mut part)?;
        if count == 0 {
            break;
        }
        reader.feed(&part[..count])?;
        whole.extend_from_slice(&part[..count]);
    }
    ensure!(reader.tally().status == 200, "{method} {target} was answered {}", reader.tally().status);
    let body_at = whole.len().saturating_sub(reader.tally().body_bytes);
    Ok(whole.split_off(body_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::{Kind, Requests, keys};
    use crate::{passthrough, upstream};

    async fn served() -> (SocketAddr, SocketAddr, tokio::task::JoinSet<()>) {
        let mut servers = tokio::task::JoinSet::new();
        let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (origin_address, proxy_address) = (origin.local_addr().unwrap(), proxy.local_addr().unwrap());
        servers.spawn(async move { drop(upstream::serve(origin).await) });
        servers.spawn(async move { drop(passthrough::serve(proxy, origin_address).await) });
        (origin_address, proxy_address, servers)
    }

    #[tokio::test]
    async fn the_pass_through_changes_no_answer() {
        let (origin, proxy, _servers) = served().await;
        for kind in [Kind::Plain, Kind::Stream] {
            let mut tallies = Vec::new();
            for address in [origin, proxy] {
                let requests = Requests::new(address, kind, &keys(2));
                let mut client = Client::connect(address, 4096).await.unwrap();
                client.exchange(requests.get(0)).await.unwrap();
                tallies.push(client.exchange(requests.get(1)).await.unwrap());
            }
            assert_eq!(tallies[0], tallies[1]);
            assert_eq!(tallies[0].status, 200);
            let events = if kind == Kind::Stream { 201 } else { 0 };
            assert_eq!(tallies[0].events, events);
        }
    }

    #[tokio::test]
    async fn the_upstream_counts_and_takes_its_pace_by_name() {
        let (origin, _, _servers) = served().await;
        let counts = tokio::task::spawn_blocking(move || {
            fetch(origin, "PUT", "/__set?chunks=3&pace_ms=1").unwrap();
            let requests = Requests::new(origin, Kind::Stream, &keys(1));
            let answer = BlockingClient::connect(origin).unwrap().exchange(requests.get(0)).unwrap();
            assert_eq!(answer.tally.events, 4);
            fetch(origin, "GET", "/__count").unwrap()
        });
        let counts: serde_json::Value = serde_json::from_slice(&counts.await.unwrap()).unwrap();
        assert_eq!(counts["requests"], 1);
    }
}
