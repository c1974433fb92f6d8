//! The cheap look at a chunk of a stream: most carry a few words and nothing else.
//!
//! Rule: when in doubt, the chunk is read in full. A name in quotes cannot stand in a text unescaped, so finding it by
//! bytes is sound.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::json::Reader;
use crate::response::{Written, measure_text};
use crate::usage::TextSize;

struct Finders {
    usage: Finder<'static>,
    error: Finder<'static>,
    choices: Finder<'static>,
    index: Finder<'static>,
    finish: Finder<'static>,
    delta: Finder<'static>,
}

static FIND: LazyLock<Finders> = LazyLock::new(|| Finders {
    usage: Finder::new("\"usage\""),
    error: Finder::new("\"error\""),
    choices: Finder::new("\"choices\":[{"),
    index: Finder::new("\"index\":"),
    finish: Finder::new("\"finish_reason\":"),
    delta: Finder::new("\"delta\":{"),
});

/// Returns the text of a chunk that carries a piece of the first choice and nothing else; `None` when the chunk must be
/// read in full.
pub(crate) fn text_of(chunk: &[u8], kept: Option<&mut Vec<u8>>) -> Option<TextSize> {
    let find = &*FIND;
    if !are_all_null(&find.usage, b"\"usage\":null", chunk) {
        return None;
    }
    if find.error.find(chunk).is_some() {
        return None;
    }
    let choices = chunk.get(find.choices.find(chunk)?..)?;
    let index = choices.get(find.index.find(choices)? + b"\"index\":".len()..)?;
    if !index.starts_with(b"0,") && !index.starts_with(b"0}") {
        return None;
    }
    if !are_all_null(&find.finish, b"\"finish_reason\":null", choices) {
        return None;
    }
    let start = find.delta.find(choices)?;
    let delta = choices.get(start + b"\"delta\":".len()..)?;
    if find.delta.find(choices.get(start + 1..)?).is_some() {
        return None;
    }
    let mut written = Written::keeping(kept);
    measure_text(&mut Reader::new(delta), &mut written).ok()?;
    Some(written.size)
}

fn are_all_null(name: &Finder<'_>, null: &[u8], chunk: &[u8]) -> bool {
    let mut rest = chunk;
    while let Some(found) = name.find(rest).and_then(|at| rest.get(at..)) {
        let Some(after) = found.strip_prefix(null) else { return false };
        rest = after;
    }
    true
}
