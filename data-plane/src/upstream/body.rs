//! The body that goes upstream: slices of what the client sent, in order, never joined.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Pieces of a body with a known length.
#[derive(Debug, Default)]
pub struct Pieces {
    parts: VecDeque<Bytes>,
    left_bytes: u64,
}

impl Pieces {
    /// Takes the pieces; `length_bytes` is the sum of their lengths.
    pub fn new(parts: Vec<Bytes>, length_bytes: u64) -> Self {
        Self { parts: parts.into(), left_bytes: length_bytes }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.pop_front();
        if let Some(part) = &part {
            self.left_bytes = self.left_bytes.saturating_sub(u64::try_from(part.len()).unwrap_or(0));
        }
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}
