//! The neutral conversation: what a request, an answer and a stream say, whatever dialect said it.
//!
//! Rule: a dialect converts to and from these types and knows no other dialect, so a new one costs two conversions and not
//! two for each dialect there is. What a type here cannot say is named when it is left behind.
//! Not here: the bytes of any dialect; money.

pub(crate) mod answer;
pub(crate) mod event;
pub(crate) mod names;
pub(crate) mod pairing;
pub(crate) mod request;
pub(crate) mod sequence;
pub(crate) mod signed_id;
pub(crate) mod traits;
