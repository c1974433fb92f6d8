//! The scan of a chat completion request.
//!
//! Rule: a content part that we do not know may be anything, so it takes the bound of the input away.

use crate::json::{InPath, Kind, Reader, Result, to_u64};
use crate::request::fields::{
    Fields, missing, names_model, read_cache_mark, read_cap, read_count, read_flag, read_model, read_others,
    read_plugins, read_sampling, read_text, text_or_skip,
};
use crate::request::{CacheMarks, RequestFacts, UsageSplice};

const FIELDS: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "service_tier",
    "tools",
    "functions",
    "web_search_options",
    "search_parameters",
    "plugins",
    "prompt_cache_options",
    "prompt_cache_retention",
    "cache_control",
    "prediction",
    "modalities",
    "models",
    "fallbacks",
    "temperature",
    "top_p",
];

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
    // A server reads one of them and may pass over the other.
    facts.output_cap = facts.splices.max_completion_tokens.value.max(facts.splices.max_tokens.value);
    Ok(())
}

fn read_field(name: &'static str, reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    match name {
        "model" => read_model(reader, facts)?,
        "messages" => scan_messages(reader, facts)?,
        "stream" => facts.is_stream = read_flag(reader)?.unwrap_or(false),
        "stream_options" => read_stream_options(reader, facts)?,
        "max_tokens" => facts.splices.max_tokens = read_cap(reader)?,
        "max_completion_tokens" => facts.splices.max_completion_tokens = read_cap(reader)?,
        "n" => facts.choices = read_count(reader)?.unwrap_or(1).max(1),
        "service_tier" => facts.service_tier = read_text(reader)?,
        "tools" => scan_tools(reader, facts)?,
        "functions" => facts.tools += count_items(reader)?,
        "web_search_options" | "search_parameters" => {
            if !reader.is_null()? {
                facts.server_tools.add(None);
                reader.skip()?;
            }
        }
        "plugins" => read_plugins(reader, facts)?,
        "prompt_cache_options" | "cache_control" => read_cache_mark(reader, &mut facts.cache_marks)?,
        "prompt_cache_retention" => {
            if !reader.is_null()? {
                let is_short = text_or_skip(reader)?.is_some_and(|retention| retention.is("in_memory"));
                facts.cache_marks.note(if is_short { CacheMarks::Short } else { CacheMarks::Long });
            }
        }
        "prediction" => facts.predicted_bytes = to_u64(reader.skip()?.len()),
        "modalities" => read_modalities(reader, facts)?,
        "temperature" | "top_p" => facts.asks.sampling |= read_sampling(reader)?,
        "models" | "fallbacks" => read_others(name, reader, facts)?,
        _ => {
            reader.skip()?;
        }
    }
    Ok(())
}

/// Passes over an array (or `null`) and returns the number of its items.
fn count_items(reader: &mut Reader<'_>) -> Result<u64> {
    if reader.is_null()? {
        return Ok(0);
    }
    let mut count = 0;
    let mut items = reader.enter_array()?;
    while reader.next_item(&mut items)? {
        reader.skip()?;
        count += 1;
    }
    Ok(count)
}

pub(crate) fn read_stream_options(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    reader.kind()?;
    let start = reader.position();
    if reader.is_null()? {
        facts.splices.usage = UsageSplice::Options(start..reader.position());
        return Ok(());
    }
    let mut fields = Fields::new(&["include_usage"]);
    let mut members = reader.enter_object()?;
    let inside = reader.position();
    let mut splice = None;
    while fields.next(reader, &mut members)?.is_some() {
        reader.kind()?;
        let start = reader.position();
        facts.asks_usage = read_flag(reader).in_field("include_usage")?.unwrap_or(false);
        let span = start..reader.position();
        splice = Some(if facts.asks_usage { UsageSplice::Asked } else { UsageSplice::Value(span) });
    }
    let is_only = members.is_empty();
    facts.splices.usage = splice.unwrap_or(UsageSplice::Member { at: inside, is_only });
    facts.splices.stream_options = Some(start..reader.position());
    Ok(())
}

fn read_modalities(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.is_null()? {
        return Ok(());
    }
    let mut items = reader.enter_array()?;
    while reader.next_item(&mut items)? {
        facts.asks_audio |= text_or_skip(reader)?.is_some_and(|modality| modality.is("audio"));
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
    let mut fields = Fields::new(&["content", "audio", "cache_control", "prompt_cache_breakpoint"]);
    let mut members = reader.enter_object()?;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "content" => scan_content(reader, facts),
            // An earlier spoken answer, named by its id: as long as it was.
            "audio" => reader.is_null().and_then(|is_null| {
                if !is_null {
                    facts.media.audio += 1;
                    facts.media.documents += 1;
                    reader.skip()?;
                }
                Ok(())
            }),
            _ => read_cache_mark(reader, &mut facts.cache_marks),
        }
        .in_field(name)?;
    }
    Ok(())
}

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
                scan_part(reader, facts).in_item(index)?;
                index += 1;
            }
            Ok(())
        }
        found => Err(reader.wrong_type("a string or an array of parts", found)),
    }
}

fn scan_part(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.kind()? == Kind::String {
        reader.skip()?;
        return Ok(());
    }
    let mut fields = Fields::new(&["type", "image_url", "cache_control", "prompt_cache_breakpoint"]);
    let mut members = reader.enter_object()?;
    let mut kind = None;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => reader.string().map(|text| kind = Some(text)),
            "image_url" => scan_image(reader, facts),
            _ => read_cache_mark(reader, &mut facts.cache_marks),
        }
        .in_field(name)?;
    }
    const TEXT: [&str; 5] = ["text", "refusal", "thinking", "input_text", "output_text"];
    let is = |word: &str| kind.is_some_and(|kind| kind.is(word));
    if is("input_audio") {
        facts.media.audio += 1;
    } else if !(TEXT.iter().any(|word| is(word)) || is("image_url") && fields.has("image_url")) {
        facts.media.documents += 1;
    }
    Ok(())
}

fn scan_image(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    facts.media.images += 1;
    let mut url = None;
    if reader.kind()? == Kind::Object {
        let mut fields = Fields::new(&["url"]);
        let mut members = reader.enter_object()?;
        while fields.next(reader, &mut members)?.is_some() {
            url = text_or_skip(reader).in_field("url")?;
        }
    } else {
        url = text_or_skip(reader)?;
    }
    match url {
        Some(url) if url.raw.starts_with(b"data:image") => {
            facts.media.inline_image_bytes += to_u64(url.raw.len());
        }
        _ => facts.media.remote_images += 1,
    }
    Ok(())
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
    facts.tools += to_u64(index);
    Ok(())
}

fn scan_tool(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    reader.kind()?;
    let start = reader.position();
    let mut fields = Fields::new(&["type", "cache_control", "prompt_cache_breakpoint"]);
    let mut members = reader.enter_object()?;
    let mut is_client_side = true;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => reader.string().map(|kind| is_client_side = kind.is("function") || kind.is("custom")),
            _ => read_cache_mark(reader, &mut facts.cache_marks),
        }
        .in_field(name)?;
    }
    if !is_client_side {
        facts.typed_tools += 1;
        facts.server_tools.add(None);
        if names_model(&mut reader.again(start))? {
            facts.other_models.get_or_insert("tools");
        }
    }
    Ok(())
}
