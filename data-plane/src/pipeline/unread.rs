//! What is left of a request's body when the request was refused.
//!
//! Rule: a client that is still sending gets its refusal. Closing a connection with unread bytes resets it, and the reset
//! overtakes the answer; so the rest is read and thrown away, for a bounded while. Accepted requests are not touched.

use crate::tasks::Tasks;
use http::header::EXPECT;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long the client may be silent.
const QUIET: Duration = Duration::from_secs(5);
/// How long it is listened to in all.
const MOST: Duration = Duration::from_secs(30);

/// Whether the client sends its body unasked. One that waits for a word first would be told to send by our reading.
pub fn is_coming(headers: &HeaderMap) -> bool {
    !headers.contains_key(EXPECT)
}

/// Throws the rest of a body away.
pub fn throw_away(tasks: &Tasks, mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tasks.spawn("unread body", async move {
        let end = Instant::now() + MOST;
        while let Ok(Some(Ok(_))) = timeout_at((Instant::now() + QUIET).min(end), body.frame()).await {}
    });
}

/// Throws the body of a refused request away.
pub fn throw_away_of(tasks: &Tasks, request: Request<Incoming>) {
    if is_coming(request.headers()) {
        throw_away(tasks, request.into_body());
    }
}
