//! What goes to a backend, in the dialect that it speaks: the client's own bytes, or a translation of them.
//!
//! Rule: from the budget to the meter everything reads the backend's side of the wire (its dialect, its body, its counters);
//! the client's dialect is back in sight when the answer is rendered. Pass-through costs nothing here.

use super::attempts::Ask;
use super::refusal::Refusal;
use crate::config::current::Place;
use bytes::Bytes;
use helix_llm::{
    AnswerContext, AnswerPlan, ChatDialect, Dialect, EndKind, Family, ModelTraits, Quirks, RequestContext,
    RequestFacts, StreamEnd, StreamFacts, StreamFilter, StreamTranslator, TranslateError, bedrock_error, scan_request,
    translate_answer, translate_error, translate_request,
};
use helix_shared::error_code::ErrorCode;
use helix_shared::provider::{ProviderKind, WireFamily};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use std::borrow::Cow;

/// A request as a backend gets it.
#[derive(Debug)]
pub struct Wire<'a> {
    /// The body, before the few fields that are spliced.
    pub body: Bytes,
    /// What a scan of that body found; its dialect is the backend's.
    pub facts: Cow<'a, RequestFacts>,
    /// How to turn the answer back; `None`: both ends speak the same.
    pub translation: Option<Translation>,
}

/// How an answer is turned into the client's dialect.
#[derive(Debug, Clone)]
pub struct Translation {
    provider: ChatDialect,
    client: ChatDialect,
    plan: AnswerPlan,
    model: String,
    estimated_input_tokens: u64,
    quirks: Quirks,
    /// What the backend does not get, by its path in the client's body.
    pub dropped: Vec<String>,
}

/// Whether a place can serve a dialect at all, in its own words or by translation.
pub fn can_serve(place: &Place, dialect: Dialect) -> bool {
    speaks(place, dialect.family()) || (chat(dialect).is_some() && chat(backend_dialect(place)).is_some())
}

fn speaks(place: &Place, family: Family) -> bool {
    match place.upstream.backend.kind.family() {
        WireFamily::OpenAi => family == Family::OpenAi,
        WireFamily::Anthropic => family == Family::Anthropic,
        // Nobody asks in its dialect.
        WireFamily::Bedrock => false,
    }
}

fn backend_dialect(place: &Place) -> Dialect {
    match place.upstream.backend.kind.family() {
        WireFamily::OpenAi => Dialect::OpenAiChat,
        WireFamily::Anthropic => Dialect::AnthropicMessages,
        WireFamily::Bedrock => Dialect::BedrockConverse,
    }
}

fn chat(dialect: Dialect) -> Option<ChatDialect> {
    match dialect {
        Dialect::OpenAiChat => Some(ChatDialect::OpenAiChat),
        Dialect::AnthropicMessages => Some(ChatDialect::AnthropicMessages),
        Dialect::BedrockConverse => Some(ChatDialect::Bedrock),
        Dialect::AnthropicCountTokens | Dialect::OpenAiEmbeddings => None,
    }
}

/// Puts a request into the words of a place.
///
/// # Errors
/// `unsupported_backend`, `invalid_request`: what the backend has no word for.
pub fn for_place<'a>(ask: &'a Ask, place: &Place) -> Result<Wire<'a>, Refusal> {
    let dialect = ask.facts.dialect;
    if speaks(place, dialect.family()) {
        return Ok(Wire { body: ask.body.clone(), facts: Cow::Borrowed(&ask.facts), translation: None });
    }
    let target = backend_dialect(place);
    let (Some(client), Some(provider)) = (chat(dialect), chat(target)) else {
        return Err(Refusal::new("route", ErrorCode::UnsupportedBackend, "The backend does not serve this API."));
    };
    let context = RequestContext {
        upstream_model: &place.upstream_model,
        output_cap: None,
        max_output_tokens: place.max_output_tokens,
        traits: traits(place),
    };
    let translated = translate_request(client, provider, &ask.body, &context).map_err(|error| refuse(&error))?;
    let mut facts = scan_request(target, &translated.body).map_err(|error| {
        tracing::error!(%error, "invariant broken: a translated request cannot be read");
        Refusal::new("model", ErrorCode::Internal, "The request could not be translated for its backend.")
    })?;
    if target == Dialect::BedrockConverse {
        // Both stand in the address.
        facts.is_stream = ask.facts.is_stream;
        place.upstream_model.as_ref().clone_into(&mut facts.model);
    }
    let translation = Translation {
        provider,
        client,
        plan: translated.plan,
        model: ask.facts.model.clone(),
        estimated_input_tokens: facts.estimate_input_tokens(),
        quirks: quirks(place.upstream.backend.kind),
        dropped: translated.dropped,
    };
    Ok(Wire { body: translated.body, facts: Cow::Owned(facts), translation: Some(translation) })
}

