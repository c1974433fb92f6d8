//! Trying backends in order until one answers.
//!
//! Rule: another backend is tried only while nothing has gone to the client, one reservation and one intent per attempt.
//! The last backend's error passes as the provider wrote it, except for errors about our own credential.

use super::admit::{Admission, Path, admit, has_residency};
use super::body_room::Claim;
use super::exchange::{Broken, Exchange, Limits, is_event_stream};
use super::first_frame::{first_error, refused_in_stream};
use super::outgoing::upstream_request;
use super::refusal::Refusal;
use super::relay::Relay;
use super::respond::{self, Answer};
use super::settle::{Ending, OpenAttempt};
use super::wire::{self, Watch, Wire};
use crate::body::GatewayBody;
use crate::budget::Reservation;
use crate::config::Pinned;
use crate::config::current::{Place, Resolved};
use crate::records::draft::{Draft, NOT_SENT};
use bytes::Bytes;
use helix_llm::{Dialect, Family, RequestFacts, scan_response};
use helix_proto::convert::record::account_to_wire;
use helix_proto::v1;
use helix_shared::error_code::ErrorCode;
use helix_shared::money::NanoUsd;
use helix_shared::snapshot::Caller;
use helix_shared::time::UnixMicros;
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// A request that passed every stage before the backends.
#[derive(Debug)]
pub struct Ask {
    /// The configuration it sees.
    pub pinned: Arc<Pinned>,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// Where the model is served.
    pub resolved: Arc<Resolved>,
    /// Budgets it is charged to.
    pub path: Path,
    /// Headers as they came.
    pub headers: HeaderMap,
    /// Query as it came.
    pub query: Option<String>,
    /// Body as it came.
    pub body: Bytes,
    /// What a scan of the body found.
    pub facts: RequestFacts,
    /// Memory that the body takes.
    pub room: Claim,
}

/// What an attempt led to.
pub(super) enum Tried {
    /// An answer for the client.
    Answered(Box<Response<GatewayBody>>),
    /// A failure; another backend may do better.
    Failed(Box<Draft>, Box<Failure>),
}

pub(super) struct Failure {
    pub(super) refusal: Refusal,
    /// The provider's own error, passed on when this was the last try.
    pub(super) verbatim: Option<(Parts, Bytes)>,
    pub(super) is_final: bool,
    /// The provider says that our key is over.
    pub(super) is_key_over: bool,
}

/// Tries the places in order.
pub async fn run(mut draft: Box<Draft>, ask: Box<Ask>) -> Response<GatewayBody> {
    let family = ask.facts.dialect.family();
    draft.record.strategy = ask.resolved.strategy.as_str().to_owned();
    let dialect = ask.facts.dialect;
    let speakers: Vec<&Place> = ask.resolved.places.iter().filter(|place| wire::can_serve(place, dialect)).collect();
    if speakers.is_empty() && dialect == Dialect::AnthropicCountTokens && !ask.resolved.places.is_empty() {
        return respond::counted(draft, &ask);
    }
    if speakers.is_empty() {
        return super::refuse(draft, family, &no_place(&ask, family));
    }
    let mut failure = None;
    for (tried, place) in speakers.iter().enumerate() {
        let is_last = tried + 1 == speakers.len();
        let wire = match wire::for_place(&ask, place) {
            Ok(wire) => wire,
            // Another backend may have a word for it.
            Err(refusal) => {
                failure = Some(Box::new(Failure { refusal, verbatim: None, is_final: is_last, is_key_over: false }));
                continue;
            }
        };
        let began_us = draft.gateway().clock.monotonic_us();
        let mut tried = attempt(draft, &ask, &wire, place, is_last).await;
        if let Tried::Failed(mut back, failed) = tried {
            tried = if failed.is_key_over && place.upstream.renew_key(began_us) {
                back.end_attempt();
                attempt(back, &ask, &wire, place, is_last).await
            } else {
                Tried::Failed(back, failed)
            };
        }
        match tried {
            Tried::Answered(response) => return *response,
            Tried::Failed(back, failed) => {
                draft = back;
                let is_final = failed.is_final;
                failure = Some(failed);
                if is_final {
                    break;
                }
                if !is_last {
                    draft.end_attempt();
                }
            }
        }
    }
    match failure.map(|failure| *failure) {
        Some(Failure { verbatim: Some((parts, body)), refusal, .. }) => {
            respond::provider_error(draft, &ask, family, &parts, body, &refusal)
        }
        Some(Failure { refusal, .. }) if refusal.stage == "model" => fail(draft, family, &refusal),
        Some(Failure { refusal, .. }) => super::refuse(draft, family, &refusal),
        None => super::refuse(draft, family, &no_place(&ask, family)),
    }
}

