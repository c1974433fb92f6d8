//! The scan of a messages request.
//!
//! Rule: blocks inside blocks are followed (tool results, documents made of blocks), so that no image or document hides.

use crate::json::{InPath, Kind, Reader, Result, Text, to_u64};
use crate::request::RequestFacts;
use crate::request::fields::{
    Fields, is_there, missing, names_model, read_cache_mark, read_cap, read_count, read_flag, read_model, read_others,
    read_text, text_or_skip,
};

const FIELDS: &[&str] = &[
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "tools",
    "thinking",
    "service_tier",
    "speed",
    "inference_geo",
    "cache_control",
    "mcp_servers",
    "fallbacks",
    "context_management",
    "temperature",
    "top_p",
    "top_k",
    "tool_choice",
];

/// Tools that Anthropic defines and the client runs.
const CLIENT_TOOLS: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];
/// Tools that run at Anthropic and whose cost `max_uses` bounds. What any other costs, no table says.
const SEARCH: &str = "web_search_";
const FETCH: &str = "web_fetch_";

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(FIELDS);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        read_field(name, reader, facts).in_field(name)?;
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

fn read_field(name: &'static str, reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    match name {
        "model" => read_model(reader, facts)?,
        "messages" => scan_messages(reader, facts)?,
        "system" => scan_content(reader, facts)?,
        "max_tokens" => facts.splices.max_tokens = read_cap(reader)?,
        "stream" => facts.is_stream = read_flag(reader)?.unwrap_or(false),
        "tools" => scan_tools(reader, facts)?,
        "thinking" => read_thinking(reader, facts)?,
        "service_tier" => facts.service_tier = read_text(reader)?,
        "speed" => facts.is_fast = text_or_skip(reader)?.is_some_and(|speed| !speed.is("standard")),
        "inference_geo" => facts.inference_geo = read_text(reader)?,
        "cache_control" => read_cache_mark(reader, &mut facts.cache_marks)?,
        "fallbacks" => read_others(name, reader, facts)?,
        "context_management" => scan_management(reader, facts)?,
        // Those who refuse them refuse their defaults, too.
        "temperature" | "top_p" | "top_k" => facts.asks.sampling |= is_there(reader)?,
        "tool_choice" => scan_tool_choice(reader, facts)?,
        "mcp_servers" => {
            if !reader.is_null()? {
                let mut items = reader.enter_array()?;
                while reader.next_item(&mut items)? {
                    reader.skip()?;
                    facts.server_tools.add(None);
                }
            }
        }
        _ => {
            reader.skip()?;
        }
    }
    Ok(())
}

/// Looks for an edit that has the model sum up what was said before it answers.
fn scan_management(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"edits" => reader.each_item(|reader| {
            reader.each_field(|name, reader| match name {
                b"type" => {
                    let kind = text_or_skip(reader)?.map(Text::decode).transpose()?;
                    facts.may_compact |= kind.is_some_and(|kind| kind.starts_with("compact"));
                    Ok(())
                }
                _ => reader.pass(),
            })
        }),
        _ => reader.pass(),
    })
}

fn scan_tool_choice(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.kind()? != Kind::Object {
        return reader.pass();
    }
    reader.each_field(|name, reader| match name {
        b"type" => text_or_skip(reader)
            .map(|kind| facts.asks.forced_tool = kind.is_some_and(|kind| kind.is("any") || kind.is("tool"))),
        _ => reader.pass(),
    })
}

fn read_thinking(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.is_null()? {
        return Ok(());
    }
    let mut fields = Fields::new(&["budget_tokens"]);
    let mut members = reader.enter_object()?;
    while let Some(name) = fields.next(reader, &mut members)? {
        facts.thinking_budget = read_count(reader).in_field(name)?;
    }
    Ok(())
}

fn scan_messages(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut items = reader.enter_array()?;
    let mut index = 0;
    while reader.next_item(&mut items)? {
        scan_message(reader, facts).in_item(index)?;
        index += 1;
    }
    facts.messages = to_u64(index);
    Ok(())
}

fn scan_message(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["content"]);
    let mut members = reader.enter_object()?;
    while let Some(name) = fields.next(reader, &mut members)? {
        scan_content(reader, facts).in_field(name)?;
    }
    Ok(())
}

