//! What goes to a backend, in the dialect that it speaks: the client's own bytes, or a translation of them.
//!
//! Rule: from the budget to the meter everything reads the backend's side of the wire (its dialect, its body, its counters);
//! the client's dialect is back in sight when the answer is rendered. Pass-through costs nothing here.

mod forms;
mod watch;

pub use forms::{Calls, Piece};
pub use watch::{Raw, Watch};

use super::attempts::Ask;
use super::capability;
use super::kept::Names;
use super::refusal::Refusal;
use crate::config::current::{Place, Resolved};
use bytes::Bytes;
use helix_llm::{
    AnswerContext, AnswerPlan, ChatDialect, Dialect, Family, Fetched, ModelTraits, Quirks, RenameId, RequestContext,
    RequestFacts, StreamTranslator, TranslateError, Translated, Wanted, bedrock_error, error_family, scan_request,
    split_completions, stated_error, translate_answer, translate_error, translate_fetched, wanted_files,
};
use helix_shared::catalog::Refusal as Refused;
use helix_shared::error_code::ErrorCode;
use helix_shared::provider::{Api, ModelMaker, ModelNames, PathForm, ProviderKind, WireFamily};
use helix_shared::routing::Params;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use std::borrow::Cow;
use std::sync::Arc;

/// A request as a backend gets it.
#[derive(Debug)]
pub struct Wire<'a> {
    /// The body, before the few fields that are spliced.
    pub body: Bytes,
    /// What a scan of that body found; its dialect is the backend's.
    pub facts: Cow<'a, RequestFacts>,
    /// How to turn the answer back; `None`: both ends speak the same.
    pub translation: Option<Translation>,
    /// What the backend does not get, by its path in the client's body.
    pub dropped: Vec<String>,
    /// How the client knows what the backend keeps of this.
    pub names: Option<Arc<dyn RenameId>>,
    /// The calls that the backend takes instead of the body, where it has another form for it.
    pub calls: Option<Arc<Calls>>,
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
    is_native(place, dialect)
        || (dialect == Dialect::OpenAiEmbeddings && Calls::embedding_form(place).is_some())
        || (ChatDialect::of(dialect).is_some() && ChatDialect::of(backend_dialect(place)).is_some())
}

/// Whether a place is asked in the client's own words.
fn is_native(place: &Place, dialect: Dialect) -> bool {
    let api = match dialect {
        Dialect::OpenAiResponses => Some(Api::Responses),
        Dialect::OpenAiCompletions => Some(Api::Completions),
        Dialect::OpenAiStoredResponses => Some(Api::StoredResponses),
        Dialect::OpenAiImages | Dialect::OpenAiImageEdits => Some(Api::Images),
        Dialect::OpenAiSpeech => Some(Api::Speech),
        Dialect::OpenAiTranscriptions | Dialect::OpenAiTranslations => Some(Api::Transcription),
        _ => None,
    };
    if dialect == Dialect::OpenAiEmbeddings && Calls::embedding_form(place).is_some() {
        return false;
    }
    speaks(place, dialect.family()) && api.is_none_or(|api| place.upstream.backend.serves(api))
}

/// Whether a backend of a model keeps responses, so that an id may lead there.
pub fn keeps_responses(resolved: &Resolved) -> bool {
    resolved.places.iter().any(|place| place.upstream.backend.serves(Api::StoredResponses))
}

/// Refuses what a backend that speaks responses could do, and the gateway could not answer for.
fn refuse_kept(ask: &Ask, place: &Place) -> Result<(), Refusal> {
    let kept = &ask.facts.kept;
    let refused = [
        (kept.is_background, "background", "a response that runs on without its client is not metered"),
        (
            kept.has_conversation,
            "conversation",
            "a conversation at the provider has no owner here; send previous_response_id",
        ),
        (kept.has_reference, "input", "an item that the provider keeps has no owner here; send the item itself"),
        (
            kept.previous.is_some() && !place.upstream.backend.serves(Api::StoredResponses),
            "previous_response_id",
            "the backend of this model keeps no responses; send the whole input",
        ),
    ];
    match refused.into_iter().find(|(is_refused, ..)| *is_refused) {
        None => Ok(()),
        Some((_, param, reason)) => {
            let message = format!("`{param}` is not supported: {reason}.");
            Err(Refusal::new("route", ErrorCode::InvalidRequest, message).with_param(Some(param)))
        }
    }
}