fn no_place(ask: &Ask, family: Family) -> Refusal {
    if ask.resolved.places.is_empty() {
        let message =
            "No backend of this model is available. Its route or backends may be quarantined; ask your administrator.";
        return Refusal::new("route", ErrorCode::NoHealthyBackend, message).with_retry_after(30);
    }
    let dialect = match family {
        Family::OpenAi => "OpenAI",
        Family::Anthropic => "Anthropic",
        Family::Gemini => "Gemini",
    };
    let message = format!("No backend of this model can serve this API of the {dialect} dialect.");
    Refusal::new("route", ErrorCode::UnsupportedBackend, message).with_param(Some("model"))
}

async fn attempt(mut draft: Box<Draft>, ask: &Ask, wire: &Wire<'_>, place: &Place, is_last: bool) -> Tried {
    let failed = |draft, refusal, is_final| {
        Tried::Failed(draft, Box::new(Failure { refusal, verbatim: None, is_final, is_key_over: false }))
    };
    let gateway = Arc::clone(draft.gateway());
    let backend = &place.upstream.backend;
    let Some(_in_flight) = place.upstream.enter() else {
        let message = "The backend is at its limit of requests in flight; try again in a moment.";
        let refusal = Refusal::new("route", ErrorCode::Overloaded, message).with_retry_after(1);
        return failed(draft, refusal, false);
    };
    let started_at = gateway.clock.now();
    let facts = &*wire.facts;
    let asked = (facts, ask.facts.output_cap.is_some());
    let admission = match admit(&gateway.escrow, &ask.path, asked, place, started_at).await {
        Ok(admission) => admission,
        Err(refusal) => return failed(draft, refusal, true),
    };
    match admission.reservation {
        Some(_) => {
            let reason = format_args!("{} USD in {} budgets", admission.worst_case, ask.path.len());
            draft.stage("budget", "reserved", reason);
        }
        None => draft.stage("budget", "reserved", format_args!("nothing to reserve, {} budgets", ask.path.len())),
    }
    let strategy = ask.resolved.strategy.as_str();
    match wire.translation {
        None => draft.stage("route", strategy, format_args!("backend {}", backend.id)),
        Some(_) => {
            let reason = format_args!("backend {}, translated to {}", backend.id, facts.dialect.as_str());
            draft.stage("route", strategy, reason);
        }
    }
    draft.provider = backend.kind.as_str();
    backend.id.as_str().clone_into(&mut draft.record.backend_id);
    let Some((mut request, whole)) = upstream_request(&draft, ask, wire, place, &admission) else {
        let refusal = Refusal::new("model", ErrorCode::Internal, "The backend's address makes no URL.");
        return failed(draft, refusal, false);
    };
    if place.upstream.has_identity()
        && let Err(error) =
            place.upstream.authorize(&mut request, &place.upstream_model, whole.as_ref(), started_at).await
    {
        tracing::error!(error = %crate::chain(&error), backend.id = %backend.id, "the gateway has no credential for a provider; check what is configured for it");
        let message = "The gateway has no valid credential for the provider. This is not about your key; tell your administrator.";
        return failed(draft, Refusal::new("model", ErrorCode::UpstreamCredential, message), false);
    }
    let now = gateway.clock.monotonic_us();
    let (mut open, clamped_to) = open_attempt(&draft, facts, place, admission, started_at);
    let mut accounts = ask.path.accounts(open.reservation.as_ref(), now);
    if facts.dialect.is_free() {
        accounts.clear();
    }
    let mut intent = v1::Intent {
        request_id: draft.request_id().to_owned(),
        config_revision: draft.record.config_revision,
        actor: draft.record.actor.clone(),
        dialect: draft.record.dialect.clone(),
        requested_model: ask.facts.model.clone(),
        backend_id: backend.id.as_str().to_owned(),
        upstream_model: place.upstream_model.to_string(),
        streaming: facts.is_stream,
        reserved_nano_usd: open.uncertain_cost().get(),
        charged: accounts.iter().map(account_to_wire).collect(),
        started_at_us: draft.started_at_us(),
        intent: 0,
    };
    let token = match gateway.journal.intent(&mut intent) {
        Ok(token) => token,
        Err(error) => return failed(draft, audit_unavailable(&error), true),
    };
    draft.record.charged = intent.charged;
    open.intent = token.intent;
    // The record closes the intent from here on, also when the client leaves while the disk is awaited.
    let token = draft.add_intent(token);
    if let Err(error) = gateway.journal.durable(token).await {
        open.close(&mut draft, &Ending::Unbilled(NOT_SENT));
        return failed(draft, audit_unavailable(&error), true);
    }
    open.dispatched();
    let limits = Limits {
        first_byte: backend.first_byte_timeout,
        idle: backend.idle_timeout,
        deadline: Instant::now() + backend.total_timeout,
    };
    let response = place.upstream.send(request);
    let exchange = Box::new(Exchange::new(draft, open, response, limits, facts.is_stream));
    answer(exchange, ask, wire, place, clamped_to, is_last).await
}

