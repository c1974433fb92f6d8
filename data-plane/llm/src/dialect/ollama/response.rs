//! What an answer of Ollama's says about itself, whole or as one line of a stream.
//!
//! Rule: counters of zero are left out by the server: a prompt without a count was cached, and is not known.

use crate::json::{Reader, Result, Text, to_u64};
use crate::request::fields::text_or_skip;
use crate::response::{Observation, read_error};
use crate::usage::{TextSize, read_counter};

/// Reads a whole answer or one line.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let (mut is_done, mut reason) = (false, None);
    reader.each_field(|name, reader| match name {
        b"model" => text_or_skip(reader).map(|model| seen.model = model),
        b"message" => observe_message(reader, &mut seen.text),
        b"done" => {
            is_done = reader.kind()? == crate::json::Kind::Bool && reader.boolean()?;
            Ok(())
        }
        b"done_reason" => text_or_skip(reader).map(|read| reason = read),
        b"prompt_eval_count" => read_counter(reader).map(|count| seen.counts.input = count),
        b"eval_count" => read_counter(reader).map(|count| seen.counts.output = count),
        b"error" => read_error(reader).map(|error| seen.error = error),
        _ => reader.pass(),
    })?;
    if is_done {
        seen.finish = Some(reason.unwrap_or(Text::word(b"stop")));
    }
    Ok(())
}

fn observe_message(reader: &mut Reader<'_>, size: &mut TextSize) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"content" | b"thinking" => measure(reader, size),
        b"tool_calls" => reader.each_item(|reader| {
            reader.each_field(|name, reader| match name {
                b"function" => reader.each_field(|name, reader| match name {
                    b"name" => measure(reader, size),
                    b"arguments" => {
                        size.add((to_u64(reader.skip()?.len()), 0));
                        Ok(())
                    }
                    _ => reader.pass(),
                }),
                _ => reader.pass(),
            })
        }),
        _ => reader.pass(),
    })
}

fn measure(reader: &mut Reader<'_>, size: &mut TextSize) -> Result<()> {
    if let Some(text) = text_or_skip(reader)? {
        size.add(text.size());
    }
    Ok(())
}