/// Reads a text or a list of blocks.
fn scan_content(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    match reader.kind()? {
        Kind::String | Kind::Null => {
            reader.skip()?;
            Ok(())
        }
        Kind::Array => {
            let mut items = reader.enter_array()?;
            let mut index = 0;
            while reader.next_item(&mut items)? {
                scan_block(reader, facts).in_item(index)?;
                index += 1;
            }
            Ok(())
        }
        found => Err(reader.wrong_type("a string or an array of blocks", found)),
    }
}

/// Where a block takes its content from.
#[derive(Default)]
struct Source<'a> {
    kind: Option<Text<'a>>,
    data_bytes: u64,
}

fn scan_block(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.kind()? == Kind::String {
        reader.skip()?;
        return Ok(());
    }
    let mut fields = Fields::new(&["type", "source", "content", "cache_control"]);
    let mut members = reader.enter_object()?;
    let mut kind = None;
    let mut source = None;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => reader.string().map(|text| kind = Some(text)),
            "source" => scan_source(reader, facts).map(|found| source = found),
            // A search result of a server tool may be one object instead of a list.
            "content" if reader.kind()? == Kind::Object => scan_block(reader, facts),
            "content" => scan_content(reader, facts),
            _ => read_cache_mark(reader, &mut facts.cache_marks),
        }
        .in_field(name)?;
    }
    let is = |word: &str| kind.is_some_and(|kind| kind.is(word));
    let from = |word: &str| source.as_ref().and_then(|source| source.kind).is_some_and(|kind| kind.is(word));
    if is("image") {
        facts.media.images += 1;
        if from("base64") {
            facts.media.inline_image_bytes += source.map_or(0, |source| source.data_bytes);
        } else {
            facts.media.remote_images += 1;
        }
    } else if is("container_upload") || source.is_some() && !from("text") && !from("content") {
        facts.media.documents += 1;
    }
    Ok(())
}

fn scan_source<'a>(reader: &mut Reader<'a>, facts: &mut RequestFacts) -> Result<Option<Source<'a>>> {
    if reader.kind()? != Kind::Object {
        // In a search result it is a name.
        reader.skip()?;
        return Ok(None);
    }
    let mut source = Source::default();
    let mut fields = Fields::new(&["type", "data", "content"]);
    let mut members = reader.enter_object()?;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => reader.string().map(|text| source.kind = Some(text)),
            "data" => {
                text_or_skip(reader).map(|data| source.data_bytes = data.map_or(0, |data| to_u64(data.raw.len())))
            }
            _ => scan_content(reader, facts),
        }
        .in_field(name)?;
    }
    Ok(Some(source))
}

fn scan_tools(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.is_null()? {
        return Ok(());
    }
    let mut items = reader.enter_array()?;
    let mut index = 0;
    while reader.next_item(&mut items)? {
        scan_tool(reader, facts).in_item(index)?;
        index += 1;
    }
    facts.tools = to_u64(index);
    Ok(())
}

fn scan_tool(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    reader.kind()?;
    let start = reader.position();
    let mut fields = Fields::new(&["type", "max_uses", "cache_control"]);
    let mut members = reader.enter_object()?;
    let mut kind = None;
    let mut max_uses = None;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => read_text(reader).map(|text| kind = text),
            "max_uses" => read_count(reader).map(|uses| max_uses = uses),
            _ => read_cache_mark(reader, &mut facts.cache_marks),
        }
        .in_field(name)?;
    }
    let Some(kind) = kind.filter(|kind| kind != "custom") else { return Ok(()) };
    facts.typed_tools += 1;
    // An advisor is another model, at its own price.
    if names_model(&mut reader.again(start))? {
        facts.other_models.get_or_insert("tools");
    }
    if kind.starts_with(FETCH) {
        facts.server_tools.add_fetch(max_uses);
    } else if !CLIENT_TOOLS.iter().any(|prefix| kind.starts_with(prefix)) {
        facts.server_tools.add(max_uses.filter(|_| kind.starts_with(SEARCH)));
    }
    Ok(())
}
