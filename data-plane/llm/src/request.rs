//! What the gateway must know of a request before it forwards it: the model, the caps, and a bound of the input.
//!
//! Rule: what is read here is what the provider will read. A field that counts must stand once, spelled exactly, in the
//! right type; anything else is refused, because two readers could take it two ways. Unknown fields are none of our
//! business and pass.

use crate::dialect::{
    Dialect, Family, anthropic, bedrock, gemini, ollama, openai_chat, openai_completions, openai_embeddings,
    openai_images, openai_moderations, openai_responses, openai_speech,
};
use crate::json::{Reader, Reason, Result, Span, fault, to_u64};
use crate::usage::TextSize;
use helix_shared::provider::CapField;

pub use error::ScanError;

mod error;
pub(crate) mod fields;

/// Most tokens that a provider makes of one image: the largest published (OpenAI's small models at high detail) is
/// 48,169; Anthropic's is under 5,000.
const OPENAI_IMAGE_TOKENS: u64 = 65_536;
const ANTHROPIC_IMAGE_TOKENS: u64 = 8_192;
/// Gemini's tiles of a large image, or its highest resolution, are under 5,000 too.
const GEMINI_IMAGE_TOKENS: u64 = 8_192;
/// What a chat template, a default system prompt or an audio part may add beyond the bytes of the body.
const BASE_TOKENS: u64 = 512;
const PER_MESSAGE_TOKENS: u64 = 8;
const PER_TOOL_TOKENS: u64 = 32;
const PER_AUDIO_TOKENS: u64 = 1_024;
/// More than a summary of a conversation has. No limit of it is published; those that are seen have some thousands.
const SUMMARY_TOKENS: u64 = 32_768;
/// The system prompt that a provider adds when tools are given, and what a tool of its own definition brings along.
const TOOL_PROMPT_TOKENS: u64 = 1_024;
const PER_TYPED_TOOL_TOKENS: u64 = 2_048;

/// What a scan found. Positions inside are positions in the scanned body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts {
    /// The format it was read in.
    pub dialect: Dialect,
    /// The model asked for.
    pub model: String,
    /// Whether a stream is asked for.
    pub is_stream: bool,
    /// Whether the client asked for the usage event of an OpenAI stream.
    pub asks_usage: bool,
    /// The client's own cap on output tokens; the larger one, where it stands under both of OpenAI's names.
    pub output_cap: Option<u64>,
    /// Anthropic's `thinking.budget_tokens`: a cap at or under it is refused by the provider.
    pub thinking_budget: Option<u64>,
    /// How many answers are asked for (`n`), at least 1. Each may use the whole output cap.
    pub choices: u64,
    /// How many messages (for embeddings: inputs).
    pub messages: u64,
    /// How many tools are defined, server tools included.
    pub tools: u64,
    /// Tools that the provider runs by itself.
    pub server_tools: ServerTools,
    /// Images, documents and audio.
    pub media: Media,
    /// The longest lifetime among the prompt-cache marks.
    pub cache_marks: CacheMarks,
    /// The service tier asked for (the tier that is billed stands in the response).
    pub service_tier: Option<String>,
    /// Anthropic's `speed: "fast"`, priced apart.
    pub is_fast: bool,
    /// Anthropic's `inference_geo`, priced apart.
    pub inference_geo: Option<String>,
    /// Whether audio output is asked for.
    pub asks_audio: bool,
    /// The field by which the body lets the provider run another model than [`Self::model`]: `models`, a tool with a model
    /// of its own.
    pub other_models: Option<&'static str>,
    /// Whether the provider may have the conversation summed up first, in a pass of its own that is billed beside the answer.
    pub may_compact: bool,
    /// What refers to responses that the provider keeps.
    pub kept: Kept,
    /// Whether the body is a form.
    pub is_form: bool,
    /// What some models refuse.
    pub asks: Asks,
    /// Pictures and sound, as they are asked for.
    pub wish: MediaWish,
    /// Text in the body, without inline images and documents: the base of an estimate.
    pub text: TextSize,
    pub(crate) body_bytes: u64,
    pub(crate) typed_tools: u64,
    pub(crate) predicted_bytes: u64,
    pub(crate) splices: Splices,
}