/// How the client knows the response that a backend keeps, if it does.
fn names(ask: &Ask, place: &Place) -> Option<Arc<dyn RenameId>> {
    let keeps = match ask.facts.dialect {
        Dialect::OpenAiResponses => !ask.facts.kept.is_unstored,
        dialect => dialect == Dialect::OpenAiStoredResponses,
    };
    if !keeps || !place.upstream.backend.serves(Api::StoredResponses) {
        return None;
    }
    let previous = match (&ask.kept, &ask.facts.kept.previous, &ask.stored) {
        (Some(kept), Some(previous), _) => Some((kept.upstream_id.clone(), previous.id.clone())),
        (_, _, Some(stored)) => Some((stored.upstream_id.clone(), stored.given.clone())),
        _ => None,
    };
    let names = Names::of(&ask.pinned, &ask.caller, &place.upstream, &ask.facts.model)?;
    Some(Arc::new(names.following(previous)))
}

fn speaks(place: &Place, family: Family) -> bool {
    match place.upstream.backend.family_of(&place.upstream_model) {
        WireFamily::OpenAi => family == Family::OpenAi,
        WireFamily::Anthropic => family == Family::Anthropic,
        // Nobody asks in its dialect.
        WireFamily::Bedrock | WireFamily::Ollama => false,
        WireFamily::Gemini => family == Family::Gemini,
    }
}

fn backend_dialect(place: &Place) -> Dialect {
    match place.upstream.backend.family_of(&place.upstream_model) {
        WireFamily::OpenAi => Dialect::OpenAiChat,
        WireFamily::Anthropic => Dialect::AnthropicMessages,
        WireFamily::Bedrock => Dialect::BedrockConverse,
        WireFamily::Gemini => Dialect::Gemini,
        WireFamily::Ollama => Dialect::Ollama,
    }
}

/// Names the files of a request that a place must be given because it fetches nothing itself.
///
/// # Errors
/// As the translation.
pub(super) fn wanted(ask: &Ask, place: &Place) -> Result<Vec<Wanted>, Refusal> {
    let dialect = ask.facts.dialect;
    let (Some(client), Some(provider)) = (ChatDialect::of(dialect), ChatDialect::of(backend_dialect(place))) else {
        return Ok(Vec::new());
    };
    if is_native(place, dialect) {
        return Ok(Vec::new());
    }
    let traits = traits(place, &ask.facts.model);
    wanted_files(client, provider, &ask.body, &traits).map_err(|error| refuse(&error))
}

/// Puts a request into the words of a place.
///
/// # Errors
/// `unsupported_backend`, `invalid_request`: what the backend has no word for.
pub fn for_place<'a>(ask: &'a Ask, place: &Place, fetched: &Fetched) -> Result<Wire<'a>, Refusal> {
    let dialect = ask.facts.dialect;
    if is_native(place, dialect) {
        if dialect == Dialect::OpenAiResponses {
            refuse_kept(ask, place)?;
        }
        let names = names(ask, place);
        let refused = capability::refused(&ask.facts, place);
        let (body, facts, dropped) = if refused.is_none() {
            (ask.body.clone(), Cow::Borrowed(&ask.facts), Vec::new())
        } else {
            capability::without(ask, place, refused)?
        };
        return Ok(Wire { body, facts, translation: None, dropped, names, calls: None });
    }
    if dialect == Dialect::OpenAiEmbeddings {
        let (calls, dropped) = Calls::embeddings(ask, place)?;
        refuse_dropped(ask, &dropped)?;
        let facts = Cow::Borrowed(&ask.facts);
        return Ok(Wire {
            body: ask.body.clone(),
            facts,
            translation: None,
            dropped,
            names: None,
            calls: Some(Arc::new(calls)),
        });
    }
    let target = backend_dialect(place);
    let (Some(client), Some(provider)) = (ChatDialect::of(dialect), ChatDialect::of(target)) else {
        return Err(Refusal::new("route", ErrorCode::UnsupportedBackend, "The backend does not serve this API."));
    };
    let mut body = Cow::Borrowed(&ask.body);
    if dialect == Dialect::OpenAiCompletions {
        let split = split_completions(&ask.body).map_err(|error| refuse(&error))?;
        match <[Bytes; 1]>::try_from(split) {
            Ok([only]) => body = Cow::Owned(only),
            Err(split) => return completions(ask, place, target, (client, provider), &split),
        }
    }
    let (translated, facts) = translated(ask, place, target, (client, provider), &body, fetched)?;
    refuse_dropped(ask, &translated.dropped)?;
    let translation = Translation::of(ask, place, (client, provider), &translated, &facts);
    Ok(Wire {
        body: translated.body,
        facts: Cow::Owned(facts),
        dropped: translation.dropped.clone(),
        translation: Some(translation),
        names: None,
        calls: None,
    })
}

