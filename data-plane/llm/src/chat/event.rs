//! What happens in a stream, neutrally.
//!
//! Rule: events are small and say one thing. Calls are numbered in the order they first appear; a call's arguments come in
//! pieces of the raw text.

use super::answer::{Citation, Stop};
use crate::response::ProviderError;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The provider began to answer. May come once, first.
    Start,
    Text(String),
    Refusal(String),
    Thinking(String),
    /// Vouches for the thinking before it, and ends it.
    Signature(String),
    Redacted(String),
    CallStart {
        call: usize,
        id: Option<String>,
        name: String,
    },
    Arguments {
        call: usize,
        piece: String,
    },
    CallEnd {
        call: usize,
    },
    /// So many of the last characters of text come from here.
    Cited {
        citation: Citation,
        chars: usize,
    },
    /// The thinking or text block is over; what follows is another, even of the same kind.
    BlockEnd,
    Stop(Stop),
    /// The provider's own error.
    Failed(ProviderError),
    Ping,
    /// The provider's end mark.
    End,
}