/// What a request asks for that some models refuse although their API knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks {
    /// A sampling parameter, other than at a default that every model takes.
    pub sampling: bool,
    /// A choice of tools that forces a call (Anthropic's dialect only).
    pub forced_tool: bool,
}

impl Asks {
    /// Whether there is nothing of the kind.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// What a responses request says of responses that the provider keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The response that this one follows.
    pub previous: Option<PreviousResponse>,
    /// A conversation at the provider.
    pub has_conversation: bool,
    /// The input refers to an item that the provider keeps.
    pub has_reference: bool,
    /// It shall run on without its client.
    pub is_background: bool,
    /// The provider shall not keep the answer.
    pub is_unstored: bool,
}

/// An id of an earlier response, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousResponse {
    /// As the client said it.
    pub id: String,
    pub(crate) span: Span,
}

/// What is asked of a model of pictures or sound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaWish {
    /// Characters to be spoken.
    pub characters: u64,
    /// How fast they are spoken, in thousandths of the usual speed; `None`: at the usual speed.
    pub speed_permille: Option<u64>,
    /// The format of the answer (`wav`, `srt`), where it was named.
    pub format: Option<String>,
    /// Most tokens of one picture.
    pub image_tokens_max: u64,
    /// Bytes of an upload that is not all here; `None`: nobody said.
    pub upload_bytes: Option<u64>,
}

/// Tools that run at the provider and feed their results back into the model: input grows beyond what was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerTools {
    /// How many such tools are offered.
    pub count: u64,
    /// The sum of their `max_uses`, over those that have one and do not fetch.
    pub max_uses: u64,
    /// The sum of the `max_uses` of those that fetch whole documents, whatever their size.
    pub fetches: u64,
    /// Whether at least one has no such cap.
    pub has_uncapped: bool,
}

impl ServerTools {
    pub(crate) fn add(&mut self, max_uses: Option<u64>) {
        self.count += 1;
        match max_uses {
            Some(uses) => self.max_uses = self.max_uses.saturating_add(uses),
            None => self.has_uncapped = true,
        }
    }

    pub(crate) fn add_fetch(&mut self, max_uses: Option<u64>) {
        match max_uses {
            Some(uses) => {
                self.count += 1;
                self.fetches = self.fetches.saturating_add(uses);
            }
            None => self.add(None),
        }
    }
}

/// Parts of the input that are not text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Media {
    /// Images, inline and remote.
    pub images: u64,
    /// Those of them that are URLs or file ids.
    pub remote_images: u64,
    /// Audio parts.
    pub audio: u64,
    /// Documents whose text is not in the body as text: PDFs, remote documents, file ids, uploads, videos.
    pub documents: u64,
    /// Bytes of inline image data in the body.
    pub inline_image_bytes: u64,
}

/// How long the prompt is asked to be cached, which sets the price of a cache write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheMarks {
    /// No mark. (Some providers write a cache without being asked, at the short price.)
    #[default]
    None,
    /// The default lifetime (5 or 30 minutes).
    Short,
    /// One hour or more, or a lifetime we do not know.
    Long,
}

impl CacheMarks {
    pub(crate) fn note(&mut self, mark: Self) {
        *self = mark.max(*self);
    }
}

/// Where fields lie that a rewrite may touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Splices {
    /// Just after the opening brace of the document.
    pub(crate) top: usize,
    pub(crate) model: Span,
    pub(crate) usage: UsageSplice,
    /// The value of `stream_options`, where there is one.
    pub(crate) stream_options: Option<Span>,
    pub(crate) max_tokens: CapSplice,
    pub(crate) max_completion_tokens: CapSplice,
    /// Inside of Gemini's `generationConfig` or Converse's `inferenceConfig`.
    pub(crate) config: Option<MemberSplice>,
}

