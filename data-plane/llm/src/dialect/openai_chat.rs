//! OpenAI chat completions, and every server that speaks like it.
//!
//! Rule: only what OpenAI's own schema and the known dialect-mates' extensions say; unknown fields pass unread.

mod glance;
mod request;
mod response;

pub(crate) use glance::text_of;
pub(crate) use request::scan_request;
pub(crate) use response::observe;
