//! OpenAI embeddings.
//!
//! Rule: the vectors are never looked at; an answer of megabytes is passed over for its usage.

use crate::json::{InPath, Reader, Result};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_model, read_others, read_plugins, read_texts};

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
            // Servers with more than text: an image or a document, of whatever size.
            _ => read_texts(reader, facts, Some(|facts| facts.media.documents += 1)),
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