/// Where a member can be added to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberSplice {
    /// Just after the opening brace.
    pub(crate) at: usize,
    pub(crate) is_only: bool,
}

/// A cap as the client wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CapSplice {
    /// Where the value lies, also when it is `null`.
    pub(crate) span: Option<Span>,
    pub(crate) value: Option<u64>,
}

/// What must change for the usage event to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum UsageSplice {
    /// There is no `stream_options`.
    #[default]
    Field,
    /// `stream_options` is `null`: replace it.
    Options(Span),
    /// `stream_options` is an object without `include_usage`: add it at this place.
    Member { at: usize, is_only: bool },
    /// `include_usage` is there, but not `true`: replace its value.
    Value(Span),
    /// It is asked for already.
    Asked,
}

impl RequestFacts {
    pub(crate) fn new(dialect: Dialect, body_bytes: u64) -> Self {
        Self {
            dialect,
            model: String::new(),
            is_stream: false,
            asks_usage: false,
            output_cap: None,
            thinking_budget: None,
            choices: 1,
            messages: 0,
            tools: 0,
            server_tools: ServerTools::default(),
            media: Media::default(),
            cache_marks: CacheMarks::None,
            service_tier: None,
            is_fast: false,
            inference_geo: None,
            asks_audio: false,
            may_compact: false,
            kept: Kept::default(),
            is_form: false,
            asks: Asks::default(),
            wish: MediaWish::default(),
            other_models: None,
            text: TextSize::default(),
            body_bytes,
            typed_tools: 0,
            predicted_bytes: 0,
            splices: Splices::default(),
        }
    }

    /// Makes the facts of a request for a response that a provider keeps; its model is the one that wrote it.
    pub fn of_stored(model: String) -> Self {
        Self { model, ..Self::new(Dialect::OpenAiStoredResponses, 0) }
    }

    /// Makes the facts of a request out of those of the calls that it becomes: each is capped for itself.
    pub fn of_calls(calls: Vec<Self>) -> Option<Self> {
        calls.into_iter().reduce(|mut all, next| {
            all.choices = all.choices.saturating_add(next.choices);
            all.messages = all.messages.saturating_add(next.messages);
            // What a provider adds to a request, it adds to each.
            let added = if next.tools > 0 { BASE_TOKENS + TOOL_PROMPT_TOKENS } else { BASE_TOKENS };
            all.body_bytes = all.body_bytes.saturating_add(next.body_bytes).saturating_add(added);
            all.text.add((next.text.bytes, next.text.wide_bytes));
            all
        })
    }

    /// Returns a number of input tokens that the first pass of the model cannot exceed; `None` when the body does not
    /// bound it (documents), so that only the model's context window does.
    ///
    /// A byte-level tokenizer makes at most one token of a byte. Image data is not text: each image counts at the
    /// published maximum. Server tools feed further passes with input of their own: see [`ServerTools`].
    pub fn input_token_bound(&self) -> Option<u64> {
        if self.media.documents > 0 {
            return None;
        }
        let per_image = match self.dialect.family() {
            Family::OpenAi => OPENAI_IMAGE_TOKENS,
            Family::Anthropic => ANTHROPIC_IMAGE_TOKENS,
            Family::Gemini => GEMINI_IMAGE_TOKENS,
        };
        let tool_prompt = if self.tools > 0 { TOOL_PROMPT_TOKENS } else { 0 };
        let items = [
            (self.media.images, per_image),
            (self.messages, PER_MESSAGE_TOKENS),
            (self.tools, PER_TOOL_TOKENS),
            (self.typed_tools, PER_TYPED_TOOL_TOKENS),
            (self.media.audio, PER_AUDIO_TOKENS),
        ];
        let text = self.body_bytes.saturating_sub(self.media.inline_image_bytes);
        let fixed = text.saturating_add(BASE_TOKENS).saturating_add(tool_prompt);
        Some(items.iter().fold(fixed, |sum, (count, each)| sum.saturating_add(count.saturating_mul(*each))))
    }

