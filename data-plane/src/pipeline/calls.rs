//! A request that its backend takes as calls of another form, one or several.
//!
//! Rule: one reservation, one intent and one attempt for all of them. What the provider counted for each is added up, also
//! where a later one failed; once one has failed or the client has left, no further call is made, and those under way are
//! heard to their end, because they are billed. Each is priced for itself, as the provider does, and counts for itself among
//! the requests of its backend: the first with the request, the others when there is room for them.

use super::attempts::{Ask, Tried};
use super::body_room::{Claim, hold};
use super::broken::{Broken, Limits, Phase};
use super::exchange::{CLIENT_CLOSED_STATUS, MOST_ANSWER_BYTES, MOST_ERROR_BYTES, is_encoded};
use super::failure::{Failure, is_key_over, lost, may_fail_over, provider_refusal};
use super::refusal::Refusal;
use super::respond::{self, Answer};
use super::settle::{Ending, OpenAttempt};
use super::whole::Whole;
use super::wire::{Calls, Piece, Wire};
use crate::budget::Reservation;
use crate::config::current::Place;
use crate::records::draft::{CLIENT_CLOSED, Draft};
use crate::upstream::body::Pieces;
use crate::upstream::client::{InFlight, Upstream};
use crate::upstream::pool::SendError;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use helix_llm::{ResponseFacts, TranslateError};
use helix_shared::error_code::ErrorCode;
use helix_shared::money::NanoUsd;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::response::Parts;
use http::{HeaderMap, Method, Request, Uri};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How many calls of one request are under way at a time.
const MOST_AT_ONCE: usize = 8;
/// The largest answers that are kept together.
const MOST_BYTES: usize = 4 * MOST_ANSWER_BYTES;

/// What all calls of a request have in common.
pub(super) struct Job {
    pub(super) draft: Box<Draft>,
    pub(super) open: Box<OpenAttempt>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) model: Arc<str>,
    pub(super) calls: Arc<Calls>,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) limits: Limits,
    /// The first call's place among the requests of the backend; it is kept until the last call is over.
    pub(super) in_flight: InFlight,
}

/// Why a call brought no answer.
enum Trouble {
    Broken(Broken),
    Credential,
    Refused(Parts, Bytes),
    Unreadable(TranslateError),
}

/// What the calls brought together.
struct Gathered {
    pieces: Vec<Option<Piece>>,
    /// The room that they take.
    claims: Vec<Claim>,
    head: Option<Parts>,
    trouble: Option<Trouble>,
    /// Bytes of the answers so far.
    bytes: usize,
    /// A call was sent and nobody knows what became of it.
    is_uncertain: bool,
}

/// What one call brought.
struct Brought {
    head: Parts,
    piece: Piece,
    bytes: usize,
    room: Option<Claim>,
}

/// How it ended, for the client.
struct Done {
    draft: Box<Draft>,
    gathered: Gathered,
    body: Option<Bytes>,
    cost: NanoUsd,
    freed: NanoUsd,
    /// When the attempt began, on the monotonic clock, µs.
    began_us: u64,
}

/// Makes the calls and answers. They go on by themselves when the client leaves.
pub(super) async fn ask_all(job: Job, ask: &Ask, wire: &Wire<'_>, place: &Place, is_last: bool) -> Tried {
    let family = ask.facts.dialect.family();
    let gateway = Arc::clone(job.draft.gateway());
    let (tell, told) = oneshot::channel();
    gateway.drains.spawn("calls", job.run(tell));
    let Ok(done) = told.await else { return lost(family) };
    let Done { mut draft, gathered, body, cost, freed, began_us } = done;
    let failed = |draft, refusal, verbatim, is_final, key_over_us| {
        Tried::Failed(draft, Box::new(Failure { refusal, verbatim, is_final, key_over_us }))
    };
    let message = match gathered.trouble {
        None | Some(Trouble::Unreadable(_)) => "The provider's answer could not be read.",
        Some(Trouble::Broken(broken)) => {
            let is_final = is_last || broken.is_final();
            return failed(draft, Refusal::new("model", broken.code(), broken.message()), None, is_final, None);
        }
        Some(Trouble::Credential) => {
            let message = "The gateway has no valid credential for the provider. This is not about your key; tell your administrator.";
            let refusal = Refusal::new("model", ErrorCode::UpstreamCredential, message);
            return failed(draft, refusal, None, is_last, None);
        }
        Some(Trouble::Refused(mut parts, body)) => {
            let is_over = is_key_over(&parts).then_some(began_us);
            let body = job_calls(wire).map_or(body.clone(), |calls| calls.explain(&mut parts, body));
            let status = parts.status.as_u16();
            draft.stage("model", "error", format_args!("status {status}"));
            let is_final = is_last || !may_fail_over(status);
            super::retry_after::add(&mut parts, &body);
            let body = job_calls(wire).map_or(body.clone(), |calls| calls.error(&mut parts, &body, draft.request_id()));
            let (refusal, verbatim) = provider_refusal(status, parts, body);
            return failed(draft, refusal, verbatim, is_final, is_over);
        }
    };
    let (Some(body), Some(mut parts)) = (body, gathered.head) else {
        return failed(draft, Refusal::new("model", ErrorCode::UpstreamError, message), None, is_last, None);
    };
    let model = &place.upstream_model;
    let backend = &place.upstream.backend.id;
    let calls = job_calls(wire).map_or(0, |calls| calls.bodies.len());
    draft.stage("model", "answered", format_args!("{model} at {backend}, in {calls} calls"));
    draft.stage("cost", draft.last_basis(), format_args!("{cost} USD"));
    parts.headers = HeaderMap::with_capacity(8);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer =
        Answer { ask, place, cost: Some(cost), freed, clamped_to: None, dropped: &wire.dropped, wants_trailers: false };
    Tried::Answered(Box::new(respond::whole(draft, &answer, family, &parts, body)))
}