/// Waits for the answer and passes it on.
async fn answer(
    mut exchange: Box<Exchange>,
    ask: &Ask,
    wire: &Wire<'_>,
    place: &Place,
    clamped_to: Option<u64>,
    is_last: bool,
) -> Tried {
    let facts = &*wire.facts;
    let family = ask.facts.dialect.family();
    let mut parts = match exchange.head().await {
        Ok(parts) => parts,
        Err(broken) => return broke(&mut exchange, broken, family),
    };
    if parts.status.is_success() && facts.is_stream && is_event_stream(&parts.headers) {
        let mut first = VecDeque::new();
        if facts.dialect == Dialect::BedrockConverse
            && let Some(error) = match first_error(&mut exchange, wire, &mut first).await {
                Ok(error) => error,
                Err(broken) => return broke(&mut exchange, broken, family),
            }
        {
            return refused_in_stream(&mut exchange, wire, parts, &error, is_last);
        }
        return stream(exchange, ask, wire, place, parts, clamped_to, first);
    }
    let body = match exchange.collect(!parts.status.is_success()).await {
        Ok(body) => body,
        Err(broken) => return broke(&mut exchange, broken, family),
    };
    let Some((mut draft, open)) = exchange.take() else { return lost(family) };
    if !parts.status.is_success() {
        let is_over = is_key_over(&parts);
        let body = match &wire.translation {
            Some(translation) => translation.explain(&mut parts, body),
            None => wire::hosts_error(facts.dialect, &mut parts, body, draft.request_id()),
        };
        let status = parts.status.as_u16();
        let verdict = if status == 401 || status == 403 { "credential" } else { "provider_error" };
        open.close(&mut draft, &Ending::Unbilled(verdict));
        draft.stage("model", "error", format_args!("status {status}"));
        let may_fail_over = may_fail_over(status);
        super::retry_after::add(&mut parts, &body);
        let body = match &wire.translation {
            Some(translation) => translation.error(&mut parts, &body, draft.request_id()),
            None => body,
        };
        let (refusal, verbatim) = provider_refusal(status, parts, body);
        let is_final = is_last || !may_fail_over;
        return Tried::Failed(draft, Box::new(Failure { refusal, verbatim, is_final, is_key_over: is_over }));
    }
    let answer_facts = scan_response(facts.dialect, &body, open.quirks);
    draft.stage("model", "answered", format_args!("{} at {}", open.upstream_model, open.backend_id));
    draft.record.served_model = answer_facts.served_model.clone().unwrap_or_else(|| open.upstream_model.to_string());
    let is_final = answer_facts.usage.is_some();
    let held = open.reservation.as_ref().map_or(NanoUsd::ZERO, Reservation::amount);
    let cost = open.close(&mut draft, &Ending::Answered { facts: &answer_facts, is_final });
    draft.stage("cost", draft.last_basis(), format_args!("{cost} USD"));
    let freed = held.saturating_sub(cost).max(NanoUsd::ZERO);
    let mut answer = Answer { ask, place, cost: Some(cost), freed, clamped_to, dropped: &[], wants_trailers: false };
    let body = match &wire.translation {
        None => body,
        Some(translation) => match translation.answer(&body, draft.request_id(), draft.started_at_us()) {
            Ok(body) => {
                parts.headers = translation.headers(&parts.headers, "application/json");
                answer.dropped = &translation.dropped;
                body
            }
            Err(error) => {
                let refusal = Refusal::new("model", ErrorCode::UpstreamError, error.to_string());
                return Tried::Failed(
                    draft,
                    Box::new(Failure { refusal, verbatim: None, is_final: true, is_key_over: false }),
                );
            }
        },
    };
    Tried::Answered(Box::new(respond::whole(draft, &answer, family, &parts, body)))
}

