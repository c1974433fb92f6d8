//! Trying backends in order until one answers.
//!
//! Rule: another backend is tried only while nothing has gone to the client and nothing of an upload was taken, one
//! reservation and one intent per attempt.

use super::admit::{Admission, Asked, Path, admit, has_residency, is_free};
use super::body_room::{Claim, hold};
use super::broken::Limits;
use super::calls::{self, Job};
use super::capability;
use super::counting::Said;
use super::exchange::{Exchange, is_event_stream};
use super::failure::{
    Failure, audit_unavailable, broke, fail, is_key_over, lost, may_fail_over, no_place, provider_refusal,
};
use super::files::Files;
use super::first_frame::{first_error, refused};
use super::kept::KeptResponse;
use super::media;
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
use crate::upstream::body::Upload;
use bytes::Bytes;
use helix_llm::{Dialect, RequestFacts, TextSize, rename_ids, subtitles_end_ms};
use helix_proto::convert::record::account_to_wire;
use helix_proto::v1;
use helix_shared::error_code::ErrorCode;
use helix_shared::money::NanoUsd;
use helix_shared::snapshot::Caller;
use helix_shared::time::UnixMicros;
use helix_shared::usage::TokenUsage;
use http::response::Parts;
use http::{HeaderMap, Method, Response};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
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
    /// The response that this one follows: it lies at one backend, and only that one is asked.
    pub kept: Option<KeptResponse>,
    /// A response that a backend keeps, instead of a body.
    pub stored: Option<StoredAsk>,
    /// What of the body still comes.
    pub upload: Option<Upload>,
}

/// What is asked of a response that a backend keeps.
#[derive(Debug)]
pub struct StoredAsk {
    /// `GET` or `DELETE`.
    pub method: Method,
    /// The backend's id of it.
    pub upstream_id: String,
    /// The client's.
    pub given: String,
    /// What follows the id in the path.
    pub suffix: &'static str,
}

/// What an attempt led to.
pub(super) enum Tried {
    /// An answer for the client.
    Answered(Box<Response<GatewayBody>>),
    /// A failure; another backend may do better.
    Failed(Box<Draft>, Box<Failure>),
}

