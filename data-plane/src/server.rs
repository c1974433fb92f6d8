//! Listening: connections in, the pipeline behind them, everything bounded.
//!
//! Rule: `TCP_NODELAY` on every connection; slow heads, silent and dead peers, answers that nobody reads and endless drains
//! are cut by time.

use crate::body::{GatewayBody, OtherBody};
use crate::gateway::Gateway;
use crate::http::{Endpoint, endpoint, family};
use crate::pipeline;
use crate::pipeline::refusal::Refusal;
use crate::stall;
use crate::tasks::Tasks;
use bytes::Bytes;
use helix_llm::Family;
use helix_shared::error_code::ErrorCode;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::sockopt;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Limit of a request's head, and of a new connection's first request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// When a silent client is asked whether it is there.
const SILENT_AFTER: Duration = Duration::from_secs(30);
/// How long it has to say so.
const SILENT_WITHIN: Duration = Duration::from_secs(20);
const MOST_HEADERS: usize = 100;
const BUFFER_BYTES: usize = 64 << 10;

/// Answers paths that are not the proxy's: the control plane's pages, when both planes share a listener.
pub type Fallback = Arc<dyn Fn(Request<Incoming>) -> FallbackFuture + Send + Sync>;
/// What a fallback returns.
pub type FallbackFuture = Pin<Box<dyn Future<Output = Response<OtherBody>> + Send>>;

/// Accepts connections until shutdown begins, then lets them finish.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    fallback: Option<Fallback>,
    tasks: Tasks,
    drain: Duration,
) {
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MOST_HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .half_close(false);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(32 << 10)
        .keep_alive_interval(SILENT_AFTER)
        .keep_alive_timeout(SILENT_WITHIN);
    let stopping = tasks.stopping();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: existing connections must end before new ones fit.
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        tune(&stream);
        let (gateway, fallback) = (Arc::clone(&gateway), fallback.clone());
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&has_asked);
        let service = service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let (gateway, fallback) = (Arc::clone(&gateway), fallback.clone());
            async move {
                let is_shared = request.version() == Version::HTTP_2;
                let response = route(&gateway, fallback.as_ref(), request).await;
                Ok::<_, Infallible>(if is_shared {
                    response.map(|body| stall::watched(body, stall::STALL))
                } else {
                    response
                })
            }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tasks.spawn("connection", async move {
            if let Err(error) = attend(connection, &has_asked, HEAD_TIMEOUT).await {
                tracing::trace!(error = %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in flight did not end within the drain limit");
    }
}

/// Serves a connection to its end. Whoever connects and asks nothing within the limit, or not enough to tell which HTTP it
/// is, is not waited for.
async fn attend<E>(
    connection: impl Future<Output = Result<(), E>>,
    has_asked: &AtomicBool,
    limit: Duration,
) -> Result<(), E> {
    let mut connection = std::pin::pin!(connection);
    match tokio::time::timeout(limit, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) if has_asked.load(Ordering::Relaxed) => connection.await,
        Err(_) => Ok(()),
    }
}

fn tune(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    // A reader that leaves sent bytes unacknowledged is cut, and so is a peer that vanished without a word.
    let stall_ms = u32::try_from(stall::STALL.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = sockopt::set_tcp_user_timeout(stream, stall_ms) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT could not be set");
    }
    let kept_alive = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, SILENT_AFTER))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, SILENT_WITHIN / 4))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 4));
    if let Err(error) = kept_alive {
        tracing::debug!(%error, "TCP keepalive could not be set");
    }
}

async fn route(
    gateway: &Arc<Gateway>,
    fallback: Option<&Fallback>,
    request: Request<Incoming>,
) -> Response<GatewayBody> {
    let path = request.uri().path();
    let Some(endpoint) = endpoint(request.method(), path, request.headers()) else {
        return match fallback {
            Some(fallback) => fallback(request).await.map(GatewayBody::Other),
            None => refuse(
                gateway,
                Family::OpenAi,
                ErrorCode::UnknownPath,
                "There is nothing at this path. The API lives under /v1.",
                request,
            ),
        };
    };
    let family = family(&endpoint, path, request.headers());
    match endpoint {
        // Boxed: the connection moves what it serves about, and this is the large one.
        Endpoint::Proxy(dialect) => Box::pin(pipeline::handle(gateway, dialect, request)).await,
        Endpoint::Stored(path) => Box::pin(pipeline::stored::handle(gateway, path, request)).await,
        Endpoint::Models => pipeline::list(gateway, family, &request, None),
        Endpoint::Model(model) => pipeline::list(gateway, family, &request, Some(&model)),
        Endpoint::Hello => Response::new(GatewayBody::from(Bytes::new())),
        Endpoint::WebSocket => {
            refuse(gateway, family, ErrorCode::UpgradeRequired, "WebSocket mode is not available; use POST.", request)
        }
        Endpoint::NotServed => refuse(
            gateway,
            family,
            ErrorCode::UnknownPath,
            "This API is known, but this version does not serve it yet.",
            request,
        ),
        Endpoint::Unknown => refuse(gateway, family, ErrorCode::UnknownPath, "There is no such API path.", request),
        Endpoint::WrongMethod(right) => {
            let mut response =
                refuse(gateway, family, ErrorCode::MethodNotAllowed, &format!("Use {right} here."), request);
            response.headers_mut().insert(http::header::ALLOW, http::HeaderValue::from_static(right));
            response
        }
    }
}

fn refuse(
    gateway: &Gateway,
    family: Family,
    code: ErrorCode,
    message: &str,
    request: Request<Incoming>,
) -> Response<GatewayBody> {
    let id = pipeline::headers::inbound_request_id(request.headers());
    let id = id.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let response = Refusal::new("request", code, message).respond(family, &id);
    pipeline::unread::throw_away_of(&gateway.drains, request);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn whoever_does_not_say_which_http_he_speaks_is_left() {
        for said in ["", "PRI *", "GE"] {
            let (mut near, far) = tokio::io::duplex(1000);
            let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(GatewayBody::from(Bytes::new()))));
            let server = auto::Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(TokioIo::new(far), service).into_owned();
            near.write_all(said.as_bytes()).await.unwrap();
            attend(connection, &AtomicBool::new(false), Duration::from_millis(50)).await.unwrap();
            assert_eq!(near.read_to_end(&mut Vec::new()).await.unwrap(), 0, "{said}");
        }
    }

    #[tokio::test]
    async fn whoever_asked_is_served_to_the_end() {
        let (ended, end) = tokio::sync::oneshot::channel::<()>();
        let served = async move { end.await.map_err(|_| "the end never came") };
        let has_asked = AtomicBool::new(true);
        let mut attended = std::pin::pin!(attend(served, &has_asked, Duration::from_millis(1)));
        let early = tokio::time::timeout(Duration::from_millis(50), attended.as_mut()).await;
        assert!(early.is_err(), "it was left");
        ended.send(()).unwrap();
        attended.await.unwrap();
    }
}
