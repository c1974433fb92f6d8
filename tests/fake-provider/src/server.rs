//! The listener: HTTP/1.1 over TCP without Nagle's delay, or what its TLS agrees on, and the paths.
//!
//! Rule: whatever a connection does, the server goes on; shutdown closes every connection at once, as a crash would.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ask::{Dialect, Endpoint};
use crate::body::PlanBody;
use crate::fault::Fault;
use crate::price::known_models;
use crate::provider::Provider;
use crate::wire::{BreakableStream, Switch};
use crate::{anthropic, control, openai};

type Answer = Response<Either<PlanBody, Full<Bytes>>>;

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the script resets the connection")]
    Reset,
    #[error("the request body cannot be read")]
    Body(#[from] hyper::Error),
}

/// Binds a listener with a long queue.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

/// Accepts connections until told to stop.
pub(crate) async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    provider: Arc<Provider>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (provider, stop, tls) = (provider.clone(), stop.clone(), tls.clone());
                tasks.spawn(async move {
                    provider.bill.connection_opened();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = serve(stream, tls, provider.clone()) => {}
                    }
                    provider.bill.connection_closed();
                });
            }
            // Out of file descriptors, most likely: let some connections end.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, provider: Arc<Provider>) {
    let switch = Switch::default();
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stream = BreakableStream::new(stream, switch.clone());
    let service = service_fn(move |request| answer(request, provider.clone(), switch.clone()));
    if let Some(tls) = tls {
        let Ok(stream) = tls.accept(stream).await else { return };
        let served = auto::Builder::new(TokioExecutor::new());
        drop(served.serve_connection(TokioIo::new(stream), service).await);
        return;
    }
    let io = TokioIo::new(stream);
    let served = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(None).serve_connection(io, service);
    // A connection that breaks is what the scripts are for; the bill tells it.
    drop(served.await);
}

async fn answer(request: Request<Incoming>, provider: Arc<Provider>, switch: Switch) -> Result<Answer, Broken> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if let Some(path) = path.strip_prefix("/_fake/") {
        let body = body.collect().await?.to_bytes();
        let query = parts.uri.query().unwrap_or_default();
        let (status, json) = control::answer(&provider, &parts.method, path, query, &body).await;
        return Ok(text(status, "application/json", json.to_string()));
    }
    if crate::issuers::is_issuer(path) {
        let body = body.collect().await?.to_bytes();
        let (status, kind, body) = provider.issuers.answer(&parts, &body).unwrap_or((404, "text/plain", String::new()));
        return Ok(text(StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND), kind, body));
    }
    let endpoint = match (&parts.method, Endpoint::of(path)) {
        (&Method::POST, Some(endpoint)) => endpoint,
        (&Method::GET | &Method::DELETE, None) if path.contains("/responses/") => {
            let key = crate::ask::key_of(&parts.headers).unwrap_or_default();
            let (_, rest) = path.rsplit_once("/responses/").unwrap_or_default();
            return Ok(match provider.kept.answer(key, rest, parts.method == Method::DELETE) {
                Some(json) => text(StatusCode::OK, "application/json", json.to_string()),
                None => no_such_path(&parts.uri),
            });
        }
        (&Method::GET | &Method::HEAD, _) => return Ok(read_only(&parts.uri, &parts.headers)),
        _ => return Ok(no_such_path(&parts.uri)),
    };
    let body = body.collect().await?.to_bytes();
    match provider.answer(endpoint, &parts, &body).await {
        Some((plan, charge)) => {
            let (status, headers) = (plan.status, plan.headers.clone());
            let mut answer = Response::new(Either::Left(PlanBody::new(plan, charge, switch, provider.gates.clone())));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            *answer.headers_mut() = headers;
            Ok(answer)
        }
        None => {
            switch.cut(true);
            Err(Broken::Reset)
        }
    }
}

/// The model lists and the probes of clients: free and not on the bill.
fn read_only(uri: &Uri, headers: &http::HeaderMap) -> Answer {
    let is_anthropic = headers.contains_key("anthropic-version");
    let path = uri.path();
    let json = if path.ends_with("/models") {
        if crate::ask::key_of(headers).is_some_and(|key| key.starts_with("bad")) {
            let dialect = if is_anthropic { Dialect::Anthropic } else { Dialect::OpenAi };
            let fault = Fault::new(401, "Incorrect API key provided.").body(dialect, "req_fake");
            return text(StatusCode::UNAUTHORIZED, "application/json", fault);
        }
        if is_anthropic { anthropic::models(known_models()) } else { openai::models(known_models()) }
    } else if let Some((_, name)) = path.rsplit_once("/models/") {
        match known_models().find(|known| *known == name) {
            Some(name) if is_anthropic => anthropic::model(name),
            Some(name) => openai::model(name),
            None => return no_such_path(uri),
        }
    } else if path == "/" || path == "/api/hello" {
        "{}".to_owned()
    } else {
        return no_such_path(uri);
    };
    text(StatusCode::OK, "application/json", json)
}

fn no_such_path(uri: &Uri) -> Answer {
    let fault = Fault::new(404, format!("Unknown path {}", uri.path()));
    text(StatusCode::NOT_FOUND, "application/json", fault.body(Dialect::OpenAi, ""))
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Either::Right(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    answer
}
