//! OpenAI chat completions, and every server that speaks like it.
//!
//! Rule: only what OpenAI's own schema and the known dialect-mates' extensions say; unknown fields pass unread.

mod answer;
mod glance;
mod message;
mod parse;
mod render;
mod render_messages;
mod request;
mod response;
mod stream;

pub(crate) use answer::{freeform_input, parse_answer, render_answer, render_stop, render_usage};
pub(crate) use glance::text_of;
pub(crate) use message::{parse_file, parse_url};
pub(crate) use parse::{
    parse, parse_allowed, parse_choice_word, parse_effort, parse_function, parse_schema, parse_stop, parse_tier,
};
pub(crate) use render::render;
pub(crate) use render_messages::BILLING_NOTE;
pub(crate) use request::{read_stream_options, scan_request};
pub(crate) use response::observe;
pub(crate) use stream::{StreamReader, StreamWriter, write_data};
