//! What a transcription, a translation, or the stream of a speech says about itself.
//!
//! Rule: the provider counts tokens or seconds, and says which. Without usage, `duration` of a verbose answer is a count
//! of seconds; subtitles and plain text say nothing here.

use crate::json::{Kind, Reader, Result};
use crate::request::fields::text_or_skip;
use crate::response::{Observation, read_error};
use crate::usage::{Counts, read_amount, read_counter};

/// Decimals of a millisecond.
const MILLI: i32 = 3;

/// Reads a whole answer or one event.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let mut stated = None;
    reader.each_field(|name, reader| match name {
        b"type" => text_or_skip(reader).map(|kind| seen.kind = kind),
        b"model" => text_or_skip(reader).map(|model| seen.model = model),
        b"duration" => read_ms(reader).map(|ms| stated = ms),
        b"usage" => read_usage(reader, &mut seen.counts),
        b"text" | b"delta" if reader.kind()? == Kind::String => {
            let size = reader.string()?.size();
            seen.text.add(size);
            Ok(())
        }
        b"error" => read_error(reader).map(|error| seen.error = error),
        _ => reader.pass(),
    })?;
    if !seen.counts.is_usage() && seen.counts.audio_input_ms.is_none() {
        seen.counts.audio_input_ms = stated;
    }
    // The end of a speech counts what it says as sound.
    if seen.kind.is_some_and(|kind| kind.is("speech.audio.done")) {
        seen.counts.audio_output = seen.counts.output;
    }
    Ok(())
}

/// Returns the end of the last subtitle (SRT or VTT) in milliseconds; `None` where there is none.
pub fn subtitles_end_ms(body: &[u8]) -> Option<u64> {
    let at = memchr::memmem::rfind(body, b"-->")?;
    let rest = std::str::from_utf8(body.get(at + 3..)?).ok()?;
    let stamp = rest.split_whitespace().next()?;
    let (clock, fraction) = stamp.split_once([',', '.'])?;
    let mut seconds = 0_u64;
    for part in clock.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    seconds.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}

fn read_ms(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    Ok(read_amount(reader, MILLI)?.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)))
}

fn read_usage(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    reader.each_field(|name, reader| match name {
        b"seconds" | b"prompt_audio_seconds" => read_ms(reader).map(|ms| counts.audio_input_ms = ms),
        b"input_tokens" => read_counter(reader).map(|count| counts.input = count),
        b"output_tokens" => read_counter(reader).map(|count| counts.output = count),
        b"input_token_details" | b"input_tokens_details" => reader.each_field(|name, reader| match name {
            b"audio_tokens" => read_counter(reader).map(|count| counts.audio_input = count),
            _ => reader.pass(),
        }),
        _ => reader.pass(),
    })
}
