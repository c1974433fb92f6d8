//! The `NodeTelemetry` stream: what this node is doing, for people.

use crate::gateway::Gateway;
use crate::link::Link;
use futures_util::StreamExt;
use helix_proto::v1;
use helix_proto::v1::node_telemetry_client::NodeTelemetryClient;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

const DEFAULT_PAUSE: Duration = Duration::from_secs(5);

/// Reports until shutdown.
pub async fn run(gateway: Arc<Gateway>, link: Link) {
    let mut backoff = link.backoff();
    loop {
        let started = tokio::time::Instant::now();
        tokio::select! {
            ended = exchange(&gateway, &link) => if let Err(status) = ended {
                tracing::debug!(%status, "the telemetry stream ended; it will be opened again");
            },
            () = link.stopped() => return,
        }
        backoff.note_connection(started.elapsed());
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = link.stopped() => return,
        }
    }
}

async fn exchange(gateway: &Gateway, link: &Link) -> Result<(), tonic::Status> {
    let (reports, receiver) = mpsc::channel::<v1::NodeReport>(4);
    let closed = |_| tonic::Status::unavailable("the report stream is closed");
    reports.send(report(gateway, Some(link.node()))).await.map_err(closed)?;
    let mut client = NodeTelemetryClient::with_interceptor(link.channel(), link.credentials());
    let mut fleet = client.exchange(tokio_stream::wrappers::ReceiverStream::new(receiver)).await?.into_inner();
    let mut pause = DEFAULT_PAUSE;
    loop {
        tokio::select! {
            news = fleet.next() => match news {
                Some(news) => {
                    let wanted = Duration::from_millis(u64::from(news?.next_report_in_ms));
                    pause = wanted.clamp(Duration::from_secs(1), Duration::from_secs(60));
                }
                None => return Ok(()),
            },
            () = tokio::time::sleep(pause) => reports.send(report(gateway, None)).await.map_err(closed)?,
        }
    }
}

fn report(gateway: &Gateway, node: Option<v1::Node>) -> v1::NodeReport {
    v1::NodeReport {
        node,
        serving_revision: gateway.current.load().map_or(0, |pinned| pinned.snapshot.revision),
        journal_bytes: gateway.journal.bytes(),
        requests_in_flight: u64::try_from(gateway.in_flight.load(Ordering::Relaxed)).unwrap_or(0),
        draining: false,
        stale: gateway.current.is_stale(),
    }
}