fn job_calls<'a>(wire: &'a Wire<'_>) -> Option<&'a Calls> {
    wire.calls.as_deref()
}

impl Job {
    async fn run(self, tell: oneshot::Sender<Done>) {
        let mut gathered = self.gather(&tell).await;
        let Self { mut draft, mut open, calls, in_flight, .. } = self;
        drop(in_flight);
        let pieces = || gathered.pieces.iter().flatten();
        let is_counted = pieces().all(|piece| piece.facts.usage.is_some_and(|usage| !usage.is_empty()));
        let facts = ResponseFacts {
            usage: is_counted.then(|| Calls::sum(pieces())),
            provider_cost: pieces().map(|piece| piece.facts.provider_cost).sum::<Option<NanoUsd>>(),
            service_tier: pieces().find_map(|piece| piece.facts.service_tier.clone()),
            served_model: pieces().find_map(|piece| piece.facts.served_model.clone()),
            text: Calls::text(pieces()),
            ..ResponseFacts::default()
        };
        open.status = match (&gathered.trouble, &gathered.head) {
            (Some(Trouble::Refused(parts, _)), _) | (_, Some(parts)) => parts.status.as_u16(),
            _ => 0,
        };
        let verdict = match &gathered.trouble {
            Some(Trouble::Refused(parts, _)) if matches!(parts.status.as_u16(), 401 | 403) => "credential",
            Some(Trouble::Refused(..)) => "provider_error",
            Some(Trouble::Credential) => "credential",
            Some(Trouble::Broken(broken)) => broken.verdict(),
            Some(Trouble::Unreadable(error)) => {
                note_unreadable(draft.request_id(), &open.backend_id, error);
                "unreadable"
            }
            None => "disconnected",
        };
        if let Some(Trouble::Broken(broken)) = &gathered.trouble {
            open.note_broken(&mut draft, *broken);
        }
        let ending = if gathered.is_uncertain {
            Ending::Uncertain(verdict)
        } else if pieces().next().is_none() {
            Ending::Unbilled(verdict)
        } else if let (true, Some(usage)) = (is_counted, facts.usage) {
            Ending::Called { usage, calls: pieces().map(|piece| &piece.facts).collect() }
        } else {
            Ending::Answered { facts: &facts, is_final: false }
        };
        draft.record.served_model = facts.served_model.clone().unwrap_or_else(|| open.upstream_model.to_string());
        let held = open.reservation.as_ref().map_or(NanoUsd::ZERO, Reservation::amount);
        let (estimated, began_us) = (open.estimated_input_tokens, open.started_monotonic_us);
        let backend_id = open.backend_id.clone();
        let cost = open.close(&mut draft, &ending);
        let all: Option<Vec<Piece>> = std::mem::take(&mut gathered.pieces).into_iter().collect();
        let all = all.filter(|_| gathered.trouble.is_none());
        let usage = facts.usage.unwrap_or_else(|| helix_shared::usage::TokenUsage {
            input_tokens: estimated,
            ..helix_shared::usage::TokenUsage::default()
        });
        let body = all.and_then(|pieces| {
            let joined = calls.join(pieces, usage, draft.request_id(), draft.started_at_us());
            let joined = joined.inspect_err(|error| note_unreadable(draft.request_id(), &backend_id, error)).ok()?;
            Some(hold(joined, std::mem::take(&mut gathered.claims)))
        });
        let freed = held.saturating_sub(cost).max(NanoUsd::ZERO);
        if let Err(Done { mut draft, cost, .. }) = tell.send(Done { draft, gathered, body, cost, freed, began_us }) {
            draft.stage("cost", draft.last_basis(), format_args!("{cost} USD, client gone"));
            draft.failed("model", CLIENT_CLOSED, CLIENT_CLOSED_STATUS);
            draft.finish();
        }
    }

