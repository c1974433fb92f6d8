//! OpenAI's moderations.
//!
//! Rule: what they find is never looked at. A request may leave the model to the provider.

use crate::json::{InPath, Kind, Reader, Result};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, read_model, read_others, text_or_skip};

/// The model that OpenAI takes when none is named.
const DEFAULT_MODEL: &str = "omni-moderation-latest";

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["model", "input", "models", "fallbacks"]);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        if name == "input" {
            scan_input(reader, facts).in_field(name)?;
        } else if name != "model" {
            read_others(name, reader, facts).in_field(name)?;
        } else if reader.is_null().in_field(name)? {
            // A route may have a name to put in its place.
            facts.splices.model = reader.position() - b"null".len()..reader.position();
        } else {
            read_model(reader, facts).in_field(name)?;
        }
    }
    if facts.model.is_empty() {
        DEFAULT_MODEL.clone_into(&mut facts.model);
    }
    Ok(())
}

/// Reads a text, or a list of texts and parts. A part that is not text may be of any size.
fn scan_input(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    facts.messages = 1;
    reader.each_item(|reader| {
        facts.messages = facts.messages.saturating_add(1);
        let (is_object, mut is_text) = (reader.kind()? == Kind::Object, false);
        reader.each_field(|name, reader| match name {
            b"type" => text_or_skip(reader).map(|kind| is_text = kind.is_some_and(|kind| kind.is("text"))),
            _ => reader.pass(),
        })?;
        facts.media.documents += u64::from(is_object && !is_text);
        Ok(())
    })
}
