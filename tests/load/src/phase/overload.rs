//! Overload: far more requests at once than the contestant admits, on an upstream that takes its time.
//!
//! Rule: a request that is not admitted must be refused at once, with 503 and `Retry-After`; one that waits in a queue
//! shows as a slow answer. It deliberately judges nothing: the report does, against the limit that was configured.

use crate::client::Client;
use crate::requests::Requests;
use crate::stats::{float, quantile};
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How the requests of one burst were answered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Overload {
    pub(crate) sent: u64,
    pub(crate) served: u64,
    pub(crate) shed: u64,
    pub(crate) shed_without_retry_after: u64,
    pub(crate) other: u64,
    pub(crate) shed_p99_ms: f64,
    pub(crate) served_max_ms: f64,
}

/// Connects `burst` times, sends one request on each at the same moment, and sorts the answers.
pub(crate) async fn run(address: SocketAddr, requests: Arc<Requests>, burst: usize) -> Result<Overload> {
    let mut clients = Vec::with_capacity(burst);
    for _ in 0..burst {
        clients.push(Client::connect(address, 4 * 1024).await?);
    }
    let together = Arc::new(Barrier::new(burst));
    let mut exchanges = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let (requests, together) = (Arc::clone(&requests), Arc::clone(&together));
        exchanges.spawn(async move {
            together.wait().await;
            let begin = Instant::now();
            let outcome = tokio::time::timeout(Duration::from_secs(30), client.exchange(requests.get(number))).await;
            (outcome.ok().and_then(Result::ok), begin.elapsed().as_secs_f64() * 1_000.0)
        });
    }
    let (mut found, mut shed_ms, mut served_ms) = (Overload::default(), Vec::new(), Vec::new());
    while let Some(joined) = exchanges.join_next().await {
        let (tally, ms) = joined?;
        found.sent += 1;
        match tally {
            Some(tally) if tally.status == 200 => {
                found.served += 1;
                served_ms.push(ms);
            }
            Some(tally) if tally.status == 503 => {
                found.shed += 1;
                found.shed_without_retry_after += u64::from(!tally.retry_after);
                shed_ms.push(ms);
            }
            _ => found.other += 1,
        }
    }
    found.shed_p99_ms = quantile(&shed_ms, 99, 100);
    found.served_max_ms = quantile(&served_ms, 1, 1);
    Ok(found)
}

impl Overload {
    /// Returns the share of requests that were refused properly.
    pub(crate) fn shed_share(&self) -> f64 {
        float(self.shed - self.shed_without_retry_after) / float(self.sent.max(1))
    }
}
