//! What a response says about itself, whole or as one event of a stream.
//!
//! Rule: completed, incomplete and failed responses all carry usage, and the last word of a stream is one of them. Ids are
//! found by their place, never by what they look like.

use crate::json::{Kind, Reader, Result, Span, Text};
use crate::request::fields::text_or_skip;
use crate::response::{Observation, ProviderError, measure_text, owned, read_error};
use crate::usage::{Counts, read_amount, read_counter};

/// Decimals of 1e-12 USD.
const PICO: i32 = 12;
/// xAI's ticks are 1e-10 USD.
const PICO_OF_TICK: i32 = 2;

/// Reads a whole answer or one event.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let (mut code, mut message) = (None, None);
    reader.each_field(|name, reader| match name {
        b"type" => text_or_skip(reader).map(|kind| seen.kind = kind),
        b"response" => reader.each_field(|name, reader| observe_response(name, reader, seen, false)),
        b"delta" if reader.kind()? == Kind::String => {
            let size = reader.string()?.size();
            seen.text.add(size);
            Ok(())
        }
        b"code" => text_or_skip(reader).map(|text| code = text),
        b"message" => text_or_skip(reader).map(|text| message = text),
        _ => observe_response(name, reader, seen, true),
    })?;
    if seen.kind.is_some_and(|kind| kind.is("error")) && seen.error.is_none() {
        let message = message.and_then(owned).unwrap_or_default();
        seen.error = Some(ProviderError { kind: None, code: code.and_then(owned), message });
    }
    Ok(())
}

/// Reads one field of a response. The output that the last event repeats was measured as it came.
fn observe_response<'a>(
    name: &[u8],
    reader: &mut Reader<'a>,
    seen: &mut Observation<'a>,
    is_whole: bool,
) -> Result<()> {
    match name {
        b"id" => text_or_skip(reader).map(|id| seen.id = id),
        b"model" => text_or_skip(reader).map(|model| seen.model = model),
        b"service_tier" => text_or_skip(reader).map(|tier| seen.service_tier = tier),
        b"status" => text_or_skip(reader).map(|status| seen.finish = status),
        b"usage" => read_usage(reader, &mut seen.counts),
        b"tool_usage" => reader.each_field(|name, reader| match name {
            b"web_search" => reader.each_field(|name, reader| match name {
                b"num_requests" => read_counter(reader).map(|count| seen.counts.searches = count),
                _ => reader.pass(),
            }),
            _ => reader.pass(),
        }),
        b"output" if is_whole => measure_text(reader, &mut seen.text),
        b"error" => read_error(reader).map(|error| seen.error = error),
        _ => reader.pass(),
    }
}

fn read_usage(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    let mut newer = Counts::default();
    reader.each_field(|name, reader| match name {
        b"input_tokens" => read_counter(reader).map(|count| newer.input = count),
        b"output_tokens" => read_counter(reader).map(|count| newer.output = count),
        b"num_search_queries" | b"num_sources_used" => read_counter(reader).map(|count| newer.searches = count),
        b"input_tokens_details" => reader.each_field(|name, reader| match name {
            b"cached_tokens" => read_counter(reader).map(|count| newer.cached = count),
            b"cache_write_tokens" => read_counter(reader).map(|count| newer.cache_write = count),
            b"cache_write_tokens_details" => reader.each_field(|name, reader| match name {
                b"ttl_12h_tokens" => read_counter(reader).map(|count| newer.cache_write_long = count),
                _ => reader.pass(),
            }),
            _ => reader.pass(),
        }),
        b"output_tokens_details" => reader.each_field(|name, reader| match name {
            b"reasoning_tokens" => read_counter(reader).map(|count| newer.reasoning = count),
            _ => reader.pass(),
        }),
        b"cost" => read_amount(reader, PICO).map(|cost| newer.cost_pico_usd = cost),
        b"cost_in_usd_ticks" => read_amount(reader, PICO_OF_TICK).map(|cost| newer.cost_pico_usd = cost),
        _ => reader.pass(),
    })?;
    counts.replace_with(&newer);
    Ok(())
}

/// Returns where the ids of kept responses stand: a response's own, and the one before it.
pub(crate) fn id_spans<'a>(document: &'a [u8]) -> Result<Vec<(Span, Text<'a>)>> {
    let mut spans = Vec::new();
    let mut reader = Reader::new(document);
    let (mut is_response, mut own) = (false, Vec::new());
    reader.each_field(|name, reader| match name {
        b"response" => reader.each_field(|name, reader| read_id(name, reader, &mut spans)),
        b"object" => {
            let object = text_or_skip(reader)?;
            is_response = object.is_some_and(|object| object.is("response") || object.is("response.deleted"));
            Ok(())
        }
        _ => read_id(name, reader, &mut own),
    })?;
    if is_response {
        spans.append(&mut own);
    }
    spans.sort_by_key(|(span, _)| span.start);
    Ok(spans)
}

fn read_id<'a>(name: &[u8], reader: &mut Reader<'a>, spans: &mut Vec<(Span, Text<'a>)>) -> Result<()> {
    if !matches!(name, b"id" | b"previous_response_id") || reader.kind()? != Kind::String {
        return reader.pass();
    }
    let start = reader.position();
    let text = reader.string()?;
    spans.push((start..reader.position(), text));
    Ok(())
}