/// Puts a request for several completions into as many conversations.
fn completions<'a>(
    ask: &'a Ask,
    place: &Place,
    target: Dialect,
    pair: (ChatDialect, ChatDialect),
    split: &[Bytes],
) -> Result<Wire<'a>, Refusal> {
    let (mut bodies, mut all, mut translation) = (Vec::new(), Vec::new(), None);
    let mut last: Option<&Bytes> = None;
    for one in split {
        // Several answers to one prompt are the same request.
        if let (true, Some(body), Some(facts)) =
            (last.is_some_and(|last| last.as_ptr() == one.as_ptr()), bodies.last().cloned(), all.last().cloned())
        {
            bodies.push(body);
            all.push(facts);
            continue;
        }
        last = Some(one);
        // Prompts name no files.
        let (translated, facts) = translated(ask, place, target, pair, one, &Fetched::default())?;
        refuse_dropped(ask, &translated.dropped)?;
        translation.get_or_insert_with(|| Translation::of(ask, place, pair, &translated, &facts));
        bodies.push(super::outgoing::call_body(&translated.body, &facts, place));
        all.push(facts);
    }
    let (Some(facts), Some(translation)) = (RequestFacts::of_calls(all), translation) else {
        return Err(Refusal::new("model", ErrorCode::Internal, "The request became no call."));
    };
    let calls = Some(Arc::new(Calls::conversations(bodies, translation.clone(), target)));
    let facts = Cow::Owned(facts);
    let dropped = translation.dropped.clone();
    Ok(Wire { body: ask.body.clone(), facts, translation: Some(translation), dropped, names: None, calls })
}

/// Translates a body for a place, and reads what came of it.
fn translated(
    ask: &Ask,
    place: &Place,
    target: Dialect,
    (client, provider): (ChatDialect, ChatDialect),
    body: &[u8],
    fetched: &Fetched,
) -> Result<(Translated, RequestFacts), Refusal> {
    let context = RequestContext {
        upstream_model: &place.upstream_model,
        output_cap: None,
        max_output_tokens: place.max_output_tokens,
        traits: traits(place, &ask.facts.model),
    };
    let translated = translate_fetched(client, provider, body, &context, fetched).map_err(|error| refuse(&error))?;
    let mut facts = scan_request(target, &translated.body).map_err(|error| {
        tracing::error!(%error, "invariant broken: a translated request cannot be read");
        Refusal::new("model", ErrorCode::Internal, "The request could not be translated for its backend.")
    })?;
    super::authorize::refuse_other_models(&facts)?;
    if matches!(target, Dialect::BedrockConverse | Dialect::Gemini) {
        // Their bodies say neither: both go into the address.
        facts.is_stream = ask.facts.is_stream;
        place.upstream_model.as_ref().clone_into(&mut facts.model);
    }
    Ok((translated, facts))
}

/// Refuses what the backend would not get, where the route says so.
fn refuse_dropped(ask: &Ask, dropped: &[String]) -> Result<(), Refusal> {
    let Some(first) = dropped.first().filter(|_| ask.resolved.params == Params::Strict) else { return Ok(()) };
    let message = format!(
        "The backend of this model has no word for {}, and its route takes requests whole or not at all (params: strict).",
        dropped.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ")
    );
    Err(Refusal::new("route", ErrorCode::InvalidRequest, message).with_param(Some(first)))
}

pub(super) fn refuse(error: &TranslateError) -> Refusal {
    Refusal::new("route", error.code(), error.to_string()).with_param(error.param())
}

