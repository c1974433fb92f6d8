//! OpenAI chat completions, and every server that speaks like it.
//!
//! Rule: only what OpenAI's own schema and the known dialect-mates' extensions say; unknown fields pass unread.

mod request;
mod response;

pub(crate) use request::scan_request;
pub(crate) use response::observe;
