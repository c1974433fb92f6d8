//! OpenAI's moderations.
//!
//! Rule: they cost nothing, and what they find is never looked at. A request may leave the model to the provider.

use crate::json::{InPath, Reader, Result};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, read_model};

/// The model that OpenAI takes when none is named.
const DEFAULT_MODEL: &str = "omni-moderation-latest";

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["model"]);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        if reader.is_null().in_field(name)? {
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
