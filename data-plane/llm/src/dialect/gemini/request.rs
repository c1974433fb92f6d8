//! The scan of a `generateContent` request.
//!
//! Rule: a part that we do not know may be anything, so it takes the bound of the input away. Model and stream stand in
//! the address: the caller adds them to the facts.

use crate::json::{InPath, Reader, Result, to_u64};
use crate::request::fields::{Fields, missing, read_cap, read_count, read_text, text_or_skip};
use crate::request::{MemberSplice, RequestFacts};

const FIELDS: &[&str] = &["contents", "tools", "generationConfig", "cachedContent", "serviceTier"];
/// The parts whose tokens are bounded by their bytes, and those that are looked into.
const PARTS: &[&str] =
    &["text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"];

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(FIELDS);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "contents" => scan_contents(reader, facts),
            "tools" => scan_tools(reader, facts),
            "generationConfig" => scan_config(reader, facts),
            "serviceTier" => read_text(reader).map(|tier| facts.service_tier = tier),
            _ => {
                // A prompt that lies at the provider, of whatever size.
                facts.media.documents += 1;
                reader.pass()
            }
        }
        .in_field(name)?;
    }
    if !fields.has("contents") {
        return missing("contents");
    }
    facts.output_cap = facts.splices.max_tokens.value;
    Ok(())
}

fn scan_config(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["maxOutputTokens", "candidateCount", "responseModalities"]);
    let mut members = reader.enter_object()?;
    let at = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "maxOutputTokens" => read_cap(reader).map(|cap| facts.splices.max_tokens = cap),
            "candidateCount" => read_count(reader).map(|count| facts.choices = count.unwrap_or(1).max(1)),
            _ => reader.each_item(|reader| {
                facts.asks_audio |= text_or_skip(reader)?.is_some_and(|kind| kind.is("AUDIO"));
                Ok(())
            }),
        }
        .in_field(name)?;
    }
    facts.splices.config = Some(MemberSplice { at, is_only: members.is_empty() });
    Ok(())
}

fn scan_contents(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut items = reader.enter_array()?;
    let mut index = 0;
    while reader.next_item(&mut items)? {
        reader
            .each_field(|name, reader| match name {
                b"parts" => scan_parts(reader, facts).in_field("parts"),
                _ => reader.pass(),
            })
            .in_item(index)?;
        index += 1;
    }
    facts.messages = to_u64(index);
    Ok(())
}

fn scan_parts(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    reader.each_item(|reader| {
        reader.each_field(|name, reader| match name {
            b"inlineData" | b"fileData" => scan_blob(reader, facts),
            b"functionResponse" => reader.each_field(|name, reader| match name {
                b"parts" => scan_parts(reader, facts),
                _ => reader.pass(),
            }),
            known if PARTS.iter().any(|part| part.as_bytes() == known) => reader.pass(),
            _ => {
                facts.media.documents += 1;
                reader.pass()
            }
        })
    })
}

fn scan_blob(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let (mut kind, mut inline_bytes) = (None, None);
    reader.each_field(|name, reader| match name {
        b"mimeType" => read_text(reader).map(|read| kind = read),
        b"data" => text_or_skip(reader).map(|data| inline_bytes = data.map(|data| to_u64(data.raw.len()))),
        _ => reader.pass(),
    })?;
    let kind = kind.unwrap_or_default();
    match (kind.split('/').next(), inline_bytes) {
        (Some("image"), Some(bytes)) => {
            facts.media.images += 1;
            facts.media.inline_image_bytes += bytes;
        }
        (Some("image"), None) => {
            facts.media.images += 1;
            facts.media.remote_images += 1;
        }
        // Fewer tokens than bytes at any rate of sampling.
        (Some("audio"), Some(_)) => facts.media.audio += 1,
        _ => facts.media.documents += 1,
    }
    Ok(())
}

fn scan_tools(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    reader.each_item(|reader| {
        reader.each_field(|name, reader| match name {
            b"functionDeclarations" => reader.each_item(|reader| {
                facts.tools += 1;
                reader.pass()
            }),
            _ => {
                facts.tools += 1;
                facts.typed_tools += 1;
                facts.server_tools.add(None);
                reader.pass()
            }
        })
    })
}
