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
pub(crate) use render::{allow_tools, effort, render, thinking};
pub(crate) use render_turns::{
    check_ends, image_type, input_of, keep_last_marks, place_system_turns, tools_of_history,
};
pub(crate) use request::scan_request;
pub(crate) use response::observe;
pub(crate) use schema::transform as fit_schema;
pub(crate) use stream::{StreamReader, StreamWriter};