fn stream(
    mut exchange: Box<Exchange>,
    ask: &Ask,
    wire: &Wire<'_>,
    place: &Place,
    mut parts: Parts,
    clamped_to: Option<u64>,
    first: VecDeque<Bytes>,
) -> Tried {
    let family = ask.facts.dialect.family();
    let Some(draft) = exchange.draft() else { return lost(family) };
    draft.stage("model", "streaming", format_args!("{} at {}", place.upstream_model, place.upstream.backend.id));
    let request_id = draft.request_id().to_owned();
    let attempts = draft.record.attempts.len() + 1;
    let wants_trailers = respond::accepts_trailers(&ask.headers);
    let mut answer = Answer { ask, place, cost: None, freed: NanoUsd::ZERO, clamped_to, dropped: &[], wants_trailers };
    let gateway = Arc::clone(draft.gateway());
    let watch = match &wire.translation {
        None => {
            let facts = &wire.facts;
            Watch::passing(facts.dialect, !facts.asks_usage, wire::quirks(place.upstream.backend.kind))
        }
        Some(translation) => {
            parts.headers = translation.headers(&parts.headers, "text/event-stream");
            answer.dropped = &translation.dropped;
            translation.watch(&request_id, draft.started_at_us())
        }
    };
    // One that has begun to read goes on.
    exchange.filter.get_or_insert(watch);
    let mut response = Response::new(GatewayBody::Whole(None));
    respond::set_headers(&mut response, &gateway, &answer, family, &parts, &request_id, attempts);
    *response.body_mut() = GatewayBody::Relay(Box::new(Relay::new(exchange, request_id, wants_trailers, first)));
    Tried::Answered(Box::new(response))
}

pub(super) fn may_fail_over(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403 | 408 | 409 | 429 | 500..)
}

/// Whether a provider says that a session or a token is over: another one may do.
fn is_key_over(parts: &Parts) -> bool {
    if parts.status == StatusCode::UNAUTHORIZED {
        return true;
    }
    let kind = parts.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("ExpiredToken"))
}

