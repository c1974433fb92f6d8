//! The yardstick: hyper in, hyper out, and nothing in between.
//!
//! Rule: what stands here is the least that a proxy on this HTTP stack can do, with the gateway's allocator and
//! runtime, so that gateway minus pass-through is the price of governing. It deliberately strips no header, retries
//! nothing and logs nothing.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Answer = Response<Either<Incoming, Empty<Bytes>>>;
type Upstream = Client<HttpConnector, Incoming>;

/// Serves until the process ends, each request sent on to `upstream` and its answer streamed back.
pub(crate) async fn serve(listener: TcpListener, upstream: SocketAddr) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.context("accept on the pass-through")?;
        socket.set_nodelay(true)?;
        let client = client.clone();
        let service = service_fn(move |request| forward(client.clone(), upstream, request));
        connections
            .spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(client: Upstream, upstream: SocketAddr, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let answer = match format!("http://{upstream}{path}").parse::<Uri>() {
        Ok(uri) => {
            *request.uri_mut() = uri;
            client.request(request).await.ok()
        }
        Err(_) => None,
    };
    Ok(answer.map_or_else(bad_gateway, |answer| answer.map(Either::Left)))
}

fn bad_gateway() -> Answer {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
