//! Answers that their client does not take, over HTTP/2.
//!
//! Rule: a client whose stream's window stays shut loses its answer after [`STALL`]; what stands behind it (a provider's
//! stream, a place, memory) comes free, and the books are closed as for a client that left. TCP cannot tell such a client:
//! its connection is well. The body cannot tell either: it is not asked while the window is shut. Over HTTP/1.1 a
//! connection carries one answer, and `TCP_USER_TIMEOUT` cuts it.

use crate::body::{BodyError, GatewayBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer may go unread.
pub const STALL: Duration = Duration::from_secs(30);
/// Looks at an answer in that time.
const LOOKS: u32 = 6;
/// The most that is given to the connection at once. What it was given it keeps until the window opens; the rest can be
/// taken back.
const PIECE_BYTES: usize = 64 << 10;

/// An answer that is watched.
struct Watched(Arc<Shared>);

struct Shared {
    answer: Mutex<Answer>,
}

struct Answer {
    /// `None`: it is over, or was taken back.
    body: Option<GatewayBody>,
    /// What is left of a piece that was too large to be given at once.
    rest: Bytes,
    /// Since when what was given waits to be taken; `None` while the answer itself is waited for.
    unread_since: Option<Instant>,
    was_taken_back: bool,
}

/// Watches an answer that may go unread for `stall`. It must be called within a runtime.
pub fn watched(body: GatewayBody, stall: Duration) -> GatewayBody {
    if body.is_end_stream() {
        return body;
    }
    let answer =
        Answer { body: Some(body), rest: Bytes::new(), unread_since: Some(Instant::now()), was_taken_back: false };
    let shared = Arc::new(Shared { answer: Mutex::new(answer) });
    TokioExecutor::new().execute(watch(Arc::downgrade(&shared), stall));
    GatewayBody::Other(Box::pin(Watched(shared)))
}

async fn watch(shared: Weak<Shared>, stall: Duration) {
    loop {
        tokio::time::sleep(stall / LOOKS).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut answer = shared.lock();
        if answer.body.is_none() && answer.rest.is_empty() {
            return;
        }
        if answer.unread_since.is_some_and(|since| since.elapsed() >= stall) {
            answer.was_taken_back = true;
            answer.rest = Bytes::new();
            let body = answer.body.take();
            // Closing the books takes a while: not under the lock.
            drop(answer);
            drop(body);
            tracing::debug!("an answer that its client did not read was taken back");
            return;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.unread_since = None;
        if self.was_taken_back {
            return Poll::Ready(Some(Err("the answer was not read in time".into())));
        }
        if self.rest.is_empty() {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let frame = match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                over_or_broken => {
                    self.body = None;
                    return Poll::Ready(over_or_broken);
                }
            };
            match frame.into_data() {
                Ok(data) if data.len() > PIECE_BYTES => self.rest = data,
                Ok(data) => {
                    self.unread_since = Some(Instant::now());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        self.unread_since = Some(Instant::now());
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        // A part of the whole would keep all of it; a copy keeps itself.
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.lock().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        let answer = self.0.lock();
        !answer.was_taken_back && answer.rest.is_empty() && answer.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let answer = self.0.lock();
        let rest = u64::try_from(answer.rest.len()).unwrap_or(u64::MAX);
        match answer.body.as_ref().and_then(|body| body.size_hint().exact()) {
            Some(exact) => SizeHint::with_exact(exact.saturating_add(rest)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::sync::mpsc;

    /// Says when it is dropped.
    struct Mourned(Bytes, mpsc::UnboundedSender<()>);

    impl AsRef<[u8]> for Mourned {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Mourned {
        fn drop(&mut self) {
            self.1.send(()).ok();
        }
    }

    /// An HTTP/2 connection to a server that answers everything with `length` bytes and waits `stall` for them to be read; the
    /// second part tells when they are gone.
    async fn connection(
        length: usize,
        window: u32,
        stall: Duration,
    ) -> (h2::client::SendRequest<Bytes>, mpsc::UnboundedReceiver<()>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (gone, news) = mpsc::unbounded_channel();
        let service = service_fn(move |_| {
            let bytes = Bytes::from_owner(Mourned(Bytes::from(vec![7; length]), gone.clone()));
            async move { Ok::<_, Infallible>(http::Response::new(watched(GatewayBody::from(bytes), stall))) }
        });
        TokioExecutor::new().execute(async move {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(server.serve_connection(TokioIo::new(far), service).await);
        });
        let (client, connection) =
            h2::client::Builder::new().initial_window_size(window).handshake::<_, Bytes>(near).await.unwrap();
        TokioExecutor::new().execute(async move { drop(connection.await) });
        (client.ready().await.unwrap(), news)
    }

    fn request() -> http::Request<()> {
        http::Request::get("http://gateway/").body(()).unwrap()
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up_and_its_stream_reset() {
        // a part of it was given to the connection before the window shut; the rest must come free all the same
        let (mut client, mut gone) = connection(10 << 20, 1000, Duration::from_millis(60)).await;
        let (response, _) = client.send_request(request(), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        gone.recv().await.unwrap();
        let read = async {
            while let Some(data) = body.data().await {
                body.flow_control().release_capacity(data?.len())?;
            }
            Ok::<_, h2::Error>(())
        };
        assert!(read.await.unwrap_err().is_reset());
    }

    #[tokio::test]
    async fn an_answer_that_is_read_a_little_at_a_time_arrives_whole() {
        let (mut client, _gone) = connection(300 << 10, 1000, STALL).await;
        let (response, _) = client.send_request(request(), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut length = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            length += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(length, 300 << 10);
    }

    #[tokio::test]
    async fn pieces_make_the_whole_and_say_how_much_is_left() {
        let mut body = watched(GatewayBody::from(Bytes::from(vec![1; 150 << 10])), STALL);
        let mut left = 150 << 10;
        while let Some(frame) = body.frame().await {
            left -= frame.unwrap().into_data().unwrap().len();
            assert_eq!(body.size_hint().exact().unwrap_or(0), left as u64);
        }
        assert!(left == 0 && body.is_end_stream());
    }
}
