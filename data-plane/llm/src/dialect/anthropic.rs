//! Anthropic messages and their token count.
//!
//! Rule: only what Anthropic's own schema says; unknown fields and blocks pass unread, unless they refer to content
//! that is not in the body.

mod glance;
mod request;
mod response;

pub(crate) use glance::text_of;
pub(crate) use request::scan_request;
pub(crate) use response::observe;
