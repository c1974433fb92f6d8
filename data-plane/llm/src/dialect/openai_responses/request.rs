//! The scan of a responses request: what must be known of it before a backend is chosen.
//!
//! Rule: the bound of its cost is read from its translation, never from here.

use crate::json::{InPath, Reader, Result};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_count, read_flag, read_model};

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["model", "stream", "max_output_tokens"]);
    let mut members = reader.enter_object()?;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "model" => read_model(reader, facts),
            "stream" => read_flag(reader).map(|flag| facts.is_stream = flag.unwrap_or(false)),
            _ => read_count(reader).map(|cap| facts.output_cap = cap),
        }
        .in_field(name)?;
    }
    if !fields.has("model") {
        return missing("model");
    }
    Ok(())
}
