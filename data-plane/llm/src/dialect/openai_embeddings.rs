//! OpenAI embeddings.
//!
//! Rule: the vectors are never looked at; an answer of megabytes is passed over for its usage.

use crate::json::{InPath, Kind, Reader, Result};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_model, read_others, read_plugins};

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["model", "input", "models", "fallbacks", "plugins"]);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "model" => read_model(reader, facts),
            "models" | "fallbacks" => read_others(name, reader, facts),
            "plugins" => read_plugins(reader, facts),
            _ => scan_input(reader, facts),
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

/// Reads a text, a list of texts, a list of token numbers, or a list of such lists.
fn scan_input(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    facts.messages = 1;
    match reader.kind()? {
        Kind::String => {
            reader.skip()?;
            return Ok(());
        }
        Kind::Array => {}
        found => return Err(reader.wrong_type("a string or an array", found)),
    }
    let mut items = reader.enter_array()?;
    let mut index = 0_usize;
    while reader.next_item(&mut items)? {
        match reader.kind()? {
            Kind::String | Kind::Array => facts.messages = facts.messages.saturating_add(u64::from(index > 0)),
            Kind::Number => {}
            // Servers with more than text: an image or a document, of whatever size.
            Kind::Object => facts.media.documents += 1,
            found => return Err(reader.wrong_type("a string, an array of tokens or a token", found)).in_item(index),
        }
        reader.skip().in_item(index)?;
        index += 1;
    }
    Ok(())
}
