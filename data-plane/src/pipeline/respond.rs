//! The head of an answer: what the provider said, and what the gateway adds.
//!
//! Rule: the body is the provider's, byte for byte. Callers that may not see provider names get them left out.

use super::attempts::Ask;
use super::counting;
use super::headers::to_client;
use super::refusal::{Refusal, identify};
use crate::body::GatewayBody;
use crate::config::current::Place;
use crate::gateway::{self, Gateway};
use crate::records::draft::Draft;
use bytes::Bytes;
use helix_llm::{Family, count_tokens_body, estimate_tokens};
use helix_shared::money::NanoUsd;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, TRAILER};
use http::response::Parts;
use http::{Response, StatusCode};
use std::sync::Arc;

static X_HELIX_MODEL: HeaderName = HeaderName::from_static("x-helix-model");
static X_HELIX_PROVIDER: HeaderName = HeaderName::from_static("x-helix-provider");
static X_HELIX_STRATEGY: HeaderName = HeaderName::from_static("x-helix-strategy");
static X_HELIX_ATTEMPTS: HeaderName = HeaderName::from_static("x-helix-attempts");
static X_HELIX_COST_USD: HeaderName = HeaderName::from_static("x-helix-cost-usd");
static X_HELIX_BUDGET_REMAINING_USD: HeaderName = HeaderName::from_static("x-helix-budget-remaining-usd");

/// Answers above this keep their request's place until they are gone: who does not read what he asked for gets no more of
/// it. Smaller ones fit in what a connection may hold anyway.
const COUNTED_BYTES: usize = 64 << 10;

/// A whole answer with the place of its request.
struct Counted {
    bytes: Bytes,
    _place: Option<gateway::Place>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the gateway knows of an answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The request.
    pub ask: &'a Ask,
    /// Who answered.
    pub place: &'a Place,
    /// The cost, when it is known before the body.
    pub cost: Option<NanoUsd>,
    /// What comes free of what is held for the answer, once its record is written.
    pub freed: NanoUsd,
    /// The cap that the budget forced.
    pub clamped_to: Option<u64>,
    /// What the backend did not get of the request.
    pub dropped: &'a [String],
    /// Whether the cost follows the body.
    pub wants_trailers: bool,
}

/// Whether the client reads trailers.
pub fn accepts_trailers(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case("trailers"))
}

/// Answers with a whole body and writes the record.
pub fn whole(
    mut draft: Box<Draft>,
    answer: &Answer<'_>,
    family: Family,
    parts: &Parts,
    body: Bytes,
) -> Response<GatewayBody> {
    let length = body.len();
    let mut response = Response::new(GatewayBody::from(Bytes::new()));
    let attempts = draft.record.attempts.len();
    let gateway = Arc::clone(draft.gateway());
    set_headers(&mut response, &gateway, answer, family, parts, draft.request_id(), attempts);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    draft.allowed(parts.status.as_u16());
    draft.note_first_byte();
    let _place = draft.finish_and_keep_place();
    let is_counted = length > COUNTED_BYTES;
    let body = if is_counted { Bytes::from_owner(Counted { bytes: body, _place }) } else { body };
    *response.body_mut() = GatewayBody::from(body);
    response
}

