//! OpenAI responses: as it passes to backends that speak it, and as a client speaks it to those that do not.
//!
//! Rule: what passes is read and not touched, but for the ids of responses that the provider keeps. Where it is
//! translated, nothing is stored: what would need a store is refused.

mod answer;
mod carrier;
mod echo;
mod item;
mod items;
mod observe;
mod parse;
mod request;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use answer::render_answer;
pub(crate) use echo::Echo;
pub(crate) use observe::{id_spans, observe};
pub(crate) use parse::parse;
pub(crate) use request::scan_request;
pub(crate) use write::StreamWriter;
