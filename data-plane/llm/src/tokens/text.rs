//! The texts of a body, found to be counted.
//!
//! Rule: what a model reads or writes counts; names of types, ids, addresses and binary data do not.

use crate::dialect::Dialect;
use crate::json::{Kind, Reader, Result};
use crate::response::{Sink as _, Written, measure_field, measure_text};

/// Fields whose values no model reads as text.
const STRUCTURE: [&[u8]; 16] = [
    b"model",
    b"type",
    b"role",
    b"id",
    b"call_id",
    b"tool_call_id",
    b"tool_use_id",
    b"url",
    b"image_url",
    b"file_data",
    b"data",
    b"media_type",
    b"format",
    b"signature",
    b"encrypted_content",
    b"user",
];

/// Gives the texts of a request, one after the other, and the names of the parameters of its tools. What cannot be read is
/// left out.
pub(super) fn each_text(body: &[u8], out: &mut dyn FnMut(&str)) {
    // A request that is counted was read before: a fault would be ours, and an estimate is no place to fail.
    drop(walk(b"", &mut Reader::new(body), out));
}

fn walk(field: &[u8], reader: &mut Reader<'_>, out: &mut dyn FnMut(&str)) -> Result<()> {
    match reader.kind()? {
        Kind::Object => reader.each_field(|name, reader| {
            if field == b"properties" {
                out(&String::from_utf8_lossy(name));
                return walk(b"", reader, out);
            }
            walk(name, reader, out)
        }),
        Kind::Array => reader.each_item(|reader| walk(field, reader, out)),
        Kind::String if !STRUCTURE.contains(&field) => {
            let text = reader.string()?.decode()?;
            if !text.starts_with("data:") {
                out(&text);
            }
            Ok(())
        }
        _ => reader.pass(),
    }
}

/// Keeps the text that an answer, or an event of a stream, wrote, as long as there is room.
pub(crate) fn keep_answer(dialect: Dialect, document: &[u8], kept: &mut Vec<u8>) {
    let before = kept.len();
    if find_written(dialect, &mut Reader::new(document), &mut Written::keeping(Some(kept))).is_err() {
        kept.truncate(before);
    }
}

fn find_written(dialect: Dialect, reader: &mut Reader<'_>, written: &mut Written<'_>) -> Result<()> {
    reader.each_field(|name, reader| match (dialect, name) {
        (Dialect::OpenAiResponses, b"delta") if reader.kind()? == Kind::String => {
            written.take(reader.string()?);
            Ok(())
        }
        (Dialect::OpenAiResponses, b"output") | (_, b"choices") => reader.each_item(|reader| {
            reader.each_field(|name, reader| match name {
                b"text" | b"name" | b"arguments" => measure_field(name, reader, written),
                b"delta" | b"message" | b"content" | b"summary" => measure_text(reader, written),
                _ => reader.pass(),
            })
        }),
        _ => reader.pass(),
    })
}
