//! What an answer of Converse says about itself, whole or as one event of a stream.
//!
//! Rule: the counters do not overlap: what the cache gave and took lies outside of `inputTokens`.

use crate::json::{Reader, Result};
use crate::request::fields::text_or_skip;
use crate::response::{Observation, measure_field, measure_text, read_error};
use crate::usage::{Counts, read_counter};

/// Reads a whole answer or the payload of one event.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"stopReason" => text_or_skip(reader).map(|reason| seen.finish = reason),
        b"usage" => read_usage(reader, &mut seen.counts),
        b"serviceTier" => reader.each_field(|name, reader| match name {
            b"type" => text_or_skip(reader).map(|tier| seen.service_tier = tier),
            _ => reader.pass(),
        }),
        b"output" | b"start" => measure_text(reader, &mut seen.text),
        b"delta" => reader.each_field(|name, reader| measure_field(name, reader, &mut seen.text)),
        b"error" => read_error(reader).map(|error| seen.error = error),
        _ => reader.pass(),
    })
}

fn read_usage(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    let mut newer = Counts::default();
    reader.each_field(|name, reader| match name {
        b"inputTokens" => read_counter(reader).map(|count| newer.input = count),
        b"outputTokens" => read_counter(reader).map(|count| newer.output = count),
        b"cacheReadInputTokens" | b"cacheReadInputTokenCount" => read_counter(reader).map(|count| newer.cached = count),
        b"cacheWriteInputTokens" | b"cacheWriteInputTokenCount" => {
            read_counter(reader).map(|count| newer.cache_write = count)
        }
        b"cacheDetails" => reader.each_item(|reader| read_detail(reader, &mut newer)),
        _ => reader.pass(),
    })?;
    counts.replace_with(&newer);
    Ok(())
}

/// Reads what was written for one lifetime.
fn read_detail(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    let mut is_long = false;
    let mut tokens = None;
    reader.each_field(|name, reader| match name {
        b"ttl" => text_or_skip(reader).map(|ttl| is_long = ttl.is_some_and(|ttl| !ttl.is("5m"))),
        b"inputTokens" => read_counter(reader).map(|count| tokens = count),
        _ => reader.pass(),
    })?;
    let slot = if is_long { &mut counts.cache_write_long } else { &mut counts.cache_write_short };
    *slot = tokens.map(|tokens| slot.unwrap_or(0).saturating_add(tokens)).or(*slot);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Dialect, Quirks, scan_response};

    #[test]
    fn b14_what_the_cache_gave_lies_outside_of_the_input() {
        let body = br#"{"output":{"message":{"role":"assistant","content":[{"text":"Hi"},{"toolUse":{"toolUseId":"t","name":"f","input":{"a":1}}}]}},
            "stopReason":"end_turn","serviceTier":{"type":"flex"},"usage":{"inputTokens":10,"outputTokens":3,"totalTokens":13,
            "cacheReadInputTokens":90,"cacheWriteInputTokens":7,"cacheDetails":[{"ttl":"5m","inputTokens":2},{"ttl":"1h","inputTokens":5}]}}"#;
        let facts = scan_response(Dialect::BedrockConverse, body, Quirks::default());
        let usage = facts.usage.unwrap();
        assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.total_input_tokens()), (10, 90, 107));
        assert_eq!((usage.cache_write_tokens, usage.cache_write_long_tokens, usage.output_tokens), (2, 5, 3));
        assert_eq!((facts.finish.as_deref(), facts.service_tier.as_deref()), (Some("end_turn"), Some("flex")));
        assert_eq!(facts.text.bytes, 2 + 1 + 7, "text, name and arguments");
    }
}
