//! The request that goes to a backend, put together from the client's and the gateway's own.
//!
//! Rule: nothing is copied that can be passed; only where a signature must cover the body is it joined.
//! Not here: the signature, the credential.

use super::admit::Admission;
use super::attempts::Ask;
use super::capability;
use super::wire::Wire;
use crate::config::current::Place;
use crate::records::draft::Draft;
use crate::upstream::body::{Pieces, Upload};
use bytes::Bytes;
use helix_llm::{Dialect, Family, RequestFacts, Rewrite, rewrite};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};

/// Makes the request of an attempt; beside it its body as one, where a signature must cover it. `None`: the parts make no
/// URL.
pub(super) fn upstream_request(
    draft: &Draft,
    ask: &Ask,
    wire: &Wire<'_>,
    place: &Place,
    admission: &Admission,
) -> Option<(Request<Pieces>, Option<Bytes>)> {
    let facts = &*wire.facts;
    if wire.calls.is_some() {
        // Its bodies are made already.
        let mut request = Request::new(Pieces::new(Vec::new(), 0));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = upstream_uri(ask, wire, place)?;
        head(draft, ask, wire, place, request.headers_mut());
        return Some((request, None));
    }
    let hosted_version = place.upstream.hosted_version().filter(|_| facts.dialect.family() == Family::Anthropic);
    let changes = Rewrite {
        model: Some(&place.upstream_model),
        force_usage: facts.is_stream && facts.dialect.asks_for_stream_usage(),
        withhold_stream_options: !place.upstream.backend.takes_stream_options(),
        output_cap: admission.output_cap,
        cap_name: if wire.translation.is_none() { capability::cap_name(facts, place) } else { None },
        previous_response: ask.kept.as_ref().map(|kept| kept.upstream_id.as_str()),
        hosted_version,
    };
    let mut body = rewrite(wire.body.clone(), facts, &changes);
    let mut whole = None;
    if facts.dialect == Dialect::BedrockConverse {
        // A signature covers the body as one.
        let joined = match body.parts.as_slice() {
            [only] => only.clone(),
            parts => Bytes::from(parts.concat()),
        };
        body.parts = vec![joined.clone()];
        whole = Some(joined);
    }
    let mut request = Request::new(Pieces::new(body.parts, body.length).and_then(ask.upload.clone()));
    *request.method_mut() = ask.stored.as_ref().map_or(Method::POST, |stored| stored.method.clone());
    *request.uri_mut() = upstream_uri(ask, wire, place)?;
    let headers = request.headers_mut();
    // The gateway adds a few of its own; a map that grows is built anew.
    headers.reserve(ask.headers.len() + 7);
    super::headers::to_upstream(&ask.headers, headers, wire.translation.is_some());
    // Without a word any encoding would do, and none is decoded here.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let rest = ask.upload.as_ref().map_or(Some(0), Upload::declared_bytes);
    if let Some(rest) = rest.filter(|_| ask.stored.is_none()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length.saturating_add(rest)));
    }
    if let Ok(id) = HeaderValue::from_str(draft.request_id()) {
        headers.insert(super::refusal::X_REQUEST_ID.clone(), id);
    }
    // A provider must read the body as what it was checked as.
    if !facts.is_form && ask.stored.is_none() && !is_json(headers) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if whole.is_some() {
        let accepted = if facts.is_stream { "application/vnd.amazon.eventstream" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    } else if hosted_version.is_some() {
        headers.remove("anthropic-version");
    } else if facts.dialect.family() == Family::Anthropic && !headers.contains_key("anthropic-version") {
        headers.insert(HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
    }
    draft.span.inject(headers);
    Some((request, whole))
}

/// A call's body as its place gets it, in one piece.
pub(super) fn call_body(body: &Bytes, facts: &RequestFacts, place: &Place) -> Bytes {
    let hosted_version = place.upstream.hosted_version().filter(|_| facts.dialect.family() == Family::Anthropic);
    let changes = Rewrite {
        model: Some(&place.upstream_model),
        force_usage: false,
        withhold_stream_options: false,
        output_cap: None,
        cap_name: None,
        previous_response: None,
        hosted_version,
    };
    match rewrite(body.clone(), facts, &changes).parts.as_slice() {
        [only] => only.clone(),
        parts => Bytes::from(parts.concat()),
    }
}

/// The headers that every call of a request in another form has.
fn head(draft: &Draft, ask: &Ask, wire: &Wire<'_>, place: &Place, headers: &mut HeaderMap) {
    super::headers::to_upstream(&ask.headers, headers, wire.calls.is_some());
    if let Ok(id) = HeaderValue::from_str(draft.request_id()) {
        headers.insert(super::refusal::X_REQUEST_ID.clone(), id);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if wire.facts.dialect.family() == Family::Anthropic && place.upstream.hosted_version().is_none() {
        headers.insert(HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
    }
    draft.span.inject(headers);
}

/// Whether the one content type says JSON.
fn is_json(headers: &HeaderMap) -> bool {
    const JSON: &[u8] = b"application/json";
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let says_json = kinds.next().and_then(|kind| kind.as_bytes().get(..JSON.len()));
    says_json.is_some_and(|kind| kind.eq_ignore_ascii_case(JSON)) && kinds.next().is_none()
}

fn upstream_uri(ask: &Ask, wire: &Wire<'_>, place: &Place) -> Option<Uri> {
    if let Some(calls) = wire.calls.as_ref().filter(|calls| calls.has_own_address()) {
        return calls.uri(place);
    }
    // A query speaks to the API that the client knows.
    let query = ask.query.as_deref().filter(|_| wire.translation.is_none());
    let (path, query) = match wire.facts.dialect {
        Dialect::OpenAiChat => ("/chat/completions", query),
        Dialect::OpenAiResponses => ("/responses", query),
        Dialect::OpenAiStoredResponses => {
            let stored = ask.stored.as_ref()?;
            return place.upstream.kept_uri("/responses", &stored.upstream_id, stored.suffix, query);
        }
        Dialect::OpenAiImages => ("/images/generations", query),
        Dialect::OpenAiImageEdits => ("/images/edits", query),
        Dialect::OpenAiSpeech => ("/audio/speech", query),
        Dialect::OpenAiTranscriptions => ("/audio/transcriptions", query),
        Dialect::OpenAiTranslations => ("/audio/translations", query),
        Dialect::OpenAiEmbeddings => ("/embeddings", query),
        Dialect::OpenAiCompletions => ("/completions", query),
        Dialect::OpenAiModerations => ("/moderations", query),
        Dialect::AnthropicMessages if place.upstream.hosted_version().is_some() => {
            (if wire.facts.is_stream { ":streamRawPredict" } else { ":rawPredict" }, None)
        }
        Dialect::AnthropicCountTokens if place.upstream.hosted_version().is_some() => {
            return place.upstream.uri(":rawPredict", "anthropic/count-tokens", None);
        }
        Dialect::AnthropicMessages => ("/v1/messages", query),
        Dialect::AnthropicCountTokens => ("/v1/messages/count_tokens", query),
        Dialect::Gemini if wire.facts.is_stream => (":streamGenerateContent", Some("alt=sse")),
        Dialect::Gemini => (":generateContent", None),
        Dialect::Ollama => ("/api/chat", None),
        Dialect::BedrockConverse => {
            let operation = if wire.facts.is_stream { "/converse-stream" } else { "/converse" };
            return place.upstream.model_uri(&place.upstream_model, operation);
        }
    };
    place.upstream.uri(path, &place.upstream_model, query)
}
