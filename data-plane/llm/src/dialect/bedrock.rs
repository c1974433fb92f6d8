//! Amazon Bedrock's Converse and `ConverseStream`: a backend's dialect only.
//!
//! Rule: bodies are those that we render and answers those of the service model; the model and whether to stream stand in
//! the address and not in the body.
//! Not here: addresses and signatures (the data plane), the framing of streams ([`crate::aws_events`]).

mod answer;
mod block;
mod events;
mod failure;
mod read;
mod reason;
mod render;
mod request;
mod response;

pub(crate) use answer::parse_answer;
pub(crate) use events::EventStream;
pub use failure::bedrock_error;
pub(crate) use read::StreamReader;
pub(crate) use render::render;
pub(crate) use request::scan_request;
pub(crate) use response::observe;
