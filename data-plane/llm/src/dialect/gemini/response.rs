//! What a `GenerateContentResponse` says about itself, whole or as one event of a stream.
//!
//! Rule: one reader for both: they have the same form. Some endpoints put an error, or a whole stream, into an array.

use crate::json::{Kind, Reader, Result, to_u64};
use crate::request::fields::text_or_skip;
use crate::response::{Observation, read_error_as};
use crate::usage::{Counts, TextSize, read_counter};

/// Reads a whole answer or one event.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    if reader.kind()? == Kind::Array {
        return reader.each_item(|reader| observe_document(reader, seen));
    }
    observe_document(reader, seen)
}

fn observe_document<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let mut block = None;
    reader.each_field(|name, reader| match name {
        b"responseId" => text_or_skip(reader).map(|id| seen.id = id),
        b"modelVersion" => text_or_skip(reader).map(|model| seen.model = model),
        b"candidates" => reader.each_item(|reader| observe_candidate(reader, seen)),
        b"promptFeedback" => reader.each_field(|name, reader| match name {
            b"blockReason" => text_or_skip(reader).map(|reason| block = reason),
            _ => reader.pass(),
        }),
        b"usageMetadata" => read_usage(reader, seen),
        b"error" => read_error_as(reader, b"status").map(|error| seen.error = error),
        _ => reader.pass(),
    })?;
    // The prompt was refused: there is no candidate to say why.
    seen.finish = seen.finish.take().or(block);
    Ok(())
}

fn observe_candidate<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"finishReason" => text_or_skip(reader).map(|reason| seen.finish = reason.or(seen.finish.take())),
        b"content" => reader.each_field(|name, reader| match name {
            b"parts" => reader.each_item(|reader| measure_part(reader, &mut seen.text)),
            _ => reader.pass(),
        }),
        b"groundingMetadata" => reader.each_field(|name, reader| match name {
            b"webSearchQueries" => {
                let mut searches = 0;
                reader.each_item(|reader| {
                    searches += 1;
                    reader.pass()
                })?;
                seen.counts.searches = Some(searches);
                Ok(())
            }
            _ => reader.pass(),
        }),
        _ => reader.pass(),
    })
}

/// Measures what the model wrote in a part; signatures and binary data do not count.
fn measure_part(reader: &mut Reader<'_>, size: &mut TextSize) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"text" => measure(reader, size),
        b"functionCall" => reader.each_field(|name, reader| match name {
            b"name" => measure(reader, size),
            b"args" => {
                size.add((to_u64(reader.skip()?.len()), 0));
                Ok(())
            }
            _ => reader.pass(),
        }),
        b"executableCode" | b"codeExecutionResult" => reader.each_field(|name, reader| match name {
            b"code" | b"output" => measure(reader, size),
            _ => reader.pass(),
        }),
        _ => reader.pass(),
    })
}

fn measure(reader: &mut Reader<'_>, size: &mut TextSize) -> Result<()> {
    if let Some(text) = text_or_skip(reader)? {
        size.add(text.size());
    }
    Ok(())
}

/// Counts that are zero are left out by the provider: a usage that is there counts everything.
fn read_usage<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    if reader.kind()? != Kind::Object {
        return reader.pass();
    }
    let mut newer = Counts::default();
    let mut traffic = None;
    reader.each_field(|name, reader| match name {
        b"promptTokenCount" => read_counter(reader).map(|count| newer.input = count),
        b"cachedContentTokenCount" => read_counter(reader).map(|count| newer.cached = count),
        b"candidatesTokenCount" => read_counter(reader).map(|count| newer.output = count),
        b"thoughtsTokenCount" => read_counter(reader).map(|count| newer.reasoning = count),
        b"toolUsePromptTokenCount" => read_counter(reader).map(|count| newer.tool_prompt = count),
        b"totalTokenCount" => read_counter(reader).map(|count| newer.total = count),
        b"promptTokensDetails" => read_audio(reader).map(|count| newer.audio_input = count),
        b"cacheTokensDetails" => read_audio(reader).map(|count| newer.audio_cached = count),
        b"candidatesTokensDetails" => read_audio(reader).map(|count| newer.audio_output = count),
        b"serviceTier" => text_or_skip(reader).map(|tier| seen.service_tier = tier),
        b"trafficType" => text_or_skip(reader).map(|kind| traffic = kind),
        _ => reader.pass(),
    })?;
    // Vertex AI's word for it.
    seen.service_tier = seen.service_tier.or(traffic);
    seen.counts.replace_with(&newer);
    Ok(())
}

/// Returns the tokens of audio in `[{modality, tokenCount}]`.
fn read_audio(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    let mut audio = None;
    reader.each_item(|reader| {
        let (mut is_audio, mut tokens) = (false, None);
        reader.each_field(|name, reader| match name {
            b"modality" => text_or_skip(reader).map(|kind| is_audio = kind.is_some_and(|kind| kind.is("AUDIO"))),
            b"tokenCount" => read_counter(reader).map(|count| tokens = count),
            _ => reader.pass(),
        })?;
        audio = if is_audio { tokens } else { audio };
        Ok(())
    })?;
    Ok(audio)
}
