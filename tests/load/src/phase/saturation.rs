//! CPU per request at saturation: a closed loop of many connections keeps the contestant's core full.
//!
//! Rule: work that a contestant puts off counts as well: after the load ends, its CPU is read until it rests, and the
//! whole is divided by all requests. The divisor is answers that came back whole with status 200; anything else is counted as an error and reported.
//! It deliberately measures no latency: in a closed loop that would be the queue's length.

use crate::client::Client;
use crate::phase::{Window, stay_awake, window};
use crate::process::Process;
use crate::requests::Requests;
use crate::stats::float;
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinSet;

const WARM_UP: Duration = Duration::from_millis(700);

/// A contestant rests when it uses less than this share of its core.
const REST_SHARE: f64 = 0.03;
const REST_STEP: Duration = Duration::from_millis(250);
const REST_PATIENCE: u32 = 20;

/// What the closed loop found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saturation {
    /// All CPU from the first request until the contestant rested, per request.
    pub(crate) cpu_us_per_request: f64,
    /// CPU inside the window alone, per request.
    pub(crate) window_cpu_us_per_request: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) errors: u64,
    pub(crate) window: Window,
}

/// Counts of answers, shared by all connections.
#[derive(Default)]
struct Count {
    good: AtomicU64,
    bad: AtomicU64,
}

/// Runs the closed loop for `length` after a warm-up.
pub(crate) async fn run(
    address: SocketAddr,
    process: &Process,
    core: usize,
    requests: Arc<Requests>,
    connections: usize,
    length: Duration,
) -> Result<Saturation> {
    let before = process.cpu_time();
    let count = Arc::new(Count::default());
    let mut loops = JoinSet::new();
    loops.spawn(stay_awake());
    for number in 0..connections {
        loops.spawn(repeat(address, Arc::clone(&requests), number * 997, Arc::clone(&count)));
    }
    tokio::time::sleep(WARM_UP).await;
    let (good, bad) = (count.good.load(Relaxed), count.bad.load(Relaxed));
    let window = window(process, core, length).await;
    let (good, bad) = (count.good.load(Relaxed) - good, count.bad.load(Relaxed) - bad);
    loops.shutdown().await;
    ensure!(good > 0, "no request was answered with 200 ({bad} failed)");
    rest(process).await;
    let all_ns = process.cpu_time().since(&before);
    Ok(Saturation {
        cpu_us_per_request: float(all_ns) / 1_000.0 / float(count.good.load(Relaxed)),
        window_cpu_us_per_request: float(window.cpu_ns) / 1_000.0 / float(good),
        requests_per_second: float(good) / length.as_secs_f64(),
        errors: bad,
        window,
    })
}

/// Waits until the contestant has done what it put off.
async fn rest(process: &Process) {
    for _ in 0..REST_PATIENCE {
        let before = process.cpu_time();
        tokio::time::sleep(REST_STEP).await;
        if float(process.cpu_time().since(&before)) < REST_SHARE * REST_STEP.as_secs_f64() * 1e9 {
            return;
        }
    }
}

async fn repeat(address: SocketAddr, requests: Arc<Requests>, first: usize, count: Arc<Count>) {
    let mut number = first;
    loop {
        let Ok(mut client) = Client::connect(address, 16 * 1024).await else {
            count.bad.fetch_add(1, Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        loop {
            number += 1;
            match client.exchange(requests.get(number)).await {
                Ok(tally) if tally.status == 200 => {
                    count.good.fetch_add(1, Relaxed);
                    if tally.close {
                        break;
                    }
                }
                _ => {
                    count.bad.fetch_add(1, Relaxed);
                    break;
                }
            }
        }
    }
}
