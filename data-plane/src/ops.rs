//! The operators' listener: metrics and health, apart from the clients' one.
//!
//! Rule: nothing here tells a secret, and nothing here is reachable from the clients' listener. Readiness: configuration in
//! force (fresh, or the last good one) and a journal that takes records.

use crate::gateway::Gateway;
use crate::settings::FurtherMetrics;
use crate::tasks::Tasks;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;

/// Serves until shutdown is over.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, further: FurtherMetrics, tasks: Tasks) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (gateway, further) = (Arc::clone(&gateway), further.clone());
        let stopping = tasks.stopping();
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(&gateway, &further, request.uri().path(), stopping.is_cancelled());
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(stream), service);
        let stopping = tasks.stopping();
        tasks.spawn("ops connection", async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::trace!(%error, "an operators' connection ended early");
                },
                () = stopping.cancelled() => {}
            }
        });
    }
}

fn answer(gateway: &Gateway, further: &FurtherMetrics, path: &str, is_stopping: bool) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => {
            let pinned = gateway.current.load();
            let revision = pinned.map_or(0, |pinned| pinned.snapshot.revision);
            gateway.metrics.config_revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
            gateway.metrics.config_is_stale.set(i64::from(gateway.current.is_stale()));
            gateway.metrics.journal_bytes.set(i64::try_from(gateway.journal.bytes()).unwrap_or(i64::MAX));
            let in_flight = gateway.in_flight.load(Ordering::Relaxed);
            gateway.metrics.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
            let own = gateway.metrics.render();
            // the end of the text comes once
            let page = own.trim_end_matches("# EOF\n").to_owned() + &further.render() + "# EOF\n";
            let mut response = Response::new(Full::from(page));
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            response
        }
        "/healthz/live" => text(StatusCode::OK, "live\n"),
        "/healthz/ready" | "/healthz/startup" => match unready(gateway, is_stopping) {
            None if gateway.current.is_stale() => {
                text(StatusCode::OK, "ready (last good configuration, not confirmed)\n")
            }
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz/live, /healthz/ready, /healthz/startup\n"),
    }
}

fn unready(gateway: &Gateway, is_stopping: bool) -> Option<&'static str> {
    if is_stopping {
        return Some("shutting down\n");
    }
    if gateway.current.load().is_none() {
        return Some("no configuration yet\n");
    }
    gateway.journal.has_failed().then_some("the journal's disk failed\n")
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}
