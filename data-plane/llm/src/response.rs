//! What an answer says about itself: its usage, the model that served it, how it ended.
//!
//! Rule: an answer is never judged here. What cannot be read is absent, and the caller decides what absence costs.

use helix_shared::money::NanoUsd;
use helix_shared::usage::TokenUsage;

use crate::dialect::{
    Dialect, Family, anthropic, bedrock, gemini, ollama, openai_chat, openai_images, openai_responses,
    openai_transcriptions,
};
use crate::json::{Kind, Reader, Result, Text, to_u64};
use crate::tokens::MOST_KEPT_BYTES;
use crate::usage::{Counts, Quirks, TextSize};

/// Longest piece of a provider's error text that is kept.
const MAX_ERROR_BYTES: usize = 1024;

/// What an answer says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseFacts {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that served it, in the provider's words.
    pub served_model: Option<String>,
    /// The units used; `None` when the answer has no usage.
    pub usage: Option<TokenUsage>,
    /// The usage leaves the input out, which is not known.
    pub is_usage_partial: bool,
    /// The provider's own price, for providers whose price is the authority.
    pub provider_cost: Option<NanoUsd>,
    /// The tier that is billed.
    pub service_tier: Option<String>,
    /// Anthropic's fast mode was billed.
    pub is_fast: bool,
    /// Anthropic's processing region.
    pub inference_geo: Option<String>,
    /// Why the answer ended (`stop`, `length`, `end_turn`, ...).
    pub finish: Option<String>,
    /// The text that was generated, tool arguments and visible reasoning included: the base of an estimate.
    pub text: TextSize,
    /// The error, when the body is one.
    pub error: Option<ProviderError>,
}

