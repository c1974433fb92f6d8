//! The way from the data plane to the control plane: a pipe in memory, or TCP.
//!
//! Rule: `serve` takes the same gRPC path as a fleet; only the bytes do not leave the process.

use anyhow::Context;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// Bytes that a pipe holds in each direction.
const PIPE_BYTES: usize = 256 << 10;
/// A silent connection is asked for a sign of life this often.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a channel whose connections arrive at the returned stream.
pub(crate) fn in_memory() -> (Channel, ReceiverStream<DuplexStream>) {
    let (pipes, arriving) = mpsc::channel(4);
    let connect = tower::service_fn(move |_: http::Uri| {
        let pipes = pipes.clone();
        async move {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let gone = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the control plane has ended");
            pipes.send(far).await.map_err(gone)?;
            Ok::<_, io::Error>(TokioIo::new(near))
        }
    });
    let channel = Endpoint::from_static("http://control-plane.local").connect_with_connector_lazy(connect);
    (channel, ReceiverStream::new(arriving))
}

/// Makes a channel over TCP. It connects when it is used, and again after it broke.
///
/// # Errors
/// When the URL cannot be one of a control plane.
pub(crate) fn over_tcp(url: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .with_context(|| format!("{url} is not a URL such as http://control:8444"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}
