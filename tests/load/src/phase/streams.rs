//! Streams: CPU per chunk while many run, and memory while thousands are held.
//!
//! Rule: the upstream paces every chunk and writes it alone, so that a contestant cannot look cheap by reading many at
//! once. It deliberately counts events that arrived at the client, not writes of the upstream.

use crate::client::Client;
use crate::phase::{Window, stay_awake, window};
use crate::process::Process;
use crate::requests::Requests;
use crate::stats::float;
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// CPU per streamed chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkCost {
    pub(crate) cpu_us_per_chunk: f64,
    pub(crate) chunks_per_second: f64,
    pub(crate) errors: u64,
    pub(crate) window: Window,
}

/// Memory with streams held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) idle_bytes: u64,
    pub(crate) held_bytes: u64,
    pub(crate) streams: u64,
}

/// Events and failures, shared by all streams.
#[derive(Default)]
struct Count {
    open: AtomicU64,
    events: AtomicU64,
    bad: AtomicU64,
}

/// Runs `streams` streams back to back and measures for `length` once all are under way.
pub(crate) async fn chunk_cost(
    address: SocketAddr,
    process: &Process,
    core: usize,
    requests: Arc<Requests>,
    streams: usize,
    length: Duration,
) -> Result<ChunkCost> {
    let count = Arc::new(Count::default());
    let mut loops = JoinSet::new();
    loops.spawn(stay_awake());
    for number in 0..streams {
        loops.spawn(repeat(address, Arc::clone(&requests), number * 997, Arc::clone(&count), 16 * 1024));
        // spread the starts, so that the upstream's timers do not fire in one burst
        if number % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(11)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (events, bad) = (count.events.load(Relaxed), count.bad.load(Relaxed));
    let window = window(process, core, length).await;
    let (events, bad) = (count.events.load(Relaxed) - events, count.bad.load(Relaxed) - bad);
    loops.shutdown().await;
    ensure!(events > 0, "no chunk arrived ({bad} streams failed)");
    Ok(ChunkCost {
        cpu_us_per_chunk: float(window.cpu_ns) / 1_000.0 / float(events),
        chunks_per_second: float(events) / length.as_secs_f64(),
        errors: bad,
        window,
    })
}

/// Opens `streams` paced streams, holds them for `length`, and returns the memory before and during.
pub(crate) async fn hold(
    address: SocketAddr,
    process: &Process,
    requests: Arc<Requests>,
    streams: usize,
    length: Duration,
) -> Result<Held> {
    let idle_bytes = process.resident_bytes();
    let count = Arc::new(Count::default());
    let mut loops = JoinSet::new();
    // not more connections at once than any listener's backlog takes
    let gate = Arc::new(Semaphore::new(64));
    for number in 0..streams {
        let permit = Arc::clone(&gate).acquire_owned().await?;
        let (requests, count) = (Arc::clone(&requests), Arc::clone(&count));
        loops.spawn(async move {
            let Ok(mut client) = Client::connect(address, 2 * 1024).await else {
                count.bad.fetch_add(1, Relaxed);
                return;
            };
            let mut permit = Some(permit);
            let outcome = client.exchange_with(requests.get(number), |tally| {
                if tally.events > 0 && tally.status == 200 && permit.take().is_some() {
                    count.open.fetch_add(1, Relaxed);
                }
            });
            drop(outcome.await);
            // the stream ended while it should have been held
            if permit.is_none() {
                count.open.fetch_sub(1, Relaxed);
            }
            count.bad.fetch_add(1, Relaxed);
        });
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let wanted = u64::try_from(streams)?;
    while count.open.load(Relaxed) + count.bad.load(Relaxed) < wanted && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(length).await;
    let held_bytes = process.resident_bytes();
    let streams = count.open.load(Relaxed);
    loops.shutdown().await;
    ensure!(streams > 0, "no stream could be held");
    Ok(Held { idle_bytes, held_bytes, streams })
}

async fn repeat(address: SocketAddr, requests: Arc<Requests>, first: usize, count: Arc<Count>, buffer_bytes: usize) {
    let mut number = first;
    loop {
        let Ok(mut client) = Client::connect(address, buffer_bytes).await else {
            count.bad.fetch_add(1, Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        loop {
            number += 1;
            let mut seen = 0;
            let outcome = client.exchange_with(requests.get(number), |tally| {
                count.events.fetch_add(tally.events - seen, Relaxed);
                seen = tally.events;
            });
            match outcome.await {
                Ok(tally) if tally.status == 200 && !tally.close => {}
                Ok(tally) if tally.status == 200 => break,
                _ => {
                    count.bad.fetch_add(1, Relaxed);
                    break;
                }
            }
        }
    }
}
