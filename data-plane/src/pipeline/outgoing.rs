//! The request that goes to a backend, put together from the client's and the gateway's own.
//!
//! Rule: nothing is copied that can be passed; only where a signature must cover the body is it joined.
//! Not here: the signature, the credential.

use super::admit::Admission;
use super::attempts::Ask;
use super::wire::Wire;
use crate::config::current::Place;
use crate::records::draft::Draft;
use crate::upstream::body::Pieces;
use bytes::Bytes;
use helix_llm::{Dialect, Family, Rewrite, rewrite};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request};

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
    let path = match facts.dialect {
        Dialect::OpenAiChat => "/chat/completions",
        Dialect::OpenAiEmbeddings => "/embeddings",
        Dialect::AnthropicMessages => "/v1/messages",
        Dialect::AnthropicCountTokens => "/v1/messages/count_tokens",
        Dialect::BedrockConverse => "",
    };
    let changes = Rewrite {
        model: Some(&place.upstream_model),
        force_usage: facts.is_stream && facts.dialect == Dialect::OpenAiChat,
        output_cap: admission.output_cap,
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
    let mut request = Request::new(Pieces::new(body.parts, body.length));
    *request.method_mut() = Method::POST;
    // A query speaks to the API that the client knows.
    let query = ask.query.as_deref().filter(|_| wire.translation.is_none());
    *request.uri_mut() = match facts.dialect {
        Dialect::BedrockConverse => place.upstream.model_uri(&place.upstream_model, facts.is_stream)?,
        _ => place.upstream.uri(path, query)?,
    };
    let headers = request.headers_mut();
    super::headers::to_upstream(&ask.headers, headers, wire.translation.is_some());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length));
    if let Ok(id) = HeaderValue::from_str(draft.request_id()) {
        headers.insert(super::refusal::X_REQUEST_ID.clone(), id);
    }
    if whole.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let accepted = if facts.is_stream { "application/vnd.amazon.eventstream" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    } else if facts.dialect.family() == Family::Anthropic && !headers.contains_key("anthropic-version") {
        headers.insert(HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
    }
    draft.span.inject(headers);
    Some((request, whole))
}
