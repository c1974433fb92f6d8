//! The connections to one backend: taken for a request, given back when its answer was read to the end.
//!
//! Rule: a request goes to the host that it names. One that a kept connection did not take any more is sent on another;
//! whatever a provider may have looked at is never sent again. Where HTTP/2 is spoken, requests share a connection.

use super::answer::{Answer, Lease};
use super::body::Pieces;
use super::line::{Line, PULSE, Place, Pulse, Refused};
use helix_shared::provider::HttpVersion;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::client::conn::{TrySendError, http1};
use hyper::rt::Executor as _;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tower_service::Service as _;

/// The sending half of a connection.
pub(super) type Sender = http1::SendRequest<Pieces>;

/// The way to a head.
pub type Responding = Pin<Box<dyn Future<Output = Result<Response<Answer>, SendError>> + Send>>;

/// How often connections that nobody uses are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(18);
/// Looks that an idle connection survives: it is closed after 36 to 54 s, before common servers do so after 60 s.
const LOOKS: u32 = 2;
/// Most idle connections that are kept.
const MOST_IDLE: usize = 1024;
const READ_BUFFER_BYTES: usize = 64 << 10;
/// How often a request is sent that its peer did not look at.
const MOST_TRIES: u32 = 4;

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection: nothing was sent.
    #[error("no connection to the provider")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection ended, or what came was not HTTP.
    #[error("the provider's connection broke")]
    Broken(#[source] hyper::Error),
}

/// The connections of a backend.
#[derive(Debug)]
pub struct Pool {
    connector: HttpsConnector<HttpConnector>,
    version: HttpVersion,
    connect_timeout: Duration,
    pulse: Pulse,
    main: Arc<Origin>,
    /// Other hosts of the same backend: the regions of a cloud.
    others: Mutex<Vec<Arc<Origin>>>,
}

/// A host, and the connections to it that wait for a request.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    host: Option<HeaderValue>,
    idle: Mutex<Idle>,
    /// Whether its last connection was a shared one, or will be. Before that is known, each request makes one of its own.
    is_shared: AtomicBool,
    lines: Mutex<Vec<Line>>,
    /// Whoever holds it makes the next shared connection.
    joining: tokio::sync::Mutex<()>,
}

enum Connected {
    /// For one request at a time.
    Alone(Sender),
    Shared(Place),
}

#[derive(Debug, Default)]
struct Idle {
    /// Each with the look at which it was given back; the last one is used first.
    senders: VecDeque<(u32, Sender)>,
    look: u32,
    is_looked_at: bool,
}

enum Taken {
    Ready(Sender),
    /// Connections are there, and none can take a request yet.
    NotYet,
    Nothing,
}

impl Pool {
    /// A pool without connections. `connect_timeout` bounds name, connection and handshake together.
    /// `connector` offers what `version` says.
    pub fn new(
        connector: HttpsConnector<HttpConnector>,
        version: HttpVersion,
        scheme: Scheme,
        authority: Authority,
        connect_timeout: Duration,
    ) -> Self {
        let main = Arc::new(Origin::new(scheme, authority, version));
        Self { connector, version, connect_timeout, pulse: PULSE, main, others: Mutex::default() }
    }

    /// Sends a request with an absolute URI.
    pub fn send(self: &Arc<Self>, request: Request<Pieces>) -> Responding {
        let pool = Arc::clone(self);
        Box::pin(async move { pool.exchange(request).await })
    }

