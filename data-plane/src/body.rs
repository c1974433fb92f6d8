//! The bodies that clients get.

use crate::pipeline::relay::Relay;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Any error a body of another part may end with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body of another part of the process (the control plane's pages).
pub type OtherBody = Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>;

/// What a client gets.
pub enum GatewayBody {
    /// A whole answer.
    Whole(Option<Bytes>),
    /// A stream of a provider.
    Relay(Box<Relay>),
    /// Somebody else's.
    Other(OtherBody),
}

impl std::fmt::Debug for GatewayBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "GatewayBody::Whole",
            Self::Relay(_) => "GatewayBody::Relay",
            Self::Other(_) => "GatewayBody::Other",
        })
    }
}

impl From<Bytes> for GatewayBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relay(relay) => relay.poll_frame(context),
            Self::Other(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Relay(_) => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
            }
            Self::Relay(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}
