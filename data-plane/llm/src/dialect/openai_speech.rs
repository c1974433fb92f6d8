//! OpenAI's speech: text in, sound out.
//!
//! Rule: what is spoken is counted in characters (Unicode scalar values); the sound is never looked at.

use crate::json::{InPath, Reader, Result, to_u64};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_model, read_text};

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["model", "input", "response_format", "stream_format"]);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    facts.messages = 1;
    facts.is_stream = true;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "model" => read_model(reader, facts),
            "input" => {
                let text = reader.string().and_then(crate::json::Text::decode);
                text.map(|text| facts.wish.characters = to_u64(text.chars().count()))
            }
            "response_format" => read_text(reader).map(|format| facts.wish.format = format),
            _ => reader.pass(),
        }
        .in_field(name)?;
    }
    if !fields.has("model") {
        return missing("model");
    }
    if !fields.has("input") {
        return missing("input");
    }
    Ok(())
}
