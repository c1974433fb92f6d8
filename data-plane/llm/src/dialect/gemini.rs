//! Google's Gemini API: `generateContent` and the stream of it.
//!
//! Rule: a dialect of backends only. Neither the model nor the wish for a stream stands in a body: both are in the address,
//! which is the caller's. Vertex AI speaks the same under another address.

mod answer;
mod error;
mod model;
mod parts;
mod render;
mod render_contents;
mod request;
mod response;
mod schema;
mod stream;
mod thinking;

pub(crate) use answer::parse_answer;
pub(crate) use error::{is_key_invalid, retry_after_s};
pub(crate) use render::render;
pub(crate) use request::scan_request;
pub(crate) use response::observe;
pub(crate) use stream::StreamReader;
