//! Listening: connections in, the pipeline behind them, everything bounded.
//!
//! Rule: `TCP_NODELAY` on every connection; slow heads, dead peers and endless drains are cut by time.

use crate::body::{GatewayBody, OtherBody};
use crate::gateway::Gateway;
use crate::http::{Endpoint, endpoint, family};
use crate::pipeline;
use crate::pipeline::refusal::Refusal;
use crate::tasks::Tasks;
use bytes::Bytes;
use helix_llm::Family;
use helix_shared::error_code::ErrorCode;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Limit of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave sent bytes unacknowledged: a reader that stalls is cut.
const WRITE_STALL: Duration = Duration::from_secs(60);
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
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(100).max_header_list_size(32 << 10);
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
        let service = service_fn(move |request| {
            let (gateway, fallback) = (Arc::clone(&gateway), fallback.clone());
            async move { Ok::<_, Infallible>(route(&gateway, fallback.as_ref(), request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tasks.spawn("connection", async move {
            if let Err(error) = connection.await {
                tracing::trace!(error = %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests in flight did not end within the drain limit");
    }
}

fn tune(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let stall_ms = u32::try_from(WRITE_STALL.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, stall_ms) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT could not be set");
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