    async fn gather(&self, tell: &oneshot::Sender<Done>) -> Gathered {
        let count = self.calls.bodies.len();
        let mut gathered = Gathered {
            pieces: vec![None; count],
            claims: Vec::new(),
            head: None,
            trouble: None,
            bytes: 0,
            is_uncertain: false,
        };
        let mut running = FuturesUnordered::new();
        let mut bodies = self.calls.bodies.iter().enumerate();
        loop {
            while running.len() < MOST_AT_ONCE && gathered.trouble.is_none() && !tell.is_closed() {
                let further = if running.is_empty() { None } else { self.upstream.enter() };
                if !running.is_empty() && further.is_none() {
                    // The backend is full: this one follows one of those that run.
                    break;
                }
                let Some((index, body)) = bodies.next() else { break };
                running.push(async move {
                    let result = self.call(index, body).await;
                    drop(further);
                    (index, result)
                });
            }
            let Some((index, result)) = running.next().await else { return gathered };
            match result {
                Ok(Brought { head, piece, bytes, room }) => {
                    gathered.claims.extend(room);
                    gathered.head.get_or_insert(head);
                    gathered.bytes = gathered.bytes.saturating_add(bytes);
                    if gathered.bytes > MOST_BYTES {
                        gathered.trouble.get_or_insert(Trouble::Broken(Broken::TooLarge));
                    }
                    if let Some(place) = gathered.pieces.get_mut(index) {
                        *place = Some(piece);
                    }
                }
                Err(trouble) => {
                    let is_sent = !matches!(trouble, Trouble::Broken(Broken::Unreachable) | Trouble::Credential);
                    gathered.is_uncertain |= is_sent && !matches!(trouble, Trouble::Refused(..));
                    gathered.trouble.get_or_insert(trouble);
                }
            }
        }
    }

    /// Makes one call.
    async fn call(&self, index: usize, body: &Bytes) -> Result<Brought, Trouble> {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let mut request = Request::new(Pieces::new(vec![body.clone()], length));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        let now = self.draft.gateway().clock.now();
        if let Err(error) = self.upstream.authorize(&mut request, &self.model, Some(body), now).await {
            let backend = &self.upstream.backend.id;
            tracing::error!(error = %crate::chain(&error), backend.id = %backend, "the gateway has no credential for a provider; check what is configured for it");
            return Err(Trouble::Credential);
        }
        let until = |limit| (Instant::now() + limit).min(self.limits.deadline);
        let sent = tokio::time::timeout_at(until(self.limits.first_byte), self.upstream.send(request)).await;
        let response = match sent {
            Err(_) => return Err(Trouble::Broken(self.limits.passed(Phase::FirstByte))),
            Ok(Err(SendError::Unreachable(error))) => {
                tracing::debug!(error = %crate::chain(&*error), "no connection to the provider");
                return Err(Trouble::Broken(Broken::Unreachable));
            }
            Ok(Err(SendError::Broken(error))) => {
                tracing::debug!(error = %crate::chain(&error), "the provider's connection broke");
                return Err(Trouble::Broken(Broken::Disconnected));
            }
            Ok(Ok(response)) => response,
        };
        let (parts, mut answer) = response.into_parts();
        if is_encoded(&parts.headers) {
            // An error costs nothing, whatever it says.
            let is_error = !parts.status.is_success();
            return Err(if is_error {
                Trouble::Refused(parts, Bytes::new())
            } else {
                Trouble::Broken(Broken::Encoded)
            });
        }
        let most = if parts.status.is_success() { MOST_ANSWER_BYTES } else { MOST_ERROR_BYTES };
        let mut whole = Whole::default();
        let room = &self.draft.gateway().body_room;
        let body = whole.read(&mut answer, most, &self.limits, room).await.map_err(Trouble::Broken)?;
        if !parts.status.is_success() {
            return Err(Trouble::Refused(parts, body));
        }
        let piece = self.calls.read(index, &parts, &body).map_err(Trouble::Unreadable)?;
        Ok(Brought { head: parts, piece, bytes: body.len(), room: whole.into_claim() })
    }
}

/// Says why an answer could not be read; the reason names places and types, never what stands there.
fn note_unreadable(request_id: &str, backend_id: &str, error: &TranslateError) {
    tracing::warn!(request.id = request_id, backend.id = backend_id, %error, "a provider's answer to one of several calls could not be read");
}
