//! Latency at a fixed open-loop rate: each request has the moment at which it should leave, and is timed from there.
//!
//! Rule: a slow answer never delays the clock of the next request (no coordinated omission): a connection that is late
//! sends at once and carries its lateness as latency. One thread a connection, since a timer of an asynchronous runtime
//! is a millisecond coarse. It deliberately subtracts nothing; the direct baseline is a run of its own.

use crate::client::BlockingClient;
use crate::requests::Requests;
use crate::stats::{float, quantile};
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The load of one open loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenLoop {
    pub(crate) per_second: u32,
    pub(crate) connections: usize,
    pub(crate) length: Duration,
}

/// What an open loop found, in microseconds from the intended moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) first_p50_us: f64,
    pub(crate) first_p99_us: f64,
    pub(crate) first_max_us: f64,
    /// First body bytes that came 35 ms or later: the mark of a delayed acknowledgement.
    pub(crate) steps: u64,
    pub(crate) end_p50_us: f64,
    pub(crate) end_p99_us: f64,
    pub(crate) errors: u64,
}

/// A first byte this late has waited for the peer's delayed acknowledgement (40 ms on Linux).
const STEP_US: f64 = 35_000.0;

/// One thread's samples: microseconds to the first body byte and to the end.
#[derive(Default)]
struct Samples {
    first: Vec<f64>,
    end: Vec<f64>,
    errors: u64,
}

/// Runs the open loop and returns its percentiles.
pub(crate) fn run(address: SocketAddr, requests: &Requests, load: OpenLoop) -> Result<Latency> {
    let interval = Duration::from_secs(1) / load.per_second;
    let total = usize::try_from(load.length.as_nanos() / interval.as_nanos().max(1))?;
    // time for all threads to connect and to send one request that is not counted
    let start = Instant::now() + Duration::from_millis(300);
    let parts: Vec<Result<Samples>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..load.connections)
            .map(|number| {
                let due = move |index: usize| start + interval * u32::try_from(index).unwrap_or(u32::MAX);
                let mine = (number..total).step_by(load.connections);
                scope.spawn(move || connection(address, requests, mine, due))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Ok(Samples::default()))).collect()
    });
    let mut all = Samples::default();
    for part in parts {
        let part = part?;
        all.first.extend(part.first);
        all.end.extend(part.end);
        all.errors += part.errors;
    }
    ensure!(!all.end.is_empty(), "no request of the open loop was answered with 200 ({} failed)", all.errors);
    Ok(Latency {
        first_p50_us: quantile(&all.first, 1, 2),
        first_p99_us: quantile(&all.first, 99, 100),
        first_max_us: quantile(&all.first, 1, 1),
        steps: u64::try_from(all.first.iter().filter(|us| **us >= STEP_US).count())?,
        end_p50_us: quantile(&all.end, 1, 2),
        end_p99_us: quantile(&all.end, 99, 100),
        errors: all.errors,
    })
}

fn connection(
    address: SocketAddr,
    requests: &Requests,
    mine: impl Iterator<Item = usize>,
    due: impl Fn(usize) -> Instant,
) -> Result<Samples> {
    sharpen_timer();
    let mut samples = Samples::default();
    let mut client = BlockingClient::connect(address)?;
    client.exchange(requests.get(0))?;
    for index in mine {
        let due = due(index);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match client.exchange(requests.get(index)) {
            Ok(answer) if answer.tally.status == 200 => {
                samples.first.push(micros(answer.first_body_byte - due));
                samples.end.push(micros(answer.end - due));
                if answer.tally.close {
                    client = BlockingClient::connect(address)?;
                }
            }
            _ => {
                samples.errors += 1;
                client = BlockingClient::connect(address)?;
            }
        }
    }
    Ok(samples)
}

fn micros(time: Duration) -> f64 {
    float(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)) / 1_000.0
}

/// Asks the kernel to wake this thread on the microsecond instead of within fifty; where it may not, all runs share it.
fn sharpen_timer() {
    let Ok(own) = std::fs::read_link("/proc/thread-self") else { return };
    if let Some(thread) = own.file_name() {
        let knob = std::path::Path::new("/proc").join(thread).join("timerslack_ns");
        drop(std::fs::write(knob, "1000"));
    }
}