/// Answers a count of tokens by an estimate, made with the model's own vocabulary where it was published: no backend of the model counts them, and clients that ask expect a number.
pub async fn counted(mut draft: Box<Draft>, ask: &Ask) -> Response<GatewayBody> {
    let gateway = Arc::clone(draft.gateway());
    let vocabulary = ask.resolved.places.first().and_then(|place| place.vocabulary);
    let by_length = ask.facts.estimate_input_tokens();
    let tokens = counting::request(&gateway, vocabulary, &ask.body, &ask.facts).await.map_or(by_length, |counted| {
        let text = estimate_tokens(ask.facts.dialect.family(), ask.facts.text);
        by_length.saturating_sub(text).saturating_add(counted)
    });
    let mut response = Response::new(GatewayBody::from(count_tokens_body(tokens)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    identify(headers, ask.facts.dialect.family(), draft.request_id());
    draft.stage("model", "estimated", "no backend of this model counts tokens");
    draft.allowed(StatusCode::OK.as_u16());
    draft.note_first_byte();
    draft.finish();
    response
}

/// Passes a provider's error on as it is, and writes the record.
pub fn provider_error(
    mut draft: Box<Draft>,
    ask: &Ask,
    family: Family,
    parts: &Parts,
    body: Bytes,
    refusal: &Refusal,
) -> Response<GatewayBody> {
    let length = body.len();
    let mut response = Response::new(GatewayBody::from(body));
    *response.status_mut() = parts.status;
    let headers = response.headers_mut();
    to_client(&parts.headers, headers);
    identify(headers, family, draft.request_id());
    set(headers, "x-helix-error-source", refusal.code.source().as_str());
    set(headers, "x-helix-error-code", refusal.code.as_str());
    // Our own attempts are used up; what the provider says about trying again stands.
    if !headers.contains_key("x-should-retry") && !is_worth_retrying(parts.status) {
        set(headers, "x-should-retry", "false");
    }
    set(headers, "x-helix-attempts", &draft.record.attempts.len().to_string());
    if ask.caller.sees_providers {
        set(headers, "x-helix-provider", &draft.record.backend_id.clone());
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    draft.failed("model", refusal.code.as_str(), parts.status.as_u16());
    draft.note_first_byte();
    draft.finish();
    response
}

fn is_worth_retrying(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 409 | 429 | 500..)
}

/// Sets status and headers of an answer.
pub fn set_headers(
    response: &mut Response<GatewayBody>,
    gateway: &Gateway,
    answer: &Answer<'_>,
    family: Family,
    parts: &Parts,
    request_id: &str,
    attempts: usize,
) {
    *response.status_mut() = parts.status;
    let headers = response.headers_mut();
    headers.reserve(parts.headers.len() + 10);
    to_client(&parts.headers, headers);
    identify(headers, family, request_id);
    if let Some(model) = &answer.place.model_header {
        headers.insert(X_HELIX_MODEL.clone(), model.clone());
    }
    if let Some(provider) = answer.place.upstream.name_header().filter(|_| answer.ask.caller.sees_providers) {
        headers.insert(X_HELIX_PROVIDER.clone(), provider.clone());
    }
    headers.insert(X_HELIX_STRATEGY.clone(), HeaderValue::from_static(answer.ask.resolved.strategy.as_str()));
    headers.insert(X_HELIX_ATTEMPTS.clone(), small_number(attempts));
    if let Some(cost) = answer.cost {
        set_amount(headers, &X_HELIX_COST_USD, cost);
    }
    let now = gateway.clock.monotonic_us();
    if let Some(remaining) = answer.ask.path.remaining(now) {
        let remaining = remaining.saturating_add(answer.freed);
        set_amount(headers, &X_HELIX_BUDGET_REMAINING_USD, remaining);
    }
    if let Some(warning) = answer.ask.path.warning(&gateway.escrow, now) {
        set(headers, "x-helix-budget-warning", &warning);
    }
    if let Some(tokens) = answer.clamped_to {
        headers.insert(HeaderName::from_static("x-helix-budget-clamped"), HeaderValue::from(tokens));
    }
    if !answer.dropped.is_empty() {
        set(headers, "x-helix-dropped-params", &answer.dropped.join(","));
    }
    if answer.wants_trailers {
        headers.insert(TRAILER, HeaderValue::from_static("x-helix-cost-usd"));
    }
}

/// One attempt is what nearly every request needs.
fn small_number(number: usize) -> HeaderValue {
    if number == 1 { HeaderValue::from_static("1") } else { HeaderValue::from(number) }
}

fn set_amount(headers: &mut HeaderMap, name: &HeaderName, amount: NanoUsd) {
    if let Ok(value) = HeaderValue::try_from(amount.to_string()) {
        headers.insert(name.clone(), value);
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
