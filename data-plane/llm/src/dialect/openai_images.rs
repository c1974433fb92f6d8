//! OpenAI's images: generations, and edits as JSON.
//!
//! Rule: a picture's tokens are bounded by its quality; what is not known is bounded by the most. An answer's pictures are
//! counted, never looked at.

use crate::json::{InPath, Kind, Reader, Result, to_u64};
use crate::request::RequestFacts;
use crate::request::fields::{
    Fields, is_there, missing, read_count, read_flag, read_model, read_others, read_text, text_or_skip,
};
use crate::response::{Observation, read_error};
use crate::usage::{Counts, read_counter};

/// What each picture that comes before its time costs beside the last. Source: OpenAI's guide to image generation, 100.
const PARTIAL_TOKENS: u64 = 128;

/// Returns the most tokens of one picture of a quality. The largest published are 408, 1,584 and 6,240 (gpt-image-1); the
/// double and more is kept for models and sizes that nobody published.
pub(crate) fn quality_tokens(quality: Option<&str>) -> u64 {
    match quality {
        Some("low") => 2_048,
        Some("medium" | "standard") => 6_144,
        None | Some("auto" | "high" | "hd") => 16_384,
        Some(_) => 65_536,
    }
}

/// Puts the bound of one picture together.
pub(crate) fn bound_picture(
    facts: &mut RequestFacts,
    quality: Option<&str>,
    partial: Option<u64>,
    frames: Option<u64>,
) {
    let previews = partial.unwrap_or(0).saturating_mul(PARTIAL_TOKENS);
    let picture = quality_tokens(quality).saturating_mul(frames.unwrap_or(1).max(1));
    facts.wish.image_tokens_max = picture.saturating_add(previews);
}

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    const FIELDS: &[&str] = &[
        "model",
        "prompt",
        "n",
        "quality",
        "stream",
        "partial_images",
        "frame_count",
        "images",
        "mask",
        "svg",
        "models",
        "fallbacks",
    ];
    let mut fields = Fields::new(FIELDS);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    facts.messages = 1;
    let (mut quality, mut partial, mut frames) = (None, None, None);
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "model" => read_model(reader, facts),
            "prompt" => reader.pass(),
            "n" => read_count(reader).map(|count| facts.choices = count.unwrap_or(1).max(1)),
            "quality" => read_text(reader).map(|text| quality = text),
            "stream" => read_flag(reader).map(|flag| facts.is_stream = flag.unwrap_or(false)),
            "partial_images" => read_count(reader).map(|count| partial = count),
            "frame_count" => read_count(reader).map(|count| frames = count),
            // It may name another model, whose cost no field that is read says.
            "svg" => reader.each_field(|name, reader| match name {
                b"model" => is_there(reader).map(|is_there| {
                    if is_there {
                        facts.other_models.get_or_insert("svg");
                    }
                }),
                _ => reader.pass(),
            }),
            "models" | "fallbacks" => read_others(name, reader, facts),
            _ => scan_pictures(reader, facts),
        }
        .in_field(name)?;
    }
    if !fields.has("model") {
        return missing("model");
    }
    if !fields.has("prompt") {
        return missing("prompt");
    }
    bound_picture(facts, quality.as_deref(), partial, frames);
    Ok(())
}

/// Reads a picture, or a list of them: each a URL or the id of a file.
fn scan_pictures(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    match reader.kind()? {
        Kind::Array => reader.each_item(|reader| scan_picture(reader, facts)),
        Kind::Object | Kind::String => scan_picture(reader, facts),
        _ => reader.pass(),
    }
}

fn scan_picture(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    facts.media.images += 1;
    let mut inline = 0;
    let mut note = |reader: &mut Reader<'_>| -> Result<()> {
        if let Some(url) = text_or_skip(reader)?.filter(|url| url.raw.starts_with(b"data:")) {
            inline = to_u64(url.raw.len());
        }
        Ok(())
    };
    if reader.kind()? == Kind::Object {
        reader.each_field(|_, reader| note(reader))?;
    } else {
        note(reader)?;
    }
    facts.media.remote_images += u64::from(inline == 0);
    facts.media.inline_image_bytes += inline;
    Ok(())
}

/// Reads a whole answer or one event.
pub(crate) fn observe<'a>(reader: &mut Reader<'a>, seen: &mut Observation<'a>) -> Result<()> {
    let mut images = None;
    reader.each_field(|name, reader| match name {
        b"type" => text_or_skip(reader).map(|kind| seen.kind = kind),
        b"model" => text_or_skip(reader).map(|model| seen.model = model),
        b"usage" => read_usage(reader, &mut seen.counts),
        b"data" => {
            let mut count = 0;
            reader.each_item(|reader| {
                count += 1;
                reader.pass()
            })?;
            images = Some(count);
            Ok(())
        }
        b"error" => read_error(reader).map(|error| seen.error = error),
        _ => reader.pass(),
    })?;
    seen.counts.images = images;
    Ok(())
}

/// All that is made is a picture, but what is said to be text.
fn read_usage(reader: &mut Reader<'_>, counts: &mut Counts) -> Result<()> {
    let mut newer = Counts::default();
    let (mut texts, mut drawn) = (None, None);
    reader.each_field(|name, reader| match name {
        b"input_tokens" => read_counter(reader).map(|count| newer.input = count),
        b"output_tokens" => read_counter(reader).map(|count| newer.output = count),
        b"input_tokens_details" => reader.each_field(|name, reader| match name {
            b"image_tokens" => read_counter(reader).map(|count| newer.image_input = count),
            _ => reader.pass(),
        }),
        b"output_tokens_details" => reader.each_field(|name, reader| match name {
            b"text_tokens" => read_counter(reader).map(|count| texts = count),
            b"image_tokens" => read_counter(reader).map(|count| drawn = count),
            _ => reader.pass(),
        }),
        _ => reader.pass(),
    })?;
    let rest = newer.output.map(|output| output.saturating_sub(texts.unwrap_or(0)));
    newer.image_output = drawn.filter(|_| texts.is_some()).or(rest);
    counts.replace_with(&newer);
    Ok(())
}