    async fn exchange(&self, mut request: Request<Pieces>) -> Result<Response<Answer>, SendError> {
        let origin = self.origin(request.uri());
        if origin.is_shared.load(Ordering::Relaxed) {
            return Box::pin(self.share(origin, None, request)).await;
        }
        if let Some(host) = &origin.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        *request.uri_mut() = path_of(request.uri());
        while let Some(mut sender) = origin.take().await {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|body| Answer::new(body, Lease::Alone(sender, origin)))),
                Err(mut error) => match error.take_message() {
                    // It was closed while it was kept, and has not taken this request.
                    Some(back) => request = back,
                    None => return Err(SendError::Broken(error.into_error())),
                },
            }
        }
        let mut sender = match self.connect(&origin).await? {
            Connected::Alone(sender) => sender,
            Connected::Shared(place) => return Box::pin(self.share(origin, Some(place), request)).await,
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(|body| Answer::new(body, Lease::Alone(sender, origin)))),
            Err(error) => Err(unanswered(error)),
        }
    }

    /// Sends a request on a shared connection, again where its peer did not look at it.
    async fn share(
        &self,
        origin: Arc<Origin>,
        mut place: Option<Place>,
        mut request: Request<Pieces>,
    ) -> Result<Response<Answer>, SendError> {
        // The authority says it.
        request.headers_mut().remove(HOST);
        *request.uri_mut() = origin.absolute(request.uri());
        let mut tries = 0;
        loop {
            let mut place = match place.take().or_else(|| origin.place()) {
                Some(place) => place,
                None => match self.join_in_time(&origin).await? {
                    Connected::Shared(place) => place,
                    // Another server stands there now.
                    Connected::Alone(sender) => return Self::go_alone(origin, sender, request).await,
                },
            };
            tries += 1;
            match place.send(request).await {
                Ok(response) => return Ok(response.map(|body| Answer::new(body, Lease::Shared(place)))),
                Err(Refused { error, back: None }) => return Err(error),
                // Nobody looked at it, so nobody bills it.
                Err(Refused { error, .. }) if tries == MOST_TRIES => {
                    return Err(SendError::Unreachable(error.into()));
                }
                Err(Refused { back: Some(back), .. }) => {
                    origin.leave(place.line());
                    request = *back;
                }
            }
        }
    }

    async fn go_alone(
        origin: Arc<Origin>,
        mut sender: Sender,
        mut request: Request<Pieces>,
    ) -> Result<Response<Answer>, SendError> {
        if let Some(host) = &origin.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        *request.uri_mut() = path_of(request.uri());
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(|body| Answer::new(body, Lease::Alone(sender, origin)))),
            Err(error) => Err(unanswered(error)),
        }
    }

    async fn join_in_time(&self, origin: &Arc<Origin>) -> Result<Connected, SendError> {
        let joined = tokio::time::timeout(self.connect_timeout, self.join(origin)).await;
        joined.map_err(|_| SendError::Unreachable("the connection was not made in time".into()))?
    }

    /// Makes a shared connection, one at a time: who waited takes a place on it.
    async fn join(&self, origin: &Arc<Origin>) -> Result<Connected, SendError> {
        let _turn = origin.joining.lock().await;
        loop {
            if let Some(place) = origin.place() {
                return Ok(Connected::Shared(place));
            }
            // The last one may have more places than its peer has said yet.
            let fresh = origin.lines().iter().find(|line| !line.is_heard() && !line.is_over()).cloned();
            match fresh {
                Some(line) => line.hear().await,
                None => return self.connect(origin).await,
            }
        }
    }

    fn origin(&self, uri: &Uri) -> Arc<Origin> {
        let Some(authority) = uri.authority().filter(|it| it.as_str() != self.main.authority.as_str()) else {
            return Arc::clone(&self.main);
        };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.iter().find(|it| it.authority.as_str() == authority.as_str()) {
            return Arc::clone(known);
        }
        let scheme = uri.scheme().unwrap_or(&self.main.scheme).clone();
        let origin = Arc::new(Origin::new(scheme, authority.clone(), self.version));
        others.push(Arc::clone(&origin));
        origin
    }

    async fn connect(&self, origin: &Arc<Origin>) -> Result<Connected, SendError> {
        let unreachable = |error: &'static str| SendError::Unreachable(error.into());
        let uri = Uri::builder().scheme(origin.scheme.clone()).authority(origin.authority.clone()).path_and_query("/");
        let uri = uri.build().map_err(|error| SendError::Unreachable(error.into()))?;
        let connecting = self.connector.clone().call(uri);
        let stream = match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(SendError::Unreachable)?,
            Err(_) => return Err(unreachable("the connection was not made in time")),
        };
        let is_agreed = stream.connected().is_negotiated_h2();
        if self.version == HttpVersion::Two && origin.scheme == Scheme::HTTPS && !is_agreed {
            return Err(unreachable("the server does not offer HTTP/2"));
        }
        let is_shared = self.version == HttpVersion::Two || is_agreed;
        origin.is_shared.store(is_shared, Ordering::Relaxed);
        if is_shared {
            return Box::pin(origin.begin(stream, self.connect_timeout, self.pulse)).await.map(Connected::Shared);
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES);
        let (sender, connection) = builder.handshake(stream).await.map_err(SendError::Broken)?;
        TokioExecutor::new().execute(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %crate::chain(&error), "a provider's connection ended");
            }
        });
        Ok(Connected::Alone(sender))
    }
}

/// Why a fresh connection gave no answer: one that hands the request back never sent a byte of it.
fn unanswered(mut error: TrySendError<Request<Pieces>>) -> SendError {
    match error.take_message() {
        Some(_) => SendError::Unreachable(error.into_error().into()),
        None => SendError::Broken(error.into_error()),
    }
}