fn refuse(error: &TranslateError) -> Refusal {
    Refusal::new("route", error.code(), error.to_string()).with_param(error.param())
}

fn traits(place: &Place) -> ModelTraits {
    match place.upstream.backend.kind {
        ProviderKind::Bedrock => ModelTraits::bedrock(&place.upstream_model),
        ProviderKind::Anthropic => ModelTraits::claude(&place.upstream_model),
        ProviderKind::OpenAi => ModelTraits::openai(&place.upstream_model),
        _ => ModelTraits::openai_compatible(),
    }
}

/// How a kind of provider differs from the family whose dialect it speaks.
pub fn quirks(kind: ProviderKind) -> Quirks {
    Quirks {
        has_reasoning_outside: matches!(kind, ProviderKind::XAi | ProviderKind::Perplexity),
        has_cost: matches!(kind, ProviderKind::OpenRouter | ProviderKind::Perplexity | ProviderKind::XAi),
    }
}

impl Translation {
    fn context(&self, request_id: &str, started_at_us: i64) -> AnswerContext {
        AnswerContext {
            request_id: request_id.to_owned(),
            created_unix_s: u64::try_from(started_at_us / 1_000_000).unwrap_or(0),
            model: self.model.clone(),
            estimated_input_tokens: self.estimated_input_tokens,
            quirks: self.quirks,
        }
    }

    /// Turns a whole answer into the client's words.
    ///
    /// # Errors
    /// [`TranslateError`] when the answer is not what the provider's dialect says.
    pub fn answer(&self, body: &[u8], request_id: &str, started_at_us: i64) -> Result<Bytes, TranslateError> {
        translate_answer(self.provider, self.client, body, &self.plan, &self.context(request_id, started_at_us))
    }

    /// Reads a provider's error that says in its own way what went wrong: afterwards status and body say it.
    pub fn explain(&self, parts: &mut Parts, body: Bytes) -> Bytes {
        if self.provider != ChatDialect::Bedrock {
            return body;
        }
        let kind = parts.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        let (status, body) = bedrock_error(parts.status.as_u16(), kind, &body);
        parts.status = StatusCode::from_u16(status).unwrap_or(parts.status);
        body
    }

    /// Turns an error of the provider into one of the client's dialect, status and headers included.
    pub fn error(&self, parts: &mut Parts, body: &[u8], request_id: &str) -> Bytes {
        let status = parts.status.as_u16();
        let error = translate_error(self.provider.family(), self.client.family(), status, body, request_id);
        parts.status = StatusCode::from_u16(error.status).unwrap_or(parts.status);
        parts.headers = self.headers(&parts.headers, "application/json");
        error.body
    }

    /// What the client gets of the provider's headers: they speak of another API, so nothing but when to come back.
    pub fn headers(&self, from: &HeaderMap, content_type: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(after) = from.get(RETRY_AFTER) {
            headers.insert(RETRY_AFTER, after.clone());
        }
        headers
    }

    /// Reads a stream of the provider and writes one of the client's dialect.
    pub fn watch(&self, request_id: &str, started_at_us: i64) -> Watch {
        let context = self.context(request_id, started_at_us);
        Watch::Translated(Box::new(StreamTranslator::new(self.provider, self.client, self.plan.clone(), context)))
    }
}

/// What stands between a provider's stream and the client.
#[derive(Debug)]
pub enum Watch {
    /// Bytes pass; usage is read from them.
    Passed(Box<StreamFilter>),
    /// Events are said again in the client's dialect; usage is read by the same filter.
    Translated(Box<StreamTranslator>),
}

impl Watch {
    /// Watches a stream that passes.
    pub fn passing(dialect: Dialect, hide_usage: bool, quirks: Quirks) -> Self {
        Self::Passed(Box::new(StreamFilter::new(dialect, hide_usage, quirks)))
    }

    /// Takes a chunk of the provider and gives the client's bytes to `out`.
    pub fn push(&mut self, chunk: Bytes, out: &mut impl FnMut(Bytes)) {
        match self {
            Self::Passed(filter) => filter.push(chunk, out),
            Self::Translated(translator) => translator.push(chunk, out),
        }
    }

    /// Ends the stream; returns the last bytes for the client, if any.
    pub fn finish(&mut self, kind: EndKind, request_id: &str) -> Option<Bytes> {
        match self {
            Self::Passed(filter) => filter.finish(kind, request_id),
            Self::Translated(translator) => translator.finish(kind),
        }
    }

    /// The provider's last word so far.
    pub fn end(&self) -> StreamEnd {
        match self {
            Self::Passed(filter) => filter.end(),
            Self::Translated(translator) => translator.end(),
        }
    }

    /// What the stream said about itself so far.
    pub fn facts(&self) -> StreamFacts {
        match self {
            Self::Passed(filter) => filter.facts(),
            Self::Translated(translator) => translator.facts(),
        }
    }
}
