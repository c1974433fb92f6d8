//! The calls that a backend takes in a form of its own: embeddings in the forms of Google, Amazon and others, and legacy
//! completions as conversations.
//!
//! Rule: how a kind of backend is asked is decided here, by its row and the name of the model; the form itself is known by
//! `helix-llm`.

use super::super::attempts::Ask;
use super::super::refusal::Refusal;
use super::{Translation, refuse, state};
use crate::config::current::Place;
use bytes::Bytes;
use helix_llm::{
    Dialect, EmbeddedCall, EmbeddingForm, EmbeddingPlan, Family, ResponseFacts, TextSize, TranslateError,
    bedrock_error, join_completions, scan_response, translate_embeddings, translate_error,
};
use helix_shared::error_code::ErrorCode;
use helix_shared::provider::vertex::{Model, Publisher};
use helix_shared::provider::{Embeddings, PathForm, WireFamily};
use helix_shared::usage::TokenUsage;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use http::{StatusCode, Uri};

/// Where Bedrock counts the input of a model that does not.
const BEDROCK_INPUT_TOKENS: &str = "x-amzn-bedrock-input-token-count";

/// A request as calls of another form.
#[derive(Debug)]
pub struct Calls {
    /// The bodies, in order.
    pub bodies: Vec<Bytes>,
    form: Form,
    provider: WireFamily,
}

/// What the calls are.
#[derive(Debug)]
enum Form {
    Embeddings(EmbeddingForm, EmbeddingPlan),
    /// Conversations, each the answer to one of several prompts.
    Conversations(Box<Translation>, Dialect),
}

/// What one call brought.
#[derive(Debug, Clone, Default)]
pub struct Piece {
    /// What it says about itself.
    pub facts: ResponseFacts,
    embedded: EmbeddedCall,
    body: Bytes,
}

impl Calls {
    /// The form in which a place is asked for embeddings, where that is not OpenAI's.
    pub fn embedding_form(place: &Place) -> Option<EmbeddingForm> {
        let kind = place.upstream.backend.kind;
        let model = &*place.upstream_model;
        match (place.upstream.backend.family_of(model), kind.facts().embeddings) {
            (WireFamily::Gemini, _) if kind.facts().paths == PathForm::Vertex => {
                (Model::of(model).publisher == Publisher::Google).then(|| EmbeddingForm::vertex(model))
            }
            (WireFamily::Gemini, _) => Some(EmbeddingForm::Gemini),
            (WireFamily::Bedrock, _) => EmbeddingForm::bedrock(model),
            (WireFamily::Ollama, _) => Some(EmbeddingForm::Ollama),
            (WireFamily::OpenAi, Embeddings::Floats { dimensions }) => {
                Some(EmbeddingForm::Floats { dimensions, takes_user: kind.facts().takes_user })
            }
            (WireFamily::OpenAi, Embeddings::AsOpenAi) | (WireFamily::Anthropic, _) => None,
        }
    }

    /// Puts a request for embeddings into the calls of a place; beside them the paths of what the backend does not get.
    ///
    /// # Errors
    /// `unsupported_backend`, `invalid_request`.
    pub fn embeddings(ask: &Ask, place: &Place) -> Result<(Self, Vec<String>), Refusal> {
        let Some(form) = Self::embedding_form(place) else {
            return Err(Refusal::new("route", ErrorCode::UnsupportedBackend, "The backend does not serve this API."));
        };
        let translated =
            translate_embeddings(form, &place.upstream_model, &ask.body).map_err(|error| refuse(&error))?;
        let provider = place.upstream.backend.family_of(&place.upstream_model);
        let form = Form::Embeddings(form, translated.plan);
        Ok((Self { bodies: translated.calls, form, provider }, translated.dropped))
    }

    /// Makes calls of conversations in the dialect of their backend.
    pub(super) fn conversations(bodies: Vec<Bytes>, translation: Translation, dialect: Dialect) -> Self {
        let provider = match dialect {
            Dialect::BedrockConverse => WireFamily::Bedrock,
            Dialect::Gemini => WireFamily::Gemini,
            Dialect::Ollama => WireFamily::Ollama,
            Dialect::AnthropicMessages => WireFamily::Anthropic,
            _ => WireFamily::OpenAi,
        };
        Self { bodies, form: Form::Conversations(Box::new(translation), dialect), provider }
    }

    /// Whether the calls go elsewhere than a conversation.
    pub fn has_own_address(&self) -> bool {
        matches!(self.form, Form::Embeddings(..))
    }

