//! Ollama's own dialect: `/api/chat`, whole or as lines of JSON. A backend's only.
//!
//! Rule: arguments of calls are objects here and text everywhere else; a stream is asked for or declined in so many words,
//! because it is the default.

mod answer;
mod options;
mod render;
mod render_messages;
mod request;
mod response;
mod stream;

pub(crate) use answer::parse_answer;
pub(crate) use options::keep_own;
pub(crate) use render::render;
pub(crate) use request::scan_request;
pub(crate) use response::observe;
pub(crate) use stream::StreamReader;
