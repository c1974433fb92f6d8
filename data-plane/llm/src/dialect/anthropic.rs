//! Anthropic messages and their token count.
//!
//! Rule: only what Anthropic's own schema says; unknown fields and blocks pass unread, unless they refer to content
//! that is not in the body.

mod answer;
mod block;
mod glance;
mod parse;
mod render;
mod render_turns;
mod request;
mod response;
mod schema;
mod stream;

pub(crate) use answer::{parse_answer, render_answer};
pub(crate) use glance::text_of;
pub(crate) use parse::parse;
pub(crate) use render::render;
pub(crate) use request::scan_request;
pub(crate) use response::observe;
pub(crate) use stream::{StreamReader, StreamWriter};