    /// The address of every call for embeddings; `None`: the parts make no URL.
    pub fn uri(&self, place: &Place) -> Option<Uri> {
        let model = &place.upstream_model;
        let Form::Embeddings(form, _) = &self.form else { return None };
        match form {
            EmbeddingForm::Gemini => place.upstream.uri(":batchEmbedContents", model, None),
            EmbeddingForm::Predict { .. } => place.upstream.uri(":predict", model, None),
            EmbeddingForm::Titan(_) | EmbeddingForm::Cohere { .. } | EmbeddingForm::Nova => {
                place.upstream.model_uri(model, "/invoke")
            }
            EmbeddingForm::Ollama => place.upstream.uri("/api/embed", model, None),
            EmbeddingForm::Floats { .. } => place.upstream.uri("/embeddings", model, None),
        }
    }

    /// Reads the answer of one call.
    ///
    /// # Errors
    /// [`TranslateError`] when it is not what the backend's form says.
    pub fn read(&self, call: usize, parts: &Parts, body: &Bytes) -> Result<Piece, TranslateError> {
        let plan = match &self.form {
            Form::Embeddings(_, plan) => plan,
            Form::Conversations(translation, dialect) => {
                let mut facts = scan_response(*dialect, body, translation.quirks);
                facts.usage = facts.usage.filter(|_| !facts.is_usage_partial);
                return Ok(Piece { facts, body: body.clone(), ..Piece::default() });
            }
        };
        let counted = parts.headers.get(BEDROCK_INPUT_TOKENS).and_then(|value| value.to_str().ok()?.parse().ok());
        let counted = counted.filter(|_| self.provider == WireFamily::Bedrock);
        let embedded = plan.read(call, body, counted)?;
        let facts = ResponseFacts { usage: embedded.usage, ..ResponseFacts::default() };
        Ok(Piece { facts, embedded, ..Piece::default() })
    }

    /// Adds up what the calls used.
    pub fn sum<'a>(pieces: impl Iterator<Item = &'a Piece>) -> TokenUsage {
        pieces.filter_map(|piece| piece.facts.usage).fold(TokenUsage::default(), TokenUsage::plus)
    }

    /// Adds up what the calls wrote, for an estimate.
    pub fn text<'a>(pieces: impl Iterator<Item = &'a Piece>) -> TextSize {
        pieces.map(|piece| piece.facts.text).fold(TextSize::default(), |sum, text| TextSize {
            bytes: sum.bytes.saturating_add(text.bytes),
            wide_bytes: sum.wide_bytes.saturating_add(text.wide_bytes),
        })
    }

    /// Joins the calls to the client's answer.
    ///
    /// # Errors
    /// [`TranslateError`] when an answer is not what the backend's form says.
    pub fn join(
        &self,
        pieces: Vec<Piece>,
        usage: TokenUsage,
        request_id: &str,
        started_at_us: i64,
    ) -> Result<Bytes, TranslateError> {
        match &self.form {
            Form::Embeddings(_, plan) => {
                let calls: Vec<EmbeddedCall> = pieces.into_iter().map(|piece| piece.embedded).collect();
                plan.join(&calls, usage.total_input_tokens())
            }
            Form::Conversations(translation, _) => {
                let answer = |piece: Piece| translation.answer(&piece.body, request_id, started_at_us);
                join_completions(&pieces.into_iter().map(answer).collect::<Result<Vec<_>, _>>()?)
            }
        }
    }

    /// Reads a provider's error that says in its own way what went wrong: afterwards status, headers and body say it.
    pub fn explain(&self, parts: &mut Parts, body: Bytes) -> Bytes {
        if self.provider == WireFamily::Bedrock {
            let kind = parts.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
            let (status, body) = bedrock_error(parts.status.as_u16(), kind, &body);
            parts.status = StatusCode::from_u16(status).unwrap_or(parts.status);
            return body;
        }
        state(parts, self.family(), &body);
        body
    }

    /// Turns an error of the provider into the client's words.
    pub fn error(&self, parts: &mut Parts, body: &[u8], request_id: &str) -> Bytes {
        let error = translate_error(self.family(), Family::OpenAi, parts.status.as_u16(), body, request_id);
        parts.status = StatusCode::from_u16(error.status).unwrap_or(parts.status);
        let after = parts.headers.get(RETRY_AFTER).cloned();
        parts.headers = HeaderMap::with_capacity(4);
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = after {
            parts.headers.insert(RETRY_AFTER, after);
        }
        error.body
    }

    fn family(&self) -> Family {
        match self.provider {
            WireFamily::OpenAi | WireFamily::Ollama => Family::OpenAi,
            WireFamily::Anthropic | WireFamily::Bedrock => Family::Anthropic,
            WireFamily::Gemini => Family::Gemini,
        }
    }
}
