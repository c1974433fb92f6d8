//! One request for a file, and its answer.
//!
//! Rule: it goes to a judged address and carries nothing but the path; the answer is read no further than it may be long.

use super::destination::Destination;
use super::{Denied, File, MOST_FILE_BYTES, kind};
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, USER_AGENT,
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONNECT: Duration = Duration::from_secs(5);
const HEAD_BYTES: usize = 32 << 10;

/// What a server answered.
pub(super) enum Answer {
    File(File),
    /// Where it sends us on to.
    Elsewhere(String),
}

/// Asks for a file.
///
/// # Errors
/// [`Denied`].
pub(super) async fn get(
    destination: &Destination,
    tls: &Arc<rustls::ClientConfig>,
    has_room: &mut (dyn FnMut(usize) -> bool + Send),
) -> Result<Answer, Denied> {
    let stream = tokio::time::timeout(CONNECT, connect(destination)).await.map_err(|_| Denied::Unreachable)??;
    if !destination.is_tls {
        return speak(TokioIo::new(stream), destination, has_room).await;
    }
    let name = ServerName::try_from(destination.host.clone()).map_err(|_| Denied::NoUrl)?;
    let handshake = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    let stream = tokio::time::timeout(CONNECT, handshake).await.map_err(|_| Denied::Unreachable)?;
    speak(TokioIo::new(stream.map_err(|_| Denied::Unreachable)?), destination, has_room).await
}

async fn connect(destination: &Destination) -> Result<TcpStream, Denied> {
    for address in &destination.addresses {
        if let Ok(stream) = TcpStream::connect(address).await {
            return Ok(stream);
        }
    }
    Err(Denied::Unreachable)
}

async fn speak(
    stream: impl Read + Write + Unpin + Send + 'static,
    to: &Destination,
    has_room: &mut (dyn FnMut(usize) -> bool + Send),
) -> Result<Answer, Denied> {
    let request = Request::get(&to.path)
        .header(HOST, &to.authority)
        .header(USER_AGENT, "helixgateway")
        .header(ACCEPT, "image/png, image/jpeg, image/gif, image/webp, application/pdf, text/plain")
        .header(ACCEPT_ENCODING, "identity")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Denied::NoUrl)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(stream).await.map_err(|_| Denied::Unreachable)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| Denied::Unreachable)?;
        read(response, has_room).await
    };
    // The connection is driven here and ends with its answer.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

async fn read(
    response: Response<Incoming>,
    has_room: &mut (dyn FnMut(usize) -> bool + Send),
) -> Result<Answer, Denied> {
    let status = response.status();
    if status.is_redirection() {
        let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        return place.map(|place| Answer::Elsewhere(place.to_owned())).ok_or(Denied::Status(status.as_u16()));
    }
    if status != http::StatusCode::OK {
        return Err(Denied::Status(status.as_u16()));
    }
    let is_encoded = |headers: &HeaderMap| headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    if is_encoded(response.headers()) {
        return Err(Denied::Kind);
    }
    let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MOST_FILE_BYTES) {
        return Err(Denied::TooLarge);
    }
    let said = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Denied::Unreachable)?.into_data() else { continue };
        if bytes.len() + data.len() > MOST_FILE_BYTES {
            return Err(Denied::TooLarge);
        }
        if !has_room(bytes.len() + data.len()) {
            return Err(Denied::NoRoom);
        }
        bytes.extend_from_slice(&data);
    }
    let media_type = kind::of(&said, &bytes).ok_or(Denied::Kind)?;
    Ok(Answer::File(File { media_type, bytes: bytes.freeze() }))
}