    /// Returns the number of output tokens that cannot be exceeded when each answer is capped at `cap` tokens.
    ///
    /// Rejected tokens of a `prediction` are billed beside the answer, and so is a summary of what was said before.
    pub fn output_token_bound(&self, cap: u64) -> u64 {
        let summary = if self.may_compact { SUMMARY_TOKENS } else { 0 };
        cap.saturating_add(self.predicted_bytes).saturating_add(summary).saturating_mul(self.choices)
    }

    /// Whether the client's cap stands in the field that a backend of OpenAI's chat reads.
    pub fn has_cap_in(&self, field: CapField) -> bool {
        let splice = match field {
            CapField::MaxTokens => &self.splices.max_tokens,
            CapField::MaxCompletionTokens => &self.splices.max_completion_tokens,
        };
        splice.value.is_some()
    }

    /// Returns an estimate of the input tokens, for answers without usage and for local counting.
    pub fn estimate_input_tokens(&self) -> u64 {
        crate::estimate::estimate_request(self)
    }
}

/// Reads what the gateway must know of a request, in one pass over the body.
///
/// # Errors
/// [`ScanError`] when the body is not JSON, or a field that counts is missing, doubled or of the wrong type.
pub fn scan_request(dialect: Dialect, body: &[u8]) -> std::result::Result<RequestFacts, ScanError> {
    scan(dialect, body).map_err(|fault| ScanError::from_fault(&fault, body))
}

fn scan(dialect: Dialect, body: &[u8]) -> Result<RequestFacts> {
    if let Err(error) = std::str::from_utf8(body) {
        return Err(fault(error.valid_up_to(), Reason::Syntax("the text is not UTF-8")));
    }
    let mut reader = Reader::new(body);
    let mut facts = RequestFacts::new(dialect, to_u64(body.len()));
    match dialect {
        Dialect::OpenAiChat => openai_chat::scan_request(&mut reader, &mut facts)?,
        Dialect::OpenAiEmbeddings => openai_embeddings::scan_request(&mut reader, &mut facts)?,
        Dialect::OpenAiCompletions => openai_completions::scan_request(&mut reader, &mut facts)?,
        Dialect::OpenAiModerations => openai_moderations::scan_request(&mut reader, &mut facts)?,
        Dialect::OpenAiResponses => openai_responses::scan_request(&mut reader, &mut facts)?,
        Dialect::OpenAiImages | Dialect::OpenAiImageEdits => openai_images::scan_request(&mut reader, &mut facts)?,
        Dialect::OpenAiSpeech => openai_speech::scan_request(&mut reader, &mut facts)?,
        // Nothing of them is JSON.
        Dialect::OpenAiStoredResponses | Dialect::OpenAiTranscriptions | Dialect::OpenAiTranslations => {
            return Err(fault(0, Reason::Syntax("the body must be a form (multipart/form-data)")));
        }
        Dialect::AnthropicMessages | Dialect::AnthropicCountTokens => {
            anthropic::scan_request(&mut reader, &mut facts)?;
        }
        Dialect::BedrockConverse => bedrock::scan_request(&mut reader, &mut facts)?,
        Dialect::Gemini => gemini::scan_request(&mut reader, &mut facts)?,
        Dialect::Ollama => ollama::scan_request(&mut reader, &mut facts)?,
    }
    reader.end()?;
    facts.text.bytes = reader.string_bytes.saturating_sub(facts.media.inline_image_bytes);
    if !body.is_ascii() {
        facts.text.wide_bytes = to_u64(body.iter().filter(|byte| !byte.is_ascii()).count());
    }
    Ok(facts)
}

#[cfg(test)]
mod tests;
