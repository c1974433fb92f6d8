//! OpenAI responses, as a client speaks it to backends that do not.
//!
//! Rule: a client's dialect only. Nothing is stored: what would need a store is refused.
//! Not here: a backend that speaks it itself.

mod answer;
mod carrier;
mod echo;
mod item;
mod items;
mod parse;
mod request;
mod write;

pub(crate) use answer::render_answer;
pub(crate) use echo::Echo;
pub(crate) use parse::parse;
pub(crate) use request::scan_request;
pub(crate) use write::StreamWriter;
