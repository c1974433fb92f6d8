//! What a message says about itself, whole or as one event of a stream.
//!
//! Rule: one reader for both: a stream's `message_start` wraps what a whole answer has at its top.

use helix_shared::usage::TokenUsage;

use crate::json::{Reader, Result};
use crate::request::fields::text_or_skip;
use crate::response::{Observation, measure_field, measure_text, read_error};
use crate::usage::{Counts, read_counter};

/// Reads a whole answer or one event.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"type" => text_or_skip(reader).map(|kind| seen.kind = kind),
        b"message" => reader.each_field(|name, reader| observe_field(name, reader, seen)),
        b"delta" => reader.each_field(|name, reader| match name {
            b"stop_reason" => text_or_skip(reader).map(|reason| seen.finish = reason),
            _ => measure_field(name, reader, &mut seen.text),
        }),
        b"content_block" => measure_text(reader, &mut seen.text),
        b"error" => read_error(reader).map(|error| seen.error = error),
        _ => observe_field(name, reader, seen),
    })
}

fn observe_field<'a>(name: &[u8], reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    match name {
        b"id" => text_or_skip(reader).map(|id| seen.id = id),
        b"model" => text_or_skip(reader).map(|model| seen.model = model),
        b"stop_reason" => text_or_skip(reader).map(|reason| seen.finish = reason),
        b"content" => measure_text(reader, &mut seen.text),
        b"usage" => read_usage(reader, seen),
        _ => reader.pass(),
    }
}

fn read_usage<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let mut newer = Counts::default();
    reader.each_field(|name, reader| match name {
        b"service_tier" => text_or_skip(reader).map(|tier| seen.service_tier = tier),
        b"speed" => text_or_skip(reader).map(|speed| seen.speed = speed),
        b"inference_geo" => text_or_skip(reader).map(|geo| seen.inference_geo = geo),
        b"server_tool_use" => reader.each_field(|name, reader| match name {
            b"web_search_requests" => read_counter(reader).map(|count| newer.searches = count),
            _ => reader.pass(),
        }),
        b"iterations" => read_iterations(reader).map(|passes| newer.iterations = passes),
        _ => read_count(name, reader, &mut newer),
    })?;
    seen.counts.replace_with(&newer);
    Ok(())
}

/// Reads one of the counters that a usage and each of its iterations have.
fn read_count(name: &[u8], reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    match name {
        b"input_tokens" => read_counter(reader).map(|count| counts.input = count),
        b"output_tokens" => read_counter(reader).map(|count| counts.output = count),
        b"cache_read_input_tokens" => read_counter(reader).map(|count| counts.cached = count),
        b"cache_creation_input_tokens" => read_counter(reader).map(|count| counts.cache_write = count),
        b"cache_creation" => reader.each_field(|name, reader| match name {
            b"ephemeral_5m_input_tokens" => read_counter(reader).map(|count| counts.cache_write_short = count),
            b"ephemeral_1h_input_tokens" => read_counter(reader).map(|count| counts.cache_write_long = count),
            _ => reader.pass(),
        }),
        b"output_tokens_details" => reader.each_field(|name, reader| match name {
            b"thinking_tokens" => read_counter(reader).map(|count| counts.reasoning = count),
            _ => reader.pass(),
        }),
        _ => reader.pass(),
    }
}

fn read_iterations(reader: &mut Reader<'_>) -> Result<Option<TokenUsage>> {
    let mut total: Option<TokenUsage> = None;
    reader.each_item(|reader| {
        let mut counts = Counts::default();
        reader.each_field(|name, reader| read_count(name, reader, &mut counts))?;
        if let Some(pass) = counts.as_anthropic() {
            total = Some(total.map_or(pass, |total| total.plus(pass)));
        }
        Ok(())
    })?;
    Ok(total)
}
