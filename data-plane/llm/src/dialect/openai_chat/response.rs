//! What a chat completion says about itself, whole or as one chunk of a stream. Embeddings' answers read alike.
//!
//! Rule: `delta` and `message` are measured, never interpreted.

use crate::json::{Kind, Reader, Result};
use crate::request::fields::text_or_skip;
use crate::response::{Observation, measure_field, measure_text, read_error};
use crate::usage::{Counts, read_amount, read_counter};

/// Decimals of 1e-12 USD.
const PICO: i32 = 12;
/// xAI's ticks are 1e-10 USD.
const PICO_OF_TICK: i32 = 2;

/// Reads a whole answer or one chunk.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"id" => text_or_skip(reader).map(|id| seen.id = id),
        b"model" => text_or_skip(reader).map(|model| seen.model = model),
        b"service_tier" => text_or_skip(reader).map(|tier| seen.service_tier = tier),
        b"choices" => observe_choices(reader, seen),
        b"usage" => read_usage(reader, &mut seen.counts),
        // Groq puts usage into an object of its own.
        b"x_groq" => reader.each_field(|name, reader| match name {
            b"usage" => read_usage(reader, &mut seen.counts),
            _ => reader.pass(),
        }),
        b"error" => read_error(reader).map(|error| seen.error = error),
        _ => reader.pass(),
    })
}

fn observe_choices<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let is_list = reader.kind()? == Kind::Array;
    let mut count = 0_usize;
    reader.each_item(|reader| {
        count += 1;
        observe_choice(reader, seen)
    })?;
    seen.choices.is_empty_list = is_list && count == 0;
    Ok(())
}

fn observe_choice<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let mut index = 0;
    let mut finish = None;
    reader.each_field(|name, reader| match name {
        b"index" => read_counter(reader).map(|number| index = number.unwrap_or(0)),
        b"finish_reason" => text_or_skip(reader).map(|reason| finish = reason),
        b"delta" | b"message" => measure_text(reader, &mut seen.text),
        b"text" => measure_field(name, reader, &mut seen.text),
        _ => reader.pass(),
    })?;
    let bit = 1_u64 << index.min(63);
    seen.choices.seen |= bit;
    if finish.is_some() {
        seen.choices.finished |= bit;
        seen.finish = finish;
    }
    Ok(())
}

/// Reads a `usage` object; passes over anything else (`null` in most chunks).
fn read_usage(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    let mut newer = Counts::default();
    let mut hits = None;
    reader.each_field(|name, reader| match name {
        b"prompt_tokens" => read_counter(reader).map(|count| newer.input = count),
        b"completion_tokens" => read_counter(reader).map(|count| newer.output = count),
        // DeepSeek's and Moonshot's names for `prompt_tokens_details.cached_tokens`.
        b"prompt_cache_hit_tokens" | b"cached_tokens" => read_counter(reader).map(|count| hits = count),
        b"reasoning_tokens" => read_counter(reader).map(|count| newer.reasoning = count),
        b"num_search_queries" | b"num_sources_used" => read_counter(reader).map(|count| newer.searches = count),
        b"prompt_tokens_details" => read_prompt_details(reader, &mut newer),
        b"completion_tokens_details" => reader.each_field(|name, reader| match name {
            b"reasoning_tokens" => read_counter(reader).map(|count| newer.reasoning = count),
            b"audio_tokens" => read_counter(reader).map(|count| newer.audio_output = count),
            _ => reader.pass(),
        }),
        b"cost" => read_cost(reader, &mut newer),
        b"cost_in_usd_ticks" => read_amount(reader, PICO_OF_TICK).map(|cost| newer.cost_pico_usd = cost),
        _ => reader.pass(),
    })?;
    newer.cached = newer.cached.or(hits);
    counts.replace_with(&newer);
    Ok(())
}

fn read_prompt_details(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"cached_tokens" => read_counter(reader).map(|count| counts.cached = count),
        b"cache_write_tokens" => read_counter(reader).map(|count| counts.cache_write = count),
        b"audio_tokens" => read_counter(reader).map(|count| counts.audio_input = count),
        b"cache_write_tokens_details" => reader.each_field(|name, reader| match name {
            b"ttl_12h_tokens" => read_counter(reader).map(|count| counts.cache_write_long = count),
            _ => reader.pass(),
        }),
        _ => reader.pass(),
    })
}

/// Reads a cost in USD: a number (OpenRouter), or an object with a total (Perplexity).
fn read_cost(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    if reader.kind()? != Kind::Object {
        return read_amount(reader, PICO).map(|cost| counts.cost_pico_usd = cost);
    }
    reader.each_field(|name, reader| match name {
        b"total_cost" => read_amount(reader, PICO).map(|cost| counts.cost_pico_usd = cost),
        _ => reader.pass(),
    })
}