/// Tries the places in order.
pub async fn run(mut draft: Box<Draft>, ask: Box<Ask>) -> Response<GatewayBody> {
    let family = ask.facts.dialect.family();
    draft.record.strategy = ask.resolved.strategy.as_str().to_owned();
    let dialect = ask.facts.dialect;
    let is_at =
        |place: &&Place| ask.kept.as_ref().is_none_or(|kept| kept.upstream.backend.id == place.upstream.backend.id);
    let places = ask.resolved.places.iter().filter(is_at);
    let speakers: Vec<&Place> = places.filter(|place| wire::can_serve(place, dialect)).collect();
    if speakers.is_empty() && dialect == Dialect::AnthropicCountTokens && !ask.resolved.places.is_empty() {
        return respond::counted(draft, &ask).await;
    }
    if speakers.is_empty() {
        return super::refuse(draft, family, &no_place(&ask, family));
    }
    let mut failure = None;
    let mut files = Files::new();
    for (tried, place) in speakers.iter().enumerate() {
        let is_last = tried + 1 == speakers.len();
        let fetched = if place.fetches_urls { files.fetch(&mut draft, &ask, place).await } else { Ok(()) };
        let wire = match fetched.and_then(|()| wire::for_place(&ask, place, files.fetched())) {
            Ok(wire) => wire,
            // Another backend may have a word for it.
            Err(refusal) => {
                failure = Some(Box::new(Failure { refusal, verbatim: None, is_final: is_last, key_over_us: None }));
                continue;
            }
        };
        if let Err(refusal) = capability::check(&wire.facts, place) {
            failure = Some(Box::new(Failure { refusal, verbatim: None, is_final: is_last, key_over_us: None }));
            continue;
        }
        let mut tried = attempt(draft, &ask, &wire, place, is_last).await;
        if let Tried::Failed(mut back, failed) = tried {
            // What is over is forgotten in any case; what the client still sends is there once.
            let may_retry = failed.key_over_us.is_some_and(|used_us| place.upstream.renew_key(used_us));
            tried = if may_retry && !ask.upload.as_ref().is_some_and(Upload::is_begun) {
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
                // An upload that has begun is gone: nobody can be sent it again.
                let is_final = failed.is_final || ask.upload.as_ref().is_some_and(Upload::is_begun);
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
    if let Some(rest) = ask.upload.as_ref().and_then(Upload::rest) {
        super::unread::throw_away(&draft.gateway().drains, rest);
    }
    match failure.map(|failure| *failure) {
        Some(Failure { verbatim: Some((parts, body)), refusal, .. }) => {
            respond::provider_error(draft, &ask, family, &parts, body, &refusal)
        }
        Some(Failure { refusal, .. }) if refusal.stage == "model" && !refusal.code.is_of_request() => {
            fail(draft, family, &refusal)
        }
        Some(Failure { refusal, .. }) => super::refuse(draft, family, &refusal),
        None => super::refuse(draft, family, &no_place(&ask, family)),
    }
}

async fn attempt(mut draft: Box<Draft>, ask: &Ask, wire: &Wire<'_>, place: &Place, is_last: bool) -> Tried {
    let failed = |draft, refusal, is_final| {
        Tried::Failed(draft, Box::new(Failure { refusal, verbatim: None, is_final, key_over_us: None }))
    };
    let gateway = Arc::clone(draft.gateway());
    let backend = &place.upstream.backend;
    let Some(in_flight) = place.upstream.enter() else {
        let message = "The backend is at its limit of requests in flight; try again in a moment.";
        let refusal = Refusal::new("route", ErrorCode::Overloaded, message).with_retry_after(1);
        return failed(draft, refusal, false);
    };
    let started_at = gateway.clock.now();
    let facts = &*wire.facts;
    let requests = wire.calls.as_ref().map_or(1, |calls| u32::try_from(calls.bodies.len()).unwrap_or(u32::MAX));
    let asked = Asked { facts, has_own_cap: ask.facts.output_cap.is_some(), requests };
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
    // Each of several calls is vouched for by itself, when it is made.
    if wire.calls.is_none()
        && place.upstream.has_identity()
        && let Err(error) =
            place.upstream.authorize(&mut request, &place.upstream_model, whole.as_ref(), started_at).await
    {
        tracing::error!(error = %crate::chain(&error), backend.id = %backend.id, "the gateway has no credential for a provider; check what is configured for it");
        let message = "The gateway has no valid credential for the provider. This is not about your key; tell your administrator.";
        return failed(draft, Refusal::new("model", ErrorCode::UpstreamCredential, message), false);
    }
    let now = gateway.clock.monotonic_us();
    let (mut open, clamped_to) = open_attempt(&draft, facts, place, admission, started_at);
    if wire.calls.is_none() && !facts.dialect.is_media() && !facts.dialect.is_free() {
        open.said = Said::of(place.vocabulary, &wire.body, facts);
    }
    open.upload.clone_from(&ask.upload);
    open.begun_bytes = u64::try_from(ask.body.len()).unwrap_or(u64::MAX);
    let mut accounts = ask.path.accounts(open.reservation.as_ref(), now);
    let mut unreserved = ask.path.unreserved();
    if open.is_free {
        accounts.clear();
        unreserved.clear();
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
        unreserved,
        started_at_us: draft.started_at_us(),
        intent: 0,
    };
    let token = match gateway.journal.intent(&mut intent) {
        Ok(token) => token,
        Err(error) => return failed(draft, audit_unavailable(&error), true),
    };
    draft.record.charged = intent.charged;
    draft.record.unreserved = intent.unreserved;
    open.intent = token.intent;
    // The record closes the intent from here on, also when the client leaves while the disk is awaited.
    let token = draft.add_intent(token);
    if let Err(error) = gateway.journal.durable(token).await {
        open.close(&mut draft, &Ending::Unbilled(NOT_SENT));
        return failed(draft, audit_unavailable(&error), true);
    }
    open.dispatched();
    let upload_time = ask.upload.as_ref().map_or(Duration::ZERO, |_| gateway.body_timeout);
    let limits = Limits {
        first_byte: backend.first_byte_timeout.saturating_add(upload_time),
        idle: backend.idle_timeout,
        deadline: Instant::now() + backend.total_timeout + upload_time,
    };
    if let Some(calls) = &wire.calls {
        let (head, _) = request.into_parts();
        let job = Job {
            draft,
            open,
            upstream: Arc::clone(&place.upstream),
            model: Arc::clone(&place.upstream_model),
            calls: Arc::clone(calls),
            uri: head.uri,
            headers: head.headers,
            limits,
            in_flight,
        };
        return calls::ask_all(job, ask, wire, place, is_last).await;
    }
    let response = place.upstream.send(request);
    let exchange = Box::new(Exchange::new(draft, open, response, limits, facts.is_stream, in_flight));
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
    let is_sound = facts.dialect == Dialect::OpenAiSpeech;
    let is_events = (facts.is_stream || facts.dialect.is_upload()) && is_event_stream(&parts.headers);
    if parts.status.is_success() && (is_events || is_sound) {
        let mut first = VecDeque::new();
        if wire.translation.is_some()
            && let Some(error) = match first_error(&mut exchange, wire, &mut first).await {
                Ok(error) => error,
                Err(broken) => return broke(&mut exchange, broken, family),
            }
        {
            return refused(exchange.take(), wire, parts, &error, is_last);
        }
        return stream(exchange, ask, wire, place, parts, clamped_to, first);
    }
    let body = match exchange.collect(!parts.status.is_success()).await {
        Ok(body) => body,
        Err(broken) => return broke(&mut exchange, broken, family),
    };
    let answer_facts = exchange.whole_facts(&body).await;
    let room = exchange.take_claim();
    let Some((mut draft, open)) = exchange.take() else { return lost(family) };
    if !parts.status.is_success() {
        // It was taken before, or fetched for this request: either way it is what was refused.
        let key_over_us = is_key_over(&parts).then_some(open.started_monotonic_us);
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
        return Tried::Failed(draft, Box::new(Failure { refusal, verbatim, is_final, key_over_us }));
    }
    let mut answer_facts = answer_facts;
    if wire.translation.is_some()
        && answer_facts.usage.is_none()
        && answer_facts.text == TextSize::default()
        && let Some(error) = &answer_facts.error
    {
        return refused(Some((draft, open)), wire, parts, error, is_last);
    }
    draft.stage("model", "answered", format_args!("{} at {}", open.upstream_model, open.backend_id));
    draft.record.served_model = answer_facts.served_model.clone().unwrap_or_else(|| open.upstream_model.to_string());
    let is_final = answer_facts.usage.is_some() && !answer_facts.is_usage_partial;
    if !is_final && facts.dialect.is_upload() {
        // Subtitles end about where the sound does.
        let audio_input_ms = subtitles_end_ms(&body).filter(|_| open.is_charged_by_second());
        answer_facts.usage =
            audio_input_ms.map(|audio_input_ms| TokenUsage { audio_input_ms, ..TokenUsage::default() });
    }
    let held = open.reservation.as_ref().map_or(NanoUsd::ZERO, Reservation::amount);
    let cost = open.close(&mut draft, &Ending::Answered { facts: &answer_facts, is_final });
    draft.stage("cost", draft.last_basis(), format_args!("{cost} USD"));
    let freed = held.saturating_sub(cost).max(NanoUsd::ZERO);
    let answer =
        Answer { ask, place, cost: Some(cost), freed, clamped_to, dropped: &wire.dropped, wants_trailers: false };
    let body = match &wire.translation {
        None => wire.names.as_ref().and_then(|names| rename_ids(&body, &**names)).unwrap_or(body),
        Some(translation) => match translation.answer(&body, draft.request_id(), draft.started_at_us()) {
            Ok(body) => {
                parts.headers = translation.headers(&parts.headers, "application/json");
                body
            }
            Err(error) => {
                let refusal = Refusal::new("model", ErrorCode::UpstreamError, error.to_string());
                return Tried::Failed(
                    draft,
                    Box::new(Failure { refusal, verbatim: None, is_final: true, key_over_us: None }),
                );
            }
        },
    };
    let body = hold(body, room.into_iter().collect());
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
    let answer =
        Answer { ask, place, cost: None, freed: NanoUsd::ZERO, clamped_to, dropped: &wire.dropped, wants_trailers };
    let gateway = Arc::clone(draft.gateway());
    let quirks = wire::quirks(place.upstream.backend.kind);
    let watch = match &wire.translation {
        None if !is_event_stream(&parts.headers) => Watch::Raw(wire::Raw::default()),
        None => match &wire.names {
            Some(names) => Watch::renaming(wire.facts.dialect, quirks, Arc::clone(names)),
            None => {
                let hides_usage = wire.facts.dialect.asks_for_stream_usage() && !wire.facts.asks_usage;
                Watch::passing(wire.facts.dialect, hides_usage, quirks)
            }
        },
        Some(translation) => {
            parts.headers = translation.headers(&parts.headers, "text/event-stream");
            translation.watch(&request_id, draft.started_at_us())
        }
    };
    // One that has begun to read goes on.
    let is_kept = exchange.can_be_counted();
    let watch = exchange.filter.get_or_insert(watch);
    if is_kept {
        watch.keep_text();
    }
    let mut response = Response::new(GatewayBody::Whole(None));
    respond::set_headers(&mut response, &gateway, &answer, family, &parts, &request_id, attempts);
    *response.body_mut() = GatewayBody::Relay(Box::new(Relay::new(exchange, request_id, wants_trailers, first)));
    Tried::Answered(Box::new(response))
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
        is_free: is_free(facts.dialect, place.price.as_deref()),
        quirks: wire::quirks(place.upstream.backend.kind),
        estimated_input_tokens: facts.estimate_input_tokens(),
        said: Said::default(),
        counted: None,
        has_residency: has_residency(facts),
        unreported: media::unreported(facts, place.price.as_deref()),
        upload: None,
        begun_bytes: 0,
        on_leave: place.upstream.backend.kind.facts().on_leave,
        is_regional: place.upstream.is_regional(),
        started_at_us: started_at.get(),
        started_monotonic_us: draft.gateway().clock.monotonic_us(),
        status: 0,
        provider_request_id: String::new(),
        cut_by: None,
    });
    (attempt, admission.clamped_to)
}
