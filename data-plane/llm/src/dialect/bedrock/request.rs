//! The scan of a Converse request.
//!
//! Rule: blocks inside results of tools are followed, so that no image or document hides. Model and stream are not in the
//! body: whoever addresses the request fills them in.

use crate::json::{InPath, Kind, Reader, Result, to_u64};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_cache_mark, read_config, read_text, text_or_skip};

const FIELDS: &[&str] = &["messages", "system", "inferenceConfig", "toolConfig", "serviceTier"];
const BLOCK: &[&str] = &["image", "document", "video", "audio", "toolResult", "cachePoint"];

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(FIELDS);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "messages" => scan_messages(reader, facts),
            "system" => scan_blocks(reader, facts),
            "inferenceConfig" => read_config(reader, facts, &["maxTokens"]),
            "toolConfig" => scan_tools(reader, facts),
            _ => reader.each_field(|name, reader| match name {
                b"type" => read_text(reader).map(|tier| facts.service_tier = tier),
                _ => reader.pass(),
            }),
        }
        .in_field(name)?;
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
        let mut fields = Fields::new(&["content"]);
        let mut members = reader.enter_object()?;
        while let Some(name) = fields.next(reader, &mut members)? {
            scan_blocks(reader, facts).in_field(name).in_item(index)?;
        }
        index += 1;
    }
    facts.messages = to_u64(index);
    Ok(())
}

fn scan_blocks(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut items = reader.enter_array()?;
    let mut index = 0;
    while reader.next_item(&mut items)? {
        scan_block(reader, facts).in_item(index)?;
        index += 1;
    }
    Ok(())
}

fn scan_block(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(BLOCK);
    let mut members = reader.enter_object()?;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "image" => {
                facts.media.images += 1;
                match inline_bytes(reader).in_field(name)? {
                    Some(bytes) => facts.media.inline_image_bytes += bytes,
                    None => facts.media.remote_images += 1,
                }
            }
            "document" | "video" => {
                facts.media.documents += 1;
                reader.pass()?;
            }
            "audio" => {
                facts.media.audio += 1;
                reader.pass()?;
            }
            "toolResult" => scan_result(reader, facts).in_field(name)?,
            _ => read_cache_mark(reader, &mut facts.cache_marks).in_field(name)?,
        }
    }
    Ok(())
}

fn scan_result(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["content"]);
    let mut members = reader.enter_object()?;
    while let Some(name) = fields.next(reader, &mut members)? {
        scan_blocks(reader, facts).in_field(name)?;
    }
    Ok(())
}

/// Returns the size of an image that stands in the body.
fn inline_bytes(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    let mut size = None;
    reader.each_field(|name, reader| match name {
        b"source" => reader.each_field(|name, reader| match name {
            b"bytes" => text_or_skip(reader).map(|data| size = data.map(|data| to_u64(data.raw.len()))),
            _ => reader.pass(),
        }),
        _ => reader.pass(),
    })?;
    Ok(size)
}

fn scan_tools(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["tools"]);
    let mut members = reader.enter_object()?;
    while fields.next(reader, &mut members)?.is_some() {
        reader.expect(Kind::Array, "an array")?;
        reader.each_item(|reader| {
            let mut fields = Fields::new(&["toolSpec", "systemTool", "cachePoint"]);
            let mut members = reader.enter_object()?;
            while let Some(name) = fields.next(reader, &mut members)? {
                match name {
                    "cachePoint" => read_cache_mark(reader, &mut facts.cache_marks)?,
                    "systemTool" => {
                        facts.server_tools.add(None);
                        reader.pass()?;
                    }
                    _ => {
                        facts.tools += 1;
                        reader.pass()?;
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{CacheMarks, CapField, Dialect, OutputCap, Rewrite, rewrite, scan_request};
    use bytes::Bytes;

    const WHOLE: &str = r#"{"messages":[{"role":"user","content":[{"text":"hi"},{"image":{"format":"png","source":{"bytes":"AAAA"}}},
        {"cachePoint":{"type":"default","ttl":"1h"}},{"toolResult":{"toolUseId":"t","content":[{"document":{"name":"d"}}]}}]}],
        "inferenceConfig":{"maxTokens":900},"toolConfig":{"tools":[{"toolSpec":{"name":"f"}},{"cachePoint":{"type":"default"}}]},
        "serviceTier":{"type":"flex"}}"#;

    #[test]
    fn what_costs_is_found() {
        let facts = scan_request(Dialect::BedrockConverse, WHOLE.as_bytes()).unwrap();
        assert_eq!((facts.messages, facts.tools, facts.output_cap), (1, 1, Some(900)));
        assert_eq!((facts.media.images, facts.media.documents, facts.media.inline_image_bytes), (1, 1, 4));
        assert_eq!((facts.cache_marks, facts.service_tier.as_deref()), (CacheMarks::Long, Some("flex")));
    }

    #[test]
    fn a_cap_is_put_where_converse_reads_it() {
        for (body, tokens, expected) in [
            (r#"{"messages":[]}"#, 7, r#"{"inferenceConfig":{"maxTokens":7},"messages":[]}"#),
            (r#"{"messages":[],"inferenceConfig":{}}"#, 7, r#"{"messages":[],"inferenceConfig":{"maxTokens":7}}"#),
            (
                r#"{"messages":[],"inferenceConfig":{"topP":1}}"#,
                7,
                r#"{"messages":[],"inferenceConfig":{"maxTokens":7,"topP":1}}"#,
            ),
            (
                r#"{"messages":[],"inferenceConfig":{"maxTokens":9}}"#,
                7,
                r#"{"messages":[],"inferenceConfig":{"maxTokens":7}}"#,
            ),
            (
                r#"{"messages":[],"inferenceConfig":{"maxTokens":5}}"#,
                7,
                r#"{"messages":[],"inferenceConfig":{"maxTokens":5}}"#,
            ),
        ] {
            let facts = scan_request(Dialect::BedrockConverse, body.as_bytes()).unwrap();
            let cap = Some(OutputCap { tokens, field: CapField::MaxTokens });
            let changes = Rewrite { model: Some("m"), force_usage: true, output_cap: cap, ..Rewrite::default() };
            let rewritten = rewrite(Bytes::from(body), &facts, &changes).parts.concat();
            assert_eq!(String::from_utf8(rewritten).unwrap(), expected);
        }
    }
}
