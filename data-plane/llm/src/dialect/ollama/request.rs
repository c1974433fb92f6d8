//! The scan of an `/api/chat` request.
//!
//! Rule: what a message holds beside text and base64 images is not known here, because nothing else is rendered.

use crate::json::{InPath, Reader, Result, to_u64};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_config, read_flag, read_model, text_or_skip};

const FIELDS: &[&str] = &["model", "messages", "tools", "options", "stream"];

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(FIELDS);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    facts.is_stream = true;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "model" => read_model(reader, facts),
            "messages" => scan_messages(reader, facts),
            "options" => read_config(reader, facts, &["num_predict"]),
            "stream" => read_flag(reader).map(|flag| facts.is_stream = flag.unwrap_or(true)),
            _ => reader.each_item(|reader| {
                facts.tools += 1;
                reader.pass()
            }),
        }
        .in_field(name)?;
    }
    if !fields.has("model") {
        return missing("model");
    }
    if !fields.has("messages") {
        return missing("messages");
    }
    facts.output_cap = facts.splices.max_tokens.value;
    Ok(())
}

fn scan_messages(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut items = reader.enter_array()?;
    let mut index = 0;
    while reader.next_item(&mut items)? {
        reader
            .each_field(|name, reader| match name {
                b"images" => reader.each_item(|reader| {
                    facts.media.images += 1;
                    let bytes = text_or_skip(reader)?.map_or(0, |data| to_u64(data.raw.len()));
                    facts.media.inline_image_bytes += bytes;
                    Ok(())
                }),
                _ => reader.pass(),
            })
            .in_item(index)?;
        index += 1;
    }
    facts.messages = to_u64(index);
    Ok(())
}