/// What stands behind the host.
fn path_of(uri: &Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = uri.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_default()
}

impl Origin {
    fn new(scheme: Scheme, authority: Authority, version: HttpVersion) -> Self {
        // The part before an `@` is no host, and may be a secret.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host).ok();
        Self {
            scheme,
            authority,
            host,
            idle: Mutex::default(),
            is_shared: AtomicBool::new(version == HttpVersion::Two),
            lines: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
        }
    }

    /// The address of a path here, for a connection that carries no `Host`.
    fn absolute(&self, uri: &Uri) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = self.host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
        parts.path_and_query = uri.path_and_query().cloned();
        Uri::from_parts(parts).unwrap_or_default()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place on the first shared connection that has one.
    fn place(&self) -> Option<Place> {
        self.lines().iter().find_map(Line::place)
    }

    /// Begins to share a fresh connection, unless another was made meanwhile that has a place.
    async fn begin(
        self: &Arc<Self>,
        stream: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
        limit: Duration,
        pulse: Pulse,
    ) -> Result<Place, SendError> {
        if let Some(place) = self.place() {
            return Ok(place);
        }
        let unreachable = |error: &'static str| SendError::Unreachable(error.into());
        let begun = tokio::time::timeout(limit, Line::begin(stream, pulse)).await;
        let line = begun.map_err(|_| unreachable("the connection was not made in time"))?;
        let line = line.map_err(|error| SendError::Unreachable(error.into()))?;
        let place = line.place().ok_or_else(|| unreachable("the connection ended at once"))?;
        let mut lines = self.lines();
        lines.retain(|line| !line.is_over());
        lines.push(line);
        drop(lines);
        self.be_looked_after();
        Ok(place)
    }

    /// Gives a shared connection no further request.
    fn leave(&self, line: &Line) {
        self.lines().retain(|held| !held.is(line));
    }

    fn be_looked_after(self: &Arc<Self>) {
        let begins = !std::mem::replace(&mut self.idle().is_looked_at, true);
        if begins {
            TokioExecutor::new().execute(look_after(Arc::downgrade(self)));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that was used last and can take a request.
    async fn take(&self) -> Option<Sender> {
        match self.take_ready() {
            Taken::Ready(sender) => return Some(sender),
            Taken::Nothing => return None,
            // An answer was read to the end a moment ago; the task of its connection has yet to see that.
            Taken::NotYet => tokio::task::yield_now().await,
        }
        match self.take_ready() {
            Taken::Ready(sender) => Some(sender),
            Taken::Nothing | Taken::NotYet => None,
        }
    }

    fn take_ready(&self) -> Taken {
        let mut idle = self.idle();
        let ready = idle.senders.iter().rposition(|(_, sender)| sender.is_ready());
        if let Some((_, sender)) = ready.and_then(|at| idle.senders.remove(at)) {
            return Taken::Ready(sender);
        }
        if idle.senders.iter().all(|(_, sender)| sender.is_closed()) { Taken::Nothing } else { Taken::NotYet }
    }

    /// Keeps a connection whose answer was read to the end.
    pub(super) fn give_back(self: &Arc<Self>, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle();
        let look = idle.look;
        idle.senders.push_back((look, sender));
        let oldest = if idle.senders.len() > MOST_IDLE { idle.senders.pop_front() } else { None };
        let begins = !std::mem::replace(&mut idle.is_looked_at, true);
        drop(idle);
        drop(oldest);
        if begins {
            TokioExecutor::new().execute(look_after(Arc::downgrade(self)));
        }
    }

    /// Closes what nobody used since the look before the last; whether nothing is left to be looked at.
    fn look(&self) -> bool {
        let mut idle = self.idle();
        idle.look = idle.look.wrapping_add(1);
        let look = idle.look;
        let is_old =
            |(given_back, sender): &(u32, Sender)| look.wrapping_sub(*given_back) > LOOKS || sender.is_closed();
        let (old, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut idle.senders).into_iter().partition(is_old);
        let mut lines = self.lines();
        lines.retain(|line| line.look() <= LOOKS && !line.is_over());
        let is_over = kept.is_empty() && lines.is_empty();
        drop(lines);
        idle.senders = kept;
        idle.is_looked_at = !is_over;
        drop(idle);
        drop(old);
        is_over
    }
}

/// Closes connections that nobody used for a while; ends when none is left.
async fn look_after(origin: Weak<Origin>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(origin) = origin.upgrade() else { return };
        if origin.look() {
            return;
        }
    }
}

#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