/// An error in a provider's words, cut to 1 kB each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderError {
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`; a number is written out.
    pub code: Option<String>,
    /// `error.message`.
    pub message: String,
}

/// Reads what a whole answer says about itself, in one pass. A body that is not JSON says nothing.
pub fn scan_response(dialect: Dialect, body: &[u8], quirks: Quirks) -> ResponseFacts {
    let Ok(seen) = observe(dialect, body) else { return ResponseFacts::default() };
    ResponseFacts {
        id: seen.id.and_then(owned),
        served_model: seen.model.and_then(owned),
        usage: counts_as(dialect, &seen.counts, quirks),
        is_usage_partial: is_partial(dialect, &seen.counts),
        provider_cost: seen.counts.cost(quirks),
        service_tier: seen.service_tier.and_then(owned),
        is_fast: seen.speed.is_some_and(is_fast),
        inference_geo: seen.inference_geo.and_then(owned),
        finish: seen.finish.and_then(owned),
        text: seen.text,
        error: seen.error,
    }
}

/// Reads counters in the sense of a dialect.
pub(crate) fn counts_as(dialect: Dialect, counts: &Counts, quirks: Quirks) -> Option<TokenUsage> {
    if dialect.is_media() {
        return counts.as_media();
    }
    match dialect.family() {
        // Here everybody counts reasoning inside.
        Family::OpenAi if dialect == Dialect::OpenAiResponses => {
            counts.as_openai(Quirks { has_reasoning_outside: false, ..quirks })
        }
        Family::OpenAi => counts.as_openai(quirks),
        Family::Anthropic => counts.as_anthropic(),
        Family::Gemini => counts.as_gemini(),
    }
}

/// Whether counters leave out what was read: Ollama does not count a prompt that it has kept.
pub(crate) fn is_partial(dialect: Dialect, counts: &Counts) -> bool {
    dialect == Dialect::Ollama && counts.input.is_none()
}

pub(crate) fn owned(text: Text<'_>) -> Option<String> {
    text.decode().ok().map(std::borrow::Cow::into_owned)
}

pub(crate) fn is_fast(speed: Text<'_>) -> bool {
    !speed.is("standard")
}

/// What one JSON document of an answer says: a whole body, or one event of a stream. Borrows from it.
#[derive(Default)]
pub(crate) struct Observation<'a> {
    /// Anthropic's `type` of the event.
    pub(crate) kind: Option<Text<'a>>,
    pub(crate) id: Option<Text<'a>>,
    pub(crate) model: Option<Text<'a>>,
    pub(crate) service_tier: Option<Text<'a>>,
    pub(crate) speed: Option<Text<'a>>,
    pub(crate) inference_geo: Option<Text<'a>>,
    pub(crate) finish: Option<Text<'a>>,
    pub(crate) counts: Counts,
    pub(crate) text: TextSize,
    pub(crate) choices: Choices,
    pub(crate) error: Option<ProviderError>,
}

/// OpenAI's `choices` of one event. Bits stand for indexes; those over 63 share the last bit.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Choices {
    /// An array without items.
    pub(crate) is_empty_list: bool,
    pub(crate) seen: u64,
    pub(crate) finished: u64,
}

/// Returns the text of an event that carries text and nothing else; `None` when it must be read in full. `kept`: where its
/// first bytes are kept.
pub(crate) fn text_of(dialect: Dialect, document: &[u8], kept: Option<&mut Vec<u8>>) -> Option<TextSize> {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiEmbeddings | Dialect::OpenAiCompletions | Dialect::OpenAiModerations => {
            openai_chat::text_of(document, kept)
        }
        Dialect::OpenAiResponses
        | Dialect::OpenAiStoredResponses
        | Dialect::OpenAiImages
        | Dialect::OpenAiImageEdits
        | Dialect::OpenAiSpeech
        | Dialect::OpenAiTranscriptions
        | Dialect::OpenAiTranslations => None,
        Dialect::AnthropicMessages | Dialect::AnthropicCountTokens => anthropic::text_of(document),
        Dialect::BedrockConverse => None,
        Dialect::Gemini | Dialect::Ollama => None,
    }
}

/// Reads one document of an answer.
pub(crate) fn observe(dialect: Dialect, document: &[u8]) -> Result<Observation<'_>> {
    let mut reader = Reader::new(document);
    let mut seen = Observation::default();
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiEmbeddings | Dialect::OpenAiCompletions | Dialect::OpenAiModerations => {
            openai_chat::observe(&mut reader, &mut seen)?;
        }
        Dialect::OpenAiResponses | Dialect::OpenAiStoredResponses => {
            openai_responses::observe(&mut reader, &mut seen)?;
        }
        Dialect::OpenAiImages | Dialect::OpenAiImageEdits => openai_images::observe(&mut reader, &mut seen)?,
        Dialect::OpenAiSpeech | Dialect::OpenAiTranscriptions | Dialect::OpenAiTranslations => {
            openai_transcriptions::observe(&mut reader, &mut seen)?;
        }
        Dialect::AnthropicMessages | Dialect::AnthropicCountTokens => anthropic::observe(&mut reader, &mut seen)?,
        Dialect::BedrockConverse => bedrock::observe(&mut reader, &mut seen)?,
        Dialect::Gemini => gemini::observe(&mut reader, &mut seen)?,
        Dialect::Ollama => ollama::observe(&mut reader, &mut seen)?,
    }
    reader.end()?;
    Ok(seen)
}

/// Reads an error: an object, or a plain text.
pub(crate) fn read_error(reader: &mut Reader<'_>) -> Result<Option<ProviderError>> {
    read_error_as(reader, b"type")
}

/// Reads an error that says what kind it is in a field of this name.
pub(crate) fn read_error_as(reader: &mut Reader<'_>, kind_field: &[u8]) -> Result<Option<ProviderError>> {
    let mut error = ProviderError::default();
    match reader.kind()? {
        Kind::Null => {
            reader.skip()?;
            return Ok(None);
        }
        Kind::Object => reader.each_field(|name, reader| match name {
            name if name == kind_field => read_short(reader).map(|kind| error.kind = kind),
            b"code" => read_short(reader).map(|code| error.code = code),
            b"message" => read_short(reader).map(|message| error.message = message.unwrap_or_default()),
            _ => reader.pass(),
        })?,
        _ => error.message = read_short(reader)?.unwrap_or_default(),
    }
    Ok(Some(error))
}

/// Reads a string or a number as text, cut to the kept length.
pub(crate) fn read_short(reader: &mut Reader<'_>) -> Result<Option<String>> {
    match reader.kind()? {
        Kind::String => Ok(owned(reader.string()?).map(cut_short)),
        Kind::Number => Ok(Some(cut_short(String::from_utf8_lossy(reader.number()?).into_owned()))),
        _ => {
            reader.skip()?;
            Ok(None)
        }
    }
}

/// Cuts a text at a character boundary at or under the kept length.
pub(crate) fn cut_short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
    text
}

/// Where text goes that a model wrote.
pub(crate) trait Sink {
    /// A string.
    fn take(&mut self, text: Text<'_>);
    /// So many bytes of JSON.
    fn take_json(&mut self, bytes: u64);
}

impl Sink for TextSize {
    fn take(&mut self, text: Text<'_>) {
        self.add(text.size());
    }

    fn take_json(&mut self, bytes: u64) {
        self.add((bytes, 0));
    }
}

/// Measures text, and keeps the first of it, as it stands in JSON.
pub(crate) struct Written<'k> {
    pub(crate) size: TextSize,
    kept: Option<&'k mut Vec<u8>>,
}

impl<'k> Written<'k> {
    /// Keeps nothing where `kept` is `None`.
    pub(crate) fn keeping(kept: Option<&'k mut Vec<u8>>) -> Self {
        Self { size: TextSize::default(), kept }
    }
}

impl Sink for Written<'_> {
    fn take(&mut self, text: Text<'_>) {
        self.size.take(text);
        if let Some(kept) = self.kept.as_deref_mut().filter(|kept| kept.len() < MOST_KEPT_BYTES) {
            kept.extend_from_slice(text.raw);
        }
    }

    fn take_json(&mut self, bytes: u64) {
        self.size.take_json(bytes);
    }
}

/// Passes over a value and measures the text in it that a model wrote.
pub(crate) fn measure_text(reader: &mut Reader<'_>, size: &mut impl Sink) -> Result<()> {
    match reader.kind()? {
        Kind::Object => reader.each_field(|name, reader| measure_field(name, reader, size)),
        Kind::Array => reader.each_item(|reader| measure_text(reader, size)),
        _ => reader.pass(),
    }
}

/// Measures one field of something that a model wrote; ids, types and binary data do not count.
pub(crate) fn measure_field(name: &[u8], reader: &mut Reader<'_>, size: &mut impl Sink) -> Result<()> {
    let kind = reader.kind()?;
    match name {
        b"content" | b"text" | b"reasoning_content" | b"reasoning" | b"refusal" | b"arguments" | b"name"
        | b"thinking" | b"partial_json" | b"transcript" | b"input"
            if kind == Kind::String =>
        {
            size.take(reader.string()?);
        }
        // The arguments of an Anthropic tool call stand as an object in a whole answer.
        b"input" => size.take_json(to_u64(reader.skip()?.len())),
        _ => measure_text(reader, size)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
