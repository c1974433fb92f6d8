//! A connection that carries many requests at once (HTTP/2), and the places on it.
//!
//! Rule: a request takes a place before it is sent, and leaves it when its answer was read or dropped; no more have one than
//! the peer allows. What was sent is sent again only where the peer says that it did not look at it.

use super::body::Pieces;
use super::pool::SendError;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::{Executor as _, Read, Write};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most requests at once on one connection, whatever its peer allows: a lost packet holds all of them up.
const MOST_PLACES: usize = 100;
/// What a peer may send of one answer before it was read.
const ANSWER_WINDOW_BYTES: u32 = 256 << 10;
/// The same for all answers of a connection: none that is read slowly holds up another.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
const HEADER_BYTES: u32 = 64 << 10;
/// When a silent peer is asked whether it is there, while requests wait for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    /// After so long without a word.
    pub(super) after: Duration,
    /// It has so long to say so.
    pub(super) within: Duration,
}

/// What suits providers.
pub(super) const PULSE: Pulse = Pulse { after: Duration::from_secs(20), within: Duration::from_secs(10) };
/// Places on a connection whose peer has not said yet how many it allows. One that waits in the connection for another's
/// end would wait as long as the longest answer takes.
const PLACES_UNHEARD: usize = 1;
/// How long that word is waited for.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked for.
const HEAR_EVERY: Duration = Duration::from_millis(5);

/// A connection.
#[derive(Debug, Clone)]
pub(super) struct Line {
    sender: SendRequest<Pieces>,
    load: Arc<Load>,
}

#[derive(Debug)]
struct Load {
    taken: AtomicUsize,
    /// Most places, as the peer said last.
    most: AtomicUsize,
    is_heard: AtomicBool,
    /// Tells that the peer has said it.
    news: Notify,
    /// How often it was looked at since it was used.
    idle_looks: AtomicU32,
}

/// A request's place on a connection.
#[derive(Debug)]
pub(super) struct Place(Line);

/// Why there is no answer.
pub(super) struct Refused {
    pub(super) error: SendError,
    /// The request, when its peer did not look at it.
    pub(super) back: Option<Box<Request<Pieces>>>,
}

impl Line {
    /// Begins to speak on a fresh connection.
    ///
    /// # Errors
    /// When its peer does not speak HTTP/2.
    pub(super) async fn begin(
        stream: impl Read + Write + Unpin + Send + 'static,
        pulse: Pulse,
    ) -> Result<Self, hyper::Error> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(ANSWER_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_max_send_streams(PLACES_UNHEARD)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(pulse.after)
            .keep_alive_timeout(pulse.within);
        let (sender, mut connection) = builder.handshake(stream).await?;
        let load = Arc::new(Load {
            taken: AtomicUsize::new(0),
            most: AtomicUsize::new(PLACES_UNHEARD),
            is_heard: AtomicBool::new(false),
            news: Notify::new(),
            idle_looks: AtomicU32::new(0),
        });
        let heard = Arc::clone(&load);
        // Frames are read by a task of hyper's own, which tells nobody of settings: they are looked for until they are there.
        let (mut look, begun) = (tokio::time::interval(HEAR_EVERY), Instant::now());
        let driven = std::future::poll_fn(move |context| {
            let polled = Pin::new(&mut connection).poll(context);
            heard.hear(connection.current_max_send_streams());
            while polled.is_pending() && !heard.is_heard.load(Ordering::Acquire) && look.poll_tick(context).is_ready() {
                heard.hear(connection.current_max_send_streams());
                if begun.elapsed() > HEARD_WITHIN {
                    heard.settle();
                }
            }
            polled
        });
        TokioExecutor::new().execute(async move {
            if let Err(error) = driven.await {
                tracing::debug!(error = %crate::chain(&error), "a provider's connection ended");
            }
        });
        Ok(Self { sender, load })
    }

    /// Takes a place, if one is free.
    pub(super) fn place(&self) -> Option<Place> {
        let taken = self.load.taken.fetch_add(1, Ordering::AcqRel);
        // Made before the look, so that it is given back in any case.
        let place = Place(self.clone());
        // A peer may say that it takes none for now; it is asked nevertheless, one at a time, and waits with the answer.
        let most = self.load.most.load(Ordering::Relaxed).max(1);
        (taken < most && !self.is_over()).then_some(place)
    }

    /// Whether its peer has said how many requests it allows.
    pub(super) fn is_heard(&self) -> bool {
        self.load.is_heard.load(Ordering::Acquire)
    }

    /// Waits until its peer has said so, for a moment.
    pub(super) async fn hear(&self) {
        let news = self.load.news.notified();
        if !self.is_heard() {
            // Whoever drives the connection gives up sooner, unless it is over.
            let _is_told = tokio::time::timeout(2 * HEARD_WITHIN, news).await.is_ok();
            self.load.settle();
        }
    }

    /// Whether it takes no request any more.
    pub(super) fn is_over(&self) -> bool {
        self.sender.is_closed()
    }

    /// Looks at it; returns how many looks it has been unused for.
    pub(super) fn look(&self) -> u32 {
        if self.load.taken.load(Ordering::Acquire) > 0 {
            self.load.idle_looks.store(0, Ordering::Relaxed);
            return 0;
        }
        self.load.idle_looks.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.load, &other.load)
    }
}

impl Load {
    fn hear(&self, most: usize) {
        self.most.store(most.min(MOST_PLACES), Ordering::Relaxed);
        if most != PLACES_UNHEARD {
            self.settle();
        }
    }

    /// Takes what was heard so far for what the peer has to say.
    fn settle(&self) {
        if !self.is_heard.swap(true, Ordering::AcqRel) {
            self.news.notify_waiters();
        }
    }
}

impl Place {
    /// The connection.
    pub(super) fn line(&self) -> &Line {
        &self.0
    }

    /// Sends a request whose URI is absolute.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) async fn send(&mut self, request: Request<Pieces>) -> Result<Response<Incoming>, Refused> {
        self.0.load.idle_looks.store(0, Ordering::Relaxed);
        let spare = request.clone();
        let mut error = match self.0.sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let unsent = error.take_message();
        let error = error.into_error();
        let again = unsent.or_else(|| (was_not_looked_at(&error) && spare.body().is_all_there()).then_some(spare));
        Err(Refused { error: SendError::Broken(error), back: again.map(Box::new) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.load.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the peer says that it did nothing with a request: it refused the stream, or left before it (RFC 9113, 8.7).
fn was_not_looked_at(error: &hyper::Error) -> bool {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else { return false };
    // The way out is told to those requests alone that stand behind the last one that counts.
    error.is_remote() && (error.is_go_away() || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