fn broke(exchange: &mut Exchange, broken: Broken, family: Family) -> Tried {
    let Some((mut draft, open)) = exchange.take() else { return lost(family) };
    let (ending, message) = match broken {
        Broken::Unreachable => (Ending::Unbilled("unreachable"), "The provider could not be reached."),
        Broken::Disconnected => (Ending::Uncertain("disconnected"), "The provider's answer broke off."),
        Broken::TimedOut => (Ending::Uncertain("timed_out"), "The provider did not answer in time."),
        Broken::TooLarge => (Ending::Uncertain("too_large"), "The provider's answer is larger than the gateway keeps."),
    };
    open.close(&mut draft, &ending);
    draft.stage("model", "error", broken.code().as_str());
    let refusal = Refusal::new("model", broken.code(), message);
    Tried::Failed(
        draft,
        Box::new(Failure { refusal, verbatim: None, is_final: broken == Broken::TooLarge, is_key_over: false }),
    )
}

/// The record was closed elsewhere: a broken invariant, answered as such.
pub(super) fn lost(family: Family) -> Tried {
    tracing::error!("invariant broken: an exchange lost its record before its answer");
    let refusal = Refusal::new("model", ErrorCode::Internal, "The gateway lost track of this request.");
    Tried::Answered(Box::new(refusal.respond(family, "")))
}

/// What a provider's error means to us. One about our own credential is never passed on: it may quote the key. Nor is a
/// redirect: a client that followed it would take its own key to a place that the provider chose.
pub(super) fn provider_refusal(status: u16, parts: Parts, body: Bytes) -> (Refusal, Option<(Parts, Bytes)>) {
    if status == 401 || status == 403 {
        tracing::error!(status, "a provider refuses the gateway's credential; check the provider's api_key");
        let message =
            "The provider refused the gateway's own credential. This is not about your key; tell your administrator.";
        return (Refusal::new("model", ErrorCode::UpstreamCredential, message), None);
    }
    if parts.status.is_redirection() {
        let message = "The provider answered with a redirect, and none is followed. Its base_url must be the final address; \
                       tell your administrator.";
        return (Refusal::new("model", ErrorCode::UpstreamError, message), None);
    }
    let refusal = Refusal::new("model", ErrorCode::UpstreamError, "The provider answered with an error.");
    (refusal, Some((parts, body)))
}

fn fail(mut draft: Box<Draft>, family: Family, refusal: &Refusal) -> Response<GatewayBody> {
    draft.failed(refusal.stage, refusal.code.as_str(), refusal.status(family));
    draft.note_first_byte();
    let response = refusal.respond(family, draft.request_id());
    draft.finish();
    response
}

fn open_attempt(
    draft: &Draft,
    facts: &RequestFacts,
    place: &Place,
    admission: Admission,
    started_at: UnixMicros,
) -> (Box<OpenAttempt>, Option<u64>) {
    let attempt = Box::new(OpenAttempt {
        intent: 0,
        backend_id: place.upstream.backend.id.as_str().to_owned(),
        upstream_model: Arc::clone(&place.upstream_model),
        price: place.price.clone(),
        reservation: admission.reservation,
        worst_case: admission.worst_case,
        dialect: facts.dialect,
        quirks: wire::quirks(place.upstream.backend.kind),
        estimated_input_tokens: facts.estimate_input_tokens(),
        has_residency: has_residency(facts),
        is_regional: place.upstream.is_regional(),
        started_at_us: started_at.get(),
        started_monotonic_us: draft.gateway().clock.monotonic_us(),
        status: 0,
        provider_request_id: String::new(),
    });
    (attempt, admission.clamped_to)
}

fn audit_unavailable(error: &crate::records::journal::JournalError) -> Refusal {
    tracing::error!(error = %crate::chain(error), "a request was refused because its record could not be written");
    let message =
        "The record of this request cannot be made durable right now, and no request goes unrecorded. Try again later.";
    Refusal::new("audit", ErrorCode::AuditUnavailable, message).with_retry_after(5)
}