/// What the model of a place takes, as far as its name or its provider says so.
fn traits(place: &Place, asked_model: &str) -> ModelTraits {
    let facts = place.upstream.backend.kind.facts();
    let model = &*place.upstream_model;
    let of_model = match (facts.maker, facts.names) {
        (ModelMaker::Anthropic, _) => ModelTraits::claude(model),
        (ModelMaker::Google, _) if facts.family != place.upstream.backend.family_of(model) => {
            // Vertex AI fetches nothing for it.
            ModelTraits { takes_urls: false, ..ModelTraits::claude(model) }
        }
        // A deployment has a name of its own; the model that the client knows it by says more.
        (ModelMaker::OpenAi, ModelNames::Hosted(prefixes)) if !prefixes.iter().any(|it| model.starts_with(it)) => {
            ModelTraits::openai(asked_model)
        }
        (ModelMaker::OpenAi, _) => ModelTraits::openai(model),
        (ModelMaker::Several, _) => ModelTraits::bedrock(model),
        (ModelMaker::Google, _) => ModelTraits::gemini(model),
        (ModelMaker::Anybody, _) if place.upstream.backend.family_of(model) == WireFamily::Ollama => {
            ModelTraits::ollama(model)
        }
        (ModelMaker::Anybody, _) => ModelTraits::openai_compatible(),
    };
    let refuses = |what| place.known.is_some_and(|known| known.refuses.has(what));
    ModelTraits {
        takes_sampling: of_model.takes_sampling && !refuses(Refused::Sampling),
        takes_forced_tools: of_model.takes_forced_tools && !refuses(Refused::ForcedTools),
        // Vertex AI fetches from any site, the Gemini API promises its own files only.
        takes_any_url: of_model.takes_any_url && facts.paths != PathForm::Gemini,
        cap_field: place.upstream.backend.cap_field(),
        takes_user: facts.takes_user,
        says_any: facts.says_any,
        takes_top_k: of_model.takes_top_k || facts.takes_top_k,
        takes_reasoning_content: of_model.takes_reasoning_content || facts.takes_reasoning_content,
        ..of_model
    }
}

/// How a kind of provider differs from the family whose dialect it speaks.
pub fn quirks(kind: ProviderKind) -> Quirks {
    let facts = kind.facts();
    Quirks { has_reasoning_outside: facts.has_reasoning_outside, has_cost: facts.has_cost }
}

/// Puts what the body of a provider's error says about itself into status and headers.
fn state(parts: &mut Parts, family: Family, body: &[u8]) {
    let stated = stated_error(family, parts.status.as_u16(), body);
    parts.status = StatusCode::from_u16(stated.status).unwrap_or(parts.status);
    if let Some(seconds) = stated.retry_after_s
        && !parts.headers.contains_key(RETRY_AFTER)
    {
        parts.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Says the error of a host again in the dialect that its guest was asked in; everything else passes as it came.
pub fn hosts_error(dialect: Dialect, parts: &mut Parts, body: Bytes, request_id: &str) -> Bytes {
    let (asked, said) = (dialect.family(), error_family(dialect.family(), &body));
    if asked == said {
        return body;
    }
    state(parts, said, &body);
    let error = translate_error(said, asked, parts.status.as_u16(), &body, request_id);
    parts.status = StatusCode::from_u16(error.status).unwrap_or(parts.status);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    error.body
}

impl Translation {
    fn of(
        ask: &Ask,
        place: &Place,
        (client, provider): (ChatDialect, ChatDialect),
        translated: &Translated,
        facts: &RequestFacts,
    ) -> Self {
        Self {
            provider,
            client,
            plan: translated.plan.clone(),
            model: ask.facts.model.clone(),
            estimated_input_tokens: facts.estimate_input_tokens(),
            quirks: quirks(place.upstream.backend.kind),
            dropped: translated.dropped.clone(),
        }
    }

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

    /// Reads a provider's error that says in its own way what went wrong, or when to come back: afterwards status, headers
    /// and body say it.
    pub fn explain(&self, parts: &mut Parts, body: Bytes) -> Bytes {
        if self.provider == ChatDialect::Bedrock {
            let kind = parts.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
            let (status, body) = bedrock_error(parts.status.as_u16(), kind, &body);
            parts.status = StatusCode::from_u16(status).unwrap_or(parts.status);
            return body;
        }
        state(parts, error_family(self.provider.family(), &body), &body);
        body
    }

    /// Turns an error of the provider into one of the client's dialect, status and headers included.
    pub fn error(&self, parts: &mut Parts, body: &[u8], request_id: &str) -> Bytes {
        let status = parts.status.as_u16();
        let provider = error_family(self.provider.family(), body);
        let error = translate_error(provider, self.client.family(), status, body, request_id);
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
