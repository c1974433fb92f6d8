//! The cheap look at an event of a stream: most carry a few words and nothing else.
//!
//! Rule: when in doubt, the event is read in full.

use crate::json::Reader;
use crate::response::measure_text;
use crate::usage::TextSize;

const START: &[u8] = b"{\"type\":\"content_block_delta\",";
const DELTA: &[u8] = b"\"delta\":{";

/// Returns the text of an event that carries a piece of a block; `None` when the event must be read in full.
pub(crate) fn text_of(event: &[u8]) -> Option<TextSize> {
    let rest = event.strip_prefix(START)?;
    let delta = rest.get(memchr::memmem::find(rest, DELTA)? + DELTA.len() - 1..)?;
    let mut size = TextSize::default();
    measure_text(&mut Reader::new(delta), &mut size).ok()?;
    Some(size)
}
