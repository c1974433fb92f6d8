//! The body of an answer, which holds its connection until it was read to the end.
//!
//! Rule: a connection whose answer was not read to the end is closed, never used again; where answers share one, only
//! theirs ends.

use super::line::Place;
use super::pool::{Origin, Sender};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A body as it comes from a provider.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    lease: Option<Lease>,
}

/// What an answer holds while it is read.
#[derive(Debug)]
pub(super) enum Lease {
    /// A connection, and where it came from.
    Alone(Sender, Arc<Origin>),
    /// A place on one.
    Shared(Place),
}

impl Answer {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        Self { body, lease: Some(lease) }
    }

    fn give_back(&mut self) {
        match self.lease.take() {
            Some(Lease::Alone(sender, origin)) => origin.give_back(sender),
            Some(Lease::Shared(place)) => drop(place),
            None => {}
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}
